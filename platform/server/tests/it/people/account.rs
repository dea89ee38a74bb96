//! What people change about their accounts.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::audit::By;
use wotp_core::ports::{EntityList, Owner};

use super::{PASSWORD, TestPerson, credentials};
use crate::app::{TestApp, seconds, wrong};
use crate::client::{Reply, Request, race};

const EMAIL: &str = "ada@example.com";
const NEW: &str = "ada@example.org";

/// Asks for another address.
fn ask(app: &TestApp, person: &TestPerson, email: &str) -> Request {
    app.post("/v1/me/email").by(person).json(json!({ "email": email, "password": PASSWORD }))
}

fn confirm(app: &TestApp, person: &TestPerson, started: &Value, code: &str) -> Request {
    let body = json!({ "verification": started["verification"], "code": code });
    app.post("/v1/me/email/confirm").by(person).json(body)
}

/// Everything that the platform's audit log says of a thing, as text.
pub async fn audited(app: &TestApp) -> String {
    let list = EntityList::of(Owner::Platform);
    let rows = app.app.ports().store.list_entities("audit_entry", &list).await.expect("the log");
    rows.into_iter().map(|row| Value::Object(row.doc).to_string()).collect::<Vec<_>>().join("\n")
}

/// How long the platform's audit log is.
async fn lines(app: &TestApp) -> usize {
    audited(app).await.lines().count()
}

/// What mails to an address say, one after another.
pub async fn told(app: &TestApp, email: &str) -> String {
    app.run_jobs().await;
    let letters = app.outbox.letters();
    let to_them = letters.iter().filter(|letter| letter.to == email).map(|letter| letter.text.clone());
    to_them.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_person_is_called_what_they_say_and_the_log_does_not_say_what() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let rename = |name: &str| app.request(Method::PATCH, "/v1/me").by(&ada).json(json!({ "name": name }));
    assert_eq!(rename(" Countess Lovelace ").await.expect(200)["name"], "Countess Lovelace");
    assert_eq!(app.get("/v1/me").by(&ada).await.expect(200)["name"], "Countess Lovelace");
    for wrong in ["\u{7}", &"a".repeat(101)] {
        let problem = rename(wrong).await.problem(422, "invalid_request");
        assert_eq!(problem["detail"], "`name`: has 0 to 100 characters and no control characters");
    }
    assert_eq!(rename("").await.expect(200)["name"], "");
    let log = audited(&app).await;
    assert!(log.contains("user.rename") && !log.contains("Countess"), "{log}");
}

/// Of each kind of change that a person makes again and again, one.
fn changes(app: &TestApp, ada: &TestPerson, n: usize) -> [Request; 4] {
    let password = json!({ "password": PASSWORD });
    [
        app.request(Method::PATCH, "/v1/me").by(ada).json(json!({ "name": format!("Ada {n}") })),
        app.request(Method::DELETE, "/v1/me/sessions").by(ada),
        app.post("/v1/me/second-factor").by(ada).json(password),
        app.request(Method::DELETE, "/v1/tenant").by(ada),
    ]
}

#[tokio::test]
async fn nobody_fills_the_platforms_log_with_changes_of_their_own() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.person(EMAIL).await, app.person("eve@example.com").await);
    let rename = |n: usize| app.request(Method::PATCH, "/v1/me").by(&ada).json(json!({ "name": format!("Ada {n}") }));
    for n in 0..20 {
        rename(n).await.expect(200);
    }
    let before = lines(&app).await;
    for request in changes(&app, &ada, 20) {
        let refused = request.await;
        let detail = refused.problem(429, "rate_limited")["detail"].clone();
        assert_eq!(detail, "there may be 1 call a second, 20 at once, for each person");
        assert_eq!(refused.retry_after(), 1);
    }
    let password = json!({ "current_password": PASSWORD, "new_password": "another long sentence" });
    app.post("/v1/me/password").by(&ada).json(password).await.problem(429, "rate_limited");
    ask(&app, &ada, NEW).await.problem(429, "rate_limited");
    assert_eq!(lines(&app).await, before);
    assert_eq!(app.get("/v1/me").by(&ada).await.expect(200)["name"], "Ada 19");
    // Nobody else waits for them, and they wait a second.
    app.request(Method::PATCH, "/v1/me").by(&eve).json(json!({ "name": "Eve" })).await.expect(200);
    app.clock.advance(seconds(1));
    rename(21).await.expect(200);
    rename(22).await.problem(429, "rate_limited");
}

