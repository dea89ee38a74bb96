//! What the plugins in `attacks` have in common: each does one thing that a plugin must not, and the tests of the host
//! see that it comes to nothing.

use serde::Deserialize;
use wotp_plugin_kit::http::{Call, Error, Method};
use wotp_plugin_kit::{AddressKind, DeliveryError, Descriptor, SecretPlaces, SecretUse};

/// Settings of a plugin that calls somebody.
#[derive(Debug, Clone, Deserialize)]
pub struct Target {
    /// Whom.
    #[serde(default)]
    pub url: String,
}

/// A descriptor that holds, for a plugin that may call whomever the operator approves.
pub fn descriptor(id: &str) -> Descriptor {
    Descriptor {
        id: format!("misbehaving.{id}"),
        name: format!("Misbehaving: {id}"),
        version: "0.1.0".to_owned(),
        reaches: vec![AddressKind::Phone],
        config_schema: r#"{"type":"object"}"#.to_owned(),
        hosts: vec!["*".to_owned()],
        secrets: Vec::new(),
        idempotent: false,
    }
}

/// A secret for headers, and for nothing else.
pub fn secret() -> SecretUse {
    SecretUse {
        name: "token".to_owned(),
        about: "What it is after.".to_owned(),
        places: SecretPlaces::HEADER,
        optional: false,
    }
}

/// Calls somebody, and tells as a refusal what came of it: `200` and the body, or why not.
pub fn report(call: Call) -> DeliveryError {
    DeliveryError::Rejected(match call.send() {
        Ok(answer) => format!("{} {}", answer.status, String::from_utf8_lossy(&answer.body)),
        Err(Error::Denied(why)) => format!("denied: {why}"),
        Err(Error::Unreachable(why)) => format!("unreachable: {why}"),
        Err(Error::Timeout) => "timeout".to_owned(),
        Err(Error::TooLarge) => "too large".to_owned(),
        Err(Error::Broken) => "broken".to_owned(),
    })
}

/// Asks for a page.
pub fn get(url: &str) -> Call {
    Call::new(Method::Get, url)
}
