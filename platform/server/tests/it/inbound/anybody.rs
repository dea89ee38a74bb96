//! Verifications of whoever writes: nobody is named at the start.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::WrittenMessage;

use super::{DONE, OTHER, OVER, PERSON, Scene};
use crate::app::{NUMBER, days, id, number, path, seconds};
use crate::client::race;
use crate::sessions::stored;

impl Scene {
    async fn anybody(&self) -> (Value, String) {
        self.started_as(json!({ "method": "inbound", "metadata": { "order": "order-of-somebody" } })).await
    }

    /// What a listing by this number shows.
    async fn found_by(&self, number: &str) -> Vec<Value> {
        let page =
            self.app.get(format!("/v1/verifications?address=%2B{number}")).key(&self.acme.live).await.expect(200);
        page["data"].as_array().expect("a page has items").clone()
    }
}

#[tokio::test]
async fn whoever_writes_is_verified_found_by_their_number_and_forgotten_with_it() {
    let scene = Scene::set().await;
    assert!(scene.approvals().await.is_empty());
    let (verification, token) = scene.anybody().await;
    assert_eq!((&verification["to"], &verification["status"]), (&Value::Null, &json!("pending")));
    assert_eq!(scene.writes(OTHER, &token).await.as_deref(), Some(DONE));
    let approved = scene.read(&verification).await;
    assert_eq!((&approved["status"], &approved["to"]), (&json!("approved"), &json!("+447700900123")));
    assert_eq!(scene.writes(OTHER, &token).await.as_deref(), Some(DONE));
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(OVER));
    assert_eq!(scene.read(&verification).await, approved);
    assert_eq!(scene.found_by(OTHER).await, [approved]);
    assert!(!stored(&scene.app, &OTHER[2..]), "the number is sealed");
    let told = scene.approvals().await;
    assert_eq!((told.len(), &told[0]["country"]), (1, &json!("GB")));

    // Another of the same person's, and a code to them, are beside it.
    scene.keep().await;
    let (second, token) = scene.anybody().await;
    scene.writes(OTHER, &token).await;
    scene.app.started(&scene.acme.live, "+447700900123").await;
    assert_eq!(scene.found_by(OTHER).await.len(), 3);

    let (unheard, _) = scene.anybody().await;
    scene.app.clock.advance(seconds(301));
    scene.app.sweep().await;
    assert_eq!(scene.status(&unheard).await, "expired");
    assert!(stored(&scene.app, "order-of-somebody"));
    scene.app.clock.advance(days(31));
    scene.app.sweep().await;
    for one in [&verification, &second, &unheard] {
        let erased = scene.read(one).await;
        assert_eq!((&erased["to"], &erased["metadata"]), (&Value::Null, &json!({})));
    }
    assert!(scene.found_by(OTHER).await.is_empty());
    assert!(!stored(&scene.app, "order-of-somebody"));
    scene.app.clock.advance(days(60));
    scene.app.sweep().await;
    scene.app.get(path(&unheard)).key(&scene.acme.live).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_who_write_at_once_one_is_verified() {
    let scene = Scene::set().await;
    assert!(scene.approvals().await.is_empty());
    let (verification, token) = scene.anybody().await;
    let messages = (0..50).map(|n| {
        let (app, to, text) = (Arc::clone(&scene.app.app), scene.to, token.clone());
        let sent_at = app.ports().clock.now();
        let from = format!("4477009002{n:02}");
        tokio::spawn(async move {
            let said = app.take_in_message(WrittenMessage { to, from: &from, text: &text, sent_at }).await.unwrap();
            (said.as_deref() == Some(DONE)).then_some(from)
        })
    });
    let mut verified = Vec::new();
    for message in messages.collect::<Vec<_>>() {
        verified.extend(message.await.unwrap());
    }
    assert_eq!(verified.len(), 1, "{verified:?}");
    assert_eq!(scene.read(&verification).await["to"], format!("+{}", verified[0]));
    assert_eq!(scene.found_by(&verified[0]).await.len(), 1);
    assert_eq!(scene.approvals().await.len(), 1);
}

