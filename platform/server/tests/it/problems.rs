//! Refusals before any handler, and what every reply carries.

use axum::http::Method;
use insta::assert_json_snapshot;
use serde_json::json;

use crate::app::{NUMBER, TestApp};
use crate::client::Reply;

fn assert_secure(reply: &Reply) {
    assert_eq!(reply.header("x-content-type-options"), "nosniff");
    assert_eq!(reply.header("x-frame-options"), "DENY");
    assert_eq!(reply.header("referrer-policy"), "no-referrer");
    assert_eq!(reply.header("content-security-policy"), "default-src 'none'; frame-ancestors 'none'");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("access-control-allow-origin"), "", "CORS is off unless it is asked for");
}

#[tokio::test]
async fn every_refusal_is_a_problem_with_a_code_and_the_requests_id() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let post = || app.post("/v1/verifications").key(&acme.live).header("content-type", "application/json");
    let refused = [
        (app.get("/v1/nothing").await, 404, "route_not_found"),
        (app.get("/v1/verifications/ver_1").key(&acme.live).await, 404, "not_found"),
        (app.request(Method::DELETE, "/v1/verifications").key(&acme.live).await, 405, "method_not_allowed"),
        (post().bytes(format!("{{\"to\":\"{}\"}}", "1".repeat(16 * 1024))).await, 413, "body_too_large"),
        (app.post("/v1/verifications").key(&acme.live).bytes("to=1").await, 415, "unsupported_media_type"),
        (post().bytes("{\"to\":").await, 400, "malformed_json"),
        (post().bytes("").await, 400, "malformed_json"),
        (post().bytes("[]").await, 422, "invalid_request"),
        (post().bytes(vec![0xff, 0xfe]).await, 400, "malformed_json"),
    ];
    for (reply, status, code) in &refused {
        reply.problem(*status, code);
        assert_secure(reply);
    }
    let mut allowed: Vec<_> = refused[2].0.header("allow").split(',').collect();
    allowed.sort_unstable();
    assert_eq!(allowed, ["GET", "HEAD", "POST"]);
}

#[tokio::test]
async fn a_problem_says_what_was_wrong_and_what_would_be_right() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let invalid = app.starting(&acme.live, json!({ "to": "2025550123" })).header("x-request-id", "mine").await;
    assert_json_snapshot!("problem_invalid", invalid.problem(422, "invalid_request"));
    app.started(&acme.live, NUMBER).await;
    let limited = app.starting(&acme.live, json!({ "to": NUMBER })).header("x-request-id", "mine").await;
    assert_json_snapshot!("problem_cool_down", limited.problem(429, "cool_down"));
}

#[tokio::test]
async fn ordinary_replies_carry_the_same_headers() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let reply = app.get("/v1/usage").key(&acme.live).await;
    reply.expect(200);
    assert_secure(&reply);
}

#[tokio::test]
async fn a_plain_request_id_comes_back_and_another_is_replaced() {
    let app = TestApp::start().await;
    let ask = |id: &str| app.get("/health/live").header("x-request-id", id);
    assert_eq!(ask("trace-7:a.b_c").await.header("x-request-id"), "trace-7:a.b_c");
    let long = "x".repeat(129);
    for bad in ["a b", "<script>", long.as_str(), ""] {
        let id = ask(bad).await.header("x-request-id").to_owned();
        assert!(id.starts_with("req_") && id.len() == 30, "{bad:?} gave {id}");
    }
}

#[tokio::test]
async fn a_body_of_exactly_the_largest_size_is_read() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = format!("{{\"to\":\"{NUMBER}\"}}");
    let body = format!("{body}{}", " ".repeat(16 * 1024 - body.len()));
    app.post("/v1/verifications")
        .key(&acme.live)
        .header("content-type", "application/json")
        .bytes(body)
        .await
        .expect(201);
    app.run_jobs().await;
}

#[tokio::test]
async fn origins_that_were_allowed_may_call_from_a_page() {
    let app = TestApp::with().http(|http| http.cors_origins = vec!["https://app.example.com".to_owned()]).start().await;
    let acme = app.tenant("Acme").await;
    let preflight = |origin: &str| {
        app.request(Method::OPTIONS, "/v1/verifications")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,idempotency-key")
    };
    let allowed = preflight("https://app.example.com").await;
    assert_eq!(allowed.header("access-control-allow-origin"), "https://app.example.com");
    assert_eq!(preflight("https://evil.example.com").await.header("access-control-allow-origin"), "");
    let called = app.get("/v1/usage").key(&acme.live).header("origin", "https://app.example.com").await;
    called.expect(200);
    assert_eq!(called.header("access-control-allow-origin"), "https://app.example.com");
}

#[tokio::test]
async fn a_page_may_use_every_method_that_the_document_has() {
    let app = TestApp::with().http(|http| http.cors_origins = vec!["https://app.example.com".to_owned()]).start().await;
    let preflight = app
        .request(Method::OPTIONS, "/v1/verifications")
        .header("origin", "https://app.example.com")
        .header("access-control-request-method", "PUT");
    let allowed = preflight.await.header("access-control-allow-methods").to_owned();
    let document = app.get("/openapi.json").await.expect(200);
    let paths = document["paths"].as_object().expect("paths").values();
    let methods: std::collections::BTreeSet<String> =
        paths.flat_map(|path| path.as_object().expect("a path").keys().cloned()).collect();
    assert!(methods.contains("put"), "{methods:?}");
    for method in methods {
        assert!(allowed.split(',').any(|known| known.trim().eq_ignore_ascii_case(&method)), "{method}: {allowed}");
    }
}

#[tokio::test]
async fn head_and_get_agree() {
    let app = TestApp::start().await;
    let head = app.request(Method::HEAD, "/v1/limits").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
}
