//! The binary `wotp` as a library: HTTP API, workers, configuration, command line.

pub mod cli;
pub mod config;
pub mod data_folder;
pub mod database_lock;
pub mod http;
pub mod jobs;
pub mod people;
pub mod sealed;
pub mod server;
pub mod system;
pub mod wiring;
