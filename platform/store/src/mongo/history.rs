//! What is stored of an address, as far back as its limits look.

use std::collections::HashMap;

use futures_util::{StreamExt as _, TryStreamExt as _};
use jiff::SignedDuration;
use mongodb::Cursor;
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, deserialize_from_slice, doc};
use mongodb::options::Hint;
use serde::Deserialize;
use wotp_core::domain::Timestamp;
use wotp_core::domain::address_limits::{AddressHistory, AddressTrace, FAILURES_MAX, LONG_WINDOW};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::vault::AddressIndex;

use super::Server;
use super::fault::Fault;
use super::row::{self, binary, mode_name};
use super::schema;

/// Verifications that are read of addresses together, for each of them and besides.
const TOGETHER: (usize, usize) = (8, 64);
/// Verifications that are read at once of one address with a long history.
const STEP: u32 = 32;
/// Addresses with a long history that are read at once.
const AT_ONCE: usize = 8;
/// A verification's place is behind all that were started so long after it: a resend takes it to the
/// end, within the hour that it lives at most, and the other hour is for what clocks differ by.
const DISORDER: SignedDuration = SignedDuration::from_hours(2);

/// Whose address, in which mode.
pub(super) type Recipient = (TenantId, Mode, AddressIndex);

/// What is stored of one address.
#[derive(Default)]
pub(super) struct History {
    /// With its place in the sequence, in any order.
    traces: Vec<(i64, AddressTrace)>,
}

impl History {
    pub(super) fn add(&mut self, place: i64, trace: AddressTrace) {
        self.traces.push((place, trace));
    }

    /// The place after the last.
    pub(super) fn next_place(&self) -> i64 {
        self.traces.iter().map(|(place, _)| *place).max().unwrap_or(0) + 1
    }

    /// What follows from all of it.
    pub(super) fn sum(&self) -> AddressHistory {
        self.since(Timestamp::MIN)
    }

    fn since(&self, start: Timestamp) -> AddressHistory {
        let mut traces: Vec<&AddressTrace> =
            self.traces.iter().map(|(_, trace)| trace).filter(|trace| trace.created_at >= start).collect();
        traces.sort_by_key(|trace| trace.created_at);
        let mut history = AddressHistory::default();
        traces.into_iter().for_each(|trace| history.add(trace));
        history
    }

    /// Whether the places before those that are here cannot matter at `now`: a send matters for a day.
    /// Wrong guesses matter back to the last right one, but only if the last of them is of the last day,
    /// and a hundred are as good as more.
    fn suffices(&self, now: Timestamp) -> bool {
        let Some((_, first)) = self.traces.iter().min_by_key(|(place, _)| *place) else { return false };
        // All that was started since is here.
        let whole = first.created_at.saturating_add(DISORDER).unwrap_or(Timestamp::MAX);
        if whole > now.saturating_sub(LONG_WINDOW).unwrap_or(Timestamp::MIN) {
            return false;
        }
        let AddressHistory { approved_at, failures, .. } = self.since(whole);
        approved_at.is_some() || failures == 0 || failures >= FAILURES_MAX
    }
}

/// What is stored of these addresses, as far as it matters at `now` and later.
pub(super) async fn of(
    server: &Server,
    recipients: &[Recipient],
    now: Timestamp,
) -> Result<HashMap<Recipient, History>, Fault> {
    let mut by_tenant: HashMap<(TenantId, Mode), Vec<Bson>> = HashMap::new();
    for (tenant, mode, address) in recipients {
        by_tenant.entry((*tenant, *mode)).or_default().push(binary(address.as_bytes()));
    }
    if by_tenant.is_empty() {
        return Ok(HashMap::new());
    }
    let wanted: Vec<Document> = by_tenant
        .into_iter()
        .map(|((tenant, mode), addresses)| {
            doc! { "t": binary(&tenant.to_bytes()), "a": { "$in": addresses }, "m": mode_name(mode) }
        })
        .collect();
    // Most addresses have next to none, and one question tells it of all.
    let most = recipients.len() * TOGETHER.0 + TOGETHER.1;
    let found = traces(server)
        .find(doc! { "$or": wanted })
        .projection(projection())
        .limit(i64::try_from(most).unwrap_or(i64::MAX))
        .batch_size(u32::try_from(most).unwrap_or(u32::MAX))
        .await?;
    let rows: Vec<RawDocumentBuf> = found.try_collect().await?;
    if rows.len() >= most {
        return one_by_one(server, recipients, now).await;
    }
    let mut histories: HashMap<Recipient, History> = HashMap::new();
    for row in &rows {
        let Traced { m, q, state } = deserialize_from_slice(row.as_bytes())?;
        let recipient = (TenantId::from_bytes(row::id_of(row, "t")?), m, address(row)?);
        histories.entry(recipient).or_default().add(q, state);
    }
    Ok(histories)
}

