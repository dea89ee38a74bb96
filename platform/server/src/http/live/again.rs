//! Who called, asked again for as long as the reply goes on.

use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tokio::time::Instant;

use wotp_core::app::{ApiCaller, Holder};

use super::ASK_AGAIN_EVERY;
use crate::http::Api;
use crate::http::auth::{AskedAgain, Caller, OfPerson, Privilege};

/// What a call was authenticated with.
pub(crate) struct Again {
    parts: Parts,
    asked_at: Instant,
}

impl<S: Send + Sync> FromRequestParts<S> for Again {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts))
    }
}

impl Again {
    pub(super) fn of(parts: &Parts) -> Self {
        Self { parts: parts.clone(), asked_at: Instant::now() }
    }

    /// Whether the caller still has the privilege `P`, as of a few seconds ago. What else they may is then in
    /// `caller`: it may be less than when they called.
    pub(super) async fn holds<P: Privilege>(&mut self, api: &Arc<Api>, caller: &mut ApiCaller) -> bool {
        if self.asked_at.elapsed() < ASK_AGAIN_EVERY {
            return true;
        }
        let (api, mut parts) = (Arc::clone(api), self.parts.clone());
        let person = match &caller.holder {
            Holder::Member(member) => {
                Some(OfPerson { user: member.user, session: member.session, tenant: caller.tenant.id })
            }
            Holder::Key(_) | Holder::Platform => None,
        };
        parts.extensions.insert(AskedAgain(person));
        let asked = tokio::spawn(async move {
            let asked = Caller::<P>::from_request_parts(&mut parts, &api).await;
            asked.ok().map(|caller| (*caller).clone())
        });
        self.asked_at = Instant::now();
        let Ok(Some(now)) = asked.await else { return false };
        *caller = now;
        true
    }
}
