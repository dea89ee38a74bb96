//! What `wotp doctor` says of plugins that are installed.

use std::fs;

use serde_json::{Value, json};
use wotp_core::ports::{Change, Entities as _, EntityList, Owner};
use wotp_store::sqlite::{OpenOptions, SqliteStore};

use super::{Gateway, TOKEN, component, installation};
use crate::fleet::until;
use crate::installed::released;
use crate::process::{Place, Server};

/// All that is found of plugins, one a line, and whether that is an error.
fn plugins(place: &Place) -> (String, i32) {
    let said = place.run(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&said.out).unwrap();
    let found = report["checks"].as_array().unwrap().iter().filter(|one| one["check"] == "plugin");
    let line = |one: &Value| {
        let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        format!("{} {}. {}\n", text("verdict"), text("found"), text("help"))
    };
    (found.map(line).collect(), said.code)
}

/// Changes the only thing of a kind in the store, or the first.
fn alter(place: &Place, kind: &'static str, alter: impl FnOnce(&mut serde_json::Map<String, Value>)) {
    let database = SqliteStore::open(place.data().join("wotp.db"), OpenOptions::default()).expect("the database");
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let list = EntityList { limit: 1, ..EntityList::of(Owner::Platform) };
        let mut row = database.list_entities(kind, &list).await.expect("it lists").remove(0);
        alter(&mut row.doc);
        database.commit(vec![Change::Put(row)]).await.expect("it is changed");
    });
}

/// `generic-http` as the channel `sms`, on for everybody.
fn installed(gateway: &Gateway) -> Place {
    let (place, _) = installation("");
    let host = format!("127.0.0.1:{}", gateway.port);
    let settings = place.file("sms.json");
    let authorization = "Bearer {{secret:token}}";
    let config = json!({ "url": format!("http://{host}/sms"), "headers": { "authorization": authorization } });
    fs::write(&settings, config.to_string()).unwrap();
    let secret = format!("token={}", place.data().join("gateway.token").display());
    let run = |arguments: &[&str]| place.run(&[&["plugin"], arguments].concat()).succeeded();
    run(&["install", &component("generic_http"), "--channel", "sms", "--unsigned"]);
    assert_eq!(plugins(&place), ("ok sms waits for approval. \n".to_owned(), 0));
    run(&["approve", "sms", "--host", &host, "--settings", &settings, "--secret", &secret]);
    run(&["enable", "sms"]);
    place
}

#[test]
fn a_plugin_that_is_well_is_said_to_be_and_what_is_wrong_with_another_and_what_to_do() {
    let gateway = Gateway::start();
    let place = installed(&gateway);
    let is_on = "ok sms is on, with wotp.generic-http 0.1.0; ";
    assert_eq!(plugins(&place), (format!("{is_on}it takes its settings. \n"), 0));
    // A machine that never ran it.
    fs::remove_dir_all(place.data().join("compiled-plugins")).unwrap();
    let (said, code) = plugins(&place);
    assert!(said.starts_with(&format!("{is_on}not compiled on this machine")) && code == 0, "{said}");
    assert!(!place.data().join("compiled-plugins").exists(), "it changes nothing");
    let server = Server::start(&place);
    let (said, code) = plugins(&place);
    assert_eq!((said.as_str(), code), (&*format!("{is_on}it takes its settings. \n"), 0));
    drop(server);
    // A name that is nobody's: RFC 2606 sees to that.
    let hosts = ["approve", "sms", "--host", &format!("127.0.0.1:{}", gateway.port), "--host", "sms.invalid"];
    place.run(&[&["plugin"], &hosts[..]].concat()).succeeded();
    let (said, code) = plugins(&place);
    assert!(said.starts_with("error sms: its host sms.invalid has no address.") && code == 1, "{said}");
    // Off, nobody misses it.
    place.run(&["plugin", "disable", "sms"]).succeeded();
    let (said, code) = plugins(&place);
    assert!(said.starts_with("warn sms: its host sms.invalid") && code == 0, "{said}");
}

