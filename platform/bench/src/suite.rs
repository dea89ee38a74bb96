//! Which runs make up the report, and in what order.
//!
//! A ratio is only as good as its two halves are neighbours: a machine grows hot, a disk gets busy. So
//! runs of the bare server and of the platform alternate, a ratio is formed within each round, and the
//! median of the rounds is the figure.

mod analytics;
mod hostile;
mod nodes;
mod people;
mod plugins;
mod sizes;
mod values;
mod webhooks;
mod whatsapp;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::api::ApiError;
use crate::load::{Bound, LoadError, Summary};
use crate::number::Numbers;
use crate::plugins::{PluginsError, Provider};
use crate::preload::PreloadError;
use crate::process::{self, ProcessError};
use crate::queue;
use crate::report::{Figure, Goal, Measured, Section};
use crate::rollups::SeedError;
use crate::scenario::{self, Callers, Mode};
use crate::stand::{Pair, Side, Stand, StandError, progress, target, wait_until_ready};
use crate::webhooks::WebhookError;
use crate::whatsapp::WhatsAppError;
use values::{check_latency, clean, early, measured, megabytes, ratios, whole};
pub use values::{failures, handover_latency, micros, middle, note_failures, spread, start_latency};

/// The level at which the issue asks for its figures.
const REFERENCE_CALLERS: usize = 64;
/// First time between a start and its check, raised when deliveries take longer.
const SETTLE: Duration = Duration::from_millis(25);
/// Longest time between a start and its check.
const LONGEST_SETTLE: Duration = Duration::from_millis(400);
/// How long a server is left alone before its idle memory is read.
const IDLE: Duration = Duration::from_secs(1);
/// What a column of that name holds.
const EARLY: &str = "early: checks that came before their delivery, which then cost less; a figure over a run with more \
                     than one in 200 is missed";

/// A part of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The bare limit by itself, without the platform; only when asked for.
    Bare,
    /// Starts against the bare limit.
    Start,
    /// Whole life cycles against the bare limit.
    Lifecycle,
    /// From accepted to handed over at half load.
    Handover,
    /// Cost with much already stored.
    Sizes,
    /// Time to ready, idle memory, size of the binary.
    Cold,
    /// Starts and life cycles of a node over MongoDB and Redis, against a bare server on the same MongoDB.
    Shared,
    /// Two nodes against one.
    Nodes,
    /// The Redis queue: from ring to worker, and a backlog.
    Queue,
    /// Starts beside people who log in.
    Logins,
    /// Whether answers tell who has an account by how long they take.
    Answers,
    /// From an event to the requests at endpoints, some of which hang.
    Webhooks,
    /// Analytics of a tenant with a million verifications.
    Analytics,
    /// Deliveries through plugins against channels that are built in, and plugins loaded anew.
    Plugins,
    /// Tenants beside plugins that misbehave.
    Hostile,
    /// Sessions of WhatsApp.
    #[value(name = "whatsapp")]
    #[serde(rename = "whatsapp")]
    WhatsApp,
}

/// How the report is made.
#[derive(Debug, Clone, Serialize)]
pub struct Plan {
    /// The binary of the platform.
    pub wotp: PathBuf,
    /// The same without MongoDB, Redis, plugins and WhatsApp.
    pub embedded: Option<PathBuf>,
    /// Where data folders are made, and removed afterwards.
    pub scratch: PathBuf,
    /// Seconds of each run.
    pub seconds: f64,
    /// Repetitions of each run.
    pub rounds: usize,
    /// Starts per second of the open loop, instead of half of the most that was measured.
    pub rate: Option<f64>,
    /// Levels of callers.
    pub callers: Vec<usize>,
    /// Life cycles of each run over a stored size.
    pub life_cycles: u64,
    /// Verifications stored beforehand.
    pub sizes: Vec<u64>,
    /// Tenants they are spread over.
    pub tenants: Vec<u32>,
    /// Tenants of an installation that nodes share.
    pub shared_tenants: usize,
    /// Cold starts.
    pub cold_starts: usize,
    /// Rings that wait in the queue before anyone hears them.
    pub rings: u64,
    /// Rings after those.
    pub rings_after: u64,
    /// Verifications that analytics are asked about.
    pub counted: u64,
    /// Where the components of plugins are.
    pub components: Option<PathBuf>,
    /// Deliveries through a plugin that calls nobody.
    pub plugin_deliveries: u64,
    /// Plugins that are installed.
    pub plugins: usize,
    /// Providers whose plugins are compared with what is built in.
    pub providers: Vec<Provider>,
    /// Where the programs are that are built beside the double of WhatsApp.
    pub whatsapp: Option<PathBuf>,
    /// Sessions of WhatsApp in one process.
    pub sessions: usize,
}

