//! One row that cannot be read: damaged, or written by a newer program. It fails nothing but itself.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::audit::{AuditEntry, place_id};
use wotp_core::domain::event::Event;
use wotp_core::domain::id::EndpointId;
use wotp_core::domain::invitation::Invitation;
use wotp_core::domain::member::{BY_USER, Member};
use wotp_core::domain::permission::Role;
use wotp_core::domain::rollup::Rollup;
use wotp_core::domain::user::User;
use wotp_core::domain::webhook::endpoint::{Audience, Endpoint};
use wotp_core::ports::{Change, Entity, EntityList, EntityRow, IndexKey, Owner, Stored};

use crate::app::{NUMBER, TestApp, id, seconds};
use crate::people::TestPerson;
use crate::webhooks::{Receiver, stage};

/// Nothing is left of its fields; it is found as before.
async fn damage(app: &TestApp, row: EntityRow, listed: Vec<IndexKey>) {
    let row = EntityRow { doc: serde_json::Map::new(), listed, ..row };
    app.app.ports().store.commit(vec![Change::Put(row)]).await.expect("the store answers");
}

async fn row<E: Entity>(app: &TestApp, owner: Owner, id: [u8; 16]) -> EntityRow {
    let row = app.app.ports().store.find_entity(E::KIND, owner, id).await.expect("the store answers");
    row.expect("it is there")
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_read_keeps_no_others_from_being_told() {
    let (app, acme, receiver, endpoint) = stage().await;
    let silent = Receiver::start().await;
    let bad = app.endpoint(&acme.live, json!({ "url": silent.url() })).await;
    let bad_id: EndpointId = id(&bad["endpoint"]).parse().unwrap();
    let owner = Owner::Tenant(acme.id);
    damage(&app, row::<Endpoint>(&app, owner, bad_id.to_bytes()).await, Vec::new()).await;
    app.clock.advance(seconds(2));
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await.len(), 1);
    assert_eq!((receiver.received().len(), silent.received().len()), (1, 0));
    let listed = app.get("/v1/webhooks/endpoints").key(&acme.live).await.expect(200);
    let ids: Vec<&str> = listed["data"].as_array().unwrap().iter().map(id).collect();
    assert_eq!(ids, [id(&endpoint["endpoint"])]);
    // Where it is the only one, events are kept for whoever can read it.
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    app.request(Method::DELETE, path).key(&acme.live).await.expect(204);
    app.clock.advance(seconds(2));
    assert!(app.app.listens(acme.id).await.unwrap());
}

#[tokio::test]
async fn a_membership_that_cannot_be_read_keeps_nobody_out_elsewhere() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    let person = app.member(&acme, Role::Developer).await;
    let joined_at = app.app.ports().clock.now();
    let other = Member { tenant: globex.id, user: person.user, role: Role::Admin, joined_at };
    app.app.ports().store.commit(vec![Change::insert(&other)]).await.unwrap();
    let stored = row::<Member>(&app, other.owner(), other.id()).await;
    damage(&app, stored, vec![IndexKey::new(BY_USER, person.user.to_bytes())]).await;
    app.clock.advance(seconds(2));
    let me = app.get("/v1/me").by(&person).await.expect(200);
    let tenants: Vec<&str> =
        me["memberships"].as_array().unwrap().iter().map(|one| one["tenant"].as_str().unwrap()).collect();
    assert_eq!(tenants, [acme.id.to_string()]);
    let own = app.get("/v1/tenants").by(&person).await.expect(200);
    let ids: Vec<&str> = own["data"].as_array().unwrap().iter().map(|own| id(&own["tenant"])).collect();
    assert_eq!(ids, [acme.id.to_string()]);
    app.post("/v1/tenants").by(&person).json(json!({ "name": "Initech" })).await.expect(201);
}

