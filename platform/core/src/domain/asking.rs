//! When a provider that does not tell is asked how a delivery fares.
//!
//! The moment is a part of the record, so that it survives whoever would have asked. When it has come, the sweep moves
//! it on and hands the delivery over to whoever it rings for, so that what waits to be asked about stands before nothing
//! else that is due. Whoever stores that they took it is the one who asks; a ring that is lost, or one who dies
//! meanwhile, has asked in vain.
//!
//! What a provider is to take back, since its verification was canceled, is kept and asked for in the same way.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::dispatch::{Delivery, DeliveryStatus};
use super::id::DeliveryId;

/// Most times that a provider is asked about one delivery.
pub const ASKS_MAX: u8 = 10;

/// Most times that a provider is asked to take one back.
pub const REVOCATIONS_MAX: u8 = 5;

/// How often a provider is asked about one delivery, and when.
pub(super) struct Course {
    most: u8,
    /// Seconds from one time to the next: from when it begins to the first, and so on. The last one goes on. Each is longer
    /// than an answer may take.
    pauses_seconds: [i64; 4],
}

/// How it fares. Most messages arrive within seconds.
pub(super) const QUESTIONS: Course = Course { most: ASKS_MAX, pauses_seconds: [6, 15, 60, 300] };
/// That it be taken back: for the first time by whoever comes when that begins, and for as long as a code commonly lives.
pub(super) const REVOCATIONS: Course = Course { most: REVOCATIONS_MAX, pauses_seconds: [0, 10, 60, 300] };

/// Bounds of a pause that a provider asks for, in seconds.
const PAUSE_SECONDS: (i64, i64) = (1, 3600);
/// Times that asking about one delivery may break down, as a plugin that crashes does. After the last it is not asked
/// about: what breaks down each time would do so ten times for each message.
const BREAKDOWNS_MAX: u8 = 3;

/// When to ask again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// When its time comes anyway.
    AsPlanned,
    /// After so long.
    After(SignedDuration),
    /// Never: there will be no more news.
    Never,
    /// When its time comes anyway, although whoever asked broke down; after the third time, never.
    BrokeDown,
}

/// A delivery that is to be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    /// Which.
    pub delivery: DeliveryId,
    /// When, at the earliest.
    pub at: Timestamp,
    /// How often it was asked about.
    pub asked: u8,
    /// Whether it was handed over, and nobody took it yet.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub handed_over: bool,
    /// How often whoever asked broke down. A program that does not know of it begins anew.
    #[serde(default, skip_serializing_if = "is_none_yet")]
    pub broke_down: u8,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over like that")]
fn is_none_yet(count: &u8) -> bool {
    *count == 0
}

impl Asking {
    fn next(self, course: &Course, now: Timestamp) -> Timestamp {
        let last = course.pauses_seconds.len() - 1;
        let pause = course.pauses_seconds[usize::from(self.asked).min(last)];
        now.saturating_add(SignedDuration::from_secs(pause)).unwrap_or(Timestamp::MAX)
    }
}

/// Whether there may be news of it: it was sent, and nothing else is known.
fn is_open(delivery: &Delivery) -> bool {
    delivery.status == DeliveryStatus::Sent
}

/// Has a delivery asked about, if there may be news of it; says whether it is.
pub(super) fn begin(all: &mut Vec<Asking>, deliveries: &[Delivery], id: DeliveryId, now: Timestamp) -> bool {
    let is_there = deliveries.iter().any(|delivery| delivery.id == id && is_open(delivery));
    let begins = is_there && !all.iter().any(|asking| asking.delivery == id);
    if begins {
        let asking = Asking { delivery: id, at: now, asked: 0, handed_over: false, broke_down: 0 };
        all.push(Asking { at: asking.next(&QUESTIONS, now), ..asking });
    }
    begins
}

/// Whether it is of use to take it back: it was sent, and as far as one knows not read.
pub(super) fn is_revocable(delivery: &Delivery) -> bool {
    matches!(delivery.status, DeliveryStatus::Sent | DeliveryStatus::Delivered)
}

/// Has a delivery taken back, if that is of use; says whether it is. Whoever comes next is the first to ask for it.
pub(super) fn begin_revoking(all: &mut Vec<Asking>, deliveries: &[Delivery], id: DeliveryId, now: Timestamp) -> bool {
    let is_there = deliveries.iter().any(|delivery| delivery.id == id && is_revocable(delivery));
    let begins = is_there && !all.iter().any(|asking| asking.delivery == id);
    if begins {
        let asking = Asking { delivery: id, at: now, asked: 1, handed_over: true, broke_down: 0 };
        all.push(Asking { at: asking.next(&REVOCATIONS, now), ..asking });
    }
    begins
}

