//! What a node counts by itself.
//!
//! A tenant's counts are two documents, of the day and of the month, and an admission that changed them
//! would change them on every node: of two transactions that change one document, the second is turned
//! away, and nodes that serve the same tenants would mostly be in each other's way. So the counts lend a
//! node some of what is left ([`lending`](super::lending)), and it counts those uses in a document of its
//! own, its tally, until they are used up.
//!
//! What was used in all is the counts and all tallies together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::Error;
use tokio::sync::watch;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::quota::{Counted, Quota, Resource};

use super::Server;
use super::row::{binary, number};
use super::schema;
use super::usage;

/// Places that are remembered. Beyond it all are forgotten, which costs a look at each.
const KNOWN_MAX: usize = 50_000;

/// What a use is counted against: whose, what, and the day and the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) tenant: TenantId,
    pub(super) resource: Resource,
    pub(super) day: Timestamp,
    pub(super) month: Timestamp,
}

impl Place {
    /// Where `counted` is counted.
    pub(super) fn of(tenant: TenantId, counted: &Counted) -> Self {
        Self { tenant, resource: counted.resource, day: counted.day, month: counted.month }
    }

    /// Its two counts.
    pub(super) fn counts(self) -> [usage::Key; 2] {
        usage::windows(self.tenant, self.resource, self.day, self.month)
    }
}

/// How uses are counted at a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purse {
    /// In this node's tally.
    Tally(Tally),
    /// In the counts themselves: little is left.
    Counts,
}

/// Resolves, with an error, when what nodes were lent at a place is called back, or some of it.
pub(super) type CalledBack = watch::Receiver<()>;

/// Whether a place can be counted at.
pub(super) enum Outlook {
    Ready(Purse),
    /// What nodes were lent there is being called back.
    Later(CalledBack),
}

/// What this node was lent at a place, and what it used of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) used: i64,
    pub(super) lent: i64,
}

impl Tally {
    pub(super) fn has(self, more: u64) -> bool {
        self.lent - self.used >= number(more)
    }
}

/// The tallies of this process, as they are stored: nobody else writes to them. Others may call them back,
/// and then a change finds nothing, and they are to be forgotten.
pub(super) struct Tallies {
    node: ObjectId,
    known: Mutex<HashMap<Place, Known>>,
    calling: Mutex<HashMap<Place, CalledBack>>,
}

/// What is known of a place.
struct Known {
    purse: Purse,
    /// What the plan included, of the day and of the month, when it was looked at.
    limits: [Option<i64>; 2],
}

impl Tallies {
    /// Those of a process that has counted nothing yet.
    pub(super) fn new() -> Self {
        Self { node: ObjectId::new(), known: Mutex::default(), calling: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Place, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the next `more` uses are counted at a place, as far as it is known; none of them for certain in
    /// a tally.
    pub(super) fn find(&self, place: Place, quota: &Quota, more: Option<u64>) -> Option<Purse> {
        let known = self.known();
        // Of another plan: less may be included now than was lent.
        let Known { purse, .. } = known.get(&place).filter(|known| known.limits == limits(quota))?;
        match (purse, more) {
            (Purse::Tally(tally), Some(more)) if tally.has(more) => Some(*purse),
            (Purse::Tally(_), _) => None,
            (Purse::Counts, _) => Some(Purse::Counts),
        }
    }

    pub(super) fn keep(&self, place: Place, quota: &Quota, purse: Purse) {
        let mut known = self.known();
        if known.len() >= KNOWN_MAX {
            known.clear();
        }
        known.insert(place, Known { purse, limits: limits(quota) });
    }

    /// Notes what was counted.
    pub(super) fn counted(&self, place: Place, more: u64) {
        if let Some(Known { purse: Purse::Tally(tally), .. }) = self.known().get_mut(&place) {
            tally.used += number(more);
        }
    }

    /// Looks again at the next use.
    pub(super) fn forget(&self, place: Place) {
        self.known().remove(&place);
    }

    /// Notes that a place is being called back, unless it is already: then returns who does.
    pub(super) fn calling(&self, place: Place, called_back: &CalledBack) -> Option<CalledBack> {
        let mut calling = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(other) = calling.get(&place) {
            return Some(other.clone());
        }
        calling.insert(place, called_back.clone());
        None
    }

    /// Notes that a place is no longer being called back.
    pub(super) fn called(&self, place: Place) {
        self.calling.lock().unwrap_or_else(PoisonError::into_inner).remove(&place);
    }

    /// The name of this process's document of a place.
    pub(super) fn id(&self, place: Place) -> Document {
        // The order of the fields is part of the name.
        doc! {
            "t": binary(&place.tenant.to_bytes()),
            "r": place.resource.name(),
            "d": place.day.as_microsecond(),
            "m": place.month.as_microsecond(),
            "n": self.node,
        }
    }

    /// The statement that counts `more` uses at a place. It finds nothing when what was lent was called back,
    /// and a tally never holds more than it was lent: the collection's validator sees to that.
    pub(super) fn count(&self, place: Place, more: u64) -> Document {
        // By its name alone, which is the one kind of search that the server does not plan.
        doc! { "q": { "_id": self.id(place) }, "u": { "$inc": { "used": number(more) } } }
    }

    /// The statement that notes what a place was lent.
    pub(super) fn lend(&self, place: Place, lent: i64) -> Document {
        let beside = doc! {
            "t": binary(&place.tenant.to_bytes()),
            "r": place.resource.name(),
            "d": place.day.as_microsecond(),
            "m": place.month.as_microsecond(),
            "gone": DateTime::from_millis(usage::gone(place.day).as_millisecond()),
        };
        doc! {
            "q": { "_id": self.id(place) },
            "u": { "$inc": { "lent": lent, "used": 0_i64 }, "$setOnInsert": beside },
            "upsert": true,
        }
    }
}

/// What a plan includes, of the day and of the month; none means without limit.
pub(super) fn limits(quota: &Quota) -> [Option<i64>; 2] {
    quota.allowances.map(|allowance| allowance.included.into_iter().chain(allowance.cap).min().map(number))
}

/// What tallies hold of each of these counts.
pub(super) async fn used(server: &Server, session: &mut ClientSession, keys: &[usage::Key]) -> Result<Vec<i64>, Error> {
    let mut used = Vec::with_capacity(keys.len());
    for key in keys {
        let stages = [
            doc! { "$match": usage::of_tallies(*key) },
            doc! { "$group": { "_id": Bson::Null, "used": { "$sum": "$used" } } },
        ];
        let mut found = server.collection(schema::TALLIES).aggregate(stages).session(&mut *session).await?;
        let sum: Option<Document> = found.stream(session).try_next().await?;
        used.push(sum.and_then(|sum| sum.get_i64("used").ok()).unwrap_or(0));
    }
    Ok(used)
}
