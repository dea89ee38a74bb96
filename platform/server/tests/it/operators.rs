//! What operators do: for all tenants, and to the platform itself.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::audit::By;
use wotp_core::domain::event::Event;
use wotp_core::domain::permission::Role;
use wotp_core::ports::{Change, Entity as _, EntityList, EntityRow, Owner};

use crate::app::{NUMBER, TestApp, TestTenant, days, id, number, path, seconds};
use crate::client::{Request, race};
use crate::people::{PASSWORD, TestPerson};
use crate::webhooks::{Received, stage};

impl TestApp {
    /// Somebody who runs the platform, and is signed in.
    pub async fn operator(&self) -> TestPerson {
        let email = "operator@example.com";
        self.app.appoint_operator(&By::command_line(), email, Some(PASSWORD)).await.expect("a new operator");
        self.logged_in(email).await
    }

    fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    fn delete(&self, path: impl Into<String>) -> Request {
        self.request(Method::DELETE, path)
    }
}

fn of(tenant: &TestTenant) -> String {
    format!("/operator/v1/tenants/{}", tenant.id)
}

/// What the tenant's audit log says, oldest first.
async fn audited(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    let list = EntityList::of(Owner::Tenant(tenant.id));
    let rows = app.app.ports().store.list_entities("audit_entry", &list).await.expect("a list");
    rows.into_iter().map(|row| Value::Object(row.doc)).collect()
}

#[tokio::test]
async fn only_operators_are_let_in() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = app.member(&acme, Role::Owner).await;
    app.get("/operator/v1/tenants").await.problem(401, "token_missing");
    app.get("/operator/v1/tenants").by(&owner).await.problem(403, "operator_needed");
    app.get("/operator/v1/tenants").key(&acme.live).await.problem(403, "key_not_allowed");
    let operator = app.operator().await;
    app.get("/operator/v1/tenants").by(&operator).await.expect(200);
    // At once, with the session that is open.
    app.app.dismiss_operator(&By::command_line(), "operator@example.com").await.expect("dismissed");
    app.get("/operator/v1/tenants").by(&operator).await.problem(403, "operator_needed");
}

#[tokio::test]
async fn every_operation_for_operators_refuses_everybody_else() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = app.member(&acme, Role::Owner).await;
    let document: Value = serde_json::from_str(&wotp_server::http::openapi_json()).unwrap();
    let mut seen = 0;
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| path.starts_with("/operator/"))
    {
        for method in item.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let request = || app.request(method.clone(), path.replace("{id}", &acme.id.to_string()));
            request().await.problem(401, "token_missing");
            request().key(&acme.live).await.problem(403, "key_not_allowed");
            request().by(&owner).await.problem(403, "operator_needed");
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[tokio::test]
async fn tenants_are_searched_page_by_page() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.clock.advance(seconds(1));
    let globex = app.tenant_on("Globex", "free").await;
    let operator = app.operator().await;
    let search = async |query: &str| {
        let page = app.get(format!("/operator/v1/tenants?{query}")).by(&operator).await.expect(200);
        let ids = page["data"].as_array().unwrap().iter().map(|tenant| id(tenant).to_owned());
        (ids.collect::<Vec<_>>(), page["next_cursor"].clone())
    };
    // The platform's own tenant, which writes to people, is nobody's customer.
    assert_eq!(search("").await.0, [acme.id.to_string(), globex.id.to_string()]);
    assert_eq!(search("name=GLOB").await.0, [globex.id.to_string()]);
    assert_eq!(search("plan=free&state=active").await.0, [globex.id.to_string()]);
    assert_eq!(search("state=suspended").await.0, [""; 0]);
    let (first, cursor) = search("limit=1").await;
    assert_eq!(first, [acme.id.to_string()]);
    let (second, end) = search(&format!("limit=1&cursor={}", cursor.as_str().unwrap())).await;
    assert_eq!((second, end), (vec![globex.id.to_string()], Value::Null));
    for wrong in ["limit=0", "state=gone", "cursor=x", "page=2"] {
        app.get(format!("/operator/v1/tenants?{wrong}")).by(&operator).await.problem(422, "invalid_request");
    }
}

