//! What whoever sets up a plugin gives it: settings that it reads, and secrets that it never sees.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::app::{App, FieldError, Refusal};
use crate::domain::plugin::Settings;
use crate::domain::vault::Purpose;

/// Longest secret, in bytes.
const SECRET_BYTES_MAX: usize = 4096;
/// Largest settings, in bytes.
const CONFIG_BYTES_MAX: usize = 64 << 10;

/// What a plugin is given. What is not there stays as it is.
#[derive(Default)]
pub struct Given {
    /// Its own settings, all of them.
    pub config: Option<Map<String, Value>>,
    /// Secrets by name; none where one goes. Those that are not named stay.
    pub secrets: BTreeMap<String, Option<Zeroizing<String>>>,
}

impl Given {
    /// Whether anything comes of it that was not there: what is taken away does not count.
    pub(in crate::app) fn gives(&self) -> bool {
        self.config.as_ref().is_some_and(|config| !config.is_empty()) || self.secrets.values().any(Option::is_some)
    }

    /// What is wrong with its size, field by field.
    pub(in crate::app) fn too_large(&self) -> Vec<FieldError> {
        let mut wrong = Vec::new();
        let mut say = |field: String, message: String| wrong.push(FieldError { field, message });
        let size = self.config.as_ref().and_then(|config| serde_json::to_vec(config).ok()).map_or(0, |text| text.len());
        if size > CONFIG_BYTES_MAX {
            say("config".to_owned(), format!("has {size} bytes; at most {CONFIG_BYTES_MAX} are taken"));
        }
        for (name, secret) in &self.secrets {
            if secret.as_ref().is_some_and(|text| text.is_empty() || text.len() > SECRET_BYTES_MAX) {
                say(format!("secrets.{name}"), format!("has 1 to {SECRET_BYTES_MAX} bytes"));
            }
        }
        wrong
    }
}

impl App {
    /// Puts into settings what is given, secrets sealed for their `owner`, without seeing whether a plugin takes it.
    pub(in crate::app) fn give(
        &self,
        settings: &mut Settings,
        given: &Given,
        is_asked: impl Fn(&str) -> bool,
        (purpose, owner): (Purpose, &[u8; 16]),
    ) -> Result<(), Refusal> {
        if let Some(config) = &given.config {
            settings.config.clone_from(config);
        }
        for (name, secret) in &given.secrets {
            match secret {
                None => drop(settings.secrets.remove(name)),
                Some(_) if !is_asked(name) => {
                    let words = "is no secret that a release of the plugin asks for";
                    return Err(Refusal::field(format!("secrets.{name}"), words));
                }
                Some(text) => {
                    let sealed = self.ports.vault.seal(purpose, owner, text, &*self.ports.entropy);
                    settings.secrets.insert(name.clone(), sealed);
                }
            }
        }
        Ok(())
    }
}
