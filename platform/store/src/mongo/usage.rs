//! What tenants used, one document a window.

use futures_util::TryStreamExt as _;
use jiff::SignedDuration;
use mongodb::ClientSession;
use mongodb::bson::{Bson, DateTime, Document, doc};
use mongodb::error::Error;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::ports::Usage;

use super::Server;
use super::fault::Fault;
use super::row::{binary, number};
use super::schema;
use super::tally;
use super::transaction::{self, Attempts, Setback};

/// One window of one tenant.
pub(super) type Key = (TenantId, Resource, WindowKind, Timestamp);

/// How long after its start a window's document is left to the server to collect: far beyond the time
/// at which `forget` takes it.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 800);

/// The two windows that a use is counted in.
pub(super) fn windows(tenant: TenantId, resource: Resource, day: Timestamp, month: Timestamp) -> [Key; 2] {
    [(tenant, resource, WindowKind::Day, day), (tenant, resource, WindowKind::Month, month)]
}

/// What is counted in a window, but for what nodes count by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Below nothing where more was given back here than was counted here, and not in tallies.
    pub(super) used: i64,
    pub(super) overage: i64,
    /// What nodes were lent of it, used or not.
    pub(super) lent: i64,
}

/// The name of a window's document.
pub(super) fn id((tenant, resource, kind, starts): Key) -> Document {
    name(binary(&tenant.to_bytes()), resource.name(), kind, starts.as_microsecond())
}

/// The names of the two documents that a tally counts against.
pub(super) fn of(tenant: Bson, resource: &str, day: i64, month: i64) -> [Document; 2] {
    [name(tenant.clone(), resource, WindowKind::Day, day), name(tenant, resource, WindowKind::Month, month)]
}

fn name(tenant: Bson, resource: &str, kind: WindowKind, starts: i64) -> Document {
    // The order of the fields is part of the name.
    doc! {
        "t": tenant,
        "r": resource,
        "k": kind.name(),
        "s": starts,
    }
}

/// When what began at `starts` is left to the server to collect.
pub(super) fn gone(starts: Timestamp) -> Timestamp {
    starts.saturating_add(KEPT).unwrap_or(Timestamp::MAX)
}

/// What a new document holds besides its counts.
pub(super) fn beside((tenant, _, kind, starts): Key) -> Document {
    doc! {
        "t": binary(&tenant.to_bytes()),
        "k": kind.name(),
        "s": starts.as_microsecond(),
        "gone": DateTime::from_millis(gone(starts).as_millisecond()),
    }
}

/// The statement that gives a use back. What it was counted in may be a tally: both together are never below
/// nothing.
pub(super) fn refund(key: Key, overage: bool) -> Document {
    doc! {
        "q": { "_id": id(key) },
        "u": { "$inc": { "used": -1_i64, "overage": -i64::from(overage) } },
    }
}

/// The statement that lends so many uses.
pub(super) fn lend(key: Key, lent: i64) -> Document {
    doc! {
        "q": { "_id": id(key) },
        "u": { "$inc": { "lent": lent, "used": 0_i64, "overage": 0_i64 }, "$setOnInsert": beside(key) },
        "upsert": true,
    }
}

/// The statement that counts what a node counted by itself, and takes back what it was lent.
pub(super) fn take_back(id: Document, used: i64, lent: i64) -> Document {
    doc! { "q": { "_id": id }, "u": { "$inc": { "used": used, "lent": -lent } } }
}

/// The statement that notes that nothing is lent.
pub(super) fn lend_nothing(key: Key) -> Document {
    doc! { "q": { "_id": id(key) }, "u": { "$set": { "lent": 0_i64 } } }
}

/// Finds the tallies that belong to a window.
pub(super) fn of_tallies((tenant, resource, kind, starts): Key) -> Document {
    let window = match kind {
        WindowKind::Day => "d",
        WindowKind::Month => "m",
    };
    doc! { "t": binary(&tenant.to_bytes()), "r": resource.name(), window: starts.as_microsecond() }
}

/// What is counted in each of these windows, but for tallies.
pub(super) async fn counts(server: &Server, keys: &[Key]) -> Result<Vec<Count>, Fault> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let found = server.collection(schema::USAGE).find(named(keys)).await?;
    Ok(in_order(keys, &found.try_collect::<Vec<_>>().await?))
}

/// As [`counts`], in a transaction.
pub(super) async fn counts_in(server: &Server, session: &mut ClientSession, keys: &[Key]) -> Result<Vec<Count>, Error> {
    let mut found = server.collection(schema::USAGE).find(named(keys)).session(&mut *session).await?;
    let rows: Vec<Document> = found.stream(session).try_collect().await?;
    Ok(in_order(keys, &rows))
}

/// What was used in each of these windows, of one moment.
pub(super) async fn stored(server: &Server, keys: &[Key]) -> Result<Vec<Usage>, Fault> {
    let mut attempts = Attempts::new(server);
    loop {
        match read(server, keys).await {
            Ok(usage) => return Ok(usage),
            Err(Setback::Failed(fault)) => return Err(fault),
            Err(Setback::Again | Setback::Unknown) => attempts.again().await?,
        }
    }
}

async fn read(server: &Server, keys: &[Key]) -> Result<Vec<Usage>, Setback> {
    // One transaction, so that what is called back meanwhile is seen once.
    let mut session = transaction::begin(server).await?;
    let counts = counts_in(server, &mut session, keys).await.map_err(transaction::setback)?;
    let tallies = tally::used(server, &mut session, keys).await.map_err(transaction::setback)?;
    transaction::leave(session).await;
    let whole = |count: i64| u64::try_from(count).unwrap_or(0);
    let usage = |(count, tally): (Count, i64)| Usage { used: whole(count.used + tally), overage: whole(count.overage) };
    Ok(counts.into_iter().zip(tallies).map(usage).collect())
}

fn named(keys: &[Key]) -> Document {
    doc! { "_id": { "$in": keys.iter().map(|key| id(*key)).collect::<Vec<_>>() } }
}

fn in_order(keys: &[Key], rows: &[Document]) -> Vec<Count> {
    keys.iter()
        .map(|key| {
            let id = id(*key);
            let row = rows.iter().find(|row| row.get_document("_id").is_ok_and(|held| *held == id));
            let count = |field| row.and_then(|row| row.get_i64(field).ok()).unwrap_or(0);
            Count { used: count("used"), overage: count("overage"), lent: count("lent") }
        })
        .collect()
}

/// The statement that counts `more` uses, of which `overage` beyond what is included, if `guard` holds and
/// nothing is lent.
pub(super) fn count(key: Key, more: u64, overage: u64, guard: Option<Document>) -> Document {
    let mut wanted = doc! { "_id": id(key), "lent": { "$not": { "$gt": 0 } } };
    wanted.extend(guard.unwrap_or_default());
    doc! {
        "q": wanted,
        "u": { "$inc": { "used": number(more), "overage": number(overage) }, "$setOnInsert": beside(key) },
        "upsert": true,
    }
}
