//! What was started and approved, by prefix: gathered here, told to the watch every few seconds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::judge::Judgement;
use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::guard::{Seen, SeenBatch};
use crate::domain::id::{CountId, ServiceId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::sandbox;
use crate::domain::verification::Verification;
use crate::ports::Change;

/// Prefixes and minutes beyond which nothing new is noted until the next telling: what is lost makes the watch see
/// less, never more.
const SEEN_MAX: usize = 100_000;

/// What happened to a verification that the watch wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::app) enum Happened {
    /// It was started.
    Started,
    /// The right code was typed in.
    Approved,
    /// Its code could not be delivered: nobody could have typed it in.
    Undeliverable,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Place {
    tenant: TenantId,
    service: ServiceId,
    prefix: String,
    country: Option<String>,
    minute: i64,
}

/// Started and approved.
type Counts = (i64, i64);

#[derive(Default)]
pub(super) struct SeenHere(Mutex<HashMap<Place, Counts>>);

impl SeenHere {
    fn add(&self, place: Place, (started, approved): Counts) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < SEEN_MAX || seen.contains_key(&place) {
            let counts = seen.entry(place).or_default();
            counts.0 += started;
            counts.1 += approved;
        }
    }

    fn take(&self) -> HashMap<Place, Counts> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl App {
    /// Notes what happened to a verification, where the watch looks. What cannot be noted is not: the verification
    /// goes on without.
    pub(in crate::app) async fn note_for_watch(&self, verification: &Verification, happened: Happened) {
        if verification.mode == Mode::Test {
            return;
        }
        let noted = async {
            if !self.guard_of(verification.tenant, verification.service).await?.settings.watches() {
                return Ok(());
            }
            if let Some(address) = self.address_of(verification)? {
                self.see(verification, &address, happened);
            }
            Ok::<_, Refusal>(())
        };
        if let Err(error) = noted.await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(verification = %verification.id, error, "the watch did not see a verification");
        }
    }

    /// Notes that a verification was started, by what its judgement said of the watch: whoever started it waits,
    /// so nothing is read once more.
    pub(in crate::app) fn note_started(&self, verification: &Verification, judgement: &Judgement) {
        if judgement.watches
            && verification.mode == Mode::Live
            && let Ok(Some(address)) = self.address_of(verification)
        {
            self.see(verification, &address, Happened::Started);
        }
    }

    fn see(&self, verification: &Verification, address: &Address, happened: Happened) {
        // Who pumps earns with numbers; the domain of an email address says nothing of whoever asks.
        let Address::Phone(phone) = address else { return };
        if sandbox::find(address).is_some() {
            return;
        }
        let place = Place {
            tenant: verification.tenant,
            service: verification.service,
            prefix: phone.prefix().to_owned(),
            country: phone.region().map(str::to_owned),
            minute: verification.created_at.as_second().div_euclid(60),
        };
        let counts = match happened {
            Happened::Started => (1, 0),
            Happened::Approved => (0, 1),
            Happened::Undeliverable => (-1, 0),
        };
        self.guard.seen.add(place, counts);
    }

    pub(super) async fn tell_seen(&self) -> Result<(), Refusal> {
        let now = self.now();
        let mut by_service: HashMap<(TenantId, ServiceId), Vec<(Place, Counts)>> = HashMap::new();
        for (place, counts) in self.guard.seen.take() {
            by_service.entry((place.tenant, place.service)).or_default().push((place, counts));
        }
        let mut told = Ok(());
        for ((tenant, service), seen) in by_service {
            for seen in seen.chunks(SeenBatch::SEEN_MAX) {
                if let Err(error) = self.ports.store.commit(vec![self.batch(tenant, service, seen, now)]).await {
                    // Told the next time. One that was made after all is counted twice, which is rare and little.
                    seen.iter().for_each(|(place, counts)| self.guard.seen.add(place.clone(), *counts));
                    told = Err(error.into());
                }
            }
        }
        told
    }

    fn batch(&self, tenant: TenantId, service: ServiceId, seen: &[(Place, Counts)], now: Timestamp) -> Change {
        let seen = seen.iter().map(|(place, (started, approved))| Seen {
            prefix: place.prefix.clone(),
            country: place.country.clone(),
            minute: place.minute,
            started: *started,
            approved: *approved,
        });
        let id = CountId::new(now, &*self.ports.entropy);
        Change::insert(&SeenBatch { id, tenant, service, at: now, seen: seen.collect() })
    }
}
