//! The command line, by running the real binary.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::Signal;
use serde_json::{Value, json};
use wotp_core::domain::audit::AuditEntry;
use wotp_core::domain::user::User;
use wotp_core::ports::{Change, Clock as _, Entities as _, Entity as _, EntityList, Owner};
use wotp_server::system::SystemClock;
use wotp_store::sqlite::{OpenOptions, SqliteStore};

use crate::fleet::until;
use crate::process::{Place, Server};

/// Numbers from a range that is reserved for fiction.
const ADA: &str = "+12025550123";
const BOB: &str = "+12025550124";

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn creating_a_tenant_prints_exactly_its_ids_and_keys() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let mut names: Vec<&String> = tenant.as_object().unwrap().keys().collect();
    names.sort();
    assert_eq!(names, ["live_key", "service", "tenant", "test_key"]);
    for (name, prefix) in [("tenant", "ten_"), ("service", "svc_"), ("live_key", "wk_live_"), ("test_key", "wk_test_")]
    {
        assert!(text(&tenant[name]).starts_with(prefix), "{tenant}");
    }
}

#[test]
fn what_it_makes_is_for_its_owner_alone() {
    let place = Place::new();
    place.tenant("Acme");
    place.run(&["backup", &place.file("b.db"), "--with-master-key"]).succeeded();
    assert_eq!(mode(&place.data()), 0o700);
    for file in ["wotp.db", "master.key"] {
        assert_eq!(mode(&place.data().join(file)), 0o600, "{file}");
    }
    for file in ["b.db", "b.db.master.key"] {
        assert_eq!(mode(Path::new(&place.file(file))), 0o600, "{file}");
    }
}

#[test]
fn for_people_the_keys_come_with_a_command_to_paste() {
    let place = Place::new();
    let said = place.run(&["tenant", "create", "Acme"]);
    assert!(said.out.contains("curl -s http://127.0.0.1:8080/v1/verifications"), "{}", said.out);
    assert!(said.out.contains("Authorization: Bearer wk_test_"), "{}", said.out);
}

#[test]
fn a_mistake_in_the_call_exits_with_2() {
    let place = Place::new();
    for arguments in [
        &["nonsense"][..],
        &["tenant", "create"],
        &["tenant", "set-plan", "acme", "pro"],
        &["serve", "--listen", "8080"],
        &["key", "create", "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M", "--name", "x", "--scope", "everything"],
        &["key", "create", "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M", "--name", "x", "--allow-ip", "10.0.0.0/99"],
        &["key", "create", "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M", "--name", "x", "--expires-in-days", "0"],
    ] {
        assert_eq!(place.run(arguments).code, 2, "{arguments:?}");
    }
    assert!(!place.data().exists());
}

#[test]
fn a_folder_that_is_not_there_is_not_made_by_looking_into_it() {
    let place = Place::new();
    for arguments in [&["tenant", "list"][..], &["backup", "x.db"], &["key", "list", "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M"]]
    {
        place.run(arguments).failed_saying(&["error: there is no data folder at", "help: "]);
    }
    assert!(!place.data().exists());
}

