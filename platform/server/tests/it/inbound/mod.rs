//! Verifications that a message of the person's approves: what is to be written, what approves, and what never does. The
//! message is told by the test, as the channel does; real sessions are tested against the double of WhatsApp.

mod answers;
mod anybody;
mod trial;

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use wotp_core::app::{Refusal, WrittenMessage};
use wotp_core::domain::live_connection::{LiveStatus, OwnNumber, Standing};
use wotp_core::ports::TenantAccount;

use crate::app::{NUMBER, TestApp, TestTenant, id, path, seconds};
use crate::client::race;
use crate::loopback::{Arriving, Loopback};
use crate::qr;
use crate::sessions::{Linked, account, made, standing, stands, stored};

/// The tenant's number, as WhatsApp writes it.
pub const OWN: &str = "12025550100";
/// A person, as WhatsApp writes them: that of [`NUMBER`].
pub const PERSON: &str = "12025550123";
/// Somebody else.
pub const OTHER: &str = "447700900123";

/// A platform, and a tenant with a number that is connected.
pub struct Scene {
    pub app: TestApp,
    pub acme: TestTenant,
    pub connection: Value,
    pub to: TenantAccount,
}

impl Scene {
    pub async fn set() -> Self {
        Self::of(TestApp::with().plan("limits = { connections = 3 }").channel(Arc::new(Linked)).start().await).await
    }

    async fn of(app: TestApp) -> Self {
        let mut acme = app.tenant("Acme").await;
        acme.live = app.key(&acme, |_| {}).await;
        let (connection, to) = connected(&app, &acme, OWN).await;
        Self { app, acme, connection, to }
    }

    /// A verification, started, and the token that it takes.
    pub async fn started(&self, to: &str) -> (Value, String) {
        self.started_as(json!({ "to": to, "method": "inbound" })).await
    }

    pub async fn started_as(&self, body: Value) -> (Value, String) {
        let verification = self.app.starting(&self.acme.live, body).await.expect(201);
        let token = verification["inbound"]["message"]["token"].as_str().expect("it says what to write").to_owned();
        (verification, token)
    }

    /// Somebody writes to the tenant's number; what they are answered.
    pub async fn writes(&self, from: &str, text: &str) -> Option<String> {
        self.written(from, text).await.expect("it is taken in")
    }

    pub async fn written(&self, from: &str, text: &str) -> Result<Option<String>, Refusal> {
        let sent_at = self.app.app.ports().clock.now();
        self.app.app.take_in_message(WrittenMessage { to: self.to, from, text, sent_at }).await
    }

    /// A node keeps the number, as it does all the time.
    async fn keep(&self) {
        stands(&self.app, self.to, &at_number(&self.app, OWN)).await;
    }

    pub async fn read(&self, verification: &Value) -> Value {
        self.app.read(&self.acme.live, verification).await
    }

    pub async fn status(&self, verification: &Value) -> String {
        self.read(verification).await["status"].as_str().expect("it has a status").to_owned()
    }

    /// What the tenant is told of approvals. Events are kept from the first time on that somebody asks for them.
    async fn approvals(&self) -> Vec<Value> {
        while self.app.app.fold(50).await.expect("the store answers").taken > 0 {}
        let page = self.app.get("/v1/events?type=verification.approved").key(&self.acme.live).await.expect(200);
        page["data"].as_array().expect("a page has events").iter().map(|event| event["data"].clone()).collect()
    }
}

/// A connection of a tenant's that is connected to this number.
pub async fn connected(app: &TestApp, tenant: &TestTenant, number: &str) -> (Value, TenantAccount) {
    let connection = made(app, tenant).await;
    let to = account(tenant, &connection);
    let path = format!("/v1/connections/{}/connect", id(&connection));
    app.post(path).key(&tenant.live).json(json!({ "accept_risk": true })).await.expect(202);
    stands(app, to, &at_number(app, number)).await;
    (connection, to)
}

fn at_number(app: &TestApp, number: &str) -> Standing {
    Standing { number: Some(OwnNumber(number.to_owned())), ..standing(app, LiveStatus::Connected) }
}

async fn body(reply: &mut Arriving) -> Value {
    serde_json::from_str(&reply.body().await.expect("it is whole")).expect("it is JSON")
}

