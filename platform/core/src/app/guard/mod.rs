//! The guard at work: what it decides on a start, a resend and a message, what it counts, and what the watch does about it.
//!
//! It decides by what this node knows: settings, lists and restricted destinations are read at most once a
//! second, and counts of other nodes every two, which tell them every two. So in a burst each node may let pass what
//! a cap allows before it hears of the others, up to as many times the cap as there are nodes. One node alone counts
//! exactly; the tenant's cap too, though it is asked by what the quota has counted ([`places`]). It keeps the guard
//! from costing every start a transaction of its own; what is paid for is counted exactly, by the quota.

mod judge;
mod places;
mod seen;
mod settings;
mod uses;
mod watching;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::{join, try_join, try_join_all};
pub(super) use judge::{Judged, Judgement};
pub(super) use seen::Happened;
pub use settings::{NewEntry, NewListed};
pub use watching::GuardWatched;

use super::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::guard::{Destination, GuardList, GuardMode, GuardNote, GuardSettings, State, Watch};
use crate::domain::id::{ServiceId, TenantId};
use crate::domain::service::Service;
use crate::ports::{Entity, EntityList, EntityRow, IndexKey, Owner, Stored};

/// Restricted destinations of a service that are held in memory. Beyond them each start looks up its own.
const RESTRICTED_MAX: usize = 1_000;

/// Notes that wait to be asked for by metrics: more are left out.
const LATE_MAX: usize = 10_000;

/// What this node counts for the guards of all services, and has not told the others yet.
#[derive(Default)]
pub(super) struct Memory {
    uses: uses::Uses,
    places: Arc<places::Places>,
    seen: seen::SeenHere,
    late: Mutex<Vec<GuardNote>>,
}

impl Memory {
    /// Remembers what was decided after a call had its answer, for metrics.
    pub(super) fn note_late(&self, notes: Vec<GuardNote>) {
        let mut late = self.late.lock().unwrap_or_else(PoisonError::into_inner);
        if late.len() < LATE_MAX {
            late.extend(notes);
        }
    }
}

/// The guard of a service, as it was read within the last second.
pub(super) struct Guard {
    pub(super) tenant: TenantId,
    settings: GuardSettings,
    list: Option<GuardList>,
    restricted: HashMap<Destination, Restriction>,
    /// Whether there are more of these than are held.
    more_restricted: bool,
}

impl Guard {
    fn restriction(&self, watch: Watch) -> (Destination, Restriction) {
        let per_minute = watch.per_minute(&self.settings);
        (watch.destination, Restriction { state: watch.state, until: watch.until, per_minute })
    }
}

/// What a row is; none, and a line in the log, where this program cannot read it.
fn readable<E: Entity>(row: EntityRow) -> Option<Stored<E>> {
    let (owner, id) = (row.owner, row.id);
    Stored::read(row)
        .inspect_err(|error| {
            let error: &dyn std::error::Error = error;
            tracing::error!(kind = E::KIND, ?owner, id = %u128::from_be_bytes(id), error, "it is left out");
        })
        .ok()
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
        let tenant = caller.tenant.id;
        if let Some(guard) = self.known_guard(tenant, service) {
            return Ok(guard);
        }
        let forgotten = self.guards.forgotten();
        // Who names services that are not there is not to take the room of guards that are.
        let (guard, known) = join(self.read_guard(tenant, service), self.service(tenant, service)).await;
        let guard = Arc::new(guard?);
        if known?.is_some() {
            self.guards.keep_unless_forgotten(forgotten, service, Arc::clone(&guard), self.now());
        }
        Ok(guard)
    }

    /// The guard of a service.
    pub(super) async fn guard_of(&self, tenant: TenantId, service: ServiceId) -> Result<Arc<Guard>, Refusal> {
        if let Some(guard) = self.known_guard(tenant, service) {
            return Ok(guard);
        }
        let forgotten = self.guards.forgotten();
        let guard = Arc::new(self.read_guard(tenant, service).await?);
        self.guards.keep_unless_forgotten(forgotten, service, Arc::clone(&guard), self.now());
        Ok(guard)
    }

    fn known_guard(&self, tenant: TenantId, service: ServiceId) -> Option<Arc<Guard>> {
        self.guards.find(&service, self.now()).filter(|guard| guard.tenant == tenant)
    }

    async fn read_guard(&self, tenant: TenantId, service: ServiceId) -> Result<Guard, Refusal> {
        let owner = Owner::Tenant(tenant);
        let settings = self.find::<GuardSettings>(owner, service.to_bytes()).await?;
        let settings = settings.map_or_else(|| GuardSettings::off(tenant, service), |stored| stored.entity);
        let mut guard = Guard { tenant, settings, list: None, restricted: HashMap::new(), more_restricted: false };
        if guard.settings.mode != GuardMode::Off {
            guard.list = self.find::<GuardList>(owner, service.to_bytes()).await?.map(|stored| stored.entity);
            let restricted = self.restricted_destinations(tenant, service).await?;
            guard.more_restricted = restricted.len() >= RESTRICTED_MAX;
            guard.restricted = restricted.into_iter().map(|watch| guard.restriction(watch)).collect();
        }
        Ok(guard)
    }

    /// What is held against these destinations, where more are restricted than the guard holds.
    async fn restricted_besides(
        &self,
        guard: &Guard,
        destinations: Vec<Destination>,
    ) -> Result<HashMap<Destination, Restriction>, Refusal> {
        if !guard.more_restricted || !guard.settings.watches() {
            return Ok(HashMap::new());
        }
        let service = guard.settings.service;
        let unheld = destinations.into_iter().filter(|destination| !guard.restricted.contains_key(destination));
        let find = |destination: Destination| async move {
            self.find::<Watch>(Owner::Tenant(guard.tenant), destination.id(service).to_bytes()).await
        };
        let found = try_join_all(unheld.map(find)).await?;
        Ok(found.into_iter().flatten().map(|stored| guard.restriction(stored.entity)).collect())
    }

    /// What is restricted of a service: all countries, and as many prefixes as are held.
    async fn restricted_destinations(&self, tenant: TenantId, service: ServiceId) -> Result<Vec<Watch>, Refusal> {
        let of = |index| EntityList {
            by: Some(IndexKey::new(index, service.to_bytes())),
            limit: RESTRICTED_MAX,
            ..EntityList::of(Owner::Tenant(tenant))
        };
        let (countries, all) = (of(Watch::RESTRICTED_COUNTRY), of(Watch::RESTRICTED));
        let store = &self.ports.store;
        let (countries, all) =
            try_join(store.list_entities(Watch::KIND, &countries), store.list_entities(Watch::KIND, &all)).await?;
        if all.len() >= RESTRICTED_MAX {
            tracing::warn!(%tenant, %service, "more destinations are restricted than are held and listed");
        }
        // One that a newer program wrote, and this one cannot read, is no reason to start nothing at all.
        let all = countries.into_iter().chain(all).filter_map(readable::<Watch>).map(|stored| stored.entity);
        let mut known = HashSet::new();
        Ok(all.filter(|watch| known.insert(watch.destination.clone())).collect())
    }

    /// What rules did on this node since this was asked last, where nobody called who could be told: once the number of a
    /// person who wrote was known. For metrics.
    pub fn take_late_guard_notes(&self) -> Vec<GuardNote> {
        std::mem::take(&mut *self.guard.late.lock().unwrap_or_else(PoisonError::into_inner))
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
