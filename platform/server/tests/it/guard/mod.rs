//! The guard: what each rule does, in the reply, in the timeline, and to what is counted.

mod binary;
mod caps;
mod lists;
mod messages;
mod rules;
mod watch;

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::{App, Ports};
use wotp_core::domain::guard::{GuardMode, GuardSettings};
use wotp_core::domain::id::ServiceId;
use wotp_core::domain::plan::Catalogue;
use wotp_core::domain::service::Service;
use wotp_core::domain::vault::{MasterKey, Vault};
use wotp_core::ports::{Bulletin, Change, EntityList, Owner, Unheard};
use wotp_core::testing::SeededEntropy;
use wotp_core::testing::builders::{a_service, a_tenant};
use wotp_server::http::router;

use crate::app::{TestApp, TestTenant, days};
use crate::client::{Reply, Request, race};
pub use watch::blocked;

/// `/v1/services/{id}/guard` of a tenant's first service.
pub fn guard_of(tenant: &TestTenant) -> String {
    format!("/v1/services/{}/guard", tenant.service)
}

/// Sets the guard of the tenant's first service.
pub async fn set(app: &TestApp, tenant: &TestTenant, guard: Value) -> Value {
    app.request(Method::PUT, guard_of(tenant)).key(&tenant.live).json(guard).await.expect(200)
}

/// Puts an entry on the list of the tenant's first service.
async fn list(app: &TestApp, tenant: &TestTenant, entry: Value) -> Value {
    app.post(format!("{}/entries", guard_of(tenant))).key(&tenant.live).json(entry).await.expect(201)
}

/// The `n`th number of a London exchange that is reserved for fiction. All have one prefix.
fn london(n: usize) -> String {
    format!("+442079460{n:03}")
}

/// The `n`th of another exchange in the same country.
fn sheffield(n: usize) -> String {
    format!("+441144960{n:03}")
}

/// Starts one and has it delivered, if it is to be.
async fn start(app: &TestApp, tenant: &TestTenant, to: &str) -> Value {
    start_as(app, tenant, json!({ "to": to })).await
}

async fn start_as(app: &TestApp, tenant: &TestTenant, body: Value) -> Value {
    let started = app.starting(&tenant.live, body).await.expect(201);
    app.run_jobs().await;
    started
}

/// Which rule blocked it; none when it was not.
fn blocked_by(verification: &Value) -> Option<&str> {
    let verdict = &verification["verdict"];
    if verdict["blocked"] != true {
        assert_ne!(verification["reason"], "blocked", "{verification}");
        return None;
    }
    assert_eq!((&verification["status"], &verification["reason"]), (&json!("failed"), &json!("blocked")));
    assert_eq!(verification["deliveries"], json!([]));
    verdict["reason"].as_str()
}

/// Another node on the same store: its own memory, its own counts.
struct Fellow {
    app: Arc<App>,
    router: axum::Router,
}

impl Fellow {
    fn of(app: &TestApp) -> Self {
        Self::made(app, false)
    }

    fn made(app: &TestApp, alone: bool) -> Self {
        let ports = app.app.ports();
        let master = MasterKey { id: 1, bytes: [42; 32].into() };
        let fellow = Arc::new(App::new(Ports {
            store: Arc::clone(&ports.store),
            queue: Arc::clone(&ports.queue),
            bulletin: Arc::new(Unheard) as Arc<dyn Bulletin>,
            limiter: Arc::clone(&ports.limiter),
            channels: ports.channels.clone(),
            vault: Vault::new(&[master]).unwrap(),
            plans: Catalogue::built_in(),
            clock: Arc::clone(&ports.clock),
            entropy: Arc::new(SeededEntropy::new(8)),
            timer: Arc::clone(&ports.timer),
            webhooks: Arc::clone(&ports.webhooks),
            passwords: Arc::clone(&ports.passwords),
            tokens: Arc::clone(&ports.tokens),
            people: ports.people.clone(),
            public_url: ports.public_url.clone(),
            plugins: Arc::clone(&ports.plugins),
            identity_providers: Vec::new(),
            tenant_rules: ports.tenant_rules,
            alone,
        }));
        Self { router: router(Arc::clone(&fellow), TestApp::with().settings()), app: fellow }
    }

