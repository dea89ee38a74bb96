//! `wotp migrate-store`, by running the real binary: from a database file to MongoDB, with all that is
//! under way, and through kills.

use std::collections::HashSet;
use std::process::Stdio;

use serde_json::{Value, json};
use wotp_core::ports::Store as _;
use wotp_core::testing::builders::{
    a_message, a_service, a_tenant, a_verification, admission, message_admission, noon,
};
use wotp_store::sqlite::{OpenOptions, SqliteStore};
use wotp_test_servers::{MongoDatabase, redis_url};

use crate::fleet::{call, until};
use crate::process::{Exchange, Place, Server};

const ADA: &str = "+12025550123";
const BOB: &str = "+12025550124";

/// An embedded installation, and a MongoDB to move it to.
struct Home {
    place: Place,
    target: MongoDatabase,
}

impl Home {
    fn new() -> Self {
        Self { place: Place::new(), target: MongoDatabase::fresh() }
    }

    /// A tenant of the plan `free`; its live key.
    fn tenant(&self) -> String {
        let tenant = self.place.run(&["tenant", "create", "Acme", "--json"]).json();
        tenant["live_key"].as_str().unwrap().to_owned()
    }

    fn move_away(&self) -> Vec<&str> {
        vec!["migrate-store", "--to", self.target.url(), "--json"]
    }

    /// What a node over the target has in its environment.
    fn shared(&self) -> [(&str, &str); 2] {
        [("WOTP_STORE__URL", self.target.url()), ("WOTP_QUEUE__URL", redis_url())]
    }

    /// All that is in the target, but for the note of the move.
    fn dump(&self) -> Vec<(String, Vec<u8>)> {
        let mut dump = self.target.dump();
        dump.retain(|(collection, _)| collection != "moves" && collection != "nodes");
        dump.sort();
        dump
    }
}

fn id(reply: &Exchange) -> String {
    reply.body["id"].as_str().unwrap().to_owned()
}

#[test]
fn an_installation_moves_with_all_that_is_under_way() {
    let home = Home::new();
    let key = home.tenant();
    let mut server = Server::start(&home.place);
    let ask = |server: &Server, method: &str, path: &str, more: &str, body: &Value| {
        call(&server.address, method, path, &key, more, body).expect("an answer")
    };
    let start = |server: &Server, to: &str| {
        ask(server, "POST", "/v1/verifications", "idempotency-key: k-1\r\n", &json!({ "to": to }))
    };
    let first = start(&server, ADA);
    assert_eq!(first.status, 201, "{}", first.body);
    let code = server.code_for(ADA).unwrap();
    let check = |server: &Server, id: &str, code: &str| {
        ask(server, "POST", &format!("/v1/verifications/{id}/check"), "", &json!({ "code": code })).body
    };
    let done = server.start_verification(&key, BOB);
    assert_eq!(check(&server, &done, &server.code_for(BOB).unwrap())["valid"], true);
    let message = ask(&server, "POST", "/v1/messages", "", &json!({ "to": BOB, "content": "Your parcel is there." }));
    assert_eq!(message.status, 201, "{}", message.body);
    let used = |server: &Server| ask(server, "GET", "/v1/usage", "", &Value::Null).body["verifications"].clone();
    let counts = used(&server);

    // Under a server nothing moves, and nothing is begun.
    home.place.run(&home.move_away()).failed_saying(&["another server runs on the data folder", "stop it first"]);
    assert_eq!(home.dump(), []);
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().success());

    let said = home.place.run(&home.move_away());
    let moved = said.json();
    assert_eq!(moved["kinds"]["verifications"]["count"], 2, "{moved}");
    assert_eq!(moved["kinds"]["api_keys"]["count"], 2, "{moved}");
    assert_eq!((&moved["idempotency_keys"], &moved["left"]), (&json!(1), &json!([])));
    let all = said.out + &said.err;
    for secret in [code.as_str(), key.as_str(), ADA, "202555012", "parcel"] {
        assert!(!all.contains(secret), "{secret}: {all}");
    }

    // The file is not used any more, and says so.
    let words = ["the database was moved away: to the database", "store.url", "wotp.db.moved"];
    home.place.run(&["serve", "--listen", "127.0.0.1:0"]).failed_saying(&words);
    home.place.run(&["tenant", "list"]).failed_saying(&words);
    let doctor = home.place.run(&["doctor"]);
    assert!(doctor.code == 1 && doctor.out.contains("ERROR  moved"), "{}", doctor.out);
    let before = home.dump();
    let again = home.place.run(&home.move_away()).json();
    assert_eq!((&again["moved_before"], &again["kinds"]), (&json!(true), &moved["kinds"]));
    assert!(home.dump() == before, "nothing was changed");

    // A node goes on with it.
    let node = Server::start_with(&home.place, &home.shared());
    assert_eq!(used(&node), counts);
    let repeated = start(&node, ADA);
    assert_eq!((repeated.status, &repeated.body), (201, &first.body));
    assert_eq!(used(&node), counts, "a repeated key starts nothing");
    assert_eq!(start(&node, BOB).status, 422, "the key was for another request");
    let wrong = if code == "000000" { "000001" } else { "000000" };
    assert_eq!(check(&node, &id(&first), wrong)["valid"], false);
    assert_eq!(check(&node, &id(&first), &code)["valid"], true);
    assert_eq!(check(&node, &id(&first), &code)["valid"], false, "once");
    assert_eq!(ask(&node, "GET", &format!("/v1/messages/{}", id(&message)), "", &Value::Null).status, 200);
    node.start_verification(&key, "+12025550125");
    assert_eq!(used(&node)["day"]["used"], counts["day"]["used"].as_u64().unwrap() + 1);
    assert!(node.code_for("+12025550125").is_some());
    assert!(node.stop().success());

    // The way back, after which it is another installation than the one there.
    std::fs::remove_file(home.place.data().join("wotp.db.moved")).unwrap();
    home.place.run(&home.move_away()).failed_saying(&["was moved there by", "put back to use since", "dropDatabase"]);
    home.place.run(&["tenant", "list"]).succeeded();
}

