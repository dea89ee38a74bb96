//! The machine's own time and randomness, behind the ports. Nothing else asks the machine.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use async_trait::async_trait;
use jiff::SignedDuration;
use wotp_core::domain::Timestamp;
use wotp_core::ports::{Clock, Entropy, Timer};

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

/// The machine's generator for secrets.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsEntropy;

/// The runtime's time.
#[derive(Debug, Clone, Copy, Default)]
pub struct TokioTimer;

impl Clock for SystemClock {
    /// Follows the machine when its clock is set, backwards too. Holding on to the latest moment
    /// ever seen would stand still after a clock that ran ahead was put right, and with it every
    /// expiry.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the machine for the time")]
    fn now(&self) -> Timestamp {
        let now = Timestamp::now();
        Timestamp::from_microsecond(now.as_microsecond()).unwrap_or(now)
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_has_whole_microseconds() {
        assert_eq!(SystemClock.now().subsec_nanosecond() % 1000, 0);
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
