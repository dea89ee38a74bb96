//! The watch: a pumping attack, its neighbours, its end, and what is no attack.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::Timestamp;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::domain::guard::{Destination, State, Watch};
use wotp_core::ports::{Change, EntityRow, Owner};

use super::{Fellow, blocked_by, guard_of, london, names, set, sheffield, start};
use crate::app::{TestApp, TestTenant, days, id, path, seconds};

/// Every node tells, and the watch looks.
pub(super) async fn watch(app: &TestApp) -> usize {
    app.app.tell_guard_counts().await.unwrap();
    let turned = app.app.watch_guards().await.unwrap().turned;
    // What is restricted is known within a second.
    app.clock.advance(seconds(1));
    turned
}

/// Somebody who wants in: gets a code and types it in.
async fn honest(app: &TestApp, acme: &TestTenant, to: &str) -> bool {
    let started = start(app, acme, to).await;
    if blocked_by(&started).is_some() {
        return false;
    }
    let code = app.outbox.last().code;
    assert_eq!(app.checking(&acme.live, &started, &code).await.expect(200)["valid"], true);
    true
}

/// A service that has been used honestly for a while, from both exchanges.
async fn with_history(mode: &str) -> (TestApp, TestTenant) {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": mode })).await;
    for n in 0..60 {
        let to = if n % 2 == 0 { sheffield(n) } else { london(n) };
        if n % 3 == 0 {
            start(&app, &acme, &to).await;
        } else {
            assert!(honest(&app, &acme, &to).await);
        }
    }
    watch(&app).await;
    app.clock.advance(seconds(2 * 3600));
    (app, acme)
}

/// What is restricted, as prefix or country and state.
async fn restricted(app: &TestApp, acme: &TestTenant) -> Vec<(String, String)> {
    let list = app.get(format!("{}/destinations", guard_of(acme))).key(&acme.live).await.expect(200);
    let text = |of: &Value, name: &str| of[name].as_str().unwrap().to_owned();
    let data = list["data"].as_array().unwrap();
    data.iter().map(|one| (text(one, "value"), text(one, "state"))).collect()
}

fn is(value: &str, state: &str) -> Vec<(String, String)> {
    vec![(value.to_owned(), state.to_owned())]
}

/// A minute of an attack on the London exchange: so many numbers, none of which answers. Says how many got a code.
async fn attack(app: &TestApp, acme: &TestTenant, next: &mut usize, numbers: usize) -> usize {
    let before = app.outbox.letters().len();
    for _ in 0..numbers {
        start(app, acme, &london(*next)).await;
        *next += 1;
    }
    app.clock.advance(seconds(60));
    app.outbox.letters().len() - before
}

#[tokio::test]
async fn an_attack_on_one_prefix_is_slowed_then_blocked_and_its_neighbour_is_not() {
    let (app, acme) = with_history("on").await;
    let (mut next, mut neighbour, mut out) = (100, 100, Vec::new());
    let mut states = Vec::new();
    for _ in 0..14 {
        out.push(attack(&app, &acme, &mut next, 20).await);
        for _ in 0..2 {
            assert!(honest(&app, &acme, &sheffield(neighbour)).await, "an honest neighbour is never refused");
            neighbour += 1;
        }
        watch(&app).await;
        let now = restricted(&app, &acme).await;
        assert!(now.iter().all(|(value, _)| value == "+44207946"), "{now:?}");
        states.extend(now.into_iter().map(|(_, state)| state));
    }
    states.dedup();
    assert_eq!(states, ["slowed", "blocked"], "codes that went out, minute by minute: {out:?}");
    assert!(out.iter().sum::<usize>() <= 100, "of 280 that were asked for: {out:?}");
    assert_eq!(&out[11..], [0; 3], "nothing goes out any more: {out:?}");
    let refused = start(&app, &acme, &london(next)).await;
    assert_eq!(blocked_by(&refused), Some("prefix_collapsed"));
    assert!(refused["verdict"]["retry_at"].is_string());
    let kinds = names(&app, &acme, "event", "kind").await;
    let of_guard: Vec<_> = kinds.iter().filter(|kind| kind.starts_with("guard.")).collect();
    assert_eq!(of_guard, ["guard.destination_slowed", "guard.destination_blocked"]);
    let mut audit = names(&app, &acme, "audit_entry", "action").await;
    audit.retain(|action| action.starts_with("guard"));
    assert_eq!(audit, ["guard.set", "guard_destination.slow", "guard_destination.block"]);
}

