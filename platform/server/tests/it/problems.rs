//! Refusals before any handler, and what every reply carries.

use axum::http::Method;
use insta::assert_json_snapshot;
use serde_json::json;
use wotp_core::domain::permission::Role;

use crate::app::{NUMBER, TestApp};
use crate::client::Reply;
use crate::people::PASSWORD;

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
        (post().header("host", "a.example").header("host", "b.example").await, 400, "malformed_request"),
        (post().header("host", "a.example").bytes("[]").await, 422, "invalid_request"),
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
async fn what_is_wrong_is_said_without_the_types_of_the_program() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = app.member(&acme, Role::Owner).await;
    let wrong = |reply: &Reply| {
        let problem = reply.problem(422, "invalid_request");
        let [error] = problem["errors"].as_array().unwrap().as_slice() else { panic!("{problem}") };
        (error["field"].as_str().unwrap().to_owned(), error["message"].as_str().unwrap().to_owned())
    };
    let said = |field: &str, message: &str| (field.to_owned(), message.to_owned());
    const MOMENT: &str = "is a moment as in `2026-11-22T12:00:00Z`";
    let key = app.post("/v1/keys").by(&owner).json(json!({ "name": "a", "expires_at": "tomorrow" })).await;
    assert_eq!(wrong(&key), said("expires_at", MOMENT));
    let get = |path: &'static str| app.get(path).by(&owner);
    assert_eq!(wrong(&get("/v1/audit?from=nonsense").await), said("from", MOMENT));
    assert_eq!(wrong(&get("/v1/audit?limit=many").await), said("limit", "is a whole number"));
    let (name, message) = wrong(&get("/v1/audit?form=x").await);
    assert!(name == "form" && message.starts_with("is not known here; known are `limit`, "), "{name}: {message}");
    let guard = |body| app.request(Method::PUT, format!("/v1/services/{}/guard", acme.service)).by(&owner).json(body);
    let percent = guard(json!({ "mode": "on", "watch": { "drop_percent": 500 } })).await;
    assert_eq!(wrong(&percent), said("watch.drop_percent", "is 20 to 90"));
    let cap = guard(json!({ "mode": "on", "caps": { "ip": 3 } })).await;
    assert_eq!(wrong(&cap), said("caps.ip", "is an object"));
    // The field's own range is said by the field: the type's is none of the caller's business.
    let over = guard(json!({ "mode": "on", "watch": { "block_minutes": 5_000_000_000_u64 } })).await;
    assert_eq!(wrong(&over), said("watch.block_minutes", "is a smaller number"));
    let twice = app.post("/v1/keys").by(&owner).header("content-type", "application/json");
    let twice = twice.bytes(r#"{"name": "a", "name": "b"}"#).await;
    assert_eq!(wrong(&twice), said("name", "is there twice"));
    let mode = guard(json!({ "mode": "off or on" })).await;
    assert_eq!(wrong(&mode), said("mode", "is `off`, `shadow` or `on`"));
}

#[tokio::test]
async fn names_hold_no_character_that_steers_what_follows() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = app.member(&acme, Role::Owner).await;
    let patch = |path: &str| app.request(Method::PATCH, path).by(&owner);
    let service = format!("/v1/services/{}", acme.service);
    let naming = |name: String| {
        [
            (app.post("/v1/tenants").by(&owner).json(json!({ "name": name })), 201, "name"),
            (patch("/v1/tenant").json(json!({ "name": name })), 200, "name"),
            (app.post("/v1/services").by(&owner).json(json!({ "name": name, "brand": "Acme" })), 201, "name"),
            (patch(&service).json(json!({ "name": name })), 200, "name"),
            (patch(&service).json(json!({ "brand": name })), 200, "brand"),
            (app.post("/v1/keys").by(&owner).json(json!({ "name": name })), 201, "name"),
            (patch("/v1/me").json(json!({ "name": name })), 200, "name"),
        ]
    };
    // A bell, a line separator, and what turns the direction of all that follows.
    for steers in ['\u{7}', '\u{2028}', '\u{202E}', '\u{2067}'] {
        for (request, _, field) in naming(format!("A{steers}cme")) {
            assert_eq!(request.await.wrong_fields(), [field], "{steers:?}");
        }
        let sign_up = json!({ "email": "ada@example.com", "password": PASSWORD, "tenant": format!("A{steers}cme") });
        assert_eq!(app.post("/v1/auth/sign-up").json(sign_up).await.wrong_fields(), ["tenant"], "{steers:?}");
    }
    // Hebrew is written with marks, which steer nothing but themselves.
    for (request, status, _) in naming("\u{5d0}\u{200f}-1".to_owned()) {
        request.await.expect(status);
    }
}

#[tokio::test]
async fn a_header_that_contradicts_the_key_is_refused() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let asking = |key: &str, mode: &str| app.get("/v1/verifications").key(key).header("wotp-mode", mode);
    for (key, mode) in [(&acme.live, "test"), (&acme.test, "live"), (&acme.live, "both")] {
        assert_eq!(asking(key, mode).await.wrong_fields(), ["WOTP-Mode"]);
    }
    asking(&acme.live, "live").await.expect(200);
    asking(&acme.test, "TEST").await.expect(200);

    let globex = app.tenant("Globex").await;
    let named = |key: &str, tenant: &str| app.get("/v1/services").key(key).header("wotp-tenant", tenant);
    for (key, tenant) in [(&acme.live, globex.id.to_string()), (&globex.test, acme.id.to_string())] {
        assert_eq!(named(key, &tenant).await.wrong_fields(), ["WOTP-Tenant"]);
    }
    assert_eq!(named(&acme.live, "acme").await.wrong_fields(), ["WOTP-Tenant"]);
    named(&acme.live, &acme.id.to_string()).await.expect(200);
    // Nothing is changed where it was not meant.
    let rename = app.request(Method::PATCH, format!("/v1/services/{}", acme.service)).key(&acme.live);
    let rename = rename.header("wotp-tenant", &globex.id.to_string()).json(json!({ "name": "Eve" }));
    assert_eq!(rename.await.wrong_fields(), ["WOTP-Tenant"]);
    let services = app.get("/v1/services").key(&acme.live).await;
    assert!(!services.text.contains("Eve"), "{}", services.text);
}

#[tokio::test]
async fn what_is_neither_a_key_nor_a_token_is_told_what_is_asked_for() {
    let app = TestApp::start().await;
    app.get("/v1/me").key("nonsense").await.problem(401, "token_refused");
    app.get("/v1/me").key("wk_live_nonsense").await.problem(401, "api_key_malformed");
    app.get("/v1/verifications").key("nonsense").await.problem(401, "api_key_malformed");
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

#[tokio::test]
async fn a_path_that_is_no_text_names_nothing_on_any_route() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (owner, operator) = (app.member(&acme, Role::Owner).await, app.operator().await);
    let document = app.get("/openapi.json").await.expect(200);
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().expect("paths").iter().filter(|(path, _)| path.contains('{')) {
        let by = if path.starts_with("/operator/") { &operator } else { &owner };
        let segments = path.split('/').map(|segment| if segment.starts_with('{') { "%ff" } else { segment });
        let broken = segments.collect::<Vec<_>>().join("/");
        for method in item.as_object().expect("methods").keys() {
            let method: Method = method.to_uppercase().parse().expect("a method");
            let reply = app.request(method, &broken).by(by).await;
            if path.starts_with("/api/") {
                assert_eq!(reply.expect(404)["error"], "There is no such thing", "{path}");
            } else {
                reply.problem(404, "not_found");
            }
            asked += 1;
        }
    }
    assert!(asked >= 40, "{asked}");
}
