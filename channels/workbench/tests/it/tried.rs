//! Components from the folder that `.ci/guests` prints, tried.

use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use wotp_core::testing::{ManualClock, SeededEntropy};
use wotp_workbench::script::Script;
use wotp_workbench::suite::{self, Outcome, Setting};

/// What a component is made of.
pub fn bytes(name: &str) -> Vec<u8> {
    let folder = std::env::var("TEST_PLUGINS");
    let folder =
        PathBuf::from(folder.expect("TEST_PLUGINS is the folder that `.ci/guests` prints; `make test` sets it"));
    std::fs::read(folder.join(name).with_extension("wasm")).unwrap()
}

/// What comes of trying a component with these settings and this script.
pub async fn tried(name: &str, settings: Value, script: &str) -> Vec<Outcome> {
    let setting = Setting {
        settings,
        script: Script::read(script).unwrap(),
        hosts: Vec::new(),
        clock: Arc::new(ManualClock::at("2026-11-22T12:00:00Z")),
        entropy: Arc::new(SeededEntropy::new(7)),
    };
    suite::run(&bytes(name), setting).await.unwrap().outcomes
}

/// What does not hold, one a line.
pub fn faults(outcomes: &[Outcome]) -> String {
    let faults = outcomes.iter().filter(|outcome| !outcome.holds);
    faults
        .map(|outcome| format!("{}: {}: {}\n", outcome.tried, outcome.said, outcome.why.as_deref().unwrap_or_default()))
        .collect()
}
