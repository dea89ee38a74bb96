//! Admitting: what waits is decided on together, and stored and counted in one short transaction.
//!
//! What a decision rests on is read before the transaction, and it is made sure inside it: the counts
//! are raised only if they are still within what was decided on, and two that are started for one
//! address at once want the same place in its sequence. So a transaction that commits is right, and
//! one that does not is decided again, from what is stored by then.
//!
//! The counts come first in it: they are what transactions of other nodes meet, and whoever comes
//! second loses one statement and no more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, RawDocumentBuf, deserialize_from_bson, deserialize_from_slice, doc};
use mongodb::error::{Error, TRANSIENT_TRANSACTION_ERROR, UNKNOWN_TRANSACTION_COMMIT_RESULT};
use serde::Deserialize;
use tokio::time::Instant;
use wotp_core::domain::Timestamp;
use wotp_core::domain::address_limits::{AddressLimited, AddressLimits};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::quota::{Charge, Quota, QuotaExceeded};
use wotp_core::ports::Idempotency;

use super::Server;
use super::dead;
use super::fault::{self, Fault};
use super::history::{self, History, Recipient};
use super::row::{self, Row, binary};
use super::schema;
use super::usage::{self, Key};

/// Admissions in one transaction.
pub(super) const BATCH: usize = 256;
/// Transactions of one node at once. Tenants are spread over them.
pub(super) const LANES: usize = 4;
/// Longest pause before a batch is decided again.
const PAUSE_MAX: Duration = Duration::from_millis(32);
/// How long others may be in the way before it is looked whether one of them is dead.
const SUSPICIOUS: Duration = Duration::from_millis(300);

/// One admission.
pub(super) struct Candidate<R> {
    pub(super) tenant: TenantId,
    pub(super) record: R,
    pub(super) quota: Quota,
    pub(super) limits: Option<AddressLimits>,
    pub(super) idempotency: Option<Idempotency>,
}

/// What came of it.
#[derive(Clone)]
pub(super) enum Decision<R> {
    Admitted(R),
    Repeated(R),
    KeyReused,
    Address(AddressLimited),
    Quota(QuotaExceeded),
}

/// The record that a key made.
struct Known<R> {
    fingerprint: [u8; 32],
    expires_at: Timestamp,
    record: R,
}

/// The counts of one window, as read and as decided on.
#[derive(Default)]
struct Window {
    read: u64,
    more: u64,
    overage: u64,
    /// The count must not be beyond this in the end.
    within: Option<u64>,
    /// The count must be as it was read.
    exact: bool,
}

impl Window {
    fn guard(&self) -> Option<Document> {
        if self.exact {
            return Some(doc! { "used": row::number(self.read) });
        }
        self.within.map(|within| doc! { "used": { "$lte": row::number(within) - row::number(self.more) } })
    }
}

/// A batch that was decided on: what to store and count.
struct Plan<R> {
    decisions: Vec<Result<Decision<R>, Fault>>,
    rows: Vec<Document>,
    windows: HashMap<Key, Window>,
    /// Keys that expired and are used anew: tenant and key.
    freed: Vec<(TenantId, [u8; 32])>,
}

/// Why a transaction did not commit.
enum Setback {
    /// Somebody else changed what it rests on.
    Again,
    /// It may have committed, or not.
    Unknown,
    Failed(Fault),
}

/// Decides on a batch and stores and counts what is admitted, together.
pub(super) async fn admit<R: Row>(
    server: Server,
    batch: Vec<Candidate<R>>,
) -> Result<Vec<Result<Decision<R>, Fault>>, Fault> {
    let mut setbacks: u32 = 0;
    let mut since: Option<Instant> = None;
    let started = Instant::now();
    loop {
        let plan = decide(&server, &batch).await?;
        if plan.rows.is_empty() {
            return Ok(plan.decisions);
        }
        match commit::<R>(&server, &plan, started + server.patience).await {
            Ok(()) => return Ok(plan.decisions),
            Err(Setback::Failed(fault)) => return Err(fault),
            // It is not decided again: that would meet its own records, and call them somebody else's.
            Err(Setback::Unknown) => return Err(Fault::Late),
            Err(Setback::Again) => {}
        }
        if started.elapsed() >= server.patience {
            return Err(Fault::Late);
        }
        setbacks += 1;
        let began = *since.get_or_insert_with(Instant::now);
        if began.elapsed() >= SUSPICIOUS {
            dead::clear(&server).await?;
            since = None;
        }
        pause(setbacks, &plan.rows).await;
    }
}

