//! How a delivery fares, asked of a provider that does not tell.

use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::{Value, json};
use wotp_core::domain::asking::Again;
use wotp_core::domain::dispatch::{DeliveryFailure, Receipt};
use wotp_core::ports::Standing;

use crate::app::{NUMBER, TestApp, TestTenant, id, seconds};
use crate::outbox::{Answer, Told};

fn says(receipt: impl Into<Option<Receipt>>, again: Again) -> Told {
    Told::Says(Standing { receipt: receipt.into(), again })
}

/// A tenant, a verification whose code was sent, and that code.
async fn sent(told: impl IntoIterator<Item = Told>) -> (TestApp, TestTenant, Value, String) {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.can_be_asked(told);
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    (app, acme, verification, code)
}

async fn delivery(app: &TestApp, acme: &TestTenant, verification: &Value) -> (Value, Value) {
    let read = app.read(&acme.live, verification).await;
    (read["deliveries"][0]["status"].clone(), read["deliveries"][0]["reason"].clone())
}

/// Lets time go by and does what it asks for; says how often the provider was asked until then.
async fn later(app: &TestApp, by: i64) -> usize {
    app.clock.advance(seconds(by));
    app.sweep().await;
    app.run_jobs().await;
    app.outbox.questions().len()
}

#[tokio::test]
async fn what_a_provider_says_when_it_is_asked_is_recorded_and_not_asked_again() {
    let told = [says(None, Again::AsPlanned), says(Receipt::Delivered, Again::AsPlanned)];
    let (app, acme, verification, _) = sent(told).await;
    assert_eq!(later(&app, 5).await, 0, "most arrive within seconds");
    assert_eq!(later(&app, 1).await, 1);
    assert_eq!(delivery(&app, &acme, &verification).await, (json!("sent"), Value::Null));
    assert_eq!(later(&app, 14).await, 1);
    assert_eq!(later(&app, 1).await, 2);
    assert_eq!(delivery(&app, &acme, &verification).await, (json!("delivered"), Value::Null));
    assert_eq!(later(&app, 250).await, 2);
    let questions = app.outbox.questions();
    assert_eq!(questions.iter().map(|question| question.asked).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(questions[0].reference.to_string(), app.outbox.last().reference);
    assert_eq!(questions[0].sent_at.to_string(), "2026-11-22T12:00:00Z");
}

#[tokio::test]
async fn a_failure_that_a_provider_tells_of_when_it_is_asked_says_why() {
    let failed = Receipt::Failed(DeliveryFailure::Unavailable);
    let (app, acme, verification, _) = sent([says(failed, Again::AsPlanned)]).await;
    assert_eq!(later(&app, 6).await, 1);
    assert_eq!(delivery(&app, &acme, &verification).await, (json!("failed"), json!("unavailable")));
    assert_eq!(later(&app, 100).await, 1);
}

#[tokio::test]
async fn of_all_who_come_at_once_one_asks() {
    let (app, acme, verification, _) = sent([]).await;
    app.clock.advance(seconds(6));
    // Another node sweeps: the moment is in the record.
    let fellow = app.fellow();
    assert_eq!(fellow.sweep().await.asked, 1);
    let job = app.next_job().await.expect("the sweep rang");
    let nodes = [&app, &fellow];
    join_all((0..16).map(|n| nodes[n % 2].app.deliver(job, ()))).await.into_iter().for_each(|done| {
        done.expect("a job is done");
    });
    assert_eq!(app.outbox.questions().len(), 1);
    assert_eq!(delivery(&app, &acme, &verification).await.0, "sent");
}

/// What waits to be asked about stands before nothing else that is due, and a ring that is lost costs one question.
#[tokio::test]
async fn what_was_handed_over_is_not_due_any_more() {
    let (app, _, _, _) = sent([]).await;
    app.clock.advance(seconds(6));
    let sweep = async || app.app.sweep(1).await.expect("it sweeps");
    let swept = sweep().await;
    assert_eq!((swept.asked, swept.more), (1, true));
    assert_eq!(app.lose_jobs().await, 1);
    assert_eq!(sweep().await.asked, 0);
    assert_eq!(later(&app, 14).await, 0);
    assert_eq!(later(&app, 1).await, 1);
}

#[tokio::test]
async fn who_dies_while_it_asks_has_asked_in_vain_and_another_asks_when_the_time_comes() {
    let (app, acme, verification, _) = sent([Told::Hangs, says(Receipt::Read, Again::Never)]).await;
    app.clock.advance(seconds(6));
    assert_eq!(app.sweep().await.asked, 1);
    let job = app.next_job().await.expect("the sweep rang");
    let core = Arc::clone(&app.app);
    let dying = tokio::spawn(async move { core.deliver(job, ()).await });
    app.outbox.asked(1).await;
    dying.abort();
    assert!(dying.await.expect_err("it died").is_cancelled());
    assert_eq!(later(&app, 14).await, 1);
    assert_eq!(later(&app, 1).await, 2);
    assert_eq!(delivery(&app, &acme, &verification).await.0, "read");
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_not_waited_for() {
    let (app, acme, verification, _) = sent([Told::StaysSilent, says(Receipt::Delivered, Again::Never)]).await;
    assert_eq!(later(&app, 6).await, 1);
    assert_eq!(delivery(&app, &acme, &verification).await.0, "sent");
    // Five of the fifteen are over: so long it was waited for.
    assert_eq!(later(&app, 10).await, 2);
    assert_eq!(delivery(&app, &acme, &verification).await.0, "delivered");
}

#[tokio::test]
async fn a_provider_says_itself_when_to_ask_again_and_when_never() {
    let told = [says(Receipt::Sent, Again::After(seconds(40))), says(None, Again::Never)];
    let (app, _, _, _) = sent(told).await;
    assert_eq!(later(&app, 6).await, 1);
    assert_eq!(later(&app, 39).await, 1);
    assert_eq!(later(&app, 1).await, 2);
    assert_eq!(later(&app, 250).await, 2);
}

#[tokio::test]
async fn what_breaks_down_each_time_it_is_asked_is_asked_three_times() {
    let (app, acme, verification, _) = sent((0..5).map(|_| says(None, Again::BrokeDown))).await;
    assert_eq!(later(&app, 6).await, 1);
    assert_eq!(later(&app, 15).await, 2);
    assert_eq!(later(&app, 60).await, 3);
    assert_eq!(later(&app, 200).await, 3);
    assert_eq!(delivery(&app, &acme, &verification).await.0, "sent");
}

#[tokio::test]
async fn nobody_asks_what_became_of_a_code_that_was_typed() {
    let (app, acme, verification, code) = sent([]).await;
    assert_eq!(app.checking(&acme.live, &verification, &code).await.expect(200)["valid"], true);
    assert_eq!(later(&app, 6).await, 0);
}

#[tokio::test]
async fn a_callback_that_came_makes_asking_needless() {
    let (app, _, _, _) = sent([]).await;
    let news = format!("{}:delivered", app.outbox.last().reference);
    assert_eq!(app.post("/hooks/outbox/news").bytes(news).await.status, 200);
    assert_eq!(later(&app, 6).await, 0);
}

/// A worker that lost its hold knows alone what the provider calls the message, without which it cannot be asked about.
#[tokio::test]
async fn what_a_provider_calls_a_message_is_kept_where_it_says_so_late() {
    for late in ["a verification", "a message"] {
        let (app, acme) = TestApp::start_with_tenant().await;
        app.outbox.can_be_asked([]);
        let held = app.outbox.holds_next();
        if late == "a message" {
            let message = json!({ "to": NUMBER, "content": "Hello" });
            app.post("/v1/messages").key(&acme.live).json(message).await.expect(201);
        } else {
            app.starting(&acme.live, json!({ "to": NUMBER, "channels": ["outbox"] })).await.expect(201);
        }
        let job = app.next_job().await.expect("the start rang");
        let core = Arc::clone(&app.app);
        // Its machine stands still: nothing of it runs while the time passes.
        let mut slow = Box::pin(async move { core.deliver(job, ()).await });
        tokio::select! {
            biased;
            _ = &mut slow => panic!("the channel has not answered"),
            () = app.outbox.called(1) => {}
        }
        app.clock.advance(seconds(10));
        assert_eq!(app.sweep().await.rung, 1);
        app.run_jobs().await;
        held.answer(Answer::Names("p-1"));
        slow.await.expect("a job is done");
        assert_eq!(later(&app, 6).await, 1, "{late}");
        assert_eq!(app.outbox.questions()[0].provider_id.as_deref(), Some("p-1"), "{late}");
    }
}

#[tokio::test]
async fn each_code_that_was_sent_is_asked_about() {
    let (app, acme, verification, _) = sent([]).await;
    assert_eq!(later(&app, 30).await, 1);
    app.post(format!("{}/resend", crate::app::path(&verification))).key(&acme.live).await.expect(200);
    app.run_jobs().await;
    assert_eq!(later(&app, 6).await, 2);
    later(&app, 9).await;
    app.run_jobs().await;
    let asked = |n: usize| app.outbox.letters()[n].message_id.clone();
    let questions = app.outbox.questions();
    let about = questions.iter().map(|question| question.reference.delivery.to_string());
    assert_eq!(about.collect::<Vec<_>>(), [asked(0), asked(1), asked(0)]);
}

#[tokio::test]
async fn what_reaches_nobody_real_is_not_asked_about() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.outbox.can_be_asked([]);
    app.started(&acme.test, NUMBER).await;
    assert_eq!(later(&app, 6).await, 0);
}

#[tokio::test]
async fn a_channel_that_cannot_be_asked_any_more_is_not() {
    let (app, _, _, _) = sent([]).await;
    app.outbox.cannot_be_asked();
    app.clock.advance(seconds(6));
    assert_eq!(app.sweep().await.asked, 1);
    app.run_jobs().await;
    app.clock.advance(seconds(200));
    assert_eq!(app.sweep().await.asked, 0);
}

#[tokio::test]
async fn a_direct_message_is_asked_about_too_also_after_the_time_in_which_it_is_tried() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let told = [says(None, Again::After(seconds(3600))), says(Receipt::Read, Again::AsPlanned)];
    app.outbox.can_be_asked(told);
    let message = json!({ "to": NUMBER, "content": "Hello" });
    let message = app.post("/v1/messages").key(&acme.live).json(message).await.expect(201);
    app.run_jobs().await;
    let status =
        async || app.get(format!("/v1/messages/{}", id(&message))).key(&acme.live).await.expect(200)["status"].clone();
    assert_eq!(later(&app, 6).await, 1);
    assert_eq!((later(&app, 3599).await, status().await), (1, json!("sent")));
    assert_eq!((later(&app, 1).await, status().await), (2, json!("read")));
    assert_eq!(later(&app, 3600).await, 2);
}
