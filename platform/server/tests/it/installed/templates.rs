//! Authentication templates at Meta: looked at, and made where the settings ask for that, through the real component and
//! a server of ours in Meta's published shapes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::sync::Barrier;
use wotp_core::ports::Owner;

use super::{Stage, altered, meta};
use crate::app::{TestTenant, id};
use crate::audit::{ACCOUNTS, entries, tell};
use crate::client::Request;
use crate::loopback::Loopback;

const TOKEN: &str = "EAAJB-of-acme";
const APP_SECRET: &str = "0123456789abcdef0123456789abcdef";
const ACCOUNT: &str = "102290129340398";
/// Of the number that codes come from.
const NUMBER: &str = "106540352242922";

/// What Meta has, and does.
struct At {
    templates: Vec<Value>,
    /// How one is that was made.
    made: &'static str,
    /// Bodies that templates were made of.
    asked: Vec<Value>,
    /// What it was to send, in the shape that it takes.
    sent: Vec<Value>,
    /// Where it answers nothing but that.
    only: Option<(u16, Value)>,
    /// Whoever lists templates waits for each other.
    together: Option<Arc<Barrier>>,
}

/// Meta's Graph API, for one WhatsApp Business Account. Source: developers.facebook.com/docs/graph-api/reference/
/// whats-app-business-account/message_templates, and /docs/whatsapp/cloud-api/reference/messages.
struct Meta {
    loopback: Loopback,
    at: Arc<Mutex<At>>,
}

type Answer = (StatusCode, Json<Value>);

fn error(status: u16, code: u32, subcode: Option<u32>, message: &str) -> Answer {
    let mut error = json!({ "message": message, "type": "OAuthException", "code": code, "fbtrace_id": "AbCdEf" });
    if let Some(subcode) = subcode {
        error["error_subcode"] = json!(subcode);
    }
    (StatusCode::from_u16(status).unwrap(), Json(json!({ "error": error })))
}

/// Whether Meta answers something else, whatever `of` is asked that is here as `id`.
fn refused(at: &At, of: &str, id: &str, headers: &HeaderMap) -> Option<Answer> {
    if let Some((status, body)) = &at.only {
        return Some((StatusCode::from_u16(*status).unwrap(), Json(body.clone())));
    }
    let token = format!("Bearer {TOKEN}");
    if headers.get("authorization").is_none_or(|given| *given != token) {
        return Some(error(401, 190, None, "Error validating access token"));
    }
    let unknown = format!("Unsupported request. Object with ID '{id}' does not exist");
    (id != of).then(|| error(400, 100, Some(33), &unknown))
}

/// What Meta answers where it takes only another shape.
fn misshapen(wrong: &str) -> Answer {
    error(400, 100, None, &format!("(#100) {wrong}"))
}

async fn list(
    State(at): State<Arc<Mutex<At>>>,
    Path(id): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
) -> Answer {
    let (answer, together) = {
        let at = at.lock().unwrap();
        // As Meta does: all that hold the name in theirs.
        let like = |template: &&Value| template["name"].as_str().unwrap().contains(&query["name"]);
        let data: Vec<_> = at.templates.iter().filter(like).cloned().collect();
        let page = json!({ "data": data, "paging": { "cursors": { "before": "MAZDZD", "after": "MjQZD" } } });
        (refused(&at, ACCOUNT, &id, &headers).unwrap_or((StatusCode::OK, Json(page))), at.together.clone())
    };
    if let Some(together) = together {
        together.wait().await;
    }
    answer
}

async fn make(
    State(at): State<Arc<Mutex<At>>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let mut at = at.lock().unwrap();
    if let Some(refused) = refused(&at, ACCOUNT, &id, &headers) {
        return refused;
    }
    if let Err(wrong) = meta::template(&body) {
        return misshapen(&wrong);
    }
    at.asked.push(body.clone());
    let same = |template: &Value| template["name"] == body["name"] && template["language"] == body["language"];
    if at.templates.iter().any(same) {
        return error(400, 100, Some(2_388_024), "Invalid parameter");
    }
    let made = json!({ "id": "594425479261596", "status": at.made, "category": body["category"] });
    let mut template = made.clone();
    (template["name"], template["language"]) = (body["name"].clone(), body["language"].clone());
    at.templates.push(template);
    (StatusCode::OK, Json(made))
}

