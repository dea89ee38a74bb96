//! Nodes that share a MongoDB and a Redis, from the command line.

use rustix::process::Signal;
use serde_json::{Value, json};
use wotp_test_servers::bson::doc;
use wotp_test_servers::{MongoDatabase, Mongod, Redis, redis_url};

use crate::fleet::{Fleet, call, until};
use crate::process::Place;

fn fleet() -> (MongoDatabase, Fleet) {
    let database = MongoDatabase::fresh();
    let fleet = Fleet::new(database.url(), redis_url());
    (database, fleet)
}

/// What `wotp node list` says: role and status of each.
fn listed(fleet: &Fleet) -> Vec<(String, String)> {
    let list = fleet.run(&["node", "list", "--json"]).json();
    let text = |node: &Value, name: &str| node[name].as_str().unwrap().to_owned();
    list["nodes"].as_array().unwrap().iter().map(|node| (text(node, "role"), text(node, "status"))).collect()
}

fn was(role: &str, status: &str) -> (String, String) {
    (role.to_owned(), status.to_owned())
}

#[test]
fn nodes_are_listed_while_they_are_there() {
    let (_database, fleet) = fleet();
    assert_eq!(listed(&fleet), []);
    let mut api = fleet.node_with(&["--role", "api"], &[]);
    until("the first is listed", || listed(&fleet) == [was("api", "serving")]);
    let worker = fleet.node_with(&["--role", "worker"], &[]);
    until("both are listed", || listed(&fleet) == [was("api", "serving"), was("worker", "serving")]);
    worker.server.signal(Signal::KILL);
    until("the one that was killed is gone", || listed(&fleet) == [was("api", "serving"), was("worker", "gone")]);
    api.server.signal(Signal::TERM);
    assert!(api.server.ended().success());
    assert_eq!(listed(&fleet), [was("worker", "gone")], "one that leaves says so");
    let shown = fleet.run(&["node", "list"]);
    assert!(shown.out.contains("s ago") && shown.out.contains("gone"), "{}", shown.out);
}

#[test]
fn an_api_node_accepts_and_a_worker_delivers() {
    let (_database, fleet) = fleet();
    let api = fleet.node_with(&["--role", "api"], &[]);
    let worker = fleet.node_with(&["--role", "worker"], &[]);
    let (api, worker) = (&api.server.address, &worker.server.address);
    let started = call(api, "POST", "/v1/verifications", &fleet.key, "", &json!({ "to": "+447700900123" })).unwrap();
    assert_eq!(started.status, 201, "{}", started.body);
    let code = fleet.board.code_for("+447700900123").expect("the worker prints it");
    let path = format!("/v1/verifications/{}/check", started.body["id"].as_str().unwrap());
    let checked = call(api, "POST", &path, &fleet.key, "", &json!({ "code": code })).unwrap();
    assert_eq!(checked.body["valid"], true, "{}", checked.body);
    // A worker shows whether it can work, and nothing else.
    let get = |path: &str| call(worker, "GET", path, &fleet.key, "", &Value::Null).unwrap().status;
    assert_eq!(["/health/live", "/health/ready", "/metrics"].map(get), [200; 3]);
    assert_eq!(["/v1/usage", "/docs", "/openapi.json"].map(get), [404; 3]);
}

#[test]
fn a_node_with_another_master_key_or_none_is_refused() {
    let (_database, fleet) = fleet();
    let _node = fleet.node();
    let stranger = Place::new();
    let serve = &["serve", "--listen", "127.0.0.1:0"];
    fleet.run_at(&stranger, serve).failed_saying(&["no master key at", "Copy the master key of another node", "0600"]);
    let other = Place::new();
    other.tenant("made it a key of its own");
    for command in [&serve[..], &["tenant", "list"]] {
        fleet.run_at(&other, command).failed_saying(&[
            "the master key is not the one that this store was written with",
            "number 1 is another one",
            "copy that of another",
        ]);
    }
    fleet.run_at(&fleet.place(), &["tenant", "list"]).succeeded();
}

