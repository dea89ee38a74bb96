//! What the queue is measured on: Redis, who rings and who hears.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::ring::{Ringer, Rung};
use super::server::{Bare, Server};
use super::worker::{Heard, Worker};
use super::{CALLERS, PartError, queue_at};
use crate::load::Bound;
use crate::process;
use crate::report::Measured;
use crate::stand::progress;

/// How long rings may take until they are heard, beyond the time they were rung in.
const OVERTIME: Duration = Duration::from_secs(120);
/// How long a backlog may take.
const DRAINED_WITHIN: Duration = Duration::from_secs(900);

/// What only runs of a queue have.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Doorbell {
    /// CPU time of the process that hears for each ring, in microseconds; none where nobody hears.
    pub worker_cpu_micros: Option<f64>,
    /// Resident memory of that process at the end.
    pub worker_resident_bytes: Option<u64>,
    /// Rings that were heard more than once.
    pub heard_again: u64,
    /// Rings that were still in Redis at the end of a run that leaves none.
    pub left: u64,
    /// Rings a second over the first half of them and over the second.
    pub halves: Option<(f64, f64)>,
    /// What Redis counts as used memory at the end.
    pub used_memory_bytes: Option<u64>,
    /// What Redis counts for the stream at the end.
    pub stream_bytes: Option<u64>,
}

/// Redis, who rings, and who hears once they are there.
pub struct Stand {
    /// Redis.
    pub server: Server,
    ringer: Ringer,
    worker: Option<Worker>,
}

/// A run that has begun.
struct Begun<'a> {
    subject: &'a str,
    callers: usize,
    round: usize,
    before: Costs,
}

/// What processes had used at a moment.
struct Costs {
    at: Instant,
    redis: Duration,
    worker: Option<Duration>,
    driver: Duration,
}

/// What came of a run.
#[derive(Default)]
struct Came {
    /// From its first ring to the last that counts.
    wall: Duration,
    done: u64,
    rung: Option<Rung>,
    heard: Option<Heard>,
    left: u64,
}

impl Stand {
    /// An empty Redis, and nobody who hears.
    ///
    /// # Errors
    /// [`PartError`].
    pub async fn start() -> Result<Self, PartError> {
        let server = Server::start().await?;
        let ringer = Ringer::new(queue_at(&server.url())?);
        Ok(Self { server, ringer, worker: None })
    }

