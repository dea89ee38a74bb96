//! An installation with a database file of its own: one server, and commands beside it.

use std::path::Path;
use std::sync::Arc;

use wotp_core::domain::vault::Vault;
use wotp_core::ports::Unheard;
use wotp_store::limiter::MemoryLimiter;
use wotp_store::queue::MemoryQueue;
pub use wotp_store::sqlite::*;

use super::{Adapters, Held, Others, Purpose, WiringError};
use crate::data_folder::{DataFolder, moved_file, restoring_file};
use crate::database_lock::{self, LockError};
use crate::system::{OsEntropy, SystemClock};

/// Rings that may wait for a worker. Beyond that requests are as fast as ever, and the sweep rings
/// again: 16 MB when full.
const QUEUE_CAPACITY: usize = 100_000;

/// Opens the database, and makes it and the master key when both are missing.
pub(super) fn open(database: &Path, folder: &DataFolder, purpose: Purpose) -> Result<(Adapters, Held), WiringError> {
    let alone = match purpose {
        Purpose::Serve => database_lock::to_serve(database)?,
        Purpose::Command => database_lock::to_use(database)?,
    };
    // Of a restore that is gone: one that is under way has the locks.
    let restoring = restoring_file(database);
    if restoring.exists() {
        return Err(WiringError::RestoreUnfinished(restoring));
    }
    let moved = moved_file(database);
    if moved.exists() {
        // Whatever is in it, it is not to be used.
        let note = std::fs::read_to_string(&moved).unwrap_or_default().trim().to_owned();
        return Err(WiringError::Moved { note, file: moved });
    }
    let keys = folder.master_keys(database, &OsEntropy)?;
    let vault = Vault::new(&keys).expect("a master key file without keys is refused");
    let store = Arc::new(match purpose {
        Purpose::Serve => SqliteStore::open(database, OpenOptions::default())?,
        Purpose::Command => open_for_command(database)?,
    });
    let (queue, rings) = MemoryQueue::new(match purpose {
        Purpose::Serve => QUEUE_CAPACITY,
        Purpose::Command => 1,
    });
    let adapters = Adapters {
        store,
        vault,
        queue: Arc::new(queue),
        bulletin: Arc::new(Unheard),
        limiter: Arc::new(MemoryLimiter::default()),
        clock: Arc::new(SystemClock),
        others: Others::None(rings),
    };
    Ok((adapters, alone))
}

/// Opens a database beside the server that may be running.
fn open_for_command(database: &Path) -> Result<SqliteStore, WiringError> {
    let options = OpenOptions {
        // A running server has checked it; and a command reads little.
        check: false,
        cache_size_bytes: 2 << 20,
        older: OlderSchema::Refuse,
        ..OpenOptions::default()
    };
    match SqliteStore::open(database, options.clone()) {
        Err(OpenError::Older { found, known, .. }) => {
            // Until it is open: an older server that starts meanwhile is kept away, and then finds
            // it newer than itself.
            let _alone = database_lock::to_serve(database).map_err(|error| match error {
                LockError::Served(_) => WiringError::OlderServer { found, known },
                other => other.into(),
            })?;
            Ok(SqliteStore::open(database, OpenOptions { older: OlderSchema::BringUpToDate, ..options })?)
        }
        opened => Ok(opened?),
    }
}
