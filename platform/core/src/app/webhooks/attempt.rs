use jiff::SignedDuration;
use serde_json::json;

use super::HeldWebhook;
use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::{By, Deed};
use crate::domain::dispatch::LeaseToken;
use crate::domain::event::{DisabledByUs, EndpointData, Event, Fact};
use crate::domain::id::{EndpointId, TenantId, WebhookDeliveryId};
use crate::domain::vault::Purpose;
use crate::domain::webhook::delivery::{
    ANSWER_LENGTH_MAX, Attempt, AttemptVerdict, GivenUp, WebhookDelivery, WebhookStatus,
};
use crate::domain::webhook::endpoint::{Endpoint, Failing};
use crate::domain::webhook::lanes::Pass;
use crate::domain::webhook::notice::EndpointNotice;
use crate::domain::webhook::signature::SigningKeys;
use crate::ports::{Change, CommitError, Owner, Stored, Unsent, WebhookCall};

/// How often the outcome of an attempt is written, when somebody else changed the delivery meanwhile.
const TRIES: usize = 5;

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
    /// Calls the endpoint of a delivery that is held, and writes down what came of it.
    ///
    /// A process that is killed in between leaves a hold that ends; then the endpoint is called again, with
    /// the same id. So every event is delivered at least once, and the receiver tells by the id whether it
    /// has it.
    ///
    /// # Errors
    /// [`Refusal::Store`]: the hold ends, and it is tried again.
    pub async fn attempt_webhook(&self, held: HeldWebhook) -> Result<Attempted, Refusal> {
        let HeldWebhook { tenant, endpoint, id, token, place } = held;
        let (pass, attempted) = self.attempt(tenant, endpoint, id, token).await?;
        place.done(pass, self.now());
        Ok(attempted)
    }

    async fn attempt(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        id: WebhookDeliveryId,
        token: LeaseToken,
    ) -> Result<(Pass, Attempted), Refusal> {
        let owner = Owner::Tenant(tenant);
        let unsent = Ok((Pass::Unused, Attempted::Unsent));
        let Some(mut delivery) = self.held(owner, id, token).await? else { return unsent };
        if delivery.next_at <= self.now() {
            // The hold ended while this process was busy or paused: whoever looks next takes it.
            return unsent;
        }
        let endpoint = self.enabled_endpoint(tenant, endpoint).await?;
        let event = self.find::<Event>(owner, delivery.event.to_bytes()).await?;
        let (Some(endpoint), Some(event)) = (&endpoint, event) else {
            // An event that is there no more was kept for as long as events are.
            delivery.give_up(if endpoint.is_some() { GivenUp::Expired } else { GivenUp::Disabled });
            self.is_made(vec![Change::replace(&delivery)]).await?;
            return unsent;
        };
        // This process was busy or paused since it took it: the call would go on beside that of whoever takes it next.
        if !delivery.has_time(self.now()) {
            delivery.hold(token, self.now());
            // Where that took too long itself, whoever looks after the hold takes it.
            if !self.is_made(vec![Change::replace(&delivery)]).await? || !delivery.has_time(self.now()) {
                return unsent;
            }
        }
        let begun = self.now();
        let answer = match self.signed(endpoint, &event) {
            Ok(call) => self.ports.webhooks.call(call).await,
            // It counts as an attempt, or it would be made again and again and nobody would be told.
            Err(Refusal::Vault(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::error!(%tenant, endpoint = %endpoint.id, error, "a webhook's secret does not open");
                Err(Unsent::PlatformFault)
            }
            Err(error) => return Err(error),
        };
        let now = self.now();
        let latency = now.duration_since(begun).max(SignedDuration::ZERO);
        if let Err(error @ Unsent::NotPublic) = &answer {
            // The tenant is told no more than of a host that is not there: it may be a name of our own network.
            tracing::warn!(%tenant, endpoint = %endpoint.id, error = error as &dyn std::error::Error, "no webhook goes there");
        }
        let blameless = matches!(answer, Err(Unsent::PlatformFault));
        let (attempt, verdict) = judged(answer, begun, latency, now);
        let pass = match verdict {
            AttemptVerdict::Refused { after, rest: true } => Pass::Rest(after),
            _ => Pass::Answered(latency),
        };
        let attempted = self.settled(owner, id, token, &attempt, verdict).await?;
        if !blameless {
            self.standing(endpoint, verdict).await?;
        }
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
            if self.is_made(vec![Change::replace(&delivery)]).await? {
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
            AttemptVerdict::Gone => self.disable(endpoint, DisabledByUs::Gone, None).await,
            AttemptVerdict::Refused { .. } => self.fails(endpoint).await,
        }
    }

    async fn fails(&self, endpoint: &Endpoint) -> Result<(), Refusal> {
        let (now, owner) = (self.now(), Owner::Tenant(endpoint.tenant));
        let change = match self.find::<Failing>(owner, endpoint.id.to_bytes()).await? {
            Some(mut failing) => {
                let noted = failing.again(now);
                if failing.is_hopeless(endpoint.updated_at, now) {
                    return self.disable(endpoint, DisabledByUs::Failing, Some(failing.since)).await;
                }
                noted.then(|| Change::replace(&failing))
            }
            // One that was deleted meanwhile leaves nothing behind.
            None => {
                let there = self.find::<Endpoint>(owner, endpoint.id.to_bytes()).await?.is_some();
                there.then(|| Change::insert(&Failing::new(endpoint.id, endpoint.tenant, now)))
            }
        };
        let Some(change) = change else { return Ok(()) };
        match self.ports.store.commit(vec![change]).await {
            // Whoever succeeds from now on looks whether it is there.
            Ok(()) => self.webhooks.failing.keep(endpoint.id, (endpoint.tenant, true), now),
            Err(CommitError::Changed | CommitError::Taken { .. }) => {}
            Err(CommitError::Store(error)) => return Err(error.into()),
        }
        Ok(())
    }

    /// Forgets at most `limit` endpoints that took nothing, and were not called for long: it counts no more.
    pub(super) async fn forget_failing(&self, limit: usize) -> Result<(), Refusal> {
        for failing in self.due::<Failing>(limit).await? {
            if let Err(CommitError::Store(error)) = self.ports.store.commit(vec![Change::delete(&failing)]).await {
                return Err(error.into());
            }
        }
        Ok(())
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
        reason: DisabledByUs,
        failing_since: Option<Timestamp>,
    ) -> Result<(), Refusal> {
        let owner = Owner::Tenant(endpoint.tenant);
        let Some(mut stored) = self.find::<Endpoint>(owner, endpoint.id.to_bytes()).await? else { return Ok(()) };
        // Somebody disabled or changed it, or enabled it again, while the call was under way.
        if stored.disabled.is_some() || stored.updated_at != endpoint.updated_at {
            return Ok(());
        }
        let now = self.now();
        let before = json!({ "disabled": stored.disabled });
        stored.disabled = Some(reason.into());
        stored.updated_at = now;
        let fact = Fact::WebhookEndpointDisabled(EndpointData { endpoint: endpoint.id, reason, failing_since });
        let event = Event::new(endpoint.tenant, None, &fact, now, &*self.ports.entropy);
        let deed = Deed::of(endpoint.tenant, "webhook_endpoint.disable", endpoint.id);
        let after = json!({ "disabled": stored.disabled, "failing_since": failing_since });
        let deed = deed.before(before).after(after);
        let notice = EndpointNotice::new(endpoint.tenant, endpoint.id, event.id, reason.into(), now);
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
            let error = match error {
                Unsent::NotPublic => Unsent::Unresolved,
                error => error,
            };
            let error = Some(error.to_string());
            (Attempt { at, latency_ms, status: None, error, answer: String::new() }, verdict)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_cannot_tell_a_name_within_our_network_from_one_that_is_nowhere() {
        let now = Timestamp::UNIX_EPOCH;
        let told = |error| judged(Err(error), now, SignedDuration::ZERO, now);
        assert_eq!(told(Unsent::NotPublic), told(Unsent::Unresolved));
    }
}
