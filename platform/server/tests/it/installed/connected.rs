//! Tenants that bring accounts of their own: messages go out through those, and through nobody else's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wotp_core::domain::permission::Role;

use super::{ADA, Gateway, ORIGIN, Stage, TOKEN, component};
use crate::app::{TestTenant, id, number, seconds};
use crate::audit::{CONNECTIONS, entries, tell};
use crate::client::Request;
use crate::loopback::Loopback;

impl Stage {
    /// A plugin that is on for all, as the channel `sms`, to which tenants bring accounts.
    pub(super) async fn on(&self, name: &str, hosts: &[String], connections: &str) -> String {
        self.runs(&component(name), hosts, connections).await
    }

    /// The same, of a component.
    pub(super) async fn runs(&self, component: &[u8], hosts: &[String], connections: &str) -> String {
        let installed = self.installing(component, json!({ "channel": "sms" })).await.expect(201);
        let plugin = format!("/{}", id(&installed));
        let approval = json!({ "hosts": hosts, "settings": { "connections": connections } });
        self.post(&format!("{plugin}/approve"), approval).await.expect(200);
        self.post(&format!("{plugin}/enable"), json!({})).await.expect(200);
        plugin
    }

    /// A tenant with a key that may lead its codes through another account, which no key may by itself.
    pub(super) async fn tenant_who_connects(&self, name: &str) -> TestTenant {
        let tenant = self.app.tenant(name).await;
        let live = self.app.key(&tenant, |_| {}).await;
        TestTenant { live, ..tenant }
    }

    pub(super) fn connecting(&self, tenant: &TestTenant, body: &Value) -> Request {
        self.app.post("/v1/connections").key(&tenant.live).json(body.clone())
    }

    pub(super) fn of_connection(&self, method: Method, tenant: &TestTenant, connection: &Value) -> Request {
        self.app.request(method, format!("/v1/connections/{}", id(connection))).key(&tenant.live)
    }

    /// Has the account of a connection looked at.
    pub(super) fn checking(&self, tenant: &TestTenant, connection: &Value) -> Request {
        self.app.post(format!("/v1/connections/{}/check", id(connection))).key(&tenant.live)
    }

    /// What becomes of a verification of somebody else each time through the channel `sms`.
    pub(super) async fn delivery_of(&self, tenant: &TestTenant) -> Value {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let body = json!({ "to": number(NEXT.fetch_add(1, Ordering::Relaxed)), "channels": ["sms"] });
        let verification = self.app.starting(&tenant.live, body).await.expect(201);
        self.app.run_jobs().await;
        self.app.read(&tenant.live, &verification).await["deliveries"][0].clone()
    }
}

/// An account at a gateway, for a connection to `sms`.
fn account(gateway: &Gateway, token: &str) -> Value {
    let mut body = json!({ "channel": "sms", "config": gateway.settings()["config"], "secrets": { "token": token } });
    body["name"] = json!("Our gateway");
    body
}

