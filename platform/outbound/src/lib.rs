//! HTTP to addresses that strangers chose.
//!
//! The server stands in a network that strangers are not to reach. So a host is resolved once, every address of
//! it has to be public, and the connection goes to one of those: whoever answers differently the second time is not
//! asked a second time. No redirect is followed and no proxy is looked for.

mod call;
mod connect;
mod policy;
mod public;
mod resolve;

pub use call::{Answer, Caller, Fetch, NoAnswer, Reading, Request};
pub use policy::{Plain, Policy, UrlFault};
pub use public::is_public;
pub use resolve::{Resolve, SystemResolver};