    fn post(&self, path: impl Into<String>) -> Request {
        Request::new(self.router.clone(), Method::POST, path)
    }
}

/// What the store holds of a kind of thing, as its fields.
async fn stored(app: &TestApp, tenant: &TestTenant, kind: &'static str) -> Vec<Value> {
    let list = EntityList::of(Owner::Tenant(tenant.id));
    let rows = app.app.ports().store.list_entities(kind, &list).await.unwrap();
    let mut docs: Vec<Value> = rows.into_iter().map(|row| Value::Object(row.doc)).collect();
    // Of one millisecond either may have the lower id.
    docs.sort_by_key(|doc| doc["place"].as_u64());
    docs
}

/// The names of a kind of thing that are stored, oldest first.
async fn names(app: &TestApp, tenant: &TestTenant, kind: &'static str, field: &str) -> Vec<String> {
    let stored = stored(app, tenant, kind).await;
    stored.iter().map(|doc| doc[field].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_guard_is_off_until_somebody_sets_it() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let guard = app.get(guard_of(&acme)).key(&acme.live).await.expect(200);
    assert_eq!((&guard["mode"], &guard["changed_at"]), (&json!("off"), &Value::Null));
    let change = json!({ "mode": "on", "countries": { "blocked": ["GB"] }, "caps": { "ip": { "per_hour": 3 } } });
    let set = set(&app, &acme, change).await;
    assert_eq!(set["watch"], guard["watch"], "what is left out is its default");
    assert_eq!(set["caps"]["ip"], json!({ "per_hour": 3, "per_day": null }));
    assert_eq!(app.get(guard_of(&acme)).key(&acme.live).await.expect(200), set);
    let verification = start(&app, &acme, "+12025550123").await;
    assert_eq!((&verification["verdict"], &verification["timeline"]), (&Value::Null, &Value::Null));
    // Each change is in the audit log, and leaves nothing of what it was before.
    super::guard::set(&app, &acme, json!({ "mode": "off" })).await;
    assert_eq!(blocked_by(&start(&app, &acme, &london(1)).await), None);
    let audit = stored(&app, &acme, "audit_entry").await;
    let last = audit.last().unwrap();
    assert_eq!(
        (&last["action"], &last["before"]["mode"], &last["after"]["mode"]),
        (&json!("guard.set"), &json!("on"), &json!("off"))
    );
}

#[tokio::test]
async fn settings_that_do_not_hold_are_named() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let put = |body: Value| app.request(Method::PUT, guard_of(&acme)).key(&acme.live).json(body);
    let wrong = json!({ "mode": "on", "countries": { "allowed": ["uk"] }, "caps": { "spend_micros_per_day": 5 }, "watch": { "volume_min": 5 } });
    assert_eq!(put(wrong).await.wrong_fields(), ["countries.allowed", "caps.spend_micros_per_day", "watch.volume_min"]);
    assert_eq!(put(json!({ "mode": "on", "caps": { "adress": {} } })).await.wrong_fields(), ["caps.adress"]);
    assert_eq!(put(json!({})).await.wrong_fields(), ["mode"]);
    let at_home = json!({ "to": london(1), "ip": "at home" });
    assert_eq!(app.starting(&acme.live, at_home).await.wrong_fields(), ["ip"]);
}

#[tokio::test]
async fn countries_are_allowed_blocked_and_watched() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["GB"] } })).await;
    let blocked = start(&app, &acme, &london(1)).await;
    assert_eq!(blocked_by(&blocked), Some("country_blocked"));
    assert_eq!(blocked["verdict"]["retry_at"], Value::Null);
    assert_eq!(blocked["timeline"][0]["effect"], "blocked");
    assert_eq!(blocked_by(&start(&app, &acme, "+12025550101").await), None);
    set(&app, &acme, json!({ "mode": "on", "countries": { "allowed": ["GB"], "watched": ["GB"] } })).await;
    let watched = start(&app, &acme, &london(2)).await;
    assert_eq!(blocked_by(&watched), None);
    assert_eq!(
        (&watched["timeline"][0]["rule"], &watched["timeline"][0]["effect"]),
        (&json!("country_watched"), &json!("noted"))
    );
    assert_eq!(blocked_by(&start(&app, &acme, "+12025550102").await), Some("country_not_allowed"));
    assert_eq!(blocked_by(&start(&app, &acme, "ada@example.com").await), None, "email has no country");
}

