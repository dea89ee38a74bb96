//! What waits for an endpoint, and what one endpoint, one tenant or one row costs all others.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use wotp_core::domain::Timestamp;
use wotp_core::domain::event::DisabledReason;
use wotp_core::domain::id::EventId;
use wotp_core::domain::permission::Role;
use wotp_core::domain::webhook::backlog::Backlog;
use wotp_core::domain::webhook::delivery::WebhookDelivery;
use wotp_core::domain::webhook::endpoint::{Endpoint, Failing};
use wotp_core::domain::webhook::notice::EndpointNotice;
use wotp_core::domain::webhook::replay::Replay;

use super::*;
use crate::app::{days, seconds};

impl TestApp {
    /// How many of a kind time asks for until then.
    async fn due_until<E: Entity>(&self, until: Timestamp) -> usize {
        self.app.ports().store.due_entities(E::KIND, until, 1000).await.unwrap().len()
    }
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_is_away_asks_for_nothing_and_comes_when_it_is_back() {
    let (app, acme, receiver, _endpoint) = stage().await;
    receiver.always(Say::Status(502));
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    for _ in 0..30 {
        app.uses_up(&acme).await;
    }
    assert_eq!(app.run_webhooks().await, []);
    let now = app.app.ports().clock.now();
    assert_eq!(app.due_until::<WebhookDelivery>(now + days(3)).await, 1, "only what was tried has a moment");
    assert_eq!(app.due_until::<Backlog>(now + days(3)).await, 1, "and one row asks for all that waits");
    // While it is away they are tried one by one, and none of the others is written.
    for _ in 0..12 {
        app.clock.advance(seconds(300));
        app.run_webhooks().await;
    }
    let rows = app.rows_of::<WebhookDelivery>(&acme).await;
    for row in &rows {
        // For each attempt it waits, is held and is settled, and is written for nothing else.
        let attempts = row.doc.get("attempts").map_or(0, |attempts| attempts.as_array().unwrap().len());
        assert!(row.version <= 1 + 3 * u64::try_from(attempts).unwrap(), "{row:?}");
    }
    assert!(rows.iter().any(|row| row.version == 1), "some were not even tried");
    receiver.always(Say::Status(200));
    app.clock.advance(days(1));
    app.run_webhooks().await;
    app.clock.advance(seconds(5));
    app.run_webhooks().await;
    let mut statuses: Vec<Value> =
        app.rows_of::<WebhookDelivery>(&acme).await.into_iter().map(|row| row.doc["status"].clone()).collect();
    statuses.dedup();
    assert_eq!(statuses, ["delivered"]);
}

#[tokio::test]
async fn what_waited_for_longer_than_all_attempts_take_is_given_up() {
    let (app, acme, receiver, endpoint) = stage().await;
    let owner = app.member(&acme, Role::Owner).await;
    app.run_jobs().await;
    let before = app.outbox.letters().len();
    receiver.always(Say::Status(502));
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    for _ in 0..5 {
        app.uses_up(&acme).await;
    }
    app.run_webhooks().await;
    app.clock.advance(days(4));
    app.run_webhooks().await;
    let failed = app.attempts(&acme.live, &endpoint, "status=failed").await;
    assert!(failed.len() >= 4 && failed.iter().all(|delivery| delivery["reason"] == "expired"), "{failed:#?}");
    // Those who run the tenant are told once, and if it goes on again in a week.
    assert_eq!((app.sweep().await.noticed, app.sweep().await.noticed), (1, 0));
    app.run_jobs().await;
    let letters = app.outbox.letters().split_off(before);
    assert_eq!(letters.iter().map(|letter| &letter.to).collect::<Vec<_>>(), [&owner.email]);
    assert!(letters[0].text.contains(id(&endpoint["endpoint"])) && letters[0].text.contains("takes nothing"));
    assert!(!letters[0].text.contains("http"), "{letters:?}");
    assert_eq!(app.rows_of::<EndpointNotice>(&acme).await.len(), 1);
    app.clock.advance(days(7));
    app.sweep().await;
    assert!(app.rows_of::<EndpointNotice>(&acme).await.is_empty());
}

#[tokio::test]
async fn a_change_of_an_endpoint_ends_its_rest_also_for_what_waits_for_it() {
    let (app, acme, receiver, endpoint) = stage().await;
    receiver.say([Say::With(503, "retry-after", "900")]);
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, []);
    let soon = app.clock.now() + seconds(300);
    assert_eq!(app.due_until::<Backlog>(soon).await, 1, "it may be there again before it said");
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    app.clock.advance(seconds(1));
    let change = app.request(Method::PATCH, path).key(&acme.live).json(json!({ "description": "It is mended" }));
    change.await.expect(200);
    app.clock.advance(seconds(2));
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered]);
}

