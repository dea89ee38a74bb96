//! What strangers cannot do to somebody's sign-in, and one client not to everybody's.

use serde_json::{Value, json};
use wotp_core::domain::login_brake::LoginBrake;
use wotp_core::ports::{Entity as _, EntityList, Owner};

use super::account::audited;
use super::{PASSWORD, credentials};
use crate::app::{TestApp, seconds, wrong};
use crate::client::{Reply, Request};

const EMAIL: &str = "ada@example.com";
const NEW: &str = "another long sentence";
const WRONG: &str = "not the right sentence";
const STRANGER: &str = "203.0.113.9";

fn log_in(app: &TestApp, email: &str, password: &str) -> Request {
    app.post("/v1/auth/login").json(credentials(email, password))
}

fn ask(app: &TestApp) -> Request {
    app.post("/v1/auth/password-reset").json(json!({ "email": EMAIL }))
}

async fn reset(app: &TestApp, started: &Value, code: &str) -> Reply {
    let body = json!({ "verification": started["verification"], "code": code, "password": NEW });
    app.post("/v1/auth/password-reset/confirm").json(body).await
}

/// Wrong passwords from everywhere, until the account waits from wherever it is not known.
async fn attack(app: &TestApp) {
    for n in 0..60 {
        log_in(app, EMAIL, WRONG).at_ip(&format!("203.0.113.{n}")).await;
    }
    log_in(app, EMAIL, PASSWORD).at_ip("192.0.2.1").await.problem(429, "login_delayed");
}

#[tokio::test]
async fn a_password_that_finds_no_place_is_no_guess() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.passwords.fill(true);
    for _ in 0..10 {
        log_in(&app, EMAIL, PASSWORD).await.problem(503, "unavailable");
        let change = json!({ "current_password": PASSWORD, "new_password": NEW });
        app.post("/v1/me/password").by(&ada).json(change).await.problem(503, "unavailable");
    }
    app.passwords.fill(false);
    for _ in 0..5 {
        log_in(&app, EMAIL, WRONG).await.problem(401, "credentials_wrong");
    }
}

#[tokio::test]
async fn one_client_that_tries_many_accounts_is_slowed_before_anything_is_written() {
    let app = TestApp::start().await;
    let list = EntityList { limit: 10_000, ..EntityList::of(Owner::Platform) };
    let brakes = async || {
        let rows = app.app.ports().store.list_entities(LoginBrake::KIND, &list).await;
        rows.expect("a list").len()
    };
    for n in 0..100 {
        log_in(&app, &format!("n{n}@example.com"), WRONG).await.problem(401, "credentials_wrong");
    }
    let (before, hashed) = (brakes().await, app.passwords.hashed());
    let refused = log_in(&app, "n100@example.com", WRONG).await;
    refused.problem(429, "rate_limited");
    assert!(refused.retry_after() >= 1);
    assert_eq!((brakes().await, app.passwords.hashed()), (before, hashed));
    log_in(&app, "n100@example.com", WRONG).at_ip(STRANGER).await.problem(401, "credentials_wrong");
    app.clock.advance(seconds(86_400));
    // In some commits, of a hundred each.
    assert_eq!(app.sweep().await.forgotten, 202);
    assert_eq!(brakes().await, 0);
}

#[tokio::test]
async fn who_asks_for_codes_for_somebody_else_uses_up_their_own() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.clock.advance(seconds(86_400));
    for _ in 0..10 {
        let started = ask(&app).at_ip(STRANGER).await.expect(202);
        let code = wrong(&app.mailed(EMAIL).await);
        for _ in 0..5 {
            reset(&app, &started, &code).await.problem(422, "code_wrong");
        }
        app.clock.advance(seconds(601));
    }
    ask(&app).at_ip(STRANGER).await.problem(429, "address_limited");
    let started = ask(&app).await.expect(202);
    let code = app.mailed(EMAIL).await;
    reset(&app, &started, &code).await.expect(204);
    app.run_jobs().await;
}

