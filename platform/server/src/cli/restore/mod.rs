//! `wotp restore`: a backup in the place of the database, without bringing back what ended since.

mod ended;
mod signed_out;
mod swap;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use wotp_core::app::Refusal;
use wotp_core::domain::audit::Deed;
use wotp_core::domain::vault::Vault;
use wotp_core::ports::{Clock as _, Store};

use super::Global;
use super::backup::{self, KEY_SUFFIX};
use super::failure::Failure;
use crate::data_folder::{self, DataFolder, beside, restoring_file};
use crate::database_lock;
use crate::sealed::{self, Seal};
use crate::system::SystemClock;
use crate::wiring::embedded::{self, OpenError, OpenOptions, SqliteStore};
use ended::{Keys, Revoked, Staged};
use signed_out::{People, SignedOut};

/// Put a backup in place of the database
///
/// The backup is checked first, and the master key with it. A database that is there already is
/// kept beside the new one. No server may be running, and commands are refused meanwhile.
///
/// A backup does not know what ended after it was made, so this is carried over or ended again:
/// verifications that are pending in it are canceled, since their codes may have been used; API keys
/// that are over in the database that is there, or were until it forgot them, stay so; people are signed out, but where the
/// database that is there still has their session, and nobody acts as a tenant any more. When that one cannot be read, or
/// there is none, keys that were revoked since the backup work again: `wotp key list` shows a
/// tenant's, `wotp key revoke` stops one.
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
    let database = global.embedded(&loaded, "restore")?;
    embedded::verify(&file)?;
    let folder = DataFolder::create(global.data())?.with_master_key_file(&loaded.config.store.master_key_file);
    let _alone = folder.lock().await?;
    // Until it is done: what a command wrote meanwhile would be gone with the old database.
    let _replacing = database_lock::to_replace(&database).await?;
    let staged = restoring_file(&database);
    swap::take_back(&staged, &database).map_err(|error| {
        Failure::caused("what a restore that was cut off had begun cannot be taken back", error)
            .help("check that the folder of the database may be written to")
    })?;
    if database.exists() && !force {
        return Err(Failure::new(format!("there is a database at {} already", database.display()))
            .help("--force puts the backup in its place and keeps the old one beside it"));
    }
    let replaced = Replaced::read(&database);
    // Of a restore that was cut off.
    swap::discard(&staged);
    // Not a plain copy: a database that was merely copied by hand may have a log beside it.
    backup::copy(&file, &staged)?;
    let ended = match prepare(&folder, &file, &staged, &replaced).await {
        Ok(ended) => ended,
        Err(failure) => {
            swap::discard(&staged);
            return Err(failure);
        }
    };
    let kept = swap::swap(&staged, &database)
        .map_err(|error| Failure::caused("the backup could not take its place; run the same command again", error))?;
    let kept = kept.map(|path| path.display().to_string());
    let warning = replaced.warning();
    let machines = json!({
        "database": database.display().to_string(),
        "kept": kept,
        "verifications_canceled": ended.verifications,
        "keys_revoked": ended.keys.map(|keys| keys.revoked),
        "keys_unknown": ended.keys.map(|keys| keys.unknown),
        "sessions_ended": ended.people.ended,
        "sessions_kept": ended.people.kept,
        "operator_accesses_ended": ended.people.accesses,
        "warning": warning,
    });
    global.output().print(&machines, || {
        let mut lines = vec![format!("{} holds the backup now", database.display())];
        lines.extend(kept.as_ref().map(|path| format!("the old one is kept at {path}")));
        lines.extend(ended.lines());
        lines.extend(warning.as_ref().map(|warning| format!("warning: {warning}")));
        lines.join("\n")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The database that goes, as far as the one that comes must know it.
enum Replaced {
    /// Its keys, and who is signed in to it.
    Read(Keys, People),
    /// It cannot be read, which may be why a backup is needed.
    Unreadable(OpenError),
    /// There is none.
    Nothing,
}

impl Replaced {
    fn read(database: &Path) -> Self {
        if !database.exists() {
            return Self::Nothing;
        }
        let people = People::of(database);
        Keys::of(database).map_or_else(Self::Unreadable, |keys| Self::Read(keys, people))
    }

    fn warning(&self) -> Option<String> {
        let why = match self {
            Self::Read(..) => return None,
            // Without its words for what to do: that is being done.
            Self::Unreadable(OpenError::Damaged { detail, .. }) => {
                format!("the old database cannot be read ({detail})")
            }
            Self::Unreadable(error) => format!("the old database cannot be read ({error})"),
            Self::Nothing => "there was no database to replace".to_owned(),
        };
        Some(format!(
            "{why}, so API keys that were revoked since the backup could not be revoked again: look at each tenant's \
             with `wotp key list TENANT`, and stop those with `wotp key revoke TENANT KEY`"
        ))
    }
}

/// What was ended in the backup.
struct Ended {
    verifications: usize,
    /// None when nothing was there to know it from.
    keys: Option<Revoked>,
    people: SignedOut,
}

impl Ended {
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!(
            "verifications canceled: {}, which were pending in the backup; their codes may have been used since",
            self.verifications
        )];
        if let Some(Revoked { revoked, unknown }) = self.keys {
            lines.push(format!("API keys revoked again: {revoked}, which stopped working since the backup"));
            if unknown > 0 {
                lines.push(format!(
                    "API keys not in the old database: {unknown}; whether they were revoked since is not known, \
                     `wotp key list TENANT` shows them"
                ));
            }
        }
        let SignedOut { kept, ended, accesses } = self.people;
        lines.push(format!("sessions ended: {ended}; kept, since the old database still had them: {kept}"));
        if accesses > 0 {
            lines.push(format!("operators who acted as a tenant in the backup and do not any more: {accesses}"));
        }
        lines
    }
}

