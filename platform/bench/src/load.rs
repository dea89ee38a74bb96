//! Load of two kinds, and what came of it.
//!
//! *Closed loop*: so many callers, each with one connection, each calling again as soon as it is
//! answered; tells how much a server can do. *Open loop*: calls fall due at a fixed rate whether or not
//! earlier ones are answered, and each is timed from the moment it was due, so that a server that stalls
//! is charged for all that would have called meanwhile (no "coordinated omission").

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{io, net};

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::api::ApiError;
use crate::client::Client;
use crate::process::{self, Memory, ProcessError};

/// Slowest call that is told from a slower one: one minute, in microseconds.
const SLOWEST_MICROS: u64 = 60_000_000;
/// How long a run may take beyond what it was meant to, until it is given up.
const OVERTIME: Duration = Duration::from_secs(120);
/// Ids of the last verifications kept for a look at their deliveries.
const LAST_KEPT: usize = 8;

/// Why a run has no result.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A connection could not be opened.
    #[error("cannot connect to the server")]
    Connect(#[source] io::Error),
    /// The server's use of the machine cannot be read.
    #[error("the server's costs are not to be had")]
    Usage(#[from] ProcessError),
    /// Every single call failed.
    #[error("no call succeeded, the first failed")]
    NothingDone(#[source] Option<ApiError>),
    /// The server does not answer any more.
    #[error("the run was given up: some call has been waiting for two minutes")]
    Stuck,
}

/// A server under load: where it listens and which process pays for it.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Where it listens.
    pub address: net::SocketAddr,
    /// Whose CPU time and memory are counted.
    pub pid: u32,
    /// Servers that work for it, whose CPU time is counted too.
    pub beside: [Option<Beside>; 2],
}

/// A server beside the one under load.
#[derive(Debug, Clone, Copy)]
pub struct Beside {
    /// What it is called in the report.
    pub name: &'static str,
    /// Its process.
    pub pid: u32,
}

/// How long callers go on.
#[derive(Debug, Clone, Copy)]
pub enum Bound {
    /// Until this time is over.
    For(Duration),
    /// Until this many have been begun by all callers together.
    Count(u64),
}

/// Latencies of one kind.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub fn new() -> Self {
        let histogram = Histogram::new_with_max(SLOWEST_MICROS, 3);
        Self(histogram.expect("a minute in microseconds at three digits is within the bounds"))
    }

    /// Adds one, in microseconds; anything above a minute counts as a minute.
    pub fn add(&mut self, micros: u64) {
        self.0.saturating_record(micros);
    }

    /// Adds all of `other`.
    fn take(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    /// The percentiles, or `None` when nothing was added.
    pub fn summary(&self) -> Option<Summary> {
        let at = |quantile| self.0.value_at_quantile(quantile);
        (!self.0.is_empty()).then(|| Summary {
            count: self.0.len(),
            p50_micros: at(0.50),
            p95_micros: at(0.95),
            p99_micros: at(0.99),
            max_micros: self.0.max(),
        })
    }
}

/// Percentiles of latencies, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// How many there were.
    pub count: u64,
    /// Half took no longer.
    pub p50_micros: u64,
    /// 95 of 100 took no longer.
    pub p95_micros: u64,
    /// 99 of 100 took no longer.
    pub p99_micros: u64,
    /// The slowest.
    pub max_micros: u64,
}

/// A verification that was accepted.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// Its id.
    pub id: String,
    /// Whose turn it was: which key may see it.
    pub turn: usize,
}

