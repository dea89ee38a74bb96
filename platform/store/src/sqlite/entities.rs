//! Entities: one table for all kinds, and two by which they are found.

use async_trait::async_trait;
use rusqlite::types::{ToSql, Value};
use rusqlite::{Connection, Error, OptionalExtension as _, Row, ffi, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use wotp_core::domain::Timestamp;
use wotp_core::domain::known_fields;
use wotp_core::domain::service::Service;
use wotp_core::ports::{Change, CommitError, Entities, EntityList, EntityRow, IndexKey, Owner, StoreError, Visit};

use super::SqliteStore;
use super::fault::Fault;
use super::keys;
use super::outbox;
use super::store::{insert_key, insert_service, insert_tenant};

/// What is due of a kind.
const DUE: &str = "SELECT owner, id, version, wake_at, doc FROM entity
                   WHERE kind = ? AND wake_at <= ? ORDER BY wake_at LIMIT ?";
/// What an owner has with a value in an index. A cross join is walked in the order in which it is written.
const LISTED: &str = "SELECT entity.owner, entity.id, version, wake_at, doc FROM entity_key
                      INDEXED BY entity_key_owned CROSS JOIN entity USING (kind, owner, id)
                      WHERE entity_key.kind = ? AND name = ? AND value = ? AND entity_key.owner = ?";
/// Why a commit is given up.
pub(super) enum Setback {
    Changed,
    Taken(&'static str, &'static str),
}

impl From<Setback> for CommitError {
    fn from(setback: Setback) -> Self {
        match setback {
            Setback::Changed => Self::Changed,
            Setback::Taken(kind, index) => Self::Taken { kind, index },
        }
    }
}

#[async_trait]
impl Entities for SqliteStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        if changes.is_empty() {
            return Ok(());
        }
        let outcome = self
            .writer
            .submit(move |work| {
                // What was made before the change that is refused goes again, and nothing of others': they
                // share the transaction. Of a fault all of them hear.
                work.connection.prepare_cached("SAVEPOINT changes")?.execute([])?;
                let mut setback = None;
                for change in &changes {
                    setback = apply(work.connection, change)?;
                    if setback.is_some() {
                        work.connection.prepare_cached("ROLLBACK TO changes")?.execute([])?;
                        break;
                    }
                }
                work.connection.prepare_cached("RELEASE changes")?.execute([])?;
                Ok(setback)
            })
            .await?;
        outcome.map_or(Ok(()), |setback| Err(setback.into()))
    }

    async fn find_entity(
        &self,
        kind: &'static str,
        owner: Owner,
        id: [u8; 16],
    ) -> Result<Option<EntityRow>, StoreError> {
        self.readers.read(|connection| {
            let sql = "SELECT owner, id, version, wake_at, doc FROM entity WHERE kind = ? AND owner = ? AND id = ?";
            let mut find = connection.prepare_cached(sql)?;
            find.query_and_then(params![kind, owner.to_bytes(), id], |row| read(kind, row))?.next().transpose()
        })
    }

    async fn find_unique(&self, kind: &'static str, key: &IndexKey) -> Result<Option<EntityRow>, StoreError> {
        self.readers.read(|connection| {
            let sql = "SELECT entity.owner, entity.id, version, wake_at, doc FROM entity_unique
                       JOIN entity USING (kind, owner, id) WHERE kind = ? AND name = ? AND value = ?";
            let mut find = connection.prepare_cached(sql)?;
            find.query_and_then(params![kind, key.index, key.value], |row| read(kind, row))?.next().transpose()
        })
    }

    async fn list_entities(&self, kind: &'static str, list: &EntityList) -> Result<Vec<EntityRow>, StoreError> {
        let list = list.clone();
        self.readers
            .read_many(move |connection| {
                let (sql, values) = listing(kind, &list);
                let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
                let mut statement = connection.prepare_cached(&sql)?;
                statement.query_and_then(&*values, |row| read_or_bare(kind, row))?.collect()
            })
            .await
    }

    async fn find_listed(
        &self,
        kind: &'static str,
        owner: Owner,
        keys: Vec<IndexKey>,
    ) -> Result<Vec<EntityRow>, StoreError> {
        self.readers.read(|connection| {
            let mut find = connection.prepare_cached(LISTED)?;
            let mut found = Vec::new();
            for key in &keys {
                let values = params![kind, key.index, key.value, owner.to_bytes()];
                for row in find.query_and_then(values, |row| read_or_bare(kind, row))? {
                    found.push(row?);
                }
            }
            Ok(found)
        })
    }

    async fn count_listed(&self, kind: &'static str, key: &IndexKey, limit: usize) -> Result<usize, StoreError> {
        self.readers.read(|connection| {
            let sql = "SELECT count(*) FROM (SELECT 1 FROM entity_key
                       WHERE kind = ? AND name = ? AND value = ? LIMIT ?)";
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut count = connection.prepare_cached(sql)?;
            let counted: i64 = count.query_row(params![kind, key.index, key.value, limit], |row| row.get(0))?;
            Ok(usize::try_from(counted).unwrap_or(0))
        })
    }

    async fn visit_entities(&self, kind: &'static str, list: &EntityList, mut visit: Visit) -> Result<(), StoreError> {
        let (sql, values) = listing(kind, list);
        let run = move |connection: &Connection| {
            let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query(&*values)?;
            while let Some(row) = rows.next()? {
                if visit(read_or_bare(kind, row)?).is_break() {
                    break;
                }
            }
            Ok(())
        };
        self.readers.scan(list.owner.and_then(Owner::tenant), run).await
    }

    async fn due_entities(
        &self,
        kind: &'static str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<EntityRow>, StoreError> {
        self.readers
            .read_many(move |connection| {
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let mut due = connection.prepare_cached(DUE)?;
                due.query_and_then(params![kind, now.as_microsecond(), limit], |row| read_or_bare(kind, row))?.collect()
            })
            .await
    }

    async fn put_off(
        &self,
        kind: &'static str,
        owner: Owner,
        id: [u8; 16],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer
            .submit(move |work| {
                let sql = "UPDATE entity SET wake_at = ? WHERE kind = ? AND owner = ? AND id = ? AND wake_at <= ?";
                let (until, now) = (until.as_microsecond(), now.as_microsecond());
                work.connection.prepare_cached(sql)?.execute(params![until, kind, owner.to_bytes(), id, now])?;
                Ok(())
            })
            .await
    }
}

