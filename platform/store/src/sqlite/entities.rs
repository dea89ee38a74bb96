//! Entities: one table for all kinds, and two by which they are found.

use async_trait::async_trait;
use rusqlite::types::{ToSql, Value};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::ports::{Change, CommitError, Entities, EntityList, EntityRow, IndexKey, Owner, StoreError};

use super::SqliteStore;
use super::fault::Fault;
use super::store::{insert_key, insert_service};

/// Why a commit is given up, found out before anything is written.
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
        let outcome = self
            .writer
            .submit(move |work| {
                // A command that is refused leaves nothing behind, and others share its transaction.
                work.connection.prepare_cached("SAVEPOINT changes")?.execute([])?;
                let made = changes.iter().try_fold(None, |setback: Option<Setback>, change| match setback {
                    Some(setback) => Ok::<_, Fault>(Some(setback)),
                    None => apply(work.connection, change),
                })?;
                if made.is_some() {
                    work.connection.prepare_cached("ROLLBACK TO changes")?.execute([])?;
                }
                work.connection.prepare_cached("RELEASE changes")?.execute([])?;
                Ok(made)
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
                let mut values: Vec<Value> = vec![kind.to_owned().into()];
                let mut sql = String::from("SELECT entity.owner, entity.id, version, wake_at, doc FROM ");
                match &list.by {
                    Some(by) => {
                        sql.push_str(
                            "entity_key JOIN entity USING (kind, owner, id)
                             WHERE kind = ? AND name = ? AND value = ?",
                        );
                        values.push(by.index.to_owned().into());
                        values.push(by.value.clone().into());
                    }
                    None => sql.push_str("entity WHERE kind = ?"),
                }
                let mut bound = |condition: &str, value: Option<[u8; 16]>| {
                    if let Some(value) = value {
                        sql.push_str(condition);
                        values.push(value.to_vec().into());
                    }
                };
                let by_key = list.by.is_some();
                bound(" AND entity.owner = ?", list.owner.map(Owner::to_bytes));
                bound(if by_key { " AND entity_key.id >= ?" } else { " AND id >= ?" }, list.from);
                bound(if by_key { " AND entity_key.id < ?" } else { " AND id < ?" }, list.before);
                sql.push_str(if by_key { " ORDER BY entity_key.id" } else { " ORDER BY id" });
                sql.push_str(if list.newest_first { " DESC LIMIT ?" } else { " LIMIT ?" });
                values.push(i64::try_from(list.limit).unwrap_or(i64::MAX).into());
                let values: Vec<&dyn ToSql> = values.iter().map(|value| value as &dyn ToSql).collect();
                let mut statement = connection.prepare_cached(&sql)?;
                statement.query_and_then(&*values, |row| read(kind, row))?.collect()
            })
            .await
    }

    async fn due_entities(
        &self,
        kind: &'static str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<EntityRow>, StoreError> {
        self.readers
            .read_many(move |connection| {
                let sql = "SELECT owner, id, version, wake_at, doc FROM entity
                           WHERE kind = ? AND wake_at <= ? ORDER BY wake_at LIMIT ?";
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let mut due = connection.prepare_cached(sql)?;
                due.query_and_then(params![kind, now.as_microsecond(), limit], |row| read(kind, row))?.collect()
            })
            .await
    }

    async fn erase_entities(&self, tenant: TenantId, limit: usize) -> Result<usize, StoreError> {
        self.writer
            .submit(move |work| {
                let connection = work.connection;
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let mut find = connection.prepare_cached("SELECT kind, id FROM entity WHERE owner = ? LIMIT ?")?;
                let found = find.query_map(params![tenant.to_bytes(), limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let found: Vec<(String, [u8; 16])> = found.collect::<rusqlite::Result<_>>()?;
                for (kind, id) in &found {
                    remove(connection, kind, Owner::Tenant(tenant), *id)?;
                }
                Ok(found.len())
            })
            .await
    }
}

/// What is read carries no keys: what is there is read to be looked at, and its kind knows them.
fn read(kind: &'static str, row: &Row<'_>) -> Result<EntityRow, Fault> {
    let wake_at: Option<i64> = row.get(3)?;
    Ok(EntityRow {
        kind,
        owner: Owner::from_bytes(row.get(0)?),
        id: row.get(1)?,
        version: row.get(2)?,
        unique: Vec::new(),
        listed: Vec::new(),
        wake_at: wake_at.and_then(|moment| Timestamp::from_microsecond(moment).ok()),
        doc: serde_json::from_str(row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?)?,
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
            let found = connection
                .prepare_cached("INSERT OR IGNORE INTO tenant (id, doc) VALUES (?, ?)")?
                .execute(params![tenant.id.to_bytes(), serde_json::to_string(tenant)?])?;
            Ok(if found > 0 { None } else { Some(Setback::Taken("tenant", "id")) })
        }
        Change::ReplaceTenant(tenant) => {
            let mut next = tenant.clone();
            next.version = tenant.version.saturating_add(1);
            let sql = "UPDATE tenant SET doc = ? WHERE id = ? AND coalesce(doc ->> '$.version', 0) = ?";
            changed(connection.prepare_cached(sql)?.execute(params![
                serde_json::to_string(&next)?,
                tenant.id.to_bytes(),
                tenant.version
            ])?)
        }
        Change::InsertService(service) => {
            insert_service(connection, service, &serde_json::to_string(service)?)?;
            Ok(None)
        }
        Change::ReplaceService(service) => {
            let mut next = service.clone();
            next.version = service.version.saturating_add(1);
            let sql = "UPDATE service SET version = ?, doc = ? WHERE tenant = ? AND id = ? AND version = ?";
            changed(connection.prepare_cached(sql)?.execute(params![
                next.version,
                serde_json::to_string(&next)?,
                service.tenant.to_bytes(),
                service.id.to_bytes(),
                service.version
            ])?)
        }
        Change::InsertKey(key, hash) => {
            insert_key(connection, key, hash, &serde_json::to_string(key)?)?;
            Ok(None)
        }
        Change::ReplaceKey(key) => {
            let sql = "UPDATE api_key SET doc = ? WHERE tenant = ? AND id = ?";
            changed(connection.prepare_cached(sql)?.execute(params![
                serde_json::to_string(key)?,
                key.tenant.to_bytes(),
                key.id.to_bytes()
            ])?)
        }
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