/// Forgets those that it is of no use any more to take back.
pub(super) fn settle_revoking(all: &mut Vec<Asking>, deliveries: &[Delivery]) {
    all.retain(|asking| deliveries.iter().any(|delivery| delivery.id == asking.delivery && is_revocable(delivery)));
}

/// Forgets those of which all is known.
pub(super) fn settle(all: &mut Vec<Asking>, deliveries: &[Delivery]) {
    all.retain(|asking| deliveries.iter().any(|delivery| delivery.id == asking.delivery && is_open(delivery)));
}

/// The next moment at which something is to be asked.
pub(super) fn next_at(all: &[Asking]) -> Option<Timestamp> {
    all.iter().map(|asking| asking.at).min()
}

/// Hands over the one whose time has come, counted as asked, and its moment moved on; says whether there was one. One that
/// nobody took the last time is not kept.
pub(super) fn hand_over(all: &mut Vec<Asking>, course: &Course, now: Timestamp) -> bool {
    let Some(place) = all.iter().position(|asking| asking.at <= now) else { return false };
    let asking = &mut all[place];
    if asking.asked >= course.most {
        all.remove(place);
        return true;
    }
    asking.asked += 1;
    asking.at = asking.next(course, now);
    asking.handed_over = true;
    true
}

/// The one that was handed over, if nobody took it yet. After the last time it is not kept.
pub(super) fn take(all: &mut Vec<Asking>, course: &Course) -> Option<Asking> {
    let place = all.iter().position(|asking| asking.handed_over)?;
    all[place].handed_over = false;
    let taken = all[place];
    if taken.asked >= course.most {
        all.remove(place);
    }
    Some(taken)
}

