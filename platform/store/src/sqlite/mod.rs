//! The embedded store: one SQLite file, served by one process.
//!
//! One thread writes and commits for everybody who waits ([`writer`]); reading goes on beside it
//! ([`read`]). A second process, the command line, may open the same file to write tenants,
//! services and keys while the first one serves; counts and verifications belong to the server.

mod addresses;
mod admit;
mod backup;
mod checkpoint;
mod connection_states;
#[cfg(feature = "mongodb")]
mod contents;
mod entities;
mod erase;
mod fault;
mod hot;
mod keys;
mod nodes;
mod outbox;
mod read;
mod record;
mod salvage;
mod schema;
mod search;
mod store;
mod upkeep;
mod usage;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use addresses::{Addresses, Recent};
pub use backup::{BackupError, Progress, Stats, backup, verify};
use checkpoint::LogKeeper;
#[cfg(feature = "mongodb")]
pub(crate) use contents::{Contents, Found};
use hot::Hot;
use read::Readers;
use record::Table as _;
pub use salvage::{salvage_entities, salvage_keys, salvage_values};
pub use schema::{OlderSchema, OpenError, OpenOptions, VERSION as SCHEMA_VERSION};
use wotp_core::domain::message::Message;
use wotp_core::domain::verification::Verification;
use writer::Writer;

/// A store in one SQLite file.
///
/// Dropping it finishes what waits, moves the log into the file and closes it.
pub struct SqliteStore {
    path: PathBuf,
    // Before `writer`: the last connection to close moves the log into the file, and one that only
    // reads could not.
    readers: Arc<Readers>,
    writer: Writer,
    verifications: Arc<Hot<Verification>>,
    messages: Arc<Hot<Message>>,
    verification_addresses: Arc<Recent>,
    message_addresses: Arc<Recent>,
}

impl SqliteStore {
    /// Opens the file, creates it when there is none, and brings its schema up to date, as far as
    /// `options` allow.
    ///
    /// # Errors
    /// [`OpenError`], in words that say what to do.
    pub fn open(path: impl AsRef<Path>, options: OpenOptions) -> Result<Self, OpenError> {
        let path = path.as_ref().to_owned();
        let mut connection = schema::open(&path, &options)?;
        let log = LogKeeper::start(&mut connection, &path, &options)?;
        let (verification_addresses, message_addresses) = (Arc::default(), Arc::default());
        let addresses = |sql, recent: &Arc<Recent>| {
            Addresses::open(&connection, sql, Arc::clone(recent)).map_err(|error| OpenError::of(&path, error))
        };
        let of_verifications = addresses(&Verification::SQL.addresses, &verification_addresses)?;
        let of_messages = addresses(&Message::SQL.addresses, &message_addresses)?;
        let writer = Writer::start(connection, log, of_verifications, of_messages)
            .map_err(|source| OpenError::Thread { source })?;
        let readers = Arc::new(Readers::new(path.clone()));
        let (verifications, messages) = (Arc::default(), Arc::default());
        Ok(Self { path, readers, writer, verifications, messages, verification_addresses, message_addresses })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
