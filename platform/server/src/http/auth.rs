//! Who may do what: privilege is a type in the handler's signature.

use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use wotp_core::app::ApiCaller;
use wotp_core::domain::api_key::Secret;
use wotp_core::domain::permission::Permission;

use super::client_ip::ClientIp;
use super::layers::RequestId;
use super::{Api, Problem};

/// A permission as a type.
pub(crate) trait Privilege: Send + Sync + 'static {
    /// The permission that it stands for.
    const PERMISSION: Permission;
}

macro_rules! privileges {
    ($($name:ident,)+) => {$(
        #[doc = concat!("The caller has the permission `", stringify!($name), "`.")]
        pub(crate) struct $name;

        impl Privilege for $name {
            const PERMISSION: Permission = Permission::$name;
        }
    )+};
}

privileges! {
    VerificationsWrite, VerificationsRead, MessagesWrite, MessagesRead, ServicesRead, ServicesWrite, UsageRead,
    AnalyticsRead,
    GuardRead, GuardWrite,
    EventsRead, WebhooksRead, WebhooksWrite,
}

/// Somebody who has the permission `P`.
pub(crate) struct Caller<P>(ApiCaller, PhantomData<P>);

impl<P> Deref for Caller<P> {
    type Target = ApiCaller;

    fn deref(&self) -> &ApiCaller {
        &self.0
    }
}

impl<P: Privilege> FromRequestParts<Arc<Api>> for Caller<P> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Self, Problem> {
        let refuse = |refusal| Problem::of(refusal, api.app.ports().clock.now());
        let ip = parts.extensions.get::<ClientIp>().map(|client| client.0);
        let request = parts.extensions.get::<RequestId>().map(|id| Arc::clone(&id.0));
        let caller = match api.app.authenticate(key(parts), ip, request).await {
            Ok(caller) => caller,
            Err(refusal) => {
                // ASVS 16.3.1. Only what is shown of a key in lists, and only if it is one.
                let shown = key(parts).and_then(|key| Secret::parse(key).ok()).map(|secret| secret.shown().to_owned());
                tracing::info!(key = shown, ip = ip.map(tracing::field::display), reason = %refusal, "a call was not authenticated");
                return Err(refuse(refusal));
            }
        };
        caller.require(P::PERMISSION).map_err(|refusal| {
            tracing::info!(by = ?caller.by().actor, ip = ip.map(tracing::field::display), reason = %refusal, "a call was not allowed");
            refuse(refusal)
        })?;
        Ok(Self(caller, PhantomData))
    }
}

/// `Authorization: Bearer wk_…`, or `X-API-Key: wk_…` as WOTP clients send it.
fn key(parts: &Parts) -> Option<&str> {
    if let Some(value) = parts.headers.get(AUTHORIZATION) {
        let (scheme, key) = value.to_str().ok()?.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then_some(key);
    }
    parts.headers.get("x-api-key")?.to_str().ok()
}
