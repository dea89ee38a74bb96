//! Everything that remembers: the embedded store, the doorbell queue and the limiter.
//!
//! Each module implements one port of `wotp-core` and passes its contract suite.

mod document;
pub mod limiter;
#[cfg(feature = "mongodb")]
pub mod mongo;
pub mod queue;
mod record;
#[cfg(feature = "sqlite")]
pub mod sqlite;
