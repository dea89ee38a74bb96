//! Channels that a plugin brings: sections whose name the operator chooses, so no list of keys holds them.

use std::collections::BTreeMap;

use figment::Figment;
use figment::value::{Dict, Value};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use wotp_core::domain::address::AddressKind;

use super::error::Complaint;
use super::load::{Layer, keys, nearest, unknown_keys, wrong_kind};
use super::shape;

/// What says that a section is of a plugin.
const PLUGIN: &str = "plugin";
/// Keys whose own keys are the plugin's to know.
const FREE: [&str; 2] = ["config", "secret_files"];
/// Bounds of the time for one delivery. A service waits for at most 60 seconds.
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 1..=60;
/// Most calls at once of one plugin: the room for them is reserved.
const CONCURRENCY_MAX: u32 = 256;
/// Most calls at once of all plugins.
const CONCURRENCY_TOTAL_MAX: u32 = 1024;

/// A plugin as a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    /// The component; a relative file lies in the data folder.
    pub plugin: String,
    /// The kinds of address that it is used for; empty means all that it reaches.
    #[serde(default)]
    pub reaches: Vec<AddressKind>,
    /// Hosts that it may call, of those that it names.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// Networks that are not public, and may be reached by it nevertheless.
    #[serde(default, deserialize_with = "shape::networks")]
    pub allowed_networks: Vec<IpNet>,
    /// Longest that one delivery may take.
    #[serde(default = "timeout_seconds")]
    pub timeout_seconds: u64,
    /// Calls of it that may be under way at once.
    #[serde(default = "concurrency")]
    pub concurrency: u32,
    /// Files that hold its secrets, by their names; relative ones lie in the data folder.
    #[serde(default)]
    pub secret_files: BTreeMap<String, String>,
    /// Its own settings.
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

/// One less than a service waits when nobody says otherwise, so that a plugin's last words are heard.
fn timeout_seconds() -> u64 {
    7
}

fn concurrency() -> u32 {
    32
}

impl Plugin {
    /// As it stands in the reference, without its own settings.
    pub(super) fn example() -> Self {
        Self {
            plugin: "generic_http.wasm".to_owned(),
            reaches: vec![AddressKind::Phone],
            hosts: vec!["sms.example.com".to_owned()],
            allowed_networks: Vec::new(),
            timeout_seconds: timeout_seconds(),
            concurrency: concurrency(),
            secret_files: BTreeMap::from([("token".to_owned(), "sms.token".to_owned())]),
            config: serde_json::Map::new(),
        }
    }

    fn dict(&self) -> Dict {
        match Value::serialize(self) {
            Ok(Value::Dict(_, dict)) => dict,
            _ => unreachable!("a section serialises as a table"),
        }
    }

    /// Every value that it has, by key, as in `channels.sms.hosts`.
    pub(super) fn values(&self, name: &str) -> Vec<(String, serde_json::Value)> {
        let dict = self.dict();
        let values = Value::from(dict.clone());
        let value = |key: &str| values.find_ref(key).and_then(|value| serde_json::to_value(value).ok());
        keys(&dict).into_iter().map(|key| (format!("channels.{name}.{key}"), value(&key).unwrap_or_default())).collect()
    }
}

/// Takes the sections of plugins out of what a file says, and reads them.
pub(super) fn take(values: &mut Dict, place: &str) -> (BTreeMap<String, Plugin>, Vec<Complaint>) {
    let (mut plugins, mut complaints) = (BTreeMap::new(), Vec::new());
    let Some(Value::Dict(_, channels)) = values.get_mut("channels") else { return (plugins, complaints) };
    let of_a_plugin = |value: &Value| value.as_dict().is_some_and(|section| section.contains_key(PLUGIN));
    let names: Vec<String> =
        channels.iter().filter(|(_, value)| of_a_plugin(value)).map(|(name, _)| name.clone()).collect();
    for name in names {
        let Some(Value::Dict(_, section)) = channels.remove(&name) else { continue };
        match read(&name, section, place) {
            Ok(plugin) => drop(plugins.insert(name, plugin)),
            Err(problems) => complaints.extend(problems),
        }
    }
    (plugins, complaints)
}

fn read(name: &str, section: Dict, place: &str) -> Result<Plugin, Vec<Complaint>> {
    let full = |key: &str| format!("channels.{name}.{key}");
    let known = Plugin::example().dict();
    let mut unknown = Vec::new();
    let fixed: Dict =
        section.iter().filter(|(key, _)| !FREE.contains(&key.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    unknown_keys(&fixed, &known, "", &mut unknown);
    let mut complaints: Vec<Complaint> = unknown
        .into_iter()
        .map(|key| {
            let right = nearest(&key, &known);
            Complaint { key: full(&key), source: place.to_owned(), problem: "there is no such key".to_owned(), right }
        })
        .collect();
    if matches!(name, "console" | "email" | "whatsapp") || !is_name(name) {
        let right =
            "write 1 to 32 small letters, digits and `_`, a letter first, and not `console`, `email` or `whatsapp`";
        let problem = format!("`{name}` is no name for a plugin's channel");
        complaints.push(Complaint { key: full(PLUGIN), source: place.to_owned(), problem, right: right.to_owned() });
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    let figment = Figment::from(Layer { place: place.to_owned(), values: section });
    figment.extract().map_err(|error| {
        let super::ConfigError(complaints) = wrong_kind(&figment, error, &known);
        let at = |complaint: Complaint| Complaint { key: full(complaint.key.trim_start_matches('.')), ..complaint };
        complaints.into_iter().map(at).collect()
    })
}

/// Whether a key, as in `channels.sms.hosts`, is of one of them.
pub(super) fn has(plugins: &BTreeMap<String, Plugin>, key: &str) -> bool {
    let name = key.strip_prefix("channels.").and_then(|rest| rest.split('.').next());
    name.is_some_and(|name| plugins.contains_key(name))
}

fn is_name(text: &str) -> bool {
    let holds = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.len() <= 32 && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(holds)
}

/// What does not hold of them: key, problem, and what would be right.
pub(super) fn complaints(plugins: &BTreeMap<String, Plugin>) -> Vec<(String, String, &'static str)> {
    let mut complaints = Vec::new();
    for (name, plugin) in plugins {
        if !TIMEOUT_SECONDS.contains(&plugin.timeout_seconds) {
            let problem = format!("{} seconds is out of bounds", plugin.timeout_seconds);
            complaints.push((format!("channels.{name}.timeout_seconds"), problem, "write 1 to 60"));
        }
        if !(1..=CONCURRENCY_MAX).contains(&plugin.concurrency) {
            let problem = format!("{} calls at once is out of bounds", plugin.concurrency);
            complaints.push((format!("channels.{name}.concurrency"), problem, "write 1 to 256"));
        }
    }
    let total: u64 = plugins.values().map(|plugin| u64::from(plugin.concurrency)).sum();
    if total > u64::from(CONCURRENCY_TOTAL_MAX) && complaints.is_empty() {
        let problem = format!("{total} calls at once of all plugins together is out of bounds");
        complaints.push(("channels".to_owned(), problem, "write a lower concurrency, for 1024 together"));
    }
    complaints
}
