//! Entities: one collection for all kinds. Every commit is a transaction that writes under the condition that all is as
//! its caller read it; where it is not, another reads what it rests on, all of it at once, decides, and writes.
//!
//! `_id` kind, owner and id; `k` kind, `o` owner, `i` id, `v` version, `w` when time asks something of it,
//! `u` what no other may have and `l` under what it is listed, `doc` its fields as JSON. JSON, since what
//! tenants hand in is within, and BSON takes names as `$numberLong` for something else.

mod decide;

use std::collections::HashMap;

use async_trait::async_trait;
use futures_util::{StreamExt as _, TryStreamExt as _};
use mongodb::action::Find;
#[cfg(feature = "sqlite")]
use mongodb::bson::RawBsonRef;
use mongodb::bson::{Bson, Document, RawDocument, RawDocumentBuf, doc};
use mongodb::options::Hint;
use mongodb::{ClientSession, Collection};
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::ApiKey;
use wotp_core::domain::tenant::Tenant;
use wotp_core::ports::{Change, CommitError, Entities, EntityList, EntityRow, IndexKey, Owner, StoreError, Visit};

use self::decide::{Found, Statements};
use super::fault::Fault;
use super::row::{binary, id_of, number};
use super::store::{held, key_row, service_row, tenant_row};
use super::transaction::{self, Attempts, Setback, begin, changed, end, leave, run};
use super::{MongoStore, Server, fields, forms, outbox, schema};
#[cfg(feature = "sqlite")]
use crate::holding::StoredEntity;

/// Documents that are fetched together when many are looked at.
const FETCHED: u32 = 1000;
/// Documents that are looked at together: some take tens of kilobytes, and all that are looked at are in memory.
const VISITED: usize = 100;

/// What came of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Made,
    Changed,
    Taken(&'static str, &'static str),
}

impl Outcome {
    pub(super) fn made(self) -> Result<(), CommitError> {
        match self {
            Self::Made => Ok(()),
            Self::Changed => Err(CommitError::Changed),
            Self::Taken(kind, index) => Err(CommitError::Taken { kind, index }),
        }
    }
}

