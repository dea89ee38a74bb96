//! Calls webhook endpoints.
//!
//! An endpoint is an address that a stranger chose, and the server stands in a network that strangers are not
//! to reach. So a host is resolved once, every address of it has to be public, and the connection goes to one
//! of those: whoever answers differently the second time is not asked a second time. No redirect is followed
//! and no proxy is looked for.

mod call;
mod public;
mod resolve;

pub use call::{HttpSender, Policy};
pub use public::is_public;
pub use resolve::{Resolve, SystemResolver};
