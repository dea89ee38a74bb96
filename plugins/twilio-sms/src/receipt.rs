//! What Twilio tells later. Source: twilio.com/docs/messaging/guides/track-outbound-message-status and
//! twilio.com/docs/usage/webhooks/webhooks-security.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use wotp_plugin_kit::{Fate, HookCall, Refusal, Told};

use crate::{errors, form};

/// What a call of Twilio's tells. `holds` says whether a signature is the right one for some data.
pub(crate) fn received(
    call: &HookCall,
    account_sid: &str,
    holds: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<Vec<Told>, Refusal> {
    let not_authentic = |why: &str| Refusal::NotAuthentic(why.to_owned());
    let header =
        |name: &str| call.headers.iter().find(|header| header.name == name).map(|header| header.value.as_str());
    let signature = header("x-twilio-signature").ok_or_else(|| not_authentic("it is not signed"))?;
    let signature = STANDARD.decode(signature).map_err(|_| not_authentic("its signature is no Base64"))?;
    let fields = form::read(&call.body).ok_or_else(|| not_authentic("its body is no form"))?;
    if !holds(signed(&call.url, &fields).as_bytes(), &signature) {
        return Err(not_authentic("its signature is another one"));
    }
    let field = |wanted: &str| fields.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.as_str());
    if field("AccountSid").is_some_and(|account| account != account_sid) {
        return Err(not_authentic("it is of another account"));
    }
    let status = field("MessageStatus").ok_or_else(|| Refusal::Unreadable("it has no `MessageStatus`".to_owned()))?;
    let fate = match status {
        "sent" => Fate::Sent,
        "delivered" => Fate::Delivered,
        "read" => Fate::Read,
        "undelivered" | "failed" => Fate::Failed(errors::failed(field("ErrorCode").and_then(|code| code.parse().ok()))),
        // `accepted`, `scheduled`, `queued`, `sending`: what was known when it was taken. And whatever comes to be.
        _ => return Ok(Vec::new()),
    };
    // The URL is signed, so this is what Twilio was told to call.
    Ok(vec![Told { reference: call.path.clone(), fate }])
}

/// What is signed: the URL as it was called, and all fields in the order of their names, without anything in between.
fn signed(url: &str, fields: &[(String, String)]) -> String {
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort();
    // A field that comes twice with one value counts once, as Twilio's own libraries have it.
    fields.dedup();
    let pairs = fields.into_iter().flat_map(|(name, value)| [name.as_str(), value.as_str()]);
    std::iter::once(url).chain(pairs).collect()
}

#[cfg(test)]
mod tests {
    use wotp_plugin_kit::Failure;
    use wotp_plugin_kit::http::{Header, Method};

    use super::*;

    const ACCOUNT: &str = "AC00000000000000000000000000000000";
    const URL: &str = "https://wotp.example/hooks/sms/dmFy";

    fn call(body: &str, signature: Option<&str>) -> HookCall {
        let header = |value: &str| Header { name: "x-twilio-signature".to_owned(), value: value.to_owned() };
        HookCall {
            method: Method::Post,
            url: URL.to_owned(),
            path: "dmFy".to_owned(),
            headers: signature.map(header).into_iter().collect(),
            body: body.as_bytes().to_vec(),
            config: "{}".to_owned(),
        }
    }

    fn fates(body: &str) -> Vec<Fate> {
        let told = received(&call(body, Some("c2ln")), ACCOUNT, |_, signature| signature == b"sig").unwrap();
        assert!(told.iter().all(|told| told.reference == "dmFy"));
        told.into_iter().map(|told| told.fate).collect()
    }

    #[test]
    fn what_is_signed_is_the_url_and_the_fields_by_their_names() {
        let seen = std::cell::RefCell::new(Vec::new());
        let body =
            "To=%2B12025550123&MessageStatus=sent&AccountSid=AC00000000000000000000000000000000&To=%2B12025550123";
        _ = received(&call(body, Some("c2ln")), ACCOUNT, |data, _| {
            *seen.borrow_mut() = data.to_vec();
            true
        });
        let expected = format!("{URL}AccountSid{ACCOUNT}MessageStatussentTo+12025550123");
        assert_eq!(String::from_utf8(seen.into_inner()).unwrap(), expected);
    }

    #[test]
    fn a_status_is_read_as_how_the_message_fares() {
        assert!(matches!(fates("MessageStatus=delivered")[..], [Fate::Delivered]));
        assert!(matches!(fates("MessageStatus=sent")[..], [Fate::Sent]));
        assert!(matches!(fates("MessageStatus=read")[..], [Fate::Read]));
        let failed = fates("MessageStatus=undelivered&ErrorCode=30005");
        assert!(matches!(failed[..], [Fate::Failed(Failure::InvalidRecipient)]), "{failed:?}");
        for known in ["queued", "sending", "accepted", "something-new"] {
            assert!(fates(&format!("MessageStatus={known}")).is_empty(), "{known}");
        }
    }

    #[test]
    fn what_twilio_did_not_sign_is_not_its_word() {
        let refused = |body: &str, signature| {
            received(&call(body, signature), ACCOUNT, |_, signature| signature == b"sig").err().unwrap()
        };
        let good = "MessageStatus=delivered";
        for (body, signature) in [
            (good, None),
            (good, Some("?")),
            (good, Some("c2lnMg==")),
            ("MessageStatus=delivered&AccountSid=AC1", Some("c2ln")),
            ("a=%ff", Some("c2ln")),
        ] {
            assert!(matches!(refused(body, signature), Refusal::NotAuthentic(_)), "{body} {signature:?}");
        }
        assert!(matches!(refused("a=b", Some("c2ln")), Refusal::Unreadable(_)));
    }
}
