//! SMS through the gateway of {{name}}: `POST https://api.example.com/v1/messages`, which answers 201 and
//! `{"id": "…"}`. Make it your provider's: host, request, and what its answers mean.

use serde::Deserialize;
use serde_json::json;
use wotp_plugin_kit::http::{Answer as _, Call, Method, Response};
use wotp_plugin_kit::{
    AddressKind, DeliveryError, Descriptor, Message, Pause, Plugin, Receipt, SecretPlaces, SecretUse, secret, sent,
};

/// How long to wait where the gateway does not say, in seconds.
const BUSY_SECONDS: u32 = 5;

/// The plugin.
pub struct Sms;

/// The settings: what `config.schema.json` allows.
#[derive(Deserialize)]
pub struct Config {
    from: String,
}

/// What the gateway answers, as far as it is read.
#[derive(Deserialize)]
struct Said {
    id: Option<String>,
    error: Option<String>,
}

impl Plugin for Sms {
    type Config = Config;

    fn describe() -> Descriptor {
        Descriptor {
            id: "example.{{name}}".to_owned(),
            name: "{{name}}".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reaches: vec![AddressKind::Phone],
            config_schema: include_str!("../config.schema.json").to_owned(),
            hosts: vec!["api.example.com".to_owned()],
            secrets: vec![SecretUse {
                name: "token".to_owned(),
                about: "The API token from your account's page.".to_owned(),
                places: SecretPlaces::HEADER,
                optional: false,
            }],
            // Only where the provider takes one `message.id` for one message, however often it is sent.
            idempotent: false,
        }
    }

    fn deliver(message: &Message, config: Config) -> Result<Receipt, DeliveryError> {
        // A mark: the host puts the secret in its place on the way out, and the plugin never sees it.
        let token = secret("token").unwrap_or_default();
        verdict(&call(message, &config, &token).send()?)
    }
}

#[cfg(target_family = "wasm")]
wotp_plugin_kit::plugin!(Sms);

/// The request for a message.
fn call(message: &Message, config: &Config, token: &str) -> Call {
    let body = json!({ "from": config.from, "to": message.to, "text": message.text, "reference": message.id });
    Call::new(Method::Post, "https://api.example.com/v1/messages")
        .header("authorization", format!("Bearer {token}"))
        .json(&body)
}

/// What an answer means for the message. What no rule here takes is not known to have failed: better that another
/// channel takes the message than that nobody does.
fn verdict(answer: &Response) -> Result<Receipt, DeliveryError> {
    let said: Option<Said> = answer.json();
    let error = said.as_ref().and_then(|said| said.error.as_deref());
    let why = format!("HTTP {} {}", answer.status, error.unwrap_or_default());
    match (answer.status, error) {
        (200..=299, _) => match said.and_then(|said| said.id) {
            Some(id) => Ok(sent(Some(id))),
            None => Err(DeliveryError::Unknown(format!("{why}without the `id` of a message"))),
        },
        (400 | 422, Some("unknown_number")) => Err(DeliveryError::InvalidRecipient(why)),
        (401 | 403, _) => Err(DeliveryError::Misconfigured(why)),
        (429 | 503, _) => Err(DeliveryError::Temporary(Pause {
            detail: why,
            seconds: answer.retry_after_seconds().unwrap_or(BUSY_SECONDS),
        })),
        (400..=499, _) => Err(DeliveryError::Rejected(why)),
        _ => Err(DeliveryError::Unknown(why)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response {
        Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    #[test]
    fn a_message_is_sent_as_it_was_written() {
        let message = Message {
            id: "dlv_1".to_owned(),
            kind: AddressKind::Phone,
            to: "+12025550123".to_owned(),
            subject: String::new(),
            text: "482913 is your code.".to_owned(),
            code: Some("482913".to_owned()),
            brand: "Acme".to_owned(),
            locale: "en".to_owned(),
            expires_in_seconds: 300,
            config: String::new(),
        };
        let config = Config { from: "Acme".to_owned() };
        let call = call(&message, &config, "MARK");
        let body: serde_json::Value = serde_json::from_slice(&call.request().body).unwrap();
        assert_eq!((&body["to"], &body["text"]), (&json!("+12025550123"), &json!("482913 is your code.")));
        assert!(call.request().headers.iter().any(|header| header.value == "Bearer MARK"));
    }

    #[test]
    fn a_message_that_the_gateway_took_is_sent() {
        let receipt = verdict(&answer(201, r#"{"id":"m-1"}"#)).unwrap();
        assert_eq!(receipt.provider_id.as_deref(), Some("m-1"));
    }

    #[test]
    fn what_the_gateway_refuses_says_why() {
        let unknown = verdict(&answer(422, r#"{"error":"unknown_number"}"#));
        assert!(matches!(unknown, Err(DeliveryError::InvalidRecipient(_))));
        assert!(matches!(verdict(&answer(401, "")), Err(DeliveryError::Misconfigured(_))));
        assert!(matches!(verdict(&answer(429, "")), Err(DeliveryError::Temporary(pause)) if pause.seconds == 5));
        // It may have got out.
        assert!(matches!(verdict(&answer(500, "")), Err(DeliveryError::Unknown(_))));
        assert!(matches!(verdict(&answer(200, "taken")), Err(DeliveryError::Unknown(_))));
    }
}
