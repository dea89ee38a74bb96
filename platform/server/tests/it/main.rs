//! The platform from the outside: what a client sees, over the real router, use cases and store.
//!
//! One binary, so that everything is linked once. [`app::TestApp`] holds the platform; time,
//! channels and the queue are in the test's hands.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod app;
mod asking;
mod audit;
mod backend;
mod client;
#[allow(clippy::disallowed_methods, reason = "callers of real processes wait and measure by the machine's time")]
mod fleet;
mod loopback;
mod operators;
mod outbox;
mod process;
mod qr;
mod relay;

mod addresses;
mod analytics;
mod catalogue;
mod certificate;
mod checks;
mod cli;
mod codes;
mod compat;
mod compat_accounts;
mod compat_google;
mod compat_sessions;
mod connections;
mod crash;
mod damaged;
mod deliver;
mod documentation;
#[allow(clippy::disallowed_methods, reason = "faults of real processes last by the machine's time")]
mod faults;
mod guard;
mod health;
mod hooks;
mod idempotency;
mod inbound;
#[cfg(feature = "plugins")]
mod installed;
mod isolation;
mod key_life;
mod keys;
mod links;
mod listing;
mod live;
mod messages;
mod migrate;
mod nodes;
mod people;
mod per_ip;
#[cfg(feature = "plugins")]
mod plugins;
mod problems;
mod quota;
mod races;
mod resends;
mod restore;
mod retention;
mod revoking;
mod secrets;
mod senders;
mod services;
mod sessions;
mod stream;
mod tenants;
mod texts;
mod turns;
mod upgrade;
mod verifications;
#[allow(clippy::disallowed_methods, reason = "libraries of others hold signatures against the machine's time")]
mod webhooks;