#[tokio::test]
async fn a_code_that_comes_with_too_many_changes_is_not_looked_at() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let (_, recovery_code) = ada.scan_second_factor(&app).await;
    for n in 0..19 {
        app.request(Method::PATCH, "/v1/me").by(&ada).json(json!({ "name": format!("Ada {n}") })).await.expect(200);
    }
    let disable = |code: &str| app.post("/v1/me/second-factor/disable").by(&ada).json(json!({ "code": code }));
    // Whether it is right is not told either.
    let refused = disable(&recovery_code).await.problem(429, "rate_limited");
    let mut wrong = disable("AAAA-BBBB").await.problem(429, "rate_limited");
    wrong["request_id"] = refused["request_id"].clone();
    assert_eq!(wrong, refused);
    app.clock.advance(seconds(1));
    disable(&recovery_code).await.expect(204);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_limiter_that_cannot_be_reached_keeps_nobody_from_their_account() {
    let app = TestApp::with().no_limiter().start().await;
    app.account(EMAIL).await;
    let ada = app.logged_in(EMAIL).await;
    for n in 0..25 {
        app.request(Method::PATCH, "/v1/me").by(&ada).json(json!({ "name": format!("Ada {n}") })).await.expect(200);
    }
}

#[tokio::test]
async fn what_changes_nothing_is_no_line_of_the_log() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let (_, recovery_code) = ada.scan_second_factor(&app).await;
    let rename = || app.request(Method::PATCH, "/v1/me").by(&ada).json(json!({ "name": "Countess" }));
    rename().await.expect(200);
    let asked = app.log_in(EMAIL, PASSWORD).await.expect(200);
    let before = lines(&app).await;
    rename().await.expect(200);
    let end_others = || app.request(Method::DELETE, "/v1/me/sessions").by(&ada);
    end_others().await.expect(204);
    assert_eq!(lines(&app).await, before);
    // What was under way ends all the same.
    let answer = json!({ "challenge": asked["challenge"], "code": recovery_code });
    app.post("/v1/auth/second-factor").json(answer).await.problem(401, "sign_in_over");
    let asked = app.log_in(EMAIL, PASSWORD).await.expect(200);
    let answer = json!({ "challenge": asked["challenge"], "code": recovery_code });
    app.post("/v1/auth/second-factor").json(answer).await.expect(200);
    let before = lines(&app).await;
    end_others().await.expect(204);
    assert_eq!(lines(&app).await, before + 1);
    app.run_jobs().await;
}

#[tokio::test]
async fn an_account_moves_to_an_address_that_is_proved_and_the_old_one_is_told() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let other = app.logged_in(EMAIL).await;
    let started = ask(&app, &ada, "Ada@Example.org").await.expect(202);
    assert!(told(&app, EMAIL).await.contains("asked to change its email address to a***@example.org"));
    let code = app.mailed(NEW).await;
    confirm(&app, &ada, &started, &wrong(&code)).await.problem(422, "code_wrong");
    app.log_in(NEW, PASSWORD).await.problem(401, "credentials_wrong");
    let me = confirm(&app, &ada, &started, &code).await.expect(200);
    assert_eq!((&me["email"], &me["id"]), (&json!(NEW), &json!(ada.user.to_string())));
    confirm(&app, &ada, &started, &code).await.problem(422, "code_wrong");

    assert_eq!(app.get("/v1/me").by(&ada).await.expect(200)["email"], NEW);
    app.get("/v1/me").by(&other).await.problem(401, "session_ended");
    app.log_in(EMAIL, PASSWORD).await.problem(401, "credentials_wrong");
    assert_eq!(app.log_in(NEW, PASSWORD).await.expect(200)["user"], ada.user.to_string());
    assert!(told(&app, EMAIL).await.contains("was changed to a***@example.org"));
    assert!(told(&app, NEW).await.contains("the email address of your account from now on"));
    let log = audited(&app).await;
    assert!(log.contains("user.change_email") && !log.contains(NEW), "{log}");
    // The old one is free.
    app.clock.advance(seconds(86_400));
    assert_ne!(app.person(EMAIL).await.user, ada.user);
}

