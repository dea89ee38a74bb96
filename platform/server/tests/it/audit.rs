//! The audit log: that every change is in it, that it is found again, and that nobody changes it unseen.

mod actions;
mod of_people;

#[cfg(feature = "plugins")]
pub use actions::{ACCOUNTS, CONNECTIONS, LIVE_CONNECTIONS, PLUGINS, entries, tell};
pub use actions::{Line, Says};

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::audit::{AuditEntry, AuditFault, AuditHead};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::permission::Role;
use wotp_core::ports::{Change, Entity as _, EntityList, EntityRow, Owner};

use crate::app::{TestApp, TestTenant, id, seconds};
use crate::client::race;
use crate::people::TestPerson;

async fn stage() -> (TestApp, TestTenant, TestPerson) {
    let (app, acme) = TestApp::start_with_tenant().await;
    let admin = app.member(&acme, Role::Admin).await;
    (app, acme, admin)
}

async fn log(app: &TestApp, by: &TestPerson, query: &str) -> Vec<Value> {
    let mut entries = Vec::new();
    let mut path = format!("/v1/audit?limit=100&{query}");
    loop {
        let page = app.get(&path).by(by).await.expect(200);
        entries.extend(page["data"].as_array().expect("entries").clone());
        let Some(cursor) = page["next_cursor"].as_str() else { return entries };
        path = format!("/v1/audit?limit=100&{query}&cursor={cursor}");
    }
}

fn actions(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["action"].as_str().expect("an action")).collect()
}

#[tokio::test]
async fn every_change_tells_who_did_what_to_what_and_from_where() {
    let (app, acme, admin) = stage().await;
    let service = format!("/v1/services/{}", acme.service);
    let change = app.request(Method::PATCH, &service).key(&acme.live).header("x-request-id", "req-1");
    change.json(json!({ "brand": "Shop", "code": { "length": 8 } })).await.expect(200);
    let text = json!({ "locale": "en", "text": "Your code: {{code}}" });
    app.post(format!("{service}/templates")).by(&admin).json(text).await.expect(201);
    app.request(Method::DELETE, format!("{service}/templates?locale=en")).by(&admin).await.expect(204);
    let shop = app.post("/v1/services").by(&admin).json(json!({ "name": "Shop" })).await.expect(201);
    let made = app.post("/v1/keys").by(&admin).json(json!({ "name": "a" })).await.expect(201);
    let key = id(&made["key"]);
    app.request(Method::PATCH, format!("/v1/keys/{key}")).by(&admin).json(json!({ "name": "b" })).await.expect(200);
    app.post(format!("/v1/keys/{key}/rotate")).by(&admin).json(json!({})).await.expect(201);
    app.request(Method::DELETE, format!("/v1/keys/{key}")).by(&admin).await.expect(204);
    app.app.change_plan(acme.id, "free").await.expect("another plan");
    let entries = log(&app, &admin, "").await;
    assert_eq!(
        actions(&entries),
        [
            "tenant.change_plan",
            "api_key.revoke",
            "api_key.rotate",
            "api_key.create",
            "api_key.change",
            "api_key.create",
            "service.create",
            "template.withdraw",
            "template.publish",
            "service.change",
            "api_key.create",
            "api_key.create",
            "service.create",
            "tenant.create",
        ]
    );
    let of = |action: &str| entries.iter().find(|entry| entry["action"] == action).expect("an entry");
    let changed = of("service.change");
    assert_eq!(changed["actor"]["type"], "api_key");
    assert_eq!((&changed["ip"], &changed["request_id"]), (&json!("198.51.100.7"), &json!("req-1")));
    assert_eq!(changed["target"], acme.service.to_string());
    assert_eq!(changed["before"], json!({ "settings": { "brand": "Acme", "code": { "length": 6 } } }));
    assert_eq!(changed["after"], json!({ "settings": { "brand": "Shop", "code": { "length": 8 } } }));
    let published = of("template.publish");
    assert_eq!(published["actor"], json!({ "type": "user", "id": admin.user.to_string() }));
    assert_eq!(published["after"]["templates"]["*/en"]["text"], "Your code: {{code}}");
    assert_eq!(of("service.create")["target"], shop["id"]);
    assert_eq!(of("api_key.change")["before"], json!({ "name": "a" }));
    assert_eq!(of("api_key.revoke")["before"], json!({ "revoked_at": null }));
    assert_eq!(of("tenant.change_plan")["actor"], json!({ "type": "command_line", "id": null }));
    assert_eq!(of("tenant.change_plan")["after"], json!({ "plan": "free" }));
}