/// Makes the staged backup fit to take its place: opened by the folder's master key, up to date, and
/// with nothing in it that has ended since.
async fn prepare(folder: &DataFolder, file: &Path, staged: &Path, replaced: &Replaced) -> Result<Ended, Failure> {
    let beside_file = beside(file, KEY_SUFFIX);
    let own = folder.find_master_keys()?;
    // The folder has none: the one beside the backup becomes its own.
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
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(staged, options)?);
    if let Seal::Closed(error) = sealed::compare(&*store, &vault).await.map_err(Refusal::from)? {
        let key = if adopt { beside_file } else { folder.master_key_file() };
        return Err(Failure::caused(
            format!("the backup was made with another master key than {}", key.display()),
            error,
        )
        .help(format!("put the right one at {}, mode 0600", folder.master_key_file().display())));
    }
    let now = SystemClock.now();
    let prepared = Staged { store: &*store, vault: &vault, now };
    let nobody = People::default();
    let (keys, people) = match replaced {
        Replaced::Read(keys, people) => (Some(ended::revoke_again(&prepared, keys).await?), people),
        Replaced::Unreadable(_) | Replaced::Nothing => (None, &nobody),
    };
    let people = signed_out::sign_out(&prepared, people).await?;
    let verifications = ended::cancel_pending(&store, now).await?;
    let counts = json!({
        "keys_revoked": keys.map(|keys| keys.revoked),
        "sessions_ended": people.ended,
        "sessions_kept": people.kept,
        "verifications_canceled": verifications,
    });
    prepared.commit(&[Deed::of_platform("database.restore", "database").after(counts)], Vec::new()).await?;
    // Closing it moves its log into it, and says nothing when it cannot.
    drop(store);
    if fs::metadata(beside(staged, swap::LOG)).is_ok_and(|log| log.len() > 0) {
        return Err(Failure::new("what was changed in the copy of the backup could not be moved into its file")
            .help("nothing was replaced: make room on the disk, and run the same command again"));
    }
    embedded::verify(staged)?;
    if adopt {
        folder.adopt_master_key(&beside_file)?;
    }
    Ok(Ended { verifications, keys, people })
}