impl Plan {
    /// How long each run goes on.
    pub fn time(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    /// Where the components of plugins are.
    fn components(&self) -> Result<PathBuf, PluginsError> {
        self.components.clone().ok_or(PluginsError::NoComponents)
    }

    /// The level the figures are taken at: 64 callers, or the nearest there is.
    fn reference(&self) -> usize {
        let distance = |callers: &usize| callers.abs_diff(REFERENCE_CALLERS);
        self.callers.iter().copied().min_by_key(distance).unwrap_or(REFERENCE_CALLERS)
    }
}

/// Why a part of the report is missing.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// There is nothing to measure on.
    #[error("there is nothing to measure on")]
    Stand(#[from] StandError),
    /// A run has no result.
    #[error("a run of {subject} has no result")]
    Load {
        /// What was run.
        subject: String,
        /// Why.
        source: LoadError,
    },
    /// A call beside the runs failed.
    #[error("a call beside the measured ones failed")]
    Api(#[from] ApiError),
    /// A store cannot be filled.
    #[error("a store cannot be filled")]
    Preload(#[from] PreloadError),
    /// A file, or something else of the system.
    #[error("the system does not do what a part needs")]
    File(#[from] io::Error),
    /// MongoDB does not say how much it stores.
    #[error("the size of what is stored is not to be had")]
    Stored(#[from] mongodb::error::Error),
    /// What a process uses cannot be read.
    #[error("what a server uses is not to be had")]
    Usage(#[from] ProcessError),
    /// Rollups cannot be stored.
    #[error("what analytics are asked about cannot be stored")]
    Seed(#[from] SeedError),
    /// Webhooks cannot be measured.
    #[error("webhooks cannot be measured")]
    Webhooks(#[from] WebhookError),
    /// Plugins cannot be measured.
    #[error("plugins cannot be measured")]
    Plugins(#[from] PluginsError),
    /// Sessions of WhatsApp cannot be measured.
    #[error("sessions of WhatsApp cannot be measured")]
    WhatsApp(#[from] WhatsAppError),
    /// The queue cannot be measured.
    #[error("the queue cannot be measured")]
    Queue(#[from] queue::PartError),
}

/// Runs parts of the report, and carries what one part learns to the next.
#[derive(Debug)]
pub struct Suite {
    plan: Plan,
    stand: Stand,
    numbers: Arc<Numbers>,
    /// Most starts per second seen so far.
    max_starts: Option<f64>,
}

impl Suite {
    /// Nothing has been run yet.
    pub fn new(plan: Plan) -> Self {
        let stand = Stand { wotp: plan.wotp.clone(), scratch: plan.scratch.clone() };
        Self { plan, stand, numbers: Arc::new(Numbers::for_load()), max_starts: None }
    }

    /// Runs one part.
    ///
    /// # Errors
    /// [`SuiteError`]; servers started for it are gone.
    pub async fn run(&mut self, part: Part) -> Result<Section, SuiteError> {
        match part {
            Part::Bare => self.bare().await,
            Part::Start => self.start().await,
            Part::Lifecycle => self.life_cycle().await,
            Part::Handover => self.handover().await,
            Part::Sizes => self.sizes().await,
            Part::Cold => self.cold().await,
            Part::Shared => self.shared().await,
            Part::Nodes => self.nodes().await,
            Part::Queue => Ok(queue::measure(&self.plan).await?),
            Part::Logins => self.logins().await,
            Part::Answers => self.answers().await,
            Part::Webhooks => self.webhooks().await,
            Part::Analytics => self.analytics().await,
            Part::Plugins => self.plugins().await,
            Part::Hostile => self.hostile().await,
            Part::WhatsApp => self.whatsapp().await,
        }
    }

    async fn bare(&mut self) -> Result<Section, SuiteError> {
        let folder = self.stand.folder()?;
        let server = self.stand.serve_bare(folder.path())?;
        let side = Side { target: target(&server), keys: Arc::default(), delivers: false };
        let mut section = Section::new(
            "bare",
            "The bare limit: the same JSON parsed, one group-committed insert",
            &["callers", "bare/s (min–max)", "CPU", "driver CPU", "p50", "p95", "p99", "max", "failed"],
        );
        self.starts(&side, "bare", self.plan.reference(), 0).await?;
        for &count in &self.plan.callers {
            let mut runs = Vec::new();
            for round in 1..=self.plan.rounds {
                runs.push(self.starts(&side, "bare", count, round).await?);
            }
            section.table.row([
                count.to_string(),
                spread(runs.iter().map(|run| run.per_second)).show(0),
                micros(middle(&runs, |run| run.server_cpu_micros)),
                micros(middle(&runs, |run| run.driver_cpu_micros)),
                micros(middle(&runs, |run| start_latency(run, |s| s.p50_micros))),
                micros(middle(&runs, |run| start_latency(run, |s| s.p95_micros))),
                micros(middle(&runs, |run| start_latency(run, |s| s.p99_micros))),
                micros(middle(&runs, |run| start_latency(run, |s| s.max_micros))),
                failures(&runs).to_string(),
            ]);
            section.runs.extend(runs);
        }
        note_failures(&mut section);
        Ok(section)
    }

    async fn start(&mut self) -> Result<Section, SuiteError> {
        let pair = self.warm_pair().await?;
        let mut section = Section::new(
            "start",
            "Starts per second (each counted once its delivery is through), against one group-committed insert",
            &[
                "callers",
                "bare/s",
                "wotp/s",
                "ratio (min–max)",
                "bare CPU",
                "wotp CPU",
                "driver CPU",
                "bare p50",
                "p99",
                "wotp p50",
                "p95",
                "p99",
                "max",
                "resident",
                "failed",
            ],
        );
        for &count in &self.plan.callers {
            let mut bare = Vec::new();
            let mut ours = Vec::new();
            for round in 1..=self.plan.rounds {
                bare.push(self.starts(&pair.bare, "bare", count, round).await?);
                ours.push(self.starts(&pair.live, "start", count, round).await?);
            }
            let rate = |run: &Measured| run.per_second;
            let ratio = ratios(&ours, &bare, rate);
            section.table.row([
                count.to_string(),
                whole(&bare, rate),
                whole(&ours, rate),
                ratio.show(2),
                micros(middle(&bare, |run| run.server_cpu_micros)),
                micros(middle(&ours, |run| run.server_cpu_micros)),
                micros(middle(&ours, |run| run.driver_cpu_micros)),
                micros(middle(&bare, |run| start_latency(run, |s| s.p50_micros))),
                micros(middle(&bare, |run| start_latency(run, |s| s.p99_micros))),
                micros(middle(&ours, |run| start_latency(run, |s| s.p50_micros))),
                micros(middle(&ours, |run| start_latency(run, |s| s.p95_micros))),
                micros(middle(&ours, |run| start_latency(run, |s| s.p99_micros))),
                micros(middle(&ours, |run| start_latency(run, |s| s.max_micros))),
                megabytes(middle(&ours, |run| run.memory.resident_bytes as f64)),
                failures(&ours).to_string(),
            ]);
            if count == self.plan.reference() {
                section.figures.push(Figure::new(
                    &format!("start throughput at {count} callers, of the bare limit"),
                    Goal::AtLeast(0.6),
                    ratio,
                    "",
                    failures(&ours) == 0,
                ));
            }
            let best = middle(&ours, rate);
            self.max_starts = Some(self.max_starts.map_or(best, |most| most.max(best)));
            section.runs.extend(bare.into_iter().chain(ours));
        }
        note_failures(&mut section);
        Ok(section)
    }

    async fn life_cycle(&mut self) -> Result<Section, SuiteError> {
        let pair = self.warm_pair().await?;
        let mut section = Section::new(
            "lifecycle",
            "Whole life cycles: start, delivered through the console channel, checked",
            &[
                "callers",
                "key",
                "cycles/s",
                "CPU per 1,000",
                "CPU / bare (min–max)",
                "driver CPU",
                "start p50",
                "p95",
                "p99",
                "check p50",
                "p95",
                "p99",
                "handover p50",
                "p99",
                "resident",
                "early",
                "failed",
            ],
        );
        section.notes.push(EARLY.to_owned());
        if pair.mode == Mode::WrongCode {
            section.notes.push(
                "the platform did not allow own codes: live life cycles end with a counted wrong check".to_owned(),
            );
        }
        for &count in &self.plan.callers {
            let mut bare = Vec::new();
            let mut live = Vec::new();
            let mut test = Vec::new();
            for round in 1..=self.plan.rounds {
                bare.push(self.starts(&pair.bare, "bare", count, round).await?);
                let bound = Bound::For(self.plan.time());
                live.push(self.cycles(&pair.live, pair.mode, count, round, bound).await?);
                test.push(self.cycles(&pair.test, Mode::TestKey, count, round, bound).await?);
            }
            for (key, runs) in [("live", &live), ("test", &test)] {
                let cost = ratios(runs, &bare, |run| run.server_cpu_micros);
                section.table.row([
                    count.to_string(),
                    key.to_owned(),
                    whole(runs, |run| run.per_second),
                    format!("{:.3} s", middle(runs, |run| run.server_cpu_micros) / 1e3),
                    cost.show(2),
                    micros(middle(runs, |run| run.driver_cpu_micros)),
                    micros(middle(runs, |run| start_latency(run, |s| s.p50_micros))),
                    micros(middle(runs, |run| start_latency(run, |s| s.p95_micros))),
                    micros(middle(runs, |run| start_latency(run, |s| s.p99_micros))),
                    micros(middle(runs, |run| check_latency(run, |s| s.p50_micros))),
                    micros(middle(runs, |run| check_latency(run, |s| s.p95_micros))),
                    micros(middle(runs, |run| check_latency(run, |s| s.p99_micros))),
                    micros(middle(runs, |run| handover_latency(run, |s| s.p50_micros))),
                    micros(middle(runs, |run| handover_latency(run, |s| s.p99_micros))),
                    megabytes(middle(runs, |run| run.memory.resident_bytes as f64)),
                    early(runs).to_string(),
                    failures(runs).to_string(),
                ]);
                if key == "live" && count == self.plan.reference() {
                    section.figures.push(Figure::new(
                        &format!("server CPU of a life cycle at {count} callers, of a bare request's"),
                        Goal::AtMost(5.0),
                        cost,
                        "",
                        clean(runs),
                    ));
                }
            }
            section.runs.extend(bare.into_iter().chain(live).chain(test));
        }
        note_failures(&mut section);
        Ok(section)
    }

    async fn handover(&mut self) -> Result<Section, SuiteError> {
        let pair = self.warm_pair().await?;
        let rate = match (self.plan.rate, self.max_starts) {
            (Some(rate), _) => rate,
            (None, Some(most)) => most / 2.0,
            (None, None) => {
                let run = self.starts(&pair.live, "start", self.plan.reference(), 0).await?;
                run.per_second / 2.0
            }
        };
        let mut section = Section::new(
            "handover",
            &format!("Accepted to handed over at half of the maximum load: {rate:.0} starts a second, open loop"),
            &["", "p50", "p95", "p99", "max", "CPU", "done", "failed"],
        );
        section.notes.push(
            "bare and start are timed from when each call was due; handover by the platform's own times".to_owned(),
        );
        let mut bare = Vec::new();
        let mut ours = Vec::new();
        for round in 1..=self.plan.rounds {
            progress(&format!("handover: round {round} of {}", self.plan.rounds));
            bare.push(self.at_rate(&pair.bare, "bare at rate", rate, round).await?);
            ours.push(self.at_rate(&pair.live, "start at rate", rate, round).await?);
        }
        type Pick = fn(&Measured) -> Option<Summary>;
        let rows: [(&str, &Vec<Measured>, Pick); 5] = [
            ("bare request", &bare, |run| run.start),
            ("  of it sent late by the driver", &bare, |run| run.late),
            ("wotp start", &ours, |run| run.start),
            ("  of it sent late by the driver", &ours, |run| run.late),
            ("handover", &ours, |run| run.handover),
        ];
        for (name, runs, pick) in rows {
            let at =
                |value: fn(Summary) -> u64| micros(middle(runs, |run| pick(run).map_or(f64::NAN, |s| value(s) as f64)));
            section.table.row([
                name.to_owned(),
                at(|s| s.p50_micros),
                at(|s| s.p95_micros),
                at(|s| s.p99_micros),
                at(|s| s.max_micros),
                micros(middle(runs, |run| run.server_cpu_micros)),
                runs.iter().map(|run| run.done).sum::<u64>().to_string(),
                failures(runs).to_string(),
            ]);
        }
        let clean = failures(&ours) == 0;
        let p99 = |run: &Measured| handover_latency(run, |s| s.p99_micros);
        let against = ours.iter().zip(&bare).map(|(ours, bare)| p99(ours) / start_latency(bare, |s| s.p99_micros));
        section.figures.push(Figure::new(
            "accepted to handed over at half load, p99",
            Goal::AtMost(5.0),
            spread(ours.iter().map(|run| p99(run) / 1e3)),
            "ms",
            clean,
        ));
        section.figures.push(Figure::new(
            "the same, of the bare request's own p99 there",
            Goal::AtMost(3.0),
            spread(against),
            "",
            clean,
        ));
        section.runs.extend(bare.into_iter().chain(ours));
        note_failures(&mut section);
        Ok(section)
    }

    async fn cold(&mut self) -> Result<Section, SuiteError> {
        let folder = self.stand.folder()?;
        let mut section = Section::new("cold", "Cold start on an existing store", &["", "measured (min–max)"]);
        let stored = self.plan.sizes.first().copied().unwrap_or(1000);
        let tenant = self.stand.create_tenant(folder.path())?;
        let server = self.stand.serve(folder.path())?;
        let mode = Stand::ready(&server, std::slice::from_ref(&tenant)).await?;
        let side = Side { target: target(&server), keys: vec![tenant.live_key].into(), delivers: true };
        let run = self.cycles(&side, mode, self.plan.reference(), 0, Bound::Count(stored)).await?;
        section.notes.push(format!("the store holds {stored} finished life cycles"));
        server.stop().await;

        let mut ready = Vec::new();
        let mut resident = Vec::new();
        for nth in 1..=self.plan.cold_starts {
            progress(&format!("cold: start {nth} of {}", self.plan.cold_starts));
            let begin = Instant::now();
            let server = self.stand.serve(folder.path())?;
            wait_until_ready(server.address()).await?;
            ready.push(begin.elapsed().as_secs_f64() * 1e3);
            sleep(IDLE).await;
            let memory = process::memory(server.pid())?;
            resident.push(memory.resident_bytes as f64 / 1e6);
            server.stop().await;
        }
        let size = |binary: &Path| fs::metadata(binary).map(|file| spread([file.len() as f64 / 1e6]));
        let (ready, resident) = (spread(ready), spread(resident));
        section.table.row(["spawned to ready".to_owned(), format!("{} ms", ready.show(1))]);
        section.table.row(["idle memory".to_owned(), format!("{} MB", resident.show(1))]);
        section.table.row(["memory after that load".to_owned(), megabytes(run.memory.resident_bytes as f64)]);
        section.table.row(["binary".to_owned(), format!("{:.1} MB", size(&self.plan.wotp)?.median)]);
        section.figures.extend([
            Figure::new("ready on an existing store", Goal::AtMost(300.0), ready, "ms", true),
            Figure::new("idle memory", Goal::AtMost(40.0), resident, "MB", true),
        ]);
        if let Some(embedded) = &self.plan.embedded {
            let size = size(embedded)?;
            section.table.row(["binary without cargo features".to_owned(), format!("{:.1} MB", size.median)]);
            let name = "release binary without cargo features";
            section.figures.push(Figure::new(name, Goal::AtMost(30.0), size, "MB", true));
        }
        if self.plan.wotp.components().any(|part| part.as_os_str() == "debug") {
            section.notes.push("this looks like a debug build: its figures mean nothing".to_owned());
        }
        section.runs.push(run);
        note_failures(&mut section);
        Ok(section)
    }

    async fn starts(&self, side: &Side, subject: &str, count: usize, round: usize) -> Result<Measured, SuiteError> {
        let outcome = scenario::starts(&self.callers(side, count), Bound::For(self.plan.time())).await;
        measured(subject, count, round, outcome)
    }

    /// A run of life cycles. When deliveries come later than their checks, it is made again with more time
    /// between, up to a longest: a figure over it asks whether that was [`clean`].
    async fn cycles(
        &self,
        side: &Side,
        mode: Mode,
        count: usize,
        round: usize,
        bound: Bound,
    ) -> Result<Measured, SuiteError> {
        let subject = match mode {
            Mode::OwnCode => "own_code",
            Mode::WrongCode => "wrong_code",
            Mode::TestKey => "test_key",
        };
        let callers = self.callers(side, count);
        let mut settle = SETTLE;
        loop {
            let outcome = scenario::life_cycles(&callers, mode, settle, bound).await;
            let run = measured(subject, count, round, outcome)?;
            if mode == Mode::TestKey || !run.is_mostly_early() || settle >= LONGEST_SETTLE {
                return Ok(run);
            }
            settle *= 4;
            progress(&format!(
                "{subject}: {} of {} checks came before their delivery; again with {} ms between",
                run.early,
                run.done,
                settle.as_millis()
            ));
        }
    }

    async fn at_rate(&self, side: &Side, subject: &str, rate: f64, round: usize) -> Result<Measured, SuiteError> {
        let callers = self.callers(side, REFERENCE_CALLERS);
        let outcome = scenario::starts_at_rate(&callers, rate, self.plan.time()).await;
        let accepted = outcome.as_ref().ok().and_then(|run| run.tally.all.clone()).unwrap_or_default();
        let mut run = measured(subject, REFERENCE_CALLERS, round, outcome)?;
        if side.delivers {
            run.handover = scenario::handovers(&callers, &accepted).await?;
        }
        Ok(run)
    }

    /// Both servers on fresh folders, warm.
    async fn warm_pair(&self) -> Result<Pair, SuiteError> {
        let pair = self.stand.pair().await?;
        progress("warming up");
        self.starts(&pair.bare, "bare", self.plan.reference(), 0).await?;
        self.starts(&pair.live, "start", self.plan.reference(), 0).await?;
        Ok(pair)
    }

    fn callers(&self, side: &Side, count: usize) -> Callers {
        Callers {
            target: side.target,
            keys: Arc::clone(&side.keys),
            numbers: Arc::clone(&self.numbers),
            count,
            delivers: side.delivers,
        }
    }
}
