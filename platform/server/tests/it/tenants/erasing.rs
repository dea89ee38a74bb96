//! Tenants that are deleted: back for a while, and then gone with all that was theirs.

use std::sync::Arc;

use serde_json::{Value, json};
use wotp_core::app::Wanted;
use wotp_core::domain::audit::By;
use wotp_core::domain::erasure::Erasure;
use wotp_core::domain::event::Event;
use wotp_core::domain::live_connection::{Connect, LiveStatus, Wish};
use wotp_core::domain::permission::Role;
use wotp_core::domain::rollup::Rollup;
use wotp_core::ports::{Admission, Change, Clock as _, Entity as _, EntityList, Owner, Stored};
use wotp_core::testing::builders::{a_verification, admission, an_invitation};

use super::{Team, log};
use crate::app::{NUMBER, TestApp, days, number, seconds};
use crate::client::race;
use crate::sessions::{Linked, a_connection, standing, stands};

/// A live key of the team's tenant.
async fn key_of(team: &Team) -> String {
    let settings = wotp_core::app::NewKeySettings::named("key", wotp_core::domain::mode::Mode::Live);
    let key = team.app.app.issue_key(&By::command_line(), team.tenant, settings).await.unwrap();
    key.secret.reveal().to_owned()
}

#[tokio::test]
async fn a_deleted_tenant_refuses_its_keys_and_members_at_once_and_comes_back_as_it_was() {
    let team = Team::set().await;
    let app = &team.app;
    let key = key_of(&team).await;
    let (verification, code) = app.started(&key, NUMBER).await;
    team.invite(&team.owner, "grace@example.com", "viewer").await.expect(201);
    let token = team.token().await;

    let deleted = team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    assert_eq!(
        (deleted["state"].as_str(), deleted["erasure_due_at"].as_str()),
        (Some("deleted"), Some("2026-12-06T12:00:03Z"))
    );
    app.checking(&key, &verification, &code).await.problem(403, "tenant_deleted");
    for who in [&team.owner, &team.viewer] {
        team.ask(who, "get", "/v1/tenant").await.problem(403, "tenant_deleted");
        let list = who.call(app, "get", "/v1/tenants").await.expect(200);
        assert_eq!(list["data"][0]["tenant"]["state"], "deleted");
    }
    app.post("/v1/invitations/preview").json(json!({ "token": token })).await.problem(404, "not_found");
    let erasure = team.owner.call(app, "get", format!("/v1/tenants/{}/erasure", team.tenant)).await.expect(200);
    assert_eq!((erasure["finished_at"].clone(), erasure["erased"]["members"].clone()), (Value::Null, Value::Null));

    let restore = format!("/v1/tenants/{}/restore", team.tenant);
    team.admin.call(app, "post", &restore).await.problem(403, "role_missing");
    let replies = race((0..3).map(|_| team.owner.call(app, "post", &restore))).await;
    assert!(replies.iter().all(|reply| reply.status == 200), "{replies:?}");
    assert_eq!(team.ask(&team.viewer, "get", "/v1/tenant").await.expect(200)["state"], "active");
    assert_eq!(app.checking(&key, &verification, &code).await.expect(200)["valid"], true);
    team.owner.call(app, "get", format!("/v1/tenants/{}/erasure", team.tenant)).await.problem(404, "not_found");
    app.clock.advance(days(30));
    app.sweep().await;
    assert!(app.app.ports().store.tenant(team.tenant).find_tenant().await.unwrap().is_some());
}