#[tokio::test]
async fn an_account_that_cannot_be_read_or_is_gone_fails_no_others_of_its_team() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = app.member(&acme, Role::Owner).await;
    let (bad, gone) = (app.member(&acme, Role::Developer).await, app.member(&acme, Role::Viewer).await);
    damage(&app, row::<User>(&app, Owner::Platform, bad.user.to_bytes()).await, Vec::new()).await;
    let row = row::<User>(&app, Owner::Platform, gone.user.to_bytes()).await;
    let erased = Stored::<User>::read(row).expect("it reads");
    app.app.ports().store.commit(vec![Change::delete(&erased)]).await.expect("it is deleted");

    let members = async || {
        let listed = app.get("/v1/tenant/members").by(&owner).await.expect(200);
        let shown = |member: &Value| {
            let text = |name: &str| member[name].as_str().unwrap().to_owned();
            (text("user"), text("role"), text("email"))
        };
        listed["data"].as_array().unwrap().iter().map(shown).collect::<Vec<_>>()
    };
    let of =
        |person: &TestPerson, role: &str, email: &str| (person.user.to_string(), role.to_owned(), email.to_owned());
    let mut expected = vec![of(&owner, "owner", &owner.email), of(&bad, "developer", ""), of(&gone, "viewer", "")];
    expected.sort();
    assert_eq!(members().await, expected);

    // What is answered is what became of it.
    let give = |person: &TestPerson, role: &str| {
        app.request(Method::PATCH, format!("/v1/tenant/members/{}", person.user))
            .by(&owner)
            .json(json!({ "role": role }))
    };
    for person in [&bad, &gone] {
        assert_eq!(give(person, "admin").await.expect(200)["role"], "admin");
    }
    // Nobody could sign in as the new owner.
    let hand_on =
        |to: &TestPerson| app.post("/v1/tenant/transfer").by(&owner).json(json!({ "user": to.user.to_string() }));
    hand_on(&bad).await.problem(500, "internal");
    hand_on(&gone).await.problem(404, "not_found");
    let mut expected = vec![of(&owner, "owner", &owner.email), of(&bad, "admin", ""), of(&gone, "admin", "")];
    expected.sort();
    assert_eq!(members().await, expected);
    for person in [&bad, &gone] {
        app.request(Method::DELETE, format!("/v1/tenant/members/{}", person.user)).by(&owner).await.expect(204);
    }
}

#[tokio::test]
async fn an_invitation_whose_address_cannot_be_read_fails_no_others() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (owner, admin) = (app.member(&acme, Role::Owner).await, app.member(&acme, Role::Admin).await);
    for email in ["grace@example.com", "joan@example.com", "mary@example.com"] {
        let invite = json!({ "email": email, "role": "admin" });
        app.post("/v1/tenant/invitations").by(&admin).json(invite).await.expect(201);
        app.clock.advance(seconds(1));
    }
    app.run_jobs().await;
    let store = &app.app.ports().store;
    let sent = store.list_entities(Invitation::KIND, &EntityList::of(Owner::Tenant(acme.id))).await.unwrap();
    damage(&app, sent[0].clone(), Vec::new()).await;
    let mut unsealed = sent[1].clone();
    unsealed.doc.insert("email".to_owned(), json!("AAAA"));
    store.commit(vec![Change::Put(unsealed)]).await.expect("the store answers");
    let listed = app.get("/v1/tenant/invitations").by(&owner).await.expect(200);
    let emails: Vec<&str> =
        listed["data"].as_array().unwrap().iter().map(|one| one["email"].as_str().unwrap()).collect();
    assert_eq!(emails, ["j***@example.com", "mary@example.com"]);
    // Whoever sent them can be made less, and what they could not send any more is taken back, as far as it is known.
    let less = app.request(Method::PATCH, format!("/v1/tenant/members/{}", admin.user)).by(&owner);
    less.json(json!({ "role": "viewer" })).await.expect(200);
    assert_eq!(app.get("/v1/tenant/invitations").by(&owner).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn an_audit_entry_that_cannot_be_read_is_shown_in_its_place_and_hides_no_other() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let admin = app.member(&acme, Role::Admin).await;
    let owner = Owner::Tenant(acme.id);
    let before = app.get("/v1/audit").by(&admin).await.expect(200);
    damage(&app, row::<AuditEntry>(&app, owner, place_id(2)).await, Vec::new()).await;
    let unreadable = json!({ "place": 2, "unreadable": true });
    let mut expected = before["data"].as_array().unwrap().clone();
    for entry in &mut expected {
        if entry["place"] == 2 {
            *entry = unreadable.clone();
        }
    }
    assert_eq!(app.get("/v1/audit").by(&admin).await.expect(200)["data"], json!(expected));
    // Whatever is asked for: what it was is not known.
    let filtered = app.get("/v1/audit?action=tenant.create").by(&admin).await.expect(200);
    assert!(filtered["data"].as_array().unwrap().contains(&unreadable), "{filtered}");
    let export = app.get("/v1/audit/export").by(&admin).await;
    let mut lines: Vec<Value> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    lines.reverse();
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn an_event_or_a_bucket_of_analytics_that_cannot_be_read_is_passed_over() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = Owner::Tenant(acme.id);
    app.get("/v1/events").key(&acme.live).await.expect(200);
    for _ in 0..3 {
        app.uses_up(&acme).await;
    }
    let store = &app.app.ports().store;
    let events = store.list_entities(Event::KIND, &EntityList::of(owner)).await.unwrap();
    damage(&app, events[1].clone(), Vec::new()).await;
    let listed = app.get("/v1/events").key(&acme.live).await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
    let whole = app.get("/v1/events?limit=1").key(&acme.live).await.expect(200);
    let next = format!("/v1/events?limit=1&cursor={}", whole["next_cursor"].as_str().unwrap());
    assert_eq!(app.get(next).key(&acme.live).await.expect(200)["data"].as_array().unwrap().len(), 1);

    app.started(&acme.live, NUMBER).await;
    app.app.fold(9).await.unwrap();
    let counted = async || app.get("/v1/analytics").key(&acme.live).await.expect(200)["totals"]["started"].clone();
    assert_eq!(counted().await, 1);
    for row in store.list_entities(Rollup::KIND, &EntityList::of(owner)).await.unwrap() {
        damage(&app, row, Vec::new()).await;
    }
    assert_eq!(counted().await, 0);
}

