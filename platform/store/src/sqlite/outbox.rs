//! The outbox: news are appended beside what they are of, and stay until they are taken.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
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
                let mut find =
                    connection.prepare_cached("SELECT number, id, version, doc FROM outbox ORDER BY number")?;
                let mut rows = find.query([])?;
                let mut all = Vec::new();
                while all.len() < limit
                    && let Some(row) = rows.next()?
                {
                    let number: i64 = row.get(0)?;
                    match read(row)? {
                        Some(news) => all.push((NewsKey::of(&news, Some(number)), news)),
                        // One that cannot be read must not keep all others waiting behind it.
                        None => tracing::error!(number, "news cannot be read; they stay in the outbox"),
                    }
                }
                Ok(all)
            })
            .await
    }
}

/// The news in a row; none where they are not what this program writes, or not those by whose verification or message
/// and version they would be taken: what cannot be taken must not be folded again and again.
fn read(row: &Row<'_>) -> Result<Option<News>, Fault> {
    let news = row.get_ref(3)?.as_str().ok().and_then(|text| serde_json::from_str::<News>(text).ok());
    let (id, version) = (row.get_ref(1)?.as_blob().ok(), row.get::<_, u64>(2).ok());
    Ok(news.filter(|news| id == Some(news.item().to_bytes().as_slice()) && version == Some(news.version())))
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

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use wotp_core::domain::news::What;
    use wotp_core::ports::{Change, Entities as _, Store as _};
    use wotp_core::testing::builders::{a_tenant, a_verification, admission, seconds};

    use super::super::OpenOptions;
    use super::*;

    #[tokio::test]
    async fn news_that_cannot_be_read_or_taken_keep_no_others_waiting() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let store = SqliteStore::open(path.clone(), OpenOptions::default()).unwrap();
        let tenant = a_tenant().id;
        for second in 0..6 {
            let verification = a_verification(tenant, "+12025550123", seconds(second));
            store.tenant(tenant).admit(admission(verification)).await.unwrap();
        }
        let connection = Connection::open(&path).unwrap();
        for (number, damage) in [
            (1, "doc = '{'"),
            (2, "doc = CAST(x'7bff7d' AS TEXT)"),
            (3, "doc = json_set(doc, '$.version', 7)"),
            (4, "id = zeroblob(16)"),
            (5, "version = -1"),
        ] {
            let sql = format!("UPDATE outbox SET {damage} WHERE number = ?");
            assert_eq!(connection.execute(&sql, [number]).unwrap(), 1);
        }
        let news = store.news(9).await.unwrap();
        assert_eq!((news.len(), news[0].1.happenings()[0].what), (1, What::Started));
        assert_eq!(store.news(1).await.unwrap(), news, "it fills no batch either");
        store.commit(vec![Change::TakeNews(Box::new(news[0].0))]).await.unwrap();
        assert_eq!(store.news(9).await.unwrap(), []);
    }
}
