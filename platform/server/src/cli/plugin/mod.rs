//! Plugins, for whoever writes them and whoever runs them.

mod build;
mod check;
mod life;
mod new;
mod run;
mod sign;
mod test;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::{Value, json};
use wotp_channel_wasm::{Component, Refusal, Runtime, Unread, World, compile_here};
use wotp_outbound::{Caller, Policy, SystemResolver};
use wotp_workbench::settings;

use super::Global;
use super::failure::Failure;
use crate::system::{OsEntropy, SystemClock};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Begin a plugin: a folder with everything that it needs, which builds as it is
    New(new::Arguments),
    // A line here would hide all that this says of itself.
    Build(build::Arguments),
    /// Say what a plugin is and what it asks for, or why it is refused; it calls nobody
    Check(check::Arguments),
    // The same, and below.
    Test(test::Arguments),
    Run(run::Arguments),
    Sign(sign::Arguments),
    /// Print the reference of the contract between WOTP and plugins, as Markdown
    Contract,
    #[command(flatten)]
    Life(life::Command),
    /// Compile a component within bounds: standard input to standard output, for the server itself
    #[command(hide = true)]
    Compile,
}

pub(super) async fn run(global: &Global, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::New(arguments) => new::run(global, &arguments),
        Command::Build(arguments) => build::run(global, &arguments).await,
        Command::Check(arguments) => check::run(global, &arguments).await,
        Command::Test(arguments) => test::run(global, &arguments).await,
        Command::Run(arguments) => run::run(global, &arguments).await,
        Command::Sign(arguments) => sign::run(global, &arguments).await,
        Command::Contract => {
            let reference = wotp_workbench::reference();
            global.output().print(&json!({ "contract": reference }), || reference.trim_end().to_owned())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Life(command) => life::run(global, command).await,
        Command::Compile => Ok(ExitCode::from(compile_here(std::io::stdin().lock(), std::io::stdout().lock()))),
    }
}

/// What a component is made of.
fn bytes_of(file: &Path) -> Result<Vec<u8>, Failure> {
    Component::read(file).map_err(|unread| match unread {
        Unread::File(error) => Failure::caused(format!("{} cannot be read", file.display()), error),
        Unread::Refused(refusal) => no_plugin(file, refusal),
    })
}

fn no_plugin(file: &Path, refusal: Refusal) -> Failure {
    Failure::caused(format!("{} is no plugin that can be used", file.display()), refusal)
}

/// A component that can be used, and its bytes.
async fn examined(file: &Path) -> Result<(Component, Vec<u8>), Failure> {
    let bytes = bytes_of(file)?;
    let runtime = Runtime::new(1).map_err(|error| Failure::caused("plugins cannot be run", error))?;
    let caller = Arc::new(Caller::new(Policy::default(), Arc::new(SystemResolver::default())));
    let world = World { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), caller, public_url: None };
    let refused = |refusal| no_plugin(file, refusal);
    let component = Component::load(&runtime, &bytes, world.clone()).await.map_err(refused)?;
    // As installing it does.
    component.conforms(world).await.map_err(refused)?;
    Ok((component, bytes))
}

fn text_of(file: &Path) -> Result<String, Failure> {
    fs::read_to_string(file).map_err(|error| Failure::caused(format!("{} cannot be read", file.display()), error))
}

/// A plugin's own settings; none without a file.
fn settings_of(file: Option<&Path>) -> Result<Value, Failure> {
    let Some(file) = file else { return Ok(json!({})) };
    let fault = |fault| Failure::caused(format!("{} holds no settings", file.display()), fault);
    settings::read(&text_of(file)?).map_err(fault)
}
