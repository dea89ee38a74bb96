use async_trait::async_trait;

use crate::domain::Timestamp;
use crate::domain::rate::{Rate, RateDecision};

/// One bucket that a call is counted in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Whose bucket, as in `key:key_01J9…`. Never an address.
    pub name: String,
    /// How many calls it takes.
    pub rate: Rate,
}

/// The limiter cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("the limiter does not answer")]
pub struct LimiterError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Counts calls in buckets that all nodes share.
#[async_trait]
pub trait Limiter: Send + Sync {
    /// Counts one call in every bucket, or in none if one of them is empty. Decisions come in the
    /// order of the buckets; the call may go on if all of them allow it.
    ///
    /// # Errors
    /// [`LimiterError`] when it cannot be asked; the caller decides whether to go on.
    async fn take(&self, buckets: &[Bucket], now: Timestamp) -> Result<Vec<RateDecision>, LimiterError>;
}
