//! Codes in WhatsApp, through the Cloud API of Meta: with an authentication template that Meta approved. Source:
//! developers.facebook.com/docs/whatsapp/cloud-api.

mod config;
mod errors;
mod language;
mod receipt;
mod states;
mod templates;

use serde::Deserialize;
use serde_json::json;
use wotp_plugin_kit::http::{Answer as _, Call, Method, Response};
use wotp_plugin_kit::{
    AddressKind, Algorithm, Checking, DeliveryError, Descriptor, Hearing, HookCall, Key, Message, Plugin, Receipt,
    Refusal, Report, SecretPlaces, SecretUse, Told, Unchecked, account_changed, reference, secret, sent, verify,
};

use config::Config;

/// Characters of a code that an authentication template has room for.
const CODE_MAX: usize = 15;

/// Meta's Cloud API.
pub struct WhatsAppCloud;

/// A message as Meta took it, or an error: what is read of either.
#[derive(Debug, Deserialize)]
struct Said {
    #[serde(default)]
    messages: Vec<Taken>,
    #[serde(default)]
    error: Option<errors::Error>,
}

#[derive(Debug, Deserialize)]
struct Taken {
    id: String,
    #[serde(default)]
    message_status: Option<String>,
}

impl Plugin for WhatsAppCloud {
    type Config = Config;

    fn describe() -> Descriptor {
        let secret = |name: &str, about: &str, places, optional| SecretUse {
            name: name.to_owned(),
            about: about.to_owned(),
            places,
            optional,
        };
        Descriptor {
            id: "wotp.whatsapp-cloud".to_owned(),
            name: "WhatsApp Cloud API".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            reaches: vec![AddressKind::Phone],
            config_schema: include_str!("config.schema.json").to_owned(),
            hosts: vec!["graph.facebook.com".to_owned()],
            secrets: vec![
                secret(
                    "access_token",
                    "A token of a system user: `whatsapp_business_messaging`, and `whatsapp_business_management` for templates.",
                    SecretPlaces::HEADER,
                    false,
                ),
                secret(
                    "app_secret",
                    "The app's secret, as its basic settings show it: Meta signs receipts with it.",
                    SecretPlaces::HEADER,
                    true,
                ),
            ],
            // Meta takes no key by which it would know a message again.
            idempotent: false,
        }
    }

    fn validate(config: &Config) -> Result<(), Vec<String>> {
        let problems = config.problems(secret("app_secret").is_some());
        if problems.is_empty() { Ok(()) } else { Err(problems) }
    }

    fn deliver(message: &Message, config: Config) -> Result<Receipt, DeliveryError> {
        let reference = reference().filter(|_| config.receipts);
        verdict(&call(message, &config, reference, &secret("access_token").unwrap_or_default())?.send()?)
    }
}

impl Hearing for WhatsAppCloud {
    fn receive(call: &HookCall, config: Config) -> Result<Vec<Told>, Refusal> {
        let holds =
            |data: &[u8], signature: &[u8]| verify("app_secret", Key::Secret, Algorithm::HmacSha256, data, signature);
        let heard = receipt::received(call, &config, holds)?;
        if heard.of_template {
            account_changed();
        }
        Ok(heard.told)
    }
}

impl Checking for WhatsAppCloud {
    fn check(config: Config) -> Result<Report, Unchecked> {
        templates::check(&config, &secret("access_token").unwrap_or_default(), &mut Call::send)
    }
}

#[cfg(target_family = "wasm")]
wotp_plugin_kit::plugin!(WhatsAppCloud, hearing, checking);

/// The request for a message. Meta hands `reference` back with each receipt.
fn call(message: &Message, config: &Config, reference: Option<String>, token: &str) -> Result<Call, DeliveryError> {
    let fits = |code: &&String| code.len() <= CODE_MAX;
    let code = message.code.as_ref().filter(fits).ok_or_else(|| {
        DeliveryError::Rejected(format!(
            "an authentication template shows codes of up to {CODE_MAX} characters, and nothing else"
        ))
    })?;
    let parameters = json!([{ "type": "text", "text": code }]);
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": message.to,
        "type": "template",
        "template": {
            "name": config.template,
            "language": { "code": language::best(&message.locale, &config.languages) },
            "components": [
                { "type": "body", "parameters": parameters },
                // Whichever button the template has: what it copies or fills in is this.
                { "type": "button", "sub_type": "url", "index": "0", "parameters": parameters },
            ],
        },
    });
    if let Some(reference) = reference {
        body["biz_opaque_callback_data"] = json!(reference);
    }
    let url = format!("{}/{}/{}/messages", config.api, config.version, config.phone_number_id);
    Ok(Call::new(Method::Post, url).header("authorization", format!("Bearer {token}")).json(&body))
}

