//! Codes in Telegram, through its Gateway. Source: core.telegram.org/gateway/api.

mod report;

use serde::Deserialize;
use serde_json::json;
use wotp_plugin_kit::http::{Answer as _, Call, Method, Response};
use wotp_plugin_kit::{
    AddressKind, Algorithm, DeliveryError, Descriptor, Hearing, HookCall, Key, Message, Pause, Plugin, Receipt,
    Refusal, SecretPlaces, SecretUse, Told, callback_url, now_milliseconds, reference, secret, sent, verify,
};

/// Lengths of a code that Telegram shows.
const CODE_LENGTHS: std::ops::RangeInclusive<usize> = 4..=8;
/// How long a message may stay unread, in seconds, as Telegram takes it.
const TTL_SECONDS: (u32, u32) = (60, 3600);
/// How long to wait when Telegram asks to and does not say how long, in seconds.
const BUSY_SECONDS: u32 = 5;

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

/// An answer: what is read of it.
#[derive(Debug, Deserialize)]
struct Said {
    ok: bool,
    #[serde(default)]
    result: Option<Request>,
    #[serde(default)]
    error: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Request {
    request_id: String,
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
        verdict(&call(message, &config, callback, &secret("token").unwrap_or_default())?.send()?)
    }
}

impl Hearing for TelegramGateway {
    fn receive(call: &HookCall, _: Config) -> Result<Vec<Told>, Refusal> {
        report::received(call, now_milliseconds(), |data, signature| {
            verify("token", Key::Sha256OfSecret, Algorithm::HmacSha256, data, signature)
        })
    }
}

#[cfg(target_family = "wasm")]
wotp_plugin_kit::plugin!(TelegramGateway, hearing);

/// The request for a message. `callback` is whom to call, and what to say there.
fn call(
    message: &Message,
    config: &Config,
    callback: Option<(String, String)>,
    token: &str,
) -> Result<Call, DeliveryError> {
    let shown = |code: &&String| CODE_LENGTHS.contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_digit());
    let code =
        message.code.as_ref().filter(shown).ok_or_else(|| {
            DeliveryError::Rejected("Telegram shows codes of 4 to 8 digits, and nothing else".to_owned())
        })?;
    let (shortest, longest) = TTL_SECONDS;
    let mut body = json!({
        "phone_number": message.to,
        "code": code,
        "ttl": message.expires_in_seconds.clamp(shortest, longest),
    });
    if let Some(sender) = &config.sender_username {
        body["sender_username"] = json!(sender);
    }
    if let Some((url, reference)) = callback {
        body["callback_url"] = json!(url);
        body["payload"] = json!(reference);
    }
    Ok(Call::new(Method::Post, format!("{}/sendVerificationMessage", config.api))
        .header("authorization", format!("Bearer {token}"))
        .json(&body))
}

/// What an answer means.
fn verdict(answer: &Response) -> Result<Receipt, DeliveryError> {
    let status = answer.status;
    let said: Option<Said> = answer.json();
    match said {
        Some(Said { ok: true, result: Some(Request { request_id }), .. }) => Ok(sent(Some(request_id))),
        Some(Said { ok: false, error: Some(error), .. }) => Err(refused(&error)),
        _ if status == 429 || status == 503 => Err(DeliveryError::Temporary(Pause {
            detail: format!("Telegram answered with HTTP {status}"),
            seconds: answer.retry_after_seconds().unwrap_or(BUSY_SECONDS),
        })),
        _ if matches!(status, 401 | 403) => {
            Err(DeliveryError::Misconfigured(format!("Telegram answered with HTTP {status}")))
        }
        // It had the message, and said nothing that tells how far it got.
        _ => Err(DeliveryError::Unknown(format!("Telegram answered with HTTP {status}, and with no request"))),
    }
}

/// What an error means. Its name says what is wrong; Telegram documents no list of them.
fn refused(error: &str) -> DeliveryError {
    let said = format!("Telegram answered with {error}");
    if error.starts_with("PHONE_NUMBER_") {
        return DeliveryError::InvalidRecipient(said);
    }
    if let Some(seconds) = error.strip_prefix("FLOOD_WAIT") {
        let seconds = seconds.trim_start_matches('_').parse().unwrap_or(BUSY_SECONDS).clamp(1, 3600);
        return DeliveryError::Temporary(Pause { detail: said, seconds });
    }
    match ["ACCESS_TOKEN_", "BALANCE_", "SENDER_"].iter().any(|beginning| error.starts_with(beginning)) {
        true => DeliveryError::Misconfigured(said),
        false => DeliveryError::Rejected(said),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn message(code: Option<&str>) -> Message {
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

    fn config(text: &str) -> Config {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_code_is_sent_as_telegram_documents_it() {
        let callback = ("https://wotp.example/hooks/telegram/cmVm".to_owned(), "cmVm".to_owned());
        let made =
            call(&message(Some("482913")), &config(r#"{"sender_username":"acme"}"#), Some(callback), "MARK").unwrap();
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
        let made = call(&message(Some("482913")), &config("{}"), None, "MARK").unwrap();
        let body: Value = serde_json::from_slice(&made.request().body).unwrap();
        assert_eq!(body, json!({ "phone_number": "+12025550123", "code": "482913", "ttl": 300 }));
    }

    #[test]
    fn what_telegram_does_not_show_goes_another_way() {
        for code in [None, Some("123"), Some("123456789"), Some("ABCDEF")] {
            let refused = call(&message(code), &config("{}"), None, "MARK").err().unwrap();
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
