//! A node's worker as a process of its own: it hears rings by the way a node does, and delivers nothing.
//!
//! The way is the product's: `RedisQueue::listen` and the apalis worker that the server's deliveries run
//! under, with the same layers and as many at once. What is done with a ring is ours: it is counted, and
//! said to be done.

use std::io::{self, Write as _};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::Clock as _;
use wotp_server::config::Worker as WorkerConfig;
use wotp_server::jobs::{Answer, answer_with};
use wotp_server::system::{OsEntropy, SystemClock};
use wotp_store::queue::{ListenOptions, Ring};

use super::ring::{nanos, read};
use super::{PartError, queue_at};
use crate::load::{Latencies, Summary};
use crate::report::chain;

/// Rings between two looks at the time: what a rate within a run is known to.
const STEP: u64 = 1000;
/// How long a worker may take to end.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What a worker heard since it was last asked.
#[derive(Debug, Serialize, Deserialize)]
pub struct Heard {
    /// Different rings.
    pub rings: u64,
    /// Rings that it had heard before.
    pub again: u64,
    /// From due to heard.
    pub latency: Option<Summary>,
    /// Rings a second over the first half of them and over the second.
    pub halves: Option<(f64, f64)>,
}

/// What a worker notes down.
#[derive(Debug)]
struct Notes {
    /// One bit for each number of a ring.
    seen: Vec<u64>,
    rings: u64,
    again: u64,
    latency: Latencies,
    /// When the first ring was heard, and from then on every so many.
    marks: Vec<u64>,
    /// Rings until somebody is told.
    wanted: u64,
}

impl Notes {
    fn new() -> Self {
        Self { seen: Vec::new(), rings: 0, again: 0, latency: Latencies::new(), marks: Vec::new(), wanted: u64::MAX }
    }

    /// Notes a ring that was heard at `now`; whether as many as are wanted have been heard.
    fn hear(&mut self, number: u64, due: Option<u64>, now: u64) -> bool {
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.seen.len() <= word {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.again += 1;
            return false;
        }
        self.seen[word] |= bit;
        if self.rings.is_multiple_of(STEP) {
            self.marks.push(now);
        }
        self.rings += 1;
        if let Some(due) = due {
            self.latency.add(now.saturating_sub(due) / 1000);
        }
        self.rings >= self.wanted
    }

    /// What was heard; from here on it is counted anew.
    fn take(&mut self) -> Heard {
        let seen = std::mem::take(&mut self.seen);
        let notes = std::mem::replace(self, Self { seen, ..Self::new() });
        Heard { rings: notes.rings, again: notes.again, latency: notes.latency.summary(), halves: halves(&notes.marks) }
    }
}

/// Rates of both halves, by the times in nanoseconds at which every so many had been heard.
fn halves(marks: &[u64]) -> Option<(f64, f64)> {
    let last = marks.len().checked_sub(1).filter(|last| *last >= 2)?;
    let middle = last / 2;
    let rate = |from: usize, to: usize| {
        let seconds = (marks[to] - marks[from]) as f64 / 1e9;
        (STEP * (to - from) as u64) as f64 / seconds
    };
    Some((rate(0, middle), rate(middle, last)))
}

/// What stands in for deliveries.
#[derive(Debug)]
struct Ear {
    notes: Mutex<Notes>,
    enough: Notify,
}

impl Ear {
    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was heard, once it is at least `count` rings.
    async fn heard(&self, count: u64) -> Heard {
        loop {
            let enough = self.enough.notified();
            {
                let mut notes = self.notes();
                if notes.rings >= count {
                    return notes.take();
                }
                notes.wanted = count;
            }
            enough.await;
        }
    }
}

/// The worker's share in it.
struct Listener(Arc<Ear>);

impl Answer for Listener {
    async fn answer(&self, ring: Ring) -> Result<(), BoxDynError> {
        let (number, due) = read(&ring.job);
        if self.0.notes().hear(number, due, nanos()) {
            self.0.enough.notify_one();
        }
        ring.done();
        Ok(())
    }
}