/// Attacks until the London exchange is blocked.
pub async fn blocked(mode: &str) -> (TestApp, TestTenant, usize) {
    let (app, acme) = with_history(mode).await;
    let mut next = 100;
    while !restricted(&app, &acme).await.iter().any(|(_, state)| state == "blocked") {
        assert!(next < 600, "it is never blocked: {:?}", restricted(&app, &acme).await);
        attack(&app, &acme, &mut next, 20).await;
        watch(&app).await;
    }
    (app, acme, next)
}

#[tokio::test]
async fn it_is_probed_after_a_while_and_released_by_itself_when_people_answer_again() {
    let (app, acme, mut next) = blocked("on").await;
    app.clock.advance(seconds(30 * 60));
    watch(&app).await;
    assert_eq!(restricted(&app, &acme).await, is("+44207946", "probing"));
    // The attack goes on: a few codes go out, nobody answers, and it is blocked for twice as long.
    for _ in 0..8 {
        let out = attack(&app, &acme, &mut next, 5).await;
        assert!(out <= 2, "a trickle: {out}");
        watch(&app).await;
    }
    assert_eq!(restricted(&app, &acme).await, is("+44207946", "blocked"));
    app.clock.advance(seconds(31 * 60));
    watch(&app).await;
    assert_eq!(restricted(&app, &acme).await, is("+44207946", "blocked"));
    app.clock.advance(seconds(30 * 60));
    watch(&app).await;
    assert_eq!(restricted(&app, &acme).await, is("+44207946", "probing"));
    // It is over, and those who want in get through as the trickle allows.
    let mut through = 0;
    for _ in 0..8 {
        for _ in 0..2 {
            next += 1;
            through += usize::from(honest(&app, &acme, &london(next)).await);
        }
        app.clock.advance(seconds(60));
        watch(&app).await;
    }
    assert!(through >= 10, "{through}");
    assert_eq!(restricted(&app, &acme).await, []);
    for n in 0..5 {
        assert!(honest(&app, &acme, &london(next + 1 + n)).await);
    }
    let kinds = names(&app, &acme, "event", "kind").await;
    assert_eq!(kinds.last().map(String::as_str), Some("guard.destination_released"));
}

#[tokio::test]
async fn it_is_released_by_hand_at_once_and_only_by_its_tenant() {
    let (app, acme, next) = blocked("on").await;
    let globex = app.tenant("Globex").await;
    let list = app.get(format!("{}/destinations", guard_of(&acme))).key(&acme.live).await.expect(200);
    let release = format!("{}/destinations/{}/release", guard_of(&acme), id(&list["data"][0]));
    app.post(&release).key(&globex.live).await.problem(404, "not_found");
    let foreign = release.replace(&acme.service.to_string(), &globex.service.to_string());
    app.post(&foreign).key(&globex.live).await.problem(404, "not_found");
    assert_eq!(blocked_by(&start(&app, &acme, &london(next)).await), Some("prefix_collapsed"));
    let released = app.post(&release).key(&acme.live).await.expect(200);
    assert_eq!(released["state"], "normal");
    assert!(honest(&app, &acme, &london(next)).await);
    app.post(&release).key(&acme.live).await.expect(200);
    let kinds = names(&app, &acme, "event", "kind").await;
    assert_eq!(kinds.iter().filter(|kind| *kind == "guard.destination_released").count(), 1);
    assert_eq!(names(&app, &acme, "audit_entry", "action").await.last().unwrap(), "guard_destination.release");
}

#[tokio::test]
async fn in_shadow_the_attack_is_reported_and_everything_goes_out() {
    let (app, acme, mut next) = blocked("shadow").await;
    let reported = start(&app, &acme, &london(next)).await;
    assert_eq!((&reported["status"], &reported["verdict"]["reason"]), (&json!("pending"), &json!("prefix_collapsed")));
    assert_eq!(reported["timeline"][0]["effect"], "would_block");
    next += 1;
    assert_eq!(attack(&app, &acme, &mut next, 20).await, 20);
    let events = super::stored(&app, &acme, "event").await;
    let blocked = events.iter().find(|event| event["kind"] == "guard.destination_blocked").unwrap();
    assert_eq!((&blocked["data"]["shadow"], &blocked["data"]["destination"]), (&json!(true), &json!("+44207946")));
    // Once nobody looks any more nothing is held against anybody.
    set(&app, &acme, json!({ "mode": "off" })).await;
    app.clock.advance(seconds(40 * 60));
    watch(&app).await;
    assert_eq!(restricted(&app, &acme).await, []);
}

