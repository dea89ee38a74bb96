//! From what happened to what was taken, with all that goes wrong in between.

use std::sync::Arc;

use tokio::task::JoinSet;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::domain::permission::Role;

use super::*;
use crate::app::{days, seconds};

#[tokio::test]
async fn what_is_not_taken_is_tried_ten_times_by_the_schedule_and_can_be_replayed() {
    let (app, acme, receiver, endpoint) = stage().await;
    receiver.always(Say::Status(500));
    let event = app.uses_up(&acme).await;
    let pauses = [5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400];
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    for (n, pause) in (1..).zip(pauses) {
        app.clock.advance(seconds(pause - 1));
        assert_eq!(app.run_webhooks().await, [], "attempt {n} comes too early");
        // Jitter makes it up to a fifth longer.
        app.clock.advance(seconds(pause / 5 + 1));
        let expected = if n == 9 { Attempted::Failed } else { Attempted::Again };
        assert_eq!(app.run_webhooks().await, [expected], "attempt {n}");
    }
    assert!(receiver.received().iter().all(|received| received.id() == event), "the id stays");
    let failed = app.attempts(&acme.live, &endpoint, "status=failed").await;
    assert_eq!((&failed[0]["reason"], failed[0]["attempts"].as_array().unwrap().len()), (&json!("exhausted"), 10));
    let last = &failed[0]["attempts"][9];
    assert_eq!((&last["status_code"], &last["answer"]), (&json!(500), &json!("what the endpoint says")));
    assert_eq!(failed[0]["next_attempt_at"], Value::Null);
    app.clock.advance(days(30));
    assert_eq!(app.run_webhooks().await, []);
}

#[tokio::test]
async fn the_life_of_a_verification_is_told_from_its_start_to_its_approval() {
    let (app, acme, receiver, _endpoint) = stage().await;
    let (verification, code) = app.started(&acme.live, crate::app::NUMBER).await;
    app.checking(&acme.live, &verification, &code).await.expect(200);
    // Nobody is told of another tenant's, which has no endpoint: nothing is kept of it.
    let globex = app.tenant("Globex").await;
    app.started(&globex.live, &crate::app::number(1)).await;
    while app.app.fold(100).await.unwrap().more {}
    app.run_webhooks().await;
    let mut told = Vec::new();
    for received in receiver.received() {
        let body = received.json();
        assert_eq!(body["data"]["id"], verification["id"]);
        told.push(body["type"].as_str().unwrap().to_owned());
    }
    told.sort();
    assert_eq!(told, ["verification.approved", "verification.sent", "verification.started"]);
    let kept = app.get("/v1/events").key(&globex.live).await.expect(200);
    assert_eq!(kept["data"], json!([]));
}

#[tokio::test]
async fn one_event_is_replayed_with_all_attempts_before_it() {
    let (app, acme, receiver, endpoint) = stage().await;
    let event = app.uses_up(&acme).await;
    app.run_webhooks().await;
    let replay = app.of_endpoint(&endpoint, "replay").key(&acme.live).json(json!({ "event": event }));
    let accepted = replay.await.expect(202);
    assert_eq!((&accepted["delivery"]["status"], &accepted["replay"]), (&json!("pending"), &Value::Null));
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered]);
    assert_eq!(receiver.received().iter().map(Received::id).collect::<Vec<_>>(), [event.as_str(); 2]);
    // One that was created later is told too, if it would be.
    let later = app.endpoint(&acme.live, json!({ "url": receiver.url() })).await;
    let deaf = app.endpoint(&acme.live, json!({ "url": receiver.url(), "events": ["message.*"] })).await;
    app.of_endpoint(&later, "replay").key(&acme.live).json(json!({ "event": event })).await.expect(202);
    let replay = app.of_endpoint(&deaf, "replay").key(&acme.live).json(json!({ "event": event }));
    replay.await.problem(404, "not_found");
    app.run_webhooks().await;
    assert_eq!(receiver.received().len(), 3);
    let ranges = [app.long_ago() - days(2), app.clock.now() + seconds(1)].map(|since| json!({ "since": since }));
    for wrong in ranges.into_iter().chain([json!({}), json!({ "event": event, "failed_only": true })]) {
        let replay = app.of_endpoint(&endpoint, "replay").key(&acme.live).json(wrong);
        replay.await.problem(422, "invalid_request");
    }
}

