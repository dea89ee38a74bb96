//! `wotp restore` beside everything else that may happen at the same time, by running the real binary.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::process::Signal;
use serde_json::{Value, json};

use super::audit::{Line, Says};
use super::process::{Place, Server};

/// What the audit log says of it.
pub const RESTORE: &[Line] = &[("database.restore", Says::Happened)];

/// A number from a range that is reserved for fiction.
const ADA: &str = "+12025550123";

/// An installation with a tenant.
struct Installation {
    place: Place,
    tenant: String,
    live_key: String,
}

impl Installation {
    fn new() -> Self {
        let place = Place::new();
        let tenant = place.tenant("Acme");
        let (tenant, live_key) = (text(&tenant["tenant"]), text(&tenant["live_key"]));
        Self { place, tenant, live_key }
    }

    /// Runs a command; what it said on standard output, or the error that it told.
    fn run(&self, arguments: &[&str]) -> Result<Value, String> {
        let said = self.place.run(&[arguments, &["--json"]].concat());
        if said.code == 0 { Ok(said.json()) } else { Err(said.err) }
    }

    fn json(&self, arguments: &[&str]) -> Value {
        self.run(arguments).unwrap()
    }

    fn backup(&self, name: &str) -> String {
        let file = self.place.file(name);
        self.json(&["backup", &file]);
        file
    }

    fn database(&self) -> PathBuf {
        self.place.data().join("wotp.db")
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
    let home = Installation::new();
    let (stolen, secret) = home.key("stolen");
    let mut server = Server::start(&home.place);
    let path = format!("/v1/verifications/{}", server.start_verification(&home.live_key, ADA));
    let guess = json!({ "code": server.code_for(ADA).unwrap() });
    let check = |server: &Server| server.request("POST", &format!("{path}/check"), &home.live_key, guess.clone()).1;
    let backup = home.backup("b.db");
    assert_eq!(check(&server)["valid"], true);
    home.revoke(&stolen).unwrap();
    let (later, _) = home.key("later");
    // What the log holds counts too.
    server.signal(Signal::KILL);
    server.ended();

    let restored = home.json(&["restore", &backup, "--force"]);
    assert_eq!(
        [&restored["verifications_canceled"], &restored["keys_revoked"], &restored["keys_unknown"]],
        [&json!(1), &json!(1), &json!(0)]
    );
    assert_eq!(restored["warning"], Value::Null);
    let server = Server::start(&home.place);
    let checked = check(&server);
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(false), &json!("canceled")));
    assert_eq!(server.request("GET", &path, &secret, Value::Null).0, 401);
    assert_eq!(server.request("GET", &path, &home.live_key, Value::Null).0, 200);
    assert!(home.revoke(&later).is_err(), "it came after the backup");
}

#[test]
fn a_restore_that_cannot_know_of_revocations_says_so() {
    let home = Installation::new();
    let (stolen, _) = home.key("stolen");
    let backup = home.backup("b.db");
    home.revoke(&stolen).unwrap();
    for (lost, why) in [(true, "no database to replace"), (false, "the old database cannot be read")] {
        if lost {
            fs::remove_file(home.database()).unwrap();
        } else {
            fs::write(home.database(), [0x5a; 8192]).unwrap();
        }
        let restored = home.json(&["restore", &backup, "--force"]);
        assert_eq!(restored["keys_revoked"], Value::Null);
        let warning = text(&restored["warning"]);
        for words in [why, "wotp key list TENANT", "wotp key revoke TENANT KEY"] {
            assert!(warning.contains(words), "{warning}");
        }
        assert_eq!(home.key_status(&stolen), "active");
    }
}

#[test]
fn a_restore_that_was_cut_off_still_knows_what_was_revoked() {
    let home = Installation::new();
    let (stolen, _) = home.key("stolen");
    let backup = home.backup("b.db");
    home.revoke(&stolen).unwrap();
    // As it is between the renames: the new one staged, the old one kept, and none in home.
    let staged = home.place.data().join("wotp.db.restoring");
    fs::copy(&backup, &staged).unwrap();
    let done = Timestamp::try_from(fs::metadata(&staged).unwrap().modified().unwrap()).unwrap();
    let kept = home.place.data().join(format!("wotp.db.before-{}", done.strftime("%Y%m%dT%H%M%S%.3fZ")));
    fs::rename(home.database(), kept).unwrap();
    assert!(home.run(&["tenant", "list"]).unwrap_err().contains("was cut off"));

    let restored = home.json(&["restore", &backup, "--force"]);
    assert_eq!(restored["keys_revoked"], 1);
    assert_eq!(home.key_status(&stolen), "revoked");
}

