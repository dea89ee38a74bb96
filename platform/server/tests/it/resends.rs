//! Sending the same code again, and how often an address may be written to.

use serde_json::{Value, json};

use crate::app::{NUMBER, TestApp, days, path, seconds, wrong};
use crate::client::Request;

fn resending(app: &TestApp, key: &str, verification: &Value) -> Request {
    app.post(format!("{}/resend", path(verification))).key(key)
}

#[tokio::test]
async fn a_resend_carries_the_same_code_and_keeps_guesses_and_expiry() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.checking(&acme.live, &verification, &wrong(&code)).await.expect(200);
    app.clock.advance(seconds(30));
    let resent = resending(&app, &acme.live, &verification).await.expect(200);
    app.run_jobs().await;
    assert_eq!(app.outbox.last().code, code);
    assert_eq!(resent["checks"]["used"], 1);
    assert_eq!(resent["expires_at"], verification["expires_at"]);
    assert_eq!(resent["sends"], json!({ "used": 2, "allowed": 5, "next_at": "2026-11-22T12:01:30Z" }));
    let ids: Vec<_> = app.outbox.letters().into_iter().map(|letter| letter.message_id).collect();
    assert_ne!(ids[0], ids[1], "to the provider it is another message");
    assert!(app.outbox.last().text.contains("5 minutes"), "rounded up: {}", app.outbox.last().text);
}

#[tokio::test]
async fn a_resend_that_comes_too_early_says_when_it_may() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(20));
    let refused = resending(&app, &acme.live, &verification).await;
    let problem = refused.problem(429, "cool_down");
    assert_eq!(refused.retry_after(), 10);
    assert_eq!(problem["retry_at"], "2026-11-22T12:00:30Z");
    app.clock.advance(seconds(10));
    resending(&app, &acme.live, &verification).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn pauses_between_resends_grow() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = json!({ "to": NUMBER, "expires_in_seconds": 600 });
    let (verification, _) = app.started_as(&acme.live, body).await;
    for pause in [30, 60, 120, 120] {
        app.clock.advance(seconds(pause - 1));
        let refused = resending(&app, &acme.live, &verification).await;
        refused.problem(429, "cool_down");
        assert_eq!(refused.retry_after(), 1);
        app.clock.advance(seconds(1));
        resending(&app, &acme.live, &verification).await.expect(200);
        app.run_jobs().await;
    }
    app.clock.advance(seconds(120));
    resending(&app, &acme.live, &verification).await.problem(409, "no_sends_left");
    assert_eq!(app.outbox.letters().len(), 5);
}

#[tokio::test]
async fn what_has_ended_is_not_sent_again() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.checking(&acme.live, &verification, &code).await.expect(200);
    app.clock.advance(seconds(60));
    resending(&app, &acme.live, &verification).await.problem(409, "verification_ended");
    let (expired, _) = app.started(&acme.live, "+12025550124").await;
    app.clock.advance(seconds(300));
    resending(&app, &acme.live, &expired).await.problem(409, "verification_ended");
}

#[tokio::test]
async fn a_second_start_for_an_address_waits_for_the_cool_down_too() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.started(&acme.live, NUMBER).await;
    let refused = app.starting(&acme.live, json!({ "to": NUMBER })).await;
    refused.problem(429, "cool_down");
    assert_eq!(refused.retry_after(), 30);
    app.clock.advance(seconds(30));
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn who_typed_the_right_code_does_not_wait_for_the_next_one() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(1));
    app.checking(&acme.live, &verification, &code).await.expect(200);
    app.clock.advance(seconds(1));
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn the_sixth_code_within_10_minutes_waits_for_the_first_to_be_that_old() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for pause in [30, 60, 120, 120, 120] {
        app.started(&acme.live, NUMBER).await;
        app.clock.advance(seconds(pause));
    }
    let refused = app.starting(&acme.live, json!({ "to": NUMBER })).await;
    assert_eq!(refused.problem(429, "address_limited")["violated-policies"], json!(["address_10_minutes"]));
    assert_eq!(refused.retry_after(), 600 - 450);
    app.clock.advance(seconds(150));
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn the_eleventh_code_of_a_day_waits_for_the_first_to_be_a_day_old() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for _ in 0..10 {
        app.started(&acme.live, NUMBER).await;
        app.clock.advance(seconds(1000));
    }
    let refused = app.starting(&acme.live, json!({ "to": NUMBER })).await;
    assert_eq!(refused.problem(429, "address_limited")["violated-policies"], json!(["address_day"]));
    assert_eq!(refused.retry_after(), 86_400 - 10_000);
    app.clock.advance(days(1) - seconds(10_000));
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn resends_and_starts_count_together_for_an_address() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "address_limits": { "cool_down_seconds": [0], "sends_per_10_minutes": 2 } }))
        .await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(1));
    app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(1));
    let refused = resending(&app, &acme.live, &verification).await;
    refused.problem(429, "address_limited");
    assert_eq!(refused.retry_after(), 598);
}

#[tokio::test]
async fn ten_wrong_codes_in_a_row_delay_the_next_start() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "address_limits": { "cool_down_seconds": [0] } })).await;
    for _ in 0..2 {
        let (verification, code) = app.started(&acme.live, NUMBER).await;
        for _ in 0..5 {
            app.checking(&acme.live, &verification, &wrong(&code)).await.expect(200);
        }
    }
    let refused = app.starting(&acme.live, json!({ "to": NUMBER })).await;
    assert_eq!(refused.problem(429, "address_limited")["violated-policies"], json!(["address_failures"]));
    assert_eq!(refused.retry_after(), 30);
    app.clock.advance(seconds(30));
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn the_limits_of_an_address_are_each_tenants_own() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    app.started(&acme.live, NUMBER).await;
    app.started(&globex.live, NUMBER).await;
    app.started(&acme.test, NUMBER).await;
}
