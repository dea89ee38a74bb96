//! Admitting: what waits is decided on together, and stored and counted in one short transaction.
//!
//! What a decision rests on is read before the transaction, and it is made sure inside it: the counts
//! are raised only if they are still within what was decided on, and two that are started for one
//! address at once want the same place in its sequence. So a transaction that commits is right, and
//! one that does not is decided again, from what is stored by then.
//!
//! Most are counted in tallies ([`tally`](super::tally)), which no other node writes to. What is counted is counted
//! first: where other nodes are in the way after all, that is where they are met, and whoever comes second
//! loses one statement and no more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, RawDocumentBuf, deserialize_from_bson, deserialize_from_slice, doc};
use serde::Deserialize;
use tokio::time::Instant;
use wotp_core::domain::Timestamp;
use wotp_core::domain::address_limits::{AddressLimited, AddressLimits};
use wotp_core::domain::guard::GuardNote;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::quota::{Charge, Quota, QuotaExceeded, Resource};
use wotp_core::ports::Idempotency;

use super::Server;
use super::fault::Fault;
use super::history::{self, History, Recipient};
use super::lending::{self, Wanted};
use super::row::{self, Row, binary};
use super::schema;
use super::tally::{CalledBack, Outlook, Place, Purse};
use super::transaction::{self, Attempts, Setback};
use super::usage::{self, Count, Key};

/// One admission.
#[derive(Clone)]
pub(super) struct Candidate<R> {
    pub(super) tenant: TenantId,
    pub(super) record: R,
    pub(super) quota: Quota,
    pub(super) limits: Option<AddressLimits>,
    pub(super) idempotency: Option<Idempotency>,
    /// Why nothing is to be kept of it.
    pub(super) unkept: Option<GuardNote>,
}

/// What came of it.
#[derive(Clone)]
pub(super) enum Decision<R> {
    Admitted(R),
    Repeated(R),
    KeyReused,
    Address(AddressLimited),
    Quota(QuotaExceeded),
    NotKept(GuardNote),
    /// What nodes were lent of its quota is being called back: ask again then.
    Later(CalledBack),
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
    read: Count,
    more: u64,
    overage: u64,
    /// The count must not be beyond this in the end.
    within: Option<u64>,
    /// The count must be as it was read.
    exact: bool,
}

impl Window {
    /// What is used of it once the batch is stored.
    fn used(&self) -> u64 {
        u64::try_from(self.read.used).unwrap_or(0) + self.more
    }

    fn guard(&self) -> Option<Document> {
        if self.exact {
            return Some(doc! { "used": self.read.used });
        }
        self.within.map(|within| doc! { "used": { "$lte": row::number(within) - row::number(self.more) } })
    }
}

/// A batch that was decided on: what to store and count.
struct Plan<R> {
    decisions: Vec<Result<Decision<R>, Fault>>,
    rows: Vec<Document>,
    windows: HashMap<Key, Window>,
    /// What is counted in this node's tallies.
    tallies: HashMap<Place, u64>,
    /// Keys that expired and are used anew: tenant and key.
    freed: Vec<(TenantId, [u8; 32])>,
}

/// Decides on a batch and stores and counts what is admitted, together.
pub(super) async fn admit<R: Row>(
    server: Server,
    batch: Vec<Candidate<R>>,
) -> Result<Vec<Result<Decision<R>, Fault>>, Fault> {
    let mut attempts = Attempts::new(&server);
    loop {
        let purses = lending::purses(&server, wanted(&batch), attempts.end()).await?;
        let plan = decide(&server, &batch, purses).await?;
        if plan.rows.is_empty() {
            return Ok(plan.decisions);
        }
        match commit::<R>(&server, &plan, attempts.end()).await {
            Ok(()) => {
                plan.tallies.iter().for_each(|(place, more)| server.tallies.counted(*place, *more));
                return Ok(plan.decisions);
            }
            Err(Setback::Again) => attempts.again().await?,
            Err(setback) => {
                // Whether they counted it is not known.
                plan.tallies.keys().for_each(|place| server.tallies.forget(*place));
                return Err(match setback {
                    Setback::Failed(fault) => fault,
                    // It is not decided again: that would meet its own records, and call them somebody else's.
                    Setback::Unknown | Setback::Again => Fault::Late,
                });
            }
        }
    }
}

/// Whether it is no use of anything: what a guard stopped is kept, and not counted.
fn is_free<R: Row>(candidate: &Candidate<R>) -> bool {
    candidate.record.counted().refunded
}