/// Longer with each setback, and not the same on two nodes: ids are random at their end.
async fn pause(setbacks: u32, rows: &[Document]) {
    let most = PAUSE_MAX.min(Duration::from_millis(1 << setbacks.min(5)));
    let id = rows.first().and_then(|row| row.get_binary_generic("_id").ok());
    let share = id.and_then(|id| id.last().copied()).unwrap_or(0);
    tokio::time::sleep(most.mul_f64(f64::from(share) / 255.0)).await;
}

async fn decide<R: Row>(server: &Server, batch: &[Candidate<R>]) -> Result<Plan<R>, Fault> {
    let (mut recipients, mut keys) = (Vec::new(), Vec::new());
    let now = batch.iter().map(|candidate| candidate.record.created_at()).min().unwrap_or(Timestamp::MAX);
    for candidate in batch {
        if let Some(address) = candidate.record.address().filter(|_| R::SEQUENCE) {
            recipients.push((candidate.tenant, candidate.record.mode(), address.index));
        }
        keys.extend(usage::keys(candidate.tenant, candidate.record.counted()));
    }
    recipients.sort();
    recipients.dedup();
    keys.sort_unstable();
    keys.dedup();
    let (known, histories, counts) = tokio::try_join!(
        known::<R>(server, batch),
        history::of(server, &recipients, now),
        usage::stored(server, &keys)
    )?;
    let windows = keys.iter().zip(counts).map(|(key, count)| (*key, Window { read: count.used, ..Window::default() }));
    let mut draft = Draft { known, histories, windows: windows.collect(), rows: Vec::new(), freed: Vec::new() };
    let decisions = batch.iter().map(|candidate| draft.decide(candidate)).collect();
    let Draft { windows, rows, freed, .. } = draft;
    Ok(Plan { decisions, rows, windows: windows.into_iter().filter(|(_, window)| window.more > 0).collect(), freed })
}

/// What a batch rests on, and what of it is decided so far: later ones see earlier ones.
struct Draft<R> {
    known: HashMap<(TenantId, [u8; 32]), Known<R>>,
    histories: HashMap<Recipient, History>,
    windows: HashMap<Key, Window>,
    rows: Vec<Document>,
    freed: Vec<(TenantId, [u8; 32])>,
}

impl<R: Row> Draft<R> {
    fn decide(&mut self, candidate: &Candidate<R>) -> Result<Decision<R>, Fault> {
        let now = candidate.record.created_at();
        if let Some(idempotency) = &candidate.idempotency
            && let Entry::Occupied(known) = self.known.entry((candidate.tenant, idempotency.key))
        {
            let Known { fingerprint, expires_at, record } = known.get();
            if *expires_at > now {
                let same = *fingerprint == idempotency.fingerprint;
                return Ok(if same { Decision::Repeated(record.clone()) } else { Decision::KeyReused });
            }
            known.remove();
            self.freed.push((candidate.tenant, idempotency.key));
        }
        let address = candidate.record.address().filter(|_| R::SEQUENCE);
        let recipient = address.map(|address| (candidate.tenant, candidate.record.mode(), address.index));
        if let (Some(limits), Some(recipient)) = (&candidate.limits, recipient) {
            let history = self.histories.get(&recipient).map(History::sum).unwrap_or_default();
            if let Err(limited) = limits.admit(&history, now) {
                return Ok(Decision::Address(limited));
            }
        }
        let keys = usage::keys(candidate.tenant, candidate.record.counted());
        let used = keys.map(|key| self.windows.get(&key).map_or(0, |window| window.read + window.more));
        let charge = match candidate.quota.charge(used) {
            Ok(charge) => charge,
            Err(exceeded) => return Ok(Decision::Quota(exceeded)),
        };
        let mut record = candidate.record.clone();
        record.counted_mut().charge = charge;
        let place = recipient.map(|recipient| self.histories.entry(recipient).or_default().next_place());
        self.rows.push(row::new(&mut record, candidate.idempotency.as_ref(), place)?);
        self.count(&keys, &candidate.quota, charge);
        if let (Some(recipient), Some(place), Some(trace)) = (recipient, place, record.trace()) {
            self.histories.entry(recipient).or_default().add(place, trace);
        }
        if let Some(idempotency) = &candidate.idempotency {
            let Idempotency { key, fingerprint, expires_at } = *idempotency;
            self.known.insert((candidate.tenant, key), Known { fingerprint, expires_at, record: record.clone() });
        }
        Ok(Decision::Admitted(record))
    }