#[tokio::test]
async fn it_takes_the_password_or_the_second_factor_and_the_session_that_asked() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let (phone, recovery_code) = ada.scan_second_factor(&app).await;
    app.clock.advance(seconds(30));
    let post = |body| app.post("/v1/me/email").by(&ada).json(body);
    assert_eq!(post(json!({ "email": NEW })).await.wrong_fields(), ["code"]);
    post(json!({ "email": NEW, "password": "not the right sentence" })).await.problem(401, "credentials_wrong");
    let code = wrong(&phone.code(&app));
    post(json!({ "email": NEW, "code": code })).await.problem(422, "code_wrong");
    assert_eq!(post(json!({ "email": EMAIL, "password": PASSWORD })).await.wrong_fields(), ["email"]);
    app.run_jobs().await;
    assert!(app.outbox.letters().iter().all(|letter| letter.to != NEW), "nothing went out");

    let code = phone.code(&app);
    let started = post(json!({ "email": NEW, "code": code })).await.expect(202);
    post(json!({ "email": "ada@example.net", "code": code })).await.problem(422, "code_wrong");
    let mailed = app.mailed(NEW).await;
    let eve = app.person("eve@example.com").await;
    confirm(&app, &eve, &started, &mailed).await.problem(422, "code_wrong");
    let challenge = app.post("/v1/auth/login").json(credentials(EMAIL, PASSWORD)).await.expect(200);
    let answer = json!({ "challenge": challenge["challenge"], "code": recovery_code });
    let opened = app.post("/v1/auth/second-factor").json(answer).await.expect(200);
    let access_token = opened["access_token"].as_str().expect("a token").to_owned();
    let elsewhere = TestPerson { access_token, ..ada.clone() };
    confirm(&app, &elsewhere, &started, &mailed).await.problem(422, "code_wrong");
    // None of them used it up.
    confirm(&app, &ada, &started, &mailed).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn asking_answers_and_does_the_same_whether_or_not_somebody_is_there() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.person("grace@example.com").await;
    app.clock.advance(seconds(86_400));
    let ada = TestPerson { access_token: app.logged_in(EMAIL).await.access_token, ..ada };
    let work = async |email: &str| {
        app.run_jobs().await;
        let (hashed, mails) = (app.passwords.hashed(), app.outbox.letters().len());
        let mut body = ask(&app, &ada, email).await.expect(202);
        body["verification"].take();
        let again: Reply = ask(&app, &ada, email).await;
        let again = again.problem(429, "cool_down")["detail"].clone();
        app.run_jobs().await;
        (body, again, app.passwords.hashed() - hashed, app.outbox.letters().len() - mails)
    };
    assert_eq!(work("grace@example.com").await, work("nobody@example.com").await);
}

#[tokio::test]
async fn only_who_holds_an_address_hears_that_it_has_an_account() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.person(NEW).await;
    app.clock.advance(seconds(86_400));
    let ada = TestPerson { access_token: app.logged_in(EMAIL).await.access_token, ..ada };
    let started = ask(&app, &ada, NEW).await.expect(202);
    let code = app.mailed(NEW).await;
    confirm(&app, &ada, &started, &code).await.problem(409, "taken");
    assert_eq!(app.get("/v1/me").by(&ada).await.expect(200)["email"], EMAIL);
}