/// What a batch uses, and where.
fn wanted<R: Row>(batch: &[Candidate<R>]) -> Vec<Wanted> {
    let mut wanted: HashMap<Place, Wanted> = HashMap::new();
    for candidate in batch.iter().filter(|candidate| !is_free(candidate)) {
        let place = Place::of(candidate.tenant, candidate.record.counted());
        let known =
            wanted.entry(place).or_insert_with(|| Wanted { place, quota: candidate.quota.clone(), more: Some(0) });
        // Under two plans at once, as when it has just changed, neither is what was lent by.
        known.more = known.more.filter(|_| known.quota == candidate.quota).map(|more| more + 1);
    }
    let mut months: HashMap<(TenantId, Resource), u32> = HashMap::new();
    wanted.keys().for_each(|place| *months.entry((place.tenant, place.resource)).or_default() += 1);
    // Two months at once may share a day: what is lent for the one would be called back for the other.
    let alone = |place: &Place| months.get(&(place.tenant, place.resource)) == Some(&1);
    wanted.into_values().map(|one| Wanted { more: one.more.filter(|_| alone(&one.place)), ..one }).collect()
}

async fn decide<R: Row>(
    server: &Server,
    batch: &[Candidate<R>],
    purses: HashMap<Place, Outlook>,
) -> Result<Plan<R>, Fault> {
    let mut recipients = Vec::new();
    let now = batch.iter().map(|candidate| candidate.record.created_at()).min().unwrap_or(Timestamp::MAX);
    for candidate in batch {
        if let Some(address) = candidate.record.address().filter(|_| R::SEQUENCE) {
            recipients.push((candidate.tenant, candidate.record.mode(), address.index));
        }
    }
    recipients.sort();
    recipients.dedup();
    let exact = purses.iter().filter(|(_, purse)| matches!(purse, Outlook::Ready(Purse::Counts)));
    let mut keys: Vec<Key> = exact.flat_map(|(place, _)| place.counts()).collect();
    keys.sort_unstable();
    keys.dedup();
    let (known, histories, counts) = tokio::try_join!(
        known::<R>(server, batch),
        history::of(server, &recipients, now),
        usage::counts(server, &keys)
    )?;
    let windows = keys.iter().zip(counts).map(|(key, count)| (*key, Window { read: count, ..Window::default() }));
    let tallies = purses.iter().filter(|(_, purse)| matches!(purse, Outlook::Ready(Purse::Tally(_))));
    let tallies = tallies.map(|(place, _)| (*place, 0));
    let mut draft = Draft {
        known,
        histories,
        windows: windows.collect(),
        tallies: tallies.collect(),
        purses,
        rows: Vec::new(),
        freed: Vec::new(),
    };
    draft.look_again(server, batch);
    let decisions = batch.iter().map(|candidate| draft.decide(candidate)).collect();
    let Draft { windows, tallies, rows, freed, .. } = draft;
    Ok(Plan {
        decisions,
        rows,
        windows: windows.into_iter().filter(|(_, window)| window.more > 0).collect(),
        tallies: tallies.into_iter().filter(|(_, more)| *more > 0).collect(),
        freed,
    })
}

/// What a batch rests on, and what of it is decided so far: later ones see earlier ones.
struct Draft<R> {
    known: HashMap<(TenantId, [u8; 32]), Known<R>>,
    histories: HashMap<Recipient, History>,
    windows: HashMap<Key, Window>,
    tallies: HashMap<Place, u64>,
    purses: HashMap<Place, Outlook>,
    rows: Vec<Document>,
    freed: Vec<(TenantId, [u8; 32])>,
}