#[tokio::test]
async fn a_repeated_start_says_the_same_while_it_waits() {
    let scene = Scene::set().await;
    let start = || {
        let start = scene.app.starting(&scene.acme.live, json!({ "method": "inbound" }));
        start.header("idempotency-key", "\"one\"")
    };
    let first = start().await.expect(201);
    assert_eq!(start().await.expect(201), first);
    scene.writes(OTHER, first["inbound"]["message"]["token"].as_str().unwrap()).await;
    let repeated = start().await.expect(201);
    assert_eq!((&repeated["id"], &repeated["inbound"]["message"]), (&first["id"], &Value::Null));
}

#[tokio::test]
async fn the_guard_looks_at_the_number_once_it_is_known() {
    let scene = Scene::set().await;
    let guard = format!("/v1/services/{}/guard", scene.acme.service);
    let rules = json!({ "mode": "on", "countries": { "blocked": ["GB"] } });
    scene.app.request(Method::PUT, guard).key(&scene.acme.live).json(rules).await.expect(200);
    let (verification, token) = scene.anybody().await;
    assert_eq!(scene.writes(OTHER, &token).await.as_deref(), Some(OVER));
    let blocked = scene.read(&verification).await;
    assert_eq!((&blocked["status"], &blocked["reason"]), (&json!("failed"), &json!("blocked")));
    assert_eq!((&blocked["to"], &blocked["verdict"]["reason"]), (&Value::Null, &json!("country_blocked")));
    assert_eq!(scene.app.used_today(&scene.acme.live, "verifications").await, 0, "it is not counted");
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(OVER));

    let (passes, token) = scene.anybody().await;
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(DONE));
    assert_eq!(scene.status(&passes).await, "approved");
    // Where it is named, it is looked at before anybody is asked to write.
    let named = scene.app.starting(&scene.acme.live, json!({ "to": "+447700900123", "method": "inbound" }));
    let named = named.await.expect(201);
    assert_eq!((&named["status"], &named["inbound"]["message"]), (&json!("failed"), &Value::Null));
}

#[tokio::test]
async fn analytics_count_what_people_write_as_started_and_as_nothing_that_was_to_go_out() {
    let scene = Scene::set().await;
    let (_, token) = scene.anybody().await;
    scene.writes(OTHER, &token).await;
    scene.anybody().await;
    assert_eq!(scene.approvals().await.len(), 0, "events are kept from now on");
    let counted = scene.app.get("/v1/analytics?group_by=channel").key(&scene.acme.live).await.expect(200);
    for figures in [&counted["totals"], &counted["data"][0]["figures"]] {
        let said = ["started", "tried", "sends", "approved"].map(|name| figures[name].as_u64());
        assert_eq!(said, [Some(2), Some(0), Some(0), Some(1)], "{counted}");
        assert_eq!(figures["conversion"], 0.5);
    }
}

/// As what is stopped at its start: so many of a day cost nothing, and no more.
#[tokio::test]
async fn beyond_what_is_kept_of_a_day_what_the_number_stops_stays_counted_and_metrics_have_all_of_it() {
    let scene = Scene::set().await;
    let guard = format!("/v1/services/{}/guard", scene.acme.service);
    let rules = json!({ "mode": "on", "countries": { "blocked": ["GB"] } });
    scene.app.request(Method::PUT, guard).key(&scene.acme.live).json(rules).await.expect(200);
    let used = || scene.app.used_today(&scene.acme.live, "verifications");
    let rules = || {
        let notes = scene.app.app.take_late_guard_notes();
        notes.iter().map(|note| (note.rule.name(), note.is_against())).collect::<Vec<_>>()
    };
    let (_, token) = scene.anybody().await;
    scene.writes(OTHER, &token).await;
    assert_eq!((used().await, rules()), (0, vec![("country_blocked", true)]));
    for part in (1..1000).collect::<Vec<_>>().chunks(111) {
        let starts = part.iter().map(|n| scene.app.starting(&scene.acme.live, json!({ "to": number(n % 900) })));
        for reply in race(starts).await {
            assert_eq!(reply.expect(201)["status"], "failed");
        }
    }
    scene.keep().await;
    let (stopped, token) = scene.anybody().await;
    assert_eq!(scene.writes(OTHER, &token).await.as_deref(), Some(OVER));
    assert_eq!(scene.read(&stopped).await["reason"], "blocked");
    assert_eq!((used().await, rules()), (1, vec![("country_blocked", true)]));
}

