//! The folder that holds an installation: database, master key, configuration, and who serves it.

mod lock;
mod master_key;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

pub use lock::{ServeLock, Serving};
pub use master_key::{FILE_NAME as MASTER_KEY_FILE, read as read_master_keys};

/// Nobody but the owner.
const PRIVATE_FOLDER: u32 = 0o700;
/// Anybody may put files there.
const WORLD_WRITABLE: u32 = 0o002;

/// A data folder that is there.
#[derive(Debug, Clone)]
pub struct DataFolder {
    path: PathBuf,
    /// Where the master key is, if not at its usual place.
    master_key: Option<PathBuf>,
}

/// Why a data folder cannot be used. [`help`](Self::help) says what to do.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not there.
    #[error("there is no data folder at {0}")]
    Missing(PathBuf),
    /// Something else is there.
    #[error("{0} is not a folder")]
    NotAFolder(PathBuf),
    /// Anybody could put a master key or a database there.
    #[error("everybody on this machine may write to the data folder {0}")]
    WorldWritable(PathBuf),
    /// The system refuses to do something with it.
    #[error("the data folder {path} cannot be {what}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What was tried, as in `created`.
        what: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Another process serves it.
    #[error("another server runs on the data folder {path}{}", serving.as_ref().map(|serving| format!(" (process {})", serving.pid)).unwrap_or_default())]
    Served {
        /// The folder.
        path: PathBuf,
        /// Who, if it says.
        serving: Option<Serving>,
    },
    /// Others may read the master key.
    #[error("others on this machine may read the master key {path} (its mode is {mode:04o})")]
    KeyTooOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file holds no master key.
    #[error("line {line} of the master key {path} cannot be read: {problem}")]
    KeyDamaged {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong, without the key.
        problem: &'static str,
    },
    /// There is a database and no key for it.
    #[error("there is a database at {database}, but no master key at {key}")]
    KeyMissing {
        /// The database.
        database: PathBuf,
        /// Where the key should be.
        key: PathBuf,
    },
    /// Other nodes of the store have a key, and this one has none.
    #[error("other nodes have used this store already, and there is no master key at {key}")]
    KeyElsewhere {
        /// Where the key should be.
        key: PathBuf,
    },
    /// The system refuses to do something with the key.
    #[error("the master key {path} cannot be {what}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What was tried, as in `read`.
        what: &'static str,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

impl FolderError {
    /// What to do about it.
    pub fn help(&self) -> String {
        match self {
            Self::Missing(_) => "name it with --data; `wotp serve` or `wotp tenant create` makes a new one".to_owned(),
            Self::NotAFolder(_) => "name a folder with --data".to_owned(),
            Self::WorldWritable(path) => format!("chmod o-w {}", quoted(path)),
            Self::Io { source, path, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => {
                    format!("run as its owner, or: chown -R \"$(id -u)\" {}", quoted(path))
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    "its file system is mounted read-only: mount it for writing, or name another folder with --data"
                        .to_owned()
                }
                io::ErrorKind::StorageFull => "there is no room on its disk: make some".to_owned(),
                _ => "name another folder with --data".to_owned(),
            },
            Self::Served { serving, .. } => match serving {
                Some(Serving { pid, .. }) => {
                    format!("one server at a time serves a folder: stop it first (kill {pid}), or name another folder with --data")
                }
                None => "one server at a time serves a folder: stop it first, or name another folder with --data".to_owned(),
            },
            Self::KeyTooOpen { path, .. } => format!("chmod 600 {}", quoted(path)),
            Self::KeyDamaged { .. } => {
                "put the file back from where you keep it; each line is ID:KEY, the key being 32 bytes in base64. A new \
                 key cannot read what an older one sealed"
                    .to_owned()
            }
            Self::KeyMissing { key, .. } => format!(
                "a new key could not read what is in it. Put the master key back to {}: it is in the backup that was \
                 made with `wotp backup --with-master-key`, beside the file, or where you keep it",
                key.display()
            ),
            Self::KeyElsewhere { key } => format!(
                "a new key could not read what they sealed. Copy the master key of another node to {}, mode 0600",
                key.display()
            ),
            Self::Key { path, source, .. } => match source.kind() {
                io::ErrorKind::PermissionDenied => format!("run as its owner, or: chown \"$(id -u)\" {}", quoted(path)),
                _ => "check the disk and the folder's permissions".to_owned(),
            },
        }
    }
}

/// A path as it can be pasted into a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

impl DataFolder {
    /// The folder at `path`, made for its owner alone when it is not there.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn create(path: &Path) -> Result<Self, FolderError> {
        let made = DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path);
        made.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => FolderError::NotAFolder(path.to_owned()),
            _ => FolderError::Io { path: path.to_owned(), what: "created", source },
        })?;
        Self::open(path)
    }

    /// The folder at `path`, which is there.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn open(path: &Path) -> Result<Self, FolderError> {
        let metadata = fs::metadata(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => FolderError::Missing(path.to_owned()),
            io::ErrorKind::NotADirectory => FolderError::NotAFolder(path.to_owned()),
            _ => FolderError::Io { path: path.to_owned(), what: "opened", source },
        })?;
        if !metadata.is_dir() {
            return Err(FolderError::NotAFolder(path.to_owned()));
        }
        // Whoever can write there can put another key or database in place. Groups are left to the
        // operator: container volumes are shared by group.
        if metadata.permissions().mode() & WORLD_WRITABLE != 0 {
            return Err(FolderError::WorldWritable(path.to_owned()));
        }
        // Absolute, so that what is printed about it can be used elsewhere.
        let path = fs::canonicalize(path).map_err(|source| FolderError::Io {
            path: path.to_owned(),
            what: "opened",
            source,
        })?;
        Ok(Self { path, master_key: None })
    }

    /// Where it is, from the root.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file that the configuration names: absolute, or in this folder.
    pub fn resolve(&self, file: impl AsRef<Path>) -> PathBuf {
        self.path.join(file)
    }

    /// Whether files can be made in it, by making one.
    ///
    /// # Errors
    /// [`FolderError::Io`].
    pub fn probe_writing(&self) -> Result<(), FolderError> {
        let probe = self.path.join(format!(".wotp-probe-{}", std::process::id()));
        let tried = fs::write(&probe, b"wotp").and_then(|()| fs::remove_file(&probe));
        tried.map_err(|source| {
            // Of no use to anybody; the error is about the same trouble.
            let _ = fs::remove_file(&probe);
            FolderError::Io { path: self.path.clone(), what: "written to", source }
        })
    }
}

/// Where a restore puts a database together before it takes its place. As long as it is there, the
/// restore is not done.
pub(crate) fn restoring_file(database: &Path) -> PathBuf {
    beside(database, ".restoring")
}

/// What says that a database was moved elsewhere, and to where. As long as it is there, nobody uses the
/// database.
pub(crate) fn moved_file(database: &Path) -> PathBuf {
    beside(database, ".moved")
}

/// The file beside `path` whose name goes on with `suffix`.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Makes a new name in `folder` survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