#[tokio::test]
async fn what_is_new_does_not_wait_for_what_is_to_be_deleted() {
    let (app, acme, _receiver, _endpoint) = stage().await;
    app.uses_up(&acme).await;
    let event = Stored::<Event>::read(app.rows_of::<Event>(&acme).await.remove(0)).unwrap();
    app.run_webhooks().await;
    let ports = app.app.ports();
    let at = app.long_ago() - days(1);
    let old = (0..600).map(|_| {
        let old = Event { id: EventId::new(at, &*ports.entropy), at, fanned_out: true, ..event.entity.clone() };
        Change::insert(&old)
    });
    ports.store.commit(old.collect()).await.unwrap();
    app.uses_up(&acme).await;
    let looked = app.take_webhooks().await;
    assert_eq!((looked.held.len(), looked.more), (1, true));
    drop(looked);
    assert_eq!(app.rows_of::<Event>(&acme).await.len(), 602 - 255, "and they go meanwhile");
}

#[tokio::test]
async fn a_place_is_given_back_whatever_becomes_of_the_call() {
    let (app, acme, receiver, _endpoint) = stage().await;
    for _ in 0..4 {
        app.uses_up(&acme).await;
    }
    // Somebody who panics does not say what came of it.
    let taken = app.take_webhooks().await;
    assert_eq!(taken.held.len(), 4);
    drop(taken);
    app.clock.advance(seconds(20));
    // Nor does somebody whom the store fails.
    let taken = app.take_webhooks().await;
    assert_eq!(taken.held.len(), 4);
    let events = app.rows_of::<Event>(&acme).await;
    let store = &app.app.ports().store;
    let replaced = |fanned_out: Value| {
        let damaged = events.iter().cloned().map(|mut row| {
            row.doc.insert("fanned_out".to_owned(), fanned_out.clone());
            row.version += u64::from(fanned_out == true);
            Change::Replace(row)
        });
        store.commit(damaged.collect())
    };
    replaced(json!("what nobody knew")).await.unwrap();
    for held in taken.held {
        app.app.attempt_webhook(held).await.unwrap_err();
    }
    replaced(json!(true)).await.unwrap();
    app.clock.advance(seconds(20));
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered; 4]);
    assert_eq!(receiver.received().len(), 4);
}

#[tokio::test]
async fn one_replay_of_an_endpoint_and_five_of_a_tenant_go_on_at_once() {
    let (app, acme, receiver, endpoint) = stage().await;
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    app.clock.advance(seconds(1));
    app.replay_all(&acme, &endpoint).await.expect(202);
    app.replay_all(&acme, &endpoint).await.problem(409, "conflict");
    for n in 2..=6 {
        let other = app.endpoint(&acme.live, json!({ "url": receiver.url() })).await;
        let replay = app.replay_all(&acme, &other).await;
        if n <= 5 {
            replay.expect(202)
        } else {
            replay.problem(409, "conflict")
        };
    }
    assert_eq!(app.rows_of::<Replay>(&acme).await.len(), 5);
    app.run_webhooks().await;
    assert_eq!(receiver.received().len(), 6);
    app.replay_all(&acme, &endpoint).await.expect(202);
    app.run_webhooks().await;
    assert_eq!(receiver.received().len(), 7);
}

