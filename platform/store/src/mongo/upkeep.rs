//! Forgetting what is over.

use futures_util::TryStreamExt as _;
use mongodb::bson::{DateTime, Document, doc};
use wotp_core::domain::Timestamp;

use super::Server;
use super::fault::Fault;
use super::{lending, schema, usage};
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
    loop {
        let ids = some(server, schema::USAGE, counts_over(long_ago)).await?;
        let more = ids.len() as i64 == BATCH;
        let deleted = server.collection(schema::USAGE).delete_many(doc! { "_id": { "$in": ids } }).await?;
        forgotten += usize::try_from(deleted.deleted_count).unwrap_or(0);
        if !more {
            break;
        }
    }
    // Not forgotten, but nothing that grows either.
    lending::settle_days(server, now).await?;
    Ok(forgotten)
}

/// Counts of windows that began before a moment, by the field that has an index: without, all that are kept would be
/// read each time, for nothing.
fn counts_over(before: Timestamp) -> Document {
    doc! { "gone": { "$lt": DateTime::from_millis(usage::gone(before).as_millisecond()) } }
}

async fn some(server: &Server, collection: &str, wanted: Document) -> Result<Vec<mongodb::bson::Bson>, Fault> {
    let found = server.collection(collection).find(wanted).projection(doc! { "_id": 1 }).limit(BATCH).await?;
    let rows: Vec<Document> = found.try_collect().await?;
    Ok(rows.into_iter().filter_map(|mut row| row.remove("_id")).collect())
}

#[cfg(test)]
mod tests {
    use wotp_core::ports::Store as _;
    use wotp_core::testing::builders::{a_tenant, a_verification, admission, noon};
    use wotp_test_servers::MongoDatabase;

    use super::*;
    use crate::mongo::{ConnectOptions, MongoStore};

    #[tokio::test]
    async fn counts_that_are_kept_are_not_read_to_find_those_that_are_over() {
        let database = MongoDatabase::fresh();
        let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
        let tenant = a_tenant().id;
        store.tenant(tenant).admit(admission(a_verification(tenant, "+12025550123", noon()))).await.unwrap();
        let kept = store.server.collection(schema::USAGE).count_documents(doc! {}).await.unwrap();
        assert!(kept > 0, "there is something that could be read");
        let examined = |before: Timestamp| {
            let find = doc! { "find": schema::USAGE, "filter": counts_over(before), "limit": BATCH };
            let reply = database.run(doc! { "explain": find, "verbosity": "executionStats" }).unwrap();
            reply.get_document("executionStats").unwrap().get_i32("totalDocsExamined").unwrap()
        };
        assert_eq!(examined(noon().saturating_sub(USAGE_KEPT).unwrap()), 0);
        assert_eq!(u64::try_from(examined(noon())).unwrap(), kept);
    }
}
