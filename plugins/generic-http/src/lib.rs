//! Any HTTP gateway as a channel, by configuration: templates for URL, headers and body, and a rule for what counts
//! as taken. `docs/plugins.md` says how to write one.

mod config;
mod rule;
mod template;

use std::collections::BTreeMap;

use serde_json::Value;
use wotp_plugin_kit::http::{Answer as _, Call, Response};
use wotp_plugin_kit::{
    AddressKind, DeliveryError, Descriptor, Message, Pause, Plugin, Receipt, SecretPlaces, SecretUse, sent,
};

use config::{Body, Config};
use template::{Context, Encoding, Template};

/// How long to wait when the gateway asks to and does not say how long, in seconds.
const BUSY_SECONDS: u32 = 5;

/// A gateway that speaks HTTP.
pub struct GenericHttp;

impl Plugin for GenericHttp {
    type Config = Config;

    fn describe() -> Descriptor {
        let secret = |name: &str, about: &str| SecretUse {
            name: name.to_owned(),
            about: about.to_owned(),
            places: SecretPlaces::HEADER | SecretPlaces::QUERY | SecretPlaces::BODY,
            optional: true,
        };
        Descriptor {
            id: "wotp.generic-http".to_owned(),
            name: "HTTP gateway".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reaches: vec![AddressKind::Phone, AddressKind::Email],
            config_schema: include_str!("config.schema.json").to_owned(),
            hosts: vec!["*".to_owned()],
            secrets: vec![
                secret("token", "What the gateway knows you by, as `{{secret:token}}`."),
                secret("username", "A user name, as `{{secret:username}}`, for gateways that ask for two secrets."),
                secret("password", "What goes with the user name, as `{{secret:password}}`."),
            ],
            idempotent: false,
        }
    }

    fn validate(config: &Config) -> Result<(), Vec<String>> {
        let problems = config.problems();
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn deliver(message: &Message, config: Config) -> Result<Receipt, DeliveryError> {
        let answer = call(message, &config).map_err(DeliveryError::Misconfigured)?.send()?;
        verdict(&config, &answer)
    }
}

#[cfg(target_family = "wasm")]
wotp_plugin_kit::plugin!(GenericHttp);

/// The request for a message.
fn call(message: &Message, config: &Config) -> Result<Call, String> {
    let context = Context { message, secret: &wotp_plugin_kit::secret };
    let render = |text: &str, encoding| Template::parse(text)?.render(&context, encoding);
    let mut call = Call::new(config.method.into(), render(&config.url, Encoding::Url)?);
    for (name, value) in &config.headers {
        call = call.header(name, render(value, Encoding::Plain)?);
    }
    Ok(match &config.body {
        None => call,
        Some(Body::Json(value)) => call.json(&filled(value, &|text| render(text, Encoding::Plain))?),
        Some(Body::Form(fields)) => {
            call.body("application/x-www-form-urlencoded", form(fields, |text| render(text, Encoding::Url))?)
        }
        Some(Body::Text { content_type, text }) => call.body(content_type, render(text, Encoding::Plain)?),
    })
}

/// JSON with each of its texts filled, which is then escaped as JSON is: no message can break out of its place.
fn filled(value: &Value, fill: &impl Fn(&str) -> Result<String, String>) -> Result<Value, String> {
    Ok(match value {
        Value::String(text) => Value::String(fill(text)?),
        Value::Array(items) => items.iter().map(|item| filled(item, fill)).collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| Ok((name.clone(), filled(value, fill)?));
            Value::Object(fields.iter().map(field).collect::<Result<_, String>>()?)
        }
        other => other.clone(),
    })
}

fn form(fields: &BTreeMap<String, String>, fill: impl Fn(&str) -> Result<String, String>) -> Result<String, String> {
    let field = |(name, value): (&String, &String)| Ok(format!("{}={}", template::encoded(name), fill(value)?));
    Ok(fields.iter().map(field).collect::<Result<Vec<_>, String>>()?.join("&"))
}