#[tokio::test]
async fn a_suspended_tenant_is_refused_and_told_why_until_it_is_resumed() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (operator, member) = (app.operator().await, app.member(&acme, Role::Developer).await);
    app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let suspend =
        |reason: &str| app.post(format!("{}/suspend", of(&acme))).by(&operator).json(json!({ "reason": reason }));
    suspend("  ").await.problem(422, "invalid_request");
    let suspended = suspend("the invoice is not paid").await.expect(200);
    assert_eq!((&suspended["state"], &suspended["reason"]), (&json!("suspended"), &json!("the invoice is not paid")));
    for request in [app.get("/v1/usage").key(&acme.live), app.get("/v1/usage").by(&member)] {
        let problem = request.await.problem(403, "tenant_suspended");
        assert!(problem["detail"].as_str().unwrap().contains("the invoice is not paid"));
    }
    // Whoever suspended it sees what it is.
    let act = app.post(format!("{}/accesses", of(&acme))).by(&operator);
    act.json(json!({ "reason": "what was sent", "minutes": 5 })).await.expect(201);
    let acting = TestPerson { tenant: Some(acme.id), ..operator.clone() };
    app.get("/v1/usage").by(&acting).await.expect(200);
    // The code that was under way still goes out.
    app.run_jobs().await;
    assert_eq!(app.outbox.last().to, NUMBER);
    app.post(format!("{}/resume", of(&acme))).by(&operator).await.expect(200);
    app.get("/v1/usage").key(&acme.live).await.expect(200);
    let actions: Vec<_> = audited(&app, &acme).await.into_iter().map(|entry| entry["action"].clone()).collect();
    let expected =
        ["tenant.suspend", "operator_access.start", "operator_access.call", "tenant.resume"].map(Value::from);
    assert!(actions.ends_with(&expected), "{actions:?}");
}

#[tokio::test]
async fn a_suspension_outlasts_a_deletion_and_owners_may_delete_what_is_suspended() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (operator, admin) = (app.operator().await, app.member(&acme, Role::Admin).await);
    let owner = app.member(&acme, Role::Owner).await;
    let suspend = async |reason: &str| {
        let request = app.post(format!("{}/suspend", of(&acme))).by(&operator).json(json!({ "reason": reason }));
        request.await.expect(200)
    };
    let resume = async || app.post(format!("{}/resume", of(&acme))).by(&operator).await.expect(200)["state"].clone();
    let delete = async || app.delete("/v1/tenant").by(&owner).await.expect(200)["state"].clone();
    let restore = async || {
        let back = app.post(format!("/v1/tenants/{}/restore", acme.id)).by(&owner).await.expect(200);
        back["tenant"]["state"].clone()
    };
    suspend("unpaid").await;
    // Owners may delete it, and nobody may do anything else.
    app.delete("/v1/tenant").by(&admin).await.problem(403, "tenant_suspended");
    app.request(Method::PATCH, "/v1/tenant")
        .by(&owner)
        .json(json!({ "name": "Acme Two" }))
        .await
        .problem(403, "tenant_suspended");
    assert_eq!(delete().await, "deleted");
    app.get("/v1/usage").key(&acme.live).await.problem(403, "tenant_deleted");
    app.delete("/v1/tenant").by(&owner).await.problem(403, "tenant_deleted");
    assert_eq!(restore().await, "suspended");
    app.get("/v1/usage").key(&acme.live).await.problem(403, "tenant_suspended");
    assert_eq!(resume().await, "active");
    // Suspended while it is deleted.
    delete().await;
    let suspended = suspend("unpaid again").await;
    assert_eq!((&suspended["state"], &suspended["reason"]), (&json!("deleted"), &json!("unpaid again")));
    assert_eq!(restore().await, "suspended");
    let detail = app.get("/v1/usage").by(&admin).await.problem(403, "tenant_suspended")["detail"].clone();
    assert!(detail.as_str().unwrap().contains("unpaid again"), "{detail}");
    delete().await;
    assert_eq!(resume().await, "deleted");
    assert_eq!(restore().await, "active");
    // So the only owner of a suspended tenant can have their account erased.
    suspend("unpaid").await;
    let erase = || app.post("/v1/me/erase").by(&owner).json(json!({ "password": PASSWORD }));
    erase().await.problem(409, "last_owner");
    delete().await;
    erase().await.expect(204);
    app.run_jobs().await;
}

