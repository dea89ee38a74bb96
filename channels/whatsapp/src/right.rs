//! The right to keep a session: one process has it, for a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::SignedDuration;
use wotp_core::domain::Timestamp;
use wotp_core::ports::Clock;

/// Until when a session may be kept. Once it is over not a byte goes out, whatever is under way: another process may have
/// logged in by then.
pub struct Right {
    clock: Arc<dyn Clock>,
    fence: u64,
    until: AtomicI64,
}

impl Right {
    /// One that is over at `until`, unless it is prolonged. Of two processes that had it, the later has the higher `fence`.
    pub fn until(clock: Arc<dyn Clock>, fence: u64, until: Timestamp) -> Arc<Self> {
        Arc::new(Self { clock, fence, until: AtomicI64::new(until.as_microsecond()) })
    }

    /// One that does not end by itself: where there is one process only.
    pub fn unlimited(clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::until(clock, 0, Timestamp::MAX)
    }

    /// Prolongs it. One that is over stays over: whoever had it must begin anew.
    pub fn prolong(&self, until: Timestamp) {
        let now = self.clock.now().as_microsecond();
        let prolonged = |current| (now < current).then_some(until.as_microsecond());
        let _ = self.until.try_update(Ordering::SeqCst, Ordering::SeqCst, prolonged);
    }

    /// Ends it now.
    pub fn end(&self) {
        self.until.store(i64::MIN, Ordering::SeqCst);
    }

    /// Tells it from those that others had before, and will have.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// How long it is in force still.
    pub fn lasts(&self) -> SignedDuration {
        SignedDuration::from_micros(self.until.load(Ordering::SeqCst).saturating_sub(self.clock.now().as_microsecond()))
    }

    /// Whether it is in force.
    pub fn holds(&self) -> bool {
        self.clock.now().as_microsecond() < self.until.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use wotp_core::testing::ManualClock;

    use super::*;

    #[test]
    fn a_right_that_is_over_is_not_prolonged() {
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z"));
        let at = |seconds| clock.now() + SignedDuration::from_secs(seconds);
        let right = Right::until(clock.clone(), 3, at(10));
        assert!(right.holds() && right.lasts() == SignedDuration::from_secs(10));
        right.prolong(at(20));
        clock.advance(SignedDuration::from_secs(15));
        assert!(right.holds());
        clock.advance(SignedDuration::from_secs(5));
        assert!(!right.holds());
        right.prolong(at(100));
        assert!(!right.holds());
    }

    #[test]
    fn a_right_can_be_ended_at_once() {
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z"));
        let right = Right::unlimited(clock);
        assert!(right.holds());
        right.end();
        assert!(!right.holds());
    }
}
