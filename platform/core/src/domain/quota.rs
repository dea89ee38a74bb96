//! What is left of a plan in its period: windows, allowances, and the charge for one use.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};
use serde::{Deserialize, Serialize};

use super::Timestamp;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Verifications started with a live key.
    Verifications,
    /// Direct messages sent with a live key.
    Messages,
    /// Verifications started with a test key.
    TestVerifications,
    /// Direct messages sent with a test key.
    TestMessages,
}

impl Resource {
    /// Every resource, for listings.
    pub const ALL: [Self; 4] = [Self::Verifications, Self::Messages, Self::TestVerifications, Self::TestMessages];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Verifications => "verifications",
            Self::Messages => "messages",
            Self::TestVerifications => "test_verifications",
            Self::TestMessages => "test_messages",
        }
    }
}

/// How long a window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowKind {
    /// A UTC day.
    Day,
    /// A calendar month in UTC, or a month from the subscription's anniversary.
    Month,
}

impl WindowKind {
    /// Its name. NEVER change one: they are stored.
    pub fn name(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Month => "month",
        }
    }
}

/// A stretch of time, `[starts, ends)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Window {
    /// How long it is.
    pub kind: WindowKind,
    /// The first moment in it.
    pub starts: Timestamp,
    /// The first moment after it.
    pub ends: Timestamp,
}

/// When a plan's month begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// On the first of the month, UTC.
    #[default]
    Calendar,
    /// On the day of the month, and at the time, when the subscription began.
    Anniversary,
}

fn midnight(date: Date) -> Timestamp {
    date.to_zoned(TimeZone::UTC).map(|zoned| zoned.timestamp()).unwrap_or(Timestamp::MAX)
}

impl Window {
    /// The UTC day that `now` lies in.
    pub fn day(now: Timestamp) -> Self {
        let today = now.to_zoned(TimeZone::UTC).date();
        let tomorrow = today.tomorrow().unwrap_or(Date::MAX);
        Self { kind: WindowKind::Day, starts: midnight(today), ends: midnight(tomorrow) }
    }

    /// The month that `now` lies in.
    ///
    /// `anchor` is when the subscription began; only [`Period::Anniversary`] looks at it. A month
    /// without that day (the 31st) turns over on its last day.
    ///
    /// ```
    /// use wotp_core::domain::quota::{Period, Window};
    /// let month = Window::month("2026-02-28T12:00:00Z".parse().unwrap(), Period::Anniversary, "2026-01-31T10:00:00Z".parse().unwrap());
    /// assert_eq!(month.starts.to_string(), "2026-02-28T10:00:00Z");
    /// assert_eq!(month.ends.to_string(), "2026-03-31T10:00:00Z");
    /// ```
    pub fn month(now: Timestamp, period: Period, anchor: Timestamp) -> Self {
        let (starts, ends) = match period {
            Period::Calendar => {
                let first = now.to_zoned(TimeZone::UTC).date().first_of_month();
                (midnight(first), midnight(first.saturating_add(1.month())))
            }
            Period::Anniversary => anniversary(now, anchor),
        };
        Self { kind: WindowKind::Month, starts, ends }
    }
}

fn anniversary(now: Timestamp, anchor: Timestamp) -> (Timestamp, Timestamp) {
    let from = anchor.to_zoned(TimeZone::UTC);
    let at = now.to_zoned(TimeZone::UTC);
    let months = (i32::from(at.year()) - i32::from(from.year())) * 12 + i32::from(at.month()) - i32::from(from.month());
    // Always counted from the anchor: adding a month to the 28th of February again and again
    // would never come back to the 31st.
    let turn = |n: i32| from.saturating_add(Span::new().months(n)).timestamp();
    if turn(months) <= now { (turn(months), turn(months + 1)) } else { (turn(months - 1), turn(months)) }
}

/// How much a plan allows in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// The window it holds for.
    pub window: Window,
    /// Uses included in the price; none means without limit.
    pub included: Option<u64>,
    /// Uses allowed in all: more than `included` where the plan sells overage.
    pub cap: Option<u64>,
}

/// All allowances that one use is counted against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quota {
    /// What is counted.
    pub resource: Resource,
    /// The day, then the month.
    pub allowances: [Allowance; 2],
}

/// How one use was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Charge {
    /// Within what the plan includes.
    Included,
    /// Beyond it, where the plan sells more.
    Overage,
}