/// What an answer means.
fn verdict(answer: &Response) -> Result<Receipt, DeliveryError> {
    let status = answer.status;
    match answer.json() {
        Some(Said { error: Some(error), .. }) => {
            Err(errors::refused(status, Some(error.code), answer.retry_after_seconds()))
        }
        // Taken into custody, and let go of perhaps: nobody would get the code in time.
        Some(Said { messages, .. }) if is_held(&messages) => {
            Err(DeliveryError::Rejected("Meta holds the message back to look at the template's quality".to_owned()))
        }
        Some(Said { messages, .. }) if matches!(status, 200..=299) && !messages.is_empty() => {
            Ok(sent(messages.into_iter().next().map(|taken| taken.id)))
        }
        // It was taken, as far as anybody can say, and is not to be sent again.
        _ if matches!(status, 200..=299) => Err(DeliveryError::Unknown("Meta answered with no message".to_owned())),
        _ => Err(errors::refused(status, None, answer.retry_after_seconds())),
    }
}

fn is_held(messages: &[Taken]) -> bool {
    let held = |taken: &Taken| taken.message_status.as_deref() == Some("held_for_quality_assessment");
    messages.iter().any(held)
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
            locale: "pt-BR".to_owned(),
            expires_in_seconds: 300,
            config: "{}".to_owned(),
        }
    }

    fn config() -> Config {
        let languages = ["en_US", "pt_BR"];
        serde_json::from_value(
            json!({ "phone_number_id": "106540352242922", "template": "login_code", "languages": languages,
            "verify_token": "mine-alone" }),
        )
        .unwrap()
    }

    fn answer(status: u16, body: Value) -> Response {
        Response { status, headers: Vec::new(), body: body.to_string().into_bytes() }
    }

    #[test]
    fn a_code_is_sent_as_meta_documents_it() {
        let made = call(&message(Some("482913")), &config(), Some("cmVm".to_owned()), "MARK").unwrap();
        let request = made.request();
        assert_eq!(request.url, "https://graph.facebook.com/v24.0/106540352242922/messages");
        assert_eq!(request.headers[0].value, "Bearer MARK");
        let parameters = json!([{ "type": "text", "text": "482913" }]);
        assert_eq!(
            serde_json::from_slice::<Value>(&request.body).unwrap(),
            json!({
                "messaging_product": "whatsapp", "recipient_type": "individual", "to": "+12025550123",
                "type": "template",
                "template": {
                    "name": "login_code", "language": { "code": "pt_BR" },
                    "components": [
                        { "type": "body", "parameters": parameters },
                        { "type": "button", "sub_type": "url", "index": "0", "parameters": parameters },
                    ],
                },
                "biz_opaque_callback_data": "cmVm",
            })
        );
        let made = call(&message(Some("482913")), &config(), None, "MARK").unwrap();
        assert!(!String::from_utf8_lossy(&made.request().body).contains("biz_opaque_callback_data"));
    }

    #[test]
    fn what_a_template_has_no_room_for_goes_another_way() {
        for code in [None, Some("1234567890123456")] {
            let refused = call(&message(code), &config(), None, "MARK").err().unwrap();
            assert!(matches!(refused, DeliveryError::Rejected(_)), "{code:?}: {refused:?}");
        }
    }

    #[test]
    fn an_answer_says_what_happens_next() {
        let taken = |status: Value| {
            json!({
                "messaging_product": "whatsapp",
                "contacts": [{ "input": "+12025550123", "wa_id": "12025550123" }],
                "messages": [{ "id": "wamid.HBgL", "message_status": status }],
            })
        };
        let accepted = verdict(&answer(200, taken(json!("accepted")))).unwrap();
        assert_eq!(accepted.provider_id.as_deref(), Some("wamid.HBgL"));
        let held = verdict(&answer(200, taken(json!("held_for_quality_assessment"))));
        assert!(matches!(held, Err(DeliveryError::Rejected(_))), "{held:?}");
        let refused = json!({ "error": { "message": "(#131026) Message undeliverable", "type": "OAuthException", "code": 131026 } });
        assert!(matches!(verdict(&answer(400, refused)), Err(DeliveryError::InvalidRecipient(_))));
        assert!(matches!(verdict(&answer(200, json!({}))), Err(DeliveryError::Unknown(_))));
        assert!(matches!(verdict(&answer(502, json!("x"))), Err(DeliveryError::Unknown(_))));
        assert!(matches!(verdict(&answer(401, json!("x"))), Err(DeliveryError::Misconfigured(_))));
    }
}
