use figment::value::Value;
use serde::Serialize;

use super::load::{Loaded, dict, keys, place};
use super::place::without_passwords;

/// One value in force.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Shown {
    /// The key, as in `server.listen`.
    pub key: String,
    /// Its value; of a URL, without the password. No other key holds a secret: those are in files that
    /// are named here.
    pub value: serde_json::Value,
    /// Where it came from: `default`, a file, the name of a variable, or `--listen`.
    pub source: String,
}

impl Loaded {
    /// Every value in force, by key.
    pub fn shown(&self) -> Vec<Shown> {
        let values = Value::from(dict(&self.config));
        let shown = |key: String| {
            let value = values.find_ref(&key).and_then(|value| serde_json::to_value(value).ok()).unwrap_or_default();
            let value = match (key.ends_with(".url"), value) {
                (true, serde_json::Value::String(url)) => without_passwords(&url).into(),
                (_, value) => value,
            };
            let source = place(&self.figment, &key);
            Shown { key, value, source }
        };
        let mut all: Vec<Shown> = keys(&dict(&self.config)).into_iter().map(shown).collect();
        // Only a file can set these.
        let source = self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
        for (name, plugin) in &self.config.channels.plugins {
            let shown = |(key, value)| Shown { key, value, source: source.clone() };
            all.extend(plugin.values(name).into_iter().map(shown));
        }
        all
    }
}
