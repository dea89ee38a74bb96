//! Whether Telegram can send to somebody. Source: core.telegram.org/gateway/api, `checkSendAbility`.

use serde_json::json;
use wotp_plugin_kit::http::{Call, Response};
use wotp_plugin_kit::{Message, Reachable};

use crate::api::{self, Refused, Request};
use crate::{Config, shown};

/// The request that asks; or why it is not asked.
pub(crate) fn call(message: &Message, config: &Config, token: &str) -> Result<Call, Reachable> {
    if !config.probe {
        return Err(Reachable::Unknown("the setting `probe` is off".to_owned()));
    }
    // A yes is charged for, and this would not be sent.
    if shown(message).is_none() {
        return Err(Reachable::Unknown("Telegram does not show such a code".to_owned()));
    }
    Ok(api::call(config, "checkSendAbility", token, &json!({ "phone_number": message.to })))
}

/// What an answer means. Its request is what the message is sent with, so that Telegram does not charge for it again.
pub(crate) fn reachable(answer: &Response) -> Reachable {
    match api::read::<Request>(answer) {
        Ok(request) => Reachable::Yes(Some(request.request_id)),
        Err(Refused::Nobody(why)) => Reachable::No(why),
        Err(
            Refused::Settings(why)
            | Refused::Busy(why, _)
            | Refused::Request(why)
            | Refused::Message(why)
            | Refused::Unclear(why),
        ) => Reachable::Unknown(why),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::tests::{config, message};

    #[test]
    fn telegram_is_asked_as_it_documents_and_only_where_that_is_of_use() {
        let on = config(r#"{"probe":true}"#);
        let made = call(&message(Some("482913")), &on, "MARK").unwrap();
        let request = made.request();
        assert_eq!(request.url, "https://gatewayapi.telegram.org/checkSendAbility");
        assert_eq!(request.headers[0].value, "Bearer MARK");
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), json!({ "phone_number": "+12025550123" }));
        for (code, config) in [(Some("482913"), config("{}")), (None, on.clone()), (Some("ABCDEF"), on)] {
            assert!(matches!(call(&message(code), &config, "MARK"), Err(Reachable::Unknown(_))), "{code:?}");
        }
    }

    #[test]
    fn only_a_number_that_is_nobodys_is_a_no() {
        let said = |status: u16, body: &str| {
            reachable(&Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
        };
        let able = r#"{"ok":true,"result":{"request_id":"141414","phone_number":"+12025550123","request_cost":0.01,"remaining_balance":9.99}}"#;
        assert!(matches!(said(200, able), Reachable::Yes(Some(request)) if request == "141414"));
        let error = |name: &str| said(200, &format!(r#"{{"ok":false,"error":"{name}"}}"#));
        assert!(matches!(error("PHONE_NUMBER_NOT_FOUND"), Reachable::No(_)));
        for name in ["ACCESS_TOKEN_INVALID", "FLOOD_WAIT_30", "BALANCE_NOT_ENOUGH", "SOMETHING_NEW"] {
            assert!(matches!(error(name), Reachable::Unknown(_)), "{name}");
        }
        assert!(matches!(said(502, "<html>"), Reachable::Unknown(_)));
    }
}
