//! The shared limiter, watched: calls go on without it, and somebody should know.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use wotp_core::domain::Timestamp;
use wotp_core::domain::rate::RateDecision;
use wotp_core::ports::{Bucket, Hold, Limiter, LimiterError};

/// Counts the calls that could not be limited, and tells the log when that begins and ends.
pub(super) struct Watched<L> {
    limiter: L,
    away: AtomicBool,
}

impl<L> Watched<L> {
    pub(super) fn new(limiter: L) -> Self {
        Self { limiter, away: AtomicBool::new(false) }
    }

    /// What it answered, or that it did not.
    fn seen<T>(&self, answer: Result<T, LimiterError>) -> Result<T, LimiterError> {
        match &answer {
            Ok(_) => {
                if self.away.load(Ordering::Relaxed) && self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("rate limits are enforced again");
                }
            }
            Err(error) => {
                metrics::counter!("wotp_limiter_unavailable_total").increment(1);
                if !self.away.swap(true, Ordering::Relaxed) {
                    let error: &dyn std::error::Error = error;
                    tracing::warn!(error, "rate limits are not enforced until the limiter answers again");
                }
            }
        }
        answer
    }
}

#[async_trait]
impl<L: Limiter> Limiter for Watched<L> {
    async fn take(&self, buckets: &[Bucket], now: Timestamp) -> Result<Vec<RateDecision>, LimiterError> {
        self.seen(self.limiter.take(buckets, now).await)
    }

    async fn hold(&self, names: &[String], hold: Hold, now: Timestamp) -> Result<Vec<u32>, LimiterError> {
        self.seen(self.limiter.hold(names, hold, now).await)
    }

    async fn let_go(&self, names: &[String], hold: Hold) -> Result<(), LimiterError> {
        self.seen(self.limiter.let_go(names, hold).await)
    }
}
