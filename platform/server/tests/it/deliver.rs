//! How a code gets out, whatever the channels and the workers do.

use std::pin::pin;
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use serde_json::{Value, json};
use wotp_core::app::{App, Delivered};
use wotp_core::domain::Timestamp;
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus, Receipt, Turn};
use wotp_core::ports::{Item, Job};

use crate::app::{NUMBER, TestApp, TestTenant, id, path, seconds};
use crate::outbox::Answer;

/// Status and reason of every delivery, with its channel.
async fn deliveries(app: &TestApp, acme: &TestTenant, verification: &Value) -> Vec<(String, String, Value)> {
    let read = app.read(&acme.live, verification).await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let deliveries = read["deliveries"].as_array().expect("deliveries").iter();
    deliveries.map(|it| (text(&it["channel"]), text(&it["status"]), it["reason"].clone())).collect()
}

fn was(channel: &str, status: &str, reason: Value) -> (String, String, Value) {
    (channel.to_owned(), status.to_owned(), reason)
}

#[tokio::test]
async fn a_refusal_goes_to_the_next_channel_at_once_with_the_same_code() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.refuses_next(DeliveryFailure::Rejected);
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    assert_eq!(
        deliveries(&app, &acme, &verification).await,
        [was("outbox", "failed", json!("rejected")), was("spare", "sent", Value::Null)]
    );
    assert_eq!(app.outbox.last().code, app.spare.last().code);
    assert_ne!(app.outbox.last().message_id, app.spare.last().message_id);
    assert_eq!(app.read(&acme.live, &verification).await["channel"], "spare");
}

#[tokio::test]
async fn a_missing_acknowledgement_goes_to_the_next_channel_after_8_seconds() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.next(Answer::StaysSilent);
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let read = app.read(&acme.live, &verification).await;
    insta::assert_json_snapshot!("failed_over", read["deliveries"], { "[].id" => "[id]" });
}

#[tokio::test]
async fn a_receipt_that_comes_late_is_still_news() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.next(Answer::StaysSilent);
    app.spare.refuses_next(DeliveryFailure::Rejected);
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let read = app.read(&acme.live, &verification).await;
    assert_eq!(read["status"], "pending", "it may have got out");
    let item = Item::Verification(id(&verification).parse().expect("an id"));
    let delivery = id(&read["deliveries"][0]).parse().expect("an id");
    app.clock.advance(seconds(5));
    let record = |receipt| app.app.record_receipt(acme.id, item, delivery, receipt);
    assert!(record(Receipt::Delivered).await.expect("a receipt is recorded"));
    assert!(!record(Receipt::Delivered).await.expect("a receipt is recorded"), "twice is once");
    assert_eq!(
        deliveries(&app, &acme, &verification).await,
        [was("outbox", "delivered", Value::Null), was("spare", "failed", json!("rejected"))]
    );
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], true);
}

#[tokio::test]
async fn a_receipt_for_another_tenants_delivery_changes_nothing() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let globex = app.tenant("Globex").await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    let item = Item::Verification(id(&verification).parse().expect("an id"));
    let delivery = id(&verification["deliveries"][0]).parse().expect("an id");
    let told = app.app.record_receipt(globex.id, item, delivery, Receipt::Read).await;
    assert!(!told.expect("a receipt is recorded"));
    assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "sent", Value::Null)]);
}

#[tokio::test]
async fn a_channel_that_asks_to_wait_is_asked_again_with_the_same_message() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.next(Answer::AsksToWait(seconds(20)));
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "queued", Value::Null)]);
    app.clock.advance(seconds(19));
    assert_eq!(app.sweep().await.rung, 0);
    app.clock.advance(seconds(1));
    assert_eq!(app.sweep().await.rung, 1);
    app.run_jobs().await;
    let letters = app.outbox.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!((&letters[0].message_id, &letters[0].code), (&letters[1].message_id, &letters[1].code));
    let read = app.read(&acme.live, &verification).await;
    assert_eq!((&read["deliveries"][0]["attempts"], &read["deliveries"][0]["status"]), (&json!(2), &json!("sent")));
}

#[tokio::test]
async fn a_channel_that_always_asks_to_wait_is_left_for_the_next() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for _ in 0..4 {
        app.outbox.next(Answer::AsksToWait(seconds(1)));
    }
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    for _ in 0..3 {
        app.clock.advance(seconds(1));
        app.sweep().await;
        app.run_jobs().await;
    }
    assert_eq!(
        deliveries(&app, &acme, &verification).await,
        [was("outbox", "failed", json!("unavailable")), was("spare", "sent", Value::Null)]
    );
}

