use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::Poll;

use async_trait::async_trait;
use jiff::SignedDuration;

use super::channels::{Found, Way};
use super::guard::Happened;
use super::{App, LEASE_REST_MIN, PROLONG_EVERY, Refusal};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::asking::{Again, Asking};
use crate::domain::code::Code;
use crate::domain::dispatch::{DeliveryFailure, DeliveryStatus, Dispatch, LeaseToken, Outcome, Receipt, Turn, Verdict};
use crate::domain::id::{DeliveryId, MessageId, TenantId, VerificationId};
use crate::domain::message::Message;
use crate::domain::mode::Mode;
use crate::domain::sandbox::{self, Behaviour};
use crate::domain::template;
use crate::domain::vault::Purpose;
use crate::domain::verification::{Status, Verification};
use crate::ports::{Acknowledged, Item, Job, Outgoing, ReplaceError, SendError, StoreError, TenantStore};

/// How long a message waits for a plugin that this node could not load yet, where no other channel takes it.
const NOT_READY: SignedDuration = SignedDuration::from_secs(2);

/// What came of a job, for metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivered {
    /// There was nothing to do: somebody else does it, or it is done.
    Nothing,
    /// A channel was called.
    Called {
        /// Which channel.
        channel: String,
        /// Whether its server acknowledged.
        acknowledged: bool,
        /// From the start (or the resend) until the channel was called.
        waited: SignedDuration,
    },
}

/// One delivery, ready for its channel.
struct Ready {
    delivery: DeliveryId,
    channel: String,
    /// Position of the delivery in the order of channels, and how often it was tried.
    place: (usize, u8),
    queued_at: Timestamp,
    simulated: Option<Behaviour>,
    ack_timeout: SignedDuration,
    outgoing: Outgoing,
}

/// What a worker holds while it delivers.
#[async_trait]
pub(super) trait Held: Sized + Send {
    fn dispatch(&mut self) -> &mut Dispatch;

    fn take_asking(&mut self, now: Timestamp) -> Option<Asking>;

    fn asked(&mut self, delivery: DeliveryId, again: Again, now: Timestamp) -> bool;

    async fn read_again(&self, store: &dyn TenantStore) -> Result<Option<Self>, StoreError>;

    async fn replace(&mut self, store: &dyn TenantStore) -> Result<(), ReplaceError>;
}

#[async_trait]
impl Held for Verification {
    fn dispatch(&mut self) -> &mut Dispatch {
        &mut self.dispatch
    }

    fn take_asking(&mut self, now: Timestamp) -> Option<Asking> {
        self.take_asking(now)
    }

    fn asked(&mut self, delivery: DeliveryId, again: Again, now: Timestamp) -> bool {
        self.asked(delivery, again, now)
    }

    async fn read_again(&self, store: &dyn TenantStore) -> Result<Option<Self>, StoreError> {
        store.find_verification(self.id).await
    }

    async fn replace(&mut self, store: &dyn TenantStore) -> Result<(), ReplaceError> {
        store.replace(self, false).await
    }
}

#[async_trait]
impl Held for Message {
    fn dispatch(&mut self) -> &mut Dispatch {
        &mut self.dispatch
    }

    fn take_asking(&mut self, _: Timestamp) -> Option<Asking> {
        self.take_asking()
    }

    fn asked(&mut self, delivery: DeliveryId, again: Again, now: Timestamp) -> bool {
        self.asked(delivery, again, now)
    }

    async fn read_again(&self, store: &dyn TenantStore) -> Result<Option<Self>, StoreError> {
        store.find_message(self.id).await
    }

    async fn replace(&mut self, store: &dyn TenantStore) -> Result<(), ReplaceError> {
        store.replace_message(self, false).await
    }
}

impl App {
    /// Does one job: calls the channel whose turn it is and stores what came of it, or where none is due, asks the provider
    /// of a delivery that is to be asked about, or to be taken back.
    ///
    /// Safe to do twice, late, or by two workers at once: a hold in the store decides who calls,
    /// and a retry carries the same code under the same message id.
    ///
    /// `seat` is dropped once the channel has answered, and before it is called if it bounds itself: whoever bounds how
    /// many call channels at once need not wait for the store as well, nor for such a channel's server.
    ///
    /// # Errors
    /// [`Refusal::Store`], [`Refusal::Vault`], [`Refusal::NoPublicUrl`]. The sweep rings again.
    pub async fn deliver(&self, job: Job, seat: impl Send) -> Result<Delivered, Refusal> {
        match job.item {
            Item::Verification(id) => self.deliver_verification(job.tenant, id, job.token, seat).await,
            Item::Message(id) => self.deliver_message(job.tenant, id, job.token, seat).await,
        }
    }