#[tokio::test]
async fn of_two_people_who_move_to_one_address_one_does() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.person(EMAIL).await, app.person("eve@example.com").await);
    let to_ada = ask(&app, &ada, "both@example.com").await.expect(202);
    let code_of_ada = app.mailed("both@example.com").await;
    app.clock.advance(seconds(60));
    let to_eve = ask(&app, &eve, "both@example.com").await.expect(202);
    let code_of_eve = app.mailed("both@example.com").await;
    let racing = [confirm(&app, &ada, &to_ada, &code_of_ada), confirm(&app, &eve, &to_eve, &code_of_eve)];
    let mut statuses: Vec<u16> = race(racing).await.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
    app.run_jobs().await;
}

#[tokio::test]
async fn of_two_changes_that_wait_one_is_made() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let first = ask(&app, &ada, NEW).await.expect(202);
    let second = ask(&app, &ada, "ada@example.net").await.expect(202);
    let code = app.mailed(NEW).await;
    confirm(&app, &ada, &first, &code).await.expect(200);
    let code = app.mailed("ada@example.net").await;
    confirm(&app, &ada, &second, &code).await.problem(422, "code_wrong");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_password_reset_ends_a_change_that_somebody_else_asked_for() {
    let app = TestApp::start().await;
    let thief = app.person(EMAIL).await;
    let started = ask(&app, &thief, "eve@example.com").await.expect(202);
    let code = app.mailed("eve@example.com").await;
    app.clock.advance(seconds(60));
    let reset = app.post("/v1/auth/password-reset").json(json!({ "email": EMAIL })).await.expect(202);
    let body = json!({
        "verification": reset["verification"], "code": app.mailed(EMAIL).await, "password": "another long sentence",
    });
    app.post("/v1/auth/password-reset/confirm").json(body).await.expect(204);
    confirm(&app, &thief, &started, &code).await.problem(401, "session_ended");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_sign_in_that_began_before_a_password_reset_does_not_go_on() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let (phone, _) = ada.scan_second_factor(&app).await;
    app.clock.advance(seconds(60));
    let asked = app.post("/v1/auth/login").json(credentials(EMAIL, PASSWORD)).await.expect(200);
    app.clock.advance(seconds(1));
    let reset = app.post("/v1/auth/password-reset").json(json!({ "email": EMAIL })).await.expect(202);
    let body = json!({
        "verification": reset["verification"], "code": app.mailed(EMAIL).await, "password": "another long sentence",
    });
    app.post("/v1/auth/password-reset/confirm").json(body).await.expect(204);
    let answer = json!({ "challenge": asked["challenge"], "code": phone.code(&app) });
    app.post("/v1/auth/second-factor").json(answer).await.problem(401, "sign_in_over");
    app.run_jobs().await;
}

#[tokio::test]
async fn whoever_lost_app_and_recovery_codes_is_let_in_again_by_an_operator() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let reset = async || app.app.reset_second_factor(&By::command_line(), EMAIL).await;
    assert!(reset().await.is_err(), "there is none");
    ada.switch_second_factor_on(&app).await;
    let asked = app.post("/v1/auth/login").json(credentials(EMAIL, PASSWORD)).await.expect(200);
    app.clock.advance(seconds(30));
    assert_eq!(reset().await.expect("it is reset").id, ada.user);
    app.clock.advance(seconds(2));
    app.sweep().await;
    app.get("/v1/me").by(&ada).await.problem(401, "session_ended");
    let answer = json!({ "challenge": asked["challenge"], "code": "123456" });
    app.post("/v1/auth/second-factor").json(answer).await.problem(401, "sign_in_over");
    app.logged_in(EMAIL).await.switch_second_factor_on(&app).await;
    assert!(told(&app, EMAIL).await.contains("taken away by whoever runs this service"));
    let log = audited(&app).await;
    assert!(log.contains("second_factor.reset") && !log.contains(EMAIL), "{log}");
    assert!(app.app.reset_second_factor(&By::command_line(), "nobody@example.com").await.is_err());
}
