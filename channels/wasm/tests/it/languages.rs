//! Plugins in JavaScript and Python, with doubles of their providers: `vonage-sms` and `smtp2go`.
//!
//! A language brings its own runtime along, which takes seconds to compile: few tests, of which each does much with one
//! component.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wotp_channel_wasm::{Plugin, Settings};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus, Receipt};
use wotp_core::ports::{Channel, HearError, Heard, Hearing, News, SendError};
use wotp_core::testing::channel::{Received, holds, outgoing, tells_no_secret};

use crate::gateway::{Came, Gateway};
use crate::plugins::{Log, load, settings, world};

const SECRET: &str = "s3cr3t-of-the-account";
const SIGNING: &str = "signature-secret-of-ours";

/// A channel to a provider's double, with a secret to send with and one by which the provider is known.
async fn told(name: &str, secrets: [&str; 2], kind: AddressKind, host: &str, config: Value) -> Plugin {
    let mut all = json!({ "api": format!("http://{host}"), "receipts": true });
    all.as_object_mut().unwrap().extend(config.as_object().unwrap().clone());
    let given = [(secrets[0], SECRET), (secrets[1], SIGNING)];
    let secrets: BTreeMap<_, _> = given.map(|(name, secret)| (name.to_owned(), secret.to_owned().into())).into();
    let component = load(name).await.unwrap();
    component.conforms(world()).await.expect("it can be installed");
    let settings = Settings { secrets, reaches: vec![kind], ..settings(&[host], all) };
    Plugin::new(component, settings, world()).await.unwrap()
}

async fn vonage(host: &str) -> Plugin {
    let config = json!({ "api_key": "abcd1234", "from": "Acme" });
    told("vonage_sms", ["api_secret", "signature_secret"], AddressKind::Phone, host, config).await
}

async fn smtp2go(host: &str) -> Plugin {
    let config = json!({ "sender": "codes@example.com" });
    told("smtp2go", ["api_key", "webhook_secret"], AddressKind::Email, host, config).await
}

fn form(came: &Came) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&came.body).into_owned().collect()
}

/// What each number at a provider's double leads to: those of `providers`.
async fn fails_as_it_is_meant(channel: &Plugin, kind: AddressKind, expected: [(u8, DeliveryFailure); 3], seconds: i64) {
    let (log, _listening) = Log::listen();
    for (number, reason) in expected {
        let message = outgoing(kind, number);
        let error = channel.send(&message).await.unwrap_err();
        tells_no_secret(&error, &message);
        let plain = message.to.as_str().trim_start_matches('+');
        assert!(!format!("{error:?}").contains(plain), "{error:?}");
        assert!(matches!(&error, SendError::Refused { reason: told, .. } if *told == reason), "{number}: {error:?}");
    }
    let error = channel.send(&outgoing(kind, 93)).await.unwrap_err();
    assert!(matches!(&error, SendError::Later { after, .. } if after.as_secs() == seconds), "{error:?}");
    let error = channel.send(&outgoing(kind, 94)).await.unwrap_err();
    assert!(matches!(&error, SendError::Unknown { .. }), "{error:?}");
    for hidden in [SECRET, SIGNING, "ada.lovelace", "202555", "482913"] {
        assert!(!log.text().contains(hidden), "{hidden}: {}", log.text());
    }
}

#[tokio::test]
async fn a_plugin_in_javascript_keeps_what_every_channel_promises() {
    let gateway = Gateway::start().await;
    let sms = vonage(&gateway.host()).await;
    let received = |came: &Came| {
        let form = form(came);
        Received { to: format!("+{}", form["to"]), text: form["text"].clone(), code: None }
    };
    holds(&sms, || gateway.came().iter().map(received).collect()).await;
}

