//! Lending uses to nodes, and calling them back.
//!
//! Nothing is lent that is not there: what is counted and what is lent together never go beyond what the
//! plan includes. Where little is left nothing is lent, and all that was lent and not used is called back,
//! also from nodes that are gone. From then on uses are counted one by one, in the counts themselves. So a
//! quota is as exact as without tallies, and of `limit + 1` calls on any nodes exactly one is refused.
//!
//! A refusal rests on the counts alone, and those hold what was used only while nothing is lent: an exact
//! count is made under that condition, so whoever lends and whoever counts exactly meet in the counts.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::SignedDuration;
use mongodb::bson::{Bson, Document, doc};
use mongodb::{Collection, bson};
use tokio::sync::watch;
use tokio::time::Instant;
use wotp_core::domain::Timestamp;
use wotp_core::domain::quota::Quota;

use super::Server;
use super::fault::Fault;
use super::row::{binary, number};
use super::schema;
use super::tally::{CalledBack, Outlook, Place, Purse, Tally, limits};
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
/// Places that are lent to in one transaction.
const TOGETHER: usize = 64;
/// Longest that one place's tallies are called back before it is looked at again: what was called back by
/// then stays so.
const CALL_BACK_WITHIN: Duration = Duration::from_secs(2);
/// How long after its end a day's tallies are taken back into the counts, so that they do not pile up.
/// Nobody counts in them any more by then, whatever its clock says.
const DAY_SETTLED: SignedDuration = SignedDuration::from_hours(48);
/// Tallies of days that ended which are taken back by one call, and at once.
const SETTLED: (i64, usize) = (1_000, 16);

/// Uses that are to be counted somewhere.
pub(super) struct Wanted {
    pub(super) place: Place,
    pub(super) quota: Quota,
    /// How many; none where they must be counted in the counts, for certain.
    pub(super) more: Option<u64>,
}

fn tallies(server: &Server) -> Collection<Document> {
    server.collection(schema::TALLIES)
}

