//! What providers tell later, at `/hooks/{channel}/…`.

use serde_json::{Value, json};
use wotp_core::domain::dispatch::DeliveryFailure;

use crate::app::{NUMBER, TestApp, TestTenant, id, seconds};
use crate::client::Request;

fn telling(app: &TestApp, channel: &str, body: &str) -> Request {
    app.post(format!("/hooks/{channel}/any/where?a=b")).bytes(body)
}

async fn first_delivery(app: &TestApp, acme: &TestTenant, verification: &Value) -> Value {
    app.read(&acme.live, verification).await["deliveries"][0].clone()
}

#[tokio::test]
async fn what_a_provider_tells_is_recorded_once_however_often_it_is_told() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let news = format!("{}:delivered", app.outbox.last().reference);
    app.clock.advance(seconds(2));
    for _ in 0..3 {
        assert_eq!(telling(&app, "outbox", &news).await.status, 200);
        app.clock.advance(seconds(1));
    }
    let delivery = first_delivery(&app, &acme, &verification).await;
    assert_eq!((&delivery["status"], &delivery["delivered_at"]), (&json!("delivered"), &json!("2026-11-22T12:00:02Z")));
    // What reached the device did not fail, and what was read was delivered: in any order.
    let reference = app.outbox.last().reference;
    let gathered = format!("{reference}:read\n{reference}:failed\n{reference}:delivered\n");
    assert_eq!(telling(&app, "outbox", &gathered).await.status, 200);
    assert_eq!(first_delivery(&app, &acme, &verification).await["status"], "read");
}

#[tokio::test]
async fn a_failure_that_is_told_later_says_why() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let news = format!("{}:failed", app.outbox.last().reference);
    assert_eq!(telling(&app, "outbox", &news).await.status, 200);
    let delivery = first_delivery(&app, &acme, &verification).await;
    assert_eq!((&delivery["status"], &delivery["reason"]), (&json!("failed"), &json!("rejected")));
    app.run_jobs().await;
}

#[tokio::test]
async fn what_a_provider_took_and_then_failed_goes_out_by_the_next_channel_once() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let reference = app.outbox.last().reference;
    app.clock.advance(seconds(3));
    // It is told by many at once, to two nodes, and what is forged is not told.
    let news = format!("{reference}:failed");
    assert_eq!(telling(&app, "outbox", &news).header("x-forged", "yes").await.status, 401);
    assert!(app.next_job().await.is_none());
    let fellow = app.fellow();
    let told = (0..8).map(|n| telling(if n % 2 == 0 { &app } else { &fellow }, "outbox", &news));
    for answer in futures_util::future::join_all(told.map(IntoFuture::into_future)).await {
        assert_eq!(answer.status, 200);
    }
    app.run_jobs().await;
    telling(&app, "outbox", &news).await;
    assert!(app.next_job().await.is_none(), "nothing fails twice");
    assert_eq!(app.spare.letters().len(), 1);
    assert_eq!(app.spare.last().code, code);
    // What is told of the first one afterwards changes nothing.
    telling(&app, "outbox", &format!("{reference}:delivered")).await;
    let read = app.read(&acme.live, &verification).await;
    let deliveries = read["deliveries"].as_array().unwrap().iter();
    let stand: Vec<_> = deliveries.map(|one| (&one["channel"], &one["status"], &one["reason"])).collect();
    let (outbox, spare) = ((json!("outbox"), json!("failed"), json!("rejected")), (json!("spare"), json!("sent")));
    assert_eq!(stand, [(&outbox.0, &outbox.1, &outbox.2), (&spare.0, &spare.1, &Value::Null)]);
    assert_eq!((&read["sends"]["used"], app.used_today(&acme.live, "verifications").await), (&json!(1), 1));
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], true);
}

#[tokio::test]
async fn where_all_that_took_it_failed_it_is_undeliverable_and_counted() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    telling(&app, "outbox", &format!("{}:failed", app.outbox.last().reference)).await;
    app.run_jobs().await;
    for _ in 0..2 {
        telling(&app, "spare", &format!("{}:failed", app.spare.last().reference)).await;
    }
    let read = app.read(&acme.live, &verification).await;
    assert_eq!((&read["status"], &read["reason"]), (&json!("failed"), &json!("undeliverable")));
    assert_eq!(app.used_today(&acme.live, "verifications").await, 1);
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], false);
}

#[tokio::test]
async fn a_message_that_was_taken_and_then_failed_goes_out_by_the_next_channel() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = json!({ "to": NUMBER, "content": "Your parcel is here." });
    let message = app.post("/v1/messages").key(&acme.live).json(body).await.expect(201);
    app.run_jobs().await;
    let news = format!("{}:failed", app.outbox.last().reference);
    for _ in 0..2 {
        assert_eq!(telling(&app, "outbox", &news).await.status, 200);
        app.run_jobs().await;
    }
    assert_eq!(app.spare.letters().len(), 1);
    assert_eq!(app.spare.last().text, "Your parcel is here.");
    let read = app.get(format!("/v1/messages/{}", id(&message))).key(&acme.live).await.expect(200);
    assert_eq!((&read["status"], &read["deliveries"][0]["reason"]), (&json!("sent"), &json!("rejected")));
    assert_eq!(app.used_today(&acme.live, "messages").await, 1);
}

