//! Webhooks: where events of a tenant go, signed, until they are taken.

pub mod backlog;
pub mod delivery;
pub mod endpoint;
pub mod lanes;
pub mod notice;
pub mod replay;
pub mod schedule;
pub mod signature;
