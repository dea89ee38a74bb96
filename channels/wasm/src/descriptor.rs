//! What a plugin says that it is, held against what it may say.

use serde_json::Value;
use wotp_core::domain::address::AddressKind;
use wotp_core::domain::template::is_control;

use crate::hosts::{DeclaredHosts, NoHost};
use crate::schema::{self, Schema};
use crate::since_v0_1_0::exports::wotp::channel::delivery as said;
use crate::since_v0_1_0::wotp::channel::types;

/// Longest name of a plugin for people, in characters.
const NAME_MAX: usize = 64;
/// Longest version, in bytes.
const VERSION_MAX: usize = 64;
/// Most hosts, and most secrets.
const COUNT_MAX: usize = 16;
/// Longest sentence about a secret, in characters.
const ABOUT_MAX: usize = 200;

/// Where in a request a secret may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the value of a header.
    Header,
    /// In the query of the URL.
    Query,
    /// In the body.
    Body,
}

/// A secret that a plugin needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// Its name.
    pub name: String,
    /// What it is, for the operator.
    pub about: String,
    /// Where it may stand.
    pub places: Vec<Place>,
    /// Whether the plugin works without it.
    pub optional: bool,
}

/// What a plugin is.
#[derive(Debug, Clone, PartialEq)]
pub struct Descriptor {
    /// Its name in the world, as in `example.twilio-sms`.
    pub id: String,
    /// Its name for people.
    pub name: String,
    /// Its own version.
    pub version: String,
    /// The kinds of address that it reaches.
    pub reaches: Vec<AddressKind>,
    /// The hosts that it calls, if the operator approves.
    pub hosts: DeclaredHosts,
    /// The secrets that it needs.
    pub secrets: Vec<SecretUse>,
    /// Whether its provider takes one message for one, however often it is sent.
    pub idempotent: bool,
    /// What its settings may be: a JSON Schema.
    pub config_schema: Value,
}

/// What a plugin says about itself and may not.
#[derive(Debug, thiserror::Error)]
pub enum DescriptorFault {
    /// The name in the world.
    #[error("its `id` is not 1 to 64 small letters, digits, dashes and dots with a letter first")]
    Id,
    /// The name for people.
    #[error("its `name` is empty, longer than 64 characters, or has line ends or other characters that steer")]
    Name,
    /// The version.
    #[error("its `version` is not of the form 1.4.0")]
    Version,
    /// It reaches nobody.
    #[error("it `reaches` no kind of address, or one twice")]
    Reaches,
    /// A host is none.
    #[error("one of its `hosts` cannot be called: {0}")]
    Host(#[from] NoHost),
    /// Too many.
    #[error("it names more than 16 `hosts` or more than 16 `secrets`")]
    TooMany,
    /// A secret's name.
    #[error(
        "the name of one of its `secrets` is not 1 to 32 small letters, digits and `_` with a letter first, or is there twice"
    )]
    SecretName,
    /// What is said of a secret.
    #[error(
        "what it says about its secret `{0}` is longer than 200 characters or has line ends or other characters that steer, or it names no place"
    )]
    Secret(String),
    /// The schema is no schema.
    #[error("its `config-schema` is no JSON Schema (2020-12) of type `object`: {0}")]
    Schema(String),
}

impl Descriptor {
    /// Reads what a plugin said, with what holds settings against its schema.
    pub(crate) fn read(said: said::Descriptor) -> Result<(Self, Schema), DescriptorFault> {
        let one_line = |text: &str, max: usize| text.chars().count() <= max && !text.chars().any(is_control);
        if !is_name(&said.id, 64, "-.") {
            return Err(DescriptorFault::Id);
        }
        if said.name.trim().is_empty() || !one_line(&said.name, NAME_MAX) {
            return Err(DescriptorFault::Name);
        }
        if !is_version(&said.version) {
            return Err(DescriptorFault::Version);
        }
        let reaches: Vec<_> = said.reaches.iter().map(|kind| kind_of(*kind)).collect();
        let twice = reaches.iter().enumerate().any(|(at, kind)| reaches[..at].contains(kind));
        if reaches.is_empty() || twice {
            return Err(DescriptorFault::Reaches);
        }
        if said.hosts.len() > COUNT_MAX || said.secrets.len() > COUNT_MAX {
            return Err(DescriptorFault::TooMany);
        }
        let mut secrets: Vec<SecretUse> = Vec::new();
        for types::SecretUse { name, about, places, optional } in said.secrets {
            if !is_name(&name, 32, "_") || secrets.iter().any(|other| other.name == name) {
                return Err(DescriptorFault::SecretName);
            }
            let places = places_of(places);
            if places.is_empty() || !one_line(&about, ABOUT_MAX) {
                return Err(DescriptorFault::Secret(name));
            }
            secrets.push(SecretUse { name, about, places, optional });
        }
        let (config_schema, schema) = schema::read(&said.config_schema).map_err(DescriptorFault::Schema)?;
        let descriptor = Self {
            id: said.id,
            name: said.name,
            version: said.version,
            reaches,
            hosts: DeclaredHosts::read(&said.hosts)?,
            secrets,
            idempotent: said.idempotent,
            config_schema,
        };
        Ok((descriptor, schema))
    }
}

