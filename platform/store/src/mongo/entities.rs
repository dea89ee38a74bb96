//! Entities: one collection for all kinds. Every commit is a transaction that reads what it rests on.

use async_trait::async_trait;
use futures_util::TryStreamExt as _;
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, deserialize_from_bson, doc, serialize_to_bson};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::tenant::Tenant;
use wotp_core::ports::{Change, CommitError, Entities, EntityList, EntityRow, IndexKey, Owner, StoreError};

use super::fault::Fault;
use super::row::{binary, id_of, number};
use super::store::{held, key_row, service_row, tenant_row};
use super::transaction::{self, Attempts, Setback, begin, changed, end, leave, run};
use super::{MongoStore, Server, fields, forms, schema};

/// What came of a try.
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
        self.one(kind, doc! { "_id": name(kind, owner, id) }).await
    }

    async fn find_unique(&self, kind: &'static str, key: &IndexKey) -> Result<Option<EntityRow>, StoreError> {
        self.one(kind, doc! { "u": key_of(kind, key) }).await
    }

    async fn list_entities(&self, kind: &'static str, list: &EntityList) -> Result<Vec<EntityRow>, StoreError> {
        let mut wanted = match &list.by {
            Some(by) => doc! { "l": key_of(kind, by) },
            None => doc! { "k": kind },
        };
        if let Some(owner) = list.owner {
            wanted.insert("o", binary(&owner.to_bytes()));
        }
        let mut range = Document::new();
        if let Some(from) = list.from {
            range.insert("$gte", binary(&from));
        }
        if let Some(before) = list.before {
            range.insert("$lt", binary(&before));
        }
        if !range.is_empty() {
            wanted.insert("i", range);
        }
        let sort = doc! { "i": if list.newest_first { -1 } else { 1 } };
        self.many(kind, wanted, sort, list.limit).await
    }

    async fn due_entities(
        &self,
        kind: &'static str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<EntityRow>, StoreError> {
        let wanted = doc! { "k": kind, "w": { "$lte": now.as_microsecond() } };
        self.many(kind, wanted, doc! { "w": 1 }, limit).await
    }

    async fn erase_entities(&self, tenant: TenantId, limit: usize) -> Result<usize, StoreError> {
        let entities = self.server.collection(schema::ENTITIES);
        let wanted = doc! { "o": binary(&tenant.to_bytes()) };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = entities.find(wanted).projection(doc! { "_id": 1 }).limit(limit).await.map_err(Fault::from)?;
        let found: Vec<Document> = found.try_collect().await.map_err(Fault::from)?;
        let ids: Vec<Bson> = found.into_iter().filter_map(|mut row| row.remove("_id")).collect();
        if ids.is_empty() {
            return Ok(0);
        }
        let gone = entities.delete_many(doc! { "_id": { "$in": ids } }).await.map_err(Fault::from)?;
        Ok(usize::try_from(gone.deleted_count).unwrap_or(usize::MAX))
    }
}

impl MongoStore {
    async fn one(&self, kind: &'static str, wanted: Document) -> Result<Option<EntityRow>, StoreError> {
        let row = self.server.collection(schema::ENTITIES).find_one(wanted).await.map_err(Fault::from)?;
        Ok(row.map(|row| read(kind, row)).transpose()?)
    }

    async fn many(
        &self,
        kind: &'static str,
        wanted: Document,
        sort: Document,
        limit: usize,
    ) -> Result<Vec<EntityRow>, StoreError> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.server.collection(schema::ENTITIES).find(wanted).sort(sort).limit(limit).await;
        let rows: Vec<Document> = found.map_err(Fault::from)?.try_collect().await.map_err(Fault::from)?;
        Ok(rows.into_iter().map(|row| read(kind, row)).collect::<Result<_, _>>()?)
    }

    async fn commit_whole(&self, changes: &[Change]) -> Result<Outcome, Fault> {
        let mut attempts = Attempts::new(&self.server);
        loop {
            let attempt = async {
                let mut session = begin(&self.server).await?;
                for change in changes {
                    match apply(&self.server, &mut session, change).await? {
                        Outcome::Made => {}
                        refused => {
                            leave(session).await;
                            return Ok(refused);
                        }
                    }
                }
                end(session, attempts.end()).await.map(|()| Outcome::Made)
            };
            match attempt.await {
                Ok(outcome) => return Ok(outcome),
                Err(Setback::Failed(fault)) => return Err(fault),
                // It may have been made: the caller reads again, and finds its own change or another's.
                Err(Setback::Unknown) => return Err(Fault::Late),
                Err(Setback::Again) => attempts.again().await?,
            }
        }
    }
}

/// Kind, owner and id in one: what an entity is named by.
fn name(kind: &str, owner: Owner, id: [u8; 16]) -> Bson {
    binary(&[kind.as_bytes(), &[0], &owner.to_bytes(), &id].concat())
}

/// A value in an index of a kind.
fn key_of(kind: &str, key: &IndexKey) -> Bson {
    binary(&[kind.as_bytes(), &[0], key.index.as_bytes(), &[0], &key.value].concat())
}

fn keys_of(kind: &str, keys: &[IndexKey]) -> Vec<Bson> {
    keys.iter().map(|key| key_of(kind, key)).collect()
}

