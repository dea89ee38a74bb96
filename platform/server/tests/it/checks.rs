//! Guesses.

use serde_json::{Value, json};

use crate::app::{NUMBER, TestApp, path, seconds, wrong};
use crate::client::Request;

#[tokio::test]
async fn a_wrong_code_is_an_ordinary_reply() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let checked = app.checking(&acme.live, &verification, &wrong(&code)).await.expect(200);
    assert_eq!((&checked["valid"], &checked["status"]), (&json!(false), &json!("pending")));
    assert_eq!(checked["checks"], json!({ "used": 1, "allowed": 5 }));
}

#[tokio::test]
async fn the_last_allowed_guess_passes_when_it_is_right() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    for _ in 0..4 {
        app.checking(&acme.live, &verification, &wrong(&code)).await.expect(200);
    }
    let last = app.checking(&acme.live, &verification, &code).await.expect(200);
    assert_eq!((&last["valid"], &last["status"]), (&json!(true), &json!("approved")));
    assert_eq!(last["checks"], json!({ "used": 5, "allowed": 5 }));
}

#[tokio::test]
async fn after_the_last_wrong_guess_the_right_code_is_refused() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    for _ in 0..5 {
        app.checking(&acme.live, &verification, &wrong(&code)).await.expect(200);
    }
    let late = app.checking(&acme.live, &verification, &code).await.expect(200);
    assert_eq!((&late["valid"], &late["status"]), (&json!(false), &json!("failed")));
    assert_eq!(late["verification"]["reason"], "max_checks");
    assert_eq!(late["checks"]["used"], 5);
}

#[tokio::test]
async fn a_used_code_is_refused_the_second_time() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], true);
    let again = app.checking(&acme.live, &verification, &code).await.expect(200);
    assert_eq!((&again["valid"], &again["status"]), (&json!(false), &json!("approved")));
    assert_eq!(again["checks"]["used"], 1);
}

#[tokio::test]
async fn a_code_is_read_as_people_type_it() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = json!({ "to": NUMBER, "code_kind": "alphanumeric", "code_length": 8 });
    let (verification, code) = app.started_as(&acme.live, body).await;
    let typed = format!(" {}-{} ", &code[..4].to_lowercase(), &code[4..]);
    assert_eq!(app.checking(&acme.live, &verification, &typed).await.expect(200)["valid"], true);
}

fn by_address(app: &TestApp, key: &str, to: &str, code: &str) -> Request {
    app.post("/v1/verifications/check").key(key).json(json!({ "to": to, "code": code }))
}

#[tokio::test]
async fn an_address_can_be_checked_without_an_id() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let checked = by_address(&app, &acme.live, "+1 (202) 555-0123", &code).await.expect(200);
    assert_eq!(checked["valid"], true);
    assert_eq!(checked["verification"]["id"], verification["id"]);
    assert_eq!(by_address(&app, &acme.live, NUMBER, &code).await.expect(200)["valid"], false, "it was used");
}

#[tokio::test]
async fn an_address_nobody_wrote_to_is_not_found() {
    let (app, acme) = TestApp::start_with_tenant().await;
    by_address(&app, &acme.live, NUMBER, "123456").await.problem(404, "not_found");
    assert_eq!(by_address(&app, &acme.live, "12025550123", "123456").await.wrong_fields(), ["to"]);
}

async fn two_codes(app: &TestApp, key: &str) -> [(Value, String); 2] {
    let older = app.started(key, NUMBER).await;
    app.clock.advance(seconds(30));
    [older, app.started(key, NUMBER).await]
}

#[tokio::test]
async fn an_older_code_that_is_in_time_is_right_too() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let [(older, old_code), (newer, new_code)] = two_codes(&app, &acme.live).await;
    assert_ne!(old_code, new_code);
    let checked = by_address(&app, &acme.live, NUMBER, &old_code).await.expect(200);
    assert_eq!((&checked["valid"], &checked["verification"]["id"]), (&json!(true), &older["id"]));
    assert_eq!(app.read(&acme.live, &newer).await["status"], "pending");
}

#[tokio::test]
async fn a_wrong_code_for_an_address_is_a_guess_at_each_open_verification_of_it() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let [(older, _), (newer, new_code)] = two_codes(&app, &acme.live).await;
    let checked = by_address(&app, &acme.live, NUMBER, &wrong(&new_code)).await.expect(200);
    assert_eq!((&checked["valid"], &checked["verification"]["id"]), (&json!(false), &newer["id"]));
    assert_eq!(checked["checks"]["used"], 1);
    assert_eq!(app.read(&acme.live, &older).await["checks"]["used"], 1);
}

#[tokio::test]
async fn an_older_code_that_expired_is_wrong() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let [(older, old_code), (newer, _)] = two_codes(&app, &acme.live).await;
    app.clock.advance(seconds(270));
    let checked = by_address(&app, &acme.live, NUMBER, &old_code).await.expect(200);
    assert_eq!((&checked["valid"], &checked["verification"]["id"]), (&json!(false), &newer["id"]));
    assert_eq!(app.get(path(&older)).key(&acme.live).await.expect(200)["checks"]["used"], 0);
}

#[tokio::test]
async fn a_code_of_one_service_is_wrong_for_another() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let shop = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" })).await.expect(201);
    let (_, code) = app.started(&acme.live, NUMBER).await;
    let body = json!({ "to": NUMBER, "code": code, "service": shop["id"] });
    app.post("/v1/verifications/check").key(&acme.live).json(body).await.problem(404, "not_found");
}
