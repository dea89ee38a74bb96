//! Keys, found without reading all of them: a tenant may have made any number that are over.
//!
//! What is asked of is their fields as they are stored, and not a field beside them, which an older node would leave as
//! it was. Moments are texts there, so they are compared to the second as texts, and then as what they say.

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, doc};
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::ApiKey;
use wotp_core::domain::id::{ApiKeyId, TenantId};
use wotp_core::ports::Page;

use super::fault::Fault;
use super::row::binary;
use super::store::of;
use super::{Server, schema};

/// Keys that are fetched together where many are looked at.
const FETCHED: u32 = 500;

pub(super) async fn find(server: &Server, tenant: TenantId, id: ApiKeyId) -> Result<Option<ApiKey>, Fault> {
    let wanted = doc! { "t": binary(&tenant.to_bytes()), "id": binary(&id.to_bytes()) };
    server.collection(schema::API_KEYS).find_one(wanted).await?.map(of).transpose()
}

/// A page of a tenant's, newest first.
pub(super) async fn page(
    server: &Server,
    tenant: TenantId,
    after: Option<ApiKeyId>,
    limit: usize,
) -> Result<Page<ApiKey>, Fault> {
    let mut wanted = doc! { "t": binary(&tenant.to_bytes()) };
    if let Some(after) = after {
        wanted.insert("id", doc! { "$lt": binary(&after.to_bytes()) });
    }
    let batch = u32::try_from(limit.saturating_add(1)).unwrap_or(FETCHED).min(FETCHED);
    let keys = server.collection(schema::API_KEYS);
    let mut found = keys.find(wanted).sort(doc! { "id": -1 }).batch_size(batch).await?;
    let mut page = Page { items: Vec::new(), more: false };
    while !page.more
        && let Some(row) = found.try_next().await?
    {
        let Some(key) = readable(row) else { continue };
        if page.items.len() == limit {
            page.more = true;
        } else {
            page.items.push(key);
        }
    }
    Ok(page)
}

/// A tenant's that are not over, newest first.
pub(super) async fn working(server: &Server, tenant: TenantId, now: Timestamp) -> Result<Vec<ApiKey>, Fault> {
    let found = server.collection(schema::API_KEYS).find(that_work(tenant, now)).await?;
    let rows: Vec<Document> = found.try_collect().await?;
    let mut working: Vec<ApiKey> = rows.into_iter().filter_map(readable).filter(|key| !key.is_over(now)).collect();
    working.sort_unstable_by_key(|key| std::cmp::Reverse(key.id));
    Ok(working)
}

fn that_work(tenant: TenantId, now: Timestamp) -> Document {
    doc! {
        "t": binary(&tenant.to_bytes()),
        "doc.revoked_at": null,
        // Also those that have none. An `$or` would walk those that expired.
        "doc.expires_at": { "$not": { "$lt": second(now) } },
    }
}

/// Everybody's that were over before a moment, the longest over first.
pub(super) async fn over(server: &Server, before: Timestamp, limit: usize) -> Result<Vec<ApiKey>, Fault> {
    let mut over = Vec::new();
    for moment in MOMENTS {
        let (wanted, sort) = that_are_over(moment, before);
        let mut found = server.collection(schema::API_KEYS).find(wanted).sort(sort).batch_size(FETCHED).await?;
        let mut some = 0;
        // What cannot be read stays at the head, and must not fill every batch.
        while some < limit
            && let Some(row) = found.try_next().await?
        {
            let key = readable(row);
            some += usize::from(key.is_some());
            over.extend(key);
        }
    }
    over.sort_unstable_by_key(|key: &ApiKey| (key.over_at(), key.id));
    // Revoked, and its time over too.
    over.dedup_by_key(|key| key.id);
    over.truncate(limit);
    Ok(over)
}

/// What ends a key.
const MOMENTS: [&str; 2] = ["doc.revoked_at", "doc.expires_at"];

fn that_are_over(moment: &str, before: Timestamp) -> (Document, Document) {
    (doc! { moment: { "$lt": second(before) } }, doc! { moment: 1 })
}

