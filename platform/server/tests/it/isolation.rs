//! Who may do what: a walk over every operation that the document has.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::api_key::Scope;
use wotp_core::domain::audit::By;
use wotp_core::domain::guard::{Destination, State, Watch};
use wotp_core::domain::permission::{Permission, Role};
use wotp_core::ports::{Change, Clock as _};

use crate::app::{NUMBER, TestApp, TestTenant, id, number, seconds};
use crate::client::{Reply, Request};

/// What an operation is to somebody else's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    /// For everybody, without a key.
    Public,
    /// For everybody, without a key, with a body that says who.
    Anonymous,
    /// For a person who is signed in, whatever their tenants; no key.
    Person,
    /// About one thing, named in the path: somebody else's is not found.
    OneThing,
    /// About the caller's own things only: somebody else's do not show.
    Own,
    /// Takes a service in its body: somebody else's is not found.
    NamesService,
    /// Takes an address: somebody else's verifications of it do not exist.
    NamesAddress,
}

struct Operation {
    method: &'static str,
    path: &'static str,
    scope: Option<Scope>,
    reach: Reach,
}

const fn op(method: &'static str, path: &'static str, scope: Scope, reach: Reach) -> Operation {
    Operation { method, path, scope: Some(scope), reach }
}

const fn public(path: &'static str) -> Operation {
    Operation { method: "get", path, scope: None, reach: Reach::Public }
}

const fn anonymous(path: &'static str) -> Operation {
    Operation { method: "post", path, scope: None, reach: Reach::Anonymous }
}

const fn person(method: &'static str, path: &'static str) -> Operation {
    Operation { method, path, scope: None, reach: Reach::Person }
}

