//! `Idempotency-Key`: the same request twice is one request.

use serde_json::json;

use crate::app::{NUMBER, TestApp, number, seconds};
use crate::client::race;

#[tokio::test]
async fn the_same_request_again_returns_the_first_result_and_sends_nothing() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let request = app.starting(&acme.live, json!({ "to": NUMBER })).header("idempotency-key", "\"k-1\"");
    let first = request.clone().await;
    app.run_jobs().await;
    app.clock.advance(seconds(60));
    let again = request.await;
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!(again.header("location"), first.header("location"));
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 1);
    assert_eq!(app.used_today(&acme.live, "verifications").await, 1);
}

#[tokio::test]
async fn another_request_under_the_same_key_is_refused() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let keyed = |to: &str| app.starting(&acme.live, json!({ "to": to })).header("idempotency-key", "k-1");
    keyed(NUMBER).await.expect(201);
    keyed("+12025550124").await.problem(422, "idempotency_key_reused");
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 1);
}

#[tokio::test]
async fn a_key_is_forgotten_after_a_day() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let request = app.starting(&acme.live, json!({ "to": NUMBER })).header("idempotency-key", "k-1");
    let first = request.clone().await.expect(201);
    app.run_jobs().await;
    app.clock.advance(seconds(24 * 3600 - 1));
    assert_eq!(request.clone().await.expect(201)["id"], first["id"]);
    app.clock.advance(seconds(1));
    assert_ne!(request.await.expect(201)["id"], first["id"]);
    app.run_jobs().await;
}

#[tokio::test]
async fn keys_belong_to_one_tenant_one_mode_and_one_operation() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    let mut seen = Vec::new();
    for key in [&acme.live, &acme.test, &globex.live] {
        let started = app.starting(key, json!({ "to": NUMBER })).header("idempotency-key", "k-1").await.expect(201);
        seen.push(started["id"].clone());
    }
    let message = app.post("/v1/messages").key(&acme.live).header("idempotency-key", "k-1");
    seen.push(message.json(json!({ "to": NUMBER, "content": "Hello" })).await.expect(201)["id"].clone());
    seen.sort_by_key(ToString::to_string);
    seen.dedup();
    assert_eq!(seen.len(), 4);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_refused_request_does_not_use_its_key_up() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.started(&acme.live, NUMBER).await;
    let request = app.starting(&acme.live, json!({ "to": NUMBER })).header("idempotency-key", "k-1");
    request.clone().await.problem(429, "cool_down");
    app.clock.advance(seconds(30));
    request.await.expect(201);
    app.run_jobs().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_equal_requests_at_once_one_is_done() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let request = app.starting(&acme.live, json!({ "to": number(0) })).header("idempotency-key", "k-1");
    let replies = race(vec![request; 64]).await;
    for reply in &replies {
        assert_eq!((reply.status, &reply.text), (201, &replies[0].text));
    }
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 1);
    assert_eq!(app.used_today(&acme.live, "verifications").await, 1);
}

#[tokio::test]
async fn a_message_is_sent_once_under_one_key() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let message = app.post("/v1/messages").key(&acme.live).header("idempotency-key", "k-1");
    let request = message.json(json!({ "to": NUMBER, "content": "Hello" }));
    let first = request.clone().await;
    app.run_jobs().await;
    assert_eq!(request.await.text, first.text);
    assert_eq!(app.outbox.letters().len(), 1);
}

#[tokio::test]
async fn a_header_that_is_no_key_is_refused() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for bad in ["\"\"", "\"open", &"k".repeat(256)] {
        let refused = app.starting(&acme.live, json!({ "to": NUMBER })).header("idempotency-key", bad).await;
        assert_eq!(refused.wrong_fields(), ["Idempotency-Key"], "{bad}");
    }
    let twice = app.starting(&acme.live, json!({ "to": NUMBER }));
    let twice = twice.header("idempotency-key", "a").header("idempotency-key", "b").await;
    assert_eq!(twice.wrong_fields(), ["Idempotency-Key"]);
}
