//! Who may do what: a walk over every operation that the document has, by everybody who may not.
//!
//! [`operations`] is the table, [`callers`] says who calls and how each is refused. What may not be done is
//! refused exactly as the document says, and leaves every row of the store as it was.

mod beside;
mod bound;
mod callers;
mod document;
mod maintenance;
mod operations;
mod served;
mod strangers;
mod things;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::Method;
use futures_util::{StreamExt as _, stream};
use wotp_core::domain::audit::By;
use wotp_core::domain::permission::Role;

use crate::app::{NUMBER, TestApp, TestTenant};
use crate::client::{Reply, Request};
use crate::people::TestPerson;
use crate::sessions::Linked;
use callers::{Caller, acting, acting_operators, acting_unserved, appoint, everybody, nobody, unserved};
use document::Document;
use operations::{Asks, OPERATIONS, Operation, Written, calls};
use things::{Names, Thing, Things};

/// Requests that are under way at once.
const AT_ONCE: usize = 32;

/// A tenant that has one of everything, and whoever is not to touch it.
struct Stage {
    app: TestApp,
    document: Document,
    acme: TestTenant,
    things: Things,
    callers: Vec<Caller>,
    /// The operator who has the access among the things.
    grantee: TestPerson,
}

impl Stage {
    async fn set() -> Self {
        let app = TestApp::with().channel(Arc::new(Linked)).start().await;
        let acme = app.tenant("Acme").await;
        let callers = everybody(&app, &acme).await;
        let grantee = appoint(&app, "grantee@example.com").await;
        let things = Things::all(&app, &acme, NUMBER, grantee.user).await;
        Self { app, document: Document::read(), acme, things, callers, grantee }
    }

    /// The operation on things that are named so.
    fn request(&self, operation: &Operation, names: &mut Names<'_>) -> Request {
        request(&self.app, operation, names)
    }

    /// Every operation by each of them who is refused, each refused as the document says, and nothing done.
    async fn refuses(&self, callers: &[Caller]) -> usize {
        let before = self.app.rows();
        let refused = self.walk(callers, AT_ONCE).await;
        same(&before, &self.app.rows());
        refused
    }

    /// The same by operators who act as the tenant: nothing is done but that it is in the tenant's log.
    async fn refuses_and_notes(&self, operators: &[Caller]) -> usize {
        let seen = |rows: Vec<(String, Vec<u8>)>| {
            let is_seen = |row: &[u8]| row.windows(6).any(|part| part == b"audit_");
            rows.into_iter().partition::<Vec<_>, _>(|(_, row)| is_seen(row))
        };
        let (log, kept) = seen(self.app.rows());
        // One after another: their lines are one chain.
        let refused = self.walk(operators, 1).await;
        let (log_after, kept_after) = seen(self.app.rows());
        same(&kept, &kept_after);
        assert!(log_after.len() > log.len(), "the tenant sees that they tried");
        refused
    }

    /// Whatever only reads, by each of them who is not refused; how many that were.
    async fn shows(&self, callers: &[Caller]) -> usize {
        let (mut shown, mut wrong) = (0, Vec::new());
        for caller in callers {
            let reads = |operation: &&Operation| matches!(operation.asks, Asks::Caller(permission) | Asks::Member(permission) if !permission.changes());
            for operation in calls().filter(reads).filter(|operation| caller.refusal(operation).is_none()) {
                let reply = caller.sends(self.request(operation, &mut Names::of(&self.things))).await;
                let checked = self.document.serves(operation, &reply);
                wrong.extend(checked.err().map(|error| format!("{operation} by {}: {error}", caller.name)));
                shown += 1;
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        shown
    }

    /// What of the tenant's a text tells.
    fn told<'s>(&'s self, text: &'s str) -> impl Iterator<Item = &'s str> {
        self.things.secrets().filter(move |secret| text.contains(secret))
    }

    /// Every operation by each of them who is refused, so many at once; how many that were.
    async fn walk(&self, callers: &[Caller], at_once: usize) -> usize {
        let refused = callers.iter().flat_map(|caller| {
            let refused = calls().filter_map(|operation| Some((operation, caller.refusal(operation)?)));
            refused.map(move |(operation, refusal)| (caller, operation, refusal))
        });
        let sent = refused.map(|(caller, operation, refusal)| {
            let request = caller.sends(self.request(operation, &mut Names::of(&self.things)));
            async move { (caller, operation, refusal, request.await) }
        });
        let replies: Vec<_> = stream::iter(sent).buffer_unordered(at_once).collect().await;
        let wrong = replies.iter().filter_map(|(caller, operation, (status, code), reply)| {
            let wrong = self.document.check(operation, reply, *status, code).err()?;
            Some(format!("{operation} by {}: {wrong}", caller.name))
        });
        let wrong: Vec<String> = wrong.collect();
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), replies.len(), wrong.join("\n"));
        assert!(self.app.next_job().await.is_none(), "nothing is sent");
        replies.len()
    }

