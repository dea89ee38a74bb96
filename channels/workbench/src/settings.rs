//! The settings of the plugin that is tried, from a file.

use serde_json::{Value, json};

/// Settings that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsFault {
    /// Neither TOML nor JSON.
    #[error("it is neither TOML nor JSON: {0}")]
    Neither(String),
    /// Something else than settings.
    #[error("it holds no object of settings, as `{{ \"from\": \"Acme\" }}` or `from = \"Acme\"` is one")]
    NoObject,
}

/// Reads settings that are written as TOML, as in a `wotp.toml`, or as JSON.
///
/// # Errors
/// [`SettingsFault`].
pub fn read(text: &str) -> Result<Value, SettingsFault> {
    let settings: Value = match text.trim_start().starts_with(['{', '[']) {
        // A table of TOML that begins a file does so as well.
        true => serde_json::from_str(text)
            .or_else(|error| toml::from_str(text).map_err(|_| SettingsFault::Neither(error.to_string())))?,
        false => toml::from_str(text).map_err(|error| SettingsFault::Neither(error.to_string()))?,
    };
    if settings.is_object() { Ok(settings) } else { Err(SettingsFault::NoObject) }
}

/// The same settings with something else in one place or another: what a tenant may write by mistake, or on purpose.
pub(crate) fn spoilt(settings: &Value) -> Vec<Value> {
    let long = "x".repeat(10_000);
    let instead =
        [Value::Null, json!(7), json!(""), json!("\0\u{202e}{{"), json!([]), json!({}), json!(true), json!(long)];
    let fields = settings.as_object().into_iter().flatten();
    let mut all = vec![json!({}), json!({ "": null })];
    for (name, _) in fields {
        let with = |value: Option<&Value>| {
            let mut spoilt = settings.clone();
            match value {
                Some(value) => spoilt[name] = value.clone(),
                None => drop(spoilt.as_object_mut().and_then(|fields| fields.remove(name))),
            }
            spoilt
        };
        all.push(with(None));
        all.extend(instead.iter().map(|value| with(Some(value))));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_stand_in_either_file() {
        let right = json!({ "from": "Acme", "headers": { "a": "b" } });
        for text in ["from = \"Acme\"\n[headers]\na = \"b\"", "{\"from\": \"Acme\", \"headers\": {\"a\": \"b\"}}"] {
            assert_eq!(read(text), Ok(right.clone()));
        }
        assert_eq!(read("[headers]\na = \"b\""), Ok(json!({ "headers": { "a": "b" } })));
        assert_eq!(read("[1]"), Err(SettingsFault::NoObject));
        assert!(matches!(read("from: Acme"), Err(SettingsFault::Neither(_))));
    }

    #[test]
    fn spoilt_settings_differ_in_one_place_each() {
        let settings = json!({ "from": "Acme", "to": 1 });
        let spoilt = spoilt(&settings);
        assert_eq!(spoilt.len(), 2 + 2 * 9);
        assert!(spoilt.iter().all(|one| *one != settings));
        assert!(spoilt.contains(&json!({ "to": 1 })) && spoilt.contains(&json!({ "from": 7, "to": 1 })));
    }
}