/// Every operation. One that the document has and this table has not fails the test.
const OPERATIONS: &[Operation] = &[
    op("post", "/v1/verifications", Scope::VerificationsWrite, Reach::NamesService),
    op("get", "/v1/verifications", Scope::VerificationsRead, Reach::Own),
    op("post", "/v1/verifications/check", Scope::VerificationsWrite, Reach::NamesAddress),
    op("get", "/v1/verifications/{id}", Scope::VerificationsRead, Reach::OneThing),
    op("post", "/v1/verifications/{id}/check", Scope::VerificationsWrite, Reach::OneThing),
    op("post", "/v1/verifications/{id}/resend", Scope::VerificationsWrite, Reach::OneThing),
    op("post", "/v1/verifications/{id}/cancel", Scope::VerificationsWrite, Reach::OneThing),
    op("post", "/v1/messages", Scope::MessagesWrite, Reach::NamesService),
    op("get", "/v1/messages", Scope::MessagesRead, Reach::Own),
    op("get", "/v1/messages/{id}", Scope::MessagesRead, Reach::OneThing),
    op("get", "/v1/services", Scope::ServicesRead, Reach::Own),
    op("post", "/v1/services", Scope::ServicesWrite, Reach::Own),
    op("get", "/v1/services/{id}", Scope::ServicesRead, Reach::OneThing),
    op("patch", "/v1/services/{id}", Scope::ServicesWrite, Reach::OneThing),
    op("get", "/v1/services/{id}/templates", Scope::ServicesRead, Reach::OneThing),
    op("post", "/v1/services/{id}/templates", Scope::ServicesWrite, Reach::OneThing),
    op("delete", "/v1/services/{id}/templates", Scope::ServicesWrite, Reach::OneThing),
    op("post", "/v1/services/{id}/templates/preview", Scope::ServicesRead, Reach::OneThing),
    op("get", "/v1/webhooks/endpoints", Scope::WebhooksRead, Reach::Own),
    op("post", "/v1/webhooks/endpoints", Scope::WebhooksWrite, Reach::Own),
    op("get", "/v1/webhooks/endpoints/{id}", Scope::WebhooksRead, Reach::OneThing),
    op("patch", "/v1/webhooks/endpoints/{id}", Scope::WebhooksWrite, Reach::OneThing),
    op("delete", "/v1/webhooks/endpoints/{id}", Scope::WebhooksWrite, Reach::OneThing),
    op("post", "/v1/webhooks/endpoints/{id}/rotate", Scope::WebhooksWrite, Reach::OneThing),
    op("get", "/v1/webhooks/endpoints/{id}/attempts", Scope::WebhooksRead, Reach::OneThing),
    op("post", "/v1/webhooks/endpoints/{id}/test", Scope::WebhooksWrite, Reach::OneThing),
    op("post", "/v1/webhooks/endpoints/{id}/replay", Scope::WebhooksWrite, Reach::OneThing),
    op("get", "/v1/events", Scope::EventsRead, Reach::Own),
    op("get", "/v1/events/stream", Scope::EventsRead, Reach::Own),
    op("get", "/v1/events/{id}", Scope::EventsRead, Reach::OneThing),
    op("get", "/v1/services/{id}/guard", Scope::GuardRead, Reach::OneThing),
    op("put", "/v1/services/{id}/guard", Scope::GuardWrite, Reach::OneThing),
    op("get", "/v1/services/{id}/guard/entries", Scope::GuardRead, Reach::OneThing),
    op("post", "/v1/services/{id}/guard/entries", Scope::GuardWrite, Reach::OneThing),
    op("delete", "/v1/services/{id}/guard/entries/{entry}", Scope::GuardWrite, Reach::OneThing),
    op("get", "/v1/services/{id}/guard/destinations", Scope::GuardRead, Reach::OneThing),
    op("post", "/v1/services/{id}/guard/destinations/{destination}/release", Scope::GuardWrite, Reach::OneThing),
    op("get", "/v1/usage", Scope::UsageRead, Reach::Own),
    op("get", "/v1/analytics", Scope::AnalyticsRead, Reach::Own),
    op("post", "/api/otp/send", Scope::VerificationsWrite, Reach::Own),
    op("post", "/api/otp/verify", Scope::VerificationsWrite, Reach::NamesAddress),
    op("post", "/api/message/send", Scope::MessagesWrite, Reach::Own),
    op("get", "/api/message/logs", Scope::MessagesRead, Reach::Own),
    op("get", "/api/user/usage", Scope::UsageRead, Reach::Own),
    op("get", "/api/user/logs", Scope::VerificationsRead, Reach::Own),
    person("get", "/api/user/me"),
    anonymous("/api/auth/refresh"),
    person("post", "/api/auth/logout"),
    person("post", "/api/apikey/create"),
    person("get", "/api/apikey/list"),
    person("delete", "/api/apikey/{id}"),
    anonymous("/v1/auth/sign-up"),
    anonymous("/v1/auth/confirm-email"),
    anonymous("/v1/auth/login"),
    anonymous("/v1/auth/second-factor"),
    public("/v1/auth/oidc"),
    anonymous("/v1/auth/oidc/{name}/start"),
    anonymous("/v1/auth/oidc/complete"),
    anonymous("/v1/auth/refresh"),
    anonymous("/v1/auth/logout"),
    anonymous("/v1/auth/password-reset"),
    anonymous("/v1/auth/password-reset/confirm"),
    person("get", "/v1/me"),
    person("patch", "/v1/me"),
    person("post", "/v1/me/email"),
    person("post", "/v1/me/email/confirm"),
    person("post", "/v1/me/erase"),
    person("post", "/v1/me/password"),
    person("get", "/v1/me/second-factor"),
    person("post", "/v1/me/second-factor"),
    person("post", "/v1/me/second-factor/code"),
    person("post", "/v1/me/second-factor/confirm"),
    person("post", "/v1/me/second-factor/recovery-codes"),
    person("post", "/v1/me/second-factor/disable"),
    person("get", "/v1/me/identities"),
    person("delete", "/v1/me/identities/{id}"),
    person("get", "/v1/me/sessions"),
    person("delete", "/v1/me/sessions"),
    person("delete", "/v1/me/sessions/{id}"),
    person("get", "/v1/keys"),
    person("post", "/v1/keys"),
    person("get", "/v1/keys/{id}"),
    person("patch", "/v1/keys/{id}"),
    person("delete", "/v1/keys/{id}"),
    person("post", "/v1/keys/{id}/rotate"),
    person("get", "/v1/audit"),
    person("get", "/v1/audit/export"),
    person("get", "/v1/tenants"),
    person("post", "/v1/tenants"),
    person("post", "/v1/tenants/{id}/restore"),
    person("get", "/v1/tenants/{id}/erasure"),
    person("get", "/v1/tenant"),
    person("patch", "/v1/tenant"),
    person("delete", "/v1/tenant"),
    person("post", "/v1/tenant/leave"),
    person("post", "/v1/tenant/transfer"),
    person("get", "/v1/tenant/members"),
    person("patch", "/v1/tenant/members/{user}"),
    person("delete", "/v1/tenant/members/{user}"),
    person("get", "/v1/tenant/invitations"),
    person("post", "/v1/tenant/invitations"),
    person("post", "/v1/tenant/invitations/{id}/resend"),
    person("delete", "/v1/tenant/invitations/{id}"),
    person("post", "/v1/invitations/accept"),
    anonymous("/v1/invitations/preview"),
    public("/.well-known/jwks.json"),
    public("/v1/limits"),
    public("/health/live"),
    public("/health/ready"),
    person("get", "/operator/v1/tenants"),
    person("get", "/operator/v1/tenants/{id}"),
    person("patch", "/operator/v1/tenants/{id}"),
    person("post", "/operator/v1/tenants/{id}/suspend"),
    person("post", "/operator/v1/tenants/{id}/resume"),
    person("post", "/operator/v1/tenants/{id}/accesses"),
    person("delete", "/operator/v1/tenants/{id}/accesses/{access}"),
    person("post", "/operator/v1/tenants/{id}/work/{item}/retry"),
    person("post", "/operator/v1/tenants/{id}/work/{item}/discard"),
    person("get", "/operator/v1/work"),
    person("get", "/operator/v1/nodes"),
    person("get", "/operator/v1/announcements"),
    person("post", "/operator/v1/announcements"),
    person("delete", "/operator/v1/announcements/{id}"),
    person("get", "/operator/v1/maintenance"),
    person("put", "/operator/v1/maintenance"),
    person("delete", "/operator/v1/maintenance"),
    person("get", "/v1/announcements"),
    person("get", "/v1/tenant/operator-accesses"),
];

