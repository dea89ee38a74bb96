use futures_util::future::{join_all, try_join_all};
use jiff::SignedDuration;

use super::Taken;
use super::deliver::Step;
use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::id::{EndpointId, TenantId};
use crate::domain::webhook::backlog::Backlog;
use crate::domain::webhook::delivery::{GivenUp, WebhookDelivery};
use crate::domain::webhook::endpoint::Endpoint;
use crate::domain::webhook::lanes::Way;
use crate::ports::{Change, Entity as _, EntityList, IndexKey, Owner, Stored};

/// Deliveries that are given up in one step.
const GIVEN_UP: usize = 64;
/// How soon somebody looks again where something is parked. Whoever calls the endpoint draws the next as soon as
/// there is room; this is for when nobody does.
const SOON: SignedDuration = SignedDuration::from_secs(5);
/// How long nobody looks at an endpoint that rests, at most.
const RESTING: SignedDuration = SignedDuration::from_mins(5);
/// How soon somebody looks where an endpoint was changed, so that a change ends its rest for what is parked too:
/// longer than any node remembers the endpoint as it was.
const CHANGED: SignedDuration = SignedDuration::from_secs(2);
/// How soon somebody looks again where nothing is parked: what a process parked there in the moment before it
/// was killed waits for so long.
const IDLE: SignedDuration = SignedDuration::from_mins(10);

/// When somebody looks again at what is parked.
enum Next {
    /// Something is parked, or was until now.
    Soon,
    /// There is no room until about then.
    At(Timestamp),
    /// Nothing is parked.
    Idle,
}

/// When somebody looks at an endpoint that rests, at the latest: it may be mended before its rest is over.
pub(super) fn resting_until(now: Timestamp) -> Timestamp {
    now.saturating_add(RESTING).unwrap_or(Timestamp::MAX)
}

impl App {
    /// What is written beside a change of an endpoint, so that what is parked there does not wait for the rest that the
    /// change ends.
    pub(super) async fn backlog_of_changed(&self, endpoint: &Endpoint) -> Result<Option<Change>, Refusal> {
        let id = endpoint.id.to_bytes();
        // Nobody takes it away while its endpoint is there, and whoever looks at this moment looks too early.
        let known = self.find::<Backlog>(Owner::Tenant(endpoint.tenant), id).await?;
        let soon = self.now().saturating_add(CHANGED).unwrap_or(Timestamp::MAX);
        Ok(known.map(|_| Change::put(&Backlog::new(endpoint.id, endpoint.tenant, soon))))
    }

    /// Draws what is parked at an endpoint that has room.
    pub(super) async fn draw_wanted(&self, tenant: TenantId, id: EndpointId) -> Result<Step, Refusal> {
        match self.enabled_endpoint(tenant, id).await? {
            Some(endpoint) => Ok(self.draw(&endpoint).await?.0),
            // They are given up when its backlog is due.
            None => Ok(Step::default()),
        }
    }

    /// Looks at what is parked at an endpoint whose time has come, and says when somebody looks next.
    pub(super) async fn backlog_due(&self, mut backlog: Stored<Backlog>) -> Result<Step, Refusal> {
        let now = self.now();
        let (tenant, id) = (backlog.tenant, backlog.endpoint);
        let (mut step, next) = match self.enabled_endpoint(tenant, id).await? {
            Some(endpoint) => self.draw(&endpoint).await?,
            None => {
                let all = self.list_parked(tenant, id, GIVEN_UP).await?;
                let more = all.len() == GIVEN_UP;
                let given_up = all.into_iter().map(|delivery| self.given_up(delivery, GivenUp::Disabled));
                let given_up = try_join_all(given_up).await?.iter().map(|step| step.taken.given_up).sum();
                let step = Step::of(Taken { given_up, more, ..Taken::default() });
                if more {
                    // It is due still.
                    return Ok(step);
                }
                if self.find::<Endpoint>(Owner::Tenant(tenant), id.to_bytes()).await?.is_none() {
                    self.is_made(vec![Change::delete(&backlog)]).await?;
                    return Ok(step);
                }
                (step, Next::Idle)
            }
        };
        let after = |wait| now.saturating_add(wait).unwrap_or(Timestamp::MAX);
        backlog.next_at = match next {
            Next::Soon => after(SOON),
            Next::At(until) => until.min(resting_until(now)),
            Next::Idle => after(IDLE),
        };
        // Somebody who parked, or another node, may have said otherwise meanwhile: that counts.
        step.taken.lost = usize::from(!self.is_made(vec![Change::replace(&backlog)]).await?);
        Ok(step)
    }

    /// Takes what waited longest at an endpoint, as much as there is room for.
    async fn draw(&self, endpoint: &Endpoint) -> Result<(Step, Next), Refusal> {
        let now = self.now();
        let mut places = Vec::new();
        let until = loop {
            match self.webhooks.desk.place(endpoint, Way::Drawn, now) {
                Ok(place) => places.push(place),
                Err(until) => break until,
            }
        };
        if places.is_empty() {
            return Ok((Step::default(), Next::At(until)));
        }
        let before = self.webhooks.lanes().parkings(endpoint.id);
        let parked = self.list_parked(endpoint.tenant, endpoint.id, places.len()).await?;
        let (none, more) = (parked.is_empty(), parked.len() == places.len());
        let more = self.webhooks.lanes().looked(endpoint.id, before, more);
        let held = parked.into_iter().zip(places).map(|(mut delivery, place)| async move {
            let held = self.hold(&mut delivery, place, now);
            // Lost to another node, or to an end of its own, it gives the place back.
            Ok::<_, Refusal>(self.is_made(vec![Change::replace(&delivery)]).await?.then_some(held))
        });
        let mut step = Step::default();
        for held in join_all(held).await {
            match held {
                Ok(held) => step.held.extend(held),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(endpoint = %endpoint.id, error, "what waits for an endpoint could not be taken");
                }
            }
        }
        // Where something was found there may be more in a moment, of processes that said so before it was.
        let next = if none && !more { Next::Idle } else { Next::Soon };
        Ok((step, next))
    }

    /// What waited longest at an endpoint. What this program cannot read is passed over, or all would wait behind
    /// it; it is set aside when it has waited for too long.
    pub(super) async fn list_parked(
        &self,
        tenant: TenantId,
        endpoint: EndpointId,
        limit: usize,
    ) -> Result<Vec<Stored<WebhookDelivery>>, Refusal> {
        let by = Some(IndexKey::new(WebhookDelivery::PARKED, endpoint.to_bytes()));
        let mut list = EntityList { by, limit, ..EntityList::of(Owner::Tenant(tenant)) };
        let mut parked = Vec::new();
        loop {
            let rows = self.ports.store.list_entities(WebhookDelivery::KIND, &list).await?;
            let last = (rows.len() == limit).then(|| rows.last().map(|row| row.id)).flatten();
            parked.extend(rows.into_iter().filter_map(|row| Stored::read(row).ok()));
            parked.truncate(limit);
            match last {
                Some(last) if parked.len() < limit => {
                    list.from = Some(u128::from_be_bytes(last).saturating_add(1).to_be_bytes())
                }
                _ => return Ok(parked),
            }
        }
    }
}
