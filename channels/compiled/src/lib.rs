//! A shelf for what components were compiled to, so that a plugin of Python need not be compiled for half a minute each
//! time a server starts.
//!
//! Machine code that is read back runs outside of any sandbox: whoever can write it owns the server. So nothing is
//! taken from the shelf but what was put there with the same key, byte for byte: each file begins with a MAC over its
//! content, the component that it was made from, and the engine that it was made for. It is read into memory once, and
//! what was verified is what is run.
//!
//! A crate of its own, since this is the one place where unsafe code is allowed.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, OpenOptions};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroizing;

/// Bytes of the MAC that a file begins with.
const MAC_SIZE: usize = 32;
/// What is MACed begins with this: nothing else that is MACed with the key does.
const LABEL: &[u8] = b"wotp compiled component v1\0";
/// How files end that are whole.
const ENDING: &str = ".cwasm";
/// How those begin that are not whole yet, or never will be.
const BEGUN: &str = ".new-";

/// A folder of compiled components.
pub struct Shelf {
    folder: PathBuf,
    key: Zeroizing<[u8; 32]>,
    written: AtomicU64,
}

impl Shelf {
    /// The shelf in this folder, which is made when something is put there. `key` is known to nobody but the server.
    pub fn new(folder: impl Into<PathBuf>, key: Zeroizing<[u8; 32]>) -> Self {
        Self { folder: folder.into(), key, written: AtomicU64::default() }
    }

    /// What a component was compiled to for this engine, by the SHA-256 of the component in hexadecimal. None where it
    /// is not there, or is for another engine, version of it or machine.
    ///
    /// # Errors
    /// When the file is there and cannot be read, or is not as it was put there with this key.
    pub fn take(&self, engine: &Engine, sha256: &str) -> io::Result<Option<Component>> {
        let bytes = match fs::read(self.file(engine, sha256)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let changed =
            || io::Error::new(io::ErrorKind::InvalidData, "it is not as it was put there, or not with this key");
        let (mac, compiled) = bytes.split_first_chunk::<MAC_SIZE>().ok_or_else(changed)?;
        if !bool::from(self.mac(engine, sha256, compiled).ct_eq(mac)) {
            return Err(changed());
        }
        // An engine of another version or with other settings refuses it: then it is as if it were not there.
        Ok(deserialized(engine, compiled))
    }

    /// Removes what a component was compiled to. It need not be there.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn remove(&self, engine: &Engine, sha256: &str) -> io::Result<()> {
        match fs::remove_file(self.file(engine, sha256)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what was put there before a moment and is of none of these components, named by their SHA-256 in hexadecimal;
    /// says how many files went. What lies in the folder besides stays.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn keep_only(&self, components: &BTreeSet<String>, before: SystemTime) -> io::Result<usize> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut gone = 0;
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let of = name.strip_suffix(ENDING).and_then(|name| name.rsplit_once('-')).map(|(component, _)| component);
            let is_needless = of.is_some_and(|component| !components.contains(component)) || name.starts_with(BEGUN);
            // One of which the time is not to be had is not there any more.
            let is_old = || entry.metadata().and_then(|about| about.modified()).is_ok_and(|put| put < before);
            if is_needless && is_old() && fs::remove_file(entry.path()).is_ok() {
                gone += 1;
            }
        }
        Ok(gone)
    }