/// As [`of`], where there is more than can be read of all.
async fn one_by_one(
    server: &Server,
    recipients: &[Recipient],
    now: Timestamp,
) -> Result<HashMap<Recipient, History>, Fault> {
    futures_util::stream::iter(recipients.to_vec())
        .map(|recipient| async move { Ok((recipient, walk(server, recipient, now).await?)) })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// Reads one address's history from its end on, until nothing before can matter.
async fn walk(server: &Server, (tenant, mode, address): Recipient, now: Timestamp) -> Result<History, Fault> {
    let wanted = doc! { "t": binary(&tenant.to_bytes()), "a": binary(address.as_bytes()), "m": mode_name(mode) };
    let mut rows: Cursor<RawDocumentBuf> = traces(server)
        .find(wanted)
        .sort(doc! { "q": -1 })
        // Told which index, the server does not try others, on a hundred documents each.
        .hint(Hint::Name(schema::ADDRESS.to_owned()))
        .projection(projection())
        .batch_size(STEP)
        .await?;
    let mut history = History::default();
    while let Some(row) = rows.try_next().await? {
        let Traced { q, state, .. } = deserialize_from_slice(row.as_bytes())?;
        history.add(q, state);
        // As far as it was read at once it costs nothing more.
        if history.traces.len().is_multiple_of(STEP as usize) && history.suffices(now) {
            break;
        }
    }
    Ok(history)
}

fn traces(server: &Server) -> mongodb::Collection<RawDocumentBuf> {
    server.database.collection(schema::VERIFICATIONS)
}

/// What is read: the fields of [`Traced`], and whose it is.
fn projection() -> Document {
    doc! {
        "_id": 0, "t": 1, "m": 1, "a": 1, "q": 1, "state.status": 1, "state.checks_used": 1, "state.sends": 1,
        "state.created_at": 1, "state.ended_at": 1,
    }
}

fn address(row: &RawDocument) -> Result<AddressIndex, Fault> {
    Ok(AddressIndex::from_bytes(row::bytes_of(row, "a")?))
}

/// One record of an address, as it is read.
#[derive(Deserialize)]
struct Traced {
    m: Mode,
    q: i64,
    state: AddressTrace,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wotp_core::domain::address_limits::AddressLimits;
    use wotp_core::domain::verification::Status;
    use wotp_core::testing::builders::seconds;

    use super::*;

    /// One verification: seconds since the one before, wrong guesses, what came of it, and when it was
    /// sent again, if it was.
    type Life = (i64, u8, Status, Option<i64>);

    fn lives() -> impl Strategy<Value = Vec<Life>> {
        let status = prop_oneof![Just(Status::Approved), Just(Status::Failed), Just(Status::Expired)];
        let life = (0i64..20_000, 0u8..25, status, prop::option::of(0i64..3600));
        prop::collection::vec(life, 1..60)
    }

    /// Their traces, in the order of their places, and when the last was started.
    fn traces(lives: Vec<Life>) -> (Vec<AddressTrace>, i64) {
        let mut start = 0;
        let mut placed = Vec::new();
        for (gap, wrong, status, resend) in lives {
            start += gap;
            let sends = [Some(0), resend].into_iter().flatten().map(|after| seconds(start + after)).collect();
            let ended_at = Some(seconds(start + 3600));
            let trace = AddressTrace { status, checks_used: wrong, sends, created_at: seconds(start), ended_at };
            placed.push((start + resend.unwrap_or(0), trace));
        }
        placed.sort_by_key(|(place, _)| *place);
        (placed.into_iter().map(|(_, trace)| trace).collect(), start)
    }

    proptest! {
        #[test]
        fn what_is_left_unread_changes_no_decision(lives in lives(), after in 0i64..100_000, later in 0i64..100_000) {
            let (traces, last) = traces(lives);
            let (now, later) = (seconds(last + after), seconds(last + after + later));
            let mut all = History::default();
            let mut read = History::default();
            for (place, trace) in (1..).zip(&traces) {
                all.add(place, trace.clone());
            }
            let limits = AddressLimits::default();
            for (place, trace) in (1..).zip(&traces).collect::<Vec<_>>().into_iter().rev() {
                read.add(place, trace.clone());
                if read.suffices(now) {
                    prop_assert_eq!(read.next_place(), all.next_place());
                    for now in [now, later] {
                        prop_assert_eq!(limits.admit(&read.sum(), now), limits.admit(&all.sum(), now));
                    }
                }
            }
        }
    }
}
