//! Events, and the endpoints that they go to.

mod attempt;
mod backlog;
mod deliver;
mod endpoints;
mod events;
mod notices;
mod place;
mod replay;

use std::sync::{Arc, MutexGuard};

pub use attempt::Attempted;
pub use deliver::{HeldWebhook, Taken};
pub use endpoints::{ChangedEndpoint, EndpointChange, NewEndpoint, WebhookPage};
pub use events::EventPage;
pub(super) use events::visible;
use place::Desk;
pub use replay::AskReplay;

use super::cache::Cache;
use super::commit::say_unreadable;
use super::{App, Bell, Refusal};
use crate::domain::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::{EndpointId, TenantId};
use crate::domain::tenant::Tenant;
use crate::domain::webhook::endpoint::{Audience, Endpoint, Failing};
use crate::domain::webhook::lanes::Lanes;
use crate::ports::{Change, Entity as _, EntityList, Owner, StoreError};

/// What is remembered between deliveries.
#[derive(Default)]
pub(super) struct State {
    /// Who may be called, and the bell that is rung when there is an event or a delivery in this process.
    desk: Arc<Desk>,
    /// Rung when there is a replay in this process.
    replays: Bell,
    /// The endpoints of a tenant.
    endpoints: Cache<TenantId, (TenantId, Arc<Endpoints>)>,
    /// Whose events somebody reads.
    audience: Cache<TenantId, TenantId>,
    /// Whether an endpoint takes nothing.
    failing: Cache<EndpointId, (TenantId, bool)>,
}

/// The endpoints of a tenant.
#[derive(Debug, Default)]
struct Endpoints {
    /// Those that this program can read.
    readable: Vec<Endpoint>,
    /// Whether there are others. They are told nothing by this node, and keep no others from being told.
    others: bool,
}

impl Endpoints {
    /// Whether events are kept for one of them. Of one that this program cannot read a newer one may say so.
    fn keep_events(&self, now: Timestamp) -> bool {
        self.others || self.readable.iter().any(|endpoint| endpoint.is_kept_for(now))
    }
}

impl State {
    /// Rung by whoever commits events by themselves.
    pub(super) fn bell(&self) -> &Bell {
        &self.desk.bell
    }

    /// Forgets what is kept in memory of a tenant, or of all.
    pub(super) fn forget(&self, tenant: Option<TenantId>) {
        let stale = |of: &TenantId| tenant.is_none_or(|tenant| *of == tenant);
        self.endpoints.forget(|(of, _)| stale(of));
        self.audience.forget(stale);
        self.failing.forget(|(of, _)| stale(of));
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.desk.lanes()
    }
}

impl App {
    /// Rings when there is something for [`take_webhooks`](Self::take_webhooks) in this process.
    pub fn webhook_bell(&self) -> &Bell {
        self.webhooks.bell()
    }

    /// Rings when there is something for [`step_replays`](Self::step_replays) in this process.
    pub fn replay_bell(&self) -> &Bell {
        &self.webhooks.replays
    }

    /// After a commit: events among the changes are told at once. What a crash keeps untold, the store tells.
    pub(super) fn tell_of(&self, changes: &[Change]) {
        let event = |change: &Change| matches!(change, Change::Insert(row) if row.kind == Event::KIND);
        if changes.iter().any(event) {
            self.webhooks.bell().ring();
        }
    }

