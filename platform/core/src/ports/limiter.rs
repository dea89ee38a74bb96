use async_trait::async_trait;
use jiff::SignedDuration;

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

/// What tells one thing under way from others, drawn anew for each.
pub type Hold = [u8; 16];

/// How long something counts as under way that nobody lets go of, since its node died.
pub const HELD_FOR: SignedDuration = SignedDuration::from_secs(120);

/// The limiter cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("the limiter does not answer")]
pub struct LimiterError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Counts calls in buckets that all nodes share, and what is under way in them.
#[async_trait]
pub trait Limiter: Send + Sync {
    /// Counts one call in every bucket, or in none if one of them is empty. Decisions come in the
    /// order of the buckets; the call may go on if all of them allow it.
    ///
    /// # Errors
    /// [`LimiterError`] when it cannot be asked; the caller decides whether to go on.
    async fn take(&self, buckets: &[Bucket], now: Timestamp) -> Result<Vec<RateDecision>, LimiterError>;

    /// Notes under every one of these names that something is under way: until it is
    /// [let go](Self::let_go) of, or for [`HELD_FOR`] where whoever holds it is gone. Says for each how many others
    /// are, in the order of the names.
    ///
    /// # Errors
    /// [`LimiterError`] when it cannot be asked: then it may be noted, or not.
    async fn hold(&self, names: &[String], hold: Hold, now: Timestamp) -> Result<Vec<u32>, LimiterError>;

    /// What was under way is over.
    ///
    /// # Errors
    /// [`LimiterError`] when it cannot be asked: then it is over by itself in a while.
    async fn let_go(&self, names: &[String], hold: Hold) -> Result<(), LimiterError>;
}