#[tokio::test]
async fn replays_of_one_tenant_do_not_hold_up_anothers() {
    let (app, acme, _receiver, endpoint) = stage().await;
    let (globex, theirs) = (app.tenant("Globex").await, Receiver::start().await);
    let their_endpoint = app.endpoint(&globex.live, json!({ "url": theirs.url() })).await;
    for _ in 0..300 {
        app.uses_up(&acme).await;
    }
    app.uses_up(&globex).await;
    while app.take_webhooks().await.more {}
    app.clock.advance(seconds(60));
    app.replay_all(&acme, &endpoint).await.expect(202);
    for _ in 0..4 {
        let other = app.endpoint(&acme.live, json!({ "url": "http://127.0.0.1:9/" })).await;
        app.replay_all(&acme, &other).await.expect(202);
    }
    app.run_webhooks_once().await;
    let before = theirs.received().len();
    app.replay_all(&globex, &their_endpoint).await.expect(202);
    app.app.step_replays().await.unwrap();
    assert!(app.rows_of::<Replay>(&globex).await.is_empty(), "it is done at once");
    assert!(!app.rows_of::<Replay>(&acme).await.is_empty());
    app.run_webhooks_once().await;
    theirs.wait_for(before + 1).await;
}

#[tokio::test]
async fn a_replay_goes_no_faster_than_its_endpoint() {
    let (app, acme, receiver, endpoint) = stage().await;
    for _ in 0..300 {
        app.uses_up(&acme).await;
    }
    receiver.always(Say::Status(502));
    app.enable(&acme, &endpoint, false).await;
    while app.take_webhooks().await.more {}
    app.enable(&acme, &endpoint, true).await;
    app.clock.advance(seconds(1));
    app.replay_all(&acme, &endpoint).await.expect(202);
    app.run_webhooks().await;
    for _ in 0..5 {
        app.clock.advance(seconds(5));
        app.run_webhooks().await;
    }
    let written = app.rows_of::<WebhookDelivery>(&acme).await.len();
    assert!((100..=200).contains(&written), "{written} are written, and nothing goes out");
    receiver.always(Say::Status(200));
    for _ in 0..20 {
        app.clock.advance(seconds(300));
        app.run_webhooks().await;
    }
    let ids: BTreeSet<String> = receiver.received().iter().map(|received| received.id().to_owned()).collect();
    assert_eq!((ids.len(), app.rows_of::<Replay>(&acme).await.len()), (300, 0));
}

#[tokio::test]
async fn a_replay_goes_by_when_things_happened() {
    let (app, acme, receiver, endpoint) = stage().await;
    let now = app.app.ports().clock.now();
    let late = app.uses_up(&acme).await;
    app.run_webhooks().await;
    // It was written down an hour after it happened.
    let mut event = app.rows_of::<Event>(&acme).await.into_iter().map(|row| Stored::<Event>::read(row).unwrap());
    let mut event = event.find(|event| event.id.to_string() == late).unwrap();
    event.at = now - seconds(3600);
    app.app.ports().store.commit(vec![Change::replace(&event)]).await.unwrap();
    app.clock.advance(seconds(60));
    for (until, times) in [(now - seconds(3600), 1), (now - seconds(1800), 2)] {
        let range = json!({ "since": now - seconds(7200), "until": until });
        app.of_endpoint(&endpoint, "replay").key(&acme.live).json(range).await.expect(202);
        app.run_webhooks().await;
        assert_eq!(receiver.received().len(), times);
    }
}

#[tokio::test]
async fn what_happened_while_the_only_endpoint_was_disabled_is_replayed_when_it_is_enabled() {
    let (app, acme, receiver, endpoint) = stage().await;
    app.enable(&acme, &endpoint, false).await;
    let (verification, _) = app.started(&acme.live, crate::app::NUMBER).await;
    while app.app.fold(100).await.unwrap().more {}
    app.clock.advance(days(2));
    app.run_webhooks().await;
    assert!(receiver.received().is_empty());
    app.enable(&acme, &endpoint, true).await;
    app.replay_all(&acme, &endpoint).await.expect(202);
    app.run_webhooks().await;
    let received = receiver.received();
    assert!(!received.is_empty());
    assert!(received.iter().any(|received| received.json()["data"]["id"] == verification["id"]));
    // For as long as events are kept, and no longer.
    app.enable(&acme, &endpoint, false).await;
    app.clock.advance(days(30));
    assert!(!app.app.listens(acme.id).await.unwrap());
}

