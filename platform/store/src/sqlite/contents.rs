//! Everything in a file, for somebody who moves it elsewhere: read only, a little at a time.

use std::path::PathBuf;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row, params};
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::KeyHash;
use wotp_core::domain::id::{ConnectionId, TenantId};
use wotp_core::domain::message::Message;
use wotp_core::domain::news::News;
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{Idempotency, StateKey, StateRow, StoreError, TenantAccount, Usage};

use super::SqliteStore;
use super::connection_states;
use super::fault::Fault;
use super::nodes;
use super::read;
use super::record;
use super::record::Table;
use super::schema;
use super::usage::{kind_number, resource_number};
use crate::holding::{Held, Holding, Kind, Repeat, Stored, StoredEntity, WindowUsage, news_key};
use crate::record::USAGE_KEPT;

/// What a file holds at a moment. Nobody may write to it meanwhile: each reading is one of its own.
pub(crate) struct Contents {
    path: PathBuf,
    /// What would be forgotten at this moment (see `upkeep`) is not there any more.
    as_of: Timestamp,
}

/// What reading comes upon.
pub(crate) enum Found {
    Whole(Holding),
    /// What is stored there is not what this program, or any before it, writes.
    Unreadable {
        key: Vec<u8>,
        name: String,
    },
}

impl Found {
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::Whole(holding) => holding.key(),
            Self::Unreadable { key, .. } => key.clone(),
        }
    }
}

impl SqliteStore {
    /// What the file holds, to be moved.
    pub(crate) fn contents(&self, as_of: Timestamp) -> Contents {
        Contents { path: self.path.clone(), as_of }
    }
}

/// Who is told of what is found, and says `false` when that is enough.
type Each<'e> = &'e mut dyn FnMut(Found) -> bool;

impl Contents {
    fn connect(&self) -> Result<Connection, Fault> {
        let connection = schema::connect_to_read(&self.path)?;
        // Ids are sorted, all of them: on disk, so that memory does not depend on how many they are.
        connection.pragma_update(None, "temp_store", "FILE")?;
        Ok(connection)
    }

    /// How many of one kind there are, about: for the progress.
    pub(crate) fn count(&self, kind: Kind) -> Result<u64, StoreError> {
        let connection = self.connect()?;
        Ok(read::count(&connection, &format!("SELECT count(*) FROM {}", table(kind)))?)
    }

    /// How many there are up to a key, that one included. Only of what is many.
    pub(crate) fn count_up_to(&self, kind: Kind, key: Option<&[u8]>) -> Result<u64, StoreError> {
        let connection = self.connect()?;
        let sql = match kind {
            Kind::Verifications => "SELECT count(*) FROM verification WHERE id <= ?",
            Kind::Messages => "SELECT count(*) FROM message WHERE id <= ?",
            Kind::Entities => {
                let Some((kind, owner, id)) = StoredEntity::of_key(key.unwrap_or_default()) else { return Ok(0) };
                let sql =
                    "SELECT count(*) FROM entity WHERE (length(kind), kind, owner, id) <= (length(?1), ?1, ?2, ?3)";
                let count = connection.query_row(sql, params![kind, owner, id], |row| row.get(0));
                return Ok(count.map_err(Fault::from)?);
            }
            Kind::ConnectionStates => {
                let Some((tenant, of, key)) = key.and_then(of_state) else { return Ok(0) };
                let sql = "SELECT count(*) FROM connection_state WHERE (tenant, connection, key) <= (?, ?, ?)";
                let count = connection.query_row(sql, [tenant, of, key], |row| row.get(0));
                return Ok(count.map_err(Fault::from)?);
            }
            _ => return Ok(0),
        };
        let count = connection.query_row(sql, [key.unwrap_or_default()], |row| row.get(0));
        Ok(count.map_err(Fault::from)?)
    }

    /// Idempotency keys that are in force, whether or not their record is there.
    pub(crate) fn count_keys(&self) -> Result<u64, StoreError> {
        let connection = self.connect()?;
        let sql = format!("SELECT count(*) FROM idempotency WHERE expires_at > {}", self.as_of.as_microsecond());
        Ok(read::count(&connection, &sql)?)
    }

