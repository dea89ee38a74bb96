//! How one thing gets out: its deliveries, who is working on it, and what happens next.
//!
//! The store is the ledger and the queue a doorbell: a [`Dispatch`] alone says whether something
//! must be done, so a lost ring, a flushed queue or a killed worker loses nothing.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::cost::Cost;
use super::id::{ConnectionId, DeliveryId};

/// Most times one delivery is tried through one channel that answers "later".
pub const TRIES_MAX: u8 = 4;

/// Where one delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Waiting for a worker, or born with one: a send is stored already held, and stays like this
    /// until the channel answers, so that the common path needs no write to say so.
    Queued,
    /// A worker took it, to hand it to the channel, which has not answered: a fail-over, a retry,
    /// or what another worker left.
    Sending,
    /// The channel's server acknowledged it.
    Sent,
    /// It reached the device.
    Delivered,
    /// It was opened.
    Read,
    /// It did not get out; the reason says why.
    Failed,
}

/// Why a delivery failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryFailure {
    /// The channel says that nobody has this address.
    InvalidRecipient,
    /// The channel refuses this message or this sender.
    Rejected,
    /// The channel's settings or credentials are wrong, or it is not there any more.
    Misconfigured,
    /// The channel did not acknowledge in time. A late acknowledgement still counts.
    NoAck,
    /// The channel kept answering "later".
    Unavailable,
    /// Its time was over before it got out.
    Expired,
    /// The verification ended before it got out.
    Canceled,
}

/// One attempt through one channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// Also the message id that the channel is given: a retry is the same message.
    pub id: DeliveryId,
    /// The channel's name.
    pub channel: String,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// How often the channel was called.
    pub tries: u8,
    /// When it was decided.
    pub queued_at: Timestamp,
    /// When the channel's server acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When it reached the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    /// When it was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<Timestamp>,
    /// When it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeliveryFailure>,
    /// The provider's own name for the message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The tenant's own account that it goes through; the operator's, where it is none. Nobody else's provider tells of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<ConnectionId>,
}

impl Delivery {
    fn queued(id: DeliveryId, channel: &str, now: Timestamp) -> Self {
        Self {
            id,
            channel: channel.to_owned(),
            status: DeliveryStatus::Queued,
            tries: 0,
            queued_at: now,
            sent_at: None,
            delivered_at: None,
            read_at: None,
            failed_at: None,
            reason: None,
            provider_id: None,
            account: None,
        }
    }

    fn fail(&mut self, reason: DeliveryFailure, now: Timestamp) {
        self.status = DeliveryStatus::Failed;
        self.failed_at = Some(now);
        self.reason = Some(reason);
    }

    /// Whether it failed by its channel's own word. `NoAck` means that we stopped waiting: whatever is told later is news.
    fn has_failed_for_good(&self) -> bool {
        self.status == DeliveryStatus::Failed && self.reason != Some(DeliveryFailure::NoAck)
    }

    fn may_fail(&self, reason: DeliveryFailure) -> bool {
        self.delivered_at.is_none() && !self.has_failed_for_good() && self.reason != Some(reason)
    }

    /// Whether the channel's server ever acknowledged it.
    pub fn got_out(&self) -> bool {
        self.sent_at.is_some()
    }
}

/// Names one hold on a dispatch, so that a worker that comes back late knows it lost it.
pub type LeaseToken = u64;

/// Who must act, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Turn {
    /// A worker, from `at` on.
    Due {
        /// Not before this.
        at: Timestamp,
    },
    /// The worker that holds `token`; anyone once `until` has passed.
    Leased {
        /// When the hold ends.
        until: Timestamp,
        /// Whose hold it is.
        token: LeaseToken,
    },
    /// Nobody.
    Settled,
}

/// What came of one call to a channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The channel's server acknowledged it.
    Sent {
        /// The provider's own name for the message.
        provider_id: Option<String>,
        /// What the channel already knows beyond that: `Sent`, `Delivered` or `Read`.
        reached: DeliveryStatus,
        /// What it cost, if the channel says.
        cost: Option<Cost>,
    },
    /// Not now; the same delivery again after a while.
    Later {
        /// How long the channel asks us to wait.
        after: SignedDuration,
    },
    /// Nothing was tried, since the channel's server is away or the channel is full: the next channel at once, or where there is none, the
    /// same delivery again after a while.
    Away {
        /// How long the channel asks us to wait.
        after: SignedDuration,
    },
    /// Not through this channel.
    Refused(DeliveryFailure),
}

