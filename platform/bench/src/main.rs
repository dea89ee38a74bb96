//! `wotp-bench`: measures the platform over loopback HTTP, against a bare server in the same run.
//!
//! Prints one table per part and, at the end, every promised figure with its target; writes all runs
//! to a JSON file. Ends with an error when a part could not be measured, not when a figure was missed:
//! a figure depends on the machine, and whoever runs this decides what a miss means.

mod api;
mod bare;
mod client;
mod confine;
mod hashing;
mod load;
mod number;
mod people;
mod plugins;
mod preload;
mod process;
mod queue;
mod report;
mod rollups;
mod scenario;
mod shared;
mod stand;
mod stub;
mod suite;
mod webhooks;
mod whatsapp;

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum as _};
use serde::Serialize;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::plugins::Provider;
use crate::report::{Section, chain, show_figures};
use crate::stand::progress;
use crate::suite::{Part, Plan, Suite};

/// Measures the platform against a bare server in the same run.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Hidden>,
    /// The binary to measure, built with --release.
    #[arg(long, value_name = "FILE", default_value = "target/release/wotp")]
    wotp: PathBuf,
    /// The same, built with `--no-default-features` as well: its size is the one that is bounded.
    #[arg(long, value_name = "FILE")]
    embedded: Option<PathBuf>,
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PART,…")]
    only: Vec<Part>,
    /// Length of each run.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Repetitions; the median is reported.
    #[arg(long, value_name = "COUNT")]
    rounds: Option<usize>,
    /// Starts per second of the open loop, instead of half of the most that was measured.
    #[arg(long, value_name = "PER_SECOND")]
    rate: Option<f64>,
    /// Levels of concurrent callers.
    #[arg(long, value_delimiter = ',', value_name = "COUNT,…", default_value = "1,16,64,256")]
    callers: Vec<usize>,
    /// Where the components of plugins are: the folder that `.ci/guests` prints.
    #[arg(long, value_name = "FOLDER")]
    components: Option<PathBuf>,
    /// Where the programs are that are built beside the double of WhatsApp: `…/whatsapp-double/release`.
    #[arg(long, value_name = "FOLDER")]
    whatsapp: Option<PathBuf>,
    /// One short round, and no million stored: shows that it works, not how well.
    #[arg(long)]
    quick: bool,
    /// Where every run is written.
    #[arg(long, value_name = "FILE", default_value = "target/bench.json")]
    json: PathBuf,
    /// Where data folders are made. On a disk, not in memory: a sync that costs nothing proves nothing.
    #[arg(long, value_name = "FOLDER", default_value = "target/bench")]
    scratch: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// Runs the bare server that an embedded installation is compared with.
    #[command(hide = true)]
    Bare {
        /// Folder of its store.
        #[arg(long)]
        data: PathBuf,
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Runs the bare server that nodes over MongoDB are compared with.
    #[command(hide = true)]
    BareMongo {
        /// URL of its store.
        #[arg(long)]
        store: String,
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Runs a node of the platform with a store in memory.
    #[command(hide = true)]
    StubNode {
        /// Its folder, on a file system in memory.
        #[arg(long)]
        data: PathBuf,
        /// URL of Redis.
        #[arg(long)]
        queue: String,
        /// What its keys in Redis begin with.
        #[arg(long)]
        name: String,
        /// Where it listens.
        #[arg(long)]
        listen: SocketAddr,
    },
    /// Measures deliveries through plugins.
    #[command(hide = true)]
    Plugins {
        /// What is measured, as JSON.
        #[arg(long)]
        order: String,
    },
    /// Compiles a component: standard input to standard output.
    #[command(hide = true)]
    Compile,
    /// Hashes passwords until its input ends.
    #[command(hide = true)]
    Hash {
        /// How many are asked for at once.
        #[arg(long)]
        callers: usize,
    },
    /// Runs a worker that hears rings of a queue.
    #[command(hide = true)]
    Hear {
        /// URL of the queue's server.
        #[arg(long)]
        redis: String,
    },
}

impl Arguments {
    fn plan(&self) -> Plan {
        let quick = self.quick;
        Plan {
            wotp: self.wotp.clone(),
            embedded: self.embedded.clone(),
            scratch: self.scratch.clone(),
            seconds: self.seconds.unwrap_or(if quick { 1.0 } else { 3.0 }),
            rounds: self.rounds.unwrap_or(if quick { 1 } else { 3 }),
            rate: self.rate,
            callers: self.callers.clone(),
            life_cycles: if quick { 2_000 } else { 8_000 },
            sizes: match quick {
                true => vec![1_000, 100_000],
                false => vec![1_000, 100_000, 1_000_000],
            },
            tenants: vec![1, 10_000],
            shared_tenants: if quick { 8 } else { 100 },
            cold_starts: if quick { 2 } else { 5 },
            rings: if quick { 50_000 } else { 1_000_000 },
            rings_after: if quick { 50_000 } else { 200_000 },
            counted: if quick { 10_000 } else { 1_000_000 },
            components: self.components.clone(),
            plugin_deliveries: if quick { 2_000 } else { 1_000_000 },
            plugins: if quick { 4 } else { 100 },
            // What is written in Python takes half a minute to compile.
            providers: match quick {
                true => vec![Provider::TwilioSms, Provider::VonageSms],
                false => Provider::value_variants().to_vec(),
            },
            whatsapp: self.whatsapp.clone(),
            sessions: if quick { 8 } else { 1_000 },
        }
    }

    fn parts(&self) -> Vec<Part> {
        let wanted = |part: &Part| match self.only.as_slice() {
            [] => *part != Part::Bare,
            only => only.contains(part),
        };
        Part::value_variants().iter().copied().filter(wanted).collect()
    }
}

#[derive(Serialize)]
struct Report<'a> {
    plan: &'a Plan,
    cores: usize,
    sections: &'a [Section],
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Hidden::Bare { data, listen }) => beside(bare::serve_sqlite(data, *listen)),
        Some(Hidden::BareMongo { store, listen }) => beside(bare::serve_mongo(store, *listen)),
        Some(Hidden::StubNode { data, queue, name, listen }) => beside(stub::serve(data, queue, name, *listen)),
        Some(Hidden::Plugins { order }) => alone(plugins::Order::measure(order)),
        Some(Hidden::Compile) => Ok(ExitCode::from(plugins::compile())),
        Some(Hidden::Hash { callers }) => beside(hashing::hash(*callers)),
        Some(Hidden::Hear { redis }) => beside(queue::hear(redis)),
        None => run_suite(&arguments),
    };
    match outcome {
        Ok(code) => code,
        Err(text) => {
            let _ = writeln!(io::stderr(), "error: {text}");
            ExitCode::FAILURE
        }
    }
}

