//! Naming another tenant's things: one by one, among things of one's own.

use serde_json::Value;
use wotp_core::domain::cursor::Cursor;
use wotp_core::domain::permission::Role;

use super::callers::{Caller, appoint, everywhere};
use super::operations::{Asks, Foreign, OPERATIONS, Operation, calls};
use super::things::{Names, Thing, Things, id_bytes};
use super::{Stage, same};
use crate::app::{TestTenant, id, number, seconds};
use crate::client::Request;

/// Another tenant, which has one of everything too, those who may do everything in it, and an operator.
struct Strangers {
    things: Things,
    owner: Caller,
    key: Caller,
    operator: Caller,
}

impl Strangers {
    async fn of(stage: &Stage, globex: &TestTenant) -> Self {
        let owner = stage.app.member(globex, Role::Owner).await;
        let operator = appoint(&stage.app, &format!("{}@example.com", globex.service).to_lowercase()).await;
        let things = Things::all(&stage.app, globex, &number(50), operator.user).await;
        let key = stage.app.key(globex, |_| {}).await;
        Self {
            things,
            owner: Caller::person("another tenant's owner", &owner, globex.id, |_| None),
            key: Caller::key("another tenant's key", &key, |_| None),
            operator: Caller::person("an operator", &operator, globex.id, |_| None),
        }
    }

