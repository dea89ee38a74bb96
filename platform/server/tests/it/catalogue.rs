//! The catalogue of events promises nothing that does not happen: there is a scene for each kind.

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::domain::dispatch::{DeliveryFailure, Receipt};
use wotp_core::domain::event::EventKind;
use wotp_core::ports::Item;

use crate::app::{NUMBER, TestApp, TestTenant, id, path, seconds};
use crate::guard;
use crate::sessions;
use crate::webhooks::{Say, stage};

const CONTENT: &str = "Your parcel is at the door.";

/// Somewhere this kind of thing happened. A kind that is added does not compile until it is here.
async fn scene(kind: EventKind) -> (TestApp, TestTenant) {
    match kind {
        EventKind::VerificationStarted | EventKind::VerificationSent => started().await.0,
        EventKind::VerificationDelivered => {
            let ((app, acme), verification) = started().await;
            let read = app.read(&acme.live, &verification).await;
            delivered(&app, &acme, Item::Verification(id(&verification).parse().unwrap()), &read).await;
            (app, acme)
        }
        EventKind::VerificationApproved => {
            let ((app, acme), verification) = started().await;
            let code = app.outbox.last().code;
            app.checking(&acme.live, &verification, &code).await.expect(200);
            (app, acme)
        }
        EventKind::VerificationFailed => {
            let (app, acme) = heard().await;
            no_channel_takes_it(&app);
            app.started(&acme.live, NUMBER).await;
            (app, acme)
        }
        EventKind::VerificationExpired => {
            let ((app, acme), _) = started().await;
            app.clock.advance(seconds(3600));
            assert_eq!(app.sweep().await.expired, 1);
            (app, acme)
        }
        EventKind::VerificationCanceled => {
            let ((app, acme), verification) = started().await;
            app.post(format!("{}/cancel", path(&verification))).key(&acme.live).await.expect(200);
            (app, acme)
        }
        EventKind::VerificationBlocked => {
            let (app, acme) = heard().await;
            guard::set(&app, &acme, json!({ "mode": "on", "countries": { "blocked": ["US"] } })).await;
            app.starting(&acme.live, json!({ "to": NUMBER })).await.expect(201);
            (app, acme)
        }
        EventKind::MessageSent => messaged(|_| ()).await.0,
        EventKind::MessageDelivered => {
            let ((app, acme), message) = messaged(|_| ()).await;
            let read = app.get(format!("/v1/messages/{}", id(&message))).key(&acme.live).await.expect(200);
            delivered(&app, &acme, Item::Message(id(&message).parse().unwrap()), &read).await;
            (app, acme)
        }
        EventKind::MessageFailed => messaged(no_channel_takes_it).await.0,
        EventKind::QuotaThreshold => {
            let app = TestApp::with().plan("limits = { verifications_month = 1 }").start().await;
            let acme = app.tenant("Acme").await;
            listed(&app, &acme, kind).await;
            app.started(&acme.live, NUMBER).await;
            (app, acme)
        }
        EventKind::GuardDestinationSlowed | EventKind::GuardDestinationBlocked => {
            let (app, acme, _) = guard::blocked("on").await;
            (app, acme)
        }
        EventKind::GuardDestinationReleased => {
            let (app, acme, _) = guard::blocked("on").await;
            let destinations = format!("{}/destinations", guard::guard_of(&acme));
            let all = app.get(&destinations).key(&acme.live).await.expect(200);
            app.post(format!("{destinations}/{}/release", id(&all["data"][0]))).key(&acme.live).await.expect(200);
            (app, acme)
        }
        EventKind::WebhookEndpointDisabled => {
            let (app, acme, receiver, _) = stage().await;
            receiver.say([Say::Status(410)]);
            app.uses_up(&acme).await;
            app.run_webhooks().await;
            (app, acme)
        }
        EventKind::ConnectionConnected
        | EventKind::ConnectionDisconnected
        | EventKind::ConnectionLoggedOut
        | EventKind::ConnectionReplaced
        | EventKind::ConnectionBanned
        | EventKind::ConnectionHealth => sessions::everything_befell().await,
        EventKind::TenantAccessedByOperator => {
            let (app, acme) = heard().await;
            let operator = app.operator().await;
            let access = app.request(Method::POST, format!("/operator/v1/tenants/{}/accesses", acme.id));
            access.by(&operator).json(json!({ "reason": "you asked", "minutes": 5 })).await.expect(201);
            (app, acme)
        }
        EventKind::TenantSuspended | EventKind::TenantResumed => {
            let (app, acme) = heard().await;
            let (operator, tenant) = (app.operator().await, format!("/operator/v1/tenants/{}", acme.id));
            let suspend = app.post(format!("{tenant}/suspend")).by(&operator).json(json!({ "reason": "unpaid" }));
            suspend.await.expect(200);
            // Who is suspended lists nothing.
            app.post(format!("{tenant}/resume")).by(&operator).await.expect(200);
            (app, acme)
        }
        EventKind::TenantPlanChanged => {
            let (app, acme) = heard().await;
            let operator = app.operator().await;
            let change = app.request(Method::PATCH, format!("/operator/v1/tenants/{}", acme.id)).by(&operator);
            change.json(json!({ "plan": "pro" })).await.expect(200);
            (app, acme)
        }
        EventKind::WebhookTest => {
            let (app, acme, _receiver, endpoint) = stage().await;
            app.of_endpoint(&endpoint, "test").key(&acme.live).await.expect(202);
            app.run_webhooks().await;
            (app, acme)
        }
    }
}

