//! The guard of a service: where codes may go, how many, and what happens when people stop typing them in.
//!
//! Pumping is the fraud that it is for: somebody has codes sent to numbers that earn money with each
//! message, and never types one in. Rules that a tenant sets come first ([`settings`], [`list`]); the watch
//! ([`watch`]) compares each destination with its own history, and needs no rule.

pub mod count;
pub mod destination;
pub mod list;
pub mod note;
pub mod settings;
pub mod watch;

pub use count::{Seen, SeenBatch, Span, UseCount};
pub use destination::Destination;
pub use list::{GuardList, ListEffect, ListEntry, Listed};
pub use note::{Effect, GuardNote, Rule, Step};
pub use settings::{Cap, Caps, Costs, Countries, GuardMode, GuardSettings, WatchSettings};
pub use watch::{State, Transition, Watch};
