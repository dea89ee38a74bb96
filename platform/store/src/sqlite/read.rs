//! Reading, beside the writer.
//!
//! A look-up of one row takes about 10 microseconds from the page cache, and a hop to another thread
//! and back costs more than that, so look-ups run on the caller's own thread. What may read many
//! rows (listings, counts, the sweep) goes to the blocking pool.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::types::{ToSql, Value};
use rusqlite::{Connection, OptionalExtension as _, params};
use serde::de::DeserializeOwned;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::ports::{DueItem, Filter, Page, StoreError};

use super::addresses::{self, Recent};
use super::fault::Fault;
use super::record::{self, Table, mode_number, status_number};
use super::schema;
use crate::turns::Turns;

/// Records of an address that a check looks at, at most: ten milliseconds. An address has at most 120 an hour, but for
/// sandbox numbers, of which any number may be open or not.
const CHECKED_MAX: usize = 1_000;
/// Connections that are kept open while nobody reads.
const IDLE_MAX: usize = 8;

/// A pool of connections that only read. It grows to as many as read at once.
pub(super) struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    turns: Turns,
}

impl Readers {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::new(Vec::new()), turns: Turns::default() }
    }

    /// Reads on this thread: for one row or a few.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T, Fault>) -> Result<T, StoreError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => schema::connect_to_read(&self.path).map_err(Fault::from)?,
        };
        let found = read(&connection)?;
        // One that failed is not kept: it may be the connection that is broken.
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(connection);
        }
        Ok(found)
    }

    /// As [`read_many`](Self::read_many), when it is the tenant's turn, or that of what is no tenant's. A scan that nobody waits for
    /// any more keeps its turn until it is done.
    pub(super) async fn scan<T: Send + 'static>(
        self: &Arc<Self>,
        tenant: Option<TenantId>,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let turn = self.turns.turn(tenant).await.map_err(Fault::from)?;
        self.read_many(move |connection| {
            let found = read(connection);
            drop(turn);
            found
        })
        .await
    }

    /// Reads on a thread that may block: for anything that may touch many rows.
    pub(super) async fn read_many<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Connection) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let readers = Arc::clone(self);
        tokio::task::spawn_blocking(move || readers.read(read)).await.map_err(|_| Fault::Panicked)?
    }
}

/// The document that a statement finds.
pub(super) fn find<T: DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
) -> Result<Option<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some(serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?))
}

/// All documents that a statement finds.
pub(super) fn all<T: DeserializeOwned>(
    connection: &Connection,
    sql: &str,
    values: &[&dyn ToSql],
) -> Result<Vec<T>, Fault> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(serde_json::from_str(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?)?);
    }
    Ok(found)
}

