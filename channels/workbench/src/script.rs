//! What an author writes of their provider: what it answers, and what the plugin is to make of it.

use std::collections::BTreeMap;
use std::fmt;

use http::{HeaderName, HeaderValue};
use serde::Deserialize;

/// `provider.toml`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// The hosts that are approved for a plugin that calls whichever the operator names.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// What the provider answers when all is well, the first that is meant for a request.
    #[serde(default, rename = "answer")]
    pub answers: Vec<Answer>,
    /// What else it answers, and what that means.
    #[serde(default, rename = "case")]
    pub cases: Vec<Case>,
    /// What it tells later.
    #[serde(default, rename = "callback")]
    pub callbacks: Vec<Callback>,
}

/// One call of the provider's. In all of its texts but the secret's name `{reference}`, `{now}` (seconds since 1970),
/// `{url}` and `{body}` stand for what they say, and in headers `{signature}`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Callback {
    /// What it is, for people.
    pub name: String,
    /// How: a POST unless it says `GET`.
    #[serde(default)]
    pub method: Option<String>,
    /// What stands behind `/hooks/NAME/`.
    #[serde(default = "reference")]
    pub path: String,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// Its body.
    #[serde(default)]
    pub body: String,
    /// How the provider signs it.
    pub sign: Signing,
    /// What the plugin is to say of the message.
    pub expect: Expected,
}

fn reference() -> String {
    "{reference}".to_owned()
}

/// How a provider signs.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signing {
    /// The name of the secret.
    pub secret: String,
    /// What of it is the key.
    #[serde(default)]
    pub key: SigningKey,
    /// By which algorithm.
    pub algorithm: Algorithm,
    /// How the signature is written.
    pub encoding: Encoding,
    /// What is signed.
    pub data: String,
}

/// What of a secret is a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SigningKey {
    /// All of it.
    #[default]
    Secret,
    /// The 32 bytes of its SHA-256.
    Sha256OfSecret,
}

/// An algorithm that signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// HMAC with SHA-1.
    HmacSha1,
    /// HMAC with SHA-256.
    HmacSha256,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// In hexadecimal.
    Hex,
    /// In Base64.
    Base64,
}

/// One answer, and the requests that it is for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// Only for this method.
    #[serde(default)]
    pub method: Option<String>,
    /// Only for this path, in which `*` stands for anything.
    #[serde(default)]
    pub path: Option<String>,
    /// Its status.
    pub status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// Its body.
    #[serde(default)]
    pub body: String,
}

/// One answer that means something of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it is, for people.
    pub name: String,
    /// What the plugin is called for.
    #[serde(default)]
    pub of: Called,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    path: Option<String>,
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    #[serde(default)]
    body: String,
    /// What the plugin is to say.
    pub expect: Expected,
    /// How long it is to wait, where it says `temporary`, in seconds.
    #[serde(default)]
    pub pause_seconds: Option<i64>,
}

/// What a plugin is called for when its provider answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Called {
    /// To deliver a message.
    #[default]
    Deliver,
    /// To ask how a message fares.
    Status,
    /// To ask whether somebody can be reached.
    Probe,
    /// To have a message taken back.
    Revoke,
}

impl Called {
    fn may_say(self) -> &'static [Expected] {
        use Expected::{
            Delivered, Failed, InvalidRecipient, Misconfigured, NoNews, Over, Reachable, Read, Rejected, Sent,
            Temporary, Unknown,
        };
        match self {
            Self::Deliver => &[Sent, Delivered, InvalidRecipient, Rejected, Misconfigured, Temporary, Unknown],
            Self::Status => &[Sent, Delivered, Read, Failed, NoNews, Temporary],
            Self::Probe => &[Reachable, InvalidRecipient, Unknown],
            Self::Revoke => &[Over, Temporary],
        }
    }
}

/// What a plugin may say of a message later.
const FATES: &[Expected] = &[Expected::Sent, Expected::Delivered, Expected::Read, Expected::Failed, Expected::NoNews];

/// What a plugin may say, by the contract's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expected {
    /// The provider took the message.
    Sent,
    /// The person's device has it.
    Delivered,
    /// Nobody has the address.
    InvalidRecipient,
    /// The provider refuses.
    Rejected,
    /// Settings or credentials are wrong.
    Misconfigured,
    /// Not now.
    Temporary,
    /// It may have got out or not; or nobody can tell.
    Unknown,
    /// It was opened.
    Read,
    /// It failed after all.
    Failed,
    /// Nothing new of it.
    NoNews,
    /// The person can be reached.
    Reachable,
    /// There is nothing more to ask for.
    Over,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sent => "sent",
            Self::Delivered => "delivered",
            Self::InvalidRecipient => "invalid-recipient",
            Self::Rejected => "rejected",
            Self::Misconfigured => "misconfigured",
            Self::Temporary => "temporary",
            Self::Unknown => "unknown",
            Self::Read => "read",
            Self::Failed => "failed",
            Self::NoNews => "no-news",
            Self::Reachable => "reachable",
            Self::Over => "over",
        })
    }
}