/// What a link writes.
fn text_of(link: &str) -> String {
    let (_, text) = link.split_once("?text=").expect("a link has a text");
    let mut bytes = text.bytes();
    let mut plain = Vec::new();
    while let Some(byte) = bytes.next() {
        let mut digit = || char::from(bytes.next().expect("an escape has two digits")).to_digit(16).expect("a digit");
        plain.push(if byte == b'%' { u8::try_from(16 * digit() + digit()).expect("a byte") } else { byte });
    }
    String::from_utf8(plain).expect("a text")
}

const DONE: &str = "Acme: Thank you, confirmed. You can go back to where you started.";
const OVER: &str = "Acme: This message is no longer valid. Go back to where you started and begin again.";
const ELSEWHERE: &str = "Acme: This confirmation is meant for another number. Please write from that number.";

#[tokio::test]
async fn a_message_with_the_token_approves_the_number_that_it_comes_from() {
    let scene = Scene::set().await;
    assert!(scene.approvals().await.is_empty());
    let (verification, token) = scene.started(NUMBER).await;
    assert_eq!((&verification["method"], &verification["status"]), (&json!("inbound"), &json!("pending")));
    let message = &verification["inbound"]["message"];
    let text = format!("Acme: I confirm that it is me.\n{token}");
    assert_eq!(message["text"], text);
    let link = message["link"].as_str().unwrap();
    assert!(link.starts_with("https://wa.me/12025550100?text="), "{link}");
    assert_eq!(text_of(link), text);
    assert_eq!(qr::of_svg(&message["qr_svg"]), qr::of_text(link));
    assert_eq!(qr::of_png(&message["qr_png"]), qr::of_text(link));
    // Nothing is sent, and nothing can be.
    assert_eq!((&verification["deliveries"], &verification["channel"]), (&json!([]), &Value::Null));
    assert_eq!(verification["sends"], json!({ "used": 0, "allowed": 5, "next_at": null }));
    assert!(scene.app.next_job().await.is_none());
    // Whoever only reads is not told what to write.
    let read = scene.read(&verification).await;
    assert_eq!(read["inbound"], json!({ "number": "+12025550100", "other_numbers": 0 }));
    assert!(read.get("test_token").is_none(), "{read}");

    assert_eq!(scene.writes(PERSON, &text).await.as_deref(), Some(DONE));
    let approved = scene.read(&verification).await;
    assert_eq!((&approved["status"], &approved["checks"]["used"]), (&json!("approved"), &json!(0)));
    // It comes once more, or they send it once more: they are told the same, and nobody else is told anything.
    assert_eq!(scene.writes(PERSON, &text).await.as_deref(), Some(DONE));
    assert_eq!(scene.writes(OTHER, &text).await.as_deref(), Some(OVER));
    let told = scene.approvals().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["id"], &told[0]["method"]), (&verification["id"], &json!("inbound")));
    assert_eq!((&told[0]["country"], &told[0]["channel"]), (&json!("US"), &Value::Null));
}

#[tokio::test]
async fn whoever_waits_hears_of_it_at_once() {
    let scene = Scene::set().await;
    let served = Loopback::serve(scene.app.router()).await;
    let (verification, token) = scene.started(NUMBER).await;
    let waiting = format!("{}?wait=30", path(&verification));
    let mut reply = served.get(&waiting, &scene.acme.live, &[]).await;
    scene.writes(OTHER, &token).await;
    assert_eq!(body(&mut reply).await["inbound"]["other_numbers"], 1);
    let mut reply = served.get(&waiting, &scene.acme.live, &[]).await;
    scene.writes(PERSON, &token).await;
    assert_eq!(body(&mut reply).await["status"], "approved");
}

#[tokio::test]
async fn the_token_is_found_in_whatever_people_make_of_the_text() {
    let scene = Scene::set().await;
    for around in ["{}", "Hi!\n\n“{}”\nSent from my phone", "*{}*, thanks", "> {}", "\u{200E}{}\u{200B}"] {
        let (verification, token) = scene.started(NUMBER).await;
        let (start, end) = token.split_at(17);
        let text = around.replace("{}", &format!("{}\u{200B}\n{end}", start.to_lowercase()));
        assert_eq!(scene.writes(PERSON, &text).await.as_deref(), Some(DONE), "{text}");
        assert_eq!(scene.status(&verification).await, "approved");
    }
}

