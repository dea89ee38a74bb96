//! Verifications that a link approves: what is sent, what the page does, and what never approves.

mod browser;
mod pages;

use axum::http::Method;
use futures_util::FutureExt as _;
use serde_json::{Value, json};
use wotp_core::domain::audit::By;
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::domain::magic_link::MagicLink;

use crate::app::{NUMBER, TestApp, TestTenant, days, id, number, path, seconds, wrong};
use crate::client::{Reply, Request, race};
use crate::loopback::Loopback;

/// Where people reach the installation of these tests.
pub const ORIGIN: &str = "https://wotp.example.com";

/// A platform that knows where people reach it, and a tenant.
pub struct Scene {
    pub app: TestApp,
    pub acme: TestTenant,
}

impl Scene {
    pub async fn set() -> Self {
        let app = TestApp::with().http(|http| http.public_url = Some(ORIGIN.to_owned())).start().await;
        let acme = app.tenant("Acme").await;
        Self { app, acme }
    }

    /// A verification by link, started and delivered, and the path of the link that went out.
    pub async fn started(&self, to: &str) -> (Value, String) {
        self.started_as(json!({ "to": to, "method": "link" })).await
    }

    pub async fn started_as(&self, body: Value) -> (Value, String) {
        let verification = self.app.starting(&self.acme.live, body).await.expect(201);
        self.app.run_jobs().await;
        (verification, path_in(&self.app.outbox.last().text))
    }

    pub async fn status(&self, verification: &Value) -> String {
        self.app.read(&self.acme.live, verification).await["status"].as_str().expect("it has a status").to_owned()
    }

    /// What the tenant is told of approvals. Events are kept from the first time on that somebody asks for them.
    pub async fn approvals(&self) -> Vec<Value> {
        while self.app.app.fold(50).await.expect("the store answers").taken > 0 {}
        let page = self.app.get("/v1/events?type=verification.approved").key(&self.acme.live).await.expect(200);
        page["data"].as_array().expect("a page has events").iter().map(|event| event["data"].clone()).collect()
    }

    /// Presses the button, as a browser does.
    pub fn press(&self, link: &str) -> Request {
        self.app.post(link).header("sec-fetch-site", "same-origin").header("origin", "null")
    }
}

/// The path of the link in a message.
pub fn path_in(text: &str) -> String {
    let link = text.lines().last().expect("a message has lines");
    link.strip_prefix(ORIGIN).unwrap_or_else(|| panic!("{text} ends with no link")).to_owned()
}

/// The heading of a page, when its status is this one.
#[track_caller]
pub fn heading(reply: &Reply, status: u16) -> String {
    assert_eq!(reply.status, status, "{}", reply.text);
    assert_eq!(reply.header("content-type"), "text/html; charset=utf-8");
    let (_, rest) = reply.text.split_once("<h1>").expect("a page has a heading");
    rest.split_once("</h1>").expect("a heading has an end").0.to_owned()
}

const TITLE: &str = "Please confirm that it is you";
const DONE: &str = "Confirmed";
const USED: &str = "This link has already been used";
const EXPIRED: &str = "This link has expired";
const CANCELED: &str = "This link was withdrawn";
const UNKNOWN: &str = "This link is not valid";

#[tokio::test]
async fn a_link_goes_out_opens_a_page_and_approves_by_its_button() {
    let scene = Scene::set().await;
    assert!(scene.approvals().await.is_empty());
    let (verification, link) = scene.started(NUMBER).await;
    assert_eq!((&verification["method"], &verification["status"]), (&json!("link"), &json!("pending")));
    assert_eq!(verification["link"], json!({ "redirect_url": null, "same_browser": null }));
    assert!(verification.get("test_link").is_none() && verification.get("bind_url").is_none(), "{verification}");
    let letter = scene.app.outbox.last();
    assert_eq!((letter.code.as_str(), letter.subject.as_str()), ("", "Acme: Please confirm that it is you"));
    assert_eq!(
        letter.text,
        format!(
            "Acme: Open this link to confirm that it is you. If you did not ask for it, ignore this message.\n{ORIGIN}{link}"
        )
    );

    assert_eq!(heading(&scene.app.get(&*link).await, 200), TITLE);
    assert_eq!(scene.status(&verification).await, "pending");
    assert_eq!(heading(&scene.press(&link).await, 200), DONE);

    let approved = scene.app.read(&scene.acme.live, &verification).await;
    assert_eq!((&approved["status"], &approved["method"]), (&json!("approved"), &json!("link")));
    assert_eq!(approved["checks"], json!({ "used": 0, "allowed": 5 }));
    // A second press is nothing to worry about, and nothing that approves.
    assert_eq!(heading(&scene.press(&link).await, 410), USED);
    assert_eq!(heading(&scene.app.get(&*link).await, 410), USED);

    let told = scene.approvals().await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["id"], &told[0]["method"]), (&verification["id"], &json!("link")));
}