#[test]
fn a_wrong_call_is_json_too_when_that_is_asked_for() {
    let said = Place::new().run(&["key", "list", "nonsense", "--json"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    let error: Value = serde_json::from_str(&said.err).unwrap();
    assert!(text(&error["error"]).starts_with("invalid value 'nonsense'"), "{error}");
    assert!(text(&error["help"]).contains("--help"), "{error}");
    let said = Place::new().run(&["key", "list", "nonsense", "--", "--json"]);
    assert!(said.err.starts_with("error: "), "{}", said.err);
}

#[test]
fn errors_are_json_when_asked_for() {
    let said = Place::new().run(&["tenant", "list", "--json"]);
    assert_eq!(said.code, 1);
    let error: Value = serde_json::from_str(&said.err).unwrap();
    assert!(text(&error["error"]).contains("there is no data folder"));
    assert!(text(&error["help"]).contains("--data"));
    assert_eq!(said.out, "");
}

#[test]
fn plans_are_set_and_unknown_ones_refused_with_those_there_are() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    place
        .run(&["tenant", "create", "B", "--plan", "gold"])
        .failed_saying(&["there is no plan `gold`", "free, pro, unlimited"]);
    assert_eq!(place.run(&["tenant", "set-plan", text(&tenant["tenant"]), "pro", "--json"]).json()["plan"], "pro");
    let listed = place.run(&["tenant", "list", "--json"]).json();
    assert_eq!(listed["tenants"].as_array().unwrap().len(), 1);
    assert_eq!(listed["tenants"][0]["plan"], "pro");
    let unknown = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M";
    place.run(&["tenant", "set-plan", unknown, "pro"]).failed_saying(&["there is no such tenant", "wotp tenant list"]);
}

#[test]
fn a_key_made_and_revoked_beside_a_running_server_works_and_stops_there() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let server = Server::start(&place);
    let id = text(&tenant["tenant"]);
    let made = place
        .run(&["key", "create", id, "--name", "ci", "--mode", "test", "--scope", "verifications:write", "--json"])
        .json();
    assert_eq!(made["scopes"], json!(["verifications:write"]));
    let secret = text(&made["secret"]);
    let verification = server.start_verification(secret, ADA);
    assert_eq!(server.verification_status(secret, &verification), 403, "it may not read");

    let keys = place.run(&["key", "list", id, "--json"]).json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 3);
    assert!(!keys.to_string().contains(secret));
    let revoked = place.run(&["key", "revoke", id, text(&made["id"]), "--json"]).json();
    assert_eq!(revoked["status"], "revoked");
    // Another process may know a key for a second: wait for the state.
    while server.verification_status(secret, &verification) != 401 {
        std::thread::yield_now();
    }
    let other = place.tenant("Other");
    place
        .run(&["key", "revoke", text(&other["tenant"]), text(&made["id"])])
        .failed_saying(&["there is no such API key"]);
}

#[test]
fn a_second_server_on_the_same_folder_is_told_which_one_has_it() {
    let place = Place::new();
    let server = Server::start(&place);
    let pid = server.id().to_string();
    place.run(&["serve", "--listen", "127.0.0.1:0"]).failed_saying(&[
        "another server runs on the data folder",
        &pid,
        "help: ",
    ]);
}

#[test]
fn a_port_that_is_taken_is_explained() {
    let (place, other) = (Place::new(), Place::new());
    let server = Server::start(&place);
    other
        .run(&["serve", "--listen", &server.address])
        .failed_saying(&["cannot listen on", "something listens there already"]);
}

#[test]
fn sigterm_and_ctrl_c_stop_it_cleanly() {
    for signal in [Signal::TERM, Signal::INT] {
        let place = Place::new();
        let tenant = place.tenant("Acme");
        let mut server = Server::start(&place);
        // A connection that is kept open and idle must not hold it up.
        let idle = TcpStream::connect(&server.address).unwrap();
        server.start_verification(text(&tenant["live_key"]), ADA);
        server.signal(signal);
        assert_eq!(server.ended().code(), Some(0));
        drop(idle);
        assert!(!place.data().join("wotp.db-wal").exists(), "the store was closed");
        assert_eq!(place.run(&["doctor"]).code, 0);
    }
}

