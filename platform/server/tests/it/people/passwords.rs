use serde_json::json;

use super::PASSWORD;
use crate::app::{TestApp, seconds, wrong};
use crate::client::Reply;

const EMAIL: &str = "ada@example.com";
const NEW: &str = "another long sentence";

async fn ask(app: &TestApp, email: &str) -> Reply {
    app.post("/v1/auth/password-reset").json(json!({ "email": email })).await
}

async fn reset(app: &TestApp, started: &Reply, code: &str, password: &str) -> Reply {
    let body = json!({ "verification": started.json()["verification"], "code": code, "password": password });
    app.post("/v1/auth/password-reset/confirm").json(body).await
}

#[tokio::test]
async fn a_code_gives_another_password_ends_all_sessions_and_lifts_the_delay() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    app.clock.advance(seconds(60));
    for _ in 0..5 {
        app.log_in(EMAIL, "not the right sentence").await.problem(401, "credentials_wrong");
    }
    app.log_in(EMAIL, PASSWORD).await.problem(429, "login_delayed");
    let started = ask(&app, EMAIL).await;
    started.expect(202);
    let code = app.mailed(EMAIL).await;
    reset(&app, &started, &code, "short").await.problem(422, "invalid_request");
    reset(&app, &started, &wrong(&code), NEW).await.problem(422, "code_wrong");
    reset(&app, &started, &code, NEW).await.expect(204);
    app.get("/v1/me").by(&person).await.problem(401, "session_ended");
    app.refresh(&person.refresh_token).await.problem(401, "session_ended");
    app.log_in(EMAIL, NEW).await.expect(200);
    app.log_in(EMAIL, PASSWORD).await.problem(401, "credentials_wrong");
    reset(&app, &started, &code, NEW).await.problem(422, "code_wrong");
    app.run_jobs().await;
    let told = app.outbox.last();
    assert!(told.to == EMAIL && told.text.contains("password of your account was changed"), "{told:?}");
}

#[tokio::test]
async fn asking_for_a_password_answers_and_does_the_same_whether_or_not_there_is_an_account() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.clock.advance(seconds(86_400));
    let work = async |email: &str| {
        let (hashed, mails) = (app.passwords.hashed(), app.outbox.letters().len());
        let mut body = ask(&app, email).await.expect(202);
        body["verification"].take();
        let mut limited = ask(&app, email).await.problem(429, "cool_down");
        limited["request_id"].take();
        app.run_jobs().await;
        (body, limited, app.passwords.hashed() - hashed, app.outbox.letters().len() - mails)
    };
    assert_eq!(work(EMAIL).await, work("nobody@example.com").await);
}

#[tokio::test]
async fn who_has_no_account_hears_it_only_with_the_code() {
    let app = TestApp::start().await;
    let started = ask(&app, "nobody@example.com").await;
    started.expect(202);
    let code = app.mailed("nobody@example.com").await;
    reset(&app, &started, &wrong(&code), NEW).await.problem(422, "code_wrong");
    reset(&app, &started, &code, NEW).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_code_does_only_what_it_was_sent_for() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.clock.advance(seconds(86_400));
    let started = ask(&app, EMAIL).await;
    started.expect(202);
    let code = app.mailed(EMAIL).await;
    app.confirm(&started.json(), &code).await.problem(422, "code_wrong");
    let signing_up = app.sign_up("eve@example.com").await;
    let code = app.mailed("eve@example.com").await;
    reset(&app, &signing_up, &code, NEW).await.problem(422, "code_wrong");
    app.confirm(&signing_up.json(), &code).await.expect(201);
}

#[tokio::test]
async fn who_knows_the_password_changes_it_and_stays_signed_in() {
    let app = TestApp::start().await;
    let person = app.person(EMAIL).await;
    let other = app.logged_in(EMAIL).await;
    let change = |current: &str, new: &str| {
        let body = json!({ "current_password": current, "new_password": new });
        app.post("/v1/me/password").by(&person).json(body)
    };
    change("not the right sentence", NEW).await.problem(401, "credentials_wrong");
    assert_eq!(change(PASSWORD, "password1").await.wrong_fields(), ["new_password"]);
    change(PASSWORD, NEW).await.expect(204);
    app.get("/v1/me").by(&person).await.expect(200);
    app.get("/v1/me").by(&other).await.problem(401, "session_ended");
    app.log_in(EMAIL, PASSWORD).await.problem(401, "credentials_wrong");
    app.log_in(EMAIL, NEW).await.expect(200);
    // Somebody at a session that was left open does not guess for ever.
    for _ in 0..5 {
        change("not the right sentence", PASSWORD).await.problem(401, "credentials_wrong");
    }
    let delayed = change(NEW, PASSWORD).await.problem(429, "login_delayed");
    assert_eq!(delayed["detail"], "too many wrong passwords or codes in this session; wait, or sign in anew");
    app.run_jobs().await;
}