#[tokio::test]
async fn what_changes_nothing_is_no_entry() {
    let (app, acme, admin) = stage().await;
    let made = app.post("/v1/keys").by(&admin).json(json!({ "name": "a" })).await.expect(201);
    let path = format!("/v1/keys/{}", id(&made["key"]));
    app.request(Method::DELETE, &path).by(&admin).await.expect(204);
    let before = log(&app, &admin, "").await;
    app.request(Method::DELETE, &path).by(&admin).await.expect(204);
    app.request(Method::PATCH, &path).by(&admin).json(json!({ "name": "b" })).await.problem(409, "api_key_over");
    app.post("/v1/services").key(&acme.live).json(json!({ "name": "" })).await.problem(422, "invalid_request");
    assert_eq!(log(&app, &admin, "").await, before);
}

#[tokio::test]
async fn the_log_is_filtered_by_actor_action_target_and_time() {
    let (app, acme, admin) = stage().await;
    let shop = app.post("/v1/services").by(&admin).json(json!({ "name": "Shop" })).await.expect(201);
    app.clock.advance(seconds(60));
    let by_key = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Other" })).await.expect(201);
    let only = |query: String| {
        let (app, admin) = (&app, &admin);
        async move {
            let entries = log(app, admin, &query).await;
            entries.iter().map(|entry| entry["target"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        }
    };
    assert_eq!(only(format!("actor={}", admin.user)).await, [id(&shop)]);
    assert_eq!(only(format!("target={}", id(&by_key))).await, [id(&by_key)]);
    assert_eq!(only(format!("target={}&actor=platform", id(&by_key))).await, [""; 0]);
    assert_eq!(only("action=service.&from=2026-11-22T12:00:30Z".to_owned()).await, [id(&by_key)]);
    assert_eq!(only("action=service.create&before=2026-11-22T12:01:00Z&actor=command_line".to_owned()).await.len(), 1);
    assert_eq!(only("action=service".to_owned()).await.len(), 3);
    for wrong in ["actro=x", "limit=101", "cursor=x", "from=yesterday", "action=key.create", "actor=nobody", "target=x"]
    {
        app.get(format!("/v1/audit?{wrong}")).by(&admin).await.problem(422, "invalid_request");
    }
}

#[tokio::test]
async fn pages_end_exactly_where_the_log_does() {
    let (app, acme, admin) = stage().await;
    for number in 0..4 {
        app.post("/v1/services").key(&acme.live).json(json!({ "name": format!("{number}") })).await.expect(201);
    }
    let mut places = Vec::new();
    let mut path = "/v1/audit?limit=4".to_owned();
    let mut pages = 0;
    loop {
        let page = app.get(&path).by(&admin).await.expect(200);
        places.extend(page["data"].as_array().unwrap().iter().map(|entry| entry["place"].as_u64().unwrap()));
        pages += 1;
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("/v1/audit?limit=4&cursor={cursor}");
    }
    assert_eq!((pages, places), (2, vec![8, 7, 6, 5, 4, 3, 2, 1]));
}

#[tokio::test]
async fn the_log_is_for_admins_of_the_tenant() {
    let (app, acme, _admin) = stage().await;
    let developer = app.member(&acme, Role::Developer).await;
    let stranger = app.member(&app.tenant("Globex").await, Role::Owner).await;
    for path in ["/v1/audit", "/v1/audit/export"] {
        app.get(path).by(&developer).await.problem(403, "role_missing");
        app.get(path).key(&acme.live).await.problem(403, "key_not_allowed");
        let theirs = app.get(path).by(&stranger).await;
        assert_eq!(theirs.status, 200);
        assert!(!theirs.text.contains(&acme.id.to_string()) && !theirs.text.contains(&acme.service.to_string()));
    }
}

#[tokio::test]
async fn an_export_has_every_entry_oldest_first_one_a_line() {
    let (app, acme, admin) = stage().await;
    for number in 0..410 {
        let change = json!({ "brand": format!("Brand {number}") });
        app.change_service(&acme, change).await;
    }
    let reply = app.get("/v1/audit/export").by(&admin).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/x-ndjson"));
    let lines: Vec<Value> = reply.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let mut listed = log(&app, &admin, "").await;
    listed.reverse();
    assert_eq!(lines.len(), 414);
    assert_eq!(lines, listed);
    let some = app.get("/v1/audit/export?action=tenant.").by(&admin).await;
    assert_eq!(some.text.lines().count(), 1);
}

#[tokio::test]
async fn racing_changes_on_two_nodes_make_one_sound_chain() {
    let (app, acme, _admin) = stage().await;
    let fellow = app.fellow();
    let (first, second) = (race_services(&app, &acme, 0), race_services(&fellow, &acme, 32));
    tokio::join!(first, second);
    let report = app.app.verify_audit(Owner::Tenant(acme.id)).await.expect("a report");
    assert_eq!((report.sound, report.fault), (4 + 64, None));
}

async fn race_services(app: &TestApp, acme: &TestTenant, from: usize) {
    let create =
        |number: usize| app.post("/v1/services").key(&acme.live).json(json!({ "name": format!("{}", from + number) }));
    for reply in race((0..32).map(create)).await {
        reply.expect(201);
    }
}

#[tokio::test]
async fn a_chain_is_sound_while_it_grows() {
    let (app, acme, _admin) = stage().await;
    let growing = async {
        for number in 0..60 {
            app.change_service(&acme, json!({ "brand": format!("Brand {number}") })).await;
        }
    };
    let looking = async {
        let mut seen = 0;
        while seen < 64 {
            let report = app.app.verify_audit(Owner::Tenant(acme.id)).await.expect("a report");
            assert_eq!(report.fault, None, "after {}", report.sound);
            seen = report.sound;
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(growing, looking);
}

/// What an intruder does who can write to the database.
async fn write(app: &TestApp, changes: Vec<Change>) {
    app.app.ports().store.commit(changes).await.expect("the database is written to");
}

async fn rows(app: &TestApp, tenant: TenantId) -> Vec<EntityRow> {
    let list = EntityList::of(Owner::Tenant(tenant));
    app.app.ports().store.list_entities(AuditEntry::KIND, &list).await.expect("entries")
}

async fn head(app: &TestApp, tenant: TenantId) -> EntityRow {
    let owner = Owner::Tenant(tenant);
    let head = app.app.ports().store.find_entity(AuditHead::KIND, owner, owner.to_bytes()).await;
    head.expect("a store").expect("a head")
}

async fn fault(app: &TestApp, tenant: TenantId) -> Option<AuditFault> {
    let report = app.app.verify_audit(Owner::Tenant(tenant)).await.expect("a report");
    assert!(report.fault.is_some() || report.sound == 4);
    report.fault
}

#[tokio::test]
async fn an_entry_that_is_changed_is_found() {
    let app = TestApp::start().await;
    for (field, value) in [
        ("action", json!("tenant.delete")),
        ("target", json!("svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
        ("at", json!("2026-11-22T12:00:01Z")),
        ("actor", json!({ "type": "platform" })),
        ("after", json!({ "name": "another" })),
        ("digest", json!("0".repeat(64))),
    ] {
        let tenant = app.tenant("Acme").await.id;
        assert_eq!(fault(&app, tenant).await, None);
        let mut row = rows(&app, tenant).await[1].clone();
        row.doc.insert(field.to_owned(), value);
        write(&app, vec![Change::Put(row)]).await;
        assert!(matches!(fault(&app, tenant).await, Some(AuditFault::Changed { place: 2, .. })), "{field}");
    }
    let tenant = app.tenant("Acme").await.id;
    let mut row = rows(&app, tenant).await[1].clone();
    row.doc.remove("action");
    write(&app, vec![Change::Put(row)]).await;
    assert_eq!(fault(&app, tenant).await, Some(AuditFault::Unreadable { place: 2 }));
}

#[tokio::test]
async fn an_entry_that_is_removed_is_found_wherever_it_was() {
    let app = TestApp::start().await;
    for removed in 0..3 {
        let tenant = app.tenant("Acme").await.id;
        let row = rows(&app, tenant).await[removed].clone();
        write(&app, vec![Change::Delete(row)]).await;
        let place = u64::try_from(removed).unwrap() + 1;
        assert_eq!(fault(&app, tenant).await, Some(AuditFault::Missing { place }));
    }
    // The last one, and also when the head is made to say so.
    let tenant = app.tenant("Acme").await.id;
    let all = rows(&app, tenant).await;
    write(&app, vec![Change::Delete(all[3].clone())]).await;
    assert_eq!(fault(&app, tenant).await, Some(AuditFault::End { found: 3 }));
    let mut wound_back = head(&app, tenant).await;
    wound_back.doc.insert("length".to_owned(), json!(3));
    wound_back.doc.insert("digest".to_owned(), all[2].doc["digest"].clone());
    write(&app, vec![Change::Put(wound_back.clone())]).await;
    assert_eq!(fault(&app, tenant).await, Some(AuditFault::End { found: 3 }));
    let wound_back = head(&app, tenant).await;
    write(&app, vec![Change::Delete(wound_back)]).await;
    assert_eq!(fault(&app, tenant).await, Some(AuditFault::End { found: 3 }), "a chain has a head");
}

#[tokio::test]
async fn entries_that_change_places_are_found() {
    let app = TestApp::start().await;
    let tenant = app.tenant("Acme").await.id;
    let all = rows(&app, tenant).await;
    let (mut one, mut two) = (all[1].clone(), all[2].clone());
    std::mem::swap(&mut one.doc, &mut two.doc);
    write(&app, vec![Change::Put(one.clone()), Change::Put(two.clone())]).await;
    assert_eq!(fault(&app, tenant).await, Some(AuditFault::Missing { place: 2 }));
    // Also when they are made to say that they belong there.
    one.doc.insert("place".to_owned(), json!(2));
    two.doc.insert("place".to_owned(), json!(3));
    write(&app, vec![Change::Put(one), Change::Put(two)]).await;
    assert!(matches!(fault(&app, tenant).await, Some(AuditFault::Changed { place: 2, .. })));
}

#[tokio::test]
async fn an_entry_that_is_put_in_is_found_wherever_it_is() {
    let app = TestApp::start().await;
    for number in [0_u128, 5, 9, u128::MAX] {
        let tenant = app.tenant("Acme").await.id;
        let all = rows(&app, tenant).await;
        let more = EntityRow { id: number.to_be_bytes(), ..all[0].clone() };
        write(&app, vec![Change::Put(more)]).await;
        assert!(matches!(fault(&app, tenant).await, Some(AuditFault::Moved { .. })), "{number}");
    }
    // One of another tenant's, genuine in itself, with the head that goes with it.
    let (tenant, other) = (app.tenant("Acme").await.id, app.tenant("Globex").await.id);
    let owner = Owner::Tenant(tenant);
    let mut changes: Vec<Change> =
        rows(&app, other).await.into_iter().map(|row| Change::Put(EntityRow { owner, ..row })).collect();
    changes.push(Change::Put(EntityRow { owner, id: owner.to_bytes(), ..head(&app, other).await }));
    write(&app, changes).await;
    assert!(matches!(fault(&app, tenant).await, Some(AuditFault::Moved { place: 1, .. })));
}

#[tokio::test]
async fn a_head_that_is_changed_is_found() {
    let app = TestApp::start().await;
    for (field, value) in [("length", json!(5)), ("digest", json!("0".repeat(64))), ("seal", json!("0".repeat(64)))] {
        let tenant = app.tenant("Acme").await.id;
        let mut row = head(&app, tenant).await;
        row.doc.insert(field.to_owned(), value);
        write(&app, vec![Change::Put(row)]).await;
        assert_eq!(fault(&app, tenant).await, Some(AuditFault::End { found: 4 }), "{field}");
    }
}

#[tokio::test]
async fn everybodys_chain_is_looked_at_also_without_its_tenant_or_its_head() {
    let (app, acme, _admin) = stage().await;
    let owners = app.app.audit_owners().await.expect("owners");
    assert!(owners.contains(&Owner::Platform) && owners.contains(&Owner::Tenant(acme.id)));
    let gone = head(&app, acme.id).await;
    write(&app, vec![Change::Delete(gone)]).await;
    assert!(app.app.audit_owners().await.expect("owners").contains(&Owner::Tenant(acme.id)));
}

#[tokio::test]
async fn what_changes_nothing_writes_nothing() {
    let (app, acme, _) = stage().await;
    let owner = app.member(&acme, Role::Owner).await;
    let operator = app.operator().await;
    let member = app.member(&acme, Role::Viewer).await;
    let service = format!("/v1/services/{}", acme.service);
    let guard = format!("{service}/guard");
    let post = |path: &str, body: Value| app.post(path).by(&owner).json(body);
    let key = post("/v1/keys", json!({ "name": "a", "scopes": ["usage:read"] })).await.expect(201);
    let key = format!("/v1/keys/{}", id(&key["key"]));
    let endpoint = json!({ "url": "https://example.com/hook", "events": ["message.sent"] });
    let endpoint = post("/v1/webhooks/endpoints", endpoint).await.expect(201);
    let endpoint = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    let tenant = format!("/operator/v1/tenants/{}", acme.id);
    let asked = [
        (Method::PATCH, service.clone(), &owner, json!({ "name": "Acme" })),
        (Method::PATCH, service.clone(), &owner, json!({ "brand": " Acme ", "code": { "length": 6 } })),
        (Method::PATCH, service, &owner, json!({})),
        (Method::PUT, guard, &owner, json!({ "mode": "shadow", "caps": { "ip": { "per_hour": 9 } } })),
        (Method::PATCH, key.clone(), &owner, json!({ "name": " a ", "scopes": ["usage:read"], "allowed_ips": [] })),
        (Method::PATCH, key, &owner, json!({})),
        (Method::PATCH, endpoint.clone(), &owner, json!({ "events": ["message.sent"], "enabled": true })),
        (Method::PATCH, endpoint, &owner, json!({})),
        (Method::PATCH, "/v1/tenant".to_owned(), &owner, json!({ "name": "Acme " })),
        (Method::PATCH, format!("/v1/tenant/members/{}", member.user), &owner, json!({ "role": "viewer" })),
        (Method::PATCH, "/v1/me".to_owned(), &owner, json!({ "name": "Ada" })),
        (Method::PATCH, tenant.clone(), &operator, json!({ "plan": "unlimited", "limits": {} })),
        (Method::PATCH, tenant, &operator, json!({})),
    ];
    let ask = async |(method, path, by, body): &(Method, String, &TestPerson, Value)| {
        app.request(method.clone(), path).by(by).json(body.clone()).await.expect(200)
    };
    // Once, so that all is as it is asked to be.
    let mut before = Vec::new();
    for asked in &asked {
        before.push(ask(asked).await);
    }
    app.app.change_plan(acme.id, "unlimited").await.expect("the plan that it has");
    let rows = app.rows();
    app.clock.advance(seconds(1));
    for (asked, before) in asked.iter().zip(before) {
        let after = ask(asked).await;
        // The service is there three times, and was changed in between.
        assert_eq!(after["id"], before["id"]);
        assert!(app.rows() == rows, "{} {} {} wrote something", asked.0, asked.1, asked.3);
    }
    app.app.change_plan(acme.id, "unlimited").await.expect("the plan that it has");
    assert!(app.rows() == rows, "and so does the command line");
}