impl Verdict {
    /// What it cost, if the channel says.
    pub fn cost(&self) -> Option<Cost> {
        match self {
            Self::Sent { cost, .. } => *cost,
            Self::Later { .. } | Self::Away { .. } | Self::Refused(_) => None,
        }
    }

    /// The provider's own name for the message, if the channel says.
    pub fn provider_id(&self) -> Option<&str> {
        match self {
            Self::Sent { provider_id, .. } => provider_id.as_deref(),
            Self::Later { .. } | Self::Away { .. } | Self::Refused(_) => None,
        }
    }
}

/// What follows from a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It got out.
    Sent,
    /// A worker must act again at this time.
    Again(Timestamp),
    /// Every channel refused.
    Exhausted,
}

/// What a channel reports after the call: at any time, in any order, more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// The server acknowledged it after all.
    Sent,
    /// It reached the device.
    Delivered,
    /// It was opened.
    Read,
    /// It failed after it was acknowledged.
    Failed(DeliveryFailure),
}

/// The deliveries of one verification or message, and whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dispatch {
    /// Whose turn it is.
    pub turn: Turn,
    /// Channels in the order they are tried.
    pub channels: Vec<String>,
    /// Oldest first; the last is the one at hand.
    pub deliveries: Vec<Delivery>,
}

impl Dispatch {
    /// A new dispatch, already held by the worker that gets the first ring, so that the common
    /// path needs no write to claim it.
    ///
    /// `channels` is not empty: the use case refuses when nothing reaches the address.
    pub fn born_leased(
        channels: Vec<String>,
        id: DeliveryId,
        now: Timestamp,
        until: Timestamp,
        token: LeaseToken,
    ) -> Self {
        let first = channels.first().map(String::as_str).unwrap_or_default();
        let deliveries = vec![Delivery::queued(id, first, now)];
        Self { turn: Turn::Leased { until, token }, channels, deliveries }
    }

    /// Of something that nobody is sent anything for.
    pub fn none() -> Self {
        Self { turn: Turn::Settled, channels: Vec::new(), deliveries: Vec::new() }
    }

    /// The delivery at hand: the newest.
    pub fn current(&self) -> Option<&Delivery> {
        self.deliveries.last()
    }

    fn current_mut(&mut self) -> Option<&mut Delivery> {
        self.deliveries.last_mut()
    }

    /// Whether anything ever got out.
    pub fn got_out(&self) -> bool {
        self.deliveries.iter().any(Delivery::got_out)
    }

    /// Whether something may be on its way to the person: what was acknowledged and has not failed since, a call under
    /// way, or one whose answer never came.
    pub fn may_arrive(&self, now: Timestamp) -> bool {
        let may_arrive = |delivery: &Delivery| match delivery.status {
            DeliveryStatus::Failed => !delivery.has_failed_for_good(),
            _ => delivery.got_out(),
        };
        self.is_held(now) || self.deliveries.iter().any(may_arrive)
    }

    /// Whether a worker is at it.
    fn is_held(&self, now: Timestamp) -> bool {
        matches!(self.turn, Turn::Leased { until, .. } if now < until)
    }

    /// Whether `token` is the hold in force.
    pub fn is_held_by(&self, token: LeaseToken, now: Timestamp) -> bool {
        matches!(self.turn, Turn::Leased { until, token: held } if held == token && now < until)
    }

    /// Whether `token` is the hold in force, and ends before `moment`.
    pub fn is_held_until_before(&self, token: LeaseToken, moment: Timestamp) -> bool {
        matches!(self.turn, Turn::Leased { until, token: held } if held == token && until < moment)
    }

    /// Prolongs the hold `token`; says whether it is still the hold in force. One that has ended and
    /// that nobody has taken since is: the store's compare-and-swap decides between the two.
    pub fn prolong(&mut self, token: LeaseToken, until: Timestamp) -> bool {
        match &mut self.turn {
            Turn::Leased { until: end, token: held } if *held == token => {
                *end = until.max(*end);
                true
            }
            _ => false,
        }
    }