#[tokio::test]
async fn the_caps_ask_at_the_start_what_needs_no_number_and_nothing_twice() {
    let scene = Scene::set().await;
    let set = async |rules: Value| {
        let guard = format!("/v1/services/{}/guard", scene.acme.service);
        scene.app.request(Method::PUT, guard).key(&scene.acme.live).json(rules).await.expect(200);
    };
    set(json!({ "mode": "on", "caps": { "tenant_per_day": 1, "service": { "per_day": 1 } } })).await;
    let (passes, token) = scene.anybody().await;
    let stopped = scene.app.starting(&scene.acme.live, json!({ "method": "inbound" })).await.expect(201);
    assert_eq!((&stopped["status"], &stopped["verdict"]["reason"]), (&json!("failed"), &json!("cap_tenant")));
    // The one that is counted is not held against itself.
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(DONE));
    assert_eq!(scene.status(&passes).await, "approved");

    set(json!({ "mode": "on", "caps": { "ip": { "per_hour": 1 } } })).await;
    let from = |ip: &str| scene.app.starting(&scene.acme.live, json!({ "method": "inbound", "ip": ip }));
    assert_eq!(from("192.0.2.1").await.expect(201)["status"], "pending");
    assert_eq!(from("192.0.2.1").await.expect(201)["verdict"]["reason"], "cap_ip");
    assert_eq!(from("192.0.2.2").await.expect(201)["status"], "pending");
}

#[tokio::test]
async fn beside_a_token_that_is_over_another_is_found() {
    let scene = Scene::set().await;
    let (_, over) = scene.anybody().await;
    assert_eq!(scene.writes(PERSON, &over).await.as_deref(), Some(DONE));
    let (verification, token) = scene.anybody().await;
    let both = format!("> {over}\nthis one: {token}");
    assert_eq!(scene.writes(PERSON, &both).await.as_deref(), Some(DONE));
    assert_eq!(scene.status(&verification).await, "approved");
}

#[tokio::test]
async fn those_that_a_message_approves_hide_none_with_a_code() {
    let scene = Scene::set().await;
    let (_, code) = scene.app.started(&scene.acme.live, NUMBER).await;
    for _ in 0..21 {
        scene.started(NUMBER).await;
    }
    let check = scene.app.post("/v1/verifications/check").key(&scene.acme.live);
    let checked = check.json(json!({ "to": NUMBER, "code": code })).await.expect(200);
    assert_eq!(checked["valid"], true);
}

#[tokio::test]
async fn what_is_sent_needs_somebody_to_be_sent_to() {
    let scene = Scene::set().await;
    for body in [json!({}), json!({ "method": "code" }), json!({ "method": "link" })] {
        assert_eq!(scene.app.starting(&scene.acme.live, body).await.wrong_fields(), ["to"]);
    }
    let test = scene.app.starting(&scene.acme.test, json!({ "method": "inbound" })).await.expect(201);
    let simulate = scene.app.post(format!("{}/simulate-message", path(&test))).key(&scene.acme.test);
    let simulated = simulate.json(json!({ "from": "+447700900123" })).await.expect(200);
    assert_eq!((&simulated["approved"], &simulated["verification"]["id"]), (&json!(true), &json!(id(&test))));
    assert_eq!(simulated["verification"]["to"], "+44********23");
}
