//! Several nodes, several operators at once, and what a node finds that was not there when it was compiled.

use std::fs;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::ports::{Change, EntityList, Heard, Owner};

use super::{ADA, Gateway, Stage, component, released, workshop};
use crate::app::TestApp;

/// Another node of the same installation, with a sandbox and a folder of its own.
async fn fellow(stage: &Stage, folder: &tempfile::TempDir) -> TestApp {
    let fellow = stage.app.fellow_that_runs(workshop(folder));
    fellow.app.load_plugins().await.expect("it loads");
    fellow
}

#[tokio::test]
async fn a_node_compiles_what_another_installed_and_goes_by_every_change() {
    let stage = Stage::set().await;
    let acme = stage.app.tenant("Acme").await;
    let folder = tempfile::tempdir().unwrap();
    let other = fellow(&stage, &folder).await;
    let start = || other.starting(&acme.live, json!({ "to": ADA, "channels": ["sms"] }));
    start().await.expect(422);
    let gateway = Gateway::start().await;
    let plugin = stage.deliver_through(&gateway).await;
    start().await.expect(422);
    other.app.load_plugins().await.expect("it loads");
    assert_eq!(fs::read_dir(folder.path().join("compiled")).unwrap().count(), 1, "it compiled it for itself");
    start().await.expect(201);
    stage.app.lose_jobs().await;
    // A node that is started again takes what it compiled before, whatever has become of the component.
    let again = fellow(&stage, &folder).await;
    assert_eq!(again.app.channels().last().unwrap().name, "sms");
    stage.post(&format!("{plugin}/disable"), Value::Null).await.expect(200);
    other.app.load_plugins().await.expect("it loads");
    start().await.expect(422);
}

#[tokio::test]
async fn a_component_that_was_changed_in_the_store_or_on_the_shelf_is_not_run() {
    let stage = Stage::set().await;
    let gateway = Gateway::start().await;
    stage.deliver_through(&gateway).await;
    // On the shelf: somebody put something else there.
    let shelf = stage.folder.path().join("compiled");
    let file = fs::read_dir(&shelf).unwrap().next().unwrap().unwrap().path();
    let right = fs::read(&file).unwrap();
    let mut wrong = right.clone();
    wrong[40] ^= 1;
    fs::write(&file, &wrong).unwrap();
    let node = fellow(&stage, &stage.folder).await;
    assert_eq!(node.app.channels().last().unwrap().name, "sms", "it was compiled anew");
    assert_eq!(fs::read(&file).unwrap(), right, "and what was wrong is right again");
    // In the store: a part is another one.
    let store = &stage.app.app.ports().store;
    let list = EntityList { limit: 1, ..EntityList::of(Owner::Platform) };
    let mut part = store.list_entities("component_part", &list).await.unwrap().remove(0);
    part.doc["bytes"] = json!("AAAA");
    store.commit(vec![Change::Replace(part)]).await.unwrap();
    let empty = tempfile::tempdir().unwrap();
    let node = fellow(&stage, &empty).await;
    assert!(gateway_hears(&node).await.contains("cannot listen now"), "it is not loaded, and may be in a moment");
    assert!(!empty.path().join("compiled").exists(), "and nothing of it was compiled");
    // Installed again it is whole again: half a minute later it is there.
    stage.installing(&component("generic_http"), json!({})).await.expect(201);
    node.clock.advance(crate::app::seconds(31));
    node.app.load_plugins().await.expect("it loads");
    assert!(gateway_hears(&node).await.contains("told anything"), "it is there, and hears nothing");
}

/// What somebody is told who calls the channel `sms`: one that is loaded, and is told nothing by its provider, is none.
async fn gateway_hears(node: &TestApp) -> String {
    let heard = Heard {
        posted: true,
        url: "https://wotp.example/hooks/sms/x".to_owned(),
        path: "x".to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
    };
    node.app.hear("sms", heard).await.unwrap_err().to_string()
}

#[tokio::test]
async fn of_those_who_install_one_name_at_once_one_gets_it() {
    let stage = Stage::set().await;
    let (generic, twilio) = (component("generic_http"), component("twilio_sms"));
    let install = |bytes: &[u8]| stage.installing(bytes, json!({ "channel": "sms" }));
    let both = tokio::join!(install(&generic), install(&twilio));
    let mut statuses = [both.0.status, both.1.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 422], "the other is told whose it is");
    assert_eq!(stage.plugins().await.len(), 1);
}