/// The statement that lists, and what it is given.
fn listing(kind: &str, list: &EntityList) -> (String, Vec<Value>) {
    let mut values: Vec<Value> = vec![kind.to_owned().into()];
    let mut sql = String::from("SELECT entity.owner, entity.id, version, wake_at, doc FROM ");
    // Where ids and owners are looked at: in the index that is walked.
    let walked = match &list.by {
        Some(by) => {
            // A cross join is walked in the order in which it is written.
            sql.push_str("entity_key");
            if list.owner.is_some() {
                // Others may have any number with the same value, and their ids come between.
                sql.push_str(" INDEXED BY entity_key_owned");
            }
            sql.push_str(" CROSS JOIN entity USING (kind, owner, id)");
            sql.push_str(" WHERE entity_key.kind = ? AND name = ? AND value = ?");
            values.push(by.index.to_owned().into());
            values.push(by.value.clone().into());
            "entity_key"
        }
        None => {
            sql.push_str("entity WHERE kind = ?");
            "entity"
        }
    };
    for (condition, value) in
        [("owner = ?", list.owner.map(Owner::to_bytes)), ("id >= ?", list.from), ("id < ?", list.before)]
    {
        if let Some(value) = value {
            sql.push_str(&format!(" AND {walked}.{condition}"));
            values.push(value.to_vec().into());
        }
    }
    for text in list.texts() {
        sql.push_str(" AND instr(doc, ?) > 0");
        values.push(text.into());
    }
    sql.push_str(&format!(" ORDER BY {walked}.id {} LIMIT ?", if list.newest_first { "DESC" } else { "ASC" }));
    values.push(i64::try_from(list.limit).unwrap_or(i64::MAX).into());
    (sql, values)
}

/// One whose fields are no JSON has none: it is damaged to whoever reads it, and keeps no others from being read.
fn read_or_bare(kind: &'static str, row: &Row<'_>) -> Result<EntityRow, Fault> {
    let doc = row.get_ref(4)?.as_str().ok().and_then(|doc| serde_json::from_str(doc).ok());
    read_with(kind, row, doc.unwrap_or_default())
}

