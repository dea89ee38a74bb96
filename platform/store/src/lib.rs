//! Everything that remembers: the embedded store and the limiter.
//!
//! Each module implements one port of `wotp-core` and passes its contract suite.

pub mod limiter;
#[cfg(feature = "sqlite")]
pub mod sqlite;