/// Ten minutes, in which another channel might have to send it.
#[tokio::test]
async fn what_a_message_says_is_not_kept_longer_than_it_may_be_sent() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let body = json!({ "to": NUMBER, "content": "Your parcel is here." });
    let message = app.post("/v1/messages").key(&acme.live).json(body).await.expect(201);
    app.run_jobs().await;
    let news = format!("{}:failed", app.outbox.last().reference);
    let store = app.app.ports().store.tenant(acme.id);
    let kept = async || {
        let read = store.find_message(id(&message).parse().unwrap()).await.unwrap().unwrap();
        read.content.is_some()
    };
    app.clock.advance(seconds(599));
    app.sweep().await;
    assert!(kept().await);
    app.clock.advance(seconds(1));
    app.sweep().await;
    assert!(!kept().await);
    telling(&app, "outbox", &news).await;
    app.run_jobs().await;
    assert_eq!(app.spare.letters(), []);
}

#[tokio::test]
async fn a_channel_does_not_tell_of_what_another_one_sent() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.refuses_next(DeliveryFailure::Rejected);
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let news = format!("{}:delivered", app.spare.last().reference);
    assert_eq!(telling(&app, "outbox", &news).await.status, 200);
    let spare = async || app.read(&acme.live, &verification).await["deliveries"][1]["status"].clone();
    assert_eq!(spare().await, "sent");
    assert_eq!(telling(&app, "spare", &news).await.status, 200);
    assert_eq!(spare().await, "delivered");
}

#[tokio::test]
async fn what_names_nothing_changes_nothing() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let reference = app.outbox.last().reference;
    let cut = &reference[..reference.len() - 1];
    // Of nobody: as long, and other ids.
    let other = format!("{}{}", &reference[..30], "A".repeat(reference.len() - 30));
    for named in ["", "x", cut, &other] {
        assert_eq!(telling(&app, "outbox", &format!("{named}:delivered")).await.status, 200, "{named}");
    }
    assert_eq!(first_delivery(&app, &acme, &verification).await["status"], "sent");
}

#[tokio::test]
async fn who_is_no_provider_is_told_so() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let news = format!("{}:delivered", app.outbox.last().reference);
    assert_eq!(telling(&app, "outbox", &news).header("x-forged", "yes").await.status, 401);
    assert_eq!(telling(&app, "outbox", "no news").await.status, 400);
    telling(&app, "nobody", &news).await.problem(404, "not_found");
    telling(&app, "%6futbox", &news).await.problem(404, "not_found");
    app.post("/hooks/outbox/").bytes(news.clone()).await.problem(404, "route_not_found");
    telling(&app, "outbox", &"x".repeat(64 * 1024 + 1)).await.problem(413, "body_too_large");
    assert_eq!(telling(&app, "outbox", &"x:read\n".repeat(9_000)).await.status, 200, "63 KiB are not too many");
    assert_eq!(first_delivery(&app, &acme, &verification).await["status"], "sent");
}

/// As WebSub has it: what a provider asks of a URL before it tells anything there.
#[tokio::test]
async fn a_challenge_is_repeated_where_the_channel_takes_the_call() {
    let app = TestApp::start().await;
    let asked = |query: &str| app.get(format!("/hooks/outbox/meta?hub.mode=subscribe&{query}"));
    let answer = asked("hub.challenge=1158201444&hub.verify_token=mine").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, "1158201444"));
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    // Whoever the channel does not take for the provider gets no answer of its own making.
    let forged = asked("hub.challenge=1158201444").header("x-forged", "yes").await;
    assert_eq!((forged.status, forged.text.as_str()), (401, "this does not come from the provider\n"));
    let long = format!("hub.challenge={}", "1".repeat(257));
    for other in ["hub.challenge=", "hub.challenge=%3Cb%3E", "hub.challenge=a+b", "challenge=1", &long] {
        let answer = asked(other).await;
        assert_eq!((answer.status, answer.text.as_str()), (200, ""), "{other}");
    }
    let posted = app.post("/hooks/outbox/meta?hub.challenge=1").bytes("").await;
    assert_eq!((posted.status, posted.text.as_str()), (200, ""));
}

#[tokio::test]
async fn one_client_tells_as_much_as_one_client_may_call() {
    let app = TestApp::with().http(|http| http.per_ip = Some((1, 2))).start().await;
    let tell = || telling(&app, "outbox", "").at_ip("192.0.2.1");
    let statuses = [tell().await.status, tell().await.status, tell().await.status];
    assert_eq!(statuses, [200, 200, 429]);
}