#[test]
fn a_node_that_drains_says_so_and_goes_on_accepting() {
    let (_database, fleet) = fleet();
    let mut node = fleet.node_with(&[], &[("WOTP_SERVER__DRAIN_SECONDS", "3")]);
    let address = node.server.address.clone();
    let ready = || call(&address, "GET", "/health/ready", "", "", &Value::Null).unwrap();
    assert_eq!(ready().status, 200);
    node.server.signal(Signal::TERM);
    until("it is not ready any more", || ready().status == 503);
    assert!(ready().body.to_string().contains("the server is stopping"), "{}", ready().body);
    let started =
        call(&address, "POST", "/v1/verifications", &fleet.key, "", &json!({ "to": "+447700900123" })).unwrap();
    assert_eq!(started.status, 201, "{}", started.body);
    assert!(node.server.ended().success());
    assert!(fleet.board.code_for("+447700900123").is_some(), "what it accepted is delivered");
}

#[test]
fn a_node_without_redis_starts_and_says_what_is_missing() {
    let database = MongoDatabase::fresh();
    let mut redis = Redis::start();
    let url = redis.url();
    redis.kill();
    let fleet = Fleet::new(database.url(), &url);
    let node = fleet.node();
    let health = call(&node.server.address, "GET", "/health/ready", "", "", &Value::Null).unwrap();
    assert_eq!((health.status, &health.body["status"]), (200, &json!("degraded")), "{}", health.body);
    let said = fleet.run(&["doctor"]);
    assert!(said.out.contains("ERROR  queue") && said.out.contains("Redis does not answer"), "{}", said.out);
}

#[test]
fn what_is_wrong_with_a_mongodb_is_said_in_plain_words_and_without_the_password() {
    let place = Place::new();
    let alone = Mongod::start(None);
    let nowhere = "mongodb://wotp:hunter2@127.0.0.1:1/wotp?replicaSet=rs0";
    let direct = format!("mongodb://{}/wotp", alone.address());
    let list = |url: &str| {
        place.run_with(
            &["tenant", "create", "Acme"],
            &[("WOTP_STORE__URL", url), ("WOTP_QUEUE__URL", "redis://127.0.0.1:1")],
        )
    };
    let said = list(nowhere);
    said.failed_saying(&["MongoDB at 127.0.0.1:1 did not answer for 10 seconds", "waiting for MongoDB"]);
    assert!(!said.err.contains("hunter2"), "{}", said.err);
    list(&direct).failed_saying(&["is a standalone server", "--replSet rs0", "rs.initiate()"]);
    list("mongodb://a:b:c@/wotp").failed_saying(&["is no MongoDB URL"]);
}

#[test]
fn what_is_for_a_database_file_says_so() {
    let (_database, fleet) = fleet();
    fleet.run(&["backup", "/nowhere/wotp.backup"]).failed_saying(&["is for installations with a database file"]);
    let place = Place::new();
    place.run(&["serve", "--role", "api"]).failed_saying(&["cannot be --role api", "share a MongoDB"]);
    assert!(!place.data().join("wotp.db").exists(), "nothing was made");
    place.tenant("Acme");
    place.run(&["node", "list"]).failed_saying(&["a database file of its own", "`wotp doctor`"]);
}

#[test]
fn the_doctor_looks_at_all_that_nodes_need() {
    let (_database, fleet) = fleet();
    let _node = fleet.node();
    until("the node is listed", || listed(&fleet).len() == 1);
    let said = fleet.run(&["doctor", "--json"]).json();
    let checks = said["checks"].as_array().unwrap();
    let found = |check: &str| checks.iter().find(|found| found["check"] == check).unwrap_or_else(|| panic!("{said}"));
    for check in ["queue", "store", "collections", "time", "master key", "seal", "nodes", "plans", "due"] {
        assert_eq!(found(check)["verdict"], "ok", "{said}");
    }
}

#[test]
fn the_doctor_says_what_is_missing_in_a_mongodb_and_makes_nothing() {
    let (database, fleet) = fleet();
    let collections = |fleet: &Fleet| {
        let said = fleet.run(&["doctor", "--json"]).json();
        let checks = said["checks"].as_array().unwrap().clone();
        checks.into_iter().find(|found| found["check"] == "collections").unwrap_or_else(|| panic!("{said}"))
    };
    assert_eq!(collections(&fleet)["verdict"], "ok");
    database.run(doc! { "drop": "messages" }).unwrap();
    database.run(doc! { "dropIndexes": "verifications", "index": "wake" }).unwrap();
    for _ in 0..2 {
        let found = collections(&fleet);
        assert_eq!(found["verdict"], "warn");
        let missing = "missing: the collection `messages`, the index `wake` of `verifications`";
        assert_eq!((&found["found"], found["help"].is_string()), (&json!(missing), true));
    }
    fleet.run(&["tenant", "list"]).succeeded();
    assert_eq!(collections(&fleet)["verdict"], "ok", "whoever opens it makes them");
    let nobody_was_here = MongoDatabase::fresh();
    let place = fleet.place();
    let urls = [("WOTP_STORE__URL", nobody_was_here.url()), ("WOTP_QUEUE__URL", redis_url())];
    let said = place.run_with(&["doctor"], &urls);
    assert!(said.out.contains("the collection `verifications`"), "{}", said.out);
    let there = nobody_was_here.run(doc! { "listCollections": 1 }).unwrap();
    let there = there.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    assert!(there.is_empty(), "{there:?}");
}

