//! The host with real components: those of `plugins/`, which `.ci/guests` builds.

mod attacks;
mod delivery;
mod gateway;
mod plugins;
mod refusals;
mod secrets;
