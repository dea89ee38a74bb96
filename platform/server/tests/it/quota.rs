//! What a plan allows, counted to the last one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use wotp_core::app::TenantChange;
use wotp_core::domain::audit::By;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::domain::plan::Limits;

use crate::app::{NUMBER, TestApp, TestTenant, days, number, path, seconds};
use crate::client::race;

const TEN_A_DAY: &str = "limits = { verifications_day = 10, verifications_month = 15, test_day = 3 }";

#[tokio::test]
async fn the_first_beyond_the_day_is_refused_until_the_day_turns() {
    let app = TestApp::with().plan(TEN_A_DAY).start().await;
    let acme = app.tenant("Acme").await;
    for n in 0..10 {
        app.started(&acme.live, &number(n)).await;
    }
    let refused = app.starting(&acme.live, json!({ "to": NUMBER })).await;
    let problem = refused.problem(429, "quota_exceeded");
    assert_eq!(problem["violated-policies"], json!(["day"]));
    assert_eq!(problem["retry_at"], "2026-11-23T00:00:00Z");
    assert_eq!(refused.retry_after(), 12 * 3600);
    app.clock.advance(seconds(12 * 3600));
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn a_calendar_month_turns_on_the_first_in_utc() {
    let app = TestApp::with().plan(TEN_A_DAY).start().await;
    let acme = app.tenant("Acme").await;
    for n in 0..15 {
        if n == 10 {
            app.clock.advance(days(1));
        }
        app.started(&acme.live, &number(n)).await;
    }
    let problem = app.starting(&acme.live, json!({ "to": NUMBER })).await.problem(429, "quota_exceeded");
    assert_eq!(
        (&problem["violated-policies"], &problem["retry_at"]),
        (&json!(["month"]), &json!("2026-12-01T00:00:00Z"))
    );
    app.clock.advance(days(7) + seconds(12 * 3600 - 1));
    app.starting(&acme.live, json!({ "to": NUMBER })).await.problem(429, "quota_exceeded");
    app.clock.advance(seconds(1));
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn an_anniversary_month_turns_on_the_day_the_tenant_came() {
    let app = TestApp::with().plan("period = 'anniversary'\nlimits = { verifications_month = 1 }").start().await;
    let acme = app.tenant("Acme").await;
    app.started(&acme.live, &number(0)).await;
    let problem = app.starting(&acme.live, json!({ "to": NUMBER })).await.problem(429, "quota_exceeded");
    assert_eq!(problem["retry_at"], "2026-12-22T12:00:00Z");
    app.clock.advance(days(30));
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn an_anniversary_on_the_31st_turns_on_the_last_day_of_a_shorter_month() {
    let plan = "period = 'anniversary'\nlimits = { verifications_month = 1 }";
    let app = TestApp::with().plan(plan).starts_at("2027-01-31T10:00:00Z").start().await;
    let acme = app.tenant("Acme").await;
    app.started(&acme.live, &number(0)).await;
    let refused = async || app.starting(&acme.live, json!({ "to": NUMBER })).await.problem(429, "quota_exceeded");
    assert_eq!(refused().await["retry_at"], "2027-02-28T10:00:00Z");
    app.clock.advance(days(28));
    app.started(&acme.live, &number(1)).await;
    assert_eq!(refused().await["retry_at"], "2027-03-31T10:00:00Z");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn racing_starts_at_the_edge_admit_exactly_what_is_left() {
    let app = TestApp::with().plan(TEN_A_DAY).start().await;
    let acme = app.tenant("Acme").await;
    for n in 0..3 {
        app.started(&acme.live, &number(n)).await;
    }
    let replies = race((3..67).map(|n| app.starting(&acme.live, json!({ "to": number(n) })))).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 7);
    for refused in replies.iter().filter(|reply| reply.status != 201) {
        refused.problem(429, "quota_exceeded");
    }
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 10);
    assert_eq!(app.used_today(&acme.live, "verifications").await, 10);
}

#[tokio::test]
async fn what_no_channel_took_is_not_counted() {
    let app = TestApp::with().plan("limits = { verifications_day = 1 }").start().await;
    let acme = app.tenant("Acme").await;
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    assert_eq!(app.used_today(&acme.live, "verifications").await, 1);
    app.outbox.refuses_next(DeliveryFailure::InvalidRecipient);
    app.spare.refuses_next(DeliveryFailure::InvalidRecipient);
    app.run_jobs().await;
    let failed = app.read(&acme.live, &verification).await;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("undeliverable")));
    assert_eq!(app.used_today(&acme.live, "verifications").await, 0);
    app.started(&acme.live, &number(1)).await;
}