#[async_trait]
impl Entities for MongoStore {
    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.commit_whole(&changes).await.map_err(StoreError::from)?.made()
    }

    async fn find_entity(
        &self,
        kind: &'static str,
        owner: Owner,
        id: [u8; 16],
    ) -> Result<Option<EntityRow>, StoreError> {
        let row = self.small.entities.ask(name(kind, owner, id)).await?;
        Ok(row.map(|row| read(kind, &row)).transpose()?)
    }

    async fn find_unique(&self, kind: &'static str, key: &IndexKey) -> Result<Option<EntityRow>, StoreError> {
        self.one(kind, doc! { "u": binary(&key_of(kind, key)) }).await
    }

    async fn list_entities(&self, kind: &'static str, list: &EntityList) -> Result<Vec<EntityRow>, StoreError> {
        if list.limit == 0 {
            return Ok(Vec::new());
        }
        let found = listed(&self.entities(), kind, list).await.map_err(Fault::from)?;
        let found: Vec<RawDocumentBuf> = found.try_collect().await.map_err(Fault::from)?;
        Ok(found.iter().map(|row| read_or_bare(kind, row)).collect::<Result<_, _>>()?)
    }

    async fn find_listed(
        &self,
        kind: &'static str,
        owner: Owner,
        keys: Vec<IndexKey>,
    ) -> Result<Vec<EntityRow>, StoreError> {
        let keys = keys.iter().map(|key| key_of(kind, key)).collect();
        let rows = self.small.listed.ask((owner.to_bytes(), keys)).await?;
        Ok(rows.iter().map(|row| read_or_bare(kind, row)).collect::<Result<_, _>>()?)
    }

    async fn count_listed(&self, kind: &'static str, key: &IndexKey, limit: usize) -> Result<usize, StoreError> {
        if limit == 0 {
            return Ok(0);
        }
        // Of the index alone: ids are part of it, and the documents are not fetched.
        let entities = self.entities();
        let find = entities.find(doc! { "l": binary(&key_of(kind, key)) }).projection(doc! { "i": 1, "_id": 0 });
        let find = find.sort(doc! { "i": 1 }).limit(i64::try_from(limit).unwrap_or(0)).batch_size(FETCHED);
        let found = find.await.map_err(Fault::from)?;
        Ok(found.try_fold(0, async |count, _| Ok(count + 1)).await.map_err(Fault::from)?)
    }

    async fn visit_entities(&self, kind: &'static str, list: &EntityList, mut visit: Visit) -> Result<(), StoreError> {
        if list.limit == 0 {
            return Ok(());
        }
        let turn = self.server.turns.turn(list.owner.and_then(Owner::tenant)).await;
        let mut turn = turn.map_err(Fault::from)?;
        let found = listed(&self.entities(), kind, list).batch_size(FETCHED).await.map_err(Fault::from)?;
        let mut batches = found.try_chunks(VISITED);
        while let Some(rows) = batches.next().await {
            let rows = rows.map_err(|error| Fault::from(error.1))?;
            // Reading them takes the processor, and others' calls wait for nothing of it. What nobody waits for any more
            // keeps its turn until it is read.
            let shown = tokio::task::spawn_blocking(move || {
                for row in &rows {
                    if visit(read_or_bare(kind, row)?).is_break() {
                        return Ok(None);
                    }
                }
                Ok::<_, Fault>(Some((visit, turn)))
            });
            match shown.await.map_err(|_| Fault::Closed)?? {
                Some(next) => (visit, turn) = next,
                None => break,
            }
        }
        Ok(())
    }

    async fn due_entities(
        &self,
        kind: &'static str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<EntityRow>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let entities = self.entities();
        let found = entities.find(due(kind, now)).sort(doc! { "w": 1 }).limit(limit).await.map_err(Fault::from)?;
        let rows: Vec<RawDocumentBuf> = found.try_collect().await.map_err(Fault::from)?;
        Ok(rows.iter().map(|row| read_or_bare(kind, row)).collect::<Result<_, _>>()?)
    }

    async fn put_off(
        &self,
        kind: &'static str,
        owner: Owner,
        id: [u8; 16],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let wanted = doc! { "_id": binary(&name(kind, owner, id)), "w": { "$lte": now.as_microsecond() } };
        let change = doc! { "$set": { "w": until.as_microsecond() } };
        self.server.collection(schema::ENTITIES).update_one(wanted, change).await.map_err(Fault::from)?;
        Ok(())
    }
}

impl MongoStore {
    async fn one(&self, kind: &'static str, wanted: Document) -> Result<Option<EntityRow>, StoreError> {
        let row = self.entities().find_one(wanted).await.map_err(Fault::from)?;
        Ok(row.map(|row| read(kind, &row)).transpose()?)
    }

    fn entities(&self) -> Collection<RawDocumentBuf> {
        self.server.database.collection(schema::ENTITIES)
    }

    async fn commit_whole(&self, changes: &[Change]) -> Result<Outcome, Fault> {
        let mut attempts = Attempts::new(&self.server);
        // Nearly always all is as it was read: it is written under that condition, and not looked at again.
        let mut expected = Found::expected(changes);
        loop {
            let is_guess = expected.is_some();
            match self.attempt(changes, expected.take(), &attempts).await {
                // What is in the way is told by a look.
                Ok(Outcome::Changed | Outcome::Taken(..)) if is_guess => {}
                Ok(outcome) => return Ok(outcome),
                Err(Setback::Failed(fault)) => return Err(fault),
                // It may have been made: the caller reads again, and finds its own change or another's.
                Err(Setback::Unknown) => return Err(Fault::Late),
                Err(Setback::Again) => attempts.again().await?,
            }
        }
    }

    async fn attempt(
        &self,
        changes: &[Change],
        expected: Option<Found>,
        attempts: &Attempts<'_>,
    ) -> Result<Outcome, Setback> {
        let mut session = begin(&self.server).await?;
        let outcome = match expected {
            Some(expected) => write(&self.server, &mut session, changes, expected).await?,
            None => make(&self.server, &mut session, changes).await?,
        };
        match outcome {
            Outcome::Made => end(session, attempts.end()).await.map(|()| Outcome::Made),
            refused => {
                leave(session).await;
                Ok(refused)
            }
        }
    }
}

/// Makes all changes up to the first that is refused.
pub(super) async fn make(server: &Server, session: &mut ClientSession, changes: &[Change]) -> Result<Outcome, Setback> {
    // Decided before anything is written, so that what is refused cost a single read.
    let found = found(server, session, changes).await?;
    write(server, session, changes, found).await
}

