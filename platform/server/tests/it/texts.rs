//! What people read: languages and templates.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{NUMBER, TestApp, TestTenant, number};

async fn publish(app: &TestApp, acme: &TestTenant, body: Value) -> Value {
    app.post(format!("/v1/services/{}/templates", acme.service)).key(&acme.live).json(body).await.expect(201)
}

#[tokio::test]
async fn the_language_is_the_calls_then_the_regions_then_the_services() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "locale": "de" })).await;
    let called = json!({ "to": number(0), "locale": "fr" });
    let (verification, _) = app.started_as(&acme.live, called).await;
    assert_eq!((&verification["locale"], app.outbox.last().locale.as_str()), (&json!("fr"), "fr"));
    assert!(app.outbox.last().text.contains("code"), "{}", app.outbox.last().text);
    let (verification, _) = app.started(&acme.live, &number(1)).await;
    assert_eq!(verification["locale"], "en-GB", "the number's region");
    let (verification, _) = app.started(&acme.live, "ada@example.com").await;
    assert_eq!(verification["locale"], "de", "an email address has no region");
    let unspoken = json!({ "to": "grace@example.com", "locale": "tlh" });
    assert_eq!(app.started_as(&acme.live, unspoken).await.0["locale"], "de", "nothing is written in Klingon");
}

#[tokio::test]
async fn a_services_own_text_is_sent_in_its_language_and_channel() {
    let (app, acme) = TestApp::start_with_tenant().await;
    publish(&app, &acme, json!({ "locale": "en", "text": "Any: {{code}}" })).await;
    publish(&app, &acme, json!({ "locale": "en", "text": "Outbox: {{code}} for {{brand}}", "channel": "outbox" }))
        .await;
    let (_, code) = app.started(&acme.live, &number(0)).await;
    assert_eq!(app.outbox.last().text, format!("Outbox: {code} for Acme"));
    let spare = json!({ "to": number(1), "channels": ["spare"] });
    app.starting(&acme.live, spare).await.expect(201);
    app.run_jobs().await;
    assert_eq!(app.spare.last().text, format!("Any: {}", app.spare.last().code));
    let french = json!({ "to": number(2), "locale": "fr" });
    app.started_as(&acme.live, french).await;
    assert_ne!(app.outbox.last().text.get(..6), Some("Outbox"), "French has a built-in text");
}

#[tokio::test]
async fn a_new_version_holds_for_new_verifications_and_withdrawing_brings_ours_back() {
    let (app, acme) = TestApp::start_with_tenant().await;
    assert_eq!(publish(&app, &acme, json!({ "locale": "en", "text": "One {{code}}" })).await["version"], 1);
    let first = app.starting(&acme.live, json!({ "to": number(0) })).await;
    first.expect(201);
    assert_eq!(publish(&app, &acme, json!({ "locale": "en", "text": "Two {{code}}" })).await["version"], 2);
    app.run_jobs().await;
    assert!(app.outbox.last().text.starts_with("One "), "{}", app.outbox.last().text);
    app.started(&acme.live, &number(1)).await;
    assert!(app.outbox.last().text.starts_with("Two "), "{}", app.outbox.last().text);
    let templates = format!("/v1/services/{}/templates", acme.service);
    let withdraw = || app.request(Method::DELETE, format!("{templates}?locale=en")).key(&acme.live);
    withdraw().await.expect(204);
    withdraw().await.problem(404, "not_found");
    app.started(&acme.live, &number(2)).await;
    assert!(app.outbox.last().text.contains("verification code"), "{}", app.outbox.last().text);
    assert_eq!(app.get(templates).key(&acme.live).await.expect(200), json!({ "data": [] }));
}

#[tokio::test]
async fn a_call_may_bring_its_own_text_by_the_same_rules() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let asking = |template: &str| app.starting(&acme.live, json!({ "to": NUMBER, "template": template }));
    for bad in [
        "no code",
        "{{code}} {{nonsense}}",
        "{{code}} https://example.com",
        &format!("{{{{code}}}}{}", "x".repeat(1000)),
    ] {
        assert_eq!(asking(bad).await.wrong_fields(), ["template"], "{bad}");
    }
    asking("Type {{code}} at {{brand}}.").await.expect(201);
    app.run_jobs().await;
    assert_eq!(app.outbox.last().text, format!("Type {} at Acme.", app.outbox.last().code));
}

#[tokio::test]
async fn a_preview_shows_the_text_and_changes_nothing() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let templates = format!("/v1/services/{}/templates", acme.service);
    let preview = |body| app.post(format!("{templates}/preview")).key(&acme.live).json(body);
    let shown = preview(json!({ "locale": "en", "text": "{{code}} for {{brand}}. {{expiry}}" })).await.expect(200);
    insta::assert_json_snapshot!("preview", shown);
    insta::assert_json_snapshot!("preview_built_in", preview(json!({ "locale": "pt-BR" })).await.expect(200));
    assert_eq!(preview(json!({ "locale": "en", "text": "no code" })).await.wrong_fields(), ["text"]);
    assert_eq!(app.get(templates).key(&acme.live).await.expect(200), json!({ "data": [] }));
}

#[tokio::test]
async fn the_last_line_is_for_browsers_and_phones() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "web_origin": "example.com", "sms_retriever_hash": "FA+9qCX9VSu" })).await;
    let (_, code) = app.started(&acme.live, NUMBER).await;
    let text = app.outbox.last().text;
    assert_eq!(text.lines().last().unwrap(), format!("@example.com #{code} FA+9qCX9VSu"));
}
