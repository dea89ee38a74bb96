//! Everything at the same time.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::task::{Context, Waker};

use serde_json::json;
use tokio::task::JoinSet;
use wotp_core::app::Delivered;

use crate::app::{NUMBER, TestApp, path, seconds, wrong};
use crate::client::race;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_50_racing_right_checks_one_is_valid() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let replies = race(vec![app.checking(&acme.live, &verification, &code); 50]).await;
    let valid = replies.iter().filter(|reply| reply.expect(200)["valid"] == true).count();
    assert_eq!(valid, 1);
    assert_eq!(app.read(&acme.live, &verification).await["checks"]["used"], 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_50_racing_right_checks_by_address_one_is_valid() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (_, code) = app.started(&acme.live, NUMBER).await;
    let check = app.post("/v1/verifications/check").key(&acme.live).json(json!({ "to": NUMBER, "code": code }));
    let replies = race(vec![check; 50]).await;
    assert_eq!(replies.iter().filter(|reply| reply.expect(200)["valid"] == true).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_50_racing_wrong_checks_each_is_counted_up_to_the_limit() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "code": { "checks": 10 } })).await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let replies = race(vec![app.checking(&acme.live, &verification, &wrong(&code)); 50]).await;
    let mut counts: Vec<_> =
        replies.iter().map(|reply| reply.expect(200)["checks"]["used"].as_u64().unwrap()).collect();
    counts.sort_unstable();
    assert_eq!(counts[..10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10], "no two guesses are counted as one");
    assert!(counts[10..].iter().all(|count| *count == 10));
    let failed = app.read(&acme.live, &verification).await;
    assert_eq!((&failed["status"], &failed["reason"]), (&json!("failed"), &json!("max_checks")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn right_and_wrong_checks_racing_never_approve_beyond_the_limit() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let guesses = (0..50).map(|n| if n % 5 == 0 { code.clone() } else { wrong(&code) });
    let replies = race(guesses.map(|guess| app.checking(&acme.live, &verification, &guess))).await;
    let valid = replies.iter().filter(|reply| reply.expect(200)["valid"] == true).count();
    let ended = app.read(&acme.live, &verification).await;
    assert_eq!(valid == 1, ended["status"] == "approved", "{ended}");
    assert!(ended["checks"]["used"].as_u64().unwrap() <= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_workers_on_one_job_send_once() {
    let (app, acme) = TestApp::start_with_tenant().await;
    // Lost and rung again, so that the workers have to claim it.
    let verification = app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
    app.lose_jobs().await;
    app.clock.advance(seconds(90));
    assert_eq!(app.sweep().await.rung, 1);
    let job = app.next_job().await.expect("the sweep rang");
    let core = Arc::clone(&app.app);
    let mut workers: JoinSet<_> = (0..16)
        .map(|_| {
            let core = Arc::clone(&core);
            async move { core.deliver(job, ()).await.expect("a job is done") }
        })
        .collect();
    let mut called = 0;
    while let Some(done) = workers.join_next().await {
        called += usize::from(done.expect("a worker does not panic") != Delivered::Nothing);
    }
    assert_eq!((called, app.outbox.letters().len()), (1, 1));
    assert_eq!(app.read(&acme.live, &verification).await["deliveries"][0]["status"], "sent");
}

#[tokio::test]
async fn a_resend_while_the_first_send_is_under_way_loses_neither() {
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
    held.answer(crate::outbox::Answer::Reaches(wotp_core::domain::dispatch::DeliveryStatus::Delivered));
    slow.await.expect("a worker does not panic").expect("a job is done");

    let letters = app.outbox.letters();
    assert_eq!(letters.len(), 2);
    assert_eq!(letters[0].code, letters[1].code, "both carry the one code");
    let both = app.read(&acme.live, &verification).await;
    let statuses: Vec<_> =
        both["deliveries"].as_array().unwrap().iter().map(|delivery| delivery["status"].clone()).collect();
    assert_eq!(statuses, [json!("delivered"), json!("sent")]);
    assert_eq!(app.checking(&acme.live, &verification, &letters[0].code).await.expect(200)["valid"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_resends_one_goes_out() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    app.clock.advance(seconds(30));
    let replies = race(vec![app.post(format!("{}/resend", path(&verification))).key(&acme.live); 20]).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
    for refused in replies.iter().filter(|reply| reply.status != 200) {
        refused.problem(429, "cool_down");
    }
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_racing_starts_for_one_address_one_is_admitted() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let replies = race(vec![app.starting(&acme.live, json!({ "to": NUMBER })); 20]).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1);
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_check_and_a_cancel_racing_agree_on_the_end() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (verification, code) = app.started(&acme.live, NUMBER).await;
    let check = app.checking(&acme.live, &verification, &code);
    let cancel = app.post(format!("{}/cancel", path(&verification))).key(&acme.live);
    let replies = race((0..40).map(|n| if n % 2 == 0 { check.clone() } else { cancel.clone() })).await;
    let approved = replies.iter().filter(|reply| reply.json()["valid"] == true).count();
    let status = app.read(&acme.live, &verification).await["status"].clone();
    assert_eq!(status, if approved == 1 { "approved" } else { "canceled" });
    assert!(approved <= 1);
    let canceled = replies.iter().any(|reply| reply.json()["status"] == "canceled" && reply.json().get("id").is_some());
    assert_ne!(canceled, approved == 1, "not both");
}

#[tokio::test]
async fn a_caller_that_hangs_up_gets_its_code_all_the_same() {
    let (app, acme) = TestApp::start_with_tenant().await;
    // Known from here on: what is left to do begins with the first poll.
    app.get("/v1/usage").key(&acme.live).await.expect(200);
    let mut started = Box::pin(app.starting(&acme.live, json!({ "to": NUMBER })).into_future());
    // Polled once, and dropped: what hyper does when a client closes its connection.
    assert!(started.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(started);
    let rung = async {
        while app.next_job().await.is_none() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), rung).await.expect("the worker is rung for");
}
