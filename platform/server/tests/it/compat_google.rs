//! WOTP's sign-in with Google: an ID token that its button gave to a page.

use axum::http::Method;
use serde_json::{Value, json};

use crate::app::{TestApp, id, seconds};
use crate::client::{Reply, race};
use crate::people::oidc::{EMAIL, Stage};

impl Stage {
    async fn sign_in_with_token(&self, token: &str) -> Reply {
        self.app.post("/api/auth/google").json(json!({ "idToken": token })).await
    }
}

/// An error as WOTP clients read it.
#[track_caller]
fn refused(reply: &Reply, status: u16) -> String {
    let body = reply.expect(status);
    assert!(body["error"].is_string(), "{body}");
    body["details"].as_str().expect("details").to_owned()
}

#[tokio::test]
async fn somebody_new_has_an_account_and_a_tenant_and_is_known_from_then_on() {
    let stage = Stage::with("google").await;
    let first = stage.sign_in_with_token(&stage.issuer.button("ada", &json!({}))).await.expect(200);
    let user = &first["user"];
    assert_eq!((&user["email"], &user["name"], &user["usageCount"]), (&json!(EMAIL), &json!("Ada"), &json!(0)));
    let access = first["accessToken"].as_str().expect("a token");
    assert_eq!(&stage.app.get("/api/user/me").key(access).await.expect(200), user);
    let made = stage.app.post("/api/apikey/create").key(access).json(json!({ "name": "backend" }));
    made.await.expect(201);
    // The token moves on by itself, as after any login.
    let refresh = json!({ "refreshToken": first["refreshToken"] });
    stage.app.post("/api/auth/refresh").json(refresh).await.expect(200);

    let again = stage.sign_in_with_token(&stage.issuer.button("ada", &json!({ "claims": { "jti": "2" } }))).await;
    assert_eq!(again.expect(200)["user"]["id"], user["id"]);
    let counts = (stage.count("user").await, stage.count("linked_identity").await);
    assert_eq!(counts, (1, 1));
    let tenants = stage.app.get("/v1/tenants").key(access).await.expect(200);
    assert_eq!((tenants["data"].as_array().unwrap().len(), &tenants["data"][0]["tenant"]["name"]), (1, &json!("Ada")));
}

#[tokio::test]
async fn racing_first_sign_ins_make_one_account_and_one_tenant() {
    let stage = Stage::with("google").await;
    let tokens: Vec<_> =
        (0..6).map(|nth| stage.issuer.button("ada", &json!({ "claims": { "jti": nth.to_string() } }))).collect();
    let sign_ins = tokens.iter().map(|token| stage.app.post("/api/auth/google").json(json!({ "idToken": token })));
    let replies = race(sign_ins).await;
    let opened: Vec<Value> = replies.iter().filter(|reply| reply.status == 200).map(Reply::json).collect();
    assert!(!opened.is_empty());
    assert!(opened.iter().all(|reply| reply["user"]["id"] == opened[0]["user"]["id"]));
    let access = opened[0]["accessToken"].as_str().unwrap();
    let tenants = stage.app.get("/v1/tenants").key(access).await.expect(200);
    assert_eq!(tenants["data"].as_array().unwrap().len(), 1);
    assert_eq!(stage.count("user").await, 1);
}