#[tokio::test]
async fn another_number_does_not_approve_and_stops_nobody() {
    let scene = Scene::set().await;
    let (verification, token) = scene.started(NUMBER).await;
    for _ in 0..5 {
        assert_eq!(scene.writes(OTHER, &token).await.as_deref(), Some(ELSEWHERE));
    }
    let rows = scene.app.rows();
    scene.writes(OTHER, &token).await;
    assert!(scene.app.rows() == rows, "beyond what is counted nothing is written");
    let open = scene.read(&verification).await;
    assert_eq!((&open["status"], &open["checks"]["used"]), (&json!("pending"), &json!(0)));
    assert_eq!(open["inbound"]["other_numbers"], 5);
    // Nor is the person's address held to account for it, as it is for wrong codes.
    scene.app.started(&scene.acme.live, NUMBER).await;
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(DONE));
    assert_eq!(scene.status(&verification).await, "approved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_50_racing_messages_one_approves() {
    let scene = Scene::set().await;
    assert!(scene.approvals().await.is_empty());
    let (verification, token) = scene.started(NUMBER).await;
    let messages = (0..50).map(|n| {
        let (app, to, text) = (Arc::clone(&scene.app.app), scene.to, token.clone());
        let sent_at = app.ports().clock.now();
        let from = if n % 5 == 0 { OTHER } else { PERSON };
        tokio::spawn(async move { app.take_in_message(WrittenMessage { to, from, text: &text, sent_at }).await })
    });
    for message in messages.collect::<Vec<_>>() {
        message.await.unwrap().unwrap();
    }
    assert_eq!(scene.status(&verification).await, "approved");
    assert_eq!(scene.approvals().await.len(), 1, "it is told of once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_message_and_a_cancel_at_once_have_one_outcome() {
    let scene = Scene::set().await;
    for _ in 0..10 {
        let (verification, token) = scene.started(NUMBER).await;
        let cancel = scene.app.post(format!("{}/cancel", path(&verification))).key(&scene.acme.live);
        let (written, replies) = tokio::join!(scene.writes(PERSON, &token), race([cancel]));
        let status = scene.status(&verification).await;
        match (written.as_deref(), replies[0].status) {
            (Some(DONE), 409) => assert_eq!(status, "approved"),
            (Some(OVER), 200) => assert_eq!(status, "canceled"),
            both => panic!("{both:?} came of it, and {status}"),
        }
    }
}

#[tokio::test]
async fn a_token_lives_as_long_as_its_verification() {
    let scene = Scene::set().await;
    let body = json!({ "to": NUMBER, "method": "inbound", "expires_in_seconds": 60 });
    let (verification, token) = scene.started_as(body.clone()).await;
    let (in_time, token_in_time) = scene.started_as(body).await;
    scene.app.clock.advance(seconds(59));
    scene.writes(PERSON, &token_in_time).await;
    assert_eq!(scene.status(&in_time).await, "approved");
    scene.app.clock.advance(seconds(1));
    // Nobody has swept yet: the time alone decides.
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(OVER));
    assert_eq!(scene.status(&verification).await, "expired");
    scene.app.sweep().await;
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(OVER));
    // It was started, so it counts, though nothing was sent.
    assert_eq!(scene.app.used_today(&scene.acme.live, "verifications").await, 2);

    scene.keep().await;
    let (unheard, _) = scene.started(NUMBER).await;
    scene.app.clock.advance(seconds(300));
    scene.app.sweep().await;
    let expired = scene.read(&unheard).await;
    assert_eq!((&expired["status"], &expired["reason"]), (&json!("expired"), &Value::Null));

    scene.keep().await;
    let (canceled, token) = scene.started(NUMBER).await;
    scene.app.post(format!("{}/cancel", path(&canceled))).key(&scene.acme.live).await.expect(200);
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(OVER));
    assert_eq!(scene.status(&canceled).await, "canceled");
}

