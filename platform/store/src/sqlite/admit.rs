//! The two atomic promises: admitting, and replacing.

use std::sync::Arc;

use rusqlite::{OptionalExtension as _, params};
use wotp_core::domain::Timestamp;
use wotp_core::domain::address_limits::{
    AddressHistory, AddressLimited, AddressLimits, AddressTrace, FAILURES_MAX, LONG_WINDOW,
};
use wotp_core::domain::guard::GuardNote;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::quota::{Charge, Quota, QuotaExceeded};
use wotp_core::domain::service::EXPIRY_MAX_SECONDS;
use wotp_core::domain::vault::AddressIndex;
use wotp_core::domain::verification::{Status, Verification};
use wotp_core::ports::{Admission, AdmitError, Idempotency, ReplaceError, ResendError};

use super::addresses;
use super::fault::Fault;
use super::hot::Hot;
use super::record::{Columns, Record as _, Table, mode_number};
use super::writer::{Work, Writer};

/// What the writer decided on an admission.
enum Decision {
    Admitted(Charge),
    Repeated(String),
    KeyReused,
    Address(AddressLimited),
    Quota(QuotaExceeded),
    NotKept(GuardNote),
}

/// One admission, made ready on the caller's thread.
struct Candidate<R> {
    tenant: TenantId,
    record: Arc<R>,
    columns: Columns,
    quota: Quota,
    limits: Option<AddressLimits>,
    idempotency: Option<Idempotency>,
    /// Why nothing is to be kept of it.
    unkept: Option<GuardNote>,
    /// What its idempotency key will repeat.
    repeat: Option<String>,
    rewritten: bool,
}

impl<R: Table> Candidate<R> {
    /// Reads and checks first; writes only what is admitted.
    fn decide(&mut self, work: &mut Work<'_>) -> Result<Decision, Fault> {
        let connection = work.connection;
        let now = self.record.created_at();
        if let Some(idempotency) = &self.idempotency {
            let known: Option<([u8; 32], String)> = connection
                .prepare_cached(
                    "SELECT fingerprint, doc FROM idempotency WHERE tenant = ? AND key = ? AND expires_at > ?",
                )?
                .query_row(params![self.tenant.to_bytes(), idempotency.key, now.as_microsecond()], |row| {
                    Ok((row.get(0)?, row.get(1)?))
                })
                .optional()?;
            if let Some((fingerprint, doc)) = known {
                let same = fingerprint == idempotency.fingerprint;
                return Ok(if same { Decision::Repeated(doc) } else { Decision::KeyReused });
            }
        }
        if let (Some(limits), Some(address)) = (&self.limits, &self.columns.address) {
            let history = address_history(work, self.tenant, address, self.record.mode(), now)?;
            if let Err(limited) = limits.admit(&history, now) {
                return Ok(Decision::Address(limited));
            }
        }
        if let Some(note) = &self.unkept {
            return Ok(Decision::NotKept(note.clone()));
        }
        // What a guard stopped is kept, and is no use of anything.
        let free = self.record.counted().refunded;
        let mut used = [0; 2];
        for (used, allowance) in used.iter_mut().zip(&self.quota.allowances) {
            let window = (allowance.window.kind, allowance.window.starts);
            *used = work.usage.used(connection, self.tenant, self.quota.resource, window)?;
        }
        let charge = match self.quota.charge(used) {
            _ if free => Charge::Included,
            Ok(charge) => charge,
            Err(exceeded) => return Ok(Decision::Quota(exceeded)),
        };

        let mut counted = *self.record.counted();
        if charge != counted.charge || self.rewritten {
            // Only the writer knows; rare enough to write the document again here. A command may
            // run twice, and be charged differently the second time.
            self.rewritten = true;
            let mut record = (*self.record).clone();
            record.counted_mut().charge = charge;
            counted.charge = charge;
            self.columns.state = serde_json::to_string(&record.state())?;
            self.repeat = self.repeat.as_ref().map(|_| serde_json::to_string(&record)).transpose()?;
        }
        self.columns.insert::<R>(work, self.idempotency.as_ref().map(|idempotency| &idempotency.key))?;
        if let Some(idempotency) = &self.idempotency {
            connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO idempotency (tenant, key, fingerprint, expires_at, doc, record)
                     VALUES (?, ?, ?, ?, ?, ?)",
                )?
                .execute(params![
                    self.tenant.to_bytes(),
                    idempotency.key,
                    idempotency.fingerprint,
                    idempotency.expires_at.as_microsecond(),
                    self.repeat,
                    self.record.id(),
                ])?;
        }
        if !free {
            work.usage.add(connection, self.tenant, &counted)?;
        }
        Ok(Decision::Admitted(charge))
    }
}

