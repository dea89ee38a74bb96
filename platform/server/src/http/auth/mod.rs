//! Who may do what: privilege is a type in the handler's signature.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath};
use axum::http::header::{AUTHORIZATION, USER_AGENT};
use axum::http::request::Parts;
use futures_util::future::join;
use wotp_core::app::{ApiCaller, Whence};
use wotp_core::domain::api_key::Secret;
use wotp_core::domain::permission::Permission;

use super::client_ip::ClientIp;
use super::layers::RequestId;
use super::verifications::refused;
use super::{Api, Problem};

mod person;

pub(super) use person::{
    AskedAgain, From, FromAtAnyTime, MaybePerson, OfPerson, Operator, Person, PersonAtAnyTime, is_an_id,
};

/// A permission as a type.
pub(super) trait Privilege: Send + Sync + 'static {
    /// The permission that it stands for.
    const PERMISSION: Permission;
}

macro_rules! privileges {
    ($($name:ident,)+) => {$(
        #[doc = concat!("The caller has the permission `", stringify!($name), "`.")]
        pub(super) struct $name;

        impl Privilege for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )+};
}

privileges! {
    VerificationsWrite, VerificationsRead, MessagesWrite, MessagesRead, ServicesRead, ServicesWrite, UsageRead,
    EventsRead, WebhooksRead, WebhooksWrite,
    GuardRead, GuardWrite, ConnectionsRead, ConnectionsWrite,
    AnalyticsRead,
    KeysRead, KeysWrite, AuditRead,
    TenantRead, TenantWrite, TenantDelete, MembersRead, MembersWrite, OwnershipTransfer,
}

/// Somebody who has the permission `P`: a program with a key, or a member with a session.
pub(super) struct Caller<P>(ApiCaller, PhantomData<P>);

impl<P> Deref for Caller<P> {
    type Target = ApiCaller;

    fn deref(&self) -> &ApiCaller {
        &self.0
    }
}

impl<P: Privilege> FromRequestParts<Arc<Api>> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let calls = async {
            match Credential::of(parts) {
                Credential::AccessToken(_) => person::member(parts, api, P::PERMISSION).await,
                Credential::Key(_) | Credential::None => of_its_key(parts, program(parts, api).await?),
            }
        };
        // Both at once: a store that is far is waited for once. Who calls is answered first.
        let (caller, changes) = join(calls, may_change(parts, api, P::PERMISSION.changes())).await;
        let caller = caller?;
        allow::<P>(&caller, api)?;
        changes?;
        Ok(Self(caller, PhantomData))
    }
}

/// A member with a session who has the permission `P`. A program with a key is told that this is for people.
pub(super) struct Member<P>(ApiCaller, PhantomData<P>);

impl<P> Deref for Member<P> {
    type Target = ApiCaller;

    fn deref(&self) -> &ApiCaller {
        &self.0
    }
}

impl<P: Privilege> FromRequestParts<Arc<Api>> for Member<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let (caller, changes) =
            join(person::member(parts, api, P::PERMISSION), may_change(parts, api, P::PERMISSION.changes())).await;
        let caller = caller?;
        allow::<P>(&caller, api)?;
        changes?;
        Ok(Self(caller, PhantomData))
    }
}

fn allow<P: Privilege>(caller: &ApiCaller, api: &Api) -> Result<(), Problem> {
    caller.require(P::PERMISSION).map_err(|refusal| {
        tracing::info!(by = ?caller.by().actor, ip = caller.ip.map(tracing::field::display), reason = %refusal, "a call was not allowed");
        refused(api, refusal)
    })
}

/// What is read by POST, since what it is about has no place in a path: a text, a secret.
const READ_BY_POST: [&str; 2] = ["/v1/services/{id}/templates/preview", "/v1/invitations/preview"];

/// Insists that no maintenance goes on where something is to be changed: by what is asked for, or because that
/// takes a permission to change things.
async fn may_change(parts: &Parts, api: &Api, changes: bool) -> Result<(), Problem> {
    let reads = || {
        parts.method.is_safe()
            || parts.extensions.get::<MatchedPath>().is_some_and(|path| READ_BY_POST.contains(&path.as_str()))
    };
    if !changes && reads() {
        return Ok(());
    }
    api.app.may_change().await.map_err(|refusal| refused(api, refusal))
}

/// A program, unless its call says that it is about other data than its key is: a header that is not heard could make
/// somebody send codes who means to try, or change a tenant that they did not name.
fn of_its_key(parts: &Parts, caller: ApiCaller) -> Result<ApiCaller, Problem> {
    if person::named_tenant(parts)?.is_some_and(|named| named.parse().ok() != Some(caller.tenant.id)) {
        return Err(Problem::field("WOTP-Tenant", "is for people; whose data a call is about is said by its key"));
    }
    match person::named_mode(parts)? {
        Some(named) if named != caller.mode() => {
            Err(Problem::field("WOTP-Mode", "is for people; whether a call is live or a test is said by its key"))
        }
        _ => Ok(caller),
    }
}

/// The program whose key comes with a call.
async fn program(parts: &Parts, api: &Api) -> Result<ApiCaller, Problem> {
    let whence = whence(parts);
    let key = match Credential::of(parts) {
        Credential::Key(key) => Some(key),
        Credential::AccessToken(_) | Credential::None => None,
    };
    api.app.authenticate(key, whence.ip, whence.request).await.map_err(|refusal| {
        // ASVS 16.3.1. Only what is shown of a key in lists, and only if it is one.
        let shown = key.and_then(|key| Secret::parse(key).ok()).map(|secret| secret.shown().to_owned());
        let ip = whence.ip.map(tracing::field::display);
        tracing::info!(key = shown, ip, reason = %refusal, "a call was not authenticated");
        refused(api, refusal)
    })
}

/// What comes with a call to let it in.
enum Credential<'a> {
    /// `Authorization: Bearer wk_…`, or `X-API-Key: wk_…` as WOTP clients send it.
    Key(&'a str),
    /// `Authorization: Bearer eyJ…`
    AccessToken(&'a str),
    None,
}

impl<'a> Credential<'a> {
    /// What a person came with, where it is not plainly a key: an access token, however it is spelled.
    fn token(&self) -> Option<&'a str> {
        match *self {
            Self::AccessToken(token) => Some(token),
            Self::Key(text) if !text.starts_with("wk_") => Some(text),
            Self::Key(_) | Self::None => None,
        }
    }

    fn of(parts: &'a Parts) -> Self {
        if let Some(value) = parts.headers.get(AUTHORIZATION) {
            let bearer = value.to_str().ok().and_then(|value| value.split_once(' '));
            return match bearer {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    // Each of its three parts is base64url, and the first is of an object.
                    if token.starts_with("eyJ") { Self::AccessToken(token) } else { Self::Key(token) }
                }
                _ => Self::None,
            };
        }
        let key = parts.headers.get("x-api-key").and_then(|value| value.to_str().ok());
        key.map_or(Self::None, Self::Key)
    }
}

/// From where a call comes.
pub(super) fn whence(parts: &Parts) -> Whence {
    Whence {
        ip: parts.extensions.get::<ClientIp>().map(|client| client.0),
        request: parts.extensions.get::<RequestId>().map(|id| Arc::clone(&id.0)),
        agent: parts.headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).map(str::to_owned),
    }
}