#[tokio::test]
async fn an_attack_over_many_prefixes_is_met_at_its_country() {
    let (app, acme) = with_history("on").await;
    // Six exchanges that are reserved for fiction, too few codes to each of them to say anything of it. Nobody ever
    // wrote to that country, so it is compared with what the service is used to.
    for exchange in [202, 212, 305, 312, 415, 617] {
        for n in 10..20 {
            start(&app, &acme, &format!("+1{exchange}55501{n}")).await;
        }
    }
    app.clock.advance(seconds(180));
    watch(&app).await;
    assert_eq!(restricted(&app, &acme).await, is("US", "slowed"));
    assert!(honest(&app, &acme, &london(1)).await, "other countries are not concerned");
    let mut refused = 0;
    for n in 20..30 {
        let started = start(&app, &acme, &format!("+171355501{n}")).await;
        refused += usize::from(blocked_by(&started) == Some("country_slowed"));
    }
    assert_eq!(refused, 5, "five a minute still go out");
}

#[tokio::test]
async fn codes_that_cannot_be_delivered_are_no_attack() {
    let (app, acme) = with_history("on").await;
    for n in 100..160 {
        app.outbox.refuses_next(DeliveryFailure::Rejected);
        app.spare.refuses_next(DeliveryFailure::Rejected);
        let started = start(&app, &acme, &london(n)).await;
        assert_eq!(app.read(&acme.live, &started).await["reason"], "undeliverable");
    }
    app.clock.advance(seconds(300));
    watch(&app).await;
    assert_eq!(restricted(&app, &acme).await, []);
}

#[tokio::test]
async fn nor_are_those_whose_end_somebody_was_first_to_ask_for() {
    let (app, acme) = with_history("on").await;
    let mut lost = Vec::new();
    for n in 100..160 {
        lost.push(app.starting(&acme.live, json!({ "to": london(n) })).await.expect(201));
        app.lose_jobs().await;
    }
    app.clock.advance(seconds(601));
    for (n, lost) in lost.iter().enumerate() {
        if n % 2 == 0 {
            app.checking(&acme.live, lost, "000000").await.expect(200);
        } else {
            app.post(format!("{}/cancel", path(lost))).key(&acme.live).await.problem(409, "verification_ended");
        }
        assert_eq!(app.read(&acme.live, lost).await["reason"], "undeliverable");
    }
    app.clock.advance(seconds(300));
    watch(&app).await;
    assert_eq!(restricted(&app, &acme).await, []);
}

