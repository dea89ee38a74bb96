//! A clock that stands until it is moved.

use std::sync::{Mutex, PoisonError};

use jiff::SignedDuration;

use crate::domain::Timestamp;
use crate::ports::Clock;

/// Time as a test wants it.
///
/// ```
/// use jiff::SignedDuration;
/// use wotp_core::{ports::Clock, testing::ManualClock};
/// let clock = ManualClock::at("2026-03-01T12:00:00Z");
/// clock.advance(SignedDuration::from_mins(5));
/// assert_eq!(clock.now().to_string(), "2026-03-01T12:05:00Z");
/// ```
#[derive(Debug)]
pub struct ManualClock(Mutex<Timestamp>);

impl ManualClock {
    /// A clock that shows this moment, as RFC 3339.
    ///
    /// # Panics
    /// When the text is no moment.
    pub fn at(text: &str) -> Self {
        Self::from_moment(text.parse().expect("a test names a moment"))
    }

    /// A clock that shows `moment`.
    pub fn from_moment(moment: Timestamp) -> Self {
        Self(Mutex::new(moment))
    }

    /// Moves it, forwards or backwards.
    ///
    /// # Panics
    /// Beyond the year 9999.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(by).expect("a test stays within the calendar");
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
