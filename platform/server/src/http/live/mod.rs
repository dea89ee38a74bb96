//! Replies that wait: for a verification to change, and for events.
//!
//! Their heads go out at once and their bodies come later. So no limit on how long a request may take cuts
//! them off, and a client that hangs up drops the body and with it all that was waiting.

mod again;
pub(super) mod connection;
mod places;
pub(super) mod stream;
mod wait;

use std::time::Duration;

use again::Again;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::response::{IntoResponse as _, Response};
pub(super) use places::Places;
pub(super) use wait::{Wait, verification};
use wotp_core::app::Refusal;

use super::{Api, Problem, ProblemCode};

/// How often it is looked for what other nodes did, and whether this one is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long nothing is said at most, so that nobody in between takes the connection for dead.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How often it is asked whether the caller still may see what is waited for.
const ASK_AGAIN_EVERY: Duration = Duration::from_secs(5);

/// Reads to its end, also when nobody waits for it any more: a driver of a database may keep a place in line
/// for what is given up half way.
async fn whole<T: Send + 'static>(
    read: impl Future<Output = Result<T, Refusal>> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::spawn(read).await {
        Ok(read) => read,
        Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
    }
}

/// A reply of Server-Sent Events.
fn event_stream(body: Body) -> Response {
    // Proxies that gather replies before they pass them on are told not to.
    let headers = [(CONTENT_TYPE, "text/event-stream"), (HeaderName::from_static("x-accel-buffering"), "no")];
    (headers, body).into_response()
}

/// Refuses what would wait on a node that is about to stop.
fn stays(api: &Api) -> Result<(), Problem> {
    if is_stopping(api) {
        return Err(Problem::new(
            ProblemCode::Unavailable,
            "this node is about to stop: connect again, and another one answers",
        ));
    }
    Ok(())
}

fn is_stopping(api: &Api) -> bool {
    !api.settings.ready.load(std::sync::atomic::Ordering::Acquire)
}
