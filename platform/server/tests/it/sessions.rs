//! Connections that a node keeps logged in, as callers of the API see them: what is wanted of one is stored, and where it
//! stands is what whoever keeps it says. Here it is the test that says so; real sessions are tested against the double of
//! WhatsApp.

use std::future::IntoFuture as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};
use wotp_core::app::{OtherwiseWanted, Wanted, WantedConnect};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::api_key::Scope;
use wotp_core::domain::id::{ConnectionId, NodeId, TenantId};
use wotp_core::domain::live_connection::{
    Connect, LiveConnection, LiveStatus, OwnNumber, SenderGrade, SenderHealth, SenderHeld, Shown, ShownCode, Standing,
    Wish,
};
use wotp_core::domain::phone::Phone;
use wotp_core::ports::{Acknowledged, Change, Channel, Entity as _, Outgoing, Owner, SendError, TenantAccount};

use crate::app::{NUMBER, TestApp, TestTenant, id, seconds};
use crate::audit::{CONNECTIONS, LIVE_CONNECTIONS, entries, tell};
use crate::loopback::{Arriving, Loopback};
use crate::qr;

/// A channel whose accounts are kept logged in, and is busy with something else.
pub struct Linked;

#[async_trait]
impl Channel for Linked {
    fn name(&self) -> &'static str {
        "whatsapp"
    }

    fn reaches(&self) -> &[AddressKind] {
        &[AddressKind::Phone]
    }

    fn keeps_accounts(&self) -> bool {
        true
    }

    async fn send(&self, _: &Outgoing) -> Result<Acknowledged, SendError> {
        Err(SendError::Away { after: seconds(5), detail: "nothing is linked".to_owned() })
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
}

async fn acme(limits: &str) -> (TestApp, TestTenant) {
    let app = TestApp::with().plan(limits).channel(Arc::new(Linked)).start().await;
    let mut tenant = app.tenant("Acme").await;
    tenant.live = app.key(&tenant, |_| {}).await;
    (app, tenant)
}

pub const MANY: &str = "limits = { connections = 3 }";

pub async fn made(app: &TestApp, tenant: &TestTenant) -> Value {
    let asked = json!({ "channel": "whatsapp", "name": "Support" });
    app.post("/v1/connections").key(&tenant.live).json(asked).await.expect(201)
}

async fn found(app: &TestApp, tenant: &TestTenant, id: &str) -> Value {
    app.get(format!("/v1/connections/{id}")).key(&tenant.live).await.expect(200)
}

/// Says where a connection stands, as the node that keeps it.
pub async fn stands(app: &TestApp, of: TenantAccount, standing: &Standing) {
    let ports = app.app.ports();
    let now = ports.clock.now();
    let node = NodeId::from_bytes([9; 16]);
    let lease = ports.store.take_connection(of, node, now, now + seconds(9)).await.unwrap().unwrap();
    app.app.tell_standing(&lease, standing).await.unwrap();
}

/// A connection of which this is wanted, however it came to be.
pub async fn a_connection(app: &TestApp, tenant: TenantId, wish: Wish) -> TenantAccount {
    let ports = app.app.ports();
    let now = ports.clock.now();
    let connection = LiveConnection {
        id: ConnectionId::new(now, &*ports.entropy),
        tenant,
        channel: "whatsapp".to_owned(),
        name: "our number".to_owned(),
        wish,
        auto_reply: None,
        risk_accepted_at: Some(now),
        code_asked_at: None,
        created_at: now,
        updated_at: now,
    };
    ports.store.commit(vec![Change::insert(&connection)]).await.unwrap();
    TenantAccount { tenant, connection: connection.id }
}

pub fn account(tenant: &TestTenant, connection: &Value) -> TenantAccount {
    TenantAccount { tenant: tenant.id, connection: id(connection).parse().unwrap() }
}

