//! The contract suites that every adapter must pass, and builders for tests.
//!
//! A promise of a port is a function here, run over each implementation: [`store_contract!`] and
//! [`limiter_contract!`](crate::limiter_contract) make one test of each. A fake that has not passed
//! is not a fake, it is a guess.

pub mod builders;
pub mod channel;
pub mod clock;
pub mod entropy;
pub mod limiter;
pub mod queue;
pub mod store;

#[doc(inline)]
pub use crate::{limiter_contract, store_contract};
pub use clock::ManualClock;
pub use entropy::SeededEntropy;
