//! Limiters: they count calls in buckets.

mod memory;

pub use memory::MemoryLimiter;
