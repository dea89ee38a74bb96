//! What people do to their accounts, as the platform's log tells it.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::audit::By;
use wotp_core::ports::Owner;

use super::actions::{Line, Says, entries, tell};
use crate::app::{TestApp, id, seconds, wrong};
use crate::people::oidc::{self, Stage};
use crate::people::{PASSWORD, TestPerson, credentials};

const EMAIL: &str = "ada@example.com";
const NEW: &str = "ada@example.org";

/// All that is told here.
pub const SCENES: &[&[Line]] = &[ACCOUNTS, GUESSES, SECOND_FACTORS, SESSIONS, IDENTITIES];

/// What the newest line of an action says was before, and is after.
async fn said(app: &TestApp, action: &str) -> (Value, Value) {
    let log = entries(app, Owner::Platform).await;
    let entry = log.iter().rfind(|entry| entry["action"] == action).expect("a line");
    (entry["before"].clone(), entry["after"].clone())
}

const ACCOUNTS: &[Line] = &[
    ("member.create", Says::New),
    ("tenant.create", Says::New),
    ("user.change_email", Says::Changed),
    ("user.change_password", Says::Happened),
    ("user.create", Says::New),
    ("user.erase", Says::Gone),
    ("user.rename", Says::Happened),
    ("user.request_email_change", Says::Changed),
    ("user.reset_password", Says::Happened),
];

#[tokio::test]
async fn what_is_done_to_an_account_from_its_beginning_to_its_end() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.request(Method::PATCH, "/v1/me").by(&ada).json(json!({ "name": "Countess" })).await.expect(200);
    app.clock.advance(seconds(60));
    let post = |path: &str, body: Value| app.post(path).by(&ada).json(body);
    let asked = post("/v1/me/email", json!({ "email": NEW, "password": PASSWORD })).await.expect(202);
    let code = app.mailed(NEW).await;
    let moved = json!({ "verification": asked["verification"], "code": code });
    post("/v1/me/email/confirm", moved).await.expect(200);
    let another = "another long sentence";
    let change = json!({ "current_password": PASSWORD, "new_password": another });
    post("/v1/me/password", change).await.expect(204);
    app.clock.advance(seconds(60));
    let asked = app.post("/v1/auth/password-reset").json(json!({ "email": NEW })).await.expect(202);
    let code = app.mailed(NEW).await;
    let reset = json!({ "verification": asked["verification"], "code": code, "password": PASSWORD });
    app.post("/v1/auth/password-reset/confirm").json(reset).await.expect(204);
    let again = TestPerson { tenant: ada.tenant, ..app.logged_in(NEW).await };
    app.request(Method::DELETE, "/v1/tenant").by(&again).await.expect(200);
    app.post("/v1/me/erase").by(&again).json(json!({ "password": PASSWORD })).await.expect(204);
    app.run_jobs().await;
    tell(&app, ada.tenant, ACCOUNTS).await;
    let asked = (json!({ "email": "a***@example.com" }), json!({ "asked_for": "a***@example.org" }));
    assert_eq!(said(&app, "user.request_email_change").await, asked);
    let began = json!({ "created_at": "2026-11-22T12:00:00Z", "operator_since": null });
    assert_eq!(said(&app, "user.erase").await, (began, Value::Null));
}

const GUESSES: &[Line] = &[("user.login_delayed", Says::Happened)];

#[tokio::test]
async fn that_an_account_is_guessed_at() {
    let app = TestApp::start().await;
    app.account(EMAIL).await;
    for n in 0..50 {
        let guess = app.post("/v1/auth/login").json(credentials(EMAIL, "not the right sentence"));
        guess.at_ip(&format!("203.0.113.{n}")).await.problem(401, "credentials_wrong");
    }
    app.sweep().await;
    tell(&app, None, GUESSES).await;
}

const SECOND_FACTORS: &[Line] = &[
    ("second_factor.activate", Says::New),
    ("second_factor.answer", Says::Happened),
    ("second_factor.disable", Says::Gone),
    ("second_factor.enrol", Says::Changed),
    ("second_factor.refuse", Says::Happened),
    ("second_factor.renew_recovery_codes", Says::Changed),
    ("second_factor.reset", Says::Gone),
];

