//! Copies that are whole, checks that tell, and figures for `wotp doctor`.

use std::fs::{File, OpenOptions as FileOptions};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use wotp_core::domain::message::Message;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::StoreError;

use super::SqliteStore;
use super::fault::Fault;
use super::read;
use super::record::Table as _;
use super::schema::{self, OpenError};

/// Pages copied between two reports of progress: 4 MB.
const STEP_PAGES: i32 = 1024;

/// How far a backup has come, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Copied so far.
    pub copied: u32,
    /// In all.
    pub total: u32,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// Nothing is ever written over.
    #[error("{0} exists already: name another file")]
    Exists(PathBuf),
    /// The store cannot be read, or the copy is not whole.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The copy cannot be written.
    #[error("{path} cannot be written")]
    Write {
        /// The copy.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
}

/// What a store holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the file and its log.
    pub size_bytes: u64,
    /// Bytes of the log alone; it is moved into the file as it grows.
    pub log_size_bytes: u64,
    /// Version of the schema.
    pub schema_version: usize,
    /// Tenants.
    pub tenants: u64,
    /// Verifications.
    pub verifications: u64,
    /// Direct messages.
    pub messages: u64,
    /// Idempotency keys.
    pub idempotency_keys: u64,
    /// People, memberships, events and all else that is kept as entities.
    pub entities: u64,
}

/// Copies a store to `to` while it may be served, by this process or another. The copy is as the
/// store was at one moment, flushed to the disk, and checked; it is there whole or not at all.
///
/// Blocks until it is done.
///
/// # Errors
/// [`BackupError`].
pub fn backup(from: &Path, to: &Path, progress: impl FnMut(Progress)) -> Result<(), BackupError> {
    if to.exists() {
        return Err(BackupError::Exists(to.to_owned()));
    }
    let mut name = to.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let write = |source| BackupError::Write { path: to.to_owned(), source };
    // Left by a backup that was killed; nobody else uses this name.
    if partial.exists() {
        std::fs::remove_file(&partial).map_err(write)?;
    }
    let copied = copy(from, &partial, progress).and_then(|()| {
        verify(&partial)?;
        File::open(&partial).and_then(|file| file.sync_all()).map_err(write)?;
        std::fs::rename(&partial, to).map_err(write)?;
        sync_folder(to).map_err(write)
    });
    if copied.is_err() {
        // It is of no use to anybody; the error that led here says more than one about this.
        let _ = std::fs::remove_file(&partial);
    }
    copied
}

/// A new name is only safe once its folder is flushed.
fn sync_folder(file: &Path) -> std::io::Result<()> {
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

fn copy(from: &Path, to: &Path, mut progress: impl FnMut(Progress)) -> Result<(), BackupError> {
    if !from.exists() {
        return Err(OpenError::Missing(from.to_owned()).into());
    }
    let read = |error| OpenError::of(from, error);
    let write = |error| OpenError::of(to, error);
    let source = schema::connect_to_read(from).map_err(read)?;
    schema::belongs(from, &source)?;
    // Codes and addresses are sealed in it, but it is nobody else's business all the same.
    create_private(to).map_err(|source| BackupError::Write { path: to.to_owned(), source })?;
    let mut target = Connection::open(to).map_err(write)?;
    // As long as this transaction reads, the source stays as it is; otherwise the copy would start
    // over with every write of another process.
    let snapshot = source.unchecked_transaction().map_err(read)?;
    read::count(&snapshot, "SELECT count(*) FROM sqlite_schema").map_err(|fault| match fault {
        Fault::Sql(error) => read(error),
        other => OpenError::Damaged { path: from.to_owned(), detail: other.to_string() },
    })?;
    {
        let steps = Backup::new(&source, &mut target).map_err(write)?;
        loop {
            let step = steps.step(STEP_PAGES).map_err(write)?;
            let at = steps.progress();
            let total = u32::try_from(at.pagecount).unwrap_or(0);
            let copied = total.saturating_sub(u32::try_from(at.remaining).unwrap_or(0));
            progress(Progress { copied, total });
            if step == StepResult::Done {
                break;
            }
        }
    }
    drop(snapshot);
    // One file that can be carried about, without a log beside it.
    target.pragma_update_and_check(None, "journal_mode", "DELETE", |_| Ok(())).map_err(write)?;
    target.close().map_err(|(_, error)| write(error))?;
    Ok(())
}

fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = FileOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Checks a whole file: that it is ours, not newer than this program, and sound. Says the version
/// of its schema. Takes about a second for a gigabyte.
///
/// # Errors
/// [`OpenError`].
pub fn verify(path: &Path) -> Result<usize, OpenError> {
    if !path.exists() {
        return Err(OpenError::Missing(path.to_owned()));
    }
    let connection = schema::connect_to_read(path).map_err(|error| OpenError::of(path, error))?;
    let Some(version) = schema::belongs(path, &connection)? else {
        return Err(OpenError::Damaged { path: path.to_owned(), detail: "it is empty".to_owned() });
    };
    schema::check(path, &connection, "integrity_check(1)")?;
    Ok(version)
}

impl SqliteStore {
    /// Copies the store to `to` while it is served. See [`backup`].
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn backup(&self, to: &Path, progress: impl FnMut(Progress)) -> Result<(), BackupError> {
        backup(self.path(), to, progress)
    }

    /// What the store holds. Counting a million rows takes some tens of milliseconds.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn stats(&self) -> Result<Stats, StoreError> {
        let size = |path: &Path| path.metadata().map_or(0, |file| file.len());
        let log_size_bytes = size(&schema::log_of(self.path()));
        let size_bytes = size(self.path()) + log_size_bytes;
        self.readers
            .read_many(move |connection| {
                Ok(Stats {
                    size_bytes,
                    log_size_bytes,
                    schema_version: schema::VERSION,
                    tenants: read::count(connection, "SELECT count(*) FROM tenant")?,
                    verifications: read::count(connection, Verification::SQL.count)?,
                    messages: read::count(connection, Message::SQL.count)?,
                    idempotency_keys: read::count(connection, "SELECT count(*) FROM idempotency")?,
                    entities: read::count(connection, "SELECT count(*) FROM entity")?,
                })
            })
            .await
    }
}
