//! The note that a move from another store leaves here: from its first step to its last, so that it can
//! go on after it was cut off, and that no node takes half of an installation for a whole one.

use std::collections::BTreeMap;

use mongodb::Database;
use mongodb::bson::{Binary, Document, deserialize_from_document, doc, serialize_to_document};
use mongodb::error::Error;
use serde::{Deserialize, Serialize};
use wotp_core::domain::Timestamp;

use super::fault::{self, Fault};
use super::row::binary;
use super::schema;
use crate::holding::Kind;

/// The one note's name.
const ID: &str = "store";

/// What is noted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Note {
    #[serde(rename = "_id")]
    id: String,
    /// What tells the source from others.
    source: Binary,
    pub(crate) began_at: Timestamp,
    /// By kind, the last key up to which all is here.
    #[serde(default)]
    done: BTreeMap<String, Binary>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) finished_at: Option<Timestamp>,
    /// By kind, once it was compared. Its older name stays, for the notes that are there.
    #[serde(default, rename = "tallies")]
    pub(crate) totals: BTreeMap<String, Total>,
    /// What did not move, by kind and name.
    #[serde(default)]
    pub(crate) left: Vec<(String, String)>,
    /// Idempotency keys that moved, and those that did not: their record was gone.
    #[serde(default)]
    pub(crate) keys: (u64, u64),
}

/// How many there are of one kind, and what all of them are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Total {
    pub(crate) count: u64,
    /// In hexadecimal.
    pub(crate) sha256: String,
}

impl Note {
    pub(super) fn new(source: &[u8; 32], began_at: Timestamp) -> Self {
        let source = Binary { subtype: mongodb::bson::spec::BinarySubtype::Generic, bytes: source.to_vec() };
        Self {
            id: ID.to_owned(),
            source,
            began_at,
            done: BTreeMap::new(),
            finished_at: None,
            totals: BTreeMap::new(),
            left: Vec::new(),
            keys: (0, 0),
        }
    }

    pub(super) fn is_of(&self, source: &[u8; 32]) -> bool {
        self.source.bytes == source
    }

    pub(crate) fn done(&self, kind: Kind) -> Option<Vec<u8>> {
        self.done.get(kind.name()).map(|key| key.bytes.clone())
    }
}

/// The note that is here.
pub(super) async fn find(database: &Database) -> Result<Option<Note>, Fault> {
    let found = database.collection::<Document>(schema::MOVES).find_one(doc! { "_id": ID }).await?;
    Ok(found.map(deserialize_from_document).transpose()?)
}

/// Notes that a move begins; says whether it was the first to.
pub(super) async fn begin(database: &Database, note: &Note) -> Result<bool, Fault> {
    let row = serialize_to_document(note)?;
    match database.collection(schema::MOVES).insert_one(row).await {
        Ok(_) => Ok(true),
        Err(error) if fault::is_duplicate(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Notes that all of a kind is here, up to `key`.
pub(super) async fn reached(database: &Database, kind: Kind, key: &[u8]) -> Result<(), Fault> {
    let field = format!("done.{}", kind.name());
    set(database, doc! { field: binary(key) }).await.map_err(Fault::from)
}

/// Notes that it is done: what moved and what did not.
pub(super) async fn finish(database: &Database, note: &Note) -> Result<(), Fault> {
    let mut row = serialize_to_document(note)?;
    row.remove("_id");
    set(database, row).await.map_err(Fault::from)
}

async fn set(database: &Database, fields: Document) -> Result<(), Error> {
    let collection = database.collection::<Document>(schema::MOVES);
    collection.update_one(doc! { "_id": ID }, doc! { "$set": fields }).await.map(drop)
}
