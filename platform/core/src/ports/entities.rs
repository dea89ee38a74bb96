//! What changes rarely and is found by a few keys: people, memberships, invitations, endpoints, events.
//!
//! All of these are kept the same way, so a new kind of thing needs no work in any store: it implements
//! [`Entity`]. Verifications and messages have tables of their own, for what they cost.

use std::ops::ControlFlow;

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::outbox::NewsKey;
use super::store::StoreError;
use crate::domain::Timestamp;
use crate::domain::api_key::{ApiKey, KeyHash};
use crate::domain::id::TenantId;
use crate::domain::known_fields;
use crate::domain::service::Service;
use crate::domain::tenant::Tenant;

/// Whose a thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The platform's own: people, and what belongs to no tenant.
    Platform,
    /// A tenant's. It goes when the tenant is erased.
    Tenant(TenantId),
}

impl Owner {
    /// 16 bytes: the tenant's id, or zeros.
    pub fn to_bytes(self) -> [u8; 16] {
        match self {
            Self::Platform => [0; 16],
            Self::Tenant(tenant) => tenant.to_bytes(),
        }
    }

    /// The tenant, if it is one.
    pub fn tenant(self) -> Option<TenantId> {
        match self {
            Self::Platform => None,
            Self::Tenant(tenant) => Some(tenant),
        }
    }

    /// The owner that [`to_bytes`](Self::to_bytes) came from.
    pub fn from_bytes(bytes: [u8; 16]) -> Self {
        if bytes == [0; 16] { Self::Platform } else { Self::Tenant(TenantId::from_bytes(bytes)) }
    }
}

/// A value under which a thing is found, in an index that has a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct IndexKey {
    /// The index, as in `email`. Names are of one kind of thing.
    pub index: &'static str,
    /// What it holds, at most 200 bytes. Where a value is secret, its hash.
    pub value: Vec<u8>,
}

impl IndexKey {
    /// This value in this index.
    pub fn new(index: &'static str, value: impl AsRef<[u8]>) -> Self {
        Self { index, value: value.as_ref().to_vec() }
    }
}

/// A kind of thing that is kept as an entity.
///
/// It is a struct with named fields, none of them flattened. Its fields follow the rules of every document: a new one has a default, none is renamed, and one that a
/// newer program added is left as it is by an older one.
pub trait Entity: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// What it is called in the store, as in `user`. NEVER change one that was released.
    const KIND: &'static str;

    /// Its id: things are listed in the order of these.
    fn id(&self) -> [u8; 16];

    /// Whose it is. Never changes.
    fn owner(&self) -> Owner;

    /// Where no other thing of its kind may have the same value, whoever owns it.
    fn unique(&self) -> Vec<IndexKey> {
        Vec::new()
    }

    /// Under what it is listed.
    fn listed(&self) -> Vec<IndexKey> {
        Vec::new()
    }

    /// The next moment at which time asks something of it.
    fn wake_at(&self) -> Option<Timestamp> {
        None
    }
}

/// A thing as a store keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct EntityRow {
    /// [`Entity::KIND`].
    pub kind: &'static str,
    /// Whose it is.
    pub owner: Owner,
    /// Its id.
    pub id: [u8; 16],
    /// How often it was written, from 1. In a change: as it was read; not looked at where it is new.
    pub version: u64,
    /// Where nothing else may be. Empty in what was read.
    pub unique: Vec<IndexKey>,
    /// Under what it is listed. Empty in what was read.
    pub listed: Vec<IndexKey>,
    /// When time asks something of it.
    pub wake_at: Option<Timestamp>,
    /// Its fields.
    pub doc: Map<String, Value>,
}

/// A thing as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored<E> {
    /// What it is now.
    pub entity: E,
    version: u64,
    /// Fields that a newer program added.
    unknown: Map<String, Value>,
}

impl<E> std::ops::Deref for Stored<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.entity
    }
}

impl<E> std::ops::DerefMut for Stored<E> {
    fn deref_mut(&mut self) -> &mut E {
        &mut self.entity
    }
}

