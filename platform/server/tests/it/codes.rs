//! What codes are made of.

use serde_json::json;

use crate::app::{NUMBER, TestApp, number};

#[tokio::test]
async fn a_code_has_the_kind_and_length_that_the_call_asks_for() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let kinds =
        [("numeric", "0123456789"), ("alphanumeric", "ACDEFGHJKMNPQRTUVWXY34679"), ("alpha", "ACDEFGHJKMNPQRTUVWXY")];
    for (n, (kind, alphabet)) in kinds.into_iter().enumerate() {
        for (m, length) in [4, 6, 12].into_iter().enumerate() {
            let body = json!({ "to": number(n * 10 + m), "code_kind": kind, "code_length": length });
            let (_, code) = app.started_as(&acme.live, body).await;
            assert_eq!(code.len(), length);
            assert!(code.chars().all(|c| alphabet.contains(c)), "{kind} {code}");
        }
    }
}

#[tokio::test]
async fn a_code_outside_the_bounds_is_refused() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for length in [3, 13] {
        let refused = app.starting(&acme.live, json!({ "to": NUMBER, "code_length": length })).await;
        assert_eq!(refused.wrong_fields(), ["code_length"]);
    }
    let refused = app.starting(&acme.live, json!({ "to": NUMBER, "code_kind": "emoji" })).await;
    assert_eq!(refused.wrong_fields(), ["code_kind"]);
}

#[tokio::test]
async fn what_falls_short_of_the_standards_is_marked() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "code": { "long_expiry_allowed": true } })).await;
    let marks = async |n, length, expires_in_seconds| {
        let body = json!({ "to": number(n), "code_length": length, "expires_in_seconds": expires_in_seconds });
        let (verification, _) = app.started_as(&acme.live, body).await;
        verification["below_standard"].clone()
    };
    assert_eq!(marks(0, 6, 600).await, json!([]));
    assert_eq!(marks(1, 5, 600).await, json!(["short_code"]));
    assert_eq!(marks(2, 6, 601).await, json!(["long_expiry"]));
    assert_eq!(marks(3, 4, 3600).await, json!(["short_code", "long_expiry"]));
}

#[tokio::test]
async fn a_life_of_more_than_10_minutes_needs_the_services_consent() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let asking = |seconds: u32| app.starting(&acme.live, json!({ "to": NUMBER, "expires_in_seconds": seconds }));
    assert_eq!(asking(601).await.wrong_fields(), ["expires_in_seconds"]);
    assert_eq!(asking(29).await.wrong_fields(), ["expires_in_seconds"]);
    app.change_service(&acme, json!({ "code": { "long_expiry_allowed": true } })).await;
    assert_eq!(asking(3601).await.wrong_fields(), ["expires_in_seconds"]);
    let started = asking(3600).await.expect(201);
    assert_eq!(started["expires_at"], "2026-11-22T13:00:00Z");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_callers_own_code_needs_the_services_consent() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let asking = |code: &str| app.starting(&acme.live, json!({ "to": NUMBER, "code": code }));
    assert_eq!(asking("8402").await.wrong_fields(), ["code"]);
    app.change_service(&acme, json!({ "code": { "custom_allowed": true } })).await;
    for bad in ["840", "8402840284028", "84 02", "84-02"] {
        assert_eq!(asking(bad).await.wrong_fields(), ["code"], "{bad}");
    }
    let started = asking("8402").await.expect(201);
    assert_eq!(started["below_standard"], json!(["short_code"]), "a short code is marked, whoever chose it");
    app.run_jobs().await;
    assert_eq!(app.outbox.last().code, "8402");
    assert_eq!(app.checking(&acme.live, &started, "8402").await.expect(200)["valid"], true);
}

#[tokio::test]
async fn the_services_settings_hold_where_the_call_says_nothing() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let settings = json!({ "code": { "kind": "alpha", "length": 9, "expires_in_seconds": 60, "checks": 2 } });
    app.change_service(&acme, settings).await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    assert_eq!(code.len(), 9);
    assert_eq!(verification["expires_at"], "2026-11-22T12:01:00Z");
    assert_eq!(verification["checks"]["allowed"], 2);
}