    /// Who of them may call it.
    fn callers(&self, operation: &Operation) -> Vec<&Caller> {
        match operation.asks {
            Asks::Nothing | Asks::Body => Vec::new(),
            // Every tenant is theirs to look after: another's is only what is named within one.
            Asks::Operator if operation.is_nested() => vec![&self.operator],
            Asks::Operator => Vec::new(),
            Asks::Caller(permission) if permission.scope().is_some() => vec![&self.owner, &self.key],
            Asks::Caller(_) | Asks::Member(_) | Asks::Person | Asks::PersonIn(_) => vec![&self.owner],
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_names_another_tenants_thing_is_told_that_there_is_none() {
    let stage = Stage::set().await;
    let globex = stage.app.tenant("Globex").await;
    let strangers = Strangers::of(&stage, &globex).await;
    let before = stage.app.rows();
    let (mut wrong, mut named) = (Vec::new(), 0);
    for operation in calls() {
        let Foreign::Refused(status, code) = operation.foreign else { continue };
        for place in 0..operation.things().len() {
            for caller in strangers.callers(operation) {
                let request = stage.request(operation, &mut Names::but(&strangers.things, place, &stage.things));
                let reply = caller.sends(request).await;
                named += 1;
                if let Err(error) = stage.document.check(operation, &reply, status, code) {
                    wrong.push(format!("{operation} by {}, place {place}: {error}", caller.name));
                }
                wrong.extend(stage.told(&reply.text).map(|secret| format!("{operation} tells {secret}")));
            }
        }
    }
    // One operator's access is no other's to end.
    for operation in calls().filter(|operation| operation.things().contains(&Thing::Access)) {
        let reply = strangers.operator.sends(stage.request(operation, &mut Names::of(&stage.things))).await;
        wrong.extend(stage.document.check(operation, &reply, 404, "not_found").err());
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(named > 90, "{named}");
    assert!(stage.app.next_job().await.is_none(), "nothing is sent");
    same(&before, &stage.app.rows());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_another_tenant_does_shows_and_touches_nothing() {
    let stage = Stage::set().await;
    // The owner of one, and a key of the other.
    let (globex, initech) = (stage.app.tenant("Globex").await, stage.app.tenant("Initech").await);
    let strangers = [Strangers::of(&stage, &globex).await, Strangers::of(&stage, &initech).await];
    let before = stage.rows_of(Thing::is_owned);
    assert!(before.len() > 30, "{}", before.len());
    let goes_on = OPERATIONS.iter().filter(|operation| !ends_the_stranger(operation));
    for (operation, nth) in goes_on.flat_map(|operation| [(operation, 0), (operation, 1)]) {
        let Some(caller) = strangers[nth].callers(operation).into_iter().nth(nth) else { continue };
        for request in stage.asked_by(&strangers[nth], operation) {
            let reply = caller.sends(request).await;
            if operation.instead.is_none() {
                assert!((200..300).contains(&reply.status), "{operation}: {} {}", reply.status, reply.text);
            }
            let told: Vec<_> = stage.told(&reply.text).collect();
            assert!(told.is_empty(), "{operation} by {} tells {told:?}", caller.name);
        }
    }
    stage.app.run_jobs().await;
    same(&before, &stage.rows_of(Thing::is_owned));
}

impl Stage {
    /// What succeeds for a stranger: naming nothing, or what is the tenant's where that finds nothing.
    fn asked_by(&self, strangers: &Strangers, operation: &Operation) -> Vec<Request> {
        let places = match operation.foreign {
            _ if operation.things().is_empty() => {
                return vec![self.request(operation, &mut Names::of(&strangers.things))];
            }
            Foreign::Nothing => operation.things().len(),
            Foreign::Refused(..) => 0,
        };
        let but = |place| Names::but(&strangers.things, place, &self.things);
        (0..places).map(|place| self.request(operation, &mut but(place))).collect()
    }
}

/// What leaves nobody who could go on.
fn ends_the_stranger(operation: &Operation) -> bool {
    let ends = [
        ("post", "/v1/tenant/leave"),
        ("delete", "/v1/tenant"),
        ("post", "/api/auth/logout"),
        ("post", "/v1/me/password"),
        ("post", "/v1/me/erase"),
    ];
    ends.contains(&(operation.method, operation.path))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_place_in_another_tenants_list_is_a_place_in_ones_own() {
    let stage = Stage::set().await;
    let app = &stage.app;
    let globex = app.tenant("Globex").await;
    let strangers = Strangers::of(&stage, &globex).await;
    let owner = app.member(&stage.acme, Role::Owner).await;
    let owner = Caller::person("an owner", &owner, stage.acme.id, |_| None);
    let sides = [(&strangers.owner, &strangers.things), (&owner, &stage.things)];
    let endpoints = sides.map(|(_, things)| Names::of(things).name(Thing::Endpoint));
    for ((caller, _), endpoint) in sides.iter().zip(&endpoints) {
        caller.sends(app.post(format!("/v1/webhooks/endpoints/{endpoint}/test"))).await.expect(202);
    }
    // The newest of each is the tenant's: whatever both had before comes after it.
    app.clock.advance(seconds(60));
    let newest = [Thing::Verification, Thing::Message, Thing::Key];
    Things::some(app, &stage.acme, &number(60), stage.grantee.user, &newest).await;
    owner.sends(app.post(format!("/v1/webhooks/endpoints/{}/test", endpoints[1]))).await.expect(202);
    let mut paged = 0;
    for operation in OPERATIONS.iter().filter(|operation| operation.asks != Asks::Operator) {
        if !stage.document.takes(operation, "cursor") {
            continue;
        }
        let list = async |side: usize, query: &str| {
            let path = operation.path.replace("{id}", &endpoints[side]);
            let reply = sides[side].0.sends(app.get(format!("{path}?{query}"))).await;
            let page = reply.expect(200);
            let rows = page["data"].as_array().or(page["logs"].as_array()).expect("a page").clone();
            (rows, reply.text)
        };
        let (first, _) = list(1, "limit=1").await;
        let cursor = Cursor(id_bytes(id(&first[0])).expect("an id"));
        let (rows, text) = list(0, &format!("limit=100&cursor={cursor}")).await;
        assert_ne!(rows, [Value::Null; 0], "{operation} hides one's own");
        let told: Vec<_> = stage.told(&text).collect();
        assert!(told.is_empty() && !text.contains(id(&first[0])), "{operation} tells {told:?}");
        paged += 1;
    }
    assert!(paged >= 8, "{paged}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_works_with_test_data_neither_sees_nor_changes_live_data() {
    let stage = Stage::set().await;
    let member = stage.app.member(&stage.acme, Role::Owner).await;
    let live = [Thing::Verification, Thing::Address, Thing::Message, Thing::Endpoint, Thing::Event];
    let before = stage.app.rows();
    let (key, member) = (
        Caller::key("a test key", &stage.acme.test, everywhere((404, "not_found"))),
        Caller::person("a member", &member, stage.acme.id, everywhere((404, "not_found"))),
    );
    let mut named = 0;
    for operation in OPERATIONS.iter().filter(|operation| operation.things().iter().any(|it| live.contains(it))) {
        let (Asks::Caller(_), Foreign::Refused(status, code)) = (operation.asks, operation.foreign) else { continue };
        let request = || stage.request(operation, &mut Names::of(&stage.things));
        for request in [key.sends(request()), member.sends(request()).header("wotp-mode", "test")] {
            let reply = request.await;
            stage
                .document
                .check(operation, &reply, status, code)
                .unwrap_or_else(|error| panic!("{operation}: {error}"));
            named += 1;
        }
    }
    assert!(named > 20, "{named}");
    same(&before, &stage.app.rows());
}
