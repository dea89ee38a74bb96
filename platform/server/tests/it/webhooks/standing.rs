//! Whose events an endpoint is told of, and what does not count against it.

use wotp_core::app::NewKeySettings;
use wotp_core::domain::permission::Role;
use wotp_core::domain::webhook::endpoint::{Endpoint, Failing, KEYS_MAX};
use wotp_core::ports::Changed;

use super::*;
use crate::app::seconds;

impl TestApp {
    async fn stored_endpoint(&self, tenant: &TestTenant, endpoint: &Value) -> Stored<Endpoint> {
        let endpoint = id(&endpoint["endpoint"]).parse::<wotp_core::domain::id::EndpointId>().unwrap();
        let all = EntityList::of(Owner::Tenant(tenant.id));
        let rows = self.app.ports().store.list_entities("webhook_endpoint", &all).await.unwrap();
        let mut all = rows.into_iter().map(|row| Stored::<Endpoint>::read(row).unwrap());
        all.find(|stored| stored.id == endpoint).unwrap()
    }

    async fn change_endpoint(&self, key: &str, endpoint: &Value, change: Value) -> Value {
        let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
        self.request(Method::PATCH, path).key(key).json(change).await.expect(200)
    }
}

#[tokio::test]
async fn one_event_that_is_replayed_before_its_deliveries_are_made_is_told_to_all() {
    let (app, acme, receiver, endpoint) = stage().await;
    app.endpoint(&acme.live, json!({ "url": receiver.url() })).await;
    let event = app.uses_up(&acme).await;
    let replay = json!({ "event": event });
    app.of_endpoint(&endpoint, "replay").key(&acme.live).json(replay.clone()).await.problem(409, "conflict");
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered; 2]);
    app.of_endpoint(&endpoint, "replay").key(&acme.live).json(replay).await.expect(202);
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered]);
    assert_eq!(receiver.received().len(), 3);
}

#[tokio::test]
async fn one_delivery_that_is_there_before_the_others_does_not_keep_them_from_being_made() {
    let (app, acme, receiver, endpoint) = stage().await;
    app.endpoint(&acme.live, json!({ "url": receiver.url() })).await;
    app.uses_up(&acme).await;
    let endpoint = app.stored_endpoint(&acme, &endpoint).await;
    let all = EntityList::of(Owner::Tenant(acme.id));
    let row = app.app.ports().store.list_entities("event", &all).await.unwrap().remove(0);
    let event = Stored::<Event>::read(row).unwrap();
    let made =
        wotp_core::domain::webhook::delivery::WebhookDelivery::due(&event, endpoint.id, app.app.ports().clock.now());
    app.app.ports().store.commit(vec![Change::insert(&made)]).await.unwrap();
    assert_eq!(app.run_webhooks().await, [Attempted::Delivered; 2]);
    assert_eq!(receiver.received().len(), 2);
}

#[tokio::test]
async fn a_key_of_one_service_is_sent_nothing_of_another_one() {
    let (app, acme, receiver, endpoint) = stage().await;
    receiver.always(Say::Status(500));
    let others = app.started(&acme.live, crate::app::NUMBER).await.0;
    let others = app.event(&acme, &others).await;
    while app.app.fold(100).await.unwrap().more {}
    app.run_webhooks().await;
    app.clock.advance(days(5));
    app.run_webhooks().await;
    let count = receiver.received().len();
    // Since then it is of another service, whose key may point it anywhere.
    let service = json!({ "name": "Other" });
    let service = app.post("/v1/services").key(&acme.live).json(service).await.expect(201);
    let other = id(&service).parse().unwrap();
    app.change_endpoint(&acme.live, &endpoint, json!({ "service": id(&service), "enabled": true })).await;
    let bound = app.key(&acme, |key: &mut NewKeySettings| key.service = Some(other)).await;
    let replay = |body: Value| app.of_endpoint(&endpoint, "replay").key(&bound).json(body);
    replay(json!({ "event": others })).await.problem(404, "not_found");
    replay(json!({ "since": app.long_ago(), "failed_only": true })).await.expect(202);
    app.run_webhooks().await;
    replay(json!({ "since": app.long_ago() })).await.expect(202);
    app.run_webhooks().await;
    assert_eq!(receiver.received().len(), count);
}

#[tokio::test]
async fn what_failed_before_an_endpoint_was_enabled_again_does_not_count() {
    let (app, acme, receiver, endpoint) = stage().await;
    app.change_endpoint(&acme.live, &endpoint, json!({ "enabled": false })).await;
    app.change_endpoint(&acme.live, &endpoint, json!({ "enabled": true })).await;
    // As a process leaves it that was killed after the one and before the other.
    let (id, now) = (app.stored_endpoint(&acme, &endpoint).await.id, app.app.ports().clock.now());
    let failing = Failing { last_at: Some(now - seconds(1)), ..Failing::new(id, acme.id, now - days(6)) };
    app.app.ports().store.commit(vec![Change::insert(&failing)]).await.unwrap();
    receiver.always(Say::Status(500));
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    assert_eq!(app.stored_endpoint(&acme, &endpoint).await.disabled, None);
}

#[tokio::test]
async fn a_secret_that_does_not_open_is_an_attempt_and_not_the_endpoints_fault() {
    let (app, acme, receiver, endpoint) = stage().await;
    let other = app.endpoint(&acme.live, json!({ "url": receiver.url(), "events": ["message.*"] })).await;
    let other = app.stored_endpoint(&acme, &other).await;
    let mut damaged = app.stored_endpoint(&acme, &endpoint).await;
    damaged.keys[0].sealed = other.keys[0].sealed.clone();
    app.app.ports().store.commit(vec![Change::replace(&damaged)]).await.unwrap();
    app.app.forget(Changed::Tenant(acme.id));
    app.uses_up(&acme).await;
    assert_eq!(app.run_webhooks().await, [Attempted::Again]);
    let attempts = app.attempts(&acme.live, &endpoint, "").await;
    assert_eq!(attempts[0]["attempts"][0]["error"], "the platform could not send it");
    app.clock.advance(days(6));
    app.run_webhooks().await;
    app.uses_up(&acme).await;
    app.run_webhooks().await;
    assert_eq!(app.stored_endpoint(&acme, &endpoint).await.disabled, None);
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_rotation_ends_no_secret_before_its_day_is_over() {
    let (app, acme, _receiver, endpoint) = stage().await;
    for _ in 1..KEYS_MAX {
        app.of_endpoint(&endpoint, "rotate").key(&acme.live).await.expect(200);
    }
    app.of_endpoint(&endpoint, "rotate").key(&acme.live).await.problem(409, "limit_reached");
    assert_eq!(app.stored_endpoint(&acme, &endpoint).await.keys.len(), KEYS_MAX);
    app.clock.advance(days(1));
    app.of_endpoint(&endpoint, "rotate").key(&acme.live).await.expect(200);
}

#[tokio::test]
async fn what_a_tenant_wrote_as_a_url_is_read_by_all_as_it_is_called() {
    let (app, acme, _receiver, _endpoint) = stage().await;
    let endpoint = app.endpoint(&acme.live, json!({ "url": "https:\\\\Example.com\\a-secret" })).await;
    assert_eq!(endpoint["endpoint"]["url"], "https://example.com/a-secret");
    let owner = app.member(&acme, Role::Owner).await;
    let log = app.get("/v1/audit?action=webhook_endpoint.create").by(&owner).await.expect(200).to_string();
    assert!(log.contains("example.com") && !log.contains("a-secret"), "{log}");
    app.run_jobs().await;
}
