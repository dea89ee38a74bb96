use futures_util::{StreamExt as _, stream};
use jiff::SignedDuration;

use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::{By, Deed};
use crate::domain::dispatch::LeaseToken;
use crate::domain::event::{DisabledReason, EndpointData, Event, Fact};
use crate::domain::id::{EndpointId, TenantId, WebhookDeliveryId};
use crate::domain::vault::Purpose;
use crate::domain::webhook::delivery::{
    ANSWER_LENGTH_MAX, Attempt, AttemptVerdict, GivenUp, WebhookDelivery, WebhookStatus,
};
use crate::domain::webhook::endpoint::{Endpoint, Failing};
use crate::domain::webhook::lanes::{Entry, Pass};
use crate::domain::webhook::notice::EndpointNotice;
use crate::domain::webhook::replay::Replay;
use crate::domain::webhook::signature::SigningKeys;
use crate::ports::{Change, CommitError, Entity, Owner, Stored, Unsent, WebhookCall};

/// What is waited for in the store at one moment goes there together.
const AT_ONCE: usize = 64;
/// Replays that go on at one time, each by one part.
const REPLAYS: usize = 8;
/// How often the outcome of an attempt is written, when somebody else changed the delivery meanwhile.
const TRIES: usize = 5;

/// A delivery that this process holds, and has a place for in its endpoint's lane. It is to be given to
/// [`App::attempt_webhook`].
#[derive(Debug, PartialEq, Eq)]
#[must_use = "the endpoint's lane keeps a place for it"]
pub struct HeldWebhook {
    tenant: TenantId,
    endpoint: EndpointId,
    id: WebhookDeliveryId,
    token: LeaseToken,
}

/// What was found to do.
#[derive(Debug, Default)]
pub struct Taken {
    /// Deliveries to attempt now.
    pub held: Vec<HeldWebhook>,
    /// Events that got their deliveries.
    pub fanned_out: usize,
    /// Deliveries that have to wait for their endpoint.
    pub waiting: usize,
    /// Events and deliveries that were kept long enough, and are gone.
    pub deleted: usize,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempted {
    /// It was taken.
    Delivered,
    /// It will be tried again.
    Again,
    /// It is not tried any more.
    Failed,
    /// Nothing was sent: somebody else has it, or it is not to be sent any more.
    Unsent,
}

impl App {
    /// Makes the deliveries of what happened, takes those whose time has come, and deletes what was kept long
    /// enough; about `limit` of each. Several nodes may do this at once: every change is a compare-and-swap.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn take_webhooks(&self, limit: usize) -> Result<Taken, Refusal> {
        let mut taken = Taken::default();
        self.each_due(limit, &mut taken, |event| self.event_due(event)).await?;
        let replaying = self.step_replays().await?;
        self.each_due(limit, &mut taken, |delivery| self.delivery_due(delivery)).await?;
        // What was not to be had is not asked for again at once.
        taken.more &= !taken.held.is_empty() || taken.fanned_out + taken.deleted + taken.waiting > 0;
        taken.more |= replaying;
        Ok(taken)
    }

