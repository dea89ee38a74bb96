//! Keys, found without reading all of them: a tenant may have made any number that are over.

use rusqlite::{Connection, Row, params};
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::ApiKey;
use wotp_core::domain::id::{ApiKeyId, TenantId};
use wotp_core::ports::Page;

use super::fault::Fault;

/// A page of a tenant's, newest first.
const PAGE: &str = "SELECT id, doc FROM api_key WHERE tenant = ? AND id < ? ORDER BY id DESC";
/// Those of a tenant that are not over.
const WORKING: &str = "SELECT id, doc FROM api_key WHERE tenant = ? AND over_at > ?";
/// Everybody's that are over.
const OVER: &str = "SELECT id, doc FROM api_key WHERE over_at < ? ORDER BY over_at";

/// The column beside a key that says when it is over. One that never is comes after all others.
pub(super) fn over_at(key: &ApiKey) -> i64 {
    key.over_at().map_or(i64::MAX, Timestamp::as_microsecond)
}

pub(super) fn page(
    connection: &Connection,
    tenant: TenantId,
    after: Option<ApiKeyId>,
    limit: usize,
) -> Result<Page<ApiKey>, Fault> {
    // No id comes after all others: its first bytes are a time.
    let after = after.map_or([u8::MAX; 16], ApiKeyId::to_bytes);
    let mut statement = connection.prepare_cached(PAGE)?;
    let mut rows = statement.query(params![tenant.to_bytes(), after])?;
    let mut page = Page { items: Vec::new(), more: false };
    while !page.more
        && let Some(row) = rows.next()?
    {
        let Some(key) = readable(row)? else { continue };
        if page.items.len() == limit {
            page.more = true;
        } else {
            page.items.push(key);
        }
    }
    Ok(page)
}

pub(super) fn working(connection: &Connection, tenant: TenantId, now: Timestamp) -> Result<Vec<ApiKey>, Fault> {
    let mut statement = connection.prepare_cached(WORKING)?;
    let mut rows = statement.query(params![tenant.to_bytes(), now.as_microsecond()])?;
    let mut working = Vec::new();
    while let Some(row) = rows.next()? {
        working.extend(readable(row)?.filter(|key| !key.is_over(now)));
    }
    working.sort_unstable_by_key(|key| std::cmp::Reverse(key.id));
    Ok(working)
}

pub(super) fn over(connection: &Connection, before: Timestamp, limit: usize) -> Result<Vec<ApiKey>, Fault> {
    let mut statement = connection.prepare_cached(OVER)?;
    let mut rows = statement.query([before.as_microsecond()])?;
    let mut over = Vec::new();
    // Not `LIMIT`: what cannot be read stays at the head, and must not fill every batch.
    while over.len() < limit
        && let Some(row) = rows.next()?
    {
        over.extend(readable(row)?);
    }
    Ok(over)
}

/// One that cannot be read works for nobody, and keeps no others from being found.
fn readable(row: &Row<'_>) -> Result<Option<ApiKey>, Fault> {
    let key = row.get_ref(1)?.as_str().ok().and_then(|doc| serde_json::from_str(doc).ok());
    if key.is_none() {
        let id = row.get::<_, [u8; 16]>(0).map(|id| ApiKeyId::from_bytes(id).to_string()).unwrap_or_default();
        tracing::error!(id, "an API key cannot be read; it is passed over");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use wotp_core::domain::mode::Mode;
    use wotp_core::ports::Store as _;
    use wotp_core::testing::builders::{a_service, a_stored_key, a_tenant};
    use wotp_core::testing::store::damaged_keys_are_passed_over;

    use super::super::{OpenOptions, SqliteStore, schema};
    use super::*;

    #[test]
    fn keys_are_found_by_an_index_and_those_that_are_over_are_not_walked() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let _store = SqliteStore::open(path.clone(), OpenOptions::default()).unwrap();
        let connection = schema::connect_to_read(&path).unwrap();
        for (sql, index) in [
            (PAGE, "api_key_id (tenant=? AND id<?)"),
            (WORKING, "api_key_working (tenant=? AND over_at>?)"),
            (OVER, "api_key_over (over_at<?)"),
        ] {
            let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let values = vec![1; sql.matches('?').count()];
            let rows = explain.query_map(rusqlite::params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
            let plan = rows.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ");
            assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}: {sql}");
        }
    }

    #[tokio::test]
    async fn a_key_that_cannot_be_read_keeps_no_others_from_being_found() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let store = SqliteStore::open(path.clone(), OpenOptions::default()).unwrap();
        let tenant = a_tenant();
        let keys: Vec<_> = (0..3).map(|_| a_stored_key(tenant.id, Mode::Live)).collect();
        store.create_tenant(&tenant, &a_service(&tenant), &keys).await.unwrap();
        let connection = Connection::open(&path).unwrap();
        for (key, doc) in [(0, "'{'"), (1, "CAST(x'ff' AS TEXT)")] {
            let sql = format!("UPDATE api_key SET over_at = 0, doc = {doc} WHERE hash = ?");
            connection.execute(&sql, [keys[key].1.0]).unwrap();
        }
        damaged_keys_are_passed_over(&store, &keys[2].0).await;
    }
}
