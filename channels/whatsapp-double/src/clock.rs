//! The time that stanzas and certificates carry. A client compares it with its own, so it is the real one.

/// Seconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the clients under test read the system's clock, and compare")]
pub(crate) fn now_seconds() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("the clock is later than 1970").as_secs()
}
