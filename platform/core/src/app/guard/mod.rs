//! The guard at work: what it decides on a start, a resend and a message, what it counts, and what the watch does about it.
//!
//! It decides by what this node knows: settings, lists and restricted destinations are read at most once a
//! second, and counts of other nodes every two. So of starts at the same moment on several nodes a few more than a
//! cap may pass. That is enough for a guard, and keeps it from costing every start a transaction of its own; what
//! is paid for is counted exactly, by the quota.

mod judge;
mod seen;
mod settings;
mod uses;
mod watching;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join;
pub(super) use seen::Happened;
pub use settings::{NewEntry, NewListed};
pub use watching::GuardWatched;

use super::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::guard::{Destination, GuardList, GuardMode, GuardSettings, State, Watch};
use crate::domain::id::{ServiceId, TenantId};
use crate::domain::service::Service;
use crate::ports::{EntityList, IndexKey, Owner, Stored};

/// Most restricted destinations of a service that are looked at. Beyond them the countries are restricted.
const RESTRICTED_MAX: usize = 1_000;

/// What this node counts for the guards of all services, and has not told the others yet.
#[derive(Default)]
pub(super) struct Memory {
    uses: uses::Uses,
    seen: seen::SeenHere,
}

/// The guard of a service, as it was read within the last second.
pub(super) struct Guard {
    pub(super) tenant: TenantId,
    settings: GuardSettings,
    list: Option<GuardList>,
    restricted: HashMap<Destination, Restriction>,
}

/// What is held against a destination.
struct Restriction {
    state: State,
    until: Option<Timestamp>,
    /// Codes a minute that still go out; looked at where some do.
    per_minute: u64,
}

impl App {
    /// The service that a call is about, and its guard.
    pub(super) async fn service_with_guard(
        &self,
        caller: &ApiCaller,
        named: Option<&str>,
    ) -> Result<(Arc<Service>, Arc<Guard>), Refusal> {
        // Both at once: a store that is far is waited for once. What is wrong with the service is said first.
        let (service, guard) = join(self.service_for(caller, named), self.guard_ahead(caller, named)).await;
        Ok((service?, guard?))
    }

    /// The guard of the service that a call is about, whether or not there is such a service.
    async fn guard_ahead(&self, caller: &ApiCaller, named: Option<&str>) -> Result<Arc<Guard>, Refusal> {
        let named = named.and_then(|named| named.parse().ok());
        let service = named.or(caller.service()).unwrap_or(caller.tenant.default_service);
        self.guard_of(caller.tenant.id, service).await
    }

    /// The guard of a service.
    pub(super) async fn guard_of(&self, tenant: TenantId, service: ServiceId) -> Result<Arc<Guard>, Refusal> {
        let now = self.now();
        if let Some(guard) = self.guards.find(&service, now).filter(|guard| guard.tenant == tenant) {
            return Ok(guard);
        }
        let owner = Owner::Tenant(tenant);
        let settings = self.find::<GuardSettings>(owner, service.to_bytes()).await?;
        let settings = settings.map_or_else(|| GuardSettings::off(tenant, service), |stored| stored.entity);
        let mut guard = Guard { tenant, settings, list: None, restricted: HashMap::new() };
        if guard.settings.mode != GuardMode::Off {
            guard.list = self.find::<GuardList>(owner, service.to_bytes()).await?.map(|stored| stored.entity);
            let restricted = self.restricted_destinations(tenant, service).await?;
            let restriction = |stored: Stored<Watch>| {
                let watch = stored.entity;
                let per_minute = watch.per_minute(&guard.settings);
                (watch.destination, Restriction { state: watch.state, until: watch.until, per_minute })
            };
            guard.restricted = restricted.into_iter().map(restriction).collect();
        }
        let guard = Arc::new(guard);
        self.guards.keep(service, Arc::clone(&guard), now);
        Ok(guard)
    }

    async fn restricted_destinations(
        &self,
        tenant: TenantId,
        service: ServiceId,
    ) -> Result<Vec<Stored<Watch>>, Refusal> {
        let list = EntityList {
            by: Some(IndexKey::new(Watch::RESTRICTED, service.to_bytes())),
            limit: RESTRICTED_MAX,
            ..EntityList::of(Owner::Tenant(tenant))
        };
        self.list::<Watch>(&list).await
    }

    /// Tells the other nodes what this one has counted since it last did. What cannot be told now is told later.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn tell_guard_counts(&self) -> Result<(), Refusal> {
        let uses = self.tell_uses().await;
        self.tell_seen().await.and(uses)
    }
}
