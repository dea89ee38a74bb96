//! SMS through Twilio's Programmable Messaging. Source: twilio.com/docs/messaging/api/message-resource.

mod config;
mod errors;
mod form;
mod receipt;

use serde::Deserialize;
use wotp_plugin_kit::http::{Answer as _, Call, Method, Response};
use wotp_plugin_kit::{
    AddressKind, Algorithm, DeliveryError, Descriptor, Hearing, HookCall, Key, Message, Plugin, Receipt, Refusal,
    SecretPlaces, SecretUse, Told, callback_url, secret, sent, verify,
};

use config::Config;

/// How long Twilio may try at most, in seconds: its own bound.
const VALIDITY_MAX_SECONDS: u32 = 36_000;

/// Twilio.
pub struct TwilioSms;

/// A message as Twilio shows it, or an error: what is read of either.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(default)]
    sid: Option<String>,
    #[serde(default)]
    status: Option<serde_json::Value>,
    #[serde(default)]
    code: Option<u32>,
    #[serde(default)]
    error_code: Option<u32>,
}

impl Plugin for TwilioSms {
    type Config = Config;

    fn describe() -> Descriptor {
        let secret = |name: &str, about: &str| SecretUse {
            name: name.to_owned(),
            about: about.to_owned(),
            places: SecretPlaces::HEADER,
            optional: true,
        };
        Descriptor {
            id: "wotp.twilio-sms".to_owned(),
            name: "Twilio SMS".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reaches: vec![AddressKind::Phone],
            config_schema: include_str!("config.schema.json").to_owned(),
            // Each region has a host of its own.
            hosts: vec!["*".to_owned()],
            secrets: vec![
                secret(
                    "auth_token",
                    "The account's auth token, as the console shows it: it sends, and signs receipts.",
                ),
                secret("api_key_secret", "The secret of the API key `api_key_sid`, where it is to send."),
            ],
            // Twilio takes no key by which it would know a message again.
            idempotent: false,
        }
    }