#[tokio::test]
async fn time_that_passes_for_the_person_never_tries_another_channel() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    for _ in 0..4 {
        app.clock.advance(seconds(60));
        app.sweep().await;
        app.run_jobs().await;
    }
    assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "sent", Value::Null)]);
    assert_eq!(app.spare.letters(), []);
}

#[tokio::test]
async fn a_worker_that_dies_after_calling_is_replaced_and_the_same_message_goes_out() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let _held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    let dying = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    dying.abort();
    assert!(dying.await.expect_err("it died").is_cancelled());

    app.clock.advance(seconds(9));
    assert_eq!(app.sweep().await.rung, 0, "it might still be waiting for the channel");
    app.clock.advance(seconds(1));
    assert_eq!(app.sweep().await.rung, 1);
    app.run_jobs().await;
    let letters = app.outbox.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!((&letters[0].message_id, &letters[0].code), (&letters[1].message_id, &letters[1].code));
    assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "sent", Value::Null)]);
    assert_eq!(app.checking(&acme.live, &verification, &letters[0].code).await.expect(200)["valid"], true);
}

/// Until when a verification is held.
async fn held_until(app: &TestApp, acme: &TestTenant, verification: &Value) -> Option<Timestamp> {
    let store = app.app.ports().store.tenant(acme.id);
    let read = store.find_verification(id(verification).parse().expect("an id")).await.expect("the store answers");
    match read.expect("it is stored").dispatch.turn {
        Turn::Leased { until, .. } => Some(until),
        Turn::Due { .. } | Turn::Settled => None,
    }
}

/// Yields until `done` says so.
async fn comes(what: &str, done: impl AsyncFn() -> bool) {
    let wait = async {
        while !done().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect(what);
}

/// Moves the clock on by 4 seconds while a worker waits, and waits until it has prolonged its hold.
async fn prolonged(app: &TestApp, until: impl AsyncFn() -> Option<Timestamp>) {
    comes("the worker waits", async || app.clock.is_waited_for()).await;
    let before = until().await;
    app.clock.advance(seconds(4));
    comes("the worker prolongs its hold", async || until().await > before).await;
}

#[tokio::test]
async fn a_worker_that_waits_40_seconds_for_its_channel_keeps_its_hold() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "failover_after_seconds": 60 })).await;
    let held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    let worker = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    for _ in 0..10 {
        prolonged(&app, async || held_until(&app, &acme, &verification).await).await;
        assert_eq!(app.sweep().await.rung, 0, "somebody is at it");
        let other = Job { token: None, ..job };
        assert_eq!(app.app.deliver(other, ()).await.expect("a job is done"), Delivered::Nothing);
    }
    held.answer(Answer::Reaches(DeliveryStatus::Sent));
    worker.await.expect("a worker does not panic").expect("a job is done");
    assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "sent", Value::Null)]);
    assert_eq!(app.outbox.letters().len(), 1);
}

#[tokio::test]
async fn a_worker_that_waits_with_a_message_keeps_its_hold_too() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "failover_after_seconds": 60 })).await;
    let held = app.outbox.holds_next();
    let body = json!({ "to": NUMBER, "content": "Your parcel is here." });
    let message = app.post("/v1/messages").key(&acme.live).json(body).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    let worker = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    let store = app.app.ports().store.tenant(acme.id);
    let message_id = id(&message).parse().expect("an id");
    let until = async || match store.find_message(message_id).await.unwrap().unwrap().dispatch.turn {
        Turn::Leased { until, .. } => Some(until),
        Turn::Due { .. } | Turn::Settled => None,
    };
    for _ in 0..5 {
        prolonged(&app, until).await;
        assert_eq!(app.sweep().await.rung, 0, "somebody is at it");
    }
    held.answer(Answer::Reaches(DeliveryStatus::Sent));
    worker.await.expect("a worker does not panic").expect("a job is done");
    assert_eq!(app.outbox.letters().len(), 1);
}