#[tokio::test]
async fn what_is_wrong_or_another_tenants_is_nothing() {
    let scene = Scene::set().await;
    let (verification, token) = scene.started(NUMBER).await;
    let mut wrong = token.clone();
    let last = wrong.pop().unwrap();
    wrong.push(if last == '7' { '8' } else { '7' });
    let (with_code, _) = scene.app.started(&scene.acme.live, "+447700900456").await;
    for text in [wrong.as_str(), "", "hello", "WOTP", &token[1..], "123456"] {
        assert_eq!(scene.writes(PERSON, text).await, None, "{text}");
    }
    for from in ["", "0", "+12025550123", "abc", "99999999999999999999"] {
        assert_eq!(scene.writes(from, &token).await, None, "{from}");
    }
    let mut globex = scene.app.tenant("Globex").await;
    globex.live = scene.app.key(&globex, |_| {}).await;
    let (_, theirs) = connected(&scene.app, &globex, "12025550111").await;
    let sent_at = scene.app.app.ports().clock.now();
    let written = WrittenMessage { to: theirs, from: PERSON, text: &token, sent_at };
    assert_eq!(scene.app.app.take_in_message(written).await.unwrap(), None);
    for one in [&verification, &with_code] {
        let untouched = scene.read(one).await;
        assert_eq!((&untouched["status"], &untouched["checks"]["used"]), (&json!("pending"), &json!(0)));
    }
    // Any number of the tenant's own takes it.
    let (_, second) = connected(&scene.app, &scene.acme, "12025550112").await;
    let written = WrittenMessage { to: second, from: PERSON, text: &token, sent_at };
    assert_eq!(scene.app.app.take_in_message(written).await.unwrap().as_deref(), Some(DONE));
}

#[tokio::test]
async fn people_are_sent_to_numbers_that_are_connected_and_to_all_of_them() {
    let scene = Scene::set().await;
    let number = |started: &Value| started["inbound"]["number"].as_str().unwrap().to_owned();
    connected(&scene.app, &scene.acme, "12025550112").await;
    let unpaired = made(&scene.app, &scene.acme).await;
    stands(&scene.app, account(&scene.acme, &unpaired), &standing(&scene.app, LiveStatus::Unpaired)).await;
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        seen.insert(number(&scene.started(NUMBER).await.0));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["+12025550100", "+12025550112"]);

    let disconnect = format!("/v1/connections/{}/disconnect", id(&scene.connection));
    scene.app.post(disconnect).key(&scene.acme.live).await.expect(202);
    for _ in 0..10 {
        assert_eq!(number(&scene.started(NUMBER).await.0), "+12025550112");
    }
    // The node that keeps it is gone.
    scene.app.clock.advance(seconds(10));
    let used = scene.app.used_today(&scene.acme.live, "verifications").await;
    let refused = scene.app.starting(&scene.acme.live, json!({ "to": NUMBER, "method": "inbound" })).await;
    let problem = refused.problem(422, "no_number");
    assert!(problem["detail"].as_str().unwrap().contains("`POST /v1/connections/{id}/connect`"), "{problem}");
    assert_eq!(scene.app.used_today(&scene.acme.live, "verifications").await, used);
    // What is wrong with the call is said first.
    let wrong = json!({ "to": NUMBER, "method": "inbound", "channels": ["whatsapp"] });
    assert_eq!(scene.app.starting(&scene.acme.live, wrong).await.wrong_fields(), ["channels"]);
}

#[tokio::test]
async fn there_is_no_code_to_check_and_nothing_to_send_again() {
    let scene = Scene::set().await;
    let (verification, token) = scene.started(NUMBER).await;
    for guess in ["123456", &token] {
        let refused = scene.app.checking(&scene.acme.live, &verification, guess).await;
        let detail = refused.problem(409, "verification_inbound")["detail"].clone();
        assert!(detail.as_str().unwrap().contains("the person writes to your number"), "{detail}");
    }
    let by_address = || scene.app.post("/v1/verifications/check").key(&scene.acme.live);
    by_address().json(json!({ "to": NUMBER, "code": "123456" })).await.problem(409, "verification_inbound");
    let resend = scene.app.post(format!("{}/resend", path(&verification))).key(&scene.acme.live).await;
    resend.problem(409, "verification_inbound");
    let wotp = json!({ "phone": NUMBER, "otp": "123456" });
    let said = scene.app.post("/api/otp/verify").key(&scene.acme.live).json(wotp).await.expect(200);
    assert_eq!(said["success"], false);
    // A code for the same number is checked beside it.
    let (with_code, code) = scene.app.started(&scene.acme.live, NUMBER).await;
    let right = by_address().json(json!({ "to": NUMBER, "code": code })).await.expect(200);
    assert_eq!((&right["valid"], &right["verification"]["id"]), (&json!(true), &with_code["id"]));
    assert_eq!(scene.status(&verification).await, "pending");
}