    fn count(&mut self, keys: &[Key; 2], quota: &Quota, charge: Charge) {
        for (key, allowance) in keys.iter().zip(&quota.allowances) {
            let window = self.windows.entry(*key).or_default();
            window.more += 1;
            window.overage += u64::from(charge == Charge::Overage);
            let limit = allowance.included.into_iter().chain(allowance.cap).min();
            if let Some(limit) = limit {
                window.within = Some(window.within.map_or(limit, |within| within.min(limit)));
                // Beyond what is included each use is charged otherwise: only what was read will do.
                window.exact |= window.read + window.more > limit;
            }
        }
    }
}

/// What the keys of a batch have made.
async fn known<R: Row>(
    server: &Server,
    batch: &[Candidate<R>],
) -> Result<HashMap<(TenantId, [u8; 32]), Known<R>>, Fault> {
    let mut by_tenant: HashMap<TenantId, Vec<Bson>> = HashMap::new();
    for candidate in batch {
        if let Some(idempotency) = &candidate.idempotency {
            by_tenant.entry(candidate.tenant).or_default().push(binary(&idempotency.key));
        }
    }
    if by_tenant.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted: Vec<Document> = by_tenant
        .into_iter()
        .map(|(tenant, keys)| doc! { "t": binary(&tenant.to_bytes()), "idem.k": { "$in": keys } })
        .collect();
    let found = server
        .database
        .collection::<RawDocumentBuf>(R::COLLECTION)
        .find(doc! { "$or": wanted })
        .projection(doc! { "t": 1, "fixed": 1, "idem": 1 })
        .await?;
    let rows: Vec<RawDocumentBuf> = found.try_collect().await?;
    let mut known = HashMap::with_capacity(rows.len());
    for row in &rows {
        let tenant = TenantId::from_bytes(row::id_of(row, "t")?);
        let Made { fixed, idem } = deserialize_from_slice(row.as_bytes())?;
        let bytes = |field| {
            let held = idem.get_binary_generic(field).ok();
            held.and_then(|held| <[u8; 32]>::try_from(held.as_slice()).ok())
        };
        let (Some(key), Some(fingerprint)) = (bytes("k"), bytes("f")) else {
            return Err(Fault::Shape("an idempotency key is not 32 bytes"));
        };
        let expires_at = idem.get_i64("x").ok().and_then(|moment| Timestamp::from_microsecond(moment).ok());
        let expires_at = expires_at.ok_or(Fault::Shape("an idempotency key has no end"))?;
        let state = idem.get("state").cloned().ok_or(Fault::Shape("an idempotency key repeats nothing"))?;
        let record = R::of(deserialize_from_bson(fixed)?, deserialize_from_bson(state)?);
        known.insert((tenant, key), Known { fingerprint, expires_at, record });
    }
    Ok(known)
}

/// What a key made, as it is read.
#[derive(Deserialize)]
struct Made {
    fixed: Bson,
    idem: Document,
}

