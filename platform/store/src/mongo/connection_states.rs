//! What live connections must remember, and which node keeps them: one collection.
//!
//! A lease is a document whose `_id` is tenant and connection; `h` who holds it, `f` its fence, `u` until when, `n` how
//! often something was written under it. A value is one whose `_id` is tenant, connection and key; `v` the value.
//!
//! A write is a transaction that changes the lease as well: of two that change one document the server makes one, so
//! that none comes after a take-over. Those that wait go together, of all connections of the node, one batch after
//! another: their order is that in which they were asked for.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use futures_util::future::try_join_all;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::options::ReturnDocument;
use tokio::time::Instant;
use wotp_core::domain::Timestamp;
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::id::{NodeId, TenantId};
use wotp_core::ports::{
    ConnectionStates, StateChange, StateError, StateKey, StateRange, StateRow, StoreError, TenantAccount,
};

use super::erase::{self, STEP_MAX};
use super::fault::{self, Fault};
use super::gather::Gather;
use super::row::{binary, bytes_of, id_of, number};
use super::transaction::{Attempts, Setback, begin, changed, end, leave, run};
use super::{MongoStore, Server, dead, schema};

/// Bytes of a value's `_id`.
const ID_SIZE: usize = 32 + StateKey::SIZE;
/// Bytes of values that are written in one transaction, and in one command: the server takes 48 MB.
const TOGETHER_BYTES: usize = 4 << 20;
/// Statements of one command.
const STATEMENTS: usize = 1000;
/// What a statement takes besides its value.
const STATEMENT_BYTES: usize = 160;

type Id = [u8; ID_SIZE];

/// One call's changes.
pub(super) struct Write {
    of: TenantAccount,
    fence: u64,
    changes: Vec<StateChange>,
}

impl Write {
    fn size_bytes(&self) -> usize {
        let size = |change: &StateChange| match change {
            StateChange::Put(row) => row.value.len() + STATEMENT_BYTES,
            StateChange::Delete(_) => STATEMENT_BYTES,
        };
        self.changes.iter().map(size).sum()
    }
}

/// What goes to the server together.
pub(super) struct States {
    pub(super) reads: Gather<Id, Option<RawDocumentBuf>>,
    /// Says whether it was made: not where its fence is not the newest.
    pub(super) writes: Gather<Write, bool>,
}

fn id(of: TenantAccount, key: StateKey) -> Id {
    let mut id = [0; ID_SIZE];
    id[..32].copy_from_slice(&of.to_bytes());
    id[32..].copy_from_slice(&key.to_bytes());
    id
}

/// Of a value all is read.
pub(super) fn whole() -> Document {
    Document::new()
}

/// The leases of a tenant's connections.
pub(super) fn leases_of(tenant: TenantId) -> Document {
    // The server compares the length of ids first.
    let bound = |byte: u8| binary(&[&tenant.to_bytes()[..], &[byte; 16]].concat());
    doc! { "_id": { "$gte": bound(0), "$lte": bound(u8::MAX) } }
}

/// All that a tenant's connections remember.
pub(super) fn states_of(tenant: TenantId) -> Document {
    let bound = |byte: u8| binary(&[&tenant.to_bytes()[..], &[byte; ID_SIZE - 16]].concat());
    doc! { "_id": { "$gte": bound(0), "$lte": bound(u8::MAX) } }
}

fn within(of: TenantAccount, range: StateRange) -> Document {
    let (first, last) = range.bounds();
    doc! { "$gte": binary(&id(of, first)), "$lte": binary(&id(of, last)) }
}

/// The lease, as long as it is this one.
fn held(lease: &ConnectionLease) -> Document {
    doc! {
        "_id": binary(&lease.of.to_bytes()),
        "h": binary(&lease.holder.to_bytes()),
        "f": number(lease.fence),
    }
}

/// The document of a lease under which nothing was written yet.
#[cfg(feature = "sqlite")]
pub(super) fn lease_row(lease: &ConnectionLease) -> Document {
    let mut row = held(lease);
    row.insert("u", lease.until.as_microsecond());
    row.insert("n", 0_i64);
    row
}

#[cfg(feature = "sqlite")]
pub(super) fn state_row(of: TenantAccount, StateRow { key, value }: &StateRow) -> Document {
    doc! { "_id": binary(&id(of, *key)), "v": binary(value) }
}

pub(super) fn read_lease(row: &RawDocument) -> Result<ConnectionLease, Fault> {
    let of = TenantAccount::from_bytes(bytes_of(row, "_id")?);
    let until = row.get_i64("u").ok().and_then(|moment| Timestamp::from_microsecond(moment).ok());
    let fence = row.get_i64("f").ok().and_then(|fence| u64::try_from(fence).ok());
    let (Some(until), Some(fence)) = (until, fence) else { return Err(Fault::Shape("a lease is not whole")) };
    Ok(ConnectionLease { of, holder: NodeId::from_bytes(id_of(row, "h")?), fence, until })
}