/// At once, and not when somebody looks again.
#[tokio::test]
async fn who_waits_is_told_of_the_press() {
    let scene = Scene::set().await;
    let (verification, link) = scene.started(NUMBER).await;
    let served = Loopback::serve(scene.app.router()).await;
    let mut waiting = served.get(&format!("{}?wait=60", path(&verification)), &scene.acme.live, &[]).await;
    let mut watch = scene.app.app.watch_verification(id(&verification).parse().expect("an id"));
    assert!(watch.changed().now_or_never().is_none());
    assert_eq!(heading(&scene.press(&link).await, 200), DONE);
    assert!(watch.changed().now_or_never().is_some());
    let told: Value = serde_json::from_str(&waiting.body().await.expect("it is whole")).expect("it is JSON");
    assert_eq!(told["status"], "approved");
}

#[tokio::test]
async fn nothing_that_only_reads_a_link_approves_it() {
    let scene = Scene::set().await;
    let (verification, link) = scene.started(NUMBER).await;
    let before = scene.app.read(&scene.acme.live, &verification).await;
    let rows = scene.app.rows();
    for _ in 0..3 {
        for (name, value) in [
            ("sec-purpose", "prefetch;prerender"),
            ("purpose", "prefetch"),
            ("user-agent", "WhatsApp/2.24 A"),
            ("user-agent", "facebookexternalhit/1.1"),
        ] {
            let read = scene.app.get(&*link).header(name, value).await;
            assert_eq!(heading(&read, 200), TITLE);
            let head = scene.app.request(Method::HEAD, &*link).header(name, value).await;
            assert_eq!((head.status, head.text.as_str()), (200, ""));
        }
    }
    for method in [Method::OPTIONS, Method::PUT, Method::PATCH, Method::DELETE] {
        assert_eq!(scene.app.request(method, &*link).await.status, 405);
    }
    assert_eq!(scene.app.read(&scene.acme.live, &verification).await, before);
    assert!(scene.app.rows() == rows, "reading wrote something");
    assert_eq!(heading(&scene.press(&link).await, 200), DONE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_50_racing_presses_one_approves() {
    let scene = Scene::set().await;
    assert!(scene.approvals().await.is_empty());
    let (verification, link) = scene.started(NUMBER).await;
    let replies = race(vec![scene.press(&link); 50]).await;
    let (approved, others): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!(approved.len(), 1);
    assert!(others.iter().all(|reply| heading(reply, 410) == USED));
    assert_eq!(scene.status(&verification).await, "approved");
    assert_eq!(scene.approvals().await.len(), 1, "it is told of once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_press_and_a_cancel_at_once_have_one_outcome() {
    let scene = Scene::set().await;
    for n in 0..10 {
        let (verification, link) = scene.started(&number(n)).await;
        let cancel = scene.app.post(format!("{}/cancel", path(&verification))).key(&scene.acme.live);
        let replies = race([scene.press(&link), cancel]).await;
        let status = scene.status(&verification).await;
        match (replies[0].status, replies[1].status) {
            (200, 409) => assert_eq!(status, "approved"),
            (410, 200) => assert_eq!(status, "canceled"),
            both => panic!("{both:?} came of it, and {status}"),
        }
    }
}

#[tokio::test]
async fn a_link_lives_as_long_as_its_verification() {
    let scene = Scene::set().await;
    let body = json!({ "to": NUMBER, "method": "link", "expires_in_seconds": 60 });
    let (verification, link) = scene.started_as(body).await;
    scene.app.clock.advance(seconds(59));
    assert_eq!(heading(&scene.app.get(&*link).await, 200), TITLE);
    scene.app.clock.advance(seconds(1));
    // Nobody has swept yet: the time alone decides.
    assert_eq!(heading(&scene.app.get(&*link).await, 410), EXPIRED);
    assert_eq!(heading(&scene.press(&link).await, 410), EXPIRED);
    assert_eq!(scene.status(&verification).await, "expired");
    scene.app.sweep().await;
    assert_eq!(heading(&scene.press(&link).await, 410), EXPIRED);
}

#[tokio::test]
async fn a_canceled_link_says_so_and_one_that_never_got_out_is_nobodys() {
    let scene = Scene::set().await;
    let (verification, link) = scene.started(&number(1)).await;
    scene.app.post(format!("{}/cancel", path(&verification))).key(&scene.acme.live).await.expect(200);
    assert_eq!(heading(&scene.app.get(&*link).await, 410), CANCELED);
    assert_eq!(heading(&scene.press(&link).await, 410), CANCELED);
    assert_eq!(scene.status(&verification).await, "canceled");

    scene.app.outbox.refuses_next(DeliveryFailure::Rejected);
    scene.app.spare.refuses_next(DeliveryFailure::Rejected);
    let (refused, link) = scene.started(&number(2)).await;
    assert_eq!(heading(&scene.press(&link).await, 404), UNKNOWN);
    assert_eq!(scene.app.read(&scene.acme.live, &refused).await["reason"], "undeliverable");
    assert_eq!(scene.app.used_today(&scene.acme.live, "verifications").await, 1, "what never got out costs nothing");
}

#[tokio::test]
async fn no_link_but_its_own_approves_a_verification() {
    let scene = Scene::set().await;
    let (one, link) = scene.started(&number(1)).await;
    let (other, link_of_other) = scene.started(&number(2)).await;
    let token = |link: &str| link["/l/".len()..].to_owned();
    let (whole, of_other) = (token(&link), token(&link_of_other));
    let mut wrong_ones = vec![
        String::from("x"),
        whole[..73].to_owned(),
        format!("{whole}A"),
        whole.to_lowercase(),
        "A".repeat(74),
        "%00".to_owned(),
        "%ff%fe".to_owned(),
        // The ids of the one with what approves the other.
        format!("{}{}", &whole[..43], &of_other[43..]),
    ];
    for at in [0, 20, 42, 50, 63, 73] {
        let mut changed = whole.clone();
        changed.replace_range(at..=at, if &whole[at..=at] == "A" { "B" } else { "A" });
        wrong_ones.push(changed);
    }
    // One with the right seal, as only we can make it, and another secret.
    let ports = scene.app.app.ports();
    let guessed = MagicLink::draw(scene.acme.id, id(&one).parse().unwrap(), &*ports.entropy).reveal(&ports.vault);
    wrong_ones.push(guessed.to_string());
    for text in wrong_ones {
        let path = format!("/l/{text}");
        assert_eq!(heading(&scene.app.get(&*path).await, 404), UNKNOWN, "{text}");
        assert_eq!(heading(&scene.press(&path).await, 404), UNKNOWN, "{text}");
    }
    for verification in [&one, &other] {
        let untouched = scene.app.read(&scene.acme.live, verification).await;
        assert_eq!((&untouched["status"], &untouched["checks"]["used"]), (&json!("pending"), &json!(0)));
    }
    assert_eq!(heading(&scene.press(&link_of_other).await, 200), DONE);
    assert_eq!(scene.status(&one).await, "pending");
}

#[tokio::test]
async fn there_is_no_code_to_check() {
    let scene = Scene::set().await;
    let (verification, link) = scene.started(NUMBER).await;
    let token = link["/l/".len()..].to_owned();
    for guess in ["123456", &token] {
        let refused = scene.app.checking(&scene.acme.live, &verification, guess).await;
        let detail = refused.problem(409, "verification_has_link")["detail"].clone();
        assert!(detail.as_str().unwrap().contains("opens the link and presses the button"), "{detail}");
    }
    let by_address = || scene.app.post("/v1/verifications/check").key(&scene.acme.live);
    by_address().json(json!({ "to": NUMBER, "code": "123456" })).await.problem(409, "verification_has_link");
    let untouched = scene.app.read(&scene.acme.live, &verification).await;
    assert_eq!((&untouched["status"], &untouched["checks"]["used"]), (&json!("pending"), &json!(0)));

    // A code for the same address is checked beside it, and guesses at it are none at the link.
    scene.app.clock.advance(seconds(60));
    let (with_code, code) = scene.app.started(&scene.acme.live, NUMBER).await;
    let guessed = by_address().json(json!({ "to": NUMBER, "code": wrong(&code) })).await.expect(200);
    assert_eq!((&guessed["valid"], &guessed["verification"]["id"]), (&json!(false), &with_code["id"]));
    let right = by_address().json(json!({ "to": NUMBER, "code": code })).await.expect(200);
    assert_eq!((&right["valid"], &right["verification"]["id"]), (&json!(true), &with_code["id"]));
    // What has ended answers too, and not the link that was sent last.
    scene.app.clock.advance(seconds(60));
    scene.started(NUMBER).await;
    let again = by_address().json(json!({ "to": NUMBER, "code": code })).await.expect(200);
    assert_eq!((&again["valid"], &again["verification"]["id"]), (&json!(false), &with_code["id"]));
}

#[tokio::test]
async fn a_resend_and_a_retry_carry_the_same_link() {
    let scene = Scene::set().await;
    let (verification, link) = scene.started(NUMBER).await;
    let resend = || scene.app.post(format!("{}/resend", path(&verification))).key(&scene.acme.live);
    resend().await.problem(429, "cool_down");
    scene.app.clock.advance(seconds(30));
    scene.app.outbox.next(crate::outbox::Answer::AsksToWait(seconds(5)));
    resend().await.expect(200);
    scene.app.run_jobs().await;
    scene.app.clock.advance(seconds(5));
    scene.app.sweep().await;
    scene.app.run_jobs().await;
    let sent: Vec<_> = scene.app.outbox.letters().iter().map(|letter| path_in(&letter.text)).collect();
    assert_eq!(sent, [&*link, &link, &link]);
    assert_eq!(heading(&scene.press(&link).await, 200), DONE);
    resend().await.problem(409, "verification_ended");
}

#[tokio::test]
async fn a_repeated_start_sends_one_link() {
    let scene = Scene::set().await;
    let bound = json!({ "same_browser": { "return_url": "https://app.example.com/wait" } });
    let start = |link: &Value| {
        let body = json!({ "to": NUMBER, "method": "link", "link": link });
        scene.app.starting(&scene.acme.live, body).header("idempotency-key", "\"one\"")
    };
    let first = start(&bound).await.expect(201);
    let repeated = start(&bound).await.expect(201);
    assert_eq!(first, repeated);
    assert!(first["bind_url"].is_string(), "{first}");
    start(&json!({})).await.problem(422, "idempotency_key_reused");
    scene.app.run_jobs().await;
    assert_eq!(scene.app.outbox.letters().len(), 1);
}

#[tokio::test]
async fn a_link_counts_as_a_code_does_against_quota_and_limits() {
    let with_url = |http: &mut wotp_server::http::HttpSettings| http.public_url = Some(ORIGIN.to_owned());
    let app = TestApp::with().plan("limits = { verifications_day = 2 }").http(with_url).start().await;
    let acme = app.tenant("Acme").await;
    let start = |to: String| app.starting(&acme.live, json!({ "to": to, "method": "link" }));
    start(number(1)).await.expect(201);
    start(number(1)).await.problem(429, "cool_down");
    start(number(2)).await.expect(201);
    start(number(3)).await.problem(429, "quota_exceeded");
    app.run_jobs().await;
    assert_eq!(app.outbox.letters().len(), 2);
}

#[tokio::test]
async fn without_a_public_url_a_link_is_refused_with_the_setting_that_is_missing() {
    let (app, acme) = TestApp::start_with_tenant().await;
    let refused = app.starting(&acme.live, json!({ "to": NUMBER, "method": "link" })).await;
    let problem = refused.problem(422, "links_unavailable");
    assert!(problem["detail"].as_str().unwrap().contains("`auth.public_url`"), "{problem}");
    assert_eq!(problem["retryable"], false);
    assert_eq!(app.used_today(&acme.live, "verifications").await, 0);
    assert!(app.next_job().await.is_none(), "nothing is to be sent");
    app.started(&acme.live, NUMBER).await;
}

#[tokio::test]
async fn a_test_key_is_told_the_link_and_nothing_is_sent() {
    let scene = Scene::set().await;
    let started = scene.app.starting(&scene.acme.test, json!({ "to": NUMBER, "method": "link" })).await.expect(201);
    scene.app.run_jobs().await;
    assert!(scene.app.outbox.letters().is_empty());
    assert!(started.get("test_code").is_none(), "{started}");
    let link = path_in(started["test_link"].as_str().unwrap());
    let read = scene.app.read(&scene.acme.test, &started).await;
    assert_eq!((&read["test_link"], &read["deliveries"][0]["status"]), (&started["test_link"], &json!("delivered")));
    scene.app.get(path(&started)).key(&scene.acme.live).await.problem(404, "not_found");
    assert_eq!(heading(&scene.press(&link).await, 200), DONE);
    let approved = scene.app.read(&scene.acme.test, &started).await;
    assert_eq!(approved["status"], "approved");
    assert!(approved.get("test_link").is_none(), "it is of no use any more: {approved}");
}

#[tokio::test]
async fn what_a_call_mixes_up_is_named() {
    let scene = Scene::set().await;
    let wrong = async |body: Value| {
        let mut whole = json!({ "to": NUMBER });
        whole.as_object_mut().unwrap().extend(body.as_object().unwrap().clone());
        scene.app.starting(&scene.acme.live, whole).await.wrong_fields()
    };
    assert_eq!(wrong(json!({ "link": {} })).await, ["link"]);
    assert_eq!(wrong(json!({ "method": "code", "link": { "redirect_url": null } })).await, ["link"]);
    let of_codes = json!({
        "method": "link", "code": "123456", "code_length": 6, "code_kind": "alpha", "template": "{{code}}"
    });
    let mut named = wrong(of_codes).await;
    named.sort();
    named.dedup();
    assert_eq!(named, ["code", "code_kind", "code_length", "template"]);
    let urls = json!({ "redirect_url": "http://app.example.com", "same_browser": { "return_url": "javascript:1" } });
    assert_eq!(
        wrong(json!({ "method": "link", "link": urls })).await,
        ["link.redirect_url", "link.same_browser.return_url"]
    );
    assert!(scene.app.next_job().await.is_none(), "nothing is to be sent");
}

#[tokio::test]
async fn whose_tenant_is_stopped_approves_nothing_and_maintenance_waits() {
    let scene = Scene::set().await;
    let (verification, link) = scene.started(NUMBER).await;
    let operator = scene.app.operator().await;
    let tenant = format!("/operator/v1/tenants/{}", scene.acme.id);
    let suspend = scene.app.post(format!("{tenant}/suspend")).by(&operator).json(json!({ "reason": "unpaid" }));
    suspend.await.expect(200);
    assert_eq!(heading(&scene.app.get(&*link).await, 404), UNKNOWN);
    assert_eq!(heading(&scene.press(&link).await, 404), UNKNOWN);
    scene.app.post(format!("{tenant}/resume")).by(&operator).await.expect(200);
    assert_eq!(scene.status(&verification).await, "pending");

    scene.app.app.begin_maintenance(&By::command_line(), "a larger database", 5).await.expect("it begins");
    assert_eq!(heading(&scene.app.get(&*link).await, 200), TITLE);
    let waits = scene.press(&link).await;
    assert_eq!(heading(&waits, 503), "That did not work just now. Please try again in a moment.");
    assert_eq!(waits.retry_after(), 5);
    assert_eq!(scene.status(&verification).await, "pending");
    scene.app.app.end_maintenance(&By::command_line()).await.expect("it ends");
    assert_eq!(heading(&scene.press(&link).await, 200), DONE);
}

#[tokio::test]
async fn who_waits_for_a_change_hears_of_the_press() {
    let scene = Scene::set().await;
    let (verification, link) = scene.started(NUMBER).await;
    let served = Loopback::serve(scene.app.router()).await;
    let waiting = format!("{}?wait=30", path(&verification));
    let mut reply = served.get(&waiting, &scene.acme.live, &[]).await;
    assert_eq!(heading(&scene.press(&link).await, 200), DONE);
    let told: Value = serde_json::from_str(&reply.body().await.expect("it is whole")).expect("it is JSON");
    assert_eq!(told["status"], "approved");
}

#[tokio::test]
async fn what_approves_is_erased_at_the_end_and_what_names_a_person_with_the_address() {
    let scene = Scene::set().await;
    let url = "https://app.example.com/welcome?person=ada";
    let bound = json!({ "return_url": "https://app.example.com/wait?person=ada" });
    let body = json!({ "to": NUMBER, "method": "link", "link": { "redirect_url": url, "same_browser": bound } });
    let (verification, link) = scene.started_as(body).await;
    let stored = async || {
        let store = scene.app.app.ports().store.tenant(scene.acme.id);
        store.find_verification(id(&verification).parse().unwrap()).await.unwrap().unwrap()
    };
    assert!(stored().await.code.is_some());
    scene.app.post(format!("{}/cancel", path(&verification))).key(&scene.acme.live).await.expect(200);
    assert!(stored().await.code.is_none(), "neither hash nor sealed copy is left");
    scene.app.clock.advance(days(40));
    scene.app.sweep().await;
    let redacted = scene.app.read(&scene.acme.live, &verification).await;
    assert_eq!((&redacted["to"], &redacted["method"]), (&json!(null), &json!("link")));
    assert_eq!(redacted["link"], json!({ "redirect_url": null, "same_browser": null }));
    assert!(!scene.app.rows().iter().any(|(_, row)| String::from_utf8_lossy(row).contains("person=ada")));
    // Whoever still has the link is told that it is over, and by whom it was.
    assert_eq!(heading(&scene.app.get(&*link).await, 410), CANCELED);
}
