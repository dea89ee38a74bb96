//! Services, limits and the document.

use axum::http::Method;
use insta::assert_json_snapshot;
use serde_json::json;

use crate::app::TestApp;
use crate::client::race;

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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_tenant_gets_as_many_services_as_it_may_have_however_many_are_asked_for_at_once() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let fellow = app.fellow();
    let create = |node: &TestApp| node.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" }));
    // On one node they go one after another, so that none fails another.
    for reply in race((0..40).map(|_| create(&app))).await {
        reply.expect(201);
    }
    // With the one that came with the tenant: there is room for three more.
    for _ in 41..97 {
        create(&app).await.expect(201);
    }
    let replies = race((0..24).map(|n| create(if n % 2 == 0 { &app } else { &fellow }))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 3, "{replies:?}");
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        let problem = reply.problem(409, "limit_reached");
        assert_eq!(problem["detail"], "there may be 100 services, and there are");
    }
    let all = app.get("/v1/services").key(&acme.live).await.expect(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 100);
}

#[tokio::test]
async fn a_name_that_was_taken_before_the_rule_keeps_nothing_else_from_being_changed() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let door = app.app.ports().store.tenant(acme.id);
    let mut service = door.find_service(acme.service).await.expect("the store answers").expect("a service");
    (service.name, service.settings.brand) = ("Shop \u{202e}1".to_owned(), "Acme \u{202e}1".to_owned());
    door.replace_service(&mut service).await.expect("nobody else changes it");
    let path = format!("/v1/services/{}", acme.service);
    let change = |change| app.request(Method::PATCH, &path).key(&acme.live).json(change);
    let changed = change(json!({ "failover_after_seconds": 9 })).await.expect(200);
    assert_eq!((&changed["name"], &changed["brand"]), (&json!("Shop \u{202e}1"), &json!("Acme \u{202e}1")));
    let text = json!({ "locale": "en", "text": "{{code}} is your code." });
    app.post(format!("{path}/templates")).key(&acme.live).json(text).await.expect(201);
    for (field, value) in [("name", "Shop \u{202e}2"), ("brand", "Acme \u{202e}2")] {
        assert_eq!(change(json!({ field: value })).await.wrong_fields(), [field]);
    }
    change(json!({ "name": "Shop", "brand": "Acme" })).await.expect(200);
    assert_eq!(change(json!({ "name": "Shop \u{202e}1" })).await.wrong_fields(), ["name"], "as any new one");
}

#[tokio::test]
async fn a_query_of_what_has_no_parameters_is_refused_by_name() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for path in ["/v1/services", "/v1/usage"] {
        let get = |query: &str| app.get(format!("{path}{query}")).key(&acme.live);
        let problem = get("?limit=5&l%69mits").await;
        assert_eq!(problem.wrong_fields(), ["limit", "limits"]);
        assert_eq!(problem.json()["errors"][0]["message"], "is no parameter of this path");
        get("?").await.expect(200);
    }
}