/// What an answer means. The configuration says what counts as taken and as nobody's address; the rest is HTTP.
fn verdict(config: &Config, answer: &Response) -> Result<Receipt, DeliveryError> {
    let body: Option<Value> = answer.json();
    let holds = |rule: &rule::Rule| rule.holds(answer.status, body.as_ref());
    if config.invalid_recipient.as_ref().is_some_and(holds) {
        return Err(DeliveryError::InvalidRecipient("the gateway says that nobody has this address".to_owned()));
    }
    if holds(&config.success) {
        let id = config.message_id.as_deref().and_then(|pointer| body.as_ref()?.pointer(pointer));
        return Ok(sent(id.and_then(text)));
    }
    let status = answer.status;
    let said = format!("the gateway answered with HTTP {status}");
    Err(match status {
        429 | 503 => {
            let seconds = answer.retry_after_seconds().unwrap_or(BUSY_SECONDS);
            DeliveryError::Temporary(Pause { detail: said, seconds })
        }
        401 | 403 => DeliveryError::Misconfigured(said),
        // It had the message when it failed: nobody knows how far it got.
        500..=599 => DeliveryError::Unknown(said),
        200..=299 => DeliveryError::Rejected(format!("{said}, and not as the rule for success asks")),
        _ => DeliveryError::Rejected(said),
    })
}

/// An id, which some gateways write as a number.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wotp_plugin_kit::http::Header;

    use super::*;

    fn config(more: Value) -> Config {
        let mut all = json!({ "url": "https://gateway.example/send" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(all).unwrap()
    }

    fn answer(status: u16, body: &str) -> Response {
        let headers = vec![Header { name: "retry-after".to_owned(), value: "30".to_owned() }];
        Response { status, headers, body: body.as_bytes().to_vec() }
    }

    #[test]
    fn without_a_rule_http_decides() {
        let verdict = |status| verdict(&config(json!({})), &answer(status, ""));
        assert!(verdict(202).is_ok());
        assert!(matches!(verdict(429), Err(DeliveryError::Temporary(Pause { seconds: 30, .. }))));
        assert!(matches!(verdict(401), Err(DeliveryError::Misconfigured(_))));
        assert!(matches!(verdict(400), Err(DeliveryError::Rejected(_))));
        assert!(matches!(verdict(302), Err(DeliveryError::Rejected(_))));
        assert!(matches!(verdict(502), Err(DeliveryError::Unknown(_))));
    }

    #[test]
    fn a_rule_looks_into_the_body() {
        let config = config(json!({
            "success": { "pointer": "/status", "equals": ["queued", 0] },
            "invalid_recipient": { "statuses": [200, 400], "pointer": "/error", "equals": [21211] },
            "message_id": "/messages/0/id",
        }));
        let verdict = |status, body: &str| verdict(&config, &answer(status, body));
        let receipt = verdict(200, r#"{"status":"queued","messages":[{"id":42}]}"#).unwrap();
        assert_eq!(receipt.provider_id.as_deref(), Some("42"));
        assert_eq!(verdict(200, r#"{"status":0}"#).unwrap().provider_id, None);
        assert!(matches!(verdict(200, r#"{"status":"failed"}"#), Err(DeliveryError::Rejected(_))));
        assert!(matches!(verdict(200, "<html>"), Err(DeliveryError::Rejected(_))));
        assert!(matches!(verdict(400, r#"{"error":21211}"#), Err(DeliveryError::InvalidRecipient(_))));
    }

    #[test]
    fn what_is_filled_in_stays_in_its_place() {
        let evil = "\",\"admin\":true,\"x\":\"&to=me";
        let fill = |text: &str| Ok(text.replace("{{text}}", evil));
        let body = filled(&json!({ "a": ["{{text}}", 1, { "b": "x {{text}}" }] }), &fill).unwrap();
        assert_eq!(body, json!({ "a": [evil, 1, { "b": format!("x {evil}") }] }));
        let fields = BTreeMap::from([("te xt".to_owned(), "{{text}}".to_owned())]);
        let form = form(&fields, |text| Ok(template::encoded(&text.replace("{{text}}", evil)))).unwrap();
        assert_eq!(form, "te%20xt=%22%2C%22admin%22%3Atrue%2C%22x%22%3A%22%26to%3Dme");
    }
}
