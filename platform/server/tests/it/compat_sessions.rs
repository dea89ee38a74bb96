//! WOTP's paths for WhatsApp sessions, and messages that go out through one of them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::{Wanted, WantedConnect};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::api_key::Scope;
use wotp_core::domain::dispatch::DeliveryStatus;
use wotp_core::domain::live_connection::{LiveStatus, OwnNumber, Shown, ShownCode};
use wotp_core::domain::phone::Phone;
use wotp_core::ports::{Acknowledged, Channel, Outgoing, Owner, SendError, TenantAccount};

use crate::app::{NUMBER, TestApp, TestTenant, id, seconds};
use crate::audit::entries;
use crate::client::Reply;
use crate::qr;
use crate::sessions::{MANY, standing, stands};

/// Through which connection each message went out.
#[derive(Default)]
struct Sessions(Mutex<Vec<Option<String>>>);

impl Sessions {
    fn take(&self) -> Vec<Option<String>> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

#[async_trait]
impl Channel for Sessions {
    fn name(&self) -> &'static str {
        "whatsapp"
    }

    fn reaches(&self) -> &[AddressKind] {
        &[AddressKind::Phone]
    }

    fn keeps_accounts(&self) -> bool {
        true
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        self.0.lock().unwrap().push(outgoing.connection.map(|id| id.to_string()));
        Ok(Acknowledged { provider_id: None, reached: DeliveryStatus::Sent, cost: None })
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
}

struct Stage {
    app: TestApp,
    acme: TestTenant,
    sent: Arc<Sessions>,
}

impl Stage {
    async fn set(limits: &str) -> Self {
        let sent = Arc::<Sessions>::default();
        let app = TestApp::with().plan(limits).channel(sent.clone()).start().await;
        let acme = tenant(&app, "Acme").await;
        Self { app, acme, sent }
    }

    async fn connect(&self, key: &str, body: Value) -> Reply {
        self.app.post("/api/whatsapp/connect").key(key).json(body).await
    }

    /// The id of a session that is to be connected.
    async fn connected(&self, key: &str, session: &str) -> String {
        let asked = json!({ "sessionId": session, "acceptRisk": true });
        self.connect(key, asked).await.expect(200)["connectionId"].as_str().unwrap().to_owned()
    }

    async fn status(&self, key: &str, query: &str) -> Reply {
        self.app.get(format!("/api/whatsapp/status{query}")).key(key).await
    }

    async fn send(&self, key: &str, session: &str) -> Reply {
        let body = json!({ "phone": NUMBER, "content": "Hello", "sessionId": session });
        self.app.post("/api/message/send").key(key).json(body).await
    }

