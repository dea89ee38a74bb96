//! Direct messages: the same rules, and one count with codes.

use serde_json::{Value, json};

use super::{Fellow, blocked_by, list, london, set, sheffield, start, stored, watch};
use crate::app::{NUMBER, TestApp, TestTenant, days, id, seconds};
use crate::client::{Request, race};

pub fn sending(app: &TestApp, tenant: &TestTenant, mut body: Value) -> Request {
    body["content"] = "Your order has arrived.".into();
    app.post("/v1/messages").key(&tenant.live).json(body)
}

/// Sends one and has it delivered, if it is to be.
async fn send_as(app: &TestApp, tenant: &TestTenant, body: Value) -> Value {
    let sent = sending(app, tenant, body).await.expect(201);
    app.run_jobs().await;
    sent
}

async fn send(app: &TestApp, tenant: &TestTenant, to: &str) -> Value {
    send_as(app, tenant, json!({ "to": to })).await
}

async fn read(app: &TestApp, tenant: &TestTenant, message: &Value) -> Value {
    app.get(format!("/v1/messages/{}", id(message))).key(&tenant.live).await.expect(200)
}

/// Which rule stopped it; none when it was let pass.
fn stopped_by(message: &Value) -> Option<&str> {
    let verdict = &message["verdict"];
    if verdict["blocked"] != true {
        assert_ne!(message["status"], "failed", "{message}");
        return None;
    }
    assert_eq!((&message["status"], &message["deliveries"]), (&json!("failed"), &json!([])));
    assert_eq!(message["timeline"][0]["step"], "start");
    verdict["reason"].as_str()
}

#[tokio::test]
async fn lists_and_countries_hold_for_messages() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["US"] } })).await;
    for mut entry in [
        json!({ "address": london(1) }),
        json!({ "prefix": "+44 114" }),
        json!({ "network": "192.0.2.7" }),
        json!({ "network": "2001:db8::/32" }),
    ] {
        entry["effect"] = "block".into();
        list(&app, &acme, entry).await;
    }
    list(&app, &acme, json!({ "effect": "allow", "address": NUMBER })).await;
    for (to, ip, rule) in [
        (london(1), None, Some("address_listed")),
        (london(2), None, None),
        (sheffield(1), None, Some("prefix_listed")),
        (london(3), Some("192.0.2.7"), Some("network_listed")),
        (london(4), Some("2001:db8:1::5"), Some("network_listed")),
        (london(5), Some("192.0.2.8"), None),
        ("+12025550101".to_owned(), None, Some("country_blocked")),
        (NUMBER.to_owned(), None, None),
        ("ada@example.com".to_owned(), None, None),
    ] {
        let sent = send_as(&app, &acme, json!({ "to": to, "ip": ip })).await;
        assert_eq!(stopped_by(&sent), rule, "{to} {ip:?}");
    }
    assert_eq!(app.outbox.letters().len(), 4);
    let at_home = sending(&app, &acme, json!({ "to": london(6), "ip": "at home" })).await;
    assert_eq!(at_home.wrong_fields(), ["ip"]);
}

#[tokio::test]
async fn codes_and_messages_are_counted_together() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let costs = json!({ "countries": { "GB": 40_000 }, "other_micros": 0 });
    let ip = "192.0.2.1";
    for (n, (caps, rule)) in [
        (json!({ "prefix": { "per_hour": 2 } }), "cap_prefix"),
        (json!({ "ip": { "per_hour": 2 } }), "cap_ip"),
        (json!({ "service": { "per_hour": 2 } }), "cap_service"),
        (json!({ "spend_micros_per_day": 80_000 }), "cap_spend"),
    ]
    .into_iter()
    .enumerate()
    {
        // Each from an hour of its own.
        app.clock.advance(seconds(3600));
        set(&app, &acme, json!({ "mode": "on", "caps": caps, "costs": costs })).await;
        let to = |m: usize| json!({ "to": london(10 * n + m), "ip": ip });
        assert_eq!(stopped_by(&send_as(&app, &acme, to(1)).await), None, "{rule}");
        assert_eq!(blocked_by(&super::start_as(&app, &acme, to(2)).await), None, "{rule}");
        let stopped = send_as(&app, &acme, to(3)).await;
        assert_eq!(stopped_by(&stopped), Some(rule));
        assert!(stopped["verdict"]["retry_at"].is_string(), "{stopped}");
        assert_eq!(blocked_by(&super::start_as(&app, &acme, to(4)).await), Some(rule));
    }
    set(&app, &acme, json!({ "mode": "on", "caps": { "address": { "per_day": 2 } } })).await;
    for stopped in [None, None, Some("cap_address")] {
        assert_eq!(stopped_by(&send(&app, &acme, &sheffield(1)).await), stopped);
    }
}