/// What is read carries no keys: what is there is read to be looked at, and its kind knows them.
fn read(kind: &'static str, row: &Row<'_>) -> Result<EntityRow, Fault> {
    let doc = serde_json::from_str(row.get_ref(4)?.as_str().map_err(Error::from)?)?;
    read_with(kind, row, doc)
}

fn read_with(kind: &'static str, row: &Row<'_>, doc: Map<String, Json>) -> Result<EntityRow, Fault> {
    let wake_at: Option<i64> = row.get(3)?;
    Ok(EntityRow {
        kind,
        owner: Owner::from_bytes(row.get(0)?),
        id: row.get(1)?,
        version: row.get(2)?,
        unique: Vec::new(),
        listed: Vec::new(),
        wake_at: wake_at.and_then(|moment| Timestamp::from_microsecond(moment).ok()),
        doc,
    })
}

pub(super) fn apply(connection: &Connection, change: &Change) -> Result<Option<Setback>, Fault> {
    let changed = |rows: usize| Ok(if rows > 0 { None } else { Some(Setback::Changed) });
    match change {
        Change::Insert(row) => match version(connection, row)? {
            Some(_) => Ok(Some(Setback::Taken(row.kind, "id"))),
            None => write(connection, row, 1),
        },
        Change::Replace(row) => match version(connection, row)? {
            Some(version) if version == row.version => write(connection, row, version.saturating_add(1)),
            _ => Ok(Some(Setback::Changed)),
        },
        Change::Put(row) => {
            let version = version(connection, row)?.unwrap_or(0);
            write(connection, row, version.saturating_add(1))
        }
        Change::Delete(row) => match version(connection, row)? {
            Some(version) if version == row.version => {
                remove(connection, row.kind, row.owner, row.id)?;
                Ok(None)
            }
            _ => Ok(Some(Setback::Changed)),
        },
        Change::InsertTenant(tenant) => {
            taken("tenant", insert_tenant(connection, tenant.id, &serde_json::to_string(tenant)?))
        }
        Change::ReplaceTenant(tenant) => {
            let mut next = tenant.clone();
            next.version = tenant.version.saturating_add(1);
            let known = "SELECT doc FROM tenant WHERE id = ?";
            let doc = replaced(connection, known, &[&tenant.id.to_bytes()], &*next)?;
            let sql = "UPDATE tenant SET doc = ? WHERE id = ? AND coalesce(doc ->> '$.version', 0) = ?";
            changed(connection.prepare_cached(sql)?.execute(params![doc, tenant.id.to_bytes(), tenant.version])?)
        }
        Change::InsertService(service) => {
            taken("service", insert_service(connection, service, &serde_json::to_string(service)?))
        }
        Change::ReplaceService(service) => changed(replace_service(connection, service)?),
        Change::InsertKey(key, hash) => {
            taken("API key", insert_key(connection, key, hash, &serde_json::to_string(key)?))
        }
        Change::TakeNews(key) => Ok(if outbox::take(connection, key)? { None } else { Some(Setback::Changed) }),
        Change::ReplaceKey(key) => {
            let mut next = key.clone();
            next.version = key.version.saturating_add(1);
            let known = "SELECT doc FROM api_key WHERE tenant = ? AND id = ?";
            let doc = replaced(connection, known, &[&key.tenant.to_bytes(), &key.id.to_bytes()], &*next)?;
            let sql = "UPDATE api_key SET doc = ?, over_at = ?
                       WHERE tenant = ? AND id = ? AND coalesce(doc ->> '$.version', 0) = ?";
            changed(connection.prepare_cached(sql)?.execute(params![
                doc,
                keys::over_at(&next),
                key.tenant.to_bytes(),
                key.id.to_bytes(),
                key.version
            ])?)
        }
        Change::DeleteKey(key) => {
            let sql = "DELETE FROM api_key WHERE tenant = ? AND id = ? AND coalesce(doc ->> '$.version', 0) = ?";
            let values = params![key.tenant.to_bytes(), key.id.to_bytes(), key.version];
            changed(connection.prepare_cached(sql)?.execute(values)?)
        }
    }
}