    async fn listed(&self, key: &str) -> Vec<Value> {
        self.app.get("/v1/connections").key(key).await.expect(200)["data"].as_array().unwrap().clone()
    }
}

async fn tenant(app: &TestApp, name: &str) -> TestTenant {
    let mut tenant = app.tenant(name).await;
    tenant.live = app.key(&tenant, |_| {}).await;
    tenant
}

/// The details of an error in WOTP's shape.
#[track_caller]
fn details(reply: &Reply, status: u16) -> String {
    reply.expect(status)["details"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_session_is_made_when_the_risk_is_accepted_and_once_and_connects_and_rests() {
    let Stage { app, acme, .. } = &Stage::set(MANY).await;
    let connect = |body| app.post("/api/whatsapp/connect").key(&acme.live).json(body);
    let refused = details(&connect(json!({ "sessionId": "support" })).await, 400);
    assert!(refused.contains("`acceptRisk`: is to be true once"), "{refused}");
    let connections = || app.get("/v1/connections").key(&acme.live);
    assert_eq!(connections().await.expect(200)["data"], json!([]), "nothing was made");

    let asked = || connect(json!({ "sessionId": "support", "acceptRisk": true, "phone": NUMBER }));
    let all = futures_util::future::join_all((0..6).map(|_| async { asked().await })).await;
    // Of two that change one thing at a moment one may come again.
    let made: Vec<Value> = all.iter().filter(|reply| reply.status == 200).map(|reply| reply.expect(200)).collect();
    assert!(!made.is_empty());
    let listed = connections().await.expect(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1, "{listed}");
    let connection = id(&listed["data"][0]).to_owned();
    let first = &made[0];
    assert_eq!((&first["success"], &first["sessionId"]), (&json!(true), &json!("support")));
    assert_eq!((&first["connectionId"], &first["status"]), (&json!(connection), &json!("unpaired")));
    assert_eq!(first["message"], "it is about to show what links your phone");
    let of = TenantAccount { tenant: acme.id, connection: connection.parse().unwrap() };
    let (asked_at, code_for) = (Some(app.app.ports().clock.now()), Some(Phone::parse(NUMBER).unwrap()));
    let wanted = app.app.wanted_connections().await.unwrap();
    assert_eq!(wanted, [(of, Wanted::Connect(WantedConnect { asked_at, code_for }))]);
    let wrong = details(&connect(json!({ "sessionId": "support", "phone": "12" })).await, 400);
    assert!(wrong.starts_with("`phone`"), "{wrong}");

    let end = || app.post("/api/whatsapp/disconnect").key(&acme.live).json(json!({ "sessionId": "support" }));
    let ended = end().await.expect(200);
    assert_eq!((&ended["success"], &ended["sessionId"]), (&json!(true), &json!("support")));
    assert!(app.app.wanted_connections().await.unwrap().is_empty());
    end().await.expect(200);
    // The risk is accepted, and it is the only one: from now on without a word.
    app.post("/api/whatsapp/connect").key(&acme.live).await.expect(200);
    assert_eq!(app.app.wanted_connections().await.unwrap().len(), 1);
    let log = entries(app, Owner::Tenant(acme.id)).await;
    let actions: Vec<_> = log.iter().filter_map(|entry| entry["action"].as_str()).collect();
    assert_eq!(actions.iter().filter(|action| **action == "connection.create").count(), 1, "{actions:?}");
    let last = &actions[actions.len() - 2..];
    assert_eq!(last, ["connection.disconnect", "connection.connect"]);
}

#[tokio::test]
async fn where_a_session_stands_is_told_by_name_or_id_and_what_links_a_phone_to_whoever_may_link_one() {
    let stage = Stage::set(MANY).await;
    let (app, acme) = (&stage.app, &stage.acme);
    let connection = stage.connected(&acme.live, "support").await;
    let of = TenantAccount { tenant: acme.id, connection: connection.parse().unwrap() };
    let mut pairing = standing(app, LiveStatus::Pairing);
    let expires_at = pairing.since + seconds(20);
    pairing.qr = Some(Shown { text: "2@abc,def".to_owned(), expires_at });
    pairing.code = Some(ShownCode { text: "ABCD1234".to_owned(), expires_at, number: None });
    stands(app, of, &pairing).await;
    for query in ["".to_owned(), "?sessionId=support".to_owned(), format!("?sessionId={connection}")] {
        let seen = stage.status(&acme.live, &query).await.expect(200);
        assert_eq!((&seen["success"], &seen["status"]), (&json!(true), &json!("pairing")), "{query}");
        assert_eq!((&seen["qr"], &seen["pairCode"]), (&json!("2@abc,def"), &json!("ABCD1234")));
        assert_eq!(qr::of_png(&seen["qrImage"]), qr::of_text("2@abc,def"));
    }
    let reader = app.key(acme, |settings| settings.scopes = [Scope::ConnectionsRead].into()).await;
    let seen = stage.status(&reader, "").await.expect(200);
    assert_eq!((&seen["status"], &seen["qr"], &seen["qrImage"]), (&json!("pairing"), &Value::Null, &Value::Null));
    assert_eq!(seen["pairCode"], Value::Null);
    stage.connect(&reader, json!({})).await.expect(403);
    app.post("/api/whatsapp/disconnect").key(&reader).await.expect(403);

    let mut connected = standing(app, LiveStatus::Connected);
    connected.number = Some(OwnNumber("12025550100".to_owned()));
    stands(app, of, &connected).await;
    let seen = stage.status(&acme.live, "").await.expect(200);
    assert_eq!((&seen["status"], &seen["phone"]), (&json!("connected"), &json!("+12025550100")));
    assert_eq!((&seen["message"], &seen["sessionId"]), (&json!("WhatsApp is connected"), &json!("support")));
}

#[tokio::test]
async fn without_a_name_it_is_the_only_one_and_of_several_one_is_to_be_named() {
    let stage = Stage::set("limits = { connections = 2 }").await;
    let (app, key) = (&stage.app, &stage.acme.live);
    let none = stage.status(key, "").await.expect(200);
    assert_eq!((&none["success"], &none["status"]), (&json!(true), &json!("disconnected")));
    assert_eq!((&none["sessionId"], &none["connectionId"]), (&Value::Null, &Value::Null));
    let ended = app.post("/api/whatsapp/disconnect").key(key).await.expect(200);
    assert_eq!(ended["status"], "disconnected");
    stage.status(key, "?sessionId=support").await.expect(404);
    app.post("/api/whatsapp/disconnect").key(key).json(json!({ "sessionId": "support" })).await.expect(404);

    let first = stage.connect(key, json!({ "acceptRisk": true })).await.expect(200);
    assert_eq!(first["sessionId"], "whatsapp");
    assert_eq!(stage.status(key, "").await.expect(200)["sessionId"], "whatsapp");
    let sales = stage.connected(key, "sales").await;
    for reply in [
        stage.status(key, "").await,
        stage.connect(key, json!({ "acceptRisk": true })).await,
        app.post("/api/whatsapp/disconnect").key(key).await,
    ] {
        let said = details(&reply, 400);
        assert!(said.starts_with("`sessionId`: is missing") && said.contains(&format!("`sales` ({sales})")), "{said}");
    }
    // No more than the plan allows.
    let full = stage.connect(key, json!({ "sessionId": "more", "acceptRisk": true })).await;
    assert_eq!(full.expect(400)["error"], "There are as many as there may be");
    // An id that is nobody's is no name.
    let id = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M";
    app.request(Method::DELETE, format!("/v1/connections/{sales}")).key(key).await.done();
    stage.connect(key, json!({ "sessionId": id, "acceptRisk": true })).await.expect(404);
    assert_eq!(stage.listed(key).await.len(), 1);
}

#[tokio::test]
async fn a_session_of_another_tenant_is_none_and_a_name_is_each_tenants_own() {
    let stage = Stage::set(MANY).await;
    let (app, acme) = (&stage.app, &stage.acme);
    let theirs = stage.connected(&acme.live, "support").await;
    let globex = tenant(app, "Globex").await;
    for session in ["support", &theirs] {
        stage.status(&globex.live, &format!("?sessionId={session}")).await.expect(404);
        let end = app.post("/api/whatsapp/disconnect").key(&globex.live).json(json!({ "sessionId": session }));
        end.await.expect(404);
        assert_eq!(stage.send(&globex.live, session).await.expect(404)["error"], "There is no such thing");
    }
    stage.connect(&globex.live, json!({ "sessionId": theirs, "acceptRisk": true })).await.expect(404);
    let own = stage.connected(&globex.live, "support").await;
    assert_ne!(own, theirs);
    stage.send(&globex.live, "support").await.expect(200);
    app.run_jobs().await;
    assert_eq!(stage.sent.take(), [Some(own)]);
    assert_eq!(stage.listed(&acme.live).await.len(), 1);
    // Whose channel is not there makes none.
    let (bare, initech) = TestApp::start_with_tenant().await;
    let key = bare.key(&initech, |_| {}).await;
    let asked = json!({ "sessionId": "support", "acceptRisk": true });
    let refused = bare.post("/api/whatsapp/connect").key(&key).json(asked).await;
    assert!(details(&refused, 400).contains("there is no channel `whatsapp` here"));
}

#[tokio::test]
async fn a_message_goes_out_through_the_session_that_is_named_and_through_no_other() {
    let stage = Stage::set("limits = { connections = 4 }").await;
    let (app, key) = (&stage.app, &stage.acme.live);
    let support = stage.connected(key, "support").await;
    let sales = stage.connected(key, "sales").await;
    let sent = stage.send(key, "sales").await.expect(200);
    assert_eq!(sent, json!({ "success": true, "message": "Message queued", "phone": NUMBER }));
    stage.send(key, &support).await.expect(200);
    let message = |body: Value| app.post("/v1/messages").key(key).json(body);
    let said = json!({ "to": NUMBER, "content": "Hello", "connection": "sales" });
    let named = message(said.clone()).await.expect(201);
    assert_eq!(named["connection"], json!(sales));
    let any = message(json!({ "to": NUMBER, "content": "Hello", "channels": ["whatsapp"] })).await.expect(201);
    assert_eq!(any["connection"], Value::Null);
    app.run_jobs().await;
    assert_eq!(stage.sent.take(), [Some(sales.clone()), Some(support.clone()), Some(sales.clone()), None]);
    let read = app.get(format!("/v1/messages/{}", id(&named))).key(key).await.expect(200);
    assert_eq!((&read["connection"], &read["channel"]), (&json!(sales), &json!("whatsapp")));

    // What cannot be: nothing is sent, and not through another.
    stage.send(key, "nobody").await.expect(404);
    let with_channels = json!({ "to": NUMBER, "content": "Hello", "connection": "sales", "channels": ["whatsapp"] });
    let refused = message(with_channels).await.expect(422);
    assert_eq!(refused["errors"][0]["field"], "channels");
    let to_email = json!({ "to": "ada@example.com", "content": "Hello", "connection": "sales" });
    assert_eq!(message(to_email).await.expect(422)["code"], "no_channel");
    app.post("/api/whatsapp/disconnect").key(key).json(json!({ "sessionId": "sales" })).await.expect(200);
    assert_eq!(stage.send(key, "sales").await.expect(403)["error"], "No number that can send is connected");
    assert_eq!(message(said).await.expect(422)["code"], "not_connected");
    // Two of one name.
    let renamed = app.request(Method::PATCH, format!("/v1/connections/{sales}")).key(key);
    renamed.json(json!({ "name": "support" })).await.expect(200);
    let which = details(&stage.send(key, "support").await, 400);
    assert!(which.contains("`sessionId`: is what several of them are called"), "{which}");
    let bound = app.key(&stage.acme, |settings| settings.service = Some(stage.acme.service)).await;
    stage.send(&bound, &support).await.expect(403);
    // With a test key it is looked for, and nothing reaches it.
    stage.send(&stage.acme.test, "nobody").await.expect(404);
    stage.send(&stage.acme.test, &support).await.expect(200);
    app.run_jobs().await;
    assert_eq!(stage.sent.take(), []);
}