    /// Keeps what [`Engine::precompile_component`] made of a component, and what that engine's compiler made alone. Files
    /// for other engines go.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn put(&self, engine: &Engine, sha256: &str, compiled: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let file = self.file(engine, sha256);
        // Beside it and then in its place: nobody reads half a file, and of two who write the same both win.
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let new = self.folder.join(format!("{BEGUN}{}-{number}", std::process::id()));
        let written = (|| {
            let mut open = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            open.write_all(&self.mac(engine, sha256, compiled))?;
            open.write_all(compiled)?;
            open.sync_all()?;
            fs::rename(&new, &file)
        })();
        if written.is_err() {
            // It may not be there.
            let _ = fs::remove_file(&new);
        }
        written?;
        self.clear(engine)
    }

    /// Removes what is for other engines: after an upgrade nobody would ever take it again.
    fn clear(&self, engine: &Engine) -> io::Result<()> {
        let ours = ending(engine);
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(ENDING) && !name.ends_with(&ours) {
                // Somebody else may have removed it.
                let _ = fs::remove_file(&path);
            }
        }
        Ok(())
    }

    fn file(&self, engine: &Engine, sha256: &str) -> PathBuf {
        // Whatever is given as the digest, no other folder is reached.
        let name = Path::new(sha256).file_name().and_then(|name| name.to_str()).unwrap_or("none");
        self.folder.join(format!("{name}{}", ending(engine)))
    }

    fn mac(&self, engine: &Engine, sha256: &str, compiled: &[u8]) -> [u8; MAC_SIZE] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.key).expect("HMAC takes a key of any length");
        for part in [LABEL, sha256.as_bytes(), b"\0", ending(engine).as_bytes(), b"\0", compiled] {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// What is machine code for this engine, ready to run.
fn deserialized(engine: &Engine, compiled: &[u8]) -> Option<Component> {
    // SAFETY: `deserialize` asks that these bytes are what the engine's own compiler made. `Shelf::take` verified them just
    // before, in this memory, with a key that only the server has, and it MACs nothing under `LABEL` but what it was given
    // by `put`: the output of `Engine::precompile_component`, as `put` asks for.
    #[expect(unsafe_code, reason = "the one place; the safety is argued above")]
    unsafe { Component::deserialize(engine, compiled) }.ok()
}

/// How the files for an engine end: by its version and all settings that machine code depends on.
fn ending(engine: &Engine) -> String {
    let mut hasher = DefaultHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    format!("-{:016x}{ENDING}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";

    fn shelf(folder: &Path, key: u8) -> Shelf {
        Shelf::new(folder.join("shelf"), Zeroizing::new([key; 32]))
    }

    fn only_file(folder: &Path) -> PathBuf {
        let mut files: Vec<_> =
            fs::read_dir(folder.join("shelf")).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    fn filled(folder: &Path) -> (Engine, Shelf) {
        let (engine, shelf) = (Engine::default(), shelf(folder, 1));
        assert!(shelf.take(&engine, "abc").unwrap().is_none(), "nothing was put there");
        shelf.put(&engine, "abc", &engine.precompile_component(EMPTY).unwrap()).unwrap();
        assert!(shelf.take(&engine, "abc").unwrap().is_some());
        (engine, shelf)
    }

    #[test]
    fn what_was_put_there_is_taken_and_nothing_that_was_changed() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, shelf) = filled(folder.path());
        let file = only_file(folder.path());
        let whole = fs::read(&file).unwrap();
        for place in [0, MAC_SIZE, whole.len() / 2, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[place] ^= 1;
            fs::write(&file, &changed).unwrap();
            assert!(shelf.take(&engine, "abc").is_err(), "byte {place} was changed");
        }
        for length in [0, MAC_SIZE - 1, MAC_SIZE, whole.len() - 1] {
            fs::write(&file, &whole[..length]).unwrap();
            assert!(shelf.take(&engine, "abc").is_err(), "{length} bytes are left");
        }
        fs::write(&file, &whole).unwrap();
        assert!(shelf.take(&engine, "abc").unwrap().is_some());
    }

    #[test]
    fn what_another_key_or_nobody_signed_is_not_taken_nor_what_is_another_components() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, ours) = filled(folder.path());
        assert!(shelf(folder.path(), 2).take(&engine, "abc").is_err());
        let file = only_file(folder.path());
        fs::copy(&file, ours.file(&engine, "def")).unwrap();
        assert!(ours.take(&engine, "def").is_err(), "it is of another component");
        fs::write(&file, engine.precompile_component(EMPTY).unwrap()).unwrap();
        assert!(ours.take(&engine, "abc").is_err(), "it has no MAC");
    }

    #[test]
    fn what_was_made_for_another_engine_is_not_taken_and_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (engine, shelf) = filled(folder.path());
        let before = only_file(folder.path());
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let other = Engine::new(&config).unwrap();
        assert!(shelf.take(&other, "abc").unwrap().is_none());
        fs::copy(&before, shelf.file(&other, "abc")).unwrap();
        assert!(shelf.take(&other, "abc").is_err(), "it lies where the other's would");
        shelf.put(&other, "abc", &other.precompile_component(EMPTY).unwrap()).unwrap();
        assert!(shelf.take(&other, "abc").unwrap().is_some());
        assert_ne!(only_file(folder.path()), before);
        assert!(shelf.take(&engine, "abc").unwrap().is_none());
    }

    #[test]
    fn what_no_component_needs_goes_once_it_is_old() {
        let folder = tempfile::tempdir().unwrap();
        let keep = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let at = |seconds| SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        assert_eq!(shelf(folder.path(), 1).keep_only(&keep(&[]), at(100)).unwrap(), 0, "there is no folder");
        let (engine, shelf) = filled(folder.path());
        let compiled = engine.precompile_component(EMPTY).unwrap();
        shelf.put(&engine, "def", &compiled).unwrap();
        let begun = folder.path().join("shelf/.new-1-1");
        let other = folder.path().join("shelf/notes.txt");
        for file in [&begun, &other] {
            fs::write(file, "").unwrap();
        }
        let put_at = |file: &Path, seconds| fs::File::open(file).unwrap().set_modified(at(seconds)).unwrap();
        for file in [&shelf.file(&engine, "abc"), &shelf.file(&engine, "def"), &begun, &other] {
            put_at(file, 100);
        }
        assert_eq!(shelf.keep_only(&keep(&["abc"]), at(100)).unwrap(), 0, "all of it is as new as that");
        assert_eq!(shelf.keep_only(&keep(&["abc"]), at(101)).unwrap(), 2);
        assert!(shelf.take(&engine, "abc").unwrap().is_some() && shelf.take(&engine, "def").unwrap().is_none());
        assert!(!begun.exists() && other.exists());
    }

    #[test]
    fn nobody_else_may_read_it_and_it_stays_in_its_folder() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let (engine, shelf) = filled(folder.path());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&only_file(folder.path())), 0o600);
        assert_eq!(mode(&folder.path().join("shelf")), 0o700);
        assert_eq!(shelf.file(&engine, "../../etc/abc"), shelf.file(&engine, "abc"));
    }
}