#[test]
fn a_request_in_hand_is_finished_before_it_stops() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let mut server = Server::start(&place);
    let mut stream = TcpStream::connect(&server.address).unwrap();
    let body = r#"{"to":"+12025550123"}"#;
    let key = text(&tenant["live_key"]);
    let head = format!(
        "POST /v1/verifications HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\nauthorization: Bearer {key}\r\n"
    );
    let head = format!("{head}content-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    // The server asks for the body: it is in the middle of the request.
    let mut asked = [0; 25];
    stream.read_exact(&mut asked).unwrap();
    assert!(asked.starts_with(b"HTTP/1.1 100"));
    server.signal(Signal::TERM);
    while TcpStream::connect(&server.address).is_ok() {
        std::thread::yield_now();
    }
    stream.write_all(body.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 201"), "{reply}");
    assert_eq!(server.ended().code(), Some(0));
}

#[test]
fn a_backup_of_a_running_server_restores_elsewhere_with_its_key_only() {
    let (place, elsewhere) = (Place::new(), Place::new());
    let tenant = place.tenant("Acme");
    let key = text(&tenant["live_key"]);
    let server = Server::start(&place);
    let id = server.start_verification(key, ADA);
    let (plain, whole) = (place.file("plain.db"), place.file("whole.db"));
    assert_eq!(place.run(&["backup", &plain, "--json"]).json()["master_key_file"], Value::Null);
    place.run(&["backup", &plain]).failed_saying(&["exists already"]);
    let made = place.run(&["backup", &whole, "--with-master-key", "--json"]).json();
    assert_eq!(made["master_key_file"], json!(format!("{whole}.master.key")));
    let later = server.start_verification(key, BOB);
    place.run(&["restore", &plain, "--force"]).failed_saying(&["another server runs"]);

    elsewhere
        .run(&["restore", &plain])
        .failed_saying(&["there is no master key for this backup", "master.key, mode 0600"]);
    assert!(!elsewhere.data().join("wotp.db").exists());
    let restored = elsewhere.run(&["restore", &whole, "--json"]).json();
    assert_eq!(restored["kept"], Value::Null);
    let second = Server::start(&elsewhere);
    assert_eq!(second.verification_status(key, &id), 200);
    assert_eq!(second.verification_status(key, &later), 404, "it came after the backup");
}

#[test]
fn a_restore_over_a_database_needs_force_and_keeps_the_old_one() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let backup = place.file("b.db");
    place.run(&["backup", &backup]).succeeded();
    place.tenant("Later");
    place.run(&["restore", &backup]).failed_saying(&["there is a database at", "--force"]);
    let kept = place.run(&["restore", &backup, "--force", "--json"]).json();
    let tenants = place.run(&["tenant", "list", "--json"]).json();
    assert_eq!(tenants["tenants"].as_array().unwrap().len(), 1);
    assert_eq!(tenants["tenants"][0]["tenant"], tenant["tenant"]);
    // The old one is whole.
    let url = format!("sqlite:{}", text(&kept["kept"]));
    let old = place.run_with(&["tenant", "list", "--json"], &[("WOTP_STORE__URL", &url)]).json();
    assert_eq!(old["tenants"].as_array().unwrap().len(), 2);
    assert!(!place.data().join("wotp.db.restoring").exists());
}

#[test]
fn a_backup_that_is_damaged_or_of_another_key_changes_nothing() {
    let (place, other) = (Place::new(), Place::new());
    let tenant = other.tenant("Other");
    let server = Server::start(&other);
    server.start_verification(text(&tenant["live_key"]), ADA);
    assert_eq!(server.stop().code(), Some(0));
    let foreign = other.file("b.db");
    other.run(&["backup", &foreign]).succeeded();
    place.tenant("Acme");
    place.run(&["restore", &foreign, "--force"]).failed_saying(&["was made with another master key"]);

    let broken = place.file("broken.db");
    fs::write(&broken, "not a database, although it has some length to it").unwrap();
    place.run(&["restore", &broken, "--force"]).failed_saying(&["damaged"]);
    place.run(&["restore", &place.file("no.db")]).failed_saying(&["there is no"]);
    assert_eq!(place.run(&["tenant", "list", "--json"]).json()["tenants"][0]["name"], "Acme");
    assert!(!place.data().join("wotp.db.restoring").exists());
}

#[test]
fn a_restore_that_was_cut_off_is_noticed_and_can_be_done_again() {
    let place = Place::new();
    place.tenant("Acme");
    let backup = place.file("b.db");
    place.run(&["backup", &backup]).succeeded();
    // As it is between the two renames.
    fs::copy(&backup, place.data().join("wotp.db.restoring")).unwrap();
    fs::remove_file(place.data().join("wotp.db")).unwrap();
    place.run(&["tenant", "create", "B"]).failed_saying(&["a restore of the database was cut off", "--force"]);
    assert_eq!(place.run(&["doctor"]).code, 1);
    place.run(&["restore", &backup]).succeeded();
    assert_eq!(place.run(&["tenant", "list", "--json"]).json()["tenants"][0]["name"], "Acme");
}

