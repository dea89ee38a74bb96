//! The workbench with real components: those of `plugins/`, which `.ci/guests` builds.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod suite;
mod tried;
