use serde_json::json;
use wotp_core::domain::member::Member;
use wotp_core::domain::permission::Role;
use wotp_core::ports::Change;

use crate::app::{NUMBER, TestApp, seconds};

#[tokio::test]
async fn a_member_calls_what_a_key_calls_as_far_as_the_role_goes() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let viewer = app.member(&acme, Role::Viewer).await;
    let developer = app.member(&acme, Role::Developer).await;
    let start = || app.post("/v1/verifications").json(json!({ "to": NUMBER }));
    let refused = start().by(&viewer).await.problem(403, "role_missing");
    assert!(refused["detail"].as_str().expect("words").contains("`developer`"));
    let started = start().by(&developer).await.expect(201);
    app.run_jobs().await;
    let seen = app.get(crate::app::path(&started)).by(&viewer).await.expect(200);
    assert_eq!(seen["status"], "pending");
    assert!(!seen["to"].as_str().expect("an address").contains(&NUMBER[1..]), "a viewer sees no whole address");
    app.get(crate::app::path(&started)).key(&acme.live).await.expect(200);
}

#[tokio::test]
async fn who_is_not_in_a_tenant_does_not_learn_of_it() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    let person = app.member(&acme, Role::Owner).await;
    let call = |tenant: &str| app.get("/v1/usage").key(&person.access_token).header("wotp-tenant", tenant);
    call(&acme.id.to_string()).await.expect(200);
    let there = call(&globex.id.to_string()).await.problem(404, "not_found");
    let nowhere = call("ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M").await.problem(404, "not_found");
    assert_eq!(there["detail"], nowhere["detail"]);
    assert_eq!(call("acme").await.wrong_fields(), ["WOTP-Tenant"]);
    call("ten_00000000000000000000000001").await.problem(404, "not_found");
}

#[tokio::test]
async fn who_is_in_two_tenants_says_which_and_what_changes_is_seen_within_a_second() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    let person = app.member(&acme, Role::Owner).await;
    let call = || app.get("/v1/usage").key(&person.access_token);
    call().await.expect(200);
    let now = app.app.ports().clock.now();
    let member = Member { tenant: globex.id, user: person.user, role: Role::Viewer, joined_at: now };
    app.app.ports().store.commit(vec![Change::insert(&member)]).await.expect("a new member");
    app.clock.advance(seconds(1));
    assert_eq!(call().await.wrong_fields(), ["WOTP-Tenant"]);
    call().header("wotp-tenant", &globex.id.to_string()).await.expect(200);
    let start = app.post("/v1/verifications").key(&person.access_token).json(json!({ "to": NUMBER }));
    start.header("wotp-tenant", &globex.id.to_string()).await.problem(403, "role_missing");
}

#[tokio::test]
async fn a_member_works_with_live_data_unless_they_ask_for_test_data() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let person = app.member(&acme, Role::Developer).await;
    let start = || app.post("/v1/verifications").by(&person).json(json!({ "to": NUMBER }));
    let test = start().header("wotp-mode", "test").await.expect(201);
    assert_eq!(test["test_mode"], true, "{test}");
    app.run_jobs().await;
    assert!(app.outbox.letters().iter().all(|letter| letter.to != NUMBER));
    let live = start().header("wotp-mode", "live").await.expect(201);
    assert_eq!(live["test_mode"], false, "{live}");
    app.get(crate::app::path(&test)).by(&person).await.problem(404, "not_found");
    assert_eq!(start().header("wotp-mode", "prod").await.wrong_fields(), ["WOTP-Mode"]);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_person_without_a_tenant_has_nothing_to_call_for() {
    let app = TestApp::start().await;
    let acme = app.tenant("Acme").await;
    let person = app.member(&acme, Role::Owner).await;
    let list = wotp_core::ports::EntityList::by("user", person.user.to_bytes());
    let store = &app.app.ports().store;
    let rows = store.list_entities("member", &list).await.expect("the store answers");
    let member = rows.into_iter().next().expect("a member");
    let member = wotp_core::ports::Stored::<Member>::read(member).expect("it reads");
    store.commit(vec![Change::delete(&member)]).await.expect("it goes");
    app.clock.advance(seconds(1));
    app.get("/v1/me").key(&person.access_token).await.expect(200);
    app.get("/v1/usage").key(&person.access_token).await.problem(404, "not_found");
}

#[tokio::test]
async fn what_is_for_people_takes_no_key() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.get("/v1/me").await.problem(401, "token_missing");
    app.get("/v1/me").key(&acme.live).await.problem(403, "key_not_allowed");
    app.get("/v1/me").key("wk_live_nonsense").await.problem(401, "api_key_malformed");
}