#[tokio::test]
async fn a_range_is_replayed_whole_or_only_what_failed() {
    let (app, acme, receiver, endpoint) = stage().await;
    receiver.say([Say::Status(410)]);
    let mut events = vec![app.uses_up(&acme).await];
    // Answering 410 disables: what happens now is told to nobody.
    app.run_webhooks().await;
    for _ in 0..249 {
        app.clock.advance(seconds(1));
        events.push(app.uses_up(&acme).await);
    }
    app.run_webhooks().await;
    assert_eq!(receiver.received().len(), 1);
    let since = json!({ "since": app.long_ago(), "failed_only": true });
    app.of_endpoint(&endpoint, "replay").key(&acme.live).json(since.clone()).await.problem(422, "invalid_request");
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    let enable = app.request(Method::PATCH, path).key(&acme.live).json(json!({ "enabled": true }));
    assert_eq!(enable.await.expect(200)["enabled"], true);
    app.clock.advance(seconds(1));
    app.of_endpoint(&endpoint, "replay").key(&acme.live).json(since).await.expect(202);
    app.run_webhooks().await;
    let ids = |from: usize| receiver.received()[from..].iter().map(|one| one.id().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(1), events[..1], "only the first was tried and failed");
    let whole = json!({ "since": app.long_ago() });
    app.of_endpoint(&endpoint, "replay").key(&acme.live).json(whole).await.expect(202);
    // Those that find the lane full wait for their turn.
    while ids(2).len() < 250 {
        app.run_webhooks().await;
        app.clock.advance(seconds(1));
    }
    let mut replayed: Vec<String> = ids(2).into_iter().filter(|id| events.contains(id)).collect();
    replayed.sort();
    replayed.dedup();
    events.sort();
    assert_eq!(replayed, events, "what it missed while it was disabled is told now");
    app.run_webhooks().await;
}

