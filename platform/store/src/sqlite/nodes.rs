//! Nodes, leases and the check values of master keys.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::NodeId;
use wotp_core::domain::lease::Lease;
use wotp_core::domain::node::Node;

use super::fault::Fault;

pub(super) fn note(connection: &Connection, node: &Node) -> Result<(), Fault> {
    let doc = serde_json::to_string(node)?;
    connection
        .prepare_cached("INSERT OR REPLACE INTO node (id, doc) VALUES (?, ?)")?
        .execute(params![node.id.to_bytes(), doc])?;
    Ok(())
}

pub(super) fn forget(connection: &Connection, id: NodeId) -> Result<(), Fault> {
    connection.prepare_cached("DELETE FROM node WHERE id = ?")?.execute(params![id.to_bytes()])?;
    Ok(())
}

pub(super) fn take_lease(
    connection: &Connection,
    name: &str,
    holder: NodeId,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Lease>, Fault> {
    // One that has ended counts on, even for its last holder: others were let in between.
    let sql = "INSERT INTO lease (name, holder, fence, until) VALUES (?1, ?2, 1, ?4)
               ON CONFLICT (name) DO UPDATE SET fence = fence + (until <= ?3), holder = ?2, until = ?4
               WHERE until <= ?3 OR holder = ?2
               RETURNING holder, fence, until";
    let values = params![name, holder.to_bytes(), now.as_microsecond(), until.as_microsecond()];
    let mut take = connection.prepare_cached(sql)?;
    let mut rows = take.query(values)?;
    rows.next()?.map(|row| lease(name, row)).transpose()
}

pub(super) fn find_lease(connection: &Connection, name: &str) -> Result<Option<Lease>, Fault> {
    let mut find = connection.prepare_cached("SELECT holder, fence, until FROM lease WHERE name = ?")?;
    let mut rows = find.query(params![name])?;
    rows.next()?.map(|row| lease(name, row)).transpose()
}

/// All leases, by name.
pub(super) fn leases(connection: &Connection) -> Result<Vec<Lease>, Fault> {
    let mut all = connection.prepare("SELECT holder, fence, until, name FROM lease ORDER BY name")?;
    let mut rows = all.query([])?;
    let mut leases = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(3)?;
        leases.push(lease(&name, row)?);
    }
    Ok(leases)
}

fn lease(name: &str, row: &Row<'_>) -> Result<Lease, Fault> {
    let until = Timestamp::from_microsecond(row.get(2)?).map_err(|_| Fault::Foreign)?;
    Ok(Lease { name: name.to_owned(), holder: NodeId::from_bytes(row.get(0)?), fence: row.get(1)?, until })
}

pub(super) fn release_lease(connection: &Connection, lease: &Lease, now: Timestamp) -> Result<(), Fault> {
    connection
        .prepare_cached("UPDATE lease SET until = ? WHERE name = ? AND holder = ? AND fence = ?")?
        .execute(params![now.as_microsecond(), lease.name, lease.holder.to_bytes(), lease.fence])?;
    Ok(())
}

pub(super) fn key_checks(connection: &Connection) -> Result<BTreeMap<u8, [u8; 32]>, Fault> {
    let mut find = connection.prepare_cached("SELECT key, value FROM key_check")?;
    let found = find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<Result<_, _>>()?)
}

pub(super) fn keep_key_check(connection: &Connection, key: u8, check: [u8; 32]) -> Result<[u8; 32], Fault> {
    connection
        .prepare_cached("INSERT INTO key_check (key, value) VALUES (?, ?) ON CONFLICT (key) DO NOTHING")?
        .execute(params![key, check])?;
    Ok(key_checks(connection)?.get(&key).copied().unwrap_or(check))
}