#[test]
fn a_key_that_was_revoked_beside_a_restore_is_revoked_or_the_command_failed() {
    let home = Installation::new();
    let keys: Vec<String> = (0..24).map(|number| home.key(&format!("key {number}")).0).collect();
    let backup = home.backup("b.db");
    let answers: Vec<Result<Value, String>> = std::thread::scope(|scope| {
        let revoking = scope.spawn(|| keys.iter().map(|key| home.revoke(key)).collect());
        // Until the last key: the revocations fall before, between and into them.
        while !revoking.is_finished() {
            home.json(&["restore", &backup, "--force"]);
        }
        revoking.join().unwrap()
    });
    for (key, answer) in keys.iter().zip(answers) {
        match answer {
            Ok(_) => assert_eq!(home.key_status(key), "revoked"),
            Err(error) => assert!(error.contains("a restore of the database"), "{error}"),
        }
    }
}

#[test]
fn while_a_restore_is_under_way_no_command_touches_the_database() {
    let home = Installation::new();
    let backup = home.backup("b.db");
    // As a restore has it, from its beginning to its end.
    let restoring = File::open(home.place.data()).unwrap();
    restoring.lock().unwrap();
    let file = home.place.file("c.db");
    for arguments in [
        &["tenant", "create", "Other"][..],
        &["tenant", "list"],
        &["key", "list", &home.tenant],
        &["backup", &file],
        &["serve", "--listen", "127.0.0.1:0"],
    ] {
        let error = home.run(arguments).unwrap_err();
        assert!(error.contains("a restore of the database"), "{arguments:?}: {error}");
    }
    assert!(home.place.run(&["doctor", "--json"]).out.contains("a restore of the database"));
    assert!(!Path::new(&file).exists());
    restoring.unlock().unwrap();
    home.json(&["restore", &backup, "--force"]);
}

#[test]
fn a_restore_does_not_begin_while_a_command_uses_the_database() {
    let home = Installation::new();
    let backup = home.backup("b.db");
    let before = fs::read(home.place.data().join("wotp.db")).unwrap();
    // As a command has it, until it is done.
    let command = File::open(home.place.data()).unwrap();
    command.lock_shared().unwrap();
    let error = home.run(&["restore", &backup, "--force"]).unwrap_err();
    assert!(error.contains("another command is using the database"), "{error}");
    assert_eq!(fs::read(home.place.data().join("wotp.db")).unwrap(), before);
    // Other commands are none of its business.
    home.json(&["tenant", "list"]);
}

const PASSWORD: &str = "a long enough sentence";

impl Installation {
    /// Makes an operator.
    fn operator(&self, email: &str) {
        let file = self.place.file("password");
        fs::write(&file, PASSWORD).unwrap();
        self.json(&["operator", "create", email, "--password-file", &file]);
    }