    async fn each_due<'a, E, W>(
        &'a self,
        limit: usize,
        taken: &mut Taken,
        work: impl Fn(Stored<E>) -> W,
    ) -> Result<(), Refusal>
    where
        E: Entity,
        W: Future<Output = Result<Taken, Refusal>> + 'a,
    {
        let due = self.due::<E>(limit).await?;
        taken.more |= due.len() == limit;
        let mut done = stream::iter(due).map(work).buffer_unordered(AT_ONCE);
        while let Some(done) = done.next().await {
            match done {
                Ok(mut done) => {
                    taken.held.append(&mut done.held);
                    taken.fanned_out += done.fanned_out;
                    taken.waiting += done.waiting;
                    taken.deleted += done.deleted;
                }
                // One that cannot be read must not keep all others waiting behind it.
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(kind = E::KIND, error, "what is due for webhooks could not be done");
                }
            }
        }
        Ok(())
    }

    /// Gives an event its deliveries, or lets it go.
    async fn event_due(&self, mut event: Stored<Event>) -> Result<Taken, Refusal> {
        if event.fanned_out {
            return self.kept_long_enough(&event).await;
        }
        let now = self.now();
        let endpoints = self.endpoints_of(event.tenant).await?;
        event.fanned_out = true;
        let mut changes = vec![Change::replace(&event)];
        let mut held = Vec::new();
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.wants(&event)) {
            let mut delivery = WebhookDelivery::due(&event, endpoint.id, now);
            // It is born held by the process that made it, so that the common path needs no write to take it.
            match self.webhooks.lanes().enter(event.tenant, endpoint.id, now) {
                Entry::Go => {
                    let token = self.token();
                    delivery.hold(token, now);
                    held.push(HeldWebhook { tenant: event.tenant, endpoint: endpoint.id, id: delivery.id, token });
                }
                Entry::Wait(until) => delivery.wait(until),
            }
            changes.push(Change::insert(&delivery));
        }
        match self.ports.store.commit(changes).await {
            Ok(()) => Ok(Taken { held, fanned_out: 1, ..Taken::default() }),
            // Another node was faster.
            Err(CommitError::Changed | CommitError::Taken { .. }) => {
                self.leave_unused(held);
                Ok(Taken::default())
            }
            Err(CommitError::Store(error)) => {
                self.leave_unused(held);
                Err(error.into())
            }
        }
    }

    /// Does the next part of some replays; says whether there is more of them.
    async fn step_replays(&self) -> Result<bool, Refusal> {
        let mut more = false;
        for replay in self.due::<Replay>(REPLAYS).await? {
            let id = replay.id;
            match self.step_replay(replay).await {
                Ok(is_more) => more |= is_more,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(%id, error, "a part of a replay could not be done");
                }
            }
        }
        Ok(more)
    }

    /// Takes a delivery, or lets it wait for its endpoint, or lets it go.
    async fn delivery_due(&self, mut delivery: Stored<WebhookDelivery>) -> Result<Taken, Refusal> {
        if delivery.status != WebhookStatus::Pending {
            return self.kept_long_enough(&delivery).await;
        }
        let now = self.now();
        let (tenant, endpoint, id) = (delivery.tenant, delivery.endpoint, delivery.id);
        let known = self.endpoints_of(tenant).await?;
        if !known.iter().any(|known| known.id == endpoint && known.disabled.is_none()) {
            delivery.give_up(GivenUp::Disabled);
            self.replaced(&delivery).await?;
            return Ok(Taken::default());
        }
        let entry = self.webhooks.lanes().enter(tenant, endpoint, now);
        match entry {
            Entry::Go => {
                let token = self.token();
                delivery.hold(token, now);
                let held = vec![HeldWebhook { tenant, endpoint, id, token }];
                match self.replaced(&delivery).await {
                    Ok(true) => Ok(Taken { held, ..Taken::default() }),
                    Ok(false) => {
                        self.leave_unused(held);
                        Ok(Taken::default())
                    }
                    Err(error) => {
                        self.leave_unused(held);
                        Err(error)
                    }
                }
            }
            Entry::Wait(until) => {
                delivery.wait(until);
                let waiting = usize::from(self.replaced(&delivery).await?);
                Ok(Taken { waiting, ..Taken::default() })
            }
        }
    }

    async fn kept_long_enough<E: Entity>(&self, stored: &Stored<E>) -> Result<Taken, Refusal> {
        match self.ports.store.commit(vec![Change::delete(stored)]).await {
            Ok(()) => Ok(Taken { deleted: 1, ..Taken::default() }),
            Err(CommitError::Store(error)) => Err(error.into()),
            Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(Taken::default()),
        }
    }

    /// Writes a delivery; says whether it was still as it was read.
    async fn replaced(&self, delivery: &Stored<WebhookDelivery>) -> Result<bool, Refusal> {
        match self.ports.store.commit(vec![Change::replace(delivery)]).await {
            Ok(()) => Ok(true),
            Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(false),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    fn leave_unused(&self, held: Vec<HeldWebhook>) {
        let now = self.now();
        for HeldWebhook { tenant, endpoint, .. } in held {
            self.webhooks.lanes().leave(tenant, endpoint, Pass::Unused, now);
        }
    }

    /// Calls the endpoint of a delivery that is held, and writes down what came of it.
    ///
    /// A process that is killed in between leaves a hold that ends; then the endpoint is called again, with
    /// the same id. So every event is delivered at least once, and the receiver tells by the id whether it
    /// has it.
    ///
    /// # Errors
    /// [`Refusal::Store`], [`Refusal::Vault`]: the hold ends, and it is tried again.
    pub async fn attempt_webhook(&self, held: HeldWebhook) -> Result<Attempted, Refusal> {
        let (tenant, endpoint) = (held.tenant, held.endpoint);
        let (pass, attempted) = match self.attempt(held).await {
            Ok((pass, attempted)) => (pass, Ok(attempted)),
            Err(error) => (Pass::Unused, Err(error)),
        };
        self.webhooks.lanes().leave(tenant, endpoint, pass, self.now());
        attempted
    }

    async fn attempt(&self, held: HeldWebhook) -> Result<(Pass, Attempted), Refusal> {
        let HeldWebhook { tenant, endpoint, id, token } = held;
        let owner = Owner::Tenant(tenant);
        let unsent = Ok((Pass::Unused, Attempted::Unsent));
        let Some(delivery) = self.held(owner, id, token).await? else { return unsent };
        if delivery.next_at <= self.now() {
            // The hold ended while this process was busy or paused: whoever looks next takes it.
            return unsent;
        }
        let endpoints = self.endpoints_of(tenant).await?;
        let endpoint = endpoints.iter().find(|known| known.id == endpoint && known.disabled.is_none());
        let event = self.find::<Event>(owner, delivery.event.to_bytes()).await?;
        let (Some(endpoint), Some(event)) = (endpoint, event) else {
            let mut delivery = delivery;
            delivery.give_up(GivenUp::Disabled);
            self.replaced(&delivery).await?;
            return unsent;
        };
        let call = self.signed(endpoint, &event)?;
        let begun = self.now();
        let answer = self.ports.webhooks.call(call).await;
        let now = self.now();
        let latency = now.duration_since(begun).max(SignedDuration::ZERO);
        let (attempt, verdict) = judged(answer, begun, latency, now);
        let pass = match verdict {
            AttemptVerdict::Refused { after, rest: true } => Pass::Rest(after),
            _ => Pass::Answered(latency),
        };
        let attempted = self.settled(owner, id, token, &attempt, verdict).await?;
        self.standing(endpoint, verdict).await?;
        Ok((pass, attempted))
    }

    async fn held(
        &self,
        owner: Owner,
        id: WebhookDeliveryId,
        token: LeaseToken,
    ) -> Result<Option<Stored<WebhookDelivery>>, Refusal> {
        let delivery = self.find::<WebhookDelivery>(owner, id.to_bytes()).await?;
        Ok(delivery.filter(|delivery| delivery.is_held(token)))
    }

    /// The signed call of an event.
    fn signed(&self, endpoint: &Endpoint, event: &Event) -> Result<WebhookCall, Refusal> {
        let now = self.now();
        let (id, body) = (event.id.to_string(), event.payload());
        let mut signatures = Vec::new();
        for keys in endpoint.keys_at(now) {
            let text = self.ports.vault.open(Purpose::WebhookSecret, &endpoint.id.to_bytes(), &keys.sealed)?;
            let text = zeroize::Zeroizing::new(text);
            let keys = SigningKeys::from_text(&text).ok_or(crate::domain::vault::VaultError::Damaged)?;
            signatures.push(keys.sign(&id, now.as_second(), &body));
        }
        let headers = [
            ("webhook-id", id),
            ("webhook-timestamp", now.as_second().to_string()),
            ("webhook-signature", signatures.join(" ")),
        ];
        Ok(WebhookCall { url: endpoint.url.clone(), headers, body })
    }

    /// Writes down what came of an attempt, if the delivery is still held.
    async fn settled(
        &self,
        owner: Owner,
        id: WebhookDeliveryId,
        token: LeaseToken,
        attempt: &Attempt,
        verdict: AttemptVerdict,
    ) -> Result<Attempted, Refusal> {
        let mut dice = [0; 2];
        self.ports.entropy.fill(&mut dice);
        for _ in 0..TRIES {
            let Some(mut delivery) = self.held(owner, id, token).await? else { break };
            delivery.settle(attempt.clone(), verdict, self.now(), u16::from_be_bytes(dice));
            let status = delivery.status;
            if self.replaced(&delivery).await? {
                return Ok(match status {
                    WebhookStatus::Pending => Attempted::Again,
                    WebhookStatus::Delivered => Attempted::Delivered,
                    WebhookStatus::Failed => Attempted::Failed,
                });
            }
        }
        // It was replayed, or the hold ended and another has it: what that one does counts.
        Ok(Attempted::Unsent)
    }

    /// Notes since when an endpoint takes nothing, and disables it when that is too long.
    async fn standing(&self, endpoint: &Endpoint, verdict: AttemptVerdict) -> Result<(), Refusal> {
        match verdict {
            AttemptVerdict::Taken if self.is_failing(endpoint.tenant, endpoint.id).await? => {
                self.works(endpoint.tenant, endpoint.id).await
            }
            AttemptVerdict::Taken => Ok(()),
            AttemptVerdict::Gone => self.disable(endpoint, DisabledReason::Gone, None).await,
            AttemptVerdict::Refused { .. } => self.fails(endpoint).await,
        }
    }

    async fn fails(&self, endpoint: &Endpoint) -> Result<(), Refusal> {
        let now = self.now();
        let known = self.find::<Failing>(Owner::Tenant(endpoint.tenant), endpoint.id.to_bytes()).await?;
        if let Some(failing) = known {
            let hopeless = failing.is_hopeless(now);
            let since = Some(failing.since);
            return if hopeless { self.disable(endpoint, DisabledReason::Failing, since).await } else { Ok(()) };
        }
        let failing = Failing { endpoint: endpoint.id, tenant: endpoint.tenant, since: now };
        self.webhooks.failing.keep(endpoint.id, (endpoint.tenant, true), now);
        match self.ports.store.commit(vec![Change::insert(&failing)]).await {
            Ok(()) | Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(()),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    /// Forgets that an endpoint took nothing.
    pub(super) async fn works(&self, tenant: TenantId, endpoint: EndpointId) -> Result<(), Refusal> {
        if let Some(failing) = self.find::<Failing>(Owner::Tenant(tenant), endpoint.to_bytes()).await?
            && let Err(CommitError::Store(error)) = self.ports.store.commit(vec![Change::delete(&failing)]).await
        {
            return Err(error.into());
        }
        self.webhooks.failing.keep(endpoint, (tenant, false), self.now());
        Ok(())
    }

    /// Disables an endpoint, and tells the others of the tenant, and the people who run it.
    async fn disable(
        &self,
        endpoint: &Endpoint,
        reason: DisabledReason,
        failing_since: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        let owner = Owner::Tenant(endpoint.tenant);
        let Some(mut stored) = self.find::<Endpoint>(owner, endpoint.id.to_bytes()).await? else { return Ok(()) };
        // Somebody disabled or changed it while the call was under way.
        if stored.disabled.is_some() || stored.url != endpoint.url {
            return Ok(());
        }
        let now = self.now();
        stored.disabled = Some(reason);
        stored.updated_at = now;
        let fact = Fact::WebhookEndpointDisabled(EndpointData { endpoint: endpoint.id, reason, failing_since });
        let event = Event::new(endpoint.tenant, None, &fact, now, &*self.ports.entropy);
        let deed = Deed::of(endpoint.tenant, "webhook_endpoint.disable", endpoint.id);
        let deed = deed.after(serde_json::json!({ "reason": reason, "failing_since": failing_since }));
        let notice = EndpointNotice {
            event: event.id,
            tenant: endpoint.tenant,
            endpoint: endpoint.id,
            reason,
            disabled_at: now,
        };
        let changes = vec![Change::replace(&stored), Change::insert(&event), Change::insert(&notice)];
        match self.commit(&By::platform(), vec![deed], changes).await {
            Ok(()) => {
                tracing::info!(tenant = %endpoint.tenant, endpoint = %endpoint.id, ?reason, "a webhook endpoint was disabled")
            }
            Err(Refusal::Conflict) => {}
            Err(error) => return Err(error),
        }
        self.changed(endpoint.tenant).await;
        Ok(())
    }
}

/// What an answer, or none, means.
fn judged(
    answer: Result<crate::ports::WebhookAnswer, Unsent>,
    at: Timestamp,
    latency: SignedDuration,
    now: Timestamp,
) -> (Attempt, AttemptVerdict) {
    let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(0);
    match answer {
        Ok(answer) => {
            let body = answer.body.chars().take(ANSWER_LENGTH_MAX).collect();
            let verdict = AttemptVerdict::of(answer.status, answer.retry_after.as_deref(), now);
            (Attempt { at, latency_ms, status: Some(answer.status), error: None, answer: body }, verdict)
        }
        Err(error) => {
            let verdict = AttemptVerdict::Refused { after: None, rest: true };
            let error = Some(error.to_string());
            (Attempt { at, latency_ms, status: None, error, answer: String::new() }, verdict)
        }
    }
}
