//! `GET /v1/connections/{id}/stream`: where a connection stands, as Server-Sent Events.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use tokio::time::Instant;
use wotp_core::app::{ApiCaller, ConnectionSeen};
use wotp_core::domain::id::ConnectionId;

use super::places::Place;
use super::{Again, HEARTBEAT, LOOK_EVERY, event_stream, is_stopping, stays, whole};
use crate::http::auth::{Caller, ConnectionsRead};
use crate::http::connections::ConnectionView;
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem};

/// Follow where a connection stands, as while your phone is linked.
///
/// Server-Sent Events: `connection`, with the connection as JSON, at once and whenever it is another; `gone` when it was
/// deleted, and then the stream ends. What links a phone is in it for whoever may change connections. A line that begins with
/// a colon is sent every 15 seconds and means nothing. The stream ends when the key is revoked, the session ends or the
/// tenant is suspended, within seconds, and when the server is about to stop: connect again.
#[utoipa::path(get, path = "/v1/connections/{id}/stream", tag = "Connections", security(("api_key" = ["connections:read"])), params(("id" = String, Path, description = "`con_…`", example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The stream", content_type = "text/event-stream", body = String), crate::http::openapi::AuthProblems, crate::http::openapi::NotFoundProblem, crate::http::openapi::WaitProblems))]
pub(crate) async fn stream_connection(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsRead>,
    again: Again,
    InPath(id): InPath<String>,
) -> Result<Response, Problem> {
    let id = path_id(&id)?;
    stays(&api)?;
    api.app.take_rate(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    let place = Arc::new(api.streams.take(caller.tenant.id)?);
    let first = api.app.find_connection(&caller, id).await.map_err(|refusal| refused(&api, refusal))?;
    let streamed = Streamed {
        api,
        again,
        caller: (*caller).clone(),
        id,
        place,
        first: Some(first),
        said: String::new(),
        said_at: Instant::now(),
        is_over: false,
    };
    Ok(event_stream(Body::from_stream(stream::unfold(streamed, async |mut streamed| {
        let said = streamed.next().await?;
        Some((Ok::<_, io::Error>(said), streamed))
    }))))
}

/// One stream under way.
struct Streamed {
    api: Arc<Api>,
    again: Again,
    caller: ApiCaller,
    id: ConnectionId,
    /// Held until the stream is over, and whatever is still read for it.
    place: Arc<Place>,
    first: Option<ConnectionSeen>,
    /// What was said last.
    said: String,
    said_at: Instant,
    is_over: bool,
}

impl Streamed {
    /// What is said next; nothing when the stream is over.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take() {
            return Some(self.message(first));
        }
        loop {
            if self.is_over || is_stopping(&self.api) {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            if !self.again.holds::<ConnectionsRead>(&self.api, &mut self.caller).await {
                return None;
            }
            let (app, caller, id, place) =
                (Arc::clone(&self.api.app), self.caller.clone(), self.id, Arc::clone(&self.place));
            let looked = whole(async move {
                let _place = place;
                app.find_connection(&caller, id).await
            });
            match looked.await {
                Ok(seen) => {
                    let before = std::mem::take(&mut self.said);
                    let message = self.message(seen);
                    if message != before {
                        return Some(message);
                    }
                }
                Err(wotp_core::app::Refusal::NotFound(_)) => {
                    self.is_over = true;
                    return Some("event: gone\ndata: {}\n\n".to_owned());
                }
                Err(refusal) => {
                    tracing::warn!(error = &refusal as &dyn std::error::Error, "a stream of a connection ends");
                    return None;
                }
            }
            if self.said_at.elapsed() >= HEARTBEAT {
                self.said_at = Instant::now();
                return Some(":\n\n".to_owned());
            }
        }
    }

    /// A connection in the words of Server-Sent Events.
    fn message(&mut self, seen: ConnectionSeen) -> String {
        let view = ConnectionView::of(seen, &self.caller);
        let data = serde_json::to_string(&view).expect("a connection serialises");
        let message = format!("event: connection\ndata: {data}\n\n");
        if self.said != message {
            self.said_at = Instant::now();
        }
        self.said.clone_from(&message);
        message
    }
}
