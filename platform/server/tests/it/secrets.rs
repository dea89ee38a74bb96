//! What must not be found: not in the log, not in the metrics, not in the store's files.

use std::io::Write;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::json;
use tracing_subscriber::fmt::MakeWriter;
use wotp_core::app::WrittenMessage;
use wotp_core::domain::dispatch::DeliveryFailure;

use crate::app::{TestApp, days, id, number, path, seconds};
use crate::inbound::connected;
use crate::links::{ORIGIN, path_in};
use crate::outbox::Answer;
use crate::sessions::Linked;

/// Everything that was ever logged in this process.
static LOG: LazyLock<Mutex<Vec<u8>>> = LazyLock::new(Mutex::default);

struct Capture;

impl Write for Capture {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        LOG.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Capture {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        Self
    }
}

/// What nobody but the addressee may read: long enough that no chance repeats it.
struct Secrets(Vec<String>);

impl Secrets {
    fn of(texts: impl IntoIterator<Item = String>) -> Self {
        Self(texts.into_iter().inspect(|text| assert!(text.len() >= 9, "{text} could be there by chance")).collect())
    }

    #[track_caller]
    fn assert_absent(&self, place: &str, bytes: &[u8]) {
        for secret in &self.0 {
            let found = bytes.windows(secret.len()).position(|window| window.eq_ignore_ascii_case(secret.as_bytes()));
            if let Some(at) = found {
                let around = &bytes[at.saturating_sub(200)..(at + 200).min(bytes.len())];
                panic!("{place} holds {secret}: {}", String::from_utf8_lossy(around));
            }
        }
    }
}

const PHONE: &str = "+12025550187";
const SECOND_PHONE: &str = "+447700900987";
const THIRD_PHONE: &str = "+447700900988";
const OWN_PHONE: &str = "+12025550155";
const EMAIL: &str = "ada.lovelace@example.com";
const CONTENT: &str = "The gardener did it, in the library.";

/// Every kind of call, and every way for it to fail.
async fn busy_day(app: &TestApp) -> Secrets {
    let acme = app.tenant("Acme").await;
    let whole = app.key(&acme, |_| {}).await;
    app.change_service(&acme, json!({ "code": { "custom_allowed": true, "length": 12 } })).await;
    let mut codes = Vec::new();

    // Delivered, guessed wrong, resent, approved.
    let (verification, code) = app.started(&whole, PHONE).await;
    app.checking(&whole, &verification, "998877665544").await.expect(200);
    app.clock.advance(seconds(30));
    app.post(format!("{}/resend", path(&verification))).key(&acme.live).await.expect(200);
    app.run_jobs().await;
    app.post("/v1/verifications/check").key(&acme.live).json(json!({ "to": PHONE, "code": code })).await.expect(200);
    codes.push(code);

    // Every way for a channel to fail.
    app.outbox.next(Answer::StaysSilent);
    app.spare.refuses_next(DeliveryFailure::InvalidRecipient);
    let chosen = json!({ "to": SECOND_PHONE, "code": "ZQXJKVWPHM", "metadata": { "note": "n" } });
    codes.push(app.started_as(&acme.live, chosen).await.1);
    app.outbox.next(Answer::AsksToWait(seconds(5)));
    app.outbox.next(Answer::Breaks);
    let (canceled, code) = app.started(&acme.live, THIRD_PHONE).await;
    codes.push(code);
    app.clock.advance(seconds(5));
    app.sweep().await;
    app.run_jobs().await;
    app.post(format!("{}/cancel", path(&canceled))).key(&acme.live).await.expect(200);
    app.outbox.refuses_next(DeliveryFailure::Rejected);
    codes.push(app.started(&acme.live, EMAIL).await.1);
    codes.push(app.started(&acme.test, PHONE).await.1);

    // A message, and the WOTP paths.
    let message = json!({ "to": PHONE, "content": CONTENT });
    app.post("/v1/messages").key(&acme.live).json(message).await.expect(201);
    app.post("/api/otp/verify")
        .key(&acme.live)
        .json(json!({ "phone": PHONE, "otp": "998877665544" }))
        .await
        .expect(200);
    app.run_jobs().await;

    // A link: opened, pressed, and bound to a browser.
    let terms = json!({ "same_browser": { "return_url": "https://app.example.com/" } });
    let body = json!({ "to": number(1), "method": "link", "link": terms });
    let linked = app.starting(&acme.live, body).await.expect(201);
    app.outbox.next(Answer::Breaks);
    app.run_jobs().await;
    let link = path_in(&app.outbox.last().text);
    let bind = path_in(linked["bind_url"].as_str().unwrap());
    let bound = app.get(&*bind).await;
    let cookie = bound.header("set-cookie").split(';').next().unwrap();
    assert_eq!(app.post(&*link).await.status, 403);
    assert_eq!(app.get(&*link).header("cookie", cookie).await.status, 200);
    app.get(format!("{link}A")).await;
    // What approves, as it is sealed: the last but 6 of the link's bytes.
    let bytes = BASE64URL.decode(&link["/l/".len()..]).unwrap();
    codes.push(BASE64URL.encode(&bytes[32..48]));
    codes.push(link["/l/".len()..].to_owned());
    codes.push(bind["/l/browser/".len()..].to_owned());
    codes.push(cookie.split_once('=').unwrap().1.to_owned());
    app.post(&*link).header("cookie", cookie).await;

    // Messages of people: to confirm themselves, from another number, and whatever else.
    let mut globex = app.tenant("Globex").await;
    globex.live = app.key(&globex, |_| {}).await;
    let (_, to) = connected(app, &globex, &OWN_PHONE[1..]).await;
    let inbound = json!({ "to": PHONE, "method": "inbound" });
    for key in [&globex.live, &globex.test] {
        let asked = app.starting(key, inbound.clone()).await.expect(201);
        let token = asked["inbound"]["message"]["token"].as_str().unwrap().to_owned();
        let simulate = app.post(format!("{}/simulate-message", path(&asked))).key(key);
        simulate.json(json!({ "from": SECOND_PHONE, "text": token })).await;
        for (from, text) in [(SECOND_PHONE, &*token), (PHONE, CONTENT), (PHONE, &token[..43]), (PHONE, &*token)] {
            let sent_at = app.app.ports().clock.now();
            let written = WrittenMessage { to, from: &from[1..], text, sent_at };
            app.app.take_in_message(written).await.unwrap();
        }
        // The id is no secret: what is behind it.
        codes.push(token[4 + 26..].to_owned());
    }

    // Refusals of all kinds.
    codes.push(app.started(&acme.live, PHONE).await.1);
    app.starting(&acme.live, json!({ "to": PHONE })).await.problem(429, "cool_down");
    app.starting(&acme.live, json!({ "to": format!("{PHONE}9999") })).await.wrong_fields();
    app.starting(&acme.live, json!({ "to": PHONE, "code": 998_877_665_544_u64 })).await.wrong_fields();
    app.starting(&acme.live[..40], json!({ "to": PHONE })).await.expect(401);
    app.get(format!("/v1/verifications?address=%2B{}", &PHONE[1..])).key(&acme.live).await.expect(200);
    app.get(format!("/v1/nothing/{PHONE}")).key(&acme.live).await.expect(404);
    app.get("/v1/services").key(&acme.live).await.expect(200);

    let digits = [PHONE, SECOND_PHONE, THIRD_PHONE, OWN_PHONE].map(|phone| phone[phone.len() - 10..].to_owned());
    // The part of a key after its prefix: the first four characters may be shown.
    let keys = [&acme.live, &acme.test, &whole].map(|key| key[12..].to_owned());
    let others = [EMAIL, CONTENT, "998877665544"].map(str::to_owned);
    Secrets::of(codes.into_iter().chain(digits).chain(keys).chain(others))
}

