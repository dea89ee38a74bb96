//! Everything that remembers: the embedded store, the doorbell queue and the limiter.
//!
//! Each module implements one port of `wotp-core` and passes its contract suite.

#![cfg_attr(
    not(all(feature = "mongodb", feature = "redis", feature = "sqlite")),
    allow(dead_code, reason = "what two of them have in common has parts that one alone does not need")
)]

#[cfg(feature = "redis")]
pub mod bulletin;
mod document;
#[cfg(all(feature = "mongodb", feature = "sqlite"))]
mod holding;
pub mod limiter;
#[cfg(feature = "mongodb")]
pub mod mongo;
#[cfg(all(feature = "mongodb", feature = "sqlite"))]
pub mod moving;
pub mod queue;
mod record;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "mongodb", feature = "sqlite"))]
mod turns;
