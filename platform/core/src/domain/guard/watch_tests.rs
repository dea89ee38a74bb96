use proptest::prelude::*;

use super::*;

fn at(minute: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + minute * 60).unwrap()
}

fn settings() -> GuardSettings {
    GuardSettings::off(TenantId::from_bytes([1; 16]), ServiceId::from_bytes([1; 16]))
}

fn watch() -> Watch {
    let prefix = Destination::Prefix("+4477009001".to_owned());
    Watch::new(TenantId::from_bytes([1; 16]), ServiceId::from_bytes([1; 16]), prefix, Some("GB".to_owned()), at(0))
}

fn usual(percent: f64) -> History {
    History { started: 1000.0, approved: 10.0 * percent, minute: minute_of(at(0)) }
}

fn see(watch: &mut Watch, minute: i64, started: i64, approved: i64) {
    watch.add(Minute { minute: minute_of(at(minute)), started, approved }, at(minute));
}

#[test]
fn wilsons_interval_is_the_one_of_the_tables() {
    // Computed apart, in Python.
    for (approved, started, upper) in [(0, 20, 0.2491), (5, 50, 0.2597), (50, 100, 0.6247), (20, 20, 1.0)] {
        let most = Count { started, approved }.rate_at_most();
        assert!((most - upper).abs() < 5e-4, "{approved} of {started}: {most}");
    }
}

#[test]
fn a_destination_that_nobody_answers_from_is_slowed_then_blocked_then_probed() {
    let (mut watch, settings, usual) = (watch(), settings(), [usual(70.0)]);
    see(&mut watch, 0, 20, 0);
    assert_eq!(watch.decide(&settings, &usual, at(1)), None, "who got a code a minute ago may still type it in");
    let slowed = watch.decide(&settings, &usual, at(2));
    assert_eq!(slowed, Some(Transition { from: State::Normal, to: State::Slowed }));
    for minute in 2..7 {
        see(&mut watch, minute, 5, 0);
        assert_eq!(watch.decide(&settings, &usual, at(minute)), None, "{minute}");
    }
    let blocked = watch.decide(&settings, &usual, at(7));
    assert_eq!(blocked, Some(Transition { from: State::Slowed, to: State::Blocked }));
    assert_eq!(watch.until, Some(at(37)));
    assert_eq!(watch.wake_at(), Some(at(37)));
    assert_eq!(watch.decide(&settings, &usual, at(36)), None);
    assert_eq!(watch.decide(&settings, &usual, at(37)).unwrap().to, State::Probing);
    assert_eq!(watch.wake_at(), Some(at(37 + 24 * 60)), "nothing goes out by itself");
    see(&mut watch, 38, 10, 0);
    assert_eq!(watch.wake_at(), Some(at(39)));
    assert_eq!(watch.decide(&settings, &usual, at(40)).unwrap().to, State::Blocked);
    assert_eq!(watch.until, Some(at(100)), "twice as long");
    assert_eq!(watch.decide(&settings, &usual, at(100)).unwrap().to, State::Probing);
    see(&mut watch, 101, 10, 6);
    assert_eq!(watch.decide(&settings, &usual, at(103)).unwrap().to, State::Normal);
    assert_eq!((watch.blocks, watch.recent.len()), (0, 0));
}

#[test]
fn a_slowed_destination_whose_codes_are_typed_in_is_released() {
    let (mut watch, settings, usual) = (watch(), settings(), [usual(70.0)]);
    see(&mut watch, 0, 30, 0);
    watch.decide(&settings, &usual, at(2)).unwrap();
    see(&mut watch, 3, 10, 6);
    assert_eq!(watch.decide(&settings, &usual, at(5)).unwrap().to, State::Normal);
}

#[test]
fn a_slowed_destination_that_nobody_uses_is_released_by_itself() {
    let (mut watch, settings, usual) = (watch(), settings(), [usual(70.0)]);
    see(&mut watch, 0, 30, 0);
    watch.decide(&settings, &usual, at(2)).unwrap();
    assert_eq!(watch.decide(&settings, &usual, at(31)), None);
    assert_eq!(watch.decide(&settings, &usual, at(32)).unwrap().to, State::Normal);
}

#[test]
fn where_nothing_is_usual_nothing_is_unusual() {
    let (mut watch, settings) = (watch(), settings());
    see(&mut watch, 0, 500, 0);
    assert_eq!(watch.decide(&settings, &[], at(5)), None);
    assert_eq!(watch.decide(&settings, &[History::default()], at(5)), None);
}

#[test]
fn its_own_history_comes_before_its_countrys() {
    let settings = settings();
    let mut low = watch();
    low.history = usual(5.0);
    see(&mut low, 0, 40, 2);
    assert_eq!(low.decide(&settings, &[usual(90.0)], at(3)), None, "it was never better here");
    let mut new = watch();
    see(&mut new, 0, 40, 2);
    assert_eq!(new.decide(&settings, &[usual(90.0)], at(3)).unwrap().to, State::Slowed);
}

#[test]
fn an_attack_does_not_become_what_is_usual() {
    let (mut watch, settings) = (watch(), settings());
    watch.history = usual(70.0);
    see(&mut watch, 0, 100, 0);
    watch.decide(&settings, &[], at(2)).unwrap();
    let before = watch.history;
    for minute in 3..200 {
        see(&mut watch, minute, 5, 0);
        watch.decide(&settings, &[], at(minute));
    }
    assert!(watch.state != State::Normal && watch.history == before, "{watch:?}");
}