#[tokio::test]
async fn what_never_left_the_queue_is_not_counted() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    assert_eq!(app.lose_jobs().await, 1);
    app.clock.advance(seconds(300));
    app.sweep().await;
    let failed = app.read(&acme.live, &verification).await;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("undeliverable")));
    assert_eq!(failed["deliveries"][0]["reason"], "expired");
    assert_eq!(app.used_today(&acme.live, "verifications").await, 0, "given back once, to the day it was taken from");
    app.sweep().await;
    let usage = app.get("/v1/usage").key(&acme.live).await.expect(200);
    assert_eq!(usage["verifications"]["month"]["used"], 0);
}

#[tokio::test]
async fn a_code_that_may_have_got_out_is_counted() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = json!({ "to": NUMBER, "channels": ["outbox"] });
    app.outbox.next(crate::outbox::Answer::Breaks);
    let (verification, code) = app.started_as(&acme.live, body).await;
    assert_eq!(app.read(&acme.live, &verification).await["status"], "pending");
    assert_eq!(app.used_today(&acme.live, "verifications").await, 1);
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], true);
}

#[tokio::test]
async fn canceled_and_wrong_codes_are_counted() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    app.post(format!("{}/cancel", path(&verification))).key(&acme.live).await.expect(200);
    assert_eq!(app.used_today(&acme.live, "verifications").await, 1);
}

#[tokio::test]
async fn a_plan_that_sells_overage_goes_on_to_its_cap_and_says_so() {
    let plan = "on_quota = 'overage'\noverage = { cap_multiple = 2 }\nlimits = { verifications_month = 2 }";
    let app = TestApp::with().plan(plan).start().await;
    let acme = app.tenant("Acme").await;
    for n in 0..4 {
        app.started(&acme.live, &number(n)).await;
    }
    app.starting(&acme.live, json!({ "to": NUMBER })).await.problem(429, "quota_exceeded");
    let usage = app.get("/v1/usage").key(&acme.live).await.expect(200);
    let month = &usage["verifications"]["month"];
    let shown = ["used", "overage", "included", "remaining"].map(|name| month[name].as_u64());
    assert_eq!(shown, [Some(4), Some(2), Some(2), Some(0)]);
}

#[tokio::test]
async fn test_keys_have_a_quota_of_their_own() {
    let app = TestApp::with().plan(TEN_A_DAY).start().await;
    let acme = app.tenant("Acme").await;
    for n in 0..3 {
        app.started(&acme.test, &number(n)).await;
    }
    app.starting(&acme.test, json!({ "to": NUMBER })).await.problem(429, "quota_exceeded");
    app.started(&acme.live, NUMBER).await;
    assert_eq!(app.used_today(&acme.live, "verifications").await, 1);
    assert_eq!(app.used_today(&acme.live, "test_verifications").await, 3);
}

#[tokio::test]
async fn messages_have_a_quota_of_their_own() {
    let app = TestApp::with().plan("limits = { verifications_day = 1, messages_day = 2 }").start().await;
    let acme = app.tenant("Acme").await;
    let send = || app.post("/v1/messages").key(&acme.live).json(json!({ "to": NUMBER, "content": "Hello" }));
    send().await.expect(201);
    send().await.expect(201);
    send().await.problem(429, "quota_exceeded");
    app.started(&acme.live, NUMBER).await;
    app.run_jobs().await;
    assert_eq!(app.used_today(&acme.live, "messages").await, 2);
}

