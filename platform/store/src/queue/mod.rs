//! Doorbells of the workers.

mod memory;

pub use memory::{MemoryBackend, MemoryQueue, RingFull};