    /// SHA-256 of what tells this file from others, and from itself before anything was written to it.
    ///
    /// Each change of a record raises its version, each use a count; what is small is taken whole.
    pub(crate) fn fingerprint(&self) -> Result<[u8; 32], StoreError> {
        let connection = self.connect()?;
        let mut hash = Sha256::new();
        for sql in [
            "SELECT id, doc FROM tenant ORDER BY id",
            "SELECT tenant, id, doc FROM service ORDER BY tenant, id",
            "SELECT hash, doc FROM api_key ORDER BY hash",
            "SELECT key, value FROM key_check ORDER BY key",
            "SELECT name, holder, fence, until FROM lease ORDER BY name",
            "SELECT count(*), sum(used), sum(overage), max(starts) FROM usage",
            "SELECT count(*), max(expires_at) FROM idempotency",
            "SELECT count(*), max(number), min(id), max(id) FROM verification",
            "SELECT sum(version), sum(wake_at % 1000000007) FROM verification_state",
            "SELECT count(*), max(number), min(id), max(id) FROM message",
            "SELECT sum(version), sum(wake_at % 1000000007) FROM message_state",
            "SELECT kind, count(*), sum(version), min(id), max(id), sum(wake_at % 1000000007) FROM entity
             GROUP BY kind ORDER BY kind",
            "SELECT count(*), max(number), sum(version), min(id), max(id) FROM outbox",
            // Whoever writes a value has taken the connection before, which raises its fence.
            "SELECT tenant, connection, holder, fence, until FROM connection_lease ORDER BY tenant, connection",
            "SELECT count(*), sum(length(value)) FROM connection_state",
        ] {
            digest(&connection, sql, &mut hash).map_err(Fault::from)?;
        }
        Ok(hash.finalize().into())
    }

    /// Reads all of one kind in the order of its keys, after the one that is given. Blocks until it is
    /// done.
    pub(crate) fn read(&self, kind: Kind, after: Option<&[u8]>, each: Each<'_>) -> Result<(), StoreError> {
        let connection = self.connect()?;
        match kind {
            Kind::KeyChecks => {
                nodes::key_checks(&connection)?
                    .into_iter()
                    .all(|(key, check)| each(Found::Whole(Holding::KeyCheck(key, check))));
            }
            Kind::Tenants => {
                let sql = "SELECT id, id, doc FROM tenant ORDER BY id";
                settings(&connection, kind, sql, each, |tenant, _: [u8; 16]| Holding::Tenant(Box::new(tenant)))?;
            }
            Kind::Services => {
                let sql = "SELECT id, id, doc FROM service ORDER BY id";
                settings(&connection, kind, sql, each, |service, _: [u8; 16]| Holding::Service(Box::new(service)))?;
            }
            Kind::ApiKeys => {
                let sql = "SELECT hash, id, doc FROM api_key ORDER BY hash";
                settings(&connection, kind, sql, each, |key, hash| Holding::ApiKey(Box::new(key), KeyHash(hash)))?;
            }
            Kind::Usage => self.usage(&connection, each)?,
            Kind::Leases => {
                nodes::leases(&connection)?.into_iter().all(|lease| each(Found::Whole(Holding::Lease(lease))));
            }
            Kind::Verifications => self.records::<Verification>(&connection, after, each)?,
            Kind::Messages => self.records::<Message>(&connection, after, each)?,
            Kind::Entities => entities(&connection, after, each)?,
            Kind::News => news(&connection, each)?,
            Kind::ConnectionLeases => {
                let leases = connection_states::leases(&connection)?;
                leases.into_iter().all(|lease| each(Found::Whole(Holding::ConnectionLease(lease))));
            }
            Kind::ConnectionStates => states(&connection, after, each)?,
        }
        Ok(())
    }

    /// All counts that are not forgotten, one tenant's after another's.
    fn usage(&self, connection: &Connection, each: Each<'_>) -> Result<(), Fault> {
        let long_ago = self.as_of.saturating_sub(USAGE_KEPT).unwrap_or(Timestamp::MIN);
        let mut statement = connection.prepare(
            "SELECT tenant, resource, kind, starts, used, overage FROM usage WHERE starts >= ? ORDER BY tenant",
        )?;
        let mut rows = statement.query([long_ago.as_microsecond()])?;
        let mut of_tenant: Vec<WindowUsage> = Vec::new();
        let mut tell = |of_tenant: &mut Vec<WindowUsage>| {
            let mut holdings: Vec<Holding> = of_tenant.drain(..).map(Holding::Usage).collect();
            holdings.sort_by_cached_key(Holding::key);
            holdings.into_iter().all(|holding| each(Found::Whole(holding)))
        };
        while let Some(row) = rows.next()? {
            let count = window_usage(row)?;
            if of_tenant.last().is_some_and(|last| last.tenant != count.tenant) && !tell(&mut of_tenant) {
                return Ok(());
            }
            of_tenant.push(count);
        }
        tell(&mut of_tenant);
        Ok(())
    }

