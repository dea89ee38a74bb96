//! Direct messages: text that goes out through the same channels, without a code.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::asking::{self, Again, Asking};
use super::dispatch::{Delivery, DeliveryFailure, DeliveryStatus, Dispatch, Outcome, Receipt, Turn, Verdict};
use super::guard::{GuardNote, note};
use super::id::{ApiKeyId, ConnectionId, DeliveryId, MessageId, ServiceId, TenantId};
use super::locale::Locale;
use super::mode::Mode;
use super::news::{Happening, What};
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
    /// What it says; gone once nothing is left to try: it arrived, or the last channel took it, or its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Sealed>,
    /// The sender's name, for channels that show one.
    pub brand: String,
    /// The language, for channels that ask.
    pub locale: Locale,
    /// The connection that it goes out through, and through no other, where the caller named one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<ConnectionId>,
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
    /// Deliveries that providers are to be asked about. Not within a delivery: a program that does not know of it leaves
    /// it alone here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asking: Vec<Asking>,
    /// What happened since it was read. Stored with the change, beside the record.
    #[serde(skip)]
    pub news: Vec<Happening>,
}

impl Message {
    /// The delivery by which the message is judged: the one that got furthest, or else the one at hand.
    fn best(&self) -> Option<&Delivery> {
        let out = self.dispatch.deliveries.iter().filter(|delivery| delivery.got_out());
        let best = out.filter(|delivery| delivery.status != DeliveryStatus::Failed).max_by_key(|best| best.status);
        best.or_else(|| self.dispatch.current())
    }

    /// Where the message stands: as its best delivery. One that the guard stopped has none, and has failed.
    pub fn status(&self) -> DeliveryStatus {
        if self.is_blocked() {
            return DeliveryStatus::Failed;
        }
        self.best().map_or(DeliveryStatus::Queued, |delivery| delivery.status)
    }

    /// Why it failed, if it did.
    pub fn reason(&self) -> Option<DeliveryFailure> {
        self.best().and_then(|delivery| delivery.reason)
    }

    /// The country of its phone number: ISO 3166-1 alpha-2.
    pub fn country(&self) -> Option<&str> {
        self.address.as_ref().and_then(|address| address.region.as_deref())
    }

    /// Whether it did not get out, and nobody is going to try again: there is nothing left to send.
    fn has_failed(&self) -> bool {
        self.dispatch.turn == Turn::Settled && self.content.is_none() && self.status() == DeliveryStatus::Failed
    }

    /// Does something to it, and notes what that came to.
    fn noting<T>(&mut self, now: Timestamp, act: impl FnOnce(&mut Self) -> T) -> T {
        let arrived = |delivery: &Delivery| delivery.delivered_at.is_some();
        let (was_out, had_failed) = (self.dispatch.got_out(), self.has_failed());
        let had_arrived = self.dispatch.deliveries.iter().any(arrived);
        let outcome = act(self);
        asking::settle(&mut self.asking, &self.dispatch.deliveries);
        let deliveries = &self.dispatch.deliveries;
        let out = deliveries.iter().find(|delivery| delivery.got_out()).filter(|_| !was_out);
        let there = deliveries.iter().find(|delivery| arrived(delivery)).filter(|_| !had_arrived);
        let failed = self.best().filter(|_| !had_failed && self.has_failed());
        let happened = [(What::Sent, out), (What::Delivered, there), (What::Failed, failed)];
        let happened = happened
            .into_iter()
            .filter_map(|(what, delivery)| Some(Happening { what, at: now, channel: Some(delivery?.channel.clone()) }));
        let happened: Vec<Happening> = happened.collect();
        self.news.extend(happened);
        outcome
    }

    /// Whether the guard stopped it.
    pub fn is_blocked(&self) -> bool {
        note::Verdict::of(&self.guard).is_some_and(|verdict| verdict.blocked)
    }

    /// Stops it before anything went out, for what the guard noted: it is kept, reaches no channel and is not
    /// counted, and nobody will try to deliver it.
    pub fn block(&mut self, notes: Vec<GuardNote>) {
        self.news.push(Happening { what: What::Failed, at: self.created_at, channel: None });
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
        self.noting(now, |message| {
            let outcome = message.dispatch.settle(verdict, now, message.deadline(), next_id);
            match outcome {
                Outcome::Sent => message.let_go(),
                Outcome::Exhausted => message.give_up(now),
                Outcome::Again(_) => {}
            }
            outcome
        })
    }

