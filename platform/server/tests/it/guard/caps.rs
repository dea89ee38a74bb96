//! Caps: by address, prefix, IP address, service, tenant and what is spent.

use serde_json::{Value, json};

use super::messages::sending;
use super::{Fellow, blocked_by, london, set, sheffield, start, start_as, stored};
use crate::app::{NUMBER, TestApp, seconds};
use crate::client::race;

#[tokio::test]
async fn each_cap_holds_for_what_it_is_about_until_its_window_turns_over() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let free = json!({ "address_limits": { "cool_down_seconds": [0] } });
    app.change_service(&acme, free).await;
    let costs = json!({ "countries": { "GB": 40_000 }, "other_micros": 0 });
    let (hour, day) = ("2026-11-22T13:00:00Z", "2026-11-23T00:00:00Z");
    let twice = |cap: &str| {
        Vec::from([("per_hour", hour), ("per_day", day)].map(|(span, turns)| (json!({ cap: { span: 1 } }), turns)))
    };
    let spend = vec![(json!({ "spend_micros_per_day": 70_000 }), day)];
    for (rule, caps, first, same, other) in [
        (
            "cap_address",
            twice("address"),
            json!({ "to": london(1) }),
            json!({ "to": london(1) }),
            json!({ "to": london(2) }),
        ),
        (
            "cap_prefix",
            twice("prefix"),
            json!({ "to": london(3) }),
            json!({ "to": london(4) }),
            json!({ "to": sheffield(1) }),
        ),
        (
            "cap_ip",
            twice("ip"),
            json!({ "to": london(5), "ip": "2001:db8:1:1::1" }),
            json!({ "to": london(6), "ip": "2001:db8:1:1:ffff::2" }),
            json!({ "to": london(7), "ip": "2001:db8:1:2::1" }),
        ),
        ("cap_spend", spend, json!({ "to": london(8) }), json!({ "to": london(9) }), json!({ "to": NUMBER })),
    ] {
        for (caps, turns) in caps {
            set(&app, &acme, json!({ "mode": "on", "caps": caps, "costs": costs })).await;
            assert_eq!(blocked_by(&start_as(&app, &acme, first.clone()).await), None, "{caps}");
            let blocked = start_as(&app, &acme, same.clone()).await;
            assert_eq!((blocked_by(&blocked), &blocked["verdict"]["retry_at"]), (Some(rule), &json!(turns)), "{caps}");
            assert_eq!(blocked_by(&start_as(&app, &acme, other.clone()).await), None, "{caps}");
        }
    }
    app.clock.advance(seconds(3600));
    // One of the day is used already.
    set(&app, &acme, json!({ "mode": "on", "caps": { "prefix": { "per_hour": 1, "per_day": 3 } } })).await;
    assert_eq!(blocked_by(&start(&app, &acme, &london(11)).await), None, "another hour");
    assert_eq!(blocked_by(&start(&app, &acme, &london(12)).await), Some("cap_prefix"));
    app.clock.advance(seconds(3600));
    assert_eq!(blocked_by(&start(&app, &acme, &london(13)).await), None);
    app.clock.advance(seconds(3600));
    let day = start(&app, &acme, &london(14)).await;
    assert_eq!(blocked_by(&day), Some("cap_prefix"), "the day is used up");
    assert_eq!(day["verdict"]["retry_at"], "2026-11-23T00:00:00Z");
}

#[tokio::test]
async fn the_tenants_cap_is_over_all_its_services_as_the_quota_counts() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "caps": { "tenant_per_day": 2 } })).await;
    let shop = app.post("/v1/services").key(&acme.live).json(json!({ "name": "Shop" })).await.expect(201);
    start_as(&app, &acme, json!({ "to": london(1), "service": crate::app::id(&shop) })).await;
    assert_eq!(blocked_by(&start(&app, &acme, &london(2)).await), None);
    let blocked = start(&app, &acme, &london(3)).await;
    assert_eq!(blocked_by(&blocked), Some("cap_tenant"));
    assert_eq!(blocked["verdict"]["retry_at"], "2026-11-23T00:00:00Z");
    app.clock.advance(seconds(12 * 3600));
    assert_eq!(blocked_by(&start(&app, &acme, &london(4)).await), None);
}

