//! `wotp doctor`: looks at everything that an installation needs, changes nothing, and says what to do.

mod checks;
mod embedded;
mod plugins;
#[cfg(feature = "nodes")]
mod shared;

use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;
use wotp_core::ports::Clock as _;

use super::Global;
use super::failure::Failure;
use crate::config::{Loaded, StorePlace};
use crate::data_folder::DataFolder;
use crate::system::SystemClock;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Ok,
    Warn,
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    check: &'static str,
    verdict: Verdict,
    /// What was found.
    found: String,
    /// What to do.
    help: Option<String>,
}

impl Finding {
    fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Ok, found: found.into(), help: None }
    }

    fn warn(check: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Warn, found: found.into(), help: Some(help.into()) }
    }

    fn error(check: &'static str, found: impl Into<String>, help: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Error, found: found.into(), help: Some(help.into()) }
    }

    /// From an error that has its own words for what to do.
    fn failed(check: &'static str, error: &dyn std::error::Error, help: impl Into<String>) -> Self {
        let chain = std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string);
        Self::error(check, chain.collect::<Vec<_>>().join(": "), help)
    }
}

pub(super) async fn run(global: &Global) -> Result<ExitCode, Failure> {
    let findings = examine(global).await;
    let sound = findings.iter().all(|finding| finding.verdict != Verdict::Error);
    let machines = json!({ "ok": sound, "checks": findings });
    global.output().print(&machines, || {
        let lines = findings.iter().map(|Finding { check, verdict, found, help }| {
            let sign = match verdict {
                Verdict::Ok => "ok   ",
                Verdict::Warn => "warn ",
                Verdict::Error => "ERROR",
            };
            let help = help.as_ref().map(|help| format!("\n{:22}do: {help}", "")).unwrap_or_default();
            format!("{sign}  {check:13}  {found}{help}")
        });
        lines.collect::<Vec<_>>().join("\n")
    })?;
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn examine(global: &Global) -> Vec<Finding> {
    let mut findings = vec![checks::clock(SystemClock.now())];
    let loaded = match global.load(None) {
        Ok(loaded) => loaded,
        Err(failure) => {
            findings.push(Finding::error(
                "configuration",
                failure.to_string().trim_end(),
                "mend it first; the rest depends on it",
            ));
            return findings;
        }
    };
    findings.push(checks::configuration(&loaded));
    let folder = match DataFolder::open(global.data()) {
        Ok(folder) => folder.with_master_key_file(&loaded.config.store.master_key_file),
        Err(error) => {
            findings.push(Finding::failed("folder", &error, error.help()));
            return findings;
        }
    };
    findings.push(checks::folder(&folder));
    findings.push(checks::disk(&folder));
    findings.push(checks::server(&folder).await);
    findings.extend(channels(&loaded, &folder).await);
    match loaded.config.store_place(folder.path()) {
        Ok(StorePlace::Embedded(database)) => findings.extend(embedded::examine(&loaded, &folder, &database).await),
        #[cfg(feature = "nodes")]
        Ok(StorePlace::Mongodb(url)) => findings.extend(shared::examine(&loaded, &folder, &url).await),
        #[cfg(not(feature = "nodes"))]
        Ok(StorePlace::Mongodb(_)) => {
            let error = crate::wiring::WiringError::NoNodes;
            findings.push(Finding::failed("store", &error, error.help().unwrap_or_default()));
        }
        Err((problem, right)) => findings.push(Finding::error("store", problem, right)),
    }
    findings
}

async fn channels(loaded: &Loaded, folder: &DataFolder) -> Vec<Finding> {
    let channels = match crate::wiring::channels(&loaded.config, folder).await {
        Ok(channels) => channels,
        Err(error) => {
            let help = error.help().unwrap_or_else(|| "mend the section [channels.email]".to_owned());
            return vec![Finding::failed("channels", &error, help)];
        }
    };
    if channels.is_empty() {
        let help = "set up a channel, as in [channels.email]: `wotp config reference` shows how";
        return vec![Finding::warn("channels", "none: only test keys and sandbox numbers can be used", help)];
    }
    let mut findings = Vec::new();
    for channel in channels {
        findings.push(checks::channel(&*channel).await);
    }
    findings
}
