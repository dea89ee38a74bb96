//! Forgetting what is over.

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use wotp_core::domain::Timestamp;

use super::Server;
use super::fault::Fault;
use super::{lending, schema};
use crate::record::USAGE_KEPT;

/// Documents that one command changes at most.
const BATCH: i64 = 500;

/// Forgets idempotency keys that expired, and counts of windows that ended long ago; says how many.
pub(super) async fn forget(server: &Server, now: Timestamp) -> Result<usize, Fault> {
    let long_ago = now.saturating_sub(USAGE_KEPT).unwrap_or(Timestamp::MIN);
    let expired = doc! { "idem.x": { "$lte": now.as_microsecond() } };
    let mut forgotten = 0;
    for collection in [schema::VERIFICATIONS, schema::MESSAGES] {
        loop {
            let ids = some(server, collection, expired.clone()).await?;
            let more = ids.len() as i64 == BATCH;
            let held = doc! { "_id": { "$in": ids }, "idem.x": { "$lte": now.as_microsecond() } };
            let unset = doc! { "$unset": { "idem": 1 } };
            let changed = server.collection(collection).update_many(held, unset).await?;
            forgotten += usize::try_from(changed.modified_count).unwrap_or(0);
            if !more {
                break;
            }
        }
    }
    let over = doc! { "s": { "$lt": long_ago.as_microsecond() } };
    let deleted = server.collection(schema::USAGE).delete_many(over).await?;
    forgotten += usize::try_from(deleted.deleted_count).unwrap_or(0);
    // Not forgotten, but nothing that grows either.
    lending::settle_days(server, now).await?;
    Ok(forgotten)
}

async fn some(server: &Server, collection: &str, wanted: Document) -> Result<Vec<mongodb::bson::Bson>, Fault> {
    let found = server.collection(collection).find(wanted).projection(doc! { "_id": 1 }).limit(BATCH).await?;
    let rows: Vec<Document> = found.try_collect().await?;
    Ok(rows.into_iter().filter_map(|mut row| row.remove("_id")).collect())
}