#[tokio::test]
async fn all_that_are_on_together_get_no_more_calls_than_there_is_room_for() {
    let stage = Stage::set().await;
    let gateway = Gateway::start().await;
    let mut plugins = Vec::new();
    for (name, channel) in [("generic_http", "a"), ("twilio_sms", "b"), ("telegram_gateway", "c")] {
        let installed = stage.installing(&component(name), json!({ "channel": channel })).await.expect(201);
        plugins.push(format!("/{}", installed["id"].as_str().unwrap()));
    }
    let settings = [
        (json!([gateway.host()]), gateway.settings()),
        (
            json!(["api.twilio.com"]),
            json!({
                "config": { "account_sid": "AC00000000000000000000000000000000", "from": "+12025550100" },
                "secrets": { "auth_token": "a-token-of-twilio" },
            }),
        ),
        (json!(["gatewayapi.telegram.org"]), json!({ "config": {}, "secrets": { "token": "a-token-of-telegram" } })),
    ];
    for (plugin, (hosts, mut given)) in plugins.iter().zip(settings) {
        given["concurrency"] = json!(256);
        stage.post(&format!("{plugin}/approve"), json!({ "hosts": hosts })).await.expect(200);
        stage.call(Method::PATCH, plugin, given).await.expect(200);
    }
    let enable = |plugin: &String| stage.post(&format!("{plugin}/enable"), json!({}));
    let all = tokio::join!(enable(&plugins[0]), enable(&plugins[1]), enable(&plugins[2]));
    let mut statuses = [all.0, all.1, all.2].map(|reply| reply.status);
    statuses.sort_unstable();
    // Whoever only raced gets theirs; the third, whose calls would be 768 with the others', is told why not.
    assert_eq!(statuses, [200, 200, 422]);
    let on = stage.plugins().await.iter().filter(|plugin| plugin["enabled"] == true).count();
    assert_eq!(on, 2);
}

#[tokio::test]
async fn whoever_changes_another_plugin_at_once_is_in_nobodys_way() {
    let stage = Stage::set().await;
    let gateway = Gateway::start().await;
    let mut plugins = Vec::new();
    for (name, channel) in [("generic_http", "a"), ("twilio_sms", "b")] {
        let installed = stage.installing(&component(name), json!({ "channel": channel })).await.expect(201);
        plugins.push(format!("/{}", installed["id"].as_str().unwrap()));
    }
    let approve = |nth: usize, hosts| stage.post(&format!("{}/approve", plugins[nth]), json!({ "hosts": hosts }));
    for round in 0..10 {
        let port = 8000 + round;
        let hosts = |name: &str| json!([format!("{name}.example:{port}"), gateway.host()]);
        let both = tokio::join!(approve(0, hosts("a")), approve(1, hosts("b")));
        assert_eq!([both.0.status, both.1.status], [200, 200], "round {round}");
    }
    let named = stage.plugins().await.iter().all(|plugin| plugin["hosts"][0].as_str().unwrap().ends_with(":8009"));
    assert!(named, "and none was lost");
}

#[tokio::test]
async fn only_so_many_releases_are_kept_and_what_delivers_is_among_them() {
    let stage = Stage::set().await;
    let gateway = Gateway::start().await;
    let plugin = stage.deliver_through(&gateway).await;
    let first = stage.call(Method::GET, &plugin, Value::Null).await.expect(200)["active"].clone();
    for release in 2..10 {
        stage.installing(&released("generic_http", release), json!({})).await.expect(201);
    }
    let read = stage.call(Method::GET, &plugin, Value::Null).await.expect(200);
    let releases = read["releases"].as_array().unwrap();
    assert_eq!((releases.len(), &releases[0]["sha256"], &read["active"]), (6, &first, &first));
}

/// What is compiled while somebody installs it may be of no plugin yet.
#[tokio::test]
async fn what_was_compiled_of_no_plugin_goes_once_it_is_old() {
    let stage = Stage::set().await;
    let shelf = stage.folder.path().join("compiled");
    let files = || {
        let all = fs::read_dir(&shelf).unwrap().map(|entry| entry.unwrap().path());
        all.collect::<std::collections::BTreeSet<_>>()
    };
    let compiled_before = |minutes: i64| {
        let now = stage.app.app.ports().clock.now();
        let then = std::time::SystemTime::from(now.checked_sub(crate::app::seconds(60 * minutes)).unwrap());
        files().iter().for_each(|file| fs::File::open(file).unwrap().set_modified(then).unwrap());
    };
    let clear = async || stage.app.app.drop_compiled_orphans().await.expect("it looks");
    let plugin = stage.install().await;
    let installed = files();
    stage.installing(&component("twilio_sms"), json!({ "channel": "email" })).await.expect(422);
    assert_eq!((installed.len(), files().len()), (1, 2), "its name was refused after it was compiled");
    compiled_before(59);
    assert_eq!((clear().await, files().len()), (0, 2));
    compiled_before(61);
    assert_eq!((clear().await, files()), (1, installed));
    stage.call(Method::DELETE, &plugin, Value::Null).await.expect(204);
    assert_eq!((clear().await, files().len()), (1, 0));
}
