//! Entities: changed together or not at all, found by their keys, listed in order.

mod beside;
mod committing;
mod finding;

pub use beside::*;
pub use committing::*;
pub use finding::*;

use serde::{Deserialize, Serialize};

use super::{ANSWERS, Subject};
use crate::domain::Timestamp;
use crate::domain::id::{ServiceId, TenantId};
use crate::ports::{Change, CommitError, Entity, EntityList, IndexKey, Owner, Stored};
use crate::testing::builders::{entropy, seconds};

/// A kind of thing that has everything a thing can have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Thing {
    id: ServiceId,
    tenant: Option<TenantId>,
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    tags: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    due_at: Option<Timestamp>,
    #[serde(default)]
    extra: serde_json::Value,
}

impl Entity for Thing {
    const KIND: &'static str = "test_thing";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        self.tenant.map_or(Owner::Platform, Owner::Tenant)
    }

    fn unique(&self) -> Vec<IndexKey> {
        self.email.iter().map(|email| IndexKey::new("email", email)).collect()
    }

    fn listed(&self) -> Vec<IndexKey> {
        self.tags.iter().map(|tag| IndexKey::new("tag", tag)).collect()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.due_at
    }
}

/// Another kind of thing, with the same keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Gadget {
    thing: Thing,
}

impl Entity for Gadget {
    const KIND: &'static str = "test_gadget";

    fn id(&self) -> [u8; 16] {
        self.thing.id()
    }

    fn owner(&self) -> Owner {
        self.thing.owner()
    }

    fn unique(&self) -> Vec<IndexKey> {
        self.thing.unique()
    }

    fn listed(&self) -> Vec<IndexKey> {
        self.thing.listed()
    }

    fn wake_at(&self) -> Option<Timestamp> {
        self.thing.wake_at()
    }
}

fn a_thing(tenant: TenantId, second: i64) -> Thing {
    Thing {
        id: ServiceId::new(seconds(second), entropy()),
        tenant: Some(tenant),
        name: "first".to_owned(),
        email: None,
        tags: Vec::new(),
        due_at: None,
        extra: serde_json::Value::Null,
    }
}

fn with_email(tenant: TenantId, email: &str) -> Thing {
    Thing { email: Some(email.to_owned()), ..a_thing(tenant, 0) }
}

async fn made(store: &Subject, changes: Vec<Change>) {
    store.commit(changes).await.expect(ANSWERS);
}

async fn found(store: &Subject, thing: &Thing) -> Option<Stored<Thing>> {
    let row = store.find_entity(Thing::KIND, thing.owner(), thing.id()).await.expect(ANSWERS);
    row.map(|row| Stored::read(row).expect(ANSWERS))
}

async fn read(store: &Subject, thing: &Thing) -> Stored<Thing> {
    found(store, thing).await.expect("it is there")
}

async fn holder(store: &Subject, email: &str) -> Option<Thing> {
    let row = store.find_unique(Thing::KIND, &IndexKey::new("email", email)).await.expect(ANSWERS);
    row.map(|row| Stored::<Thing>::read(row).expect(ANSWERS).entity)
}

async fn listed(store: &Subject, list: &EntityList) -> Vec<Thing> {
    let rows = store.list_entities(Thing::KIND, list).await.expect(ANSWERS);
    rows.into_iter().map(|row| Stored::<Thing>::read(row).expect(ANSWERS).entity).collect()
}

async fn due(store: &Subject, now: Timestamp, limit: usize) -> Vec<Thing> {
    let rows = store.due_entities(Thing::KIND, now, limit).await.expect(ANSWERS);
    rows.into_iter().map(|row| Stored::<Thing>::read(row).expect(ANSWERS).entity).collect()
}

fn is_taken(outcome: &Result<(), CommitError>, name: &str) -> bool {
    matches!(outcome, Err(CommitError::Taken { kind, index }) if *kind == Thing::KIND && *index == name)
}

fn is_changed(outcome: &Result<(), CommitError>) -> bool {
    matches!(outcome, Err(CommitError::Changed))
}