#[tokio::test]
async fn a_ring_that_waited_long_gives_its_worker_a_whole_hold() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    app.clock.advance(seconds(6));
    let core = Arc::clone(&app.app);
    let worker = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    let ten = app.app.ports().clock.now().saturating_add(seconds(10)).expect("a moment");
    assert_eq!(held_until(&app, &acme, &verification).await, Some(ten));
    held.answer(Answer::Reaches(DeliveryStatus::Sent));
    worker.await.expect("a worker does not panic").expect("a job is done");
}

#[tokio::test]
async fn a_worker_that_lost_its_hold_still_tells_that_its_channel_sent() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    // Its machine stands still: nothing of it runs while the time passes.
    let mut slow = Box::pin(async move { core.deliver(job, ()).await });
    let called = async { app.outbox.called(1).await };
    tokio::select! {
        biased;
        _ = &mut slow => panic!("the channel has not answered"),
        () = called => {}
    }
    app.clock.advance(seconds(10));
    assert_eq!(app.sweep().await.rung, 1);
    app.outbox.next(Answer::Breaks);
    app.run_jobs().await;
    assert_eq!(deliveries(&app, &acme, &verification).await[0], was("outbox", "failed", json!("no_ack")));
    held.answer(Answer::Reaches(DeliveryStatus::Sent));
    slow.await.expect("a job is done");
    assert_eq!(deliveries(&app, &acme, &verification).await[0], was("outbox", "sent", Value::Null));
    let ids: Vec<_> = app.outbox.letters().into_iter().map(|letter| letter.message_id).collect();
    assert_eq!(ids.len(), 2);
    assert_eq!(ids[0], ids[1]);
}

#[tokio::test]
async fn a_fail_over_is_sending_while_its_channel_is_called() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.refuses_next(DeliveryFailure::Rejected);
    let held = app.spare.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let first = app.next_job().await.expect("the start rang");
    app.app.deliver(first, ()).await.expect("a job is done");
    let job = app.next_job().await.expect("the fail-over rang");
    let core = Arc::clone(&app.app);
    let worker = tokio::spawn(async move { core.deliver(job, ()).await });
    app.spare.called(1).await;
    assert_eq!(
        deliveries(&app, &acme, &verification).await,
        [was("outbox", "failed", json!("rejected")), was("spare", "sending", Value::Null)]
    );
    held.answer(Answer::Reaches(DeliveryStatus::Sent));
    worker.await.expect("a worker does not panic").expect("a job is done");
    assert_eq!(deliveries(&app, &acme, &verification).await[1], was("spare", "sent", Value::Null));
}

#[tokio::test]
async fn what_ended_after_its_worker_died_does_not_stay_queued_for_ever() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let _held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    let dying = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    dying.abort();
    assert!(dying.await.expect_err("it died").is_cancelled());
    app.post(format!("{}/cancel", path(&verification))).key(&acme.live).await.expect(200);

    app.clock.advance(seconds(9));
    assert_eq!(app.sweep().await.cut, 0, "it might still be waiting for the channel");
    app.clock.advance(seconds(1));
    assert_eq!(app.sweep().await.cut, 1);
    assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "failed", json!("no_ack"))]);
    assert_eq!(app.sweep().await.cut, 0);
    assert_eq!(app.outbox.letters().len(), 1, "it is not sent again");
}

#[tokio::test]
async fn what_was_canceled_before_its_turn_does_not_go_out() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    app.post(format!("{}/cancel", path(&verification))).key(&acme.live).await.expect(200);
    app.run_jobs().await;
    assert_eq!(app.outbox.letters(), []);
    assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "failed", json!("canceled"))]);
}

#[tokio::test]
async fn what_was_canceled_during_the_call_tells_what_became_of_it() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    let worker = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    app.post(format!("{}/cancel", path(&verification))).key(&acme.live).await.expect(200);
    held.answer(Answer::Reaches(DeliveryStatus::Sent));
    worker.await.expect("a worker does not panic").expect("a job is done");
    assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "sent", Value::Null)]);
    let read = app.read(&acme.live, &verification).await;
    assert_eq!(read["status"], "canceled");
}

#[tokio::test]
async fn a_refusal_of_what_was_canceled_tries_no_other_channel() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    let worker = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    app.post(format!("{}/cancel", path(&verification))).key(&acme.live).await.expect(200);
    held.answer(Answer::Refuses(DeliveryFailure::Rejected));
    worker.await.expect("a worker does not panic").expect("a job is done");
    app.run_jobs().await;
    assert_eq!(app.spare.letters(), []);
    assert_eq!(app.read(&acme.live, &verification).await["status"], "canceled");
}

