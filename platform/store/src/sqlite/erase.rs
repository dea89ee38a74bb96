//! Erasing a tenant, a bounded step at a time.

use std::sync::Arc;

use rusqlite::{Connection, params};
use wotp_core::domain::erasure::{Erased, ErasureStep};
use wotp_core::domain::id::{ConnectionId, TenantId};
use wotp_core::domain::message::Message;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{CommitError, ErasureNote, Owner, TenantAccount};

use super::SqliteStore;
use super::connection_states;
use super::entities::{self, Setback};
use super::fault::Fault;
use super::outbox;
use super::record::{self, Table};
use super::writer::Work;

type Id = [u8; 16];

/// Some of what a tenant has of what is kept as entities.
pub(super) const OWNED: &str = "SELECT kind, id FROM entity WHERE owner = ? LIMIT ?";

/// What a step found to erase.
struct Found {
    verifications: Vec<Id>,
    messages: Vec<Id>,
    /// By their rows.
    idempotency: Vec<i64>,
    keys: Vec<[u8; 32]>,
    services: Vec<Id>,
    /// Resource, kind of window, its start.
    usage: Vec<(i64, i64, i64)>,
    /// Kind and id.
    entities: Vec<(String, Id)>,
    /// Connections that are kept.
    leases: Vec<Id>,
    /// What they remember: connection and key.
    states: Vec<(Id, Vec<u8>)>,
    /// News, by their numbers. They are no thing of the tenant's to report.
    news: Vec<i64>,
    /// Whether that was all.
    whole: bool,
}

pub(super) async fn step(
    store: &SqliteStore,
    tenant: TenantId,
    limit: usize,
    note: ErasureNote,
) -> Result<ErasureStep, CommitError> {
    let (verifications, messages) = (Arc::clone(&store.verifications), Arc::clone(&store.messages));
    let forget = move |outcome: &Result<Found, Setback>| {
        let Ok(found) = outcome else { return };
        found.verifications.iter().for_each(|id| verifications.remove(tenant, *id));
        found.messages.iter().for_each(|id| messages.remove(tenant, *id));
    };
    // Beside the writer, so that nobody's starts wait while an outbox is looked through that has grown long.
    let look = store.readers.read_many(move |connection| {
        let (_, room) = find_records(connection, tenant.to_bytes(), limit)?;
        if room == 0 { Ok(None) } else { outbox::look(connection, tenant.to_bytes(), room).map(Some) }
    });
    let look = look.await?;
    let outcome =
        store.writer.submit_then(move |work| erase(work, tenant, limit, look.as_ref(), &note), forget).await?;
    Ok(outcome?.step())
}

/// Reads and checks first: a step whose note is refused leaves nothing behind.
fn erase(
    work: &mut Work<'_>,
    tenant: TenantId,
    limit: usize,
    look: Option<&outbox::Look>,
    note: &ErasureNote,
) -> Result<Result<Found, Setback>, Fault> {
    let connection = work.connection;
    // What is remembered of counts would be written again.
    work.usage.flush(connection)?;
    work.usage.forget();
    let found = find(connection, tenant.to_bytes(), limit, look)?;
    if let Some(setback) = entities::apply(connection, &note(&found.step()))? {
        return Ok(Err(setback));
    }
    remove(work, tenant, &found)?;
    Ok(Ok(found))
}

/// What there is to erase, with the news that `look` found, once nothing else fills the step.
fn find(connection: &Connection, tenant: Id, limit: usize, look: Option<&outbox::Look>) -> Result<Found, Fault> {
    let (mut found, room) = find_records(connection, tenant, limit)?;
    // Where nobody looked there was more, which another step erased meanwhile: the next one looks.
    if let Some(look) = look.filter(|_| room > 0) {
        found.news = outbox::of_tenant(connection, tenant, look, room)?;
        // Of as many as were looked for some may have been folded since, and others lie behind them.
        found.whole = !look.is_cut && room > found.news.len();
    }
    Ok(found)
}