/// What callers note down together.
#[derive(Debug)]
pub struct Tally {
    /// Calls or life cycles that did what they should.
    pub done: u64,
    /// Those that did not.
    pub failed: u64,
    /// Why the first of those did not.
    pub first_failure: Option<ApiError>,
    /// Checks that came before the delivery was acknowledged.
    pub early: u64,
    /// Latency of starts.
    pub start: Latencies,
    /// From due to sent, in an open loop: what of the latency is the driver's own doing.
    pub late: Latencies,
    /// Latency of checks.
    pub check: Latencies,
    /// Latency of other calls.
    pub answer: Latencies,
    /// From accepted to handed over to the channel, by the server's own times; sampled.
    pub handover: Latencies,
    /// The last verifications accepted.
    pub last: VecDeque<Accepted>,
    /// Every verification accepted, where that was asked for.
    pub all: Option<Vec<Accepted>>,
}

impl Tally {
    /// Adds what callers of another node noted down.
    fn take(&mut self, other: Self) {
        self.done += other.done;
        self.failed += other.failed;
        self.early += other.early;
        self.first_failure = self.first_failure.take().or(other.first_failure);
        self.start.take(&other.start);
        self.late.take(&other.late);
        self.check.take(&other.check);
        self.answer.take(&other.answer);
        self.handover.take(&other.handover);
    }

    /// Notes a verification that was accepted.
    pub fn accepted(&mut self, one: Accepted) {
        if let Some(all) = &mut self.all {
            all.push(one);
            return;
        }
        if self.last.len() == LAST_KEPT {
            self.last.pop_front();
        }
        self.last.push_back(one);
    }

    /// Notes a failure, and why if it is the first.
    pub fn fail(&mut self, error: ApiError) {
        self.failed += 1;
        self.first_failure.get_or_insert(error);
    }
}

/// The run that callers share: when it ends, and what they note down.
#[derive(Debug)]
pub struct Course {
    end: Option<Instant>,
    left: AtomicU64,
    tally: Mutex<Tally>,
}

impl Course {
    fn new(bound: Bound, keep_all: bool) -> Self {
        let (end, left) = match bound {
            Bound::For(time) => (Some(Instant::now() + time), u64::MAX),
            Bound::Count(count) => (None, count),
        };
        let tally = Tally {
            done: 0,
            failed: 0,
            first_failure: None,
            early: 0,
            start: Latencies::new(),
            late: Latencies::new(),
            check: Latencies::new(),
            answer: Latencies::new(),
            handover: Latencies::new(),
            last: VecDeque::with_capacity(LAST_KEPT),
            all: keep_all.then(Vec::new),
        };
        Self { end, left: AtomicU64::new(left), tally: Mutex::new(tally) }
    }

    /// Whether one more may be begun; counts it if so.
    pub fn begin(&self) -> bool {
        match self.end {
            Some(end) => Instant::now() < end,
            None => self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok(),
        }
    }

