//! What a change of the password ends: everything, at once, however much there is of it.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::session::{RefreshToken, Session, Transport};
use wotp_core::domain::user::User;
use wotp_core::ports::{Change, Entity as _, EntityList, Owner, Stored};

use super::second_factor::Authenticator;
use super::{PASSWORD, TestPerson, credentials};
use crate::app::{TestApp, days, seconds};
use crate::client::race;

const EMAIL: &str = "ada@example.com";
const NEW: &str = "another long sentence";
const WRONG: &str = "not the right sentence";

async fn user(app: &TestApp, person: &TestPerson) -> User {
    let row = app.app.ports().store.find_entity(User::KIND, Owner::Platform, person.user.to_bytes()).await;
    Stored::<User>::read(row.expect("the store answers").expect("a person")).expect("it reads").entity
}

/// Sessions as an older version left them: as many as somebody logged in.
async fn sessions(app: &TestApp, person: &TestPerson, count: usize) -> Vec<RefreshToken> {
    let (user, ports) = (user(app, person).await, app.app.ports());
    let begin = || Session::begin(&user, Transport::Body, days(7), ports.clock.now(), &*ports.entropy);
    let (begun, tokens): (Vec<_>, Vec<_>) = (0..count).map(|_| begin()).unzip();
    for some in begun.chunks(100) {
        ports.store.commit(some.iter().map(Change::insert).collect()).await.expect("they are kept");
    }
    tokens
}

async fn reset(app: &TestApp, password: &str) {
    let started = app.post("/v1/auth/password-reset").json(json!({ "email": EMAIL })).await.expect(202);
    let code = app.mailed(EMAIL).await;
    let body = json!({ "verification": started["verification"], "code": code, "password": password });
    app.post("/v1/auth/password-reset/confirm").json(body).await.expect(204);
}

async fn entries(app: &TestApp) -> usize {
    let list = EntityList { limit: 10_000, ..EntityList::of(Owner::Platform) };
    app.app.ports().store.list_entities("audit_entry", &list).await.expect("the log").len()
}

#[tokio::test]
async fn a_reset_ends_every_session_in_one_commit() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let first = sessions(&app, &ada, 1).await.remove(0);
    app.clock.advance(seconds(60));
    sessions(&app, &ada, 1100).await;
    app.refresh(&first.reveal()).await.expect(200);
    let before = entries(&app).await;
    reset(&app, NEW).await;
    assert_eq!(entries(&app).await - before, 1, "one line, so one commit");
    app.get("/v1/me").by(&ada).await.problem(401, "session_ended");
    app.refresh(&ada.refresh_token).await.problem(401, "session_ended");
    app.refresh(&first.reveal()).await.problem(401, "session_ended");
    app.log_in(EMAIL, NEW).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_change_keeps_the_session_that_made_it_and_ends_more_than_a_page_of_others() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let old = sessions(&app, &ada, 1100).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    app.post("/v1/me/password").by(&ada).json(change).await.expect(204);
    for token in [&old[0], &old[1099]] {
        app.refresh(&token.reveal()).await.problem(401, "session_ended");
    }
    app.get("/v1/me").by(&ada).await.expect(200);
    let turned = app.refresh(&ada.refresh_token).await.expect(200);
    let listed = app.get("/v1/me/sessions").by(&ada).await.expect(200);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(1));
    app.request(Method::DELETE, "/v1/me/sessions").by(&ada).await.expect(204);
    app.refresh(turned["refresh_token"].as_str().expect("a token")).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_login_and_a_change_at_once_leave_no_session_by_the_old_password() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    let mut calls = vec![app.post("/v1/me/password").by(&ada).json(change)];
    // One more would be told to wait, once it is the wrong password.
    calls.extend((0..5).map(|_| app.post("/v1/auth/login").json(credentials(EMAIL, PASSWORD))));
    let replies = race(calls).await;
    replies[0].expect(204);
    for reply in &replies[1..] {
        assert!([200, 401, 409].contains(&reply.status), "{}", reply.status);
        if reply.status == 200 {
            let token = reply.json()["refresh_token"].as_str().expect("a token").to_owned();
            app.refresh(&token).await.problem(401, "session_ended");
        }
    }
    app.get("/v1/me").by(&ada).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_login_that_was_compared_before_a_reset_opens_nothing_after_it() {
    let app = TestApp::start().await;
    app.person(EMAIL).await;
    app.clock.advance(seconds(60));
    let (held, hashed) = (app.passwords.hold().await, app.passwords.hashed());
    let reset_meanwhile = async {
        while app.passwords.hashed() == hashed {
            tokio::task::yield_now().await;
        }
        reset(&app, NEW).await;
        drop(held);
    };
    let (old, ()) = tokio::join!(app.log_in(EMAIL, PASSWORD), reset_meanwhile);
    old.problem(409, "conflict");
    let list = EntityList::of(Owner::Platform);
    let rows = app.app.ports().store.list_entities(Session::KIND, &list).await.expect("a list");
    let epochs: Vec<u64> =
        rows.into_iter().map(|row| Stored::<Session>::read(row).expect("it reads").entity.epoch).collect();
    assert_eq!(epochs, [0], "the one from before");
    app.run_jobs().await;
}

