//! The paths of the WOTP API, in WOTP's shapes.

use insta::assert_json_snapshot;
use serde_json::{Value, json};

use crate::app::{NUMBER, TestApp, seconds, wrong};
use crate::client::{Reply, Request};

fn asking(app: &TestApp, path: &str, key: &str, body: Value) -> Request {
    app.post(path).header("x-api-key", key).json(body)
}

/// An error as WOTP clients read it.
#[track_caller]
fn error(reply: &Reply, status: u16) -> Value {
    let body = reply.expect(status);
    assert!(body["error"].is_string() && body["details"].is_string(), "{body}");
    assert_eq!(reply.header("content-type"), "application/json");
    body
}

#[tokio::test]
async fn a_code_is_sent_and_verified_as_wotp_clients_do() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = json!({ "phone": NUMBER, "length": 8, "type": "alphanumeric", "expiresIn": 3600, "message": "Use {{otp}} now." });
    let sent = asking(&app, "/api/otp/send", &acme.live, body).await.expect(200);
    assert_eq!(sent, json!({ "success": true, "message": "OTP sent", "phone": NUMBER }));
    app.run_jobs().await;
    let letter = app.outbox.last();
    assert_eq!((letter.code.len(), letter.text), (8, format!("Use {} now.", letter.code)));

    let verify = |otp: &str| asking(&app, "/api/otp/verify", &acme.live, json!({ "phone": NUMBER, "otp": otp }));
    let refused = verify(&wrong(&letter.code)).await.expect(200);
    assert_eq!(refused, json!({ "success": false, "message": "Invalid or expired OTP" }));
    app.clock.advance(seconds(3599));
    let verified = verify(&letter.code).await.expect(200);
    assert_eq!(verified, json!({ "success": true, "message": "OTP verified" }));
    assert_eq!(verify(&letter.code).await.expect(200)["success"], false, "a code works once");
}

#[tokio::test]
async fn a_phone_that_nobody_wrote_to_is_an_invalid_otp() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let verify = asking(&app, "/api/otp/verify", &acme.live, json!({ "phone": NUMBER, "otp": "123456" }));
    assert_eq!(verify.await.expect(200), json!({ "success": false, "message": "Invalid or expired OTP" }));
}

#[tokio::test]
async fn too_many_wrong_codes_are_said_to_be() {
    let (app, acme) = TestApp::start_with_tenant().await;
    asking(&app, "/api/otp/send", &acme.live, json!({ "phone": NUMBER })).await.expect(200);
    app.run_jobs().await;
    let guess = wrong(&app.outbox.last().code);
    let mut last = Value::Null;
    for _ in 0..5 {
        last = asking(&app, "/api/otp/verify", &acme.live, json!({ "phone": NUMBER, "otp": guess })).await.expect(200);
    }
    assert_eq!(last, json!({ "success": false, "message": "Too many wrong codes; request a new one" }));
}

#[tokio::test]
async fn errors_have_wotps_shape_and_statuses() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let send = |key: &str, body| asking(&app, "/api/otp/send", key, body);
    let invalid = error(&send(&acme.live, json!({ "phone": "5550123" })).await, 400);
    assert!(invalid["details"].as_str().unwrap().contains("`phone`"), "{invalid}");
    error(&send(&acme.live, json!({ "phone": NUMBER, "length": 13 })).await, 400);
    error(&send(&acme.live, json!({ "phone": NUMBER, "unknown": 1 })).await, 400);
    error(&send(&acme.live, json!({ "phone": NUMBER, "message": "no placeholder" })).await, 400);
    error(&send("wk_live_nonsense", json!({ "phone": NUMBER })).await, 401);
    error(&app.post("/api/otp/send").json(json!({ "phone": NUMBER })).await, 401);
    let narrow = app.key(&acme, |key| key.scopes = [wotp_core::domain::api_key::Scope::UsageRead].into()).await;
    error(&send(&narrow, json!({ "phone": NUMBER })).await, 403);
    send(&acme.live, json!({ "phone": NUMBER })).await.expect(200);
    let early = send(&acme.live, json!({ "phone": NUMBER })).await;
    error(&early, 429);
    assert_eq!(early.retry_after(), 30);
    error(&app.post("/api/otp/send").key(&acme.live).bytes("phone=1").await, 400);
    error(&app.get("/api/otp/send").key(&acme.live).await, 405);
    app.run_jobs().await;
}

#[tokio::test]
async fn messages_are_sent_and_logged_as_wotp_clients_do() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let sent = asking(&app, "/api/message/send", &acme.live, json!({ "phone": NUMBER, "content": "Hello" })).await;
    assert_eq!(sent.expect(200), json!({ "success": true, "message": "Message queued", "phone": NUMBER }));
    app.run_jobs().await;
    let logs = app.get("/api/message/logs").key(&acme.live).await.expect(200);
    assert_json_snapshot!("wotp_logs", logs, { ".logs[].id" => "[id]" });
    let usage = app.get("/api/user/usage").key(&acme.live).await.expect(200);
    assert_json_snapshot!("wotp_usage", usage);
}

#[tokio::test]
async fn a_test_key_is_told_its_code() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let sent = asking(&app, "/api/otp/send", &acme.test, json!({ "phone": NUMBER })).await.expect(200);
    app.run_jobs().await;
    let verify = json!({ "phone": NUMBER, "otp": sent["test_code"] });
    assert_eq!(asking(&app, "/api/otp/verify", &acme.test, verify).await.expect(200)["success"], true);
}