#[tokio::test]
async fn each_tenant_sends_through_its_own_account_and_those_who_have_none_do_not_have_the_channel() {
    let stage = Stage::set().await;
    let (acme, globex) = (stage.tenant_who_connects("Acme").await, stage.tenant_who_connects("Globex").await);
    let (a, b) = (Gateway::start().await, Gateway::start().await);
    stage.on("generic_http", &[a.host(), b.host()], "required").await;
    let start = |tenant: &TestTenant| stage.app.starting(&tenant.live, json!({ "to": ADA, "channels": ["sms"] }));
    let problem = start(&acme).await.expect(422);
    assert!(problem.to_string().contains("there is no channel `sms` here"), "{problem}");

    // What to connect is told, and how.
    let channels = stage.app.get("/v1/channels").key(&acme.live).await.expect(200);
    let sms = channels["data"].as_array().unwrap().iter().find(|channel| channel["name"] == "sms").unwrap();
    assert_eq!((&sms["connections"], &sms["connection"]), (&json!("required"), &Value::Null));
    assert_eq!(sms["config_schema"]["type"], "object");
    assert!(sms["secrets"].as_array().unwrap().iter().any(|secret| secret["name"] == "token"), "{sms}");

    let made = stage.connecting(&acme, &account(&a, "t0ken-of-acme")).await.expect(201);
    assert_eq!((&made["secrets"], &made["problem"]), (&json!(["token"]), &Value::Null));
    stage.connecting(&globex, &account(&b, "t0ken-of-globex")).await.expect(201);
    for (tenant, gateway, token) in [(&acme, &a, "t0ken-of-acme"), (&globex, &b, "t0ken-of-globex")] {
        assert_eq!(stage.delivery_of(tenant).await["status"], "sent");
        let [came] = &gateway.came()[..] else { panic!("one message came") };
        assert_eq!(came.headers["authorization"], format!("Bearer {token}"));
    }
    // Nothing but the gateway ever sees a secret.
    let read = stage.of_connection(Method::GET, &acme, &made).await.expect(200);
    assert!(!read.to_string().contains("t0ken"), "{read}");
    for (name, row) in stage.app.stolen() {
        assert!(!String::from_utf8_lossy(&row).contains("t0ken-of"), "{name} holds a secret as it is");
    }
    // Another tenant's is not there.
    stage.of_connection(Method::GET, &globex, &made).await.problem(404, "not_found");
    stage.of_connection(Method::DELETE, &globex, &made).await.problem(404, "not_found");
    // Deleted, the channel is not there any more, at once.
    stage.of_connection(Method::DELETE, &acme, &made).await.expect(204);
    start(&acme).await.expect(422);
    assert_eq!(stage.delivery_of(&globex).await["status"], "sent");
}

#[tokio::test]
async fn where_it_is_optional_the_operators_account_is_for_all_others() {
    let stage = Stage::set().await;
    let acme = stage.tenant_who_connects("Acme").await;
    let (own, operators) = (Gateway::start().await, Gateway::start().await);
    let plugin = stage.deliver_through(&operators).await;
    stage.post(&format!("{plugin}/approve"), json!({ "hosts": [operators.host(), own.host()] })).await.expect(200);
    let problem = stage.connecting(&acme, &account(&own, "own")).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("none that you can connect"), "{problem}");
    stage.call(Method::PATCH, &plugin, json!({ "connections": "optional" })).await.expect(200);

    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    let connection = stage.connecting(&acme, &account(&own, "own")).await.expect(201);
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    // Changed, it is another at once; and what is not named stays.
    let change = |body: Value| stage.of_connection(Method::PATCH, &acme, &connection).json(body);
    change(json!({ "secrets": { "token": "another" } })).await.expect(200);
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    let tokens = |gateway: &Gateway| {
        gateway.came().iter().map(|came| came.headers["authorization"].to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(tokens(&own), ["Bearer own", "Bearer another"]);
    // The plugin's own secret is not lent to what a tenant wrote.
    change(json!({ "secrets": { "token": null } })).await.expect(200);
    stage.delivery_of(&acme).await;
    assert!(own.came().iter().all(|came| !format!("{:?}", came.headers).contains(TOKEN)));
    stage.of_connection(Method::DELETE, &acme, &connection).await.expect(204);
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    assert_eq!(tokens(&operators), [format!("Bearer {TOKEN}"), format!("Bearer {TOKEN}")]);
}

#[tokio::test]
async fn what_does_not_hold_is_not_kept_and_said_why() {
    let stage = Stage::set().await;
    let acme = stage.tenant_who_connects("Acme").await;
    let gateway = Gateway::start().await;
    let plugin = stage.on("generic_http", &[gateway.host()], "required").await;
    let good = account(&gateway, "own");
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for (body, field) in [
        (with("channel", json!("console")), "channel"),
        (with("channel", json!("nothing")), "channel"),
        (with("name", json!("")), "name"),
        (with("config", json!({})), "config"),
        (with("config", json!({ "url": "http://x.example/", "no-such": 1 })), "config"),
        (with("secrets", json!({ "pin": "1" })), "secrets.pin"),
        (with("secrets", json!({ "token": "" })), "secrets.token"),
        (with("secrets", json!({ "token": "x".repeat(4097) })), "secrets.token"),
        (with("more", json!(1)), "more"),
    ] {
        let problem = stage.connecting(&acme, &body).await.expect(422);
        assert_eq!(problem["errors"][0]["field"], field, "{body}: {problem}");
    }
    let list = async || stage.app.get("/v1/connections").key(&acme.live).await.expect(200)["data"].clone();
    assert_eq!(list().await, json!([]));
    // The operator gives nothing where tenants have to.
    let given = stage.call(Method::PATCH, &plugin, gateway.settings()).await.expect(422);
    assert_eq!(given["errors"][0]["field"], "connections", "{given}");

    let made = stage.connecting(&acme, &good).await.expect(201);
    let problem = stage.connecting(&acme, &good).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains(id(&made)), "{problem}");
    for body in [json!({ "config": {} }), json!({ "secrets": { "pin": "1" } }), json!({ "name": "\u{202e}" })] {
        stage.of_connection(Method::PATCH, &acme, &made).json(body).await.expect(422);
    }
    assert_eq!(list().await, json!([made]));
}