#[tokio::test]
async fn a_question_for_the_second_factor_ends_with_the_password_that_it_followed() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let (_, recovery_code) = ada.scan_second_factor(&app).await;
    let asked = app.log_in(EMAIL, PASSWORD).await.expect(200);
    // In the same millisecond: no time tells the two apart.
    let change = json!({ "current_password": PASSWORD, "new_password": NEW });
    app.post("/v1/me/password").by(&ada).json(change).await.expect(204);
    let answer = |asked: &Value| json!({ "challenge": asked["challenge"], "code": recovery_code });
    app.post("/v1/auth/second-factor").json(answer(&asked)).await.problem(401, "sign_in_over");
    let asked = app.log_in(EMAIL, NEW).await.expect(200);
    app.post("/v1/auth/second-factor").json(answer(&asked)).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn switching_the_second_factor_on_keeps_the_session_that_did_and_ends_all_others() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let other = app.logged_in(EMAIL).await;
    let eve = app.person("eve@example.com").await;
    app.get("/v1/me").by(&other).await.expect(200);
    let (_, recovery_code) = ada.scan_second_factor(&app).await;
    app.get("/v1/me").by(&other).await.problem(401, "session_ended");
    app.refresh(&other.refresh_token).await.problem(401, "session_ended");
    app.get("/v1/me").by(&ada).await.expect(200);
    app.refresh(&ada.refresh_token).await.expect(200);
    app.get("/v1/me").by(&eve).await.expect(200);
    let asked = app.log_in(EMAIL, PASSWORD).await.expect(200);
    let answer = json!({ "challenge": asked["challenge"], "code": recovery_code });
    app.post("/v1/auth/second-factor").json(answer).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn logins_while_the_second_factor_goes_on_leave_no_session_without_it() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let begun = json!({ "password": PASSWORD });
    let begun = app.post("/v1/me/second-factor").by(&ada).json(begun).await.expect(201);
    let phone = Authenticator::scan(begun["secret"].as_str().expect("a secret"));
    let login = || app.post("/v1/auth/login").json(credentials(EMAIL, PASSWORD));
    let confirm = json!({ "code": phone.code(&app) });
    let mut calls: Vec<_> = (0..3).map(|_| login()).collect();
    calls.push(app.post("/v1/me/second-factor/confirm").by(&ada).json(confirm));
    calls.extend((0..2).map(|_| login()));
    let mut replies = race(calls).await;
    replies.remove(3).expect(200);
    for reply in &replies {
        assert!([200, 409].contains(&reply.status), "{}", reply.status);
        if let Some(token) = reply.json()["refresh_token"].as_str() {
            app.refresh(token).await.problem(401, "session_ended");
        }
    }
    app.get("/v1/me").by(&ada).await.expect(200);
    app.run_jobs().await;
}

#[tokio::test]
async fn of_more_than_a_hundred_sessions_the_oldest_end() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    app.clock.advance(seconds(1));
    let second = app.logged_in(EMAIL).await;
    for _ in 0..99 {
        app.clock.advance(seconds(1));
        app.log_in(EMAIL, PASSWORD).await.expect(200);
    }
    app.refresh(&ada.refresh_token).await.problem(401, "session_ended");
    let listed = app.get("/v1/me/sessions").by(&second).await.expect(200);
    assert_eq!(listed["data"].as_array().map(Vec::len), Some(100));
    // Who signs out and in makes nothing longer.
    let out = json!({ "refresh_token": second.refresh_token });
    app.post("/v1/auth/logout").json(out).await.expect(204);
    let list = EntityList::of(Owner::Platform);
    let kept = app.app.ports().store.list_entities(Session::KIND, &list).await.expect("a list").len();
    assert_eq!(kept, 99);
}

#[tokio::test]
async fn a_device_token_is_given_back_and_is_worth_nothing_after_a_reset() {
    let app = TestApp::start().await;
    let ada = app.person(EMAIL).await;
    let with = |password: &str, device: &str| {
        let mut body = credentials(EMAIL, password);
        body["device_token"] = device.into();
        app.post("/v1/auth/login").json(body)
    };
    assert_eq!(with(PASSWORD, &ada.device_token).await.expect(200)["device_token"], ada.device_token.as_str());
    assert_ne!(with(PASSWORD, "wd_nonsense").await.expect(200)["device_token"], ada.device_token.as_str());
    app.clock.advance(seconds(60));
    reset(&app, NEW).await;
    // Five guesses without a token, and none with the one from before.
    for _ in 0..5 {
        app.log_in(EMAIL, WRONG).await.problem(401, "credentials_wrong");
    }
    with(WRONG, &ada.device_token).await.problem(429, "login_delayed");
    app.run_jobs().await;
}
