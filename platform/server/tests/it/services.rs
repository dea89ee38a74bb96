//! Services, limits and the document.

use axum::http::Method;
use insta::assert_json_snapshot;
use serde_json::json;

use crate::app::TestApp;

#[tokio::test]
async fn a_new_service_has_the_published_defaults() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let reply = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" })).await;
    let shop = reply.expect(201);
    assert_eq!(reply.header("location"), format!("/v1/services/{}", crate::app::id(&shop)));
    assert_json_snapshot!("service", shop, { ".id" => "[id]" });
    let all = app.get("/v1/services").key(&acme.live).await.expect(200);
    let all = all["data"].as_array().unwrap();
    // Made in the same millisecond, so either may be the first.
    assert!(all.len() == 2 && all.contains(&shop), "{all:?}");
}

#[tokio::test]
async fn settings_that_do_not_hold_are_all_named() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = json!({
        "name": " ", "brand": "x".repeat(41), "failover_after_seconds": 2, "web_origin": "not a host",
        "code": { "length": 3, "checks": 0, "expires_in_seconds": 601 },
        "address_limits": { "sends_per_10_minutes": 0, "cool_down_seconds": [] },
        "retention": { "addresses_days": 9, "records_days": 8 },
        "sms_retriever_hash": "short",
    });
    let patch = app.request(Method::PATCH, format!("/v1/services/{}", acme.service)).key(&acme.live);
    let mut wrong = patch.json(body).await.wrong_fields();
    wrong.sort();
    assert_json_snapshot!("wrong_settings", wrong);
    let untouched = app.get(format!("/v1/services/{}", acme.service)).key(&acme.live).await.expect(200);
    assert_eq!(untouched["brand"], "Acme");
}

#[tokio::test]
async fn the_limits_are_public() {
    let app = TestApp::start().await;
    assert_json_snapshot!("limits", app.get("/v1/limits").await.expect(200));
}

#[tokio::test]
async fn the_document_and_its_page_are_public() {
    let app = TestApp::start().await;
    let document = app.get("/openapi.json").await.expect(200);
    assert_eq!(document["openapi"], "3.1.0");
    let page = app.get("/docs").await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn settings_that_would_disarm_a_guard_are_refused_by_name() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let service = app.get("/v1/services").key(&acme.live).await.expect(200)["data"][0].clone();
    let path = format!("/v1/services/{}", service["id"].as_str().unwrap());
    let change = json!({ "retention": { "addresses_days": 0 }, "brand": "http://login.example/x" });
    let refused = app.request(Method::PATCH, path).key(&acme.live).json(change).await;
    refused.problem(422, "invalid_request");
    assert_eq!(refused.wrong_fields(), ["brand", "retention.addresses_days"]);
}
