//! Taking a code back. Source: core.telegram.org/gateway/api, `revokeVerificationMessage`.

use serde_json::json;
use wotp_plugin_kit::http::{Call, Response};
use wotp_plugin_kit::{Kept, Pause, Sent};

use crate::Config;
use crate::api::{self, Refused};

/// The request that asks for it.
pub(crate) fn call(sent: &Sent, config: &Config, token: &str) -> Result<Call, Kept> {
    let Some(request) = &sent.provider_id else {
        return Err(Kept::Impossible("Telegram gave it no name".to_owned()));
    };
    Ok(api::call(config, "revokeVerificationMessage", token, &json!({ "request_id": request })))
}

/// What an answer means. Telegram says that it was asked, and takes back what was not read.
pub(crate) fn outcome(answer: &Response) -> Result<(), Kept> {
    match api::read::<bool>(answer) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Kept::Impossible("Telegram does not take it back".to_owned())),
        Err(Refused::Settings(why)) => Err(Kept::Misconfigured(why)),
        Err(Refused::Busy(detail, seconds)) => Err(Kept::Temporary(Pause { detail, seconds })),
        Err(Refused::Unclear(detail)) => Err(Kept::Temporary(Pause { detail, seconds: 60 })),
        Err(Refused::Request(why) | Refused::Message(why) | Refused::Nobody(why)) => Err(Kept::Impossible(why)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn sent(provider_id: Option<&str>) -> Sent {
        Sent {
            id: "dlv_1".to_owned(),
            reference: "cmVm".to_owned(),
            provider_id: provider_id.map(str::to_owned),
            sent_at_milliseconds: 1_764_417_600_000.0,
            asked: 1,
            config: "{}".to_owned(),
        }
    }

    #[test]
    fn telegram_is_asked_as_it_documents() {
        let config: Config = serde_json::from_str("{}").unwrap();
        let made = call(&sent(Some("141414")), &config, "MARK").unwrap();
        let request = made.request();
        assert_eq!(request.url, "https://gatewayapi.telegram.org/revokeVerificationMessage");
        assert_eq!(request.headers[0].value, "Bearer MARK");
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), json!({ "request_id": "141414" }));
        assert!(matches!(call(&sent(None), &config, "MARK"), Err(Kept::Impossible(_))));
    }

    #[test]
    fn an_answer_says_whether_to_ask_again() {
        let outcome = |status: u16, body: &str| {
            outcome(&Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
        };
        assert!(outcome(200, r#"{"ok":true,"result":true}"#).is_ok());
        assert!(matches!(outcome(200, r#"{"ok":true,"result":false}"#), Err(Kept::Impossible(_))));
        let error = |name: &str| outcome(200, &format!(r#"{{"ok":false,"error":"{name}"}}"#)).unwrap_err();
        assert!(matches!(error("REQUEST_ID_INVALID"), Kept::Impossible(_)));
        assert!(matches!(error("MESSAGE_ALREADY_READ"), Kept::Impossible(_)));
        assert!(matches!(error("ACCESS_TOKEN_INVALID"), Kept::Misconfigured(_)));
        assert!(matches!(error("FLOOD_WAIT_30"), Kept::Temporary(Pause { seconds: 30, .. })));
        assert!(matches!(outcome(502, "<html>"), Err(Kept::Temporary(_))));
        // A request that was not made anew tells nothing of this one.
        assert!(matches!(outcome(200, r#"{"ok":true}"#), Err(Kept::Temporary(_))));
    }
}