/// What there is to erase but news, and how many more a step may take.
fn find_records(connection: &Connection, tenant: Id, limit: usize) -> Result<(Found, usize), Fault> {
    let mut room = limit;
    let verifications = some(connection, &mut room, tenant, Verification::SQL.some, |row| row.get(0))?;
    let messages = some(connection, &mut room, tenant, Message::SQL.some, |row| row.get(0))?;
    let sql = "SELECT rowid FROM idempotency WHERE tenant = ? LIMIT ?";
    let idempotency = some(connection, &mut room, tenant, sql, |row| row.get(0))?;
    let sql = "SELECT hash FROM api_key WHERE tenant = ? LIMIT ?";
    let keys = some(connection, &mut room, tenant, sql, |row| row.get(0))?;
    let sql = "SELECT id FROM service WHERE tenant = ? LIMIT ?";
    let services = some(connection, &mut room, tenant, sql, |row| row.get(0))?;
    let sql = "SELECT resource, kind, starts FROM usage WHERE tenant = ? LIMIT ?";
    let usage = some(connection, &mut room, tenant, sql, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let entities = some(connection, &mut room, tenant, OWNED, |row| Ok((row.get(0)?, row.get(1)?)))?;
    // Leases before what is written under them: from then on nobody writes.
    let sql = "SELECT connection FROM connection_lease WHERE tenant = ? LIMIT ?";
    let leases = some(connection, &mut room, tenant, sql, |row| row.get(0))?;
    let sql = "SELECT connection, key FROM connection_state WHERE tenant = ? LIMIT ?";
    let states = some(connection, &mut room, tenant, sql, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let (news, whole) = (Vec::new(), false);
    let found =
        Found { verifications, messages, idempotency, keys, services, usage, entities, leases, states, news, whole };
    Ok((found, room))
}

/// At most as many as there is room for.
fn some<T>(
    connection: &Connection,
    room: &mut usize,
    tenant: Id,
    sql: &str,
    read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, Fault> {
    let limit = i64::try_from(*room).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![tenant, limit], read)?.collect::<rusqlite::Result<Vec<_>>>()?;
    *room = room.saturating_sub(found.len());
    Ok(found)
}

fn remove(work: &mut Work<'_>, tenant: TenantId, found: &Found) -> Result<(), Fault> {
    found.verifications.iter().try_for_each(|id| record::delete::<Verification>(work, tenant, *id))?;
    found.messages.iter().try_for_each(|id| record::delete::<Message>(work, tenant, *id))?;
    let connection = work.connection;
    let owner = tenant.to_bytes();
    for row in &found.idempotency {
        connection.prepare_cached("DELETE FROM idempotency WHERE rowid = ?")?.execute([row])?;
    }
    for hash in &found.keys {
        connection.prepare_cached("DELETE FROM api_key WHERE hash = ?")?.execute([hash])?;
    }
    for id in &found.services {
        connection.prepare_cached("DELETE FROM service WHERE tenant = ? AND id = ?")?.execute(params![owner, id])?;
    }
    for (resource, kind, starts) in &found.usage {
        let sql = "DELETE FROM usage WHERE tenant = ? AND resource = ? AND kind = ? AND starts = ?";
        connection.prepare_cached(sql)?.execute(params![owner, resource, kind, starts])?;
    }
    for (kind, id) in &found.entities {
        entities::remove(connection, kind, Owner::Tenant(tenant), *id)?;
    }
    for connection_id in &found.leases {
        let of = TenantAccount { tenant, connection: ConnectionId::from_bytes(*connection_id) };
        connection_states::remove_lease(connection, of)?;
    }
    for (of, key) in &found.states {
        connection_states::remove(connection, &owner, of, key)?;
    }
    for number in &found.news {
        outbox::remove(connection, *number)?;
    }
    if found.whole {
        connection.prepare_cached("DELETE FROM tenant WHERE id = ?")?.execute([owner])?;
    }
    Ok(())
}

impl Found {
    fn step(&self) -> ErasureStep {
        let count = |found: usize| u64::try_from(found).unwrap_or(u64::MAX);
        ErasureStep {
            erased: Erased {
                verifications: count(self.verifications.len()),
                messages: count(self.messages.len()),
                keys: count(self.keys.len()),
                services: count(self.services.len()),
                usage: count(self.usage.len()),
                others: count(self.entities.len() + self.leases.len() + self.states.len()),
            },
            whole: self.whole,
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use wotp_core::domain::erasure::Erasure;
    use wotp_core::domain::id::UserId;
    use wotp_core::ports::{Change, Store as _};
    use wotp_core::testing::builders::{a_service, a_tenant, noon};

    use super::super::OpenOptions;
    use super::*;

    #[tokio::test]
    async fn news_that_are_no_json_keep_no_tenant_from_being_erased() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("wotp.db");
        let store = SqliteStore::open(path.clone(), OpenOptions::default()).unwrap();
        let tenant = a_tenant();
        store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
        let damage = "INSERT INTO outbox (id, version, doc) VALUES (zeroblob(16), 1, '{no news')";
        Connection::open(&path).unwrap().execute_batch(damage).unwrap();
        let erasure = Erasure::new(tenant.id, UserId::from_bytes([1; 16]), noon(), noon());
        let note: ErasureNote = Arc::new(move |_: &ErasureStep| Change::put(&erasure));
        let step = store.erase_tenant_step(tenant.id, 100, note).await.unwrap();
        assert!(step.whole);
        assert_eq!(store.tenant(tenant.id).find_tenant().await.unwrap(), None);
    }
}
