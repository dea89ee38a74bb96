//! What the Gateway's methods have in common. Source: core.telegram.org/gateway/api.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use wotp_plugin_kit::Failure;
use wotp_plugin_kit::Fate;
use wotp_plugin_kit::http::{Answer as _, Call, Method, Response};

use crate::Config;

/// How long to wait when Telegram asks to and does not say how long, in seconds.
const BUSY_SECONDS: u32 = 5;

/// An answer: what is read of it.
#[derive(Debug, Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Said<T> {
    ok: bool,
    #[serde(default)]
    result: Option<T>,
    #[serde(default)]
    error: Option<String>,
}

/// How a request stands.
#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) request_id: String,
    #[serde(default)]
    pub(crate) delivery_status: Option<Status>,
}

/// How far a message got.
#[derive(Debug, Deserialize)]
pub(crate) struct Status {
    status: String,
}

impl Status {
    /// What that is in our words; none for whatever comes to be.
    pub(crate) fn fate(&self) -> Option<Fate> {
        match self.status.as_str() {
            "sent" => Some(Fate::Sent),
            "delivered" => Some(Fate::Delivered),
            "read" => Some(Fate::Read),
            "expired" | "revoked" => Some(Fate::Failed(Failure::Unavailable)),
            _ => None,
        }
    }
}

/// Why there is no request in an answer. Each text is for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The number is nobody's at Telegram.
    Nobody(String),
    /// Token, balance or sender.
    Settings(String),
    /// Not now: again after so many seconds.
    Busy(String, u32),
    /// The request that was named is none.
    Request(String),
    /// Something else of this message.
    Message(String),
    /// It said nothing that tells what became of it.
    Unclear(String),
}

/// A request of one method.
pub(crate) fn call(config: &Config, method: &str, token: &str, body: &Value) -> Call {
    Call::new(Method::Post, format!("{}/{method}", config.api))
        .header("authorization", format!("Bearer {token}"))
        .json(body)
}

/// The result that an answer tells of, as of most methods how a request stands.
pub(crate) fn read<T: DeserializeOwned>(answer: &Response) -> Result<T, Refused> {
    let status = answer.status;
    match answer.json() {
        Some(Said { ok: true, result: Some(result), .. }) => Ok(result),
        Some(Said { ok: false, error: Some(error), .. }) => Err(refused(&error)),
        _ if status == 429 || status == 503 => {
            let seconds = answer.retry_after_seconds().unwrap_or(BUSY_SECONDS);
            Err(Refused::Busy(format!("Telegram answered with HTTP {status}"), seconds))
        }
        _ if matches!(status, 401 | 403) => Err(Refused::Settings(format!("Telegram answered with HTTP {status}"))),
        _ => Err(Refused::Unclear(format!("Telegram answered with HTTP {status}, and with no result"))),
    }
}

/// What an error means. Its name says what is wrong; Telegram documents no list of them.
fn refused(error: &str) -> Refused {
    let said = format!("Telegram answered with {error}");
    // Those whose names leave no doubt: `PHONE_NUMBER_FLOOD`, as Telegram has elsewhere, is of a number that is somebody's.
    let nobody = ["PHONE_NUMBER_INVALID", "PHONE_NUMBER_NOT_FOUND", "PHONE_NUMBER_UNOCCUPIED", "PHONE_NUMBER_BANNED"];
    if nobody.contains(&error) {
        return Refused::Nobody(said);
    }
    if error.starts_with("REQUEST_ID_") {
        return Refused::Request(said);
    }
    if let Some(seconds) = error.strip_prefix("FLOOD_WAIT") {
        let seconds = seconds.trim_start_matches('_').parse().unwrap_or(BUSY_SECONDS).clamp(1, 3600);
        return Refused::Busy(said, seconds);
    }
    match ["ACCESS_TOKEN_", "BALANCE_", "SENDER_"].iter().any(|beginning| error.starts_with(beginning)) {
        true => Refused::Settings(said),
        false => Refused::Message(said),
    }
}
