//! One attempt to verify one address: `pending → approved | expired | canceled | failed`.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::address::AddressKind;
use super::address_limits::AddressLimits;
use super::asking::{self, Again, Asking};
use super::code::{self, CodeKind};
use super::cost::Cost;
use super::dispatch::{Delivery, DeliveryFailure, Dispatch, LeaseToken, Outcome, Receipt, Turn, Verdict};
use super::guard::note::{self, GuardNote};
use super::id::{ApiKeyId, DeliveryId, ServiceId, TenantId, VerificationId};
use super::inbound::{InboundTerms, MessageOutcome};
use super::locale::Locale;
use super::magic_link::{LinkTerms, Method};
use super::mode::Mode;
use super::news::{Charge, Happening, What};
use super::quota::Counted;
use super::service::{EXPIRY_STANDARD_SECONDS, Retention};
use super::template::CustomTemplate;
use super::vault::{AddressIndex, CodeHash, Sealed};

/// Where a verification stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Waiting for the right code, for its link, or for the person to write.
    Pending,
    /// The right code was typed in time, or its link or a message of the person's approved it.
    Approved,
    /// Its time ran out.
    Expired,
    /// The caller called it off.
    Canceled,
    /// It cannot succeed any more; the reason says why.
    Failed,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 5] = [Self::Pending, Self::Approved, Self::Expired, Self::Canceled, Self::Failed];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Expired => "expired",
            Self::Canceled => "canceled",
            Self::Failed => "failed",
        }
    }
}

/// Why a verification failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Every allowed guess was wrong.
    MaxChecks,
    /// No channel got the code out. It is not counted against the quota.
    Undeliverable,
    /// A guard stopped it.
    Blocked,
}

impl FailureReason {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::MaxChecks => "max_checks",
            Self::Undeliverable => "undeliverable",
            Self::Blocked => "blocked",
        }
    }
}

/// An address as it is kept: sealed, found by its index, shown masked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredAddress {
    /// The whole address.
    pub sealed: Sealed,
    /// By which it is found.
    pub index: AddressIndex,
    /// What replies show.
    pub masked: String,
    /// Phone or email.
    pub kind: AddressKind,
    /// ISO 3166-1 alpha-2 of a phone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// A code, or what approves of a link or a message, as it is kept: until the verification ends, and no longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCode {
    /// What guesses are compared with.
    pub hash: CodeHash,
    /// So that a retry and a resend carry the same code.
    pub sealed: Sealed,
}

/// The settings of the service as they were at the start: later changes do not reach back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What the end user reads as the sender.
    pub brand: String,
    /// The language of the text.
    pub locale: Locale,
    /// What the code is made of.
    pub code_kind: CodeKind,
    /// Characters of the code.
    pub code_length: u8,
    /// Life of the code.
    pub expires_in_seconds: u32,
    /// Guesses allowed.
    pub checks_allowed: u8,
    /// How often the address may be written to.
    pub address_limits: AddressLimits,
    /// How long to wait for a channel's acknowledgement.
    pub ack_timeout_seconds: u32,
    /// How long things are kept.
    pub retention: Retention,
    /// Host for the last line of WebOTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_origin: Option<String>,
    /// The app's hash for the SMS Retriever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sms_retriever_hash: Option<String>,
    /// The tenant's own texts that may be used, one per channel.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<CustomTemplate>,
}

/// A standard that a verification falls short of, by its tenant's choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BelowStandard {
    /// Fewer than 6 characters. NIST SP 800-63B-4.
    ShortCode,
    /// A life of more than 10 minutes. NIST SP 800-63B-4, ASVS 6.5.5.
    LongExpiry,
}

impl Policy {
    /// The standards that this policy falls short of.
    pub fn below_standard(&self) -> Vec<BelowStandard> {
        let mut below = Vec::new();
        if self.code_length < code::LENGTH_NIST {
            below.push(BelowStandard::ShortCode);
        }
        if self.expires_in_seconds > EXPIRY_STANDARD_SECONDS {
            below.push(BelowStandard::LongExpiry);
        }
        below
    }
}

