//! The watch at work: takes in what all nodes saw, and decides on each destination that something happened at.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::settings::deed_of;
use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::By;
use crate::domain::guard::watch::{History, Minute};
use crate::domain::guard::{Destination, GuardSettings, Seen, SeenBatch, State, Transition, UseCount, Watch};
use crate::domain::id::{ServiceId, TenantId};
use crate::ports::{Change, Entity, Owner, StoreError, Stored};

/// Batches of all services that are taken in at once.
const BATCHES: usize = 100;
/// Batches of one service that are taken in by one commit: at most so many hundred prefixes.
const BATCHES_TOGETHER: usize = 4;
/// Destinations whose time has come that are looked at together.
const DUE: usize = 100;
/// Counts that are over and deleted together.
const USES_OVER: usize = 500;
/// Reads that wait for the store at one moment.
const AT_ONCE: usize = 16;

/// What the watch did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GuardWatched {
    /// Destinations that something happened at.
    pub seen: usize,
    /// Of these, such as were slowed, blocked, probed or released.
    pub turned: usize,
    /// Counts of caps that are over, and were deleted.
    pub forgotten: usize,
    /// Whether there may be more to do.
    pub more: bool,
}

/// A destination as it is now, and as it is stored, if it is.
struct Kept {
    watch: Watch,
    stored: Option<Stored<Watch>>,
}

impl Kept {
    /// What makes the store hold what it is now; none when it does.
    fn change(self, now: Timestamp) -> Option<Change> {
        match self.stored {
            None => Some(Change::insert(&self.watch)),
            Some(stored) if self.watch.is_forgotten(now) => Some(Change::delete(&stored)),
            Some(stored) if stored.entity == self.watch => None,
            Some(mut stored) => {
                stored.entity = self.watch;
                Some(Change::replace(&stored))
            }
        }
    }
}

/// What there is to do for one service.
#[derive(Default)]
struct Work {
    batches: Vec<Stored<SeenBatch>>,
    due: Vec<Stored<Watch>>,
}

/// The destinations of one service.
struct Desk {
    tenant: TenantId,
    service: ServiceId,
    settings: GuardSettings,
    now: Timestamp,
    kept: BTreeMap<Destination, Kept>,
}

impl Desk {
    fn watch(&mut self, destination: Destination, country: Option<&str>) -> &mut Watch {
        let (tenant, service, now) = (self.tenant, self.service, self.now);
        let new = |destination| Kept {
            watch: Watch::new(tenant, service, destination, country.map(str::to_owned), now),
            stored: None,
        };
        &mut self.kept.entry(destination.clone()).or_insert_with(|| new(destination)).watch
    }

    fn is_free(&self, destination: &Destination) -> bool {
        self.kept.get(destination).is_none_or(|kept| kept.watch.state == State::Normal)
    }

    /// Adds what was seen to the prefix, and to its country and the service as long as nothing is held against
    /// those below them: what a restricted destination does is its own affair.
    fn take_in(&mut self, seen: &Seen) {
        let minute = Minute { minute: seen.minute, started: seen.started, approved: seen.approved };
        let (now, country) = (self.now, seen.country.as_deref());
        let prefix = Destination::Prefix(seen.prefix.clone());
        self.watch(prefix.clone(), country).add(minute, now);
        if !self.is_free(&prefix) {
            return;
        }
        if let Some(name) = country {
            let of_country = Destination::Country(name.to_owned());
            self.watch(of_country.clone(), country).add(minute, now);
            if !self.is_free(&of_country) {
                return;
            }
        }
        self.watch(Destination::Service, None).add(minute, now);
    }

    fn history(&self, destination: &Destination) -> History {
        self.kept.get(destination).map(|kept| kept.watch.history).unwrap_or_default()
    }

    /// Decides on all of them: prefixes first, since what they did is taken out of their country when they are
    /// restricted.
    fn decide(&mut self) -> Vec<(Destination, Transition)> {
        // First, since what is usual at one may be what another is compared with.
        self.kept.values_mut().for_each(|kept| kept.watch.age(self.now));
        let mut turned = Vec::new();
        let mut all: Vec<Destination> = self.kept.keys().cloned().collect();
        all.retain(|destination| *destination != Destination::Service);
        all.sort_by_key(|destination| matches!(destination, Destination::Country(_)));
        let of_service = self.history(&Destination::Service);
        for destination in all {
            let country = self.kept.get(&destination).and_then(|kept| kept.watch.country.clone());
            let country = country.map(Destination::Country);
            let of_country = country.as_ref().map(|country| self.history(country)).unwrap_or_default();
            let Some(kept) = self.kept.get_mut(&destination) else { continue };
            let Some(transition) = kept.watch.decide(&self.settings, &[of_country, of_service], self.now) else {
                continue;
            };
            if transition.from == State::Normal {
                let recent = kept.watch.recent.clone();
                let above = country.filter(|country| *country != destination);
                for above in above.into_iter().chain([Destination::Service]) {
                    if let Some(kept) = self.kept.get_mut(&above) {
                        kept.watch.take_out(&recent);
                    }
                }
            }
            turned.push((destination, transition));
        }
        turned
    }
}