async fn send(
    State(at): State<Arc<Mutex<At>>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    Json(body): Json<Value>,
) -> Answer {
    let mut at = at.lock().unwrap();
    if let Some(refused) = refused(&at, NUMBER, &id, &headers) {
        return refused;
    }
    if let Err(wrong) = meta::message(&body) {
        return misshapen(&wrong);
    }
    at.sent.push(body.clone());
    let (name, language) = (&body["template"]["name"], &body["template"]["language"]["code"]);
    let found = at.templates.iter().find(|template| template["name"] == *name && template["language"] == *language);
    match found.and_then(|template| template["status"].as_str()) {
        Some("APPROVED") => {
            let messages = json!([{ "id": "wamid.HBgL", "message_status": "accepted" }]);
            (StatusCode::OK, Json(json!({ "messaging_product": "whatsapp", "messages": messages })))
        }
        Some("PAUSED") => error(400, 132_015, None, "Template is Paused"),
        _ => error(404, 132_001, None, "Template name does not exist in the translation"),
    }
}

impl Meta {
    async fn start() -> Self {
        let at = At {
            templates: Vec::new(),
            made: "PENDING",
            asked: Vec::new(),
            sent: Vec::new(),
            only: None,
            together: None,
        };
        let at = Arc::new(Mutex::new(at));
        let router = Router::new()
            .route("/v24.0/{id}/message_templates", get(list).post(make))
            .route("/v24.0/{id}/messages", post(send))
            .with_state(Arc::clone(&at));
        Self { loopback: Loopback::serve(router).await, at }
    }

    fn now<T>(&self, change: impl FnOnce(&mut At) -> T) -> T {
        change(&mut self.at.lock().unwrap())
    }

    /// All templates are this from now on.
    fn decides(&self, status: &str, more: &Value) {
        self.now(|at| {
            for template in &mut at.templates {
                template["status"] = json!(status);
                template.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            }
        });
    }

