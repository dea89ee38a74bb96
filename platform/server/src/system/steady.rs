//! Time that does not step back, out of a clock that may and a counter that only runs.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

/// Difference from which on the operator is told: 5 seconds. Leap seconds and what a time service
/// puts right in passing are less.
const TOLD_FROM_MICROSECONDS: i64 = 5_000_000;
/// Difference below which the next one is told again: 1 second.
const FORGOTTEN_BELOW_MICROSECONDS: i64 = 1_000_000;

/// A moment, and whether to say something about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Microseconds since 1970.
    pub(super) now: i64,
    /// How many microseconds the wall clock has fallen behind: once, when that is much.
    pub(super) news: Option<i64>,
}

/// Follows the wall clock forward, and goes on at the counter's pace when it steps back.
///
/// What it says is the counter plus the most that the wall clock was ever ahead of the counter.
/// From this follow its promises:
///
/// - it never goes back;
/// - it is never behind the wall clock;
/// - between two of its moments lies at least the time that the counter counted, and more only when
///   the wall clock went forward by more.
///
/// One number is its whole state, and it changes only when the wall clock gets ahead: reading
/// costs other threads nothing.
#[derive(Debug)]
pub(super) struct Steady {
    /// The most that the wall clock was ahead of the counter, in microseconds.
    lead: AtomicI64,
    /// Whether the operator knows that the wall clock is behind.
    told: AtomicBool,
}

impl Steady {
    pub(super) const fn new() -> Self {
        Self { lead: AtomicI64::new(i64::MIN), told: AtomicBool::new(false) }
    }

    /// The moment at which the wall clock showed `wall` and, not before that, the counter
    /// `counted`; both in microseconds.
    ///
    /// The order matters. A thread that was held up between the two sees too small a lead, which
    /// changes nothing. The other way around it would see too large a one, and that would stay.
    pub(super) fn read(&self, wall: i64, counted: i64) -> Reading {
        let lead = wall.saturating_sub(counted);
        // Relaxed: of one number, a thread that knows of a moment sees what that moment came from.
        let mut most = self.lead.load(Ordering::Relaxed);
        if lead > most {
            most = self.lead.fetch_max(lead, Ordering::Relaxed).max(lead);
        }
        let behind = most.saturating_sub(lead);
        Reading { now: most.saturating_add(counted), news: self.is_news(behind).then_some(behind) }
    }