#[tokio::test]
async fn what_is_for_what_is_sent_is_refused() {
    let scene = Scene::set().await;
    for (field, value) in [
        ("code", json!("123456")),
        ("code_length", json!(8)),
        ("code_kind", json!("alpha")),
        ("template", json!("{{code}}")),
        ("channels", json!(["outbox"])),
        ("link", json!({})),
    ] {
        let mut body = json!({ "to": NUMBER, "method": "inbound" });
        body[field] = value;
        let wrong = scene.app.starting(&scene.acme.live, body).await.wrong_fields();
        assert!(wrong.contains(&field.to_owned()), "{field}: {wrong:?}");
    }
    let body = json!({ "to": "ada@example.com", "method": "inbound" });
    assert_eq!(scene.app.starting(&scene.acme.live, body).await.wrong_fields(), ["to"]);
}

#[tokio::test]
async fn it_counts_against_the_quota_and_not_as_something_that_was_sent() {
    let plan = "limits = { connections = 3, verifications_day = 3 }";
    let scene = Scene::of(TestApp::with().plan(plan).channel(Arc::new(Linked)).start().await).await;
    // A code a moment later is no second one for the address.
    scene.started(NUMBER).await;
    scene.started(NUMBER).await;
    scene.app.started(&scene.acme.live, NUMBER).await;
    let body = json!({ "to": NUMBER, "method": "inbound" });
    scene.app.starting(&scene.acme.live, body).await.problem(429, "quota_exceeded");
}

#[tokio::test]
async fn a_repeated_start_says_the_same() {
    let scene = Scene::set().await;
    let body = json!({ "to": NUMBER, "method": "inbound" });
    let start = || scene.app.starting(&scene.acme.live, body.clone()).header("idempotency-key", "\"one\"");
    let first = start().await.expect(201);
    scene.writes(OTHER, first["inbound"]["message"]["token"].as_str().unwrap()).await;
    assert_eq!(start().await.expect(201), first);
    assert_eq!(scene.app.used_today(&scene.acme.live, "verifications").await, 1);
}

#[tokio::test]
async fn neither_token_nor_number_stands_in_the_store() {
    let scene = Scene::set().await;
    let (verification, token) = scene.started(NUMBER).await;
    scene.writes(OTHER, &token).await;
    let absent = || {
        // The token's own end, of which nothing is in the id.
        for text in [&token[4 + 26..], &token[4 + 26..].to_lowercase(), OWN, PERSON, &OTHER[2..]] {
            assert!(!stored(&scene.app, text), "{text}");
        }
    };
    absent();
    scene.writes(PERSON, &token).await;
    absent();
    // With the end goes what would tell it.
    let again = scene.app.app.ports().store.tenant(scene.acme.id);
    let kept = again.find_verification(id(&verification).parse().unwrap()).await.unwrap().unwrap();
    assert!(kept.code.is_none() && kept.inbound.is_some());
}

#[tokio::test]
async fn a_tenant_that_is_not_served_hears_nothing_and_maintenance_only_delays() {
    let scene = Scene::set().await;
    let (verification, token) = scene.started(NUMBER).await;
    let operator = scene.app.operator().await;
    let maintenance = json!({ "message": "A new disk", "minutes": 10 });
    let begin = scene.app.request(Method::PUT, "/operator/v1/maintenance").by(&operator);
    begin.json(maintenance).await.expect(200);
    assert!(matches!(scene.written(PERSON, &token).await, Err(Refusal::Maintenance { .. })));
    scene.app.request(Method::DELETE, "/operator/v1/maintenance").by(&operator).await.expect(204);

    let tenant = format!("/operator/v1/tenants/{}", scene.acme.id);
    let suspend = scene.app.post(format!("{tenant}/suspend")).by(&operator).json(json!({ "reason": "unpaid" }));
    suspend.await.expect(200);
    assert_eq!(scene.writes(PERSON, &token).await, None);
    scene.app.post(format!("{tenant}/resume")).by(&operator).await.expect(200);
    assert_eq!(scene.status(&verification).await, "pending");
    assert_eq!(scene.writes(PERSON, &token).await.as_deref(), Some(DONE));
    assert_eq!(scene.status(&verification).await, "approved");
}
