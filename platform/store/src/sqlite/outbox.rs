//! The outbox: news are appended beside what they are of, and stay until they are taken.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
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

/// News as they lie in the outbox. Numbers are used again once it was empty, so that one alone names nothing.
#[derive(Debug)]
struct Place {
    number: i64,
    id: Vec<u8>,
    version: i64,
}

impl Place {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { number: row.get(0)?, id: row.get(1)?, version: row.get(2)? })
    }

    fn is_there(&self, connection: &Connection) -> Result<bool, Fault> {
        let sql = "SELECT 1 FROM outbox WHERE number = ? AND id = ? AND version = ?";
        Ok(connection.prepare_cached(sql)?.exists(params![self.number, self.id, self.version])?)
    }
}

/// What somebody found who looked through the outbox for a tenant's news.
#[derive(Debug)]
pub(super) struct Look {
    found: Vec<Place>,
    /// The newest that were there.
    last: Option<Place>,
    /// Whether there may be more up to those than were looked for.
    pub(super) is_cut: bool,
}

/// Looks through the outbox, as far as `limit` news of a tenant. After an outage there are very many: this is for beside
/// the writer.
pub(super) fn look(connection: &Connection, tenant: [u8; 16], limit: usize) -> Result<Look, Fault> {
    let newest = "SELECT number, id, version FROM outbox ORDER BY number DESC LIMIT 1";
    let last = connection.prepare_cached(newest)?.query_row([], Place::read).optional()?;
    let found = between(connection, tenant, i64::MIN, last.as_ref().map_or(0, |last| last.number), limit)?;
    Ok(Look { is_cut: found.len() >= limit, found, last })
}

/// At most `limit` of a tenant's news, by their numbers: those of a look that are still there, and what came since.
pub(super) fn of_tenant(
    connection: &Connection,
    tenant: [u8; 16],
    look: &Look,
    limit: usize,
) -> Result<Vec<i64>, Fault> {
    let mut numbers = Vec::new();
    let from = match &look.last {
        // While it is there numbers go up.
        Some(last) if last.is_there(connection)? => {
            for place in look.found.iter().take(limit) {
                if place.is_there(connection)? {
                    numbers.push(place.number);
                }
            }
            last.number.saturating_add(1)
        }
        // It was taken: nobody is behind, and little is there.
        _ => i64::MIN,
    };
    let since = between(connection, tenant, from, i64::MAX, limit.saturating_sub(numbers.len()))?;
    numbers.extend(since.into_iter().map(|place| place.number));
    Ok(numbers)
}

fn between(connection: &Connection, tenant: [u8; 16], from: i64, to: i64, limit: usize) -> Result<Vec<Place>, Fault> {
    // One that is no JSON is an error to look into; `AND` would leave the order of the two to SQLite.
    let sql = "SELECT number, id, version FROM outbox WHERE number BETWEEN ? AND ?
               AND CASE WHEN json_valid(doc) THEN doc ->> '$.tenant' END = ? LIMIT ?";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![from, to, TenantId::from_bytes(tenant).to_string(), limit];
    Ok(statement.query_map(values, Place::read)?.collect::<rusqlite::Result<_>>()?)
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

    #[test]
    fn whoever_erases_walks_over_nothing_that_was_looked_through() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let _store = SqliteStore::open(path.clone(), OpenOptions::default()).unwrap();
        let connection = Connection::open(&path).unwrap();
        let (gone, stays) = (a_tenant().id, a_tenant().id);
        let happens = |tenant: TenantId, version| {
            append(&connection, &[1; 16], version, &format!("{{\"tenant\":\"{tenant}\"}}")).unwrap();
        };
        let found = |look: &Look, limit| of_tenant(&connection, gone.to_bytes(), look, limit).unwrap();
        [gone, stays, gone].into_iter().zip(0..).for_each(|(tenant, version)| happens(tenant, version));
        let look = look(&connection, gone.to_bytes(), 9).unwrap();
        assert_eq!((found(&look, 9), look.is_cut), (vec![1, 3], false));
        assert_eq!(found(&look, 1), [1]);
        let cut = super::look(&connection, gone.to_bytes(), 1).unwrap();
        assert_eq!((found(&cut, 9), cut.is_cut), (vec![1], true), "the third is behind what was looked for");
        happens(stays, 3);
        happens(gone, 4);
        assert_eq!(found(&look, 9), [1, 3, 5], "what came since is found");
        // Nobody changes what is there: were they walked over, it would be found.
        connection
            .execute("UPDATE outbox SET doc = (SELECT doc FROM outbox WHERE number = 1) WHERE number = 2", [])
            .unwrap();
        connection.execute("DELETE FROM outbox WHERE number = 1", []).unwrap();
        assert_eq!(found(&look, 9), [3, 5]);
        // All were taken since, and numbers begin anew.
        connection.execute("DELETE FROM outbox", []).unwrap();
        happens(gone, 5);
        happens(stays, 6);
        assert_eq!(found(&look, 9), [1]);
    }
}
