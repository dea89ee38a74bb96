//! What operators do: for all tenants, and to the platform itself.

mod logs;
mod work;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::audit::By;
use wotp_core::domain::permission::Role;
use wotp_core::ports::{EntityList, Owner};

use crate::app::{NUMBER, TestApp, TestTenant, id, number, path, seconds};
use crate::client::Request;
use crate::people::{PASSWORD, TestPerson};

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

/// What the platform's log says of an action, newest first.
async fn told(app: &TestApp, operator: &TestPerson, action: &str) -> Vec<Value> {
    let page = app.get(format!("/operator/v1/audit?action={action}")).by(operator).await.expect(200);
    page["data"].as_array().unwrap().clone()
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
    // What they may not is in the tenant's log all the same, and what its own people may not is not.
    let change = app.request(Method::PATCH, format!("/v1/services/{}", acme.service)).json(json!({ "name": "x" }));
    change.clone().by(&acting).await.problem(403, "tenant_suspended");
    change.by(&member).await.problem(403, "tenant_suspended");
    // The code that was under way still goes out.
    app.run_jobs().await;
    assert_eq!(app.outbox.last().to, NUMBER);
    app.post(format!("{}/resume", of(&acme))).by(&operator).await.expect(200);
    app.get("/v1/usage").key(&acme.live).await.expect(200);
    let actions: Vec<_> = audited(&app, &acme).await.into_iter().map(|entry| entry["action"].clone()).collect();
    let called = "operator_access.call";
    let expected = ["tenant.suspend", "operator_access.start", called, called, "tenant.resume"].map(Value::from);
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
