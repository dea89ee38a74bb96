//! The rules, one concept a module. Nothing here waits, reads a clock or rolls dice of its own.

pub mod address;
pub mod address_limits;
pub mod api_key;
pub mod audit;
pub mod code;
pub mod cursor;
pub mod dispatch;
pub mod event;
pub mod guard;
pub mod id;
pub mod known_fields;
pub mod lease;
pub mod locale;
pub mod message;
pub mod mode;
pub mod news;
pub mod node;
pub mod permission;
pub mod phone;
pub mod plan;
pub mod quota;
pub mod rate;
pub mod rollup;
pub mod routing;
pub mod sandbox;
pub mod service;
pub mod template;
pub mod tenant;
pub mod vault;
pub mod verification;
pub mod webhook;

/// A moment, in UTC. Stored and shown with microseconds.
pub use jiff::Timestamp;
