//! What becomes of one event at one endpoint.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::schedule;
use crate::domain::Timestamp;
use crate::domain::dispatch::LeaseToken;
use crate::domain::event::{self, Event};
use crate::domain::id::{EndpointId, EventId, TenantId, WebhookDeliveryId};
use crate::ports::{Entity, IndexKey, Owner};

/// Attempts that are kept: those of a replay push out the first.
const ATTEMPTS_KEPT: usize = 20;
/// Most characters of an answer that are kept.
pub const ANSWER_LENGTH_MAX: usize = 500;
/// How long a hold lasts: longer than an attempt may take.
pub const HOLD: SignedDuration = SignedDuration::from_secs(20);
/// How much of a hold is left when a call begins: as much as a call may take, and a moment to write down what came of
/// it.
const CALL_ROOM: SignedDuration = SignedDuration::from_secs(16);

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WebhookStatus {
    /// It is tried, now or later.
    Pending,
    /// It was taken.
    Delivered,
    /// It is not tried any more.
    Failed,
}

/// Why a delivery is not tried any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GivenUp {
    /// Every attempt failed.
    Exhausted,
    /// The endpoint answered 410.
    Gone,
    /// The endpoint was disabled, or its tenant deleted.
    Disabled,
    /// It waited for its endpoint for longer than all attempts take.
    Expired,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub latency_ms: u64,
    /// What the endpoint answered; none when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Why there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The beginning of the answer's body.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub answer: String,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttemptVerdict {
    /// It was taken.
    Taken,
    /// It was not.
    Refused {
        /// How long the answer asks us to wait.
        after: Option<SignedDuration>,
        /// Whether the endpoint is to be left alone for a while: it was not there, or asked for fewer calls.
        rest: bool,
    },
    /// The endpoint is not there any more, and says so.
    Gone,
}

impl AttemptVerdict {
    /// What a status and its `Retry-After` mean. Source: Standard Webhooks 1.0.
    pub fn of(status: u16, retry_after: Option<&str>, now: Timestamp) -> Self {
        match status {
            200..=299 => Self::Taken,
            410 => Self::Gone,
            _ => Self::Refused {
                after: retry_after.and_then(|text| schedule::retry_after(text, now)),
                rest: matches!(status, 429 | 502 | 504) || (status == 503 && retry_after.is_some()),
            },
        }
    }
}

impl WebhookDeliveryId {
    /// The one id that an event has at an endpoint. It sorts by the event's time.
    pub fn of(event: EventId, endpoint: EndpointId) -> Self {
        let event = event.to_bytes();
        let digest = Sha256::new().chain_update(event).chain_update(endpoint.to_bytes()).finalize();
        let mut id = [0; 16];
        id[..6].copy_from_slice(&event[..6]);
        id[6..].copy_from_slice(&digest[..10]);
        Self::from_bytes(id)
    }
}

/// What becomes of one event at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebhookDelivery {
    /// Its id, [`WebhookDeliveryId::of`] the event and the endpoint.
    pub id: WebhookDeliveryId,
    /// Whose it is.
    pub tenant: TenantId,
    /// To which endpoint.
    pub endpoint: EndpointId,
    /// Which event.
    pub event: EventId,
    /// Of which kind it is.
    pub kind: String,
    /// Where it stands.
    pub status: WebhookStatus,
    /// Why it is not tried any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub given_up: Option<GivenUp>,
    /// Attempts since it was made or replayed.
    pub tries: u8,
    /// When it is tried, or when the hold of whoever tries it ends.
    pub next_at: Timestamp,
    /// Whose hold it is, while it is tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_by: Option<LeaseToken>,
    /// Whether it waits for its endpoint to have room, and for no moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub parked: bool,
    /// When it was made or replayed; none means when the event happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending_since: Option<Timestamp>,
    /// The last attempts, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attempts: Vec<Attempt>,
    /// When the event happened.
    pub created_at: Timestamp,
}