#[tokio::test]
async fn neither_log_nor_metrics_nor_jobs_hold_a_code_an_address_or_a_key() {
    // For the whole process: a log line of another test is no more allowed to tell.
    tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false).with_writer(Capture).init();
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let app = TestApp::with()
        .channel(Arc::new(Linked))
        .http(|http| {
            http.metrics = handle;
            http.public_url = Some(ORIGIN.to_owned());
        })
        .start()
        .await;
    let secrets = busy_day(&app).await;

    let log = LOG.lock().unwrap().clone();
    let text = String::from_utf8_lossy(&log);
    for said in ["did not acknowledge in time", "a channel did not send", "route=\"/v1/verifications/{id}/check\""] {
        assert!(text.contains(said), "the log was captured, and says {said:?}: {text}");
    }
    secrets.assert_absent("the log", &log);

    let metrics = app.get("/metrics").await;
    assert!(metrics.text.contains("wotp_http_requests_total"), "{}", metrics.text);
    secrets.assert_absent("/metrics", metrics.text.as_bytes());
}

#[tokio::test]
async fn a_job_holds_ids_only() {
    let (app, acme) = TestApp::start_with_tenant().await;
    app.change_service(&acme, json!({ "code": { "length": 12 } })).await;
    let verification = app.starting(&acme.live, json!({ "to": PHONE })).await.expect(201);
    let job = app.next_job().await.expect("the start rang");
    let (shown, stored) = (format!("{job:?}"), serde_json::to_string(&job).expect("a job serialises"));
    assert!(shown.contains(id(&verification)) && stored.contains(id(&verification)));
    app.app.deliver(job, ()).await.expect("a job is done");
    let secrets = Secrets::of([app.outbox.last().code, PHONE[1..].to_owned()]);
    secrets.assert_absent("a job", shown.as_bytes());
    secrets.assert_absent("a job", stored.as_bytes());
}

#[tokio::test]
async fn a_stolen_store_tells_neither_codes_nor_addresses_nor_keys() {
    let with_url = |http: &mut wotp_server::http::HttpSettings| http.public_url = Some(ORIGIN.to_owned());
    let app = TestApp::with().channel(Arc::new(Linked)).http(with_url).start().await;
    let secrets = busy_day(&app).await;
    let stolen = app.stolen();
    let log = |name: &str| name.ends_with("-wal") || name == "verifications";
    assert!(stolen.iter().any(|(name, bytes)| log(name) && !bytes.is_empty()), "the newest records are stolen too");
    for (name, bytes) in &stolen {
        secrets.assert_absent(name, bytes);
    }
    app.clock.advance(days(40));
    app.sweep().await;
    for (name, bytes) in &app.stolen() {
        secrets.assert_absent(name, bytes);
    }
}
