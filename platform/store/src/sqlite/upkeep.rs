//! What the store does for itself: freeing what a gone process held, and forgetting.

use std::sync::Arc;

use jiff::SignedDuration;
use rusqlite::params;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::message::Message;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::StoreError;

use super::connection_states;
use super::fault::Fault;
use super::hot::Hot;
use super::record::{self, Columns, Table};
use super::writer::{Work, Writer};
use crate::record::USAGE_KEPT;

/// Rows that one command changes at most, so that others do not wait long for their turn.
const BATCH: usize = 256;
/// Holds end within minutes; a day allows for a clock that stepped back.
const HOLDS_END_WITHIN: SignedDuration = SignedDuration::from_hours(24);

/// Frees what workers of a process that is gone still hold; says how many. Its connections are free as well.
///
/// They are found in the index by `wake_at`: what is held is due when its hold ends, so all of it
/// lies before `HOLDS_END_WITHIN`, and `leased` stands in the index beside it. An index of its own
/// would be shorter to scan at a start, and would cost two more writes for each verification.
pub(super) async fn recover(
    writer: &Writer,
    hot: (&Arc<Hot<Verification>>, &Arc<Hot<Message>>),
    now: Timestamp,
) -> Result<usize, StoreError> {
    writer.submit(move |work| connection_states::release_all(work.connection, now)).await?;
    Ok(recover_kind(writer, hot.0, now).await? + recover_kind(writer, hot.1, now).await?)
}

async fn recover_kind<R: Table>(writer: &Writer, hot: &Arc<Hot<R>>, now: Timestamp) -> Result<usize, StoreError> {
    let mut freed = 0;
    loop {
        let stale = Arc::clone(hot);
        let batch = writer.submit_then(move |work| free::<R>(work, now), move |_| stale.clear()).await?;
        freed += batch;
        // Not when fewer than a batch were freed: some of a batch may be unreadable, and stay.
        if batch == 0 {
            return Ok(freed);
        }
    }
}

fn free<R: Table>(work: &mut Work<'_>, now: Timestamp) -> Result<usize, Fault> {
    let until = now.saturating_add(HOLDS_END_WITHIN).unwrap_or(Timestamp::MAX).as_microsecond();
    let mut statement = work.connection.prepare_cached(R::SQL.leased)?;
    // Read whole before anything is written: the index that is walked changes with each write.
    let held = statement
        .query_and_then(params![until, i64::try_from(BATCH).unwrap_or(i64::MAX)], |row| {
            Ok((row.get::<_, [u8; 16]>(2)?, record::read::<R>(row)))
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut freed = 0;
    for (tenant, record) in held {
        let mut record = match record {
            Ok(record) => record,
            Err(error) => {
                // One broken document must not keep the others, and the server, from starting.
                tracing::error!(%error, "a record that was held cannot be read; it stays held");
                continue;
            }
        };
        let expected = *record.version_mut();
        record.dispatch_mut().release(now);
        *record.version_mut() = expected.saturating_add(1);
        let columns = Columns::of(TenantId::from_bytes(tenant), &mut record)?;
        freed += usize::from(columns.replace::<R>(work, expected)?);
    }
    Ok(freed)
}

/// Forgets idempotency keys that expired and counts of long ago; says how many.
pub(super) async fn forget(writer: &Writer, now: Timestamp) -> Result<usize, StoreError> {
    let long_ago = now.saturating_sub(USAGE_KEPT).unwrap_or(Timestamp::MIN);
    let statements = [
        (
            "DELETE FROM idempotency WHERE rowid IN
             (SELECT rowid FROM idempotency WHERE expires_at <= ? LIMIT ?)",
            now,
        ),
        (
            "DELETE FROM usage WHERE (tenant, resource, kind, starts) IN
             (SELECT tenant, resource, kind, starts FROM usage INDEXED BY usage_starts WHERE starts < ? LIMIT ?)",
            long_ago,
        ),
    ];
    let mut forgotten = 0;
    for (sql, before) in statements {
        loop {
            let limit = i64::try_from(BATCH).unwrap_or(i64::MAX);
            let before = before.as_microsecond();
            let batch = writer
                .submit(move |work| Ok(work.connection.prepare_cached(sql)?.execute(params![before, limit])?))
                .await?;
            forgotten += batch;
            if batch < BATCH {
                break;
            }
        }
    }
    Ok(forgotten)
}