/// A quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaExceeded {
    /// What was counted.
    pub resource: Resource,
    /// The window that is full.
    pub window: Window,
    /// How many it holds.
    pub limit: u64,
}

impl Quota {
    /// How one more use is charged, when `used` have been counted in each window.
    ///
    /// # Errors
    /// [`QuotaExceeded`], naming of all full windows the one that turns over last.
    pub fn charge(&self, used: [u64; 2]) -> Result<Charge, QuotaExceeded> {
        let mut charge = Charge::Included;
        let mut exceeded: Option<QuotaExceeded> = None;
        for (allowance, used) in self.allowances.iter().zip(used) {
            if let Some(cap) = allowance.cap.filter(|cap| used >= *cap)
                && exceeded.is_none_or(|other| other.window.ends < allowance.window.ends)
            {
                exceeded = Some(QuotaExceeded { resource: self.resource, window: allowance.window, limit: cap });
            }
            if allowance.included.is_some_and(|included| used >= included) {
                charge = Charge::Overage;
            }
        }
        exceeded.map_or(Ok(charge), Err)
    }
}

/// One use as it was counted, kept with what was used so that it can be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// What was counted.
    pub resource: Resource,
    /// Included or overage.
    pub charge: Charge,
    /// The day it was counted in.
    pub day: Timestamp,
    /// The month it was counted in.
    pub month: Timestamp,
    /// Given back, since nothing could be delivered.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refunded: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn quota(day: Option<u64>, month: Option<u64>, cap_multiple: u64) -> Quota {
        let now = at("2026-11-22T12:00:00Z");
        let allowance = |window, included: Option<u64>, multiple| Allowance {
            window,
            included,
            cap: included.map(|n| n * multiple),
        };
        Quota {
            resource: Resource::Verifications,
            allowances: [
                allowance(Window::day(now), day, 1),
                allowance(Window::month(now, Period::Calendar, now), month, cap_multiple),
            ],
        }
    }

    #[test]
    fn the_last_one_is_admitted_and_the_next_is_not() {
        let quota = quota(Some(20), Some(100), 1);
        assert_eq!(quota.charge([19, 99]), Ok(Charge::Included));
        assert_eq!(quota.charge([20, 99]).unwrap_err().window.kind, WindowKind::Day);
        assert_eq!(quota.charge([20, 100]).unwrap_err().window.kind, WindowKind::Month);
    }

    #[test]
    fn overage_is_sold_up_to_its_cap() {
        let quota = quota(None, Some(100), 5);
        assert_eq!(quota.charge([0, 99]), Ok(Charge::Included));
        assert_eq!(quota.charge([0, 100]), Ok(Charge::Overage));
        assert_eq!(quota.charge([0, 499]), Ok(Charge::Overage));
        assert_eq!(quota.charge([0, 500]).unwrap_err().limit, 500);
    }

    #[test]
    fn days_and_months_turn_over_at_midnight_utc() {
        let day = Window::day(at("2026-12-31T23:59:59.999999Z"));
        assert_eq!((day.starts, day.ends), (at("2026-12-31T00:00:00Z"), at("2027-01-01T00:00:00Z")));
        let month = Window::month(at("2026-12-31T23:59:59Z"), Period::Calendar, at("2020-01-15T00:00:00Z"));
        assert_eq!((month.starts, month.ends), (at("2026-12-01T00:00:00Z"), at("2027-01-01T00:00:00Z")));
    }

    proptest! {
        #[test]
        fn every_moment_lies_in_exactly_one_anniversary_month(anchor in 0i64..4_000_000_000, now in 0i64..4_000_000_000) {
            let (anchor, now) = (Timestamp::from_second(anchor).unwrap(), Timestamp::from_second(now).unwrap());
            let window = Window::month(now, Period::Anniversary, anchor);
            prop_assert!(window.starts <= now && now < window.ends);
            let next = Window::month(window.ends, Period::Anniversary, anchor);
            prop_assert_eq!(next.starts, window.ends);
        }

        #[test]
        fn no_more_than_the_cap_is_ever_admitted(day in 0u64..30, month in 0u64..60, multiple in 1u64..4, tries in 0u64..200) {
            let quota = quota(Some(day), Some(month), multiple);
            let admitted = (0..tries).fold(0, |used, _| used + u64::from(quota.charge([used, used]).is_ok()));
            prop_assert_eq!(admitted, tries.min(day).min(month * multiple));
        }
    }
}
