//! WOTP's paths for people and their keys.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::member::Member;
use wotp_core::domain::permission::Role;
use wotp_core::ports::Change;

use crate::app::{NUMBER, TestApp, number, seconds, wrong};
use crate::client::Reply;

/// An error as WOTP clients read it.
#[track_caller]
fn refused(reply: &Reply, status: u16) {
    let body = reply.expect(status);
    assert!(body["error"].is_string() && body["details"].is_string(), "{body}");
}

#[tokio::test]
async fn a_login_without_a_password_is_there_for_development_only() {
    let app = TestApp::start().await;
    app.post("/api/auth/dev-login").at_ip("127.0.0.1").await.problem(404, "route_not_found");

    let app = TestApp::with().http(|http| http.development = true).start().await;
    let first = app.post("/api/auth/dev-login").at_ip("127.0.0.1").await.expect(200);
    // Nor for anybody on another machine, however the call gets here.
    refused(&app.post("/api/auth/dev-login").await, 404);
    for header in ["x-forwarded-for", "forwarded", "via"] {
        let passed_on = app.post("/api/auth/dev-login").at_ip("127.0.0.1").header(header, "1.1 proxy");
        refused(&passed_on.await, 404);
    }
    let of_a_site = app.post("/api/auth/dev-login").at_ip("127.0.0.1").header("host", "evil.example:8080");
    refused(&of_a_site.await, 404);
    let user = &first["user"];
    assert_eq!((&user["email"], &user["usageCount"]), (&json!("dev@example.com"), &json!(0)));
    let again = app.post("/api/auth/dev-login").at_ip("127.0.0.1").await.expect(200);
    assert_eq!(&again["user"], user, "it is the same person");
    let text = |reply: &Value, field: &str| reply[field].as_str().expect("a text").to_owned();
    let access = text(&again, "accessToken");
    assert_eq!(&app.get("/api/user/me").key(&access).await.expect(200), user);

    let refresh = |token: String| app.post("/api/auth/refresh").json(json!({ "refreshToken": token }));
    let next = refresh(text(&again, "refreshToken")).await.expect(200);
    assert_eq!(next.as_object().map(serde_json::Map::len), Some(2), "{next}");
    let access = text(&next, "accessToken");
    let out = app.post("/api/auth/logout").key(&access).await.expect(200);
    assert_eq!(out, json!({ "message": "Logged out successfully" }));
    refused(&app.get("/api/user/me").key(&access).await, 401);
    refused(&refresh(text(&next, "refreshToken")).await, 401);
    // The other session goes on.
    app.get("/api/user/me").key(&text(&first, "accessToken")).await.expect(200);
}

#[tokio::test]
async fn racing_first_logins_make_one_account() {
    let app = TestApp::with().http(|http| http.development = true).start().await;
    let logins = (0..8).map(|_| app.post("/api/auth/dev-login").at_ip("127.0.0.1"));
    let replies = crate::client::race(logins).await;
    let users: std::collections::BTreeSet<_> =
        replies.iter().map(|reply| reply.expect(200)["user"]["id"].to_string()).collect();
    assert_eq!(users.len(), 1);
}

#[tokio::test]
async fn keys_are_made_listed_and_deleted_as_wotp_clients_do() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let developer = app.member(&acme, Role::Developer).await;
    let make = |token: &str, body: Value| app.post("/api/apikey/create").key(token).json(body);
    let made = make(&developer.access_token, json!({ "name": "backend" })).await.expect(201);
    let key = made["apiKey"].as_str().expect("the key").to_owned();
    assert!(key.starts_with(made["prefix"].as_str().expect("how it begins")));
    assert_eq!((&made["name"], &made["isActive"]), (&json!("backend"), &json!(true)));
    let sent = app.post("/api/otp/send").key(&key).json(json!({ "phone": NUMBER }));
    sent.await.expect(200);
    app.run_jobs().await;

    let list = async |token: &str| app.get("/api/apikey/list").key(token).await.expect(200);
    let listed = list(&developer.access_token).await;
    let ids =
        |list: &Value| list["keys"].as_array().expect("keys").iter().map(|key| key["_id"].clone()).collect::<Vec<_>>();
    assert!(ids(&listed).contains(&made["_id"]));
    assert!(!listed.to_string().contains(&key), "the key is shown once");

    // Of another tenant it is not there, and whoever only looks may not.
    let viewer = app.member(&acme, Role::Viewer).await;
    assert_eq!(list(&viewer.access_token).await, listed);
    let globex = app.tenant("Globex").await;
    let stranger = app.member(&globex, Role::Owner).await;
    let path = format!("/api/apikey/{}", made["_id"].as_str().expect("an id"));
    let delete = |token: &str| app.request(Method::DELETE, &*path).key(token);
    refused(&delete(&viewer.access_token).await, 403);
    refused(&delete(&stranger.access_token).await, 404);
    refused(&make(&viewer.access_token, json!({ "name": "mine" })).await, 403);
    refused(&make(&developer.access_token, json!({ "name": "" })).await, 400);
    refused(&make(&acme.live, json!({ "name": "by a key" })).await, 403);
    let deleted = delete(&developer.access_token).await.expect(200);
    assert_eq!(deleted, json!({ "message": "API key deleted" }));
    assert!(!ids(&list(&developer.access_token).await).contains(&made["_id"]));
    refused(&app.post("/api/otp/send").key(&key).json(json!({ "phone": number(1) })).await, 401);
}

