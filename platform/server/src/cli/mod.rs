//! The command line: one file per subcommand, each a thin face over the use cases.

mod audit;
mod backup;
mod config;
mod demo;
mod doctor;
mod failure;
mod key;
mod logging;
mod loopback;
#[cfg(feature = "nodes")]
mod migrate_store;
mod node;
mod openapi;
mod operator;
mod output;
#[cfg(feature = "plugins")]
mod plugin;
mod restore;
mod serve;
mod tenant;
mod user;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::{Inputs, Loaded, StorePlace, load};
use crate::data_folder::DataFolder;
use crate::wiring::{Purpose, Wired, wire};
use failure::Failure;
use output::Output;

/// Where an installation is when nobody says.
const DATA: &str = "./data";

#[derive(Parser)]
#[command(
    name = "wotp",
    version,
    about = "Verifies that people hold the phone numbers and addresses they say they do",
    after_help = "Start with `wotp demo`. Every command but `serve`, `restore` and `migrate-store` \
                  also works while a server runs."
)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Args, Clone)]
struct Global {
    /// Data folder [default: ./data]
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Configuration file [default: wotp.toml in the data folder, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON, errors too
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server: HTTP API, workers and upkeep, until SIGTERM or Ctrl-C
    Serve(serve::Arguments),
    /// Send and check a code before your eyes, on a server of its own
    Demo(demo::Arguments),
    /// Tenants: the organisations that verify people
    #[command(subcommand)]
    Tenant(tenant::Command),
    /// API keys of a tenant
    #[command(subcommand)]
    Key(key::Command),
    /// The audit log: see whether it is what was written, and export it
    #[command(subcommand)]
    Audit(audit::Command),
    /// Nodes: the servers that share a MongoDB
    #[command(subcommand)]
    Node(node::Command),
    /// Operators: the people who run the platform
    #[command(subcommand)]
    Operator(operator::Command),
    /// People with accounts: help for who cannot help themselves
    #[command(subcommand)]
    User(user::Command),
    /// Plugins: channels by anybody
    #[cfg(feature = "plugins")]
    #[command(subcommand)]
    Plugin(plugin::Command),
    /// Print the OpenAPI document of the HTTP API
    Openapi,
    /// The configuration: check it, show what is in force, print the reference
    #[command(subcommand)]
    Config(config::Command),
    // A line here would hide all that these say of themselves.
    Backup(backup::Arguments),
    Restore(restore::Arguments),
    #[cfg(feature = "nodes")]
    MigrateStore(migrate_store::Arguments),
    /// Check the whole installation and say what to do
    Doctor,
}

impl Global {
    fn data(&self) -> &Path {
        self.data.as_deref().unwrap_or(Path::new(DATA))
    }

    fn output(&self) -> Output {
        Output::new(self.json)
    }

    /// The configuration in force.
    fn load(&self, listen: Option<SocketAddr>) -> Result<Loaded, Failure> {
        let inputs = Inputs {
            file: self.config.clone(),
            data: self.data().to_owned(),
            variables: std::env::vars_os().collect(),
            listen,
        };
        Ok(load(inputs)?)
    }

    /// The installation that is there, for one command.
    async fn open(&self) -> Result<(Loaded, Wired), Failure> {
        let (loaded, folder) = self.find()?;
        let wired = wire(&loaded.config, &folder, Purpose::Command, Vec::new()).await?;
        Ok((loaded, wired))
    }

    fn find(&self) -> Result<(Loaded, DataFolder), Failure> {
        let folder = DataFolder::open(self.data())?;
        let loaded = self.load(None)?;
        let folder = folder.with_master_key_file(&loaded.config.store.master_key_file);
        Ok((loaded, folder))
    }

    /// The database file of an embedded installation, for a command that only does something with one.
    fn embedded(&self, loaded: &Loaded, command: &str) -> Result<PathBuf, Failure> {
        match loaded.config.store_place(self.data()) {
            Ok(StorePlace::Embedded(database)) => Ok(database),
            Ok(StorePlace::Mongodb(_)) => Err(Failure::new(format!(
                "`wotp {command}` is for installations with a database file, and store.url names a MongoDB"
            ))
            .help("use MongoDB's own tools, as docs/operations.md describes")),
            Err((problem, right)) => Err(Failure::new(problem).help(right)),
        }
    }

    /// The installation, made when it is not there, for one command.
    async fn open_or_create(&self) -> Result<(Loaded, Wired), Failure> {
        // Before the folder is made: a mistake in the configuration leaves nothing behind.
        let loaded = self.load(None)?;
        let folder = DataFolder::create(self.data())?.with_master_key_file(&loaded.config.store.master_key_file);
        let wired = wire(&loaded.config, &folder, Purpose::Command, Vec::new()).await?;
        Ok((loaded, wired))
    }
}

/// Runs the command that the process was started with. Exits with 0 when it did what it should, 1
/// when it failed, 2 when it was called wrongly.
pub fn main() -> ExitCode {
    // Database, log, backups: nothing that we make is for anybody but its owner.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let Cli { global, command } = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return called_wrongly(&error),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::caused("the runtime does not start", error).report(global.json),
    };
    let json = global.json;
    let result = runtime.block_on(run(global, command));
    // A thread that is stuck outside of us must not keep the process.
    runtime.shutdown_background();
    match result {
        Ok(code) => code,
        Err(failure) => failure.report(json),
    }
}

/// Prints help, or what was wrong with the call: as JSON where that was asked for, since nothing was read of it.
fn called_wrongly(error: &clap::Error) -> ExitCode {
    let asked_for = |argument: OsString| argument == "--json";
    if error.use_stderr() && std::env::args_os().skip(1).take_while(|argument| argument != "--").any(asked_for) {
        let said = error.to_string();
        let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
        let what = lines.next().unwrap_or_default().trim_start_matches("error: ");
        _ = Failure::new(what).help(lines.collect::<Vec<_>>().join("\n")).report(true);
    } else {
        // Nobody is left to be told that there is nobody to tell.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

async fn run(global: Global, command: Command) -> Result<ExitCode, Failure> {
    match command {
        Command::Serve(arguments) => serve::run(&global, arguments).await,
        Command::Demo(arguments) => demo::run(&global, arguments).await,
        Command::Tenant(command) => tenant::run(&global, command).await,
        Command::Key(command) => key::run(&global, command).await,
        Command::Audit(command) => audit::run(&global, command).await,
        Command::Node(command) => node::run(&global, command).await,
        Command::Operator(command) => operator::run(&global, command).await,
        Command::User(command) => user::run(&global, command).await,
        #[cfg(feature = "plugins")]
        Command::Plugin(command) => plugin::run(&global, command).await,
        Command::Openapi => openapi::run(&global),
        Command::Config(command) => config::run(&global, command),
        Command::Backup(arguments) => backup::run(&global, arguments),
        Command::Restore(arguments) => restore::run(&global, arguments).await,
        #[cfg(feature = "nodes")]
        Command::MigrateStore(arguments) => migrate_store::run(&global, arguments).await,
        Command::Doctor => doctor::run(&global).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn help_tells_what_happens_to_an_installation() {
        for (command, words) in
            [("backup", "The master key is not in it"), ("restore", "are canceled"), ("migrate-store", "goes on")]
        {
            let mut cli = Cli::command();
            let help = cli.find_subcommand_mut(command).unwrap().render_long_help().to_string();
            assert!(help.contains(words), "{help}");
        }
    }

    #[test]
    fn the_commands_are_put_together_soundly() {
        Cli::command().debug_assert();
    }
}
