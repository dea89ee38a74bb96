//! The files of signing: the publisher's key, and the manifest beside the component.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use wotp_channel_wasm::{Component, KeyFault, Manifest, PublisherKey, SigningKey};
use wotp_core::ports::Entropy;
use zeroize::Zeroizing;

/// Longest file that is read as a key, in bytes.
const KEY_MAX: u64 = 4096;
/// What the manifest is called, beside the component.
pub const MANIFEST: &str = "plugin.toml";

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum NotSigned {
    /// A key that others can read.
    #[error(
        "{} can be read by others (its mode is {mode:o}), who could sign as you; `chmod 600` it, or draw a new one with \
         `--new-key`", file.display()
    )]
    Open {
        /// Where it is.
        file: PathBuf,
        /// What it is open to.
        mode: u32,
    },
    /// A file that is none of a key.
    #[error("{} {fault}; it is a private key as `wotp plugin sign --new-key` writes it", file.display())]
    Key {
        /// Where it is.
        file: PathBuf,
        /// What is wrong with it.
        fault: KeyFault,
    },
    /// A key that would be lost.
    #[error("{} is there already, and a key that is overwritten is lost; give it with `--key`, or choose another file", .0.display())]
    Taken(PathBuf),
    /// The system does not let us.
    #[error("{file} cannot be {1}", file = .0.display())]
    File(PathBuf, &'static str, #[source] io::Error),
}

/// The key that is kept in a file, for its owner alone.
///
/// # Errors
/// [`NotSigned`].
pub fn read_key(file: &Path) -> Result<SigningKey, NotSigned> {
    let unread = |error| NotSigned::File(file.to_owned(), "read", error);
    let about = fs::metadata(file).map_err(unread)?;
    if !about.is_file() || about.len() > KEY_MAX {
        return Err(unread(io::Error::new(io::ErrorKind::InvalidInput, "it is no file of a key")));
    }
    let mode = about.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(NotSigned::Open { file: file.to_owned(), mode });
    }
    let text = Zeroizing::new(fs::read_to_string(file).map_err(unread)?);
    text.trim().parse().map_err(|fault| NotSigned::Key { file: file.to_owned(), fault })
}

/// Draws a key and keeps it in a new file, for its owner alone.
///
/// # Errors
/// [`NotSigned`].
pub fn new_key(file: &Path, entropy: &dyn Entropy) -> Result<SigningKey, NotSigned> {
    let key = SigningKey::draw(entropy);
    let mut new =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => NotSigned::Taken(file.to_owned()),
            _ => NotSigned::File(file.to_owned(), "written", error),
        })?;
    let line = Zeroizing::new(format!("{}\n", *key.to_text()));
    let written = new.write_all(line.as_bytes()).and_then(|()| new.sync_all());
    written.map_err(|error| NotSigned::File(file.to_owned(), "written", error))?;
    Ok(key)
}

/// Signs a component, writes the manifest beside it, and says where, and by whom it is signed.
///
/// # Errors
/// [`NotSigned`].
pub fn sign(
    file: &Path,
    bytes: &[u8],
    component: &Component,
    key: &SigningKey,
) -> Result<(PathBuf, PublisherKey), NotSigned> {
    let manifest = file.with_file_name(MANIFEST);
    let text = Manifest::signed(component, bytes, key).to_string();
    fs::write(&manifest, text).map_err(|error| NotSigned::File(manifest.clone(), "written", error))?;
    Ok((manifest, key.publisher()))
}

#[cfg(test)]
mod tests {
    use wotp_core::testing::SeededEntropy;

    use super::*;

    #[test]
    fn a_key_is_for_its_owner_alone_and_is_never_overwritten() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("publisher.key");
        let key = new_key(&file, &SeededEntropy::new(1)).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(read_key(&file).unwrap().publisher(), key.publisher());
        assert!(matches!(new_key(&file, &SeededEntropy::new(2)), Err(NotSigned::Taken(_))));
        assert_eq!(read_key(&file).unwrap().publisher(), key.publisher());
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_signs_nothing() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("publisher.key");
        let key = new_key(&file, &SeededEntropy::new(1)).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        let said = read_key(&file).unwrap_err().to_string();
        assert!(said.contains("its mode is 640") && said.contains("chmod 600"), "{said}");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&file, key.publisher().to_string()).unwrap();
        let said = read_key(&file).unwrap_err().to_string();
        assert!(said.contains("does not begin with `ed25519-private:`"), "{said}");
        assert!(matches!(read_key(place.path()), Err(NotSigned::File(..))));
        assert!(matches!(read_key(&place.path().join("none")), Err(NotSigned::File(..))));
    }
}
