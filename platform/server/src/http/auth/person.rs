//! People who are signed in.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use wotp_core::app::{ApiCaller, Refusal, SignedIn, Whence};
use wotp_core::domain::audit::{Actor, By};
use wotp_core::domain::mode::Mode;

use super::super::verifications::refused;
use super::super::{Api, Problem};
use super::{Credential, program, whence};

/// Which tenant a person's call is about.
const TENANT: &str = "wotp-tenant";
/// Whether it is about live or test data.
const MODE: &str = "wotp-mode";

/// From where a call comes that takes no credential.
pub(in super::super) struct From(pub(in super::super) Whence);

impl<S: Send + Sync> FromRequestParts<S> for From {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self(whence(parts)))
    }
}

/// A person who is signed in, whatever their tenants.
pub(in super::super) struct Person(SignedIn);

impl Deref for Person {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.0
    }
}

impl FromRequestParts<Arc<Api>> for Person {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        signed_in(parts, api).await.map(Self)
    }
}

/// A person who runs the platform.
pub(in super::super) struct Operator(SignedIn);

impl Deref for Operator {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.0
    }
}

impl Operator {
    /// Who acts, for the audit log: somebody who runs the platform, whom a tenant need not know.
    pub(in super::super) fn by(&self) -> By {
        By { actor: Actor::Operator { user: self.user.id }, ..self.0.by() }
    }
}

impl FromRequestParts<Arc<Api>> for Operator {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let person = signed_in(parts, api).await?;
        person.require_operator().map_err(|refusal| {
            tracing::info!(user = %person.user.id, reason = %refusal, "a call was not allowed");
            refused(api, refusal)
        })?;
        Ok(Self(person))
    }
}

/// The person whose access token comes with a call. A key that works is told that this is for people.
async fn signed_in(parts: &Parts, api: &Api) -> Result<SignedIn, Problem> {
    let token = match Credential::of(parts) {
        Credential::AccessToken(token) => Some(token),
        Credential::None => None,
        Credential::Key(_) => {
            program(parts, api).await?;
            return Err(refused(api, Refusal::KeyNotAllowed));
        }
    };
    let whence = whence(parts);
    let ip = whence.ip;
    api.app.authenticate_person(token, whence).await.map_err(|refusal| {
        // ASVS 16.3.1. Of the token nothing: it may be one that works elsewhere.
        tracing::info!(ip = ip.map(tracing::field::display), reason = %refusal, "a person was not authenticated");
        refused(api, refusal)
    })
}

/// The member that a person is in the tenant that the call names, or in their only one.
pub(super) async fn member(parts: &Parts, api: &Api) -> Result<ApiCaller, Problem> {
    let person = signed_in(parts, api).await?;
    let mode = match header(parts, MODE)? {
        None => Mode::Live,
        Some(text) if text.eq_ignore_ascii_case("live") => Mode::Live,
        Some(text) if text.eq_ignore_ascii_case("test") => Mode::Test,
        Some(_) => return Err(Problem::field("WOTP-Mode", "is `live` or `test`")),
    };
    let tenant = header(parts, TENANT)?;
    api.app.authenticate_member(&person, tenant, mode).await.map_err(|refusal| {
        tracing::info!(user = %person.user.id, reason = %refusal, "a call was not allowed");
        refused(api, refusal)
    })
}

fn header<'a>(parts: &'a Parts, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let value = parts.headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Problem::field(name, "is ASCII"))
}