/// Fills the database with verifications and a message.
async fn fill(place: &Place, count: u32) {
    let store = SqliteStore::open(place.data().join("wotp.db"), OpenOptions::default()).unwrap();
    let tenant = a_tenant();
    store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
    let door = store.tenant(tenant.id);
    let admitted = (0..count).map(|index| {
        let to = format!("+1202555{:04}", 100 + index % 100);
        door.admit(admission(a_verification(tenant.id, &to, noon())))
    });
    // Together, or each would wait for a commit of its own.
    futures_util::future::try_join_all(admitted).await.unwrap();
    door.admit_message(message_admission(a_message(tenant.id, ADA, noon()))).await.unwrap();
}

#[tokio::test]
async fn a_move_that_is_killed_again_and_again_ends_as_one_that_was_not() {
    let home = Home::new();
    home.tenant();
    fill(&home.place, 3_500).await;
    let reached = |kind: &str| {
        let notes = home.target.documents("moves");
        let done = notes.first().map(|note| note.get_document("done").unwrap());
        done.is_some_and(|done| kind.is_empty() || done.contains_key(kind))
    };
    // At its begin, in the middle of copying, and while both are compared.
    for kind in ["", "verifications", "messages"] {
        let mut command = home.place.command(&home.move_away());
        let mut moving = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        until("it is far enough", || reached(kind));
        moving.kill().unwrap();
        assert!(!moving.wait().unwrap().success(), "it was killed, and did not end");
        for command in [&["tenant", "list"][..], &["serve", "--listen", "127.0.0.1:0"]] {
            home.place
                .run_with(command, &home.shared())
                .failed_saying(&["is being filled from another store", "Run the same `wotp migrate-store` again"]);
        }
    }
    let said = home.place.run(&home.move_away());
    let moved = said.json();
    assert_eq!(moved["kinds"]["verifications"]["count"], 3_500);
    assert!(said.err.contains("compared verifications: 3500 of 3500"), "{}", said.err);
    home.place.run_with(&["tenant", "list"], &home.shared()).succeeded();

    // The same once more without a kill, elsewhere.
    std::fs::remove_file(home.place.data().join("wotp.db.moved")).unwrap();
    let whole = Home { place: home.place, target: MongoDatabase::fresh() };
    let again = whole.place.run(&whole.move_away()).json();
    assert_eq!(again["kinds"], moved["kinds"]);
    // A program notes at its first use of a database which form that is in.
    whole.place.run_with(&["tenant", "list"], &whole.shared()).succeeded();
    let arrived = |target: &MongoDatabase| -> HashSet<_> {
        target.dump().into_iter().filter(|(collection, _)| collection != "moves").collect()
    };
    let (resumed, whole) = (arrived(&home.target), arrived(&whole.target));
    assert!(resumed == whole, "what arrives does not depend on kills");
}

#[test]
fn what_keeps_a_move_from_beginning_is_said_and_changes_nothing() {
    let home = Home::new();
    let refuse = |more: &[&str], words: &[&str]| {
        home.place.run(&[&["migrate-store"], more].concat()).failed_saying(words);
    };
    let to = ["--to", home.target.url()];
    refuse(&to, &["there is no data folder"]);
    home.tenant();
    let database = home.place.data().join("wotp.db");
    let before = std::fs::read(&database).unwrap();
    assert_eq!(home.place.run(&["migrate-store"]).code, 2, "it must be told where to");
    let said = home.place.run(&["migrate-store", "--to", "mongodb://wotp:hunter2@127.0.0.1:1/wotp"]);
    said.failed_saying(&["--to holds a password", "--to-file"]);
    assert!(!said.err.contains("hunter2"), "{}", said.err);
    refuse(&["--to", "sqlite:other.db"], &["the target is no MongoDB", "mongodb://host1"]);
    refuse(&["--to-file", "/nowhere/url"], &["/nowhere/url cannot be read"]);
    refuse(&[&to[..], &["--from", to[1]]].concat(), &["is a database file, and --from names a MongoDB"]);
    refuse(&[&to[..], &["--from", "sqlite:other.db"]].concat(), &["there is no database at", "other.db"]);
    assert_eq!(home.dump(), []);

    // Another installation is there.
    let other = Place::new();
    other.run_with(&["tenant", "create", "Other"], &home.shared()).succeeded();
    let held = home.dump();
    let url = home.place.file("mongodb.url");
    std::fs::write(&url, format!("{}\n", home.target.url())).unwrap();
    refuse(&["--to-file", &url], &["the target is not empty: it holds tenants already", "dropDatabase"]);
    assert!(home.dump() == held);
    assert_eq!(std::fs::read(&database).unwrap(), before);
    assert!(!database.with_extension("db.moved").exists());
    home.place.run(&["tenant", "list"]).succeeded();
}
