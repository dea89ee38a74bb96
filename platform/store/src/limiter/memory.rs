use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use wotp_core::domain::Timestamp;
use wotp_core::domain::rate::RateDecision;
use wotp_core::ports::{Bucket, HELD_FOR, Hold, Limiter, LimiterError};

/// Fewest buckets that are worth looking through for full ones.
const SWEEP_MIN: usize = 1024;

/// Counts calls in this process's memory.
///
/// One lock over one table: a call holds it for well under a microsecond, and all buckets of a call
/// are decided on together without ordering locks. A bucket that is full again says no more than a
/// bucket that was never used, so it is swept out; the table is never larger than twice the buckets
/// in use, or [`SWEEP_MIN`].
#[derive(Debug, Default)]
pub struct MemoryLimiter {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// When each bucket is full again.
    full_at: HashMap<String, Timestamp>,
    /// How many were left after the last sweep.
    swept_to: usize,
    /// What is under way, and until when at most.
    held: HashMap<String, Vec<(Hold, Timestamp)>>,
}

impl State {
    fn sweep(&mut self, now: Timestamp) {
        if self.full_at.len() >= SWEEP_MIN.max(self.swept_to.saturating_mul(2)) {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.swept_to = self.full_at.len();
            self.full_at.shrink_to(self.swept_to.saturating_mul(2));
        }
    }
}

impl MemoryLimiter {
    /// A limiter whose buckets are all full.
    pub fn new() -> Self {
        Self::default()
    }

    /// Buckets that are remembered.
    pub fn buckets(&self) -> usize {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).full_at.len()
    }
}

#[async_trait]
impl Limiter for MemoryLimiter {
    async fn take(&self, buckets: &[Bucket], now: Timestamp) -> Result<Vec<RateDecision>, LimiterError> {
        // A panic cannot leave the table half changed: everything is decided before it is touched.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (decisions, kept): (Vec<_>, Vec<_>) =
            buckets.iter().map(|bucket| bucket.rate.decide(state.full_at.get(&bucket.name).copied(), now)).unzip();
        if decisions.iter().all(|decision| decision.allowed) {
            state.sweep(now);
            for (bucket, full_at) in buckets.iter().zip(kept) {
                match state.full_at.get_mut(&bucket.name) {
                    Some(known) => *known = full_at,
                    None => {
                        state.full_at.insert(bucket.name.clone(), full_at);
                    }
                }
            }
        }
        Ok(decisions)
    }

    async fn hold(&self, names: &[String], hold: Hold, now: Timestamp) -> Result<Vec<u32>, LimiterError> {
        let until = now.saturating_add(HELD_FOR).unwrap_or(Timestamp::MAX);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody lets go of is rare (the store took nothing, or a panic), and gone with the process.
        let others = names.iter().map(|name| {
            let holds = state.held.entry(name.clone()).or_default();
            holds.retain(|(_, until)| *until > now);
            let others = u32::try_from(holds.len()).unwrap_or(u32::MAX);
            holds.push((hold, until));
            others
        });
        Ok(others.collect())
    }

    async fn let_go(&self, names: &[String], hold: Hold) -> Result<(), LimiterError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        for name in names {
            if let Some(holds) = state.held.get_mut(name) {
                holds.retain(|(held, _)| *held != hold);
                if holds.is_empty() {
                    state.held.remove(name);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wotp_core::domain::rate::Rate;

    #[tokio::test]
    async fn buckets_that_are_full_again_are_forgotten() {
        let limiter = MemoryLimiter::new();
        for second in 0..100 {
            for n in 0..1000 {
                let name = format!("key:{second}:{n}");
                let bucket = Bucket { name, rate: Rate { per_second: 1, burst: 1 } };
                let now = Timestamp::from_second(second * 10).unwrap();
                assert!(limiter.take(&[bucket], now).await.unwrap()[0].allowed);
            }
        }
        assert!(limiter.buckets() <= 2 * SWEEP_MIN, "{} buckets are remembered", limiter.buckets());
    }
}
