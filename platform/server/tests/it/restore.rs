//! `wotp restore` beside everything else that may happen at the same time, by running the real binary.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use super::process::wotp;

/// An installation with a tenant.
struct Place {
    folder: TempDir,
    tenant: String,
}

impl Place {
    fn new() -> Self {
        let mut place = Self { folder: tempfile::tempdir().unwrap(), tenant: String::new() };
        place.tenant = text(&place.json(&["tenant", "create", "Acme", "--plan", "unlimited"])["tenant"]);
        place
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    /// Runs a command; what it said on standard output, or the error that it told.
    fn run(&self, arguments: &[&str]) -> Result<Value, String> {
        let data = self.data();
        let output = wotp(&[arguments, &["--json", "--data", data.to_str().unwrap()]].concat());
        let said = |bytes| String::from_utf8(bytes).unwrap();
        if output.status.success() {
            Ok(serde_json::from_str(&said(output.stdout)).unwrap())
        } else {
            Err(said(output.stderr))
        }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments).unwrap()
    }

    fn backup(&self, name: &str) -> String {
        let file = self.path(name);
        self.json(&["backup", &file]);
        file
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn while_a_restore_is_under_way_no_command_touches_the_database() {
    let place = Place::new();
    let backup = place.backup("b.db");
    // As a restore has it, from its beginning to its end.
    let restoring = File::open(place.data()).unwrap();
    restoring.lock().unwrap();
    let file = place.path("c.db");
    for arguments in [
        &["tenant", "create", "Other"][..],
        &["tenant", "list"],
        &["key", "list", &place.tenant],
        &["backup", &file],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let error = place.run(arguments).unwrap_err();
        assert!(error.contains("a restore of the database"), "{arguments:?}: {error}");
    }
    let findings = wotp(&["doctor", "--json", "--data", place.data().to_str().unwrap()]);
    assert!(String::from_utf8(findings.stdout).unwrap().contains("a restore of the database"));
    assert!(!Path::new(&file).exists());
    restoring.unlock().unwrap();
    place.json(&["restore", &backup, "--force"]);
}

#[test]
fn a_restore_does_not_begin_while_a_command_uses_the_database() {
    let place = Place::new();
    let backup = place.backup("b.db");
    let before = fs::read(place.data().join("wotp.db")).unwrap();
    // As a command has it, until it is done.
    let command = File::open(place.data()).unwrap();
    command.lock_shared().unwrap();
    let error = place.run(&["restore", &backup, "--force"]).unwrap_err();
    assert!(error.contains("another command is using the database"), "{error}");
    assert_eq!(fs::read(place.data().join("wotp.db")).unwrap(), before);
    // Other commands are none of its business.
    place.json(&["tenant", "list"]);
}
