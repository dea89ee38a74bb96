//! Contract suites that every adapter must pass, and builders for tests.

pub mod channel;