/// A script that cannot be followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScriptFault {
    /// No TOML, or not with these keys.
    #[error("{0}")]
    Toml(String),
    /// Not an HTTP status.
    #[error("`status = {0}` is none that a provider ends an answer with; write one from 200 to 999")]
    Status(u16),
    /// Nothing that is said there.
    #[error("`{name}` expects `{expect}`, which is not said there; write one of {allowed}")]
    Expect {
        /// The case or callback.
        name: String,
        /// What it expects.
        expect: Expected,
        /// What it may expect.
        allowed: String,
    },
    /// No header.
    #[error("`{0}` is no header, or what stands behind it is no value for one")]
    Header(String),
}

impl Script {
    /// Reads a script.
    ///
    /// # Errors
    /// [`ScriptFault`].
    pub fn read(text: &str) -> Result<Self, ScriptFault> {
        let script: Self = toml::from_str(text).map_err(|error| ScriptFault::Toml(error.to_string()))?;
        let mut answers = script.answers.iter().cloned().chain(script.cases.iter().map(Case::answer));
        answers.try_for_each(|answer| answer.seen_to())?;
        let of_cases = script.cases.iter().map(|case| (&case.name, case.expect, case.of.may_say()));
        let of_callbacks = script.callbacks.iter().map(|callback| (&callback.name, callback.expect, FATES));
        let wrong = of_cases.chain(of_callbacks).find(|(_, expect, allowed)| !allowed.contains(expect));
        if let Some((name, expect, allowed)) = wrong {
            let allowed = allowed.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
            return Err(ScriptFault::Expect { name: name.clone(), expect, allowed });
        }
        Ok(script)
    }

    /// The cases of one kind of call.
    pub(crate) fn cases_of(&self, called: Called) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(move |case| case.of == called)
    }
}

impl Case {
    /// What the provider answers.
    pub(crate) fn answer(&self) -> Answer {
        let Self { method, path, status, headers, body, .. } = self.clone();
        Answer { method, path, status, headers, body }
    }
}

impl Answer {
    /// For every request.
    pub(crate) fn always(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { method: None, path: None, status, headers, body: body.to_owned() }
    }

    pub(crate) fn headers(&self) -> Vec<(String, String)> {
        self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    pub(crate) fn is_for(&self, method: &str, path: &str) -> bool {
        let of_method = self.method.as_deref().is_none_or(|wanted| wanted.eq_ignore_ascii_case(method));
        of_method && self.path.as_deref().is_none_or(|pattern| fits(pattern, path))
    }

    fn seen_to(&self) -> Result<(), ScriptFault> {
        if !(200..=999).contains(&self.status) {
            return Err(ScriptFault::Status(self.status));
        }
        let wrong = self
            .headers
            .iter()
            .find(|(name, value)| name.parse::<HeaderName>().is_err() || HeaderValue::from_str(value).is_err());
        wrong.map_or(Ok(()), |(name, _)| Err(ScriptFault::Header(name.clone())))
    }
}

/// Whether a path is one of a pattern, in which `*` stands for anything.
fn fits(pattern: &str, path: &str) -> bool {
    let Some((begin, rest)) = pattern.split_once('*') else { return pattern == path };
    let Some(mut left) = path.strip_prefix(begin) else { return false };
    let mut parts: Vec<_> = rest.split('*').collect();
    let end = parts.pop().unwrap_or_default();
    for part in parts {
        match left.split_once(part) {
            Some((_, after)) => left = after,
            None => return false,
        }
    }
    left.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_for_what_it_names() {
        let script = r#"
            [[answer]]
            method = "POST"
            path = "/2010-04-01/Accounts/*/Messages.json"
            status = 201
        "#;
        let answer = &Script::read(script).unwrap().answers[0];
        assert!(answer.is_for("POST", "/2010-04-01/Accounts/AC1/Messages.json"));
        assert!(!answer.is_for("GET", "/2010-04-01/Accounts/AC1/Messages.json"));
        assert!(!answer.is_for("POST", "/2010-04-01/Accounts/AC1/Calls.json"));
        for (pattern, path, fit) in [
            ("/a", "/a", true),
            ("/a", "/ab", false),
            ("*", "/a", true),
            ("/*/b/*", "/a/b/c", true),
            ("/*/b", "/a/c", false),
        ] {
            assert_eq!(fits(pattern, path), fit, "{pattern} {path}");
        }
    }

    #[test]
    fn a_script_that_cannot_be_followed_is_refused() {
        for (script, words) in [
            ("[[answers]]\nstatus = 200", "unknown field `answers`"),
            ("[[answer]]\nstatus = 99", "200 to 999"),
            ("[[answer]]\nstatus = 200\nheaders = { \"a b\" = \"c\" }", "`a b` is no header"),
            ("[[case]]\nname = \"a\"\nstatus = 200\nexpect = \"taken\"", "invalid-recipient"),
            ("[[case]]\nname = \"a\"\nstatus = 200\nof = \"probe\"\nexpect = \"sent\"", "one of `reachable`"),
            ("[[case]]\nname = \"a\"\nstatus = 200\nof = \"webhook\"\nexpect = \"sent\"", "unknown variant `webhook`"),
            ("[[callback]]\nname = \"a\"\nexpect = \"read\"", "missing field `sign`"),
        ] {
            let said = Script::read(script).unwrap_err().to_string();
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
