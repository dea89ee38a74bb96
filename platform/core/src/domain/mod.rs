//! The rules, one concept a module. Nothing here waits, reads a clock or rolls dice of its own.

pub mod access_token;
pub mod address;
pub mod address_limits;
pub mod api_key;
pub mod audit;
pub mod code;
pub mod cursor;
pub mod dispatch;
pub mod erasure;
pub mod id;
pub mod invitation;
pub mod known_fields;
pub mod lease;
pub mod locale;
pub mod login_brake;
pub mod member;
pub mod message;
pub mod mode;
pub mod node;
pub mod password;
pub mod pending;
pub mod permission;
pub mod phone;
pub mod plan;
pub mod quota;
pub mod rate;
pub mod routing;
pub mod sandbox;
pub mod service;
pub mod session;
pub mod template;
pub mod tenant;
pub mod tenant_rules;
pub mod user;
pub mod vault;
pub mod verification;

/// A moment, in UTC. Stored and shown with microseconds.
pub use jiff::Timestamp;