#[test]
fn what_was_changed_in_the_store_is_found() {
    let gateway = Gateway::start();
    let place = installed(&gateway);
    alter(&place, "component_part", |part| part["bytes"] = json!("AAAA"));
    let (said, code) = plugins(&place);
    let damaged = "error sms: its component is not in the store as it was installed. install release 0.1.0 again";
    assert!(said.contains(damaged) && code == 1, "{said}");
    // A node that never compiled it shows that it does not run it, for as long as it should.
    fs::remove_dir_all(place.data().join("compiled-plugins")).unwrap();
    let server = Server::start(&place);
    let shows = |value: &str| {
        let line = format!("wotp_plugin_not_current{{channel=\"sms\"}} {value}\n");
        until("the node shows how the plugin fares", || {
            crate::process::text(&server.address, "/metrics").contains(&line)
        });
    };
    shows("1");
    place.run(&["plugin", "disable", "sms"]).succeeded();
    shows("0");
    drop(server);
    place.run(&["plugin", "install", &component("generic_http"), "--unsigned"]).succeeded();
    place.run(&["plugin", "enable", "sms"]).succeeded();
    assert_eq!(plugins(&place).1, 0);
    let mut kept = Value::Null;
    alter(&place, "plugin", |plugin| {
        kept = plugin["settings"].clone();
        // One of its letters in the middle: at the end of base64 some say nothing, and may be no other.
        let mut sealed = plugin["settings"]["secrets"]["token"].as_str().unwrap().to_owned();
        let middle = sealed.len() / 2;
        let other = if sealed[middle..].starts_with('A') { "B" } else { "A" };
        sealed.replace_range(middle..=middle, other);
        plugin["settings"]["secrets"]["token"] = json!(sealed);
    });
    let (said, code) = plugins(&place);
    assert!(said.contains("error sms: its secret `token` does not open with the master key") && code == 1, "{said}");
    assert!(said.contains("wotp plugin configure sms --secret token=FILE") && !said.contains(TOKEN), "{said}");
    alter(&place, "plugin", |plugin| {
        plugin["settings"] = kept.clone();
        plugin["settings"]["config"] = json!({ "url": 7 });
    });
    let (said, code) = plugins(&place);
    let config = said.contains("error sms: it does not hold: the plugin does not take its `config`");
    assert!(config && said.contains("wotp plugin roll-back sms") && code == 1, "{said}");
    alter(&place, "plugin", |plugin| *plugin = serde_json::Map::new());
    let (said, code) = plugins(&place);
    assert!(said.starts_with("error 1 that are installed cannot be read by this program.") && code == 1, "{said}");
}

/// After each step: which release it is about, and what comes next.
#[test]
fn what_a_command_says_is_of_the_release_that_waits_or_else_delivers() {
    let gateway = Gateway::start();
    let place = installed(&gateway);
    let second = place.file("second.wasm");
    fs::write(&second, released("generic_http", 2)).unwrap();
    let says = |arguments: &[&str]| {
        let said = place.run(&[&["plugin"], arguments].concat());
        said.succeeded();
        said.out
    };
    let installed = says(&["install", &second, "--unsigned"]);
    let listed = place.run(&["plugin", "list", "--json"]).json();
    let sha256 = |nth: usize| listed["plugins"][0]["releases"][nth]["sha256"].as_str().unwrap().to_owned();
    let (first, second) = (sha256(0), sha256(1));
    for words in [
        format!("sha256     {second}\n"),
        "state      on, another release waits\n".to_owned(),
        format!("delivers   0.1.0 ({}) meanwhile\n", &first[..12]),
        format!("next       wotp plugin approve sms --release {} --host HOST", &second[..12]),
    ] {
        assert!(installed.contains(&words), "{words}: {installed}");
    }
    let approved = says(&["approve", "sms"]);
    assert!(approved.contains(&format!("sha256     {second}\n")) && approved.contains("state      on\n"), "{approved}");
    // What was gone back from waits for nothing.
    let back = says(&["roll-back", "sms"]);
    assert!(back.contains(&format!("sha256     {first}\n")) && back.contains("state      on\n"), "{back}");
    assert!(!back.contains("next") && !says(&["list"]).contains("waits"), "{back}");
}
