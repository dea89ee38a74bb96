//! A clock that stands until it is moved.

use std::future::poll_fn;
use std::sync::{Mutex, PoisonError};
use std::task::{Poll, Waker};

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
pub struct ManualClock {
    now: Mutex<Timestamp>,
    waiting: Mutex<Vec<Waker>>,
}

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
        Self { now: Mutex::new(moment), waiting: Mutex::default() }
    }

    /// Moves it, forwards or backwards.
    ///
    /// # Panics
    /// Beyond the year 9999.
    pub fn advance(&self, by: SignedDuration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.checked_add(by).expect("a test stays within the calendar");
        drop(now);
        let waiting = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Returns once it was moved that far.
    pub async fn reaches(&self, moment: Timestamp) {
        poll_fn(|context| {
            // Locked first: it may be moved between the two.
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if self.now() >= moment {
                return Poll::Ready(());
            }
            waiting.push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether anybody has begun to wait for it since it was last moved.
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
