//! Begins a plugin: a folder that builds as it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::Language;

/// Longest name: the plugin's id has 64 characters, and begins with whose it is.
const NAME_MAX: usize = 40;

/// Why no plugin was begun.
#[derive(Debug, thiserror::Error)]
pub enum NotBegun {
    /// The name cannot be a crate's and a part of an id.
    #[error("`{0}` is no name for a plugin; write 1 to {NAME_MAX} small letters, digits and dashes, a letter first")]
    Name(String),
    /// Something is there.
    #[error("{} is there already; choose another name, or move it away", .0.display())]
    Taken(PathBuf),
    /// The system does not let us.
    #[error("{file} cannot be written", file = .0.display())]
    Unwritten(PathBuf, #[source] io::Error),
}

/// Writes a plugin of this name into a folder of that name within `place`, and says which files.
///
/// # Errors
/// [`NotBegun`].
pub fn begin(place: &Path, name: &str, language: Language) -> Result<Vec<PathBuf>, NotBegun> {
    let holds = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let is_name = name.len() <= NAME_MAX && name.starts_with(|c: char| c.is_ascii_lowercase());
    if !is_name || !name.chars().all(holds) || name.ends_with('-') {
        return Err(NotBegun::Name(name.to_owned()));
    }
    let folder = place.join(name);
    let unwritten = |path: &Path| {
        let path = path.to_owned();
        move |error| NotBegun::Unwritten(path, error)
    };
    match fs::create_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(NotBegun::Taken(folder)),
        made => made.map_err(unwritten(&folder))?,
    }
    let files = language.template().files;
    for (path, text) in files {
        let path = folder.join(path);
        path.parent().map_or(Ok(()), fs::create_dir_all).map_err(unwritten(&path))?;
        fs::write(&path, text.replace("{{name}}", name)).map_err(unwritten(&path))?;
    }
    Ok(files.iter().map(|(path, _)| folder.join(path)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_begun_with_its_name_in_all_that_names_it() {
        let place = tempfile::tempdir().unwrap();
        for language in Language::ALL {
            let name = format!("acme-{language}");
            let files = begin(place.path(), &name, *language).unwrap();
            assert!(files.iter().all(|file| file.is_file()), "{files:?}");
            let all: Vec<_> = files.iter().map(|file| fs::read_to_string(file).unwrap()).collect();
            assert!(all.iter().any(|text| text.contains(&format!("\"{name}\""))), "{language}");
            assert!(!all.iter().any(|text| text.contains("{{name}}")), "{language}");
        }
    }

    #[test]
    fn what_is_there_is_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir(place.path().join("acme")).unwrap();
        let said = begin(place.path(), "acme", Language::Rust).unwrap_err().to_string();
        assert!(said.contains("is there already"), "{said}");
        assert_eq!(fs::read_dir(place.path().join("acme")).unwrap().count(), 0);
    }

    #[test]
    fn a_name_that_is_none_writes_nothing() {
        let place = tempfile::tempdir().unwrap();
        for name in ["", "Acme", "1acme", "acme sms", "../acme", "acme-", &"a".repeat(41)] {
            let said = begin(place.path(), name, Language::Rust).unwrap_err().to_string();
            assert!(said.contains("is no name for a plugin"), "{said}");
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
