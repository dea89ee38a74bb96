use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use wotp_core::app::Refusal;
use wotp_core::domain::vault::Vault;
use wotp_core::ports::Clock as _;

use super::Global;
use super::backup::{self, KEY_SUFFIX};
use super::failure::Failure;
use super::sealed::{Seal, try_keys};
use crate::data_folder::{self, DataFolder, beside, restoring_file, sync_folder};
use crate::database_lock;
use crate::system::SystemClock;
use crate::wiring::embedded::{self, OpenOptions, SqliteStore};

/// What SQLite keeps beside a database.
const LOG: &str = "-wal";
const LOG_INDEX: &str = "-shm";

/// The backup is checked first, and the master key with it. A database that is there already is
/// kept beside the new one. No server may be running, and commands are refused meanwhile.
#[derive(Args)]
pub(super) struct Arguments {
    /// The backup
    file: PathBuf,
    /// Also when there is a database already
    #[arg(long)]
    force: bool,
}

pub(super) async fn run(global: &Global, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, force } = arguments;
    let loaded = global.load(None)?;
    embedded::verify(&file)?;
    let folder = DataFolder::create(global.data())?;
    let _alone = folder.lock().await?;
    let database = loaded.config.database(folder.path());
    // Until it is done: what a command wrote meanwhile would be gone with the old database.
    let _replacing = database_lock::to_replace(&database).await?;
    if database.exists() && !force {
        return Err(Failure::new(format!("there is a database at {} already", database.display()))
            .help("--force puts the backup in its place and keeps the old one beside it"));
    }
    let staged = restoring_file(&database);
    stage(&file, &staged)?;
    if let Err(failure) = fit_key(&folder, &file, &staged).await {
        discard(&staged);
        return Err(failure);
    }
    let kept = swap(&staged, &database)
        .map_err(|error| Failure::caused("the backup could not take its place; run the same command again", error))?;
    let kept = kept.map(|path| path.display().to_string());
    let machines = json!({ "database": database.display().to_string(), "kept": kept });
    global.output().print(&machines, || {
        let old = kept.as_ref().map(|path| format!("\nthe old one is kept at {path}")).unwrap_or_default();
        format!("{} holds the backup now{old}", database.display())
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Puts a whole copy of the backup beside the database's place.
fn stage(file: &Path, staged: &Path) -> Result<(), Failure> {
    // Of a restore that was cut off.
    discard(staged);
    // Not a plain copy: a database that was merely copied by hand may have a log beside it.
    backup::copy(file, staged)
}

fn discard(staged: &Path) {
    for suffix in ["", LOG, LOG_INDEX] {
        // What is not there need not go; what cannot go, the next step complains about.
        let _ = fs::remove_file(beside(staged, suffix));
    }
}

/// Makes sure that the folder's master key opens the backup. Takes the one beside the backup when
/// the folder has none.
async fn fit_key(folder: &DataFolder, file: &Path, staged: &Path) -> Result<(), Failure> {
    let beside_file = beside(file, KEY_SUFFIX);
    let own = folder.find_master_keys()?;
    let adopt = own.is_none();
    let keys = match own {
        Some(keys) => Some(keys),
        None => data_folder::read_master_keys(&beside_file)?,
    };
    let Some(vault) = keys.and_then(|keys| Vault::new(&keys)) else {
        return Err(Failure::new("there is no master key for this backup").help(format!(
            "put the master key that the backup was made with at {}, mode 0600",
            folder.master_key_file().display()
        )));
    };
    let options = OpenOptions { create: false, ..OpenOptions::default() };
    let store = SqliteStore::open(staged, options)?;
    let seal = try_keys(&store, &vault).await.map_err(Refusal::from)?;
    // Closing it moves its log into it.
    drop(store);
    if let Seal::Closed(error) = seal {
        let key = if adopt { beside_file } else { folder.master_key_file() };
        return Err(Failure::caused(
            format!("the backup was made with another master key than {}", key.display()),
            error,
        )
        .help(format!("put the right one at {}, mode 0600", folder.master_key_file().display())));
    }
    if adopt {
        folder.adopt_master_key(&beside_file)?;
    }
    Ok(())
}

/// Puts the staged database in place; says where the old one is kept.
///
/// Whatever happens in between, the staged file is there until the last step, and nothing opens the
/// database as long as it is: an old database is never read without its log, nor a new one with
/// another's.
fn swap(staged: &Path, database: &Path) -> io::Result<Option<PathBuf>> {
    let moment = SystemClock.now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let kept = beside(database, &format!(".before-{moment}"));
    let folder = database.parent().unwrap_or(Path::new("."));
    rename_if_there(&beside(database, LOG), &beside(&kept, LOG))?;
    remove_if_there(&beside(database, LOG_INDEX))?;
    let had_one = rename_if_there(database, &kept)?;
    sync_folder(folder)?;
    fs::rename(staged, database)?;
    sync_folder(folder)?;
    Ok(had_one.then_some(kept))
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