/// Admits one record: counts it and stores it, together.
pub(super) async fn admit<R: Table>(
    (writer, hot): (&Writer, &Arc<Hot<R>>),
    tenant: TenantId,
    mut record: R,
    quota: Quota,
    limits: Option<AddressLimits>,
    idempotency: Option<Idempotency>,
    unkept: Option<GuardNote>,
) -> Result<Admission<R>, AdmitError> {
    let columns = Columns::of_new(tenant, &mut record).map_err(|fault| AdmitError::Store(fault.into()))?;
    let repeat = idempotency.as_ref().map(|_| serde_json::to_string(&record)).transpose();
    let repeat = repeat.map_err(|error| AdmitError::Store(Fault::from(error).into()))?;
    record.clear_news();
    let record = Arc::new(record);
    let shared = Arc::clone(&record);
    let mut candidate =
        Candidate { tenant, record: shared, columns, quota, limits, idempotency, unkept, repeat, rewritten: false };
    let (hot, kept) = (Arc::clone(hot), Arc::clone(&record));
    let keep = move |decision: &Decision| {
        if matches!(decision, Decision::Admitted(charge) if *charge == kept.counted().charge) {
            hot.put(kept);
        }
    };
    match writer.submit_then(move |work| candidate.decide(work), keep).await? {
        Decision::Admitted(charge) => {
            let mut record = Arc::try_unwrap(record).unwrap_or_else(|shared| (*shared).clone());
            record.counted_mut().charge = charge;
            Ok(Admission::Admitted(record))
        }
        Decision::Repeated(doc) => {
            let first = serde_json::from_str(&doc).map_err(|error| AdmitError::Store(Fault::from(error).into()))?;
            Ok(Admission::Repeated(first))
        }
        Decision::KeyReused => Err(AdmitError::KeyReused),
        Decision::Address(limited) => Err(AdmitError::Address(limited)),
        Decision::Quota(exceeded) => Err(AdmitError::Quota(exceeded)),
        Decision::NotKept(note) => Err(AdmitError::NotKept(note)),
    }
}

/// Makes the columns of the next version; the record itself keeps its version until that is stored.
fn next<R: Table>(tenant: TenantId, record: &mut R) -> Result<(Columns, u64), Fault> {
    let expected = *record.version_mut();
    *record.version_mut() = expected.saturating_add(1);
    let columns = Columns::of(tenant, record);
    *record.version_mut() = expected;
    Ok((columns?, expected))
}

/// Stores a changed record, if nobody changed it since.
pub(super) async fn replace<R: Table>(
    (writer, hot): (&Writer, &Arc<Hot<R>>),
    tenant: TenantId,
    record: &mut R,
    refund: bool,
) -> Result<(), ReplaceError> {
    let (columns, expected) = match next(tenant, record) {
        // Through this door there is no such record.
        Err(Fault::Foreign) => return Err(ReplaceError::Conflict),
        next => next.map_err(|fault| ReplaceError::Store(fault.into()))?,
    };
    let refunded = refund.then(|| *record.counted());
    let (hot, id) = (Arc::clone(hot), record.id());
    let kept = record.is_under_way().then(|| {
        let mut kept = record.clone();
        *kept.version_mut() = expected.saturating_add(1);
        kept.clear_news();
        Arc::new(kept)
    });
    let run = move |work: &mut Work<'_>| {
        let replaced = columns.replace::<R>(work, expected)?;
        if let Some(counted) = refunded.as_ref().filter(|_| replaced) {
            work.usage.refund(work.connection, tenant, counted)?;
        }
        Ok(replaced)
    };
    let keep = move |replaced: &bool| match kept {
        Some(kept) if *replaced => hot.put(kept),
        // Ended, or somebody else's change: the file knows.
        _ => hot.remove(tenant, id),
    };
    let replaced = writer.submit_then(run, keep).await?;
    if !replaced {
        return Err(ReplaceError::Conflict);
    }
    *record.version_mut() = expected.saturating_add(1);
    record.clear_news();
    Ok(())
}