#[tokio::test]
async fn what_is_blocked_reaches_no_channel_and_costs_nothing() {
    let app = TestApp::with().plan("limits = { verifications_day = 1 }").start().await;
    let acme = app.tenant("Acme").await;
    app.app.heard(acme.id).await.unwrap();
    set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["GB"] } })).await;
    let request = app.starting(&acme.live, json!({ "to": london(1) })).header("idempotency-key", "once");
    let reply: Reply = request.clone().await;
    let blocked = reply.expect(201);
    assert_eq!(blocked_by(&blocked), Some("country_blocked"));
    assert!(app.run_jobs().await.is_empty() && app.outbox.letters().is_empty());
    assert_eq!(app.used_today(&acme.live, "verifications").await, 0);
    assert_eq!(app.read(&acme.live, &blocked).await, blocked);
    let failed = app.get("/v1/verifications?status=failed").key(&acme.live).await.expect(200);
    assert_eq!(failed["data"], json!([blocked]));
    assert_eq!(app.checking(&acme.live, &blocked, "123456").await.expect(200)["valid"], false);
    // Its tenant is told, once.
    while app.app.fold(50).await.unwrap().taken > 0 {}
    assert_eq!(names(&app, &acme, "event", "kind").await, ["verification.started", "verification.blocked"]);
    // The key repeats what it made, though it would pass now.
    set(&app, &acme, json!({ "mode": "off" })).await;
    assert_eq!(request.await.expect(201), blocked);
    // Nor was it a send to that address.
    start(&app, &acme, &london(1)).await;
    assert_eq!(app.used_today(&acme.live, "verifications").await, 1);
    // It goes like all others when it was kept long enough.
    app.clock.advance(days(31));
    app.sweep().await;
    assert_eq!(app.read(&acme.live, &blocked).await["to"], Value::Null);
    app.clock.advance(days(60));
    app.sweep().await;
    app.get(crate::app::path(&blocked)).key(&acme.live).await.problem(404, "not_found");
}

/// An attack does not fill the store: of a day so many are kept, and the rest is told that it is not.
#[tokio::test]
async fn of_a_day_1000_blocked_ones_are_kept_and_the_next_is_refused_by_name() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["GB"] } })).await;
    let passed = app.starting(&acme.live, json!({ "to": "+12025550101" })).header("idempotency-key", "passed");
    let passed: (Value, Request) = (passed.clone().await.expect(201), passed);
    let first = app.starting(&acme.live, json!({ "to": london(0) })).header("idempotency-key", "first");
    let first: (Value, Request) = (first.clone().await.expect(201), first);
    for part in (1..1000).collect::<Vec<_>>().chunks(111) {
        for reply in race(part.iter().map(|n| app.starting(&acme.live, json!({ "to": london(*n) })))).await {
            assert_eq!(blocked_by(&reply.expect(201)), Some("country_blocked"));
        }
    }
    let refused = app.starting(&acme.live, json!({ "to": sheffield(1) })).await;
    let problem = refused.problem(409, "guard_blocked");
    assert!(problem["detail"].as_str().unwrap().contains("country_blocked"), "{problem}");
    assert_eq!(problem["rule"], "country_blocked");
    let kept = app.get("/v1/verifications?status=failed&limit=1").key(&acme.live).await.expect(200);
    assert_ne!(kept["data"][0]["to"], sheffield(1));
    // A key repeats what it made, kept or not, and whatever the guard says by now.
    assert_eq!(first.1.await.expect(201), first.0);
    set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["GB", "US"] } })).await;
    assert_eq!(passed.1.await.expect(201)["id"], passed.0["id"]);
    let globex = app.tenant("Globex").await;
    set(&app, &globex, json!({ "mode": "on", "countries": { "blocked": ["GB"] } })).await;
    assert_eq!(blocked_by(&start(&app, &globex, &london(1)).await), Some("country_blocked"), "another tenant's day");
    app.clock.advance(days(1));
    assert_eq!(blocked_by(&start(&app, &acme, &sheffield(1)).await), Some("country_blocked"), "another day");
    app.run_jobs().await;
}