/// Two tenants; the first has one of everything.
struct Stage {
    app: TestApp,
    acme: TestTenant,
    globex: TestTenant,
    verification: Value,
    code: String,
    message: Value,
    endpoint: Value,
    event: String,
    guard_entry: Value,
    destination: String,
}

impl Stage {
    async fn set() -> Self {
        let (app, acme) = TestApp::start_with_tenant().await;
        let globex = app.tenant("Globex").await;
        let (verification, code) = app.started(&acme.live, NUMBER).await;
        let message = app.post("/v1/messages").key(&acme.live).json(json!({ "to": NUMBER, "content": "Hello" }));
        let message = message.await.expect(201);
        let template = json!({ "locale": "en", "text": "{{code}}" });
        let templates = format!("/v1/services/{}/templates", acme.service);
        app.post(templates).key(&acme.live).json(template).await.expect(201);
        let endpoint = json!({ "url": "https://example.com/webhooks" });
        let endpoint = app.post("/v1/webhooks/endpoints").key(&acme.live).json(endpoint).await.expect(201);
        let endpoint = endpoint["endpoint"].clone();
        let event = app.event(&acme, &verification).await;
        let guard = format!("/v1/services/{}/guard", acme.service);
        let entry = json!({ "effect": "block", "prefix": "+98" });
        let guard_entry = app.post(format!("{guard}/entries")).key(&acme.live).json(entry).await.expect(201);
        app.request(Method::PUT, guard).key(&acme.live).json(json!({ "mode": "on" })).await.expect(200);
        let destination = restricted_destination(&app, &acme).await;
        app.run_jobs().await;
        // A resend would be allowed.
        app.clock.advance(seconds(60));
        Self { app, acme, globex, verification, code, message, endpoint, event, guard_entry, destination }
    }

