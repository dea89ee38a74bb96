//! A program that is newer than the database it finds, by running the real binary.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::process::Place;

/// Where SQLite keeps the size of a page and the version of a schema in a file.
/// Source: SQLite, "Database File Format", 1.3.
const PAGE_SIZE: std::ops::Range<usize> = 16..18;
const USER_VERSION: std::ops::Range<usize> = 60..64;

/// An installation whose database is older than any program: it is ours, and holds no table yet.
struct Installation {
    place: Place,
}

impl Installation {
    fn new() -> Self {
        let place = Self { place: Place::new() };
        place.place.tenant("Acme");
        let mut page = fs::read(place.database()).unwrap();
        let page_size = u16::from_be_bytes(page[PAGE_SIZE].try_into().unwrap());
        page.truncate(page_size.into());
        // One page, no free ones, no version; then the head of an empty table of the schema.
        page[28..32].copy_from_slice(&1u32.to_be_bytes());
        page[32..40].fill(0);
        page[USER_VERSION].fill(0);
        page[100..].fill(0);
        page[100] = 0x0D;
        page[105..107].copy_from_slice(&page_size.to_be_bytes());
        fs::write(place.database(), page).unwrap();
        place
    }

    fn database(&self) -> PathBuf {
        self.place.data().join("wotp.db")
    }

    fn version(&self) -> u32 {
        u32::from_be_bytes(fs::read(self.database()).unwrap()[USER_VERSION].try_into().unwrap())
    }

    /// Runs a command; whether it succeeded, and all that it said.
    fn run(&self, arguments: &[&str]) -> (bool, String) {
        let said = self.place.run(arguments);
        (said.code == 0, said.out + &said.err)
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
    let place = Installation::new();
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
    let place = Installation::new();
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