#[tokio::test]
async fn who_has_signed_in_from_a_device_is_sent_a_code_however_many_ask() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.clock.advance(seconds(86_400));
    for n in 0..50 {
        ask(&app).at_ip(&format!("203.0.113.{n}")).await.expect(202);
        app.run_jobs().await;
    }
    ask(&app).at_ip("192.0.2.1").await.problem(429, "address_limited");
    let body = json!({ "email": EMAIL, "device_token": ada.device_token });
    app.post("/v1/auth/password-reset").json(body).await.expect(202);
    let body = json!({ "email": EMAIL, "device_token": "wd_nonsense" });
    app.post("/v1/auth/password-reset").json(body).at_ip("192.0.2.2").await.problem(429, "address_limited");
    app.run_jobs().await;
}

#[tokio::test]
async fn who_is_signed_in_changes_the_password_while_others_guess_at_it() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    attack(&app).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    app.post("/v1/me/password").by(&ada).json(change).await.expect(204);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_password_reset_lifts_the_wait_from_everywhere() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.clock.advance(seconds(60));
    attack(&app).await;
    let started = ask(&app).await.expect(202);
    let code = app.mailed(EMAIL).await;
    reset(&app, &started, &code).await.expect(204);
    // Also where nobody guessed, and nobody asked for the code.
    log_in(&app, EMAIL, NEW).at_ip("192.0.2.77").await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_code_for_an_account_is_eight_characters_that_nobody_confuses() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.clock.advance(seconds(60));
    let started = ask(&app).await.expect(202);
    let code = app.mailed(EMAIL).await;
    assert_eq!(code.len(), 8);
    assert!(code.bytes().all(|c| b"ACDEFGHJKMNPQRTUVWXY34679".contains(&c)), "{code}");
    reset(&app, &started, &format!("{}-{}", code[..4].to_lowercase(), &code[4..])).await.expect(204);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_code_is_spent_by_what_it_is_for_and_not_by_a_refusal() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.clock.advance(seconds(60));
    let started = ask(&app).await.expect(202);
    let code = app.mailed(EMAIL).await;
    app.passwords.fill(true);
    reset(&app, &started, &code).await.problem(503, "unavailable");
    app.passwords.fill(false);
    // Nor by what it is not for.
    app.confirm(&started, &code).await.problem(422, "code_wrong");
    reset(&app, &started, &code).await.expect(204);
    reset(&app, &started, &code).await.problem(422, "code_wrong");

    app.clock.advance(seconds(60));
    let started = app.sign_up(EMAIL).await.expect(202);
    let code = app.mailed(EMAIL).await;
    for _ in 0..2 {
        app.confirm(&started, &code).await.problem(409, "taken");
    }
    // Who has proved it has five more guesses, and ten minutes, as before.
    for _ in 0..5 {
        app.confirm(&started, &wrong(&code)).await.problem(422, "code_wrong");
    }
    app.confirm(&started, &code).await.problem(422, "code_wrong");
    app.run_jobs().await;
}

#[tokio::test]
async fn wrong_recovery_codes_in_a_session_wait_and_do_not_fill_the_log() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let recovery_code = ada.switch_second_factor_on(&app).await;
    let disable = |code: &str| app.post("/v1/me/second-factor/disable").by(&ada).json(json!({ "code": code }));
    let guess = "AAAAA-AAAAA-AAAAA-AAAAA-AAAAA";
    for _ in 0..5 {
        disable(guess).await.problem(422, "code_wrong");
    }
    for _ in 0..12 {
        disable(guess).await.problem(429, "login_delayed");
    }
    assert_eq!(audited(&app).await.matches("second_factor.refuse").count(), 5);
    app.clock.advance(seconds(30));
    disable(&recovery_code).await.expect(204);
    app.run_jobs().await;
}
