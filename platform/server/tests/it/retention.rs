//! How long things are kept.

use serde_json::{Value, json};

use crate::app::{NUMBER, TestApp, TestTenant, days, id, path, seconds};

async fn short_retention() -> (TestApp, TestTenant) {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "retention": { "addresses_days": 2, "records_days": 5 } })).await;
    (app, acme)
}

#[tokio::test]
async fn an_address_is_erased_after_its_days_and_the_record_after_its_own() {
    let (app, acme) = short_retention().await;
    let whole = app.key(&acme, |_| {}).await;
    let body = json!({ "to": NUMBER, "metadata": { "name": "Ada" } });
    let (verification, code) = app.started_as(&whole, body).await;
    app.checking(&whole, &verification, &code).await.expect(200);
    app.clock.advance(days(2) - seconds(1));
    assert_eq!(app.sweep().await.redacted, 0);
    app.clock.advance(seconds(1));
    assert_eq!(app.sweep().await.redacted, 1);
    let redacted = app.read(&whole, &verification).await;
    assert_eq!((&redacted["to"], &redacted["metadata"]), (&Value::Null, &json!({})));
    assert_eq!(redacted["status"], "approved");
    let list = app.get(format!("/v1/verifications?address=%2B{}", &NUMBER[1..])).key(&whole).await.expect(200);
    assert_eq!(list["data"], json!([]), "nobody can find out whether this number was here");
    let body = json!({ "to": NUMBER, "code": code });
    app.post("/v1/verifications/check").key(&whole).json(body).await.problem(404, "not_found");

    app.clock.advance(days(3) - seconds(1));
    assert_eq!(app.sweep().await.deleted, 0);
    app.clock.advance(seconds(1));
    assert_eq!(app.sweep().await.deleted, 1);
    app.get(path(&verification)).key(&whole).await.problem(404, "not_found");
    assert_eq!(app.get("/v1/verifications").key(&whole).await.expect(200)["data"], json!([]));
}

#[tokio::test]
async fn what_expired_is_kept_from_its_end() {
    let (app, acme) = short_retention().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(300));
    app.sweep().await;
    app.clock.advance(days(2) - seconds(1));
    assert_eq!(app.sweep().await.redacted, 0);
    app.clock.advance(seconds(1));
    assert_eq!(app.sweep().await.redacted, 1);
    assert_eq!(app.read(&acme.live, &verification).await["to"], Value::Null);
}

#[tokio::test]
async fn a_message_is_erased_and_deleted_too() {
    let (app, acme) = short_retention().await;
    let message = app.post("/v1/messages").key(&acme.live).json(json!({ "to": NUMBER, "content": "Hello" }));
    let message = message.await.expect(201);
    app.run_jobs().await;
    app.clock.advance(days(2));
    assert_eq!(app.sweep().await.redacted, 1);
    let read = || app.get(format!("/v1/messages/{}", id(&message))).key(&acme.live);
    assert_eq!(read().await.expect(200)["to"], Value::Null);
    app.clock.advance(days(3));
    assert_eq!(app.sweep().await.deleted, 1);
    read().await.problem(404, "not_found");
}

#[tokio::test]
async fn a_backlog_is_swept_in_batches_that_say_there_is_more() {
    let (app, acme) = short_retention().await;
    for n in 0..7 {
        app.started(&acme.live, &crate::app::number(n)).await;
    }
    app.clock.advance(seconds(300));
    let sweep = async || app.app.sweep(3).await.expect("a sweep");
    let swept = [sweep().await, sweep().await, sweep().await];
    assert_eq!(swept.map(|swept| (swept.expired, swept.more)), [(3, true), (3, true), (1, false)]);
}

#[tokio::test]
async fn usage_outlives_what_was_counted() {
    let (app, acme) = short_retention().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.checking(&acme.live, &verification, &code).await.expect(200);
    app.clock.advance(days(5));
    app.sweep().await;
    app.sweep().await;
    app.get(path(&verification)).key(&acme.live).await.problem(404, "not_found");
    let usage = app.get("/v1/usage").key(&acme.live).await.expect(200);
    assert_eq!(usage["verifications"]["month"]["used"], 1);
}

#[tokio::test]
async fn a_plan_that_keeps_things_for_less_time_goes_before_the_service() {
    let app = TestApp::with().plan("limits = { retention_days = 7 }").start().await;
    let acme = app.tenant("Acme").await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    app.checking(&acme.live, &verification, &code).await.expect(200);
    let message = app.post("/v1/messages").key(&acme.live).json(json!({ "to": NUMBER, "content": "Hello" }));
    message.await.expect(201);
    app.run_jobs().await;
    app.clock.advance(days(7) - seconds(1));
    assert_eq!(app.sweep().await.redacted, 0);
    app.clock.advance(seconds(1));
    assert_eq!(app.sweep().await.redacted, 2);
    assert_eq!(app.sweep().await.deleted, 2);
    app.get(path(&verification)).key(&acme.live).await.problem(404, "not_found");
}