    /// What a connection is made of.
    fn account(&self, more: &Value) -> Value {
        let mut config = json!({
            "phone_number_id": NUMBER, "template": "login_code", "verify_token": "mine-alone",
            "business_account_id": ACCOUNT, "api": format!("http://{}", self.loopback.host()),
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!({ "channel": "sms", "config": config, "secrets": { "access_token": TOKEN, "app_secret": APP_SECRET } })
    }
}

impl Stage {
    /// `whatsapp-cloud`, to which tenants bring accounts, with this machine in the place of Meta's: the component names no
    /// other host.
    async fn with_meta(&self, meta: &Meta) -> TestTenant {
        let host = meta.loopback.host();
        let port = host.rsplit(':').next().unwrap();
        // As long as what it names.
        let component = altered("whatsapp_cloud", "graph.facebook.com", &format!("127.0.0.1:{port:0>8}"));
        self.runs(&component, &[host], "required").await;
        self.tenant_who_connects("Acme").await
    }
}

/// How each of what was looked at stands.
fn states(connection: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = connection["account"]["findings"].as_array().expect("it was looked at");
    findings.iter().map(|finding| (text(&finding["name"]), text(&finding["state"]))).collect()
}

fn state(connection: &Value) -> String {
    let [(_, state)] = &states(connection)[..] else { panic!("of one language: {connection}") };
    state.clone()
}

#[tokio::test]
async fn a_template_is_made_is_pending_is_approved_and_codes_go_out_with_it_whichever_its_button() {
    let stage = Stage::set().await;
    let meta = Meta::start().await;
    let acme = stage.with_meta(&meta).await;
    let app = json!({ "package_name": "com.example.acme", "signature_hash": "K8a/AINcGX7" });
    let pending = |name: &str| (name.to_owned(), "PENDING".to_owned());
    for (create, button) in [
        (json!({ "button": "copy_code", "expires_in_minutes": 10 }), json!({ "type": "OTP", "otp_type": "COPY_CODE" })),
        (
            json!({ "button": "one_tap", "apps": [app], "expires_in_minutes": 10 }),
            json!({ "type": "OTP", "otp_type": "ONE_TAP", "supported_apps": [app] }),
        ),
        (
            json!({ "button": "zero_tap", "apps": [app], "zero_tap_terms_accepted": true, "expires_in_minutes": 10 }),
            json!({ "type": "OTP", "otp_type": "ZERO_TAP", "supported_apps": [app], "zero_tap_terms_accepted": true }),
        ),
    ] {
        let body = meta.account(&json!({ "languages": ["en_US", "pt_BR"], "create": create }));
        let made = stage.connecting(&acme, &body).await.expect(201);
        assert_eq!(states(&made), [pending("login_code, en_US"), pending("login_code, pt_BR")], "{made}");
        assert_eq!((&made["account"]["usable"], &made["account"]["unanswered"]), (&json!(false), &Value::Null));
        assert!(made["problem"].as_str().unwrap().contains("login_code, en_US is PENDING: Meta looks at it"), "{made}");
        assert_eq!(
            meta.now(|at| at.asked[0].clone()),
            json!({
                "name": "login_code", "language": "en_US", "category": "AUTHENTICATION",
                "components": [
                    { "type": "BODY", "add_security_recommendation": true },
                    { "type": "FOOTER", "code_expiration_minutes": 10 },
                    { "type": "BUTTONS", "buttons": [button] },
                ],
            })
        );
        // Not yet: with another channel behind it, that one would have it.
        let refused = stage.delivery_of(&acme).await;
        assert_eq!((&refused["status"], &refused["reason"]), (&json!("failed"), &json!("misconfigured")), "{refused}");
        // Looked at again, it is not made again.
        assert_eq!(states(&stage.checking(&acme, &made).await.expect(200)).len(), 2);
        assert_eq!(meta.now(|at| at.asked.len()), 2);
        meta.decides("APPROVED", &json!({ "quality_score": { "score": "GREEN", "date": 1_795_348_800 } }));
        let checked = stage.checking(&acme, &made).await.expect(200);
        assert_eq!((&checked["account"]["usable"], &checked["problem"]), (&json!(true), &Value::Null), "{checked}");
        // It is kept, and whoever reads it asks nobody.
        meta.now(|at| at.only = Some((500, json!({}))));
        assert_eq!(stage.of_connection(Method::GET, &acme, &made).await.expect(200), checked);
        meta.now(|at| at.only = None);
        assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
        // A message is the same whichever button there is.
        let sent = meta.now(|at| at.sent.pop()).expect("a message came")["template"].clone();
        let code = &sent["components"][0]["parameters"][0]["text"];
        assert!(code.as_str().is_some_and(|code| code.len() == 6), "{sent}");
        let parameters = json!([{ "type": "text", "text": code }]);
        assert_eq!(
            sent,
            json!({
                "name": "login_code", "language": { "code": "en_US" },
                "components": [
                    { "type": "body", "parameters": parameters },
                    { "type": "button", "sub_type": "url", "index": "0", "parameters": parameters },
                ],
            })
        );
        tell(&stage.app, Some(acme.id), ACCOUNTS).await;
        let log = entries(&stage.app, Owner::Tenant(acme.id)).await;
        let last = log.iter().rfind(|entry| entry["action"] == "connection.check").unwrap();
        let findings = json!({ "login_code, en_US": "APPROVED", "login_code, pt_BR": "APPROVED" });
        assert_eq!((&last["target"], &last["after"]["findings"]), (&made["id"], &findings));
        assert!(!format!("{log:?}").contains(TOKEN));
        // Of the next one there is nothing yet.
        stage.of_connection(Method::DELETE, &acme, &made).await.expect(204);
        meta.now(|at| {
            at.templates.clear();
            at.asked.clear();
        });
    }
}

#[tokio::test]
async fn meta_takes_nothing_with_another_token_of_another_account_or_in_another_shape() {
    let meta = Meta::start().await;
    let asked = async |token: &str, account: &str, number: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
        let (at, account, number) = (&meta.at, account.to_owned(), number.to_owned());
        let made = make(State(Arc::clone(at)), Path(account), headers.clone(), Json(json!({}))).await;
        let sent = send(State(Arc::clone(at)), Path(number), headers, Json(json!({}))).await;
        [made, sent].map(|(status, Json(body))| (status.as_u16(), body["error"].clone()))
    };
    for (status, error) in asked("EAAJB-of-nobody", ACCOUNT, NUMBER).await {
        assert_eq!((status, &error["code"]), (401, &json!(190)), "{error}");
    }
    // A number is no account, nor an account a number.
    for (status, error) in asked(TOKEN, NUMBER, ACCOUNT).await {
        assert_eq!((status, &error["code"], &error["error_subcode"]), (400, &json!(100), &json!(33)), "{error}");
    }
    for (status, error) in asked(TOKEN, ACCOUNT, NUMBER).await {
        assert_eq!((status, &error["code"], &error["error_subcode"]), (400, &json!(100), &Value::Null), "{error}");
    }
    meta.now(|at| assert!(at.asked.is_empty() && at.sent.is_empty() && at.templates.is_empty()));
}

#[tokio::test]
async fn with_another_token_or_from_another_number_no_code_goes_out() {
    let stage = Stage::set().await;
    let meta = Meta::start().await;
    let acme = stage.with_meta(&meta).await;
    let from = |number: &str| meta.account(&json!({ "create": {}, "phone_number_id": number }))["config"].clone();
    let made = stage.connecting(&acme, &meta.account(&json!({ "create": {} }))).await.expect(201);
    meta.decides("APPROVED", &json!({}));
    let change = |change: Value| stage.of_connection(Method::PATCH, &acme, &made).json(change);
    for (field, wrong, right) in [
        ("config", from("106540352242923"), from(NUMBER)),
        ("secrets", json!({ "access_token": "EAAJB-of-nobody" }), json!({ "access_token": TOKEN })),
    ] {
        change(json!({ field: wrong })).await.expect(200);
        let refused = stage.delivery_of(&acme).await;
        assert_eq!((&refused["status"], &refused["reason"]), (&json!("failed"), &json!("misconfigured")), "{field}");
        assert_eq!(meta.now(|at| at.sent.len()), 0, "{field}");
        change(json!({ field: right })).await.expect(200);
    }
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
}

#[tokio::test]
async fn nothing_is_made_where_nobody_asked_for_it_and_an_old_connection_goes_on() {
    let stage = Stage::set().await;
    let meta = Meta::start().await;
    let acme = stage.with_meta(&meta).await;
    let made = stage.connecting(&acme, &meta.account(&json!({}))).await.expect(201);
    assert_eq!(state(&made), "MISSING");
    assert!(made["problem"].as_str().unwrap().contains("write `create`"), "{made}");
    assert_eq!(meta.now(|at| at.asked.len()), 0);
    // As connections were before.
    let mut before = meta.account(&json!({}));
    before["config"].as_object_mut().unwrap().remove("business_account_id");
    let change = json!({ "config": before["config"] });
    let changed = stage.of_connection(Method::PATCH, &acme, &made).json(change).await.expect(200);
    assert_eq!((state(&changed).as_str(), &changed["problem"]), ("NOT_LOOKED_AT", &Value::Null));
    // With other settings it is looked at anew.
    let change = json!({ "config": meta.account(&json!({ "create": {} }))["config"] });
    let changed = stage.of_connection(Method::PATCH, &acme, &made).json(change).await.expect(200);
    assert_eq!((state(&changed).as_str(), meta.now(|at| at.asked.len())), ("PENDING", 1));
    let unsettled = json!({ "create": { "button": "zero_tap" } });
    let change = json!({ "config": meta.account(&unsettled)["config"] });
    let problem = stage.of_connection(Method::PATCH, &acme, &made).json(change).await.expect(422);
    assert!(problem.to_string().contains("zero_tap_terms_accepted"), "{problem}");
}

#[tokio::test]
async fn what_meta_decides_is_told_in_plain_words() {
    let stage = Stage::set().await;
    let meta = Meta::start().await;
    let acme = stage.with_meta(&meta).await;
    let made = stage.connecting(&acme, &meta.account(&json!({ "create": {} }))).await.expect(201);
    for (status, more, words, failure) in [
        ("REJECTED", json!({ "rejected_reason": "INVALID_FORMAT" }), "rejected it (INVALID_FORMAT)", "misconfigured"),
        ("PAUSED", json!({}), "goes on by itself", "misconfigured"),
        ("DISABLED", json!({}), "appeal", "misconfigured"),
    ] {
        meta.decides(status, &more);
        let checked = stage.checking(&acme, &made).await.expect(200);
        assert_eq!(state(&checked), status);
        assert!(checked["problem"].as_str().unwrap().contains(words), "{checked}");
        assert_eq!(stage.delivery_of(&acme).await["reason"], failure, "{status}");
    }
    // Low quality is told, and codes go out.
    meta.decides("APPROVED", &json!({ "quality_score": { "score": "RED" } }));
    let checked = stage.checking(&acme, &made).await.expect(200);
    let finding = &checked["account"]["findings"][0];
    assert_eq!((&finding["good"], &checked["problem"]), (&json!(false), &Value::Null), "{checked}");
    assert!(finding["about"].as_str().unwrap().contains("quality is low"), "{finding}");
}

#[tokio::test]
async fn who_cannot_look_is_told_why_and_what_was_known_stays() {
    let stage = Stage::set().await;
    let meta = Meta::start().await;
    let acme = stage.with_meta(&meta).await;
    let made = stage.connecting(&acme, &meta.account(&json!({ "create": {} }))).await.expect(201);
    meta.now(|at| at.only = Some((503, json!({ "error": { "message": "Service unavailable", "code": 2 } }))));
    let checked = stage.checking(&acme, &made).await.expect(200);
    assert_eq!(state(&checked), "PENDING");
    assert!(checked["account"]["unanswered"].as_str().unwrap().contains("too much to do"), "{checked}");
    // The connection is there, though nobody answers.
    stage.of_connection(Method::DELETE, &acme, &made).await.expect(204);
    let made = stage.connecting(&acme, &meta.account(&json!({}))).await.expect(201);
    assert_eq!((&made["account"]["findings"], &made["problem"]), (&json!([]), &Value::Null), "{made}");
    meta.now(|at| at.only = None);
    let token = json!({ "secrets": { "access_token": "EAAJB-of-nobody" } });
    let changed = stage.of_connection(Method::PATCH, &acme, &made).json(token).await.expect(200);
    assert_eq!(state(&changed), "MISCONFIGURED");
    assert!(changed["problem"].as_str().unwrap().contains("token does not work"), "{changed}");
}

#[tokio::test]
async fn of_two_who_look_at_once_one_makes_it_and_there_is_one() {
    let stage = Stage::set().await;
    let meta = Meta::start().await;
    let acme = stage.with_meta(&meta).await;
    let made = stage.connecting(&acme, &meta.account(&json!({ "create": {} }))).await.expect(201);
    let folder = tempfile::tempdir().unwrap();
    let other = stage.app.fellow_that_runs(super::workshop(&folder));
    other.app.load_plugins().await.expect("it loads");
    // Neither finds any.
    meta.now(|at| {
        at.templates.clear();
        at.asked.clear();
        at.together = Some(Arc::new(Barrier::new(2)));
    });
    let path = format!("/v1/connections/{}/check", id(&made));
    let (a, b) = tokio::join!(stage.checking(&acme, &made), other.post(path).key(&acme.live));
    let (a, b) = (a.expect(200), b.expect(200));
    assert_eq!(meta.now(|at| (at.asked.len(), at.templates.len())), (2, 1));
    let mut both = [state(&a), state(&b)];
    both.sort_unstable();
    assert_eq!(both, ["EXISTS", "PENDING"]);
    meta.now(|at| at.together = None);
    assert_eq!(state(&stage.checking(&acme, &made).await.expect(200)), "PENDING");
}

/// What Meta tells of a template, as the app's secret signs it. Source: developers.facebook.com/documentation/
/// business-messaging/whatsapp/webhooks/reference/message_template_status_update.
fn told(stage: &Stage, connection: &Value, name: &str, secret: &str) -> Request {
    let value = json!({
        "event": "APPROVED", "message_template_id": 594_425_479_261_596_u64, "message_template_name": name,
        "message_template_language": "en_US", "reason": "NONE", "message_template_category": "AUTHENTICATION",
    });
    let change = json!({ "field": "message_template_status_update", "value": value });
    telling(stage, connection, &change, secret)
}

/// What Meta tells, as the app's secret signs it.
fn telling(stage: &Stage, connection: &Value, change: &Value, secret: &str) -> Request {
    let entry = json!({ "id": ACCOUNT, "time": 1_795_348_800, "changes": [change] });
    let body = json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string();
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature: String =
        ring::hmac::sign(&key, body.as_bytes()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = stage.app.post(format!("/hooks/{}/meta", id(connection))).bytes(body);
    request.header("content-type", "application/json").header("x-hub-signature-256", &format!("sha256={signature}"))
}

#[tokio::test]
async fn what_meta_tells_of_the_template_has_it_looked_at() {
    let stage = Stage::set().await;
    let meta = Meta::start().await;
    let acme = stage.with_meta(&meta).await;
    let made = stage.connecting(&acme, &meta.account(&json!({ "create": {} }))).await.expect(201);
    meta.decides("APPROVED", &json!({}));
    let now = async || state(&stage.of_connection(Method::GET, &acme, &made).await.expect(200));
    // A stranger has nobody look, nor does what is told of another template.
    assert_eq!(told(&stage, &made, "login_code", "another").await.status, 401);
    assert_eq!(told(&stage, &made, "another", APP_SECRET).await.status, 200);
    assert_eq!(now().await, "PENDING");
    // While Meta does not answer, it is to tell it again.
    meta.now(|at| at.only = Some((503, json!({}))));
    assert_eq!(told(&stage, &made, "login_code", APP_SECRET).await.status, 503);
    assert_eq!(now().await, "PENDING");
    meta.now(|at| at.only = None);
    assert_eq!(told(&stage, &made, "login_code", APP_SECRET).await.status, 200);
    assert_eq!(now().await, "APPROVED");
    assert_eq!(stage.delivery_of(&acme).await["status"], "sent");
}

/// Meta takes what it then does not deliver. Source: developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components.
#[tokio::test]
async fn a_code_that_meta_took_and_then_failed_goes_out_by_the_next_channel() {
    let stage = Stage::set().await;
    let meta = Meta::start().await;
    let acme = stage.with_meta(&meta).await;
    let made = stage.connecting(&acme, &meta.account(&json!({ "create": {} }))).await.expect(201);
    meta.decides("APPROVED", &json!({}));
    let body = json!({ "to": "+12025550123", "channels": ["sms", "outbox"] });
    let verification = stage.app.starting(&acme.live, body).await.expect(201);
    stage.app.run_jobs().await;
    let read = async || stage.app.read(&acme.live, &verification).await["deliveries"].clone();
    assert_eq!(read().await[0]["status"], "sent");
    let reference = meta.now(|at| at.sent[0]["biz_opaque_callback_data"].clone());
    let error = json!({ "code": 131_026, "title": "Message undeliverable" });
    let status = json!({
        "id": "wamid.HBgL", "status": "failed", "timestamp": "1795348801", "recipient_id": "12025550123",
        "biz_opaque_callback_data": reference, "errors": [error],
    });
    let metadata = json!({ "display_phone_number": "15550100", "phone_number_id": NUMBER });
    let value = json!({ "messaging_product": "whatsapp", "metadata": metadata, "statuses": [status] });
    let change = json!({ "field": "messages", "value": value });
    assert_eq!(telling(&stage, &made, &change, "another").await.status, 401);
    for _ in 0..2 {
        assert_eq!(telling(&stage, &made, &change, APP_SECRET).await.status, 200);
        stage.app.run_jobs().await;
    }
    let deliveries = read().await;
    assert_eq!((&deliveries[0]["status"], &deliveries[0]["reason"]), (&json!("failed"), &json!("invalid_recipient")));
    assert_eq!((&deliveries[1]["channel"], &deliveries[1]["status"]), (&json!("outbox"), &json!("sent")));
    assert_eq!((stage.app.outbox.letters().len(), meta.now(|at| at.sent.len())), (1, 1));
}