#[tokio::test]
async fn calls_a_second_are_limited_for_the_tenant_and_shown() {
    let app = TestApp::with().plan("limits = { rate_per_second = 2, rate_burst = 3 }").start().await;
    let acme = app.tenant("Acme").await;
    let other = app.key(&acme, |_| {}).await;
    let first = app.starting(&acme.live, json!({ "to": number(0) })).await;
    first.expect(201);
    assert_eq!(first.header("ratelimit-policy"), "\"tenant\";q=3;w=2");
    assert_eq!(first.header("ratelimit"), "\"tenant\";r=2;t=1");
    app.starting(&acme.live, json!({ "to": number(1) })).await.expect(201);
    app.starting(&other, json!({ "to": number(2) })).await.expect(201);
    let refused = app.starting(&other, json!({ "to": number(3) })).await;
    assert_eq!(refused.problem(429, "rate_limited")["violated-policies"], json!(["tenant"]));
    assert_eq!(refused.retry_after(), 1);
    app.clock.advance(seconds(1));
    app.starting(&other, json!({ "to": number(3) })).await.expect(201);
    app.run_jobs().await;
}

#[tokio::test]
async fn usage_shows_every_resource_in_its_day_and_month() {
    let app = TestApp::with().plan(TEN_A_DAY).start().await;
    let acme = app.tenant("Acme").await;
    app.started(&acme.live, &number(0)).await;
    app.started(&acme.test, &number(0)).await;
    let usage: Value = app.get("/v1/usage").key(&acme.live).await.expect(200);
    insta::assert_json_snapshot!("usage", usage);
}

/// What a tenant was told of its quotas, oldest first: the window, the part, what was used and the limit.
async fn thresholds(app: &TestApp, tenant: &TestTenant) -> Vec<Value> {
    let page = app.get("/v1/events?type=quota.threshold&limit=100").key(&tenant.live).await.expect(200);
    let told = page["data"].as_array().unwrap().iter().rev().map(|event| {
        let data = &event["data"];
        json!([data["resource"], data["window"], data["percent"], data["used"], data["limit"]])
    });
    told.collect()
}

async fn fold_all(app: &TestApp) {
    while app.app.fold(50).await.unwrap().taken > 0 {}
}

#[tokio::test]
async fn each_part_of_a_quota_that_is_used_up_is_told_once() {
    let app = TestApp::with().plan(TEN_A_DAY).start().await;
    let acme = app.tenant("Acme").await;
    app.started(&acme.live, &number(0)).await;
    fold_all(&app).await;
    assert_eq!(thresholds(&app, &acme).await, [Value::Null; 0]);
    let told = |window: &str, percent: u8, used: u8, limit: u8| json!(["verifications", window, percent, used, limit]);
    let mut expected = Vec::new();
    for n in 1..10 {
        app.started(&acme.live, &number(n)).await;
        fold_all(&app).await;
        match n {
            7 => expected.push(told("day", 80, 8, 10)),
            9 => expected.push(told("day", 100, 10, 10)),
            _ => {}
        }
        assert_eq!(thresholds(&app, &acme).await, expected);
    }
    // Folded when the month is over, it is still told of that month.
    app.clock.advance(days(8) + seconds(11 * 3600));
    assert_eq!(thresholds(&app, &acme).await, expected);
    for n in 10..15 {
        app.started(&acme.live, &number(n)).await;
    }
    app.clock.advance(seconds(3600));
    fold_all(&app).await;
    expected.extend([told("month", 80, 15, 15), told("month", 100, 15, 15)]);
    assert_eq!(thresholds(&app, &acme).await, expected);
    // With a test key it is another quota.
    for n in 0..3 {
        app.started(&acme.test, &number(n)).await;
        fold_all(&app).await;
    }
    expected.push(json!(["test_verifications", "day", 80, 3, 3]));
    expected.push(json!(["test_verifications", "day", 100, 3, 3]));
    assert_eq!(thresholds(&app, &acme).await, expected);
}

#[tokio::test]
async fn what_messages_use_up_is_told_once_they_went_out() {
    let app = TestApp::with().plan("limits = { messages_month = 2 }").start().await;
    let acme = app.tenant("Acme").await;
    assert_eq!(thresholds(&app, &acme).await, [Value::Null; 0]);
    let send = || app.post("/v1/messages").key(&acme.live).json(json!({ "to": NUMBER, "content": "Hello" }));
    for _ in 0..2 {
        send().await.expect(201);
    }
    app.run_jobs().await;
    fold_all(&app).await;
    let told = [80, 100].map(|percent| json!(["messages", "month", percent, 2, 2]));
    assert_eq!(thresholds(&app, &acme).await, told);
}