impl<R: Row> Draft<R> {
    /// Has the next batch look at places anew that are counted exactly and need not, or have lent to
    /// somebody since they were looked at.
    fn look_again(&self, server: &Server, batch: &[Candidate<R>]) {
        for candidate in batch.iter().filter(|candidate| !is_free(candidate)) {
            let place = Place::of(candidate.tenant, candidate.record.counted());
            let read = place.counts().map(|key| self.windows.get(&key).map(|window| window.read));
            if let [Some(day), Some(month)] = read
                && (day.lent > 0 || month.lent > 0 || lending::is_plenty(&candidate.quota, [day, month]))
            {
                server.tallies.forget(place);
            }
        }
    }

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
        if let Some(note) = &candidate.unkept {
            return Ok(Decision::NotKept(note.clone()));
        }
        let used = Place::of(candidate.tenant, candidate.record.counted());
        let free = is_free(candidate);
        if let Some(Outlook::Later(called_back)) = self.purses.get(&used).filter(|_| !free) {
            return Ok(Decision::Later(called_back.clone()));
        }
        let charge = match self.charge(used, &candidate.quota) {
            _ if free => Charge::Included,
            Ok(charge) => charge,
            Err(exceeded) => return Ok(Decision::Quota(exceeded)),
        };
        let mut record = candidate.record.clone();
        record.counted_mut().charge = charge;
        let place = recipient.map(|recipient| self.histories.entry(recipient).or_default().next_place());
        self.rows.push(row::new(&record, candidate.idempotency.as_ref(), place)?);
        if !free {
            self.count(used, &candidate.quota, charge);
        }
        record.clear_news();
        if let (Some(recipient), Some(place), Some(trace)) = (recipient, place, record.trace()) {
            self.histories.entry(recipient).or_default().add(place, trace);
        }
        if let Some(idempotency) = &candidate.idempotency {
            let Idempotency { key, fingerprint, expires_at } = *idempotency;
            self.known.insert((candidate.tenant, key), Known { fingerprint, expires_at, record: record.clone() });
        }
        Ok(Decision::Admitted(record))
    }

    fn charge(&self, place: Place, quota: &Quota) -> Result<Charge, QuotaExceeded> {
        if self.tallies.contains_key(&place) {
            // Only what is included is lent, and enough for the whole batch was.
            return Ok(Charge::Included);
        }
        quota.charge(place.counts().map(|key| self.windows.get(&key).map_or(0, Window::used)))
    }

    fn count(&mut self, place: Place, quota: &Quota, charge: Charge) {
        if let Some(more) = self.tallies.get_mut(&place) {
            *more += 1;
            return;
        }
        for (key, allowance) in place.counts().iter().zip(&quota.allowances) {
            let window = self.windows.entry(*key).or_default();
            window.more += 1;
            window.overage += u64::from(charge == Charge::Overage);
            let limit = allowance.included.into_iter().chain(allowance.cap).min();
            if let Some(limit) = limit {
                window.within = Some(window.within.map_or(limit, |within| within.min(limit)));
                // Beyond what is included each use is charged otherwise: only what was read will do.
                window.exact |= window.used() > limit;
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
        let (Idempotency { key, fingerprint, expires_at }, state) = row::repeated(&idem)?;
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
    let mut session = transaction::begin(server).await?;
    match write::<R>(server, &mut session, plan).await {
        Ok(()) => transaction::end(session, until).await,
        Err(setback) => {
            transaction::leave(session).await;
            Err(setback)
        }
    }
}

async fn write<R: Row>(server: &Server, session: &mut ClientSession, plan: &Plan<R>) -> Result<(), Setback> {
    if !plan.windows.is_empty() {
        // In one order on every node, so that two batches of several tenants do not take turns at
        // meeting each other.
        let mut windows: Vec<(&Key, &Window)> = plan.windows.iter().collect();
        windows.sort_unstable_by_key(|(key, _)| **key);
        let count = |(key, window): &(&Key, &Window)| usage::count(**key, window.more, window.overage, window.guard());
        let counts: Vec<Document> = windows.iter().map(count).collect();
        transaction::run(server, session, doc! { "update": schema::USAGE, "updates": counts }).await?;
    }
    if !plan.tallies.is_empty() {
        let counts: Vec<Document> =
            plan.tallies.iter().map(|(place, more)| server.tallies.count(*place, *more)).collect();
        let counted = transaction::run(server, session, doc! { "update": schema::TALLIES, "updates": counts }).await;
        if counted.as_ref().map_or(0, transaction::changed) < plan.tallies.len() {
            // Some were called back; or somebody is just doing that.
            plan.tallies.keys().for_each(|place| server.tallies.forget(*place));
        }
        if transaction::changed(&counted?) < plan.tallies.len() {
            return Err(Setback::Again);
        }
    }
    if !plan.freed.is_empty() {
        let freed = plan.freed.iter().map(|(tenant, key)| {
            let held = doc! { "t": binary(&tenant.to_bytes()), "idem.k": binary(key) };
            doc! { "q": held, "u": { "$unset": { "idem": 1 } } }
        });
        let freed: Vec<Document> = freed.collect();
        transaction::run(server, session, doc! { "update": R::COLLECTION, "updates": freed }).await?;
    }
    transaction::run(server, session, doc! { "insert": R::COLLECTION, "documents": &plan.rows }).await?;
    Ok(())
}