#[tokio::test]
async fn it_is_for_those_who_may() {
    let stage = Stage::set().await;
    let acme = stage.tenant_who_connects("Acme").await;
    let gateway = Gateway::start().await;
    stage.on("generic_http", &[gateway.host()], "required").await;
    let body = account(&gateway, "own");
    // A key has it only if it was asked for: whoever steals it would read the codes.
    let standard = stage.app.key(&acme, |key| key.scopes = wotp_core::domain::api_key::Scope::standard()).await;
    let connect = || stage.app.post("/v1/connections").json(body.clone());
    connect().key(&standard).await.problem(403, "scope_missing");
    stage.app.get("/v1/connections").key(&standard).await.expect(200);
    let bound = stage.app.key(&acme, |key| key.service = Some(acme.service)).await;
    connect().key(&bound).await.problem(403, "service_not_allowed");
    let viewer = stage.app.member(&acme, Role::Viewer).await;
    assert_eq!(connect().by(&viewer).await.status, 403);
    connect().await.problem(401, "api_key_missing");
    let developer = stage.app.member(&acme, Role::Developer).await;
    connect().by(&developer).await.expect(201);
}

#[tokio::test]
async fn a_plan_says_how_many_and_of_those_who_come_at_once_no_more_get_one() {
    let stage = Stage::with(|setup| setup.plan("[plans.custom.limits]\nconnections = 1")).await;
    let acme = stage.tenant_who_connects("Acme").await;
    let gateway = Gateway::start().await;
    stage.on("generic_http", &[gateway.host()], "required").await;
    let body = account(&gateway, "own");
    let (a, b, c) =
        tokio::join!(stage.connecting(&acme, &body), stage.connecting(&acme, &body), stage.connecting(&acme, &body));
    let mut statuses = [a.status, b.status, c.status];
    statuses.sort_unstable();
    assert_eq!(statuses[0], 201);
    assert!(statuses[1..].iter().all(|status| [409, 422].contains(status)), "{statuses:?}");
    let list = stage.app.get("/v1/connections").key(&acme.live).await.expect(200);
    assert_eq!(list["data"].as_array().unwrap().len(), 1);

    let twilio = component("twilio_sms");
    let installed = stage.installing(&twilio, json!({ "channel": "twilio" })).await.expect(201);
    let plugin = format!("/{}", id(&installed));
    let approval = json!({ "hosts": [gateway.host()], "settings": { "connections": "required" } });
    stage.post(&format!("{plugin}/approve"), approval).await.expect(200);
    stage.post(&format!("{plugin}/enable"), json!({})).await.expect(200);
    let another = json!({
        "channel": "twilio",
        "config": { "account_sid": SID, "from": "+12025550100" },
        "secrets": { "auth_token": "0123456789abcdef0123456789abcdef" },
    });
    stage.connecting(&acme, &another).await.problem(409, "limit_reached");
    stage.of_connection(Method::DELETE, &acme, &list["data"][0]).await.expect(204);
    stage.connecting(&acme, &another).await.expect(201);
}