#[tokio::test]
async fn another_plan_is_told_of_anew_and_at_once_where_it_is_used_up_already() {
    let app = TestApp::with().plan("limits = { verifications_month = 5 }").start().await;
    let acme = app.tenant("Acme").await;
    thresholds(&app, &acme).await;
    let limit = async |month: u64| {
        let limits = Limits { verifications_month: Some(month), ..Limits::default() };
        let change = TenantChange { plan: None, limits: Some(limits) };
        app.app.change_tenant(&By::command_line(), acme.id, change).await.unwrap();
        app.clock.advance(seconds(1));
    };
    for n in 0..4 {
        app.started(&acme.live, &number(n)).await;
    }
    fold_all(&app).await;
    let told = |percent: u8, used: u8, limit: u8| json!(["verifications", "month", percent, used, limit]);
    let mut expected = vec![told(80, 4, 5)];
    assert_eq!(thresholds(&app, &acme).await, expected);
    limit(10).await;
    limit(5).await;
    assert_eq!(thresholds(&app, &acme).await, expected, "4 of 10 is nothing, and 4 of 5 was told");
    limit(4).await;
    expected.extend([told(80, 4, 4), told(100, 4, 4)]);
    assert_eq!(thresholds(&app, &acme).await, expected, "nothing is admitted any more, and it is told all the same");
    app.starting(&acme.live, json!({ "to": NUMBER })).await.problem(429, "quota_exceeded");
    limit(6).await;
    app.started(&acme.live, &number(4)).await;
    fold_all(&app).await;
    expected.push(told(80, 5, 6));
    assert_eq!(thresholds(&app, &acme).await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_starts_and_folds_on_many_nodes_each_part_is_told_once() {
    let app = TestApp::with().plan("limits = { verifications_month = 100 }").start().await;
    let acme = app.tenant("Acme").await;
    thresholds(&app, &acme).await;
    let nodes = [app.fellow(), app.fellow(), app.fellow()];
    let over = Arc::new(AtomicBool::new(false));
    let folding = nodes.iter().map(|node| {
        let (node, over) = (Arc::clone(&node.app), Arc::clone(&over));
        async move {
            // What was started before it was over is taken in the last round.
            loop {
                let last = over.load(Ordering::SeqCst);
                if node.fold(7).await.unwrap().taken == 0 && last {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let folding: JoinSet<()> = folding.collect();
    for batch in 0..6 {
        let starts = (0..20).map(|n| {
            let node = nodes.get(n % nodes.len()).expect("one of them");
            node.starting(&acme.live, json!({ "to": number(batch * 20 + n) }))
        });
        race(starts).await;
    }
    over.store(true, Ordering::SeqCst);
    folding.join_all().await;
    fold_all(&app).await;
    app.run_jobs().await;
    let mut told = thresholds(&app, &acme).await;
    // Two nodes that tell at one moment tell in either order.
    told.sort_by_key(|told| told[2].as_u64());
    let parts: Vec<_> = told.iter().map(|told| told[2].as_u64().unwrap()).collect();
    assert_eq!(parts, [80, 100], "{told:?}");
    assert!(told[0][3].as_u64().unwrap() >= 80, "{told:?}");
    assert_eq!(told[1][3], 100);
}

#[tokio::test]
async fn where_nobody_listens_nothing_is_told_until_somebody_does() {
    let app = TestApp::with().plan("limits = { verifications_month = 3 }").start().await;
    let acme = app.tenant("Acme").await;
    for n in 0..2 {
        app.started(&acme.live, &number(n)).await;
    }
    fold_all(&app).await;
    assert_eq!(thresholds(&app, &acme).await, [Value::Null; 0]);
    app.started(&acme.live, &number(2)).await;
    fold_all(&app).await;
    assert_eq!(thresholds(&app, &acme).await.len(), 2);
}
