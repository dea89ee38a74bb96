//! The time that nodes of one store share: the store's, carried on between two looks at it.
//!
//! Each machine's clock may be wrong, and no node may let a code live longer than another does. So a
//! node goes by its own counter from the last time that the store told, and looks again with every
//! heartbeat. It never goes back: what it finds itself ahead by, it loses by going slower.

use std::sync::{PoisonError, RwLock};

use wotp_core::domain::Timestamp;
use wotp_core::ports::Clock;

use super::counted;

/// By how much a clock that is ahead goes slower: 1 part in 2,000, half a millisecond a second. As
/// much as the kernel slows its own clock by; a code that lives five minutes lives 0.15 s longer.
const SLOWER: i64 = 2_000;
/// What two looks may differ by without anything being wrong: the way to the store is not always
/// as long as the way back.
const SLACK_MICROSECONDS: i64 = 1_000;
/// From which difference on the operator is told: 5 seconds.
const TOLD_FROM_MICROSECONDS: i64 = 5_000_000;

/// Where the time stood, and how it goes on. In microseconds.
#[derive(Debug, Clone, Copy)]
struct Course {
    /// The time, when the counter stood at `counted`.
    time: i64,
    counted: i64,
    /// Whether it is ahead of the store, and goes slower.
    slower: bool,
}

impl Course {
    fn at(self, counted: i64) -> i64 {
        let passed = counted.saturating_sub(self.counted).max(0);
        self.time.saturating_add(if self.slower { passed - passed / SLOWER } else { passed })
    }

    /// The course from here on, after the store told `time`; and by how much it was ahead.
    fn corrected(self, time: i64, counted: i64) -> (Self, i64) {
        let own = self.at(counted);
        let ahead = own.saturating_sub(time);
        // Behind: the time goes forward at once, as a clock that is set.
        (Self { time: own.max(time), counted, slower: ahead > SLACK_MICROSECONDS }, ahead)
    }
}

/// The time of the store that nodes share.
#[derive(Debug)]
pub struct SharedClock {
    course: RwLock<Course>,
}

impl SharedClock {
    /// The time from now on, which the store told just now.
    pub fn started(time: Timestamp) -> Self {
        let course = Course { time: time.as_microsecond(), counted: counted(), slower: false };
        Self { course: RwLock::new(course) }
    }

    /// Goes by what the store told just now.
    pub fn correct(&self, time: Timestamp) {
        let mut course = self.course.write().unwrap_or_else(PoisonError::into_inner);
        let (corrected, ahead) = course.corrected(time.as_microsecond(), counted());
        if ahead > TOLD_FROM_MICROSECONDS && !course.slower {
            tracing::warn!(
                ahead_seconds = ahead / 1_000_000,
                "the store's clock was set back: this node goes on with the time it had, by which codes expire and \
                 retries come when they should; a restart takes the store's"
            );
        }
        *course = corrected;
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Timestamp {
        let course = self.course.read().unwrap_or_else(PoisonError::into_inner);
        // Counted while the course is held: it is not corrected in between.
        Timestamp::from_microsecond(course.at(counted())).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn started() -> Course {
        Course { time: 1000 * SECOND, counted: 0, slower: false }
    }

    #[test]
    fn it_goes_on_at_the_counters_pace() {
        assert_eq!(started().at(2 * SECOND), 1002 * SECOND);
    }

    #[test]
    fn one_that_is_behind_is_set_forward_at_once() {
        let (course, ahead) = started().corrected(1302 * SECOND, 2 * SECOND);
        assert_eq!((course.at(2 * SECOND), ahead), (1302 * SECOND, -300 * SECOND));
        assert!(!course.slower);
    }

    #[test]
    fn one_that_is_ahead_never_goes_back_and_loses_what_it_is_ahead_by() {
        // Its counter is too fast by 100 parts in a million: 8.6 seconds a day, if nobody looked.
        let (mut course, mut counted, mut last) = (started(), 0, 0);
        for look in 1..100_000_i64 {
            counted += 2 * SECOND + 200;
            assert!(course.at(counted) >= last, "it went back");
            last = course.at(counted);
            let store = 1000 * SECOND + look * 2 * SECOND;
            (course, _) = course.corrected(store, counted);
            assert!((0..=SLACK_MICROSECONDS + 1000).contains(&(last - store)), "ahead by {}", last - store);
        }
    }

    #[test]
    fn a_store_that_was_set_back_is_not_followed_back() {
        let (course, ahead) = started().corrected(700 * SECOND, 0);
        assert_eq!((course.at(0), ahead), (1000 * SECOND, 300 * SECOND));
        let minute = 60 * SECOND;
        assert_eq!(course.at(minute), 1000 * SECOND + minute - minute / SLOWER);
    }
}