#[tokio::test]
async fn a_quiet_service_and_an_honest_rush_are_left_alone() {
    let (app, acme) = with_history("on").await;
    for n in 100..119 {
        start(&app, &acme, &london(n)).await;
    }
    app.clock.advance(seconds(300));
    assert_eq!(watch(&app).await, 0, "nineteen say nothing");
    for n in 200..300 {
        if n % 2 == 0 {
            assert!(honest(&app, &acme, &sheffield(n)).await);
        } else {
            start(&app, &acme, &sheffield(n)).await;
        }
    }
    app.clock.advance(seconds(300));
    assert_eq!(watch(&app).await, 0, "a half instead of two thirds is no collapse");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_several_nodes_saw_is_added_up_and_decided_once() {
    let (app, acme) = with_history("on").await;
    let fellow = Fellow::of(&app);
    for n in 0..12 {
        start(&app, &acme, &london(100 + n)).await;
        let body = json!({ "to": london(300 + n) });
        fellow.post("/v1/verifications").key(&acme.live).json(body).await.expect(201);
        // Started on one node, typed in on the other.
        let started = start(&app, &acme, &sheffield(100 + n)).await;
        app.run_jobs().await;
        let code = app.outbox.last().code;
        let check = fellow.post(format!("{}/check", path(&started)));
        assert_eq!(check.key(&acme.live).json(json!({ "code": code })).await.expect(200)["valid"], true);
    }
    // To where nobody ever wrote: both nodes will want to note it.
    start(&app, &acme, "+12025550101").await;
    app.clock.advance(seconds(180));
    let (mine, theirs) = tokio::join!(app.app.tell_guard_counts(), fellow.app.tell_guard_counts());
    mine.and(theirs).unwrap();
    // Two nodes watch at once, as when the turn changes.
    let (mine, theirs) = tokio::join!(app.app.watch_guards(), fellow.app.watch_guards());
    let turned = mine.unwrap().turned + theirs.unwrap().turned;
    app.clock.advance(seconds(1));
    assert_eq!(turned, 1);
    assert_eq!(restricted(&app, &acme).await, is("+44207946", "slowed"));
    assert_eq!(names(&app, &acme, "event", "kind").await, ["guard.destination_slowed"]);
    assert_eq!(super::stored(&app, &acme, "guard_seen").await.len(), 0, "what was taken in is gone");
}

#[tokio::test]
async fn a_destination_that_nothing_happens_at_is_forgotten() {
    let (app, acme) = with_history("on").await;
    watch(&app).await;
    assert_eq!(names(&app, &acme, "guard_watch", "destination").await.len(), 4);
    app.clock.advance(days(31));
    watch(&app).await;
    assert_eq!(names(&app, &acme, "guard_watch", "destination").await, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_lists_and_releases_needs_the_permission() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let unknown = format!("{}/destinations/gdd_01J9ZK3V8X6W5T4S3R2Q1P0N9M/release", guard_of(&acme));
    app.post(&unknown).key(&acme.live).await.problem(404, "not_found");
    app.request(Method::GET, format!("{}/destinations", guard_of(&acme))).await.problem(401, "api_key_missing");
}

fn restricted_one(acme: &TestTenant, destination: Destination, state: State, now: Timestamp) -> Watch {
    let country = Some("GB".to_owned());
    Watch { state, ..Watch::new(acme.id, acme.service, destination, country, now) }
}

/// Which of many are held in memory is by a hash of their name, and says nothing of which are enforced.
#[tokio::test]
async fn of_more_restricted_destinations_than_are_held_each_is_enforced() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on" })).await;
    let now = app.app.ports().clock.now();
    let prefix = Destination::Prefix("+44207946".to_owned());
    let country = Destination::Country("GB".to_owned());
    let first = prefix.id(acme.service).min(country.id(acme.service));
    let others = (0..).map(|n| Destination::Prefix(format!("+4479{n:07}"))).filter(|one| one.id(acme.service) < first);
    let mut all: Vec<Watch> =
        others.take(1000).map(|other| restricted_one(&acme, other, State::Blocked, now)).collect();
    all.push(restricted_one(&acme, prefix, State::Blocked, now));
    let store = &app.app.ports().store;
    for part in all.chunks(100) {
        store.commit(part.iter().map(Change::insert).collect()).await.unwrap();
    }
    app.clock.advance(seconds(1));
    assert_eq!(blocked_by(&start(&app, &acme, &london(1)).await), Some("prefix_collapsed"));
    assert_eq!(blocked_by(&start(&app, &acme, &sheffield(1)).await), None);
    store.commit(vec![Change::insert(&restricted_one(&acme, country, State::Blocked, now))]).await.unwrap();
    app.clock.advance(seconds(1));
    assert_eq!(blocked_by(&start(&app, &acme, &sheffield(2)).await), Some("country_collapsed"));
    let listed = restricted(&app, &acme).await;
    assert_eq!((listed[0].0.as_str(), listed.len()), ("GB", 1001));
}

/// As in the middle of an upgrade: a newer node writes what this one cannot read.
#[tokio::test]
async fn what_cannot_be_read_keeps_nobody_else_unwatched() {
    let (app, acme) = with_history("on").await;
    let globex = app.tenant("Globex").await;
    set(&app, &globex, json!({ "mode": "on" })).await;
    let long_ago = app.app.ports().clock.now().saturating_sub(days(1)).unwrap();
    let strange = |kind, id: [u8; 16], wake_at| {
        let doc = json!({ "of": "another age" }).as_object().unwrap().clone();
        let owner = Owner::Tenant(globex.id);
        let (unique, listed) = (Vec::new(), Vec::new());
        Change::Put(EntityRow { kind, owner, id, version: 0, unique, listed, wake_at, doc })
    };
    // More than are looked at together, and all of them due before anything else; and a whole service.
    let mut changes = Vec::new();
    for n in 0..150u8 {
        changes.push(strange("guard_seen", [n; 16], Some(long_ago)));
        changes.push(strange("guard_watch", [n; 16], Some(long_ago)));
        changes.push(strange("guard_use", [n; 16], Some(long_ago)));
    }
    start(&app, &globex, &london(900)).await;
    app.app.tell_guard_counts().await.unwrap();
    changes.push(strange("guard_settings", globex.service.to_bytes(), None));
    app.app.ports().store.commit(changes).await.unwrap();
    let mut next = 100;
    for _ in 0..6 {
        attack(&app, &acme, &mut next, 20).await;
        watch(&app).await;
    }
    assert_eq!(restricted(&app, &acme).await, is("+44207946", "slowed"));
}
