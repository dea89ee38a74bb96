//! Calls webhook endpoints.
//!
//! An endpoint is an address that a stranger chose: it is reached by `wotp-outbound`, which reaches no network but
//! the public one and follows no redirect.

mod call;

pub use call::{HttpSender, Policy};
pub use wotp_outbound::{Resolve, SystemResolver};