#[tokio::test]
async fn what_an_operator_changes_is_said_of_the_connections_that_rest_on_it() {
    let stage = Stage::set().await;
    let acme = stage.tenant_who_connects("Acme").await;
    let (gateway, other) = (Gateway::start().await, Gateway::start().await);
    let plugin = stage.on("generic_http", &[gateway.host(), other.host()], "required").await;
    let made = stage.connecting(&acme, &account(&gateway, "own")).await.expect(201);
    let problem = async || {
        let read = stage.of_connection(Method::GET, &acme, &made).await.expect(200);
        read["problem"].as_str().map(str::to_owned)
    };
    assert_eq!(problem().await, None);
    // Its host is approved no more: what is sent there is refused, at once.
    stage.post(&format!("{plugin}/approve"), json!({ "hosts": [other.host()] })).await.expect(200);
    assert_eq!(stage.delivery_of(&acme).await["status"], "failed");
    assert_eq!(gateway.came().len(), 0);
    stage.post(&format!("{plugin}/approve"), json!({ "hosts": [gateway.host()] })).await.expect(200);
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    stage.post(&format!("{plugin}/disable"), Value::Null).await.expect(200);
    assert!(problem().await.unwrap().contains("switched this channel off"));
    stage.post(&format!("{plugin}/enable"), Value::Null).await.expect(200);
    assert_eq!(problem().await, None);
    // Removed, and another is called the same: that one gets nothing of it.
    stage.post(&format!("{plugin}/disable"), Value::Null).await.expect(200);
    stage.call(Method::DELETE, &plugin, Value::Null).await.expect(204);
    stage.on("generic_http", &[gateway.host()], "required").await;
    assert!(problem().await.unwrap().contains("removed it"));
    stage.app.starting(&acme.live, json!({ "to": ADA, "channels": ["sms"] })).await.expect(422);
    stage.connecting(&acme, &account(&gateway, "new")).await.expect(201);
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
}

#[tokio::test]
async fn another_node_goes_by_a_connection_within_a_second() {
    let stage = Stage::set().await;
    let acme = stage.tenant_who_connects("Acme").await;
    let gateway = Gateway::start().await;
    stage.on("generic_http", &[gateway.host()], "required").await;
    let folder = tempfile::tempdir().unwrap();
    let other = stage.app.fellow_that_runs(super::workshop(&folder));
    other.app.load_plugins().await.expect("it loads");
    let start = || other.starting(&acme.live, json!({ "to": ADA, "channels": ["sms"] }));
    start().await.expect(422);
    let made = stage.connecting(&acme, &account(&gateway, "own")).await.expect(201);
    // It hears nothing of the first: it goes by what it read for a second, and no longer.
    start().await.expect(422);
    other.clock.advance(seconds(1));
    start().await.expect(201);
    stage.app.lose_jobs().await;
    stage.of_connection(Method::DELETE, &acme, &made).await.expect(204);
    other.clock.advance(seconds(1));
    start().await.expect(422);
}