#[tokio::test]
async fn what_is_done_to_a_second_factor() {
    let app = TestApp::start().await;
    app.account(EMAIL).await;
    let ada = app.logged_in(EMAIL).await;
    let post = |below: &str, body: Value| app.post(format!("/v1/me/second-factor{below}")).by(&ada).json(body);
    let (phone, recovery_code) = ada.scan_second_factor(&app).await;
    app.clock.advance(seconds(30));
    let asked = app.post("/v1/auth/login").json(credentials(EMAIL, PASSWORD)).await.expect(200);
    let answer =
        |code: &str| app.post("/v1/auth/second-factor").json(json!({ "challenge": asked["challenge"], "code": code }));
    answer(&wrong(&phone.code(&app))).await.problem(422, "code_wrong");
    app.clock.advance(seconds(30));
    answer(&recovery_code).await.expect(200);
    post("/recovery-codes", json!({ "code": phone.code(&app) })).await.expect(200);
    post("/disable", json!({ "password": PASSWORD })).await.expect(204);
    let noon = "2026-11-22T12:00:00Z";
    let was = json!({ "begun_at": noon, "active_since": noon, "recovery_codes": 10 });
    assert_eq!(said(&app, "second_factor.disable").await, (was, Value::Null));
    // Begun again, over one that was begun and not confirmed.
    post("", json!({ "password": PASSWORD })).await.expect(201);
    app.clock.advance(seconds(30));
    ada.scan_second_factor(&app).await;
    app.app.reset_second_factor(&By::command_line(), EMAIL).await.expect("taken away");
    app.clock.advance(seconds(2));
    app.sweep().await;
    app.run_jobs().await;
    tell(&app, None, SECOND_FACTORS).await;
}

const SESSIONS: &[Line] = &[
    ("session.create", Says::New),
    ("session.log_out", Says::Changed),
    ("session.reuse_detected", Says::Changed),
    ("session.revoke", Says::Changed),
    ("session.revoke_others", Says::Changed),
];

#[tokio::test]
async fn how_sessions_begin_and_end() {
    let app = TestApp::start().await;
    app.account(EMAIL).await;
    let ada = app.logged_in(EMAIL).await;
    let [leaves, revoked, stolen] =
        [app.logged_in(EMAIL).await, app.logged_in(EMAIL).await, app.logged_in(EMAIL).await];
    app.post("/v1/auth/logout").json(json!({ "refresh_token": leaves.refresh_token })).await.expect(204);
    app.request(Method::DELETE, format!("/v1/me/sessions/{}", revoked.session)).by(&ada).await.expect(204);
    let refresh = app.post("/v1/auth/refresh").json(json!({ "refresh_token": stolen.refresh_token }));
    refresh.clone().await.expect(200);
    app.clock.advance(seconds(11));
    refresh.await.problem(401, "session_ended");
    app.logged_in(EMAIL).await;
    app.request(Method::DELETE, "/v1/me/sessions").by(&ada).await.expect(204);
    tell(&app, None, SESSIONS).await;
    for action in ["session.log_out", "session.revoke", "session.reuse_detected"] {
        let (before, after) = said(&app, action).await;
        assert_eq!((&before["user"], &before["transport"]), (&json!(ada.user.to_string()), &json!("body")), "{action}");
        assert_eq!((&before["created_at"], &after["revoked"]), (&json!("2026-11-22T12:00:00Z"), &json!(true)));
    }
    let (before, after) = said(&app, "session.revoke_others").await;
    assert_eq!((before, after), (json!({ "sessions": 2 }), json!({ "sessions": 1, "kept": ada.session })));
}

const IDENTITIES: &[Line] = &[("identity.link", Says::New), ("identity.unlink", Says::Gone)];

#[tokio::test]
async fn how_identities_come_and_go() {
    let stage = Stage::with("google").await;
    let app = &stage.app;
    app.account(oidc::EMAIL).await;
    let ada = app.logged_in(oidc::EMAIL).await;
    let token = json!({ "idToken": stage.issuer.button("ada", &json!({})) });
    app.post("/api/auth/google").json(token).await.expect(200);
    let linked = app.get("/v1/me/identities").by(&ada).await.expect(200);
    let identity = format!("/v1/me/identities/{}", id(&linked["data"][0]));
    app.request(Method::DELETE, identity).by(&ada).await.expect(204);
    app.run_jobs().await;
    tell(app, None, IDENTITIES).await;
}
