use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt as _, future, stream};

use super::Endpoints;
use super::backlog::resting_until;
use super::place::Place;
use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::dispatch::LeaseToken;
use crate::domain::event::{Event, EventKind};
use crate::domain::id::{EndpointId, TenantId, WebhookDeliveryId};
use crate::domain::webhook::backlog::Backlog;
use crate::domain::webhook::delivery::{GivenUp, WebhookDelivery, WebhookStatus};
use crate::domain::webhook::endpoint::Endpoint;
use crate::domain::webhook::lanes::Way;
use crate::ports::{Change, CommitError, Entity, Owner, StoreError, Stored};

/// What is waited for in the store at one moment goes there together.
const AT_ONCE: usize = 64;
/// How many of what it looks at a node loses to others before it leaves them the rest.
const LOST_MAX: usize = 16;

/// A delivery that this process holds, and has a place for in its endpoint's lane. It is to be given to
/// [`App::attempt_webhook`]; dropped, the place is free again and the hold ends by itself.
#[derive(Debug)]
#[must_use = "it is held until the hold ends"]
pub struct HeldWebhook {
    pub(super) tenant: TenantId,
    pub(super) endpoint: EndpointId,
    pub(super) id: WebhookDeliveryId,
    pub(super) token: LeaseToken,
    pub(super) place: Place,
}

/// What was found to do, and done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Taken {
    /// Deliveries to attempt now.
    pub held: usize,
    /// Events that got their deliveries.
    pub fanned_out: usize,
    /// Deliveries that have to wait for their endpoint.
    pub waiting: usize,
    /// Deliveries that are not tried any more: nobody is there for them, or they waited for too long.
    pub given_up: usize,
    /// Events and deliveries that were kept long enough, and are gone.
    pub deleted: usize,
    /// What another node was faster with.
    pub lost: usize,
    /// Whether there may be more to do at once.
    pub more: bool,
}

/// The deliveries of an event, as they are to be written.
struct FanOut {
    changes: Vec<Change>,
    held: Vec<HeldWebhook>,
    /// The endpoints at which they have to wait.
    parked: Vec<EndpointId>,
}

/// What came of one thing that was due.
#[derive(Debug, Default)]
pub(super) struct Step {
    pub(super) held: Vec<HeldWebhook>,
    pub(super) taken: Taken,
}

impl Step {
    pub(super) fn of(taken: Taken) -> Self {
        Self { held: Vec::new(), taken }
    }

    /// Another node was faster.
    pub(super) fn lost() -> Self {
        Self::of(Taken { lost: 1, ..Taken::default() })
    }
}

impl Taken {
    fn add(&mut self, other: Self) {
        self.held += other.held;
        self.fanned_out += other.fanned_out;
        self.waiting += other.waiting;
        self.given_up += other.given_up;
        self.deleted += other.deleted;
        self.lost += other.lost;
        self.more |= other.more;
    }

    fn is_something(self) -> bool {
        self.held + self.fanned_out + self.waiting + self.given_up + self.deleted > 0
    }
}

