//! Codes in Telegram, through its Gateway. Source: core.telegram.org/gateway/api.

mod ability;
mod api;
mod report;
mod revoking;
mod standing;

use serde::Deserialize;
use serde_json::json;
use wotp_plugin_kit::http::{Call, Response};
use wotp_plugin_kit::{
    AddressKind, Algorithm, Asking, DeliveryError, Descriptor, Hearing, HookCall, Kept, Key, Message, Pause, Plugin,
    Probing, Query, Reachable, Receipt, Refusal, Revoking, SecretPlaces, SecretUse, Sent, Standing, Told, Trouble,
    callback_url, now_milliseconds, probed_token, reference, secret, sent, verify,
};

use api::{Refused, Request};

/// Lengths of a code that Telegram shows.
const CODE_LENGTHS: std::ops::RangeInclusive<usize> = 4..=8;
/// How long a message may stay unread, in seconds, as Telegram takes it.
const TTL_SECONDS: (u32, u32) = (60, 3600);

/// The Gateway.
pub struct TelegramGateway;

/// As whom it sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A verified channel of the account's own.
    #[serde(default)]
    pub sender_username: Option<String>,
    /// Whether Telegram is to tell how a message fares.
    #[serde(default = "yes")]
    pub receipts: bool,
    /// Whether Telegram is asked beforehand whether it can send to somebody.
    #[serde(default)]
    pub probe: bool,
    /// Where the API is.
    #[serde(default = "api")]
    pub api: String,
}

fn yes() -> bool {
    true
}

fn api() -> String {
    "https://gatewayapi.telegram.org".to_owned()
}

impl Plugin for TelegramGateway {
    type Config = Config;

    fn describe() -> Descriptor {
        let token = SecretUse {
            name: "token".to_owned(),
            about: "The access token, as the Gateway's account settings show it: it sends, and signs receipts."
                .to_owned(),
            places: SecretPlaces::HEADER,
            optional: false,
        };
        Descriptor {
            id: "wotp.telegram-gateway".to_owned(),
            name: "Telegram Gateway".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reaches: vec![AddressKind::Phone],
            config_schema: include_str!("config.schema.json").to_owned(),
            hosts: vec!["*".to_owned()],
            secrets: vec![token],
            // Each call is a message of its own, and is charged for.
            idempotent: false,
        }
    }

    fn deliver(message: &Message, config: Config) -> Result<Receipt, DeliveryError> {
        let callback = if config.receipts { callback_url().zip(reference()) } else { None };
        verdict(&call(message, &config, callback, probed_token(), &token())?.send()?)
    }
}

impl Hearing for TelegramGateway {
    fn receive(call: &HookCall, _: Config) -> Result<Vec<Told>, Refusal> {
        report::received(call, now_milliseconds(), |data, signature| {
            verify("token", Key::Sha256OfSecret, Algorithm::HmacSha256, data, signature)
        })
    }
}

impl Asking for TelegramGateway {
    fn poll(query: &Query, config: Config) -> Result<Standing, Trouble> {
        standing::standing(&standing::call(query, &config, &token())?.send()?)
    }
}

impl Probing for TelegramGateway {
    fn reachable(message: &Message, config: Config) -> Reachable {
        match ability::call(message, &config, &token()).map(Call::send) {
            Ok(Ok(answer)) => ability::reachable(&answer),
            Ok(Err(error)) => Reachable::Unknown(error.words()),
            Err(unasked) => unasked,
        }
    }
}

impl Revoking for TelegramGateway {
    fn take_back(sent: &Sent, config: Config) -> Result<(), Kept> {
        revoking::outcome(&revoking::call(sent, &config, &token())?.send()?)
    }
}

#[cfg(target_family = "wasm")]
wotp_plugin_kit::plugin!(TelegramGateway, hearing, asking, probing, revoking);

fn token() -> String {
    secret("token").unwrap_or_default()
}

/// The code of a message, if Telegram shows it.
fn shown(message: &Message) -> Option<&String> {
    let shown = |code: &&String| CODE_LENGTHS.contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit());
    message.code.as_ref().filter(shown)
}

/// The request for a message. `callback` is whom to call, and what to say there; `request` is what Telegram has found
/// out for it, and charged for.
fn call(
    message: &Message,
    config: &Config,
    callback: Option<(String, String)>,
    request: Option<String>,
    token: &str,
) -> Result<Call, DeliveryError> {
    let code = shown(message)
        .ok_or_else(|| DeliveryError::Rejected("Telegram shows codes of 4 to 8 digits, and nothing else".to_owned()))?;
    let (shortest, longest) = TTL_SECONDS;
    let mut body = json!({
        "phone_number": message.to,
        "code": code,
        "ttl": message.expires_in_seconds.clamp(shortest, longest),
    });
    if let Some(sender) = &config.sender_username {
        body["sender_username"] = json!(sender);
    }
    if let Some(request) = request {
        body["request_id"] = json!(request);
    }
    if let Some((url, reference)) = callback {
        body["callback_url"] = json!(url);
        body["payload"] = json!(reference);
    }
    Ok(api::call(config, "sendVerificationMessage", token, &body))
}