#[tokio::test]
async fn the_tenants_cap_is_over_codes_and_messages_of_all_its_services() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "caps": { "tenant_per_day": 3 } })).await;
    let shop = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" })).await.expect(201);
    send_as(&app, &acme, json!({ "to": london(1), "service": id(&shop) })).await;
    start(&app, &acme, &london(2)).await;
    assert_eq!(stopped_by(&send(&app, &acme, &london(3)).await), None);
    assert_eq!(stopped_by(&send(&app, &acme, &london(4)).await), Some("cap_tenant"));
    assert_eq!(blocked_by(&start(&app, &acme, &london(5)).await), Some("cap_tenant"));
    // The guard is that of the service which the call is about.
    let there = json!({ "to": london(6), "service": id(&shop) });
    assert_eq!(stopped_by(&send_as(&app, &acme, there).await), None);
    app.clock.advance(seconds(12 * 3600));
    assert_eq!(stopped_by(&send(&app, &acme, &london(7)).await), None);
}

#[tokio::test]
async fn a_message_that_is_stopped_reaches_no_channel_and_costs_nothing() {
    let app = TestApp::with().plan("limits = { messages_day = 1 }").start().await;
    let acme = app.tenant("Acme").await;
    app.app.heard(acme.id).await.unwrap();
    set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["GB"] } })).await;
    let request = sending(&app, &acme, json!({ "to": london(1) })).header("idempotency-key", "once");
    let stopped = request.clone().await.expect(201);
    assert_eq!(stopped_by(&stopped), Some("country_blocked"));
    assert!(app.run_jobs().await.is_empty() && app.outbox.letters().is_empty());
    assert_eq!(app.used_today(&acme.live, "messages").await, 0);
    // Its tenant is told, once.
    while app.app.fold(50).await.unwrap().taken > 0 {}
    let told = stored(&app, &acme, "event").await;
    let [event] = &told[..] else { panic!("{told:?}") };
    assert_eq!((&event["kind"], &event["data"]["id"]), (&json!("message.failed"), &stopped["id"]));
    assert_eq!((&event["data"]["reason"], &event["data"]["channel"]), (&Value::Null, &Value::Null));
    assert_eq!(read(&app, &acme, &stopped).await, stopped);
    assert_eq!(app.get("/v1/messages").key(&acme.live).await.expect(200)["data"], json!([stopped]));
    // The key repeats what it made, though it would pass now.
    set(&app, &acme, json!({ "mode": "off" })).await;
    assert_eq!(request.await.expect(201), stopped);
    assert_eq!(stopped_by(&send(&app, &acme, &london(1)).await), None);
    assert_eq!(app.used_today(&acme.live, "messages").await, 1);
    // It goes like all others when it was kept long enough.
    app.clock.advance(days(31));
    app.sweep().await;
    assert_eq!(read(&app, &acme, &stopped).await["to"], Value::Null);
    app.clock.advance(days(60));
    app.sweep().await;
    app.get(format!("/v1/messages/{}", id(&stopped))).key(&acme.live).await.problem(404, "not_found");
}

#[tokio::test]
async fn a_message_that_is_refused_otherwise_uses_nothing_of_a_cap() {
    let app = TestApp::with().plan("limits = { messages_day = 1 }").start().await;
    let acme = app.tenant("Acme").await;
    set(&app, &acme, json!({ "mode": "on", "caps": { "service": { "per_day": 2 } } })).await;
    let first = || sending(&app, &acme, json!({ "to": london(1) })).header("idempotency-key", "once");
    first().await.expect(201);
    for _ in 0..3 {
        first().await.expect(201);
        assert_eq!(sending(&app, &acme, json!({ "to": london(2) })).await.status, 429);
    }
    app.run_jobs().await;
    assert_eq!(blocked_by(&start(&app, &acme, &london(3)).await), None);
    assert_eq!(blocked_by(&start(&app, &acme, &london(4)).await), Some("cap_service"));
}

