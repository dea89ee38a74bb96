//! An installation with a database file of its own.

use std::path::Path;
use std::sync::Arc;

use wotp_core::domain::plan::Catalogue;
use wotp_core::domain::vault::Vault;
use wotp_core::ports::Clock as _;

use super::{Finding, checks, plugins};
use crate::config::Loaded;
use crate::data_folder::{DataFolder, moved_file};
use crate::database_lock::{self, LockError};
use crate::system::SystemClock;
use crate::wiring::embedded::{OlderSchema, OpenOptions, SqliteStore};

pub(super) async fn examine(loaded: &Loaded, folder: &DataFolder, database: &Path) -> Vec<Finding> {
    let (finding, vault) = checks::master_key(folder, database.exists(), "the database");
    let mut findings = vec![finding];
    let _held = match database_lock::to_use(database) {
        Ok(held) => Some(held),
        // There is no database either, and that is said below.
        Err(LockError::FolderMissing(_)) => None,
        Err(error) => {
            findings.push(Finding::failed("database", &error, error.help()));
            return findings;
        }
    };
    let moved = moved_file(database);
    if let Ok(note) = std::fs::read_to_string(&moved) {
        let help =
            format!("name that MongoDB in store.url; {} says so, and keeps this one from being used", moved.display());
        findings.push(Finding::error("moved", note.trim(), help));
    }
    let (finding, opens) = checks::database(database);
    findings.push(finding);
    if opens {
        findings.extend(stored(loaded, folder, database, vault.as_ref()).await);
    }
    findings
}

/// What only the open store can tell.
async fn stored(loaded: &Loaded, folder: &DataFolder, database: &Path, vault: Option<&Vault>) -> Vec<Finding> {
    let options = OpenOptions { create: false, check: false, older: OlderSchema::Refuse, ..OpenOptions::default() };
    let store = match SqliteStore::open(database, options) {
        Ok(store) => Arc::new(store),
        Err(error) => return vec![Finding::failed("store", &error, "mend that, and run this again")],
    };
    let plans = loaded.config.catalogue(folder.path()).unwrap_or_else(|_| Catalogue::built_in());
    let served = folder.serving().ok().flatten().is_some();
    let mut findings = vec![checks::contents(&store).await];
    if let Some(vault) = vault {
        findings.push(checks::seal(&*store, vault).await);
        findings.extend(plugins::examine(&*store, vault, loaded, folder).await);
    }
    findings.push(checks::plans(&*store, &plans).await);
    findings.push(checks::due(&*store, SystemClock.now(), served).await);
    findings.push(checks::history(&*store, SystemClock.now()).await);
    findings
}
