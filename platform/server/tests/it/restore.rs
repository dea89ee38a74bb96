//! `wotp restore` beside everything else that may happen at the same time, by running the real binary.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Server, wotp};

/// A number from a range that is reserved for fiction.
const ADA: &str = "+12025550123";

/// An installation with a tenant.
struct Place {
    folder: TempDir,
    tenant: String,
    live_key: String,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut place = Self { folder, tenant: String::new(), live_key: String::new() };
        let tenant = place.json(&["tenant", "create", "Acme", "--plan", "unlimited"]);
        (place.tenant, place.live_key) = (text(&tenant["tenant"]), text(&tenant["live_key"]));
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

    fn database(&self) -> PathBuf {
        self.data().join("wotp.db")
    }

    /// Makes a key; its id and the key itself.
    fn key(&self, name: &str) -> (String, String) {
        let key = self.json(&["key", "create", &self.tenant, "--name", name]);
        (text(&key["id"]), text(&key["secret"]))
    }

    fn revoke(&self, key: &str) -> Result<Value, String> {
        self.run(&["key", "revoke", &self.tenant, key])
    }

    fn key_status(&self, key: &str) -> String {
        let keys = self.json(&["key", "list", &self.tenant]);
        text(&keys["keys"].as_array().unwrap().iter().find(|one| one["id"] == key).unwrap()["status"])
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

#[test]
fn what_ended_since_the_backup_stays_ended() {
    let place = Place::new();
    let (stolen, secret) = place.key("stolen");
    let mut server = Server::start(&place.data());
    let started = server.request(&place.live_key, "POST", "/v1/verifications", Some(json!({ "to": ADA })));
    let path = format!("/v1/verifications/{}", text(&started.unwrap().1["id"]));
    let guess = json!({ "code": server.code_for(ADA).unwrap() });
    let check = |server: &Server| {
        let reply = server.request(&place.live_key, "POST", &format!("{path}/check"), Some(guess.clone()));
        reply.unwrap().1
    };
    let backup = place.backup("b.db");
    assert_eq!(check(&server)["valid"], true);
    place.revoke(&stolen).unwrap();
    let (later, _) = place.key("later");
    // What the log holds counts too.
    server.kill();

    let restored = place.json(&["restore", &backup, "--force"]);
    assert_eq!(
        [&restored["verifications_canceled"], &restored["keys_revoked"], &restored["keys_unknown"]],
        [&json!(1), &json!(1), &json!(0)]
    );
    assert_eq!(restored["warning"], Value::Null);
    let server = Server::start(&place.data());
    let checked = check(&server);
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(false), &json!("canceled")));
    assert_eq!(server.request(&secret, "GET", &path, None).unwrap().0, 401);
    assert_eq!(server.request(&place.live_key, "GET", &path, None).unwrap().0, 200);
    assert!(place.revoke(&later).is_err(), "it came after the backup");
}

#[test]
fn a_restore_that_cannot_know_of_revocations_says_so() {
    let place = Place::new();
    let (stolen, _) = place.key("stolen");
    let backup = place.backup("b.db");
    place.revoke(&stolen).unwrap();
    for (lost, why) in [(true, "no database to replace"), (false, "the old database cannot be read")] {
        if lost {
            fs::remove_file(place.database()).unwrap();
        } else {
            fs::write(place.database(), [0x5a; 8192]).unwrap();
        }
        let restored = place.json(&["restore", &backup, "--force"]);
        assert_eq!(restored["keys_revoked"], Value::Null);
        let warning = text(&restored["warning"]);
        for words in [why, "wotp key list TENANT", "wotp key revoke TENANT KEY"] {
            assert!(warning.contains(words), "{warning}");
        }
        assert_eq!(place.key_status(&stolen), "active");
    }
}

#[test]
fn a_restore_that_was_cut_off_still_knows_what_was_revoked() {
    let place = Place::new();
    let (stolen, _) = place.key("stolen");
    let backup = place.backup("b.db");
    place.revoke(&stolen).unwrap();
    // As it is between the renames: the new one staged, the old one kept, and none in place.
    let staged = place.data().join("wotp.db.restoring");
    fs::copy(&backup, &staged).unwrap();
    let done = Timestamp::try_from(fs::metadata(&staged).unwrap().modified().unwrap()).unwrap();
    let kept = place.data().join(format!("wotp.db.before-{}", done.strftime("%Y%m%dT%H%M%S%.3fZ")));
    fs::rename(place.database(), kept).unwrap();
    assert!(place.run(&["tenant", "list"]).unwrap_err().contains("was cut off"));

    let restored = place.json(&["restore", &backup, "--force"]);
    assert_eq!(restored["keys_revoked"], 1);
    assert_eq!(place.key_status(&stolen), "revoked");
}

#[test]
fn a_key_that_was_revoked_beside_a_restore_is_revoked_or_the_command_failed() {
    let place = Place::new();
    let keys: Vec<String> = (0..24).map(|number| place.key(&format!("key {number}")).0).collect();
    let backup = place.backup("b.db");
    let answers: Vec<Result<Value, String>> = std::thread::scope(|scope| {
        let revoking = scope.spawn(|| keys.iter().map(|key| place.revoke(key)).collect());
        // Until the last key: the revocations fall before, between and into them.
        while !revoking.is_finished() {
            place.json(&["restore", &backup, "--force"]);
        }
        revoking.join().unwrap()
    });
    for (key, answer) in keys.iter().zip(answers) {
        match answer {
            Ok(_) => assert_eq!(place.key_status(key), "revoked"),
            Err(error) => assert!(error.contains("a restore of the database"), "{error}"),
        }
    }
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
