//! Events, and the endpoints that they go to.

mod deliver;
mod endpoints;
mod events;
mod notices;
mod replay;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use deliver::{Attempted, HeldWebhook, Taken};
pub use endpoints::{ChangedEndpoint, EndpointChange, NewEndpoint, WebhookPage};
pub use events::EventPage;
pub(super) use events::visible;
pub use replay::AskReplay;

use super::cache::Cache;
use super::{App, Bell, Refusal};
use crate::domain::event::Event;
use crate::domain::id::{EndpointId, TenantId};
use crate::domain::webhook::endpoint::{Audience, Endpoint, Failing};
use crate::domain::webhook::lanes::Lanes;
use crate::ports::{Change, Entity as _, EntityList, Owner};

/// What is remembered between deliveries.
#[derive(Default)]
pub(super) struct State {
    /// Rung when there is an event or a delivery in this process.
    bell: Bell,
    lanes: Mutex<Lanes>,
    /// The endpoints of a tenant.
    endpoints: Cache<TenantId, (TenantId, Arc<Vec<Endpoint>>)>,
    /// Whether somebody reads a tenant's events.
    audience: Cache<TenantId, (TenantId, bool)>,
    /// Whether an endpoint takes nothing.
    failing: Cache<EndpointId, (TenantId, bool)>,
}

impl State {
    /// Rung by whoever commits events by themselves.
    pub(super) fn bell(&self) -> &Bell {
        &self.bell
    }

    /// Forgets what is kept in memory of a tenant, or of all.
    pub(super) fn forget(&self, tenant: Option<TenantId>) {
        let stale = |of: &TenantId| tenant.is_none_or(|tenant| *of == tenant);
        self.endpoints.forget(|(of, _)| stale(of));
        self.audience.forget(|(of, _)| stale(of));
        self.failing.forget(|(of, _)| stale(of));
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Rings when there is something for [`take_webhooks`](Self::take_webhooks) in this process.
    pub fn webhook_bell(&self) -> &Bell {
        &self.webhooks.bell
    }

    /// After a commit: events among the changes are told at once. What a crash keeps untold, the store tells.
    pub(super) fn tell_of(&self, changes: &[Change]) {
        let event = |change: &Change| matches!(change, Change::Insert(row) if row.kind == Event::KIND);
        if changes.iter().any(event) {
            self.webhooks.bell.ring();
        }
    }

    /// Whether anybody is told of a tenant's events: an endpoint that is enabled, or somebody who read them
    /// within the last day. Whoever emits many asks first. The answer may be a second old.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn listens(&self, tenant: TenantId) -> Result<bool, Refusal> {
        if self.endpoints_of(tenant).await?.iter().any(|endpoint| endpoint.disabled.is_none()) {
            return Ok(true);
        }
        let now = self.now();
        if let Some((_, there)) = self.webhooks.audience.find(&tenant, now) {
            return Ok(there);
        }
        let audience = self.find::<Audience>(Owner::Tenant(tenant), tenant.to_bytes()).await?;
        let there = audience.is_some_and(|audience| audience.is_there(now));
        self.webhooks.audience.keep(tenant, (tenant, there), now);
        Ok(there)
    }

    /// Somebody reads or follows a tenant's events: they are kept for the next day.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn heard(&self, tenant: TenantId) -> Result<(), Refusal> {
        let now = self.now();
        let known = self.find::<Audience>(Owner::Tenant(tenant), tenant.to_bytes()).await?;
        if known.is_some_and(|known| now.duration_since(known.seen_at) < Audience::FRESH) {
            return Ok(());
        }
        self.ports.store.commit(vec![Change::put(&Audience { tenant, seen_at: now })]).await?;
        self.changed(tenant).await;
        Ok(())
    }

    /// The endpoints of a tenant, as they were at most a second ago.
    async fn endpoints_of(&self, tenant: TenantId) -> Result<Arc<Vec<Endpoint>>, Refusal> {
        let now = self.now();
        if let Some((_, endpoints)) = self.webhooks.endpoints.find(&tenant, now) {
            return Ok(endpoints);
        }
        let endpoints = self.list::<Endpoint>(&EntityList::of(Owner::Tenant(tenant))).await?;
        let endpoints: Arc<Vec<Endpoint>> = Arc::new(endpoints.into_iter().map(|stored| stored.entity).collect());
        self.webhooks.endpoints.keep(tenant, (tenant, Arc::clone(&endpoints)), now);
        Ok(endpoints)
    }

    /// Whether an endpoint takes nothing, as it was at most a second ago.
    async fn is_failing(&self, tenant: TenantId, endpoint: EndpointId) -> Result<bool, Refusal> {
        let now = self.now();
        if let Some((_, failing)) = self.webhooks.failing.find(&endpoint, now) {
            return Ok(failing);
        }
        let failing = self.find::<Failing>(Owner::Tenant(tenant), endpoint.to_bytes()).await?.is_some();
        self.webhooks.failing.keep(endpoint, (tenant, failing), now);
        Ok(failing)
    }
}
