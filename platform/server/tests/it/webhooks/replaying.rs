//! What a replay passes over, and how it is called off.

use futures_util::future::join_all;
use wotp_core::domain::permission::Role;
use wotp_core::domain::webhook::delivery::WebhookDelivery;
use wotp_core::domain::webhook::replay::Replay;

use super::*;
use crate::app::{NUMBER, seconds};
use crate::client::Request;

impl TestApp {
    fn call_off(&self, tenant: &TestTenant, endpoint: &Value) -> Request {
        let path = format!("/v1/webhooks/endpoints/{}/replay", id(&endpoint["endpoint"]));
        self.request(Method::DELETE, path).key(&tenant.live)
    }
}

/// What came since so many had come, in the order of their ids.
fn came(receiver: &Receiver, before: usize) -> Vec<String> {
    let mut ids: Vec<String> = receiver.received()[before..].iter().map(|one| one.id().to_owned()).collect();
    ids.sort();
    ids
}

#[tokio::test]
async fn a_delivery_that_cannot_be_read_is_passed_over_by_a_replay() {
    let (app, acme, receiver, endpoint) = stage().await;
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(app.uses_up(&acme).await);
    }
    app.run_webhooks().await;
    let row = app.rows_of::<WebhookDelivery>(&acme).await.into_iter().find(|row| row.doc["event"] == *events[1]);
    app.damage::<WebhookDelivery>(row.unwrap(), "status").await;
    app.clock.advance(seconds(1));
    app.replay_all(&acme, &endpoint).await.expect(202);
    app.run_webhooks().await;
    events.remove(1);
    events.sort();
    assert_eq!(came(&receiver, 3), events);
    assert!(app.rows_of::<Replay>(&acme).await.is_empty(), "it came to its end");
}

#[tokio::test]
async fn an_event_that_cannot_be_read_is_passed_over_by_a_replay_of_what_failed() {
    let (app, acme, receiver, endpoint) = stage().await;
    receiver.always(Say::Status(410));
    let mut events = Vec::new();
    for _ in 0..3 {
        events.push(app.uses_up(&acme).await);
    }
    app.run_webhooks().await;
    receiver.always(Say::Status(200));
    app.enable(&acme, &endpoint, true).await;
    let row = app.rows_of::<Event>(&acme).await.into_iter().find(|row| row.doc["id"] == *events[1]);
    app.damage::<Event>(row.unwrap(), "fanned_out").await;
    app.clock.advance(seconds(1));
    let failed = json!({ "since": app.long_ago(), "failed_only": true });
    app.of_endpoint(&endpoint, "replay").key(&acme.live).json(failed).await.expect(202);
    app.run_webhooks().await;
    events.remove(1);
    events.sort();
    assert_eq!(came(&receiver, 3), events);
    assert!(app.rows_of::<Replay>(&acme).await.is_empty(), "it came to its end");
}

#[tokio::test]
async fn a_replay_that_is_called_off_goes_no_further() {
    let (app, acme, receiver, endpoint) = stage().await;
    app.enable(&acme, &endpoint, false).await;
    for _ in 0..250 {
        app.uses_up(&acme).await;
    }
    app.run_webhooks().await;
    app.enable(&acme, &endpoint, true).await;
    app.call_off(&acme, &endpoint).await.problem(404, "not_found");
    app.clock.advance(seconds(1));
    app.replay_all(&acme, &endpoint).await.expect(202);
    assert!(app.app.step_replays().await.unwrap(), "there is more");
    app.call_off(&acme, &endpoint).await.expect(204);
    app.call_off(&acme, &endpoint).await.problem(404, "not_found");
    app.run_webhooks().await;
    assert_eq!(came(&receiver, 0).len(), 100, "what waited for the endpoint by then, and no more");
    app.replay_all(&acme, &endpoint).await.expect(202);
}

#[tokio::test]
async fn a_suspended_tenant_is_told_what_happened_and_its_replay_waits() {
    let (app, acme, receiver, endpoint) = stage().await;
    let operator = app.operator().await;
    let tenant = format!("/operator/v1/tenants/{}", acme.id);
    receiver.say([Say::Status(500)]);
    let event = app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    app.clock.advance(seconds(1));
    app.replay_all(&acme, &endpoint).await.expect(202);
    let reason = json!({ "reason": "the invoice is not paid" });
    app.post(format!("{tenant}/suspend")).by(&operator).json(reason).await.expect(200);
    app.clock.advance(seconds(10));
    // What was tried before is tried again, and the suspension is told.
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered; 2]);
    assert!(receiver.received()[1..].iter().any(|received| received.id() == event));
    app.clock.advance(seconds(300));
    assert_eq!(app.run_webhooks().await, [], "nothing else");
    app.post(format!("{tenant}/resume")).by(&operator).await.expect(200);
    app.clock.advance(seconds(300));
    // That it goes on is told, and what was asked for.
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered; 2]);
    assert_eq!(receiver.received().iter().filter(|received| received.id() == event).count(), 3);
    app.run_jobs().await;
}

