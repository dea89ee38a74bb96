use std::process::ExitCode;

use clap::Subcommand;
use serde_json::json;

use super::failure::Failure;
use super::{Global, output};
use crate::config::{Config, REFERENCE};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Say whether the configuration can be used; opens and changes nothing
    Check,
    /// Print every value in force and where it came from
    Show,
    /// Print every key there is, with its default and its meaning
    Reference,
}

pub(super) fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Check => {
            let loaded = global.load(None)?;
            let file = loaded.file.as_ref().map(|file| file.display().to_string());
            global.output().print(&json!({ "ok": true, "file": file }), || match &file {
                Some(file) => format!("{file} can be used"),
                None => "there is no configuration file; the defaults and the environment can be used".to_owned(),
            })?;
        }
        Command::Show => {
            let shown = global.load(None)?.shown();
            global.output().print(&json!({ "values": shown }), || {
                let row = |one: &crate::config::Shown| vec![one.key.clone(), one.value.to_string(), one.source.clone()];
                output::table(&["key", "value", "from"], &shown.iter().map(row).collect::<Vec<_>>())
            })?;
        }
        Command::Reference => global.output().print(&Config::default(), || REFERENCE.to_owned())?,
    }
    Ok(ExitCode::SUCCESS)
}
