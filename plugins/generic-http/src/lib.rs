//! Any HTTP gateway as a channel, by configuration: templates for URL, headers and body, and a rule for what counts
//! as taken. `docs/plugins.md` says how to write one.

mod config;
mod rule;
mod template;

use std::cell::Cell;
use std::collections::BTreeMap;

use serde_json::Value;
use wotp_plugin_kit::http::{Answer as _, Call, Response};
use wotp_plugin_kit::{
    AddressKind, DeliveryError, Descriptor, Message, Pause, Plugin, Receipt, SecretPlaces, SecretUse, sent,
};

use config::{Body, Config};
use template::{Context, Encoding, Shows, Template};

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
        verdict(&config, &call(message, &config, &wotp_plugin_kit::secret)?.send()?)
    }
}

#[cfg(target_family = "wasm")]
wotp_plugin_kit::plugin!(GenericHttp);

/// The request for a message. Headers come first: a Content-Type among them is the operator's word on the body.
fn call(message: &Message, config: &Config, secret: &dyn Fn(&str) -> Option<String>) -> Result<Call, DeliveryError> {
    let context = Context { message, secret };
    let shown = Cell::new(Shows::default());
    let render = |text: &str, encoding| {
        let template = Template::parse(text).map_err(DeliveryError::Misconfigured)?;
        let (before, here) = (shown.get(), template.shows());
        shown.set(Shows { code: before.code || here.code, text: before.text || here.text });
        template.render(&context, encoding).map_err(DeliveryError::Misconfigured)
    };
    let url = render(&config.url, Encoding::Url)?;
    if config::has_dots(config::parts(&url).1) {
        return Err(DeliveryError::Rejected(
            "what the message fills into the path of `url` is a segment of dots".to_owned(),
        ));
    }
    let mut call = Call::new(config.method.into(), url);
    for (name, value) in &config.headers {
        call = call.header(name, render(value, Encoding::Plain)?);
    }
    let call = match &config.body {
        None => call,
        Some(Body::Json(value)) => call.json(&filled(value, &|text| render(text, Encoding::Plain))?),
        Some(Body::Form(fields)) => {
            call.body("application/x-www-form-urlencoded", form(fields, |text| render(text, Encoding::Url))?)
        }
        Some(Body::Text { content_type, text }) => call.body(content_type, render(text, Encoding::Plain)?),
    };
    // A link, or a direct message: whoever has it would read nothing.
    if message.code.is_none() && shown.get() == (Shows { code: true, text: false }) {
        return Err(DeliveryError::Rejected(
            "the request shows `{{code}}` and not `{{text}}`, and this message has no code".to_owned(),
        ));
    }
    Ok(call)
}

/// JSON with each of its texts filled, which is then escaped as JSON is: no message can break out of its place.
fn filled<E>(value: &Value, fill: &impl Fn(&str) -> Result<String, E>) -> Result<Value, E> {
    Ok(match value {
        Value::String(text) => Value::String(fill(text)?),
        Value::Array(items) => items.iter().map(|item| filled(item, fill)).collect::<Result<_, _>>()?,
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| Ok((name.clone(), filled(value, fill)?));
            Value::Object(fields.iter().map(field).collect::<Result<_, E>>()?)
        }
        other => other.clone(),
    })
}

fn form<E>(fields: &BTreeMap<String, String>, fill: impl Fn(&str) -> Result<String, E>) -> Result<String, E> {
    let field = |(name, value): (&String, &String)| Ok(format!("{}={}", template::encoded(name), fill(value)?));
    Ok(fields.iter().map(field).collect::<Result<Vec<_>, E>>()?.join("&"))
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

    fn requested(config: Value, text: &str) -> Result<Call, DeliveryError> {
        let message = Message { text: text.to_owned(), ..template::tests::message() };
        call(&message, &serde_json::from_value(config).unwrap(), &|_| None)
    }

    #[test]
    fn a_content_type_of_the_operators_own_is_the_only_one() {
        let body = json!({ "url": "https://gateway.example/", "body": { "json": { "a": "{{text}}" } } });
        let mut own = body.clone();
        own["headers"] = json!({ "Content-Type": "application/vnd.gateway+json" });
        for (config, kind) in [(body, "application/json"), (own, "application/vnd.gateway+json")] {
            let call = requested(config, "x").unwrap();
            let kinds: Vec<_> = call.request().headers.iter().map(|header| header.value.as_str()).collect();
            assert_eq!(kinds, [kind]);
        }
    }

    #[test]
    fn what_shows_a_code_alone_takes_no_message_without_one() {
        let shows = |body: &str| json!({ "url": "https://gateway.example/", "body": { "json": { "a": body } } });
        let asked = |config: Value, code: Option<&str>| {
            let message = Message { code: code.map(str::to_owned), ..template::tests::message() };
            call(&message, &serde_json::from_value(config).unwrap(), &|_| None)
        };
        let refused = asked(shows("{{code}}"), None).err().unwrap();
        assert!(matches!(&refused, DeliveryError::Rejected(why) if why.contains("no code")), "{refused:?}");
        assert!(asked(shows("{{code}}"), Some("482913")).is_ok());
        for whole in ["{{text}}", "{{code}} {{text}}", "fixed"] {
            assert!(asked(shows(whole), None).is_ok(), "{whole}");
        }
        // Wherever the text is.
        let beside =
            json!({ "url": "https://gateway.example/?about={{text}}", "body": { "json": { "a": "{{code}}" } } });
        assert!(asked(beside, None).is_ok());
    }

    #[test]
    fn a_message_does_not_choose_another_page() {
        let config = || json!({ "url": "https://gateway.example/to/{{text}}/send?about={{text}}" });
        for dots in [".", ".."] {
            let refused = requested(config(), dots).err().unwrap();
            assert!(matches!(&refused, DeliveryError::Rejected(why) if why.contains("dots")), "{refused:?}");
        }
        let call = requested(config(), "../x#y").unwrap();
        assert_eq!(call.request().url, "https://gateway.example/to/..%2Fx%23y/send?about=..%2Fx%23y");
    }

    #[test]
    fn what_is_filled_in_stays_in_its_place() {
        let evil = "\",\"admin\":true,\"x\":\"&to=me";
        let fill = |text: &str| Ok::<_, DeliveryError>(text.replace("{{text}}", evil));
        let body = filled(&json!({ "a": ["{{text}}", 1, { "b": "x {{text}}" }] }), &fill).unwrap();
        assert_eq!(body, json!({ "a": [evil, 1, { "b": format!("x {evil}") }] }));
        let fields = BTreeMap::from([("te xt".to_owned(), "{{text}}".to_owned())]);
        let form =
            form(&fields, |text| Ok::<_, DeliveryError>(template::encoded(&text.replace("{{text}}", evil)))).unwrap();
        assert_eq!(form, "te%20xt=%22%2C%22admin%22%3Atrue%2C%22x%22%3A%22%26to%3Dme");
    }
}