#[test]
fn a_database_without_its_master_key_is_refused() {
    let place = Place::new();
    place.tenant("Acme");
    fs::remove_file(place.data().join("master.key")).unwrap();
    place.run(&["serve", "--listen", "127.0.0.1:0"]).failed_saying(&["no master key", "backup"]);
    assert!(!place.data().join("master.key").exists());
}

#[test]
fn a_database_that_was_damaged_while_nobody_served_it_is_refused() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let server = Server::start(&place);
    server.start_verification(text(&tenant["live_key"]), ADA);
    assert_eq!(server.stop().code(), Some(0));
    let database = place.data().join("wotp.db");
    let mut bytes = fs::read(&database).unwrap();
    // The head still says that it is a database of ours.
    bytes[16_384..].fill(0x5a);
    fs::write(&database, bytes).unwrap();
    place.run(&["serve", "--listen", "127.0.0.1:0"]).failed_saying(&["damaged", "wotp restore"]);
}

#[test]
fn a_database_with_another_master_key_is_refused() {
    let (place, other) = (Place::new(), Place::new());
    other.tenant("Other");
    let tenant = place.tenant("Acme");
    let server = Server::start(&place);
    server.start_verification(text(&tenant["live_key"]), ADA);
    assert_eq!(server.stop().code(), Some(0));
    fs::copy(other.data().join("master.key"), place.data().join("master.key")).unwrap();
    place.run(&["serve", "--listen", "127.0.0.1:0"]).failed_saying(&["master key is not the one", "put back"]);
}

#[test]
fn one_database_is_served_from_one_folder() {
    let (place, other) = (Place::new(), Place::new());
    place.tenant("Acme");
    fs::create_dir_all(other.data()).unwrap();
    fs::copy(place.data().join("master.key"), other.data().join("master.key")).unwrap();
    let _server = Server::start(&place);
    let url = format!("sqlite:{}", place.data().join("wotp.db").display());
    let second = other.run_with(&["serve", "--listen", "127.0.0.1:0"], &[("WOTP_STORE__URL", &url)]);
    second.failed_saying(&["served by another process", "store.url"]);
}

#[test]
fn a_damaged_database_is_refused_and_said_so() {
    let place = Place::new();
    place.tenant("Acme");
    fs::write(place.data().join("wotp.db"), [0x5a; 8192]).unwrap();
    place.run(&["serve", "--listen", "127.0.0.1:0"]).failed_saying(&["damaged", "wotp restore"]);
    let said = place.run(&["doctor", "--json"]);
    let findings: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!((said.code, &findings["ok"]), (1, &json!(false)));
}

#[test]
fn the_doctor_finds_nothing_on_a_sound_installation() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let server = Server::start(&place);
    server.start_verification(text(&tenant["live_key"]), ADA);
    let report = place.run(&["doctor", "--json"]).json();
    assert_eq!(report["ok"], true);
    let checks: Vec<&str> = report["checks"].as_array().unwrap().iter().map(|one| text(&one["check"])).collect();
    assert_eq!(
        checks,
        [
            "clock",
            "configuration",
            "folder",
            "disk",
            "server",
            "channel",
            "master key",
            "database",
            "contents",
            "seal",
            "plans",
            "due",
            "history"
        ]
    );
    let errors = report["checks"].as_array().unwrap().iter().filter(|one| one["verdict"] == "error");
    assert_eq!(errors.count(), 0, "{report}");
}

