use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::Global;
use super::failure::Failure;
use crate::data_folder::{DataFolder, beside};
use crate::database_lock;
use crate::wiring::embedded::{self, Progress};

/// What the copy of the master key beside a backup is called: the backup's name and this.
pub(super) const KEY_SUFFIX: &str = ".master.key";

/// Copy the database to a file, while the server runs too
///
/// The backup is one SQLite file, whole and checked, as the database was at one moment.
///
/// The master key is not in it: without the key, codes and addresses in a backup are closed to
/// everybody, you too. Keep a copy of it, and not where the backups are: whoever has both has
/// everything. --with-master-key puts one beside the backup, for you to move.
///
/// wotp.toml and a plan catalogue of your own are files like any other: copy them.
#[derive(Args)]
pub(super) struct Arguments {
    /// The file to write; it must not be there yet
    file: PathBuf,
    /// Copy the master key too, to FILE.master.key
    #[arg(long)]
    with_master_key: bool,
}

pub(super) fn run(global: &Global, arguments: Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, with_master_key } = arguments;
    let folder = DataFolder::open(global.data())?;
    let loaded = global.load(None)?;
    let database = global.embedded(&loaded, "backup")?;
    let folder = folder.with_master_key_file(&loaded.config.store.master_key_file);
    let key = beside(&file, KEY_SUFFIX);
    if with_master_key && key.exists() {
        return Err(Failure::new(format!("{} exists already", key.display())).help("name another file"));
    }
    let _held = database_lock::to_use(&database)?;
    copy(&database, &file)?;
    if with_master_key {
        folder.copy_master_key(&key).map_err(|error| {
            Failure::caused(
                format!("the backup is at {}, but the master key could not be copied", file.display()),
                error,
            )
        })?;
    }
    let size_bytes = file.metadata().map_or(0, |file| file.len());
    let key = with_master_key.then(|| key.display().to_string());
    let machines = json!({ "file": file.display().to_string(), "size_bytes": size_bytes, "master_key_file": key });
    global.output().print(&machines, || {
        let about_key = match &key {
            Some(key) => format!("the master key is at {key}: keep it elsewhere than the backup"),
            None => format!(
                "without the master key it is of no use: keep a copy of {} elsewhere",
                folder.master_key_file().display()
            ),
        };
        format!("{} holds the database ({} KiB)\n{about_key}", file.display(), size_bytes.div_ceil(1024))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Copies a database, with progress where somebody watches and it takes a while.
pub(super) fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let watched = std::io::stderr().is_terminal();
    let mut shown = None;
    let progress = |Progress { copied, total }| {
        let percent = u64::from(copied) * 100 / u64::from(total.max(1));
        if watched && percent < 100 && shown != Some(percent) {
            shown = Some(percent);
            // Progress that cannot be shown is no reason to stop.
            let _ = write!(std::io::stderr(), "\r{percent:3} %");
        }
    };
    let copied = embedded::backup(from, to, progress);
    if shown.is_some() {
        let _ = write!(std::io::stderr(), "\r     \r");
    }
    copied.map_err(|error| Failure::caused("no copy was made", error))
}
