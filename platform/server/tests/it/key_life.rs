//! The life of a key in the hands of a team: made, listed, changed, replaced, revoked.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::{AuditFilter, AuditFrom, Refusal};
use wotp_core::domain::id::ApiKeyId;
use wotp_core::domain::key_use::KeyUse;
use wotp_core::domain::permission::Role;
use wotp_core::ports::{Change, Entity as _, Owner};

use crate::app::{TestApp, TestTenant, days, id, seconds};
use crate::client::{Request, race};
use crate::people::TestPerson;

async fn stage() -> (TestApp, TestTenant, TestPerson) {
    let (app, acme) = TestApp::start_with_tenant().await;
    let developer = app.member(&acme, Role::Developer).await;
    // What is made now is newer than the keys that came with the tenant.
    app.clock.advance(seconds(1));
    (app, acme, developer)
}

/// A key that somebody made: what is known of it, and the key.
async fn made(app: &TestApp, by: &TestPerson, body: Value) -> (Value, String) {
    let reply = app.post("/v1/keys").by(by).json(body).await.expect(201);
    (reply["key"].clone(), reply["secret"].as_str().expect("a key").to_owned())
}

fn at(key: &Value) -> String {
    format!("/v1/keys/{}", id(key))
}

fn changing(app: &TestApp, by: &TestPerson, key: &Value, change: Value) -> Request {
    app.request(Method::PATCH, at(key)).by(by).json(change)
}

fn rotating(app: &TestApp, by: &TestPerson, key: &Value, body: Value) -> Request {
    app.post(format!("{}/rotate", at(key))).by(by).json(body)
}

fn revoking(app: &TestApp, by: &TestPerson, key: &Value) -> Request {
    app.request(Method::DELETE, at(key)).by(by)
}

#[tokio::test]
async fn a_key_is_shown_once_and_works() {
    let (app, acme, developer) = stage().await;
    let body = json!({ "name": "checkout", "mode": "test", "scopes": ["usage:read"], "allowed_ips": ["198.51.100.7"] });
    let (key, secret) = made(&app, &developer, body).await;
    assert!(secret.starts_with("wk_test_"));
    app.get("/v1/usage").key(&secret).await.expect(200);
    app.get("/v1/usage").key(&secret).at_ip("192.0.2.1").await.problem(403, "ip_not_allowed");
    app.get("/v1/services").key(&secret).await.problem(403, "scope_missing");
    let read = app.get(at(&key)).by(&developer).await.expect(200);
    assert_eq!(read, key);
    assert_eq!(read["shown"], secret[..12]);
    assert_eq!(read["allowed_ips"], json!(["198.51.100.7/32"]));
    let listed = app.get("/v1/keys").by(&developer).await;
    assert_eq!(listed.expect(200)["data"][0], key);
    let audited = app.get("/v1/audit").by(&app.member(&acme, Role::Admin).await).await;
    for reply in [listed, audited, app.get(at(&key)).by(&developer).await] {
        assert!(!reply.text.contains(&secret[12..20]), "{}", reply.text);
    }
}

#[tokio::test]
async fn what_does_not_hold_is_refused_by_name() {
    let (app, _acme, developer) = stage().await;
    for (body, field) in [
        (json!({}), "name"),
        (json!({ "name": " " }), "name"),
        (json!({ "name": "x", "scopes": [] }), "scopes"),
        (json!({ "name": "x", "scopes": ["keys:write"] }), "scopes[0]"),
        (json!({ "name": "x", "expires_at": "2026-11-22T12:00:00Z" }), "expires_at"),
        (json!({ "name": "x", "allowed_ips": ["10.0.0.0/8", "10.0.0.0/99"] }), "allowed_ips[1]"),
        (json!({ "name": "x", "tenant": "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M" }), "tenant"),
    ] {
        let reply = app.post("/v1/keys").by(&developer).json(body.clone()).await;
        assert_eq!(reply.problem(422, "invalid_request")["errors"][0]["field"], field, "{body}");
    }
    let unknown = json!({ "name": "x", "service": "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M" });
    app.post("/v1/keys").by(&developer).json(unknown).await.problem(404, "not_found");
    app.get("/v1/keys?limit=0").by(&developer).await.problem(422, "invalid_request");
    app.get("/v1/keys?stauts=active").by(&developer).await.problem(422, "invalid_request");
}