    /// Whether a worker may take it now.
    pub fn is_due(&self, now: Timestamp) -> bool {
        match self.turn {
            Turn::Due { at } => at <= now,
            Turn::Leased { until, .. } => until <= now,
            Turn::Settled => false,
        }
    }

    /// Notes through which account the delivery at hand goes, before it does. Says whether it may: what was tried through
    /// one is not tried through another, whose provider would not know it again.
    pub fn go_through(&mut self, account: Option<ConnectionId>) -> bool {
        let Some(current) = self.current_mut() else { return false };
        if current.tries > 0 && current.account != account {
            return false;
        }
        current.account = account;
        true
    }

    /// Takes it, when it is due.
    pub fn claim(&mut self, now: Timestamp, until: Timestamp, token: LeaseToken) -> bool {
        let due = self.is_due(now);
        if due {
            self.turn = Turn::Leased { until, token };
            self.turn_status(DeliveryStatus::Queued, DeliveryStatus::Sending);
        }
        due
    }

    /// A hold of a process that is gone: free at once.
    pub fn release(&mut self, now: Timestamp) {
        if matches!(self.turn, Turn::Leased { .. }) {
            self.turn = Turn::Due { at: now };
            self.turn_status(DeliveryStatus::Sending, DeliveryStatus::Queued);
        }
    }

    /// Only from the status that goes before: a receipt may have told more than the worker knows.
    fn turn_status(&mut self, from: DeliveryStatus, to: DeliveryStatus) {
        if let Some(current) = self.current_mut().filter(|delivery| delivery.status == from) {
            current.status = to;
        }
    }

    /// Starts over with the first channel: a resend.
    pub fn restart(&mut self, id: DeliveryId, now: Timestamp, until: Timestamp, token: LeaseToken) {
        if matches!(self.turn, Turn::Due { .. }) {
            self.cut(DeliveryFailure::Canceled, now);
        }
        // A call may still be under way, also when its hold has ended, as when the store could not be
        // reached to prolong it: nobody waits for it any more, and a late answer still counts.
        if let Some(current) = self.current_mut().filter(|delivery| delivery.status <= DeliveryStatus::Sending) {
            current.fail(DeliveryFailure::NoAck, now);
        }
        let first = self.channels.first().map(String::as_str).unwrap_or_default();
        self.deliveries.push(Delivery::queued(id, first, now));
        self.turn = Turn::Leased { until, token };
    }

    /// Applies what came of a call. `next_id` names the delivery of a fail-over; nothing is tried
    /// after `deadline`.
    pub fn settle(
        &mut self,
        verdict: Verdict,
        now: Timestamp,
        deadline: Timestamp,
        next_id: impl FnOnce() -> DeliveryId,
    ) -> Outcome {
        let is_last = self.next_channel().is_none();
        let Some(current) = self.current_mut() else { return Outcome::Exhausted };
        let sent = matches!(verdict, Verdict::Sent { .. });
        // A receipt was faster than the answer, and knows better than a call that gave up waiting.
        if !sent && current.got_out() && current.status != DeliveryStatus::Failed {
            self.turn = Turn::Settled;
            return Outcome::Sent;
        }
        // It failed while the call was under way: only a success is still news.
        if !sent && current.status == DeliveryStatus::Failed {
            return self.fail_over(now, deadline, next_id);
        }
        if !matches!(verdict, Verdict::Away { .. }) {
            current.tries = current.tries.saturating_add(1);
        }
        let failure = match verdict {
            Verdict::Sent { provider_id, reached, cost: _ } => {
                // An earlier call for the same message may have been told it, late, by a provider that says it once.
                current.provider_id = provider_id.or(current.provider_id.take());
                current.reach(reached, now);
                // A receipt was faster, and says that it failed. The provider has taken it all the same.
                if current.status == DeliveryStatus::Failed {
                    current.sent_at.get_or_insert(now);
                    return self.fail_over(now, deadline, next_id);
                }
                self.turn = Turn::Settled;
                return Outcome::Sent;
            }
            Verdict::Later { after } => {
                let at = now.saturating_add(after).unwrap_or(deadline);
                if current.tries < TRIES_MAX && at < deadline {
                    current.status = DeliveryStatus::Queued;
                    self.turn = Turn::Due { at };
                    return Outcome::Again(at);
                }
                DeliveryFailure::Unavailable
            }
            Verdict::Away { after } => {
                let at = now.saturating_add(after).unwrap_or(deadline);
                if is_last && at < deadline {
                    current.status = DeliveryStatus::Queued;
                    self.turn = Turn::Due { at };
                    return Outcome::Again(at);
                }
                DeliveryFailure::Unavailable
            }
            Verdict::Refused(failure) => failure,
        };
        current.fail(failure, now);
        self.fail_over(now, deadline, next_id)
    }