/// Makes all changes, if what there is of entities is as in `found`.
async fn write(
    server: &Server,
    session: &mut ClientSession,
    changes: &[Change],
    found: Found,
) -> Result<Outcome, Setback> {
    let statements = match decide::decide(found, changes).map_err(Setback::Failed)? {
        Ok(statements) => statements,
        Err(refused) => return Ok(refused),
    };
    if !outbox::take(server, session, changes).await? {
        return Ok(Outcome::Changed);
    }
    for change in changes {
        match apply(server, session, change).await? {
            Outcome::Made => {}
            refused => return Ok(refused),
        }
    }
    for statements in statements {
        let (count, command) = match statements {
            Statements::Updates(updates) => (updates.len(), doc! { "update": schema::ENTITIES, "updates": updates }),
            Statements::Deletes(deletes) => (deletes.len(), doc! { "delete": schema::ENTITIES, "deletes": deletes }),
        };
        // A unique value that another transaction took meanwhile ends this one, and is found the next time.
        if changed(&run(server, session, command).await?) < count {
            return Ok(Outcome::Changed);
        }
    }
    Ok(Outcome::Made)
}

/// What there is of the entities that are changed, and of those that have what is to be unique.
async fn found(server: &Server, session: &mut ClientSession, changes: &[Change]) -> Result<Found, Setback> {
    let Some(wanted) = decide::wanted(changes) else { return Ok(Found::default()) };
    let entities = server.collection(schema::ENTITIES);
    let looked_at = doc! { "v": 1, "u": 1 };
    let cursor = entities.find(wanted).projection(looked_at).session(&mut *session).await;
    let mut cursor = cursor.map_err(transaction::setback)?;
    let rows: Vec<Document> = cursor.stream(session).try_collect().await.map_err(transaction::setback)?;
    Found::of(&rows).map_err(Setback::Failed)
}

/// Kind, owner and id in one: what an entity is named by.
pub(super) fn name(kind: &str, owner: Owner, id: [u8; 16]) -> Vec<u8> {
    [kind.as_bytes(), &[0], &owner.to_bytes(), &id].concat()
}

/// The entities of these names. The same one may be asked for many times.
pub(super) async fn by_names(
    server: Server,
    names: Vec<Vec<u8>>,
) -> Result<Vec<Result<Option<RawDocumentBuf>, Fault>>, Fault> {
    let mut distinct = names.clone();
    distinct.sort_unstable();
    distinct.dedup();
    let wanted: Vec<Bson> = distinct.iter().map(|name| binary(name)).collect();
    let entities = server.database.collection::<RawDocumentBuf>(schema::ENTITIES);
    let found = entities.find(doc! { "_id": { "$in": wanted } }).await?;
    let rows: Vec<RawDocumentBuf> = found.try_collect().await?;
    let mut by_name = HashMap::with_capacity(rows.len());
    for row in rows {
        let name = row.get_binary("_id").map_err(|_| Fault::Shape("an entity has no name"))?.bytes.to_vec();
        by_name.insert(name, row);
    }
    Ok(names.iter().map(|name| Ok(by_name.get(name).cloned())).collect())
}

/// An owner, and values in an index of one kind of what it has.
pub(super) type Wanted = ([u8; 16], Vec<Vec<u8>>);