impl<E: Entity> Stored<E> {
    /// Reads what a store gave.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not of this kind.
    pub fn read(row: EntityRow) -> Result<Self, StoreError> {
        let EntityRow { version, doc, .. } = row;
        let known = known_fields::of::<E>();
        debug_assert!(!known.is_empty(), "an entity is a struct with named fields, none of them flattened");
        let unknown = doc.iter().filter(|(name, _)| !known.contains(&name.as_str()));
        let unknown = unknown.map(|(name, value)| (name.clone(), value.clone())).collect();
        let entity = serde_json::from_value(Value::Object(doc)).map_err(|error| StoreError::Damaged(error.into()))?;
        Ok(Self { entity, version, unknown })
    }
}

fn row<E: Entity>(entity: &E, version: u64, unknown: &Map<String, Value>) -> EntityRow {
    let Ok(Value::Object(mut doc)) = serde_json::to_value(entity) else {
        unreachable!("an entity is a struct whose fields JSON can hold")
    };
    doc.extend(unknown.clone());
    let once = |mut keys: Vec<IndexKey>| {
        keys.sort_unstable();
        keys.dedup();
        keys
    };
    EntityRow {
        kind: E::KIND,
        owner: entity.owner(),
        id: entity.id(),
        version,
        unique: once(entity.unique()),
        listed: once(entity.listed()),
        wake_at: entity.wake_at(),
        doc,
    }
}

/// One of the changes that are made together.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// A new thing.
    Insert(EntityRow),
    /// A thing that is still as it was read becomes this.
    Replace(EntityRow),
    /// A thing that is still as it was read goes.
    Delete(EntityRow),
    /// A thing becomes this, whatever it was, if it was at all.
    Put(EntityRow),
    /// A new tenant.
    InsertTenant(Box<Tenant>),
    /// A tenant that still has this version becomes this, with the next version.
    ReplaceTenant(Box<Tenant>),
    /// A new service.
    InsertService(Box<Service>),
    /// A service that still has this version becomes this, with the next version.
    ReplaceService(Box<Service>),
    /// A new key.
    InsertKey(Box<ApiKey>, KeyHash),
    /// A key that still has this version becomes this, with the next version.
    ReplaceKey(Box<ApiKey>),
    /// A key that still has this version goes.
    DeleteKey(Box<ApiKey>),
    /// News that nobody took yet go.
    TakeNews(Box<NewsKey>),
}

impl Change {
    /// A new thing.
    pub fn insert<E: Entity>(entity: &E) -> Self {
        Self::Insert(row(entity, 0, &Map::new()))
    }

    /// A thing that is still as it was read becomes what it is now.
    pub fn replace<E: Entity>(stored: &Stored<E>) -> Self {
        Self::Replace(row(&stored.entity, stored.version, &stored.unknown))
    }

    /// A thing that is still as it was read goes.
    pub fn delete<E: Entity>(stored: &Stored<E>) -> Self {
        Self::Delete(row(&stored.entity, stored.version, &Map::new()))
    }

    /// A thing becomes this, whatever it was, if it was at all.
    pub fn put<E: Entity>(entity: &E) -> Self {
        Self::Put(row(entity, 0, &Map::new()))
    }
}