    fn give_up(&mut self, now: Timestamp) {
        self.content = None;
        // A channel that took it was used, whatever became of it.
        if !self.dispatch.got_out() && !self.dispatch.may_arrive(now) {
            self.counted.refunded = true;
        }
    }

    /// Erases the content of what was sent, unless its provider may still tell that it failed and another channel is left.
    fn let_go(&mut self) {
        let arrived = self.dispatch.deliveries.iter().any(|delivery| delivery.delivered_at.is_some());
        if self.dispatch.turn == Turn::Settled && (arrived || !self.dispatch.has_next()) {
            self.content = None;
        }
    }

    /// Applies a receipt; says whether it told anything new. [`go_on`](Self::go_on) does what follows.
    pub fn record(&mut self, delivery: DeliveryId, receipt: Receipt, now: Timestamp) -> bool {
        self.noting(now, |message| {
            let is_new = message.dispatch.record(delivery, receipt, now);
            message.let_go();
            is_new
        })
    }

    /// Goes on with the next channel where the one at hand took the message and then told that it failed, as long as
    /// there is something to send. Says what follows, if anything does.
    pub fn go_on(&mut self, now: Timestamp, next_id: impl FnOnce() -> DeliveryId) -> Option<Outcome> {
        self.content.as_ref()?;
        let deadline = self.deadline();
        self.noting(now, |message| {
            let outcome = message.dispatch.go_on(now, deadline, next_id)?;
            if outcome == Outcome::Exhausted {
                message.give_up(now);
            }
            Some(outcome)
        })
    }

    /// Has the provider asked how a delivery fares, if there may be news of it.
    pub fn ask_about(&mut self, delivery: DeliveryId, now: Timestamp) {
        asking::begin(&mut self.asking, &self.dispatch.deliveries, delivery, now);
    }

    /// Hands over the delivery that a provider is to be asked about now; says whether there was one. What is known by now
    /// is forgotten.
    pub fn hand_over_asking(&mut self, now: Timestamp) -> bool {
        asking::settle(&mut self.asking, &self.dispatch.deliveries);
        asking::hand_over(&mut self.asking, &asking::QUESTIONS, now)
    }

    /// The delivery that was handed over. Whoever stores that it was taken is the one who asks.
    pub fn take_asking(&mut self) -> Option<Asking> {
        asking::take(&mut self.asking, &asking::QUESTIONS)
    }

    /// Does as a provider says about when to ask again; says whether that changed anything.
    pub fn asked(&mut self, delivery: DeliveryId, again: Again, now: Timestamp) -> bool {
        asking::answered(&mut self.asking, delivery, again, now)
    }

