//! Codes that were sent, taken back at their provider when their verification is canceled.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use wotp_core::domain::asking::Again;
use wotp_core::domain::dispatch::DeliveryStatus;

use crate::app::{NUMBER, TestApp, TestTenant, path, seconds};
use crate::outbox::Answer;

/// A tenant, and a verification whose code was sent. The provider takes codes back, and this comes of it.
async fn sent(comes: impl IntoIterator<Item = Option<Again>>) -> (TestApp, TestTenant, Value) {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.can_take_back(comes);
    app.outbox.next(Answer::Names("p-1"));
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    (app, acme, verification)
}

async fn cancel(app: &TestApp, acme: &TestTenant, verification: &Value) {
    app.post(format!("{}/cancel", path(verification))).key(&acme.live).await.expect(200);
}

/// Lets time go by and does what it asks for; says how often the provider was to take something back until then.
async fn later(app: &TestApp, by: i64) -> usize {
    app.clock.advance(seconds(by));
    app.sweep().await;
    app.run_jobs().await;
    app.outbox.recalls().len()
}

#[tokio::test]
async fn a_code_is_taken_back_once_its_verification_is_canceled() {
    let (app, acme, verification) = sent([]).await;
    assert_eq!(later(&app, 20).await, 0);
    cancel(&app, &acme, &verification).await;
    assert_eq!(app.outbox.recalls().len(), 0, "whoever cancels does not wait for it");
    app.run_jobs().await;
    let recalls = app.outbox.recalls();
    assert_eq!((recalls.len(), recalls[0].asked, recalls[0].provider_id.as_deref()), (1, 1, Some("p-1")));
    assert_eq!(recalls[0].reference.to_string(), app.outbox.last().reference);
    assert_eq!(later(&app, 1000).await, 1);
    // Calling it off once more is no news.
    cancel(&app, &acme, &verification).await;
    app.run_jobs().await;
    assert_eq!(app.outbox.recalls().len(), 1);
}

#[tokio::test]
async fn a_ring_that_is_lost_and_a_provider_that_fails_are_followed_by_others_five_times_at_most() {
    let (app, acme, verification) = sent((0..9).map(|_| Some(Again::AsPlanned))).await;
    cancel(&app, &acme, &verification).await;
    assert_eq!(app.lose_jobs().await, 1);
    assert_eq!(later(&app, 9).await, 0);
    assert_eq!(later(&app, 1).await, 1);
    assert_eq!(later(&app, 60).await, 2);
    for (pause, count) in [(300, 3), (300, 4), (300, 4), (3000, 4)] {
        assert_eq!(later(&app, pause).await, count);
    }
    let asked: Vec<_> = app.outbox.recalls().iter().map(|recall| recall.asked).collect();
    assert_eq!(asked, [2, 3, 4, 5], "the first was lost");
}

#[tokio::test]
async fn a_provider_says_when_to_ask_again_and_what_breaks_down_is_asked_three_times() {
    let (app, acme, verification) = sent([Some(Again::After(seconds(40))), Some(Again::Never)]).await;
    cancel(&app, &acme, &verification).await;
    app.run_jobs().await;
    assert_eq!(later(&app, 39).await, 1);
    assert_eq!(later(&app, 1).await, 2);
    assert_eq!(later(&app, 1000).await, 2);
    let (app, acme, verification) = sent((0..9).map(|_| Some(Again::BrokeDown))).await;
    cancel(&app, &acme, &verification).await;
    app.run_jobs().await;
    for (pause, count) in [(10, 2), (60, 3), (300, 3), (3000, 3)] {
        assert_eq!(later(&app, pause).await, count);
    }
}

#[tokio::test]
async fn of_all_who_come_at_once_one_asks_and_who_dies_is_followed_by_another() {
    let (app, acme, verification) = sent([None]).await;
    cancel(&app, &acme, &verification).await;
    let job = app.next_job().await.expect("the cancellation rang");
    let core = Arc::clone(&app.app);
    let dying = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.recalled(1).await;
    dying.abort();
    assert!(dying.await.expect_err("it died").is_cancelled());
    app.clock.advance(seconds(10));
    let fellow = app.fellow();
    assert_eq!(fellow.sweep().await.asked, 1);
    let job = app.next_job().await.expect("the sweep rang");
    let nodes = [&app, &fellow];
    join_all((0..16).map(|n| nodes[n % 2].app.deliver(job, ()))).await.into_iter().for_each(|done| {
        done.expect("a job is done");
    });
    assert_eq!(app.outbox.recalls().len(), 2);
}

#[tokio::test]
async fn each_code_that_was_sent_is_taken_back() {
    let (app, acme, verification) = sent([]).await;
    app.clock.advance(seconds(31));
    app.outbox.next(Answer::Names("p-2"));
    app.post(format!("{}/resend", path(&verification))).key(&acme.live).await.expect(200);
    app.run_jobs().await;
    cancel(&app, &acme, &verification).await;
    app.run_jobs().await;
    let names: Vec<_> = app.outbox.recalls().into_iter().map(|recall| recall.provider_id.unwrap()).collect();
    assert_eq!(names, ["p-1", "p-2"]);
}

#[tokio::test]
async fn a_code_that_is_sent_while_its_verification_is_canceled_is_taken_back() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.can_take_back([]);
    let held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    let worker = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    cancel(&app, &acme, &verification).await;
    app.run_jobs().await;
    assert_eq!(app.outbox.recalls().len(), 0, "it is not sent yet");
    held.answer(Answer::Names("p-1"));
    worker.await.expect("a worker does not panic").expect("a job is done");
    app.run_jobs().await;
    let recalls = app.outbox.recalls();
    assert_eq!((recalls.len(), recalls[0].provider_id.as_deref()), (1, Some("p-1")));
}

#[tokio::test]
async fn what_is_over_in_another_way_or_was_read_or_reached_nobody_real_is_not_taken_back() {
    let (app, acme, verification) = sent([]).await;
    let news = format!("{}:read", app.outbox.last().reference);
    assert_eq!(app.post("/hooks/outbox/news").bytes(news).await.status, 200);
    cancel(&app, &acme, &verification).await;
    let (second, code) = app.started(&acme.live, "+447700900101").await;
    assert_eq!(app.checking(&acme.live, &second, &code).await.expect(200)["valid"], true);
    app.started(&acme.live, "+447700900102").await;
    let (test, _) = app.started(&acme.test, "+447700900103").await;
    app.post(format!("{}/cancel", path(&test))).key(&acme.test).await.expect(200);
    app.run_jobs().await;
    assert_eq!(later(&app, 400).await, 0);
}

#[tokio::test]
async fn a_channel_that_takes_nothing_back_is_not_asked_to() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.next(Answer::Reaches(DeliveryStatus::Sent));
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    cancel(&app, &acme, &verification).await;
    assert!(app.next_job().await.is_none());
    assert_eq!(later(&app, 100).await, 0);
}
