//! `GET /v1/events/stream`: events as they happen, as Server-Sent Events.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;
use tokio::time::Instant;
use wotp_core::app::{Following, Seen, WantedEvents};
use wotp_core::domain::event::Event;
use wotp_core::domain::id::{EventId, IdError};
use wotp_core::domain::webhook::endpoint::EventPattern;

use super::places::Place;
use super::{Again, HEARTBEAT, LOOK_EVERY, event_stream, is_stopping, stays, whole};
use crate::http::auth::{Caller, EventsRead};
use crate::http::events::EventView;
use crate::http::query::Params;
use crate::http::verifications::refused;
use crate::http::{Api, Problem};

const LAST_EVENT_ID: &str = "last-event-id";
/// How long a client waits before it connects again, in milliseconds: it is told at the begin.
const RETRY_MS: u32 = 2000;
/// How often whoever waits while much is looked at, and nothing found, is told how far that is.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long a stream that has much to look at leaves the store to others before it goes on.
const PAUSE: Duration = Duration::from_millis(50);
/// Most kinds of events that a stream is narrowed to.
const TYPES_MAX: usize = 50;

/// What a stream is narrowed to.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StreamParams {
    /// Only of these types, separated by commas, as in `verification.approved,message.*`.
    #[param(example = "verification.*")]
    types: Option<String>,
    /// Only of this service.
    service: Option<String>,
}

impl StreamParams {
    fn wanted(&self) -> Result<WantedEvents, Problem> {
        let kinds = match self.types.as_deref() {
            Some(types) if types.split(',').count() > TYPES_MAX => {
                return Err(Problem::field("types", format!("names at most {TYPES_MAX} types")));
            }
            Some(types) => types.split(',').map(EventPattern::parse).collect::<Result<_, _>>(),
            None => Ok(Vec::new()),
        };
        let service = self.service.as_deref().map(str::parse).transpose();
        Ok(WantedEvents {
            kinds: kinds.map_err(|error| Problem::field("types", error.to_string()))?,
            service: service.map_err(|error: IdError| Problem::field("service", error.to_string()))?,
        })
    }
}

fn last_heard(headers: &HeaderMap) -> Result<Option<EventId>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    // What a client sends that heard nothing yet.
    let text = value.to_str().unwrap_or_default();
    if value.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|error: IdError| Problem::field("Last-Event-ID", error.to_string()))
}

/// Follow events as they happen.
///
/// Server-Sent Events: `id` is the event's id, `event` its type and `data` the event as JSON. Without
/// `Last-Event-ID` it begins now; with it, where that event was, as far back as events are kept. Events come
/// within a second, in the order in which they happened but for one that a node was slow to store. After you
/// connect again, those of the last five seconds before the event that you name come once more: compare ids.
/// A line that begins with a colon is sent every 15 seconds and means nothing. While much is looked at that you did
/// not ask for, an `id` without an event says how far that is: a client that connects again with it goes on there.
///
/// The stream ends when the key is revoked, the session ends or the tenant is suspended, within seconds, and when the
/// server is about to stop: connect again, with the last id.
#[utoipa::path(get, path = "/v1/events/stream", tag = "Events", security(("api_key" = ["events:read"])),
    params(StreamParams, ("Last-Event-ID" = Option<String>, Header, description = "The last event that you heard", example = "evt_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The stream", content_type = "text/event-stream", body = String), crate::http::openapi::AuthProblems, crate::http::openapi::WaitProblems))]
pub(crate) async fn stream_events(
    State(api): State<Arc<Api>>,
    caller: Caller<EventsRead>,
    again: Again,
    headers: HeaderMap,
    Params(params): Params<StreamParams>,
) -> Result<Response, Problem> {
    let (wanted, last) = (params.wanted()?, last_heard(&headers)?);
    stays(&api)?;
    api.app.take_rate(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    let place = Arc::new(api.streams.take(caller.tenant.id)?);
    let following = api.app.follow_events(&caller, wanted, last).await.map_err(|refusal| refused(&api, refusal))?;
    let begin = format!("retry: {RETRY_MS}\n\n");
    let streamed =
        Streamed { api, again, following: Some(following), place, said_at: Instant::now(), begin: Some(begin) };
    let body = stream::unfold(streamed, async |mut streamed| {
        let said = streamed.next().await?;
        Some((Ok::<_, io::Error>(said), streamed))
    });
    Ok(event_stream(Body::from_stream(body)))
}

/// One stream under way.
struct Streamed {
    api: Arc<Api>,
    again: Again,
    /// Not here while it is read.
    following: Option<Following>,
    /// Held until the stream is over, and whatever is still read for it.
    place: Arc<Place>,
    said_at: Instant,
    begin: Option<String>,
}

impl Streamed {
    /// What is said next; nothing when the stream is over.
    async fn next(&mut self) -> Option<String> {
        if let Some(begin) = self.begin.take() {
            return Some(begin);
        }
        loop {
            let caller = self.following.as_mut()?.caller_mut();
            if is_stopping(&self.api) || !self.again.holds::<EventsRead>(&self.api, caller).await {
                return None;
            }
            let Seen { events, reached } = self.look().await?;
            if !events.is_empty() {
                self.said_at = Instant::now();
                return Some(events.into_iter().map(message).collect());
            }
            if let Some(reached) = reached {
                if self.said_at.elapsed() >= PROGRESS {
                    self.said_at = Instant::now();
                    return Some(format!(":\nid: {reached}\n\n"));
                }
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            if self.said_at.elapsed() >= HEARTBEAT {
                self.said_at = Instant::now();
                return Some(":\n\n".to_owned());
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// What is new; nothing when that cannot be read: the client connects again, and goes on where it was.
    async fn look(&mut self) -> Option<Seen> {
        let (app, mut following) = (Arc::clone(&self.api.app), self.following.take()?);
        // Who hangs up leaves its place only once nothing is read for it any more.
        let place = Arc::clone(&self.place);
        let looked = whole(async move {
            let seen = app.next_events(&mut following).await?;
            drop(place);
            Ok((seen, following))
        });
        match looked.await {
            Ok((seen, following)) => {
                self.following = Some(following);
                Some(seen)
            }
            Err(refusal) => {
                tracing::warn!(error = &refusal as &dyn std::error::Error, "a stream of events ends");
                None
            }
        }
    }
}

/// One event in the words of Server-Sent Events.
fn message(event: Event) -> String {
    let (id, kind) = (event.id, event.kind.clone());
    let data = serde_json::to_string(&EventView::from(event)).expect("an event serialises");
    format!("id: {id}\nevent: {kind}\ndata: {data}\n\n")
}