    /// The channel after the one at hand.
    fn next_channel(&self) -> Option<&String> {
        let tried = self.current().map(|delivery| delivery.channel.as_str()).unwrap_or_default();
        self.channels.iter().skip_while(|channel| *channel != tried).nth(1)
    }

    fn fail_over(&mut self, now: Timestamp, deadline: Timestamp, next_id: impl FnOnce() -> DeliveryId) -> Outcome {
        match self.next_channel().cloned() {
            Some(channel) if now < deadline => {
                self.deliveries.push(Delivery::queued(next_id(), &channel, now));
                self.turn = Turn::Due { at: now };
                Outcome::Again(now)
            }
            _ => {
                self.turn = Turn::Settled;
                Outcome::Exhausted
            }
        }
    }

    /// Whether there is a channel after the one at hand.
    pub fn has_next(&self) -> bool {
        self.next_channel().is_some()
    }

    /// Goes on where the delivery at hand has failed by its provider's word, and no worker is at it who would: nobody is
    /// to wait for what does not come. Says what follows, if anything does.
    pub fn go_on(
        &mut self,
        now: Timestamp,
        deadline: Timestamp,
        next_id: impl FnOnce() -> DeliveryId,
    ) -> Option<Outcome> {
        let failed = self.current().is_some_and(|delivery| delivery.status == DeliveryStatus::Failed);
        (failed && !self.is_held(now)).then(|| self.fail_over(now, deadline, next_id))
    }

    /// Ends what has not been handed over. A call under way keeps its hold and reports later.
    pub fn cut(&mut self, reason: DeliveryFailure, now: Timestamp) {
        if matches!(self.turn, Turn::Due { .. }) || self.is_due(now) {
            self.turn = Turn::Settled;
            if let Some(current) = self.current_mut().filter(|delivery| delivery.status <= DeliveryStatus::Sending) {
                current.fail(reason, now);
            }
        }
    }

    /// Takes down the provider's own name for a delivery that has none; says whether that is news. The first one stays: where
    /// two workers had the same message sent, both name it.
    pub fn name(&mut self, id: DeliveryId, provider_id: &str) -> bool {
        let nameless = |delivery: &&mut Delivery| delivery.id == id && delivery.provider_id.is_none();
        let Some(delivery) = self.deliveries.iter_mut().find(nameless) else { return false };
        delivery.provider_id = Some(provider_id.to_owned());
        true
    }

    /// Applies a receipt; says whether it told anything new.
    pub fn record(&mut self, id: DeliveryId, receipt: Receipt, now: Timestamp) -> bool {
        let Some(delivery) = self.deliveries.iter_mut().find(|delivery| delivery.id == id) else { return false };
        let before = delivery.clone();
        match receipt {
            Receipt::Sent => delivery.reach(DeliveryStatus::Sent, now),
            Receipt::Delivered => delivery.reach(DeliveryStatus::Delivered, now),
            Receipt::Read => delivery.reach(DeliveryStatus::Read, now),
            // What reached the device did not fail, whatever comes after, and nothing fails twice.
            Receipt::Failed(reason) if delivery.may_fail(reason) => delivery.fail(reason, now),
            Receipt::Failed(_) => {}
        }
        *delivery != before
    }
}

impl Delivery {
    fn reach(&mut self, reached: DeliveryStatus, now: Timestamp) {
        if self.has_failed_for_good() || (self.status != DeliveryStatus::Failed && reached <= self.status) {
            return;
        }
        self.failed_at = None;
        self.reason = None;
        self.status = reached;
        self.sent_at.get_or_insert(now);
        if reached >= DeliveryStatus::Delivered {
            self.delivered_at.get_or_insert(now);
        }
        if reached == DeliveryStatus::Read {
            self.read_at.get_or_insert(now);
        }
    }
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;
