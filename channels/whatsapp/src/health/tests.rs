use wotp_core::ports::Clock;
use wotp_core::testing::ManualClock;

use super::*;

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const DAY: SignedDuration = SignedDuration::from_hours(24);

fn clock() -> ManualClock {
    ManualClock::at("2026-03-01T12:00:00Z")
}

/// Sends as much as may be sent; how much that was.
fn send_all(health: &mut Health, allowance: &Allowance, to: Recipient, now: Timestamp) -> u32 {
    (0..).find(|_| health.admit(allowance, to, now).is_err()).unwrap()
}

#[test]
fn a_new_number_writes_to_fewer_strangers_than_numbers_were_banned_for_and_to_more_from_week_to_week() {
    let (clock, allowance) = (clock(), Allowance::default());
    let mut health = Health::new(clock.now());
    let mut days = Vec::new();
    for day in 0..32 {
        if day > 0 {
            // A window of five minutes more than a day is looked at.
            clock.advance(DAY + SignedDuration::from_mins(10));
        }
        days.push(send_all(&mut health, &allowance, Recipient::Stranger, clock.now()));
    }
    assert!(days[0] < 15, "{days:?}");
    assert!(days.windows(2).all(|two| two[0] <= two[1]), "{days:?}");
    // More than an hour's worth is not sent at one moment.
    assert_eq!((days[0], days[7], days[31]), (10, 50, 600));
}

#[test]
fn who_has_used_up_strangers_still_writes_to_those_it_knows() {
    let (clock, allowance) = (clock(), Allowance::flat(100, 100, 3));
    let mut health = Health::new(clock.now());
    assert_eq!(send_all(&mut health, &allowance, Recipient::Stranger, clock.now()), 3);
    let held = health.may_send(&allowance, Recipient::Stranger, clock.now()).unwrap_err();
    assert_eq!(held.reason, Reason::StrangersOfDay);
    assert_eq!(health.report(&allowance, clock.now()).grade, Grade::Limited);
    assert_eq!(send_all(&mut health, &allowance, Recipient::Known, clock.now()), 97);
    assert_eq!(health.report(&allowance, clock.now()).grade, Grade::Held);
}

#[test]
fn it_says_when_it_may_send_again_and_then_it_may() {
    let (clock, allowance) = (clock(), Allowance::flat(5, 8, 100));
    let mut health = Health::new(clock.now());
    assert_eq!(send_all(&mut health, &allowance, Recipient::Known, clock.now()), 5);
    let held = health.may_send(&allowance, Recipient::Known, clock.now()).unwrap_err();
    assert_eq!(held.reason, Reason::HourIsFull);
    let waits = held.until.duration_since(clock.now());
    assert!(waits >= HOUR && waits <= HOUR + SignedDuration::from_mins(10), "{waits}");
    clock.advance(waits - SignedDuration::from_secs(1));
    assert!(health.may_send(&allowance, Recipient::Known, clock.now()).is_err());
    clock.advance(SignedDuration::from_secs(1));
    assert_eq!(send_all(&mut health, &allowance, Recipient::Known, clock.now()), 3);
    let held = health.may_send(&allowance, Recipient::Known, clock.now()).unwrap_err();
    assert_eq!(held.reason, Reason::DayIsFull);
    clock.advance(held.until.duration_since(clock.now()));
    assert_eq!(send_all(&mut health, &allowance, Recipient::Known, clock.now()), 5);
}

#[test]
fn at_no_time_is_more_sent_within_any_hour_or_day_than_is_allowed() {
    let (clock, allowance) = (clock(), Allowance::flat(7, 40, 11));
    let mut health = Health::new(clock.now());
    let mut sent: Vec<(Timestamp, Recipient)> = Vec::new();
    for n in 0..3_000_u32 {
        clock.advance(SignedDuration::from_secs(i64::from(n * 7_919 % 113)));
        let to = if n % 3 == 0 { Recipient::Stranger } else { Recipient::Known };
        if health.admit(&allowance, to, clock.now()).is_ok() {
            sent.push((clock.now(), to));
        }
    }
    assert!(sent.len() > 60, "{}", sent.len());
    for (end, _) in &sent {
        let within =
            |span: SignedDuration| sent.iter().filter(move |(at, _)| at <= end && end.duration_since(*at) < span);
        assert!(within(HOUR).count() <= 7);
        assert!(within(DAY).count() <= 40);
        assert!(within(DAY).filter(|(_, to)| *to == Recipient::Stranger).count() <= 11);
    }
}

#[test]
fn a_message_that_did_not_go_out_costs_nothing() {
    let (clock, allowance) = (clock(), Allowance::flat(3, 3, 1));
    let mut health = Health::new(clock.now());
    for _ in 0..10 {
        let at = clock.now();
        health.admit(&allowance, Recipient::Stranger, at).unwrap();
        clock.advance(SignedDuration::from_secs(200));
        health.take_back(Recipient::Stranger, at);
    }
    assert_eq!(health.report(&allowance, clock.now()).sent_today, 0);
}