#[tokio::test]
async fn keys_are_listed_newest_first_page_by_page() {
    let (app, _acme, developer) = stage().await;
    for number in 0..5 {
        app.clock.advance(seconds(1));
        made(&app, &developer, json!({ "name": format!("key {number}") })).await;
    }
    let mut names = Vec::new();
    let mut path = "/v1/keys?limit=3".to_owned();
    loop {
        let page = app.get(&path).by(&developer).await.expect(200);
        names.extend(page["data"].as_array().unwrap().iter().map(|key| key["name"].as_str().unwrap().to_owned()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/keys?limit=3&cursor={cursor}");
    }
    assert_eq!(names[..5], ["key 4", "key 3", "key 2", "key 1", "key 0"]);
    assert_eq!(names.len(), 7);
    let active = app.get("/v1/keys?status=revoked").by(&developer).await.expect(200);
    assert_eq!(active, json!({ "data": [], "next_cursor": null }));
}

#[tokio::test]
async fn a_rotation_that_asks_for_nothing_needs_no_body() {
    let (app, _, developer) = stage().await;
    let (key, _) = made(&app, &developer, json!({ "name": "a" })).await;
    app.post(format!("{}/rotate", at(&key)))
        .by(&developer)
        .bytes("overlap")
        .await
        .problem(415, "unsupported_media_type");
    let rotated = app.post(format!("{}/rotate", at(&key))).by(&developer).await.expect(201);
    assert_eq!(rotated["key"]["name"], "a");
}

#[tokio::test]
async fn a_viewer_looks_and_a_developer_gives_no_more_than_they_have() {
    let (app, acme, developer) = stage().await;
    let viewer = app.member(&acme, Role::Viewer).await;
    let (key, _) = made(&app, &developer, json!({ "name": "a" })).await;
    app.get(at(&key)).by(&viewer).await.expect(200);
    for request in [
        app.post("/v1/keys").by(&viewer).json(json!({ "name": "b" })),
        changing(&app, &viewer, &key, json!({ "name": "b" })),
        rotating(&app, &viewer, &key, json!({})),
        revoking(&app, &viewer, &key),
    ] {
        request.await.problem(403, "role_missing");
    }
    let whole = json!(["addresses:read"]);
    let more = json!({ "name": "b", "scopes": whole });
    app.post("/v1/keys").by(&developer).json(more.clone()).await.problem(403, "role_missing");
    changing(&app, &developer, &key, json!({ "scopes": whole })).await.problem(403, "role_missing");
    let admin = app.member(&acme, Role::Admin).await;
    let (strong, _) = made(&app, &admin, more).await;
    // A rotation would show its secret to somebody who may not see what it sees.
    rotating(&app, &developer, &strong, json!({})).await.problem(403, "role_missing");
    // Nor do they change it, which may stop whoever uses it, or let it work where it did not.
    let bound = json!({ "name": "d", "scopes": whole, "allowed_ips": ["192.0.2.0/24"], "service": acme.service });
    let (bound, _) = made(&app, &admin, bound).await;
    for change in [
        json!({ "name": "c" }),
        json!({ "scopes": ["usage:read"] }),
        json!({ "allowed_ips": ["192.0.2.128/25"] }),
        json!({ "allowed_ips": [] }),
        json!({ "service": null }),
        json!({ "expires_at": null }),
    ] {
        changing(&app, &developer, &bound, change).await.problem(403, "role_missing");
    }
    assert_eq!(app.get(at(&bound)).by(&viewer).await.expect(200), bound);
    changing(&app, &admin, &bound, json!({ "allowed_ips": [] })).await.expect(200);
    // Whoever finds it leaked may stop it.
    revoking(&app, &developer, &bound).await.expect(204);
    assert_eq!(app.get(at(&key)).by(&viewer).await.expect(200), key);
}

#[tokio::test]
async fn another_tenants_key_does_not_exist() {
    let (app, _acme, developer) = stage().await;
    let globex = app.tenant("Globex").await;
    let stranger = app.member(&globex, Role::Owner).await;
    let (key, secret) = made(&app, &developer, json!({ "name": "a" })).await;
    for request in [
        app.get(at(&key)).by(&stranger),
        changing(&app, &stranger, &key, json!({ "name": "b" })),
        rotating(&app, &stranger, &key, json!({})),
        revoking(&app, &stranger, &key),
    ] {
        request.await.problem(404, "not_found");
    }
    let body = json!({ "name": "a", "service": globex.service.to_string() });
    app.post("/v1/keys").by(&developer).json(body).await.problem(404, "not_found");
    app.get("/v1/usage").key(&secret).await.expect(200);
    assert_eq!(app.get("/v1/keys").by(&stranger).await.expect(200)["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_change_holds_at_once() {
    let (app, acme, developer) = stage().await;
    let (key, secret) = made(&app, &developer, json!({ "name": "a", "expires_at": "2026-11-23T12:00:00Z" })).await;
    app.get("/v1/services").key(&secret).await.expect(200);
    let change =
        json!({ "name": "b", "scopes": ["usage:read"], "service": acme.service.to_string(), "expires_at": null });
    let changed = changing(&app, &developer, &key, change).await.expect(200);
    assert_eq!((&changed["name"], &changed["expires_at"]), (&json!("b"), &Value::Null));
    app.get("/v1/services").key(&secret).await.problem(403, "scope_missing");
    app.get("/v1/usage").key(&secret).await.expect(200);
    changing(&app, &developer, &key, json!({ "allowed_ips": ["192.0.2.0/24"] })).await.expect(200);
    app.get("/v1/usage").key(&secret).await.problem(403, "ip_not_allowed");
    let changed = changing(&app, &developer, &key, json!({ "allowed_ips": [], "service": null })).await.expect(200);
    assert_eq!((&changed["service"], &changed["scopes"]), (&Value::Null, &json!(["usage:read"])));
    let soon = json!({ "expires_at": "2026-11-22T12:00:10Z" });
    changing(&app, &developer, &key, soon).await.expect(200);
    app.clock.advance(seconds(10));
    app.get("/v1/usage").key(&secret).await.problem(401, "api_key_expired");
    changing(&app, &developer, &key, json!({ "expires_at": null })).await.problem(409, "api_key_over");
}

#[tokio::test]
async fn a_replaced_key_works_until_the_overlap_ends() {
    let (app, acme, developer) = stage().await;
    let body = json!({ "name": "a", "scopes": ["usage:read"], "service": acme.service.to_string() });
    let (old, before) = made(&app, &developer, body).await;
    let reply = rotating(&app, &developer, &old, json!({ "overlap_seconds": 60 })).await.expect(201);
    let (new, after) = (reply["key"].clone(), reply["secret"].as_str().unwrap().to_owned());
    for name in ["name", "mode", "scopes", "service", "allowed_ips", "expires_at"] {
        assert_eq!(new[name], old[name], "{name}");
    }
    assert_eq!((&new["replaces"], &new["replaced_by"]), (&old["id"], &Value::Null));
    app.clock.advance(seconds(59));
    app.get("/v1/usage").key(&before).await.expect(200);
    app.get("/v1/usage").key(&after).await.expect(200);
    rotating(&app, &developer, &old, json!({})).await.problem(409, "api_key_over");
    changing(&app, &developer, &old, json!({ "expires_at": null })).await.problem(409, "api_key_over");
    app.clock.advance(seconds(1));
    let over = app.get("/v1/usage").key(&before).await.problem(401, "api_key_expired");
    assert_eq!(over["detail"], "another key took the place of this one; use that");
    app.get("/v1/usage").key(&after).await.expect(200);
    let old = app.get(at(&old)).by(&developer).await.expect(200);
    assert_eq!((&old["status"], &old["replaced_by"]), (&json!("expired"), &new["id"]));
}

#[tokio::test]
async fn an_overlap_is_none_to_seven_days_and_never_prolongs_a_key() {
    let (app, _acme, developer) = stage().await;
    let (key, secret) = made(&app, &developer, json!({ "name": "a", "expires_at": "2026-11-24T12:00:00Z" })).await;
    let long = rotating(&app, &developer, &key, json!({ "overlap_seconds": 604_801 })).await;
    assert_eq!(long.problem(422, "invalid_request")["errors"][0]["field"], "overlap_seconds");
    app.clock.advance(days(1));
    let developer = app.logged_in(&developer.email).await;
    let new = rotating(&app, &developer, &key, json!({ "overlap_seconds": 604_800 })).await.expect(201);
    assert_eq!(new["key"]["expires_at"], "2026-11-25T12:00:00Z", "as long as the old one was made for");
    assert_eq!(app.get(at(&key)).by(&developer).await.expect(200)["expires_at"], "2026-11-24T12:00:00Z");
    app.get("/v1/usage").key(&secret).await.expect(200);
    let next = rotating(&app, &developer, &new["key"], json!({ "overlap_seconds": 0 })).await.expect(201);
    app.get("/v1/usage").key(new["secret"].as_str().unwrap()).await.problem(401, "api_key_expired");
    app.get("/v1/usage").key(next["secret"].as_str().unwrap()).await.expect(200);
}

#[tokio::test]
async fn a_revoked_key_stays_revoked_whatever_else_is_done_to_it_at_that_moment() {
    let (app, _acme, developer) = stage().await;
    for _ in 0..4 {
        let (key, secret) = made(&app, &developer, json!({ "name": "a" })).await;
        let mut all: Vec<Request> =
            (0..12).map(|number| changing(&app, &developer, &key, json!({ "name": format!("{number}") }))).collect();
        all.insert(6, revoking(&app, &developer, &key));
        all.extend((0..12).map(|_| app.get("/v1/usage").key(&secret)));
        for reply in race(all).await {
            assert!([200, 204, 401, 409].contains(&reply.status), "{}", reply.text);
        }
        app.get("/v1/usage").key(&secret).await.problem(401, "api_key_revoked");
        assert_eq!(app.get(at(&key)).by(&developer).await.expect(200)["status"], "revoked");
    }
}

#[tokio::test]
async fn of_racing_rotations_one_makes_a_key() {
    let (app, _acme, developer) = stage().await;
    let (key, _) = made(&app, &developer, json!({ "name": "a" })).await;
    let replies = race((0..8).map(|_| rotating(&app, &developer, &key, json!({})))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    assert!(replies.iter().all(|reply| [201, 409].contains(&reply.status)));
    assert_eq!(app.get("/v1/keys").by(&developer).await.expect(200)["data"].as_array().unwrap().len(), 4);
}

#[tokio::test]
async fn the_last_use_is_kept_to_the_minute_with_one_write_for_any_number_of_calls() {
    let (app, acme, developer) = stage().await;
    let (key, secret) = made(&app, &developer, json!({ "name": "a" })).await;
    let key_id: ApiKeyId = id(&key).parse().unwrap();
    app.app.keep_key_uses().await.unwrap();
    app.clock.advance(seconds(75));
    for _ in 0..50 {
        app.get("/v1/usage").key(&secret).await.expect(200);
    }
    // A call that is refused is no use.
    app.get("/v1/usage").key(&format!("{secret}x")).await.problem(401, "api_key_malformed");
    let uses = |expected: Value| {
        let (app, key, developer) = (&app, &key, &developer);
        async move { assert_eq!(app.get(at(key)).by(developer).await.expect(200)["last_used_at"], expected) }
    };
    uses(Value::Null).await;
    assert_eq!(app.app.keep_key_uses().await.unwrap(), 1);
    uses(json!("2026-11-22T12:01:00Z")).await;
    let kept = app.app.find_key(acme.id, key_id).await.unwrap().key.version;
    app.get("/v1/usage").key(&secret).await.expect(200);
    assert_eq!(app.app.keep_key_uses().await.unwrap(), 0, "the same minute is not written twice");
    app.clock.advance(seconds(60));
    app.get("/v1/usage").key(&secret).await.expect(200);
    assert_eq!(app.app.keep_key_uses().await.unwrap(), 1);
    uses(json!("2026-11-22T12:02:00Z")).await;
    assert_eq!(app.get("/v1/keys").by(&developer).await.expect(200)["data"][0]["last_used_at"], "2026-11-22T12:02:00Z");
    assert_eq!(app.app.find_key(acme.id, key_id).await.unwrap().key.version, kept, "the key itself is not changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_more_keys_work_than_a_tenant_may_have_however_they_are_made() {
    let (app, acme, developer) = stage().await;
    let (key, _) = made(&app, &developer, json!({ "name": "a" })).await;
    // With the two that came with the tenant: there is room for one more.
    for _ in 3..199 {
        app.key(&acme, |_| {}).await;
    }
    let working = async || app.app.count_working_keys(acme.id).await.unwrap();
    let replies = race((0..6).map(|_| app.post("/v1/keys").by(&developer).json(json!({ "name": "last" })))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1, "{replies:?}");
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.problem(409, "limit_reached");
    }
    assert_eq!(working().await, 200);
    // Two that work where one did would be one too many.
    assert_eq!(rotating(&app, &developer, &key, json!({})).await.wrong_fields(), ["overlap_seconds"]);
    rotating(&app, &developer, &key, json!({ "overlap_seconds": 0 })).await.expect(201);
    assert_eq!(working().await, 200);
}

#[tokio::test]
async fn a_key_that_is_over_goes_after_90_days_with_what_is_known_of_its_use() {
    let (app, acme, developer) = stage().await;
    let (over, secret) = made(&app, &developer, json!({ "name": "over" })).await;
    let (lasting, _) = made(&app, &developer, json!({ "name": "lasting" })).await;
    app.get("/v1/usage").key(&secret).await.expect(200);
    app.app.keep_key_uses().await.unwrap();
    revoking(&app, &developer, &over).await.expect(204);
    let [over, lasting] = [over, lasting].map(|key| id(&key).parse::<ApiKeyId>().unwrap());
    let (owner, store) = (Owner::Tenant(acme.id), &app.app.ports().store);
    app.clock.advance(days(90));
    app.sweep().await;
    assert!(app.app.find_key(acme.id, over).await.unwrap().last_used_at.is_some());
    app.clock.advance(seconds(1));
    app.sweep().await;
    assert!(matches!(app.app.find_key(acme.id, over).await, Err(Refusal::NotFound(_))));
    assert_eq!(store.find_entity(KeyUse::KIND, owner, over.to_bytes()).await.unwrap(), None);
    app.app.find_key(acme.id, lasting).await.unwrap();
    let filter = AuditFilter { target: Some(over.to_string()), ..AuditFilter::default() };
    let told = app.app.audit_page(owner, &filter, AuditFrom::Oldest(None), 9).await.unwrap();
    assert_eq!(told.entries.len(), 2, "that it was made and revoked is told for longer");
}

#[tokio::test]
async fn pages_of_keys_follow_each_other_whatever_their_status() {
    let (app, _acme, developer) = stage().await;
    let mut newest_first = Vec::new();
    for number in 0..6 {
        app.clock.advance(seconds(1));
        let (key, _) = made(&app, &developer, json!({ "name": format!("key {number}") })).await;
        if number % 2 == 0 {
            revoking(&app, &developer, &key).await.expect(204);
        }
        newest_first.insert(0, (id(&key).to_owned(), number % 2 == 0));
    }
    let ids = |revoked: bool| -> Vec<&str> {
        newest_first.iter().filter(|(_, is)| *is == revoked).map(|(id, _)| id.as_str()).collect()
    };
    for (status, expected) in [("revoked", ids(true)), ("active", ids(false))] {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = app.get(format!("/v1/keys?status={status}&limit=1{cursor}")).by(&developer).await.expect(200);
            found.extend(page["data"].as_array().unwrap().iter().map(|key| id(key).to_owned()));
            match page["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        // Two more came with the tenant, and work.
        assert_eq!(found[..3], expected, "{status}");
        assert_eq!(found.len(), if status == "active" { 5 } else { 3 });
    }
}

#[tokio::test]
async fn a_name_that_was_taken_before_the_rule_keeps_no_key_from_being_changed_or_rotated() {
    let (app, acme, developer) = stage().await;
    let (key, _) = made(&app, &developer, json!({ "name": "checkout", "scopes": ["usage:read"] })).await;
    let store = &app.app.ports().store;
    let id: ApiKeyId = id(&key).parse().expect("an id");
    let mut old = store.tenant(acme.id).find_key(id).await.expect("the store answers").expect("a key");
    old.name = "check\u{202e}out".to_owned();
    store.commit(vec![Change::ReplaceKey(Box::new(old))]).await.expect("nobody else changes it");
    let ips = json!({ "allowed_ips": ["198.51.100.0/24"] });
    assert_eq!(changing(&app, &developer, &key, ips).await.expect(200)["name"], "check\u{202e}out");
    assert_eq!(changing(&app, &developer, &key, json!({ "name": "check\u{202e}in" })).await.wrong_fields(), ["name"]);
    let rotated = rotating(&app, &developer, &key, json!({})).await.expect(201);
    assert_eq!(rotated["key"]["name"], "check\u{202e}out");
    assert_eq!(
        changing(&app, &developer, &rotated["key"], json!({ "name": "checkout" })).await.expect(200)["name"],
        "checkout"
    );
}