    async fn deliver_verification(
        &self,
        tenant: TenantId,
        id: VerificationId,
        token: Option<LeaseToken>,
        seat: impl Send,
    ) -> Result<Delivered, Refusal> {
        let store = self.ports.store.tenant(tenant);
        let Some(mut verification) = store.find_verification(id).await? else { return Ok(Delivered::Nothing) };
        if let Some(token) = token
            && !self.has_time(&mut verification, &*store, token).await?
        {
            return Ok(Delivered::Nothing);
        }
        let now = self.now();
        if !verification.is_open(now) {
            let ours = token.is_some_and(|token| verification.dispatch.is_held_by(token, now));
            if ours && verification.status != Status::Pending {
                // It ended before its turn: said here, or its delivery would look queued for ever.
                verification.dispatch.release(now);
                verification.dispatch.cut(DeliveryFailure::Canceled, now);
                if let Err(ReplaceError::Store(error)) = store.replace(&mut verification, false).await {
                    return Err(error.into());
                }
            }
            self.take_back(verification, &*store, seat).await?;
            return Ok(Delivered::Nothing);
        }
        let token = match token.filter(|token| verification.dispatch.is_held_by(*token, now)) {
            Some(token) => token,
            None => {
                let token = self.token();
                if !verification.dispatch.claim(now, self.lease_end(now), token) {
                    self.ask(&mut verification, &*store, (tenant, Item::Verification(id)), seat).await?;
                    return Ok(Delivered::Nothing);
                }
                match store.replace(&mut verification, false).await {
                    Ok(()) => token,
                    Err(ReplaceError::Conflict) => return Ok(Delivered::Nothing),
                    Err(ReplaceError::Store(error)) => return Err(error.into()),
                }
            }
        };
        let ready = self.ready_verification(&verification, now)?;
        let channel = self.channel_to_call(&ready, &mut verification, &*store, token).await?;
        if self.handed_over(&ready, &channel, token).await {
            return Ok(Delivered::Nothing);
        }
        let seat = channel.seat(seat);
        let verdict = self.call(&ready, &channel, self.keep_hold(&mut verification, &*store, token)).await;
        drop(seat);
        let delivered = delivered(&ready, &verdict, now);
        loop {
            let now = self.now();
            let refunded = verification.counted.refunded;
            let outcome = if verification.dispatch.is_held_by(token, Timestamp::MIN) {
                Some(verification.settle(verdict.clone(), now, || DeliveryId::new(now, &*self.ports.entropy)))
            } else {
                let told = late(&verdict).is_some_and(|receipt| verification.record(ready.delivery, receipt, now));
                let charged = verdict.cost().is_some_and(|cost| verification.charge(ready.delivery, cost));
                let named = name(&mut verification.dispatch, ready.delivery, &verdict);
                if !told && !charged && !named {
                    return Ok(delivered);
                }
                tracing::debug!(verification = %id, told, charged, named, "a channel answered after its hold was lost");
                None
            };
            if channel.asks() {
                verification.ask_about(ready.delivery, now);
            }
            // It was canceled while the channel was called.
            let can_revoke = ready.simulated.is_none() && self.can_revoke(&ready.channel);
            let revokes = can_revoke && verification.revoke(ready.delivery, now);
            let refund = verification.counted.refunded && !refunded;
            match store.replace(&mut verification, refund).await {
                Ok(()) => {
                    if refund {
                        self.note_for_watch(&verification, Happened::Undeliverable).await;
                    }
                    self.after_call(tenant, Item::Verification(id), outcome, now).await;
                    if revokes {
                        self.ring(Job { tenant, item: Item::Verification(id), token: None }).await;
                    }
                    return Ok(delivered);
                }
                Err(ReplaceError::Conflict) => match store.find_verification(id).await? {
                    Some(changed) => verification = changed,
                    None => return Ok(delivered),
                },
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }

    async fn deliver_message(
        &self,
        tenant: TenantId,
        id: MessageId,
        token: Option<LeaseToken>,
        seat: impl Send,
    ) -> Result<Delivered, Refusal> {
        let store = self.ports.store.tenant(tenant);
        let Some(mut message) = store.find_message(id).await? else { return Ok(Delivered::Nothing) };
        if let Some(token) = token
            && !self.has_time(&mut message, &*store, token).await?
        {
            return Ok(Delivered::Nothing);
        }
        let now = self.now();
        if now >= message.deadline() && message.dispatch.turn != Turn::Settled {
            return Ok(Delivered::Nothing);
        }
        let token = match token.filter(|token| message.dispatch.is_held_by(*token, now)) {
            Some(token) => token,
            None => {
                let token = self.token();
                if !message.dispatch.claim(now, self.lease_end(now), token) {
                    self.ask(&mut message, &*store, (tenant, Item::Message(id)), seat).await?;
                    return Ok(Delivered::Nothing);
                }
                match store.replace_message(&mut message, false).await {
                    Ok(()) => token,
                    Err(ReplaceError::Conflict) => return Ok(Delivered::Nothing),
                    Err(ReplaceError::Store(error)) => return Err(error.into()),
                }
            }
        };
        let ready = self.ready_message(&message)?;
        let channel = self.channel_to_call(&ready, &mut message, &*store, token).await?;
        if self.handed_over(&ready, &channel, token).await {
            return Ok(Delivered::Nothing);
        }
        let seat = channel.seat(seat);
        let verdict = self.call(&ready, &channel, self.keep_hold(&mut message, &*store, token)).await;
        drop(seat);
        let delivered = delivered(&ready, &verdict, now);
        loop {
            let now = self.now();
            let refunded = message.counted.refunded;
            let outcome = if message.dispatch.is_held_by(token, Timestamp::MIN) {
                Some(message.settle(verdict.clone(), now, || DeliveryId::new(now, &*self.ports.entropy)))
            } else {
                let told = late(&verdict).is_some_and(|receipt| message.record(ready.delivery, receipt, now));
                let named = name(&mut message.dispatch, ready.delivery, &verdict);
                if !told && !named {
                    return Ok(delivered);
                }
                None
            };
            if channel.asks() {
                message.ask_about(ready.delivery, now);
            }
            let refund = message.counted.refunded && !refunded;
            match store.replace_message(&mut message, refund).await {
                Ok(()) => {
                    self.after_call(tenant, Item::Message(id), outcome, now).await;
                    return Ok(delivered);
                }
                Err(ReplaceError::Conflict) => match store.find_message(id).await? {
                    Some(changed) => message = changed,
                    None => return Ok(delivered),
                },
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Whether another node goes on with a delivery, under the hold that this one has: the one that keeps the tenant's
    /// account. Where that is gone by now, the hold ends in a while, and whoever is rung for next has it. What comes back
    /// under the same hold stays here.
    async fn handed_over(&self, ready: &Ready, channel: &Found, token: LeaseToken) -> bool {
        let Outgoing { tenant, item, .. } = ready.outgoing;
        let node = channel.kept_by_another(&ready.outgoing).filter(|_| ready.simulated.is_none());
        let Some(node) = node else { return false };
        if !self.live_connections.may_hand_over(token, self.now()) {
            tracing::debug!(%node, "a delivery came back that was handed over, and is not handed over again");
            return false;
        }
        let handed_over = self.ports.queue.ring_node(node, Job { tenant, item, token: Some(token) }).await;
        if let Err(error) = &handed_over {
            let error: &dyn std::error::Error = error;
            tracing::debug!(%node, error, "a delivery is not handed over to the node that keeps its account");
        }
        handed_over.is_ok()
    }

    /// A fail-over goes on at once; a later try is rung for by the sweep when its time comes.
    pub(super) async fn after_call(&self, tenant: TenantId, item: Item, outcome: Option<Outcome>, now: Timestamp) {
        if let Item::Verification(id) = item {
            self.changes.tell(id);
        }
        if matches!(outcome, Some(Outcome::Again(at)) if at <= now) {
            self.ring(Job { tenant, item, token: None }).await;
        }
    }

    fn ready_verification(&self, verification: &Verification, now: Timestamp) -> Result<Ready, Refusal> {
        let owner = verification.id.to_bytes();
        let (delivery, channel) = current(&verification.dispatch);
        let to = self.address_of(verification)?.ok_or(Refusal::NotFound("address"))?;
        let sealed = verification.code.as_ref().ok_or(Refusal::Ended)?;
        let policy = &verification.policy;
        let (rendered, code, link) = match self.link_of(verification)? {
            Some(link) => (template::render_link(&policy.locale, &policy.brand, &link), None, Some(link)),
            None => {
                let code = Code::unsealed(self.ports.vault.open(Purpose::Code, &owner, &sealed.sealed)?);
                (self.render(verification, &channel, &code, now), Some(code), None)
            }
        };
        let outgoing = Outgoing {
            message_id: delivery,
            tenant: verification.tenant,
            connection: None,
            item: Item::Verification(verification.id),
            to,
            subject: rendered.subject,
            text: rendered.text,
            code,
            link,
            brand: policy.brand.clone(),
            locale: rendered.locale,
            expires_at: verification.expires_at,
        };
        Ok(ready(&verification.dispatch, channel, verification.mode, verification.policy.ack_timeout_seconds, outgoing))
    }

    fn ready_message(&self, message: &Message) -> Result<Ready, Refusal> {
        let owner = message.id.to_bytes();
        let (delivery, channel) = current(&message.dispatch);
        let to = self.open_address(&owner, message.address.as_ref())?.ok_or(Refusal::NotFound("address"))?;
        let content = message.content.as_ref().ok_or(Refusal::Ended)?;
        let outgoing = Outgoing {
            message_id: delivery,
            tenant: message.tenant,
            connection: message.connection,
            item: Item::Message(message.id),
            to,
            subject: message.brand.clone(),
            text: self.ports.vault.open(Purpose::Content, &owner, content)?,
            code: None,
            link: None,
            brand: message.brand.clone(),
            locale: message.locale,
            expires_at: message.deadline(),
        };
        Ok(ready(&message.dispatch, channel, message.mode, message.ack_timeout_seconds, outgoing))
    }

    /// Prolongs a hold that is nearly over; says whether there is still something for it to do. A hold
    /// that was lost, or never was, is no reason to give up: it may be claimed.
    async fn has_time(
        &self,
        held: &mut impl Held,
        store: &dyn TenantStore,
        token: LeaseToken,
    ) -> Result<bool, Refusal> {
        let now = self.now();
        let enough = now.saturating_add(LEASE_REST_MIN).unwrap_or(Timestamp::MAX);
        if held.dispatch().is_held_by(token, now) && held.dispatch().is_held_until_before(token, enough) {
            return Ok(self.prolong(held, store, token).await?);
        }
        Ok(true)
    }

    /// Prolongs a hold again and again, for as long as it is polled and the hold is not lost.
    async fn keep_hold(&self, held: &mut impl Held, store: &dyn TenantStore, token: LeaseToken) {
        loop {
            self.ports.timer.sleep(PROLONG_EVERY).await;
            match self.prolong(held, store, token).await {
                Ok(true) => {}
                // Somebody else delivers now. The call goes on, and a late answer is still news.
                Ok(false) => return,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(error, "the hold on a delivery could not be prolonged; trying again");
                }
            }
        }
    }

    /// Prolongs a hold; says whether it is still in force.
    async fn prolong(
        &self,
        held: &mut impl Held,
        store: &dyn TenantStore,
        token: LeaseToken,
    ) -> Result<bool, StoreError> {
        loop {
            let until = self.lease_end(self.now());
            if !held.dispatch().prolong(token, until) {
                return Ok(false);
            }
            match held.replace(store).await {
                Ok(()) => return Ok(true),
                Err(ReplaceError::Conflict) => match held.read_again(store).await? {
                    Some(changed) => *held = changed,
                    None => return Ok(false),
                },
                Err(ReplaceError::Store(error)) => return Err(error),
            }
        }
    }

    /// The channel that is to take a delivery, through an account that is noted before it is called: what is told of it by
    /// another one is no news. A simulated one takes none.
    async fn channel_to_call(
        &self,
        ready: &Ready,
        held: &mut impl Held,
        store: &dyn TenantStore,
        token: LeaseToken,
    ) -> Result<Found, Refusal> {
        if ready.simulated.is_some() {
            return Ok(Found::Nothing);
        }
        let found = self.channel_for(&ready.channel, ready.outgoing.tenant).await?;
        let Found::Way(Way { account, .. }) = found else { return Ok(found) };
        loop {
            // Most go through the operator's account, which needs no write.
            if held.dispatch().current().is_some_and(|delivery| delivery.account == account) {
                return Ok(found);
            }
            // Who lost the hold meanwhile calls nobody.
            let ours = held.dispatch().is_held_by(token, Timestamp::MIN);
            if !ours || !held.dispatch().go_through(account) {
                return Ok(Found::Nothing);
            }
            match held.replace(store).await {
                Ok(()) => return Ok(found),
                Err(ReplaceError::Conflict) => match held.read_again(store).await? {
                    Some(changed) => *held = changed,
                    None => return Ok(Found::Nothing),
                },
                Err(ReplaceError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// Calls the channel, and meanwhile does `keeping`: beside the call, since the store may be slow
    /// and the channel's answer must not wait for it.
    async fn call(&self, ready: &Ready, channel: &Found, keeping: impl Future<Output = ()> + Send) -> Verdict {
        if let Some(behaviour) = ready.simulated {
            return behaviour.verdict(ready.place.0, ready.place.1);
        }
        let channel = match channel {
            Found::Way(way) => &way.channel,
            // A moment later it may be: a node that has just started still reads its plugins.
            Found::Awaited => return Verdict::Away { after: NOT_READY },
            Found::Nothing => return Verdict::Refused(DeliveryFailure::Misconfigured),
        };
        let answer: Mutex<Option<Result<Acknowledged, SendError>>> = Mutex::new(None);
        let work = async {
            let result = channel.send(&ready.outgoing).await;
            *answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        };
        let (mut work, mut keeping) = (pin!(work), pin!(keeping));
        let mut kept = false;
        let both = poll_fn(|context| {
            if work.as_mut().poll(context).is_ready() {
                return Poll::Ready(());
            }
            kept = kept || keeping.as_mut().poll(context).is_ready();
            Poll::Pending
        });
        self.ports.timer.within(ready.ack_timeout, Box::pin(both)).await;
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        match answer {
            Some(Ok(Acknowledged { provider_id, reached, cost })) => Verdict::Sent { provider_id, reached, cost },
            Some(Err(error)) => {
                let verdict = match &error {
                    SendError::Later { after, .. } => {
                        Verdict::Later { after: (*after).max(SignedDuration::from_secs(1)) }
                    }
                    SendError::Away { after, .. } => {
                        Verdict::Away { after: (*after).max(SignedDuration::from_secs(1)) }
                    }
                    SendError::Refused { reason, .. } => Verdict::Refused(*reason),
                    SendError::Unknown { .. } => Verdict::Refused(DeliveryFailure::NoAck),
                };
                // The channel has said so itself, once, and there may be thousands of these.
                if !matches!(error, SendError::Away { .. }) {
                    let error: &dyn std::error::Error = &error;
                    tracing::warn!(delivery = %ready.delivery, channel = ready.channel, error, "a channel did not send");
                }
                verdict
            }
            None => {
                tracing::warn!(delivery = %ready.delivery, channel = ready.channel, "a channel did not acknowledge in time");
                Verdict::Refused(DeliveryFailure::NoAck)
            }
        }
    }
}

fn current(dispatch: &Dispatch) -> (DeliveryId, String) {
    let delivery = dispatch.current().expect("a dispatch is born with a delivery");
    (delivery.id, delivery.channel.clone())
}

fn ready(dispatch: &Dispatch, channel: String, mode: Mode, ack_timeout_seconds: u32, outgoing: Outgoing) -> Ready {
    let delivery = dispatch.current().expect("a dispatch is born with a delivery");
    let order = dispatch.channels.iter().position(|name| *name == channel).unwrap_or(0);
    let simulated = simulated(mode, &outgoing.to);
    Ready {
        delivery: outgoing.message_id,
        channel,
        place: (order, delivery.tries),
        queued_at: delivery.queued_at,
        simulated,
        ack_timeout: SignedDuration::from_secs(ack_timeout_seconds.into()),
        outgoing,
    }
}

/// Sandbox numbers behave as their number says; with a test key any other address is delivered.
pub(super) fn simulated(mode: Mode, to: &Address) -> Option<Behaviour> {
    let test = (mode == Mode::Test).then_some(Behaviour::Delivered);
    sandbox::find(to).or(test)
}

/// What a verdict still tells once its hold is lost.
fn late(verdict: &Verdict) -> Option<Receipt> {
    match verdict {
        Verdict::Sent { reached: DeliveryStatus::Delivered, .. } => Some(Receipt::Delivered),
        Verdict::Sent { reached: DeliveryStatus::Read, .. } => Some(Receipt::Read),
        Verdict::Sent { .. } => Some(Receipt::Sent),
        Verdict::Later { .. } | Verdict::Away { .. } | Verdict::Refused(_) => None,
    }
}

/// Takes down what the provider calls a delivery; says whether that is news.
fn name(dispatch: &mut Dispatch, delivery: DeliveryId, verdict: &Verdict) -> bool {
    verdict.provider_id().is_some_and(|name| dispatch.name(delivery, name))
}

fn delivered(ready: &Ready, verdict: &Verdict, called_at: Timestamp) -> Delivered {
    Delivered::Called {
        channel: ready.channel.clone(),
        acknowledged: matches!(verdict, Verdict::Sent { .. }),
        waited: called_at.duration_since(ready.queued_at),
    }
}