    /// The operation on the first tenant's things, such that its own key would succeed.
    fn request(&self, operation: &Operation) -> Request {
        let whose = match operation.path {
            path if path.starts_with("/v1/verifications") => id(&self.verification).to_owned(),
            path if path.starts_with("/v1/messages") => id(&self.message).to_owned(),
            path if path.starts_with("/v1/webhooks") => id(&self.endpoint).to_owned(),
            path if path.starts_with("/v1/events") => self.event.clone(),
            _ => self.acme.service.to_string(),
        };
        let path = operation.path.replace("{id}", &whose).replace("{entry}", id(&self.guard_entry));
        let path = path.replace("{destination}", &self.destination);
        let service = self.acme.service.to_string();
        let body = match (operation.method, operation.path) {
            ("post", "/v1/verifications") => json!({ "to": number(1), "service": service }),
            ("post", "/v1/messages") => json!({ "to": number(1), "content": "Hello", "service": service }),
            ("post", "/v1/verifications/check") => json!({ "to": NUMBER, "code": self.code }),
            ("post", "/v1/verifications/{id}/check") => json!({ "code": self.code }),
            ("post", "/v1/services") => json!({ "name": "Another" }),
            ("post", "/v1/webhooks/endpoints") => json!({ "url": "https://example.com/another" }),
            ("patch", "/v1/webhooks/endpoints/{id}") => json!({ "description": "Taken over" }),
            ("post", "/v1/webhooks/endpoints/{id}/replay") => json!({ "event": self.event }),
            ("patch", _) => json!({ "brand": "Taken over" }),
            ("post", "/v1/services/{id}/templates") => json!({ "locale": "en", "text": "Taken over {{code}}" }),
            ("post", "/v1/services/{id}/templates/preview") => json!({ "locale": "en" }),
            ("put", "/v1/services/{id}/guard") => json!({ "mode": "shadow" }),
            ("post", "/v1/services/{id}/guard/entries") => json!({ "effect": "block", "prefix": "+99" }),
            ("post", "/api/otp/send") => json!({ "phone": number(2) }),
            ("post", "/api/otp/verify") => json!({ "phone": NUMBER, "otp": self.code }),
            ("post", "/api/message/send") => json!({ "phone": number(2), "content": "Hello" }),
            _ => Value::Null,
        };
        let path = if operation.path.ends_with("/templates") && operation.method == "delete" {
            format!("{path}?locale=en")
        } else {
            path
        };
        let method: Method = operation.method.to_uppercase().parse().expect("a method");
        let request = self.app.request(method, path);
        if body.is_null() { request } else { request.json(body) }
    }

    /// Everything that the first tenant can see of itself.
    async fn everything(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        let service = format!("/v1/services/{}/templates", self.acme.service);
        let endpoints = "/v1/webhooks/endpoints";
        let guard = format!("/v1/services/{}/guard", self.acme.service);
        let (entries, destinations) = (format!("{guard}/entries"), format!("{guard}/destinations"));
        let guards = [guard.as_str(), entries.as_str(), destinations.as_str()];
        let all = ["/v1/verifications", "/v1/messages", "/v1/services", "/v1/usage", endpoints, service.as_str()];
        for path in all.into_iter().chain(guards) {
            seen.push(self.app.get(path).key(&self.acme.live).await.expect(200));
        }
        seen
    }
}

/// A destination that the watch of the tenant's guard has slowed, by its id.
async fn restricted_destination(app: &TestApp, tenant: &TestTenant) -> String {
    let country = Destination::Country("AQ".to_owned());
    let mut watch = Watch::new(tenant.id, tenant.service, country, Some("AQ".to_owned()), app.clock.now());
    watch.state = State::Slowed;
    app.app.ports().store.commit(vec![Change::insert(&watch)]).await.expect("it is stored");
    watch.id().to_string()
}

