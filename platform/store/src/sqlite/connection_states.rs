//! What live connections must remember, and which process keeps them.

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use wotp_core::domain::Timestamp;
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::id::{ConnectionId, NodeId, TenantId};
use wotp_core::ports::{
    ConnectionStates, StateChange, StateError, StateKey, StateRange, StateRow, StoreError, TenantAccount,
};

use super::SqliteStore;
use super::fault::Fault;

/// Values that are read on the caller's own thread, at most.
const FEW: usize = 8;

#[async_trait]
impl ConnectionStates for SqliteStore {
    async fn take_connection(
        &self,
        of: TenantAccount,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ConnectionLease>, StoreError> {
        self.writer
            .submit(move |work| {
                let sql = "INSERT INTO connection_lease (tenant, connection, holder, fence, until)
                           SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM tenant WHERE id = ?1)
                           ON CONFLICT (tenant, connection) DO UPDATE
                           SET fence = max(fence + 1, excluded.fence), holder = excluded.holder, until = excluded.until
                           WHERE until <= ?4 OR holder = excluded.holder
                           RETURNING tenant, connection, holder, fence, until";
                let (now, until) = (now.as_microsecond(), until.as_microsecond());
                let values = params![of.tenant.to_bytes(), of.connection.to_bytes(), holder.to_bytes(), now, until];
                let mut take = work.connection.prepare_cached(sql)?;
                take.query_and_then(values, lease)?.next().transpose()
            })
            .await
    }

    async fn prolong_connections(
        &self,
        leases: &[ConnectionLease],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let leases = leases.to_vec();
        self.writer
            .submit(move |work| {
                let sql = "UPDATE connection_lease SET until = ?
                           WHERE tenant = ? AND connection = ? AND holder = ? AND fence = ? AND until > ?";
                let mut prolong = work.connection.prepare_cached(sql)?;
                let mut prolonged = |lease: &ConnectionLease| {
                    let (tenant, connection) = (lease.of.tenant.to_bytes(), lease.of.connection.to_bytes());
                    let (now, until) = (now.as_microsecond(), until.as_microsecond());
                    let values = params![until, tenant, connection, lease.holder.to_bytes(), lease.fence, now];
                    Ok(prolong.execute(values)? > 0)
                };
                leases.iter().map(&mut prolonged).collect()
            })
            .await
    }

    async fn release_connection(&self, lease: &ConnectionLease, now: Timestamp) -> Result<(), StoreError> {
        let lease = lease.clone();
        self.writer
            .submit(move |work| {
                let sql = "UPDATE connection_lease SET until = min(until, ?)
                           WHERE tenant = ? AND connection = ? AND holder = ? AND fence = ?";
                let (tenant, connection) = (lease.of.tenant.to_bytes(), lease.of.connection.to_bytes());
                let values = params![now.as_microsecond(), tenant, connection, lease.holder.to_bytes(), lease.fence];
                work.connection.prepare_cached(sql)?.execute(values)?;
                Ok(())
            })
            .await
    }

