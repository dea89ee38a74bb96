//! Concepts and their rules, one module each: no `async`, no I/O, no clock, no randomness.

pub mod locale;
pub mod template;