/// The status and, where the path speaks problems, the code.
#[track_caller]
fn assert_refused(reply: &Reply, operation: &Operation, status: u16, code: &str) {
    if operation.path.starts_with("/api/") {
        assert!(reply.expect(status)["error"].is_string());
    } else {
        reply.problem(status, code);
    }
}

/// It looks at what the body says, and at nothing else.
#[track_caller]
fn assert_anonymous(reply: &Reply, operation: &Operation) {
    let looked_at = ["unsupported_media_type", "invalid_request"];
    let body = reply.json();
    if operation.path.starts_with("/api/") {
        assert!(reply.expect(400)["error"].is_string());
        return;
    }
    assert!(looked_at.contains(&body["code"].as_str().unwrap_or_default()), "{}: {}", operation.path, reply.text);
}

#[test]
fn the_table_has_every_operation_of_the_document() {
    let document: Value = serde_json::from_str(&wotp_server::http::openapi_json()).expect("the document is JSON");
    let paths = document["paths"].as_object().expect("the document has paths");
    let documented: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = item.as_object().expect("a path has operations").keys();
            methods.map(move |method| (method.clone(), path.clone()))
        })
        .collect();
    let tabled: BTreeSet<_> = OPERATIONS.iter().map(|it| (it.method.to_owned(), it.path.to_owned())).collect();
    assert_eq!(tabled, documented, "say in OPERATIONS who may call what");
}

#[tokio::test]
async fn without_a_key_only_what_is_public_answers() {
    let stage = Stage::set().await;
    let before = stage.everything().await;
    for operation in OPERATIONS {
        let reply = stage.request(operation).await;
        match operation.reach {
            Reach::Public => assert_eq!(reply.status, 200, "{}", operation.path),
            Reach::Anonymous => assert_anonymous(&reply, operation),
            Reach::Person => assert_refused(&reply, operation, 401, "token_missing"),
            _ => assert_refused(&reply, operation, 401, "api_key_missing"),
        }
    }
    assert_eq!(stage.everything().await, before);
}

#[tokio::test]
async fn a_key_without_the_scope_is_refused_everywhere() {
    let stage = Stage::set().await;
    let before = stage.everything().await;
    for operation in OPERATIONS {
        let Some(scope) = operation.scope else { continue };
        let key = stage.app.key(&stage.acme, |key| _ = key.scopes.remove(&scope)).await;
        assert_refused(&stage.request(operation).key(&key).await, operation, 403, "scope_missing");
    }
    assert_eq!(stage.everything().await, before);
}

#[tokio::test]
async fn a_key_with_only_the_scope_is_enough() {
    for operation in OPERATIONS {
        let Some(scope) = operation.scope else { continue };
        let stage = Stage::set().await;
        let key = stage.app.key(&stage.acme, |key| key.scopes = [scope].into()).await;
        let reply = stage.request(operation).key(&key).await;
        assert!((200..300).contains(&reply.status), "{} {}: {}", operation.method, operation.path, reply.text);
        stage.app.run_jobs().await;
    }
}

#[tokio::test]
async fn another_tenants_key_finds_and_changes_nothing() {
    let stage = Stage::set().await;
    let key = stage.app.key(&stage.globex, |_| {}).await;
    let before = stage.everything().await;
    let secrets = [
        id(&stage.verification),
        id(&stage.message),
        id(&stage.endpoint),
        &stage.event,
        &stage.acme.service.to_string(),
        &NUMBER[1..],
    ]
    .map(str::to_owned);
    for operation in OPERATIONS {
        let reply = stage.request(operation).key(&key).await;
        match operation.reach {
            Reach::OneThing | Reach::NamesService => assert_refused(&reply, operation, 404, "not_found"),
            Reach::NamesAddress if operation.path.starts_with("/api/") => {
                assert_eq!(reply.expect(200), json!({ "success": false, "message": "Invalid or expired OTP" }));
            }
            Reach::NamesAddress => assert_refused(&reply, operation, 404, "not_found"),
            Reach::Anonymous => assert_anonymous(&reply, operation),
            Reach::Person => assert_refused(&reply, operation, 403, "key_not_allowed"),
            Reach::Own | Reach::Public => {
                assert!((200..300).contains(&reply.status), "{} {}: {}", operation.method, operation.path, reply.text);
            }
        }
        for secret in &secrets {
            assert!(
                !reply.text.contains(secret),
                "{} {} tells {secret}: {}",
                operation.method,
                operation.path,
                reply.text
            );
        }
    }
    stage.app.run_jobs().await;
    assert_eq!(stage.everything().await, before, "nothing of the first tenant's has changed");
    let checked = stage.app.checking(&stage.acme.live, &stage.verification, &stage.code).await.expect(200);
    assert_eq!(checked["valid"], true, "not even a guess was counted against it");
}

