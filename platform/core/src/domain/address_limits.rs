//! How often one address may be written to, so that nobody's phone is bombed.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::verification::{Status, Verification};

/// The short window: 10 minutes.
pub const SHORT_WINDOW: SignedDuration = SignedDuration::from_mins(10);
/// The long window: a day.
pub const LONG_WINDOW: SignedDuration = SignedDuration::from_hours(24);
/// Wrong guesses in a row, over all verifications of an address, from which delays grow.
const FAILURES_FREE: u32 = 10;
/// Wrong guesses in a row after which an address rests for a day.
///
/// Source: NIST SP 800-63B-4: at most 100 consecutive failures, which a new code does not reset.
pub const FAILURES_MAX: u32 = 100;

/// A service's limits for one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AddressLimits {
    /// Sends within 10 minutes: 1 to 20.
    pub sends_per_10_minutes: u32,
    /// Sends within 24 hours: 1 to 100.
    pub sends_per_day: u32,
    /// Whether wrong codes make the next send wait. Not a service's choice: the platform's own codes are too long to be
    /// guessed, and whoever types wrong ones must not keep their owner from the right one.
    #[serde(skip)]
    pub wrong_codes_wait: bool,
    /// Pauses after the first, second, third … send, in seconds; the last one repeats.
    pub cool_down_seconds: Vec<u32>,
}

impl Default for AddressLimits {
    /// 5 in 10 minutes, 10 a day, 30, 60 and 120 seconds apart. Source: product defaults.
    fn default() -> Self {
        Self {
            sends_per_10_minutes: 5,
            sends_per_day: 10,
            cool_down_seconds: vec![30, 60, 120],
            wrong_codes_wait: true,
        }
    }
}

/// What one verification tells about its address: all that the limits look at, so that a store
/// need not read the rest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct AddressTrace {
    /// Where it stands.
    pub status: Status,
    /// Guesses made.
    pub checks_used: u8,
    /// When codes were sent.
    pub sends: Vec<Timestamp>,
    /// When it was started.
    pub created_at: Timestamp,
    /// When it ended.
    #[serde(default)]
    pub ended_at: Option<Timestamp>,
}

impl AddressTrace {
    /// What `verification` tells.
    pub fn of(verification: &Verification) -> Self {
        Self {
            status: verification.status,
            checks_used: verification.checks_used,
            sends: verification.sends.clone(),
            created_at: verification.created_at,
            ended_at: verification.ended_at,
        }
    }
}

/// What is known of an address, of all its verifications with one tenant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressHistory {
    /// When codes were sent, in any order.
    pub sends: Vec<Timestamp>,
    /// When a right code was last typed.
    pub approved_at: Option<Timestamp>,
    /// Wrong codes typed since then.
    pub failures: u32,
    /// When the last of them belonged to: the start of its verification.
    pub failed_at: Option<Timestamp>,
}

impl AddressHistory {
    /// What follows from an address's verifications of one mode, oldest first.
    pub fn of<'a>(verifications: impl IntoIterator<Item = &'a Verification>) -> Self {
        let mut history = Self::default();
        for verification in verifications {
            history.add(&AddressTrace::of(verification));
        }
        history
    }

    /// Adds one more verification, a later one than those before.
    pub fn add(&mut self, trace: &AddressTrace) {
        self.sends.extend_from_slice(&trace.sends);
        if trace.status == Status::Approved {
            self.approved_at = trace.ended_at;
            self.failures = 0;
            self.failed_at = None;
        } else if trace.checks_used > 0 {
            self.failures += u32::from(trace.checks_used);
            self.failed_at = Some(trace.created_at);
        }
    }
}

/// Which limit says no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressRefusal {
    /// The last code went out moments ago.
    CoolDown,
    /// Too many within 10 minutes.
    ShortWindow,
    /// Too many within a day.
    LongWindow,
    /// Too many wrong codes in a row.
    Failures,
}

/// An address may not be written to before `retry_at`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressLimited {
    /// Which limit says no.
    pub refusal: AddressRefusal,
    /// From when on it would be allowed.
    pub retry_at: Timestamp,
}

impl AddressLimits {
    /// The pause after `sent` sends (1 for the first).
    pub fn cool_down(&self, sent: usize) -> SignedDuration {
        let step = sent.saturating_sub(1).min(self.cool_down_seconds.len().saturating_sub(1));
        SignedDuration::from_secs(self.cool_down_seconds.get(step).copied().unwrap_or(0).into())
    }

