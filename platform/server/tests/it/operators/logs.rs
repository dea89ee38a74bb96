//! What is told of operators, and where it is read.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::audit::By;
use wotp_core::domain::event::Event;
use wotp_core::domain::permission::Role;
use wotp_core::ports::{Entity as _, EntityList, Owner};

use super::{audited, of, told};
use crate::app::{NUMBER, TestApp, days, id, seconds};
use crate::client::race;
use crate::people::TestPerson;
use crate::webhooks::{Received, stage};

#[tokio::test]
async fn what_operators_do_to_a_tenant_is_in_the_platforms_log_too_which_outlives_the_tenants() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let operator = app.operator().await;
    let suspend =
        |reason: &str| app.post(format!("{}/suspend", of(&acme))).by(&operator).json(json!({ "reason": reason }));
    suspend("unpaid").await.expect(200);
    suspend("unpaid for long").await.expect(200);
    app.post(format!("{}/resume", of(&acme))).by(&operator).await.expect(200);
    app.request(Method::PATCH, of(&acme)).by(&operator).json(json!({ "plan": "free" })).await.expect(200);
    let own = audited(&app, &acme).await;
    for (action, before, after) in [
        ("tenant.resume", json!({ "reason": "unpaid for long" }), Value::Null),
        ("tenant.suspend", json!({ "reason": "unpaid" }), json!({ "reason": "unpaid for long" })),
    ] {
        let platforms = told(&app, &operator, action).await.remove(0);
        let tenants = own.iter().rfind(|entry| entry["action"] == action).unwrap();
        for entry in [&platforms, tenants] {
            assert_eq!(entry["target"], acme.id.to_string());
            assert_eq!((&entry["before"], &entry["after"]), (&before, &after), "{entry}");
        }
    }
    let changed = told(&app, &operator, "tenant.change").await.remove(0);
    assert_eq!((&changed["target"], &changed["after"]["plan"]), (&json!(acme.id.to_string()), &json!("free")));
}

#[tokio::test]
async fn a_tenants_endpoints_are_told_what_operators_do_to_it_also_while_it_is_suspended() {
    let (app, acme, receiver, _endpoint) = stage().await;
    let (operator, owner) = (app.operator().await, app.member(&acme, Role::Owner).await);
    let suspend = async |reason: &str| {
        let suspend = app.post(format!("{}/suspend", of(&acme))).by(&operator);
        suspend.json(json!({ "reason": reason })).await.expect(200)
    };
    let resume = async || app.post(format!("{}/resume", of(&acme))).by(&operator).await.expect(200);
    let change = async |body: Value| app.request(Method::PATCH, of(&acme)).by(&operator).json(body).await.expect(200);
    suspend("unpaid").await;
    app.run_webhooks().await;
    app.get("/v1/usage").key(&acme.live).await.problem(403, "tenant_suspended");
    let told = || receiver.received().iter().map(Received::json).collect::<Vec<_>>();
    let since = "2026-11-22T12:00:00Z";
    let first = told();
    assert_eq!(first.len(), 1, "{first:?}");
    assert_eq!(first[0]["type"], "tenant.suspended");
    assert_eq!(first[0]["data"], json!({ "reason": "unpaid", "since": since }));
    app.clock.advance(seconds(60));
    resume().await;
    resume().await;
    let plan = async |plan: &str| app.app.change_plan(acme.id, plan).await.unwrap();
    change(json!({ "plan": "pro" })).await;
    change(json!({ "plan": "pro" })).await;
    change(json!({ "limits": { "verifications_day": 1 } })).await;
    plan("pro").await;
    plan("free").await;
    app.run_webhooks().await;
    let changed = |plan: &str, previous_plan: &str, limits_changed: bool| {
        let data = json!({ "plan": plan, "previous_plan": previous_plan, "limits_changed": limits_changed });
        json!(["tenant.plan_changed", data])
    };
    let mut rest: Vec<Value> = told()[1..].iter().map(|event| json!([event["type"], event["data"]])).collect();
    let mut expected = vec![
        json!(["tenant.resumed", { "reason": "unpaid", "since": since }]),
        changed("pro", "unlimited", false),
        changed("pro", "pro", true),
        changed("free", "pro", false),
    ];
    // They come in any order.
    rest.sort_by_key(Value::to_string);
    expected.sort_by_key(Value::to_string);
    assert_eq!(rest, expected, "and nothing is told of what changes nothing");
    // One that is deleted is told nothing: what is being erased must not grow.
    app.delete("/v1/tenant").by(&owner).await.expect(200);
    let events = async || {
        let list = EntityList::of(Owner::Tenant(acme.id));
        app.app.ports().store.list_entities(Event::KIND, &list).await.unwrap().len()
    };
    let before = events().await;
    suspend("unpaid again").await;
    resume().await;
    change(json!({ "plan": "pro" })).await;
    plan("unlimited").await;
    assert_eq!(events().await, before);
}