    fn records<R: Table + Held>(
        &self,
        connection: &Connection,
        after: Option<&[u8]>,
        each: Each<'_>,
    ) -> Result<(), Fault> {
        let mut statement = connection.prepare(R::SQL.contents)?;
        let mut rows = statement.query(params![after.unwrap_or_default(), self.as_of.as_microsecond()])?;
        let mut last: Option<[u8; 16]> = None;
        while let Some(row) = rows.next()? {
            let id: [u8; 16] = row.get("id")?;
            // In the embedded store ids need be unique within a tenant only.
            if last.is_some_and(|last| last >= id) {
                return Err(Fault::Twice(R::KIND.name_of(id)));
            }
            last = Some(id);
            let found = match stored::<R>(row) {
                Ok(stored) if stored.record.id() == id => Found::Whole(R::holding(stored)),
                Ok(_) | Err(Fault::Document(_)) => Found::Unreadable { key: id.to_vec(), name: R::KIND.name_of(id) },
                Err(fault) => return Err(fault),
            };
            if !each(found) {
                break;
            }
        }
        Ok(())
    }
}

fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::KeyChecks => "key_check",
        Kind::Tenants => "tenant",
        Kind::Services => "service",
        Kind::ApiKeys => "api_key",
        Kind::Usage => "usage",
        Kind::Leases => "lease",
        Kind::Verifications => "verification",
        Kind::Messages => "message",
        Kind::Entities => "entity",
        Kind::News => "outbox",
        Kind::ConnectionLeases => "connection_lease",
        Kind::ConnectionStates => "connection_state",
    }
}

fn digest(connection: &Connection, sql: &str, hash: &mut Sha256) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    hash.update(sql);
    while let Some(row) = rows.next()? {
        for column in 0..columns {
            match row.get_ref(column)? {
                ValueRef::Null => hash.update([0]),
                ValueRef::Integer(number) => hash.update(number.to_be_bytes()),
                ValueRef::Real(number) => hash.update(number.to_be_bytes()),
                ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                    hash.update(bytes.len().to_be_bytes());
                    hash.update(bytes);
                }
            }
        }
    }
    Ok(())
}

/// What is small: a key, an id, and a document beside them.
fn settings<T: DeserializeOwned, const N: usize>(
    connection: &Connection,
    kind: Kind,
    sql: &str,
    each: Each<'_>,
    holding: impl Fn(T, [u8; N]) -> Holding,
) -> Result<(), Fault> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let key: [u8; N] = row.get(0)?;
        let found = match serde_json::from_str(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?) {
            Ok(doc) => Found::Whole(holding(doc, key)),
            Err(_) => Found::Unreadable { key: key.to_vec(), name: kind.name_of(row.get(1)?) },
        };
        if !each(found) {
            break;
        }
    }
    Ok(())
}