#[tokio::test]
async fn an_endpoint_that_says_it_is_gone_is_disabled_and_the_others_are_told() {
    let (app, acme, receiver, endpoint) = stage().await;
    let other = Receiver::start().await;
    app.endpoint(&acme.live, json!({ "url": other.url(), "events": ["webhook.*"] })).await;
    receiver.say([Say::Status(410)]);
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    let told = other.received()[0].json();
    assert_eq!(told["type"], "webhook.endpoint_disabled");
    assert_eq!(
        told["data"],
        json!({ "endpoint": endpoint["endpoint"]["id"], "reason": "gone", "failing_since": null })
    );
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    let now = app.get(path).key(&acme.live).await.expect(200);
    assert_eq!((&now["enabled"], &now["disabled_reason"]), (&json!(false), &json!("gone")));
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    assert_eq!(receiver.received().len(), 1, "it is told nothing any more");
    app.of_endpoint(&endpoint, "test").key(&acme.live).await.problem(422, "invalid_request");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn owners_and_admins_are_written_to_once_when_an_endpoint_is_disabled() {
    let (app, acme, receiver, endpoint) = stage().await;
    let mut told = Vec::new();
    for role in Role::ALL {
        let member = app.member(&acme, *role).await;
        told.extend((*role >= Role::Admin).then_some(member.email));
    }
    let globex = app.tenant("Globex").await;
    app.member(&globex, Role::Owner).await;
    receiver.say([Say::Status(410)]);
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    app.run_jobs().await;
    let before = app.outbox.letters().len();
    // Whatever comes of the mail, the endpoint stays as it is.
    app.outbox.refuses_next(DeliveryFailure::Rejected);
    let fellow = app.fellow();
    let sweeps = [&app.app, &fellow.app, &app.app, &fellow.app].map(Arc::clone);
    let racing: JoinSet<_> =
        sweeps.into_iter().map(|app| async move { app.sweep(500).await.unwrap().noticed }).collect();
    assert!(racing.join_all().await.into_iter().sum::<usize>() >= 1);
    app.run_jobs().await;
    assert_eq!(app.sweep().await.noticed, 0);
    let letters = app.outbox.letters().split_off(before);
    let mut to: Vec<String> = letters.iter().map(|letter| letter.to.clone()).collect();
    to.sort();
    told.sort();
    assert_eq!(to, told);
    let named = id(&endpoint["endpoint"]);
    assert!(letters.iter().all(|letter| letter.text.contains(named) && letter.text.contains("of Acme")), "{letters:?}");
    assert!(letters.iter().all(|letter| !letter.text.contains("http")), "{letters:?}");
    let path = format!("/v1/webhooks/endpoints/{named}");
    assert_eq!(app.get(path.clone()).key(&acme.live).await.expect(200)["enabled"], false);
    // What a member does is no news to the others.
    let change =
        |enabled: bool| app.request(Method::PATCH, path.clone()).key(&acme.live).json(json!({ "enabled": enabled }));
    change(true).await.expect(200);
    change(false).await.expect(200);
    assert_eq!(app.sweep().await.noticed, 0);
}

#[tokio::test]
async fn an_endpoint_that_takes_nothing_for_five_days_is_disabled() {
    let (app, acme, receiver, endpoint) = stage().await;
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    let enabled = async || app.get(path.clone()).key(&acme.live).await.expect(200)["enabled"] == true;
    receiver.always(Say::Status(500));
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    app.clock.advance(days(4));
    // One success begins the count anew.
    receiver.always(Say::Status(200));
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    receiver.always(Say::Status(500));
    for _ in 0..5 {
        app.clock.advance(days(1));
        app.uses_up(&acme).await;
        app.run_webhooks().await;
        assert!(enabled().await);
    }
    app.clock.advance(days(1));
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    assert!(!enabled().await);
    let events = app.get("/v1/events?type=webhook.*").key(&acme.live).await.expect(200);
    assert_eq!(events["data"][0]["data"]["reason"], "failing");
    assert!(events["data"][0]["data"]["failing_since"].is_string());
    // What still waits for it is given up, and says why.
    app.clock.advance(days(2));
    app.run_webhooks().await;
    let attempts = app.attempts(&acme.live, &endpoint, "limit=100").await;
    assert!(attempts.iter().all(|delivery| delivery["status"] != "pending"));
    assert!(attempts.iter().any(|delivery| delivery["reason"] == "disabled"));
}

#[tokio::test]
async fn one_that_asks_for_a_pause_gets_it_for_all_that_waits() {
    let (app, acme, receiver, _endpoint) = stage().await;
    receiver.say([Say::With(429, "retry-after", "600")]);
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, []);
    app.clock.advance(seconds(599));
    assert_eq!(app.run_webhooks().await, []);
    app.clock.advance(seconds(1));
    let mut done = app.run_webhooks().await;
    app.clock.advance(seconds(120));
    done.extend(app.run_webhooks().await);
    assert_eq!(done, [Attempted::Delivered; 2]);
}

#[tokio::test]
async fn a_redirect_is_a_failure_and_leads_nowhere() {
    let (app, acme, receiver, endpoint) = stage().await;
    receiver.say([Say::With(307, "location", "/elsewhere")]);
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    assert_eq!(receiver.received().len(), 1);
    assert_eq!(app.attempts(&acme.live, &endpoint, "").await[0]["attempts"][0]["status_code"], 307);
}

