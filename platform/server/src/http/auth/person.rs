//! People who are signed in.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::request::Parts;
use futures_util::future::join;
use wotp_core::app::{ApiCaller, Refusal, SignedIn, Whence};
use wotp_core::domain::audit::{Actor, By};
use wotp_core::domain::id::{SessionId, TenantId, UserId};
use wotp_core::domain::mode::Mode;
use wotp_core::domain::permission::Permission;

use super::super::verifications::refused;
use super::super::{Api, Problem, compat};
use super::{Credential, may_change, program, whence};

/// Which tenant a person's call is about.
const TENANT: &str = "wotp-tenant";
/// Whether it is about live or test data.
const MODE: &str = "wotp-mode";

/// From where a call comes that takes no credential. What changes something waits for the end of maintenance.
pub(in super::super) struct From(pub(in super::super) Whence);

impl FromRequestParts<Arc<Api>> for From {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        may_change(parts, api, false).await?;
        Ok(Self(whence(parts)))
    }
}

/// From where a call comes that is answered during maintenance too: people, and operators among them, sign in
/// and out then as well.
pub(in super::super) struct FromAtAnyTime(pub(in super::super) Whence);

impl<S: Send + Sync> FromRequestParts<S> for FromAtAnyTime {
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
        // Both at once: a store that is far is waited for once. Who calls is answered first.
        let (person, changes) = join(signed_in(parts, api), may_change(parts, api, false)).await;
        let person = person?;
        changes?;
        Ok(Self(person))
    }
}

/// A person who is signed in, during maintenance too.
pub(in super::super) struct PersonAtAnyTime(SignedIn);

impl Deref for PersonAtAnyTime {
    type Target = SignedIn;

    fn deref(&self) -> &SignedIn {
        &self.0
    }
}

impl FromRequestParts<Arc<Api>> for PersonAtAnyTime {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        signed_in(parts, api).await.map(Self)
    }
}

/// The person whose access token comes with a call that needs none, during maintenance too: what became of it, if
/// there is one.
pub(in super::super) struct MaybePerson(pub(in super::super) Option<Result<SignedIn, Problem>>);

impl FromRequestParts<Arc<Api>> for MaybePerson {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Self::Rejection> {
        Ok(Self(match Credential::of(parts).token() {
            Some(_) => Some(signed_in(parts, api).await),
            None => None,
        }))
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
    if let Some(AskedAgain(Some(of))) = parts.extensions.get() {
        return api.app.in_session(of.user, of.session, whence(parts)).await.map_err(|refusal| refused(api, refusal));
    }
    let credential = Credential::of(parts);
    let token = credential.token();
    if token.is_none() && matches!(credential, Credential::Key(_)) {
        program(parts, api).await?;
        return Err(refused(api, Refusal::KeyNotAllowed));
    }
    let whence = whence(parts);
    let ip = whence.ip;
    api.app.authenticate_person(token, whence).await.map_err(|refusal| {
        // ASVS 16.3.1. Of the token nothing: it may be one that works elsewhere.
        tracing::info!(ip = ip.map(tracing::field::display), reason = %refusal, "a person was not authenticated");
        refused(api, refusal)
    })
}

/// The member that a person is in the tenant that the call names, or in their only one.
pub(super) async fn member(parts: &Parts, api: &Api, permission: Permission) -> Result<ApiCaller, Problem> {
    let person = signed_in(parts, api).await?;
    let mode = named_mode(parts)?.unwrap_or(Mode::Live);
    let named = named_tenant(parts)?;
    let known = match (parts.extensions.get(), named) {
        (Some(AskedAgain(Some(of))), _) => Some(of.tenant),
        // WOTP's clients name none.
        (_, None) if compat::speaks_at(parts.uri.path()) => {
            api.app.first_tenant(&person).await.map_err(|refusal| refused(api, refusal))?
        }
        _ => None,
    };
    let known = known.map(|tenant| tenant.to_string());
    let tenant = known.as_deref().or(named);
    let member = match api.app.authenticate_member_who_may(&person, tenant, mode, permission).await {
        Ok(member) => member,
        Err(refusal) => {
            tracing::info!(user = %person.user.id, reason = %refusal, "a call was not allowed");
            // An operator who acts for it reads what is suspended: so they are known, and what else they ask for is
            // noted as well.
            if matches!(refusal, Refusal::Suspended(_))
                && let Ok(acting) =
                    api.app.authenticate_member_who_may(&person, tenant, mode, Permission::TenantRead).await
            {
                note(parts, api, &acting).await?;
            }
            return Err(refused(api, refusal));
        }
    };
    note(parts, api, &member).await?;
    Ok(member)
}

/// Writes down what an operator who acts for a tenant asks for, before it is answered; nothing of others.
async fn note(parts: &Parts, api: &Api, caller: &ApiCaller) -> Result<(), Problem> {
    if parts.extensions.get::<AskedAgain>().is_some() {
        return Ok(());
    }
    let noted = api.app.note_acting(caller, parts.method.as_str(), &path_asked_for(parts)).await;
    noted.map_err(|refusal| refused(api, refusal))
}

/// The tenant that a call says it is about.
pub(super) fn named_tenant(parts: &Parts) -> Result<Option<&str>, Problem> {
    header(parts, TENANT)
}

/// Whether a call says that it is about live or test data.
pub(super) fn named_mode(parts: &Parts) -> Result<Option<Mode>, Problem> {
    match header(parts, MODE)? {
        None => Ok(None),
        Some(text) if text.eq_ignore_ascii_case("live") => Ok(Some(Mode::Live)),
        Some(text) if text.eq_ignore_ascii_case("test") => Ok(Some(Mode::Test)),
        Some(_) => Err(Problem::field("WOTP-Mode", "is `live` or `test`")),
    }
}

/// Of a call that was let in, and noted where that is due: it goes on, and it is only asked whether it still may. That
/// of a person goes on for as long as their session, which outlasts the access token that it came with.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct AskedAgain(pub(in super::super) Option<OfPerson>);

/// Whose call it is that goes on, where a person makes it, and about which tenant.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct OfPerson {
    pub(in super::super) user: UserId,
    pub(in super::super) session: SessionId,
    pub(in super::super) tenant: TenantId,
}

/// The path of a call as an audit log may keep it: of what the caller fills in only ids of ours.
fn path_asked_for(parts: &Parts) -> String {
    let Some(route) = parts.extensions.get::<MatchedPath>() else { return String::new() };
    let filled = parts.uri.path().split('/').map(Some).chain(std::iter::repeat(None));
    let segments = route.as_str().split('/').zip(filled).map(|(pattern, filled)| match filled {
        Some(filled) if pattern.starts_with('{') && is_an_id(filled) => filled,
        _ => pattern,
    });
    segments.collect::<Vec<_>>().join("/")
}

/// Whether it is written like an id: a short name, then a ULID.
pub(in super::super) fn is_an_id(text: &str) -> bool {
    let Some((name, ulid)) = text.split_once('_') else { return false };
    (2..=4).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase())
        && ulid.len() == 26
        && ulid.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit())
}

fn header<'a>(parts: &'a Parts, name: &'static str) -> Result<Option<&'a str>, Problem> {
    let value = parts.headers.get(name).map(|value| value.to_str());
    value.transpose().map_err(|_| Problem::field(name, "is ASCII"))
}
