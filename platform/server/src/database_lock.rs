//! Who may do what with a database at one time: one process serves it, any number of commands use
//! it beside that one, and a restore replaces it, or a move takes all of it away, when nobody does either.
//!
//! Two data folders may name the same database, so these locks belong to the database and not to
//! the data folder, whose own lock says who serves that. The system lets go of them however a
//! process ends.

use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::data_folder::beside;

/// Held by whoever serves the database.
const SERVED: &str = ".lock";
/// A command is done within milliseconds; only `backup` and `doctor` may take longer than a restore waits,
/// 2 seconds.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(20);

/// Why a database cannot be used now. [`help`](Self::help) says what to do.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process serves it, from another data folder: the lock of its own it has.
    #[error("the database {0} is served by another process, from another data folder")]
    Served(PathBuf),
    /// A restore is putting another one in its place, or a move takes what is in it elsewhere.
    #[error("a restore of the database {0}, or a move away from it, is under way")]
    Replaced(PathBuf),
    /// Commands use it, so it cannot be replaced.
    #[error("another command is using the database {0}")]
    Used(PathBuf),
    /// Its folder is not there.
    #[error("the folder of {0} does not exist")]
    FolderMissing(PathBuf),
    /// The system refuses.
    #[error("the lock {file} cannot be taken")]
    Io {
        /// What is locked.
        file: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl LockError {
    /// What to do about it.
    pub fn help(&self) -> &'static str {
        match self {
            Self::Served(_) => "stop that one, or give this folder a database of its own with store.url",
            Self::Replaced(_) => "run the same command again when it is done",
            Self::Used(_) => "run the same command again when that one is done; a backup may take minutes",
            Self::FolderMissing(_) => "create it, or name another with store.url",
            Self::Io { .. } => "check that the folder of the database may be written to",
        }
    }
}

/// The right to a database, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Held {
    _files: Vec<File>,
}

/// The right to serve a database, alone.
///
/// # Errors
/// [`LockError::Served`], [`LockError::Replaced`], [`LockError::FolderMissing`], [`LockError::Io`].
pub fn to_serve(database: &Path) -> Result<Held, LockError> {
    match served(database) {
        // A restore holds this one too.
        Err(LockError::Served(path)) => to_use(database).and(Err(LockError::Served(path))),
        taken => Ok(Held { _files: vec![taken?] }),
    }
}

/// The right to use a database for one command, beside others and beside its server.
///
/// # Errors
/// [`LockError::Replaced`], [`LockError::FolderMissing`], [`LockError::Io`].
pub fn to_use(database: &Path) -> Result<Held, LockError> {
    let (folder, path) = folder_of(database)?;
    match folder.try_lock_shared() {
        Ok(()) => Ok(Held { _files: vec![folder] }),
        Err(TryLockError::WouldBlock) => Err(LockError::Replaced(database.to_owned())),
        Err(TryLockError::Error(source)) => Err(LockError::Io { file: path.to_owned(), source }),
    }
}

/// The right to put another file in the place of a database, or to move it elsewhere. Waits for commands to end, for some
/// seconds.
///
/// # Errors
/// [`LockError::Served`], [`LockError::Used`], [`LockError::FolderMissing`], [`LockError::Io`].
pub async fn to_replace(database: &Path) -> Result<Held, LockError> {
    let (folder, path) = folder_of(database)?;
    let served = served(database)?;
    for attempt in 1.. {
        match folder.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < TRIES => tokio::time::sleep(PAUSE).await,
            Err(TryLockError::WouldBlock) => return Err(LockError::Used(database.to_owned())),
            Err(TryLockError::Error(source)) => return Err(LockError::Io { file: path.to_owned(), source }),
        }
    }
    Ok(Held { _files: vec![served, folder] })
}

fn served(database: &Path) -> Result<File, LockError> {
    let path = beside(database, SERVED);
    let io = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => LockError::FolderMissing(database.to_owned()),
        _ => LockError::Io { file: path.clone(), source },
    };
    let file = File::options().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LockError::Served(database.to_owned())),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// The folder of a database, to be locked: those who use it and those who replace it.
///
/// The folder and no file in it: one that an administrator's command made would belong to root, and
/// the server could not open it any more. The database itself is no place for a lock either: it is
/// what is replaced. Two databases in one folder share the lock, so a restore of one waits for
/// commands on the other; servers do not take it.
fn folder_of(database: &Path) -> Result<(File, &Path), LockError> {
    let path = database.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let folder = File::open(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => LockError::FolderMissing(database.to_owned()),
        _ => LockError::Io { file: path.to_owned(), source },
    })?;
    Ok((folder, path))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[tokio::test]
    async fn commands_share_a_database_with_its_server_and_a_restore_with_nobody() {
        let folder = TempDir::new().unwrap();
        let database = folder.path().join("wotp.db");
        let server = to_serve(&database).unwrap();
        let commands = (to_use(&database).unwrap(), to_use(&database).unwrap());
        assert!(matches!(to_serve(&database), Err(LockError::Served(_))));
        assert!(matches!(to_replace(&database).await, Err(LockError::Served(_))));
        drop((server, commands));
        let restore = to_replace(&database).await.unwrap();
        assert!(matches!(to_use(&database), Err(LockError::Replaced(_))));
        assert!(matches!(to_serve(&database), Err(LockError::Replaced(_))), "it is no server to be stopped");
        drop(restore);
        to_use(&database).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_restore_waits_for_commands_and_not_for_ever() {
        let folder = TempDir::new().unwrap();
        let database = folder.path().join("wotp.db");
        let command = to_use(&database).unwrap();
        assert!(matches!(to_replace(&database).await, Err(LockError::Used(_))));
        let (restore, ()) = tokio::join!(to_replace(&database), async { drop(command) });
        restore.unwrap();
    }

    #[test]
    fn a_folder_that_is_not_there_is_said_to_be_missing() {
        let database = Path::new("/nowhere/wotp.db");
        assert!(matches!(to_use(database), Err(LockError::FolderMissing(_))));
        assert!(matches!(to_serve(database), Err(LockError::FolderMissing(_))));
    }
}