impl WebhookDelivery {
    /// The index of those that wait for their endpoint.
    pub const PARKED: &'static str = "parked";

    /// A delivery that is due at `at`.
    pub fn due(event: &Event, endpoint: EndpointId, at: Timestamp) -> Self {
        Self {
            id: WebhookDeliveryId::of(event.id, endpoint),
            tenant: event.tenant,
            endpoint,
            event: event.id,
            kind: event.kind.clone(),
            status: WebhookStatus::Pending,
            given_up: None,
            tries: 0,
            next_at: at,
            held_by: None,
            parked: false,
            pending_since: Some(at),
            attempts: Vec::new(),
            created_at: event.at,
        }
    }

    /// Holds it for whoever tries it.
    pub fn hold(&mut self, token: LeaseToken, now: Timestamp) {
        self.held_by = Some(token);
        self.parked = false;
        self.next_at = now.saturating_add(HOLD).unwrap_or(Timestamp::MAX);
    }

    /// Whether this hold is in force, or was, and nobody took it over.
    pub fn is_held(&self, token: LeaseToken) -> bool {
        self.status == WebhookStatus::Pending && self.held_by == Some(token)
    }

    /// Whether a call that begins now is over before the hold is.
    pub fn has_time(&self, now: Timestamp) -> bool {
        self.next_at.duration_since(now) >= CALL_ROOM
    }

    /// Lets it wait until its endpoint has room.
    pub fn park(&mut self) {
        self.held_by = None;
        self.parked = true;
    }

    /// When it has waited for too long.
    pub fn expires_at(&self) -> Timestamp {
        self.pending_since.unwrap_or(self.created_at).saturating_add(schedule::SPAN).unwrap_or(Timestamp::MAX)
    }

    /// Tries it again, with all attempts before it.
    pub fn replay(&mut self, now: Timestamp) {
        self.status = WebhookStatus::Pending;
        self.given_up = None;
        self.tries = 0;
        self.held_by = None;
        self.parked = false;
        self.pending_since = Some(now);
        self.next_at = now;
    }

    /// Tries it no more.
    pub fn give_up(&mut self, why: GivenUp) {
        self.status = WebhookStatus::Failed;
        self.given_up = Some(why);
        self.held_by = None;
        self.parked = false;
    }

    /// Applies what came of an attempt. `dice` spreads what failed together.
    pub fn settle(&mut self, attempt: Attempt, verdict: AttemptVerdict, now: Timestamp, dice: u16) {
        self.tries = self.tries.saturating_add(1);
        self.held_by = None;
        self.attempts.push(attempt);
        let more = self.attempts.len().saturating_sub(ATTEMPTS_KEPT);
        self.attempts.drain(..more);
        match verdict {
            AttemptVerdict::Taken => self.status = WebhookStatus::Delivered,
            AttemptVerdict::Gone => self.give_up(GivenUp::Gone),
            AttemptVerdict::Refused { after, .. } => match schedule::pause(self.tries, after, dice) {
                Some(pause) => self.next_at = now.saturating_add(pause).unwrap_or(Timestamp::MAX),
                None => self.give_up(GivenUp::Exhausted),
            },
        }
    }

    /// When it is deleted, if it is pending no more: as long after it was made or replayed as events are kept, so
    /// that what came of a replay is there to be seen.
    pub fn kept_until(&self) -> Timestamp {
        let since = self.pending_since.unwrap_or(self.created_at).max(self.created_at);
        since.saturating_add(event::KEPT).unwrap_or(Timestamp::MAX)
    }
}