#[tokio::test]
async fn a_token_works_once_however_many_bring_it() {
    let stage = Stage::with("google").await;
    let token = stage.issuer.button("ada", &json!({}));
    let replies = race((0..8).map(|_| stage.app.post("/api/auth/google").json(json!({ "idToken": token })))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    refused(&stage.sign_in_with_token(&token).await, 401);
    // What is kept of it goes once it would be too old anyway.
    stage.app.clock.advance(seconds(1200));
    refused(&stage.sign_in_with_token(&token).await, 401);
    stage.app.sweep().await;
    assert_eq!(stage.count("spent_token").await, 0);
    refused(&stage.sign_in_with_token(&token).await, 401);
}

#[tokio::test]
async fn a_token_that_does_not_hold_lets_nobody_in() {
    let stage = Stage::with("google").await;
    let now = stage.issuer.now_seconds();
    for how in [
        json!({ "claims": { "aud": "another" } }),
        json!({ "claims": { "iss": "https://id.example.com" } }),
        json!({ "claims": { "exp": now - 3600 } }),
        json!({ "claims": { "iat": now - 900 } }),
        json!({ "claims": { "iat": now + 900 } }),
        json!({ "claims": { "nonce": "made for another sign-in" } }),
        json!({ "unknown_key": true }),
        json!({ "unsigned": true }),
    ] {
        refused(&stage.sign_in_with_token(&stage.issuer.button("ada", &how)).await, 401);
    }
    for odd in ["", "a.b.c", "header.claims"] {
        refused(&stage.sign_in_with_token(odd).await, 401);
    }
    for unverified in [json!({ "email_verified": false }), json!({ "email": null })] {
        refused(&stage.sign_in_with_token(&stage.issuer.button("ada", &json!({ "claims": unverified }))).await, 403);
    }
    refused(&stage.app.post("/api/auth/google").json(json!({})).await, 400);
    assert_eq!((stage.count("user").await, stage.count("session").await), (0, 0));
}

#[tokio::test]
async fn who_has_a_second_factor_is_not_let_in_without_it() {
    let stage = Stage::with("google").await;
    let ada = stage.app.person(EMAIL).await;
    ada.switch_second_factor_on(&stage.app).await;
    let before = stage.count("session").await;
    let details = refused(&stage.sign_in_with_token(&stage.issuer.button("ada", &json!({}))).await, 403);
    assert!(details.contains("/v1/auth/oidc/"), "{details}");
    assert_eq!(stage.count("session").await, before);
    stage.app.run_jobs().await;
}

#[tokio::test]
async fn a_deleted_tenant_is_nobodys_place_to_be_and_a_suspended_one_only_where_there_is_no_other() {
    let stage = Stage::with("google").await;
    let mut signed_in = 0;
    let mut sign_in = async || {
        signed_in += 1;
        let token = stage.issuer.button("ada", &json!({ "claims": { "jti": signed_in.to_string() } }));
        stage.sign_in_with_token(&token).await
    };
    let access = |reply: &Reply| reply.expect(200)["accessToken"].as_str().expect("a token").to_owned();
    let tenants = async |access: &str| {
        let list = stage.app.get("/v1/tenants").key(access).await.expect(200);
        list["data"].as_array().expect("tenants").iter().map(|one| id(&one["tenant"]).to_owned()).collect::<Vec<_>>()
    };
    let first = access(&sign_in().await);
    let gone = tenants(&first).await.remove(0);
    stage.app.request(Method::DELETE, "/v1/tenant").key(&first).await.expect(200);
    let second = access(&sign_in().await);
    let both = tenants(&second).await;
    assert_eq!(both.len(), 2, "one of their own besides the deleted one");
    stage
        .app
        .post("/api/apikey/create")
        .key(&second)
        .header("wotp-tenant", &both[1])
        .json(json!({ "name": "b" }))
        .await
        .expect(201);
    access(&sign_in().await);
    assert_eq!(tenants(&second).await.len(), 2, "and not one with each sign-in");
    let operator = stage.app.operator().await;
    let other = both.iter().find(|tenant| **tenant != gone).expect("the second");
    let suspend = stage.app.post(format!("/operator/v1/tenants/{other}/suspend")).by(&operator);
    suspend.json(json!({ "reason": "unpaid" })).await.expect(200);
    let details = refused(&sign_in().await, 403);
    assert!(details.contains("unpaid"), "{details}");
}

#[tokio::test]
async fn during_maintenance_whoever_is_known_signs_in_and_out_and_nobody_new_does() {
    let stage = Stage::with("google").await;
    stage.issuer.says_of("grace", &json!({ "email": "grace@example.com", "email_verified": true }));
    let known = stage.issuer.button("ada", &json!({ "claims": { "jti": "1" } }));
    stage.sign_in_with_token(&known).await.expect(200);
    let operator = stage.app.operator().await;
    let begin = stage.app.request(Method::PUT, "/operator/v1/maintenance").by(&operator);
    begin.json(json!({ "message": "a larger database", "minutes": 5 })).await.expect(200);
    let details = refused(&stage.sign_in_with_token(&stage.issuer.button("grace", &json!({}))).await, 500);
    assert!(details.contains("a larger database"), "{details}");
    let known = stage.issuer.button("ada", &json!({ "claims": { "jti": "2" } }));
    let known = stage.sign_in_with_token(&known).await.expect(200);
    stage.app.post("/api/auth/logout").key(known["accessToken"].as_str().unwrap()).await.expect(200);
    // Ada and the operator.
    assert_eq!(stage.count("user").await, 2);
}

#[tokio::test]
async fn without_a_provider_of_that_name_there_is_no_such_sign_in() {
    let app = TestApp::start().await;
    refused(&app.post("/api/auth/google").json(json!({ "idToken": "a.b.c" })).await, 404);
    let stage = Stage::with("mock").await;
    refused(&stage.sign_in_with_token(&stage.issuer.button("ada", &json!({}))).await, 404);
}
