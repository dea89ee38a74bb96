//! `GET /v1/connections/{id}/stream`: where a connection stands, as Server-Sent Events.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use tokio::time::Instant;
use wotp_core::app::{ApiCaller, ConnectionSeen};
use wotp_core::domain::id::ConnectionId;
use wotp_core::domain::live_connection::LiveStatus;

use super::places::Place;
use super::{Again, HEARTBEAT, LOOK_EVERY, event_stream, is_stopping, stays, whole};
use crate::http::auth::{Caller, ConnectionsRead, ConnectionsWrite, Privilege as _};
use crate::http::connections::ConnectionView;
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem};

/// How often a connection is looked at that stands still: it tells of a change that late at most.
const STILL_EVERY: Duration = Duration::from_secs(2);
/// How long one that has changed does not stand still: what somebody had it do shows soon.
const STILL_AFTER: Duration = Duration::from_secs(15);

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
        said: Said::default(),
        changed_at: Instant::now(),
        said_at: Instant::now(),
        looked_at: Instant::now(),
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
    said: Said,
    changed_at: Instant,
    said_at: Instant,
    looked_at: Instant,
    is_over: bool,
}

impl Streamed {
    /// What is said next; nothing when the stream is over.
    async fn next(&mut self) -> Option<String> {
        if let Some(message) = self.first.take().and_then(|first| self.message(first)) {
            return Some(message);
        }
        loop {
            if self.is_over || is_stopping(&self.api) {
                return None;
            }
            tokio::time::sleep(LOOK_EVERY).await;
            if self.said_at.elapsed() >= HEARTBEAT {
                self.said_at = Instant::now();
                return Some(":\n\n".to_owned());
            }
            if self.looked_at.elapsed() < self.said.look_every(self.changed_at.elapsed()) {
                continue;
            }
            self.looked_at = Instant::now();
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
                    if let Some(message) = self.message(seen) {
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
        }
    }

    /// A connection in the words of Server-Sent Events, if it is another than was said.
    fn message(&mut self, seen: ConnectionSeen) -> Option<String> {
        let links = self.caller.may(ConnectionsWrite::PERMISSION);
        let seen = self.said.another(seen, links)?;
        (self.changed_at, self.said_at) = (Instant::now(), Instant::now());
        let data = serde_json::to_string(&ConnectionView::of(seen, &self.caller)).expect("a connection serialises");
        Some(format!("event: connection\ndata: {data}\n\n"))
    }
}

/// What was said last, before it was drawn: to draw its QR is most of the work.
#[derive(Default)]
struct Said {
    /// And whether to somebody who may link a phone.
    last: Option<(ConnectionSeen, bool)>,
}

impl Said {
    /// What is seen, to be said, if that is another.
    fn another(&mut self, seen: ConnectionSeen, links: bool) -> Option<ConnectionSeen> {
        if self.last.as_ref().is_some_and(|(last, linked)| *last == seen && *linked == links) {
            return None;
        }
        self.last = Some((seen.clone(), links));
        Some(seen)
    }

    /// How often to look at what has been as it is for so long: often, where something is about to change.
    fn look_every(&self, unchanged_for: Duration) -> Duration {
        let moves = match &self.last {
            Some((ConnectionSeen::Live(seen), _)) => {
                let status = seen.standing.as_ref().map(|standing| standing.status);
                seen.kept && matches!(status, Some(LiveStatus::Pairing | LiveStatus::Connecting))
            }
            _ => false,
        };
        if moves || unchanged_for < STILL_AFTER { LOOK_EVERY } else { STILL_EVERY }
    }
}

#[cfg(test)]
mod tests {
    use wotp_core::app::LiveSeen;
    use wotp_core::domain::Timestamp;
    use wotp_core::domain::id::TenantId;
    use wotp_core::domain::live_connection::{Connect, LiveConnection, Shown, Standing, Wish};

    use super::*;

    const NOON: Timestamp = Timestamp::UNIX_EPOCH;

    fn seen(wish: Wish, status: Option<LiveStatus>, qr: Option<&str>) -> ConnectionSeen {
        let qr = qr.map(|text| Shown { text: text.to_owned(), expires_at: NOON });
        let connection = LiveConnection {
            id: ConnectionId::from_bytes([1; 16]),
            tenant: TenantId::from_bytes([1; 16]),
            channel: "whatsapp".to_owned(),
            name: "our number".to_owned(),
            wish,
            auto_reply: None,
            risk_accepted_at: None,
            code_asked_at: None,
            created_at: NOON,
            updated_at: NOON,
        };
        let standing = status.map(|status| Standing {
            status,
            reason: None,
            since: NOON,
            until: None,
            number: None,
            qr,
            code: None,
            health: None,
        });
        ConnectionSeen::from(LiveSeen { connection, standing, kept: true, served: true })
    }

    fn connects() -> Wish {
        Wish::Connect(Connect { asked_at: NOON, code_for: None })
    }

    #[test]
    fn what_is_as_it_was_is_not_drawn_again() {
        let mut said = Said::default();
        let mut says = |qr, links| said.another(seen(connects(), Some(LiveStatus::Pairing), Some(qr)), links).is_some();
        assert!(says("1", false));
        assert!(!says("1", false));
        assert!(says("1", true), "it may be shown by now");
        assert!(!says("1", true));
        assert!(says("2", true));
    }

    #[test]
    fn a_connection_is_looked_at_often_only_while_it_is_about_to_change() {
        let every = |status, seconds| {
            let mut said = Said::default();
            said.another(seen(connects(), status, None), true);
            said.look_every(Duration::from_secs(seconds))
        };
        for status in [LiveStatus::Pairing, LiveStatus::Connecting] {
            assert_eq!(every(Some(status), 500), LOOK_EVERY, "{status:?}");
        }
        for status in [None, Some(LiveStatus::Unpaired), Some(LiveStatus::Connected), Some(LiveStatus::Replaced)] {
            assert_eq!([every(status, 14), every(status, 15)], [LOOK_EVERY, STILL_EVERY], "{status:?}");
        }
    }
}