    async fn hand_over_connection(
        &self,
        lease: &ConnectionLease,
        to: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ConnectionLease>, StoreError> {
        let held = lease.clone();
        self.writer
            .submit(move |work| {
                let sql = "UPDATE connection_lease SET fence = max(fence + 1, ?1), holder = ?2, until = ?3
                           WHERE tenant = ?4 AND connection = ?5 AND holder = ?6 AND fence = ?7 AND until > ?1
                           RETURNING tenant, connection, holder, fence, until";
                let (now, until) = (now.as_microsecond(), until.as_microsecond());
                let (tenant, connection) = (held.of.tenant.to_bytes(), held.of.connection.to_bytes());
                let (to, from) = (to.to_bytes(), held.holder.to_bytes());
                let mut hand_over = work.connection.prepare_cached(sql)?;
                let values = params![now, to, until, tenant, connection, from, held.fence];
                hand_over.query_and_then(values, self::lease)?.next().transpose()
            })
            .await
    }

    async fn find_connection_lease(&self, of: TenantAccount) -> Result<Option<ConnectionLease>, StoreError> {
        self.readers.read(|connection| {
            let sql = "SELECT tenant, connection, holder, fence, until FROM connection_lease
                       WHERE tenant = ? AND connection = ?";
            let mut find = connection.prepare_cached(sql)?;
            find.query_and_then([of.tenant.to_bytes(), of.connection.to_bytes()], lease)?.next().transpose()
        })
    }

    async fn connection_leases(&self) -> Result<Vec<ConnectionLease>, StoreError> {
        self.readers.read_many(leases).await
    }

    async fn read_state(&self, of: TenantAccount, keys: &[StateKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        if keys.len() <= FEW {
            return self.readers.read(|connection| read(connection, of, keys));
        }
        let keys = keys.to_vec();
        self.readers.read_many(move |connection| read(connection, of, &keys)).await
    }

    async fn list_state(
        &self,
        of: TenantAccount,
        range: StateRange,
        after: Option<StateKey>,
        limit: usize,
    ) -> Result<Vec<StateRow>, StoreError> {
        self.readers
            .read_many(move |connection| {
                let sql = "SELECT key, value FROM connection_state
                           WHERE tenant = ? AND connection = ? AND key BETWEEN ? AND ? AND key > ? ORDER BY key LIMIT ?";
                let (first, last) = range.bounds();
                // No key is as short.
                let after = after.map_or_else(Vec::new, |after| after.to_bytes().to_vec());
                let limit = i64::try_from(limit).unwrap_or(i64::MAX);
                let (tenant, of) = (of.tenant.to_bytes(), of.connection.to_bytes());
                let mut list = connection.prepare_cached(sql)?;
                let row = |row: &Row<'_>| {
                    Ok(StateRow { key: StateKey::from_bytes(row.get(0)?), value: row.get(1)? })
                };
                let values = params![tenant, of, first.to_bytes(), last.to_bytes(), after, limit];
                list.query_and_then(values, row)?.collect()
            })
            .await
    }

    async fn write_state(&self, lease: &ConnectionLease, changes: Vec<StateChange>) -> Result<(), StateError> {
        let (of, fence) = (lease.of, lease.fence);
        let written = self
            .writer
            .submit(move |work| {
                if !is_newest(work.connection, of, fence)? {
                    return Ok(false);
                }
                changes.iter().try_for_each(|change| make(work.connection, of, change))?;
                Ok(true)
            })
            .await?;
        if written { Ok(()) } else { Err(StateError::Fenced) }
    }

    async fn erase_state(&self, of: TenantAccount, limit: usize) -> Result<bool, StoreError> {
        self.writer
            .submit(move |work| {
                remove_lease(work.connection, of)?;
                Ok(remove_some(work.connection, of, limit)? < limit)
            })
            .await
    }
}

fn lease(row: &Row<'_>) -> Result<ConnectionLease, Fault> {
    let of =
        TenantAccount { tenant: TenantId::from_bytes(row.get(0)?), connection: ConnectionId::from_bytes(row.get(1)?) };
    let until = Timestamp::from_microsecond(row.get(4)?).map_err(|_| Fault::Foreign)?;
    Ok(ConnectionLease { of, holder: NodeId::from_bytes(row.get(2)?), fence: row.get(3)?, until })
}

/// All leases, by tenant and connection.
pub(super) fn leases(connection: &Connection) -> Result<Vec<ConnectionLease>, Fault> {
    let sql = "SELECT tenant, connection, holder, fence, until FROM connection_lease ORDER BY tenant, connection";
    connection.prepare_cached(sql)?.query_and_then([], lease)?.collect()
}

/// Frees what a process that is gone kept.
pub(super) fn release_all(connection: &Connection, now: Timestamp) -> Result<(), Fault> {
    let sql = "UPDATE connection_lease SET until = ?1 WHERE until > ?1";
    connection.prepare_cached(sql)?.execute([now.as_microsecond()])?;
    Ok(())
}

fn read(connection: &Connection, of: TenantAccount, keys: &[StateKey]) -> Result<Vec<Option<Vec<u8>>>, Fault> {
    let sql = "SELECT value FROM connection_state WHERE tenant = ? AND connection = ? AND key = ?";
    let (tenant, of) = (of.tenant.to_bytes(), of.connection.to_bytes());
    let mut find = connection.prepare_cached(sql)?;
    let value =
        |key: &StateKey| Ok(find.query_row(params![tenant, of, key.to_bytes()], |row| row.get(0)).optional()?);
    keys.iter().map(value).collect()
}

/// Whether nobody has taken the connection since, and it is there.
fn is_newest(connection: &Connection, of: TenantAccount, fence: u64) -> Result<bool, Fault> {
    let sql = "SELECT fence FROM connection_lease WHERE tenant = ? AND connection = ?";
    let values = [of.tenant.to_bytes(), of.connection.to_bytes()];
    let newest: Option<u64> = connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?;
    Ok(newest == Some(fence))
}

fn make(connection: &Connection, of: TenantAccount, change: &StateChange) -> Result<(), Fault> {
    let (tenant, of) = (of.tenant.to_bytes(), of.connection.to_bytes());
    match change {
        StateChange::Put(StateRow { key, value }) => {
            let sql = "INSERT INTO connection_state (tenant, connection, key, value) VALUES (?, ?, ?, ?)
                       ON CONFLICT (tenant, connection, key) DO UPDATE SET value = excluded.value";
            connection.prepare_cached(sql)?.execute(params![tenant, of, key.to_bytes(), value])?;
        }
        StateChange::Delete(key) => remove(connection, &tenant, &of, &key.to_bytes())?,
    }
    Ok(())
}

pub(super) fn remove(connection: &Connection, tenant: &[u8], of: &[u8], key: &[u8]) -> Result<(), Fault> {
    let sql = "DELETE FROM connection_state WHERE tenant = ? AND connection = ? AND key = ?";
    connection.prepare_cached(sql)?.execute([tenant, of, key])?;
    Ok(())
}

pub(super) fn remove_lease(connection: &Connection, of: TenantAccount) -> Result<(), Fault> {
    let sql = "DELETE FROM connection_lease WHERE tenant = ? AND connection = ?";
    connection.prepare_cached(sql)?.execute([of.tenant.to_bytes(), of.connection.to_bytes()])?;
    Ok(())
}

/// Takes away at most so many values; says how many there were.
fn remove_some(connection: &Connection, of: TenantAccount, limit: usize) -> Result<usize, Fault> {
    let sql = "DELETE FROM connection_state WHERE rowid IN
               (SELECT rowid FROM connection_state WHERE tenant = ? AND connection = ? LIMIT ?)";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let values = params![of.tenant.to_bytes(), of.connection.to_bytes(), limit];
    Ok(connection.prepare_cached(sql)?.execute(values)?)
}