impl Entity for WebhookDelivery {
    const KIND: &'static str = "webhook_delivery";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// Under its endpoint, and once more where it waits for it or failed.
    fn listed(&self) -> Vec<IndexKey> {
        let mut keys = vec![IndexKey::new("endpoint", self.endpoint.to_bytes())];
        if self.status == WebhookStatus::Failed {
            keys.push(IndexKey::new("failed", self.endpoint.to_bytes()));
        }
        if self.parked {
            keys.push(IndexKey::new(Self::PARKED, self.endpoint.to_bytes()));
        }
        keys
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(match self.status {
            WebhookStatus::Pending if self.parked => self.expires_at(),
            WebhookStatus::Pending => self.next_at,
            WebhookStatus::Delivered | WebhookStatus::Failed => self.kept_until(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn delivery() -> WebhookDelivery {
        let event = Event {
            id: EventId::from_bytes([1; 16]),
            tenant: TenantId::from_bytes([2; 16]),
            kind: "webhook.test".to_owned(),
            at: NOW,
            data: json!({}),
            service: None,
            fanned_out: false,
        };
        WebhookDelivery::due(&event, EndpointId::from_bytes([3; 16]), NOW)
    }

    fn attempt() -> Attempt {
        Attempt { at: NOW, latency_ms: 1, status: Some(500), error: None, answer: String::new() }
    }

    #[test]
    fn it_is_tried_ten_times_and_given_up() {
        let mut delivery = delivery();
        let refused = AttemptVerdict::Refused { after: None, rest: false };
        for _ in 1..schedule::ATTEMPTS {
            delivery.settle(attempt(), refused, NOW, 0);
            assert_eq!(delivery.status, WebhookStatus::Pending);
        }
        delivery.settle(attempt(), refused, NOW, 0);
        assert_eq!((delivery.status, delivery.given_up), (WebhookStatus::Failed, Some(GivenUp::Exhausted)));
        assert!(delivery.listed().iter().any(|key| key.index == "failed"));
        assert_eq!(delivery.wake_at(), Some(delivery.kept_until()));
    }

    #[test]
    fn a_replay_has_every_attempt_before_it_and_keeps_the_last_twenty() {
        let mut delivery = delivery();
        for _ in 0..30 {
            delivery.replay(NOW);
            delivery.settle(attempt(), AttemptVerdict::Taken, NOW, 0);
        }
        assert_eq!((delivery.tries, delivery.attempts.len()), (1, 20));
    }

    #[test]
    fn a_hold_that_was_taken_over_is_lost() {
        let mut delivery = delivery();
        delivery.hold(1, NOW);
        assert!(delivery.is_held(1));
        delivery.hold(2, NOW);
        assert!(!delivery.is_held(1));
    }

    #[test]
    fn one_that_is_parked_asks_for_nothing_until_it_has_waited_for_longer_than_all_attempts_take() {
        let mut delivery = delivery();
        delivery.park();
        assert_eq!(delivery.wake_at(), Some(NOW + schedule::SPAN));
        assert!(delivery.listed().iter().any(|key| key.index == WebhookDelivery::PARKED));
        let later = NOW + SignedDuration::from_hours(30 * 24);
        delivery.replay(later);
        delivery.park();
        assert_eq!(delivery.expires_at(), later + schedule::SPAN, "a replay of an old event waits as long");
        delivery.hold(1, later);
        assert_eq!(delivery.wake_at(), Some(later + HOLD));
        assert_eq!(delivery.listed().len(), 1);
    }

    #[test]
    fn answers_mean_what_the_standard_says() {
        let of = |status, after| AttemptVerdict::of(status, after, NOW);
        assert_eq!(of(204, None), AttemptVerdict::Taken);
        assert_eq!(of(410, None), AttemptVerdict::Gone);
        let refused = |rest| AttemptVerdict::Refused { after: None, rest };
        for status in [301, 302, 307, 400, 404, 500] {
            assert_eq!(of(status, None), refused(false), "{status}");
        }
        for status in [429, 502, 504] {
            assert_eq!(of(status, None), refused(true), "{status}");
        }
        let after = Some(SignedDuration::from_secs(9));
        assert_eq!(of(503, Some("9")), AttemptVerdict::Refused { after, rest: true });
    }
}