    fn is_news(&self, behind: i64) -> bool {
        if behind > TOLD_FROM_MICROSECONDS {
            return !self.told.load(Ordering::Relaxed) && !self.told.swap(true, Ordering::Relaxed);
        }
        if behind < FORGOTTEN_BELOW_MICROSECONDS && self.told.load(Ordering::Relaxed) {
            self.told.store(false, Ordering::Relaxed);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;
    const DAY: i64 = 86_400 * SECOND;
    /// What a wall clock shows when the counter is at zero.
    const NOON: i64 = 1_795_348_800 * SECOND;

    /// A wall clock that can be set, beside a counter.
    struct Machine {
        steady: Steady,
        wall: i64,
        counted: i64,
    }

    impl Machine {
        fn started() -> Self {
            let mut machine = Self { steady: Steady::new(), wall: NOON, counted: 0 };
            assert_eq!(machine.passes(0), Reading { now: NOON, news: None });
            machine
        }

        fn passes(&mut self, microseconds: i64) -> Reading {
            self.wall += microseconds;
            self.counted += microseconds;
            self.steady.read(self.wall, self.counted)
        }

        /// Sets the wall clock, forward or back.
        fn steps(&mut self, microseconds: i64) -> Reading {
            self.wall += microseconds;
            self.passes(0)
        }

        /// Microseconds since it was started, by the steady time.
        fn shows(&mut self) -> i64 {
            self.passes(0).now - NOON
        }
    }

    #[test]
    fn a_clock_that_is_left_alone_is_followed() {
        let mut machine = Machine::started();
        assert_eq!(machine.passes(1), Reading { now: NOON + 1, news: None });
        assert_eq!(machine.passes(300 * SECOND), Reading { now: NOON + 1 + 300 * SECOND, news: None });
    }

    #[test]
    fn a_code_lives_its_five_minutes_although_the_clock_steps_back() {
        for back in [1, SECOND, 3600 * SECOND, 30 * DAY, NOON] {
            let mut machine = Machine::started();
            let expires_at = machine.passes(60 * SECOND).now + 300 * SECOND;
            machine.steps(-back);
            assert!(machine.passes(299 * SECOND).now < expires_at, "back by {back}");
            assert_eq!(machine.passes(SECOND).now, expires_at, "back by {back}");
        }
    }

    #[test]
    fn a_step_forward_is_followed_at_once() {
        let mut machine = Machine::started();
        assert_eq!(machine.steps(3 * DAY), Reading { now: NOON + 3 * DAY, news: None });
        assert_eq!(machine.passes(SECOND).now, NOON + 3 * DAY + SECOND);
    }

    #[test]
    fn a_counter_that_rests_while_the_machine_sleeps_is_caught_up_with() {
        let mut machine = Machine::started();
        machine.wall += 8 * 3600 * SECOND;
        assert_eq!(machine.shows(), 8 * 3600 * SECOND);
    }

    #[test]
    fn a_wall_clock_that_runs_faster_is_followed_and_a_slower_one_is_not() {
        let mut machine = Machine::started();
        for _ in 0..1000 {
            machine.wall += 50;
            machine.passes(SECOND);
        }
        assert_eq!(machine.shows(), 1000 * SECOND + 1000 * 50);
        for _ in 0..1000 {
            machine.wall -= 50;
            machine.passes(SECOND);
        }
        assert_eq!(machine.shows(), 2000 * SECOND + 1000 * 50);
    }

    #[test]
    fn what_was_lost_by_a_step_back_is_caught_up_with_before_time_is_followed_again() {
        let mut machine = Machine::started();
        machine.steps(-60 * SECOND);
        assert_eq!(machine.passes(10 * SECOND).now, NOON + 10 * SECOND);
        machine.steps(40 * SECOND);
        assert_eq!(machine.shows(), 10 * SECOND, "still 20 seconds behind");
        machine.steps(50 * SECOND);
        assert_eq!(machine.shows(), 40 * SECOND, "30 seconds ahead");
    }

    #[test]
    fn a_clock_that_ran_ahead_by_days_and_is_put_right_takes_nothing_back() {
        let mut machine = Machine::started();
        machine.steps(3 * DAY);
        machine.passes(DAY);
        machine.steps(-3 * DAY);
        assert_eq!(machine.shows(), 4 * DAY);
        assert_eq!(machine.passes(SECOND).now, NOON + 4 * DAY + SECOND);
    }

    #[test]
    fn being_behind_by_much_is_told_once_each_time() {
        let mut machine = Machine::started();
        assert_eq!(machine.steps(-5 * SECOND).news, None);
        assert_eq!(machine.steps(-1).news, Some(5 * SECOND + 1));
        assert_eq!(machine.steps(-3600 * SECOND).news, None, "known already");
        assert_eq!(machine.passes(DAY).news, None);
        assert_eq!(machine.steps(3603 * SECOND).news, None, "2 seconds behind");
        assert_eq!(machine.steps(-60 * SECOND).news, None, "not over yet");
        assert_eq!(machine.steps(DAY).news, None, "ahead");
        assert_eq!(machine.steps(-6 * SECOND).news, Some(6 * SECOND));
    }

    #[test]
    fn a_thread_that_was_held_up_between_the_two_changes_nothing() {
        let mut machine = Machine::started();
        machine.passes(10 * SECOND);
        // It read the wall clock, lost two seconds, and read the counter.
        machine.counted += 2 * SECOND;
        assert_eq!(machine.shows(), 12 * SECOND);
        machine.wall += 2 * SECOND;
        assert_eq!(machine.passes(SECOND).now, NOON + 13 * SECOND);
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        for (wall, counted) in [(i64::MAX, 0), (i64::MAX, i64::MAX), (i64::MIN, i64::MAX), (0, i64::MAX)] {
            let steady = Steady::new();
            steady.read(NOON, 0);
            assert!(steady.read(wall, counted).now >= NOON);
        }
    }

    /// Runs `work` on four threads at once; the sum of what they say.
    fn on_four_threads(work: impl Fn(i64) -> usize + Sync) -> usize {
        std::thread::scope(|scope| {
            let work = &work;
            let threads = [1, 2, 3, 4].map(|seed| scope.spawn(move || work(seed)));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        })
    }

    #[test]
    fn threads_see_one_time_that_never_goes_back() {
        let steady = Steady::new();
        let (counter, latest) = (AtomicI64::new(0), AtomicI64::new(i64::MIN));
        on_four_threads(|seed| {
            for n in 0..20_000 {
                let wobble = ((n * 7919 + seed * 104_729) % 9 - 4) * SECOND;
                let known = latest.load(Ordering::SeqCst);
                let now = steady.read(NOON + wobble + n, counter.fetch_add(1, Ordering::SeqCst)).now;
                assert!(now > known, "{now} after {known}");
                latest.fetch_max(now, Ordering::SeqCst);
            }
            0
        });
    }

    #[test]
    fn of_many_threads_one_tells() {
        let steady = Steady::new();
        steady.read(NOON, 0);
        let read = |_| (0..1000).filter(|n| steady.read(NOON - DAY, *n).news.is_some()).count();
        assert_eq!(on_four_threads(read), 1);
    }
}