#[test]
fn the_doctor_says_what_to_type() {
    let place = Place::new();
    place.tenant("Acme");
    let key = place.data().join("master.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let said = place.run(&["doctor"]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains(&format!("chmod 600 {}", fs::canonicalize(&key).unwrap().display())), "{}", said.out);
}

#[test]
fn the_configuration_is_checked_shown_and_explained() {
    let place = Place::new();
    assert_eq!(place.run(&["config", "check", "--json"]).json(), json!({ "ok": true, "file": null }));
    let reference = place.run(&["config", "reference"]);
    let file = place.file("mine.toml");
    fs::write(&file, &reference.out).unwrap();
    let shown =
        place.run_with(&["config", "show", "--config", &file, "--json"], &[("WOTP_WORKER__CONCURRENCY", "5")]).json();
    let find = |key: &str| shown["values"].as_array().unwrap().iter().find(|one| one["key"] == key).unwrap().clone();
    assert_eq!(
        find("worker.concurrency"),
        json!({ "key": "worker.concurrency", "value": 5, "source": "WOTP_WORKER__CONCURRENCY" })
    );
    assert_eq!(find("log.level"), json!({ "key": "log.level", "value": "info", "source": file }));
    assert!(!place.data().exists());
}

#[test]
fn a_variable_nobody_knows_stops_every_command_before_it_does_anything() {
    let place = Place::new();
    for arguments in [&["config", "check"][..], &["serve", "--listen", "127.0.0.1:0"], &["tenant", "create", "Acme"]] {
        place.run_with(arguments, &[("WOTP_FOO", "1")]).failed_saying(&["WOTP_FOO", "there is no such key", "help: "]);
    }
    assert!(!place.data().exists());
}

#[test]
fn production_does_not_start_with_the_channel_that_prints_codes() {
    let place = Place::new();
    let production = ("WOTP_ENVIRONMENT", "production");
    place.run_with(&["serve"], &[production]).failed_saying(&["channels.console.enabled", "enabled = false"]);
}

#[test]
fn the_openapi_document_is_json() {
    let document = Place::new().run(&["openapi"]).json();
    assert!(document["paths"]["/v1/verifications"]["post"].is_object());
}

#[test]
fn the_demo_sends_and_checks_a_code() {
    let place = Place::new();
    let said = place.run(&["demo", "--once"]);
    assert_eq!(said.code, 0, "{}", said.err);
    for words in [
        "$ wotp tenant create",
        "$ curl -s http://127.0.0.1:",
        "201 Created",
        "console: to=+12025550123 channel=console code=",
        r#""valid": false, "status": "pending""#,
        r#""valid": true, "status": "approved""#,
        "first verified code after",
        r#""test_code": ""#,
    ] {
        assert!(said.out.contains(words), "`{words}` is not in: {}", said.out);
    }
    assert!(!said.out.contains('\u{1b}'), "no colours in a pipe");
    let machine = Place::new().run(&["demo", "--once", "--json"]).json();
    assert!(machine["first_verified_seconds"].as_f64().unwrap() < 60.0);
}

#[test]
fn the_command_line_says_where_a_chain_is_not_what_was_written() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let tenant = tenant["tenant"].as_str().expect("an id").to_owned();
    let verified = place.run(&["audit", "verify", "--json"]).json();
    assert_eq!(verified["sound"], true);
    let chain = verified["chains"].as_array().expect("chains").iter().find(|chain| chain["tenant"] == tenant.as_str());
    assert_eq!(chain.expect("the tenant's chain")["sound_entries"], 4);
    let exported = place.run(&["audit", "export", "--tenant", &tenant]);
    let exported: Vec<Value> = exported.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(
        exported.iter().map(|entry| entry["action"].as_str().unwrap()).collect::<Vec<_>>(),
        ["tenant.create", "service.create", "api_key.create", "api_key.create"]
    );
    let database = SqliteStore::open(place.data().join("wotp.db"), OpenOptions::default()).expect("the database");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let list = EntityList::of(Owner::Tenant(tenant.parse().expect("an id")));
        let mut row = database.list_entities(AuditEntry::KIND, &list).await.expect("entries")[1].clone();
        row.doc.insert("action".to_owned(), json!("service.delete"));
        database.commit(vec![Change::Put(row)]).await.expect("it is changed");
    });
    drop(database);
    let said = place.run(&["audit", "verify", "--tenant", &tenant]);
    assert_eq!(said.code, 1);
    assert!(said.out.contains("NOT SOUND: entry 2 (aud_"), "{}", said.out);
    let said = place.run(&["audit", "verify", "--json"]);
    assert_eq!(said.code, 1);
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!(report["sound"], false);
    place
        .run(&["audit", "verify", "--tenant", "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M"])
        .failed_saying(&["there is no such tenant"]);
}

