//! When a webhook that was not taken is tried again.

use jiff::SignedDuration;

use super::super::Timestamp;

/// Pauses after the first, second, third … attempt. Source: Standard Webhooks 1.0, the schedule of Svix.
const PAUSES: [SignedDuration; 9] = [
    SignedDuration::from_secs(5),
    SignedDuration::from_mins(5),
    SignedDuration::from_mins(30),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(5),
    SignedDuration::from_hours(10),
    SignedDuration::from_hours(14),
    SignedDuration::from_hours(20),
    SignedDuration::from_hours(24),
];

/// Attempts of one event at one endpoint: the first and nine more, over three days.
pub const ATTEMPTS: u8 = 10;

/// Longer than all attempts take. What waited for its endpoint for so long is given up.
pub const SPAN: SignedDuration = SignedDuration::from_hours(4 * 24);

/// Longest that an answer's `Retry-After` is honoured.
const ASKED_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Pauses of an endpoint that asks for fewer calls, without saying how long.
const REST_MIN: SignedDuration = SignedDuration::from_secs(5);
const REST_MAX: SignedDuration = SignedDuration::from_mins(5);
/// Longest that a whole endpoint is left alone because one answer asked for it. What was answered waits for as
/// long as it says; whether the rest may go is asked by one call.
const REST_ASKED_MAX: SignedDuration = SignedDuration::from_mins(15);

/// How long to wait after `attempts` that failed; none when there are no more.
///
/// `dice` makes it up to a fifth longer, so that what failed together does not come back together. What the
/// answer asks for goes before, if it is longer.
pub fn pause(attempts: u8, asked: Option<SignedDuration>, dice: u16) -> Option<SignedDuration> {
    let pause = *PAUSES.get(usize::from(attempts.checked_sub(1)?))?;
    let jitter = pause.as_millis() * i128::from(dice) / i128::from(u16::MAX) / 5;
    let jitter = SignedDuration::from_millis(i64::try_from(jitter).unwrap_or(0));
    Some((pause + jitter).max(asked.unwrap_or_default().min(ASKED_MAX)))
}

/// How long an endpoint is left alone that was not there, or asked for it, `times` in a row.
pub fn rest(times: u32, asked: Option<SignedDuration>) -> SignedDuration {
    let doubled = REST_MIN.saturating_mul(1 << times.saturating_sub(1).min(10));
    doubled.min(REST_MAX).max(asked.unwrap_or_default().min(REST_ASKED_MAX))
}

/// How long a `Retry-After` asks us to wait: seconds, or a date (RFC 9110). What is neither asks nothing.
pub fn retry_after(text: &str, now: Timestamp) -> Option<SignedDuration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(SignedDuration::from_secs(seconds.into()));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    Some(date.duration_since(now).max(SignedDuration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_attempts_within_four_days() {
        let mut total = SignedDuration::ZERO;
        let mut attempts = 1;
        while let Some(pause) = pause(attempts, None, u16::MAX) {
            total += pause;
            attempts += 1;
        }
        assert_eq!(attempts, ATTEMPTS);
        assert!(total < SPAN, "{total}");
    }

    #[test]
    fn jitter_only_adds_and_an_answer_may_ask_for_more() {
        assert_eq!(pause(1, None, 0), Some(SignedDuration::from_secs(5)));
        assert_eq!(pause(1, None, u16::MAX), Some(SignedDuration::from_secs(6)));
        assert_eq!(pause(1, Some(SignedDuration::from_mins(2)), 0), Some(SignedDuration::from_mins(2)));
        assert_eq!(pause(2, Some(SignedDuration::from_secs(1)), 0), Some(SignedDuration::from_mins(5)));
        assert_eq!(pause(1, Some(SignedDuration::from_hours(1000)), 0), Some(ASKED_MAX));
        assert_eq!(pause(0, None, 0), None);
    }

    #[test]
    fn a_rest_doubles_and_has_an_end() {
        let rests: Vec<i64> = (1..=8).map(|times| rest(times, None).as_secs()).collect();
        assert_eq!(rests, [5, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(rest(u32::MAX, None), REST_MAX);
        assert_eq!(rest(1, Some(SignedDuration::from_mins(10))), SignedDuration::from_mins(10));
        assert_eq!(rest(1, Some(SignedDuration::from_hours(24))), REST_ASKED_MAX);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = "1994-11-06T08:49:00Z".parse().unwrap();
        assert_eq!(retry_after(" 120 ", now), Some(SignedDuration::from_secs(120)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:37 GMT", now), Some(SignedDuration::from_secs(37)));
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:40:00 GMT", now), Some(SignedDuration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-1", now), None);
    }
}