/// What is due in one table, the longest due first.
pub(super) fn due<R: Table>(
    connection: &Connection,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(i64, DueItem)>, Fault> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(R::SQL.due)?;
    let rows = statement.query_map(params![now.as_microsecond(), limit], |row| {
        Ok((row.get(0)?, (TenantId::from_bytes(row.get(1)?), R::item(row.get(2)?))))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn json_field(key: &str, value: &str) -> Result<String, Fault> {
    Ok(format!("{}:{}", serde_json::to_string(key)?, serde_json::to_string(value)?))
}

/// What a code is compared with, newest first: nobody waits for a turn for it, so it looks at few.
pub(super) fn to_check<R: Table>(
    connection: &Connection,
    tenant: TenantId,
    recent: &Recent,
    filter: &Filter,
    limit: usize,
) -> Result<Vec<R>, Fault> {
    Ok(look(connection, tenant, recent, filter, None, (limit, CHECKED_MAX))?.items)
}

/// A page of a listing, newest first.
pub(super) fn page<R: Table>(
    connection: &Connection,
    tenant: TenantId,
    recent: &Recent,
    filter: &Filter,
    after: Option<[u8; 16]>,
    limit: usize,
) -> Result<Page<R>, Fault> {
    look(connection, tenant, recent, filter, after, (limit, usize::MAX))
}

/// A page of a listing; of an address at most so many records are looked at.
///
/// The statement sorts out what it can without reading documents as JSON: columns, and for the rest
/// the text that the document must hold somewhere. What comes through is looked at properly.
fn look<R: Table>(
    connection: &Connection,
    tenant: TenantId,
    recent: &Recent,
    filter: &Filter,
    after: Option<[u8; 16]>,
    (limit, looked_at_max): (usize, usize),
) -> Result<Page<R>, Fault> {
    let mut ids = addresses::ANY;
    if let Some(from) = filter.created_from {
        ids.start = R::id_at(from);
    }
    if let Some(before) = filter.created_before {
        // Ids know milliseconds; the rest is decided below.
        let next = before.saturating_add(jiff::SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
        ids.end = R::id_at(next);
    }
    if let Some(after) = after {
        ids.end = ids.end.min(after);
    }
    let mut sql = R::SQL.list.to_owned();
    let mut values: Vec<(&'static str, Value)> = vec![(":tenant", Value::Blob(tenant.to_bytes().to_vec()))];
    let mut also = |condition: &'static str, name: &'static str, value: Value| {
        sql.push_str(condition);
        values.push((name, value));
    };
    if let Some(mode) = filter.mode {
        also(" AND mode = :mode", ":mode", Value::Integer(mode_number(mode)));
    }
    if let Some(service) = filter.service {
        also(" AND service = :service", ":service", Value::Blob(service.to_bytes().to_vec()));
    }
    if let Some(status) = filter.status {
        also(" AND status = :status", ":status", Value::Integer(status_number(Some(status))));
    }
    if let Some(channel) = &filter.channel {
        also(R::SQL.state_holds, ":channel", Value::Text(json_field("channel", channel)?));
    }
    if let Some((key, value)) = filter.metadata.first_key_value() {
        also(R::SQL.doc_holds, ":metadata", Value::Text(json_field(key, value)?));
    }
    let mut page = Page { items: Vec::new(), more: false };
    let mut show = |record: R| {
        let shown = shows(filter, &record, &filter.metadata);
        page.more = shown && page.items.len() == limit;
        if shown && !page.more {
            page.items.push(record);
        }
        !page.more
    };
    if let Some(address) = filter.address {
        also(" AND address_index = :address", ":address", Value::Blob(address.as_bytes().to_vec()));
        sql.push_str(" AND id = :id");
        let mut statement = connection.prepare_cached(&sql)?;
        let mut looked_at = 0;
        addresses::visit(connection, &R::SQL.addresses, recent, (tenant, address), ids, |id| {
            if looked_at == looked_at_max {
                return Ok(false);
            }
            looked_at += 1;
            let id = (":id", &id as &dyn ToSql);
            let values: Vec<_> = values.iter().map(|(name, value)| (*name, value as &dyn ToSql)).chain([id]).collect();
            let mut rows = statement.query(values.as_slice())?;
            // Gone, or not among those that are asked for.
            let Some(row) = rows.next()? else { return Ok(true) };
            Ok(show(record::read(row)?))
        })?;
        return Ok(page);
    }
    also(" AND id >= :from", ":from", Value::Blob(ids.start.to_vec()));
    also(" AND id < :before", ":before", Value::Blob(ids.end.to_vec()));
    sql.push_str(" ORDER BY id DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    let values: Vec<(&str, &dyn ToSql)> = values.iter().map(|(name, value)| (*name, value as &dyn ToSql)).collect();
    let mut rows = statement.query(values.as_slice())?;
    while let Some(row) = rows.next()? {
        if !show(record::read(row)?) {
            break;
        }
    }
    Ok(page)
}

fn shows<R: Table>(filter: &Filter, record: &R, metadata: &BTreeMap<String, String>) -> bool {
    filter.created_from.is_none_or(|from| record.created_at() >= from)
        && filter.created_before.is_none_or(|before| record.created_at() < before)
        && filter.channel.as_deref().is_none_or(|channel| record.went_through(channel))
        && metadata.iter().all(|(key, value)| record.metadata_holds(key, value))
}

/// How many rows a statement counts.
pub(super) fn count(connection: &Connection, sql: &str) -> Result<u64, Fault> {
    let count: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
}
