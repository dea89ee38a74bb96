//! What the operator writes about an account.

use serde::Deserialize;

/// Digits of an identifier of Twilio's, behind its two letters. Source: twilio.com/docs/glossary/what-is-a-sid.
const SID_DIGITS: usize = 32;

/// An account, and as whom it sends.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `AC…`.
    pub account_sid: String,
    /// `SK…`, to send with an API key and not with the account's own token.
    #[serde(default)]
    pub api_key_sid: Option<String>,
    /// A number of the account in E.164, or a sender's name.
    #[serde(default)]
    pub from: Option<String>,
    /// `MG…`: Twilio chooses the number.
    #[serde(default)]
    pub messaging_service_sid: Option<String>,
    /// Whether Twilio is to tell how a message fares.
    #[serde(default = "yes")]
    pub receipts: bool,
    /// Where the API is, for other regions.
    #[serde(default = "api")]
    pub api: String,
}

fn yes() -> bool {
    true
}

fn api() -> String {
    "https://api.twilio.com".to_owned()
}

impl Config {
    /// What is wrong with it, in sentences for the operator. `given` says whether there is a secret.
    pub(crate) fn problems(&self, given: impl Fn(&str) -> bool) -> Vec<String> {
        let mut problems = Vec::new();
        let mut sid = |name: &str, prefix: &str, value: Option<&str>| {
            if value.is_some_and(|value| !is_sid(value, prefix)) {
                problems.push(format!("`{name}` is not `{prefix}` and {SID_DIGITS} digits from 0 to f"));
            }
        };
        sid("account_sid", "AC", Some(&self.account_sid));
        sid("api_key_sid", "SK", self.api_key_sid.as_deref());
        sid("messaging_service_sid", "MG", self.messaging_service_sid.as_deref());
        if self.from.is_some() == self.messaging_service_sid.is_some() {
            problems.push("write `from` or `messaging_service_sid`, and not both".to_owned());
        }
        let key = if self.api_key_sid.is_some() { "api_key_secret" } else { "auth_token" };
        if !given(key) {
            problems.push(format!("the secret `{key}` is not there, with which it sends"));
        }
        if self.receipts && !given("auth_token") {
            problems.push(
                "the secret `auth_token` is not there, with which Twilio signs receipts; give it, or write `receipts = false`"
                    .to_owned(),
            );
        }
        if self.api.ends_with('/') || self.api.contains(['?', '#']) {
            problems.push("`api` is scheme and host, as in `https://api.twilio.com`".to_owned());
        }
        problems
    }
}

fn is_sid(text: &str, prefix: &str) -> bool {
    let digits = text.strip_prefix(prefix).unwrap_or_default();
    digits.len() == SID_DIGITS && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(more: Value, given: &[&str]) -> Vec<String> {
        let mut all = json!({ "account_sid": format!("AC{}", "0".repeat(32)) });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<Config>(all).unwrap().problems(|name| given.contains(&name))
    }

    #[test]
    fn what_does_not_hold_is_said() {
        let from = json!({ "from": "+12025550100" });
        assert_eq!(problems(from.clone(), &["auth_token"]), [""; 0]);
        let key = format!("SK{}", "a".repeat(32));
        let by_key = json!({ "from": "Acme", "api_key_sid": key, "receipts": false });
        assert_eq!(problems(by_key.clone(), &["api_key_secret"]), [""; 0]);
        for (more, given, words) in [
            (json!({}), &["auth_token"][..], "`from` or `messaging_service_sid`"),
            (
                json!({ "from": "a", "messaging_service_sid": format!("MG{}", "0".repeat(32)) }),
                &["auth_token"],
                "not both",
            ),
            (json!({ "messaging_service_sid": "MG0" }), &["auth_token"], "`messaging_service_sid` is not `MG`"),
            (json!({ "from": "a", "account_sid": "0" }), &["auth_token"], "`account_sid`"),
            (by_key, &["auth_token"], "`api_key_secret` is not there"),
            (json!({ "from": "a", "api_key_sid": key }), &["api_key_secret"], "signs receipts"),
            (json!({ "from": "a", "api": "https://a.example/" }), &["auth_token"], "scheme and host"),
        ] {
            let said = problems(more.clone(), given);
            assert!(said.len() == 1 && said[0].contains(words), "{more}: {said:?}");
        }
    }
}