impl App {
    /// Makes the deliveries of what happened, takes those whose time has come or whose endpoint has room again,
    /// and deletes what was kept long enough; about `limit` of each. What is to be called now goes to `call` as
    /// soon as it is held. Several nodes may do this at once: every change is a compare-and-swap.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn take_webhooks(
        &self,
        limit: usize,
        mut call: impl FnMut(HeldWebhook) + Send,
    ) -> Result<Taken, Refusal> {
        let mut taken = Taken::default();
        let events = self.due::<Event>(limit).await?;
        taken.more |= events.len() == limit;
        let (over, events): (Vec<_>, Vec<_>) = events.into_iter().partition(|event| event.fanned_out);
        let endpoints = self.endpoints_for(&events).await;
        self.each(events, limit, &mut taken, &mut call, |event| self.event_due(event, &endpoints)).await;
        self.retire(over, limit, &mut taken, &mut call).await;
        let wanted = self.webhooks.lanes().wanted(limit);
        let mut drawn = stream::iter(wanted).map(|(tenant, id)| self.draw_wanted(tenant, id)).buffer_unordered(AT_ONCE);
        while let Some(drawn) = drawn.next().await {
            match drawn {
                Ok(step) => done(step, &mut taken, &mut call),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "what waits for an endpoint could not be looked at");
                }
            }
        }
        drop(drawn);
        let backlogs = self.due(limit).await?;
        self.each(backlogs, limit, &mut taken, &mut call, |backlog| self.backlog_due(backlog)).await;
        let deliveries = self.due::<WebhookDelivery>(limit).await?;
        taken.more |= deliveries.len() == limit;
        let pending = |delivery: &Stored<WebhookDelivery>| delivery.status == WebhookStatus::Pending;
        let (pending, over): (Vec<_>, Vec<_>) = deliveries.into_iter().partition(pending);
        self.each(pending, limit, &mut taken, &mut call, |delivery| self.delivery_due(delivery)).await;
        self.retire(over, limit, &mut taken, &mut call).await;
        // What was not to be had is not asked for again at once.
        taken.more &= taken.is_something();
        taken.more |= self.webhooks.lanes().wants();
        Ok(taken)
    }

    /// Does `work` with what is due. All nodes see the same of it, so each begins somewhere else, and leaves the
    /// rest to the others where it meets them.
    async fn each<'a, E, W>(
        &'a self,
        mut due: Vec<Stored<E>>,
        limit: usize,
        taken: &mut Taken,
        call: &mut (impl FnMut(HeldWebhook) + Send),
        work: impl Fn(Stored<E>) -> W + Send,
    ) where
        E: Entity,
        W: Future<Output = Result<Step, Refusal>> + Send + 'a,
    {
        taken.more |= due.len() == limit;
        let mut dice = [0; 8];
        self.ports.entropy.fill(&mut dice);
        let begin = usize::from_be_bytes(dice).checked_rem(due.len()).unwrap_or(0);
        due.rotate_left(begin);
        let lost = AtomicUsize::new(0);
        let mine = due.into_iter().take_while(|_| lost.load(Ordering::Relaxed) < LOST_MAX);
        let work = mine.map(|stored| {
            let (owner, id) = (stored.owner(), stored.id());
            let work = work(stored);
            async move { (owner, id, work.await) }
        });
        let mut all = stream::iter(work).buffer_unordered(AT_ONCE);
        while let Some((owner, id, outcome)) = all.next().await {
            match outcome {
                Ok(step) => {
                    lost.fetch_add(step.taken.lost, Ordering::Relaxed);
                    done(step, taken, call);
                }
                // What it needs cannot be read: it is not to keep all others waiting behind it.
                Err(Refusal::Store(error @ StoreError::Damaged(_))) => self.set_aside(E::KIND, owner, id, &error).await,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(kind = E::KIND, error, "what is due for webhooks could not be done");
                }
            }
        }
    }

    /// The endpoints of those whose events these are, read after the events were: one that was there before an
    /// event is told of it, whichever node created it. Those that the store did not give are not in it.
    async fn endpoints_for(&self, events: &[Stored<Event>]) -> HashMap<TenantId, Arc<Endpoints>> {
        let new = events.iter().filter(|event| !event.fanned_out);
        let tenants: HashSet<TenantId> = new.map(|event| event.tenant).collect();
        let read = |tenant| async move { Some((tenant, self.read_endpoints(tenant).await.ok()?)) };
        stream::iter(tenants).map(read).buffer_unordered(AT_ONCE).filter_map(future::ready).collect().await
    }

    /// Gives an event its deliveries.
    async fn event_due(
        &self,
        mut event: Stored<Event>,
        endpoints: &HashMap<TenantId, Arc<Endpoints>>,
    ) -> Result<Step, Refusal> {
        let now = self.now();
        let endpoints = match endpoints.get(&event.tenant) {
            Some(endpoints) => Arc::clone(endpoints),
            None => self.read_endpoints(event.tenant).await?,
        };
        event.fanned_out = true;
        let mut known = HashSet::new();
        loop {
            let FanOut { changes, held, parked } = self.fan_out(&event, &endpoints.readable, &known, now);
            match self.ports.store.commit(changes).await {
                Ok(()) => {
                    self.parked(&parked);
                    let taken = Taken { fanned_out: 1, waiting: parked.len(), ..Taken::default() };
                    return Ok(Step { held, taken });
                }
                // One of its deliveries is there: made by another node with all others, which the next try shows, or
                // by itself, and then the others are still to be made.
                Err(CommitError::Taken { kind: WebhookDelivery::KIND, .. }) if known.is_empty() => {
                    drop(held);
                    known = self.delivered_to(&event, &endpoints.readable).await?;
                    if known.is_empty() {
                        return Ok(Step::lost());
                    }
                }
                Err(CommitError::Changed | CommitError::Taken { .. }) => return Ok(Step::lost()),
                Err(CommitError::Store(error)) => return Err(error.into()),
            }
        }
    }

    /// What is to be written so that an event has its deliveries, but for those that are there.
    fn fan_out(
        &self,
        event: &Stored<Event>,
        endpoints: &[Endpoint],
        known: &HashSet<EndpointId>,
        now: Timestamp,
    ) -> FanOut {
        let mut changes = vec![Change::replace(event)];
        let (mut held, mut parked) = (Vec::new(), Vec::new());
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.wants(event) && !known.contains(&endpoint.id)) {
            let mut delivery = WebhookDelivery::due(event, endpoint.id, now);
            // It is born held by the process that made it, so that the common path needs no write to take it.
            match self.webhooks.desk.place(endpoint, Way::Fresh, now) {
                Ok(place) => held.push(self.hold(&mut delivery, place, now)),
                Err(until) => {
                    delivery.park();
                    changes.extend(self.backlog_of(&delivery, until));
                    parked.push(endpoint.id);
                }
            }
            changes.push(Change::insert(&delivery));
        }
        FanOut { changes, held, parked }
    }

    /// At which of these endpoints an event has a delivery.
    async fn delivered_to(&self, event: &Event, endpoints: &[Endpoint]) -> Result<HashSet<EndpointId>, Refusal> {
        let owner = Owner::Tenant(event.tenant);
        let wanting = endpoints.iter().filter(|endpoint| endpoint.wants(event)).map(|endpoint| async move {
            let id = WebhookDeliveryId::of(event.id, endpoint.id);
            let known = self.find::<WebhookDelivery>(owner, id.to_bytes()).await?;
            Ok::<_, Refusal>(known.map(|_| endpoint.id))
        });
        Ok(future::try_join_all(wanting).await?.into_iter().flatten().collect())
    }

    /// Takes a delivery, or parks it at its endpoint, or lets it go.
    async fn delivery_due(&self, mut delivery: Stored<WebhookDelivery>) -> Result<Step, Refusal> {
        let now = self.now();
        let Some(endpoint) = self.enabled_endpoint(delivery.tenant, delivery.endpoint).await? else {
            return self.given_up(delivery, GivenUp::Disabled).await;
        };
        let way = if delivery.kind == EventKind::WebhookTest.name() { Way::Test } else { Way::Fresh };
        let place = match self.webhooks.desk.place(&endpoint, way, now) {
            Ok(place) if !delivery.parked => place,
            // It was parked, and nobody drew it before it was too late; or it would be parked now.
            _ if delivery.expires_at() <= now => return self.given_up(delivery, GivenUp::Expired).await,
            Ok(place) => place,
            Err(until) => {
                delivery.park();
                let mut changes = vec![Change::replace(&delivery)];
                changes.extend(self.backlog_of(&delivery, until));
                if !self.is_made(changes).await? {
                    return Ok(Step::lost());
                }
                self.parked(&[endpoint.id]);
                return Ok(Step::of(Taken { waiting: 1, ..Taken::default() }));
            }
        };
        let held = self.hold(&mut delivery, place, now);
        if !self.is_made(vec![Change::replace(&delivery)]).await? {
            return Ok(Step::lost());
        }
        Ok(Step { held: vec![held], ..Step::default() })
    }

    /// Holds a delivery for the one call that `place` is for. It is to be written down.
    pub(super) fn hold(&self, delivery: &mut WebhookDelivery, place: Place, now: Timestamp) -> HeldWebhook {
        let token = self.token();
        delivery.hold(token, now);
        HeldWebhook { tenant: delivery.tenant, endpoint: delivery.endpoint, id: delivery.id, token, place }
    }

    /// What is written beside a delivery that is parked, so that somebody looks at its endpoint about then. Where
    /// something is parked there already, somebody will.
    pub(super) fn backlog_of(&self, delivery: &WebhookDelivery, until: Timestamp) -> Option<Change> {
        let now = self.now();
        let until = until.min(resting_until(now));
        let said = self.webhooks.lanes().has_said(delivery.endpoint, now);
        (!said).then(|| Change::put(&Backlog::new(delivery.endpoint, delivery.tenant, until)))
    }

    /// Deliveries were parked at these endpoints: where one has room, they are drawn at once.
    pub(super) fn parked(&self, endpoints: &[EndpointId]) {
        let now = self.now();
        let mut lanes = self.webhooks.lanes();
        let mut room = false;
        for endpoint in endpoints {
            room |= lanes.parked(*endpoint, now);
        }
        drop(lanes);
        if room {
            self.webhooks.bell().ring();
        }
    }

    pub(super) async fn given_up(&self, mut delivery: Stored<WebhookDelivery>, why: GivenUp) -> Result<Step, Refusal> {
        delivery.give_up(why);
        let mut changes = vec![Change::replace(&delivery)];
        if why == GivenUp::Expired {
            changes.extend(self.notice_of(&delivery).await?);
        }
        let made = self.is_made(changes).await?;
        Ok(if made { Step::of(Taken { given_up: 1, ..Taken::default() }) } else { Step::lost() })
    }

    /// Lets go of what was kept long enough, all of it in one commit: what is to be done now waits behind it. Where some
    /// of it went meanwhile, one by one.
    async fn retire<E: Entity>(
        &self,
        over: Vec<Stored<E>>,
        limit: usize,
        taken: &mut Taken,
        call: &mut (impl FnMut(HeldWebhook) + Send),
    ) {
        if over.is_empty() {
            return;
        }
        let deletes = over.iter().map(Change::delete).collect();
        if self.is_made(deletes).await.is_ok_and(|made| made) {
            taken.deleted += over.len();
            return;
        }
        self.each(over, limit, taken, call, |one| self.kept_long_enough(one)).await;
    }

    async fn kept_long_enough<E: Entity>(&self, stored: Stored<E>) -> Result<Step, Refusal> {
        let made = self.is_made(vec![Change::delete(&stored)]).await?;
        Ok(if made { Step::of(Taken { deleted: 1, ..Taken::default() }) } else { Step::lost() })
    }
}

fn done(step: Step, taken: &mut Taken, call: &mut impl FnMut(HeldWebhook)) {
    taken.add(Taken { held: step.held.len(), ..step.taken });
    step.held.into_iter().for_each(call);
}
