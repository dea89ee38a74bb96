//! What tenants used, one document a window.

use futures_util::TryStreamExt as _;
use jiff::SignedDuration;
use mongodb::bson::{DateTime, Document, doc};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::quota::{Counted, Resource, WindowKind};
use wotp_core::ports::Usage;

use super::Server;
use super::fault::Fault;
use super::row::{binary, number};
use super::schema;

/// One window of one tenant.
pub(super) type Key = (TenantId, Resource, WindowKind, Timestamp);

/// How long after its start a window's document is left to the server to collect: far beyond the time
/// at which `forget` takes it.
const KEPT: SignedDuration = SignedDuration::from_hours(24 * 800);

/// NEVER change a name: they are stored.
fn kind_name(kind: WindowKind) -> &'static str {
    match kind {
        WindowKind::Day => "day",
        WindowKind::Month => "month",
    }
}

/// The two windows that a use is counted in.
pub(super) fn keys(tenant: TenantId, counted: &Counted) -> [Key; 2] {
    [
        (tenant, counted.resource, WindowKind::Day, counted.day),
        (tenant, counted.resource, WindowKind::Month, counted.month),
    ]
}

/// The name of a window's document.
pub(super) fn id((tenant, resource, kind, starts): Key) -> Document {
    // The order of the fields is part of the name.
    doc! {
        "t": binary(&tenant.to_bytes()),
        "r": resource.name(),
        "k": kind_name(kind),
        "s": starts.as_microsecond(),
    }
}

/// What a new document holds besides its counts.
pub(super) fn beside((tenant, _, kind, starts): Key) -> Document {
    let gone = starts.saturating_add(KEPT).unwrap_or(Timestamp::MAX);
    doc! {
        "t": binary(&tenant.to_bytes()),
        "k": kind_name(kind),
        "s": starts.as_microsecond(),
        "gone": DateTime::from_millis(gone.as_millisecond()),
    }
}

/// The statement that gives a use back, never below nothing.
pub(super) fn refund(key: Key, overage: bool) -> Document {
    let less = |field: &str, by: i64| doc! { "$max": [0_i64, { "$subtract": [format!("${field}"), by] }] };
    doc! {
        "q": { "_id": id(key) },
        "u": [{ "$set": { "used": less("used", 1), "overage": less("overage", i64::from(overage)) } }],
    }
}

/// What is counted in each of these windows.
pub(super) async fn stored(server: &Server, keys: &[Key]) -> Result<Vec<Usage>, Fault> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Document> = keys.iter().map(|key| id(*key)).collect();
    let found = server.collection(schema::USAGE).find(doc! { "_id": { "$in": ids.clone() } }).await?;
    let rows: Vec<Document> = found.try_collect().await?;
    Ok(ids
        .iter()
        .map(|id| {
            let row = rows.iter().find(|row| row.get_document("_id").is_ok_and(|held| held == id));
            let count = |field| row.and_then(|row| row.get_i64(field).ok()).and_then(|count| u64::try_from(count).ok());
            Usage { used: count("used").unwrap_or(0), overage: count("overage").unwrap_or(0) }
        })
        .collect())
}

/// The statement that counts `more` uses, of which `overage` beyond what is included, if `guard` holds.
pub(super) fn count(key: Key, more: u64, overage: u64, guard: Option<Document>) -> Document {
    let mut wanted = doc! { "_id": id(key) };
    wanted.extend(guard.unwrap_or_default());
    doc! {
        "q": wanted,
        "u": { "$inc": { "used": number(more), "overage": number(overage) }, "$setOnInsert": beside(key) },
        "upsert": true,
    }
}