    /// Whether one more send may go out at `now`.
    ///
    /// Pauses count sends since the last right code, so that somebody who signs in twice in a
    /// minute is not kept waiting; the windows count all.
    ///
    /// # Errors
    /// [`AddressLimited`] with the limit that ends last.
    pub fn admit(&self, history: &AddressHistory, now: Timestamp) -> Result<(), AddressLimited> {
        let mut limited: Option<AddressLimited> = None;
        let mut refuse = |refusal, retry_at: Timestamp| {
            if retry_at > now && limited.is_none_or(|other| other.retry_at < retry_at) {
                limited = Some(AddressLimited { refusal, retry_at });
            }
        };
        let mut sends = history.sends.clone();
        sends.sort_unstable();
        let windows = [
            (AddressRefusal::ShortWindow, SHORT_WINDOW, self.sends_per_10_minutes),
            (AddressRefusal::LongWindow, LONG_WINDOW, self.sends_per_day),
        ];
        for (refusal, length, allowed) in windows {
            let allowed = usize::try_from(allowed.max(1)).unwrap_or(usize::MAX);
            let since = now.saturating_sub(length).unwrap_or(Timestamp::MIN);
            let inside: Vec<_> = sends.iter().filter(|at| **at > since).collect();
            // The oldest that has to leave the window before there is room for one more.
            if let Some(leaves) = inside.len().checked_sub(allowed).and_then(|n| inside.get(n)) {
                refuse(refusal, leaves.saturating_add(length).unwrap_or(now));
            }
        }
        let since = now.saturating_sub(SHORT_WINDOW).unwrap_or(Timestamp::MIN);
        // A send later than now is a clock that stepped back: it does not hold anyone up.
        let recent =
            |at: &&Timestamp| **at > since && **at <= now && history.approved_at.is_none_or(|approved| **at > approved);
        let count = sends.iter().filter(recent).count();
        if let Some(last) = sends.iter().rfind(recent) {
            refuse(AddressRefusal::CoolDown, last.saturating_add(self.cool_down(count)).unwrap_or(now));
        }
        if let Some(failed_at) = history.failed_at.filter(|_| self.wrong_codes_wait) {
            refuse(AddressRefusal::Failures, failed_at.saturating_add(failure_delay(history.failures)).unwrap_or(now));
        }
        limited.map_or(Ok(()), Err)
    }
}

/// 30 seconds after ten wrong codes in a row, doubled with each further five, at most an hour;
/// a day after a hundred. Source: NIST SP 800-63B-4, growing delay of 30 s to 1 h.
fn failure_delay(failures: u32) -> SignedDuration {
    if failures >= FAILURES_MAX {
        return LONG_WINDOW;
    }
    let Some(over) = failures.checked_sub(FAILURES_FREE) else { return SignedDuration::ZERO };
    SignedDuration::from_secs((30i64 << (over / 5).min(7)).min(3600))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn history(sends: &[i64]) -> AddressHistory {
        AddressHistory { sends: sends.iter().map(|s| at(*s)).collect(), ..AddressHistory::default() }
    }

    fn refused(sends: &[i64], now: i64) -> Option<(AddressRefusal, i64)> {
        let limited = AddressLimits::default().admit(&history(sends), at(now)).err()?;
        Some((limited.refusal, limited.retry_at.as_second() - 1_000_000))
    }

    #[test]
    fn what_is_stored_of_limits_has_wrong_codes_wait() {
        let limits = AddressLimits { wrong_codes_wait: false, ..AddressLimits::default() };
        let text = serde_json::to_string(&limits).unwrap();
        assert!(!text.contains("wrong"), "{text}");
        assert_eq!(serde_json::from_str::<AddressLimits>(&text).unwrap(), AddressLimits::default());
    }

    #[test]
    fn pauses_grow_from_30_to_60_to_120_seconds() {
        assert_eq!(refused(&[], 0), None);
        assert_eq!(refused(&[0], 29), Some((AddressRefusal::CoolDown, 30)));
        assert_eq!(refused(&[0], 30), None);
        assert_eq!(refused(&[0, 30], 89), Some((AddressRefusal::CoolDown, 90)));
        assert_eq!(refused(&[0, 30, 90], 100), Some((AddressRefusal::CoolDown, 210)));
        assert_eq!(refused(&[0, 30, 90, 210], 211), Some((AddressRefusal::CoolDown, 330)));
    }

    #[test]
    fn the_sixth_send_waits_for_the_first_to_leave_the_window() {
        assert_eq!(refused(&[0, 30, 90, 210, 330], 455), Some((AddressRefusal::ShortWindow, 600)));
        assert_eq!(refused(&[0, 30, 90, 210, 330], 600), None);
    }

    #[test]
    fn the_eleventh_send_of_a_day_waits_for_the_first_to_leave_it() {
        let sends: Vec<i64> = (0..10).map(|n| n * 1000).collect();
        assert_eq!(refused(&sends, 20_000), Some((AddressRefusal::LongWindow, 86_400)));
    }

    #[test]
    fn a_right_code_ends_the_pause() {
        let history = AddressHistory { approved_at: Some(at(5)), ..history(&[0]) };
        assert_eq!(AddressLimits::default().admit(&history, at(6)), Ok(()));
    }

    #[test]
    fn wrong_codes_in_a_row_delay_the_next_one_and_a_hundred_rest_a_day() {
        let after = |failures| {
            let history = AddressHistory { failures, failed_at: Some(at(0)), ..history(&[]) };
            AddressLimits::default()
                .admit(&history, at(1))
                .err()
                .map(|limited| limited.retry_at.as_second() - 1_000_000)
        };
        assert_eq!(
            [after(9), after(10), after(15), after(60), after(100)],
            [None, Some(30), Some(60), Some(3600), Some(86_400)]
        );
    }

    proptest! {
        #[test]
        fn waiting_until_retry_at_is_always_enough(sends in prop::collection::vec(0i64..90_000, 0..15), now in 0i64..90_000, failures in 0u32..120) {
            let sends: Vec<i64> = sends.into_iter().filter(|s| *s <= now).collect();
            let limits = AddressLimits::default();
            let mut history = history(&sends);
            history.failures = failures;
            history.failed_at = sends.first().map(|s| at(*s));
            if let Err(limited) = limits.admit(&history, at(now)) {
                prop_assert!(limited.retry_at > at(now));
                prop_assert_eq!(limits.admit(&history, limited.retry_at), Ok(()));
            }
        }
    }
}
