//! What authors of plugins work with: begin one, build it, try it as production would run it, and sign it.
//!
//! All of it over the host that production has: the same sandbox, the same policy for what is called, the same HTTP.
//! What is not real is the provider: [`suite`] puts one on loopback in its place, which answers as it is told.

pub mod building;
mod contract;
mod language;
mod log;
mod message;
mod provider;
pub mod script;
pub mod settings;
pub mod signing;
pub mod suite;
pub mod template;
pub mod trial;
mod wire;

pub use contract::reference;
pub use language::{Language, NoLanguage};
