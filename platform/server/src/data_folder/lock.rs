//! One server at a time, by a lock that the system lets go of however the process ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use super::{DataFolder, FolderError};

const FILE_NAME: &str = "serve.lock";
/// `wotp doctor` holds the lock for an instant to see whether anybody does: a server that starts in
/// that instant tries again.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// Who serves a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serving {
    /// Its process.
    pub pid: u32,
    /// Where it listens, as in `http://127.0.0.1:8080`; none before it does.
    pub url: Option<String>,
}

/// The right to serve a folder, until it is dropped or the process ends.
#[derive(Debug)]
pub struct ServeLock {
    file: File,
}

impl DataFolder {
    /// Takes the right to serve this folder.
    ///
    /// # Errors
    /// [`FolderError::Served`] when another process has it; [`FolderError::Io`].
    pub async fn lock(&self) -> Result<ServeLock, FolderError> {
        let io = |source| FolderError::Io { path: self.path().to_owned(), what: "written to", source };
        let mut options = OpenOptions::new();
        let path = self.path().join(FILE_NAME);
        let file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(io)?;
        for attempt in 1.. {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if attempt < TRIES => tokio::time::sleep(PAUSE).await,
                Err(TryLockError::WouldBlock) => {
                    return Err(FolderError::Served { path: self.path().to_owned(), serving: read(&path) });
                }
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
        }
        let mut lock = ServeLock { file };
        lock.write(None).map_err(io)?;
        Ok(lock)
    }

    /// Who serves this folder now, if anybody.
    ///
    /// # Errors
    /// [`FolderError::Io`] when the lock cannot be looked at.
    pub fn serving(&self) -> Result<Option<Serving>, FolderError> {
        let path = self.path().join(FILE_NAME);
        let io = |source| FolderError::Io { path: self.path().to_owned(), what: "read", source };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io(error)),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(read(&path).unwrap_or(Serving { pid: 0, url: None }))),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }
}

impl ServeLock {
    /// Says where the server listens, for those who find the lock taken.
    ///
    /// # Errors
    /// What the system says.
    pub fn listening(&mut self, url: &str) -> std::io::Result<()> {
        self.write(Some(url))
    }

    fn write(&mut self, url: Option<&str>) -> std::io::Result<()> {
        self.file.rewind()?;
        self.file.set_len(0)?;
        self.file.write_all(format!("{}\n{}\n", std::process::id(), url.unwrap_or_default()).as_bytes())
    }
}

fn read(path: &Path) -> Option<Serving> {
    let mut text = String::new();
    File::open(path).and_then(|mut file| file.read_to_string(&mut text)).ok()?;
    let mut lines = text.lines();
    let pid = lines.next()?.parse().ok()?;
    Some(Serving { pid, url: lines.next().filter(|url| !url.is_empty()).map(str::to_owned) })
}