    fn validate(config: &Config) -> Result<(), Vec<String>> {
        let problems = config.problems(|name| secret(name).is_some());
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn deliver(message: &Message, config: Config) -> Result<Receipt, DeliveryError> {
        let callback = callback_url().filter(|_| config.receipts);
        verdict(&call(message, &config, callback.as_deref(), &secret)?.send()?)
    }
}

impl Hearing for TwilioSms {
    fn receive(call: &HookCall, config: Config) -> Result<Vec<Told>, Refusal> {
        receipt::received(call, &config.account_sid, |data, signature| {
            verify("auth_token", Key::Secret, Algorithm::HmacSha1, data, signature)
        })
    }
}

#[cfg(target_family = "wasm")]
wotp_plugin_kit::plugin!(TwilioSms, hearing);

/// The request for a message.
fn call(
    message: &Message,
    config: &Config,
    callback: Option<&str>,
    secret: &dyn Fn(&str) -> Option<String>,
) -> Result<Call, DeliveryError> {
    let (user, password) = match &config.api_key_sid {
        Some(key) => (key, "api_key_secret"),
        None => (&config.account_sid, "auth_token"),
    };
    let no_secret = || DeliveryError::Misconfigured(format!("the secret `{password}` is not there"));
    let password = secret(password).ok_or_else(no_secret)?;
    // A code that nobody can use any more is not to arrive.
    let validity = message.expires_in_seconds.clamp(1, VALIDITY_MAX_SECONDS).to_string();
    let mut fields =
        vec![("To", message.to.as_str()), ("Body", message.text.as_str()), ("ValidityPeriod", validity.as_str())];
    fields.extend(config.from.as_deref().map(|from| ("From", from)));
    fields.extend(config.messaging_service_sid.as_deref().map(|service| ("MessagingServiceSid", service)));
    fields.extend(callback.map(|url| ("StatusCallback", url)));
    let url = format!("{}/2010-04-01/Accounts/{}/Messages.json", config.api, config.account_sid);
    Ok(Call::new(Method::Post, url)
        // The host encodes it, with the secret in its place.
        .header("authorization", format!("Basic {user}:{password}"))
        .body("application/x-www-form-urlencoded", form::written(&fields)))
}

/// What an answer means.
fn verdict(answer: &Response) -> Result<Receipt, DeliveryError> {
    let said: Option<Said> = answer.json();
    let code = said.as_ref().and_then(|said| said.code.or(said.error_code));
    let failed = said.as_ref().and_then(|said| said.status.as_ref()).is_some_and(|status| status == "failed");
    match (answer.status, said) {
        (200..=299, Some(Said { sid: Some(sid), .. })) if !failed => Ok(sent(Some(sid))),
        // It was taken, as far as anybody can say, and is not to be sent again.
        (200..=299, _) if !failed => Err(DeliveryError::Unknown("Twilio answered with no message".to_owned())),
        (status, _) => Err(errors::refused(status, code, answer.retry_after_seconds())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use wotp_plugin_kit::http::Header;

    use super::*;

    const ACCOUNT: &str = "AC00000000000000000000000000000000";

    fn message() -> Message {
        Message {
            id: "dlv_1".to_owned(),
            kind: AddressKind::Phone,
            to: "+12025550123".to_owned(),
            subject: String::new(),
            text: "482913 & more".to_owned(),
            code: Some("482913".to_owned()),
            brand: "Acme".to_owned(),
            locale: "en".to_owned(),
            expires_in_seconds: 300,
            config: "{}".to_owned(),
        }
    }

    fn config(more: Value) -> Config {
        let mut all = json!({ "account_sid": ACCOUNT, "from": "+12025550100" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn answer(status: u16, body: Value) -> Response {
        let headers = vec![Header { name: "content-type".to_owned(), value: "application/json".to_owned() }];
        Response { status, headers, body: body.to_string().into_bytes() }
    }

    #[test]
    fn a_message_is_a_form_to_the_accounts_own_page() {
        let secret = |name: &str| Some(format!("MARK_{name}"));
        let made = call(&message(), &config(json!({})), Some("https://wotp.example/hooks/sms/x"), &secret).unwrap();
        let request = made.request();
        assert_eq!(request.url, format!("https://api.twilio.com/2010-04-01/Accounts/{ACCOUNT}/Messages.json"));
        assert_eq!(request.headers[0].value, format!("Basic {ACCOUNT}:MARK_auth_token"));
        assert_eq!(
            str::from_utf8(&request.body).unwrap(),
            "To=%2B12025550123&Body=482913%20%26%20more&ValidityPeriod=300&From=%2B12025550100\
             &StatusCallback=https%3A%2F%2Fwotp.example%2Fhooks%2Fsms%2Fx"
        );
        let key = format!("SK{}", "0".repeat(32));
        let made = call(&message(), &config(json!({ "api_key_sid": key })), None, &secret).unwrap();
        assert_eq!(made.request().headers[0].value, format!("Basic {key}:MARK_api_key_secret"));
        assert!(!str::from_utf8(&made.request().body).unwrap().contains("StatusCallback"));
    }

    #[test]
    fn an_answer_is_read_as_twilio_documents_it() {
        let taken = json!({ "sid": "SM00000000000000000000000000000001", "status": "queued", "error_code": null, "price": null });
        assert_eq!(
            verdict(&answer(201, taken)).unwrap().provider_id.as_deref(),
            Some("SM00000000000000000000000000000001")
        );
        let invalid = json!({ "code": 21211, "message": "The 'To' number is not valid.", "status": 400 });
        assert!(matches!(verdict(&answer(400, invalid)), Err(DeliveryError::InvalidRecipient(_))));
        let busy = json!({ "code": 20429, "message": "Too Many Requests", "status": 429 });
        assert!(matches!(verdict(&answer(429, busy)), Err(DeliveryError::Temporary(_))));
        let failed = json!({ "sid": "SM1", "status": "failed", "error_code": 30007 });
        assert!(matches!(verdict(&answer(201, failed)), Err(DeliveryError::Rejected(_))));
        assert!(matches!(verdict(&answer(201, json!([]))), Err(DeliveryError::Unknown(_))));
        assert!(matches!(verdict(&answer(500, json!("x"))), Err(DeliveryError::Unknown(_))));
    }
}
