//! What a node counts by itself.
//!
//! A tenant's counts are two documents, of the day and of the month, and an admission that changed them
//! would change them on every node: of two transactions that change one document, the second is turned
//! away, and nodes that serve the same tenants would mostly be in each other's way. So the counts lend a
//! node some of what is left, and it counts those uses in a document of its own, its tally, until they are
//! used up.
//!
//! Nothing is lent that is not there: what is counted and what is lent together never go beyond what the
//! plan includes. Where little is left nothing is lent, and all that was lent and not used is called back,
//! also from nodes that are gone. From then on uses are counted one by one, in the counts themselves. So a
//! quota is as exact as without tallies, and of `limit + 1` calls on any nodes exactly one is refused.
//!
//! What was used in all is the counts and all tallies together.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::TryStreamExt as _;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::{ClientSession, Collection};
use tokio::time::Instant;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::quota::{Counted, Quota, Resource};

use super::Server;
use super::fault::Fault;
use super::row::{binary, number};
use super::schema;
use super::transaction::{self, Attempts, Setback};
use super::usage::{self, Count};

/// Uses below which nothing is lent: it would be called back soon. A call for one use less than is left
/// costs a transaction that other nodes may be in the way of, and no more.
const LEFT_MIN: i64 = 64;
/// Uses that are lent at once, at most: what a busy node counts in a second or two. The fewer, the more
/// often nodes meet in the counts; the more, the more is to be called back when little is left.
const LENT_MAX: i64 = 4_096;
/// What is lent where the plan has no limit: as good as everything, once.
const WITHOUT_LIMIT: i64 = 1 << 40;
/// Places that are remembered. Beyond it all are forgotten, which costs a look at each.
const KNOWN_MAX: usize = 50_000;

/// What a use is counted against: whose, what, and the day and the month.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) tenant: TenantId,
    pub(super) resource: Resource,
    day: Timestamp,
    month: Timestamp,
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

/// What this node was lent at a place, and what it used of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    used: i64,
    lent: i64,
}

impl Tally {
    fn has(self, more: u64) -> bool {
        self.lent - self.used >= number(more)
    }
}

/// The tallies of this process, as they are stored: nobody else writes to them. Others may call them back,
/// and then a change finds nothing, and they are to be forgotten.
pub(super) struct Tallies {
    node: ObjectId,
    known: Mutex<HashMap<Place, Known>>,
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
        Self { node: ObjectId::new(), known: Mutex::default() }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<Place, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the next `more` uses are counted at a place, as far as it is known; none of them for certain in
    /// a tally.
    fn find(&self, place: Place, quota: &Quota, more: Option<u64>) -> Option<Purse> {
        let known = self.known();
        // Of another plan: less may be included now than was lent.
        let Known { purse, .. } = known.get(&place).filter(|known| known.limits == limits(quota))?;
        match (purse, more) {
            (Purse::Tally(tally), Some(more)) if tally.has(more) => Some(*purse),
            (Purse::Tally(_), _) => None,
            (Purse::Counts, _) => Some(Purse::Counts),
        }
    }

