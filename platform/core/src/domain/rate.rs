//! Rates: the generic cell rate algorithm, which needs one number per bucket.

use jiff::SignedDuration;

use super::Timestamp;

/// How many calls a bucket takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Calls a second in the long run; at least 1.
    pub per_second: u32,
    /// Calls that may come at once; at least 1.
    pub burst: u32,
}

/// What a bucket answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateDecision {
    /// Whether the call may go on.
    pub allowed: bool,
    /// Calls that could follow at once.
    pub remaining: u32,
    /// When a refused call would be allowed, or when the bucket is full again after an allowed one.
    pub at: Timestamp,
}

impl Rate {
    /// How long one call takes to be made up for.
    pub fn interval(self) -> SignedDuration {
        SignedDuration::from_nanos(1_000_000_000 / i64::from(self.per_second.max(1)))
    }

    /// How long an empty bucket takes to be full again.
    pub fn depth(self) -> SignedDuration {
        self.interval().saturating_mul(i32::try_from(self.burst.max(1)).unwrap_or(i32::MAX))
    }

    /// Decides on one call. `full_at` is what the last call left, none for a new bucket; the
    /// second value is what to keep now.
    ///
    /// ```
    /// use wotp_core::domain::{Timestamp, rate::Rate};
    /// let rate = Rate { per_second: 1, burst: 2 };
    /// let now = Timestamp::UNIX_EPOCH;
    /// let (first, state) = rate.decide(None, now);
    /// let (second, state) = rate.decide(Some(state), now);
    /// let (third, _) = rate.decide(Some(state), now);
    /// assert_eq!([first.allowed, second.allowed, third.allowed], [true, true, false]);
    /// assert_eq!(third.at.as_second(), 1);
    /// ```
    pub fn decide(self, full_at: Option<Timestamp>, now: Timestamp) -> (RateDecision, Timestamp) {
        let interval = self.interval();
        let depth = self.depth();
        // A clock that stepped back must not lock the bucket for longer than it can be empty.
        let latest = now.saturating_add(depth).unwrap_or(Timestamp::MAX);
        let full = full_at.unwrap_or(now).clamp(now, latest);
        let next = full.saturating_add(interval).unwrap_or(Timestamp::MAX);
        if next > latest {
            let at = next.saturating_sub(depth).unwrap_or(now);
            return (RateDecision { allowed: false, remaining: 0, at }, full);
        }
        let room = latest.duration_since(next).as_nanos() / interval.as_nanos().max(1);
        (RateDecision { allowed: true, remaining: u32::try_from(room).unwrap_or(u32::MAX), at: next }, next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_clock_that_steps_back_does_not_lock_the_bucket() {
        let rate = Rate { per_second: 10, burst: 5 };
        let later = Timestamp::from_second(10_000).unwrap();
        let (_, state) = rate.decide(None, later);
        let earlier = Timestamp::from_second(1).unwrap();
        let (refused, _) = rate.decide(Some(state), earlier);
        assert!(refused.at <= earlier.checked_add(SignedDuration::from_millis(100)).unwrap());
    }

    proptest! {
        #[test]
        fn no_more_than_burst_and_rate_get_through(per_second in 1u32..50, burst in 1u32..50, gaps in prop::collection::vec(0i64..200, 1..300)) {
            let rate = Rate { per_second, burst };
            let (mut now, mut state, mut allowed) = (Timestamp::UNIX_EPOCH, None, 0u64);
            for gap in gaps {
                now = now.checked_add(SignedDuration::from_millis(gap)).unwrap();
                let (decision, kept) = rate.decide(state, now);
                state = Some(kept);
                allowed += u64::from(decision.allowed);
            }
            let elapsed = u64::try_from(now.as_millisecond()).unwrap();
            prop_assert!(allowed <= u64::from(burst) + elapsed * u64::from(per_second) / 1000 + 1);
        }
    }
}
