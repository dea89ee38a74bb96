//! What Meta tells later. Source: developers.facebook.com/docs/whatsapp/cloud-api/webhooks/components.

use serde::Deserialize;
use wotp_plugin_kit::http::Method;
use wotp_plugin_kit::{Fate, HookCall, Refusal, Told};

use crate::Config;
use crate::errors;

/// What the header of the signature begins with.
const ALGORITHM: &str = "sha256=";
/// What tells of templates. Source: developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference.
const OF_TEMPLATES: [&str; 3] =
    ["message_template_status_update", "message_template_quality_update", "template_category_update"];

/// What is told of accounts: what is read of it.
#[derive(Debug, Deserialize)]
struct Notice {
    entry: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
struct Entry {
    /// The WhatsApp Business Account.
    #[serde(default)]
    id: String,
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Debug, Deserialize)]
struct Change {
    /// What it is about.
    #[serde(default)]
    field: String,
    value: Value,
}

/// What changed; of whatever else an app is told, nothing is there.
#[derive(Debug, Deserialize)]
struct Value {
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    statuses: Vec<Status>,
    #[serde(default)]
    message_template_name: Option<String>,
}

/// What a call tells.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// Of messages.
    pub(crate) told: Vec<Told>,
    /// Whether the template is not as it was.
    pub(crate) of_template: bool,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    phone_number_id: String,
}

#[derive(Debug, Deserialize)]
struct Status {
    status: String,
    #[serde(default)]
    biz_opaque_callback_data: Option<String>,
    #[serde(default)]
    errors: Vec<errors::Error>,
}

impl Status {
    fn told(self) -> Option<Told> {
        let reference = self.biz_opaque_callback_data?;
        let fate = match self.status.as_str() {
            "sent" => Fate::Sent,
            "delivered" => Fate::Delivered,
            "read" => Fate::Read,
            "failed" => Fate::Failed(errors::failed(self.errors.first().map(|error| error.code))),
            // `deleted`, `warning`, and whatever comes to be.
            _ => return None,
        };
        Some(Told { reference, fate })
    }
}

/// What a call of Meta's tells. `holds` says whether a signature is the right one for some data.
pub(crate) fn received(
    call: &HookCall,
    config: &Config,
    holds: impl Fn(&[u8], &[u8]) -> bool,
) -> Result<Heard, Refusal> {
    let not_authentic = |why: &str| Refusal::NotAuthentic(why.to_owned());
    if call.method == Method::Get {
        return match is_asked(&call.url, config.verify_token.as_deref()) {
            // The host repeats the challenge.
            true => Ok(Heard::default()),
            false => Err(not_authentic("it does not name the `verify_token`")),
        };
    }
    let signature = call.headers.iter().find(|header| header.name == "x-hub-signature-256");
    let signature = signature.ok_or_else(|| not_authentic("it is not signed"))?;
    let signature = signature.value.strip_prefix(ALGORITHM).and_then(bytes);
    let signature = signature.ok_or_else(|| not_authentic("its signature is not `sha256=` and hex"))?;
    if !holds(&call.body, &signature) {
        return Err(not_authentic("its signature is another one"));
    }
    let notice: Notice =
        serde_json::from_slice(&call.body).map_err(|_| Refusal::Unreadable("its body is no notice".to_owned()))?;
    let is_ours = |entry: &Entry, change: &Change| {
        OF_TEMPLATES.contains(&change.field.as_str())
            && change.value.message_template_name.as_deref() == Some(&*config.template)
            && config.business_account_id.as_ref().is_some_and(|account| *account == entry.id)
    };
    let of_template = notice.entry.iter().any(|entry| entry.changes.iter().any(|change| is_ours(entry, change)));
    let values = notice.entry.into_iter().flat_map(|entry| entry.changes).map(|change| change.value);
    // An app is told of all its numbers at one URL.
    let ours = values.filter(|value| {
        value.metadata.as_ref().is_some_and(|metadata| metadata.phone_number_id == config.phone_number_id)
    });
    let told = ours.flat_map(|value| value.statuses).filter_map(Status::told).collect();
    Ok(Heard { told, of_template })
}