#[tokio::test]
async fn operators_read_the_platforms_log_and_a_tenants_and_the_tenant_sees_that() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (operator, admin) = (app.operator().await, app.member(&acme, Role::Admin).await);
    app.put("/operator/v1/maintenance")
        .by(&operator)
        .json(json!({ "message": "soon", "minutes": 5 }))
        .await
        .expect(200);
    app.delete("/operator/v1/maintenance").by(&operator).await.expect(204);
    let log = async |query: &str| {
        let page = app.get(format!("/operator/v1/audit?{query}")).by(&operator).await.expect(200);
        let actions = page["data"].as_array().unwrap().iter().map(|entry| entry["action"].as_str().unwrap().to_owned());
        (actions.collect::<Vec<_>>(), page["next_cursor"].clone())
    };
    // The platform's own: filtered, page by page, and read without a trace.
    assert_eq!(log("action=maintenance.").await.0, ["maintenance.end", "maintenance.begin"]);
    let (first, cursor) = log("action=maintenance.&limit=1").await;
    let (second, _) = log(&format!("action=maintenance.&limit=1&cursor={}", cursor.as_str().unwrap())).await;
    assert_eq!([first, second].concat(), ["maintenance.end", "maintenance.begin"]);
    assert_eq!(log("action=audit.").await.0, [""; 0]);
    assert_eq!(log(&format!("actor={}&action=maintenance.b", operator.user)).await.0, ["maintenance.begin"]);
    // A tenant's: that it was read is in it first, by whom, and in the platform's.
    let change = app.request(Method::PATCH, format!("/v1/services/{}", acme.service)).key(&acme.live);
    change.json(json!({ "brand": "Shop" })).await.expect(200);
    let theirs = log(&format!("tenant={}&limit=2", acme.id)).await.0;
    assert_eq!(theirs, ["audit.read", "service.change"]);
    let seen = app.get("/v1/audit?limit=1").by(&admin).await.expect(200)["data"][0].clone();
    let by = json!({ "type": "operator", "id": operator.user });
    assert_eq!((&seen["action"], &seen["actor"]), (&json!("audit.read"), &by));
    assert_eq!(log(&format!("action=audit.&target={}", acme.id)).await.0, ["audit.read"]);
    // The whole of it, as a file.
    let whole = app.get(format!("/operator/v1/audit/export?tenant={}", acme.id)).by(&operator).await;
    assert_eq!((whole.status, whole.header("content-type")), (200, "application/x-ndjson"));
    let lines: Vec<Value> = whole.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let places: Vec<_> = lines.iter().map(|line| line["place"].as_u64().unwrap()).collect();
    assert!(places.iter().copied().eq(1..=places.last().copied().unwrap()), "{places:?}");
    assert_eq!(lines.last().unwrap()["action"], "audit.read");
    assert_eq!(app.get("/operator/v1/audit/export?action=maintenance.").by(&operator).await.text.lines().count(), 2);
    // One that is not there has no log, and neither has the platform's own tenant.
    let unknown = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M";
    app.get(format!("/operator/v1/audit?tenant={unknown}")).by(&operator).await.problem(404, "not_found");
    app.get(format!("/operator/v1/audit/export?tenant={unknown}")).by(&operator).await.problem(404, "not_found");
    for wrong in ["limit=0", "cursor=x", "owner=me", "from=yesterday"] {
        app.get(format!("/operator/v1/audit?{wrong}")).by(&operator).await.problem(422, "invalid_request");
    }
}