#[test]
fn the_example_for_production_makes_its_secrets_once_and_can_be_used() {
    let example = std::path::PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo says it"))
        .join("../../examples/production");
    let place = Place::new();
    let copy = |name: &str| std::fs::copy(example.join(name), place.file(name)).unwrap();
    copy("prepare.sh");
    copy("wotp.toml");
    let prepare = || {
        let said = std::process::Command::new(place.file("prepare.sh")).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        std::fs::read(place.file("secrets/master.key")).unwrap()
    };
    assert_eq!(prepare(), prepare(), "a second run changes nothing");
    // Where containers are given the secrets is not on this machine.
    let (store, queue) = (place.file("secrets/mongodb.url"), place.file("secrets/redis.url"));
    let variables = [("WOTP_STORE__URL_FILE", store.as_str()), ("WOTP_QUEUE__URL_FILE", queue.as_str())];
    place.run_with(&["config", "check", "--config", &place.file("wotp.toml")], &variables).succeeded();
    let shown = place.run_with(&["config", "show", "--config", &place.file("wotp.toml")], &variables);
    assert!(shown.out.contains("environment") && shown.out.contains("production"), "{}", shown.out);
}

#[test]
fn a_program_that_is_too_old_for_the_database_does_not_start() {
    let (database, fleet) = fleet();
    let too_new =
        doc! { "q": { "_id": "documents" }, "u": { "$set": { "form": 1001, "oldest": 1000, "by": "9.9.9" } } };
    database.run(doc! { "update": "forms", "updates": [too_new] }).unwrap();
    let serve = ["serve", "--listen", "127.0.0.1:0"];
    for command in [&serve[..], &["tenant", "list"]] {
        fleet.run(command).failed_saying(&[
            "in form 1001, to which wotp 9.9.9 brought it and which programs older than form 1000 cannot use",
            concat!(
                "this is wotp ",
                env!("CARGO_PKG_VERSION"),
                ", of form 2: run the version that the other nodes run"
            ),
        ]);
    }
}

#[test]
fn what_a_newer_node_started_is_delivered_and_checked_and_keeps_what_is_new_in_it() {
    let (database, fleet) = fleet();
    let api = fleet.node_with(&["--role", "api"], &[]);
    let api = &api.server.address;
    let started = call(api, "POST", "/v1/verifications", &fleet.key, "", &json!({ "to": "+447700900123" })).unwrap();
    let path = format!("/v1/verifications/{}", started.body["id"].as_str().unwrap());
    let new = doc! { "new": 1, "state.new": 2, "fixed.new": 3, "schema": 1000 };
    database.run(doc! { "update": "verifications", "updates": [{ "q": {}, "u": { "$set": new } }] }).unwrap();
    let read = || call(api, "GET", &path, &fleet.key, "", &Value::Null).unwrap().body;
    assert_eq!(read()["status"], "pending");
    let _worker = fleet.node_with(&["--role", "worker"], &[]);
    let code = fleet.board.code_for("+447700900123").expect("it is delivered");
    until("its delivery is known", || read()["deliveries"][0]["status"] == "sent");
    for (guess, valid) in [("no", false), (&code, true)] {
        let checked = call(api, "POST", &format!("{path}/check"), &fleet.key, "", &json!({ "code": guess })).unwrap();
        assert_eq!(checked.body["valid"], valid, "{}", checked.body);
    }
    let found = database.run(doc! { "find": "verifications" }).unwrap();
    let row = found.get_document("cursor").unwrap().get_array("firstBatch").unwrap()[0].as_document().unwrap();
    let number = |place: &str| row.get_document(place).unwrap().get_i32("new").ok();
    assert_eq!((row.get_i32("new").ok(), number("state"), number("fixed")), (Some(1), Some(2), Some(3)), "{row}");
    assert_eq!((row.get_str("s").ok(), row.get_i32("schema").ok()), (Some("approved"), Some(1000)), "{row}");
}