/// A tenant whose events somebody reads.
async fn heard() -> (TestApp, TestTenant) {
    let (app, acme) = TestApp::start_with_tenant().await;
    listed(&app, &acme, EventKind::WebhookTest).await;
    (app, acme)
}

/// A verification that went out.
async fn started() -> ((TestApp, TestTenant), Value) {
    let (app, acme) = heard().await;
    let (verification, _) = app.started(&acme.live, NUMBER).await;
    ((app, acme), verification)
}

/// A message that went out, unless `before` sees to something else.
async fn messaged(before: impl FnOnce(&TestApp)) -> ((TestApp, TestTenant), Value) {
    let (app, acme) = heard().await;
    before(&app);
    let message = app.post("/v1/messages").key(&acme.live).json(json!({ "to": NUMBER, "content": CONTENT }));
    let message = message.await.expect(201);
    app.run_jobs().await;
    ((app, acme), message)
}

fn no_channel_takes_it(app: &TestApp) {
    app.outbox.refuses_next(DeliveryFailure::InvalidRecipient);
    app.spare.refuses_next(DeliveryFailure::InvalidRecipient);
}

async fn delivered(app: &TestApp, acme: &TestTenant, item: Item, read: &Value) {
    let delivery = id(&read["deliveries"][0]).parse().unwrap();
    assert!(app.app.record_receipt(acme.id, item, delivery, Receipt::Delivered).await.unwrap());
}

/// What the tenant is told of a kind.
async fn listed(app: &TestApp, acme: &TestTenant, kind: EventKind) -> Vec<Value> {
    let page = app.get(format!("/v1/events?type={}", kind.name())).key(&acme.live).await.expect(200);
    page["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn every_kind_of_event_happens_and_names_no_person() {
    for kind in EventKind::ALL {
        let (app, acme) = scene(*kind).await;
        while app.app.fold(50).await.unwrap().taken > 0 {}
        let told = listed(&app, &acme, *kind).await;
        assert!(!told.is_empty(), "{}", kind.name());
        let text = Value::from(told).to_string();
        for secret in [&NUMBER[1..], CONTENT, "example.com"] {
            assert!(!text.contains(secret), "{}: {text}", kind.name());
        }
    }
}