/// Runs what is measured beside the driver, on as many threads as a server has.
fn beside<E: Error>(run: impl Future<Output = Result<(), E>>) -> Result<ExitCode, String> {
    on(runtime::Builder::new_multi_thread(), run)
}

/// Runs what is measured on one thread.
fn alone<E: Error>(run: impl Future<Output = Result<(), E>>) -> Result<ExitCode, String> {
    on(runtime::Builder::new_current_thread(), run)
}

fn on<E: Error>(mut threads: runtime::Builder, run: impl Future<Output = Result<(), E>>) -> Result<ExitCode, String> {
    let runtime = threads.enable_all().build();
    let runtime = runtime.map_err(|error| chain(&error))?;
    runtime.block_on(run).map_err(|error| chain(&error))?;
    Ok(ExitCode::SUCCESS)
}

fn run_suite(arguments: &Arguments) -> Result<ExitCode, String> {
    if arguments.rounds == Some(0) || arguments.callers.contains(&0) || arguments.callers.is_empty() {
        return Err("--rounds and --callers take numbers from 1".to_owned());
    }
    if !arguments.seconds.is_none_or(|seconds| (0.05..=600.0).contains(&seconds)) {
        return Err("--seconds takes a number from 0.05 to 600".to_owned());
    }
    if !arguments.rate.is_none_or(|rate| (1.0..=1e6).contains(&rate)) {
        return Err("--rate takes a number from 1 to a million".to_owned());
    }
    // One thread: the driver is not what is measured, and a second would fight the server for its core.
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| chain(&error))?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| chain(&error))?;
        // Whichever way it ends, the servers are dropped, which kills them.
        tokio::select! {
            outcome = measure(arguments) => outcome,
            _ = tokio::signal::ctrl_c() => Err("interrupted".to_owned()),
            _ = terminate.recv() => Err("told to end".to_owned()),
        }
    })
}

async fn measure(arguments: &Arguments) -> Result<ExitCode, String> {
    let plan = arguments.plan();
    let mut suite = Suite::new(plan.clone());
    let mut sections = Vec::new();
    let mut code = ExitCode::SUCCESS;
    for part in arguments.parts() {
        progress(&format!("part {part:?}").to_lowercase());
        match suite.run(part).await {
            Ok(section) => {
                print(&section.show())?;
                sections.push(section);
            }
            Err(error) => {
                print(&format!("\n{part:?}: not measured: {}\n", chain(&error)))?;
                code = ExitCode::FAILURE;
            }
        }
    }
    print(&show_figures(sections.iter().flat_map(|section| &section.figures)))?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let report = Report { plan: &plan, cores, sections: &sections };
    let text = serde_json::to_string_pretty(&report).map_err(|error| chain(&error))?;
    if let Some(folder) = arguments.json.parent() {
        fs::create_dir_all(folder).map_err(|error| chain(&error))?;
    }
    fs::write(&arguments.json, text).map_err(|error| chain(&error))?;
    print(&format!("\nEvery run is in {}\n", arguments.json.display()))?;
    Ok(code)
}

fn print(text: &str) -> Result<(), String> {
    io::stdout().write_all(text.as_bytes()).map_err(|error| chain(&error))
}