/// What an answer means.
fn verdict(answer: &Response) -> Result<Receipt, DeliveryError> {
    match api::read(answer) {
        Ok(Request { request_id, .. }) => Ok(sent(Some(request_id))),
        Err(Refused::Nobody(why)) => Err(DeliveryError::InvalidRecipient(why)),
        Err(Refused::Settings(why)) => Err(DeliveryError::Misconfigured(why)),
        Err(Refused::Busy(detail, seconds)) => Err(DeliveryError::Temporary(Pause { detail, seconds })),
        Err(Refused::Message(why) | Refused::Request(why)) => Err(DeliveryError::Rejected(why)),
        // It had the message, and said nothing that tells how far it got.
        Err(Refused::Unclear(why)) => Err(DeliveryError::Unknown(why)),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use serde_json::Value;

    use super::*;

    pub(crate) fn message(code: Option<&str>) -> Message {
        Message {
            id: "dlv_1".to_owned(),
            kind: AddressKind::Phone,
            to: "+12025550123".to_owned(),
            subject: String::new(),
            text: "482913 is your code".to_owned(),
            code: code.map(str::to_owned),
            brand: "Acme".to_owned(),
            locale: "en".to_owned(),
            expires_in_seconds: 300,
            config: "{}".to_owned(),
        }
    }

    pub(crate) fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_code_is_sent_as_telegram_documents_it() {
        let callback = ("https://wotp.example/hooks/telegram/cmVm".to_owned(), "cmVm".to_owned());
        let made =
            call(&message(Some("482913")), &config(r#"{"sender_username":"acme"}"#), Some(callback), None, "MARK")
                .unwrap();
        let request = made.request();
        assert_eq!(request.url, "https://gatewayapi.telegram.org/sendVerificationMessage");
        assert_eq!(request.headers[0].value, "Bearer MARK");
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({
                "phone_number": "+12025550123", "code": "482913", "ttl": 300, "sender_username": "acme",
                "callback_url": "https://wotp.example/hooks/telegram/cmVm", "payload": "cmVm",
            })
        );
        let made = call(&message(Some("482913")), &config("{}"), None, Some("141414".to_owned()), "MARK").unwrap();
        let body: Value = serde_json::from_slice(&made.request().body).unwrap();
        let expected = json!({ "phone_number": "+12025550123", "code": "482913", "ttl": 300, "request_id": "141414" });
        assert_eq!(body, expected);
    }

    #[test]
    fn what_telegram_does_not_show_goes_another_way() {
        for code in [None, Some("123"), Some("123456789"), Some("ABCDEF")] {
            let refused = call(&message(code), &config("{}"), None, None, "MARK").err().unwrap();
            assert!(matches!(refused, DeliveryError::Rejected(_)), "{code:?}: {refused:?}");
        }
    }

    #[test]
    fn an_answer_says_what_happens_next() {
        let verdict = |status: u16, body: &str| {
            verdict(&Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
        };
        let taken = r#"{"ok":true,"result":{"request_id":"141414","phone_number":"+12025550123","request_cost":0.01}}"#;
        assert_eq!(verdict(200, taken).unwrap().provider_id.as_deref(), Some("141414"));
        let error = |name: &str| verdict(200, &format!(r#"{{"ok":false,"error":"{name}"}}"#)).unwrap_err();
        assert!(matches!(error("PHONE_NUMBER_INVALID"), DeliveryError::InvalidRecipient(_)));
        assert!(matches!(error("ACCESS_TOKEN_INVALID"), DeliveryError::Misconfigured(_)));
        assert!(matches!(error("CODE_INVALID"), DeliveryError::Rejected(_)));
        assert!(matches!(error("FLOOD_WAIT_30"), DeliveryError::Temporary(Pause { seconds: 30, .. })));
        assert!(matches!(error("FLOOD_WAIT"), DeliveryError::Temporary(Pause { seconds: 5, .. })));
        assert!(matches!(verdict(503, ""), Err(DeliveryError::Temporary(_))));
        assert!(matches!(verdict(403, "<html>"), Err(DeliveryError::Misconfigured(_))));
        assert!(matches!(verdict(502, "<html>"), Err(DeliveryError::Unknown(_))));
        assert!(matches!(verdict(200, r#"{"ok":true}"#), Err(DeliveryError::Unknown(_))));
    }
}
