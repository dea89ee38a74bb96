//! The machine's own time and randomness, behind the ports. Nothing else asks the machine.

#[cfg(feature = "nodes")]
mod shared;
mod steady;

use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use jiff::SignedDuration;
use wotp_core::domain::Timestamp;
use wotp_core::ports::{Clock, Entropy, Timer};

#[cfg(feature = "nodes")]
pub use shared::SharedClock;
use steady::{Reading, Steady};

/// The machine's clock, steadied: one time for the whole process.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

static TIME: Steady = Steady::new();
/// Where the monotonic clock is counted from.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Microseconds that the monotonic clock has counted.
fn counted() -> i64 {
    i64::try_from(START.elapsed().as_micros()).unwrap_or(i64::MAX)
}

/// The machine's generator for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

/// The runtime's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioTimer;

impl Clock for SystemClock {
    /// Follows the machine's clock forward and never goes back while the process lives.
    ///
    /// Everything that WOTP promises about time is a duration: a code lives five minutes, a retry
    /// waits ten seconds, an address rests for a day. A clock that is set back would prolong each of
    /// them by as much, so the time goes on from where it was, at the pace of the monotonic clock.
    ///
    /// However far: also when the machine ran ahead by days and is put right. Then WOTP is ahead by
    /// days until it is restarted, which the log says. Its durations stay true, and the dates that
    /// it shows and counts months by do not. To follow the machine back would put the dates right
    /// and let every code under way live for days, every retry wait for days and every address that
    /// was written to rest for days; and from here nobody can tell a wrong clock that was put right
    /// from a right one that was put wrong. A restart is the same choice, made by somebody who can
    /// tell, at a moment of their own.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        // Begun before the wall clock is read: what is counted from is not later than it.
        LazyLock::force(&START);
        let wall = Timestamp::now().as_microsecond();
        let Reading { now, news } = TIME.read(wall, counted());
        if let Some(behind) = news {
            tracing::warn!(
                behind_seconds = behind / 1_000_000,
                "the machine's clock was set back: WOTP goes on with its own time, by which codes expire and retries come when they should; a restart takes the machine's"
            );
        }
        Timestamp::from_microsecond(now).unwrap_or(Timestamp::MAX)
    }
}

impl Entropy for OsEntropy {
    /// Asks the system each time. Fetching ahead saved nothing that could be measured, and a machine
    /// that is resumed twice from one snapshot would repeat what was fetched.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for randomness")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the system gives randomness once it has started");
    }
}

#[async_trait]
impl Timer for TokioTimer {
    async fn within<'a>(&self, limit: SignedDuration, work: Pin<Box<dyn Future<Output = ()> + Send + 'a>>) -> bool {
        tokio::time::timeout(Duration::try_from(limit).unwrap_or(Duration::ZERO), work).await.is_ok()
    }

    async fn sleep(&self, duration: SignedDuration) {
        tokio::time::sleep(Duration::try_from(duration).unwrap_or(Duration::ZERO)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_whole_microseconds() {
        assert_eq!(SystemClock.now().subsec_nanosecond() % 1000, 0);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the answer computed elsewhere")]
    fn it_is_the_machines_time_while_nobody_sets_it() {
        let before = Timestamp::from_microsecond(Timestamp::now().as_microsecond()).unwrap();
        let now = SystemClock.now();
        assert!(before <= now && now <= SystemClock.now());
        assert!(now.duration_since(before) < SignedDuration::from_mins(1), "{now} after {before}");
    }

    #[test]
    fn randomness_differs_each_time() {
        let [mut one, mut two] = [[0; 32]; 2];
        OsEntropy.fill(&mut one);
        OsEntropy.fill(&mut two);
        assert_ne!(one, two);
    }

    #[tokio::test(start_paused = true)]
    async fn work_that_takes_too_long_is_dropped() {
        let within = |seconds| async move {
            let work = Box::pin(tokio::time::sleep(Duration::from_secs(seconds)));
            TokioTimer.within(SignedDuration::from_secs(5), work).await
        };
        assert!(within(4).await);
        assert!(!within(6).await);
    }
}