#[tokio::test]
async fn whoever_listens_until_when_cannot_be_read_is_told_and_keeps_nobodys_events_waiting() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    for tenant in [&acme, &globex] {
        app.get("/v1/events").key(&tenant.live).await.expect(200);
    }
    let owner = Owner::Tenant(acme.id);
    damage(&app, row::<Audience>(&app, owner, acme.id.to_bytes()).await, Vec::new()).await;
    app.clock.advance(seconds(2));
    for tenant in [&acme, &globex] {
        app.started(&tenant.live, NUMBER).await;
        while app.app.fold(100).await.expect("one row keeps nothing waiting").taken > 0 {}
        let listed = app.get("/v1/events").key(&tenant.live).await.expect(200);
        assert!(!listed["data"].as_array().unwrap().is_empty(), "{listed}");
    }
}

#[tokio::test]
async fn stuck_work_that_cannot_be_read_is_listed_and_hides_no_other() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let operator = app.operator().await;
    let whole = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    app.lose_jobs().await;
    let planted = app.plant_unreadable(&whole).to_string();
    app.clock.advance(seconds(75));
    let operator = app.logged_in(&operator.email).await;
    let work = app.get("/operator/v1/work").by(&operator).await.expect(200);
    let stuck = work["stuck"].as_array().unwrap().iter().map(|one| (id(one), one["tries"].as_u64()));
    assert_eq!(stuck.collect::<BTreeSet<_>>(), [(&*planted, None), (id(&whole), Some(0))].into());
    app.sweep().await;
    app.run_jobs().await;
    assert_eq!(app.outbox.last().to, NUMBER, "nor does it keep another from being sent");
}

#[tokio::test]
async fn a_tenant_that_cannot_be_read_keeps_nobodys_events_waiting() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    app.get("/v1/events").key(&globex.live).await.expect(200);
    for tenant in [&acme, &globex] {
        app.started(&tenant.live, NUMBER).await;
    }
    app.damage_tenant(acme.id);
    app.clock.advance(seconds(2));
    while app.app.fold(100).await.expect("one row keeps nothing waiting").taken > 0 {}
    let listed = app.get("/v1/events").key(&globex.live).await.expect(200);
    assert!(!listed["data"].as_array().unwrap().is_empty(), "{listed}");
}