#[tokio::test]
async fn whoever_is_in_two_tenants_is_where_they_were_first() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let ada = app.person("ada@example.com").await;
    let before = app.get("/api/apikey/list").key(&ada.access_token).await.expect(200);
    app.clock.advance(seconds(2));
    let joined_at = app.app.ports().clock.now();
    let member = Member { tenant: acme.id, user: ada.user, role: Role::Developer, joined_at };
    app.app.ports().store.commit(vec![Change::insert(&member)]).await.expect("a member");
    let ada = app.logged_in("ada@example.com").await;
    let after = app.get("/api/apikey/list").key(&ada.access_token).await.expect(200);
    assert_eq!(after, before);
    let named = app.get("/api/apikey/list").key(&ada.access_token).header("wotp-tenant", &acme.id.to_string());
    assert_ne!(named.await.expect(200), before);
    // Ours ask for a name.
    app.get("/v1/keys").key(&ada.access_token).await.problem(422, "invalid_request");
}

#[tokio::test]
async fn the_log_of_codes_has_wotps_words() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verified, code) = app.started(&acme.live, NUMBER).await;
    app.checking(&acme.live, &verified, &code).await.expect(200);
    app.clock.advance(seconds(1));
    let (failed, code) = app.started(&acme.live, &number(1)).await;
    for _ in 0..5 {
        app.checking(&acme.live, &failed, &wrong(&code)).await.expect(200);
    }
    app.clock.advance(seconds(1));
    let (expired, _) = app.started(&acme.live, &number(2)).await;
    app.clock.advance(seconds(301));
    app.sweep().await;
    let (sent, _) = app.started(&acme.live, &number(3)).await;
    let logs = async |query: &str| app.get(format!("/api/user/logs{query}")).key(&acme.live).await.expect(200);
    let all = logs("").await;
    let told: Vec<_> = all["logs"].as_array().expect("logs").iter().map(|log| (&log["id"], &log["status"])).collect();
    let [sent, expired, failed, verified] =
        [&sent, &expired, &failed, &verified].map(|verification| &verification["id"]);
    let words = ["sent", "expired", "failed", "verified"].map(|word| json!(word));
    assert_eq!(told, [sent, expired, failed, verified].into_iter().zip(&words).collect::<Vec<_>>());
    assert_eq!(all["logs"][3]["phone"], "+1********23");
    let first = logs("?limit=3").await;
    let cursor = first["nextCursor"].as_str().expect("there is more");
    let rest = logs(&format!("?limit=3&cursor={cursor}")).await;
    assert_eq!((&rest["logs"][0]["id"], &rest["nextCursor"]), (verified, &Value::Null));
}

#[tokio::test]
async fn a_tenant_at_a_glance_is_read_from_what_analytics_counted() {
    let app = TestApp::start().await;
    let acme = app.tenant_on("Acme", "free").await;
    let viewer = app.member(&acme, Role::Viewer).await;
    let stats = async || app.get("/api/user/stats").by(&viewer).await.expect(200);
    let none = json!({ "totalSent": 0, "totalVerified": 0, "activeKeys": 2, "remainingOtps": 100, "planLimit": 100 });
    assert_eq!(stats().await, none);
    let (verified, code) = app.started(&acme.live, NUMBER).await;
    app.checking(&acme.live, &verified, &code).await.expect(200);
    app.started(&acme.live, &number(1)).await;
    app.started(&acme.test, &number(2)).await;
    while app.app.fold(50).await.expect("the store answers").taken > 0 {}
    let some = json!({ "totalSent": 2, "totalVerified": 1, "activeKeys": 2, "remainingOtps": 98, "planLimit": 100 });
    assert_eq!(stats().await, some);
    // Of the tenant alone, and for people.
    let globex = app.tenant("Globex").await;
    let stranger = app.member(&globex, Role::Owner).await;
    let theirs = app.get("/api/user/stats").by(&stranger).await.expect(200);
    assert_eq!((&theirs["totalSent"], &theirs["planLimit"]), (&json!(0), &Value::Null));
    refused(&app.get("/api/user/stats").key(&acme.live).await, 403);
    refused(&app.get("/api/user/stats").await, 401);
    // It forgets nothing within 13 months.
    app.clock.advance(crate::app::days(390));
    let viewer = app.logged_in(&viewer.email).await;
    assert_eq!(app.get("/api/user/stats").key(&viewer.access_token).await.expect(200)["totalSent"], 2);
}