/// What the platform's log says of an action, newest first.
async fn told(app: &TestApp, operator: &TestPerson, action: &str) -> Vec<Value> {
    let page = app.get(format!("/operator/v1/audit?action={action}")).by(operator).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

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
async fn limits_of_an_operator_stand_in_place_of_the_plans() {
    let app = TestApp::start().await;
    let acme = app.tenant_on("Acme", "free").await;
    let operator = app.operator().await;
    let change = |body: Value| app.request(Method::PATCH, of(&acme)).by(&operator).json(body);
    change(json!({ "limits": { "verifications_day": 1 } })).await.expect(200);
    app.started(&acme.live, &number(1)).await;
    app.starting(&acme.live, json!({ "to": number(2) })).await.problem(429, "quota_exceeded");
    let usage = app.get("/v1/usage").key(&acme.live).await.expect(200);
    assert_eq!(usage["verifications"]["day"]["included"], 1);
    assert_eq!(usage["verifications"]["month"]["included"], 100, "the plan's");
    change(json!({ "limits": {} })).await.expect(200);
    app.started(&acme.live, &number(2)).await;
    let changed = change(json!({ "plan": "pro" })).await.expect(200);
    assert_eq!(changed["plan"], "pro");
    change(json!({ "plan": "golden" })).await.problem(422, "invalid_request");
    change(json!({ "limits": { "verifications": 1 } })).await.problem(422, "invalid_request");
    for limit in ["rate_per_second", "rate_burst", "retention_days"] {
        let reply = change(json!({ "limits": { limit: 0 } })).await;
        assert_eq!(reply.wrong_fields(), [format!("limits.{limit}")]);
    }
}

#[tokio::test]
async fn an_operator_acts_as_a_tenant_for_a_while_and_the_tenant_sees_it() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (operator, owner) = (app.operator().await, app.member(&acme, Role::Owner).await);
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let mut acting = operator.clone();
    acting.tenant = Some(acme.id);
    let read = || app.get(path(&verification)).by(&acting);
    read().await.problem(404, "not_found");
    let act = |body: Value| app.post(format!("{}/accesses", of(&acme))).by(&operator).json(body);
    act(json!({ "reason": "", "minutes": 5 })).await.problem(422, "invalid_request");
    act(json!({ "reason": "you asked", "minutes": 61 })).await.problem(422, "invalid_request");
    act(json!({ "reason": "you asked", "minutes": 5, "role": "owner" })).await.problem(422, "invalid_request");
    let access = act(json!({ "reason": "you asked", "minutes": 5 })).await.expect(201);
    assert_eq!(read().await.expect(200)["to"], "+1********23", "masked, as for a viewer");
    // Also that it only read.
    let call = audited(&app, &acme).await.pop().unwrap();
    assert_eq!((&call["action"], &call["actor"]["type"]), (&json!("operator_access.call"), &json!("operator")));
    assert_eq!(call["target"], access["id"]);
    assert_eq!(call["after"], json!({ "method": "GET", "path": path(&verification) }));
    app.post(format!("{}/cancel", path(&verification))).by(&acting).await.problem(403, "role_missing");
    // Told: in its own list, and in its audit log, with the reason.
    let seen = app.get("/v1/tenant/operator-accesses").by(&owner).await.expect(200);
    assert_eq!((id(&seen["data"][0]), &seen["data"][0]["reason"]), (id(&access), &json!("you asked")));
    let begun = audited(&app, &acme).await;
    let begun = begun.iter().find(|entry| entry["action"] == "operator_access.start").unwrap();
    assert_eq!(begun["after"]["reason"], "you asked");
    // What is done meanwhile is the operator's.
    act(json!({ "reason": "you asked", "minutes": 5, "role": "developer" })).await.expect(201);
    app.request(Method::PATCH, format!("/v1/services/{}", acme.service))
        .by(&acting)
        .json(json!({ "brand": "Helped" }))
        .await
        .expect(200);
    // What would outlive the access, or shows whole addresses, is left to members, whatever the role.
    act(json!({ "reason": "you asked", "minutes": 5, "role": "admin" })).await.expect(201);
    for (to, body) in [
        ("/v1/keys", json!({ "name": "backdoor", "mode": "live" })),
        ("/v1/tenant/invitations", json!({ "email": "operator@example.com", "role": "admin" })),
        ("/v1/webhooks/endpoints", json!({ "url": "https://example.com/hook" })),
    ] {
        app.post(to).by(&acting).json(body).await.problem(403, "members_only");
    }
    assert_eq!(read().await.expect(200)["to"], "+1********23", "masked, for an admin too");
    // Over by itself, and by hand.
    app.clock.advance(seconds(301));
    let operator = app.logged_in("operator@example.com").await;
    let mut acting = operator.clone();
    acting.tenant = Some(acme.id);
    app.get(path(&verification)).by(&acting).await.problem(404, "not_found");
    let again =
        app.post(format!("{}/accesses", of(&acme))).by(&operator).json(json!({ "reason": "more", "minutes": 60 }));
    let again = again.await.expect(201);
    app.get(path(&verification)).by(&acting).await.expect(200);
    app.delete(format!("{}/accesses/{}", of(&acme), id(&again))).by(&operator).await.expect(200);
    app.get(path(&verification)).by(&acting).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_verification_that_is_stuck_is_seen_tried_again_and_given_up() {
    stuck_work("/v1/verifications", &json!({}), "pending", "canceled").await;
}

#[tokio::test]
async fn a_message_that_is_stuck_is_seen_tried_again_and_given_up() {
    stuck_work("/v1/messages", &json!({ "content": "Hello" }), "queued", "failed").await;
}

/// Two are made at this path that get stuck: one is tried again, and one is given up, which changes how it stands.
async fn stuck_work(made_at: &str, new: &Value, before: &str, given_up: &str) {
    let (app, acme) = TestApp::start_with_tenant().await;
    let operator = app.operator().await;
    let make = async |n: usize| {
        let mut body = new.clone();
        body["to"] = json!(number(n));
        app.post(made_at).key(&acme.live).json(body).await.expect(201)
    };
    let stuck = async |operator: &TestPerson| {
        app.get("/operator/v1/work").by(operator).await.expect(200)["stuck"].as_array().unwrap().clone()
    };
    let (first, second) = (make(1).await, make(2).await);
    app.lose_jobs().await;
    assert_eq!(stuck(&operator).await, [Value::Null; 0]);
    app.clock.advance(seconds(75));
    let operator = &app.logged_in("operator@example.com").await;
    let seen = stuck(operator).await;
    assert_eq!(seen.iter().map(id).collect::<Vec<_>>(), [id(&first), id(&second)]);
    assert!(seen.iter().all(|one| one["tenant"] == acme.id.to_string()), "{seen:?}");
    let work = |of_it: &Value, what: &str| app.post(format!("{}/work/{}/{what}", of(&acme), id(of_it))).by(operator);
    let logged = async |action: &str| {
        let log = audited(&app, &acme).await;
        log.into_iter().filter(|entry| entry["action"] == action).collect::<Vec<_>>()
    };
    work(&first, "retry").await.expect(204);
    app.run_jobs().await;
    assert_eq!(app.outbox.last().to, number(1));
    work(&second, "discard").await.expect(204);
    work(&second, "retry").await.problem(409, "work_ended");
    assert_eq!(logged("work.retry").await.len(), 1, "and nothing is written of what was not done");
    work(&second, "discard").await.expect(204);
    let discarded = logged("work.discard").await;
    assert_eq!(discarded.len(), 1, "the second time nothing was given up");
    assert_eq!((&discarded[0]["target"], &discarded[0]["before"]), (&second["id"], &json!({ "status": before })));
    assert_eq!(stuck(operator).await, [Value::Null; 0]);
    let read = app.get(format!("{made_at}/{}", id(&second))).key(&acme.live).await.expect(200);
    assert_eq!(read["status"], given_up, "{read}");
    app.run_jobs().await;
    assert_eq!(app.outbox.last().to, number(1), "it does not go out any more");
    // Another tenant's is not found.
    let globex = app.tenant("Globex").await;
    for what in ["retry", "discard"] {
        let path = format!("{}/work/{}/{what}", of(&globex), id(&first));
        app.post(path).by(operator).await.problem(404, "not_found");
    }
}

/// What `GET /operator/v1/work` counts besides jobs: webhooks and news that wait, and rows set aside.
async fn waits(app: &TestApp, operator: &TestPerson) -> [u64; 3] {
    let work = app.get("/operator/v1/work").by(operator).await.expect(200);
    ["webhooks_waiting", "news_waiting", "set_aside"].map(|name| work[name].as_u64().unwrap())
}

#[tokio::test]
async fn webhooks_and_news_that_wait_are_counted_until_they_are_done() {
    let (app, acme, receiver, _endpoint) = stage().await;
    let operator = app.operator().await;
    assert_eq!(waits(&app, &operator).await, [0, 0, 0]);
    app.started(&acme.live, NUMBER).await;
    let [webhooks, news, _] = waits(&app, &operator).await;
    assert!(webhooks == 0 && news > 0, "{webhooks} {news}");
    let events = u64::try_from(app.app.fold(100).await.unwrap().events).unwrap();
    assert_eq!(waits(&app, &operator).await, [events, 0, 0], "they have no deliveries yet");
    // Whoever held the deliveries is gone, and they are due again when its holds end.
    drop(app.take_webhooks().await);
    assert_eq!(waits(&app, &operator).await, [0, 0, 0], "they are taken");
    app.clock.advance(seconds(21));
    assert_eq!(waits(&app, &operator).await, [events, 0, 0]);
    app.run_webhooks().await;
    assert_eq!(waits(&app, &operator).await, [0, 0, 0]);
    assert_eq!(u64::try_from(receiver.received().len()).unwrap(), events);
    // What is due to be deleted waits for nobody.
    app.clock.advance(days(31));
    let operator = app.logged_in(&operator.email).await;
    assert_eq!(waits(&app, &operator).await, [0, 0, 0]);
}

#[tokio::test]
async fn rows_that_cannot_be_read_are_counted_by_every_node_until_they_are_mended() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (fellow, operator) = (app.fellow(), app.operator().await);
    let (store, owner) = (&app.app.ports().store, Owner::Tenant(acme.id));
    // As a newer program would write them.
    for id in [[1; 16], [2; 16]] {
        let doc = json!({ "what": "nobody knew" }).as_object().unwrap().clone();
        let (unique, listed, wake_at) = (Vec::new(), Vec::new(), Some(app.app.ports().clock.now()));
        let row = EntityRow { kind: Event::KIND, owner, id, version: 0, unique, listed, wake_at, doc };
        store.commit(vec![Change::Put(row)]).await.unwrap();
    }
    assert_eq!(waits(&app, &operator).await, [0, 0, 0], "nobody has looked");
    app.run_webhooks().await;
    for node in [&app, &fellow] {
        assert_eq!(waits(node, &operator).await, [0, 0, 2]);
    }
    let mended = store.find_entity(Event::KIND, owner, [1; 16]).await.unwrap().unwrap();
    store.commit(vec![Change::Delete(mended)]).await.unwrap();
    app.clock.advance(seconds(300));
    app.run_webhooks().await;
    assert_eq!(waits(&app, &operator).await, [0, 0, 2], "it was set aside until a moment ago");
    app.clock.advance(seconds(60));
    assert_eq!(waits(&app, &operator).await, [0, 0, 1]);
    app.sweep().await;
    let kept = store.list_entities("set_aside", &EntityList::of(Owner::Platform)).await.unwrap();
    assert_eq!(kept.len(), 1, "what is not set aside any more leaves nothing behind");
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
async fn an_announcement_is_seen_by_everybody_from_its_beginning_to_its_end() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (operator, member) = (app.operator().await, app.member(&acme, Role::Viewer).await);
    let announce = |body: Value| app.post("/operator/v1/announcements").by(&operator).json(body);
    let (begins, ends) = ("2026-11-22T12:01:00Z", "2026-11-22T12:02:00Z");
    announce(json!({ "title": "Slow", "level": "loud" })).await.problem(422, "invalid_request");
    announce(json!({ "title": "Slow", "level": "info", "ends_at": "2026-11-21T00:00:00Z" }))
        .await
        .problem(422, "invalid_request");
    let slow =
        json!({ "title": "Slow", "text": "Mail is slow.", "level": "warning", "starts_at": begins, "ends_at": ends });
    announce(slow).await.expect(201);
    let lasting = announce(json!({ "title": "New prices", "level": "info" })).await.expect(201);
    let titles = async || {
        let shown = app.get("/v1/announcements").by(&member).await.expect(200);
        shown["data"].as_array().unwrap().iter().map(|one| one["title"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(titles().await, ["New prices"]);
    app.clock.advance(seconds(61));
    assert_eq!(titles().await.len(), 2);
    app.clock.advance(seconds(60));
    assert_eq!(titles().await, ["New prices"]);
    app.delete(format!("/operator/v1/announcements/{}", id(&lasting))).by(&operator).await.expect(204);
    app.delete(format!("/operator/v1/announcements/{}", id(&lasting))).by(&operator).await.problem(404, "not_found");
    assert_eq!(titles().await, [""; 0]);
    app.get("/v1/announcements").await.problem(401, "token_missing");
}

#[tokio::test]
async fn during_maintenance_everything_is_read_and_nothing_is_changed() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let operator = app.operator().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let begin = |body: Value| app.put("/operator/v1/maintenance").by(&operator).json(body);
    begin(json!({ "message": "", "minutes": 5 })).await.problem(422, "invalid_request");
    begin(json!({ "message": "soon", "minutes": 1 })).await.expect(200);
    begin(json!({ "message": "a larger database", "minutes": 5 })).await.expect(200);
    let log = app.get("/operator/v1/audit?action=maintenance.begin").by(&operator).await.expect(200);
    assert_eq!((&log["data"][0]["before"]["message"], &log["data"][1]["before"]), (&json!("soon"), &Value::Null));
    let refused = app.starting(&acme.live, json!({ "to": number(1) })).await;
    assert_eq!(refused.retry_after(), 300);
    assert!(refused.problem(503, "maintenance")["detail"].as_str().unwrap().contains("a larger database"));
    app.checking(&acme.live, &verification, &code).await.problem(503, "maintenance");
    app.read(&acme.live, &verification).await;
    // Nor by people, whether they are signed in or not.
    let owner = app.member(&acme, Role::Owner).await;
    app.post("/v1/tenants").by(&owner).json(json!({ "name": "Later" })).await.problem(503, "maintenance");
    app.delete("/v1/me/sessions").by(&owner).await.problem(503, "maintenance");
    app.post("/v1/tenant/leave").by(&owner).await.problem(503, "maintenance");
    let sign_up = json!({ "email": "new@example.com", "password": "correct horse battery", "tenant": "New" });
    app.post("/v1/auth/sign-up").json(sign_up).await.problem(503, "maintenance");
    app.get("/v1/me").by(&owner).await.expect(200);
    // What is read by POST is read.
    let text = json!({ "locale": "en", "text": "{{code}} is your code." });
    app.post(format!("/v1/services/{}/templates/preview", acme.service)).key(&acme.live).json(text).await.expect(200);
    let token = json!({ "token": "none" });
    app.post("/v1/invitations/preview").json(token).await.problem(404, "not_found");
    // Operators go on.
    app.post("/operator/v1/announcements")
        .by(&operator)
        .json(json!({ "title": "Soon", "level": "info" }))
        .await
        .expect(201);
    app.delete("/operator/v1/maintenance").by(&operator).await.expect(204);
    app.delete("/operator/v1/maintenance").by(&operator).await.expect(204);
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], true);
    assert_eq!(app.get("/operator/v1/maintenance").by(&operator).await.expect(200), json!({ "active": false }));
}

