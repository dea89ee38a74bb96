//! API keys: what they may do, from where, and for how long.

use serde_json::json;
use wotp_core::app::KeyList;
use wotp_core::domain::audit::By;
use wotp_core::domain::id::ApiKeyId;
use wotp_core::ports::Change;

use crate::app::{NUMBER, TestApp, id, seconds};

#[tokio::test]
async fn without_a_key_nothing_is_done() {
    let (app, _acme) = TestApp::start_with_tenant().await;
    let refused = app.post("/v1/verifications").json(json!({ "to": NUMBER })).await;
    refused.problem(401, "api_key_missing");
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    app.get("/v1/usage").header("authorization", "Basic abc").await.problem(401, "api_key_missing");
}

#[tokio::test]
async fn a_mistyped_key_is_told_from_an_unknown_one() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let elsewhere = TestApp::start().await;
    let stranger = elsewhere.tenant("Elsewhere").await;
    let mut typo = acme.live.clone();
    let last = typo.pop().expect("a key has characters");
    typo.push(if last == 'a' { 'b' } else { 'a' });
    app.get("/v1/usage").key(&typo).await.problem(401, "api_key_malformed");
    app.get("/v1/usage").key("sk_live_abc").await.problem(401, "api_key_malformed");
    assert_eq!(stranger.live, acme.live, "the same seed draws the same keys");
    let other = elsewhere.key(&stranger, |_| {}).await;
    app.get("/v1/usage").key(&other).await.problem(401, "api_key_unknown");
}

#[tokio::test]
async fn a_key_goes_in_either_header() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.get("/v1/usage").header("x-api-key", &acme.live).await.expect(200);
    app.get("/v1/usage").header("authorization", &format!("bearer {}", acme.live)).await.expect(200);
}

#[tokio::test]
async fn the_stored_hash_of_a_key_is_no_key() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let hash = wotp_core::domain::api_key::Secret::parse(&acme.live).expect("a key").hash();
    let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
    app.get("/v1/usage").key(&hex).await.problem(401, "api_key_malformed");
}

#[tokio::test]
async fn a_key_works_only_from_its_networks() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let key = app
        .key(&acme, |key| key.allowed_ips = vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()])
        .await;
    for ip in ["192.0.2.200", "2001:db8:7::1", "::ffff:192.0.2.1"] {
        app.get("/v1/usage").key(&key).at_ip(ip).await.expect(200);
    }
    app.get("/v1/usage").key(&key).at_ip("198.51.100.7").await.problem(403, "ip_not_allowed");
    let forged = app.get("/v1/usage").key(&key).at_ip("198.51.100.7").header("x-forwarded-for", "192.0.2.1");
    forged.await.problem(403, "ip_not_allowed");
}

#[tokio::test]
async fn behind_a_trusted_proxy_the_allowlist_looks_at_the_client() {
    let app = TestApp::with().http(|http| http.trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()]).start().await;
    let acme = app.tenant("Acme").await;
    let key = app.key(&acme, |key| key.allowed_ips = vec!["192.0.2.0/24".parse().unwrap()]).await;
    let from = |forwarded: &str| app.get("/v1/usage").key(&key).at_ip("10.0.0.1").header("x-forwarded-for", forwarded);
    from("192.0.2.1").await.expect(200);
    from("192.0.2.1, 198.51.100.7").await.problem(403, "ip_not_allowed");
}

#[tokio::test]
async fn a_key_stops_when_it_expires() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let key = app.key(&acme, |key| key.expires_at = Some("2026-11-22T12:01:00Z".parse().unwrap())).await;
    app.clock.advance(seconds(59));
    app.get("/v1/usage").key(&key).await.expect(200);
    app.clock.advance(seconds(1));
    app.get("/v1/usage").key(&key).await.problem(401, "api_key_expired");
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_and_its_neighbours_go_on() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.get("/v1/usage").key(&acme.live).await.expect(200);
    let list = KeyList { state: None, after: None, limit: 9 };
    let keys = app.app.list_keys(acme.id, list).await.expect("keys").keys;
    let live: ApiKeyId = keys.iter().find(|info| acme.live.starts_with(&info.key.shown)).expect("the live key").key.id;
    app.app.revoke_key(&By::command_line(), acme.id, live).await.expect("a key is revoked");
    app.get("/v1/usage").key(&acme.live).await.problem(401, "api_key_revoked");
    app.get("/v1/usage").key(&acme.test).await.expect(200);
}

#[tokio::test]
async fn a_key_that_another_process_revokes_stops_within_a_second() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.get("/v1/usage").key(&acme.live).await.expect(200);
    let door = app.app.ports().store.tenant(acme.id);
    let keys = door.keys(None, 9).await.expect("keys").items;
    let mut key = keys.into_iter().find(|key| acme.live.starts_with(&key.shown)).unwrap();
    key.revoked_at = Some(app.app.ports().clock.now());
    let replaced = app.app.ports().store.commit(vec![Change::ReplaceKey(Box::new(key))]).await;
    replaced.expect("a key is replaced");
    app.clock.advance(seconds(1));
    app.get("/v1/usage").key(&acme.live).await.problem(401, "api_key_revoked");
}

#[tokio::test]
async fn a_key_bound_to_a_service_sees_and_uses_no_other() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let shop = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" })).await.expect(201);
    let bound = app.key(&acme, |key| key.service = Some(id(&shop).parse().unwrap())).await;
    let (own, _) = app.started(&bound, NUMBER).await;
    assert_eq!(own["service"], shop["id"]);
    let (other, _) = app.started(&acme.live, "+12025550124").await;
    app.get(crate::app::path(&other)).key(&bound).await.problem(404, "not_found");
    let named = json!({ "to": "+12025550125", "service": acme.service.to_string() });
    app.starting(&bound, named).await.problem(403, "service_not_allowed");
    app.get(format!("/v1/verifications?service={}", acme.service))
        .key(&bound)
        .await
        .problem(403, "service_not_allowed");
    let list = app.get("/v1/verifications").key(&bound).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);
    assert_eq!(app.get("/v1/services").key(&bound).await.expect(200)["data"].as_array().unwrap().len(), 1);
    app.get(format!("/v1/services/{}", acme.service)).key(&bound).await.problem(403, "service_not_allowed");
    app.post("/v1/services").key(&bound).json(json!({ "name": "New" })).await.problem(403, "service_not_allowed");
}