    /// Ends what could not be delivered in time, and erases what is not going to be sent again; says whether that changed
    /// anything.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let settled = self.dispatch.turn == Turn::Settled && self.content.is_some();
        let over = now >= self.deadline() && (settled || self.dispatch.is_due(now));
        if over {
            self.end(DeliveryFailure::Expired, now);
        }
        over
    }

    /// Gives it up by hand; says whether that changed anything.
    pub fn discard(&mut self, now: Timestamp) -> bool {
        let open = self.dispatch.turn != Turn::Settled;
        if open {
            self.end(DeliveryFailure::Canceled, now);
        }
        open
    }

    fn end(&mut self, reason: DeliveryFailure, now: Timestamp) {
        self.noting(now, |message| {
            message.dispatch.cut(reason, now);
            message.give_up(now);
        });
    }

    /// Erases the address and the content.
    pub fn redact(&mut self) {
        self.address = None;
        self.content = None;
    }

    /// Until when what it holds is kept: its address, and then itself.
    fn kept_until(&self) -> Timestamp {
        let days = if self.address.is_some() { self.retention.addresses_days } else { self.retention.records_days };
        days_after(self.created_at, days)
    }

    /// The next moment at which [`wake`](Self::wake) has something to say.
    pub fn wake_at(&self) -> Timestamp {
        let asked = asking::next_at(&self.asking).unwrap_or(Timestamp::MAX);
        match self.dispatch.turn {
            Turn::Due { at } => at.min(asked),
            Turn::Leased { until, .. } => until.min(asked),
            Turn::Settled if self.content.is_some() => self.deadline().min(asked),
            Turn::Settled => self.kept_until().min(asked),
        }
    }

    /// What the passing of time asks for at `now`.
    pub fn wake(&self, now: Timestamp) -> Wake {
        if now < self.wake_at() {
            return Wake::Wait;
        }
        match self.dispatch.turn {
            // It may have to go out again until then, however short what it holds is kept.
            Turn::Settled if self.content.is_some() && now < self.deadline() => Wake::Ask,
            Turn::Settled if now < self.kept_until() && self.content.is_some() => Wake::Expire,
            Turn::Settled if now < self.kept_until() => Wake::Ask,
            Turn::Settled if self.address.is_some() => Wake::Redact,
            Turn::Settled => Wake::Delete,
            _ if !self.dispatch.is_due(now) => Wake::Ask,
            _ if now >= self.deadline() => Wake::Expire,
            _ => Wake::Ring,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::{a_message, entropy, noon, seconds};

    const SENT: Verdict = Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: None };

    fn to(channels: &[&str]) -> Message {
        let mut message = a_message(TenantId::from_bytes([1; 16]), "+12025550123", noon());
        message.dispatch.channels = channels.iter().map(|channel| (*channel).to_owned()).collect();
        message
    }

    fn settle(message: &mut Message, verdict: Verdict, second: i64) {
        message.settle(verdict, seconds(second), || DeliveryId::new(noon(), entropy()));
    }

    fn told(message: &Message) -> Vec<(What, &str)> {
        message.news.iter().map(|happening| (happening.what, happening.channel.as_deref().unwrap())).collect()
    }

    #[test]
    fn what_is_told_is_the_first_that_got_out_and_the_first_that_arrived() {
        let mut message = to(&["console", "email"]);
        settle(&mut message, Verdict::Refused(DeliveryFailure::NoAck), 1);
        assert_eq!(told(&message), []);
        settle(&mut message, SENT, 2);
        let [first, second] = [0, 1].map(|place| message.dispatch.deliveries[place].id);
        message.record(first, Receipt::Sent, seconds(3));
        message.record(second, Receipt::Delivered, seconds(4));
        message.record(second, Receipt::Read, seconds(5));
        message.record(first, Receipt::Delivered, seconds(6));
        assert_eq!(told(&message), [(What::Sent, "email"), (What::Delivered, "email")]);
    }

    #[test]
    fn a_message_fails_once_and_a_late_answer_is_told_all_the_same() {
        let mut message = to(&["console"]);
        settle(&mut message, Verdict::Refused(DeliveryFailure::NoAck), 8);
        assert!(!message.expire(seconds(601)) && !message.discard(seconds(602)));
        assert_eq!((told(&message), message.reason()), (vec![(What::Failed, "console")], Some(DeliveryFailure::NoAck)));
        let delivery = message.dispatch.deliveries[0].id;
        message.record(delivery, Receipt::Sent, seconds(603));
        assert_eq!(told(&message), [(What::Failed, "console"), (What::Sent, "console")]);
        assert_eq!((message.status(), message.reason()), (DeliveryStatus::Sent, None));
    }

    #[test]
    fn what_was_sent_and_came_back_has_failed_unless_another_got_out() {
        let mut message = to(&["console", "email"]);
        settle(&mut message, Verdict::Refused(DeliveryFailure::NoAck), 1);
        settle(&mut message, SENT, 2);
        let [first, second] = [0, 1].map(|place| message.dispatch.deliveries[place].id);
        message.record(first, Receipt::Sent, seconds(3));
        message.record(second, Receipt::Failed(DeliveryFailure::InvalidRecipient), seconds(4));
        assert_eq!((message.status(), message.reason()), (DeliveryStatus::Sent, None));
        message.record(first, Receipt::Failed(DeliveryFailure::InvalidRecipient), seconds(5));
        assert_eq!(message.status(), DeliveryStatus::Failed);
        assert_eq!(told(&message), [(What::Sent, "email"), (What::Failed, "email")]);
    }

    const INVALID: Receipt = Receipt::Failed(DeliveryFailure::InvalidRecipient);

    fn goes_on(message: &mut Message, second: i64) -> Option<Outcome> {
        message.go_on(seconds(second), || DeliveryId::new(noon(), entropy()))
    }

    #[test]
    fn what_was_taken_and_failed_goes_out_by_the_next_channel_and_fails_with_the_last() {
        let mut message = to(&["console", "email"]);
        settle(&mut message, SENT, 1);
        assert!(message.content.is_some(), "its provider may still tell that it failed");
        let first = message.dispatch.deliveries[0].id;
        assert!(message.record(first, INVALID, seconds(2)));
        assert_eq!(goes_on(&mut message, 2), Some(Outcome::Again(seconds(2))));
        assert!(!message.record(first, INVALID, seconds(3)));
        assert_eq!((goes_on(&mut message, 3), message.status()), (None, DeliveryStatus::Queued));
        settle(&mut message, SENT, 4);
        assert!(message.content.is_none(), "no other channel is left for it");
        assert_eq!(told(&message), [(What::Sent, "console")]);
        message.record(message.dispatch.deliveries[1].id, INVALID, seconds(5));
        assert_eq!((goes_on(&mut message, 5), message.status()), (None, DeliveryStatus::Failed));
        assert_eq!(told(&message), [(What::Sent, "console"), (What::Failed, "email")]);
        assert!(!message.counted.refunded, "channels took it");
    }

    #[test]
    fn what_arrived_or_is_too_old_is_not_sent_again_and_says_nothing_any_more() {
        let mut arrived = to(&["console", "email"]);
        settle(&mut arrived, SENT, 1);
        let (mut late, mut kept) = (arrived.clone(), arrived.clone());
        arrived.retention.addresses_days = 0;
        assert_eq!((arrived.wake_at(), arrived.wake(seconds(599))), (seconds(600), Wake::Wait));
        assert_eq!(arrived.wake(seconds(600)), Wake::Redact);
        arrived.record(arrived.dispatch.deliveries[0].id, Receipt::Delivered, seconds(2));
        assert!(arrived.content.is_none());
        assert_eq!((arrived.wake(seconds(2)), goes_on(&mut arrived, 2)), (Wake::Redact, None));
        assert_eq!((kept.wake(seconds(599)), kept.wake(seconds(600))), (Wake::Wait, Wake::Expire));
        assert!(kept.expire(seconds(600)) && kept.content.is_none() && !kept.expire(seconds(601)));
        assert_eq!((kept.wake(seconds(601)), told(&kept)), (Wake::Wait, vec![(What::Sent, "console")]));
        late.record(late.dispatch.deliveries[0].id, INVALID, seconds(601));
        assert_eq!((goes_on(&mut late, 601), late.dispatch.deliveries.len()), (Some(Outcome::Exhausted), 1));
        assert!(late.content.is_none());
        assert_eq!(told(&late), [(What::Sent, "console"), (What::Failed, "console")]);
        assert_eq!((late.reason(), late.counted.refunded), (Some(DeliveryFailure::InvalidRecipient), false));
    }

    #[test]
    fn what_never_went_out_fails_when_its_time_is_over_or_somebody_gives_it_up() {
        let mut message = to(&["console"]);
        assert!(message.expire(seconds(600)));
        assert_eq!(
            (told(&message), message.reason()),
            (vec![(What::Failed, "console")], Some(DeliveryFailure::Expired))
        );
        let mut message = to(&["console"]);
        assert!(message.discard(seconds(40)));
        assert_eq!(message.reason(), Some(DeliveryFailure::Canceled));
        assert_eq!(told(&message), [(What::Failed, "console")]);
    }

    #[test]
    fn what_became_of_a_message_is_asked_until_it_is_to_be_erased() {
        let mut message = to(&["console"]);
        settle(&mut message, SENT, 1);
        let delivery = message.dispatch.deliveries[0].id;
        message.ask_about(delivery, seconds(1));
        assert_eq!((message.wake(seconds(6)), message.wake(seconds(7))), (Wake::Wait, Wake::Ask));
        message.retention.addresses_days = 0;
        assert_eq!(message.wake(seconds(7)), Wake::Redact);
        message.redact();
        assert_eq!(message.wake(seconds(7)), Wake::Ask);
        assert!(message.take_asking().is_none() && message.hand_over_asking(seconds(7)));
        assert_eq!(message.take_asking().map(|asking| asking.delivery), Some(delivery));
        message.record(delivery, Receipt::Read, seconds(8));
        assert_eq!((message.wake(seconds(22)), message.hand_over_asking(seconds(22))), (Wake::Wait, false));
    }
}
