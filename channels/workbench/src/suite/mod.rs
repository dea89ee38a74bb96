//! Conformance: a plugin tried with the production host, against a provider that has good days and bad ones.
//!
//! Each case is one line: what was tried, what the plugin said, and if that may not be said, why. What is tried is what
//! the contract promises to operators, or asks of plugins.

mod asked;
mod bench;
mod callbacks;
mod days;
mod deliveries;
mod judging;
mod looks;

use std::io;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use wotp_channel_wasm::{Host, NoHost, Runtime, RuntimeError};
use wotp_core::ports::{Clock, Entropy};

use crate::script::Script;
use bench::Bench;
pub use judging::shown;

/// What a plugin is tried with.
pub struct Setting {
    /// Its settings.
    pub settings: Value,
    /// What its provider answers.
    pub script: Script,
    /// The hosts that are approved besides those of the script, for a plugin that calls whichever the operator names.
    pub hosts: Vec<String>,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
}

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// What was tried.
    pub tried: String,
    /// What the plugin said, or did.
    pub said: String,
    /// Whether that is allowed.
    pub holds: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// What its author should know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// What came of all cases, in the order in which they were tried.
#[derive(Debug, Default)]
pub struct Report {
    /// One for each case.
    pub outcomes: Vec<Outcome>,
}

/// Why nothing could be tried, which is none of the plugin's faults.
#[derive(Debug, thiserror::Error)]
pub enum NoTrial {
    /// Nothing can be run.
    #[error("plugins cannot be run")]
    Runtime(#[from] RuntimeError),
    /// No provider.
    #[error("no provider can be put on this machine")]
    Provider(#[source] io::Error),
    /// A host is none.
    #[error(transparent)]
    Host(#[from] NoHost),
}

impl Report {
    /// Whether the plugin keeps all that was tried.
    pub fn holds(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.holds)
    }

    fn ok(&mut self, tried: &str, said: impl Into<String>) {
        self.note(tried, said, None, None);
    }

    fn no(&mut self, tried: &str, said: impl Into<String>, why: impl Into<String>) {
        self.note(tried, said, Some(why.into()), None);
    }

    fn note(&mut self, tried: &str, said: impl Into<String>, why: Option<String>, advice: Option<String>) {
        let (tried, said) = (tried.to_owned(), said.into());
        self.outcomes.push(Outcome { tried, said, holds: why.is_none(), why, advice });
    }
}

/// Tries a component.
///
/// # Errors
/// [`NoTrial`]. What the plugin does wrong is no error, but in the report.
pub async fn run(bytes: &[u8], setting: Setting) -> Result<Report, NoTrial> {
    let runtime = Runtime::new(4)?;
    let hosts = setting.script.hosts.iter().chain(&setting.hosts);
    let hosts: Vec<Host> = hosts.map(|host| host.parse()).collect::<Result<_, _>>()?;
    let mut report = Report::default();
    let Some(bench) = Bench::set_up(&runtime, bytes, setting, hosts, &mut report).await? else { return Ok(report) };
    looks::at_itself(&bench, &mut report).await;
    let Some(plugin) = looks::at_settings(&bench, &mut report).await else { return Ok(report) };
    if deliveries::on_a_good_day(&bench, &plugin, &mut report).await {
        deliveries::on_bad_days(&bench, &plugin, &mut report).await;
        deliveries::as_scripted(&bench, &plugin, &mut report).await;
    }
    asked::beforehand(&bench, &plugin, &mut report).await;
    asked::later(&bench, &plugin, &mut report).await;
    asked::back(&bench, &plugin, &mut report).await;
    asked::account(&bench, &plugin, &mut report).await;
    looks::at_callers(&plugin, &mut report).await;
    callbacks::signed(&bench, &plugin, &mut report).await;
    looks::at_the_log(&bench, &mut report);
    Ok(report)
}