#[tokio::test]
async fn what_one_program_cannot_read_keeps_no_others_waiting() {
    let (app, acme, receiver, _endpoint) = stage().await;
    let globex = app.tenant("Globex").await;
    app.endpoint(&globex.live, json!({ "url": receiver.url() })).await;
    let store = &app.app.ports().store;
    // As a newer program would write them.
    let lost = app.uses_up(&acme).await;
    let event = app.rows_of::<Event>(&acme).await.into_iter().map(|row| Stored::<Event>::read(row).unwrap());
    let event = event.into_iter().find(|event| event.id.to_string() == lost).unwrap();
    let endpoint = app.rows_of::<Endpoint>(&globex).await.remove(0);
    let now = app.app.ports().clock.now();
    let mut delivery =
        Change::insert(&WebhookDelivery::due(&event, Stored::<Endpoint>::read(endpoint.clone()).unwrap().id, now));
    let mut disabled = Stored::<Endpoint>::read(endpoint).unwrap();
    disabled.disabled = Some(DisabledReason::Member);
    let mut disabled = Change::replace(&disabled);
    for (change, field) in [(&mut delivery, "status"), (&mut disabled, "disabled")] {
        let (Change::Insert(row) | Change::Replace(row)) = change else { unreachable!() };
        row.doc.insert(field.to_owned(), json!("what nobody knew"));
    }
    store.commit(vec![delivery, disabled]).await.unwrap();
    app.app.forget(wotp_core::ports::Changed::Tenant(globex.id));
    app.uses_up(&globex).await;
    app.uses_up(&acme).await;
    app.started(&acme.live, crate::app::NUMBER).await;
    while app.app.fold(100).await.unwrap().more {}
    app.run_webhooks().await;
    assert!(receiver.received().len() >= 3, "{:?}", receiver.received());
    assert_eq!(app.app.count_set_aside(), 1, "a delivery; an endpoint that nobody can read is passed over");
    app.run_webhooks().await;
    assert_eq!(app.app.count_set_aside(), 0, "they are not looked at again and again");
    app.clock.advance(seconds(300));
    app.run_webhooks().await;
    assert_eq!(app.app.count_set_aside(), 1);
    app.run_webhooks().await;
    assert_eq!(app.app.count_set_aside(), 0, "not the second time either");
}

#[tokio::test]
async fn what_waits_and_cannot_be_read_is_passed_over() {
    let (app, acme, receiver, _endpoint) = stage().await;
    receiver.always(Say::Status(502));
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    for _ in 0..6 {
        app.uses_up(&acme).await;
    }
    assert_eq!(app.run_webhooks().await, []);
    // As many as are drawn at once, and those that waited longest.
    let unreadable = app.rows_of::<WebhookDelivery>(&acme).await.into_iter().filter(|row| row.version == 1).take(5);
    let unreadable = unreadable.map(|row| {
        let mut change = Change::replace(&Stored::<WebhookDelivery>::read(row).unwrap());
        let Change::Replace(row) = &mut change else { unreachable!() };
        row.doc.insert("given_up".to_owned(), json!("what nobody knew"));
        change
    });
    app.app.ports().store.commit(unreadable.collect()).await.unwrap();
    receiver.always(Say::Status(200));
    app.clock.advance(seconds(60));
    app.run_webhooks().await;
    app.clock.advance(seconds(60));
    app.run_webhooks().await;
    assert_eq!(receiver.received().len(), 1 + 2, "the one that was tried, and the one that can be read");
}

