//! The shared limiter, watched: calls go on without it, and somebody should know.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use wotp_core::domain::Timestamp;
use wotp_core::domain::rate::RateDecision;
use wotp_core::ports::{Bucket, Limiter, LimiterError};

/// Counts the calls that could not be limited, and tells the log when that begins and ends.
pub(super) struct Watched<L> {
    limiter: L,
    away: AtomicBool,
}

impl<L> Watched<L> {
    pub(super) fn new(limiter: L) -> Self {
        Self { limiter, away: AtomicBool::new(false) }
    }
}

#[async_trait]
impl<L: Limiter> Limiter for Watched<L> {
    async fn take(&self, buckets: &[Bucket], now: Timestamp) -> Result<Vec<RateDecision>, LimiterError> {
        let taken = self.limiter.take(buckets, now).await;
        match &taken {
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
        taken
    }
}
