//! The Redis queue: from ring to worker, a million waiting, and what finished rings leave behind.
//!
//! Three processes: this one rings, another hears, and Redis is between them.

mod ring;
mod server;
mod stand;
mod worker;

use std::io;
use std::time::Duration;

use wotp_store::queue::RedisQueue;
use wotp_store::redis::{Redis, RedisError};

use crate::load::{Bound, Summary};
use crate::process::ProcessError;
use crate::report::{Figure, Goal, Measured, Section};
use crate::stand::progress;
use crate::suite::{Plan, failures, handover_latency, micros, middle, note_failures, spread, start_latency};
use server::Bare;
pub use stand::Doorbell;
use stand::Stand;
pub use worker::run as hear;

/// What the names of keys begin with.
const PREFIX: &str = "bench";
/// Callers that ring at once.
const CALLERS: usize = 64;
/// Rings a second that count as idle.
const IDLE_PER_SECOND: f64 = 100.0;
/// An idle run is so many times as long as the others: it has few rings.
const IDLE_TIMES: u32 = 3;

/// Why this part has no result.
#[derive(Debug, thiserror::Error)]
pub enum PartError {
    /// Redis does not start.
    #[error("redis-server cannot be run: {0}")]
    Start(String),
    /// Redis refused a command of ours.
    #[error("Redis does not answer as it should")]
    Redis(#[from] redis::RedisError),
    /// The queue cannot be had.
    #[error("the queue cannot be had")]
    Queue(#[from] RedisError),
    /// The worker's process.
    #[error("the worker's process: {0}")]
    Worker(String),
    /// A pipe or the program of a process.
    #[error("a process cannot be started or talked to")]
    Io(#[from] io::Error),
    /// Something was said that is not understood.
    #[error("this is not understood: {0}")]
    Told(String),
    /// Rings are missing.
    #[error("{count} rings were not all heard within {within:?}")]
    NotHeard {
        /// How many were rung.
        count: u64,
        /// How long it was waited.
        within: Duration,
    },
    /// What a process uses cannot be read.
    #[error("what a process uses is not to be had")]
    Usage(#[from] ProcessError),
}

fn queue_at(url: &str) -> Result<RedisQueue, PartError> {
    Ok(RedisQueue::new(Redis::at(url, Some(PREFIX))?))
}

/// Measures the queue.
///
/// # Errors
/// [`PartError`]; the processes started for it are gone.
pub async fn measure(plan: &Plan) -> Result<Section, PartError> {
    let mut section = Section::new(
        "queue",
        "The Redis queue: one process rings, another hears by the apalis worker of a node, Redis between them",
        &[
            "",
            "rings/s (min–max)",
            "Redis CPU",
            "worker CPU",
            "driver CPU",
            "taken p50",
            "p99",
            "to worker p50",
            "p95",
            "p99",
            "max",
            "late p99",
            "done",
            "failed",
        ],
    );
    section
        .notes
        .push("each ring is timed from when it was due; \"late\" is what passed until the driver sent it".to_owned());
    rates(plan, &mut section).await?;
    backlog(plan, &mut section).await?;
    note_failures(&mut section);
    Ok(section)
}

/// The bare limit, the highest rate, and from ring to worker without load and at half of it.
async fn rates(plan: &Plan, section: &mut Section) -> Result<(), PartError> {
    let time = plan.time();
    let mut stand = Stand::start().await?;
    stand.start_worker()?;
    progress("warming up");
    stand.closed("ring", 0, Bound::For(time)).await?;
    let (mut xadd, mut both, mut most) = (Vec::new(), Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        xadd.push(stand.bare("bare xadd", Bare::Xadd, round, time).await?);
        both.push(stand.bare("bare evalsha and xadd", Bare::ScriptAndXadd, round, time).await?);
        most.push(stand.closed("ring", round, Bound::For(time)).await?);
    }
    let rate = middle(&most, |run| run.per_second) / 2.0;
    let (mut idle, mut half) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        idle.push(stand.open("ring, idle", round, IDLE_PER_SECOND, time * IDLE_TIMES).await?);
        half.push(stand.open("ring at half", round, rate, time).await?);
    }
    stand.end_worker().await?;
    for (name, runs) in [
        (format!("bare: XADD, {CALLERS} callers"), &xadd),
        (format!("bare: EVALSHA, XADD, {CALLERS} callers"), &both),
        (format!("rung and heard, {CALLERS} callers"), &most),
        (format!("idle: {IDLE_PER_SECOND} a second"), &idle),
        (format!("half load: {rate:.0} a second"), &half),
    ] {
        row(section, name, runs);
    }
    let of_bare =
        |bare: &[Measured]| spread(most.iter().zip(bare).map(|(ours, bare)| ours.per_second / bare.per_second)).show(2);
    section.notes.push(format!(
        "rung and heard is {} of bare XADD, {} of bare EVALSHA and XADD",
        of_bare(&xadd),
        of_bare(&both)
    ));
    for (name, runs) in [("idle".to_owned(), &idle), (format!("at half load ({rate:.0}/s)"), &half)] {
        section.figures.push(Figure::new(
            &format!("Redis queue: from ring to worker {name}, p99"),
            Goal::AtMost(5.0),
            spread(runs.iter().map(|run| handover_latency(run, |s| s.p99_micros) / 1e3)),
            "ms",
            failures(runs) == 0,
        ));
    }
    section.runs.extend([xadd, both, most, idle, half].into_iter().flatten());
    Ok(())
}

/// Many rings that wait, that are drained, and others after them.
async fn backlog(plan: &Plan, section: &mut Section) -> Result<(), PartError> {
    // Another server: what the runs before did to it is not to be told from what these do.
    let mut stand = Stand::start().await?;
    let empty = stand.server.used_memory().await?;

    let mut filled = stand.fill("ring, nobody hears", plan.rings).await?;
    let (waiting, stream) = (stand.server.used_memory().await?, stand.server.stream_memory().await?);
    note_memory(&mut filled, waiting, Some(stream));

    let mut drained = stand.drain("drained", filled.done).await?;
    let after_drain = stand.server.used_memory().await?;
    note_memory(&mut drained, after_drain, None);

    let mut more = stand.closed("ring, after them", 1, Bound::Count(plan.rings_after)).await?;
    let after_more = stand.server.used_memory().await?;
    note_memory(&mut more, after_more, None);
    stand.end_worker().await?;
    let at_end = stand.server.used_memory().await?;

    row(section, format!("{} rung, nobody hears", filled.done), std::slice::from_ref(&filled));
    row(section, "  then drained".to_owned(), std::slice::from_ref(&drained));
    row(section, format!("  then {} rung and heard", more.done), std::slice::from_ref(&more));
    let per = |bytes: f64, count: u64| spread([bytes / count as f64]);
    let grown = |from: u64, to: u64| to as f64 - from as f64;
    let clean = |run: &Measured| run.failed == 0;
    let halves = drained.doorbell.as_ref().and_then(|doorbell| doorbell.halves);
    let (first, second) = halves.unwrap_or((f64::NAN, f64::NAN));
    section.notes.push(format!("drained at {first:.0}/s in the first half, {second:.0}/s in the second"));
    section.notes.push(format!(
        "used_memory: {empty} bytes empty, {waiting} with {} waiting (the stream alone, by MEMORY USAGE: {stream}), \
         {after_drain} drained, {after_more} after {} more, {at_end} without a worker",
        filled.done, more.done
    ));
    let resident = |run: &Measured| run.doorbell.as_ref().and_then(|doorbell| doorbell.worker_resident_bytes);
    if let (Some(drained), Some(more)) = (resident(&drained), resident(&more)) {
        section.notes.push(format!("the worker's process: {drained} bytes resident drained, {more} after those"));
    }
    section.figures.extend([
        Figure::new(
            &format!("Redis queue: {} rings drained, second half's rate of the first's", filled.done),
            Goal::AtLeast(0.9),
            spread([second / first]),
            "",
            clean(&drained),
        ),
        Figure::new(
            "Redis queue: memory of a waiting ring",
            Goal::AtMost(300.0),
            per(grown(empty, waiting), filled.done),
            "bytes",
            clean(&filled),
        ),
        Figure::new(
            "Redis queue: memory that a finished ring leaves",
            Goal::AtMost(1.0),
            per(grown(after_drain, after_more), more.done),
            "bytes",
            clean(&more),
        ),
    ]);
    section.runs.extend([filled, drained, more]);
    Ok(())
}

fn note_memory(run: &mut Measured, used: u64, stream: Option<u64>) {
    if let Some(doorbell) = &mut run.doorbell {
        doorbell.used_memory_bytes = Some(used);
        doorbell.stream_bytes = stream;
    }
}

fn row(section: &mut Section, name: String, runs: &[Measured]) {
    let heard = |value: fn(Summary) -> u64| micros(middle(runs, |run| handover_latency(run, value)));
    let taken = |value: fn(Summary) -> u64| micros(middle(runs, |run| start_latency(run, value)));
    let worker = |run: &Measured| run.doorbell.as_ref().and_then(|d| d.worker_cpu_micros).unwrap_or(f64::NAN);
    section.table.row([
        name,
        spread(runs.iter().map(|run| run.per_second)).show(0),
        cpu(middle(runs, |run| run.server_cpu_micros)),
        cpu(middle(runs, worker)),
        cpu(middle(runs, |run| run.driver_cpu_micros)),
        taken(|s| s.p50_micros),
        taken(|s| s.p99_micros),
        heard(|s| s.p50_micros),
        heard(|s| s.p95_micros),
        heard(|s| s.p99_micros),
        heard(|s| s.max_micros),
        micros(middle(runs, |run| run.late.map_or(f64::NAN, |s| s.p99_micros as f64))),
        runs.iter().map(|run| run.done).sum::<u64>().to_string(),
        failures(runs).to_string(),
    ]);
}

/// A ring costs a few microseconds: their tenths say how many rings a core can take.
fn cpu(micros: f64) -> String {
    if micros.is_nan() { "–".to_owned() } else { format!("{micros:.1} µs") }
}
