//! Rings as the platform rings them, at a rate or as fast as it goes.
//!
//! Each has a number of its own in its id and says in its token when it was due, so that whoever hears
//! it, in another process, can tell how long it took and whether it came once. Both are in places where
//! the platform has as many bytes of its own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wotp_core::domain::id::{TenantId, VerificationId};
use wotp_core::ports::{Item, Job, Queue as _};
use wotp_store::queue::RedisQueue;

use crate::load::{Bound, Latencies, micros_since, pace};
use crate::report::chain;

/// Tenants that the rings are spread over.
const TENANTS: u64 = 100;
/// The first bytes of ids: the platform's begin with a time.
const PRESENT: u64 = 0x0193_5a2b_7c4d_0000;

/// Nanoseconds on the clock that all processes of the machine share, and that nobody sets.
pub fn nanos() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    // It counts from the start of the machine.
    time.tv_sec.unsigned_abs() * 1_000_000_000 + time.tv_nsec.unsigned_abs()
}

fn nanos_at(moment: Instant) -> u64 {
    nanos() - u64::try_from(moment.elapsed().as_nanos()).unwrap_or(0)
}

/// The ring with this number, due at `due` nanoseconds.
fn job(number: u64, due: u64) -> Job {
    let bytes = |low: u64| (u128::from(PRESENT) << 64 | u128::from(low)).to_be_bytes();
    Job {
        tenant: TenantId::from_bytes(bytes(number % TENANTS)),
        item: Item::Verification(VerificationId::from_bytes(bytes(number))),
        token: Some(due),
    }
}

/// The number of a ring, and when it was due; the latter is lost when a ring goes to a second worker.
pub fn read(job: &Job) -> (u64, Option<u64>) {
    let id = match job.item {
        Item::Verification(id) => id.to_bytes(),
        Item::Message(id) => id.to_bytes(),
    };
    // The low half of the id: nothing is lost.
    (u128::from_be_bytes(id) as u64, job.token)
}

/// Whoever rings.
#[derive(Clone)]
pub struct Ringer {
    queue: RedisQueue,
    next: Arc<AtomicU64>,
    rung: Arc<Mutex<Rung>>,
}

/// What came of ringing.
#[derive(Debug)]
pub struct Rung {
    /// Rings that were taken.
    pub done: u64,
    /// Those that were not.
    pub failed: u64,
    /// Why the first of those was not.
    pub first_failure: Option<String>,
    /// From due to taken.
    pub taken: Latencies,
    /// From due to sent: what of the latency is the driver's own doing.
    pub late: Latencies,
}

impl Rung {
    fn new() -> Self {
        Self { done: 0, failed: 0, first_failure: None, taken: Latencies::new(), late: Latencies::new() }
    }
}

impl Ringer {
    /// Rings at `queue`.
    pub fn new(queue: RedisQueue) -> Self {
        Self { queue, next: Arc::default(), rung: Arc::new(Mutex::new(Rung::new())) }
    }

    /// As fast as so many callers can who each wait until the ring is taken.
    pub async fn closed(&self, callers: usize, bound: Bound) -> Rung {
        let (end, left) = match bound {
            Bound::For(time) => (Some(Instant::now() + time), u64::MAX),
            Bound::Count(count) => (None, count),
        };
        let left = Arc::new(AtomicU64::new(left));
        let mut running = JoinSet::new();
        for _ in 0..callers {
            let (ringer, left) = (self.clone(), Arc::clone(&left));
            running.spawn(async move {
                while end.is_none_or(|end| Instant::now() < end)
                    && left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
                {
                    ringer.ring(Instant::now()).await;
                }
            });
        }
        self.outcome(running).await
    }

    /// `per_second` times a second for `time`, whether or not earlier rings were taken. Each says when it
    /// was due, not when it was sent.
    pub async fn open(&self, per_second: f64, time: Duration) -> Rung {
        let mut due = pace(per_second, time);
        let mut running = JoinSet::new();
        while let Some(due) = due.recv().await {
            let ringer = self.clone();
            running.spawn(async move { ringer.ring(due).await });
        }
        self.outcome(running).await
    }

    async fn outcome(&self, running: JoinSet<()>) -> Rung {
        // A ring ends within a second, taken or not.
        running.join_all().await;
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut rung, Rung::new())
    }

    async fn ring(&self, due: Instant) {
        let late = micros_since(due);
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let taken = self.queue.ring(job(number, nanos_at(due))).await;
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        rung.late.add(late);
        match taken {
            Ok(()) => {
                rung.done += 1;
                rung.taken.add(micros_since(due));
            }
            Err(error) => {
                rung.failed += 1;
                rung.first_failure.get_or_insert_with(|| chain(&error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_says_its_number_and_when_it_was_due() {
        for number in [0, 1, 99, 100, u64::from(u32::MAX) + 7] {
            assert_eq!(read(&job(number, 42)), (number, Some(42)));
        }
    }

    #[test]
    fn a_moment_that_passed_is_earlier_on_the_clock_that_processes_share() {
        let before = nanos();
        let moment = Instant::now();
        let (at, after) = (nanos_at(moment), nanos());
        // The two clocks are read one after the other; a machine that is busy takes its time between.
        assert!((before..=after).contains(&at), "{before} {at} {after}");
    }
}