/// The text with which all moments of a second begin, and which comes after all that are earlier.
fn second(moment: Timestamp) -> String {
    moment.strftime("%Y-%m-%dT%H:%M:%S").to_string()
}

/// One that cannot be read works for nobody, and keeps no others from being found.
fn readable(row: Document) -> Option<ApiKey> {
    let id = row.get_binary_generic("id").ok().and_then(|id| <[u8; 16]>::try_from(id.as_slice()).ok());
    let key = of(row).ok();
    if key.is_none() {
        let id = id.map(|id| ApiKeyId::from_bytes(id).to_string()).unwrap_or_default();
        tracing::error!(id, "an API key cannot be read; it is passed over");
    }
    key
}

#[cfg(test)]
mod tests {
    use wotp_core::domain::mode::Mode;
    use wotp_core::ports::Store as _;
    use wotp_core::testing::builders::{a_service, a_stored_key, a_tenant, noon, seconds};
    use wotp_core::testing::store::damaged_keys_are_passed_over;
    use wotp_test_servers::MongoDatabase;

    use super::*;
    use crate::mongo::{ConnectOptions, MongoStore};

    async fn fresh() -> (MongoDatabase, MongoStore) {
        let database = MongoDatabase::fresh();
        let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
        (database, store)
    }

    #[tokio::test]
    async fn keys_that_are_over_are_not_walked_to_find_those_that_work() {
        let (database, store) = fresh().await;
        let tenant = a_tenant();
        let mut keys: Vec<_> = (0..60).map(|_| a_stored_key(tenant.id, Mode::Live)).collect();
        for (number, (key, _)) in keys.iter_mut().enumerate() {
            match number {
                0..25 => key.revoked_at = Some(noon()),
                25..50 => key.expires_at = Some(noon()),
                _ => {}
            }
        }
        store.create_tenant(&tenant, &a_service(&tenant), &keys).await.unwrap();
        let examined = |wanted: Document, sort: Document| {
            let find = doc! { "find": schema::API_KEYS, "filter": wanted, "sort": sort };
            let reply = database.run(doc! { "explain": find, "verbosity": "executionStats" }).unwrap();
            reply.get_document("executionStats").unwrap().get_i32("totalDocsExamined").unwrap()
        };
        assert!(examined(that_work(tenant.id, seconds(1)), doc! {}) <= 12);
        for moment in MOMENTS {
            let (wanted, sort) = that_are_over(moment, noon());
            assert_eq!(examined(wanted, sort), 0);
            let (wanted, sort) = that_are_over(moment, seconds(1));
            assert_eq!(examined(wanted, sort), 25);
        }
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_read_keeps_no_others_from_being_found() {
        let (_database, store) = fresh().await;
        let tenant = a_tenant();
        let keys: Vec<_> = (0..2).map(|_| a_stored_key(tenant.id, Mode::Live)).collect();
        store.create_tenant(&tenant, &a_service(&tenant), &keys).await.unwrap();
        let rows = store.server.collection(schema::API_KEYS);
        let damage = doc! { "$set": { "doc.scopes": 5, "doc.expires_at": "1970-01-01T00:00:00Z" } };
        rows.update_one(doc! { "_id": binary(&keys[0].1.0) }, damage).await.unwrap();
        damaged_keys_are_passed_over(&store, &keys[1].0).await;
    }

    #[test]
    fn a_second_comes_before_all_of_its_moments_and_after_all_that_are_earlier() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let begin = second(at("2026-03-15T12:00:01.5Z"));
        for (moment, is_earlier) in [
            ("2026-03-15T12:00:01Z", false),
            ("2026-03-15T12:00:01.000000001Z", false),
            ("2026-03-15T12:00:02Z", false),
            ("2026-03-15T12:00:00.999999999Z", true),
            ("2026-03-15T12:00:00Z", true),
            ("1969-12-31T23:59:59Z", true),
            ("9999-01-01T00:00:00Z", false),
        ] {
            assert_eq!(at(moment).to_string() < begin, is_earlier, "{moment}");
        }
    }
}