    /// From now on somebody hears.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn start_worker(&mut self) -> Result<(), PartError> {
        self.worker = Some(Worker::start(&self.server.url())?);
        Ok(())
    }

    /// From now on nobody hears.
    ///
    /// # Errors
    /// [`PartError`] when the worker does not end as it should.
    pub async fn end_worker(&mut self) -> Result<(), PartError> {
        match self.worker.take() {
            Some(worker) => worker.end().await,
            None => Ok(()),
        }
    }

    /// Calls of the bare limit for `time`.
    ///
    /// # Errors
    /// [`PartError`].
    pub async fn bare(&self, subject: &str, bare: Bare, round: usize, time: Duration) -> Result<Measured, PartError> {
        let run = self.begin(subject, CALLERS, round)?;
        let done = self.server.bare(bare, CALLERS, time).await?;
        let came = Came { wall: run.before.at.elapsed(), done, ..Came::default() };
        self.measured(&run, came)
    }

    /// So many rings that nobody hears.
    ///
    /// # Errors
    /// [`PartError`].
    pub async fn fill(&self, subject: &str, count: u64) -> Result<Measured, PartError> {
        let run = self.begin(subject, CALLERS, 1)?;
        let rung = self.ringer.closed(CALLERS, Bound::Count(count)).await;
        let came = Came { wall: run.before.at.elapsed(), done: rung.done, rung: Some(rung), ..Came::default() };
        self.measured(&run, came)
    }

    /// Starts a worker, which hears so many rings that wait.
    ///
    /// # Errors
    /// [`PartError`].
    pub async fn drain(&mut self, subject: &str, count: u64) -> Result<Measured, PartError> {
        self.start_worker()?;
        let run = self.begin(subject, 0, 1)?;
        let mut measured = self.heard(run, None, count, DRAINED_WITHIN).await?;
        // They waited for somebody to start a worker: how long says nothing.
        measured.handover = None;
        Ok(measured)
    }

    /// Rings as fast as it goes, until all are heard.
    ///
    /// # Errors
    /// [`PartError`].
    pub async fn closed(&mut self, subject: &str, round: usize, bound: Bound) -> Result<Measured, PartError> {
        let run = self.begin(subject, CALLERS, round)?;
        let rung = self.ringer.closed(CALLERS, bound).await;
        let count = rung.done;
        self.heard(run, Some(rung), count, OVERTIME).await
    }

    /// Rings at a rate, until all are heard.
    ///
    /// # Errors
    /// [`PartError`].
    pub async fn open(
        &mut self,
        subject: &str,
        round: usize,
        rate: f64,
        time: Duration,
    ) -> Result<Measured, PartError> {
        let run = self.begin(subject, 0, round)?;
        let rung = self.ringer.open(rate, time).await;
        let count = rung.done;
        self.heard(run, Some(rung), count, OVERTIME).await
    }

    /// Waits until `count` rings are heard.
    async fn heard(
        &mut self,
        run: Begun<'_>,
        rung: Option<Rung>,
        count: u64,
        within: Duration,
    ) -> Result<Measured, PartError> {
        let worker = self.worker.as_mut().ok_or_else(|| PartError::Worker("there is none".to_owned()))?;
        let heard = worker.heard(count, within).await?;
        let wall = run.before.at.elapsed();
        // Until Redis knows, it is not done: that is paid for too.
        let left = self.server.left().await?;
        let came = Came { wall, done: heard.rings, rung, heard: Some(heard), left };
        self.measured(&run, came)
    }

    fn begin<'a>(&self, subject: &'a str, callers: usize, round: usize) -> Result<Begun<'a>, PartError> {
        Ok(Begun { subject, callers, round, before: self.costs()? })
    }

    fn costs(&self) -> Result<Costs, PartError> {
        Ok(Costs {
            at: Instant::now(),
            redis: process::cpu(self.server.pid())?,
            worker: self.worker.as_ref().map(|worker| process::cpu(worker.pid())).transpose()?,
            driver: process::cpu(std::process::id())?,
        })
    }

    fn measured(&self, run: &Begun<'_>, came: Came) -> Result<Measured, PartError> {
        let (before, after) = (&run.before, self.costs()?);
        let done = came.done as f64;
        let each = |before: Duration, after: Duration| (after - before).as_secs_f64() * 1e6 / done;
        let again = came.heard.as_ref().map_or(0, |heard| heard.again);
        let (failed, first_failure) = came.rung.as_ref().map_or((0, None), |r| (r.failed, r.first_failure.clone()));
        let left = came.left;
        let odd = || (again + left > 0).then(|| format!("{again} rings were heard twice, {left} are left in Redis"));
        let worker = self.worker.as_ref().map(|worker| process::memory(worker.pid())).transpose()?;
        let measured = Measured {
            beside_cpu_micros: BTreeMap::new(),
            subject: run.subject.to_owned(),
            callers: run.callers,
            round: run.round,
            wall_seconds: came.wall.as_secs_f64(),
            done: came.done,
            failed: failed + again + left,
            first_failure: first_failure.or_else(odd),
            early: 0,
            per_second: done / came.wall.as_secs_f64(),
            server_cpu_micros: each(before.redis, after.redis),
            driver_cpu_micros: each(before.driver, after.driver),
            memory: process::memory(self.server.pid())?,
            start: came.rung.as_ref().and_then(|rung| rung.taken.summary()),
            late: came.rung.as_ref().and_then(|rung| rung.late.summary()),
            check: None,
            answer: None,
            handover: came.heard.as_ref().and_then(|heard| heard.latency),
            doorbell: Some(Doorbell {
                worker_cpu_micros: before.worker.zip(after.worker).map(|(before, after)| each(before, after)),
                worker_resident_bytes: worker.map(|memory| memory.resident_bytes),
                heard_again: again,
                left,
                halves: came.heard.as_ref().and_then(|heard| heard.halves),
                ..Doorbell::default()
            }),
        };
        progress(&format!(
            "{}, round {}: {:.0}/s at {:.0} µs of Redis, {} failed",
            run.subject, run.round, measured.per_second, measured.server_cpu_micros, measured.failed
        ));
        Ok(measured)
    }
}
