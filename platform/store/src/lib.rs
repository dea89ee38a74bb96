//! Everything that remembers: the embedded store, the doorbell queue and the limiter.
//!
//! Each module implements one port of `wotp-core` and passes its contract suite.

pub mod limiter;
pub mod queue;
#[cfg(feature = "sqlite")]
pub mod sqlite;