#[tokio::test]
async fn filters_that_name_another_tenants_things_show_nothing() {
    let stage = Stage::set().await;
    let address = format!("address=%2B{}", &NUMBER[1..]);
    let service = format!("service={}", stage.acme.service);
    for query in [address, service, "metadata[a]=b".to_owned()] {
        let list = stage.app.get(format!("/v1/verifications?{query}")).key(&stage.globex.live).await.expect(200);
        assert_eq!(list, json!({ "data": [], "next_cursor": null }));
    }
}

#[tokio::test]
async fn a_test_key_neither_sees_nor_changes_what_live_keys_made() {
    let stage = Stage::set().await;
    let before = stage.everything().await;
    for operation in OPERATIONS.iter().filter(|operation| operation.reach == Reach::OneThing) {
        if operation.path.starts_with("/v1/services") {
            continue;
        }
        assert_refused(&stage.request(operation).key(&stage.acme.test).await, operation, 404, "not_found");
    }
    assert_eq!(stage.everything().await, before);
}

#[tokio::test]
async fn an_expired_key_is_refused_everywhere() {
    let stage = Stage::set().await;
    let expires_at = stage.app.app.ports().clock.now().saturating_add(seconds(1)).expect("within the calendar");
    let key = stage.app.key(&stage.acme, |settings| settings.expires_at = Some(expires_at)).await;
    stage.app.clock.advance(seconds(1));
    let before = stage.everything().await;
    for operation in OPERATIONS.iter().filter(|operation| operation.scope.is_some()) {
        assert_refused(&stage.request(operation).key(&key).await, operation, 401, "api_key_expired");
    }
    assert_eq!(stage.everything().await, before);
}

#[tokio::test]
async fn a_suspended_tenants_key_and_members_are_refused_everywhere() {
    let stage = Stage::set().await;
    let owner = stage.app.member(&stage.acme, Role::Owner).await;
    let before = stage.everything().await;
    stage.app.app.suspend_tenant(&By::command_line(), stage.acme.id, "unpaid").await.expect("suspended");
    for operation in OPERATIONS.iter().filter(|operation| operation.scope.is_some()) {
        assert_refused(&stage.request(operation).key(&stage.acme.live).await, operation, 403, "tenant_suspended");
        assert_refused(&stage.request(operation).by(&owner).await, operation, 403, "tenant_suspended");
    }
    stage.app.app.resume_tenant(&By::command_line(), stage.acme.id).await.expect("resumed");
    assert_eq!(stage.everything().await, before);
}

#[tokio::test]
async fn a_viewer_is_refused_whatever_takes_a_higher_role() {
    let stage = Stage::set().await;
    let viewer = stage.app.member(&stage.acme, Role::Viewer).await;
    let before = stage.everything().await;
    let permission = |scope: Scope| Permission::ALL.iter().find(|permission| permission.scope() == Some(scope));
    let mut refused = 0;
    for operation in OPERATIONS {
        let Some(permission) = operation.scope.and_then(permission) else { continue };
        if !Role::Viewer.may(*permission) {
            assert_refused(&stage.request(operation).by(&viewer).await, operation, 403, "role_missing");
            refused += 1;
        }
    }
    assert!(refused > 10, "{refused}");
    assert_eq!(stage.everything().await, before);
}
