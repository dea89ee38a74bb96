//! What a provider tells later, with `twilio-sms` and a double of Twilio.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wotp_channel_wasm::{HEARING_MAX, Plugin, Settings, SettingsError};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::dispatch::{DeliveryFailure, Receipt};
use wotp_core::ports::{Channel as _, HEARD_BODY_MAX, HearError, Heard, Hearing, News, SendError};
use wotp_core::testing::channel::{outgoing, tells_no_secret};

use crate::gateway::{Came, Gateway};
use crate::plugins::{channel, gateway_config, settings};

const ACCOUNT: &str = "AC00000000000000000000000000000000";
pub const TOKEN: &str = "0123456789abcdef0123456789abcdef";

pub fn config(gateway: &Gateway) -> Value {
    json!({ "account_sid": ACCOUNT, "from": "+12025550100", "api": gateway.url("") })
}

async fn twilio(gateway: &Gateway, more: Value) -> Result<Plugin, SettingsError> {
    let mut config = config(gateway);
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let secrets = BTreeMap::from([("auth_token".to_owned(), TOKEN.to_owned().into())]);
    channel("twilio_sms", Settings { secrets, ..settings(&[&gateway.host()], config) }).await
}

fn fields(came: &Came) -> BTreeMap<String, String> {
    url::form_urlencoded::parse(&came.body).into_owned().collect()
}

