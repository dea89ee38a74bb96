//! Whom an operation is for is served: a refusal of everybody proves nothing.

use std::sync::Arc;

use axum::http::Method;
use wotp_core::domain::audit::By;
use wotp_core::domain::permission::Role;

use super::callers::{Caller, appoint};
use super::document::Document;
use super::operations::{Asks, OPERATIONS, Operation, calls};
use super::request;
use super::things::{Names, Thing, Things, linked_identity};
use crate::app::{NUMBER, TestApp, TestTenant, seconds};
use crate::client::Reply;
use crate::people::TestPerson;
use crate::sessions::Linked;

/// A tenant of its own for each operation, with what it names.
struct Served {
    app: TestApp,
    document: Document,
}

impl Served {
    async fn set() -> Self {
        let app = TestApp::with().channel(Arc::new(Linked)).start().await;
        Self { app, document: Document::read() }
    }

    async fn tenant(&self, operation: &Operation, operator: &TestPerson) -> (TestTenant, Things) {
        let tenant = self.app.tenant("Acme").await;
        let things = Things::some(&self.app, &tenant, NUMBER, operator.user, &operation.things()).await;
        // The code may be sent again.
        self.app.clock.advance(seconds(60));
        (tenant, things)
    }

    /// The operation by somebody, on the tenant's things and what is their own.
    async fn asked_by(&self, person: &TestPerson, tenant: &TestTenant, operation: &Operation, things: Things) -> Reply {
        let mut things = things;
        if operation.things().contains(&Thing::Session) {
            things.rename(Thing::Session, self.app.logged_in(&person.email).await.session);
        }
        if operation.things().contains(&Thing::Identity) {
            things.rename(Thing::Identity, linked_identity(&self.app, person.user).await);
        }
        let caller = Caller::person("whom it is for", person, tenant.id, |_| None);
        let reply = caller.sends(request(&self.app, operation, &mut Names::of(&things))).await;
        self.app.run_jobs().await;
        reply
    }

    /// A success, or what the table says, and the document too.
    #[track_caller]
    fn check(&self, operation: &Operation, reply: &Reply) {
        self.document.serves(operation, reply).unwrap_or_else(|error| panic!("{operation}: {error}"));
    }
}

#[tokio::test]
async fn the_least_role_is_enough() {
    let served = Served::set().await;
    let app = &served.app;
    for operation in calls().filter(|operation| !matches!(operation.asks, Asks::Nothing | Asks::Body)) {
        let operator = appoint(app, "operator@example.com").await;
        let (tenant, things) = served.tenant(operation, &operator).await;
        let role = operation.permission().map_or(Role::Viewer, |permission| permission.role());
        let member = match operation.asks {
            // They were signed in before time went on.
            Asks::Operator => app.logged_in(&operator.email).await,
            _ => app.member(&tenant, role).await,
        };
        served.check(operation, &served.asked_by(&member, &tenant, operation, things).await);
    }
}

#[tokio::test]
async fn whoever_is_in_a_tenant_that_is_served_no_more_is_a_person_as_before() {
    let served = Served::set().await;
    let app = &served.app;
    let operator = appoint(app, "operator@example.com").await;
    for operation in OPERATIONS.iter().filter(|operation| operation.asks == Asks::Person) {
        for is_deleted in [false, true] {
            let (tenant, things) = served.tenant(operation, &operator).await;
            let (owner, member) = (app.member(&tenant, Role::Owner).await, app.member(&tenant, Role::Viewer).await);
            if is_deleted {
                app.request(Method::DELETE, "/v1/tenant").by(&owner).await.expect(200);
            } else {
                app.app.suspend_tenant(&By::command_line(), tenant.id, "unpaid").await.expect("suspended");
            }
            let reply = served.asked_by(&member, &tenant, operation, things).await;
            if operation.things().contains(&Thing::InvitationToken) {
                // Whoever is not in the tenant yet need not know what became of it.
                reply.problem(404, "not_found");
            } else {
                served.check(operation, &reply);
            }
        }
    }
}

#[tokio::test]
async fn a_key_with_only_the_scope_is_enough() {
    let served = Served::set().await;
    let app = &served.app;
    let operator = appoint(app, "operator@example.com").await;
    for operation in OPERATIONS {
        let Asks::Caller(permission) = operation.asks else { continue };
        let Some(scope) = permission.scope() else { continue };
        let (tenant, things) = served.tenant(operation, &operator).await;
        let key = app.key(&tenant, |key| key.scopes = [scope].into()).await;
        let caller = Caller::key("a key", &key, |_| None);
        let reply = caller.sends(request(app, operation, &mut Names::of(&things))).await;
        served.check(operation, &reply);
        app.run_jobs().await;
    }
}
