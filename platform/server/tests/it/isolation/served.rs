//! Whom an operation is for is served: a refusal of everybody proves nothing.

use wotp_core::domain::permission::Role;

use super::callers::{Caller, appoint};
use super::document::Document;
use super::operations::{Asks, OPERATIONS, Operation};
use super::request;
use super::things::{Names, Thing, Things, linked_identity};
use crate::app::{NUMBER, TestApp, TestTenant, seconds};
use crate::client::Reply;
use crate::people::TestPerson;

/// A tenant of its own for each operation, with what it names.
struct Served {
    app: TestApp,
    document: Document,
}

impl Served {
    async fn set() -> Self {
        Self { app: TestApp::start().await, document: Document::read() }
    }

    async fn tenant(&self, operation: &Operation, operator: &TestPerson) -> (TestTenant, Things) {
        let tenant = self.app.tenant("Acme").await;
        let things = Things::some(&self.app, &tenant, NUMBER, operator.user, &operation.things()).await;
        // The code may be sent again.
        self.app.clock.advance(seconds(60));
        (tenant, things)
    }

    /// A success, or what the table says, and the document too.
    #[track_caller]
    fn check(&self, operation: &Operation, reply: &Reply) {
        match operation.instead {
            Some((status, code)) => {
                let checked = self.document.check(operation, reply, status, code);
                checked.unwrap_or_else(|error| panic!("{operation}: {error}"));
            }
            None => {
                assert!((200..300).contains(&reply.status), "{operation}: {} {}", reply.status, reply.text);
                let documented = self.document.of(operation)["responses"].get(reply.status.to_string());
                assert!(documented.is_some(), "{operation}: the document has no {}", reply.status);
            }
        }
    }
}

#[tokio::test]
async fn the_least_role_is_enough() {
    let served = Served::set().await;
    let app = &served.app;
    for operation in OPERATIONS.iter().filter(|operation| !matches!(operation.asks, Asks::Nothing | Asks::Body)) {
        let operator = appoint(app, "operator@example.com").await;
        let (tenant, mut things) = served.tenant(operation, &operator).await;
        let role = operation.permission().map_or(Role::Viewer, |permission| permission.role());
        let member = match operation.asks {
            // They were signed in before time went on.
            Asks::Operator => app.logged_in(&operator.email).await,
            _ => app.member(&tenant, role).await,
        };
        if operation.things().contains(&Thing::Session) {
            things.rename(Thing::Session, app.logged_in(&member.email).await.session);
        }
        if operation.things().contains(&Thing::Identity) {
            things.rename(Thing::Identity, linked_identity(app, member.user).await);
        }
        let caller = Caller::person("whom it is for", &member, tenant.id, |_| None);
        let reply = caller.sends(request(app, operation, &mut Names::of(&things))).await;
        served.check(operation, &reply);
        app.run_jobs().await;
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