#[test]
fn what_is_taken_out_of_a_country_does_not_count_against_it() {
    let settings = settings();
    let mut prefix = watch();
    let mut country = watch();
    see(&mut prefix, 0, 200, 0);
    see(&mut country, 0, 250, 35);
    country.take_out(&prefix.recent);
    assert_eq!(country.counted(i64::MIN, at(3)), Count { started: 50, approved: 35 });
    assert_eq!(country.decide(&settings, &[usual(70.0)], at(3)), None);
}

#[test]
fn a_watched_country_is_acted_on_with_half_as_many() {
    let mut settings = settings();
    let see_ten = || {
        let mut watch = watch();
        see(&mut watch, 0, 12, 0);
        watch
    };
    assert_eq!(see_ten().decide(&settings, &[usual(95.0)], at(3)), None);
    settings.countries.watched.push("GB".to_owned());
    assert_eq!(see_ten().decide(&settings, &[usual(95.0)], at(3)).unwrap().to, State::Slowed);
}

#[test]
fn to_a_slowed_destination_as_many_go_out_as_usual() {
    let (mut busy, settings) = (watch(), settings());
    // Ten a minute for half a year.
    for minute in (0..180 * 24 * 60).step_by(60) {
        see(&mut busy, minute, 600, 400);
        busy.age(at(minute));
    }
    busy.state = State::Slowed;
    assert!((10..=11).contains(&busy.per_minute(&settings)), "{}", busy.per_minute(&settings));
    let mut quiet = watch();
    quiet.state = State::Slowed;
    assert_eq!(quiet.per_minute(&settings), 5);
    quiet.state = State::Probing;
    assert_eq!(quiet.per_minute(&settings), 2);
}

#[test]
fn an_hour_becomes_history_which_fades() {
    let (mut watch, settings) = (watch(), settings());
    see(&mut watch, 0, 100, 60);
    watch.decide(&settings, &[], at(59));
    assert!(!watch.history.is_enough());
    watch.decide(&settings, &[], at(61));
    assert!(watch.history.is_enough() && watch.recent.is_empty());
    assert!((watch.history.rate() - 0.6).abs() < 1e-9);
    let week = 7 * 24 * 60;
    see(&mut watch, week, 0, 0);
    watch.decide(&settings, &[], at(week + 61));
    assert!((watch.history.started - 50.0).abs() < 0.01, "{:?}", watch.history);
    assert!(watch.is_forgotten(at(week + 61 + 30 * 24 * 60)));
}

proptest! {
    #[test]
    fn the_honest_are_left_alone(started in 20u64..2000, rate in 0.4f64..1.0, usual_rate in 0.4f64..1.0) {
        // Conversion that fell by less than half is nobody's business, however large the numbers are.
        prop_assume!(rate >= usual_rate * 0.5);
        let mut watch = watch();
        let approved = (as_float(started) * rate).ceil() as i64;
        see(&mut watch, 0, i64::try_from(started).unwrap(), approved);
        prop_assert_eq!(watch.decide(&settings(), &[usual(usual_rate * 100.0)], at(3)), None);
    }

    #[test]
    fn less_than_the_volume_decides_nothing(started in 0i64..20, usual_rate in 0.0f64..1.0) {
        let mut watch = watch();
        see(&mut watch, 0, started, 0);
        prop_assert_eq!(watch.decide(&settings(), &[usual(usual_rate * 100.0)], at(3)), None);
    }

    #[test]
    fn more_approvals_never_look_worse(started in 1u64..500, approved in 0u64..500, more in 0u64..50) {
        let count = |approved: u64| Count { started, approved: approved.min(started) };
        prop_assert!(count(approved).rate_at_most() <= count(approved + more).rate_at_most() + 1e-12);
        prop_assert!(count(approved).rate_at_most() >= count(approved).rate() - 1e-12);
    }

    #[test]
    fn whatever_is_seen_a_destination_comes_free_again(
        seen in prop::collection::vec((0i64..90, -2i64..60, 0i64..60), 0..80),
    ) {
        let (mut watch, settings, usual) = (watch(), settings(), [usual(70.0)]);
        let mut now = 0;
        for (gap, started, approved) in seen {
            now += gap;
            see(&mut watch, now, started, approved);
            watch.decide(&settings, &usual, at(now));
            prop_assert!(watch.recent.len() <= 61);
            prop_assert!(watch.recent.is_sorted_by(|a, b| a.minute < b.minute));
            prop_assert!(watch.history.approved <= watch.history.started);
            prop_assert_eq!(watch.until.is_some(), watch.state == State::Blocked);
            prop_assert_eq!(watch.listed().is_empty(), watch.state == State::Normal);
        }
        // Nobody comes any more: time alone releases it, and it says when it wants to be looked at.
        for _ in 0..10_000 {
            if watch.state == State::Normal {
                break;
            }
            let next = watch.wake_at().unwrap().max(at(now + 1));
            now = (next.as_second() - at(0).as_second()) / 60;
            watch.decide(&settings, &usual, at(now));
        }
        prop_assert_eq!(watch.state, State::Normal);
    }
}
