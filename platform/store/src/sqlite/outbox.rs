//! The outbox: news are appended beside what they are of, and stay until they are taken.

use async_trait::async_trait;
use rusqlite::{Connection, params};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::news::News;
use wotp_core::ports::{NewsKey, Outbox, StoreError};

use super::SqliteStore;
use super::fault::Fault;

#[async_trait]
impl Outbox for SqliteStore {
    async fn news(&self, limit: usize) -> Result<Vec<(NewsKey, News)>, StoreError> {
        self.readers
            .read_many(move |connection| {
                // Not `LIMIT`: what cannot be read stays at the head, and must not fill every batch.
                let mut find = connection.prepare_cached("SELECT number, doc FROM outbox ORDER BY number")?;
                let mut rows = find.query([])?;
                let mut all = Vec::new();
                while all.len() < limit
                    && let Some(row) = rows.next()?
                {
                    let number: i64 = row.get(0)?;
                    match serde_json::from_str::<News>(row.get_ref(1)?.as_str().map_err(rusqlite::Error::from)?) {
                        Ok(news) => all.push((NewsKey::of(&news, Some(number)), news)),
                        // One that cannot be read must not keep all others waiting behind it.
                        Err(error) => tracing::error!(%error, number, "news cannot be read; they stay in the outbox"),
                    }
                }
                Ok(all)
            })
            .await
    }
}

/// Appends what happened to a verification or a message.
pub(super) fn append(connection: &Connection, id: &[u8; 16], version: u64, doc: &str) -> Result<(), Fault> {
    let sql = "INSERT INTO outbox (id, version, doc) VALUES (?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![id, version, doc])?;
    Ok(())
}

/// Takes news; says whether they were there.
pub(super) fn take(connection: &Connection, key: &NewsKey) -> Result<bool, Fault> {
    let sql = "DELETE FROM outbox WHERE number = ? AND id = ? AND version = ?";
    let values = params![key.place, key.item.to_bytes(), key.version];
    Ok(connection.prepare_cached(sql)?.execute(values)? > 0)
}

/// At most `limit` of a tenant's news, by their numbers.
pub(super) fn of_tenant(connection: &Connection, tenant: [u8; 16], limit: usize) -> Result<Vec<i64>, Fault> {
    // One that is no JSON is an error to look into; `AND` would leave the order of the two to SQLite.
    let sql = "SELECT number FROM outbox WHERE CASE WHEN json_valid(doc) THEN doc ->> '$.tenant' END = ? LIMIT ?";
    let values = params![TenantId::from_bytes(tenant).to_string(), i64::try_from(limit).unwrap_or(i64::MAX)];
    let mut statement = connection.prepare_cached(sql)?;
    Ok(statement.query_map(values, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// Takes news away, whatever they say.
pub(super) fn remove(connection: &Connection, number: i64) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM outbox WHERE number = ?")?.execute([number])?;
    Ok(())
}
