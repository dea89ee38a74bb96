//! Counts calls for all nodes together, in Redis.

use async_trait::async_trait;
use jiff::SignedDuration;
use redis::Script;
use wotp_core::domain::Timestamp;
use wotp_core::domain::rate::RateDecision;
use wotp_core::ports::{Bucket, HELD_FOR, Hold, Limiter, LimiterError};

use crate::redis::{Redis, RedisError};

/// A limiter whose buckets all nodes share: one command a call, however many buckets it has.
pub struct RedisLimiter {
    redis: Redis,
    script: Script,
    hold: Script,
}

impl RedisLimiter {
    /// The limiter on this server.
    pub fn new(redis: Redis) -> Self {
        Self { redis, script: Script::new(include_str!("gcra.lua")), hold: Script::new(include_str!("hold.lua")) }
    }

    fn held(&self, name: &str) -> String {
        self.redis.key(&format!("held:{name}"))
    }
}

#[async_trait]
impl Limiter for RedisLimiter {
    async fn take(&self, buckets: &[Bucket], now: Timestamp) -> Result<Vec<RateDecision>, LimiterError> {
        if buckets.is_empty() {
            return Ok(Vec::new());
        }
        // Before 1970 nanoseconds are negative; clocks are not.
        let mut call = self.script.arg(now.as_second());
        call.arg(now.subsec_nanosecond());
        for bucket in buckets {
            call.key(self.redis.key(&format!("rate:{}", bucket.name)));
            call.arg(nanos(bucket.rate.interval())).arg(nanos(bucket.rate.depth()));
        }
        let full: Vec<Option<String>> = self.redis.run_script(&call).await.map_err(failed)?;
        // The script has counted; what that means is decided in one place, from what was there before.
        let decide = |(bucket, full): (&Bucket, &Option<String>)| {
            let full_in = full.as_ref().and_then(|nanos| nanos.parse().ok()).map(SignedDuration::from_nanos);
            let full_at = full_in.and_then(|full_in| now.checked_add(full_in).ok());
            bucket.rate.decide(full_at, now).0
        };
        Ok(buckets.iter().zip(&full).map(decide).collect())
    }

    async fn hold(&self, names: &[String], hold: Hold, now: Timestamp) -> Result<Vec<u32>, LimiterError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.hold.arg(now.as_millisecond());
        call.arg(HELD_FOR.as_millis()).arg(hold.as_slice());
        for name in names {
            call.key(self.held(name));
        }
        self.redis.run_script(&call).await.map_err(failed)
    }

    async fn let_go(&self, names: &[String], hold: Hold) -> Result<(), LimiterError> {
        // To send no commands is an error.
        if names.is_empty() {
            return Ok(());
        }
        let mut commands = redis::pipe();
        for name in names {
            commands.zrem(self.held(name), hold.as_slice()).ignore();
        }
        self.redis.run_all(&commands).await.map_err(failed)
    }
}

fn failed(error: RedisError) -> LimiterError {
    LimiterError(Box::new(error))
}

fn nanos(duration: SignedDuration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}
