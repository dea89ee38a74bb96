//! The authentication template at Meta: whether it is there in each language, what Meta says of it, and making it. Source:
//! developers.facebook.com/documentation/business-messaging/whatsapp/templates, its pages on template management and on
//! authentication templates.

use std::collections::HashSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};
use wotp_plugin_kit::http::{Answer as _, Call, Error as NoAnswer, Method, Response};
use wotp_plugin_kit::{Finding, Report, Unchecked};

use crate::config::{Button, Config, Create};
use crate::errors;
use crate::states;

/// Pages of templates that are read of one look, of those whose names hold this one.
const PAGES_MAX: usize = 3;
/// Templates in a page.
const PAGE: usize = 100;
/// Templates that are made in one look: with the pages no more requests than a call may make.
const MADE_MAX: usize = 5;
/// Longest template's name in what is found, in characters.
const TEMPLATE_SHOWN_MAX: usize = 100;
/// The error when there is a template of that name in that language already.
const IS_THERE: u32 = 2_388_024;

/// How a request is made: by the host, and in tests by whoever stands in for Meta.
pub(crate) type Sending<'a> = &'a mut dyn FnMut(Call) -> Result<Response, NoAnswer>;

/// A page of templates, or an error.
#[derive(Debug, Deserialize)]
struct Listed {
    #[serde(default)]
    data: Option<Vec<Template>>,
    #[serde(default)]
    paging: Option<Paging>,
    #[serde(default)]
    error: Option<errors::Error>,
}

#[derive(Debug, Deserialize)]
struct Paging {
    #[serde(default)]
    cursors: Option<Cursors>,
    /// There where there is another page.
    #[serde(default)]
    next: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Cursors {
    #[serde(default)]
    after: Option<String>,
}

/// A template: what is read of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Template {
    #[serde(default, deserialize_with = "errors::or_empty")]
    name: String,
    #[serde(default, deserialize_with = "errors::or_empty")]
    language: String,
    #[serde(default, deserialize_with = "errors::or_empty")]
    pub(crate) status: String,
    #[serde(default, deserialize_with = "errors::or_empty")]
    pub(crate) category: String,
    /// Why it was rejected.
    #[serde(default)]
    pub(crate) rejected_reason: Option<String>,
    #[serde(default)]
    pub(crate) quality_score: Option<Quality>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct Quality {
    #[serde(default, deserialize_with = "errors::or_empty")]
    pub(crate) score: String,
}

/// A template as Meta took it, or an error.
#[derive(Debug, Deserialize)]
struct Made {
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    error: Option<errors::Error>,
}

/// Looks at the template in each of its languages, and makes it in those in which it is missing, where the settings ask for
/// that. What is there is left as it is, whatever it looks like.
pub(crate) fn check(config: &Config, token: &str, send: Sending<'_>) -> Result<Report, Unchecked> {
    let Some(account) = &config.business_account_id else {
        let finding = states::not_looked_at(&config.template);
        return Ok(Report { usable: true, findings: vec![finding] });
    };
    let meta = Meta { templates: format!("{}/{}/{account}/message_templates", config.api, config.version), token };
    let there = match meta.list(&config.template, send) {
        Ok(there) => there,
        Err(Unlisted::Unchecked(unchecked)) => return Err(unchecked),
        Err(Unlisted::NotAllowed(why)) => {
            let finding = states::may_not_be_looked_at(&config.template, &why);
            return Ok(Report { usable: true, findings: vec![finding] });
        }
    };
    let mut maker = config.create.as_ref().map(|create| Maker { create, made: 0, stopped: None });
    let mut usable = false;
    let mut seen = HashSet::new();
    let languages = config.languages.iter().filter(|language| seen.insert(*language));
    // The host cuts long names, and the language is to be seen.
    let shown: String = config.template.chars().take(TEMPLATE_SHOWN_MAX).collect();
    let findings = languages.map(|language| {
        let name = format!("{shown}, {language}");
        let found = there.iter().find(|template| template.language == *language);
        let (finding, approved) = match (found, &mut maker) {
            (Some(template), _) => states::of(name, template),
            (None, Some(maker)) => maker.make(&meta, name, &config.template, language, send),
            (None, None) => (states::missing(name), false),
        };
        usable |= approved;
        finding
    });
    let findings: Vec<Finding> = findings.collect();
    Ok(Report { usable, findings })
}

/// The templates of an account.
struct Meta<'a> {
    templates: String,
    token: &'a str,
}