/// Stores and counts a plan in one transaction.
async fn commit<R: Row>(server: &Server, plan: &Plan<R>, until: Instant) -> Result<(), Setback> {
    let mut session = server.client.start_session().await.map_err(failed)?;
    session.start_transaction().await.map_err(failed)?;
    // In one order on every node, so that two batches of several tenants do not take turns at
    // meeting each other.
    let mut windows: Vec<(&Key, &Window)> = plan.windows.iter().collect();
    windows.sort_unstable_by_key(|(key, _)| **key);
    let counts: Vec<Document> =
        windows.iter().map(|(key, window)| usage::count(**key, window.more, window.overage, window.guard())).collect();
    let mut commands = vec![doc! { "update": schema::USAGE, "updates": counts }];
    if !plan.freed.is_empty() {
        let freed = plan.freed.iter().map(|(tenant, key)| {
            let held = doc! { "t": binary(&tenant.to_bytes()), "idem.k": binary(key) };
            doc! { "q": held, "u": { "$unset": { "idem": 1 } } }
        });
        commands.push(doc! { "update": R::COLLECTION, "updates": freed.collect::<Vec<_>>() });
    }
    commands.push(doc! { "insert": R::COLLECTION, "documents": &plan.rows });
    for command in commands {
        if let Err(setback) = run(server, &mut session, command).await {
            // The server gives it up by itself when this does not get through.
            let _ = session.abort_transaction().await;
            return Err(setback);
        }
    }
    end(session, until).await
}

/// Runs one command of a transaction.
async fn run(server: &Server, session: &mut ClientSession, command: Document) -> Result<Document, Setback> {
    let reply = server.database.run_command(command).session(session).await.map_err(setback)?;
    let code =
        reply.get_array("writeErrors").ok().and_then(|errors| errors.first()?.as_document()?.get_i32("code").ok());
    match code {
        None => Ok(reply),
        // A count is beyond what was decided on, or a key or a place was taken.
        Some(code) if fault::found_nothing(code) => Err(Setback::Again),
        Some(code) => Err(Setback::Failed(Fault::Statement(code))),
    }
}

/// Commits, and asks until it is known what came of it: the server knows the transaction.
async fn end(mut session: ClientSession, until: Instant) -> Result<(), Setback> {
    let mut unknown = false;
    loop {
        let Err(error) = session.commit_transaction().await else { return Ok(()) };
        if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) {
            unknown = true;
        } else {
            match setback(error) {
                // Not an answer to what came of it before.
                Setback::Failed(_) if unknown => {}
                setback => return Err(setback),
            }
        }
        if Instant::now() >= until {
            return Err(Setback::Unknown);
        }
        tokio::time::sleep(PAUSE_MAX).await;
    }
}

fn setback(error: Error) -> Setback {
    let again = error.contains_label(TRANSIENT_TRANSACTION_ERROR)
        || fault::is_conflict(&error)
        || fault::is_gone(&error)
        || fault::is_duplicate(&error);
    if again { Setback::Again } else { failed(error) }
}

fn failed(error: Error) -> Setback {
    Setback::Failed(error.into())
}

/// Makes one change of a record and these of its counts, together; says whether it was made: not if
/// somebody else was first, or the record is gone.
pub(super) async fn together(
    server: &Server,
    collection: &str,
    change: Document,
    counts: Vec<Document>,
) -> Result<bool, Fault> {
    let mut setbacks = 0;
    let until = Instant::now() + server.patience;
    loop {
        let attempt = async {
            let mut session = server.client.start_session().await.map_err(failed)?;
            session.start_transaction().await.map_err(failed)?;
            let mut update = change.clone();
            update.remove("upsert");
            let reply = run(server, &mut session, doc! { "update": collection, "updates": [update] }).await?;
            if reply.get_i32("n").unwrap_or(0) == 0 {
                let _ = session.abort_transaction().await;
                return Ok(false);
            }
            run(server, &mut session, doc! { "update": schema::USAGE, "updates": &counts }).await?;
            end(session, until).await.map(|()| true)
        };
        match attempt.await {
            Ok(made) => return Ok(made),
            Err(Setback::Failed(fault)) => return Err(fault),
            // It may have been made: the caller reads again, and finds its own change or another's.
            Err(Setback::Unknown) => return Err(Fault::Late),
            Err(Setback::Again) if setbacks >= 8 => {
                dead::clear(server).await?;
                setbacks = 0;
            }
            Err(Setback::Again) => {}
        }
        setbacks += 1;
        pause(setbacks, std::slice::from_ref(&change)).await;
    }
}
