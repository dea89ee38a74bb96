//! What somebody writes about a number.

use serde::Deserialize;

/// A number, and the template that its codes are sent with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The number's id, which is not the number.
    pub phone_number_id: String,
    /// The template's name.
    pub template: String,
    /// The languages that it is approved in, as Meta writes them; the first one for everybody else.
    #[serde(default = "languages")]
    pub languages: Vec<String>,
    /// Whether Meta is to tell how a message fares.
    #[serde(default = "yes")]
    pub receipts: bool,
    /// What Meta names when it asks whether the webhook is ours.
    #[serde(default)]
    pub verify_token: Option<String>,
    /// The version of the API.
    #[serde(default = "version")]
    pub version: String,
    /// Where the API is.
    #[serde(default = "api")]
    pub api: String,
}

fn languages() -> Vec<String> {
    vec!["en_US".to_owned()]
}

fn yes() -> bool {
    true
}

fn version() -> String {
    "v24.0".to_owned()
}

fn api() -> String {
    "https://graph.facebook.com".to_owned()
}

impl Config {
    /// What is wrong with it, in sentences for whoever wrote it. `signs` says whether there is what receipts are signed with.
    pub(crate) fn problems(&self, signs: bool) -> Vec<String> {
        let mut problems = Vec::new();
        if self.languages.is_empty() {
            problems.push("`languages` is empty: write those that the template is approved in".to_owned());
        }
        if self.receipts && !signs {
            problems.push(
                "the secret `app_secret` is not there, with which Meta signs receipts; give it, or write `receipts = false`"
                    .to_owned(),
            );
        }
        if self.receipts && self.verify_token.is_none() {
            problems.push(
                "`verify_token` is not there, which Meta names when it asks whether the webhook is ours: write what you write \
                 in the app's settings, or `receipts = false`"
                    .to_owned(),
            );
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problems(more: Value, signs: bool) -> Vec<String> {
        let mut all = json!({ "phone_number_id": "1", "template": "code", "verify_token": "mine-alone" });
        all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<Config>(all).unwrap().problems(signs)
    }

    #[test]
    fn what_does_not_hold_is_said() {
        assert_eq!(problems(json!({}), true), [""; 0]);
        assert_eq!(problems(json!({ "receipts": false }), false), [""; 0]);
        for (more, signs, words) in [
            (json!({}), false, "`app_secret` is not there"),
            (json!({ "verify_token": null }), true, "`verify_token` is not there"),
            (json!({ "languages": [] }), true, "is empty"),
        ] {
            let said = problems(more.clone(), signs);
            assert!(said.len() == 1 && said[0].contains(words), "{more}: {said:?}");
        }
    }
}