fn kind_of(kind: types::AddressKind) -> AddressKind {
    match kind {
        types::AddressKind::Phone => AddressKind::Phone,
        types::AddressKind::Email => AddressKind::Email,
    }
}

fn places_of(places: types::SecretPlaces) -> Vec<Place> {
    let all = [
        (types::SecretPlaces::HEADER, Place::Header),
        (types::SecretPlaces::QUERY, Place::Query),
        (types::SecretPlaces::BODY, Place::Body),
    ];
    all.into_iter().filter(|(flag, _)| places.contains(*flag)).map(|(_, place)| place).collect()
}

/// Small letters, digits and some more, a letter first.
pub(crate) fn is_name(text: &str, length_max: usize, besides: &str) -> bool {
    let holds = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || besides.contains(c);
    text.len() <= length_max && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(holds)
}

/// Three numbers, and what semver.org lets follow.
pub(crate) fn is_version(text: &str) -> bool {
    let numbers = text.split(['-', '+']).next().unwrap_or_default();
    let number = |part: &str| !part.is_empty() && part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
    let rest = |c: char| c.is_ascii_alphanumeric() || "-+.".contains(c);
    text.len() <= VERSION_MAX
        && numbers.split('.').count() == 3
        && numbers.split('.').all(number)
        && text.chars().all(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> said::Descriptor {
        said::Descriptor {
            id: "example.sms".to_owned(),
            name: "Example SMS".to_owned(),
            version: "1.4.0".to_owned(),
            reaches: vec![types::AddressKind::Phone],
            config_schema: r#"{"type":"object","required":["from"]}"#.to_owned(),
            hosts: vec!["api.example.com".to_owned()],
            secrets: vec![secret("token")],
            idempotent: false,
        }
    }

    fn secret(name: &str) -> types::SecretUse {
        let (name, about) = (name.to_owned(), "From the page of your account.".to_owned());
        types::SecretUse { name, about, places: types::SecretPlaces::HEADER, optional: false }
    }

    #[track_caller]
    fn assert_refused(change: impl FnOnce(&mut said::Descriptor), words: &str) {
        let mut descriptor = good();
        change(&mut descriptor);
        let fault = Descriptor::read(descriptor).err().unwrap().to_string();
        assert!(fault.contains(words), "{fault}");
    }

    #[test]
    fn what_a_plugin_may_not_say_of_itself_is_told_in_plain_words() {
        let (descriptor, schema) = Descriptor::read(good()).unwrap();
        assert_eq!(
            (descriptor.reaches, descriptor.secrets[0].places.clone()),
            (vec![AddressKind::Phone], vec![Place::Header])
        );
        assert_eq!(schema.faults(&serde_json::json!({"from": "Acme"})), [""; 0]);
        assert_eq!(schema.faults(&serde_json::json!({})).len(), 1);
        for id in ["", "Example", "1a", "a b", &"a".repeat(65)] {
            assert_refused(|said| said.id = id.to_owned(), "`id`");
        }
        // The last one would be shown as `example.ved`.
        for name in ["", "a\nb", "a\u{85}b", "example.\u{202e}dev"] {
            assert_refused(|said| said.name = name.to_owned(), "`name`");
            if !name.is_empty() {
                assert_refused(|said| said.secrets[0].about = name.to_owned(), "steer");
            }
        }
        assert_refused(|said| said.config_schema = "[]".to_owned(), "no JSON Schema");
        for version in ["", "1", "1.2", "1.2.x", "1.2.3.4", "v1.2.3", "1.2.3 "] {
            assert_refused(|said| said.version = version.to_owned(), "`version`");
        }
        assert_refused(|said| said.reaches.clear(), "`reaches`");
        assert_refused(|said| said.hosts = vec!["https://api.example.com".to_owned()], "is no host");
        assert_refused(|said| said.hosts = vec!["a.example".to_owned(); 17], "more than 16");
        assert_refused(|said| said.secrets = vec![secret("a"), secret("a")], "twice");
        assert_refused(|said| said.secrets[0].places = types::SecretPlaces::empty(), "no place");
    }
}
