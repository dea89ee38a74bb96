//! Addresses: which are taken, how they are shown, which channels reach them.

use serde_json::json;

use crate::app::{NUMBER, TestApp, number, seconds};

#[tokio::test]
async fn addresses_are_masked_unless_the_key_may_see_them() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let whole = app.key(&acme, |_| {}).await;
    let (phone, _) = app.started(&acme.live, NUMBER).await;
    let (email, _) = app.started(&acme.live, "ada@example.com").await;
    assert_eq!((&phone["to"], &email["to"]), (&json!("+1********23"), &json!("a***@example.com")));
    assert_eq!(app.read(&whole, &phone).await["to"], NUMBER);
    assert_eq!(app.read(&whole, &email).await["to"], "ada@example.com");
    let list = app.get("/v1/verifications").key(&acme.live).await.expect(200);
    assert!(!list.to_string().contains(&NUMBER[1..]), "{list}");
}

#[tokio::test]
async fn an_address_is_the_same_however_it_is_written() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let whole = app.key(&acme, |_| {}).await;
    let (verification, _) = app.started(&whole, " +1 (202) 555-0123 ").await;
    assert_eq!(verification["to"], NUMBER);
    app.starting(&whole, json!({ "to": "+1.202.555.0123" })).await.problem(429, "cool_down");
}

#[tokio::test]
async fn what_is_no_address_is_refused_with_what_would_be_right() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for bad in
        ["", "12025550123", "+1202555", "+0123456789", "ada@", "ada@localhost", "tel:+12025550123", "+1202555012e"]
    {
        let refused = app.starting(&acme.live, json!({ "to": bad })).await;
        assert_eq!(refused.wrong_fields(), ["to"], "{bad}");
        let message = refused.json()["errors"][0]["message"].to_string();
        assert!(message.len() > 20, "{bad}: {message}");
    }
    assert_eq!(app.starting(&acme.live, json!({})).await.wrong_fields(), ["to"]);
}

#[tokio::test]
async fn channels_are_taken_in_the_order_of_the_call_and_of_the_service() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let channel = async |body| app.started_as(&acme.live, body).await.0["channel"].clone();
    assert_eq!(channel(json!({ "to": number(0) })).await, "outbox");
    app.change_service(&acme, json!({ "channels": ["spare", "outbox"] })).await;
    app.starting(&acme.live, json!({ "to": number(1) })).await.expect(201);
    app.run_jobs().await;
    assert_eq!(app.spare.last().to, number(1));
    assert_eq!(channel(json!({ "to": number(2), "channels": ["outbox"] })).await, "outbox");
    assert_eq!(channel(json!({ "to": "ada@example.com" })).await, "outbox", "the spare channel reaches phones only");
}

#[tokio::test]
async fn a_channel_that_cannot_help_is_refused_by_name() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let unknown = app.starting(&acme.live, json!({ "to": NUMBER, "channels": ["outbox", "pigeon"] })).await;
    let problem = unknown.problem(422, "unknown_channel");
    assert!(problem["detail"].as_str().unwrap().contains("pigeon"), "{problem}");
    let useless = app.starting(&acme.live, json!({ "to": "ada@example.com", "channels": ["spare"] })).await;
    useless.problem(422, "no_channel");
    app.clock.advance(seconds(1));
    assert_eq!(app.used_today(&acme.live, "verifications").await, 0, "a refused call is not counted");
}
