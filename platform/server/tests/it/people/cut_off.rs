//! A process that is killed while a code for an account is used up.

use std::sync::Arc;

use serde_json::Value;
use wotp_core::domain::code::Code;
use wotp_core::domain::id::VerificationId;
use wotp_core::domain::pending::Pending;
use wotp_core::domain::tenant::HOUSE;
use wotp_core::ports::{Change, Entity as _, Owner, Stored};

use crate::app::{TestApp, wrong};

const EMAIL: &str = "ada@example.com";

fn id_of(started: &Value) -> VerificationId {
    started["verification"].as_str().unwrap().parse().unwrap()
}

async fn pending(app: &TestApp, id: VerificationId) -> Stored<Pending> {
    let row = app.app.ports().store.find_entity(Pending::KIND, Owner::Platform, id.to_bytes()).await.unwrap();
    Stored::read(row.expect("it waits")).unwrap()
}

/// What is written before the code is used up.
async fn note_typed(app: &TestApp, id: VerificationId, code: &str) {
    let ports = app.app.ports();
    let mut waits = pending(app, id).await;
    waits.typed = Some(ports.vault.hash_code(&id.to_bytes(), &Code::typed(code)));
    ports.store.commit(vec![Change::replace(&waits)]).await.unwrap();
}

/// A sign-up as it is left by who was killed after the code was used up, and before that was noted.
async fn used_up() -> (TestApp, Value, String) {
    let app = TestApp::start().await;
    let started = app.sign_up(EMAIL).await.expect(202);
    let code = app.mailed(EMAIL).await;
    let id = id_of(&started);
    note_typed(&app, id, &code).await;
    let store = Arc::clone(&app.app.ports().store);
    let mut verification = store.tenant(HOUSE).find_verification(id).await.unwrap().unwrap();
    assert!(verification.check(|_| true, app.app.ports().clock.now()));
    store.tenant(HOUSE).replace(&mut verification, false).await.unwrap();
    (app, started, code)
}

#[tokio::test]
async fn a_code_that_was_used_up_and_not_noted_is_right_when_it_is_typed_again() {
    let (app, started, code) = used_up().await;
    app.confirm(&started, &wrong(&code)).await.problem(422, "code_wrong");
    app.confirm(&started, &code).await.expect(201);
    app.logged_in(EMAIL).await;
    app.confirm(&started, &code).await.problem(422, "code_wrong");
}

#[tokio::test]
async fn whoever_guesses_then_has_no_more_tries_than_before() {
    let (app, started, code) = used_up().await;
    for _ in 0..5 {
        app.confirm(&started, &wrong(&code)).await.problem(422, "code_wrong");
    }
    app.confirm(&started, &code).await.problem(422, "code_wrong");
}

#[tokio::test]
async fn what_was_noted_and_not_used_up_is_used_up_by_the_next_try() {
    let app = TestApp::start().await;
    let started = app.sign_up(EMAIL).await.expect(202);
    let code = app.mailed(EMAIL).await;
    note_typed(&app, id_of(&started), &code).await;
    app.confirm(&started, &wrong(&code)).await.problem(422, "code_wrong");
    app.confirm(&started, &code).await.expect(201);
}

#[tokio::test]
async fn a_wrong_code_is_never_noted() {
    let app = TestApp::start().await;
    let started = app.sign_up(EMAIL).await.expect(202);
    let code = app.mailed(EMAIL).await;
    app.confirm(&started, &wrong(&code)).await.problem(422, "code_wrong");
    assert_eq!(pending(&app, id_of(&started)).await.typed, None);
}
