use serde_json::json;

use super::endpoints::enabled;
use crate::app::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::Deed;
use crate::domain::event::{Event, EventKind, KEPT};
use crate::domain::id::{EndpointId, EventId, ReplayId, WebhookDeliveryId};
use crate::domain::webhook::delivery::{WebhookDelivery, WebhookStatus};
use crate::domain::webhook::endpoint::Endpoint;
use crate::domain::webhook::replay::Replay;
use crate::ports::{Change, CommitError, EntityList, IndexKey, Owner, Stored};

/// Deliveries that one step of a replay makes due.
const STEP: usize = 100;

/// A range of events to have once more.
#[derive(Debug, Clone, Copy)]
pub struct AskReplay {
    /// Events from this moment on.
    pub since: Timestamp,
    /// Events before this moment; none means until now.
    pub until: Option<Timestamp>,
    /// Only what was not taken.
    pub failed_only: bool,
}

impl App {
    /// Delivers one event to an endpoint once more, with all attempts before it, also when it was created
    /// after the event.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for the endpoint or an event that it is not told of, [`Refusal::Invalid`] when
    /// the endpoint is disabled, [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn replay_event(
        &self,
        caller: &ApiCaller,
        id: EndpointId,
        event: EventId,
    ) -> Result<WebhookDelivery, Refusal> {
        let endpoint = self.endpoint(caller, id).await?;
        enabled(&endpoint)?;
        let owner = Owner::Tenant(caller.tenant.id);
        let event = self.find::<Event>(owner, event.to_bytes()).await?.ok_or(Refusal::NotFound("event"))?;
        let now = self.now();
        let known = self.find::<WebhookDelivery>(owner, WebhookDeliveryId::of(event.id, id).to_bytes()).await?;
        let (delivery, change) = match known {
            Some(mut known) => {
                known.replay(now);
                let change = Change::replace(&known);
                (known.entity, change)
            }
            None if endpoint.wants(&event) && !is_test(&event) => {
                let delivery = WebhookDelivery::due(&event, id, now);
                let change = Change::insert(&delivery);
                (delivery, change)
            }
            None => return Err(Refusal::NotFound("event")),
        };
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.replay", id).after(json!({ "event": event.id }));
        self.commit(&caller.by(), vec![deed], vec![change]).await?;
        self.webhooks.bell.ring();
        Ok(delivery)
    }

    /// Delivers a range of events to an endpoint once more. It begins at once, and takes as long as it takes.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`] for a range that holds nothing or an endpoint that is
    /// disabled, [`Refusal::Store`].
    pub async fn replay_events(&self, caller: &ApiCaller, id: EndpointId, ask: AskReplay) -> Result<Replay, Refusal> {
        let endpoint = self.endpoint(caller, id).await?;
        enabled(&endpoint)?;
        let now = self.now();
        let until = ask.until.unwrap_or(now).min(now);
        if ask.since >= until {
            return Err(Refusal::field("since", "is before `until`, and in the past"));
        }
        let oldest = now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN);
        let replay = Replay {
            id: ReplayId::new(now, &*self.ports.entropy),
            tenant: caller.tenant.id,
            endpoint: id,
            failed_only: ask.failed_only,
            from: EventId::first_at(ask.since.max(oldest)),
            before: EventId::first_at(until),
            created_at: now,
        };
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.replay", id);
        let deed = deed.after(json!({ "since": ask.since, "until": until, "failed_only": ask.failed_only }));
        self.commit(&caller.by(), vec![deed], vec![Change::insert(&replay)]).await?;
        self.webhooks.bell.ring();
        Ok(replay)
    }

    /// Does the next part of a replay; says whether there is more.
    pub(super) async fn step_replay(&self, mut replay: Stored<Replay>) -> Result<bool, Refusal> {
        let owner = Owner::Tenant(replay.tenant);
        let endpoint = self.find::<Endpoint>(owner, replay.endpoint.to_bytes()).await?;
        let part = match endpoint.filter(|endpoint| endpoint.disabled.is_none()) {
            Some(endpoint) if replay.failed_only => self.failed_part(&replay, &endpoint).await?,
            Some(endpoint) => self.whole_part(&replay, &endpoint).await?,
            None => Part { changes: Vec::new(), next: None },
        };
        let mut changes = part.changes;
        match part.next {
            Some(next) => {
                replay.from = next;
                changes.push(Change::replace(&replay));
            }
            None => changes.push(Change::delete(&replay)),
        }
        match self.ports.store.commit(changes).await {
            Ok(()) => Ok(part.next.is_some()),
            // A delivery or the replay itself moved meanwhile: the same part is looked at again.
            Err(CommitError::Changed | CommitError::Taken { .. }) => Ok(true),
            Err(CommitError::Store(error)) => Err(error.into()),
        }
    }

    async fn failed_part(&self, replay: &Replay, endpoint: &Endpoint) -> Result<Part, Refusal> {
        let list = EntityList {
            by: Some(IndexKey::new("failed", endpoint.id.to_bytes())),
            from: Some(replay.from.to_bytes()),
            before: Some(replay.before.to_bytes()),
            limit: STEP,
            ..EntityList::of(Owner::Tenant(replay.tenant))
        };
        let failed: Vec<Stored<WebhookDelivery>> = self.list(&list).await?;
        let next = (failed.len() == STEP).then(|| failed.last().map(|last| after(last.id.to_bytes()))).flatten();
        let now = self.now();
        let again = failed.into_iter().map(|mut delivery| {
            delivery.replay(now);
            Change::replace(&delivery)
        });
        Ok(Part { changes: again.collect(), next })
    }

    async fn whole_part(&self, replay: &Replay, endpoint: &Endpoint) -> Result<Part, Refusal> {
        let owner = Owner::Tenant(replay.tenant);
        let list = EntityList {
            from: Some(replay.from.to_bytes()),
            before: Some(replay.before.to_bytes()),
            limit: STEP,
            ..EntityList::of(owner)
        };
        let events: Vec<Stored<Event>> = self.list(&list).await?;
        let next = (events.len() == STEP).then(|| events.last().map(|last| after(last.id.to_bytes()))).flatten();
        let now = self.now();
        let mut changes = Vec::new();
        for event in events.iter().filter(|event| !is_test(event) && endpoint.wants(event)) {
            let id = WebhookDeliveryId::of(event.id, endpoint.id);
            match self.find::<WebhookDelivery>(owner, id.to_bytes()).await? {
                // It is on its way, or will be.
                Some(known) if known.status == WebhookStatus::Pending => {}
                Some(mut known) => {
                    known.replay(now);
                    changes.push(Change::replace(&known));
                }
                None if !event.fanned_out => {}
                None => changes.push(Change::insert(&WebhookDelivery::due(event, endpoint.id, now))),
            }
        }
        Ok(Part { changes, next })
    }
}

/// A test is for one endpoint.
fn is_test(event: &Event) -> bool {
    event.kind == EventKind::WebhookTest.name()
}

struct Part {
    changes: Vec<Change>,
    next: Option<EventId>,
}

/// The first id after this one.
fn after(id: [u8; 16]) -> EventId {
    EventId::from_bytes(u128::from_be_bytes(id).saturating_add(1).to_be_bytes())
}
