//! The list of actions promises nothing that is not done: each is done here, and what its line says is read.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::Timestamp;
use wotp_core::domain::audit::{ACTIONS, By, Log};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::permission::Role;
use wotp_core::ports::{EntityList, Owner};

use super::of_people;
use crate::app::{NUMBER, TestApp, TestTenant, days, id, number, seconds};
use crate::guard;
use crate::people::TestPerson;
use crate::restore::RESTORE;
use crate::webhooks::{self, Say};

/// What a line says of the thing that it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Says {
    /// Only what it is: it is new.
    New,
    /// Only what it was: it is gone.
    Gone,
    /// What it was and what it is, which is something else.
    Changed,
    /// Only what happened: nothing is another for it, or what is another is for no log.
    Happened,
}

impl Says {
    /// That a line says so.
    #[track_caller]
    pub fn hold(self, entry: &Value) {
        let (before, after) = (&entry["before"], &entry["after"]);
        let holds = match self {
            Self::New | Self::Happened => before.is_null() && !after.is_null(),
            Self::Gone => !before.is_null() && after.is_null(),
            Self::Changed => !before.is_null() && !after.is_null() && before != after,
        };
        assert!(holds, "{self:?}: {entry}");
    }
}

/// An action, and what its line says.
pub type Line = (&'static str, Says);

/// What a log says, oldest first.
pub async fn entries(app: &TestApp, owner: Owner) -> Vec<Value> {
    let rows = app.app.ports().store.list_entities("audit_entry", &EntityList::of(owner)).await.expect("a log");
    rows.into_iter().map(|row| Value::Object(row.doc)).collect()
}

/// That these actions are in the logs that the list names, and that their newest lines say what they are to say.
/// Whatever else is in these logs says something too, and nobody's whole address.
pub async fn tell(app: &TestApp, tenant: Option<TenantId>, lines: &[Line]) {
    let platforms = entries(app, Owner::Platform).await;
    let tenants = match tenant {
        Some(tenant) => entries(app, Owner::Tenant(tenant)).await,
        None => Vec::new(),
    };
    for (action, says) in lines {
        let known = ACTIONS.iter().find(|known| known.name == *action).expect("it is in the list");
        let logs = match known.log {
            Log::Tenant => vec![&tenants],
            Log::Platform => vec![&platforms],
            Log::Both => vec![&tenants, &platforms],
        };
        for log in logs {
            let newest = log.iter().rfind(|entry| entry["action"] == *action);
            says.hold(newest.unwrap_or_else(|| panic!("no line tells of {action} in {} log", known.log.whose())));
        }
    }
    for entry in tenants.iter().chain(&platforms) {
        assert!(!entry["before"].is_null() || !entry["after"].is_null(), "{entry}");
        let text = entry.to_string();
        assert!(!text.contains(&NUMBER[1..]), "{text}");
        assert!(text.match_indices('@').all(|(at, _)| text[..at].ends_with('*')), "{text}");
    }
}

#[test]
fn every_action_has_a_scene() {
    let scenes = [
        KEYS,
        SERVICES,
        ENDPOINTS,
        GUARD,
        INVITATIONS,
        MEMBERS,
        DELETION,
        ERASURE,
        OPERATORS,
        RESTORE,
        PLUGINS,
        CONNECTIONS,
        ACCOUNTS,
        LIVE_CONNECTIONS,
    ];
    let mut done: Vec<&str> =
        scenes.iter().chain(of_people::SCENES).copied().flatten().map(|(name, _)| *name).collect();
    done.sort_unstable();
    assert_eq!(done, ACTIONS.iter().map(|action| action.name).collect::<Vec<_>>());
}

/// What operators do with plugins: the scene is where plugins are run.
pub const PLUGINS: &[Line] = &[
    ("plugin.approve", Says::Changed),
    ("plugin.configure", Says::Changed),
    ("plugin.disable", Says::Changed),
    ("plugin.enable", Says::Changed),
    ("plugin.install", Says::New),
    ("plugin.remove", Says::Gone),
    ("plugin.roll_back", Says::Changed),
    ("plugin.upgrade", Says::Changed),
];

/// What tenants do with connections: the scene is where plugins are run.
pub const CONNECTIONS: &[Line] =
    &[("connection.change", Says::Changed), ("connection.create", Says::New), ("connection.delete", Says::Gone)];

/// What tenants do besides where the account can be looked at: the scene is with Meta's.
pub const ACCOUNTS: &[Line] = &[("connection.check", Says::Happened)];

/// What tenants do besides with those that are kept logged in.
pub const LIVE_CONNECTIONS: &[Line] =
    &[("connection.connect", Says::Changed), ("connection.disconnect", Says::Changed)];

async fn stage() -> (TestApp, TestTenant, TestPerson) {
    let (app, acme) = TestApp::start_with_tenant().await;
    let owner = app.member(&acme, Role::Owner).await;
    (app, acme, owner)
}

const KEYS: &[Line] = &[
    ("api_key.change", Says::Changed),
    ("api_key.create", Says::New),
    ("api_key.revoke", Says::Changed),
    ("api_key.rotate", Says::Changed),
];

#[tokio::test]
async fn what_is_done_to_keys() {
    let (app, acme, owner) = stage().await;
    let made = app.post("/v1/keys").by(&owner).json(json!({ "name": "a" })).await.expect(201);
    let key = format!("/v1/keys/{}", id(&made["key"]));
    app.request(Method::PATCH, &key).by(&owner).json(json!({ "name": "b" })).await.expect(200);
    app.post(format!("{key}/rotate")).by(&owner).json(json!({})).await.expect(201);
    app.request(Method::DELETE, &key).by(&owner).await.expect(204);
    tell(&app, Some(acme.id), KEYS).await;
}

const SERVICES: &[Line] = &[
    ("service.change", Says::Changed),
    ("service.create", Says::New),
    ("template.publish", Says::Changed),
    ("template.withdraw", Says::Changed),
];

#[tokio::test]
async fn what_is_done_to_services_and_texts() {
    let (app, acme, owner) = stage().await;
    let service = format!("/v1/services/{}", acme.service);
    app.request(Method::PATCH, &service).by(&owner).json(json!({ "brand": "Shop" })).await.expect(200);
    let text = json!({ "locale": "en", "text": "Your code: {{code}}" });
    app.post(format!("{service}/templates")).by(&owner).json(text).await.expect(201);
    app.request(Method::DELETE, format!("{service}/templates?locale=en")).by(&owner).await.expect(204);
    tell(&app, Some(acme.id), SERVICES).await;
}

const ENDPOINTS: &[Line] = &[
    ("webhook_endpoint.change", Says::Changed),
    ("webhook_endpoint.create", Says::New),
    ("webhook_endpoint.delete", Says::Gone),
    ("webhook_endpoint.disable", Says::Changed),
    ("webhook_endpoint.replay", Says::Happened),
    ("webhook_endpoint.replay_cancel", Says::Gone),
    ("webhook_endpoint.rotate", Says::Changed),
    ("webhook_endpoint.test", Says::Happened),
];

#[tokio::test]
async fn what_is_done_to_endpoints_also_by_us() {
    let (app, acme, receiver, endpoint) = webhooks::stage().await;
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    let change = app.request(Method::PATCH, &path).key(&acme.live);
    change.json(json!({ "description": "The shop" })).await.expect(200);
    app.of_endpoint(&endpoint, "rotate").key(&acme.live).await.expect(200);
    app.of_endpoint(&endpoint, "test").key(&acme.live).await.expect(202);
    app.run_webhooks().await;
    let since = json!({ "since": app.long_ago() });
    app.of_endpoint(&endpoint, "replay").key(&acme.live).json(since.clone()).await.expect(202);
    app.run_webhooks().await;
    app.of_endpoint(&endpoint, "replay").key(&acme.live).json(since).await.expect(202);
    app.request(Method::DELETE, format!("{path}/replay")).key(&acme.live).await.expect(204);
    receiver.always(Say::Status(410));
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    app.request(Method::DELETE, &path).key(&acme.live).await.expect(204);
    tell(&app, Some(acme.id), ENDPOINTS).await;
    let log = entries(&app, Owner::Tenant(acme.id)).await;
    let disabled = log.iter().find(|entry| entry["action"] == "webhook_endpoint.disable").expect("a line");
    assert_eq!(disabled["before"], json!({ "disabled": null }));
    assert_eq!(disabled["after"], json!({ "disabled": "gone", "failing_since": null }));
}

const GUARD: &[Line] = &[
    ("guard.set", Says::Changed),
    ("guard_destination.block", Says::Changed),
    ("guard_destination.probe", Says::Changed),
    ("guard_destination.release", Says::Changed),
    ("guard_destination.slow", Says::Changed),
    ("guard_entry.add", Says::New),
    ("guard_entry.remove", Says::Gone),
];

#[tokio::test]
async fn what_is_done_to_a_guard_and_what_its_watch_does() {
    let (app, acme, _) = guard::blocked("on").await;
    app.clock.advance(seconds(30 * 60));
    app.app.tell_guard_counts().await.unwrap();
    assert_eq!(app.app.watch_guards().await.unwrap().turned, 1);
    let at = guard::guard_of(&acme);
    let all = app.get(format!("{at}/destinations")).key(&acme.live).await.expect(200);
    let release = format!("{at}/destinations/{}/release", id(&all["data"][0]));
    app.post(release).key(&acme.live).await.expect(200);
    let entry = json!({ "effect": "block", "address": "ada@example.com" });
    let entry = app.post(format!("{at}/entries")).key(&acme.live).json(entry).await.expect(201);
    app.request(Method::DELETE, format!("{at}/entries/{}", id(&entry))).key(&acme.live).await.expect(204);
    guard::set(&app, &acme, json!({ "mode": "off" })).await;
    tell(&app, Some(acme.id), GUARD).await;
}

const INVITATIONS: &[Line] = &[
    ("invitation.accept", Says::New),
    ("invitation.create", Says::New),
    ("invitation.expire", Says::Gone),
    ("invitation.resend", Says::Changed),
    ("invitation.revoke", Says::Gone),
];

#[tokio::test]
async fn what_is_done_with_invitations() {
    let (app, acme, owner) = stage().await;
    let invite = async |email: &str| {
        let body = json!({ "email": email, "role": "viewer" });
        let invited = app.post("/v1/tenant/invitations").by(&owner).json(body).await.expect(201);
        app.run_jobs().await;
        format!("/v1/tenant/invitations/{}", id(&invited))
    };
    invite("grace@example.com").await;
    let mail = app.outbox.last().text;
    let token = mail.lines().find(|line| line.starts_with("wi_")).expect("the mail has a token");
    app.account("grace@example.com").await;
    let grace = app.logged_in("grace@example.com").await;
    app.post("/v1/invitations/accept").by(&grace).json(json!({ "token": token })).await.expect(200);
    let eve = invite("eve@example.com").await;
    app.clock.advance(seconds(60));
    app.post(format!("{eve}/resend")).by(&owner).await.expect(200);
    app.run_jobs().await;
    app.request(Method::DELETE, eve).by(&owner).await.expect(204);
    invite("bob@example.com").await;
    app.clock.advance(days(7));
    app.sweep().await;
    tell(&app, Some(acme.id), INVITATIONS).await;
}

/// An invitation goes with whoever it is for, and its tenant's log says what it was.
#[tokio::test]
async fn an_invitation_of_somebody_who_is_erased_is_told_of_as_any_other_that_is_taken_back() {
    let (app, acme, owner) = stage().await;
    app.account("grace@example.com").await;
    let grace = app.logged_in("grace@example.com").await;
    let body = json!({ "email": "grace@example.com", "role": "viewer" });
    let invited = app.post("/v1/tenant/invitations").by(&owner).json(body).await.expect(201);
    app.post("/v1/me/erase").by(&grace).json(json!({ "password": crate::people::PASSWORD })).await.expect(204);
    app.run_jobs().await;
    tell(&app, Some(acme.id), &[("invitation.revoke", Says::Gone)]).await;
    let log = entries(&app, Owner::Tenant(acme.id)).await;
    let revoked = log.iter().rfind(|entry| entry["action"] == "invitation.revoke").expect("a line");
    assert_eq!((&revoked["target"], &revoked["before"]["role"]), (&invited["id"], &json!("viewer")));
}

const MEMBERS: &[Line] = &[
    ("member.change_role", Says::Changed),
    ("member.leave", Says::Gone),
    ("member.remove", Says::Gone),
    ("ownership.transfer", Says::Changed),
    ("tenant.rename", Says::Changed),
];

#[tokio::test]
async fn what_is_done_to_members_and_the_name() {
    let (app, acme, owner) = stage().await;
    let admin = app.member(&acme, Role::Admin).await;
    let (viewer, developer) = (app.member(&acme, Role::Viewer).await, app.member(&acme, Role::Developer).await);
    let of = |member: &TestPerson| format!("/v1/tenant/members/{}", member.user);
    app.request(Method::PATCH, of(&viewer)).by(&owner).json(json!({ "role": "developer" })).await.expect(200);
    app.post("/v1/tenant/leave").by(&developer).await.expect(204);
    app.request(Method::DELETE, of(&viewer)).by(&owner).await.expect(204);
    app.request(Method::PATCH, "/v1/tenant").by(&owner).json(json!({ "name": "Acme & Sons" })).await.expect(200);
    app.post("/v1/tenant/transfer").by(&owner).json(json!({ "user": admin.user })).await.expect(200);
    tell(&app, Some(acme.id), MEMBERS).await;
}

const DELETION: &[Line] = &[("tenant.delete", Says::Changed), ("tenant.restore", Says::Gone)];
const ERASURE: &[Line] = &[("tenant.erase", Says::Changed)];

#[tokio::test]
async fn what_is_done_to_a_tenant_by_its_owners_and_by_time() {
    let (app, acme, owner) = stage().await;
    let delete = app.request(Method::DELETE, "/v1/tenant").by(&owner);
    delete.clone().await.expect(200);
    app.post(format!("/v1/tenants/{}/restore", acme.id)).by(&owner).await.expect(200);
    delete.await.expect(200);
    tell(&app, Some(acme.id), DELETION).await;
    app.clock.advance(days(15));
    while app.sweep().await.erased > 0 {}
    tell(&app, None, ERASURE).await;
}

const OPERATORS: &[Line] = &[
    ("announcement.create", Says::New),
    ("announcement.withdraw", Says::Gone),
    ("audit.read", Says::Happened),
    ("maintenance.begin", Says::Changed),
    ("maintenance.end", Says::Gone),
    ("operator.appoint", Says::New),
    ("operator.dismiss", Says::Gone),
    ("operator_access.call", Says::Happened),
    ("operator_access.end", Says::Changed),
    ("operator_access.start", Says::New),
    ("tenant.change", Says::Changed),
    ("tenant.change_plan", Says::Changed),
    ("tenant.resume", Says::Gone),
    ("tenant.suspend", Says::Changed),
    ("work.discard", Says::Changed),
    ("work.retry", Says::Happened),
];

#[tokio::test]
async fn what_operators_and_the_command_line_do() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let operator = app.operator().await;
    let of = format!("/operator/v1/tenants/{}", acme.id);
    let post = |path: String, body: Value| app.post(path).by(&operator).json(body);
    let body = json!({ "title": "Soon", "level": "info" });
    let announced = post("/operator/v1/announcements".to_owned(), body).await.expect(201);
    let announcement = format!("/operator/v1/announcements/{}", id(&announced));
    app.request(Method::DELETE, announcement).by(&operator).await.expect(204);
    for message in ["soon", "a larger database"] {
        let begin = app.request(Method::PUT, "/operator/v1/maintenance").by(&operator);
        begin.json(json!({ "message": message, "minutes": 5 })).await.expect(200);
    }
    app.request(Method::DELETE, "/operator/v1/maintenance").by(&operator).await.expect(204);
    app.request(Method::PATCH, &of).by(&operator).json(json!({ "plan": "pro" })).await.expect(200);
    app.app.change_plan(acme.id, "unlimited").await.expect("another plan");
    for reason in ["unpaid", "unpaid for long"] {
        post(format!("{of}/suspend"), json!({ "reason": reason })).await.expect(200);
    }
    app.post(format!("{of}/resume")).by(&operator).await.expect(200);
    let access = post(format!("{of}/accesses"), json!({ "reason": "you asked", "minutes": 5 })).await.expect(201);
    let acting = TestPerson { tenant: Some(acme.id), ..operator.clone() };
    app.get("/v1/usage").by(&acting).await.expect(200);
    app.clock.advance(seconds(1));
    app.request(Method::DELETE, format!("{of}/accesses/{}", id(&access))).by(&operator).await.expect(200);
    app.get(format!("/operator/v1/audit?tenant={}", acme.id)).by(&operator).await.expect(200);
    let stuck = app.starting(&acme.live, json!({ "to": number(1) })).await.expect(201);
    app.lose_jobs().await;
    for what in ["retry", "discard"] {
        app.post(format!("{of}/work/{}/{what}", id(&stuck))).by(&operator).await.expect(204);
    }
    app.lose_jobs().await;
    app.app.dismiss_operator(&By::command_line(), &operator.email).await.expect("dismissed");
    tell(&app, Some(acme.id), OPERATORS).await;
    let log = entries(&app, Owner::Platform).await;
    let ended = log.iter().rfind(|entry| entry["action"] == "operator_access.end").expect("a line");
    let ends_at = |of: &Value| of["ends_at"].as_str().expect("a time").parse::<Timestamp>().unwrap();
    assert_eq!(ends_at(&ended["before"]).duration_since(ends_at(&ended["after"])), seconds(299));
}
