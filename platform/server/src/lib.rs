//! The binary `wotp` as a library: HTTP API, workers, configuration, command line.

pub mod http;
pub mod jobs;
