use std::collections::HashSet;

use futures_util::future::{join_all, try_join_all};
use jiff::SignedDuration;
use serde_json::json;

use super::endpoints::enabled;
use crate::app::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::Deed;
use crate::domain::event::{Event, EventKind, KEPT};
use crate::domain::id::{EndpointId, EventId, ReplayId, TenantId, WebhookDeliveryId};
use crate::domain::tenant::Standing;
use crate::domain::webhook::backlog::Backlog;
use crate::domain::webhook::delivery::{WebhookDelivery, WebhookStatus};
use crate::domain::webhook::endpoint::Endpoint;
use crate::domain::webhook::replay::{REPLAYS_MAX, Replay};
use crate::ports::{Change, Entity as _, EntityList, IndexKey, Owner, StoreError, Stored};

/// Events that one step of a replay looks at.
const STEP: usize = 100;
/// Replays that are looked at together: more than fifty tenants may have.
const DUE: usize = 256;
/// Replays that go on at one time, each of another tenant.
const AT_ONCE: usize = 8;
/// How long a replay waits while its endpoint has enough to take.
const PAUSE: SignedDuration = SignedDuration::from_secs(5);
/// How soon somebody looks whether a tenant that is suspended goes on.
const SUSPENDED: SignedDuration = SignedDuration::from_mins(5);
/// How much longer ago than events are kept a range may begin: whoever asks for all there are reckons by a clock of
/// their own, or in whole days.
const SINCE_SLACK: SignedDuration = SignedDuration::from_hours(24);
/// How much later than it happened an event is written at most, for a replay to find it by when it happened.
const LATE_MAX: SignedDuration = SignedDuration::from_hours(24);

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
        let event = self.find::<Event>(owner, event.to_bytes()).await?;
        // A delivery may be from before the endpoint was narrowed to a service, whose events alone its keys may see.
        let event = event.filter(|event| endpoint.is_for(event)).ok_or(Refusal::NotFound("event"))?;
        let now = self.now();
        let known = self.find::<WebhookDelivery>(owner, WebhookDeliveryId::of(event.id, id).to_bytes()).await?;
        let (delivery, change) = match known {
            Some(mut known) => {
                known.replay(now);
                let change = Change::replace(&known);
                (known.entity, change)
            }
            // Its deliveries are about to be made, and this one with them.
            None if !event.fanned_out => return Err(Refusal::Conflict),
            None if endpoint.wants(&event) && !is_test(&event) => {
                let delivery = WebhookDelivery::due(&event, id, now);
                let change = Change::insert(&delivery);
                (delivery, change)
            }
            None => return Err(Refusal::NotFound("event")),
        };
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.replay", id).after(json!({ "event": event.id }));
        self.commit(&caller.by(), vec![deed], vec![change]).await?;
        self.webhooks.bell().ring();
        Ok(delivery)
    }

    /// Delivers a range of events to an endpoint once more. It begins at once, and takes as long as it takes.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`] for a range that holds nothing or begins before events are kept,
    /// or an endpoint that is disabled, [`Refusal::Taken`] while another goes on to the same endpoint, or five of the tenant do,
    /// [`Refusal::Store`].
    pub async fn replay_events(&self, caller: &ApiCaller, id: EndpointId, ask: AskReplay) -> Result<Replay, Refusal> {
        let endpoint = self.endpoint(caller, id).await?;
        enabled(&endpoint)?;
        let now = self.now();
        let until = ask.until.unwrap_or(now).min(now);
        if ask.since >= until {
            return Err(Refusal::field("since", "is before `until`, and in the past"));
        }
        // Fewer events than somebody believes to have asked for would pass for all there are.
        if ask.since < now.saturating_sub(KEPT + SINCE_SLACK).unwrap_or(Timestamp::MIN) {
            return Err(Refusal::field("since", "is at most 30 days ago: events are kept for 30 days"));
        }
        let slot = self.replay_slot(caller.tenant.id, id).await?;
        // Events are written down moments after they happened, and have their ids from then.
        let before = until.saturating_add(LATE_MAX).unwrap_or(Timestamp::MAX).min(now);
        let replay = Replay {
            id: ReplayId::new(now, &*self.ports.entropy),
            tenant: caller.tenant.id,
            endpoint: id,
            failed_only: ask.failed_only,
            from: EventId::first_at(ask.since),
            before: EventId::first_at(before),
            since: Some(ask.since),
            until: Some(until),
            slot,
            next_at: None,
            created_at: now,
        };
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.replay", id);
        let deed = deed.after(json!({ "since": ask.since, "until": until, "failed_only": ask.failed_only }));
        self.commit(&caller.by(), vec![deed], vec![Change::insert(&replay)]).await?;
        self.webhooks.replays.ring();
        Ok(replay)
    }

    /// Calls off the replay of a range that goes on to an endpoint. What of it waits for the endpoint already is
    /// delivered: a hundred at a time do, or a few more.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for the endpoint, or when none goes on, [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn cancel_replay(&self, caller: &ApiCaller, id: EndpointId) -> Result<(), Refusal> {
        let endpoint = self.endpoint(caller, id).await?;
        let by_endpoint = IndexKey::new(Replay::BY_ENDPOINT, endpoint.id.to_bytes());
        // It goes on meanwhile, and each part of it writes it anew.
        self.in_turn(|| async {
            // One that this program cannot read has the endpoint's only place too.
            let row = self.ports.store.find_unique(Replay::KIND, &by_endpoint).await?;
            let row = row.ok_or(Refusal::NotFound("replay"))?;
            let deed = Deed::of(caller.tenant.id, "webhook_endpoint.replay_cancel", id);
            let deed = deed.before(json!({ "replay": ReplayId::from_bytes(row.id) }));
            self.commit(&caller.by(), vec![deed], vec![Change::Delete(row)]).await
        })
        .await
    }

    /// A place among the tenant's replays.
    async fn replay_slot(&self, tenant: TenantId, endpoint: EndpointId) -> Result<u8, Refusal> {
        let others = self.list_readable::<Replay>(&EntityList::of(Owner::Tenant(tenant))).await?.things;
        let index =
            if others.iter().any(|other| other.endpoint == endpoint) { Replay::BY_ENDPOINT } else { Replay::BY_SLOT };
        let free = |slot: &u8| index == Replay::BY_SLOT && !others.iter().any(|other| other.slot == *slot);
        // Of two who find the same one free the store refuses the second.
        (0..REPLAYS_MAX).find(free).ok_or(Refusal::Taken { kind: Replay::KIND, index })
    }

    /// Does the next part of some replays, one of each tenant, and forgets failures that count no more. Says
    /// whether there is more of replays.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn step_replays(&self) -> Result<bool, Refusal> {
        self.forget_failing(DUE).await?;
        // The one that waited longest comes first, and after its part last.
        let due = self.due::<Replay>(DUE).await?;
        let count = due.len();
        let mut tenants = HashSet::new();
        let turn: Vec<_> = due.into_iter().filter(|replay| tenants.insert(replay.tenant)).take(AT_ONCE).collect();
        let mut more = count > turn.len();
        let steps = turn.into_iter().map(|replay| async move {
            let (owner, id) = (replay.owner(), replay.id());
            (owner, id, self.step_replay(replay).await)
        });
        let mut failed = false;
        for (owner, id, outcome) in join_all(steps).await {
            match outcome {
                Ok(is_more) => more |= is_more,
                // What it is about cannot be read: it is not to keep all others waiting behind it.
                Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                    self.set_aside(Replay::KIND, owner, id, &error).await;
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "a part of a replay could not be done");
                    failed = true;
                }
            }
        }
        // Those that failed are asked for again in a while, and not at once.
        Ok(more && !failed)
    }

    /// Does the next part of a replay; says whether there is more.
    ///
    /// What it finds is parked at the endpoint, and drawn from there as the endpoint takes it. While a whole part is
    /// parked there already it waits: a month of events is not to be written anew long before it can go out, and
    /// then to have waited for too long.
    async fn step_replay(&self, mut replay: Stored<Replay>) -> Result<bool, Refusal> {
        let owner = Owner::Tenant(replay.tenant);
        // What happened is told also of a tenant that is suspended; what it asks for besides waits until it may ask. A
        // deleted one may be had back.
        let tenant = self.ports.store.tenant(replay.tenant).find_tenant().await?;
        if tenant.is_some_and(|tenant| tenant.standing != Standing::Active) {
            replay.next_at = self.now().checked_add(SUSPENDED).ok();
            self.is_made(vec![Change::replace(&replay)]).await?;
            return Ok(false);
        }
        let endpoint = self.find::<Endpoint>(owner, replay.endpoint.to_bytes()).await?;
        if self.list_parked(replay.tenant, replay.endpoint, STEP).await?.len() == STEP {
            replay.next_at = self.now().checked_add(PAUSE).ok();
            self.is_made(vec![Change::replace(&replay)]).await?;
            return Ok(false);
        }
        let part = match endpoint.filter(|endpoint| endpoint.disabled.is_none()) {
            Some(endpoint) if replay.failed_only => self.failed_part(&replay, &endpoint).await?,
            Some(endpoint) => self.whole_part(&replay, &endpoint).await?,
            None => Part { changes: Vec::new(), next: None },
        };
        let (mut changes, now) = (part.changes, self.now());
        let parks = !changes.is_empty();
        if parks {
            changes.push(Change::put(&Backlog::new(replay.endpoint, replay.tenant, now)));
        }
        match part.next {
            Some(next) => {
                (replay.from, replay.next_at) = (next, Some(now));
                changes.push(Change::replace(&replay));
            }
            None => changes.push(Change::delete(&replay)),
        }
        if !self.is_made(changes).await? {
            // A delivery or the replay itself moved meanwhile: the same part is looked at again.
            return Ok(true);
        }
        if parks {
            self.parked(&[replay.endpoint]);
            // This process may not have called the endpoint yet, and draws by what is due.
            self.webhooks.bell().ring();
        }
        Ok(part.next.is_some())
    }

    async fn failed_part(&self, replay: &Replay, endpoint: &Endpoint) -> Result<Part, Refusal> {
        let list = EntityList {
            by: Some(IndexKey::new("failed", endpoint.id.to_bytes())),
            from: Some(replay.from.to_bytes()),
            before: Some(replay.before.to_bytes()),
            limit: STEP,
            ..EntityList::of(Owner::Tenant(replay.tenant))
        };
        let failed = self.list_readable::<WebhookDelivery>(&list).await?;
        let next = failed.last.filter(|_| failed.count == STEP).map(after);
        let owner = Owner::Tenant(replay.tenant);
        let covered = failed.things.into_iter().filter(|delivery| replay.covers(delivery.created_at));
        let covered = covered.map(|delivery| async move {
            let id = delivery.event.to_bytes();
            let event = Self::readable::<Event, _>(owner, id, self.find::<Event>(owner, id).await)?;
            Ok::<_, Refusal>((event.flatten(), delivery))
        });
        let now = self.now();
        let mut changes = Vec::new();
        for (event, mut delivery) in try_join_all(covered).await? {
            // It may have failed before the endpoint was narrowed to a service.
            if event.is_some_and(|event| !is_test(&event) && endpoint.is_for(&event)) {
                delivery.replay(now);
                delivery.park();
                changes.push(Change::replace(&delivery));
            }
        }
        Ok(Part { changes, next })
    }

    async fn whole_part(&self, replay: &Replay, endpoint: &Endpoint) -> Result<Part, Refusal> {
        let owner = Owner::Tenant(replay.tenant);
        let list = EntityList {
            from: Some(replay.from.to_bytes()),
            before: Some(replay.before.to_bytes()),
            limit: STEP,
            ..EntityList::of(owner)
        };
        let events = self.list_readable::<Event>(&list).await?;
        let next = events.last.filter(|_| events.count == STEP).map(after);
        let now = self.now();
        let wanted =
            events.things.iter().filter(|event| !is_test(event) && endpoint.wants(event) && replay.covers(event.at));
        let known = wanted.map(|event| async move {
            let id = WebhookDeliveryId::of(event.id, endpoint.id).to_bytes();
            let known = self.find::<WebhookDelivery>(owner, id).await;
            Ok::<_, Refusal>(Self::readable::<WebhookDelivery, _>(owner, id, known)?.map(|known| (event, known)))
        });
        let mut changes = Vec::new();
        // A delivery that is there and cannot be read is passed over, or the replay would not get past it.
        for (event, known) in try_join_all(known).await?.into_iter().flatten() {
            match known {
                // It is on its way, or will be.
                Some(known) if known.status == WebhookStatus::Pending => {}
                Some(mut known) => {
                    known.replay(now);
                    known.park();
                    changes.push(Change::replace(&known));
                }
                None if !event.fanned_out => {}
                None => {
                    let mut delivery = WebhookDelivery::due(event, endpoint.id, now);
                    delivery.park();
                    changes.push(Change::insert(&delivery));
                }
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