#[tokio::test]
async fn one_goes_back_to_how_tenants_came_to_a_channel_as_well() {
    let stage = Stage::set().await;
    let acme = stage.tenant_who_connects("Acme").await;
    let (gateway, own) = (Gateway::start().await, Gateway::start().await);
    let plugin = stage.deliver_through(&gateway).await;
    stage.installing(&super::released("generic_http", 2), json!({})).await.expect(201);
    let approval = json!({ "hosts": [gateway.host(), own.host()], "settings": { "connections": "required" } });
    stage.post(&format!("{plugin}/approve"), approval).await.expect(200);
    stage.connecting(&acme, &account(&own, "own")).await.expect(201);
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    // What the operator gave before is not used, and can be taken away.
    let bare = stage.call(Method::PATCH, &plugin, json!({ "secrets": { "token": null } })).await.expect(200);
    assert_eq!(bare["connections"], "required");
    let back = stage.post(&format!("{plugin}/roll-back"), Value::Null).await.expect(200);
    assert_eq!(back["connections"], "none");
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    assert_eq!((own.came().len(), gateway.came().len()), (1, 1));
    let forth = stage.post(&format!("{plugin}/roll-back"), Value::Null).await.expect(200);
    assert_eq!(forth["connections"], "required");
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    assert_eq!(own.came().len(), 2);
}

#[tokio::test]
async fn from_required_to_optional_nothing_fails_on_the_way() {
    let stage = Stage::set().await;
    let acme = stage.app.tenant("Acme").await;
    let gateway = Gateway::start().await;
    let plugin = stage.on("generic_http", &[gateway.host()], "required").await;
    let mut given = gateway.settings();
    given["connections"] = json!("optional");
    stage.call(Method::PATCH, &plugin, given).await.expect(200);
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
    let problem = stage.call(Method::PATCH, &plugin, json!({ "connections": "all" })).await.expect(422);
    assert!(problem["errors"][0]["message"].as_str().unwrap().contains("`optional`"), "{problem}");
}

#[tokio::test]
async fn what_a_tenant_needs_no_plugin_for_it_does_while_that_is_off() {
    let stage = Stage::set().await;
    let acme = stage.tenant_who_connects("Acme").await;
    let gateway = Gateway::start().await;
    let plugin = stage.on("generic_http", &[gateway.host()], "required").await;
    let made = stage.connecting(&acme, &account(&gateway, "own")).await.expect(201);
    stage.post(&format!("{plugin}/disable"), Value::Null).await.expect(200);
    let change = |body: Value| stage.of_connection(Method::PATCH, &acme, &made).json(body);
    let problem = change(json!({ "secrets": { "token": "another" } })).await.expect(422);
    assert_eq!(problem["errors"][0]["field"], "config", "{problem}");
    let changed = change(json!({ "name": "Old", "secrets": { "token": null } })).await.expect(200);
    assert_eq!((&changed["name"], &changed["secrets"]), (&json!("Old"), &json!([])));
    assert!(changed["problem"].as_str().unwrap().contains("switched this channel off"), "{changed}");
}

const SID: &str = "AC00000000000000000000000000000000";

/// What came to Twilio: to which account, with which credentials, and the fields.
type Sent = (String, HeaderMap, BTreeMap<String, String>);

/// Accounts at Twilio.
struct Twilio {
    loopback: Loopback,
    sent: Arc<Mutex<Vec<Sent>>>,
}

impl Twilio {
    async fn start() -> Self {
        let sent = Arc::<Mutex<Vec<Sent>>>::default();
        let take = async |State(sent): State<Arc<Mutex<Vec<Sent>>>>,
                          Path(account): Path<String>,
                          headers: HeaderMap,
                          Form(fields): Form<BTreeMap<String, String>>| {
            sent.lock().unwrap().push((account, headers, fields));
            let answer = json!({ "sid": "SM00000000000000000000000000000001", "status": "queued", "error_code": null });
            (StatusCode::CREATED, Json(answer))
        };
        let path = "/2010-04-01/Accounts/{account}/Messages.json";
        let router = Router::new().route(path, post(take)).with_state(Arc::clone(&sent));
        Self { loopback: Loopback::serve(router).await, sent }
    }

    fn account(&self, sid: &str, token: &str) -> Value {
        let api = format!("http://{}", self.loopback.host());
        json!({
            "channel": "sms",
            "config": { "account_sid": sid, "from": "+12025550100", "api": api },
            "secrets": { "auth_token": token },
        })
    }
}