#[test]
fn most_of_what_is_sent_may_not_go_to_strangers_once_it_is_much() {
    let clock = clock();
    let mut allowance = Allowance::flat(900, 900, 900);
    allowance.strangers_percent_max = 50;
    let mut health = Health::new(clock.now());
    assert_eq!(send_all(&mut health, &allowance, Recipient::Stranger, clock.now()), 50);
    let held = health.may_send(&allowance, Recipient::Stranger, clock.now()).unwrap_err();
    assert_eq!(held.reason, Reason::ShareOfStrangers);
    for _ in 0..51 {
        health.admit(&allowance, Recipient::Known, clock.now()).unwrap();
    }
    assert_eq!(send_all(&mut health, &allowance, Recipient::Stranger, clock.now()), 1);
}

#[test]
fn what_whatsapp_refuses_is_not_tried_again_until_it_may_have_passed() {
    let (clock, allowance) = (clock(), Allowance::flat(900, 900, 900));
    for (code, reason, lasts, known_too) in [
        (463, Reason::TimeLocked, UNTOLD, true),
        (475, Reason::NewChatsUsedUp, UNTOLD, true),
        (429, Reason::TooMuch, TOO_MUCH, false),
    ] {
        let mut health = Health::new(clock.now());
        health.refused(code, clock.now());
        let until = clock.now() + lasts;
        assert_eq!(health.may_send(&allowance, Recipient::Stranger, clock.now()), Err(Held { reason, until }));
        assert_eq!(health.may_send(&allowance, Recipient::Known, clock.now()).is_ok(), known_too);
        assert!(health.may_send(&allowance, Recipient::Stranger, until).is_ok());
    }
    let mut health = Health::new(clock.now());
    health.refused(479, clock.now());
    assert_eq!(health.report(&allowance, clock.now()).grade, Grade::Well);
}

#[test]
fn what_whatsapp_says_of_its_restrictions_holds_over_what_was_guessed() {
    let (clock, allowance) = (clock(), Allowance::flat(900, 900, 900));
    let now = clock.now();
    let mut health = Health::new(now);
    let held_until =
        |health: &Health| health.may_send(&allowance, Recipient::Stranger, now).err().map(|held| held.until);
    health.refused(463, now);
    health.time_lock(Told::Until(now + DAY), now);
    assert_eq!(held_until(&health), Some(now + DAY));
    health.time_lock(Told::None, now);
    assert_eq!(held_until(&health), None);
    // In force, whatever end is named: WhatsApp says 0 where it names none.
    for untold in [Told::InForce, Told::Until(Timestamp::UNIX_EPOCH)] {
        health.time_lock(untold, now);
        assert_eq!(held_until(&health), Some(now + UNTOLD));
    }
    health.linked_anew();
    health.new_chat_cap(Told::Until(now + HOUR), now);
    assert_eq!(held_until(&health), Some(now + HOUR));
    health.new_chat_cap(Told::None, now);
    assert_eq!(held_until(&health), None);
    health.banned(now + DAY);
    let held = health.may_send(&allowance, Recipient::Known, now).unwrap_err();
    assert_eq!((held.reason, held.until), (Reason::Banned, now + DAY));
    health.is_in();
    assert_eq!(held_until(&health), None);
}

#[test]
fn a_refusal_is_not_forgotten_because_whatsapp_says_that_there_is_no_restriction() {
    let (clock, allowance) = (clock(), Allowance::flat(900, 900, 900));
    for code in [463, 475] {
        let (now, mut health) = (clock.now(), Health::new(clock.now()));
        health.refused(code, now);
        health.time_lock(Told::None, now);
        health.new_chat_cap(Told::None, now);
        assert_eq!(health.may_send(&allowance, Recipient::Stranger, now).unwrap_err().until, now + DENIED);
        assert!(health.may_send(&allowance, Recipient::Stranger, now + DENIED).is_ok());
        // It is met again.
        health.refused(code, now + DENIED);
        let held = health.may_send(&allowance, Recipient::Stranger, now + DENIED).unwrap_err();
        assert_eq!(held.until, now + DENIED + UNTOLD);
    }
}

#[test]
fn a_clock_that_was_ahead_for_a_while_holds_nothing() {
    let (clock, allowance) = (clock(), Allowance::flat(3, 3, 3));
    let now = clock.now();
    let (mut health, ahead) = (Health::new(now), now + DAY * 365);
    assert_eq!(send_all(&mut health, &allowance, Recipient::Stranger, ahead), 3);
    for code in [463, 475, 429] {
        health.refused(code, ahead);
    }
    assert_eq!(health.report(&allowance, now).grade, Grade::Well);
    // What was sent meanwhile is seen with the next message.
    assert_eq!(send_all(&mut health, &allowance, Recipient::Stranger, now), 1);
    assert!(health.may_send(&allowance, Recipient::Stranger, now + HOUR).is_err(), "the day is full");
    assert!(health.may_send(&allowance, Recipient::Stranger, now + DAY + HOUR).is_ok());
}