#[tokio::test]
async fn erasures_are_listed_with_their_reports() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.clock.advance(seconds(1));
    let globex = app.tenant("Globex").await;
    app.started(&acme.live, NUMBER).await;
    let operator = app.operator().await;
    let list = async |operator: &TestPerson, query: &str| {
        app.get(format!("/operator/v1/erasures?{query}")).by(operator).await.expect(200)
    };
    assert_eq!(list(&operator, "").await["data"], json!([]));
    for tenant in [&acme, &globex] {
        let owner = app.member(tenant, Role::Owner).await;
        app.delete("/v1/tenant").by(&owner).await.expect(200);
    }
    let waiting = list(&operator, "").await;
    let tenants = |page: &Value| {
        let all = page["data"].as_array().unwrap().iter();
        all.map(|erasure| erasure["tenant"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(tenants(&waiting), [globex.id.to_string(), acme.id.to_string()]);
    assert_eq!((&waiting["data"][1]["began_at"], &waiting["data"][1]["finished_at"]), (&Value::Null, &Value::Null));
    let first = list(&operator, "limit=1").await;
    let second = list(&operator, &format!("limit=1&cursor={}", first["next_cursor"].as_str().unwrap())).await;
    assert_eq!([tenants(&first), tenants(&second)].concat(), tenants(&waiting));
    assert_eq!(second["next_cursor"], Value::Null);
    app.clock.advance(days(15));
    for _ in 0..20 {
        app.sweep().await;
    }
    let operator = app.logged_in("operator@example.com").await;
    let done = list(&operator, "").await;
    assert_eq!(done["data"][1]["erased"]["verifications"], 1);
    assert!(done["data"].as_array().unwrap().iter().all(|erasure| erasure["finished_at"].is_string()), "{done}");
    // What is gone has no log any more; that it was erased is in the platform's.
    app.get(format!("/operator/v1/audit?tenant={}", acme.id)).by(&operator).await.problem(404, "not_found");
    let told = app.get(format!("/operator/v1/audit?action=tenant.erase&target={}", acme.id)).by(&operator);
    assert_eq!(told.await.expect(200)["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn reading_the_log_of_a_deleted_tenant_adds_nothing_to_it() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (operator, owner) = (app.operator().await, app.member(&acme, Role::Owner).await);
    app.delete("/v1/tenant").by(&owner).await.expect(200);
    let page = app.get(format!("/operator/v1/audit?tenant={}&limit=1", acme.id)).by(&operator).await.expect(200);
    assert_eq!(page["data"][0]["action"], "tenant.delete");
    assert_eq!(told(&app, &operator, "audit.read").await[0]["target"], acme.id.to_string());
}

#[tokio::test]
async fn the_log_of_a_deleted_tenant_does_not_grow() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (operator, owner) = (app.operator().await, app.member(&acme, Role::Owner).await);
    let stuck = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    app.lose_jobs().await;
    let access = json!({ "reason": "you asked", "minutes": 60 });
    let act = |operator: &TestPerson| app.post(format!("{}/accesses", of(&acme))).by(operator).json(access.clone());
    let running = act(&operator).await.expect(201);
    let invited = json!({ "email": "grace@example.com", "role": "viewer" });
    app.post("/v1/tenant/invitations").by(&owner).json(invited).await.expect(201);
    app.delete("/v1/tenant").by(&owner).await.expect(200);
    let log = audited(&app, &acme).await;
    assert_eq!(log.last().unwrap()["action"], "tenant.delete");

    act(&operator).await.problem(403, "tenant_deleted");
    app.delete(format!("{}/accesses/{}", of(&acme), id(&running))).by(&operator).await.expect(200);
    app.request(Method::PATCH, of(&acme)).by(&operator).json(json!({ "plan": "free" })).await.expect(200);
    app.post(format!("{}/suspend", of(&acme))).by(&operator).json(json!({ "reason": "unpaid" })).await.expect(200);
    app.post(format!("{}/resume", of(&acme))).by(&operator).await.expect(200);
    for what in ["retry", "discard"] {
        app.post(format!("{}/work/{}/{what}", of(&acme), id(&stuck))).by(&operator).await.expect(204);
    }
    app.lose_jobs().await;
    for action in
        ["operator_access.end", "tenant.change", "tenant.suspend", "tenant.resume", "work.retry", "work.discard"]
    {
        assert_eq!(told(&app, &operator, action).await.len(), 1, "{action}");
    }
    let settings = wotp_core::app::NewKeySettings::named("late", wotp_core::domain::mode::Mode::Live);
    let late = app.app.issue_key(&By::command_line(), acme.id, settings).await;
    assert!(matches!(late, Err(wotp_core::app::Refusal::TenantDeleted { .. })), "{late:?}");
    app.clock.advance(days(7));
    app.sweep().await;
    let list = EntityList::of(Owner::Tenant(acme.id));
    let invitations = app.app.ports().store.list_entities("invitation", &list).await.unwrap();
    assert_eq!(invitations, [], "it ran out all the same");
    assert_eq!(audited(&app, &acme).await, log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_that_an_operator_does_at_that_moment_comes_into_a_log_after_the_deletion() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (operator, owner) = (app.operator().await, app.member(&acme, Role::Owner).await);
    let act = json!({ "reason": "you asked", "minutes": 60 });
    let act = app.post(format!("{}/accesses", of(&acme))).by(&operator).json(act);
    let read = app.get(format!("/operator/v1/audit?tenant={}", acme.id)).by(&operator);
    let mut calls = vec![act.clone(), read.clone(), act.clone(), read.clone(), act, read];
    calls.insert(3, app.delete("/v1/tenant").by(&owner));
    for reply in race(calls).await {
        assert!([200, 201, 403, 409].contains(&reply.status), "{}", reply.text);
    }
    assert_eq!(audited(&app, &acme).await.last().unwrap()["action"], "tenant.delete");
}
