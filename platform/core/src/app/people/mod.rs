//! People: how they sign up, sign in, stay signed in, and sign out.
//!
//! Nothing here tells whether there is an account: not by what it answers, and not by how long it takes.
//! Sign-up and password reset do the same for every address, and look for the account only when the code
//! that went to it came back. Login hashes a password whether or not there is one to compare it with.

mod account;
mod brake;
mod development;
mod erase;
mod house;
mod identities;
mod login;
mod oidc;
mod password;
mod second_factor;
mod sessions;
mod sign_up;
mod signed;
mod signing_keys;

use std::net::IpAddr;
use std::sync::Arc;

use jiff::SignedDuration;

pub use login::{LogIn, Opened};
pub use oidc::{BeginSignIn, FinishSignIn, SignInBegun};
pub use second_factor::{Enrolment, Reproof, SecondFactorState, SignInStep};
pub use sign_up::{Confirmed, SignUp, Started};
pub use signed::{Signed, SignedIn, TokenRefusal};
pub use signing_keys::PublicKey;

pub(super) use house::HousePlan;

use crate::domain::audit::{Actor, By};
use crate::domain::id::UserId;

/// How people sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeopleSettings {
    /// Who gives out access tokens: the URL under which the platform is reached.
    pub issuer: String,
    /// How long an access token holds.
    pub access_life: SignedDuration,
    /// How long a session lasts that is not used.
    pub session_life: SignedDuration,
    /// How long a key signs access tokens before another takes its place.
    pub signing_key_life: SignedDuration,
    /// The plan of a tenant that signs itself up.
    pub plan: String,
}

/// From where a person calls.
#[derive(Debug, Clone, Default)]
pub struct Whence {
    /// The address.
    pub ip: Option<IpAddr>,
    /// The call.
    pub request: Option<Arc<str>>,
    /// What the client says it is.
    pub agent: Option<String>,
}

impl Whence {
    /// A person who acts from here, for the audit log.
    pub fn by(&self, user: UserId) -> By {
        By { actor: Actor::User { user }, ip: self.ip, request: self.request.as_deref().map(str::to_owned) }
    }
}