#[tokio::test]
async fn an_address_that_was_written_to_a_moment_ago_is_refused_as_such_before_it_is_kept_as_blocked() {
    let (app, acme) = TestApp::start_with_tenant().await;
    start(&app, &acme, &london(1)).await;
    set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["GB"] } })).await;
    app.starting(&acme.live, json!({ "to": london(1) })).await.problem(429, "cool_down");
}

/// What somebody calls a service is no service, and what was read of its guard is not kept.
#[tokio::test]
async fn the_guard_of_a_service_that_is_not_there_is_not_remembered() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let id = ServiceId::new(app.app.ports().clock.now(), &*app.app.ports().entropy);
    let body = json!({ "to": london(1), "service": id });
    app.starting(&acme.live, body.clone()).await.problem(404, "not_found");
    // Within the same second it is made, by somebody that this node does not hear.
    let mut guard = GuardSettings::off(acme.id, id);
    guard.mode = GuardMode::On;
    guard.countries.blocked = vec!["GB".to_owned()];
    let service = Service { id, tenant: acme.id, ..a_service(&a_tenant()) };
    let changes = vec![Change::InsertService(Box::new(service)), Change::insert(&guard)];
    app.app.ports().store.commit(changes).await.unwrap();
    assert_eq!(blocked_by(&start_as(&app, &acme, body).await), Some("country_blocked"));
}

#[tokio::test]
async fn in_shadow_all_rules_that_are_against_it_report_and_none_acts() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let rules = json!({ "mode": "shadow", "caps": { "prefix": { "per_day": 1 }, "address": { "per_day": 1 } } });
    set(&app, &acme, rules).await;
    list(&app, &acme, json!({ "effect": "block", "network": "192.0.2.0/24" })).await;
    start(&app, &acme, &london(1)).await;
    let reported = start_as(&app, &acme, json!({ "to": london(2), "ip": "192.0.2.7" })).await;
    assert_eq!((&reported["status"], &reported["verdict"]["blocked"]), (&json!("pending"), &json!(false)));
    assert_eq!(reported["verdict"]["reason"], "network_listed");
    let timeline = reported["timeline"].as_array().unwrap();
    let said: Vec<_> =
        timeline.iter().map(|note| (note["rule"].as_str().unwrap(), note["effect"].as_str().unwrap())).collect();
    assert_eq!(said, [("network_listed", "would_block"), ("cap_prefix", "would_block")]);
    assert_eq!(app.outbox.letters().len(), 2);
}

