//! The host with real components: those of `plugins/`, which `.ci/guests` builds.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod asking;
mod attacks;
mod breaker;
mod checking;
mod delivery;
mod first;
mod gateway;
mod hearing;
mod languages;
mod manifest;
mod plugins;
mod probing;
mod providers;
mod refusals;
mod revoking;
mod secrets;
