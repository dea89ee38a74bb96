//! What somebody writes about a number.

use serde::{Deserialize, Serialize};

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
    /// The WhatsApp Business Account that the number and the template are of.
    #[serde(default)]
    pub business_account_id: Option<String>,
    /// Whether the template is made where it is missing, and what it is then.
    #[serde(default)]
    pub create: Option<Create>,
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

/// What a template is that is made.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Create {
    /// What people tap.
    #[serde(default)]
    pub button: Button,
    /// The Android apps that the code is handed to.
    #[serde(default)]
    pub apps: Vec<AndroidApp>,
    /// Whether the terms of zero-tap are accepted.
    #[serde(default)]
    pub zero_tap_terms_accepted: bool,
    /// Whether it says not to share the code.
    #[serde(default = "yes")]
    pub security_recommendation: bool,
    /// What it says of how long the code is valid, in minutes.
    #[serde(default)]
    pub expires_in_minutes: Option<u8>,
}

/// What people tap to have the code where they need it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Button {
    /// It copies the code.
    #[default]
    CopyCode,
    /// It hands the code to an app.
    OneTap,
    /// Nothing: the app gets the code by itself.
    ZeroTap,
}

impl Button {
    /// As Meta calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CopyCode => "COPY_CODE",
            Self::OneTap => "ONE_TAP",
            Self::ZeroTap => "ZERO_TAP",
        }
    }
}

/// An app that codes are handed to.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AndroidApp {
    /// Its package.
    pub package_name: String,
    /// The hash of the key that it is signed with.
    pub signature_hash: String,
}

impl Create {
    fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let hands_over = self.button != Button::CopyCode;
        if hands_over && self.apps.is_empty() {
            problems.push(
                "`create.apps` is empty: write the Android app that `one_tap` and `zero_tap` hand the code to"
                    .to_owned(),
            );
        }
        if !hands_over && !self.apps.is_empty() {
            problems.push(
                "`create.apps` is for the buttons `one_tap` and `zero_tap`: take it out, or write one of these"
                    .to_owned(),
            );
        }
        if self.button == Button::ZeroTap && !self.zero_tap_terms_accepted {
            problems.push(
                "`create.zero_tap_terms_accepted` is not true: with zero-tap it is on you that people expect the code to be \
                 filled in for them, as the WhatsApp Business terms have it"
                    .to_owned(),
            );
        }
        problems
    }
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
        if self.create.is_some() && self.business_account_id.is_none() {
            problems.push(
                "`business_account_id` is not there, in which `create` makes the template: write the id of the WhatsApp Business \
                 Account, as WhatsApp Manager shows it"
                    .to_owned(),
            );
        }
        problems.extend(self.create.iter().flat_map(Create::problems));
        problems
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn app() -> Value {
        json!({ "package_name": "com.example.acme", "signature_hash": "K8a/AINcGX7" })
    }

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
            (json!({ "create": {} }), true, "`business_account_id` is not there"),
            (json!({ "business_account_id": "1", "create": { "button": "one_tap" } }), true, "`create.apps` is empty"),
            (json!({ "business_account_id": "1", "create": { "apps": [app()] } }), true, "is for the buttons"),
            (
                json!({ "business_account_id": "1", "create": { "button": "zero_tap", "apps": [app()] } }),
                true,
                "`create.zero_tap_terms_accepted` is not true",
            ),
        ] {
            let said = problems(more.clone(), signs);
            assert!(said.len() == 1 && said[0].contains(words), "{more}: {said:?}");
        }
    }
}
