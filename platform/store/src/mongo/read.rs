//! Reading records: one by one, by page, and what is due.

use std::collections::HashMap;

use futures_util::TryStreamExt as _;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::FindOptions;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::ports::{DueItem, Filter, Page};

use super::Server;
use super::fault::Fault;
use super::row::{self, Row, binary, bytes_of, id_of, mode_name, status_name};

/// Records that a listing fetches at once, when it must look at more than it shows.
const FETCHED: u32 = 200;

/// What is read of something small.
pub(super) fn held() -> Document {
    doc! { "t": 1, "doc": 1 }
}

/// The documents with these ids, whoever's they are: the asker looks at the tenant. The same id may be
/// asked for many times.
pub(super) async fn by_ids<const N: usize>(
    server: Server,
    (collection, projection): (&'static str, Document),
    ids: Vec<[u8; N]>,
) -> Result<Vec<Result<Option<RawDocumentBuf>, Fault>>, Fault> {
    let mut distinct = ids.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let wanted: Vec<_> = distinct.iter().map(|id| binary(id)).collect();
    let found = server
        .database
        .collection::<RawDocumentBuf>(collection)
        .find(doc! { "_id": { "$in": wanted } })
        .projection(projection)
        .batch_size(u32::try_from(distinct.len()).unwrap_or(u32::MAX).saturating_add(1))
        .await?;
    let mut by_id = HashMap::with_capacity(distinct.len());
    let rows: Vec<RawDocumentBuf> = found.try_collect().await?;
    for row in rows {
        by_id.insert(bytes_of(&row, "_id")?, row);
    }
    Ok(ids.iter().map(|id| Ok(by_id.get(id).cloned())).collect())
}

/// A page of a listing, newest first.
pub(super) async fn page<R: Row>(
    server: &Server,
    tenant: TenantId,
    filter: &Filter,
    after: Option<[u8; 16]>,
    limit: usize,
) -> Result<Page<R>, Fault> {
    let mut ids = Document::new();
    if let Some(from) = filter.created_from {
        ids.insert("$gte", binary(&R::id_at(from)));
    }
    if let Some(before) = filter.created_before {
        // Ids know milliseconds; the rest is decided below.
        let next = before.saturating_add(jiff::SignedDuration::from_millis(1)).unwrap_or(Timestamp::MAX);
        ids.insert("$lt", binary(&R::id_at(next).min(after.unwrap_or([u8::MAX; 16]))));
    } else if let Some(after) = after {
        ids.insert("$lt", binary(&after));
    }
    let mut wanted = doc! { "t": binary(&tenant.to_bytes()) };
    if !ids.is_empty() {
        wanted.insert("_id", ids);
    }
    if let Some(mode) = filter.mode {
        wanted.insert("m", mode_name(mode));
    }
    if let Some(service) = filter.service {
        wanted.insert("service", binary(&service.to_bytes()));
    }
    if let Some(status) = filter.status {
        wanted.insert("s", status_name(Some(status)));
    }
    if let Some(channel) = &filter.channel {
        wanted.insert("state.dispatch.deliveries.channel", channel);
    }
    if let Some(address) = filter.address {
        wanted.insert("a", binary(address.as_bytes()));
    }
    // Names of metadata are the caller's, and may look like paths: what they hold is looked at here.
    let batch = u32::try_from(limit).unwrap_or(FETCHED).saturating_add(1).min(FETCHED);
    let options =
        FindOptions::builder().sort(doc! { "_id": -1 }).projection(row::projection()).batch_size(batch).build();
    let mut rows =
        server.database.collection::<RawDocumentBuf>(R::COLLECTION).find(wanted).with_options(options).await?;
    let mut page = Page { items: Vec::new(), more: false };
    while let Some(row) = rows.try_next().await? {
        let record: R = row::read(&row)?;
        let shown = filter.created_from.is_none_or(|from| record.created_at() >= from)
            && filter.created_before.is_none_or(|before| record.created_at() < before)
            && filter.metadata.iter().all(|(key, value)| record.metadata_holds(key, value));
        if shown && page.items.len() == limit {
            page.more = true;
            break;
        }
        if shown {
            page.items.push(record);
        }
    }
    Ok(page)
}

/// What is due of one kind, the longest due first.
pub(super) async fn due<R: Row>(server: &Server, now: Timestamp, limit: usize) -> Result<Vec<(i64, DueItem)>, Fault> {
    if limit == 0 {
        // To the server no limit means all.
        return Ok(Vec::new());
    }
    let found = server
        .database
        .collection::<RawDocumentBuf>(R::COLLECTION)
        .find(doc! { "w": { "$lte": now.as_microsecond() } })
        .sort(doc! { "w": 1 })
        .limit(i64::try_from(limit).unwrap_or(i64::MAX))
        .projection(doc! { "t": 1, "w": 1 })
        .await?;
    let rows: Vec<RawDocumentBuf> = found.try_collect().await?;
    rows.iter()
        .map(|row| {
            let wake_at = row.get_i64("w").map_err(|_| Fault::Shape("a record has no time to wake"))?;
            Ok((wake_at, (TenantId::from_bytes(id_of(row, "t")?), R::item(id_of(row, "_id")?))))
        })
        .collect()
}