    /// The rows that are such things of the tenant's, or about them.
    fn rows_of(&self, such: impl Fn(Thing) -> bool) -> Vec<(String, Vec<u8>)> {
        let ids = self.things.ids(such);
        let is_about = |row: &[u8], id: &[u8]| row.windows(id.len()).any(|part| part == id);
        let mut rows = self.app.rows();
        rows.retain(|(_, row)| ids.iter().any(|id| is_about(row, id)));
        rows
    }
}

/// The operation on things that are named so.
fn request(app: &TestApp, operation: &Operation, names: &mut Names<'_>) -> Request {
    let Written { path, header, body } = operation.write(names);
    let method: Method = operation.method.to_uppercase().parse().expect("a method");
    let mut request = app.request(method, path);
    if let Some((name, value)) = header {
        request = request.header(name, &value);
    }
    if body.is_null() { request } else { request.json(body) }
}

/// That every row is as it was. Only the tables of those that are not are told: what is in them is long.
#[track_caller]
fn same(before: &[(String, Vec<u8>)], after: &[(String, Vec<u8>)]) {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
    let changed: Vec<String> = old
        .symmetric_difference(&new)
        .map(|(table, row)| format!("{table}: {}", String::from_utf8_lossy(row).escape_debug()))
        .collect();
    assert!(changed.is_empty() && before.len() == after.len(), "what was refused changed something: {changed:#?}");
}

#[test]
fn the_table_has_every_operation_of_the_document_and_no_other() {
    let document = Document::read();
    let documented: BTreeSet<(&str, &str)> = document.operations().collect();
    let tabled: BTreeSet<_> = OPERATIONS.iter().map(|operation| (operation.method, operation.path)).collect();
    assert_eq!(tabled, documented, "say in OPERATIONS who may call what");
    assert_eq!(OPERATIONS.len(), tabled.len(), "each is in it once");
}

#[test]
fn the_table_asks_for_what_the_document_says() {
    let document = Document::read();
    for operation in OPERATIONS {
        let session = |permissions: &[&str]| serde_json::json!([{ "session": permissions }]);
        let expected = match operation.asks {
            Asks::Nothing | Asks::Body => serde_json::json!([{}]),
            Asks::Person | Asks::Operator => session(&[]),
            Asks::Member(permission) | Asks::PersonIn(permission) => session(&[permission.name()]),
            Asks::Caller(permission) if permission.scope().is_none() => session(&[permission.name()]),
            Asks::Caller(permission) => {
                serde_json::json!([{ "api_key": [permission.name()] }, { "api_key_header": [permission.name()] }])
            }
        };
        assert_eq!(document.of(operation)["security"], expected, "{operation}");
    }
}