/// A service that still has this version becomes this, with the next version; says how many did.
pub(super) fn replace_service(connection: &Connection, service: &Service) -> Result<usize, Fault> {
    let mut next = service.clone();
    next.version = service.version.saturating_add(1);
    let (tenant, id) = (service.tenant.to_bytes(), service.id.to_bytes());
    let doc = replaced(connection, "SELECT doc FROM service WHERE tenant = ? AND id = ?", &[&tenant, &id], &next)?;
    let sql = "UPDATE service SET version = ?, doc = ? WHERE tenant = ? AND id = ? AND version = ?";
    Ok(connection.prepare_cached(sql)?.execute(params![next.version, doc, tenant, id, service.version])?)
}

/// The document of what replaces the one that `known` finds: its own fields, and those that a newer program added.
fn replaced<T: Serialize + DeserializeOwned>(
    connection: &Connection,
    known: &str,
    values: &[&dyn ToSql],
    next: &T,
) -> Result<String, Fault> {
    let mut doc = match serde_json::to_value(next)? {
        Json::Object(doc) => doc,
        _ => unreachable!("it is a struct with named fields"),
    };
    let stored: Option<String> = connection.prepare_cached(known)?.query_row(values, |row| row.get(0)).optional()?;
    let stored: Map<String, Json> = stored.map_or(Ok(Map::new()), |stored| serde_json::from_str(&stored))?;
    let fields = known_fields::of::<T>();
    doc.extend(stored.into_iter().filter(|(name, _)| !fields.contains(&name.as_str())));
    Ok(Json::Object(doc).to_string())
}

/// Nothing, or that its id is taken.
fn taken(kind: &'static str, inserted: Result<(), Fault>) -> Result<Option<Setback>, Fault> {
    match inserted {
        Ok(()) => Ok(None),
        Err(Fault::Sql(Error::SqliteFailure(
            ffi::Error { extended_code: ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_UNIQUE, .. },
            _,
        ))) => Ok(Some(Setback::Taken(kind, "id"))),
        Err(fault) => Err(fault),
    }
}

fn version(connection: &Connection, row: &EntityRow) -> Result<Option<u64>, Fault> {
    let mut find = connection.prepare_cached("SELECT version FROM entity WHERE kind = ? AND owner = ? AND id = ?")?;
    Ok(find.query_row(params![row.kind, row.owner.to_bytes(), row.id], |row| row.get(0)).optional()?)
}

fn write(connection: &Connection, row: &EntityRow, version: u64) -> Result<Option<Setback>, Fault> {
    let owner = row.owner.to_bytes();
    forget_keys(connection, row.kind, row.owner, row.id)?;
    for key in &row.unique {
        let sql = "INSERT OR IGNORE INTO entity_unique (kind, name, value, owner, id) VALUES (?, ?, ?, ?, ?)";
        let free = connection.prepare_cached(sql)?.execute(params![row.kind, key.index, key.value, owner, row.id])?;
        if free == 0 {
            return Ok(Some(Setback::Taken(row.kind, key.index)));
        }
    }
    for key in &row.listed {
        let sql = "INSERT OR IGNORE INTO entity_key (kind, name, value, id, owner) VALUES (?, ?, ?, ?, ?)";
        connection.prepare_cached(sql)?.execute(params![row.kind, key.index, key.value, row.id, owner])?;
    }
    let sql = "INSERT OR REPLACE INTO entity (kind, owner, id, version, wake_at, doc) VALUES (?, ?, ?, ?, ?, ?)";
    connection.prepare_cached(sql)?.execute(params![
        row.kind,
        owner,
        row.id,
        version,
        row.wake_at.map(Timestamp::as_microsecond),
        serde_json::to_string(&row.doc)?
    ])?;
    Ok(None)
}

fn forget_keys(connection: &Connection, kind: &str, owner: Owner, id: [u8; 16]) -> Result<(), Fault> {
    for sql in [
        "DELETE FROM entity_unique WHERE kind = ? AND owner = ? AND id = ?",
        "DELETE FROM entity_key WHERE kind = ? AND owner = ? AND id = ?",
    ] {
        connection.prepare_cached(sql)?.execute(params![kind, owner.to_bytes(), id])?;
    }
    Ok(())
}

