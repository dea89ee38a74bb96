//! People who erase their accounts.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::id::{TenantId, UserId};
use wotp_core::domain::invitation::Invitation;
use wotp_core::domain::permission::Role;
use wotp_core::domain::user::AccountEmail;
use wotp_core::ports::{Change, EntityList, Owner};

use super::account::{audited, told};
use super::{PASSWORD, TestPerson};
use crate::app::{TestApp, seconds};
use crate::client::{Request, race};

const EMAIL: &str = "ada@example.com";

fn erase(app: &TestApp, person: &TestPerson) -> Request {
    app.post("/v1/me/erase").by(person).json(json!({ "password": PASSWORD }))
}

/// Everything of these kinds that is left, as text.
async fn left(app: &TestApp, kinds: &[&'static str]) -> String {
    let all = EntityList { owner: None, ..EntityList::of(Owner::Platform) };
    let mut text = String::new();
    for kind in kinds {
        let rows = app.app.ports().store.list_entities(kind, &all).await.expect("a list");
        text.extend(rows.into_iter().map(|row| Value::Object(row.doc).to_string() + "\n"));
    }
    text
}

/// Deletes the tenant that a person signed up with, so that they own nothing.
async fn delete_own_tenant(app: &TestApp, person: &TestPerson) {
    app.request(Method::DELETE, "/v1/tenant").by(person).await.expect(200);
}

#[tokio::test]
async fn the_only_owner_of_a_tenant_hears_of_which_and_nothing_is_erased() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = app.member(&acme, Role::Owner).await;
    let refused = erase(&app, &owner).await.problem(409, "last_owner");
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains(&acme.id.to_string()), "{detail}");
    app.get("/v1/me").by(&owner).await.expect(200);
    let second = app.member(&acme, Role::Owner).await;
    erase(&app, &owner).await.expect(204);
    app.get("/v1/me").by(&owner).await.problem(401, "session_ended");
    let members = app.get("/v1/tenant/members").by(&second).await.expect(200);
    assert_eq!(members["data"].as_array().map(Vec::len), Some(1));
    app.run_jobs().await;
}

#[tokio::test]
async fn of_the_last_two_owners_who_erase_themselves_one_stays() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owners = [app.member(&acme, Role::Owner).await, app.member(&acme, Role::Owner).await];
    let replies = race(owners.iter().map(|owner| erase(&app, owner))).await;
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [204, 409]);
    app.run_jobs().await;
}

#[tokio::test]
async fn however_often_an_address_was_invited_nothing_is_left_of_it() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let ada = app.member(&acme, Role::Viewer).await;
    let ports = app.app.ports();
    let email = AccountEmail::parse(&ada.email).expect("an address");
    let invited = (0..1001).map(|_| {
        let tenant = TenantId::new(ports.clock.now(), &*ports.entropy);
        let by = UserId::new(ports.clock.now(), &*ports.entropy);
        let new = Invitation::new(tenant, &email, Role::Viewer, by, ports.clock.now(), &ports.vault, &*ports.entropy);
        Change::insert(&new.0)
    });
    ports.store.commit(invited.collect()).await.expect("they are stored");
    erase(&app, &ada).await.expect(204);
    assert_eq!(left(&app, &["invitation"]).await, "");
    app.run_jobs().await;
}

#[tokio::test]
async fn all_of_a_person_goes_at_once_and_the_address_is_free_again() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = app.member(&acme, Role::Owner).await;
    let ada = app.person(EMAIL).await;
    app.logged_in(EMAIL).await;
    delete_own_tenant(&app, &ada).await;
    ada.switch_second_factor_on(&app).await;
    let invite = json!({ "email": EMAIL, "role": "viewer" });
    app.post("/v1/tenant/invitations").by(&owner).json(invite).await.expect(201);
    app.post("/v1/me/erase").by(&ada).json(json!({})).await.problem(422, "invalid_request");
    let body = json!({ "password": "not the right sentence" });
    app.post("/v1/me/erase").by(&ada).json(body).await.problem(401, "credentials_wrong");
    erase(&app, &ada).await.expect(204);

    app.get("/v1/me").by(&ada).await.problem(401, "session_ended");
    app.refresh(&ada.refresh_token).await.problem(401, "session_ended");
    app.log_in(EMAIL, PASSWORD).await.problem(401, "credentials_wrong");
    let kinds = ["user", "member", "session", "second_factor", "linked_identity", "invitation"];
    let left = left(&app, &kinds).await;
    assert!(!left.contains(&ada.user.to_string()) && !left.contains("a***@example.com"), "{left}");
    assert!(told(&app, EMAIL).await.contains("Your account was erased"));
    let log = audited(&app).await;
    let line = log.lines().find(|line| line.contains("user.erase")).expect("a line");
    assert!(line.contains(&ada.user.to_string()) && !line.contains("example.com"), "{line}");
    let invitations = app.get("/v1/tenant/invitations").by(&owner).await.expect(200);
    assert_eq!(invitations["data"], json!([]));
    app.clock.advance(seconds(86_400));
    assert_ne!(app.person(EMAIL).await.user, ada.user);
}

#[tokio::test]
async fn who_joins_a_team_while_they_are_erased_is_not_in_it_afterwards() {
    for _ in 0..8 {
        let (app, acme) = TestApp::start_with_tenant().await;
        let owner = app.member(&acme, Role::Owner).await;
        let ada = app.person(EMAIL).await;
        delete_own_tenant(&app, &ada).await;
        app.clock.advance(seconds(60));
        let invite = json!({ "email": EMAIL, "role": "viewer" });
        app.post("/v1/tenant/invitations").by(&owner).json(invite).await.expect(201);
        app.run_jobs().await;
        let letters = app.outbox.letters();
        let text = &letters.iter().rfind(|letter| letter.text.contains("wi_")).expect("an invitation").text;
        let token = text.split_whitespace().find(|word| word.starts_with("wi_")).expect("a token").to_owned();
        let joining = app.post("/v1/invitations/accept").by(&ada).json(json!({ "token": token }));
        race([erase(&app, &ada), joining]).await;
        // Whoever is listed is there: a member who is nobody would be an error.
        let members = app.get("/v1/tenant/members").by(&owner).await.expect(200);
        assert_eq!(members["data"].as_array().map(Vec::len), Some(1));
        app.run_jobs().await;
    }
}
