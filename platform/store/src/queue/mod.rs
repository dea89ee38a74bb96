//! The doorbell: in memory for a process alone, in Redis for nodes.

mod memory;
#[cfg(feature = "redis")]
mod redis;
mod ring;

pub use memory::{MemoryQueue, RingFull};
#[cfg(feature = "redis")]
pub use redis::{ListenOptions, RedisQueue, RingTask};
pub use ring::{Ring, RingReceiver};