    /// The notes. Never held across an `await`.
    pub fn tally(&self) -> MutexGuard<'_, Tally> {
        // A caller that panicked has ruined its own note only; the run fails by its join error anyway.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn into_tally(self: Arc<Self>) -> Option<Tally> {
        let course = Arc::into_inner(self)?;
        Some(course.tally.into_inner().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What a run came to.
#[derive(Debug)]
pub struct Run {
    /// From the first call to the last reply.
    pub wall: Duration,
    /// CPU time of the server meanwhile.
    pub server_cpu: Duration,
    /// CPU time of the servers beside it meanwhile, by their names.
    pub beside_cpu: BTreeMap<&'static str, Duration>,
    /// CPU time of this driver meanwhile: it takes the same cores.
    pub driver_cpu: Duration,
    /// Memory of the server at the end.
    pub memory: Memory,
    /// What the callers noted down.
    pub tally: Tally,
}

impl Run {
    /// This run and another that went on at the same time, on another node of the same installation.
    pub fn and(mut self, other: Self) -> Self {
        self.wall = self.wall.max(other.wall);
        self.server_cpu += other.server_cpu;
        // Both have counted the same servers and the same driver.
        self.driver_cpu = self.driver_cpu.max(other.driver_cpu);
        for (name, cpu) in other.beside_cpu {
            let both = self.beside_cpu.entry(name).or_default();
            *both = cpu.max(*both);
        }
        self.memory.resident_bytes += other.memory.resident_bytes;
        self.memory.peak_bytes += other.memory.peak_bytes;
        self.tally.take(other.tally);
        self
    }
}

/// Runs `callers` of them, each over a connection of its own, until `bound`, then `after` once, and says
/// what all of it together took.
///
/// `after` is where work that replies did not wait for is waited for, so that it is paid for.
///
/// # Errors
/// [`LoadError`].
pub async fn closed<C, F, A>(
    target: Target,
    callers: usize,
    bound: Bound,
    mut caller: C,
    after: A,
) -> Result<Run, LoadError>
where
    C: FnMut(Client, Arc<Course>) -> F,
    F: Future<Output = ()> + Send + 'static,
    A: AsyncFnOnce(&[Accepted]) -> Result<(), ApiError>,
{
    let clients = connect(target, callers).await?;
    let before = Costs::read(target)?;
    let course = Arc::new(Course::new(bound, false));
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(caller(client, Arc::clone(&course)));
    }
    let planned = match bound {
        Bound::For(time) => time,
        Bound::Count(_) => Duration::ZERO,
    };
    finish(running, planned).await?;
    let last: Vec<Accepted> = course.tally().last.iter().cloned().collect();
    if let Err(error) = after(&last).await {
        course.tally().fail(error);
    }
    before.until_now(target, course)
}

/// Lets calls fall due `per_second` times a second for `time`, each made by whichever of `connections`
/// is free first. `call` gets the moment its call was due, to measure from. Keeps all ids.
///
/// # Errors
/// [`LoadError`].
pub async fn open<C, F>(
    target: Target,
    connections: usize,
    per_second: f64,
    time: Duration,
    mut caller: C,
) -> Result<Run, LoadError>
where
    C: FnMut(Client, Arc<Course>, Due) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let clients = connect(target, connections).await?;
    let before = Costs::read(target)?;
    let course = Arc::new(Course::new(Bound::For(time), true));
    let due = Due(Arc::new(tokio::sync::Mutex::new(pace(per_second, time))));
    let mut running = JoinSet::new();
    for client in clients {
        running.spawn(caller(client, Arc::clone(&course), due.clone()));
    }
    drop(due);
    finish(running, time).await?;
    before.until_now(target, course)
}

/// Calls that have fallen due.
#[derive(Debug, Clone)]
pub struct Due(Arc<tokio::sync::Mutex<UnboundedReceiver<Instant>>>);

impl Due {
    /// When the next call was due, once it is; `None` when no more will be.
    pub async fn next(&self) -> Option<Instant> {
        self.0.lock().await.recv().await
    }
}

/// Moments that fall due, `per_second` a second for `time`.
///
/// From a thread of its own, because the runtime's timer knows whole milliseconds only: it would make
/// bursts out of an even rate and charge the server for them.
#[expect(clippy::disallowed_methods, reason = "this is load in real time: the pace is the product")]
pub fn pace(per_second: f64, time: Duration) -> UnboundedReceiver<Instant> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        let begin = Instant::now();
        let count = (per_second * time.as_secs_f64()) as u64;
        for nth in 0..count {
            let due = begin + Duration::from_secs_f64(nth as f64 / per_second);
            let ahead = due.saturating_duration_since(Instant::now());
            if !ahead.is_zero() {
                std::thread::sleep(ahead);
            }
            if sender.send(due).is_err() {
                return;
            }
        }
    });
    receiver
}

async fn connect(target: Target, count: usize) -> Result<Vec<Client>, LoadError> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        clients.push(Client::connect(target.address).await.map_err(LoadError::Connect)?);
    }
    Ok(clients)
}

async fn finish(running: JoinSet<()>, planned: Duration) -> Result<(), LoadError> {
    // `join_all` passes a caller's panic on, so that no run with a hole in it is taken for a result.
    timeout(planned + OVERTIME, running.join_all()).await.map_err(|_| LoadError::Stuck)?;
    Ok(())
}