/// Does as a provider says about the next time; says whether that changed anything.
pub(super) fn answered(all: &mut Vec<Asking>, id: DeliveryId, again: Again, now: Timestamp) -> bool {
    let Some(place) = all.iter().position(|asking| asking.delivery == id) else { return false };
    match again {
        Again::AsPlanned => false,
        Again::Never => {
            all.remove(place);
            true
        }
        Again::After(pause) => {
            let (shortest, longest) = PAUSE_SECONDS;
            let pause = pause.clamp(SignedDuration::from_secs(shortest), SignedDuration::from_secs(longest));
            all[place].at = now.saturating_add(pause).unwrap_or(Timestamp::MAX);
            true
        }
        Again::BrokeDown => {
            all[place].broke_down += 1;
            if all[place].broke_down >= BREAKDOWNS_MAX {
                all.remove(place);
            }
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::dispatch::{Dispatch, Receipt, Verdict};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn id(n: u8) -> DeliveryId {
        DeliveryId::from_bytes([n; 16])
    }

    /// One delivery that was sent, and is asked about.
    fn sent() -> (Dispatch, Vec<Asking>) {
        let mut dispatch = Dispatch::born_leased(vec!["a".to_owned()], id(1), at(0), at(30), 7);
        let mut all = Vec::new();
        assert!(!begin(&mut all, &dispatch.deliveries, id(1), at(0)), "it is not sent yet");
        let reached = DeliveryStatus::Sent;
        dispatch.settle(Verdict::Sent { provider_id: None, reached, cost: None }, at(0), at(300), || id(2));
        assert!(begin(&mut all, &dispatch.deliveries, id(1), at(0)));
        assert!(!begin(&mut all, &dispatch.deliveries, id(1), at(1)), "once is enough");
        (dispatch, all)
    }

    #[test]
    fn a_provider_is_asked_more_and_more_rarely_and_ten_times_at_most() {
        let (_, mut all) = sent();
        let mut moments = Vec::new();
        for second in 0..10_000 {
            while hand_over(&mut all, &QUESTIONS, at(second)) {
                let asking = take(&mut all, &QUESTIONS).unwrap();
                assert_eq!(usize::from(asking.asked), moments.len() + 1);
                moments.push(second);
            }
        }
        assert_eq!(moments, [6, 21, 81, 381, 681, 981, 1281, 1581, 1881, 2181]);
        assert!(all.is_empty());
    }

    #[test]
    fn whoever_comes_second_finds_the_moment_moved_on_and_nothing_to_take() {
        let (_, mut all) = sent();
        assert_eq!(next_at(&all), Some(at(6)));
        assert!(!hand_over(&mut all, &QUESTIONS, at(5)) && take(&mut all, &QUESTIONS).is_none());
        assert!(hand_over(&mut all, &QUESTIONS, at(9)));
        assert!(!hand_over(&mut all, &QUESTIONS, at(9)));
        assert_eq!(next_at(&all), Some(at(24)));
        assert!(take(&mut all, &QUESTIONS).is_some());
        assert!(take(&mut all, &QUESTIONS).is_none());
    }

    #[test]
    fn what_nobody_takes_is_handed_over_again_and_not_for_ever() {
        let (_, mut all) = sent();
        let mut handed = 0;
        while let Some(moment) = next_at(&all) {
            assert!(hand_over(&mut all, &QUESTIONS, moment));
            handed += usize::from(!all.is_empty());
        }
        assert_eq!(handed, usize::from(ASKS_MAX));
    }

    #[test]
    fn what_is_known_is_not_asked_about() {
        for receipt in [Receipt::Delivered, Receipt::Failed(crate::domain::dispatch::DeliveryFailure::Rejected)] {
            let (mut dispatch, mut all) = sent();
            dispatch.record(id(1), Receipt::Sent, at(2));
            settle(&mut all, &dispatch.deliveries);
            assert_eq!(all.len(), 1);
            dispatch.record(id(1), receipt, at(3));
            settle(&mut all, &dispatch.deliveries);
            assert!(all.is_empty(), "{receipt:?}");
            assert!(!begin(&mut all, &dispatch.deliveries, id(1), at(4)));
        }
    }

    #[test]
    fn a_provider_says_when_to_ask_again_within_bounds() {
        let (_, mut all) = sent();
        assert!(hand_over(&mut all, &QUESTIONS, at(6)) && take(&mut all, &QUESTIONS).is_some());
        let after = |seconds| Again::After(SignedDuration::from_secs(seconds));
        for (asked, given) in [(-5, 11), (0, 11), (40, 50), (100_000, 3610)] {
            assert!(answered(&mut all, id(1), after(asked), at(10)));
            assert_eq!(next_at(&all), Some(at(given)));
        }
        assert!(!answered(&mut all, id(1), Again::AsPlanned, at(10)));
        assert!(!answered(&mut all, id(2), Again::Never, at(10)));
        assert!(answered(&mut all, id(1), Again::Never, at(10)) && all.is_empty());
        assert!(!answered(&mut all, id(1), after(5), at(10)), "it is over");
    }

    #[test]
    fn what_breaks_down_each_time_is_asked_three_times() {
        let (_, mut all) = sent();
        let mut moments = Vec::new();
        while let Some(moment) = next_at(&all) {
            assert!(hand_over(&mut all, &QUESTIONS, moment) && take(&mut all, &QUESTIONS).is_some());
            moments.push(moment);
            assert!(answered(&mut all, id(1), Again::BrokeDown, moment));
        }
        assert_eq!(moments, [at(6), at(21), at(81)]);
    }

    #[test]
    fn what_earlier_programs_stored_never_broke_down_and_they_read_what_did_not() {
        let (_, all) = sent();
        let stored = serde_json::to_value(&all).unwrap();
        assert_eq!(stored[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["asked", "at", "delivery"]);
        assert_eq!(serde_json::from_value::<Vec<Asking>>(stored).unwrap(), all);
    }

    #[test]
    fn what_is_taken_back_is_asked_for_at_once_and_five_times_at_most() {
        let (dispatch, _) = sent();
        let mut all = Vec::new();
        assert!(begin_revoking(&mut all, &dispatch.deliveries, id(1), at(100)));
        assert!(!begin_revoking(&mut all, &dispatch.deliveries, id(1), at(101)), "once is enough");
        let mut moments = vec![at(100)];
        assert_eq!(take(&mut all, &REVOCATIONS).map(|asking| asking.asked), Some(1));
        while let Some(moment) = next_at(&all) {
            assert!(hand_over(&mut all, &REVOCATIONS, moment));
            moments.extend(take(&mut all, &REVOCATIONS).map(|_| moment));
        }
        assert_eq!(moments, [at(100), at(110), at(170), at(470), at(770)]);
    }

    #[test]
    fn what_was_read_or_never_got_out_is_not_taken_back() {
        let (mut dispatch, _) = sent();
        let mut all = Vec::new();
        dispatch.record(id(1), Receipt::Delivered, at(2));
        assert!(begin_revoking(&mut all, &dispatch.deliveries, id(1), at(3)));
        dispatch.record(id(1), Receipt::Read, at(4));
        settle_revoking(&mut all, &dispatch.deliveries);
        assert!(all.is_empty() && !begin_revoking(&mut all, &dispatch.deliveries, id(1), at(5)));
        let queued = Dispatch::born_leased(vec!["a".to_owned()], id(1), at(0), at(30), 7);
        assert!(!begin_revoking(&mut all, &queued.deliveries, id(1), at(5)));
    }
}