#[tokio::test]
async fn a_start_that_is_refused_otherwise_uses_nothing_of_a_cap() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "caps": { "service": { "per_day": 2 } } })).await;
    start(&app, &acme, &london(1)).await;
    for _ in 0..5 {
        app.starting(&acme.live, json!({ "to": london(1) })).await.problem(429, "cool_down");
    }
    assert_eq!(blocked_by(&start(&app, &acme, &london(2)).await), None);
    assert_eq!(blocked_by(&start(&app, &acme, &london(3)).await), Some("cap_service"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_30_racing_starts_on_one_node_a_cap_lets_exactly_its_number_pass() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "caps": { "prefix": { "per_day": 7 } } })).await;
    let replies = race((0..30).map(|n| app.starting(&acme.live, json!({ "to": london(n) })))).await;
    let passed = replies.iter().filter(|reply| blocked_by(&reply.expect(201)).is_none()).count();
    assert_eq!(passed, 7);
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 7);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_racing_starts_and_messages_on_one_node_the_tenants_cap_lets_exactly_its_number_pass() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "caps": { "tenant_per_day": 21 } })).await;
    for n in 0..10 {
        start(&app, &acme, &london(100 + n)).await;
    }
    // None of the others takes the place of what is refused, or only repeats what was made.
    let again = app.starting(&acme.live, json!({ "to": london(200) })).header("idempotency-key", "once");
    again.clone().await.expect(201);
    let racing = (0..64).map(|n| match n % 4 {
        0 => app.starting(&acme.live, json!({ "to": "nobody" })),
        1 => again.clone(),
        2 => sending(&app, &acme, json!({ "to": london(n) })),
        _ => app.starting(&acme.live, json!({ "to": london(n) })),
    });
    let replies = race(racing).await;
    let new = replies.iter().enumerate().filter(|(n, _)| n % 4 > 1).map(|(_, reply)| reply.expect(201));
    let blocked = |reply: &Value| reply["verdict"]["reason"] == "cap_tenant";
    let (stopped, passed): (Vec<Value>, Vec<Value>) = new.partition(blocked);
    assert_eq!((passed.len(), stopped.len()), (10, 22));
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 21);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_nodes_count_for_each_other_once_they_have_told() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let fellow = Fellow::of(&app);
    set(&app, &acme, json!({ "mode": "on", "caps": { "prefix": { "per_day": 10 } } })).await;
    let on_fellow = |n| fellow.post("/v1/verifications").key(&acme.live).json(json!({ "to": london(n) }));
    race((0..4).map(|n| app.starting(&acme.live, json!({ "to": london(n) })))).await;
    race((100..104).map(on_fellow)).await;
    // Told at the same moment: neither undoes the other's.
    let (mine, theirs) = tokio::join!(app.app.tell_guard_counts(), fellow.app.tell_guard_counts());
    mine.and(theirs).unwrap();
    app.clock.advance(seconds(3));
    let mine = race((200..206).map(|n| app.starting(&acme.live, json!({ "to": london(n) })))).await;
    let passed = mine.iter().filter(|reply| blocked_by(&reply.expect(201)).is_none()).count();
    assert_eq!(passed, 2, "eight were used on both together");
    app.app.tell_guard_counts().await.unwrap();
    app.clock.advance(seconds(3));
    assert_eq!(blocked_by(&on_fellow(300).await.expect(201)), Some("cap_prefix"));
    // A node that is started anew knows what was told.
    let anew = Fellow::of(&app);
    let reply = anew.post("/v1/verifications").key(&acme.live).json(json!({ "to": london(301) })).await;
    assert_eq!(blocked_by(&reply.expect(201)), Some("cap_prefix"));
    app.run_jobs().await;
    // What is over is forgotten: each node's count of the cap, and how many were stopped.
    assert_eq!(stored(&app, &acme, "guard_use").await.len(), 3);
    app.clock.advance(seconds(19 * 3600));
    let watched = app.app.watch_guards().await.unwrap();
    assert_eq!((watched.forgotten, stored(&app, &acme, "guard_use").await.len()), (3, 0));
}

#[tokio::test]
async fn a_node_that_has_the_store_to_itself_reads_a_count_once() {
    let (app, acme) = TestApp::start_with_tenant().await;
    set(&app, &acme, json!({ "mode": "on", "caps": { "prefix": { "per_day": 3 } } })).await;
    start(&app, &acme, &london(1)).await;
    app.app.tell_guard_counts().await.unwrap();
    let alone = Fellow::made(&app, true);
    let on_alone = |n| alone.post("/v1/verifications").key(&acme.live).json(json!({ "to": london(n) }));
    // What was counted before it came is known to it,
    assert_eq!(blocked_by(&on_alone(2).await.expect(201)), None);
    start(&app, &acme, &london(3)).await;
    app.app.tell_guard_counts().await.unwrap();
    app.clock.advance(seconds(3));
    // and nobody counts beside it, so this is not looked for.
    assert_eq!(blocked_by(&on_alone(4).await.expect(201)), None);
    assert_eq!(blocked_by(&on_alone(5).await.expect(201)), Some("cap_prefix"));
    app.run_jobs().await;
}