/// One attempt to verify one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verification {
    /// Its id.
    pub id: VerificationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// For which product.
    pub service: ServiceId,
    /// Which key started it; none when a member did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<ApiKeyId>,
    /// Counts changes, for compare-and-swap.
    pub version: u64,
    /// Live or test.
    pub mode: Mode,
    /// Where the code goes, or who is to write, if that is known; gone once retention ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<StoredAddress>,
    /// The settings in force. Shared, since a record is copied often and these never change.
    pub policy: Arc<Policy>,
    /// Where it stands.
    pub status: Status,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// The code, or what approves of the link or the message; gone once it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<StoredCode>,
    /// What the person's token is compared with once this has ended: whoever has it is told that it is over, and whoever
    /// knows the id alone is told nothing. None where they were sent something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent_token: Option<CodeHash>,
    /// Guesses made.
    pub checks_used: u8,
    /// When the code was asked to go out: the first, then each resend.
    pub sends: Vec<Timestamp>,
    /// How it gets out.
    pub dispatch: Dispatch,
    /// How it was counted against the plan.
    pub counted: Counted,
    /// When it was started.
    pub created_at: Timestamp,
    /// When its code stops working.
    pub expires_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// The caller's own notes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What was agreed about its link; none where a code is typed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<LinkTerms>,
    /// What was agreed about the message that the person writes; none where they are sent something.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<InboundTerms>,
    /// How many messages with its token came from other numbers, up to as many as guesses are allowed.
    #[serde(default, skip_serializing_if = "is_none")]
    pub other_numbers: u8,
    /// What the guard did with it, oldest first; empty where no rule had anything to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guard: Vec<GuardNote>,
    /// The country of the address, once that is erased: ISO 3166-1 alpha-2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// What channels charged for its deliveries, each once. Not within a delivery: a program that does not know
    /// of it leaves it alone here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charge>,
    /// Deliveries that providers are to be asked about. Not within a delivery, as `charges`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asking: Vec<Asking>,
    /// Deliveries that providers are to take back, since it was canceled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoking: Vec<Asking>,
    /// Whether its address became known since it was read, or was erased. Stores write again what else stays as it is.
    #[serde(skip)]
    pub rewritten: bool,
    /// What happened since it was read. Stored with the change, beside the record.
    #[serde(skip)]
    pub news: Vec<Happening>,
    /// What was charged since it was read. Stored with the change, beside the record.
    #[serde(skip)]
    pub charged: Vec<Charge>,
}

/// What the passing of time asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// A delivery is due: ring a worker.
    Ring,
    /// A provider is to be asked about a delivery.
    Ask,
    /// Its time ran out.
    Expire,
    /// It has ended, and the worker that held its delivery did not come back.
    Cut,
    /// Address and metadata have been kept long enough.
    Redact,
    /// The record has been kept long enough.
    Delete,
    /// Nothing yet.
    Wait,
}

/// Why a resend is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResendRefusal {
    /// It has ended.
    Ended,
    /// The last send was moments ago.
    CoolDown {
        /// From when on it would be allowed.
        next_at: Timestamp,
    },
    /// Every allowed send is used.
    TooMany,
}

/// Whether there are none of something.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_none(count: &u8) -> bool {
    *count == 0
}

/// `moment` + `days`, saturating.
pub(super) fn days_after(moment: Timestamp, days: u32) -> Timestamp {
    moment.saturating_add(SignedDuration::from_hours(24 * i64::from(days))).unwrap_or(Timestamp::MAX)
}