/// Whether a text stands anywhere in the store.
pub fn stored(app: &TestApp, text: &str) -> bool {
    app.rows().iter().any(|(_, bytes)| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

pub fn standing(app: &TestApp, status: LiveStatus) -> Standing {
    let since = app.app.ports().clock.now();
    Standing { status, reason: None, since, until: None, number: None, qr: None, code: None, health: None }
}

/// A tenant whose events somebody reads, and whose connection went through whatever there is.
pub async fn everything_befell() -> (TestApp, TestTenant) {
    let (app, tenant) = acme(MANY).await;
    app.get("/v1/events").key(&tenant.live).await.expect(200);
    let connection = made(&app, &tenant).await;
    let of = account(&tenant, &connection);
    let mut held = standing(&app, LiveStatus::Connected);
    held.health = Some(limited(held.since));
    stands(&app, of, &held).await;
    for (status, reason) in [
        (LiveStatus::Disconnected, Some("outdated")),
        (LiveStatus::Replaced, None),
        (LiveStatus::Banned, Some("blocked")),
        (LiveStatus::LoggedOut, None),
    ] {
        stands(&app, of, &Standing { reason: reason.map(str::to_owned), ..standing(&app, status) }).await;
    }
    (app, tenant)
}

fn limited(until: Timestamp) -> SenderHealth {
    SenderHealth {
        grade: SenderGrade::Limited,
        reasons: vec![SenderHeld { reason: "time_locked".to_owned(), until }],
        sent_today: 3,
        left_today: 17,
        strangers_left_today: 0,
    }
}

#[tokio::test]
async fn one_is_made_connected_once_the_risk_is_accepted_disconnected_renamed_and_deleted() {
    let (app, tenant) = acme(MANY).await;
    let connection = made(&app, &tenant).await;
    assert_eq!((&connection["channel"], &connection["name"]), (&json!("whatsapp"), &json!("Support")));
    assert_eq!(connection["session"]["status"], "unpaired");
    assert_eq!(connection["problem"], "no phone is linked: have it connect");
    let path = format!("/v1/connections/{}", id(&connection));

    let refused = app.post(format!("{path}/connect")).key(&tenant.live).json(json!({})).await.expect(422);
    assert_eq!(refused["errors"][0]["field"], "accept_risk");
    assert!(app.app.wanted_connections().await.unwrap().is_empty());
    let wrong = json!({ "accept_risk": true, "code_for": "12" });
    app.post(format!("{path}/connect")).key(&tenant.live).json(wrong).await.expect(422);
    let asked = json!({ "accept_risk": true, "code_for": NUMBER });
    let connected = app.post(format!("{path}/connect")).key(&tenant.live).json(asked).await.expect(202);
    assert_eq!(connected["session"]["wanted"], true);
    assert_eq!(connected["session"]["risk_accepted_at"], json!("2026-11-22T12:00:00Z"));
    let of = account(&tenant, &connection);
    let (asked_at, code_for) = (Some(app.app.ports().clock.now()), Some(Phone::parse(NUMBER).unwrap()));
    let wanted = app.app.wanted_connections().await.unwrap();
    assert_eq!(wanted, [(of, Wanted::Connect(WantedConnect { asked_at, code_for }))]);
    assert!(!stored(&app, &NUMBER[1..]), "the number is sealed");

    // From now on without another word.
    app.clock.advance(seconds(60));
    app.post(format!("{path}/connect")).key(&tenant.live).json(json!({})).await.expect(202);
    let asked_at = Some(app.app.ports().clock.now());
    let wanted = app.app.wanted_connections().await.unwrap();
    assert_eq!(wanted, [(of, Wanted::Connect(WantedConnect { asked_at, code_for: None }))]);

    let ended = app.post(format!("{path}/disconnect")).key(&tenant.live).await.expect(202);
    assert_eq!(ended["session"]["wanted"], false);
    assert!(app.app.wanted_connections().await.unwrap().is_empty());

    let renamed = json!({ "name": "Sales" });
    let renamed = app.request(Method::PATCH, &path).key(&tenant.live).json(renamed).await.expect(200);
    assert_eq!(renamed["name"], "Sales");
    let settings = json!({ "config": { "a": 1 } });
    app.request(Method::PATCH, &path).key(&tenant.live).json(settings).await.expect(422);

    app.request(Method::DELETE, &path).key(&tenant.live).await.done();
    app.get(&path).key(&tenant.live).await.expect(404);
    assert_eq!(app.app.wanted_connections().await.unwrap(), [(of, Wanted::Leave)]);
    app.app.live_connection_left(of).await.unwrap();
    assert!(app.app.wanted_connections().await.unwrap().is_empty());
    tell(&app, Some(tenant.id), CONNECTIONS).await;
    tell(&app, Some(tenant.id), LIVE_CONNECTIONS).await;
}

#[tokio::test]
async fn where_it_stands_is_what_its_keeper_says_for_as_long_as_there_is_one() {
    let (app, tenant) = acme(MANY).await;
    let connection = made(&app, &tenant).await;
    let (of, path) = (account(&tenant, &connection), format!("/v1/connections/{}", id(&connection)));
    app.post(format!("{path}/connect")).key(&tenant.live).json(json!({ "accept_risk": true })).await.expect(202);

    let soon = app.app.ports().clock.now() + seconds(20);
    let mut pairing = standing(&app, LiveStatus::Pairing);
    pairing.qr = Some(Shown { text: "2@abc,def".to_owned(), expires_at: soon });
    stands(&app, of, &pairing).await;
    let seen = found(&app, &tenant, id(&connection)).await;
    assert_eq!(seen["session"]["status"], "pairing");
    let qr = &seen["session"]["qr"];
    assert_eq!((&qr["text"], &qr["expires_at"]), (&json!("2@abc,def"), &json!("2026-11-22T12:00:20Z")));
    assert_eq!(qr::of_svg(&qr["svg"]), qr::of_text("2@abc,def"));
    assert_eq!(qr::of_png(&qr["png"]), qr::of_text("2@abc,def"));
    assert!(!stored(&app, "2@abc"), "what links a phone is sealed");
    // Whoever may read only must not link their own phone.
    let reader = app.key(&tenant, |settings| settings.scopes = [Scope::ConnectionsRead].into()).await;
    let seen = app.get(&path).key(&reader).await.expect(200);
    assert_eq!((&seen["session"]["status"], &seen["session"]["qr"]), (&json!("pairing"), &Value::Null));

    let mut connected = standing(&app, LiveStatus::Connected);
    connected.number = Some(OwnNumber("12025550100".to_owned()));
    connected.health = Some(limited(soon));
    app.clock.advance(seconds(10));
    stands(&app, of, &connected).await;
    let seen = found(&app, &tenant, id(&connection)).await;
    assert_eq!((&seen["session"]["number"], &seen["problem"]), (&json!("+12025550100"), &Value::Null));
    let held = &seen["session"]["health"]["reasons"][0];
    assert!(held["advice"].as_str().unwrap().contains("let people write to you"), "{held}");
    // The node is gone, and no other has taken it yet.
    app.clock.advance(seconds(10));
    let seen = found(&app, &tenant, id(&connection)).await;
    assert_eq!((&seen["session"]["status"], &seen["session"]["reason"]), (&json!("disconnected"), &json!("not_kept")));
    assert_eq!(seen["session"]["number"], Value::Null);
}

#[tokio::test]
async fn the_channel_is_there_for_tenants_with_a_connection_that_is_to_be_logged_in() {
    let (app, tenant) = acme(MANY).await;
    let start = || app.starting(&tenant.live, json!({ "to": NUMBER, "channels": ["whatsapp"] }));
    assert!(start().await.expect(422)["detail"].as_str().unwrap().contains("there is no channel `whatsapp`"));
    let connection = made(&app, &tenant).await;
    start().await.expect(422);
    let path = format!("/v1/connections/{}/connect", id(&connection));
    app.post(path).key(&tenant.live).json(json!({ "accept_risk": true })).await.expect(202);
    start().await.expect(201);
    // It comes first, and what it cannot send goes out through the next.
    let started = app.starting(&tenant.live, json!({ "to": "+447700900123" })).await.expect(201);
    let channels: Vec<_> = started["deliveries"].as_array().unwrap().iter().map(|one| &one["channel"]).collect();
    assert_eq!(channels, ["whatsapp"]);
    app.run_jobs().await;
    let now = app.get(format!("/v1/verifications/{}", id(&started))).key(&tenant.live).await.expect(200);
    assert_eq!(now["deliveries"].as_array().unwrap().last().unwrap()["channel"], "outbox");
    // Nobody else has it.
    let mut other = app.tenant("Other").await;
    other.live = app.key(&other, |_| {}).await;
    app.starting(&other.live, json!({ "to": NUMBER, "channels": ["whatsapp"] })).await.expect(422);
    let theirs = app.get("/v1/channels").key(&other.live).await.expect(200);
    assert_eq!(theirs["data"][0]["connections"], "required");
    assert_eq!(theirs["data"][0]["connection"], Value::Null);
}

#[tokio::test]
async fn a_plan_bounds_them_with_all_other_connections_also_where_many_are_made_at_once() {
    let (app, tenant) = acme("limits = { connections = 2 }").await;
    let make =
        || async { app.post("/v1/connections").key(&tenant.live).json(json!({ "channel": "whatsapp" })).await.status };
    let (mut made, mut refused) = (0, 0);
    for status in futures_util::future::join_all((0..8).map(|_| make())).await {
        match status {
            201 => made += 1,
            409 => refused += 1,
            other => panic!("{other}"),
        }
    }
    assert_eq!((made, refused), (2, 6));
    // One that is deleted makes room at once, though its phone is still told.
    let all = app.get("/v1/connections").key(&tenant.live).await.expect(200);
    let first = id(&all["data"][0]).to_owned();
    app.request(Method::DELETE, format!("/v1/connections/{first}")).key(&tenant.live).await.done();
    assert_eq!(make().await, 201);
}

#[tokio::test]
async fn its_stream_tells_what_changes_until_it_is_gone() {
    let (app, tenant) = acme(MANY).await;
    let served = Loopback::serve(app.router()).await;
    let connection = made(&app, &tenant).await;
    let (of, path) = (account(&tenant, &connection), format!("/v1/connections/{}", id(&connection)));
    let mut stream = served.get(&format!("{path}/stream"), &tenant.live, &[]).await;
    assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream"));
    let mut rest = String::new();
    let first = told(&mut stream, &mut rest).await;
    assert_eq!((first.0.as_str(), &first.1["session"]["wanted"]), ("connection", &json!(false)));
    app.post(format!("{path}/connect")).key(&tenant.live).json(json!({ "accept_risk": true })).await.expect(202);
    assert_eq!(told(&mut stream, &mut rest).await.1["session"]["wanted"], true);
    let mut pairing = standing(&app, LiveStatus::Pairing);
    pairing.qr = Some(Shown { text: "2@abc,def".to_owned(), expires_at: pairing.since + seconds(20) });
    stands(&app, of, &pairing).await;
    assert_eq!(told(&mut stream, &mut rest).await.1["session"]["qr"]["text"], "2@abc,def");
    app.request(Method::DELETE, &path).key(&tenant.live).await.done();
    assert_eq!(told(&mut stream, &mut rest).await.0, "gone");
    assert_eq!(stream.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_tenant_is_told_what_does_not_pass_by_itself_and_not_of_one_that_it_deletes() {
    let (app, tenant) = acme(MANY).await;
    let endpoint = json!({ "url": "https://hooks.example.com/wotp", "events": ["connection.*"] });
    app.post("/v1/webhooks/endpoints").key(&tenant.live).json(endpoint).await.expect(201);
    let connection = made(&app, &tenant).await;
    let (of, path) = (account(&tenant, &connection), format!("/v1/connections/{}", id(&connection)));
    let told = || async {
        let page = app.get("/v1/events?type=connection.*&limit=100").key(&tenant.live).await.expect(200);
        let events = page["data"].as_array().unwrap().iter().rev();
        events.map(|event| event["type"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let stand = |status, reason: Option<&str>| {
        let standing = Standing { reason: reason.map(str::to_owned), ..standing(&app, status) };
        let app = &app;
        async move { stands(app, of, &standing).await }
    };
    stand(LiveStatus::Pairing, None).await;
    stand(LiveStatus::Connected, None).await;
    stand(LiveStatus::Disconnected, Some("lost")).await;
    stand(LiveStatus::Connected, None).await;
    assert_eq!(told().await, ["connection.connected"]);
    stand(LiveStatus::Banned, Some("strangers")).await;
    assert_eq!(told().await, ["connection.connected", "connection.banned"]);
    let page = app.get("/v1/events?type=connection.banned&limit=1").key(&tenant.live).await.expect(200);
    let data = &page["data"][0]["data"];
    assert_eq!((&data["connection"], &data["reason"]), (&connection["id"], &json!("strangers")));
    app.request(Method::DELETE, &path).key(&tenant.live).await.done();
    stand(LiveStatus::LoggedOut, None).await;
    assert_eq!(told().await.len(), 2);
}

/// The next that a stream tells: what kind, and its data.
async fn told(stream: &mut Arriving, rest: &mut String) -> (String, Value) {
    while !rest.contains("\n\n") {
        let chunk = stream.chunk().await.expect("it is not cut off");
        rest.push_str(&chunk.expect("the stream goes on"));
    }
    let (event, after) = rest.split_once("\n\n").unwrap();
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    let told = (field("event: "), serde_json::from_str(&field("data: ")).unwrap());
    *rest = after.to_owned();
    told
}

#[tokio::test]
async fn codes_to_link_a_phone_are_asked_for_one_after_the_other_and_not_while_one_is_shown() {
    let (app, tenant) = acme(MANY).await;
    let connection = made(&app, &tenant).await;
    let of = account(&tenant, &connection);
    let path = format!("/v1/connections/{}/connect", id(&connection));
    let connect = |number: &str| {
        let asked = json!({ "accept_risk": true, "code_for": number });
        app.post(&path).key(&tenant.live).json(asked)
    };
    let wanted = async || match app.app.wanted_connections().await.unwrap().as_slice() {
        [(_, Wanted::Connect(WantedConnect { code_for: Some(phone), asked_at }))] => {
            (phone.e164().to_owned(), asked_at.unwrap())
        }
        other => panic!("{other:?}"),
    };
    let other = "+447700900123";
    connect(NUMBER).await.expect(202);
    app.clock.advance(seconds(10));
    for number in [NUMBER, other] {
        let refused = connect(number).await;
        refused.problem(429, "cool_down");
        assert_eq!(refused.header("retry-after"), "20");
    }
    // Not by way of what asks for none, either.
    app.post(&path).key(&tenant.live).json(json!({})).await.expect(202);
    connect(NUMBER).await.problem(429, "cool_down");
    app.clock.advance(seconds(20));
    connect(NUMBER).await.expect(202);
    let asked = wanted().await;

    let mut pairing = standing(&app, LiveStatus::Pairing);
    let (text, expires_at) = ("ABCD1234".to_owned(), pairing.since + seconds(100));
    pairing.code = Some(ShownCode { text, expires_at, number: Some(OwnNumber(NUMBER[1..].to_owned())) });
    app.clock.advance(seconds(95));
    stands(&app, of, &pairing).await;
    let shown = connect(NUMBER).await.expect(202);
    assert_eq!(shown["session"]["code"]["text"], "ABCD1234");
    assert_eq!(wanted().await, asked, "nothing is asked for");
    // Of another phone it is, and what is shown for this one is not shown for that.
    let asked = connect(other).await.expect(202);
    assert_eq!((&asked["session"]["status"], &asked["session"]["code"]), (&json!("pairing"), &Value::Null));
    assert_eq!(wanted().await.0, other);
    connect(other).await.problem(429, "cool_down");
    let seen = found(&app, &tenant, id(&connection)).await;
    assert_eq!(seen["session"]["code"], Value::Null);
    let (text, number) = ("EFGH5678".to_owned(), Some(OwnNumber(other[1..].to_owned())));
    pairing.code = Some(ShownCode { text, expires_at: pairing.since + seconds(200), number });
    stands(&app, of, &pairing).await;
    let shown = connect(other).await.expect(202);
    assert_eq!(shown["session"]["code"]["text"], "EFGH5678");
    app.clock.advance(seconds(30));
    connect(NUMBER).await.expect(202);
    assert_eq!(wanted().await.0, NUMBER);
}

#[tokio::test]
async fn whoever_asks_again_and_again_has_it_log_in_every_ten_seconds_at_most() {
    let (app, tenant) = acme(MANY).await;
    let connection = made(&app, &tenant).await;
    let (of, path) = (account(&tenant, &connection), format!("/v1/connections/{}", id(&connection)));
    let connect =
        async || app.post(format!("{path}/connect")).key(&tenant.live).json(json!({ "accept_risk": true })).await;
    let asked_at = async || match app.app.wanted_connections().await.unwrap().as_slice() {
        [(_, Wanted::Connect(WantedConnect { code_for: None, asked_at }))] => asked_at.unwrap(),
        other => panic!("{other:?}"),
    };
    let asked = async || {
        let log = entries(&app, Owner::Tenant(tenant.id)).await;
        log.iter().filter(|entry| entry["action"] == "connection.connect").count()
    };
    connect().await.expect(202);
    let first = asked_at().await;
    // It logs in, and that is all that it comes to.
    app.clock.advance(seconds(1));
    stands(&app, of, &Standing { reason: Some("other".to_owned()), ..standing(&app, LiveStatus::Banned) }).await;
    for _ in 0..8 {
        app.clock.advance(seconds(1));
        assert_eq!(connect().await.expect(202)["session"]["status"], "banned");
    }
    assert_eq!((asked_at().await, asked().await), (first, 1), "nothing is asked for");
    app.clock.advance(seconds(1));
    connect().await.expect(202);
    let second = asked_at().await;
    assert_eq!((second, asked().await), (first + seconds(10), 2));

    // Where something has moved it is at once: nothing was wanted meanwhile, or no phone is linked any more.
    app.post(format!("{path}/disconnect")).key(&tenant.live).json(json!({})).await.expect(202);
    connect().await.expect(202);
    assert_eq!(asked().await, 3);
    app.clock.advance(seconds(1));
    stands(&app, of, &Standing { reason: Some("failed".to_owned()), ..standing(&app, LiveStatus::Unpaired) }).await;
    connect().await.expect(202);
    assert_eq!((asked_at().await, asked().await), (second + seconds(1), 4));
    connect().await.expect(202);
    assert_eq!(asked().await, 4);
}

/// Waits until somebody is told that something else is wanted of a connection.
async fn is_told(app: &TestApp) -> OtherwiseWanted {
    let changed = app.app.wanted_connections_changed();
    tokio::time::timeout(Duration::from_secs(60), changed).await.expect("it is told")
}

#[tokio::test]
async fn what_is_wanted_is_told_to_whoever_keeps_it_also_where_nobody_hears_the_answer() {
    let (app, tenant) = acme(MANY).await;
    let connection = made(&app, &tenant).await;
    let (of, path) = (account(&tenant, &connection), format!("/v1/connections/{}/connect", id(&connection)));
    let connect = app.post(&path).key(&tenant.live).json(json!({ "accept_risk": true }));
    let mut asked = Box::pin(connect.into_future());
    // Polled once, and dropped: what hyper does when a client closes its connection.
    assert!(asked.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(asked);
    assert_eq!(is_told(&app).await, OtherwiseWanted::Of(vec![of]));
    assert_eq!(app.app.wanted_connections().await.unwrap().len(), 1);
}

/// With the embedded store, which can be made to refuse one kind of row where there are some.
mod alone {
    use super::*;

    #[tokio::test]
    async fn what_is_wanted_is_told_also_where_the_store_gives_no_answer() {
        let (app, tenant) = acme(MANY).await;
        let connection = made(&app, &tenant).await;
        let (of, path) = (account(&tenant, &connection), format!("/v1/connections/{}/connect", id(&connection)));
        // It may be stored all the same.
        app.refuse(Some(LiveConnection::KIND));
        app.post(&path).key(&tenant.live).json(json!({ "accept_risk": true })).await.expect(503);
        assert_eq!(is_told(&app).await, OtherwiseWanted::Of(vec![of]));
    }
}

#[tokio::test]
async fn where_the_channel_is_off_nothing_connects_and_what_is_deleted_is_gone_in_a_day() {
    let app = TestApp::with().plan(MANY).start().await;
    let mut tenant = app.tenant("Acme").await;
    tenant.live = app.key(&tenant, |_| {}).await;
    let asked_at = app.app.ports().clock.now();
    let of = a_connection(&app, tenant.id, Wish::Connect(Connect { asked_at, code_for: None })).await;
    stands(&app, of, &standing(&app, LiveStatus::Connected)).await;
    let path = format!("/v1/connections/{}", of.connection);
    let refused = app.post(format!("{path}/connect")).key(&tenant.live).json(json!({ "accept_risk": true })).await;
    assert_eq!(refused.wrong_fields(), ["id"]);
    assert!(refused.text.contains("switched off"), "{}", refused.text);
    let seen = app.get(&path).key(&tenant.live).await.expect(200);
    assert!(seen["problem"].as_str().unwrap().contains("switched the channel off"), "{seen}");
    let seen = app.get("/api/whatsapp/status").key(&tenant.live).await.expect(200);
    assert!(seen["message"].as_str().unwrap().contains("switched the channel off"), "{seen}");

    app.request(Method::DELETE, &path).key(&tenant.live).await.done();
    app.get(&path).key(&tenant.live).await.expect(404);
    let store = Arc::clone(&app.app.ports().store);
    let is_there = async || {
        let row = store.find_entity(LiveConnection::KIND, Owner::Tenant(tenant.id), of.connection.to_bytes()).await;
        (row.unwrap().is_some(), store.find_connection_lease(of).await.unwrap().is_some())
    };
    app.clock.advance(seconds(86_399));
    app.sweep().await;
    assert_eq!(is_there().await, (true, true), "a node that has the channel on may come back");
    app.clock.advance(seconds(1));
    app.sweep().await;
    assert_eq!(is_there().await, (false, false), "with all that it remembered");
}

/// A channel whose accounts another node is taken for the keeper of.
#[derive(Default)]
struct KeptElsewhere {
    called: AtomicUsize,
}

#[async_trait]
impl Channel for KeptElsewhere {
    fn name(&self) -> &'static str {
        "whatsapp"
    }

    fn reaches(&self) -> &[AddressKind] {
        &[AddressKind::Phone]
    }

    fn keeps_accounts(&self) -> bool {
        true
    }

    fn kept_by_another(&self, _: TenantId, _: Option<ConnectionId>) -> Option<NodeId> {
        Some(NodeId::from_bytes([9; 16]))
    }

    async fn send(&self, _: &Outgoing) -> Result<Acknowledged, SendError> {
        self.called.fetch_add(1, Ordering::SeqCst);
        Err(SendError::Away { after: seconds(5), detail: "none is here".to_owned() })
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
}

#[tokio::test]
async fn a_delivery_that_comes_back_from_whoever_was_taken_for_the_keeper_goes_on_here() {
    let channel = Arc::new(KeptElsewhere::default());
    let app = TestApp::with().plan(MANY).channel(Arc::clone(&channel) as _).start().await;
    let tenant = app.tenant("Acme").await;
    let asked_at = app.app.ports().clock.now();
    a_connection(&app, tenant.id, Wish::Connect(Connect { asked_at, code_for: None })).await;
    let message = async || {
        let body = json!({ "to": NUMBER, "content": "Your parcel is here." });
        app.post("/v1/messages").key(&tenant.live).json(body).await.expect(201);
    };
    app.starting(&tenant.live, json!({ "to": NUMBER })).await.expect(201);
    message().await;
    let mut jobs = 0;
    // In the tests' queue each node hears what is rung for another, and so it comes back.
    while let Some(job) = app.next_job().await {
        app.app.deliver(job, ()).await.expect("a job is done");
        jobs += 1;
        assert!(jobs < 20, "they are passed on for ever");
    }
    assert_eq!(channel.called.load(Ordering::SeqCst), 2);
    assert_eq!(app.outbox.letters().len(), 2, "the next channel took them");
}