/// What each of these owners has with one of its values.
pub(super) async fn by_keys(
    server: Server,
    questions: Vec<Wanted>,
) -> Result<Vec<Result<Vec<RawDocumentBuf>, Fault>>, Fault> {
    let mut keys: Vec<&Vec<u8>> = questions.iter().flat_map(|(_, keys)| keys).collect();
    keys.sort_unstable();
    keys.dedup();
    let wanted: Vec<Bson> = keys.into_iter().map(|key| binary(key)).collect();
    let mut owners: Vec<[u8; 16]> = questions.iter().map(|(owner, _)| *owner).collect();
    owners.sort_unstable();
    owners.dedup();
    let owners: Vec<Bson> = owners.iter().map(|owner| binary(owner)).collect();
    let entities = server.database.collection::<RawDocumentBuf>(schema::ENTITIES);
    let wanted = doc! { "l": { "$in": wanted }, "o": { "$in": owners } };
    let found = entities.find(wanted).hint(Hint::Name(schema::LISTED_OF.to_owned())).await?;
    let rows: Vec<RawDocumentBuf> = found.try_collect().await?;
    let mut by_key: HashMap<([u8; 16], Vec<u8>), Vec<usize>> = HashMap::new();
    for (place, row) in rows.iter().enumerate() {
        let owner = id_of(row, "o")?;
        let listed = row.get_array("l").map_err(|_| Fault::Shape("an entity that is listed has no keys"))?;
        for key in listed.into_iter().filter_map(|key| Some(key.ok()?.as_binary()?.bytes.to_vec())) {
            by_key.entry((owner, key)).or_default().push(place);
        }
    }
    let answer = |(owner, keys): Wanted| {
        let places = keys.into_iter().filter_map(|key| by_key.get(&(owner, key))).flatten();
        Ok(places.filter_map(|place| rows.get(*place).cloned()).collect())
    };
    Ok(questions.into_iter().map(answer).collect())
}

/// A value in an index of a kind.
fn key_of(kind: &str, key: &IndexKey) -> Vec<u8> {
    key_in(kind, key.index, &key.value)
}

fn key_in(kind: &str, index: &str, value: &[u8]) -> Vec<u8> {
    [kind.as_bytes(), &[0], index.as_bytes(), &[0], value].concat()
}

/// The fields of an entity as they are stored.
fn json(doc: &serde_json::Map<String, serde_json::Value>) -> Result<String, Fault> {
    serde_json::to_string(doc).map_err(|_| Fault::Shape("an entity cannot be written as JSON"))
}

fn keys_of(kind: &str, keys: &[IndexKey]) -> Vec<Bson> {
    keys.iter().map(|key| binary(&key_of(kind, key))).collect()
}

/// The look-up of a list.
fn listed<'e>(entities: &'e Collection<RawDocumentBuf>, kind: &str, list: &EntityList) -> Find<'e, RawDocumentBuf> {
    let (wanted, sort) = listing(kind, list);
    // To MongoDB 0 is no limit.
    let find = entities.find(wanted).sort(sort).limit(i64::try_from(list.limit).unwrap_or(0));
    match index(list) {
        Some(index) => find.hint(Hint::Name(index.to_owned())),
        None => find,
    }
}

/// The index that is to be walked, where the server might take one in which everybody's come between one owner's.
fn index(list: &EntityList) -> Option<&'static str> {
    (list.by.is_some() && list.owner.is_some()).then_some(schema::LISTED_OF)
}

/// What is listed, and in which order.
fn listing(kind: &str, list: &EntityList) -> (Document, Document) {
    let direction = if list.newest_first { -1 } else { 1 };
    let mut range = Document::new();
    let holds = |text: String| doc! { "$gte": [{ "$indexOfBytes": ["$doc", { "$literal": text }] }, 0] };
    let holds: Vec<Document> = list.texts().into_iter().map(holds).collect();
    if let (None, Some(owner)) = (&list.by, list.owner) {
        // All names of a kind are of one length, by which MongoDB orders first.
        range.insert("$gte", binary(&name(kind, owner, list.from.unwrap_or_default())));
        match list.before {
            Some(before) => range.insert("$lt", binary(&name(kind, owner, before))),
            None => range.insert("$lte", binary(&name(kind, owner, [u8::MAX; 16]))),
        };
        let mut wanted = doc! { "_id": range };
        if !holds.is_empty() {
            wanted.insert("$expr", doc! { "$and": holds });
        }
        return (wanted, doc! { "_id": direction });
    }
    let mut wanted = match &list.by {
        Some(by) => doc! { "l": binary(&key_of(kind, by)) },
        None => doc! { "k": kind },
    };
    if let Some(owner) = list.owner {
        wanted.insert("o", binary(&owner.to_bytes()));
    }
    if let Some(from) = list.from {
        range.insert("$gte", binary(&from));
    }
    if let Some(before) = list.before {
        range.insert("$lt", binary(&before));
    }
    if !range.is_empty() {
        wanted.insert("i", range);
    }
    if !holds.is_empty() {
        wanted.insert("$expr", doc! { "$and": holds });
    }
    (wanted, doc! { "i": direction })
}

/// What is due of a kind.
fn due(kind: &str, now: Timestamp) -> Document {
    doc! { "k": kind, "w": { "$lte": now.as_microsecond() } }
}