impl Meta<'_> {
    fn call(&self, method: Method, query: &str) -> Call {
        Call::new(method, format!("{}{query}", self.templates))
            .header("authorization", format!("Bearer {}", self.token))
    }

    /// Those of exactly this name. Meta gives those that hold it somewhere in theirs, by pages.
    fn list(&self, name: &str, send: Sending<'_>) -> Result<Vec<Template>, Unlisted> {
        let (mut found, mut after) = (Vec::new(), String::new());
        for _ in 0..PAGES_MAX {
            let fields = "name,language,status,category,rejected_reason,quality_score";
            let answer = send(self.call(Method::Get, &format!("?name={name}&fields={fields}&limit={PAGE}{after}")))?;
            let page: Option<Listed> = answer.json();
            let Some(Listed { data: Some(data), paging, error: None }) = page else {
                return Err(refused(&answer, page.and_then(|page| page.error)));
            };
            if !matches!(answer.status, 200..=299) {
                return Err(refused(&answer, None));
            }
            found.extend(data.into_iter().filter(|template| template.name == name));
            let Some(Paging { cursors: Some(Cursors { after: Some(cursor) }), next: Some(_) }) = paging else { break };
            after = format!("&after={}", utf8_percent_encode(&cursor, NON_ALPHANUMERIC));
        }
        Ok(found)
    }
}

/// Makes what is missing, one language after another: so many, and none after one that had no answer.
struct Maker<'a> {
    create: &'a Create,
    made: usize,
    /// Why none is made any more.
    stopped: Option<&'static str>,
}

impl Maker<'_> {
    fn make(
        &mut self,
        meta: &Meta<'_>,
        name: String,
        template: &str,
        language: &str,
        send: Sending<'_>,
    ) -> (Finding, bool) {
        if self.made == MADE_MAX {
            self.stopped
                .get_or_insert("as many were made now as are at once; check the connection again to make the rest");
        }
        if let Some(why) = self.stopped {
            return (states::not_made(name, "MISSING", why), false);
        }
        self.made += 1;
        let call = meta.call(Method::Post, "").json(&body(self.create, template, language));
        let answer = match send(call) {
            Ok(answer) => answer,
            Err(error) => {
                self.stopped = Some("Meta did not answer before; check the connection again in a minute");
                let why =
                    format!("nobody knows whether it was made, since {}; check the connection again", error.words());
                return (states::not_made(name, "UNKNOWN", &why), false);
            }
        };
        match answer.json() {
            Some(Made { status: Some(status), error: None }) if matches!(answer.status, 200..=299) => {
                let made = Template {
                    name: template.to_owned(),
                    language: language.to_owned(),
                    status,
                    category: "AUTHENTICATION".to_owned(),
                    rejected_reason: None,
                    quality_score: None,
                };
                states::of(name, &made)
            }
            // Somebody made it at this moment, or it is one that Meta is still deleting.
            Some(Made { error: Some(error), .. }) if error.error_subcode == Some(IS_THERE) => {
                let why = "Meta says that there is one already: somebody made it at the same moment, or deleted it lately; \
                           check the connection again";
                (states::not_made(name, "EXISTS", why), false)
            }
            Some(Made { error: Some(error), .. }) => {
                let why = errors::why_not(answer.status, &error);
                (states::not_made(name, "NOT_CREATED", &why), false)
            }
            _ => {
                let why = format!("Meta answered with HTTP {}; check the connection again", answer.status);
                (states::not_made(name, "UNKNOWN", &why), false)
            }
        }
    }
}

/// What a template is made of. Its text is Meta's own, in each language.
fn body(create: &Create, name: &str, language: &str) -> Value {
    let mut components = vec![json!({
        "type": "BODY", "add_security_recommendation": create.security_recommendation,
    })];
    if let Some(minutes) = create.expires_in_minutes {
        components.push(json!({ "type": "FOOTER", "code_expiration_minutes": minutes }));
    }
    let mut button = json!({ "type": "OTP", "otp_type": create.button.name() });
    if create.button != Button::CopyCode {
        button["supported_apps"] = json!(create.apps);
    }
    if create.button == Button::ZeroTap {
        button["zero_tap_terms_accepted"] = json!(create.zero_tap_terms_accepted);
    }
    components.push(json!({ "type": "BUTTONS", "buttons": [button] }));
    json!({ "name": name, "language": language, "category": "AUTHENTICATION", "components": components })
}

/// Why nobody knows which templates there are.
enum Unlisted {
    /// The token may not look, in words for the tenant. Codes may go out all the same.
    NotAllowed(String),
    Unchecked(Unchecked),
}

impl From<NoAnswer> for Unlisted {
    fn from(error: NoAnswer) -> Self {
        Self::Unchecked(error.into())
    }
}

/// What an answer means that is no list.
fn refused(answer: &Response, error: Option<errors::Error>) -> Unlisted {
    let why = match &error {
        Some(error) => errors::why_not(answer.status, error),
        None => format!("Meta answered with HTTP {}", answer.status),
    };
    let code = error.as_ref().map(|error| error.code);
    match errors::is_passing(answer.status, code) {
        true => Unlisted::Unchecked(Unchecked::Temporary(why)),
        false if error.as_ref().is_some_and(errors::is_of_looking) => Unlisted::NotAllowed(why),
        false => Unlisted::Unchecked(Unchecked::Misconfigured(why)),
    }
}

#[cfg(test)]
#[path = "templates_tests.rs"]
mod tests;