#[tokio::test]
async fn a_deleted_tenant_is_told_nothing_and_has_it_all_replayed_once_it_is_back() {
    let (app, acme, receiver, endpoint) = stage().await;
    let owner = app.member(&acme, Role::Owner).await;
    // One that was tried, one that nobody looked at yet, one that happens afterwards, and a replay.
    receiver.say([Say::Status(500)]);
    let tried = app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    app.clock.advance(seconds(1));
    let new = app.uses_up(&acme).await;
    app.clock.advance(seconds(1));
    app.replay_all(&acme, &endpoint).await.expect(202);
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    app.request(Method::DELETE, "/v1/tenant").by(&owner).await.expect(200);
    app.clock.advance(seconds(3600));
    app.sweep().await;
    while app.app.fold(100).await.unwrap().taken > 0 {}
    for _ in 0..3 {
        assert_eq!(app.run_webhooks().await, []);
        app.clock.advance(seconds(300));
    }
    assert_eq!(receiver.received().len(), 1, "nothing after the deletion");

    let owner = app.logged_in(&owner.email).await;
    app.post(format!("/v1/tenants/{}/restore", acme.id)).by(&owner).await.expect(200);
    app.clock.advance(seconds(300));
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered; 2], "what was asked for before");
    let mut events = vec![tried, new];
    events.sort();
    assert_eq!(came(&receiver, 1), events);
    // What becomes of it while nobody may be told is told to nobody.
    assert_eq!(app.read(&acme.live, &verification).await["status"], "expired");
    app.started(&acme.live, NUMBER).await;
    while app.app.fold(100).await.unwrap().taken > 0 {}
    assert!(!app.run_webhooks().await.is_empty(), "and it is told as before");
}

#[tokio::test]
async fn a_deletion_sets_no_replay_of_a_suspended_tenant_going() {
    let (app, acme, receiver, endpoint) = stage().await;
    let operator = app.operator().await;
    let event = app.uses_up(&acme).await;
    app.run_webhooks().await;
    app.clock.advance(seconds(1));
    app.replay_all(&acme, &endpoint).await.expect(202);
    let reason = json!({ "reason": "the invoice is not paid" });
    app.post(format!("/operator/v1/tenants/{}/suspend", acme.id)).by(&operator).json(reason).await.expect(200);
    let ports = app.app.ports();
    let mut tenant = ports.store.tenant(acme.id).find_tenant().await.unwrap().unwrap();
    let now = app.clock.now();
    tenant.standing.delete(now, now.checked_add(days(30)).unwrap());
    ports.store.commit(vec![Change::ReplaceTenant(Box::new(tenant))]).await.unwrap();
    for _ in 0..3 {
        app.clock.advance(seconds(300));
        app.run_webhooks().await;
    }
    assert_eq!(receiver.received().iter().filter(|received| received.id() == event).count(), 1);
}

#[tokio::test]
async fn a_replay_is_called_off_also_where_this_program_cannot_read_it() {
    let (app, acme, _receiver, endpoint) = stage().await;
    app.clock.advance(seconds(1));
    app.replay_all(&acme, &endpoint).await.expect(202);
    app.damage::<Replay>(app.rows_of::<Replay>(&acme).await.remove(0), "slot").await;
    app.replay_all(&acme, &endpoint).await.problem(409, "conflict");
    app.call_off(&acme, &endpoint).await.expect(204);
    app.replay_all(&acme, &endpoint).await.expect(202);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_replay_is_called_off_while_nodes_work_on_it() {
    let (app, acme, _receiver, endpoint) = stage().await;
    app.enable(&acme, &endpoint, false).await;
    for _ in 0..250 {
        app.uses_up(&acme).await;
    }
    app.run_webhooks().await;
    app.enable(&acme, &endpoint, true).await;
    app.clock.advance(seconds(1));
    let fellow = app.fellow();
    for _ in 0..8 {
        app.replay_all(&acme, &endpoint).await.expect(202);
        let steps = join_all([&app, &fellow, &app].map(|node| node.app.step_replays()));
        let (steps, reply) = tokio::join!(steps, async { app.call_off(&acme, &endpoint).await });
        assert!(steps.iter().all(Result::is_ok), "{steps:?}");
        reply.expect(204);
        assert!(app.rows_of::<Replay>(&acme).await.is_empty());
        app.run_webhooks().await;
    }
}