struct Costs {
    at: Instant,
    server: Duration,
    beside: BTreeMap<&'static str, Duration>,
    driver: Duration,
}

impl Costs {
    fn read(target: Target) -> Result<Self, LoadError> {
        let server = process::cpu(target.pid)?;
        let beside = target.beside.into_iter().flatten();
        let beside =
            beside.map(|Beside { name, pid }| Ok((name, process::cpu(pid)?))).collect::<Result<_, LoadError>>()?;
        let driver = process::cpu(std::process::id())?;
        Ok(Self { at: Instant::now(), server, beside, driver })
    }

    fn until_now(self, target: Target, course: Arc<Course>) -> Result<Run, LoadError> {
        let now = Self::read(target)?;
        let tally = course.into_tally().expect("every caller has been joined and dropped its share");
        if tally.done == 0 {
            return Err(LoadError::NothingDone(tally.first_failure));
        }
        Ok(Run {
            wall: now.at - self.at,
            server_cpu: now.server - self.server,
            beside_cpu: now.beside.into_iter().map(|(name, cpu)| (name, cpu - self.beside[name])).collect(),
            driver_cpu: now.driver - self.driver,
            memory: process::memory(target.pid)?,
            tally,
        })
    }
}

/// Microseconds since `begin`.
pub fn micros_since(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_what_was_added() {
        let mut latencies = Latencies::new();
        assert_eq!(latencies.summary(), None);
        for micros in 1..=1000 {
            latencies.add(micros);
        }
        let summary = latencies.summary().unwrap();
        assert_eq!((summary.count, summary.p50_micros, summary.p99_micros), (1000, 500, 990));
        latencies.add(SLOWEST_MICROS * 10);
        assert!(latencies.summary().unwrap().max_micros >= SLOWEST_MICROS);
    }

    #[test]
    fn two_runs_at_once_add_up_but_for_what_both_have_counted() {
        let run = |done, wall| {
            let course = Course::new(Bound::Count(0), false);
            course.tally().done = done;
            course.tally().start.add(done);
            Run {
                wall: Duration::from_secs(wall),
                server_cpu: Duration::from_secs(1),
                beside_cpu: BTreeMap::from([("mongod", Duration::from_secs(wall))]),
                driver_cpu: Duration::from_secs(wall),
                memory: Memory { resident_bytes: 10, peak_bytes: 20 },
                tally: Arc::new(course).into_tally().unwrap(),
            }
        };
        let both = run(30, 3).and(run(50, 4));
        assert_eq!((both.wall, both.server_cpu), (Duration::from_secs(4), Duration::from_secs(2)));
        assert_eq!((both.beside_cpu["mongod"], both.driver_cpu), (Duration::from_secs(4), Duration::from_secs(4)));
        assert_eq!((both.tally.done, both.memory.resident_bytes), (80, 20));
        assert_eq!(both.tally.start.summary().map(|start| (start.count, start.max_micros)), Some((2, 50)));
    }

    #[test]
    fn a_count_is_begun_exactly_as_often_by_racing_callers() {
        let course = Arc::new(Course::new(Bound::Count(1000), false));
        let begun: u64 = std::thread::scope(|scope| {
            let count = || (0..).take_while(|_: &u64| course.begin()).count() as u64;
            let callers: Vec<_> = (0..4).map(|_| scope.spawn(count)).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).sum()
        });
        assert_eq!(begun, 1000);
    }

    #[tokio::test]
    async fn calls_fall_due_at_the_rate_whether_or_not_anyone_takes_them() {
        let mut due = pace(2000.0, Duration::from_millis(100));
        let first = due.recv().await.unwrap();
        let mut count = 1;
        let mut last = first;
        while let Some(next) = due.recv().await {
            count += 1;
            last = next;
        }
        assert_eq!(count, 200);
        // Due when the rate says, not when the thread happened to wake up.
        assert_eq!((last - first).as_micros(), 99_500);
    }
}
