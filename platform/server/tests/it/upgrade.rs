//! A program that is newer than the database it finds, by running the real binary.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::process::wotp;

/// Where SQLite keeps the version of a schema in a file, and how long a page of ours is.
/// Source: SQLite, "Database File Format", 1.3.
const USER_VERSION: std::ops::Range<usize> = 60..64;
const PAGE_SIZE: usize = 8192;

/// An installation whose database is older than any program: it is ours, and holds no table yet.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().unwrap() };
        assert!(place.run(&["tenant", "create", "Acme"]).0);
        let mut page = fs::read(place.database()).unwrap();
        page.truncate(PAGE_SIZE);
        // One page, no free ones, no version; then the head of an empty table of the schema.
        page[28..32].copy_from_slice(&1u32.to_be_bytes());
        page[32..40].fill(0);
        page[USER_VERSION].fill(0);
        page[100..].fill(0);
        page[100] = 0x0D;
        page[105..107].copy_from_slice(&u16::try_from(PAGE_SIZE).unwrap().to_be_bytes());
        fs::write(place.database(), page).unwrap();
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn database(&self) -> PathBuf {
        self.data().join("wotp.db")
    }

    fn version(&self) -> u32 {
        u32::from_be_bytes(fs::read(self.database()).unwrap()[USER_VERSION].try_into().unwrap())
    }

    /// Runs a command; whether it succeeded, and all that it said.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let data = self.data();
        let output = wotp(&[arguments, &["--data", data.to_str().unwrap()]].concat());
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    }
}

/// The lock that a server has from its start to its end.
fn serving(database: &Path) -> File {
    let lock = File::create(database.with_extension("db.lock")).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn a_newer_command_changes_nothing_under_an_older_server() {
    let place = Place::new();
    let before = fs::read(place.database()).unwrap();
    let server = serving(&place.database());
    for arguments in [&["tenant", "list"][..], &["tenant", "create", "Other"]] {
        let (succeeded, said) = place.run(arguments);
        assert!(!succeeded && said.contains("the server that runs is of an older version"), "{said}");
        assert!(said.contains("restart the server with this version first"), "{said}");
    }
    assert_eq!(fs::read(place.database()).unwrap(), before);
    drop(server);
    let (succeeded, said) = place.run(&["tenant", "list"]);
    assert!(succeeded && place.version() > 0, "nobody serves, so it may be brought up to date: {said}");
}

#[test]
fn the_doctor_tells_how_old_a_database_is_and_changes_nothing() {
    let place = Place::new();
    let before = fs::read(place.database()).unwrap();
    let (_, said) = place.run(&["doctor", "--json"]);
    assert_eq!(fs::read(place.database()).unwrap(), before);
    let report: Value = serde_json::from_str(&said).unwrap();
    let finding = report["checks"].as_array().unwrap().iter().find(|one| one["check"] == "database").unwrap();
    assert_eq!(finding["verdict"], "warn");
    assert!(finding["found"].as_str().unwrap().contains("schema 0"), "{finding}");
    assert!(finding["help"].as_str().unwrap().contains("start the server of this version"), "{finding}");
    assert_eq!(report["ok"], true, "{report}");
}