pub(super) fn remove(connection: &Connection, kind: &str, owner: Owner, id: [u8; 16]) -> Result<(), Fault> {
    forget_keys(connection, kind, owner, id)?;
    connection.prepare_cached("DELETE FROM entity WHERE kind = ? AND owner = ? AND id = ?")?.execute(params![
        kind,
        owner.to_bytes(),
        id
    ])?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use wotp_core::testing::store::{
        damaged_things_are_listed_without_fields, damaged_things_that_are_due_can_be_put_off,
    };

    use super::super::OpenOptions;
    use super::super::erase;
    use super::super::schema;
    use super::*;

    /// In which only what the owner has is walked.
    const OWNED_KEYS: &str = "INDEX entity_key_owned (kind=? AND name=? AND value=? AND owner=?";

    fn plan(connection: &Connection, sql: &str, values: usize) -> String {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let rows =
            explain.query_map(rusqlite::params_from_iter(vec![1; values]), |row| row.get::<_, String>(3)).unwrap();
        rows.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("; ")
    }

    #[test]
    fn every_listing_walks_an_index_in_its_order() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let _store = SqliteStore::open(path.clone(), OpenOptions::default()).unwrap();
        let connection = schema::connect_to_read(&path).unwrap();
        let owner = Some(Owner::Platform);
        for (owner, by, index) in [
            (owner, None, "PRIMARY KEY (owner=? AND kind=?"),
            (None, None, "INDEX entity_kind (kind=?"),
            (None, Some(IndexKey::new("tag", "a")), "PRIMARY KEY (kind=? AND name=? AND value=?"),
            (owner, Some(IndexKey::new("tag", "a")), OWNED_KEYS),
        ] {
            for (from, before) in
                [(None, None), (Some([1; 16]), None), (None, Some([1; 16])), (Some([1; 16]), Some([1; 16]))]
            {
                for newest_first in [false, true] {
                    let holds = vec![("name", "a".to_owned())];
                    let list = EntityList { owner, by: by.clone(), from, before, holds, newest_first, limit: 9 };
                    let (sql, values) = listing("thing", &list);
                    let plan = plan(&connection, &sql, values.len());
                    assert!(plan.contains(index) && !plan.contains("TEMP B-TREE"), "{plan}: {sql}");
                    // As far as the range goes, and no further.
                    let ranged = from.is_some() || before.is_some();
                    assert!(!ranged || plan.contains("id>?") || plan.contains("id<?"), "{plan}: {sql}");
                }
            }
        }
        let listed = plan(&connection, LISTED, 4);
        assert!(listed.contains(OWNED_KEYS), "{listed}");
        let due = plan(&connection, DUE, 3);
        assert!(due.contains("INDEX entity_wake (kind=? AND wake_at<?)") && !due.contains("TEMP B-TREE"), "{due}");
        let erased = plan(&connection, erase::OWNED, 2);
        assert!(erased.contains("PRIMARY KEY (owner=?)"), "{erased}");
    }

    #[tokio::test]
    async fn one_that_is_damaged_has_no_fields_and_keeps_no_others_from_being_listed() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let store = SqliteStore::open(path.clone(), OpenOptions::default()).unwrap();
        let connection = Connection::open(&path).unwrap();
        for (n, doc) in [(1_u8, "'{'"), (2, "'{\"a\":1}'"), (3, "CAST(x'ff' AS TEXT)")] {
            let sql = format!("INSERT INTO entity (kind, owner, id, version, doc) VALUES ('thing', ?, ?, 1, {doc})");
            connection.execute(&sql, params![[0_u8; 16], [n; 16]]).unwrap();
            let sql = "INSERT INTO entity_key (kind, name, value, id, owner) VALUES ('thing', 'tag', x'61', ?, ?)";
            connection.execute(sql, params![[n; 16], [0_u8; 16]]).unwrap();
        }
        damaged_things_are_listed_without_fields(&store).await;
    }

    #[tokio::test]
    async fn one_that_is_due_and_damaged_has_no_fields_and_can_be_put_off() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let store = SqliteStore::open(path.clone(), OpenOptions::default()).unwrap();
        let connection = Connection::open(&path).unwrap();
        for (n, doc) in [(1_u8, "{"), (2, "{\"a\":1}")] {
            let sql = "INSERT INTO entity (kind, owner, id, version, wake_at, doc) VALUES ('thing', ?, ?, 1, 0, ?)";
            connection.execute(sql, params![[0_u8; 16], [n; 16], doc]).unwrap();
        }
        damaged_things_that_are_due_can_be_put_off(&store).await;
    }
}