fn read(kind: &'static str, row: &RawDocument) -> Result<EntityRow, Fault> {
    let doc = row.get_str("doc").ok().and_then(|doc| serde_json::from_str(doc).ok());
    let version = version_of(row).ok_or(Fault::Shape("an entity has no version"))?;
    read_with(kind, row, version, doc.ok_or(Fault::Shape("an entity is not what this program writes"))?)
}

/// One whose fields cannot be read has none: it is damaged to whoever reads it, and keeps no others from being
/// read.
fn read_or_bare(kind: &'static str, row: &RawDocument) -> Result<EntityRow, Fault> {
    let doc = row.get_str("doc").ok().and_then(|doc| serde_json::from_str(doc).ok());
    match (version_of(row), doc) {
        (Some(version), Some(doc)) => read_with(kind, row, version, doc),
        _ => read_with(kind, row, 0, serde_json::Map::new()),
    }
}

fn version_of(row: &RawDocument) -> Option<u64> {
    row.get_i64("v").ok().and_then(|version| u64::try_from(version).ok())
}

fn read_with(
    kind: &'static str,
    row: &RawDocument,
    version: u64,
    doc: serde_json::Map<String, serde_json::Value>,
) -> Result<EntityRow, Fault> {
    let wake_at = row.get_i64("w").ok().and_then(|moment| Timestamp::from_microsecond(moment).ok());
    Ok(EntityRow {
        kind,
        owner: Owner::from_bytes(id_of(row, "o")?),
        id: id_of(row, "i")?,
        version,
        unique: Vec::new(),
        listed: Vec::new(),
        wake_at,
        doc,
    })
}

/// The document of an entity that comes from another store.
#[cfg(feature = "sqlite")]
pub(super) fn whole(entity: &StoredEntity) -> Result<Document, Fault> {
    let StoredEntity { kind, owner, id, version, wake_at, unique, listed, doc } = entity;
    let keys = |keys: &[(String, Vec<u8>)]| -> Vec<Bson> {
        keys.iter().map(|(index, value)| binary(&key_in(kind, index, value))).collect()
    };
    let mut whole = doc! {
        "_id": binary(&name(kind, Owner::from_bytes(*owner), *id)),
        "k": kind,
        "o": binary(owner),
        "i": binary(id),
        "v": number(*version),
        "schema": forms::FORM,
        "doc": json(doc)?,
    };
    if let Some(wake_at) = wake_at {
        whole.insert("w", wake_at.as_microsecond());
    }
    if !unique.is_empty() {
        whole.insert("u", keys(unique));
    }
    if !listed.is_empty() {
        whole.insert("l", keys(listed));
    }
    Ok(whole)
}

/// The entity in a document, with all that it is found by.
#[cfg(feature = "sqlite")]
pub(super) fn read_whole(row: &RawDocument) -> Result<StoredEntity, Fault> {
    let kind = row.get_str("k").map_err(|_| Fault::Shape("an entity is of no kind"))?.to_owned();
    let keys = |field: &str| -> Result<Vec<(String, Vec<u8>)>, Fault> {
        let Ok(values) = row.get_array(field) else { return Ok(Vec::new()) };
        let key = |value: RawBsonRef<'_>| {
            let within = value.as_binary()?.bytes.strip_prefix(kind.as_bytes())?.strip_prefix(&[0])?;
            let (index, value) = within.split_at_checked(within.iter().position(|byte| *byte == 0)?)?;
            Some((std::str::from_utf8(index).ok()?.to_owned(), value.get(1..)?.to_vec()))
        };
        values.into_iter().map(|value| key(value?).ok_or(Fault::Shape("an entity has a key of another kind"))).collect()
    };
    let (unique, listed) = (keys("u")?, keys("l")?);
    // Its kind is not one that this program need know.
    let EntityRow { owner, id, version, wake_at, doc, .. } = read("", row)?;
    Ok(StoredEntity { kind, owner: owner.to_bytes(), id, version, wake_at, unique, listed, doc })
}