#[tokio::test]
async fn after_the_grace_all_of_a_tenant_is_erased_and_a_report_stays() {
    let mut team = Team::set().await;
    let (other, other_key) = {
        let other = team.app.tenant("Globex").await;
        let live = other.live.clone();
        (other, live)
    };
    let key = key_of(&team).await;
    team.app.started(&key, NUMBER).await;
    team.app.started(&other_key, NUMBER).await;
    team.invite(&team.owner, "grace@example.com", "viewer").await.expect(201);
    team.app.run_jobs().await;
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    team.app.clock.advance(days(14));
    // More than one step erases, so that others are served between.
    let expires_at = team.app.clock.now().saturating_add(days(7)).unwrap();
    let invitation = |_| {
        let mut invitation = an_invitation(team.tenant, Role::Viewer);
        invitation.expires_at = expires_at;
        Change::insert(&invitation)
    };
    team.app.app.ports().store.commit((0..600).map(invitation).collect()).await.unwrap();
    let mut steps = 0;
    while team.app.sweep().await.erased > 0 {
        steps += 1;
        assert!(steps < 50, "it goes on for ever");
        let reply = team.app.get("/v1/usage").key(&other_key).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    assert!(steps > 2, "{steps}");

    team.owner.sign_in(&team.app).await;
    let report = team.owner.call(&team.app, "get", format!("/v1/tenants/{}/erasure", team.tenant)).await.expect(200);
    assert!(report["finished_at"].is_string(), "{report}");
    assert_eq!(report["deleted_by"], team.owner.id.to_string());
    let erased = &report["erased"];
    assert_eq!((&erased["keys"], &erased["services"]), (&json!(1), &json!(1)));
    assert_eq!(erased["verifications"], 1);
    assert!(erased["others"].as_u64().unwrap() > 600, "invitations, members and the log: {report}");
    let told = log(&team.app, Owner::Platform).await;
    let told = told.iter().find(|entry| entry.action == "tenant.erase").expect("the platform's log tells of it");
    assert_eq!((&told.target, &told.after.as_ref().unwrap()["erased"]), (&team.tenant.to_string(), erased));

    assert_eq!(team.log().await, []);
    assert_eq!(team.roles().await, []);
    assert!(team.app.app.ports().store.tenant(team.tenant).find_tenant().await.unwrap().is_none());
    team.app.get("/v1/usage").key(&key).await.problem(401, "api_key_unknown");
    assert_eq!(team.owner.call(&team.app, "get", "/v1/tenants").await.expect(200)["data"], json!([]));
    let restore = format!("/v1/tenants/{}/restore", team.tenant);
    team.owner.call(&team.app, "post", restore).await.problem(404, "not_found");
    assert_eq!(
        team.app.get("/v1/services").key(&other_key).await.expect(200)["data"][0]["id"],
        other.service.to_string()
    );
}

#[tokio::test]
async fn what_has_begun_to_be_erased_does_not_come_back() {
    let mut team = Team::set().await;
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    team.app.clock.advance(days(14));
    team.owner.sign_in(&team.app).await;
    // Due, though no sweep came by.
    let restore = format!("/v1/tenants/{}/restore", team.tenant);
    team.owner.call(&team.app, "post", &restore).await.problem(403, "tenant_deleted");
}

/// What was folded of the team's tenant, and is there.
async fn folded(team: &Team) -> usize {
    let (store, list) = (&team.app.app.ports().store, EntityList::of(Owner::Tenant(team.tenant)));
    let rollups = store.list_entities(Rollup::KIND, &list).await.unwrap();
    rollups.len() + store.list_entities(Event::KIND, &list).await.unwrap().len()
}

async fn is_erased(team: &Team) -> bool {
    let (store, id) = (&team.app.app.ports().store, team.tenant.to_bytes());
    let row = store.find_entity(Erasure::KIND, Owner::Platform, id).await.unwrap().expect("it was deleted");
    Stored::<Erasure>::read(row).unwrap().told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_is_folded_brings_an_erased_tenant_back() {
    let team = Team::set().await;
    let (fellow, key) = (team.app.fellow(), key_of(&team).await);
    team.app.app.heard(team.tenant).await.unwrap();
    for n in 0..20 {
        team.app.started(&key, &number(n)).await;
    }
    team.app.app.fold(5).await.unwrap();
    assert!(folded(&team).await > 0, "while it is served it is told of");
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    team.app.clock.advance(days(14));
    // Both nodes fold a little at a time while both erase; and some of what they do is cut off in the middle, as by
    // a node that is killed.
    let mut rounds = 0;
    while !is_erased(&team).await {
        rounds += 1;
        assert!(rounds < 200, "it goes on for ever");
        let work = [&team.app, &fellow].map(|node| {
            let (one, other) = (Arc::clone(&node.app), Arc::clone(&node.app));
            let fold = tokio::spawn(async move { one.fold(3).await.map(drop) });
            let sweep = tokio::spawn(async move { other.sweep(10).await.map(drop) });
            [fold, sweep]
        });
        for (n, task) in work.into_iter().flatten().enumerate() {
            if rounds % 3 == 0 && n % 2 == rounds % 2 {
                task.abort();
            }
            match task.await {
                Ok(done) => done.unwrap(),
                Err(cut) => assert!(cut.is_cancelled(), "{cut}"),
            }
        }
    }
    assert_eq!(folded(&team).await, 0);
    // A start that was let in when the tenant was still served, and is stored only now.
    let store = &team.app.app.ports().store;
    let late = admission(a_verification(team.tenant, NUMBER, team.app.clock.now()));
    let late = store.tenant(team.tenant).admit(late).await.unwrap();
    assert!(matches!(late, Admission::Admitted(_)), "{late:?}");
    let taken = fellow.app.fold(50).await.unwrap();
    assert_eq!((taken.taken, taken.events, folded(&team).await), (1, 0, 0));
    assert_eq!(store.news(10).await.unwrap(), []);
    team.app.lose_jobs().await;
}

/// A team whose tenant has one number that is logged in, and one that somebody had disconnect; what is wanted of them.
async fn with_numbers() -> (Team, Vec<Wanted>) {
    let team = Team::of(TestApp::with().channel(Arc::new(Linked)).start().await).await;
    let asked_at = team.app.clock.now();
    let connects = Wish::Connect(Connect { asked_at, code_for: None });
    let linked = a_connection(&team.app, team.tenant, connects).await;
    a_connection(&team.app, team.tenant, Wish::Rest).await;
    stands(&team.app, linked, &standing(&team.app, LiveStatus::Connected)).await;
    let wanted = wanted(&team).await;
    assert_eq!(wanted.len(), 1);
    (team, wanted)
}

async fn wanted(team: &Team) -> Vec<Wanted> {
    let all = team.app.app.wanted_connections().await.unwrap();
    for (of, wanted) in &all {
        assert_eq!(team.app.app.wanted_connection(*of).await.unwrap().as_ref(), Some(wanted));
    }
    all.into_iter().map(|(_, wanted)| wanted).collect()
}

#[tokio::test]
async fn the_numbers_of_a_deleted_tenant_are_let_go_and_come_back_with_it() {
    let (team, before) = with_numbers().await;
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    assert_eq!(wanted(&team).await, []);
    let restore = format!("/v1/tenants/{}/restore", team.tenant);
    team.owner.call(&team.app, "post", &restore).await.expect(200);
    assert_eq!(wanted(&team).await, before);
    // One that is suspended keeps them.
    team.app.app.suspend_tenant(&By::command_line(), team.tenant, "unpaid").await.unwrap();
    assert_eq!(wanted(&team).await, before);
}

#[tokio::test]
async fn the_phones_of_a_tenant_are_told_before_it_is_erased() {
    let (team, _) = with_numbers().await;
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    team.app.clock.advance(days(14));
    team.app.sweep().await;
    for _ in 0..3 {
        assert_eq!(team.app.sweep().await.erased, 0, "nodes are at it");
        assert_eq!(wanted(&team).await, [Wanted::Leave, Wanted::Leave]);
    }
    for (of, _) in team.app.app.wanted_connections().await.unwrap() {
        team.app.app.live_connection_left(of).await.unwrap();
    }
    while team.app.sweep().await.erased > 0 {}
    assert!(team.app.app.ports().store.tenant(team.tenant).find_tenant().await.unwrap().is_none());
}

#[tokio::test]
async fn where_no_node_tells_the_phones_the_tenant_is_erased_all_the_same() {
    let (team, _) = with_numbers().await;
    team.ask(&team.owner, "delete", "/v1/tenant").await.expect(200);
    team.app.clock.advance(days(14));
    team.app.sweep().await;
    team.app.clock.advance(seconds(599));
    assert_eq!(team.app.sweep().await.erased, 0);
    team.app.clock.advance(seconds(1));
    while team.app.sweep().await.erased > 0 {}
    assert!(team.app.app.ports().store.tenant(team.tenant).find_tenant().await.unwrap().is_none());
    assert_eq!(wanted(&team).await, []);
}
