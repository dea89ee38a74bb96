//! What is no plugin, or not to be had: each is refused with a sentence that says what to do, and nothing is installed.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::ports::{EntityList, Owner};

use super::{Gateway, Stage, component, manifest, released};

/// That nothing is there: no plugin, no part of one, nothing that was compiled, no line in the log.
async fn nothing(stage: &Stage) {
    assert_eq!(stage.plugins().await, Vec::<Value>::new());
    let store = &stage.app.app.ports().store;
    let parts = store.list_entities("component_part", &EntityList::of(Owner::Platform)).await.unwrap();
    assert_eq!(parts, []);
    let compiled = std::fs::read_dir(stage.folder.path().join("compiled"));
    assert_eq!(compiled.map_or(0, Iterator::count), 0);
    let log = stage.app.get("/operator/v1/audit").by(&stage.operator).await.expect(200);
    assert!(!log.to_string().contains("plugin."), "{log}");
}

#[tokio::test]
async fn what_is_no_plugin_is_refused_and_nothing_is_installed() {
    let stage = Stage::set().await;
    let whole = component("generic_http");
    let cut = whole[..whole.len() / 2].to_vec();
    let mut changed = whole.clone();
    changed[9] ^= 0xff;
    for (bytes, words) in [
        (Vec::new(), "no WebAssembly"),
        (b"PK\x03\x04 a zip archive".to_vec(), "no WebAssembly"),
        (b"\0asm\x01\0\0\0".to_vec(), "module and not a component"),
        (b"\0asm\x0d\0\x01\0".to_vec(), "does not export `wotp:channel/delivery`"),
        (cut, "no component that can be compiled"),
        (changed, "no component that can be compiled"),
        (component("no_plugin"), "does not export `wotp:channel/delivery`"),
        (component("newer_contract"), "newer WOTP"),
        (component("wasi_import"), "nothing of WASI"),
        (component("wrong_descriptor"), "what it says about itself does not hold"),
        (component("slow_describe"), "did not answer"),
        (vec![0; (32 << 20) + 1], "at most 32 MiB"),
    ] {
        let problem = stage.installing(&bytes, json!({})).await.expect(422);
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert_eq!(problem["errors"][0]["field"], "component", "{problem}");
        assert!(message.contains(words), "{words}: {message}");
    }
    let problem = stage.post("", json!({ "component": "no base64!", "unsigned": true })).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("base64"), "{problem}");
    stage.post("", json!({ "component": "A".repeat(64 << 20), "unsigned": true })).await.expect(413);
    nothing(&stage).await;
}

#[tokio::test]
async fn a_signature_that_does_not_hold_is_refused_before_anything_runs() {
    let stage = Stage::set().await;
    let bytes = component("generic_http");
    let right = manifest(&bytes, 1).await;
    let other = manifest(&released("generic_http", 2), 1).await;
    let forged = right.replace("0.1.", "0.9.");
    for (manifest, words) in [
        ("", "cannot be read"),
        (other.as_str(), "another component"),
        (forged.as_str(), "signature is not that of the publisher"),
    ] {
        let body = json!({ "unsigned": false, "manifest": manifest });
        let problem = stage.installing(&bytes, body).await.expect(422);
        assert!(problem["errors"][0]["message"].as_str().unwrap().contains(words), "{words}: {problem}");
    }
    let problem = stage.installing(&bytes, json!({ "unsigned": false })).await.expect(422);
    assert_eq!(problem["errors"][0]["field"], "manifest", "{problem}");
    nothing(&stage).await;
}

#[tokio::test]
async fn a_name_that_is_taken_or_is_none_is_refused() {
    let stage = Stage::set().await;
    let bytes = component("generic_http");
    for (channel, words) in
        [("outbox", "already"), ("email", "already"), ("SMS", "small letters"), ("", "small letters")]
    {
        let problem = stage.installing(&bytes, json!({ "channel": channel })).await.expect(422);
        let message = problem["errors"][0]["message"].as_str().unwrap();
        assert!(problem["errors"][0]["field"] == "channel" && message.contains(words), "{problem}");
    }
    assert_eq!(stage.plugins().await, Vec::<Value>::new());
    stage.install().await;
    let problem = stage.installing(&component("twilio_sms"), json!({ "channel": "sms" })).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("already"), "{problem}");
    let problem = stage.installing(&released("generic_http", 2), json!({ "channel": "text" })).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("stays"), "{problem}");
}

/// Whoever is no operator does nothing here, and hears nothing of what is there.
#[tokio::test]
async fn nobody_but_an_operator_is_heard() {
    let stage = Stage::set().await;
    let acme = stage.app.tenant("Acme").await;
    let owner = stage.app.member(&acme, wotp_core::domain::permission::Role::Owner).await;
    let gateway = Gateway::start().await;
    let plugin = stage.deliver_through(&gateway).await;
    for (method, path) in [
        (Method::GET, String::new()),
        (Method::POST, String::new()),
        (Method::GET, plugin.clone()),
        (Method::PATCH, plugin.clone()),
        (Method::DELETE, plugin.clone()),
        (Method::GET, format!("{plugin}/config-schema")),
        (Method::POST, format!("{plugin}/approve")),
        (Method::POST, format!("{plugin}/roll-back")),
        (Method::POST, format!("{plugin}/enable")),
        (Method::POST, format!("{plugin}/disable")),
    ] {
        let path = format!("/operator/v1/plugins{path}");
        let request = || stage.app.request(method.clone(), path.as_str());
        let body = json!({ "component": "", "unsigned": true });
        let body = if path.ends_with("/plugins") { body } else { json!({}) };
        let with_body =
            |request: crate::client::Request| if method == Method::GET { request } else { request.json(body.clone()) };
        with_body(request()).await.expect(401);
        with_body(request().by(&owner)).await.expect(403);
        with_body(request().key(&acme.live)).await.expect(403);
    }
    assert_eq!(stage.plugins().await[0]["enabled"], true);
}