impl App {
    /// Takes in what the nodes saw, decides on each destination that something happened at or whose time has come,
    /// and tells the tenant. Several nodes may do it at once: what one takes in the other does not.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn watch_guards(&self) -> Result<GuardWatched, Refusal> {
        let mut watched = GuardWatched::default();
        let batches = self.due::<SeenBatch>(BATCHES).await?;
        let due = self.due::<Watch>(DUE).await?;
        watched.more = batches.len() == BATCHES || due.len() == DUE;
        let mut work: BTreeMap<(TenantId, ServiceId), Work> = BTreeMap::new();
        for batch in batches {
            work.entry((batch.tenant, batch.service)).or_default().batches.push(batch);
        }
        for watch in due {
            work.entry((watch.tenant, watch.service)).or_default().due.push(watch);
        }
        for ((tenant, service), Work { mut batches, due }) in work {
            if batches.len() > BATCHES_TOGETHER {
                batches.truncate(BATCHES_TOGETHER);
                watched.more = true;
            }
            let ids = batches.iter().map(|batch| (SeenBatch::KIND, batch.id()));
            let ids: Vec<_> = ids.chain(due.iter().map(|watch| (Watch::KIND, watch.id().to_bytes()))).collect();
            match self.watch_guard(tenant, service, batches, due).await {
                Ok((seen, turned)) => {
                    watched.seen += seen;
                    watched.turned += turned;
                }
                // Another node, or somebody's release, was faster: it is looked at again the next time.
                Err(Refusal::Conflict | Refusal::Taken { .. }) => {}
                // What one service has that cannot be read, as in the middle of an upgrade, is its own affair.
                Err(Refusal::Store(error @ StoreError::Damaged(_))) => {
                    for (kind, id) in ids {
                        self.set_aside(kind, Owner::Tenant(tenant), id, &error).await;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        let over = self.due::<UseCount>(USES_OVER).await?;
        watched.more |= over.len() == USES_OVER;
        for counts in over.chunks(DUE) {
            // One that was counted in late, or that another node deletes, is left for the next time.
            if self.ports.store.commit(counts.iter().map(Change::delete).collect()).await.is_ok() {
                watched.forgotten += counts.len();
            }
        }
        Ok(watched)
    }

    async fn watch_guard(
        &self,
        tenant: TenantId,
        service: ServiceId,
        batches: Vec<Stored<SeenBatch>>,
        due: Vec<Stored<Watch>>,
    ) -> Result<(usize, usize), Refusal> {
        let owner = Owner::Tenant(tenant);
        let mut changes: Vec<Change> = batches.iter().map(Change::delete).collect();
        let settings = self.find::<GuardSettings>(owner, service.to_bytes()).await?;
        let Some(settings) = settings.map(|stored| stored.entity).filter(GuardSettings::watches) else {
            // Nobody looks any more, so nothing is restricted any more.
            changes.extend(due.iter().map(Change::delete));
            self.commit(&By::platform(), Vec::new(), changes).await?;
            return Ok((0, 0));
        };
        let now = self.now();
        let mut desk = Desk { tenant, service, settings, now, kept: BTreeMap::new() };
        let mut wanted = BTreeSet::from([Destination::Service]);
        for seen in batches.iter().flat_map(|batch| &batch.seen) {
            wanted.insert(Destination::Prefix(seen.prefix.clone()));
            wanted.extend(seen.country.clone().map(Destination::Country));
        }
        for watch in &due {
            wanted.insert(watch.destination.clone());
            wanted.extend(watch.country.clone().map(Destination::Country));
        }
        let find = |destination: Destination| self.find::<Watch>(owner, destination.id(service).to_bytes());
        let found = stream::iter(wanted).map(find).buffer_unordered(AT_ONCE);
        let found: Vec<Option<Stored<Watch>>> = found.try_collect().await?;
        for stored in found.into_iter().flatten() {
            let kept = Kept { watch: stored.entity.clone(), stored: Some(stored) };
            desk.kept.insert(kept.watch.destination.clone(), kept);
        }
        for seen in batches.iter().flat_map(|batch| &batch.seen) {
            desk.take_in(seen);
        }
        let turned = desk.decide();
        let mut deeds = Vec::new();
        for (destination, transition) in &turned {
            if let Some(kept) = desk.kept.get(destination) {
                let reason = if transition.to == State::Normal { "time" } else { "conversion" };
                let event = self.told_of(&kept.watch, *transition, reason, &desk.settings);
                changes.extend(event.as_ref().map(Change::insert));
                deeds.push(deed_of(&kept.watch, *transition));
            }
        }
        let (seen, turned) = (desk.kept.len(), turned.len());
        changes.extend(desk.kept.into_values().filter_map(|kept| kept.change(now)));
        self.commit(&By::platform(), deeds, changes).await?;
        if turned > 0 {
            self.changed(tenant).await;
        }
        Ok((seen, turned))
    }
}
