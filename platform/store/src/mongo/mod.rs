//! The store that nodes share: MongoDB, a replica set of version 6.0 or newer.
//!
//! Two things differ from the embedded store, and all else follows from them. Several nodes write at
//! once, so what must not happen twice is decided by the server: by conditions on what is changed, by
//! unique indexes, and by one short transaction around an admission ([`admit`]). And every command
//! costs the server more than what it does, so what waits at one moment goes together ([`gather`]).

mod admit;
mod connect;
mod connection_states;
mod dead;
mod entities;
mod erase;
mod fault;
mod fields;
#[cfg(feature = "sqlite")]
mod filling;
mod forms;
mod gather;
mod history;
#[cfg(feature = "sqlite")]
mod holding;
mod keys;
mod lending;
mod moves;
mod nodes;
mod outbox;
mod read;
mod replace;
mod row;
mod schema;
mod store;
mod tally;
mod transaction;
mod upkeep;
mod usage;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use connect::{ConnectError, ConnectOptions};
#[cfg(feature = "sqlite")]
pub(crate) use fault::Fault;
#[cfg(feature = "sqlite")]
pub(crate) use filling::{Begun, FillError, Filling, Mirrored};
use gather::Gather;
use mongodb::bson::{Document, RawDocumentBuf};
use mongodb::{Client, Collection, Database};
#[cfg(feature = "sqlite")]
pub(crate) use moves::{Note, Total};
pub use schema::SchemaError;
use tally::Tallies;
use wotp_core::domain::message::Message;
use wotp_core::domain::verification::Verification;

use crate::turns::Turns;

/// A store in one MongoDB database, which any number of nodes share.
pub struct MongoStore {
    server: Server,
    verifications: Records<Verification>,
    messages: Records<Message>,
    small: Small,
    states: connection_states::States,
}

/// What reaches the server.
#[derive(Clone)]
struct Server {
    client: Client,
    database: Database,
    sessions: Arc<replace::Sessions>,
    tallies: Arc<Tallies>,
    /// Whether it is being looked for transactions that nobody will end.
    clearing: Arc<AtomicBool>,
    /// Whose turn it is to read many.
    turns: Arc<Turns>,
    /// How long something is tried again.
    patience: Duration,
}

impl Server {
    fn new(client: Client, database: Database, patience: Duration) -> Self {
        Self {
            client,
            database,
            sessions: Arc::default(),
            tallies: Arc::new(Tallies::new()),
            clearing: Arc::default(),
            turns: Arc::default(),
            patience,
        }
    }

    fn collection(&self, name: &str) -> Collection<Document> {
        self.database.collection(name)
    }
}

/// Verifications, or messages, and what goes to the server together.
struct Records<R> {
    admissions: Gather<admit::Candidate<R>, admit::Decision<R>>,
    changes: Gather<replace::Change, bool>,
    reads: Gather<[u8; 16], Option<RawDocumentBuf>>,
}

/// What every call looks for: keys by their hash, tenants and services.
struct Small {
    keys: Gather<[u8; 32], Option<RawDocumentBuf>>,
    tenants: Gather<[u8; 16], Option<RawDocumentBuf>>,
    services: Gather<[u8; 16], Option<RawDocumentBuf>>,
    /// Those that are looked for by their name. Many calls want the same few at one moment.
    entities: Gather<Vec<u8>, Option<RawDocumentBuf>>,
    /// Those that are looked for by what they are listed under.
    listed: Gather<entities::Wanted, Vec<RawDocumentBuf>>,
}

impl MongoStore {
    /// The database that everything is in.
    pub fn database(&self) -> &str {
        self.server.database.name()
    }
}