async fn insert(
    server: &Server,
    session: &mut ClientSession,
    collection: &str,
    row: Result<Document, Fault>,
    kind: &'static str,
) -> Result<Outcome, Setback> {
    let row = row.map_err(Setback::Failed)?;
    // Looked at first, since a unique index would end the transaction, and not say for whom it was taken.
    let mut same = vec![doc! { "_id": row.get("_id") }];
    if let (Some(tenant), Some(id)) = (row.get("t"), row.get("id")) {
        same.push(doc! { "t": tenant, "id": id });
    }
    let there = server.collection(collection).find_one(doc! { "$or": same }).session(&mut *session).await;
    if there.map_err(transaction::setback)?.is_some() {
        return Ok(Outcome::Taken(kind, "id"));
    }
    run(server, session, doc! { "insert": collection, "documents": [row] }).await?;
    Ok(Outcome::Made)
}

/// Changes what one document holds, if it is still as `wanted` says.
async fn update<T: serde::Serialize + serde::de::DeserializeOwned>(
    server: &Server,
    session: &mut ClientSession,
    collection: &str,
    wanted: Document,
    what: &T,
    more: Document,
) -> Result<Outcome, Setback> {
    let Bson::Document(held) = held(what).map_err(Setback::Failed)? else {
        return Err(Setback::Failed(Fault::Shape("it is no document")));
    };
    let (mut set, mut unset) = (more, Document::new());
    fields::change::<T>("doc", held, &mut set, &mut unset);
    let mut change = doc! { "$set": set, "$max": { "schema": forms::FORM } };
    if !unset.is_empty() {
        change.insert("$unset", unset);
    }
    let updates = [doc! { "q": wanted, "u": change }];
    let reply = run(server, session, doc! { "update": collection, "updates": updates }).await?;
    Ok(if changed(&reply) > 0 { Outcome::Made } else { Outcome::Changed })
}

/// A version as a filter.
fn version(version: u64) -> Bson {
    match version {
        // From before there were versions, or never changed since.
        0 => doc! { "$in": [0_i64, Bson::Null] }.into(),
        version => number(version).into(),
    }
}

/// Makes a change of what is no entity.
async fn apply(server: &Server, session: &mut ClientSession, change: &Change) -> Result<Outcome, Setback> {
    match change {
        // Decided on together.
        Change::Insert(_) | Change::Replace(_) | Change::Put(_) | Change::Delete(_) | Change::TakeNews(_) => {
            Ok(Outcome::Made)
        }
        Change::InsertTenant(tenant) => insert(server, session, schema::TENANTS, tenant_row(tenant), "tenant").await,
        Change::ReplaceTenant(tenant) => {
            let next = Tenant { version: tenant.version.saturating_add(1), ..(**tenant).clone() };
            let wanted = doc! { "_id": binary(&tenant.id.to_bytes()), "doc.version": version(tenant.version) };
            update(server, session, schema::TENANTS, wanted, &next, Document::new()).await
        }
        Change::InsertService(service) => {
            insert(server, session, schema::SERVICES, service_row(service), "service").await
        }
        Change::ReplaceService(service) => {
            let mut next = service.clone();
            next.version = service.version.saturating_add(1);
            let wanted = doc! {
                "_id": binary(&service.id.to_bytes()),
                "t": binary(&service.tenant.to_bytes()),
                "v": number(service.version),
            };
            let more = doc! { "v": number(next.version) };
            update(server, session, schema::SERVICES, wanted, &*next, more).await
        }
        Change::InsertKey(key, hash) => insert(server, session, schema::API_KEYS, key_row(key, hash), "API key").await,
        Change::ReplaceKey(key) => {
            let next = ApiKey { version: key.version.saturating_add(1), ..(**key).clone() };
            let wanted = doc! {
                "t": binary(&key.tenant.to_bytes()),
                "id": binary(&key.id.to_bytes()),
                "doc.version": version(key.version),
            };
            update(server, session, schema::API_KEYS, wanted, &next, Document::new()).await
        }
        Change::DeleteKey(key) => {
            let wanted = doc! {
                "t": binary(&key.tenant.to_bytes()),
                "id": binary(&key.id.to_bytes()),
                "doc.version": version(key.version),
            };
            let deletes = [doc! { "q": wanted, "limit": 1 }];
            let reply = run(server, session, doc! { "delete": schema::API_KEYS, "deletes": deletes }).await?;
            Ok(if changed(&reply) > 0 { Outcome::Made } else { Outcome::Changed })
        }
    }
}

#[cfg(test)]
mod tests;
