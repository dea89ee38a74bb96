//! The master key: what everything secret at rest derives from. Lines `ID:KEY`, the last is newest.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wotp_core::domain::vault::{MASTER_KEY_SIZE, MasterKey};
use wotp_core::ports::Entropy;
use zeroize::Zeroizing;

use super::{DataFolder, FolderError, sync_folder};

/// Its name in the data folder.
pub const FILE_NAME: &str = "master.key";
/// Group and others.
const NOT_OWNER: u32 = 0o077;
/// Others, and the group for writing.
const NOT_GROUP: u32 = 0o027;
const FIRST_ID: u8 = 1;

impl DataFolder {
    /// This folder, with its master key in `file`; an empty name means the usual one.
    #[must_use]
    pub fn with_master_key_file(self, file: &str) -> Self {
        let master_key = if file.is_empty() { self.master_key } else { Some(self.path.join(file)) };
        Self { master_key, ..self }
    }

    /// Where the master key is.
    pub fn master_key_file(&self) -> PathBuf {
        self.master_key.clone().unwrap_or_else(|| self.path().join(FILE_NAME))
    }

    /// The master keys of an embedded installation, the newest last. The first one is made when there
    /// is no database yet.
    ///
    /// # Errors
    /// [`FolderError`]: too open, unreadable, or missing although there is a database.
    pub fn master_keys(&self, database: &Path, entropy: &dyn Entropy) -> Result<Vec<MasterKey>, FolderError> {
        // Looked at before the key: a key is made before its database, so a database that is there
        // now had its key before now, even while another process starts on the same new folder.
        let had_database = database.exists();
        if let Some(keys) = self.find_master_keys()? {
            return Ok(keys);
        }
        if had_database {
            return Err(FolderError::KeyMissing { database: database.to_owned(), key: self.master_key_file() });
        }
        self.made_master_keys(entropy)
    }

    /// The master keys of an installation that nodes share. The first one is made when the store was
    /// not `used` by any node.
    ///
    /// # Errors
    /// [`FolderError`]: too open, unreadable, or missing although other nodes have one.
    pub fn shared_master_keys(&self, used: bool, entropy: &dyn Entropy) -> Result<Vec<MasterKey>, FolderError> {
        match self.find_master_keys()? {
            Some(keys) => Ok(keys),
            None if used => Err(FolderError::KeyElsewhere { key: self.master_key_file() }),
            None => self.made_master_keys(entropy),
        }
    }

    fn made_master_keys(&self, entropy: &dyn Entropy) -> Result<Vec<MasterKey>, FolderError> {
        self.make_master_key(entropy)?;
        self.find_master_keys()?.ok_or_else(|| FolderError::Key {
            path: self.master_key_file(),
            what: "read",
            source: io::ErrorKind::NotFound.into(),
        })
    }

    /// The master keys, if there are any.
    ///
    /// # Errors
    /// [`FolderError`]: too open, or unreadable.
    pub fn find_master_keys(&self) -> Result<Option<Vec<MasterKey>>, FolderError> {
        // One that is named may be a secret that a container is given, which its group may read.
        let closed_to = if self.master_key.is_some() { NOT_GROUP } else { NOT_OWNER };
        read_private(&self.master_key_file(), closed_to)
    }

    fn make_master_key(&self, entropy: &dyn Entropy) -> Result<(), FolderError> {
        let path = self.master_key_file();
        let mut bytes = Zeroizing::new([0; MASTER_KEY_SIZE]);
        entropy.fill(&mut *bytes);
        let line = Zeroizing::new(format!("{FIRST_ID}:{}\n", *Zeroizing::new(STANDARD.encode(*bytes))));
        let made = write_private(&path, line.as_bytes());
        made.map_err(|source| FolderError::Key { path, what: "written", source })
    }

    /// Copies the master key to a new file of the same privacy.
    ///
    /// # Errors
    /// What the system says; `AlreadyExists` when there is such a file.
    pub fn copy_master_key(&self, to: &Path) -> io::Result<()> {
        let text = Zeroizing::new(fs::read(self.master_key_file())?);
        match to.try_exists()? {
            true => Err(io::ErrorKind::AlreadyExists.into()),
            false => write_private(to, &text),
        }
    }

    /// Takes the master key from a file, where there is none yet.
    ///
    /// # Errors
    /// [`FolderError`].
    pub fn adopt_master_key(&self, from: &Path) -> Result<(), FolderError> {
        let io = |what| move |source| FolderError::Key { path: from.to_owned(), what, source };
        read(from)?.ok_or_else(|| io("read")(io::ErrorKind::NotFound.into()))?;
        let text = Zeroizing::new(fs::read(from).map_err(io("read"))?);
        write_private(&self.master_key_file(), &text).map_err(io("copied"))
    }
}

/// The master keys in a file, the newest last; none when there is no file.
///
/// # Errors
/// [`FolderError`]: too open, or unreadable.
pub fn read(path: &Path) -> Result<Option<Vec<MasterKey>>, FolderError> {
    read_private(path, NOT_OWNER)
}

fn read_private(path: &Path, closed_to: u32) -> Result<Option<Vec<MasterKey>>, FolderError> {
    let io = |source| FolderError::Key { path: path.to_owned(), what: "read", source };
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    let mode = file.metadata().map_err(io)?.permissions().mode() & 0o7777;
    if mode & closed_to != 0 {
        return Err(FolderError::KeyTooOpen { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    io::Read::read_to_string(&mut file, &mut text).map_err(io)?;
    parse(&text).map(Some).map_err(|(line, problem)| FolderError::KeyDamaged { path: path.to_owned(), line, problem })
}

fn parse(text: &str) -> Result<Vec<MasterKey>, (usize, &'static str)> {
    let mut keys: Vec<MasterKey> = Vec::new();
    let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let complain = |problem| (number, problem);
        let (id, key) = line.split_once(':').ok_or(complain("there is no colon between id and key"))?;
        let id = id.trim().parse::<u8>().map_err(|_| complain("the id is not a number from 0 to 255"))?;
        if keys.iter().any(|other| other.id == id) {
            return Err(complain("another line has the same id"));
        }
        let decoded = STANDARD.decode(key.trim()).map_err(|_| complain("the key is not base64, or is cut short"))?;
        let decoded = Zeroizing::new(decoded);
        let bytes =
            <[u8; MASTER_KEY_SIZE]>::try_from(decoded.as_slice()).map_err(|_| complain("the key is not 32 bytes"))?;
        keys.push(MasterKey { id, bytes: Zeroizing::new(bytes) });
    }
    if keys.is_empty() { Err((1, "the file holds no key")) } else { Ok(keys) }
}

/// Writes a whole file for its owner alone, or leaves the one that somebody else was first to write.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Whole under another name first, and of mode 0600 from its making: a reader never meets half a
    // key, nor a stranger a whole one.
    let mut draft = tempfile::Builder::new().prefix(".wotp-key-").tempfile_in(folder)?;
    draft.write_all(content)?;
    draft.as_file().sync_all()?;
    match draft.persist_noclobber(path) {
        Err(failed) if failed.error.kind() != io::ErrorKind::AlreadyExists => return Err(failed.error),
        _ => {}
    }
    sync_folder(folder)
}