#[test]
fn a_key_is_replaced_from_the_command_line() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let tenant = tenant["tenant"].as_str().expect("an id").to_owned();
    let keys = place.run(&["key", "list", &tenant, "--json"]).json();
    let old = keys["keys"].as_array().unwrap().iter().find(|key| key["mode"] == "live").expect("a live key");
    assert_eq!(old["last_used_at"], Value::Null);
    let old = text(&old["id"]);
    let new = place.run(&["key", "rotate", &tenant, old, "--overlap-hours", "0", "--json"]).json();
    assert!(new["secret"].as_str().expect("a key").starts_with("wk_live_"));
    assert_eq!(new["replaces"], old);
    let keys = place.run(&["key", "list", &tenant, "--json"]).json();
    let replaced = keys["keys"].as_array().unwrap().iter().find(|key| key["id"] == old).expect("the old key");
    assert_eq!((&replaced["status"], &replaced["replaced_by"]), (&json!("expired"), &new["id"]));
    place.run(&["key", "rotate", &tenant, old]).failed_saying(&["was replaced"]);
}

#[test]
fn the_last_use_of_a_key_is_written_down_when_the_server_stops() {
    let place = Place::new();
    let tenant = place.tenant("Acme");
    let used = || {
        let keys = place.run(&["key", "list", text(&tenant["tenant"]), "--json"]).json();
        let used = keys["keys"].as_array().unwrap().iter().filter(|key| key["last_used_at"].is_string());
        used.map(|key| text(&key["mode"]).to_owned()).collect::<Vec<_>>()
    };
    let server = Server::start(&place);
    server.start_verification(text(&tenant["live_key"]), ADA);
    assert!(server.stop().success());
    assert_eq!(used(), ["live"]);
}

#[test]
fn a_fresh_installation_has_no_account_and_the_command_line_alone_makes_operators() {
    let place = Place::new();
    assert!(Server::start(&place).stop().success());
    let database = SqliteStore::open(place.data().join("wotp.db"), OpenOptions::default()).expect("the database");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let accounts = runtime.block_on(database.list_entities(User::KIND, &EntityList::of(Owner::Platform)));
    assert!(accounts.expect("a list").is_empty(), "nobody is there by default");
    drop(database);

    let server = Server::start(&place);
    let operators = || place.run(&["operator", "list", "--json"]).json()["operators"].as_array().unwrap().len();
    let runs_the_platform = |token: &str| server.request("GET", "/operator/v1/tenants", token, Value::Null).0;
    assert_eq!(operators(), 0);
    // Whoever signs up runs nothing, and neither does the person of the login for development.
    let developer = server.request("POST", "/api/auth/dev-login", "", Value::Null).1;
    assert_eq!(runs_the_platform(text(&developer["accessToken"])), 403);
    let (email, password) = ("ada@example.com", "a long enough sentence");
    let sign_up = json!({ "email": email, "password": password, "tenant": "Acme" });
    let started = server.request("POST", "/v1/auth/sign-up", "", sign_up).1;
    let code = server.code_for(email).expect("a code");
    let confirm = json!({ "verification": started["verification"], "code": code });
    assert_eq!(server.request("POST", "/v1/auth/confirm-email", "", confirm).0, 201);
    let log_in = |email: &str, password: &str| {
        let body = json!({ "email": email, "password": password, "token_transport": "body" });
        text(&server.request("POST", "/v1/auth/login", "", body).1["access_token"]).to_owned()
    };
    let ada = log_in(email, password);
    assert_eq!((runs_the_platform(&ada), operators()), (403, 0));

    // Beside the server that is running, which notices within a second: wait for the state.
    let made = place.run(&["operator", "create", "root@example.com", "--json"]).json();
    assert_eq!(runs_the_platform(&log_in("root@example.com", text(&made["password"]))), 200);
    let known = place.run(&["operator", "create", email, "--json"]).json();
    assert_eq!(known["password"], Value::Null, "an account keeps its password");
    while runs_the_platform(&ada) != 200 {
        std::thread::yield_now();
    }
    assert_eq!(operators(), 2);
    let listed = |arguments: &[&str]| {
        let operators = place.run(&[&["operator", "list", "--json"], arguments].concat()).json()["operators"].clone();
        let addresses = operators.as_array().unwrap().iter().map(|operator| text(&operator["email"]).to_owned());
        addresses.collect::<std::collections::BTreeSet<_>>()
    };
    assert_eq!(listed(&[]), ["a***@example.com", "r***@example.com"].map(str::to_owned).into());
    assert_eq!(listed(&["--addresses"]), [email, "root@example.com"].map(str::to_owned).into());
    place.run(&["operator", "remove", email]).succeeded();
    while runs_the_platform(&ada) != 403 {
        std::thread::yield_now();
    }
    assert_eq!(operators(), 1);
}