pub(super) fn read_state(row: &RawDocument) -> Result<(TenantAccount, StateRow), Fault> {
    let id: Id = bytes_of(row, "_id")?;
    let (mut of, mut key) = ([0; 32], [0; StateKey::SIZE]);
    of.copy_from_slice(&id[..32]);
    key.copy_from_slice(&id[32..]);
    Ok((TenantAccount::from_bytes(of), StateRow { key: StateKey::from_bytes(key), value: value(row)? }))
}

fn value(row: &RawDocument) -> Result<Vec<u8>, Fault> {
    Ok(row.get_binary("v").map_err(|_| Fault::Shape("a value of a connection is missing"))?.bytes.to_vec())
}

/// A fence that is higher than the last, if there was one.
fn next_fence(now: Timestamp) -> Document {
    doc! { "$max": [{ "$add": [{ "$ifNull": ["$f", 0_i64] }, 1_i64] }, now.as_microsecond()] }
}

impl Server {
    fn states(&self) -> mongodb::Collection<RawDocumentBuf> {
        self.database.collection(schema::CONNECTION_STATES)
    }

    /// Lets somebody have the connection, if the lease is as `wanted` says.
    async fn give_connection(
        &self,
        wanted: Document,
        to: NodeId,
        (now, until): (Timestamp, Timestamp),
        anew: bool,
    ) -> Result<Option<ConnectionLease>, Fault> {
        let set = doc! { "f": next_fence(now), "h": binary(&to.to_bytes()), "u": until.as_microsecond() };
        let states = self.states();
        let give = states
            .find_one_and_update(wanted, vec![doc! { "$set": set }])
            .upsert(anew)
            .return_document(ReturnDocument::After);
        match dead::clearing(self, give.into_future()).await {
            Ok(row) => row.map(|row| read_lease(&row)).transpose(),
            // Held by another: then the upsert meets it.
            Err(error) if fault::is_duplicate(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn prolong_connections(
        &self,
        leases: &[ConnectionLease],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, Fault> {
        let until = until.as_microsecond();
        let statement = |lease: &ConnectionLease| {
            let mut wanted = held(lease);
            wanted.insert("u", doc! { "$gt": now.as_microsecond() });
            doc! { "q": wanted, "u": { "$set": { "u": until } } }
        };
        let statements: Vec<Document> = leases.iter().map(statement).collect();
        let command = doc! {
            "update": schema::CONNECTION_STATES,
            "updates": &statements,
            "ordered": false,
            "writeConcern": { "w": "majority", "j": true },
        };
        let reply = dead::clearing(self, self.database.run_command(command).into_future()).await?;
        if reply.contains_key("writeErrors") || reply.contains_key("writeConcernError") {
            return Err(Fault::Shape("leases were not prolonged"));
        }
        if changed(&reply) == leases.len() {
            return Ok(vec![true; leases.len()]);
        }
        // Which were not: those that do not end then.
        let ids: Vec<Bson> = leases.iter().map(|lease| binary(&lease.of.to_bytes())).collect();
        let found = self.states().find(doc! { "_id": { "$in": ids } }).await?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await?;
        let stored = found.iter().map(|row| read_lease(row)).collect::<Result<Vec<_>, _>>()?;
        let is_prolonged = |lease: &ConnectionLease| {
            stored.iter().any(|stored| {
                let same = stored.of == lease.of && stored.holder == lease.holder && stored.fence == lease.fence;
                same && stored.until.as_microsecond() == until
            })
        };
        Ok(leases.iter().map(is_prolonged).collect())
    }

    /// Takes away the lease and at most `limit` values in a transaction; says whether nothing is left.
    async fn erase_connection(&self, of: TenantAccount, limit: usize) -> Result<bool, Fault> {
        let mut attempts = Attempts::new(self);
        loop {
            match self.try_to_erase_connection(of, limit.min(STEP_MAX), attempts.end()).await {
                Ok(erased) => return Ok(erased),
                Err(Setback::Failed(fault)) => return Err(fault),
                // It may have been made: another step does no harm.
                Err(Setback::Unknown) => return Err(Fault::Late),
                Err(Setback::Again) => attempts.again().await?,
            }
        }
    }

    async fn try_to_erase_connection(&self, of: TenantAccount, limit: usize, until: Instant) -> Result<bool, Setback> {
        let mut session = begin(self).await?;
        let gone = doc! { "q": { "_id": binary(&of.to_bytes()) }, "limit": 1 };
        run(self, &mut session, doc! { "delete": schema::CONNECTION_STATES, "deletes": [gone] }).await?;
        let mut room = limit;
        let wanted = doc! { "_id": within(of, StateRange::All) };
        erase::some(self, &mut session, schema::CONNECTION_STATES, &wanted, &mut room).await?;
        end(session, until).await.map(|()| room > 0)
    }
}

/// Changes the lease that has to be the newest, so that the transaction and a take-over know of each other.
fn newest(of: TenantAccount, fence: u64) -> Document {
    let wanted = doc! { "_id": binary(&of.to_bytes()), "f": number(fence) };
    doc! { "q": wanted, "u": { "$inc": { "n": 1_i64 } } }
}

/// Makes the changes of many calls, in their order; says of each whether it was made.
pub(super) async fn write(server: Server, writes: Vec<Write>) -> Result<Vec<Result<bool, Fault>>, Fault> {
    let mut made = Vec::with_capacity(writes.len());
    let mut rest = &writes[..];
    while !rest.is_empty() {
        let (together, later) = rest.split_at(fitting(rest));
        made.extend(write_together(&server, together).await);
        rest = later;
    }
    Ok(made)
}

/// How many of these go into one transaction: one at least.
fn fitting(writes: &[Write]) -> usize {
    let mut size = 0;
    let fits = |write: &&Write| {
        size += write.size_bytes();
        size <= TOGETHER_BYTES
    };
    writes.iter().take_while(fits).count().max(1)
}

async fn write_together(server: &Server, writes: &[Write]) -> Vec<Result<bool, Fault>> {
    match write_all(server, writes).await {
        Ok(true) => writes.iter().map(|_| Ok(true)).collect(),
        Ok(false) if writes.len() == 1 => vec![Ok(false)],
        // It may have been made. Each by itself would be told of another's lease that came after it.
        Err(fault @ Fault::Late) => {
            let fault = Arc::new(fault);
            writes.iter().map(|_| Err(Fault::Shared(Arc::clone(&fault)))).collect()
        }
        Err(fault) if writes.len() == 1 => vec![Err(fault)],
        // One of them is in the way of the others.
        Ok(false) | Err(_) => {
            let mut made = Vec::with_capacity(writes.len());
            for write in writes {
                made.push(write_all(server, std::slice::from_ref(write)).await);
            }
            made
        }
    }
}

/// Makes all of these, or none: where one's fence is not the newest.
async fn write_all(server: &Server, writes: &[Write]) -> Result<bool, Fault> {
    let (updates, deletes) = statements(writes);
    let mut attempts = Attempts::new(server);
    loop {
        match attempt(server, &updates, &deletes, attempts.end()).await {
            Ok(made) => return Ok(made),
            Err(Setback::Failed(fault)) => return Err(fault),
            Err(Setback::Unknown) => return Err(Fault::Late),
            Err(Setback::Again) => attempts.again().await?,
        }
    }
}

async fn attempt(
    server: &Server,
    updates: &[Vec<Document>],
    deletes: &[Bson],
    until: Instant,
) -> Result<bool, Setback> {
    let mut session = begin(server).await?;
    for updates in updates {
        let reply = run(server, &mut session, doc! { "update": schema::CONNECTION_STATES, "updates": updates });
        // A value is found or made in any case; a lease is the newest or is not found.
        if changed(&reply.await?) < updates.len() {
            leave(session).await;
            return Ok(false);
        }
    }
    for ids in deletes.chunks(STATEMENTS) {
        let gone = doc! { "q": { "_id": { "$in": ids } }, "limit": 0 };
        run(server, &mut session, doc! { "delete": schema::CONNECTION_STATES, "deletes": [gone] }).await?;
    }
    end(session, until).await.map(|()| true)
}

/// What these writes come to: updates by command, leases first, and what goes.
fn statements(writes: &[Write]) -> (Vec<Vec<Document>>, Vec<Bson>) {
    let mut leases: Vec<(TenantAccount, u64)> = Vec::new();
    let mut last: BTreeMap<Id, Option<&[u8]>> = BTreeMap::new();
    for write in writes {
        if !leases.contains(&(write.of, write.fence)) {
            leases.push((write.of, write.fence));
        }
        for change in &write.changes {
            match change {
                StateChange::Put(row) => last.insert(id(write.of, row.key), Some(&row.value)),
                StateChange::Delete(key) => last.insert(id(write.of, *key), None),
            };
        }
    }
    let mut updates = vec![leases.into_iter().map(|(of, fence)| newest(of, fence)).collect::<Vec<_>>()];
    let (mut deletes, mut size) = (Vec::new(), 0);
    for (id, value) in last {
        let Some(value) = value else {
            deletes.push(binary(&id));
            continue;
        };
        size += value.len() + STATEMENT_BYTES;
        let full = size > TOGETHER_BYTES || updates.last().is_some_and(|updates| updates.len() >= STATEMENTS);
        if full {
            updates.push(Vec::new());
            size = value.len() + STATEMENT_BYTES;
        }
        let value = Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: value.to_vec() });
        let put = doc! { "q": { "_id": binary(&id) }, "u": { "$set": { "v": value } }, "upsert": true };
        if let Some(updates) = updates.last_mut() {
            updates.push(put);
        }
    }
    (updates, deletes)
}

#[async_trait]
impl ConnectionStates for MongoStore {
    async fn take_connection(
        &self,
        of: TenantAccount,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ConnectionLease>, StoreError> {
        if self.small.tenants.ask(of.tenant.to_bytes()).await?.is_none() {
            return Ok(None);
        }
        let free_or_own = doc! {
            "_id": binary(&of.to_bytes()),
            "$or": [{ "u": { "$lte": now.as_microsecond() } }, { "h": binary(&holder.to_bytes()) }],
        };
        Ok(self.server.give_connection(free_or_own, holder, (now, until), true).await?)
    }

    async fn prolong_connections(
        &self,
        leases: &[ConnectionLease],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        let mut prolonged = Vec::with_capacity(leases.len());
        for leases in leases.chunks(STATEMENTS) {
            prolonged.extend(self.server.prolong_connections(leases, now, until).await?);
        }
        Ok(prolonged)
    }

    async fn release_connection(&self, lease: &ConnectionLease, now: Timestamp) -> Result<(), StoreError> {
        let mut wanted = held(lease);
        wanted.insert("u", doc! { "$gt": now.as_microsecond() });
        let states = self.server.states();
        let release = states.update_one(wanted, doc! { "$set": { "u": now.as_microsecond() } });
        dead::clearing(&self.server, release.into_future()).await.map_err(Fault::from)?;
        Ok(())
    }

    async fn hand_over_connection(
        &self,
        lease: &ConnectionLease,
        to: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ConnectionLease>, StoreError> {
        let mut wanted = held(lease);
        wanted.insert("u", doc! { "$gt": now.as_microsecond() });
        Ok(self.server.give_connection(wanted, to, (now, until), false).await?)
    }

    async fn find_connection_lease(&self, of: TenantAccount) -> Result<Option<ConnectionLease>, StoreError> {
        let row = self.server.states().find_one(doc! { "_id": binary(&of.to_bytes()) }).await.map_err(Fault::from)?;
        Ok(row.map(|row| read_lease(&row)).transpose()?)
    }

    async fn connection_leases(&self) -> Result<Vec<ConnectionLease>, StoreError> {
        let found = self.server.states().find(doc! { "f": { "$exists": true } }).await.map_err(Fault::from)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(Fault::from)?;
        let mut leases = found.iter().map(|row| read_lease(row)).collect::<Result<Vec<_>, _>>()?;
        leases.sort_by_key(|lease| lease.of.to_bytes());
        Ok(leases)
    }

    async fn read_state(&self, of: TenantAccount, keys: &[StateKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(STATEMENTS) {
            let found = try_join_all(keys.iter().map(|key| self.states.reads.ask(id(of, *key)))).await?;
            for row in found {
                values.push(row.map(|row| value(&row)).transpose()?);
            }
        }
        Ok(values)
    }

    async fn list_state(
        &self,
        of: TenantAccount,
        range: StateRange,
        after: Option<StateKey>,
        limit: usize,
    ) -> Result<Vec<StateRow>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut ids = within(of, range);
        if let Some(after) = after {
            ids.insert("$gt", binary(&id(of, after)));
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let states = self.server.states();
        let found = states.find(doc! { "_id": ids }).sort(doc! { "_id": 1 }).limit(limit).await.map_err(Fault::from)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(Fault::from)?;
        Ok(found.iter().map(|row| Ok(read_state(row)?.1)).collect::<Result<_, Fault>>()?)
    }

    async fn write_state(&self, lease: &ConnectionLease, changes: Vec<StateChange>) -> Result<(), StateError> {
        let write = Write { of: lease.of, fence: lease.fence, changes };
        let made = self.states.writes.ask(write).await.map_err(StoreError::from)?;
        if made { Ok(()) } else { Err(StateError::Fenced) }
    }

    async fn erase_state(&self, of: TenantAccount, limit: usize) -> Result<bool, StoreError> {
        Ok(self.server.erase_connection(of, limit).await?)
    }
}