#[test]
fn a_message_that_is_taken_back_frees_no_other() {
    let (clock, allowance) = (clock(), Allowance::flat(2, 100, 100));
    let first = clock.now();
    let mut health = Health::new(first);
    health.admit(&allowance, Recipient::Known, first).unwrap();
    clock.advance(SignedDuration::from_mins(10));
    health.admit(&allowance, Recipient::Known, clock.now()).unwrap();
    health.take_back(Recipient::Known, first);
    health.admit(&allowance, Recipient::Known, clock.now()).unwrap();
    // Two were sent now, and they count for an hour from now.
    clock.advance(HOUR - SignedDuration::from_secs(1));
    assert!(health.may_send(&allowance, Recipient::Known, clock.now()).is_err());
}

#[test]
fn a_report_names_all_that_holds_it_and_what_is_left() {
    let (clock, allowance) = (clock(), Allowance::flat(10, 20, 5));
    let now = clock.now();
    let mut health = Health::new(now);
    for _ in 0..4 {
        health.admit(&allowance, Recipient::Stranger, now).unwrap();
    }
    let report = health.report(&allowance, now);
    assert_eq!((report.grade, report.left_today, report.strangers_left_today), (Grade::Well, 16, 1));
    assert!(report.reasons.is_empty());
    health.refused(463, now);
    health.refused(429, now);
    let report = health.report(&allowance, now);
    let reasons: Vec<&str> = report.reasons.iter().map(|held| held.reason.as_str()).collect();
    assert_eq!((report.grade, reasons), (Grade::Held, vec!["too_much", "time_locked"]));
    assert_eq!((report.left_today, report.strangers_left_today), (16, 0));
}

#[test]
fn messages_that_follow_each_other_wait_up_to_two_seconds_and_one_after_a_pause_does_not() {
    let (clock, allowance) = (clock(), Allowance::flat(900, 900, 900));
    let mut health = Health::new(clock.now());
    let wait = |health: &Health, to, dice| health.jitter(&allowance, to, clock.now(), dice);
    assert_eq!(wait(&health, Recipient::Stranger, u16::MAX), SignedDuration::ZERO);
    health.admit(&allowance, Recipient::Stranger, clock.now()).unwrap();
    let waits: Vec<_> = (0..=u16::MAX).step_by(257).map(|dice| wait(&health, Recipient::Stranger, dice)).collect();
    assert!(waits.iter().all(|wait| *wait >= SignedDuration::ZERO && *wait <= WAIT_MAX));
    assert_eq!((waits[0], waits[255]), (SignedDuration::ZERO, SignedDuration::from_secs(2)));
    assert_eq!(wait(&health, Recipient::Known, u16::MAX), SignedDuration::from_millis(500));
    let mut at_once = allowance.clone();
    at_once.wait_max = SignedDuration::ZERO;
    assert_eq!(health.jitter(&at_once, Recipient::Stranger, clock.now(), u16::MAX), SignedDuration::ZERO);
    clock.advance(SignedDuration::from_secs(10));
    assert_eq!(wait(&health, Recipient::Stranger, u16::MAX), SignedDuration::ZERO);
}

#[test]
fn a_message_that_several_numbers_try_waits_no_longer_than_for_one_of_them() {
    let (mut waited, second) = (Waited::default(), SignedDuration::from_secs(1));
    let waits = [second, SignedDuration::ZERO, second, 2 * second, 2 * second].map(|jitter| waited.waits(jitter));
    assert_eq!(waits, [second, SignedDuration::ZERO, SignedDuration::ZERO, second, SignedDuration::ZERO]);
}

#[test]
fn what_it_counted_is_the_same_after_a_restart() {
    let (clock, allowance) = (clock(), Allowance::default());
    let mut health = Health::new(clock.now());
    send_all(&mut health, &allowance, Recipient::Stranger, clock.now());
    health.refused(463, clock.now());
    let kept = serde_json::to_vec(&health).unwrap();
    assert!(kept.len() < 1024, "{}", kept.len());
    assert_eq!(serde_json::from_slice::<Health>(&kept).unwrap(), health);
}

#[test]
fn an_allowance_begins_with_new_numbers_and_goes_by_age() {
    let step =
        |hours, per_day| Step { from: SignedDuration::from_hours(hours), per_hour: 1, per_day, strangers_per_day: 1 };
    assert!(Allowance::new(vec![]).is_none());
    assert!(Allowance::new(vec![step(1, 1)]).is_none());
    assert!(Allowance::new(vec![step(0, 1), step(0, 2)]).is_none());
    let allowance = Allowance::new(vec![step(0, 1), step(5, 2)]).unwrap();
    let per_day = |hours| allowance.at(SignedDuration::from_hours(hours)).per_day;
    assert_eq!([per_day(-1), per_day(0), per_day(4), per_day(5), per_day(99)], [1, 1, 1, 2, 2]);
}
