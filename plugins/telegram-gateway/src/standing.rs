//! How a message fares, asked of Telegram. Source: core.telegram.org/gateway/api, `checkVerificationStatus`.

use serde_json::json;
use wotp_plugin_kit::http::{Call, Response};
use wotp_plugin_kit::{Again, Fate, Pause, Query, Standing, Trouble};

use crate::Config;
use crate::api::{self, Refused, Request};

/// The request that asks. Without a code, which would tell Telegram what somebody typed.
pub(crate) fn call(query: &Query, config: &Config, token: &str) -> Result<Call, Trouble> {
    let Some(request) = &query.provider_id else {
        return Err(Trouble::UnknownMessage("Telegram gave it no name".to_owned()));
    };
    Ok(api::call(config, "checkVerificationStatus", token, &json!({ "request_id": request })))
}

/// What an answer means.
pub(crate) fn standing(answer: &Response) -> Result<Standing, Trouble> {
    let request: Request = api::read(answer).map_err(|refused| match refused {
        Refused::Request(why) => Trouble::UnknownMessage(why),
        Refused::Settings(why) => Trouble::Misconfigured(why),
        Refused::Busy(detail, seconds) => Trouble::Temporary(Pause { detail, seconds }),
        Refused::Unclear(detail) | Refused::Message(detail) | Refused::Nobody(detail) => {
            Trouble::Temporary(Pause { detail, seconds: 60 })
        }
    })?;
    let fate = request.delivery_status.and_then(|status| status.fate());
    // Telegram tells of nothing after a message was read, ran out or was revoked.
    let again = match fate {
        Some(Fate::Read | Fate::Failed(_)) => Again::Never,
        _ => Again::Later,
    };
    Ok(Standing { fate, again })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn query(provider_id: Option<&str>) -> Query {
        Query {
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
        let made = call(&query(Some("141414")), &config, "MARK").unwrap();
        let request = made.request();
        assert_eq!(request.url, "https://gatewayapi.telegram.org/checkVerificationStatus");
        assert_eq!(request.headers[0].value, "Bearer MARK");
        assert_eq!(serde_json::from_slice::<Value>(&request.body).unwrap(), json!({ "request_id": "141414" }));
        assert!(matches!(call(&query(None), &config, "MARK"), Err(Trouble::UnknownMessage(_))));
    }

    #[test]
    fn an_answer_is_read_as_how_the_message_fares() {
        let standing = |status: u16, body: &str| {
            standing(&Response { status, headers: Vec::new(), body: body.as_bytes().to_vec() })
        };
        let stands = |status: &str| {
            standing(
                200,
                &format!(
                    r#"{{"ok":true,"result":{{"request_id":"141414","phone_number":"+12025550123","request_cost":0.01,
                        "delivery_status":{{"status":"{status}","updated_at":1764417600}}}}}}"#
                ),
            )
            .unwrap()
        };
        for (status, fate, again) in [
            ("sent", "Sent", "Later"),
            ("delivered", "Delivered", "Later"),
            ("read", "Read", "Never"),
            ("expired", "Failed", "Never"),
            ("revoked", "Failed", "Never"),
        ] {
            let Standing { fate: found, again: next } = stands(status);
            assert!(format!("{found:?}").contains(fate) && format!("{next:?}").contains(again), "{status}: {found:?}");
        }
        assert!(stands("levitated").fate.is_none());
        let unsent = standing(200, r#"{"ok":true,"result":{"request_id":"141414"}}"#).unwrap();
        assert!(unsent.fate.is_none() && matches!(unsent.again, Again::Later));
        let error = |name: &str| standing(200, &format!(r#"{{"ok":false,"error":"{name}"}}"#)).unwrap_err();
        assert!(matches!(error("REQUEST_ID_INVALID"), Trouble::UnknownMessage(_)));
        assert!(matches!(error("ACCESS_TOKEN_INVALID"), Trouble::Misconfigured(_)));
        assert!(matches!(error("FLOOD_WAIT_30"), Trouble::Temporary(Pause { seconds: 30, .. })));
        assert!(matches!(standing(502, "<html>"), Err(Trouble::Temporary(_))));
    }
}
