//! Providers that messages are sent through: each as its plugin calls it, and as a channel that is built in would.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clap::ValueEnum;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::code::Code;
use wotp_core::ports::Outgoing;
use wotp_outbound::{Answer, Request};

/// All that RFC 3986 does not call unreserved: what plugins write in forms.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
const FORM: &str = "application/x-www-form-urlencoded";
const JSON: &str = "application/json";
const ACCOUNT: &str = "AC0123456789abcdef0123456789abcdef";
const KEY: &str = "abcd1234";
const SECRET: &str = "a-secret-of-the-account";
/// Longest that Twilio and Vonage try, in seconds: their own bounds.
const TWILIO_SECONDS_MAX: i64 = 36_000;
const VONAGE_SECONDS_MAX: i64 = 604_800;

/// A provider, by the plugin that knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Any gateway, by settings.
    GenericHttp,
    /// Twilio.
    TwilioSms,
    /// Vonage.
    VonageSms,
    /// SMTP2GO.
    Smtp2go,
}

impl Provider {
    /// The file of its component, without `.wasm`.
    pub fn component(self) -> &'static str {
        match self {
            Self::GenericHttp => "generic_http",
            Self::TwilioSms => "twilio_sms",
            Self::VonageSms => "vonage_sms",
            Self::Smtp2go => "smtp2go",
        }
    }

    /// What its plugin is written in.
    pub fn language(self) -> &'static str {
        match self {
            Self::GenericHttp | Self::TwilioSms => "Rust",
            Self::VonageSms => "JavaScript",
            Self::Smtp2go => "Python",
        }
    }

    /// Whom it reaches.
    pub fn reaches(self) -> AddressKind {
        match self {
            Self::Smtp2go => AddressKind::Email,
            _ => AddressKind::Phone,
        }
    }

    /// The plugin's settings, with the provider at `origin`.
    pub fn config(self, origin: &str) -> Value {
        match self {
            Self::GenericHttp => json!({
                "url": format!("{origin}/send?to={{{{to}}}}"),
                "headers": { "authorization": "Bearer {{secret:token}}" },
                "body": { "json": { "text": "{{text}}", "code": "{{code}}", "id": "{{id}}" } },
                "success": { "statuses": [200], "pointer": "/status", "equals": ["queued"] },
                "message_id": "/id",
            }),
            Self::TwilioSms => {
                json!({ "account_sid": ACCOUNT, "from": "+12025550100", "receipts": false, "api": origin })
            }
            Self::VonageSms => json!({ "api_key": KEY, "from": "Acme", "api": origin }),
            Self::Smtp2go => json!({ "sender": "codes@example.com", "api": origin }),
        }
    }

    /// The plugin's secret: its name, and what it is.
    pub fn secret(self) -> (&'static str, &'static str) {
        let name = match self {
            Self::GenericHttp => "token",
            Self::TwilioSms => "auth_token",
            Self::VonageSms => "api_secret",
            Self::Smtp2go => "api_key",
        };
        (name, SECRET)
    }

    /// Where it takes messages.
    pub fn path(self) -> String {
        match self {
            Self::GenericHttp => "/send".to_owned(),
            Self::TwilioSms => format!("/2010-04-01/Accounts/{ACCOUNT}/Messages.json"),
            Self::VonageSms => "/sms/json".to_owned(),
            Self::Smtp2go => "/v3/email/send".to_owned(),
        }
    }

    /// What it answers to a message that it takes: status and body, of the shape that its documentation has.
    pub fn taken(self) -> (u16, &'static str) {
        match self {
            Self::GenericHttp => (200, r#"{"status":"queued","id":"gw-1"}"#),
            Self::TwilioSms => (
                201,
                r#"{"sid":"SM0123456789abcdef0123456789abcdef","status":"queued","error_code":null,"price":null,"num_segments":"1"}"#,
            ),
            Self::VonageSms => (
                200,
                r#"{"message-count":"1","messages":[{"to":"12025550123","message-id":"aaaaaaaa-bbbb-cccc-dddd-0123456789ab","status":"0","remaining-balance":"3.14159265","message-price":"0.03330000","network":"12345"}]}"#,
            ),
            Self::Smtp2go => (
                200,
                r#"{"request_id":"aa253464-0bd0-467a-b24b-6159dcd7be60","data":{"succeeded":1,"failed":0,"failures":[],"email_id":"1u0SwL-B9zBpi9ffUq-JAB2"}}"#,
            ),
        }
    }

    /// The request for a message that is of use for so many more seconds: the one that the plugin makes.
    pub fn request(self, origin: &str, outgoing: &Outgoing, seconds_left: i64) -> Request {
        let to = outgoing.to.as_str();
        let (name, credentials) = match self {
            Self::GenericHttp => (AUTHORIZATION, format!("Bearer {SECRET}")),
            Self::TwilioSms => (AUTHORIZATION, basic(ACCOUNT)),
            Self::VonageSms => (AUTHORIZATION, basic(KEY)),
            Self::Smtp2go => (HeaderName::from_static("x-smtp2go-api-key"), SECRET.to_owned()),
        };
        let (kind, body) = match self {
            Self::GenericHttp => {
                let code = outgoing.code.as_ref().map_or("", Code::as_str);
                let id = outgoing.message_id.to_string();
                (JSON, json!({ "text": outgoing.text, "code": code, "id": id }).to_string())
            }
            Self::TwilioSms => {
                let validity = seconds_left.clamp(1, TWILIO_SECONDS_MAX).to_string();
                let fields =
                    [("To", to), ("Body", &outgoing.text), ("ValidityPeriod", &validity), ("From", "+12025550100")];
                (FORM, form(&fields))
            }
            Self::VonageSms => {
                let ttl = (seconds_left.clamp(20, VONAGE_SECONDS_MAX) * 1000).to_string();
                let to = to.trim_start_matches('+');
                (FORM, form(&[("from", "Acme"), ("to", to), ("text", &outgoing.text), ("type", "text"), ("ttl", &ttl)]))
            }
            Self::Smtp2go => {
                let email = json!({
                    "sender": format!("\"{}\" <codes@example.com>", outgoing.brand),
                    "to": [to],
                    "subject": outgoing.subject,
                    "text_body": outgoing.text,
                    "custom_headers": [{ "header": "Auto-Submitted", "value": "auto-generated" }],
                    "fastaccept": false,
                });
                (JSON, email.to_string())
            }
        };
        let mut url = format!("{origin}{}", self.path());
        if self == Self::GenericHttp {
            url.extend(["?to=", &utf8_percent_encode(to, RESERVED).to_string()]);
        }
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("WOTP/", env!("CARGO_PKG_VERSION"))));
        headers.insert(name, HeaderValue::try_from(credentials).expect("a secret of ours is a header's value"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        Request { method: http::Method::POST, url, headers, body: Bytes::from(body) }
    }

    /// What it calls the message that it took; none where it did not.
    pub fn name_of(self, answer: &Answer) -> Option<String> {
        let said: Value = serde_json::from_slice(&answer.body).ok()?;
        let (taken, name) = match self {
            Self::GenericHttp => (said["status"] == "queued", &said["id"]),
            Self::TwilioSms => (said["status"] != "failed", &said["sid"]),
            Self::VonageSms => (said["messages"][0]["status"] == "0", &said["messages"][0]["message-id"]),
            Self::Smtp2go => (said["data"]["succeeded"] == 1, &said["data"]["email_id"]),
        };
        if taken && (200..300).contains(&answer.status) { name.as_str().map(str::to_owned) } else { None }
    }
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{SECRET}")))
}

fn form(fields: &[(&str, &str)]) -> String {
    let encoded = |text| utf8_percent_encode(text, RESERVED);
    fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect::<Vec<_>>().join("&")
}