/// Changes that were not made, none of them.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Something is not as it was read: somebody changed it meanwhile, or it is gone.
    #[error("it changed since it was read")]
    Changed,
    /// Something else has this value, or this id.
    #[error("another {kind} has the same {index}")]
    Taken {
        /// The kind of thing.
        kind: &'static str,
        /// The index, or `id`.
        index: &'static str,
    },
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which things are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityList {
    /// Whose; none means everybody's.
    pub owner: Option<Owner>,
    /// With this value in this index.
    pub by: Option<IndexKey>,
    /// With an id from this one on.
    pub from: Option<[u8; 16]>,
    /// With an id before this one.
    pub before: Option<[u8; 16]>,
    /// With these texts in fields of these names. A store sorts out those that have them nowhere, and may show
    /// others: whoever asks looks again. It spares reading them; they are walked over all the same.
    pub holds: Vec<(&'static str, String)>,
    /// The newest first, else the oldest.
    pub newest_first: bool,
    /// At most so many; [`usize::MAX`] means all.
    pub limit: usize,
}

impl EntityList {
    /// All of an owner's, oldest first, however many: whoever wants no more than some says so.
    pub fn of(owner: Owner) -> Self {
        let (by, holds) = (None, Vec::new());
        Self { owner: Some(owner), by, from: None, before: None, holds, newest_first: false, limit: usize::MAX }
    }

    /// All with a value in an index, whoever owns them, oldest first, however many.
    pub fn by(index: &'static str, value: impl AsRef<[u8]>) -> Self {
        let by = Some(IndexKey::new(index, value));
        let holds = Vec::new();
        Self { owner: None, by, from: None, before: None, holds, newest_first: false, limit: usize::MAX }
    }

    /// The texts that a document must hold somewhere, as it is stored.
    pub fn texts(&self) -> Vec<String> {
        self.holds
            .iter()
            .map(|(field, text)| format!("{}:{}", Value::from(*field), Value::from(text.as_str())))
            .collect()
    }

    /// The newest first, and so many.
    #[must_use]
    pub fn newest(self, limit: usize) -> Self {
        Self { newest_first: true, limit, ..self }
    }
}

/// Is shown things one by one, and says when it has seen enough.
pub type Visit = Box<dyn FnMut(EntityRow) -> ControlFlow<()> + Send>;

/// Keeps entities.
///
/// A commit that returned is durable. It is all or nothing, and of racing commits that replace the same
/// thing one is made.
#[async_trait]
pub trait Entities: Send + Sync {
    /// Makes all of these changes, or none.
    ///
    /// # Errors
    /// [`CommitError`].
    async fn commit(&self, changes: Vec<Change>) -> Result<(), CommitError>;

    /// A thing of an owner.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_entity(
        &self,
        kind: &'static str,
        owner: Owner,
        id: [u8; 16],
    ) -> Result<Option<EntityRow>, StoreError>;

    /// The one thing that has this value in a unique index, whoever owns it: for what nobody can name
    /// without holding it, as a token, and for what is the platform's.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_unique(&self, kind: &'static str, key: &IndexKey) -> Result<Option<EntityRow>, StoreError>;

    /// Things of a kind, in the order of their ids. One whose fields cannot be read has none, so that whoever reads it
    /// finds it damaged and all others are there; so in whatever else gives many.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_entities(&self, kind: &'static str, list: &EntityList) -> Result<Vec<EntityRow>, StoreError>;

    /// Things of a kind and an owner that have one of a few values in an index, in no order: for a call that
    /// waits for what few things have, all of it at once.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_listed(
        &self,
        kind: &'static str,
        owner: Owner,
        keys: Vec<IndexKey>,
    ) -> Result<Vec<EntityRow>, StoreError>;

    /// How many things of a kind, of all owners, have this value in an index. At most `limit` are counted, and none is
    /// read for it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn count_listed(&self, kind: &'static str, key: &IndexKey, limit: usize) -> Result<usize, StoreError>;

    /// Shows things as [`list_entities`](Self::list_entities) would return them, one by one: for reading many.
    /// Nothing waits for it but whoever asks, and it waits for its turn: a few go on at once, of a tenant fewer than of
    /// all, so that whoever reads much keeps nobody's calls waiting.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn visit_entities(&self, kind: &'static str, list: &EntityList, visit: Visit) -> Result<(), StoreError>;

    /// Things of a kind whose time has come at `now`, the longest due first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due_entities(
        &self,
        kind: &'static str,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<EntityRow>, StoreError>;

    /// Lets a thing that is due at `now` be due at `until` instead, whatever its fields are: for what cannot be
    /// read. Does nothing where it is not due by now.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn put_off(
        &self,
        kind: &'static str,
        owner: Owner,
        id: [u8; 16],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<(), StoreError>;
}