#[test]
fn the_login_without_a_password_is_there_in_development_alone_and_while_nobody_else_can_reach_it() {
    let signs_in = |variables: &[(&str, &str)]| {
        let place = Place::new();
        let server = Server::start_with(&place, variables);
        server.request("POST", "/api/auth/dev-login", "", Value::Null).0
    };
    assert_eq!(signs_in(&[]), 200);
    assert_eq!(signs_in(&[("WOTP_AUTH__PUBLIC_URL", "https://wotp.example.com")]), 404);
    let production = [
        ("WOTP_ENVIRONMENT", "production"),
        ("WOTP_CHANNELS__CONSOLE__ENABLED", "false"),
        ("WOTP_CHANNELS__EMAIL__HOST", "localhost"),
        ("WOTP_CHANNELS__EMAIL__FROM", "codes@example.com"),
    ];
    assert_eq!(signs_in(&production), 404);
}

#[test]
fn a_second_factor_is_reset_for_somebody_who_has_one() {
    let place = Place::new();
    let file = place.file("password");
    fs::write(&file, "a long enough sentence").unwrap();
    place.run(&["operator", "create", "ops@example.com", "--password-file", &file]).succeeded();
    let tenant = place.run(&["tenant", "create", "Acme", "--json"]).json();
    let reset = |email: &str| place.run(&["user", "reset-second-factor", email]);
    reset("nobody@example.com").failed_saying(&["nobody@example.com has no account"]);
    reset("ops@example.com").failed_saying(&["ops@example.com has no second factor"]);

    let server = Server::start(&place);
    let body = json!({ "email": "ops@example.com", "password": "a long enough sentence", "token_transport": "body" });
    let token = |session: &Value| text(&session["access_token"]).to_owned();
    let session = token(&server.request("POST", "/v1/auth/login", "", body.clone()).1);
    let begin = json!({ "password": "a long enough sentence" });
    let begun = server.request("POST", "/v1/me/second-factor", &session, begin).1;
    let phone = crate::people::second_factor::Authenticator::scan(text(&begun["secret"]));
    let now = SystemClock.now().as_second();
    let confirm = json!({ "code": phone.code_at(now.try_into().unwrap()) });
    assert_eq!(server.request("POST", "/v1/me/second-factor/confirm", &session, confirm).0, 200);
    let asked = server.request("POST", "/v1/auth/login", "", body.clone()).1;
    assert_eq!(asked["second_factor_required"], true);

    let message = |content: &str| {
        let body = json!({ "to": "+12025550101", "content": content });
        server.request("POST", "/v1/messages", text(&tenant["live_key"]), body).0
    };
    assert_eq!(message("before"), 201);
    // Beside the server that is running, which alone writes messages.
    reset("ops@example.com").succeeded();
    assert_eq!(message("after"), 201);
    token(&server.request("POST", "/v1/auth/login", "", body).1);
    let answer = json!({ "challenge": asked["challenge"], "code": "123456" });
    assert_eq!(server.request("POST", "/v1/auth/second-factor", "", answer).0, 401);
    assert!(server.board().tells("ops@example.com", "was taken away"), "the person is told");
    let log = place.run(&["audit", "export"]).out;
    let line = log.lines().find(|line| line.contains("second_factor.reset")).unwrap();
    assert!(line.contains("command_line") && !log.contains("ops@example.com"), "{line}");
}

#[test]
fn a_server_shows_how_many_letters_wait() {
    let place = Place::new();
    let server = Server::start(&place);
    until("it has looked", || {
        let shown = crate::process::text(&server.address, "/metrics");
        ["wotp_letters_waiting 0\n", "wotp_letters_oldest_seconds 0\n"].iter().all(|line| shown.contains(line))
    });
}