#[test]
fn the_table_names_whatever_an_operation_names() {
    let document = Document::read();
    for operation in OPERATIONS.iter().filter(|operation| operation.asks != Asks::Body) {
        let body = operation.write(&mut Names::unknown()).body;
        for name in document.naming(operation) {
            let in_body = body[name].as_str().is_some_and(|value| value.starts_with('<'));
            assert!(in_body || operation.filters().any(|filter| filter == name), "{operation} names {name}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_may_not_is_refused_as_the_document_says() {
    let stage = Stage::set().await;
    let refused = stage.refuses(&stage.callers).await;
    assert!(refused > 3000, "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_operator_who_acts_as_a_tenant_is_refused_as_the_document_says_and_the_tenant_sees_it() {
    let stage = Stage::set().await;
    let operators = acting_operators(&stage.app, &stage.acme, acting).await;
    let refused = stage.refuses_and_notes(&operators).await;
    assert!(refused > 80, "{refused}");
}

/// Members and keys.
async fn insiders(stage: &Stage, code: &'static str) -> Vec<Caller> {
    let mut all = Vec::new();
    for role in Role::ALL {
        let member = stage.app.member(&stage.acme, *role).await;
        let name = format!("a member: {}", role.name());
        all.push(Caller::person(name, &member, stage.acme.id, unserved(*role, code)));
    }
    for key in [&stage.acme.live, &stage.acme.test] {
        all.push(Caller::key("a key", key, callers::everywhere((403, code))));
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_belongs_to_a_suspended_or_deleted_tenant_is_refused_as_the_document_says() {
    let stage = Stage::set().await;
    let app = &stage.app;
    let suspended = insiders(&stage, "tenant_suspended").await;
    let acting_as = |code| move |role| acting_unserved(role, code);
    let operators = acting_operators(app, &stage.acme, acting_as("tenant_suspended")).await;
    let owner = app.member(&stage.acme, Role::Owner).await;
    let restore = app.post(format!("/v1/tenants/{}/restore", stage.acme.id)).by(&owner);
    app.app.suspend_tenant(&By::command_line(), stage.acme.id, "unpaid").await.expect("suspended");
    let refused = stage.refuses(&suspended).await;
    assert!(refused > 500, "{refused}");
    let (refused, shown) = (stage.refuses_and_notes(&operators).await, stage.shows(&operators).await);
    assert!(refused > 90 && shown > 70, "{refused} {shown}");
    // It is not theirs to resume.
    let before = app.rows();
    assert_eq!(restore.clone().await.expect(200)["tenant"]["state"], "suspended");
    same(&before, &app.rows());
    app.app.resume_tenant(&By::command_line(), stage.acme.id).await.expect("resumed");

    let mut deleted = insiders(&stage, "tenant_deleted").await;
    deleted.extend(acting_operators(app, &stage.acme, acting_as("tenant_deleted")).await);
    let erasure = app.get(format!("/v1/tenants/{}/erasure", stage.acme.id));
    app.request(Method::DELETE, "/v1/tenant").by(&owner).await.expect(200);
    let refused = stage.refuses(&deleted).await;
    assert!(refused > 700, "{refused}");
    // Nobody but its owners has it back, and nobody else learns of it, while it waits to be erased.
    let restoring = OPERATIONS.iter().find(|operation| matches!(operation.asks, Asks::PersonIn(_))).expect("one");
    for caller in &stage.callers {
        let Some((status, code @ ("not_found" | "role_missing"))) = caller.refusal(restoring) else { continue };
        let reply = caller.sends(stage.request(restoring, &mut Names::of(&stage.things))).await;
        stage
            .document
            .check(restoring, &reply, status, code)
            .unwrap_or_else(|error| panic!("{}: {error}", caller.name));
    }
    let admin = app.member(&stage.acme, Role::Admin).await;
    erasure.clone().by(&admin).await.problem(404, "not_found");
    erasure.by(&owner).await.expect(200);
    restore.await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_everybody_may_call_answers_everybody() {
    let stage = Stage::set().await;
    for operation in OPERATIONS.iter().filter(|operation| matches!(operation.asks, Asks::Nothing | Asks::Body)) {
        let reply = nobody().sends(stage.request(operation, &mut Names::of(&stage.things))).await;
        match operation.asks {
            Asks::Nothing => assert_eq!(reply.status, 200, "{operation}: {}", reply.text),
            _ => looks_at_the_body(&stage.document, operation, &reply),
        }
    }
}

/// It looks at what the body says, and at nothing else.
#[track_caller]
fn looks_at_the_body(document: &Document, operation: &Operation, reply: &Reply) {
    let there_is_none = document.check(operation, reply, 415, "unsupported_media_type");
    let it_may_be_in_a_cookie = document.check(operation, reply, 422, "invalid_request");
    // It may be left out with a cookie: without either it is nobody's session, of which there is nothing to end.
    let nobodys = match operation.path {
        "/v1/auth/refresh" => document.check(operation, reply, 401, "session_ended").is_ok(),
        "/v1/auth/logout" => reply.status == 204,
        _ => false,
    };
    assert!(there_is_none.is_ok() || it_may_be_in_a_cookie.is_ok() || nobodys, "{operation}: {}", reply.text);
}