/// A callback, as Twilio signs it for an account. Source: twilio.com/docs/usage/security.
fn told(stage: &Stage, url: &str, token: &str) -> Request {
    let data = format!("{url}MessageSidSM1MessageStatusdelivered");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, token.as_bytes());
    let signature = STANDARD.encode(ring::hmac::sign(&key, data.as_bytes()));
    let path = url.strip_prefix(ORIGIN).unwrap().to_owned();
    let request = stage.app.post(path).bytes("MessageSid=SM1&MessageStatus=delivered");
    request.header("content-type", "application/x-www-form-urlencoded").header("x-twilio-signature", &signature)
}

#[tokio::test]
async fn a_provider_tells_of_a_tenants_messages_by_its_connection_and_of_nobody_elses() {
    let stage = Stage::set().await;
    let (acme, eve) = (stage.tenant_who_connects("Acme").await, stage.tenant_who_connects("Eve").await);
    let twilio = Twilio::start().await;
    stage.on("twilio_sms", &[twilio.loopback.host()], "required").await;
    let (own, eves) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    let made = stage.connecting(&acme, &twilio.account(SID, own)).await.expect(201);
    let other = stage.connecting(&eve, &twilio.account(&SID.replace('0', "1"), eves)).await.expect(201);
    let body = json!({ "to": ADA, "channels": ["sms"] });
    let verification = stage.app.starting(&acme.live, body).await.expect(201);
    stage.app.run_jobs().await;
    let status = async || stage.app.read(&acme.live, &verification).await["deliveries"][0]["status"].clone();
    assert_eq!(status().await, "sent");
    let (account, headers, fields) = twilio.sent.lock().unwrap()[0].clone();
    let basic = format!("Basic {}", STANDARD.encode(format!("{SID}:{own}")));
    assert_eq!((account.as_str(), headers["authorization"].to_str().unwrap()), (SID, basic.as_str()));
    let callback = fields["StatusCallback"].clone();
    let reference = callback.strip_prefix(&format!("{ORIGIN}/hooks/{}/", id(&made))).expect("its own URL").to_owned();

    // Who signs with another account's token is nobody; who signs as another tenant tells of no message of this one.
    assert_eq!(told(&stage, &callback, eves).await.status, 401);
    let through_eves = format!("{ORIGIN}/hooks/{}/{reference}", id(&other));
    assert_eq!(told(&stage, &through_eves, eves).await.status, 200);
    assert_eq!(status().await, "sent");
    // The channel itself is nobody's, and a connection that is not there hears nothing.
    told(&stage, &format!("{ORIGIN}/hooks/sms/{reference}"), own).await.problem(404, "not_found");
    let nobody = format!("{ORIGIN}/hooks/con_01J9ZK3V8X6W5T4S3R2Q1P0N9M/{reference}");
    told(&stage, &nobody, own).await.problem(404, "not_found");
    assert_eq!(told(&stage, &callback, own).await.status, 200);
    assert_eq!(status().await, "delivered");
    stage.of_connection(Method::DELETE, &acme, &made).await.expect(204);
    told(&stage, &callback, own).await.problem(404, "not_found");
}

#[tokio::test]
async fn nobody_tells_of_what_went_out_through_another_account() {
    let stage = Stage::set().await;
    let eve = stage.tenant_who_connects("Eve").await;
    let twilio = Twilio::start().await;
    let plugin = stage.on("twilio_sms", &[twilio.loopback.host()], "required").await;
    let (operators, eves) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    let mut given = twilio.account(SID, operators);
    given.as_object_mut().unwrap().remove("channel");
    given["connections"] = json!("optional");
    stage.call(Method::PATCH, &plugin, given).await.expect(200);
    let body = json!({ "to": ADA, "channels": ["sms"] });
    let verification = stage.app.starting(&eve.live, body).await.expect(201);
    stage.app.run_jobs().await;
    let callback = twilio.sent.lock().unwrap()[0].2["StatusCallback"].clone();
    let reference = callback.strip_prefix(&format!("{ORIGIN}/hooks/sms/")).expect("the operator's URL").to_owned();
    // Whoever has the plan pay for what the operator sent would say that it failed.
    let made = stage.connecting(&eve, &twilio.account(&SID.replace('0', "1"), eves)).await.expect(201);
    let status = async || stage.app.read(&eve.live, &verification).await["deliveries"][0]["status"].clone();
    assert_eq!(told(&stage, &format!("{ORIGIN}/hooks/{}/{reference}", id(&made)), eves).await.status, 200);
    assert_eq!(status().await, "sent");
    assert_eq!(told(&stage, &callback, operators).await.status, 200);
    assert_eq!(status().await, "delivered");
}