#[tokio::test]
async fn what_happens_right_after_another_node_created_an_endpoint_is_told() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let (fellow, receiver) = (app.fellow(), Receiver::start().await);
    // This node knows that there is none, and hears nothing of the other.
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    app.started(&acme.live, crate::app::NUMBER).await;
    while app.app.fold(100).await.unwrap().more {}
    assert!(!app.app.listens(acme.id).await.unwrap());
    fellow.endpoint(&acme.live, json!({ "url": receiver.url() })).await;
    let event = app.uses_up(&acme).await;
    let (verification, code) = app.started(&acme.live, &crate::app::number(1)).await;
    app.checking(&acme.live, &verification, &code).await.expect(200);
    while app.app.fold(100).await.unwrap().more {}
    app.run_webhooks().await;
    let received = receiver.received();
    assert!(received.iter().any(|received| received.id() == event), "{received:?}");
    assert!(received.iter().any(|received| received.json()["data"]["id"] == verification["id"]), "{received:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_see_the_same_leave_it_to_each_other() {
    let (app, acme) = TestApp::start_with_tenant().await;
    for _ in 0..256 {
        app.uses_up(&acme).await;
    }
    let look = |app: &TestApp| {
        let app = Arc::clone(&app.app);
        tokio::spawn(async move { app.take_webhooks(256, drop).await.unwrap() })
    };
    let (here, there) = (look(&app), look(&app.fellow()));
    let (here, there) = (here.await.unwrap(), there.await.unwrap());
    assert!(here.fanned_out + there.fanned_out <= 256);
    // Without it they lose all that the other did.
    assert!(here.lost <= 79 && there.lost <= 79, "{here:?}, {there:?}");
    while app.take_webhooks().await.more {}
    assert_eq!(app.due_until::<Event>(app.app.ports().clock.now()).await, 0);
}

#[tokio::test]
async fn what_another_node_enabled_a_moment_ago_is_not_given_up() {
    let (app, acme, receiver, endpoint) = stage().await;
    app.enable(&acme, &endpoint, false).await;
    app.app.listens(acme.id).await.unwrap();
    // The bulletin did not come.
    let row = app.rows_of::<Endpoint>(&acme).await.remove(0);
    let mut there = Stored::<Endpoint>::read(row).unwrap();
    there.disabled = None;
    let event = app.uses_up(&acme).await;
    let row = app.rows_of::<Event>(&acme).await.remove(0);
    let mut event_row = Stored::<Event>::read(row).unwrap();
    assert_eq!(event_row.id.to_string(), event);
    event_row.fanned_out = true;
    let delivery = WebhookDelivery::due(&event_row, there.id, app.app.ports().clock.now());
    let changes = vec![Change::replace(&there), Change::replace(&event_row), Change::insert(&delivery)];
    app.app.ports().store.commit(changes).await.unwrap();
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered]);
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test]
async fn what_waits_for_an_endpoint_that_is_disabled_or_deleted_is_given_up_and_leaves_nothing_behind() {
    let (app, acme, receiver, endpoint) = stage().await;
    receiver.always(Say::Status(502));
    for _ in 0..2 {
        app.uses_up(&acme).await;
        app.run_webhooks().await;
    }
    app.enable(&acme, &endpoint, false).await;
    app.clock.advance(seconds(300));
    app.run_webhooks().await;
    let disabled = app.attempts(&acme.live, &endpoint, "status=failed").await;
    assert_eq!(disabled.len(), 2);
    assert!(disabled.iter().all(|delivery| delivery["reason"] == "disabled"));
    let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
    app.request(Method::DELETE, path).key(&acme.live).await.expect(204);
    // As a call leaves it that failed at the moment in which its endpoint was deleted.
    let endpoint = id(&endpoint["endpoint"]).parse().unwrap();
    let failing = Failing::new(endpoint, acme.id, app.app.ports().clock.now());
    app.app.ports().store.commit(vec![Change::insert(&failing)]).await.unwrap();
    app.clock.advance(days(2));
    app.run_webhooks().await;
    assert!(app.rows_of::<Failing>(&acme).await.is_empty());
    assert!(app.rows_of::<Backlog>(&acme).await.is_empty());
}

#[tokio::test]
async fn of_endpoints_that_are_created_at_once_fifty_are() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let create = || app.post("/v1/webhooks/endpoints").key(&acme.live).json(json!({ "url": "http://127.0.0.1:9/" }));
    for _ in 0..45 {
        create().await.expect(201);
    }
    let created = join_all((0..10).map(|_| create().into_future())).await;
    let statuses: Vec<u16> = created.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 5, "{statuses:?}");
    assert_eq!(app.rows_of::<Endpoint>(&acme).await.len(), 50);
}