fn read(kind: &'static str, mut row: Document) -> Result<EntityRow, Fault> {
    let whole = mongodb::bson::RawDocumentBuf::try_from(&row)?;
    let (owner, id) = (Owner::from_bytes(id_of(&whole, "o")?), id_of(&whole, "i")?);
    let version = row.get_i64("v").ok().and_then(|version| u64::try_from(version).ok());
    let wake_at = row.get_i64("w").ok().and_then(|moment| Timestamp::from_microsecond(moment).ok());
    let doc = row.remove("doc").ok_or(Fault::Shape("an entity holds nothing"))?;
    Ok(EntityRow {
        kind,
        owner,
        id,
        version: version.ok_or(Fault::Shape("an entity has no version"))?,
        unique: Vec::new(),
        listed: Vec::new(),
        wake_at,
        doc: deserialize_from_bson(doc)?,
    })
}

fn stored(row: &EntityRow, version: u64) -> Result<Document, Fault> {
    let mut stored = doc! {
        "_id": name(row.kind, row.owner, row.id),
        "k": row.kind,
        "o": binary(&row.owner.to_bytes()),
        "i": binary(&row.id),
        "v": number(version),
        "schema": forms::FORM,
        "doc": serialize_to_bson(&row.doc)?,
    };
    // Absent, not empty: the indexes hold only those that have some.
    if !row.unique.is_empty() {
        stored.insert("u", keys_of(row.kind, &row.unique));
    }
    if !row.listed.is_empty() {
        stored.insert("l", keys_of(row.kind, &row.listed));
    }
    if let Some(wake_at) = row.wake_at {
        stored.insert("w", wake_at.as_microsecond());
    }
    Ok(stored)
}

async fn find(
    server: &Server,
    session: &mut ClientSession,
    collection: &str,
    wanted: Document,
) -> Result<Option<Document>, Setback> {
    server.collection(collection).find_one(wanted).session(session).await.map_err(transaction::setback)
}

async fn version(server: &Server, session: &mut ClientSession, row: &EntityRow) -> Result<Option<u64>, Setback> {
    let found = find(server, session, schema::ENTITIES, doc! { "_id": name(row.kind, row.owner, row.id) }).await?;
    Ok(found.and_then(|row| row.get_i64("v").ok()).and_then(|version| u64::try_from(version).ok()))
}

async fn write(
    server: &Server,
    session: &mut ClientSession,
    row: &EntityRow,
    version: u64,
) -> Result<Outcome, Setback> {
    for key in &row.unique {
        // Looked at first, since a unique index would end the transaction and not say which it was. One that
        // another transaction takes meanwhile does end it, and is seen here the next time.
        let other = doc! { "u": key_of(row.kind, key), "_id": { "$ne": name(row.kind, row.owner, row.id) } };
        if find(server, session, schema::ENTITIES, other).await?.is_some() {
            return Ok(Outcome::Taken(row.kind, key.index));
        }
    }
    let stored = stored(row, version).map_err(Setback::Failed)?;
    let update = doc! { "q": { "_id": name(row.kind, row.owner, row.id) }, "u": stored, "upsert": true };
    run(server, session, doc! { "update": schema::ENTITIES, "updates": [update] }).await?;
    Ok(Outcome::Made)
}

async fn insert(
    server: &Server,
    session: &mut ClientSession,
    collection: &str,
    row: Result<Document, Fault>,
    kind: &'static str,
) -> Result<Outcome, Setback> {
    let row = row.map_err(Setback::Failed)?;
    let id = row.get("_id").cloned().unwrap_or(Bson::Null);
    if find(server, session, collection, doc! { "_id": id }).await?.is_some() {
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

pub(super) async fn apply(server: &Server, session: &mut ClientSession, change: &Change) -> Result<Outcome, Setback> {
    match change {
        Change::Insert(row) => match version(server, session, row).await? {
            Some(_) => Ok(Outcome::Taken(row.kind, "id")),
            None => write(server, session, row, 1).await,
        },
        Change::Replace(row) => match version(server, session, row).await? {
            Some(version) if version == row.version => write(server, session, row, version.saturating_add(1)).await,
            _ => Ok(Outcome::Changed),
        },
        Change::Put(row) => {
            let version = version(server, session, row).await?.unwrap_or(0);
            write(server, session, row, version.saturating_add(1)).await
        }
        Change::Delete(row) => match version(server, session, row).await? {
            Some(version) if version == row.version => {
                let gone = doc! { "q": { "_id": name(row.kind, row.owner, row.id) }, "limit": 1 };
                run(server, session, doc! { "delete": schema::ENTITIES, "deletes": [gone] }).await?;
                Ok(Outcome::Made)
            }
            _ => Ok(Outcome::Changed),
        },
        Change::InsertTenant(tenant) => insert(server, session, schema::TENANTS, tenant_row(tenant), "tenant").await,
        Change::ReplaceTenant(tenant) => {
            let next = Tenant { version: tenant.version.saturating_add(1), ..(**tenant).clone() };
            let mut wanted = doc! { "_id": binary(&tenant.id.to_bytes()) };
            match tenant.version {
                // From before tenants had versions, or never changed since.
                0 => wanted.insert("doc.version", doc! { "$in": [0_i64, Bson::Null] }),
                version => wanted.insert("doc.version", number(version)),
            };
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
            let wanted = doc! { "t": binary(&key.tenant.to_bytes()), "id": binary(&key.id.to_bytes()) };
            update(server, session, schema::API_KEYS, wanted, &**key, Document::new()).await
        }
    }
}