impl Verification {
    /// Whether it still waits for the right code at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.status == Status::Pending && now < self.expires_at
    }

    /// How it is approved.
    pub fn method(&self) -> Method {
        match (&self.inbound, &self.link) {
            (Some(_), _) => Method::Inbound,
            (None, Some(_)) => Method::Link,
            (None, None) => Method::Code,
        }
    }

    /// Approves it by its link, if that is right, in time, and the first time; says whether it did.
    ///
    /// No guess is counted: nobody guesses 128 bits, and whoever could use the guesses up would stop a stranger.
    pub fn approve_by_link(&mut self, is_right: impl FnOnce(&CodeHash) -> bool, now: Timestamp) -> bool {
        self.expire(now);
        let Some(code) = self.code.as_ref().filter(|_| self.status == Status::Pending) else { return false };
        let right = self.link.is_some() && is_right(&code.hash);
        if right {
            self.end(Status::Approved, None, now);
        }
        right
    }

    /// Takes in a message with its token, which approves it if that is right, in time, the first one, and from the number
    /// that is to be verified. Where that was not said, it is the one that the message comes from.
    ///
    /// A right token from another number is counted, and the verification stays open: whoever has seen the token is not to
    /// stop the person, nor to use up what their address may guess. What is wrong is not counted, as with links: nobody
    /// guesses 72 bits.
    pub fn take_message(
        &mut self,
        is_right: impl FnOnce(&CodeHash) -> bool,
        sender: StoredAddress,
        now: Timestamp,
    ) -> MessageOutcome {
        self.expire(now);
        let is_open = self.status == Status::Pending;
        let hash = if is_open { self.code.as_ref().map(|code| &code.hash) } else { self.spent_token.as_ref() };
        if self.inbound.is_none() || !hash.is_some_and(is_right) {
            return MessageOutcome::Wrong;
        }
        if !is_open {
            return MessageOutcome::Over;
        }
        if self.address.as_ref().is_some_and(|address| address.index != sender.index) {
            self.other_numbers = self.other_numbers.saturating_add(1).min(self.policy.checks_allowed);
            return MessageOutcome::OtherNumber;
        }
        if self.address.is_none() {
            self.address = Some(sender);
            self.rewritten = true;
        }
        self.end(Status::Approved, None, now);
        MessageOutcome::Approved
    }

    /// Counts one guess. Returns whether it was right, in time, and the first right one.
    ///
    /// The last allowed guess counts: if it is right, it is approved. A guess at something that
    /// has ended changes nothing.
    pub fn check(&mut self, is_right: impl FnOnce(&CodeHash) -> bool, now: Timestamp) -> bool {
        self.expire(now);
        let guessable = self.status == Status::Pending && self.method().is_code();
        let Some(code) = self.code.as_ref().filter(|_| guessable) else { return false };
        let right = is_right(&code.hash);
        self.checks_used = self.checks_used.saturating_add(1);
        if right {
            self.end(Status::Approved, None, now);
        } else if self.checks_used >= self.policy.checks_allowed {
            self.end(Status::Failed, Some(FailureReason::MaxChecks), now);
        }
        right
    }

    /// Sends the same code again, in the same time, with the same guesses left.
    ///
    /// # Errors
    /// [`ResendRefusal`].
    pub fn resend(
        &mut self,
        now: Timestamp,
        delivery: DeliveryId,
        until: Timestamp,
        token: LeaseToken,
    ) -> Result<(), ResendRefusal> {
        if !self.is_open(now) {
            return Err(ResendRefusal::Ended);
        }
        let Some(next_at) = self.next_send_at() else { return Err(ResendRefusal::TooMany) };
        if now < next_at {
            return Err(ResendRefusal::CoolDown { next_at });
        }
        self.sends.push(now);
        self.noting(now, |dispatch| dispatch.restart(delivery, now, until, token));
        Ok(())
    }

    /// Most sends of one verification, the first included.
    pub fn sends_allowed(&self) -> u32 {
        self.policy.address_limits.sends_per_10_minutes
    }

    /// From when on a resend is allowed; none when there is none left or it has ended.
    pub fn next_send_at(&self) -> Option<Timestamp> {
        let used = u32::try_from(self.sends.len()).unwrap_or(u32::MAX);
        let last = self.sends.last().filter(|_| self.status == Status::Pending && used < self.sends_allowed())?;
        let next_at =
            last.saturating_add(self.policy.address_limits.cool_down(self.sends.len())).unwrap_or(Timestamp::MAX);
        (next_at < self.expires_at).then_some(next_at)
    }

    /// Calls it off; says whether that changed anything.
    pub fn cancel(&mut self, now: Timestamp) -> bool {
        self.expire(now);
        let pending = self.status == Status::Pending;
        if pending {
            self.end(Status::Canceled, None, now);
        }
        pending
    }

    /// Stops it before anything is sent: it reaches no channel and is counted nowhere.
    pub fn block(&mut self, now: Timestamp) {
        self.sends.clear();
        self.dispatch.deliveries.clear();
        self.dispatch.turn = Turn::Settled;
        self.end(Status::Failed, Some(FailureReason::Blocked), now);
        self.counted.refunded = true;
    }

    /// Adds what the guard did with it.
    pub fn note(&mut self, note: GuardNote) {
        note::add(&mut self.guard, note);
    }

    /// Ends it if its time ran out; says whether that changed anything.
    ///
    /// When nothing got out, or all of it came back, it has failed, and is not counted. A call that is still under way,
    /// or that nobody acknowledged, may have got out. Where the person writes, nothing is to get out.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        let over = self.status == Status::Pending && now >= self.expires_at;
        let may_arrive = self.inbound.is_some() || self.dispatch.may_arrive(now);
        if over && may_arrive {
            self.end(Status::Expired, None, now);
        } else if over {
            self.end(Status::Failed, Some(FailureReason::Undeliverable), now);
        }
        over
    }

    /// Does something to its dispatch, and notes what that came to.
    fn noting<T>(&mut self, now: Timestamp, act: impl FnOnce(&mut Dispatch) -> T) -> T {
        let arrived = |delivery: &Delivery| delivery.delivered_at.is_some();
        let known = self.dispatch.deliveries.len();
        let was_out = self.dispatch.got_out();
        let had_arrived = self.dispatch.deliveries.iter().any(arrived);
        let outcome = act(&mut self.dispatch);
        asking::settle(&mut self.asking, &self.dispatch.deliveries);
        asking::settle_revoking(&mut self.revoking, &self.dispatch.deliveries);
        let deliveries = &self.dispatch.deliveries;
        let out = deliveries.iter().find(|delivery| delivery.got_out()).filter(|_| !was_out);
        let there = deliveries.iter().find(|delivery| arrived(delivery)).filter(|_| !had_arrived);
        let again = deliveries.iter().enumerate().skip(known).map(|(place, delivery)| {
            let used = deliveries.iter().take(place).any(|before| before.channel == delivery.channel);
            (if used { What::Again } else { What::Next }, delivery)
        });
        let reached = out.map(|delivery| (What::Sent, delivery)).into_iter();
        let reached = reached.chain(there.map(|delivery| (What::Delivered, delivery)));
        let happenings = reached.chain(again);
        self.news.extend(happenings.map(|(what, delivery)| Happening {
            what,
            at: now,
            channel: Some(delivery.channel.clone()),
        }));
        outcome
    }

    fn end(&mut self, status: Status, reason: Option<FailureReason>, now: Timestamp) {
        let what = match (status, reason) {
            (Status::Approved, _) => What::Approved,
            (Status::Expired, _) => What::Expired,
            (Status::Canceled, _) => What::Canceled,
            (_, Some(FailureReason::Blocked)) => What::Blocked,
            _ => What::Failed,
        };
        let channel = self.dispatch.current().map(|delivery| delivery.channel.clone());
        self.news.push(Happening { what, at: now, channel });
        self.status = status;
        self.reason = reason;
        self.ended_at = Some(now);
        self.spent_token = self.code.take().filter(|_| self.inbound.is_some()).map(|code| code.hash);
        self.asking.clear();
        let cut = if status == Status::Expired || reason == Some(FailureReason::Undeliverable) {
            DeliveryFailure::Expired
        } else {
            DeliveryFailure::Canceled
        };
        self.dispatch.cut(cut, now);
        // A channel that took it was used, whatever became of it: who has numbers that codes come back from would have
        // them for nothing, and unseen.
        if reason == Some(FailureReason::Undeliverable) && !self.dispatch.got_out() {
            self.counted.refunded = true;
        }
    }

    /// Applies what came of a call to a channel.
    ///
    /// When every channel refused, or took it and failed, it has failed; where none took it, it is not counted. A
    /// channel that gave no acknowledgement may still have sent the code, so that keeps it open.
    pub fn settle(&mut self, verdict: Verdict, now: Timestamp, next_id: impl FnOnce() -> DeliveryId) -> Outcome {
        // Nothing is tried for a verification that has ended.
        let deadline = if self.status == Status::Pending { self.expires_at } else { now };
        let charge = self.dispatch.current().map(|delivery| delivery.id).zip(verdict.cost());
        let outcome = self.noting(now, |dispatch| dispatch.settle(verdict, now, deadline, next_id));
        if let Some((delivery, cost)) = charge {
            self.charge(delivery, cost);
        }
        self.fail_if_undeliverable(outcome, now);
        outcome
    }

    fn fail_if_undeliverable(&mut self, outcome: Outcome, now: Timestamp) {
        if outcome == Outcome::Exhausted && self.status == Status::Pending && !self.dispatch.may_arrive(now) {
            self.end(Status::Failed, Some(FailureReason::Undeliverable), now);
        }
    }

    /// Applies a receipt; says whether it told anything new. [`go_on`](Self::go_on) does what follows.
    pub fn record(&mut self, delivery: DeliveryId, receipt: Receipt, now: Timestamp) -> bool {
        self.noting(now, |dispatch| dispatch.record(delivery, receipt, now))
    }

    /// Goes on with the next channel where the one at hand took the code and then told that it failed. Where none is left,
    /// it is as when every channel refused. Says what follows, if anything does.
    pub fn go_on(&mut self, now: Timestamp, next_id: impl FnOnce() -> DeliveryId) -> Option<Outcome> {
        if !self.is_open(now) {
            return None;
        }
        let deadline = self.expires_at;
        let outcome = self.noting(now, |dispatch| dispatch.go_on(now, deadline, next_id))?;
        self.fail_if_undeliverable(outcome, now);
        Some(outcome)
    }

    /// Has the provider asked how a delivery fares, if there may be news of it: for as long as somebody waits for it.
    pub fn ask_about(&mut self, delivery: DeliveryId, now: Timestamp) {
        if self.status == Status::Pending {
            asking::begin(&mut self.asking, &self.dispatch.deliveries, delivery, now);
        }
    }

    /// Deliveries that a provider could take back.
    pub fn revocable(&self) -> impl Iterator<Item = &Delivery> {
        self.dispatch.deliveries.iter().filter(|delivery| asking::is_revocable(delivery))
    }

    /// Has the provider of a delivery take it back, if the verification was canceled and that is of use; says whether it is.
    /// It is handed over to whoever is rung for next.
    pub fn revoke(&mut self, delivery: DeliveryId, now: Timestamp) -> bool {
        let canceled = self.status == Status::Canceled;
        canceled && asking::begin_revoking(&mut self.revoking, &self.dispatch.deliveries, delivery, now)
    }

    /// Hands over the delivery that a provider is to be asked about now, or once it has ended is to take back; says whether
    /// there was one. What is needless by now is forgotten.
    pub fn hand_over_asking(&mut self, now: Timestamp) -> bool {
        if self.status == Status::Pending {
            asking::settle(&mut self.asking, &self.dispatch.deliveries);
            return asking::hand_over(&mut self.asking, &asking::QUESTIONS, now);
        }
        asking::settle_revoking(&mut self.revoking, &self.dispatch.deliveries);
        asking::hand_over(&mut self.revoking, &asking::REVOCATIONS, now)
    }

    /// The delivery that was handed over. Whoever stores that it was taken is the one who asks.
    pub fn take_asking(&mut self, now: Timestamp) -> Option<Asking> {
        if self.is_open(now) { asking::take(&mut self.asking, &asking::QUESTIONS) } else { None }
    }

    /// The delivery that is to be taken back and was handed over. Whoever stores that it was taken is the one who asks for
    /// it.
    pub fn take_revoking(&mut self) -> Option<Asking> {
        asking::settle_revoking(&mut self.revoking, &self.dispatch.deliveries);
        asking::take(&mut self.revoking, &asking::REVOCATIONS)
    }

    /// Does as a provider says about when to ask again that a delivery be taken back; says whether that changed anything.
    pub fn revoked(&mut self, delivery: DeliveryId, again: Again, now: Timestamp) -> bool {
        asking::answered(&mut self.revoking, delivery, again, now)
    }

    /// Does as a provider says about when to ask again; says whether that changed anything.
    pub fn asked(&mut self, delivery: DeliveryId, again: Again, now: Timestamp) -> bool {
        asking::answered(&mut self.asking, delivery, again, now)
    }

    /// Takes down what a channel charged for a delivery; says whether that is news. A delivery is charged for once,
    /// whatever is said of it later: a retry is the same message.
    pub fn charge(&mut self, delivery: DeliveryId, cost: Cost) -> bool {
        let Some(charged) = self.dispatch.deliveries.iter().find(|known| known.id == delivery) else { return false };
        if self.charges.iter().any(|charge| charge.delivery == delivery) {
            return false;
        }
        let charge = Charge { delivery, channel: charged.channel.clone(), cost };
        self.charges.push(charge.clone());
        self.charged.push(charge);
        true
    }

    /// Gives up the delivery whose worker did not come back before the verification ended.
    ///
    /// The channel may have been called, so a late acknowledgement still counts.
    pub fn abandon(&mut self, now: Timestamp) {
        self.dispatch.cut(DeliveryFailure::NoAck, now);
    }

    /// Erases the address and what else may name a person.
    pub fn redact(&mut self) {
        self.rewritten = true;
        self.country = self.address.take().and_then(|address| address.region).or(self.country.take());
        self.metadata.clear();
        if let Some(link) = &mut self.link {
            link.redact();
        }
    }

    /// The country of its phone number: ISO 3166-1 alpha-2.
    pub fn country(&self) -> Option<&str> {
        self.address.as_ref().and_then(|address| address.region.as_deref()).or(self.country.as_deref())
    }

    /// Whether it still has what may name a person.
    fn names_somebody(&self) -> bool {
        self.address.is_some() || !self.metadata.is_empty()
    }

    /// Until when it stays as it is: its code, its address, and then itself.
    fn kept_until(&self) -> Timestamp {
        let ended = self.ended_at.unwrap_or(self.expires_at);
        match self.status {
            Status::Pending => self.expires_at,
            _ if self.names_somebody() => days_after(ended, self.policy.retention.addresses_days),
            _ => days_after(ended, self.policy.retention.records_days),
        }
    }

    /// The next moment at which [`wake`](Self::wake) has something to say.
    pub fn wake_at(&self) -> Timestamp {
        // A program that knows nothing of it may have ended it, and left there what was to be asked.
        let asked = match self.status {
            Status::Pending => asking::next_at(&self.asking),
            _ => asking::next_at(&self.revoking),
        };
        let kept = asked.map_or(self.kept_until(), |at| at.min(self.kept_until()));
        match self.dispatch.turn {
            Turn::Due { at } => at.min(kept),
            Turn::Leased { until, .. } => until.min(kept),
            Turn::Settled => kept,
        }
    }

    /// What the passing of time asks for at `now`.
    pub fn wake(&self, now: Timestamp) -> Wake {
        if now < self.wake_at() {
            return Wake::Wait;
        }
        match self.status {
            Status::Pending if now >= self.expires_at => Wake::Expire,
            Status::Pending if self.dispatch.is_due(now) => Wake::Ring,
            Status::Pending => Wake::Ask,
            _ if self.dispatch.is_due(now) => Wake::Cut,
            _ if now < self.kept_until() => Wake::Ask,
            _ if self.names_somebody() => Wake::Redact,
            _ => Wake::Delete,
        }
    }
}

#[cfg(test)]
#[path = "verification_tests.rs"]
mod tests;