#[tokio::test]
async fn a_message_reaches_twilio_as_its_documentation_has_it() {
    let gateway = Gateway::start().await;
    let message = outgoing(AddressKind::Phone, 1);
    let sms = twilio(&gateway, json!({})).await.unwrap();
    let acknowledged = sms.send(&message).await.unwrap();
    assert_eq!(acknowledged.provider_id.as_deref(), Some("SM00000000000000000000000000000001"));
    let came = &gateway.came()[0];
    assert_eq!(came.path, format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
    // `printf '%s' "$ACCOUNT:$TOKEN" | base64`
    let basic = "Basic QUMwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDowMTIzNDU2Nzg5YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZg==";
    assert_eq!(came.headers["authorization"], basic);
    let fields = fields(came);
    assert_eq!((fields["To"].as_str(), fields["From"].as_str()), (message.to.as_str(), "+12025550100"));
    assert_eq!(fields["Body"], message.text);
    assert_eq!(fields["StatusCallback"], format!("https://wotp.example/hooks/sms/{}", message.reference()));
}

#[tokio::test]
async fn without_receipts_twilio_is_not_told_whom_to_call() {
    let gateway = Gateway::start().await;
    let sms = twilio(&gateway, json!({ "receipts": false })).await.unwrap();
    sms.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    assert!(!fields(&gateway.came()[0]).contains_key("StatusCallback"));
}

#[tokio::test]
async fn an_error_of_twilios_says_what_happens_next() {
    let gateway = Gateway::start().await;
    let sms = twilio(&gateway, json!({})).await.unwrap();
    for (number, reason) in [(11, DeliveryFailure::InvalidRecipient), (12, DeliveryFailure::Misconfigured)] {
        let message = outgoing(AddressKind::Phone, number);
        let error = sms.send(&message).await.unwrap_err();
        tells_no_secret(&error, &message);
        assert!(matches!(&error, SendError::Refused { reason: told, .. } if *told == reason), "{error:?}");
    }
    let error = sms.send(&outgoing(AddressKind::Phone, 13)).await.unwrap_err();
    assert!(matches!(&error, SendError::Later { after, .. } if after.as_secs() == 9), "{error:?}");
}

#[tokio::test]
async fn credentials_that_a_server_echoes_are_taken_out_as_they_were_encoded() {
    let gateway = Gateway::start().await;
    let mut config = gateway_config(&gateway.url("/mirror"));
    // Both are sent, and the second is what the server echoes.
    config["headers"] =
        json!({ "Authorization": "Basic user:{{secret:token}}", "authorization": "Basic user2:{{secret:token}}" });
    let secrets = BTreeMap::from([("token".to_owned(), TOKEN.to_owned().into())]);
    let http = channel("generic_http", Settings { secrets, ..settings(&[&gateway.host()], config) }).await.unwrap();
    let acknowledged = http.send(&outgoing(AddressKind::Phone, 1)).await.unwrap();
    let came = gateway.came();
    let sent: Vec<_> = came[0].headers.get_all("authorization").iter().map(|value| value.to_str().unwrap()).collect();
    // `printf user:0 | base64`, and the same of user2.
    let basic = sent.len() == 2 && sent[0].starts_with("Basic dXNlcjow") && sent[1].starts_with("Basic dXNlcjI6M");
    assert!(basic, "{sent:?}");
    // What the plugin would have told of, if it had been left there.
    assert_eq!(acknowledged.provider_id, None);
}

/// What Twilio sends for a message, and how it signs that. The signature was made by
/// `printf '%s' "$DATA" | openssl dgst -sha1 -hmac "$TOKEN" -binary | base64`.
pub fn told(path: &str, body: &str, signature: &str) -> Heard {
    Heard {
        posted: true,
        url: format!("https://wotp.example/hooks/sms/{path}"),
        path: path.to_owned(),
        headers: vec![("x-twilio-signature".to_owned(), signature.to_owned())],
        body: body.as_bytes().to_vec(),
    }
}

pub const REFERENCE: &str = "reference-of-a-message";
pub const DELIVERED: &str = "SmsStatus=delivered&MessageStatus=delivered&To=%2B12025550101&AccountSid=AC00000000000000000000000000000000&MessageSid=SM1";
pub const SIGNATURE: &str = "81sHIOCV2/4CZbCe3ZYs/IQ4D/Q=";
const UNDELIVERED: &str = "ErrorCode=30005&MessageStatus=undelivered";
const SIGNATURE_OF_UNDELIVERED: &str = "kHdSao7laXz1gZHl+he2X2Vb8HU=";

#[tokio::test]
async fn what_twilio_signed_is_news() {
    let gateway = Gateway::start().await;
    let sms = twilio(&gateway, json!({})).await.unwrap();
    let ears = sms.ears().expect("it hears");
    let news = |receipt| Hearing::from(vec![News { reference: REFERENCE.to_owned(), receipt }]);
    for _ in 0..2 {
        assert_eq!(ears.hear(told(REFERENCE, DELIVERED, SIGNATURE)).await, Ok(news(Receipt::Delivered)));
    }
    let failed = Receipt::Failed(DeliveryFailure::InvalidRecipient);
    assert_eq!(ears.hear(told(REFERENCE, UNDELIVERED, SIGNATURE_OF_UNDELIVERED)).await, Ok(news(failed)));
    assert_eq!(gateway.connections(), 0);
}

#[tokio::test]
async fn what_anybody_else_sends_is_not() {
    let gateway = Gateway::start().await;
    let sms = twilio(&gateway, json!({})).await.unwrap();
    let ears = sms.ears().expect("it hears");
    let unsigned = Heard { headers: Vec::new(), ..told(REFERENCE, DELIVERED, "") };
    for heard in [
        unsigned,
        told(REFERENCE, DELIVERED, ""),
        told(REFERENCE, DELIVERED, SIGNATURE_OF_UNDELIVERED),
        // Of another message, or with another word in it.
        told("reference-of-another", DELIVERED, SIGNATURE),
        told(REFERENCE, &DELIVERED.replace("SM1", "SM2"), SIGNATURE),
    ] {
        assert_eq!(ears.hear(heard.clone()).await, Err(HearError::NotAuthentic), "{heard:?}");
    }
    let large = "x".repeat(HEARD_BODY_MAX + 1);
    assert_eq!(ears.hear(told(REFERENCE, &large, SIGNATURE)).await, Err(HearError::Unreadable));
    // Another token than the one that signed.
    let secrets = BTreeMap::from([("auth_token".to_owned(), "another".to_owned().into())]);
    let config = json!({ "account_sid": ACCOUNT, "from": "Acme" });
    let other = channel("twilio_sms", Settings { secrets, ..settings(&["api.twilio.com"], config) }).await.unwrap();
    let heard = other.ears().unwrap().hear(told(REFERENCE, DELIVERED, SIGNATURE)).await;
    assert_eq!(heard, Err(HearError::NotAuthentic));
}

async fn telegram(gateway: &Gateway) -> Plugin {
    telegram_with(gateway, |_| ()).await
}

/// With other settings.
pub async fn telegram_with(gateway: &Gateway, change: impl FnOnce(&mut Settings)) -> Plugin {
    let secrets = BTreeMap::from([("token".to_owned(), TOKEN.to_owned().into())]);
    let config = json!({ "api": gateway.url("") });
    let mut settings = Settings { secrets, ..settings(&[&gateway.host()], config) };
    change(&mut settings);
    channel("telegram_gateway", settings).await.unwrap()
}

#[tokio::test]
async fn a_code_reaches_telegram_as_its_documentation_has_it() {
    let gateway = Gateway::start().await;
    let channel = telegram(&gateway).await;
    let message = outgoing(AddressKind::Phone, 1);
    assert_eq!(channel.send(&message).await.unwrap().provider_id.as_deref(), Some("1"));
    let came = &gateway.came()[0];
    assert_eq!(came.headers["authorization"], format!("Bearer {TOKEN}"));
    let (body, reference) = (came.json(), message.reference().to_string());
    assert_eq!((&body["phone_number"], &body["code"]), (&json!(message.to.as_str()), &json!("482913")));
    assert_eq!(body["callback_url"], format!("https://wotp.example/hooks/sms/{reference}"));
    assert_eq!(body["payload"], reference);
    let error = channel.send(&outgoing(AddressKind::Phone, 11)).await.unwrap_err();
    assert!(matches!(error, SendError::Refused { reason: DeliveryFailure::InvalidRecipient, .. }), "{error:?}");
}

/// The signature was made by `printf '%s\n%s' "$STAMP" "$BODY" | openssl dgst -sha256 -mac HMAC -macopt hexkey:"$KEY"`,
/// where `KEY` is `printf '%s' "$TOKEN" | sha256sum`.
#[tokio::test]
async fn what_telegram_signed_is_news_of_what_it_names() {
    let gateway = Gateway::start().await;
    let channel = telegram(&gateway).await;
    let ears = channel.ears().expect("it hears");
    let body = r#"{"request_id":"1","payload":"reference-of-a-message","delivery_status":{"status":"read","updated_at":1795348800}}"#;
    let told = |stamp: &str, path: &str| Heard {
        headers: vec![
            ("x-request-timestamp".to_owned(), stamp.to_owned()),
            (
                "x-request-signature".to_owned(),
                "67f3bf48f6ae958214e589d7583ec4f62c5f4f8062daf15f5ec65d5e755c41b0".to_owned(),
            ),
        ],
        ..told(path, body, "")
    };
    let news = Hearing::from(vec![News { reference: REFERENCE.to_owned(), receipt: Receipt::Read }]);
    // The URL is not signed, and does not count.
    for path in [REFERENCE, "reference-of-another"] {
        assert_eq!(ears.hear(told("1795348800", path)).await, Ok(news.clone()));
    }
    assert_eq!(ears.hear(told("1795348801", REFERENCE)).await, Err(HearError::NotAuthentic));
}

#[tokio::test]
async fn strangers_take_few_places_and_call_nobody() {
    let gateway = Gateway::start().await;
    let config = json!({ "url": gateway.url("/echo") });
    let plugin = channel("nosy_webhook", settings(&[&gateway.host()], config)).await.unwrap();
    let ears = plugin.ears().expect("it hears");
    // It computes until it is stopped, when it is asked to.
    let mut held: Vec<_> = (0..HEARING_MAX).map(|_| ears.hear(told("loop", "", ""))).collect();
    for waiting in &mut held {
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waiting.as_mut().poll(&mut context).is_pending());
    }
    assert_eq!(ears.hear(told("fetch", "", "")).await, Err(HearError::Busy));
    drop(held);
    // What it says of the request that it was not let make.
    let said = ears.hear(told("fetch", "", "")).await.unwrap();
    assert_eq!(said.news[0].reference, "denied: requests are not allowed here, only in what reaches a provider");
    assert_eq!(gateway.connections(), 0);
}
