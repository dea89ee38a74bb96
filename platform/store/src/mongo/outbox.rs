//! The outbox: news are kept in the document of their verification or message, and taken out of it.
//!
//! A change of a record is one update and no transaction, so what it came to is in the same update: an element
//! of `n`, of which `v` is the version, `s` when it happened first and `d` the news as JSON. News of a record
//! that is deleted, or that came from another store, are documents of their own.

use std::collections::BTreeMap;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
#[cfg(feature = "sqlite")]
use mongodb::bson::RawDocument;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::Hint;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::message::Message;
use wotp_core::domain::news::News;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{Change, Item, NewsKey, Outbox, StoreError};

use super::fault::Fault;
use super::row::{Row, binary, number};
use super::transaction::{self, Attempts, Setback};
use super::{MongoStore, Server, schema};

/// The place of news that are a document of their own.
const ALONE: i64 = 0;
/// Finds documents of records that have news.
const WITH_NEWS: &str = "n.s";

#[async_trait]
impl Outbox for MongoStore {
    async fn news(&self, limit: usize) -> Result<Vec<(NewsKey, News)>, StoreError> {
        Ok(news(&self.server, limit).await?)
    }
}

async fn news(server: &Server, limit: usize) -> Result<Vec<(NewsKey, News)>, Fault> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    // What cannot be read is passed over, and counts for nothing: it stays, at the head.
    let (mut all, batch) = (Vec::new(), u32::try_from(limit).unwrap_or(u32::MAX));
    // What is alone is older than all that is not, and there is rarely any.
    let outbox = server.collection(schema::OUTBOX);
    let mut alone = outbox.find(doc! {}).sort(doc! { "_id": 1 }).batch_size(batch).await?;
    while all.len() < limit
        && let Some(row) = alone.try_next().await?
    {
        all.extend(read(&row, Some(ALONE), |news| row.get("_id") == Some(&name_of(news))));
    }
    if !all.is_empty() {
        return Ok(all);
    }
    let (verifications, messages) =
        tokio::try_join!(within::<Verification>(server, limit), within::<Message>(server, limit))?;
    let mut found: Vec<(i64, NewsKey, News)> = verifications.into_iter().chain(messages).collect();
    found.sort_by_key(|(first, ..)| *first);
    Ok(found.into_iter().map(|(_, key, news)| (key, news)).collect())
}

/// The news within documents of a kind, with when the first of each happened: about `limit`.
async fn within<R: Row>(server: &Server, limit: usize) -> Result<Vec<(i64, NewsKey, News)>, Fault> {
    let collection = server.collection(R::COLLECTION);
    let mut found = collection
        .find(doc! { WITH_NEWS: { "$exists": true } })
        .sort(doc! { WITH_NEWS: 1 })
        .projection(doc! { "n": 1, "t": 1 })
        .hint(Hint::Name(schema::NEWS.to_owned()))
        .batch_size(u32::try_from(limit).unwrap_or(u32::MAX))
        .await?;
    let mut all = Vec::new();
    while all.len() < limit
        && let Some(row) = found.try_next().await?
    {
        let elements = row.get_array("n").into_iter().flatten().filter_map(Bson::as_document);
        let of_record = |news: &News| {
            row.get("_id") == Some(&binary(&news.item().to_bytes()))
                && R::item(news.item().to_bytes()) == news.item()
                && row.get("t") == Some(&binary(&news.tenant().to_bytes()))
        };
        let read = |element: &Document| {
            let version = element.get_i64("v").ok();
            let (key, news) = read(element, None, |news| version == Some(number(news.version())) && of_record(news))?;
            Some((element.get_i64("s").unwrap_or_default(), key, news))
        };
        all.extend(elements.filter_map(read));
    }
    Ok(all)
}

/// The news in an element, or in a document of their own. They are taken by what they say of themselves: where that is
/// not where they are, they could not be, and would be folded again and again.
fn read(row: &Document, place: Option<i64>, is_theirs: impl Fn(&News) -> bool) -> Option<(NewsKey, News)> {
    let news = row.get_str("d").ok().and_then(|text| serde_json::from_str::<News>(text).ok());
    let Some(news) = news.filter(is_theirs) else {
        // Some that cannot be read must not keep all others waiting behind them.
        tracing::error!("news cannot be read; they stay in the outbox");
        return None;
    };
    Some((NewsKey::of(&news, place), news))
}

/// News as an element of their record's document.
pub(super) fn element(news: &News) -> Result<Document, Fault> {
    let first = news.happenings().first().map_or(news.created_at(), |happening| happening.at);
    Ok(doc! { "v": number(news.version()), "s": first.as_microsecond(), "d": json(news)? })
}

