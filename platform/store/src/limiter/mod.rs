//! Limiters: they count calls in buckets.

mod memory;
#[cfg(feature = "redis")]
mod redis;

pub use memory::MemoryLimiter;
#[cfg(feature = "redis")]
pub use redis::RedisLimiter;