#[tokio::test]
async fn the_nodes_are_listed() {
    let app = TestApp::start().await;
    let operator = app.operator().await;
    let node = wotp_core::testing::builders::a_node(app.app.ports().clock.now());
    app.app.ports().store.note_node(&node).await.expect("noted");
    let nodes = app.get("/operator/v1/nodes").by(&operator).await.expect(200);
    assert_eq!((id(&nodes["data"][0]), &nodes["data"][0]["status"]), (node.id.to_string().as_str(), &json!("serving")));
    app.clock.advance(days(1));
    let operator = app.logged_in("operator@example.com").await;
    let nodes = app.get("/operator/v1/nodes").by(&operator).await.expect(200);
    assert_eq!(nodes["data"][0]["status"], "gone");
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

#[tokio::test]
async fn work_of_the_platforms_own_tenant_is_in_the_log_that_operators_read() {
    let app = TestApp::start().await;
    app.operator().await;
    let sign_up = json!({ "email": "new@example.com", "password": PASSWORD, "tenant": "New" });
    app.post("/v1/auth/sign-up").json(sign_up).await.expect(202);
    app.lose_jobs().await;
    app.clock.advance(seconds(75));
    let operator = app.logged_in("operator@example.com").await;
    let stuck = app.get("/operator/v1/work").by(&operator).await.expect(200)["stuck"][0].clone();
    let house = stuck["tenant"].as_str().unwrap();
    let path = format!("/operator/v1/tenants/{house}/work/{}", id(&stuck));
    for what in ["retry", "discard"] {
        app.post(format!("{path}/{what}")).by(&operator).await.expect(204);
        let told = told(&app, &operator, &format!("work.{what}")).await;
        assert_eq!((&told[0]["target"], &told[0]["after"]["tenant"]), (&stuck["id"], &stuck["tenant"]));
    }
    app.lose_jobs().await;
}