#[tokio::test]
async fn endpoints_that_hang_keep_no_other_waiting() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (slow, quick) = (Receiver::start().await, Receiver::start().await);
    slow.always(Say::Hang);
    for _ in 0..10 {
        app.endpoint(&acme.live, json!({ "url": slow.url() })).await;
    }
    app.endpoint(&acme.live, json!({ "url": quick.url() })).await;
    let mut calls = JoinSet::new();
    for n in 1..=40 {
        app.uses_up(&acme).await;
        // As the loop does it: what is held is called, and nobody waits for it.
        let taken = app.take_webhooks().await;
        for held in taken.held {
            let app = Arc::clone(&app.app);
            calls.spawn(async move { app.attempt_webhook(held).await });
        }
        quick.wait_for(n).await;
        // Written down too: nothing is cut off in the middle of that, and there is room for the next.
        while calls.join_next().await.unwrap().unwrap().unwrap() != Attempted::Delivered {}
    }
    // Each that hangs has four calls at once and no more; the rest waits in the store.
    assert_eq!(slow.wait_for(40).await.len(), 40);
    calls.abort_all();
}

#[tokio::test]
async fn what_was_held_by_a_process_that_is_gone_is_called_again_with_the_same_id() {
    let (app, acme, receiver, _endpoint) = stage().await;
    let event = app.uses_up(&acme).await;
    let taken = app.take_webhooks().await;
    assert_eq!(taken.held.len(), 1);
    // The process that held it ends here.
    let lost = taken.held.into_iter().next().unwrap();
    app.clock.advance(seconds(19));
    assert!(app.take_webhooks().await.held.is_empty(), "it is held");
    app.clock.advance(seconds(1));
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered]);
    // It was only paused, and comes back: the hold is another's by now.
    assert_eq!(app.app.attempt_webhook(lost).await.unwrap(), Attempted::Unsent);
    assert_eq!(receiver.received().iter().map(Received::id).collect::<Vec<_>>(), [event.as_str()]);
}

#[tokio::test]
async fn a_call_that_begins_late_is_over_before_another_may_begin() {
    let (app, acme, receiver, _endpoint) = stage().await;
    receiver.always(Say::Hang);
    app.uses_up(&acme).await;
    let held = app.take_webhooks().await.held.remove(0);
    // Its process stood still meanwhile.
    app.clock.advance(seconds(19));
    let late = Arc::clone(&app.app);
    let call = tokio::spawn(async move { late.attempt_webhook(held).await });
    receiver.wait_for(1).await;
    app.clock.advance(seconds(15));
    assert!(app.take_webhooks().await.held.is_empty(), "a call takes so long at most");
    app.clock.advance(seconds(5));
    assert_eq!(app.take_webhooks().await.held.len(), 1, "whoever made it is gone");
    call.abort();
}

#[tokio::test]
async fn of_many_who_look_at_once_one_gets_each_delivery() {
    let (app, acme, receiver, _endpoint) = stage().await;
    let mut events = Vec::new();
    for round in 0..4 {
        app.clock.advance(seconds(10));
        for _ in 0..8 {
            events.push(app.uses_up(&acme).await);
        }
        let looks = (0..8).map(|_| app.take_webhooks());
        let held: Vec<_> =
            futures_util::future::join_all(looks).await.into_iter().flat_map(|taken| taken.held).collect();
        assert!(!held.is_empty(), "round {round}");
        let attempts = held.into_iter().map(|held| app.app.attempt_webhook(held));
        futures_util::future::join_all(attempts).await;
    }
    for _ in 0..20 {
        app.clock.advance(seconds(5));
        app.run_webhooks().await;
    }
    let mut received: Vec<String> = receiver.received().iter().map(|received| received.id().to_owned()).collect();
    received.sort();
    events.sort();
    assert_eq!(received, events, "each once");
}

#[tokio::test]
async fn what_was_kept_for_30_days_is_gone() {
    let (app, acme, _receiver, endpoint) = stage().await;
    let event = app.uses_up(&acme).await;
    app.run_webhooks().await;
    app.clock.advance(days(30) - seconds(1));
    app.run_webhooks().await;
    app.get(format!("/v1/events/{event}")).key(&acme.live).await.expect(200);
    app.clock.advance(seconds(1));
    app.run_webhooks().await;
    app.get(format!("/v1/events/{event}")).key(&acme.live).await.problem(404, "not_found");
    assert!(app.attempts(&acme.live, &endpoint, "").await.is_empty());
}
