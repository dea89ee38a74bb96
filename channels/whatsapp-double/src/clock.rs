//! The time that stanzas and certificates carry. A client compares it with its own, so it is the real one.

use std::time::Duration;

/// Seconds since 1970.
pub(crate) fn now_seconds() -> u64 {
    since_1970().as_secs()
}

/// Microseconds since 1970.
pub(crate) fn now_micros() -> u64 {
    u64::try_from(since_1970().as_micros()).expect("the clock is earlier than the year 500,000")
}

#[expect(clippy::disallowed_methods, reason = "the clients under test read the system's clock, and compare")]
fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is later than 1970")
}
