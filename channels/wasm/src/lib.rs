//! Channels by anybody: plugins, which are WebAssembly components, in a sandbox.
//!
//! A plugin is a component of the world in `plugins/wit`, and needs not be trusted. Each call gets a fresh instance,
//! so nothing is left of one tenant for the next. It has no clock, no file and no network but what [the contract]
//! lends it: any other import is refused when it is loaded. Memory, running time, requests and lines of log are
//! bounded for each call, and calls under way for each plugin.
//!
//! It reaches the hosts that it names itself *and* the operator approves, over TLS, through `wotp-outbound`, which
//! reaches no network but the public one. It never holds a secret: it writes a mark, and the host puts the secret in
//! its place on the way out.
//!
//! A plugin that traps, or is stopped, leaves an unknown outcome. Only where it says that its provider takes one
//! message for one, however often it is sent, the message is tried again; else another channel takes its place.
//!
//! [the contract]: https://component-model.bytecodealliance.org/design/wit.html

mod asking;
mod bounds;
mod breaker;
mod callback;
mod checking;
mod compiler;
mod component;
mod descriptor;
mod ears;
mod fetch;
mod headers;
mod hosts;
mod imports;
mod lane;
mod manifest;
mod offer;
mod plugin;
mod probing;
mod publisher;
mod report;
mod revoking;
mod room;
mod runtime;
mod sandbox;
mod schema;
mod secrets;
mod since_v0_1_0;
mod since_v0_1_1;
mod since_v0_1_2;
mod since_v0_1_3;
mod since_v0_1_4;
mod turns;
mod verdict;
mod workshop;

pub use asking::asked_at_once;
pub use compiler::{CompileFault, Compiler, compile_here};
pub use component::{Component, Refusal, Unread};
pub use descriptor::{Descriptor, DescriptorFault, Place, SecretUse};
pub use ears::HEARING_MAX;
pub use hosts::{DeclaredHosts, Host, NoHost};
pub use manifest::{Manifest, ManifestFault};
pub use plugin::{Plugin, Settings, SettingsError};
pub use probing::Reachable;
pub use publisher::{KeyFault, PublisherKey, SigningKey};
pub use runtime::{Runtime, RuntimeError};
pub use sandbox::World;
pub use secrets::Secret;
pub use verdict::Said;
pub use workshop::Workshop;
pub use wotp_compiled::Shelf;