#[tokio::test]
async fn the_guard_of_one_tenant_and_service_is_nobody_elses() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    let rules = json!({ "mode": "on", "countries": { "blocked": ["US"] }, "caps": { "prefix": { "per_day": 1 } } });
    set(&app, &acme, rules.clone()).await;
    start(&app, &acme, &london(1)).await;
    assert_eq!(blocked_by(&start(&app, &acme, &london(2)).await), Some("cap_prefix"));
    assert_eq!(blocked_by(&start(&app, &globex, "+12025550101").await), None);
    set(&app, &globex, rules).await;
    assert_eq!(blocked_by(&start(&app, &globex, &london(3)).await), None, "its own count");
    let shop = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" })).await.expect(201);
    let there = json!({ "to": "+12025550102", "service": crate::app::id(&shop) });
    assert_eq!(blocked_by(&start_as(&app, &acme, there).await), None, "its own guard");
    // Somebody else's guard does not exist.
    app.get(guard_of(&acme)).key(&globex.live).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_resend_is_judged_too_and_says_so() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "caps": { "address": { "per_hour": 2 } } })).await;
    let (verification, code) = app.started(&acme.live, &london(1)).await;
    let resend = || app.post(format!("{}/resend", crate::app::path(&verification))).key(&acme.live);
    app.clock.advance(crate::app::seconds(31));
    resend().await.expect(200);
    app.clock.advance(crate::app::seconds(61));
    let refused = resend().await;
    let problem = refused.problem(409, "guard_blocked");
    assert_eq!((&problem["rule"], &problem["retry_at"]), (&json!("cap_address"), &json!("2026-11-22T13:00:00Z")));
    assert!(refused.retry_after() > 3000);
    resend().await.problem(409, "guard_blocked");
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 2);
    let read = app.read(&acme.live, &verification).await;
    assert_eq!(read["status"], "pending");
    assert_eq!(read.get("verdict"), None, "it was started");
    let timeline = read["timeline"].as_array().unwrap();
    assert_eq!(timeline.len(), 1, "who keeps asking does not make it grow: {timeline:?}");
    assert_eq!((&timeline[0]["step"], &timeline[0]["rule"]), (&json!("resend"), &json!("cap_address")));
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], true);
}

#[tokio::test]
async fn all_that_rules_say_of_the_last_of_many_sends_is_seen() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "address_limits": { "cool_down_seconds": [0] } })).await;
    let one_a_day = || json!({ "per_day": 1 });
    let caps = json!({ "address": one_a_day(), "prefix": one_a_day(), "service": one_a_day() });
    set(&app, &acme, json!({ "mode": "shadow", "caps": caps, "countries": { "blocked": ["GB"] } })).await;
    list(&app, &acme, json!({ "effect": "block", "address": london(1) })).await;
    let started = start(&app, &acme, &london(1)).await;
    for _ in 0..4 {
        app.clock.advance(crate::app::seconds(1));
        app.post(format!("{}/resend", crate::app::path(&started))).key(&acme.live).await.expect(200);
        app.run_jobs().await;
    }
    let read = app.read(&acme.live, &started).await;
    let timeline = read["timeline"].as_array().unwrap();
    let at = |note: &Value| note["at"].as_str().unwrap().to_owned();
    let said = |moment: &str| -> BTreeSet<&str> {
        let notes = timeline.iter().filter(|note| at(note) == moment);
        notes.map(|note| note["rule"].as_str().unwrap()).collect()
    };
    assert_eq!(said("2026-11-22T12:00:00Z"), ["address_listed", "country_blocked"].into());
    let all = ["address_listed", "country_blocked", "cap_address", "cap_prefix", "cap_service"];
    assert_eq!(said("2026-11-22T12:00:04Z"), all.into(), "{timeline:#?}");
    assert!(timeline.is_sorted_by_key(at), "in the order in which it happened");
}

#[tokio::test]
async fn a_wotp_client_is_told_too() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["GB"] } })).await;
    let reply = app.post("/api/otp/send").key(&acme.live).json(json!({ "phone": london(1) })).await;
    let error = reply.expect(400);
    assert!(error["details"].as_str().unwrap().contains("country_blocked"), "{error}");
}

#[tokio::test]
async fn with_a_test_key_lists_and_countries_can_be_tried_and_nothing_is_counted() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let rules = json!({ "mode": "on", "countries": { "blocked": ["US"] }, "caps": { "service": { "per_day": 1 } } });
    set(&app, &acme, rules).await;
    let test = TestTenant { live: acme.test.clone(), test: String::new(), id: acme.id, service: acme.service };
    assert_eq!(blocked_by(&start(&app, &test, "+12025550101").await), Some("country_blocked"));
    for n in 0..3 {
        assert_eq!(blocked_by(&start(&app, &test, &london(n)).await), None);
    }
    assert_eq!(blocked_by(&start(&app, &acme, &london(1)).await), None);
    assert_eq!(blocked_by(&start(&app, &acme, &london(2)).await), Some("cap_service"));
}