#[tokio::test]
async fn a_message_reaches_vonage_as_its_documentation_has_it() {
    let gateway = Gateway::start().await;
    let sms = vonage(&gateway.host()).await;
    let message = outgoing(AddressKind::Phone, 1);
    let acknowledged = sms.send(&message).await.unwrap();
    assert_eq!(acknowledged.provider_id.as_deref(), Some("aaaaaaaa-bbbb-cccc-dddd-0123456789ab"));
    assert_eq!(acknowledged.reached, DeliveryStatus::Sent);
    assert_eq!(acknowledged.cost.map(|cost| cost.micros()), Some(33_300));
    let came = &gateway.came()[0];
    // `printf 'abcd1234:s3cr3t-of-the-account' | base64`
    assert_eq!(came.headers["authorization"], "Basic YWJjZDEyMzQ6czNjcjN0LW9mLXRoZS1hY2NvdW50");
    let form = form(came);
    assert_eq!((form["to"].as_str(), form["text"].as_str()), ("12025550101", message.text.as_str()));
    assert_eq!((form["from"].as_str(), form["type"].as_str()), ("Acme", "text"));
    assert_eq!(form["callback"], "https://wotp.example/hooks/sms/status");
    assert_eq!(form["client-ref"], message.reference().to_string());

    let reasons = [
        (91, DeliveryFailure::InvalidRecipient),
        (92, DeliveryFailure::Misconfigured),
        (95, DeliveryFailure::Rejected),
    ];
    fails_as_it_is_meant(&sms, AddressKind::Phone, reasons, 2).await;

    // Nobody listens there.
    let error = vonage("127.0.0.1:1").await.send(&message).await.unwrap_err();
    assert!(matches!(&error, SendError::Later { after, .. } if after.as_secs() == 5), "{error:?}");
}

/// As Vonage calls: the body, and what
/// `printf '&api-key=abcd1234&client-ref=reference-of-a-message&err-code=0&status=delivered' | openssl dgst -sha256 -hmac "$SIGNING"`
/// makes of it.
const DELIVERED: &str = "status=delivered&err-code=0&api-key=abcd1234&client-ref=reference-of-a-message";
const DELIVERED_SIGNED: &str = "efb2b631f09293af9804aa00ee0a461081db492b5ca43127f043e5ad8070701a";

#[tokio::test]
async fn what_vonage_signed_is_news_and_what_anybody_else_sends_is_not() {
    let gateway = Gateway::start().await;
    let sms = vonage(&gateway.host()).await;
    let ears = sms.ears().expect("it hears");
    let heard = |body: &str| Heard {
        posted: true,
        url: "https://wotp.example/hooks/sms/status".to_owned(),
        path: "status".to_owned(),
        headers: vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
        body: body.as_bytes().to_vec(),
    };
    let news =
        Hearing::from(vec![News { reference: "reference-of-a-message".to_owned(), receipt: Receipt::Delivered }]);
    assert_eq!(ears.hear(heard(&format!("{DELIVERED}&sig={DELIVERED_SIGNED}"))).await, Ok(news.clone()));
    let asked = Heard {
        posted: false,
        url: format!("https://wotp.example/hooks/sms/status?{DELIVERED}&sig={DELIVERED_SIGNED}"),
        body: Vec::new(),
        ..heard("")
    };
    assert_eq!(ears.hear(asked).await, Ok(news));
    for body in [
        String::new(),
        DELIVERED.to_owned(),
        format!("{}&sig={DELIVERED_SIGNED}", DELIVERED.replace("delivered", "failed")),
        format!("{DELIVERED}&sig={}", "0".repeat(64)),
        "x".repeat(wotp_core::ports::HEARD_BODY_MAX),
    ] {
        assert_eq!(ears.hear(heard(&body)).await, Err(HearError::NotAuthentic), "{}", body.len());
    }
    let json = vec![("content-type".to_owned(), "application/json".to_owned())];
    let nested = Heard { headers: json, body: vec![b'['; 16 * 1024], ..heard("") };
    assert_eq!(ears.hear(nested).await, Err(HearError::NotAuthentic));
    assert_eq!(gateway.connections(), 0);
}

