//! What is true of WOTP, whatever stores it, carries it or serves it.
//!
//! Three layers, each of which may only look down:
//!
//! - [`app`]: the use cases, one per file, in the words of the product;
//! - [`ports`]: what the use cases need from the world, as traits;
//! - [`domain`]: the rules, pure and synchronous. Time and randomness are parameters.
//!
//! With the feature `testing`, the module `testing` holds the contract suites that every adapter must pass.

pub mod app;
pub mod domain;
pub mod ports;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