/// Runs a worker: for every line with a count on standard input, one with what was [`Heard`] on standard
/// output, once it is as many. Ends with its input, whatever was asked before.
///
/// # Errors
/// [`PartError`].
pub async fn run(url: &str) -> Result<(), PartError> {
    let queue = queue_at(url)?;
    let (stop, stopped) = watch::channel(false);
    let node = NodeId::new(SystemClock.now(), &OsEntropy);
    let (rings, listening) = queue.listen(node, ListenOptions::default(), stopped.clone());
    let ear = Arc::new(Ear { notes: Mutex::new(Notes::new()), enough: Notify::new() });
    let answering = answer_with(Listener(Arc::clone(&ear)), rings, WorkerConfig::default().concurrency, stopped);
    let working = tokio::spawn(answering);
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let count = line.parse().map_err(|_| PartError::Told(line))?;
        let heard = tokio::select! {
            heard = ear.heard(count) => heard,
            // Whoever asked is gone, or does not wait any more: so that this process is not left behind.
            _ = lines.next_line() => break,
        };
        let mut text = serde_json::to_string(&heard).expect("numbers always serialize");
        text.push('\n');
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
    // Nobody who listens is left only when the workers are gone, which the next line says.
    let _ = stop.send(true);
    let worked = working.await.map_err(|error| PartError::Worker(chain(&error)))?;
    worked.map_err(|error| PartError::Worker(chain(&error)))?;
    listening.ended().await;
    Ok(())
}

/// Such a process, seen from the driver. Dropping it kills it.
pub struct Worker {
    child: Child,
    pid: u32,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Worker {
    /// Starts one that listens at `url`.
    ///
    /// # Errors
    /// [`PartError`].
    pub fn start(url: &str) -> Result<Self, PartError> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["hear", "--redis", url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().expect("standard input was asked for as a pipe");
        let output = child.stdout.take().expect("standard output was asked for as a pipe");
        let pid = child.id().expect("nobody waited for it yet");
        Ok(Self { child, pid, input, output: BufReader::new(output).lines() })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// What it heard since it was last asked, once it is at least `count` rings.
    ///
    /// # Errors
    /// [`PartError::NotHeard`] when that takes longer than `within`.
    pub async fn heard(&mut self, count: u64, within: Duration) -> Result<Heard, PartError> {
        self.input.write_all(format!("{count}\n").as_bytes()).await?;
        let line = match timeout(within, self.output.next_line()).await {
            Ok(line) => line?.ok_or_else(|| PartError::Worker("it ended".to_owned()))?,
            Err(_) => return Err(PartError::NotHeard { count, within }),
        };
        serde_json::from_str(&line).map_err(|_| PartError::Told(line))
    }

    /// Ends it, and waits until it has.
    ///
    /// # Errors
    /// [`PartError::Worker`] when it does not, or with an error.
    pub async fn end(self) -> Result<(), PartError> {
        let Self { mut child, input, .. } = self;
        drop(input);
        match timeout(END_WITHIN, child.wait()).await {
            Ok(status) if status.as_ref().is_ok_and(|status| status.success()) => Ok(()),
            Ok(status) => Err(PartError::Worker(format!("it ended with {:?}", status?.code()))),
            Err(_) => Err(PartError::Worker("it does not end".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_that_comes_twice_is_counted_once_and_told_of() {
        let mut notes = Notes::new();
        notes.wanted = 2;
        assert!(!notes.hear(7, Some(1_000), 4_000));
        assert!(!notes.hear(7, None, 5_000));
        assert!(notes.hear(1_000_000, Some(2_000), 11_000));
        let heard = notes.take();
        assert_eq!((heard.rings, heard.again), (2, 1));
        let latency = heard.latency.unwrap();
        assert_eq!((latency.count, latency.p50_micros, latency.max_micros), (2, 3, 9));
        // The next run knows what this one heard, and counts anew.
        assert!(!notes.hear(7, None, 6_000));
        let heard = notes.take();
        assert_eq!((heard.rings, heard.again), (0, 1));
    }

    #[test]
    fn a_slower_second_half_shows() {
        // Two thousand rings in the first second, a thousand in each of the next two.
        let marks = [0, 500_000_000, 1_000_000_000, 2_000_000_000, 3_000_000_000];
        assert_eq!(halves(&marks), Some((2000.0, 1000.0)));
        assert_eq!(halves(&marks[..2]), None);
        assert_eq!(halves(&[]), None);
    }

    #[tokio::test]
    async fn whoever_asks_before_the_last_ring_is_told_at_it() {
        let ear = Arc::new(Ear { notes: Mutex::new(Notes::new()), enough: Notify::new() });
        let asking = tokio::spawn({
            let ear = Arc::clone(&ear);
            async move { ear.heard(2).await }
        });
        while ear.notes().wanted == u64::MAX {
            tokio::task::yield_now().await;
        }
        for number in 0..2 {
            if ear.notes().hear(number, None, 0) {
                ear.enough.notify_one();
            }
        }
        assert_eq!(asking.await.unwrap().rings, 2);
    }
}
