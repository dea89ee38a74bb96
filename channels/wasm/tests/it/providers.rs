//! Providers as their documentation has them: what they answer to a message, by the end of its address.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::gateway::Came;

/// Vonage. Source: developer.vonage.com/en/api/sms, and /en/api-errors/sms for the statuses.
pub fn vonage(came: &Came) -> (u16, String) {
    let form: BTreeMap<_, _> = url::form_urlencoded::parse(&came.body).into_owned().collect();
    let refused = |status: &str, words: &str| json!({ "status": status, "error-text": words });
    let part = match form["to"].as_str() {
        to if to.ends_with("91") => refused("33", &format!("Number {to} is de-activated")),
        to if to.ends_with("92") => refused("4", "Bad Credentials"),
        to if to.ends_with("93") => refused("1", "Throughput Rate Exceeded - please wait [ 10 ] and retry"),
        to if to.ends_with("94") => refused("5", "Internal Error"),
        to if to.ends_with("95") => refused("7", "Illegal number"),
        to => json!({
            "to": to,
            "message-id": "aaaaaaaa-bbbb-cccc-dddd-0123456789ab",
            "status": "0",
            "remaining-balance": "3.14159265",
            "message-price": "0.03330000",
            "network": "12345",
        }),
    };
    (200, json!({ "message-count": "1", "messages": [part] }).to_string())
}

/// SMTP2GO. Source: developers.smtp2go.com/reference/send-standard-email and /docs/response-codes.
pub fn smtp2go(came: &Came) -> (u16, String) {
    let email = came.json();
    let to = email["to"][0].as_str().unwrap_or_default();
    let said = |data: Value| json!({ "request_id": "aa253464-0bd0-467a-b24b-6159dcd7be60", "data": data }).to_string();
    let error = |code: &str, words: &str| {
        said(
            json!({ "error_code": format!("E_ApiResponseCodes.{code}"), "error": words, "field_validation_errors": { "fieldname": "to" } }),
        )
    };
    match to.split('@').next().unwrap_or_default() {
        name if name.ends_with("91") => (
            400,
            error("NON_VALIDATING_IN_PAYLOAD", &format!("The field 'to' was expecting an email but found '{to}'")),
        ),
        name if name.ends_with("92") => (400, error("ENDPOINT_PERMISSION_DENIED", "You do not have permission")),
        name if name.ends_with("93") => (429, error("RATELIMIT", "API key ratelimit exceeded")),
        name if name.ends_with("94") => (500, String::new()),
        name if name.ends_with("95") => {
            (200, said(json!({ "succeeded": 0, "failed": 1, "failures": [format!("{to} is suppressed")] })))
        }
        _ => (200, said(json!({ "succeeded": 1, "failed": 0, "failures": [], "email_id": "1u0SwL-B9zBpi9ffUq-JAB2" }))),
    }
}