/// `printf smtp2go | openssl dgst -sha256 -hmac "$SIGNING"`
const TOKEN: &str = "6d5a1a9aa8a76ab331fd62aa081b897be6765bc2307ab109e232cf5b32269dd1";

#[tokio::test]
async fn a_plugin_in_python_keeps_what_every_channel_promises_and_what_its_provider_does() {
    let gateway = Gateway::start().await;
    let mail = smtp2go(&gateway.host()).await;
    let message = outgoing(AddressKind::Email, 1);
    let acknowledged = mail.send(&message).await.unwrap();
    assert_eq!(acknowledged.provider_id.as_deref(), Some("1u0SwL-B9zBpi9ffUq-JAB2"));
    assert_eq!((acknowledged.reached, acknowledged.cost), (DeliveryStatus::Sent, None));
    let came = &gateway.came()[0];
    assert_eq!(came.headers["x-smtp2go-api-key"], SECRET);
    let email = came.json();
    assert_eq!(
        (&email["sender"], &email["to"]),
        (&json!("\"Acme\" <codes@example.com>"), &json!([message.to.as_str()]))
    );
    assert_eq!((&email["subject"], &email["text_body"]), (&json!(message.subject), &json!(message.text)));
    let named = json!({ "header": "X-WOTP-Reference", "value": message.reference().to_string() });
    assert!(email["custom_headers"].as_array().unwrap().contains(&named), "{email}");

    let received = |came: &Came| {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let email = came.json();
        Received { to: text(&email["to"][0]), text: text(&email["text_body"]), code: None }
    };
    holds(&mail, || gateway.came().iter().map(received).collect()).await;

    let reasons = [
        (91, DeliveryFailure::InvalidRecipient),
        (92, DeliveryFailure::Misconfigured),
        (95, DeliveryFailure::Rejected),
    ];
    fails_as_it_is_meant(&mail, AddressKind::Email, reasons, 60).await;

    let ears = mail.ears().expect("it hears");
    let heard = |token: &str, body: &Value| Heard {
        posted: true,
        url: format!("https://wotp.example/hooks/sms/{token}"),
        path: token.to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: body.to_string().into_bytes(),
    };
    let bounced = json!({ "event": "bounce", "bounce": "hard", "x-wotp-reference": "reference-of-an-email" });
    let failed = Receipt::Failed(DeliveryFailure::InvalidRecipient);
    let news = Hearing::from(vec![News { reference: "reference-of-an-email".to_owned(), receipt: failed }]);
    assert_eq!(ears.hear(heard(TOKEN, &bounced)).await, Ok(news));
    for token in ["status", &"0".repeat(64)] {
        assert_eq!(ears.hear(heard(token, &bounced)).await, Err(HearError::NotAuthentic));
    }
    assert_eq!(ears.hear(heard(TOKEN, &json!([]))).await, Err(HearError::Unreadable));
}

/// They call `api.example.com`, whom nobody finds here: what the host says of that comes to them as an error of their
/// language, which they read.
#[tokio::test]
async fn what_a_plugin_begins_with_is_one_in_each_language() {
    for name in ["template_javascript", "template_python"] {
        let component = load(name).await.unwrap();
        let descriptor = component.descriptor();
        assert_eq!((descriptor.id.as_str(), descriptor.name.as_str()), ("example.example-sms", "example-sms"));
        let secrets = BTreeMap::from([("token".to_owned(), SECRET.to_owned().into())]);
        let settings = Settings { secrets, ..settings(&["api.example.com"], json!({ "from": "Acme" })) };
        let channel = Plugin::new(component, settings, world()).await.unwrap();
        let error = channel.send(&outgoing(AddressKind::Phone, 1)).await.unwrap_err();
        assert!(matches!(&error, SendError::Later { after, .. } if after.as_secs() == 5), "{name}: {error:?}");
    }
}