    /// What an audit log says, oldest first: the platform's, or this tenant's.
    fn log(&self, of: &[&str]) -> Vec<Value> {
        let said = self.place.run(&[&["audit", "export"], of].concat());
        said.succeeded();
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

fn log_in(server: &Server, email: &str) -> Value {
    let body = json!({ "email": email, "password": PASSWORD, "token_transport": "body" });
    let (status, session) = server.request("POST", "/v1/auth/login", "", body);
    assert_eq!(status, 200, "{session}");
    session
}

fn refresh(server: &Server, session: &Value) -> (u16, Value) {
    let body = json!({ "refresh_token": session["refresh_token"] });
    server.request("POST", "/v1/auth/refresh", "", body)
}

#[test]
fn what_a_changed_password_ended_no_backup_begins_again() {
    let home = Installation::new();
    home.operator("ops@example.com");
    let mut server = Server::start(&home.place);
    let (stolen, own) = (log_in(&server, "ops@example.com"), log_in(&server, "ops@example.com"));
    let backup = home.backup("b.db");
    let change = json!({ "current_password": PASSWORD, "new_password": "another long sentence" });
    assert_eq!(server.request("POST", "/v1/me/password", &text(&own["access_token"]), change).0, 204);
    server.signal(Signal::KILL);
    server.ended();

    let restored = home.json(&["restore", &backup, "--force"]);
    assert_eq!((&restored["sessions_ended"], &restored["sessions_kept"]), (&json!(1), &json!(1)));
    let server = Server::start(&home.place);
    assert_eq!(refresh(&server, &stolen).0, 401);
    let (status, own) = refresh(&server, &own);
    assert_eq!(status, 200);
    // The next epoch is one that there was not before: it ends all that is of earlier ones.
    let later = log_in(&server, "ops@example.com");
    let change = json!({ "current_password": PASSWORD, "new_password": "another long sentence" });
    assert_eq!(server.request("POST", "/v1/me/password", &text(&later["access_token"]), change).0, 204);
    assert_eq!(refresh(&server, &own).0, 401);
}

#[test]
fn nobody_is_signed_in_by_a_backup_but_who_is_signed_in_still() {
    let home = Installation::new();
    home.operator("ops@example.com");
    let mut server = Server::start(&home.place);
    let (ended, kept) = (log_in(&server, "ops@example.com"), log_in(&server, "ops@example.com"));
    let act = json!({ "reason": "they asked", "minutes": 60 });
    let accesses = format!("/operator/v1/tenants/{}/accesses", home.tenant);
    let started = server.request("POST", &accesses, &text(&kept["access_token"]), act);
    assert_eq!(started.0, 201, "{}", started.1);
    let (stolen, _) = home.key("stolen");
    let backup = home.backup("b.db");
    let body = json!({ "refresh_token": ended["refresh_token"] });
    assert_eq!(server.request("POST", "/v1/auth/logout", "", body).0, 204);
    let (status, kept) = refresh(&server, &kept);
    assert_eq!(status, 200);
    let later = log_in(&server, "ops@example.com");
    home.revoke(&stolen).unwrap();
    server.signal(Signal::KILL);
    server.ended();

    let restored = home.json(&["restore", &backup, "--force"]);
    assert_eq!(
        [&restored["sessions_ended"], &restored["sessions_kept"], &restored["operator_accesses_ended"]],
        [&json!(1), &json!(2), &json!(1)]
    );
    let server = Server::start(&home.place);
    assert_eq!(refresh(&server, &ended).0, 401);
    assert_eq!(refresh(&server, &kept).0, 200);
    assert_eq!(refresh(&server, &later).0, 200);
    // All that was done is told of, and the chains hold.
    assert_eq!(home.json(&["audit", "verify"])["sound"], true);
    let platform = home.log(&[]);
    for (action, says) in RESTORE {
        says.hold(platform.iter().rfind(|entry| entry["action"] == *action).unwrap());
    }
    let tenant = home.log(&["--tenant", &home.tenant]);
    for (log, action) in
        [(&tenant, "api_key.revoke"), (&tenant, "operator_access.end"), (&platform, "operator_access.end")]
    {
        let told = log.iter().rfind(|entry| entry["action"] == action).unwrap();
        assert_eq!(told["after"]["restored"], true, "{told}");
        Says::Changed.hold(told);
    }
}

#[test]
fn without_the_old_database_everybody_is_signed_out() {
    let home = Installation::new();
    home.operator("ops@example.com");
    let mut server = Server::start(&home.place);
    let session = log_in(&server, "ops@example.com");
    let backup = home.backup("b.db");
    server.signal(Signal::KILL);
    server.ended();
    fs::remove_file(home.database()).unwrap();
    let restored = home.json(&["restore", &backup, "--force"]);
    assert_eq!((&restored["sessions_ended"], &restored["sessions_kept"]), (&json!(1), &json!(0)));
    let server = Server::start(&home.place);
    assert_eq!(refresh(&server, &session).0, 401);
    let status = server.request("GET", "/v1/me", &text(&session["access_token"]), Value::Null).0;
    assert_eq!(status, 401);
    log_in(&server, "ops@example.com");
    assert_eq!(home.json(&["audit", "verify"])["sound"], true);
}
