//! `/v1/auth` and `/v1/me`: how people sign up and in, and what they see of themselves.

pub(super) mod account;
pub(super) mod cookies;
pub(super) mod identities;
pub(super) mod login;
pub(super) mod me;
pub(super) mod oidc;
pub(super) mod passwords;
pub(super) mod second_factor;
pub(super) mod sign_up;