    /// Whether a tenant's events are kept for anybody: an endpoint that is enabled, or was within the last 30
    /// days and may want them replayed, or somebody who read them within the last day. Whoever emits many asks
    /// first. That somebody listens may be remembered from the last second; that nobody does only the store says,
    /// or what happens right after somebody began would be told to nobody, ever. A deleted tenant is told nothing.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn listens(&self, tenant: TenantId) -> Result<bool, Refusal> {
        let now = self.now();
        if self.is_deleted(tenant).await? {
            return Ok(false);
        }
        if self.webhooks.endpoints.find(&tenant, now).is_some_and(|(_, endpoints)| endpoints.keep_events(now))
            || self.webhooks.audience.find(&tenant, now).is_some()
        {
            return Ok(true);
        }
        if self.read_endpoints(tenant).await?.keep_events(now) {
            return Ok(true);
        }
        let forgotten = self.webhooks.audience.forgotten();
        let (owner, id) = (Owner::Tenant(tenant), tenant.to_bytes());
        let audience = Self::readable::<Audience, _>(owner, id, self.find::<Audience>(owner, id).await)?;
        // Who listened until when cannot be read: they may do so still.
        let Some(audience) = audience else { return Ok(true) };
        let there = audience.is_some_and(|audience| audience.is_there(now));
        if there {
            self.webhooks.audience.keep_unless_forgotten(forgotten, tenant, tenant, now);
        }
        Ok(there)
    }

    /// Somebody reads or follows a tenant's events: they are kept for the next day.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn heard(&self, tenant: TenantId) -> Result<(), Refusal> {
        let now = self.now();
        let (owner, id) = (Owner::Tenant(tenant), tenant.to_bytes());
        let known = Self::readable::<Audience, _>(owner, id, self.find::<Audience>(owner, id).await)?;
        // One that cannot be read keeps events as well, and whatever a newer program wrote there stays.
        let Some(known) = known else { return Ok(()) };
        if known.is_some_and(|known| now.duration_since(known.seen_at) < Audience::FRESH) {
            return Ok(());
        }
        self.ports.store.commit(vec![Change::put(&Audience { tenant, seen_at: now })]).await?;
        self.changed(tenant).await;
        Ok(())
    }

    /// The endpoints of a tenant, as they were at most a second ago.
    async fn endpoints_of(&self, tenant: TenantId) -> Result<Arc<Endpoints>, Refusal> {
        let now = self.now();
        match self.webhooks.endpoints.find(&tenant, now) {
            Some((_, endpoints)) => Ok(endpoints),
            None => self.read_endpoints(tenant).await,
        }
    }

    /// The endpoints of a tenant, as they are now; of a deleted one none, which is told nothing until an owner has it
    /// back.
    async fn read_endpoints(&self, tenant: TenantId) -> Result<Arc<Endpoints>, Refusal> {
        let now = self.now();
        if self.is_deleted(tenant).await? {
            return Ok(Arc::default());
        }
        let forgotten = self.webhooks.endpoints.forgotten();
        let read = self.list_readable::<Endpoint>(&EntityList::of(Owner::Tenant(tenant))).await?;
        let others = read.count > read.things.len();
        let readable = read.things.into_iter().map(|stored| stored.entity).collect();
        let endpoints = Arc::new(Endpoints { readable, others });
        let kept = (tenant, Arc::clone(&endpoints));
        self.webhooks.endpoints.keep_unless_forgotten(forgotten, tenant, kept, now);
        Ok(endpoints)
    }

    /// Whether a tenant is told nothing, until an owner has it back. That it is not deleted may be remembered from the
    /// last second; that it still is only the store says.
    async fn is_deleted(&self, tenant: TenantId) -> Result<bool, Refusal> {
        let deleted = |tenant: &Tenant| tenant.standing.erased_at().is_some();
        let known = match self.tenant_of(tenant).await {
            // Its events are kept until somebody can read whether it is.
            Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                say_unreadable("tenant", Owner::Tenant(tenant), tenant.to_bytes(), &error);
                None
            }
            known => known?,
        };
        if !known.is_some_and(|tenant| deleted(&tenant)) {
            return Ok(false);
        }
        Ok(self.ports.store.tenant(tenant).find_tenant().await?.is_some_and(|tenant| deleted(&tenant)))
    }

    /// An endpoint that is told of events. What is remembered may say so; that it is not there, or disabled, only
    /// the store says: it may have been created or enabled since.
    async fn enabled_endpoint(&self, tenant: TenantId, id: EndpointId) -> Result<Option<Endpoint>, Refusal> {
        if self.is_deleted(tenant).await? {
            return Ok(None);
        }
        let enabled = |endpoint: &Endpoint| endpoint.id == id && endpoint.disabled.is_none();
        let known = self.endpoints_of(tenant).await?;
        if let Some(endpoint) = known.readable.iter().find(|endpoint| enabled(endpoint)) {
            return Ok(Some(endpoint.clone()));
        }
        let stored = self.find::<Endpoint>(Owner::Tenant(tenant), id.to_bytes()).await?;
        Ok(stored.map(|stored| stored.entity).filter(enabled))
    }

    /// Whether an endpoint takes nothing, as it was at most a second ago.
    async fn is_failing(&self, tenant: TenantId, endpoint: EndpointId) -> Result<bool, Refusal> {
        let now = self.now();
        if let Some((_, failing)) = self.webhooks.failing.find(&endpoint, now) {
            return Ok(failing);
        }
        let forgotten = self.webhooks.failing.forgotten();
        let failing = self.find::<Failing>(Owner::Tenant(tenant), endpoint.to_bytes()).await?.is_some();
        self.webhooks.failing.keep_unless_forgotten(forgotten, endpoint, (tenant, failing), now);
        Ok(failing)
    }
}
