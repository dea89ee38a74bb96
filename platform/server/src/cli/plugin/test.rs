use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::json;
use wotp_workbench::script::Script;
use wotp_workbench::suite::{self, Outcome, Setting};

use super::{bytes_of, settings_of, text_of};
use crate::cli::Global;
use crate::cli::failure::Failure;
use crate::system::{OsEntropy, SystemClock};

/// Try a plugin as production would run it, against a provider that has good days and bad ones
///
/// In the same sandbox, with the same policy for what it may call; only that whatever it calls is led to a provider on
/// this machine, which answers as a script says, or 200 and `{}`. Nothing leaves this machine, and secrets are made up.
/// Exits with 1 when something does not hold.
#[derive(Args)]
pub(in crate::cli) struct Arguments {
    /// The component, a file as in `plugin.wasm`
    file: PathBuf,
    /// Its settings, as TOML or JSON; none by default
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// What its provider answers, and what that means: a `provider.toml` as `wotp plugin new` writes one
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// A host that it may call, for a plugin that calls whichever the operator names
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
}

pub(super) async fn run(global: &Global, arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Arguments { file, settings, script, hosts } = arguments;
    let settings = settings_of(settings.as_deref())?;
    let script = match script {
        None => Script::default(),
        Some(file) => Script::read(&text_of(file)?)
            .map_err(|fault| Failure::caused(format!("{} cannot be followed", file.display()), fault))?,
    };
    let (clock, entropy) = (Arc::new(SystemClock), Arc::new(OsEntropy));
    let setting = Setting { settings, script, hosts: hosts.clone(), clock, entropy };
    let tried = suite::run(&bytes_of(file)?, setting).await;
    let report = tried.map_err(|error| Failure::caused(format!("{} was not tried", file.display()), error))?;
    let machines = json!({ "ok": report.holds(), "cases": report.outcomes });
    global.output().print(&machines, || {
        let lines = report.outcomes.iter().map(line).collect::<Vec<_>>().join("\n");
        let wrong = report.outcomes.iter().filter(|outcome| !outcome.holds).count();
        let all = report.outcomes.len();
        let closing = match wrong {
            0 => format!("all {all} hold"),
            wrong => format!("{wrong} of {all} do not hold"),
        };
        format!("{lines}\n\n{}: {closing}", file.display())
    })?;
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(outcome: &Outcome) -> String {
    let Outcome { tried, said, holds, why, advice } = outcome;
    let mark = if *holds { "ok " } else { "NO " };
    let why = why.iter().map(|why| format!("\n      not allowed: {why}"));
    let advice = advice.iter().map(|advice| format!("\n      to know: {advice}"));
    format!("{mark} {tried}: {said}{}", why.chain(advice).collect::<String>())
}