    fn keep(&self, place: Place, quota: &Quota, purse: Purse) {
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

    /// The name of this process's document of a place.
    fn id(&self, place: Place) -> Document {
        // The order of the fields is part of the name.
        doc! {
            "t": binary(&place.tenant.to_bytes()),
            "r": place.resource.name(),
            "d": place.day.as_microsecond(),
            "m": place.month.as_microsecond(),
            "n": self.node,
        }
    }

    /// The statement that counts `more` uses at a place, if they are still lent.
    pub(super) fn count(&self, place: Place, tally: Tally, more: u64) -> Document {
        doc! {
            "q": { "_id": self.id(place), "used": { "$lte": tally.lent - number(more) } },
            "u": { "$inc": { "used": number(more) } },
        }
    }
}

fn collection(server: &Server) -> Collection<Document> {
    server.collection(schema::TALLIES)
}

/// How `more` uses are counted at a place: in the tally of this process, for which more is lent where it
/// must be and can be, or in the counts; none means in the counts for certain.
pub(super) async fn purse(server: &Server, place: Place, quota: &Quota, more: Option<u64>) -> Result<Purse, Fault> {
    if let Some(purse) = server.tallies.find(place, quota, more) {
        return Ok(purse);
    }
    let mut attempts = Attempts::new(server);
    loop {
        match look(server, place, quota, more, attempts.until()).await {
            Ok(purse) => {
                server.tallies.keep(place, quota, purse);
                return Ok(purse);
            }
            Err(Setback::Failed(fault)) => return Err(fault),
            // What came of it is looked at again, and nobody was told anything yet.
            Err(Setback::Again | Setback::Unknown) => attempts.again().await?,
        }
    }
}

/// What a plan includes, of the day and of the month; none means without limit.
fn limits(quota: &Quota) -> [Option<i64>; 2] {
    quota.allowances.map(|allowance| allowance.included.into_iter().chain(allowance.cap).min().map(number))
}

/// What is left at a place to be lent; none means without limit.
fn left(quota: &Quota, counts: [Count; 2]) -> Option<i64> {
    let left = limits(quota).into_iter().zip(counts);
    left.filter_map(|(limit, count)| Some(limit? - count.used - count.lent)).min()
}

/// What is lent of what is left, to a node that needs `more`.
fn advance(left: Option<i64>, more: u64) -> Option<i64> {
    match left {
        None => Some(WITHOUT_LIMIT),
        // No node gets more than half of what is left: others may ask as well.
        Some(left) if left >= LEFT_MIN && left / 2 >= number(more) => Some((left / 4).max(number(more)).min(LENT_MAX)),
        Some(_) => None,
    }
}

/// Whether enough is left at a place that is counted exactly to lend again.
pub(super) fn is_plenty(quota: &Quota, counts: [Count; 2]) -> bool {
    // More than is needed to lend, so that it does not go to and fro.
    left(quota, counts).is_none_or(|left| left >= 2 * LEFT_MIN)
}

async fn look(
    server: &Server,
    place: Place,
    quota: &Quota,
    more: Option<u64>,
    until: Instant,
) -> Result<Purse, Setback> {
    let mut session = transaction::begin(server).await?;
    let id = server.tallies.id(place);
    let own =
        collection(server).find_one(doc! { "_id": &id }).session(&mut session).await.map_err(transaction::setback)?;
    let field = |name| own.as_ref().and_then(|own| own.get_i64(name).ok()).unwrap_or(0);
    let own = Tally { used: field("used"), lent: field("lent") };
    let counts = usage::counts_in(server, &mut session, place.counts()).await.map_err(transaction::setback)?;
    let left = left(quota, counts);
    // Where less than nothing is left, the plan included more when it was lent.
    if more.is_some_and(|more| own.has(more)) && left.is_none_or(|left| left >= 0) {
        transaction::leave(session).await;
        return Ok(Purse::Tally(own));
    }
    let Some(advance) = more.and_then(|more| advance(left, more)) else {
        if counts.iter().all(|count| count.lent == 0) {
            transaction::leave(session).await;
        } else {
            call_back(server, &mut session, place).await?;
            transaction::end(session, until).await?;
        }
        return Ok(Purse::Counts);
    };
    let lend = place.counts().map(|key| usage::lend(key, advance)).to_vec();
    transaction::run(server, &mut session, doc! { "update": schema::USAGE, "updates": lend }).await?;
    let held = doc! {
        "q": { "_id": id },
        "u": { "$inc": { "lent": advance, "used": 0_i64 }, "$setOnInsert": beside(place) },
        "upsert": true,
    };
    transaction::run(server, &mut session, doc! { "update": schema::TALLIES, "updates": [held] }).await?;
    transaction::end(session, until).await?;
    Ok(Purse::Tally(Tally { lent: own.lent + advance, ..own }))
}

/// What a new tally holds besides its numbers.
fn beside(place: Place) -> Document {
    doc! {
        "t": binary(&place.tenant.to_bytes()),
        "r": place.resource.name(),
        "d": place.day.as_microsecond(),
        "m": place.month.as_microsecond(),
        "gone": DateTime::from_millis(usage::gone(place.day).as_millisecond()),
    }
}

/// Takes all tallies that count against the day or the month of a place back into their counts.
async fn call_back(server: &Server, session: &mut ClientSession, place: Place) -> Result<(), Setback> {
    let wanted = doc! {
        "t": binary(&place.tenant.to_bytes()),
        "r": place.resource.name(),
        "$or": [{ "d": place.day.as_microsecond() }, { "m": place.month.as_microsecond() }],
    };
    let mut found = collection(server).find(wanted).session(&mut *session).await.map_err(transaction::setback)?;
    let tallies: Vec<Document> = found.stream(session).try_collect().await.map_err(transaction::setback)?;
    let (mut ids, mut back) = (Vec::new(), Vec::new());
    for tally in tallies {
        let moment = |name| tally.get_i64(name).ok().and_then(|moment| Timestamp::from_microsecond(moment).ok());
        let (Some(day), Some(month)) = (moment("d"), moment("m")) else {
            return Err(Setback::Failed(Fault::Shape("a tally has no day or no month")));
        };
        let count = |name| tally.get_i64(name).unwrap_or(0);
        for key in (Place { day, month, ..place }).counts() {
            back.push(usage::take_back(key, count("used"), count("lent")));
        }
        ids.extend(tally.get("_id").cloned());
    }
    if !ids.is_empty() {
        transaction::run(server, session, doc! { "update": schema::USAGE, "updates": back }).await?;
        let gone = doc! { "q": { "_id": { "$in": ids } }, "limit": 0 };
        transaction::run(server, session, doc! { "delete": schema::TALLIES, "deletes": [gone] }).await?;
    }
    Ok(())
}

/// What tallies hold of each of these counts.
pub(super) async fn used(
    server: &Server,
    session: &mut ClientSession,
    keys: &[usage::Key],
) -> Result<Vec<i64>, mongodb::error::Error> {
    let mut used = Vec::with_capacity(keys.len());
    for key in keys {
        let stages = [
            doc! { "$match": usage::of_tallies(*key) },
            doc! { "$group": { "_id": Bson::Null, "used": { "$sum": "$used" } } },
        ];
        let mut found = collection(server).aggregate(stages).session(&mut *session).await?;
        let sum: Option<Document> = found.stream(session).try_next().await?;
        used.push(sum.and_then(|sum| sum.get_i64("used").ok()).unwrap_or(0));
    }
    Ok(used)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn where_little_is_left_nothing_is_lent() {
        assert_eq!(advance(Some(LEFT_MIN - 1), 1), None);
        assert_eq!(advance(Some(-5), 1), None);
        assert_eq!(advance(Some(LEFT_MIN), 1), Some(LEFT_MIN / 4));
        assert_eq!(advance(None, 1), Some(WITHOUT_LIMIT));
    }

    proptest! {
        #[test]
        fn what_is_lent_is_enough_and_no_more_than_half(left in 0_i64..1_000_000, more in 1_u64..=256) {
            if let Some(lent) = advance(Some(left), more) {
                prop_assert!(lent >= number(more) && lent <= left / 2 && lent <= LENT_MAX.max(number(more)));
            }
        }
    }
}