/// What is left at a place to be lent; none means without limit.
fn left(quota: &Quota, counts: [Count; 2]) -> Option<i64> {
    let left = limits(quota).into_iter().zip(counts);
    left.filter_map(|(limit, count)| Some(limit? - count.used - count.lent.max(0))).min()
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

/// How what is wanted is counted at each place: in the tally of this process, for which more is lent where
/// it must be and can be, or in the counts. Where what was lent must be called back first, that is begun.
pub(super) async fn purses(
    server: &Server,
    wanted: Vec<Wanted>,
    until: Instant,
) -> Result<HashMap<Place, Outlook>, Fault> {
    let mut purses = HashMap::new();
    let mut unknown = Vec::new();
    for wanted in wanted {
        match server.tallies.find(wanted.place, &wanted.quota, wanted.more) {
            Some(purse) => drop(purses.insert(wanted.place, Outlook::Ready(purse))),
            None => unknown.push(wanted),
        }
    }
    let mut groups = VecDeque::new();
    while !unknown.is_empty() {
        groups.push_back(unknown.split_off(unknown.len().saturating_sub(TOGETHER)));
    }
    let mut attempts = Attempts::until(server, until);
    while let Some(mut group) = groups.pop_front() {
        match lend(server, &group, until).await {
            Ok(lent) => {
                for (Wanted { place, quota, .. }, lent) in group.into_iter().zip(lent) {
                    let outlook = lent.map_or_else(|| Outlook::Later(calling_back(server, place)), Outlook::Ready);
                    if let Outlook::Ready(purse) = outlook {
                        server.tallies.keep(place, &quota, purse);
                    }
                    purses.insert(place, outlook);
                }
            }
            Err(Setback::Failed(fault)) => return Err(fault),
            // What came of it is looked at again, and nobody was told anything yet.
            Err(Setback::Again | Setback::Unknown) => {
                attempts.again().await?;
                // Others want the same: apart, those that nobody is in the way of get through.
                let rest = group.split_off(group.len() / 2);
                groups.extend([group, rest].into_iter().filter(|group| !group.is_empty()));
            }
        }
    }
    Ok(purses)
}

/// Looks at places, and lends to this process where there is enough; none where what was lent must be called
/// back.
async fn lend(server: &Server, wanted: &[Wanted], until: Instant) -> Result<Vec<Option<Purse>>, Setback> {
    let mut session = transaction::begin(server).await?;
    let ids: Vec<Document> = wanted.iter().map(|wanted| server.tallies.id(wanted.place)).collect();
    let tallies = tallies(server);
    let find = tallies.find(doc! { "_id": { "$in": &ids } });
    let mut found = find.session(&mut session).await.map_err(transaction::setback)?;
    let own: Vec<Document> = found.stream(&mut session).try_collect().await.map_err(transaction::setback)?;
    let keys: Vec<usage::Key> = wanted.iter().flat_map(|wanted| wanted.place.counts()).collect();
    let counts = usage::counts_in(server, &mut session, &keys).await.map_err(transaction::setback)?;
    let (mut purses, mut lent, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for ((Wanted { place, quota, more }, id), counts) in wanted.iter().zip(ids).zip(counts.chunks_exact(2)) {
        let counts = [counts[0], counts[1]];
        let own = own.iter().find(|own| own.get_document("_id").is_ok_and(|held| *held == id));
        let field = |name| own.and_then(|own| own.get_i64(name).ok()).unwrap_or(0);
        let own = Tally { used: field("used"), lent: field("lent") };
        let left = left(quota, counts);
        // Where less than nothing is left, the plan included more when it was lent.
        let purse = if more.is_some_and(|more| own.has(more)) && left.is_none_or(|left| left >= 0) {
            Some(Purse::Tally(own))
        } else if let Some(advance) = more.and_then(|more| advance(left, more)) {
            lent.extend(place.counts().map(|key| usage::lend(key, advance)));
            held.push(server.tallies.lend(*place, advance));
            Some(Purse::Tally(Tally { lent: own.lent + advance, ..own }))
        } else {
            counts.iter().all(|count| count.lent == 0).then_some(Purse::Counts)
        };
        purses.push(purse);
    }
    if held.is_empty() {
        transaction::leave(session).await;
        return Ok(purses);
    }
    transaction::run(server, &mut session, doc! { "update": schema::USAGE, "updates": lent }).await?;
    transaction::run(server, &mut session, doc! { "update": schema::TALLIES, "updates": held }).await?;
    transaction::end(session, until).await?;
    Ok(purses)
}

/// Has the tallies of a place called back, unless they are being already. Beside admissions: others are not
/// to wait for it.
fn calling_back(server: &Server, place: Place) -> CalledBack {
    let (done, called_back) = watch::channel(());
    if let Some(other) = server.tallies.calling(place, &called_back) {
        return other;
    }
    let server = server.clone();
    tokio::spawn(async move {
        if let Err(fault) = call_back(&server, place).await {
            let error: &dyn std::error::Error = &fault;
            tracing::warn!(tenant = %place.tenant, error, "what nodes were lent of a quota could not be called back");
        }
        server.tallies.called(place);
        drop(done);
    });
    called_back
}

/// Takes all tallies that count against the day or the month of a place back into their counts; says whether
/// all are. One after another, each for good: their nodes are counting in them meanwhile.
async fn call_back(server: &Server, place: Place) -> Result<bool, Fault> {
    let until = Instant::now() + CALL_BACK_WITHIN;
    let mut attempts = Attempts::until(server, until);
    loop {
        for id in named(server, lent_at(place)).await? {
            if !take_back(server, id, until).await? {
                return Ok(false);
            }
        }
        match settle(server, place, until).await {
            Ok(true) => return Ok(true),
            Err(Setback::Failed(fault)) => return Err(fault),
            // Somebody lent meanwhile.
            Ok(false) | Err(Setback::Again | Setback::Unknown) => match attempts.again().await {
                Ok(()) => {}
                Err(Fault::Late) => return Ok(false),
                Err(fault) => return Err(fault),
            },
        }
    }
}

/// Finds the tallies that count against the day or the month of a place.
fn lent_at(place: Place) -> Document {
    doc! {
        "t": binary(&place.tenant.to_bytes()),
        "r": place.resource.name(),
        "$or": [{ "d": place.day.as_microsecond() }, { "m": place.month.as_microsecond() }],
    }
}

async fn named(server: &Server, wanted: Document) -> Result<Vec<Bson>, Fault> {
    let found = tallies(server).find(wanted).projection(doc! { "_id": 1 }).limit(SETTLED.0).await?;
    let found: Vec<Document> = found.try_collect().await?;
    Ok(found.into_iter().filter_map(|mut tally| tally.remove("_id")).collect())
}

/// Takes one tally back into its counts; says whether it is.
async fn take_back(server: &Server, id: Bson, until: Instant) -> Result<bool, Fault> {
    let mut attempts = Attempts::until(server, until);
    loop {
        match take_back_once(server, &id, until).await {
            Ok(()) => return Ok(true),
            Err(Setback::Failed(fault)) => return Err(fault),
            Err(Setback::Again | Setback::Unknown) => match attempts.again().await {
                Ok(()) => {}
                Err(Fault::Late) => return Ok(false),
                Err(fault) => return Err(fault),
            },
        }
    }
}

async fn take_back_once(server: &Server, id: &Bson, until: Instant) -> Result<(), Setback> {
    let mut session = transaction::begin(server).await?;
    // First, and so as soon after the beginning as can be: what its node counts in between is in the way.
    let taken = tallies(server).find_one_and_delete(doc! { "_id": id }).session(&mut session).await;
    let Some(tally) = taken.map_err(transaction::setback)? else {
        // Taken back by somebody else, or by us before.
        transaction::leave(session).await;
        return Ok(());
    };
    let Taken { t, r, d, m, used, lent } =
        bson::deserialize_from_document(tally).map_err(|error| Setback::Failed(error.into()))?;
    let back = usage::of(t, &r, d, m).into_iter().map(|id| usage::take_back(id, used, lent));
    let back: Vec<Document> = back.collect();
    transaction::run(server, &mut session, doc! { "update": schema::USAGE, "updates": back }).await?;
    transaction::end(session, until).await
}

/// A tally, as it is taken back.
#[derive(serde::Deserialize)]
struct Taken {
    t: Bson,
    r: String,
    d: i64,
    m: i64,
    used: i64,
    lent: i64,
}

/// Notes in the counts of a place that nothing is lent, if there are no tallies: where they say otherwise
/// that is of nobody, as after a restore of moments that do not fit. Says whether there are none.
async fn settle(server: &Server, place: Place, until: Instant) -> Result<bool, Setback> {
    let mut session = transaction::begin(server).await?;
    let found = tallies(server).find_one(lent_at(place)).session(&mut session).await.map_err(transaction::setback)?;
    if found.is_some() {
        transaction::leave(session).await;
        return Ok(false);
    }
    // Whoever lends writes to one of these, and so is either before or after.
    let nothing = place.counts().map(usage::lend_nothing).to_vec();
    transaction::run(server, &mut session, doc! { "update": schema::USAGE, "updates": nothing }).await?;
    transaction::end(session, until).await.map(|()| true)
}

/// Takes tallies of days that ended back into their counts; says how many, at most a thousand at once.
pub(super) async fn settle_days(server: &Server, now: Timestamp) -> Result<usize, Fault> {
    let settled = now.saturating_sub(DAY_SETTLED).unwrap_or(Timestamp::MIN);
    let over = named(server, doc! { "d": { "$lt": settled.as_microsecond() } }).await?;
    let until = Instant::now() + server.patience;
    stream::iter(over)
        .map(|id| take_back(server, id, until))
        .buffer_unordered(SETTLED.1)
        .try_fold(0, async |count, taken| Ok(count + usize::from(taken)))
        .await
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