#[tokio::test]
async fn a_first_send_refused_after_a_resend_does_not_stay_queued_for_ever() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let held = app.outbox.holds_next();
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let core = Arc::clone(&app.app);
    let slow = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.called(1).await;
    app.clock.advance(seconds(30));
    app.post(format!("{}/resend", path(&verification))).key(&acme.live).await.expect(200);
    app.run_jobs().await;
    held.answer(Answer::Refuses(DeliveryFailure::Rejected));
    slow.await.expect("a worker does not panic").expect("a job is done");
    assert_eq!(
        deliveries(&app, &acme, &verification).await,
        [was("outbox", "failed", json!("no_ack")), was("outbox", "sent", Value::Null)]
    );
}

/// What holds only of a server with a store and a queue of its own.
mod alone {
    use super::*;

    #[tokio::test]
    async fn after_a_restart_what_was_held_goes_out_at_once() {
        let (app, acme) = TestApp::start_with_tenant().await;
        let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
        app.lose_jobs().await;
        let store = &app.app.ports().store;
        assert_eq!(store.recover(app.app.ports().clock.now()).await.expect("the store recovers"), 1);
        assert_eq!(app.sweep().await.rung, 1);
        app.run_jobs().await;
        assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "sent", Value::Null)]);
    }

    #[tokio::test]
    async fn what_ended_before_a_restart_is_given_up_after_it() {
        let (app, acme) = TestApp::start_with_tenant().await;
        let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
        app.lose_jobs().await;
        app.post(format!("{}/cancel", path(&verification))).key(&acme.live).await.expect(200);
        let store = &app.app.ports().store;
        assert_eq!(store.recover(app.app.ports().clock.now()).await.expect("the store recovers"), 1);
        assert_eq!(app.sweep().await.cut, 1);
        assert_eq!(app.outbox.letters(), []);
        assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "failed", json!("no_ack"))]);
    }

    #[tokio::test]
    async fn a_full_queue_loses_nothing() {
        let app = TestApp::with().queue_size(1).start().await;
        let acme = app.tenant("Acme").await;
        let mut started = Vec::new();
        for n in 0..3 {
            started.push(app.starting(&acme.live, json!({ "to": crate::app::number(n) })).await.expect(201));
        }
        app.run_jobs().await;
        assert_eq!(app.outbox.letters().len(), 1);
        app.clock.advance(seconds(10));
        for _ in 0..2 {
            app.sweep().await;
            app.run_jobs().await;
        }
        assert_eq!(app.outbox.letters().len(), 3);
    }

    /// A seat that notes what was stored of its delivery when it was given back.
    struct Seat {
        app: Arc<App>,
        job: Job,
        given_back: mpsc::Sender<DeliveryStatus>,
    }

    impl Drop for Seat {
        fn drop(&mut self) {
            let Item::Verification(id) = self.job.item else { panic!("it is a verification") };
            let store = self.app.ports().store.tenant(self.job.tenant);
            // What is under way is read from memory, so that one poll is enough.
            let read = pin!(store.find_verification(id)).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(Ok(Some(stored))) = read else { panic!("it is under way") };
            self.given_back.send(stored.dispatch.current().expect("a delivery").status).expect("the test listens");
        }
    }

    #[tokio::test]
    async fn a_seat_is_held_while_the_channel_is_called_and_given_back_before_the_store_keeps_the_answer() {
        let (app, acme) = TestApp::start_with_tenant().await;
        let held = app.outbox.holds_next();
        let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
        let job = app.next_job().await.expect("the start rang");
        let (given_back, seats) = mpsc::channel();
        let (core, seat) = (Arc::clone(&app.app), Seat { app: Arc::clone(&app.app), job, given_back });
        let worker = tokio::spawn(async move { core.deliver(job, seat).await });
        app.outbox.called(1).await;
        assert!(seats.try_recv().is_err(), "it is still being called");
        held.answer(Answer::Reaches(DeliveryStatus::Sent));
        worker.await.expect("a worker does not panic").expect("a job is done");
        assert_eq!(seats.recv(), Ok(DeliveryStatus::Queued));
        assert_eq!(deliveries(&app, &acme, &verification).await, [was("outbox", "sent", Value::Null)]);
    }
}