#[tokio::test]
async fn in_shadow_a_message_says_what_would_have_stopped_it_and_goes_out() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "shadow", "caps": { "prefix": { "per_day": 1 } } })).await;
    list(&app, &acme, json!({ "effect": "block", "network": "192.0.2.0/24" })).await;
    send(&app, &acme, &london(1)).await;
    let reported = send_as(&app, &acme, json!({ "to": london(2), "ip": "192.0.2.7" })).await;
    assert_eq!(
        (&reported["verdict"]["blocked"], &reported["verdict"]["reason"]),
        (&json!(false), &json!("network_listed"))
    );
    let read = read(&app, &acme, &reported).await;
    assert_eq!(read["status"], "sent");
    let timeline = read["timeline"].as_array().unwrap();
    let said: Vec<_> =
        timeline.iter().map(|note| (note["rule"].as_str().unwrap(), note["effect"].as_str().unwrap())).collect();
    assert_eq!(said, [("network_listed", "would_block"), ("cap_prefix", "would_block")]);
    assert_eq!(app.outbox.letters().len(), 2);
}

#[tokio::test]
async fn where_the_watch_blocks_codes_it_blocks_messages_and_a_trickle_is_counted_apart() {
    let (app, acme, next) = watch::blocked("on").await;
    let stopped = send(&app, &acme, &london(next)).await;
    assert_eq!(stopped_by(&stopped), Some("prefix_collapsed"));
    assert!(stopped["verdict"]["retry_at"].is_string());
    assert_eq!(stopped_by(&send(&app, &acme, &sheffield(900)).await), None, "its neighbour is not concerned");
    app.clock.advance(seconds(30 * 60));
    watch::watch(&app).await;
    // While it is probed as many messages go out as codes, and take no code's place.
    for stopped in [None, None, Some("prefix_probed")] {
        assert_eq!(stopped_by(&send(&app, &acme, &london(next + 1)).await), stopped);
    }
    for n in 2..4 {
        assert_eq!(blocked_by(&start(&app, &acme, &london(next + n)).await), None);
    }
    assert_eq!(blocked_by(&start(&app, &acme, &london(next + 4)).await), Some("prefix_probed"));
    // Messages tell the watch nothing: nobody types them in.
    for n in 0..60 {
        send(&app, &acme, &sheffield(100 + n)).await;
    }
    app.clock.advance(seconds(180));
    watch::watch(&app).await;
    assert_eq!(stopped_by(&send(&app, &acme, &sheffield(200)).await), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_messages_and_nodes_count_for_each_other() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let fellow = Fellow::of(&app);
    set(&app, &acme, json!({ "mode": "on", "caps": { "prefix": { "per_day": 10 } } })).await;
    let passed = |replies: &[crate::client::Reply]| {
        replies.iter().filter(|reply| stopped_by(&reply.expect(201)).is_none()).count()
    };
    let mine = race((0..4).map(|n| sending(&app, &acme, json!({ "to": london(n) })))).await;
    let on_fellow = |n| {
        let body = json!({ "to": london(n), "content": "Hello" });
        fellow.post("/v1/messages").key(&acme.live).json(body)
    };
    assert_eq!((passed(&mine), passed(&race((100..104).map(on_fellow)).await)), (4, 4));
    let (mine, theirs) = tokio::join!(app.app.tell_guard_counts(), fellow.app.tell_guard_counts());
    mine.and(theirs).unwrap();
    app.clock.advance(seconds(3));
    let mine = race((200..216).map(|n| sending(&app, &acme, json!({ "to": london(n) })))).await;
    assert_eq!(passed(&mine), 2, "eight were used on both together");
    app.app.tell_guard_counts().await.unwrap();
    app.clock.advance(seconds(3));
    let replies = race([on_fellow(300)]).await;
    assert_eq!(stopped_by(&replies[0].expect(201)), Some("cap_prefix"));
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 10);
    // Each node's of the cap, and how many were stopped.
    assert_eq!(stored(&app, &acme, "guard_use").await.len(), 3);
}

#[tokio::test]
async fn a_wotp_client_and_a_test_key_are_told_too() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let rules = json!({ "mode": "on", "countries": { "blocked": ["GB"] }, "caps": { "service": { "per_day": 1 } } });
    set(&app, &acme, rules).await;
    let body = json!({ "phone": london(1), "content": "Hello" });
    let error = app.post("/api/message/send").key(&acme.live).json(body).await.expect(400);
    assert!(error["details"].as_str().unwrap().contains("country_blocked"), "{error}");
    let test = TestTenant { live: acme.test.clone(), test: String::new(), id: acme.id, service: acme.service };
    assert_eq!(stopped_by(&send(&app, &test, &london(1)).await), Some("country_blocked"));
    for _ in 0..3 {
        assert_eq!(stopped_by(&send(&app, &test, NUMBER).await), None, "nothing is counted");
    }
    assert_eq!(stopped_by(&send(&app, &acme, NUMBER).await), None);
    assert_eq!(stopped_by(&send(&app, &acme, NUMBER).await), Some("cap_service"));
}
