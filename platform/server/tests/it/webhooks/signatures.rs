//! What is signed, held against libraries of others.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::*;
use crate::app::seconds;

fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("there is a home")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("wotp")
}

/// Runs a verifier on webhooks, to its end.
fn verify(mut command: Command, webhooks: &[Value]) {
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("`make test` installs it");
    let text = Value::from(webhooks).to_string();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}

fn script(name: &str) -> String {
    format!("{}/tests/webhooks/{name}", std::env::var("CARGO_MANIFEST_DIR").expect("cargo says it"))
}

/// By the library from PyPI.
fn verify_by_pypi(webhooks: &[Value]) {
    let python = std::env::var_os("TEST_PYTHON").map_or_else(|| cache().join("venv/bin/python"), PathBuf::from);
    let mut command = Command::new(python);
    command.arg(script("verify.py"));
    verify(command, webhooks);
}

/// By the library from npm, and the key pair by Node.
fn verify_by_npm(webhooks: &[Value]) {
    let mut command = Command::new("node");
    command.arg(script("verify.mjs")).arg(cache().join("npm"));
    verify(command, webhooks);
}

/// A webhook as a receiver has it, with what it verifies by.
fn to_verify(received: &Received, endpoint: &Value, key: usize) -> Value {
    json!({
        "secret": endpoint["secret"],
        "public_key": endpoint["endpoint"]["public_keys"][key],
        "headers": received.headers,
        "body": received.body,
    })
}

/// The libraries go by the machine's time, so the platform does here too.
async fn stage_now() -> (TestApp, TestTenant, Receiver, Value) {
    let now: &'static str = Timestamp::now().to_string().leak();
    let app = TestApp::with().starts_at(now).start().await;
    let acme = app.tenant("Acme").await;
    let receiver = Receiver::start().await;
    let endpoint = app.endpoint(&acme.live, json!({ "url": receiver.url() })).await;
    (app, acme, receiver, endpoint)
}

#[tokio::test]
async fn the_libraries_of_pypi_and_npm_take_what_is_sent() {
    let (app, acme, receiver, endpoint) = stage_now().await;
    let (verification, _) = app.started(&acme.live, crate::app::NUMBER).await;
    let event = app.event(&acme, &verification).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered]);
    let received = &receiver.received()[0];
    assert_eq!((received.path.as_str(), received.id()), ("/hook?a=b", event.as_str()));
    assert_eq!(received.headers["content-type"], "application/json");
    let body = received.json();
    assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), ["data", "timestamp", "type"]);
    assert_eq!(body["type"], "verification.approved");
    assert_eq!(body["data"]["id"], verification["id"]);
    assert!(!received.body.contains(&crate::app::NUMBER[1..]), "no address leaves with an event");
    let webhook = to_verify(received, &endpoint, 0);
    verify_by_pypi(std::slice::from_ref(&webhook));
    verify_by_npm(&[webhook]);
}

#[tokio::test]
async fn for_a_day_after_a_rotation_old_and_new_secrets_hold() {
    let (app, acme, receiver, old) = stage_now().await;
    let new = app.of_endpoint(&old, "rotate").key(&acme.live).await.expect(200);
    assert_ne!(new["secret"], old["secret"]);
    assert_eq!(new["endpoint"]["public_keys"][1], old["endpoint"]["public_keys"][0]);
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    let received = &receiver.received()[0];
    assert_eq!(received.signatures().len(), 4);
    let webhooks = [to_verify(received, &new, 0), to_verify(received, &old, 0)];
    verify_by_pypi(&webhooks);
    verify_by_npm(&webhooks);
    app.clock.advance(seconds(24 * 3600 + 1));
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    assert_eq!(receiver.received()[1].signatures().len(), 2);
    let endpoint = app.get("/v1/webhooks/endpoints").key(&acme.live).await.expect(200)["data"][0].clone();
    assert_eq!(endpoint["public_keys"], json!([new["endpoint"]["public_keys"][0]]));
}

#[tokio::test]
async fn secrets_are_shown_once_and_are_not_in_what_a_thief_takes() {
    let (app, acme, _receiver, endpoint) = stage().await;
    let secret = endpoint["secret"].as_str().unwrap().strip_prefix("whsec_").unwrap();
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    assert!(!app.get(path).key(&acme.live).await.text.contains(secret));
    for (name, bytes) in app.stolen() {
        let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "the secret is in {name}");
    }
}