/// Whether Meta asks whether the webhook is ours. It signs nothing when it does.
fn is_asked(url: &str, verify_token: Option<&str>) -> bool {
    let parameters = || url.split_once('?').map_or("", |(_, query)| query).split('&');
    let named = |name: &str, wanted: &str| {
        parameters()
            .any(|parameter| parameter.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) == Some(wanted))
    };
    // Of letters that no URL encodes, as the schema has it.
    verify_token.is_some_and(|token| named("hub.mode", "subscribe") && named("hub.verify_token", token))
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.is_ascii() && hex.len().is_multiple_of(2);
    let byte = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).ok();
    if digits { (0..hex.len()).step_by(2).map(byte).collect() } else { None }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wotp_plugin_kit::Failure;
    use wotp_plugin_kit::http::Header;

    use super::*;

    fn call(body: &str, signature: Option<&str>) -> HookCall {
        let header = |value: &str| Header { name: "x-hub-signature-256".to_owned(), value: value.to_owned() };
        HookCall {
            method: Method::Post,
            url: "https://wotp.example/hooks/whatsapp_cloud/".to_owned(),
            path: String::new(),
            headers: signature.map(header).into_iter().collect(),
            body: body.as_bytes().to_vec(),
            config: "{}".to_owned(),
        }
    }

    fn received(body: &str, signature: Option<&str>) -> Result<Vec<Told>, Refusal> {
        super::received(&call(body, signature), &config(), |data, signature| {
            data == body.as_bytes() && signature == [0xab, 0x01]
        })
        .map(|heard| heard.told)
    }

    fn config() -> Config {
        let config = json!({ "phone_number_id": "1065", "template": "login_code", "verify_token": "mine-alone" });
        serde_json::from_value(config).unwrap()
    }

    /// As Meta documents it, for these numbers with their statuses.
    fn notice(numbers: &[(&str, &[serde_json::Value])]) -> String {
        let change = |(number, statuses): &(&str, &[serde_json::Value])| {
            json!({ "field": "messages", "value": {
                "messaging_product": "whatsapp",
                "metadata": { "display_phone_number": "15550783881", "phone_number_id": number },
                "statuses": statuses,
            } })
        };
        let changes: Vec<_> = numbers.iter().map(change).collect();
        json!({ "object": "whatsapp_business_account", "entry": [{ "id": "1022", "changes": changes }] }).to_string()
    }

    fn status(status: &str) -> serde_json::Value {
        json!({
            "id": "wamid.HBgL", "status": status, "timestamp": "1764417600", "recipient_id": "12025550123",
            "biz_opaque_callback_data": "cmVm",
        })
    }

    #[test]
    fn a_status_is_read_as_how_the_message_fares() {
        let all = ["sent", "delivered", "read", "deleted"].map(status);
        let told = received(&notice(&[("1065", &all)]), Some("sha256=ab01")).unwrap();
        assert!(told.iter().all(|told| told.reference == "cmVm"));
        let fates: Vec<_> = told.iter().map(|told| told.fate).collect();
        assert!(matches!(fates[..], [Fate::Sent, Fate::Delivered, Fate::Read]), "{fates:?}");
        let mut failed = status("failed");
        failed["errors"] = json!([{ "code": 131026, "title": "Message undeliverable" }]);
        let told = received(&notice(&[("1065", &[failed])]), Some("sha256=AB01")).unwrap();
        assert!(matches!(told[0].fate, Fate::Failed(Failure::InvalidRecipient)), "{told:?}");
    }

    #[test]
    fn what_is_of_another_number_or_nobody_asked_for_is_no_news() {
        let told = received(&notice(&[("7", &[status("read")]), ("1065", &[])]), Some("sha256=ab01")).unwrap();
        assert!(told.is_empty(), "{told:?}");
        let mut foreign = status("read");
        foreign.as_object_mut().unwrap().remove("biz_opaque_callback_data");
        assert!(received(&notice(&[("1065", &[foreign])]), Some("sha256=ab01")).unwrap().is_empty());
        // What a person writes, and what becomes of a template.
        for value in [
            json!({ "metadata": { "phone_number_id": "1065" }, "messages": [{ "from": "12025550123", "type": "text" }] }),
            json!({ "event": "APPROVED", "message_template_id": 1, "message_template_name": "login_code" }),
        ] {
            let body = json!({ "object": "whatsapp_business_account", "entry": [{ "changes": [{ "value": value }] }] });
            assert!(received(&body.to_string(), Some("sha256=ab01")).unwrap().is_empty(), "{body}");
        }
    }

    #[test]
    fn what_became_of_the_template_has_it_looked_at_and_that_of_others_has_not() {
        let ours = Config { business_account_id: Some("1022".to_owned()), ..config() };
        let heard = |field: &str, name: &str, account: &str, config: &Config| {
            let value = json!({
                "event": "APPROVED", "message_template_id": 1689556908129832_u64, "message_template_name": name,
                "message_template_language": "en_US", "reason": "NONE",
            });
            let entry = json!({ "id": account, "time": 1751247548, "changes": [{ "field": field, "value": value }] });
            let body = json!({ "object": "whatsapp_business_account", "entry": [entry] }).to_string();
            let heard = super::received(&call(&body, Some("sha256=ab01")), config, |_, _| true).unwrap();
            assert!(heard.told.is_empty());
            heard.of_template
        };
        for field in OF_TEMPLATES {
            assert!(heard(field, "login_code", "1022", &ours), "{field}");
        }
        let field = OF_TEMPLATES[0];
        assert!(!heard(field, "another", "1022", &ours));
        assert!(!heard(field, "login_code", "7", &ours));
        assert!(!heard(field, "login_code", "1022", &config()), "nobody can look at it");
        assert!(!heard("messages", "login_code", "1022", &ours));
    }

    #[test]
    fn what_meta_did_not_sign_is_not_its_word() {
        let body = notice(&[("1065", &[status("read")])]);
        for signature in
            [None, Some("ab01"), Some("sha1=ab01"), Some("sha256=ab0"), Some("sha256=é0"), Some("sha256=ab02")]
        {
            let refused = received(&body, signature);
            assert!(matches!(refused, Err(Refusal::NotAuthentic(_))), "{signature:?}: {refused:?}");
        }
        assert!(matches!(received("[", Some("sha256=ab01")), Err(Refusal::Unreadable(_))));
    }

    #[test]
    fn meta_is_told_that_the_webhook_is_ours_where_it_names_what_it_was_told() {
        let asked = |query: &str, config: &Config| {
            let call = HookCall {
                method: Method::Get,
                url: format!("https://wotp.example/hooks/whatsapp_cloud/meta?{query}"),
                ..call("", None)
            };
            super::received(&call, config, |_, _| panic!("nothing is signed"))
        };
        let query = "hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=mine-alone";
        assert!(asked(query, &config()).unwrap().told.is_empty());
        for query in [
            "",
            "hub.mode=subscribe&hub.challenge=1",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=mine",
            "hub.mode=subscribe&hub.challenge=1&hub.verify_token=mine-alone2",
            "hub.mode=unsubscribe&hub.challenge=1&hub.verify_token=mine-alone",
        ] {
            assert!(matches!(asked(query, &config()), Err(Refusal::NotAuthentic(_))), "{query}");
        }
        let without = Config { verify_token: None, ..config() };
        assert!(matches!(asked(query, &without), Err(Refusal::NotAuthentic(_))));
    }
}