/// Stores a verification that was sent again, if its address may be written to once more.
pub(super) async fn replace_for_resend(
    (writer, hot): (&Writer, &Arc<Hot<Verification>>),
    tenant: TenantId,
    verification: &mut Verification,
    exempt: bool,
) -> Result<(), ResendError> {
    let (columns, expected) = match next(tenant, verification) {
        Err(Fault::Foreign) => return Err(ResendError::Conflict),
        next => next.map_err(|fault| ResendError::Store(fault.into()))?,
    };
    let limits = (!exempt).then(|| verification.policy.address_limits.clone());
    let (mode, now) = (verification.mode, verification.sends.last().copied());
    let id = verification.id;
    let hot = Arc::clone(hot);
    let resent = writer
        .submit_then(
            move |work| {
                let connection = work.connection;
                let stored: Option<u64> = connection
                    .prepare_cached(Verification::SQL.version)?
                    .query_row(params![tenant.to_bytes(), id.to_bytes()], |row| row.get(0))
                    .optional()?;
                if stored != Some(expected) {
                    return Ok(Err(None));
                }
                // What is stored does not know the new send yet, so all of it is history.
                if let (Some(limits), Some(address), Some(now)) = (&limits, &columns.address, now) {
                    let history = address_history(work, tenant, address, mode, now)?;
                    if let Err(limited) = limits.admit(&history, now) {
                        return Ok(Err(Some(limited)));
                    }
                }
                columns.replace::<Verification>(work, expected)?;
                Ok(Ok(()))
            },
            move |_| hot.remove(tenant, id.to_bytes()),
        )
        .await?;
    match resent {
        Ok(()) => {
            verification.version = expected.saturating_add(1);
            verification.clear_news();
            Ok(())
        }
        Err(None) => Err(ResendError::Conflict),
        Err(Some(limited)) => Err(ResendError::Address(limited)),
    }
}

/// What is known of an address, as far back as the limits look.
///
/// Newest first, until nothing older can matter: a send matters for a day, and a resend comes at
/// most an hour after its start; wrong guesses matter back to the last right one, but only if the
/// last of them is of the last day, and a hundred are as good as more. So the cost is bounded
/// however long an address has been known.
fn address_history(
    work: &Work<'_>,
    tenant: TenantId,
    address: &AddressIndex,
    mode: Mode,
    now: Timestamp,
) -> Result<AddressHistory, Fault> {
    let reach = LONG_WINDOW.saturating_add(jiff::SignedDuration::from_secs(EXPIRY_MAX_SECONDS.into()));
    let horizon = now.saturating_sub(reach).unwrap_or(Timestamp::MIN);
    let mut find = work.connection.prepare_cached(
        "SELECT verification_state.doc FROM verification JOIN verification_state USING (number)
         WHERE tenant = ? AND id = ? AND mode = ? AND address_index = ?",
    )?;
    let mut traces: Vec<AddressTrace> = Vec::new();
    let (mut failures, mut failures_count) = (0u32, true);
    let recent = work.verification_addresses.recent();
    addresses::visit(
        work.connection,
        &Verification::SQL.addresses,
        recent,
        (tenant, *address),
        addresses::ANY,
        |id| {
            let mut rows = find.query(params![tenant.to_bytes(), id, mode_number(mode), address.as_bytes()])?;
            let Some(row) = rows.next()? else { return Ok(true) };
            let state = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
            let trace: AddressTrace = serde_json::from_str(state)?;
            if trace.created_at < horizon && (!failures_count || failures == 0 || failures >= FAILURES_MAX) {
                return Ok(false);
            }
            if trace.status == Status::Approved {
                failures_count = false;
            } else if failures_count {
                failures += u32::from(trace.checks_used);
            }
            traces.push(trace);
            Ok(true)
        },
    )?;
    let mut history = AddressHistory::default();
    traces.iter().rev().for_each(|trace| history.add(trace));
    Ok(history)
}
