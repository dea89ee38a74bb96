//! Direct messages: text that goes out through the same channels, without a code.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::dispatch::{DeliveryFailure, DeliveryStatus, Dispatch, Outcome, Receipt, Turn, Verdict};
use super::guard::{GuardNote, note};
use super::id::{ApiKeyId, DeliveryId, MessageId, ServiceId, TenantId};
use super::locale::Locale;
use super::mode::Mode;
use super::quota::Counted;
use super::service::Retention;
use super::vault::Sealed;
use super::verification::{StoredAddress, Wake, days_after};

/// Longest content, in characters. Source: the WOTP API.
pub const CONTENT_LENGTH_MAX: usize = 2048;
/// How long delivery is tried.
pub const DELIVERY_TIME: SignedDuration = SignedDuration::from_mins(10);

/// A direct message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Whose it is.
    pub tenant: TenantId,
    /// For which product.
    pub service: ServiceId,
    /// Which key sent it; none when a member did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ApiKeyId>,
    /// Counts changes, for compare-and-swap.
    pub version: u64,
    /// Live or test.
    pub mode: Mode,
    /// Where it goes; gone once retention ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<StoredAddress>,
    /// What it says; gone once it is sent or has failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sealed>,
    /// The sender's name, for channels that show one.
    pub brand: String,
    /// The language, for channels that ask.
    pub locale: Locale,
    /// How long to wait for a channel's acknowledgement.
    pub ack_timeout_seconds: u32,
    /// How long things are kept.
    pub retention: Retention,
    /// How it gets out.
    pub dispatch: Dispatch,
    /// How it was counted against the plan.
    pub counted: Counted,
    /// What the guard did with it, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guard: Vec<GuardNote>,
    /// When it was accepted.
    pub created_at: Timestamp,
}

impl Message {
    /// Where the message stands: as its best delivery. One that the guard stopped has none, and has failed.
    pub fn status(&self) -> DeliveryStatus {
        if self.is_blocked() {
            return DeliveryStatus::Failed;
        }
        let best =
            self.dispatch.deliveries.iter().filter(|delivery| delivery.got_out()).map(|delivery| delivery.status).max();
        best.or_else(|| self.dispatch.current().map(|delivery| delivery.status)).unwrap_or(DeliveryStatus::Queued)
    }

    /// Whether the guard stopped it.
    pub fn is_blocked(&self) -> bool {
        note::Verdict::of(&self.guard).is_some_and(|verdict| verdict.blocked)
    }

    /// Stops it before anything went out, for what the guard noted: it is kept, reaches no channel and is not
    /// counted.
    pub fn block(&mut self, notes: Vec<GuardNote>) {
        self.guard = notes;
        self.content = None;
        self.dispatch.deliveries.clear();
        self.dispatch.turn = Turn::Settled;
        self.counted.refunded = true;
    }

    /// When delivery is given up.
    pub fn deadline(&self) -> Timestamp {
        self.created_at.saturating_add(DELIVERY_TIME).unwrap_or(Timestamp::MAX)
    }

    /// Applies what came of a call to a channel. A message that no channel took is not counted.
    pub fn settle(&mut self, verdict: Verdict, now: Timestamp, next_id: impl FnOnce() -> DeliveryId) -> Outcome {
        let outcome = self.dispatch.settle(verdict, now, self.deadline(), next_id);
        match outcome {
            Outcome::Sent => self.content = None,
            Outcome::Exhausted => self.give_up(now),
            Outcome::Again(_) => {}
        }
        outcome
    }

    fn give_up(&mut self, now: Timestamp) {
        self.content = None;
        if !self.dispatch.got_out() && !self.dispatch.may_have_got_out(now) {
            self.counted.refunded = true;
        }
    }

    /// Applies a receipt; says whether it told anything new.
    pub fn record(&mut self, delivery: DeliveryId, receipt: Receipt, now: Timestamp) -> bool {
        self.dispatch.record(delivery, receipt, now)
    }

    /// Ends what could not be delivered in time; says whether that changed anything.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let over = now >= self.deadline() && self.dispatch.is_due(now);
        if over {
            self.dispatch.cut(DeliveryFailure::Expired, now);
            self.give_up(now);
        }
        over
    }

    /// Gives it up by hand; says whether that changed anything.
    pub fn discard(&mut self, now: Timestamp) -> bool {
        let open = self.dispatch.turn != Turn::Settled;
        if open {
            self.dispatch.cut(DeliveryFailure::Canceled, now);
            self.give_up(now);
        }
        open
    }

    /// Erases the address and the content.
    pub fn redact(&mut self) {
        self.address = None;
        self.content = None;
    }

    /// The next moment at which [`wake`](Self::wake) has something to say.
    pub fn wake_at(&self) -> Timestamp {
        match self.dispatch.turn {
            Turn::Due { at } => at,
            Turn::Leased { until, .. } => until,
            Turn::Settled if self.address.is_some() => days_after(self.created_at, self.retention.addresses_days),
            Turn::Settled => days_after(self.created_at, self.retention.records_days),
        }
    }

    /// What the passing of time asks for at `now`.
    pub fn wake(&self, now: Timestamp) -> Wake {
        if now < self.wake_at() {
            return Wake::Wait;
        }
        match self.dispatch.turn {
            Turn::Settled if self.address.is_some() => Wake::Redact,
            Turn::Settled => Wake::Delete,
            _ if now >= self.deadline() => Wake::Expire,
            _ => Wake::Ring,
        }
    }
}