fn json(news: &News) -> Result<String, Fault> {
    serde_json::to_string(news).map_err(|_| Fault::Shape("news cannot be written as JSON"))
}

fn name(item: [u8; 16], version: i64) -> Bson {
    binary(&[&item[..], &version.to_be_bytes()].concat())
}

fn name_of(news: &News) -> Bson {
    name(news.item().to_bytes(), number(news.version()))
}

/// News as a document of their own.
#[cfg(feature = "sqlite")]
pub(super) fn alone(news: &News) -> Result<Document, Fault> {
    Ok(doc! { "_id": name_of(news), "t": binary(&news.tenant().to_bytes()), "d": json(news)? })
}

/// The news in a document of their own.
#[cfg(feature = "sqlite")]
pub(super) fn read_alone(row: &RawDocument) -> Result<News, Fault> {
    let news = row.get_str("d").ok().and_then(|text| serde_json::from_str(text).ok());
    news.ok_or(Fault::Shape("news are not what this program writes"))
}

/// Takes news; says whether all of them were there.
pub(super) async fn take(server: &Server, session: &mut ClientSession, changes: &[Change]) -> Result<bool, Setback> {
    let (mut within, mut alone) = (BTreeMap::<_, BTreeMap<_, Vec<i64>>>::new(), Vec::new());
    for change in changes {
        if let Change::TakeNews(key) = change {
            let (id, version) = (key.item.to_bytes(), number(key.version));
            let collection = match key.item {
                Item::Verification(_) => Verification::COLLECTION,
                Item::Message(_) => Message::COLLECTION,
            };
            match key.place {
                None => {
                    let of_kind = within.entry(collection).or_default();
                    of_kind.entry((key.tenant.to_bytes(), id)).or_default().push(version);
                }
                Some(_) => alone.push(doc! { "q": { "_id": name(id, version) }, "limit": 1 }),
            }
        }
    }
    if !alone.is_empty() {
        let count = alone.len();
        let reply = transaction::run(server, session, doc! { "delete": schema::OUTBOX, "deletes": alone }).await?;
        if transaction::changed(&reply) < count {
            return Ok(false);
        }
    }
    for (collection, within) in within {
        let updates = within.iter().map(|((tenant, id), versions)| {
            doc! {
                "q": { "_id": binary(id), "t": binary(tenant), "n.v": { "$all": versions } },
                "u": { "$pull": { "n": { "v": { "$in": versions } } } },
                // Otherwise the server weighs it against the tenant's index.
                "hint": { "_id": 1 },
            }
        });
        let updates: Vec<Document> = updates.collect();
        let reply = transaction::run(server, session, doc! { "update": collection, "updates": updates }).await?;
        if transaction::changed(&reply) < within.len() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Deletes a record. What was not told of it yet stays, as documents of its own.
pub(super) async fn delete<R: Row>(server: &Server, tenant: TenantId, id: [u8; 16]) -> Result<(), Fault> {
    let wanted = doc! { "_id": binary(&id), "t": binary(&tenant.to_bytes()) };
    let records = server.collection(R::COLLECTION);
    let mut told = wanted.clone();
    told.insert(WITH_NEWS, doc! { "$exists": false });
    if records.delete_one(told).await?.deleted_count > 0 {
        return Ok(());
    }
    let mut attempts = Attempts::new(server);
    loop {
        let attempt = async {
            let mut session = transaction::begin(server).await?;
            let row = records.find_one(wanted.clone()).projection(doc! { "n": 1 }).session(&mut session).await;
            let Some(row) = row.map_err(transaction::setback)? else {
                transaction::leave(session).await;
                return Ok(());
            };
            let mut kept = Vec::new();
            for element in row.get_array("n").into_iter().flatten().filter_map(Bson::as_document) {
                let shape = || Setback::Failed(Fault::Shape("news are not whole"));
                let version = element.get_i64("v").map_err(|_| shape())?;
                let text = element.get_str("d").map_err(|_| shape())?;
                kept.push(doc! { "_id": name(id, version), "t": binary(&tenant.to_bytes()), "d": text });
            }
            if !kept.is_empty() {
                let command = doc! { "insert": schema::OUTBOX, "documents": kept };
                transaction::run(server, &mut session, command).await?;
            }
            let deletes = [doc! { "q": &wanted, "limit": 1 }];
            let command = doc! { "delete": R::COLLECTION, "deletes": deletes };
            transaction::run(server, &mut session, command).await?;
            transaction::end(session, attempts.end()).await
        };
        match attempt.await {
            Ok(()) => return Ok(()),
            Err(Setback::Failed(fault)) => return Err(fault),
            Err(Setback::Unknown) => return Err(Fault::Late),
            Err(Setback::Again) => attempts.again().await?,
        }
    }
}

#[cfg(test)]
mod tests;
