//! Webhooks, as an endpoint sees them.

mod alone;
mod delivering;
mod endpoints;
mod noticing;
mod receiver;
mod replaying;
mod scheduling;
mod signatures;
mod standing;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::{Attempted, HeldWebhook};
use wotp_core::domain::Timestamp;
use wotp_core::domain::event::{Event, Fact, QuotaData, VerificationData};
use wotp_core::domain::id::{ServiceId, TenantId};
use wotp_core::domain::magic_link;
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::domain::verification::Status;
use wotp_core::ports::{Change, Clock as _, Entity, EntityList, EntityRow, Owner, Stored};

use crate::app::{TestApp, TestTenant, days, id};
pub use receiver::{Received, Receiver, Say};

impl TestApp {
    /// An endpoint of a tenant, as it was created.
    pub async fn endpoint(&self, key: &str, body: Value) -> Value {
        self.post("/v1/webhooks/endpoints").key(key).json(body).await.expect(201)
    }

    /// A live verification is approved, as far as events go; says the event's id.
    pub async fn event(&self, tenant: &TestTenant, verification: &Value) -> String {
        let now = self.app.ports().clock.now();
        let fact = Fact::VerificationApproved(VerificationData {
            id: id(verification).parse().unwrap(),
            service: tenant.service,
            method: magic_link::Method::Code,
            status: Status::Approved,
            reason: None,
            channel: None,
            country: None,
            test_mode: false,
            checks_used: 1,
            sends_used: 1,
            created_at: now,
            expires_at: now,
            ended_at: Some(now),
        });
        self.happens(tenant.id, Some(tenant.service), &fact).await
    }

    /// As far back as events are kept.
    pub fn long_ago(&self) -> Timestamp {
        self.clock.now() - days(30)
    }

    /// Something happens.
    pub async fn happens(&self, tenant: TenantId, service: Option<ServiceId>, fact: &Fact) -> String {
        let ports = self.app.ports();
        let event = Event::new(tenant, service, fact, ports.clock.now(), &*ports.entropy);
        ports.store.commit(vec![Change::insert(&event)]).await.unwrap();
        event.id.to_string()
    }

    /// Most of a tenant's quota is used up, as far as events go.
    pub async fn uses_up(&self, tenant: &TestTenant) -> String {
        let (resource, window) = (Resource::Verifications, WindowKind::Month);
        let resets_at = self.app.ports().clock.now();
        let data = QuotaData { resource, window, percent: 80, used: 80, limit: 100, resets_at };
        self.happens(tenant.id, None, &Fact::QuotaThreshold(data)).await
    }

    /// What is to be done for webhooks now.
    pub async fn take_webhooks(&self) -> Looked {
        let mut held = Vec::new();
        let taken = self.app.take_webhooks(256, |one| held.push(one)).await.expect("what is due");
        Looked { held, more: taken.more }
    }

    /// Takes and calls once; says what came of it, and whether there is more.
    pub async fn run_webhooks_once(&self) -> (Vec<Attempted>, bool) {
        let looked = self.take_webhooks().await;
        let attempts = looked.held.into_iter().map(|held| self.app.attempt_webhook(held));
        let attempted = futures_util::future::join_all(attempts).await;
        (attempted.into_iter().map(|attempted| attempted.expect("an attempt")).collect(), looked.more)
    }

    /// Does what is due for webhooks until nothing is.
    pub async fn run_webhooks(&self) -> Vec<Attempted> {
        let mut done = Vec::new();
        loop {
            let replaying = self.app.step_replays().await.expect("what is to be replayed");
            let (attempted, more) = self.run_webhooks_once().await;
            if attempted.is_empty() && !more && !replaying {
                return done;
            }
            done.extend(attempted);
        }
    }

    /// What became of events at an endpoint, newest first.
    pub async fn attempts(&self, key: &str, endpoint: &Value, query: &str) -> Vec<Value> {
        let path = format!("/v1/webhooks/endpoints/{}/attempts?{query}", id(&endpoint["endpoint"]));
        self.get(path).key(key).await.expect(200)["data"].as_array().unwrap().clone()
    }

    /// What a tenant has of a kind, as it is stored.
    async fn rows_of<E: Entity>(&self, tenant: &TestTenant) -> Vec<EntityRow> {
        self.app.ports().store.list_entities(E::KIND, &EntityList::of(Owner::Tenant(tenant.id))).await.unwrap()
    }

    /// From now on a thing has in this field what no program wrote, and is found as before.
    async fn damage<E: Entity>(&self, mut row: EntityRow, field: &str) {
        let before = Stored::<E>::read(row.clone()).unwrap();
        (row.unique, row.listed) = (before.unique(), before.listed());
        row.doc.insert(field.to_owned(), json!("what nobody knew"));
        self.app.ports().store.commit(vec![Change::Replace(row)]).await.unwrap();
    }

    async fn enable(&self, tenant: &TestTenant, endpoint: &Value, enabled: bool) {
        let path = format!("/v1/webhooks/endpoints/{}", id(&endpoint["endpoint"]));
        self.request(Method::PATCH, path).key(&tenant.live).json(json!({ "enabled": enabled })).await.expect(200);
    }

    fn replay_all(&self, tenant: &TestTenant, endpoint: &Value) -> crate::client::Request {
        self.of_endpoint(endpoint, "replay").key(&tenant.live).json(json!({ "since": self.long_ago() }))
    }

    /// An operation on an endpoint.
    pub fn of_endpoint(&self, endpoint: &Value, operation: &str) -> crate::client::Request {
        self.post(format!("/v1/webhooks/endpoints/{}/{operation}", id(&endpoint["endpoint"])))
    }
}

/// What a look found.
pub struct Looked {
    pub held: Vec<HeldWebhook>,
    pub more: bool,
}

/// A tenant with one endpoint that is told of everything.
pub async fn stage() -> (TestApp, TestTenant, Receiver, Value) {
    let (app, acme) = TestApp::start_with_tenant().await;
    let receiver = Receiver::start().await;
    let endpoint = app.endpoint(&acme.live, json!({ "url": receiver.url() })).await;
    (app, acme, receiver, endpoint)
}