#[tokio::test]
async fn one_whose_provider_does_not_answer_leaves_the_others_room() {
    let stage = Stage::set().await;
    let (acme, globex) = (stage.tenant_who_connects("Acme").await, stage.tenant_who_connects("Globex").await);
    let (slow, good) = (Gateway::start().await, Gateway::start().await);
    let plugin = stage.on("generic_http", &[slow.host(), good.host()], "required").await;
    stage.call(Method::PATCH, &plugin, json!({ "concurrency": 4 })).await.expect(200);
    let made = stage.connecting(&acme, &account(&slow, "slow")).await.expect(201);
    stage.connecting(&globex, &account(&good, "good")).await.expect(201);
    slow.close();
    let start = async |tenant: &TestTenant, to: &str| {
        stage.app.starting(&tenant.live, json!({ "to": to, "channels": ["sms"] })).await.expect(201);
        stage.app.next_job().await.expect("a job")
    };
    let mut jobs = Vec::new();
    for n in 0..6 {
        let job = start(&acme, &format!("+1202555015{n}")).await;
        let app = Arc::clone(&stage.app.app);
        jobs.push(tokio::spawn(async move { app.deliver(job, ()).await }));
    }
    // A quarter of four calls is one, and it waits there.
    slow.had(1).await;
    let job = start(&globex, ADA).await;
    stage.app.app.deliver(job, ()).await.expect("it is delivered");
    assert_eq!((good.came().len(), slow.came().len()), (1, 1));
    // However often it changes its connection, or makes another: what is under way counts.
    let changed = stage.of_connection(Method::PATCH, &acme, &made).json(json!({ "name": "again" }));
    changed.await.expect(200);
    stage.of_connection(Method::DELETE, &acme, &made).await.expect(204);
    stage.connecting(&acme, &account(&slow, "once more")).await.expect(201);
    let job = start(&acme, "+12025550159").await;
    stage.app.app.deliver(job, ()).await.expect("it is put off");
    assert_eq!(slow.came().len(), 1);
    slow.open();
    for job in jobs {
        job.await.expect("it ends").expect("it is delivered, or put off");
    }
}

#[tokio::test]
async fn the_log_tells_what_was_done_to_connections() {
    let stage = Stage::set().await;
    let acme = stage.tenant_who_connects("Acme").await;
    let gateway = Gateway::start().await;
    stage.on("generic_http", &[gateway.host()], "required").await;
    let made = stage.connecting(&acme, &account(&gateway, "t0ken-of-acme")).await.expect(201);
    stage.of_connection(Method::PATCH, &acme, &made).json(json!({ "name": "Another" })).await.expect(200);
    // Nothing can be looked at of it, so nothing is told.
    let looked = stage.checking(&acme, &made).await.expect(200);
    assert_eq!((&looked["account"], &looked["problem"]), (&Value::Null, &Value::Null));
    stage.of_connection(Method::DELETE, &acme, &made).await.expect(204);
    tell(&stage.app, Some(acme.id), CONNECTIONS).await;
    let log = entries(&stage.app, wotp_core::ports::Owner::Tenant(acme.id)).await;
    let created = log.iter().find(|entry| entry["action"] == "connection.create").expect("a line");
    assert_eq!(created["after"]["secrets"], json!(["token"]));
    assert!(log.iter().all(|entry| entry["action"] != "connection.check"));
    assert!(!format!("{log:?}").contains("t0ken"));
}
