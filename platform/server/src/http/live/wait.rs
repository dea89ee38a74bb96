//! `GET /v1/verifications/{id}?wait=30`: answers once the verification has changed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::time::Instant;
use wotp_core::app::{ApiCaller, App};
use wotp_core::domain::dispatch::DeliveryStatus;
use wotp_core::domain::id::{DeliveryId, VerificationId};
use wotp_core::domain::verification::{Status, Verification};

use super::places::Place;
use super::{Again, LOOK_EVERY, is_stopping, whole};
use crate::http::auth::VerificationsRead;
use crate::http::verifications::{VerificationView, refused, view};
use crate::http::{Api, Problem};

/// Longest wait, in seconds.
const WAIT_MAX_SECONDS: u64 = 60;

/// How long to wait and for whom, as the query string says; none when it says nothing, or not at all.
pub(crate) struct Wait(pub(crate) Option<(Duration, Again)>);

impl Wait {
    fn read(query: &str) -> Result<Duration, Problem> {
        let mut wait = Duration::ZERO;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if name != "wait" {
                return Err(Problem::field(name, "is no parameter of this path"));
            }
            let seconds = value.parse().ok().filter(|seconds| *seconds <= WAIT_MAX_SECONDS);
            let seconds = seconds.ok_or_else(|| Problem::field("wait", "is 0 to 60 seconds"))?;
            wait = Duration::from_secs(seconds);
        }
        Ok(wait)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let wait = Self::read(parts.uri.query().unwrap_or_default())?;
        Ok(Self((!wait.is_zero()).then(|| (wait, Again::of(parts)))))
    }
}

/// What of a verification is waited for: what its reply shows, and not what workers note for themselves.
type Shape = (Status, u8, u8, usize, Vec<(DeliveryId, DeliveryStatus)>);

fn shape(verification: &Verification) -> Shape {
    let deliveries = verification.dispatch.deliveries.iter();
    let deliveries = deliveries.map(|delivery| (delivery.id, delivery.status)).collect();
    let Verification { status, checks_used, other_numbers, sends, .. } = verification;
    (*status, *checks_used, *other_numbers, sends.len(), deliveries)
}

/// The verification, at once if it has ended, else when it has changed or the time is up.
///
/// # Errors
/// As for one that is read without waiting.
pub(crate) async fn verification(
    api: Arc<Api>,
    caller: ApiCaller,
    id: VerificationId,
    (wait, again): (Duration, Again),
) -> Result<Response, Problem> {
    let until = Instant::now() + wait;
    let place = api.waiting.take(caller.tenant.id)?;
    // Before it is read: a change in between is heard.
    let watch = api.app.watch_verification(id);
    let found = api.app.find_verification(&caller, id).await.map_err(|refusal| refused(&api, refusal))?;
    if found.status != Status::Pending || is_stopping(&api) {
        return Ok(axum::Json(view(&api, &caller, found)?).into_response());
    }
    let mut waiting = Waiting { api, caller, again, watch, place, until };
    let body = stream::once(async move { waiting.wait(found).await });
    Ok(([(CONTENT_TYPE, "application/json")], Body::from_stream(body)).into_response())
}

/// One that waits.
struct Waiting {
    api: Arc<Api>,
    caller: ApiCaller,
    again: Again,
    watch: wotp_core::app::Watch,
    #[expect(dead_code, reason = "held until the reply is done")]
    place: Place,
    until: Instant,
}

impl Waiting {
    /// The body. An error cuts the reply off: its head went out before.
    async fn wait(&mut self, mut found: Verification) -> io::Result<Vec<u8>> {
        let first = shape(&found);
        while shape(&found) == first && Instant::now() < self.until && !is_stopping(&self.api) {
            let look = tokio::time::sleep_until(self.until.min(Instant::now() + LOOK_EVERY));
            tokio::select! {
                () = self.watch.changed() => {}
                () = look => {}
            }
            if !self.again.holds::<VerificationsRead>(&self.api, &mut self.caller).await {
                return Err(io::Error::other("the caller may not see it any more"));
            }
            let (app, caller, id) = (Arc::clone(&self.api.app), self.caller.clone(), found.id);
            found = whole(async move { read(&app, &caller, id).await }).await.map_err(io::Error::other)?;
        }
        let view: VerificationView =
            view(&self.api, &self.caller, found).map_err(|problem| io::Error::other(problem.detail().to_owned()))?;
        serde_json::to_vec(&view).map_err(io::Error::other)
    }
}

async fn read(app: &App, caller: &ApiCaller, id: VerificationId) -> Result<Verification, wotp_core::app::Refusal> {
    app.find_verification(caller, id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_up_to_60_seconds_and_nothing_else_is_asked() {
        for (query, seconds) in [("", 0), ("wait=0", 0), ("wait=30", 30), ("wait=60", 60), ("wait=1&wait=2", 2)] {
            assert_eq!(Wait::read(query).unwrap(), Duration::from_secs(seconds), "{query}");
        }
        for query in
            ["wait=61", "wait=-1", "wait=", "wait", "wait=1.5", "wait=30s", "wai=30", "wait=18446744073709551616"]
        {
            assert!(Wait::read(query).is_err(), "{query}");
        }
    }
}