/// Entities in the order of their keys, after the one that is given.
fn entities(connection: &Connection, after: Option<&[u8]>, each: Each<'_>) -> Result<(), Fault> {
    let (kind, owner, id) = after.and_then(StoredEntity::of_key).unwrap_or_default();
    let mut statement = connection.prepare(
        "SELECT kind, owner, id, version, wake_at, doc FROM entity
         WHERE (length(kind), kind, owner, id) > (length(?1), ?1, ?2, ?3) ORDER BY length(kind), kind, owner, id",
    )?;
    let keys = |table| {
        let sql =
            format!("SELECT name, value FROM {table} WHERE kind = ? AND owner = ? AND id = ? ORDER BY name, value");
        connection.prepare(&sql)
    };
    let (mut unique_of, mut listed_of) = (keys("entity_unique")?, keys("entity_key")?);
    let mut rows = statement.query(params![kind, owner, id])?;
    while let Some(row) = rows.next()? {
        let (kind, owner, id): (String, [u8; 16], [u8; 16]) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let keys = |of: &mut rusqlite::Statement<'_>| -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
            of.query_map(params![kind, owner, id], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let (unique, listed) = (keys(&mut unique_of)?, keys(&mut listed_of)?);
        let wake_at: Option<i64> = row.get(4)?;
        let wake_at = wake_at.map(Timestamp::from_microsecond).transpose();
        let doc = serde_json::from_str(row.get_ref(5)?.as_str().map_err(rusqlite::Error::from)?);
        let found = match (wake_at, doc) {
            (Ok(wake_at), Ok(doc)) => Found::Whole(Holding::Entity(Box::new(StoredEntity {
                version: row.get(3)?,
                kind,
                owner,
                id,
                wake_at,
                unique,
                listed,
                doc,
            }))),
            _ => Found::Unreadable {
                key: StoredEntity::key_of(&kind, owner, id),
                name: StoredEntity::name_of(&kind, id),
            },
        };
        if !each(found) {
            break;
        }
    }
    Ok(())
}

/// Tenant, connection and key of a value that a connection remembers.
fn of_state(key: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (tenant, rest) = key.split_at_checked(16)?;
    let (connection, key) = rest.split_at_checked(16)?;
    Some((tenant, connection, key))
}

/// What connections remember in the order of its keys, after the one that is given.
fn states(connection: &Connection, after: Option<&[u8]>, each: Each<'_>) -> Result<(), Fault> {
    let (tenant, of, key) = after.and_then(of_state).unwrap_or_default();
    let mut statement = connection.prepare(
        "SELECT tenant, connection, key, value FROM connection_state
         WHERE (tenant, connection, key) > (?, ?, ?) ORDER BY tenant, connection, key",
    )?;
    let mut rows = statement.query([tenant, of, key])?;
    while let Some(row) = rows.next()? {
        let of = TenantAccount {
            tenant: TenantId::from_bytes(row.get(0)?),
            connection: ConnectionId::from_bytes(row.get(1)?),
        };
        let row = StateRow { key: StateKey::from_bytes(row.get(2)?), value: row.get(3)? };
        if !each(Found::Whole(Holding::ConnectionState(of, row))) {
            break;
        }
    }
    Ok(())
}

/// News in the order of their keys.
fn news(connection: &Connection, each: Each<'_>) -> Result<(), Fault> {
    let mut statement = connection.prepare("SELECT id, version, doc FROM outbox ORDER BY id, version")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, version): ([u8; 16], u64) = (row.get(0)?, row.get(1)?);
        let found = match serde_json::from_str::<News>(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?) {
            Ok(news) => Found::Whole(Holding::News(Box::new(news))),
            Err(_) => {
                let name = format!("news of {}, version {version}", Kind::Verifications.name_of(id));
                Found::Unreadable { key: news_key(id, version), name }
            }
        };
        if !each(found) {
            break;
        }
    }
    Ok(())
}

fn window_usage(row: &Row<'_>) -> Result<WindowUsage, Fault> {
    let (resource, kind): (i64, i64) = (row.get(1)?, row.get(2)?);
    let unknown = |column, number| Fault::Sql(rusqlite::Error::IntegralValueOutOfRange(column, number));
    let known = Resource::ALL.into_iter().find(|known| resource_number(*known) == resource);
    let window = [WindowKind::Day, WindowKind::Month].into_iter().find(|known| kind_number(*known) == kind);
    let starts: i64 = row.get(3)?;
    Ok(WindowUsage {
        tenant: TenantId::from_bytes(row.get(0)?),
        resource: known.ok_or_else(|| unknown(1, resource))?,
        window: window.ok_or_else(|| unknown(2, kind))?,
        starts: Timestamp::from_microsecond(starts).map_err(|_| unknown(3, starts))?,
        usage: Usage { used: row.get(4)?, overage: row.get(5)? },
    })
}

/// The record in a row of `contents`, with what is kept beside it.
fn stored<R: Table>(row: &Row<'_>) -> Result<Stored<R>, Fault> {
    let record: R = record::read(row)?;
    // Each record has a number of its own, so it is a place of its own in any sequence.
    let place = match record.address().filter(|_| R::SEQUENCE) {
        Some(_) => Some(row.get("number")?),
        None => None,
    };
    let key: Option<[u8; 32]> = row.get("key")?;
    let repeat = match key {
        Some(key) => {
            let expires_at: i64 = row.get("expires_at")?;
            let expires_at = Timestamp::from_microsecond(expires_at)
                .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, expires_at))?;
            let first = serde_json::from_str(row.get_ref("repeats")?.as_str().map_err(rusqlite::Error::from)?)?;
            Some(Repeat { idempotency: Idempotency { key, fingerprint: row.get("fingerprint")?, expires_at }, first })
        }
        None => None,
    };
    Ok(Stored { record, place, repeat })
}
