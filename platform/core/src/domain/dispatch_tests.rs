use super::*;
use proptest::prelude::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn id(n: u8) -> DeliveryId {
    DeliveryId::from_bytes([n; 16])
}

fn born(channels: &[&str]) -> Dispatch {
    Dispatch::born_leased(channels.iter().map(|c| (*c).to_owned()).collect(), id(1), at(0), at(30), 7)
}

fn refused() -> Verdict {
    Verdict::Refused(DeliveryFailure::Rejected)
}

#[test]
fn the_worker_that_was_rung_holds_it_until_the_lease_ends() {
    let mut dispatch = born(&["a"]);
    assert!(dispatch.is_held_by(7, at(29)));
    assert!(!dispatch.is_held_by(7, at(30)));
    assert!(!dispatch.is_held_by(8, at(1)));
    assert!(!dispatch.claim(at(29), at(60), 8));
    assert!(dispatch.claim(at(30), at(60), 8));
    assert!(!dispatch.is_held_by(7, at(31)));
}

#[test]
fn a_hold_is_prolonged_by_its_holder_alone_and_never_shortened() {
    let mut dispatch = born(&["a"]);
    assert!(!dispatch.prolong(8, at(40)));
    assert!(dispatch.prolong(7, at(40)));
    assert!(dispatch.is_held_by(7, at(39)) && !dispatch.claim(at(39), at(60), 8));
    assert!(dispatch.prolong(7, at(35)));
    assert!(dispatch.is_held_by(7, at(39)));
    assert!(dispatch.prolong(7, at(50)), "it has ended, and nobody took it");
    assert!(dispatch.claim(at(50), at(60), 8));
    assert!(!dispatch.prolong(7, at(70)), "somebody else has it");
}

#[test]
fn a_delivery_is_sending_from_its_claim_to_the_answer() {
    let mut dispatch = born(&["a", "b"]);
    let status = |dispatch: &Dispatch| dispatch.current().unwrap().status;
    assert_eq!(status(&dispatch), DeliveryStatus::Queued);
    assert!(!dispatch.claim(at(29), at(60), 8));
    assert_eq!(status(&dispatch), DeliveryStatus::Queued, "another worker holds it");
    dispatch.claim(at(30), at(60), 8);
    assert_eq!(status(&dispatch), DeliveryStatus::Sending);
    dispatch.release(at(31));
    assert_eq!(status(&dispatch), DeliveryStatus::Queued);
    dispatch.claim(at(31), at(60), 9);
    dispatch.settle(Verdict::Later { after: SignedDuration::from_secs(5) }, at(32), at(300), || id(2));
    assert_eq!(status(&dispatch), DeliveryStatus::Queued);
    dispatch.claim(at(37), at(60), 9);
    dispatch.settle(refused(), at(38), at(300), || id(2));
    assert_eq!(status(&dispatch), DeliveryStatus::Queued, "the next channel waits for its worker");
}

#[test]
fn a_claim_does_not_forget_what_a_receipt_told() {
    let mut dispatch = born(&["a"]);
    dispatch.record(id(1), Receipt::Delivered, at(1));
    dispatch.claim(at(30), at(60), 8);
    assert_eq!(dispatch.current().unwrap().status, DeliveryStatus::Delivered);
}

#[test]
fn a_refusal_goes_to_the_next_channel_at_once_and_the_last_one_exhausts() {
    let mut dispatch = born(&["a", "b"]);
    assert_eq!(dispatch.settle(refused(), at(1), at(300), || id(2)), Outcome::Again(at(1)));
    assert_eq!(dispatch.current().unwrap().channel, "b");
    assert_eq!(dispatch.settle(refused(), at(2), at(300), || id(3)), Outcome::Exhausted);
    assert_eq!(dispatch.deliveries.len(), 2);
    assert!(!dispatch.got_out());
}

#[test]
fn a_channel_that_keeps_saying_later_is_left_after_four_tries() {
    let mut dispatch = born(&["a", "b"]);
    let later = || Verdict::Later { after: SignedDuration::from_secs(5) };
    for _ in 1..TRIES_MAX {
        assert_eq!(dispatch.settle(later(), at(1), at(300), || id(2)), Outcome::Again(at(6)));
    }
    assert_eq!(dispatch.settle(later(), at(1), at(300), || id(2)), Outcome::Again(at(1)));
    assert_eq!(dispatch.deliveries[0].reason, Some(DeliveryFailure::Unavailable));
}

#[test]
fn a_channel_that_is_away_is_left_at_once_and_waited_for_where_there_is_no_other() {
    let away = || Verdict::Away { after: SignedDuration::from_secs(30) };
    let mut dispatch = born(&["a", "b"]);
    assert_eq!(dispatch.settle(away(), at(1), at(300), || id(2)), Outcome::Again(at(1)));
    assert_eq!((dispatch.deliveries[0].reason, dispatch.deliveries[0].tries), (Some(DeliveryFailure::Unavailable), 0));
    // The last one, more often than anybody would be called.
    for _ in 0..3 * TRIES_MAX {
        assert_eq!(dispatch.settle(away(), at(2), at(300), || id(3)), Outcome::Again(at(32)));
    }
    assert_eq!(dispatch.settle(away(), at(270), at(300), || id(3)), Outcome::Exhausted);
    assert_eq!(dispatch.deliveries[1].reason, Some(DeliveryFailure::Unavailable));
}

#[test]
fn a_receipt_that_was_faster_than_the_answer_is_believed() {
    let mut dispatch = born(&["a", "b"]);
    dispatch.record(id(1), Receipt::Delivered, at(2));
    let outcome = dispatch.settle(Verdict::Refused(DeliveryFailure::NoAck), at(8), at(300), || id(2));
    assert_eq!((outcome, dispatch.turn), (Outcome::Sent, Turn::Settled));
    assert_eq!(dispatch.deliveries.len(), 1);
}

#[test]
fn a_failure_that_was_reported_before_the_answer_fails_over() {
    let mut dispatch = born(&["a", "b"]);
    dispatch.record(id(1), Receipt::Failed(DeliveryFailure::Rejected), at(2));
    assert_eq!(dispatch.settle(refused(), at(3), at(300), || id(2)), Outcome::Again(at(3)));
    assert_eq!(dispatch.current().unwrap().channel, "b");
}

fn sent() -> Verdict {
    Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: None }
}

const REJECTED: Receipt = Receipt::Failed(DeliveryFailure::Rejected);

#[test]
fn a_failure_that_was_reported_before_the_channel_took_it_fails_over_too() {
    let mut dispatch = born(&["a", "b"]);
    dispatch.record(id(1), REJECTED, at(2));
    assert_eq!(dispatch.go_on(at(2), at(300), || id(2)), None, "its worker will");
    let taken = Verdict::Sent { provider_id: Some("p-1".to_owned()), reached: DeliveryStatus::Sent, cost: None };
    assert_eq!(dispatch.settle(taken, at(3), at(300), || id(2)), Outcome::Again(at(3)));
    let first = &dispatch.deliveries[0];
    assert_eq!(
        (first.status, first.sent_at, first.provider_id.as_deref()),
        (DeliveryStatus::Failed, Some(at(3)), Some("p-1"))
    );
    assert_eq!(dispatch.current().unwrap().channel, "b");
}

#[test]
fn what_was_sent_and_failed_goes_on_with_the_next_channel_once() {
    let mut dispatch = born(&["a", "b"]);
    dispatch.settle(sent(), at(1), at(300), || id(2));
    assert_eq!(dispatch.go_on(at(2), at(300), || id(2)), None, "it has not failed");
    assert!(dispatch.may_arrive(at(2)));
    assert!(dispatch.record(id(1), REJECTED, at(3)) && !dispatch.may_arrive(at(3)));
    assert_eq!(dispatch.go_on(at(3), at(300), || id(2)), Some(Outcome::Again(at(3))));
    for again in [REJECTED, Receipt::Failed(DeliveryFailure::InvalidRecipient)] {
        assert!(!dispatch.record(id(1), again, at(4)), "nothing fails twice");
        assert_eq!(dispatch.go_on(at(4), at(300), || id(3)), None);
    }
    assert_eq!((dispatch.deliveries.len(), dispatch.deliveries[0].failed_at), (2, Some(at(3))));
    dispatch.claim(at(5), at(60), 8);
    dispatch.settle(sent(), at(6), at(300), || id(3));
    assert!(dispatch.record(id(2), REJECTED, at(7)));
    assert_eq!(dispatch.go_on(at(7), at(300), || id(3)), Some(Outcome::Exhausted));
    assert_eq!((dispatch.deliveries.len(), dispatch.turn), (2, Turn::Settled));
}

#[test]
fn what_failed_long_ago_or_after_its_time_goes_nowhere() {
    let mut resent = born(&["a", "b"]);
    resent.settle(sent(), at(1), at(300), || id(2));
    resent.restart(id(2), at(31), at(60), 8);
    resent.settle(sent(), at(32), at(300), || id(3));
    assert!(resent.record(id(1), REJECTED, at(33)));
    assert_eq!(resent.go_on(at(33), at(300), || id(3)), None, "another one is out");
    assert!(resent.record(id(2), REJECTED, at(300)));
    assert_eq!(resent.go_on(at(300), at(300), || id(3)), Some(Outcome::Exhausted));
    assert_eq!(resent.deliveries.len(), 2);
}

#[test]
fn a_retry_that_waits_for_what_failed_meanwhile_is_not_waited_for() {
    let mut dispatch = born(&["a", "b"]);
    dispatch.settle(Verdict::Later { after: SignedDuration::from_secs(60) }, at(1), at(300), || id(2));
    dispatch.record(id(1), REJECTED, at(2));
    assert_eq!(dispatch.go_on(at(2), at(300), || id(2)), Some(Outcome::Again(at(2))));
    assert_eq!(dispatch.turn, Turn::Due { at: at(2) });
}

#[test]
fn a_late_acknowledgement_reopens_only_a_missing_one() {
    let mut dispatch = born(&["a", "b"]);
    dispatch.settle(Verdict::Refused(DeliveryFailure::NoAck), at(8), at(300), || id(2));
    assert!(dispatch.record(id(1), Receipt::Delivered, at(9)));
    assert_eq!(dispatch.deliveries[0].status, DeliveryStatus::Delivered);
    assert_eq!(dispatch.deliveries[0].reason, None);
    dispatch.settle(refused(), at(10), at(300), || id(3));
    assert!(!dispatch.record(id(2), Receipt::Delivered, at(11)));
}

#[test]
fn the_providers_name_that_comes_late_is_kept_and_stays() {
    let named = |dispatch: &Dispatch| dispatch.deliveries[0].provider_id.clone();
    let mut dispatch = born(&["a", "b"]);
    assert!(dispatch.name(id(1), "p-1") && !dispatch.name(id(1), "p-2") && !dispatch.name(id(9), "p-3"));
    let sent = |name: Option<&str>| Verdict::Sent {
        provider_id: name.map(str::to_owned),
        reached: DeliveryStatus::Sent,
        cost: None,
    };
    dispatch.settle(sent(None), at(1), at(300), || id(2));
    assert_eq!(named(&dispatch).as_deref(), Some("p-1"));
    let mut dispatch = born(&["a", "b"]);
    dispatch.settle(sent(Some("p-4")), at(1), at(300), || id(2));
    assert!(!dispatch.name(id(1), "p-5"));
    assert_eq!(named(&dispatch).as_deref(), Some("p-4"));
}

#[test]
fn a_resend_waits_no_longer_for_the_call_under_way_and_still_hears_of_it() {
    let mut dispatch = born(&["a"]);
    dispatch.restart(id(2), at(29), at(60), 8);
    assert_eq!(dispatch.deliveries[0].reason, Some(DeliveryFailure::NoAck));
    assert!(dispatch.record(id(1), Receipt::Sent, at(31)));
    assert_eq!(dispatch.deliveries[0].status, DeliveryStatus::Sent);
}

#[test]
fn a_resend_after_a_hold_that_ended_still_hears_of_its_call() {
    let mut dispatch = born(&["a"]);
    dispatch.restart(id(2), at(45), at(60), 8);
    assert_eq!(dispatch.deliveries[0].reason, Some(DeliveryFailure::NoAck));
    assert!(dispatch.record(id(1), Receipt::Sent, at(46)));
}

#[test]
fn receipts_out_of_order_and_repeated_change_nothing_back() {
    let mut dispatch = born(&["a"]);
    dispatch.settle(sent(), at(1), at(300), || id(2));
    assert!(dispatch.record(id(1), Receipt::Read, at(3)));
    assert!(!dispatch.record(id(1), Receipt::Delivered, at(4)));
    assert!(!dispatch.record(id(1), Receipt::Failed(DeliveryFailure::Rejected), at(5)));
    let delivery = &dispatch.deliveries[0];
    assert_eq!(
        (delivery.status, delivery.sent_at, delivery.delivered_at),
        (DeliveryStatus::Read, Some(at(1)), Some(at(3)))
    );
}

#[derive(Debug, Clone)]
enum Step {
    Sent,
    Later(i64),
    Away(i64),
    Refused,
    Receipt(usize, u8),
    GoOn,
    Claim,
    Prolong,
    Release,
    Cut,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Sent),
        (0i64..400).prop_map(Step::Later),
        (0i64..400).prop_map(Step::Away),
        Just(Step::Refused),
        (0usize..4, 0u8..4).prop_map(|(which, what)| Step::Receipt(which, what)),
        Just(Step::GoOn),
        Just(Step::Claim),
        Just(Step::Prolong),
        Just(Step::Release),
        Just(Step::Cut),
        Just(Step::Restart),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_the_deliveries_stay_consistent(steps in prop::collection::vec(step(), 0..40)) {
        let mut dispatch = born(&["a", "b", "c"]);
        let (mut out_before, mut since) = (0, 0);
        for (n, step) in steps.into_iter().enumerate() {
            let now = at(i64::try_from(n).unwrap() * 7);
            let next = id(u8::try_from(n + 2).unwrap());
            match step {
                Step::Sent => { dispatch.settle(sent(), now, at(300), || next); }
                Step::Later(after) => { dispatch.settle(Verdict::Later { after: SignedDuration::from_secs(after) }, now, at(300), || next); }
                Step::Away(after) => { dispatch.settle(Verdict::Away { after: SignedDuration::from_secs(after) }, now, at(300), || next); }
                Step::Refused => { dispatch.settle(refused(), now, at(300), || next); }
                Step::Receipt(which, what) => {
                    if let Some(delivery) = dispatch.deliveries.get(which) {
                        let receipt = [Receipt::Sent, Receipt::Delivered, Receipt::Read, Receipt::Failed(DeliveryFailure::Rejected)][usize::from(what)];
                        let id = delivery.id;
                        dispatch.record(id, receipt, now);
                    }
                }
                Step::GoOn => {
                    let failed = dispatch.current().is_some_and(|one| one.status == DeliveryStatus::Failed);
                    let (held, known) = (dispatch.is_held(now), dispatch.deliveries.len());
                    let left = dispatch.has_next() && now < at(300);
                    let outcome = dispatch.go_on(now, at(300), || next);
                    prop_assert_eq!(outcome.is_some(), failed && !held);
                    prop_assert_eq!(dispatch.deliveries.len() > known, failed && !held && left);
                    prop_assert_eq!(dispatch.go_on(now, at(300), || next).is_some(), failed && !held && !left);
                }
                Step::Claim => { dispatch.claim(now, at(10_000), 9); }
                Step::Prolong => { dispatch.prolong(9, at(20_000)); }
                Step::Release => dispatch.release(now),
                Step::Cut => dispatch.cut(DeliveryFailure::Canceled, now),
                Step::Restart => {
                    since = dispatch.deliveries.len();
                    dispatch.restart(next, now, at(10_000), 9);
                }
            }
            let mut tried: Vec<_> = dispatch.deliveries[since..].iter().map(|one| &one.channel).collect();
            tried.dedup();
            prop_assert!(tried.len() == dispatch.deliveries.len() - since && tried.is_sorted(), "each channel once a send");
            let out = dispatch.deliveries.iter().filter(|d| d.got_out()).count();
            prop_assert!(out >= out_before, "what got out stays out");
            out_before = out;
            for delivery in &dispatch.deliveries {
                prop_assert_eq!(delivery.status == DeliveryStatus::Failed, delivery.reason.is_some());
                prop_assert_eq!(delivery.failed_at.is_some(), delivery.reason.is_some());
                prop_assert!(delivery.read_at.is_none() || delivery.delivered_at.is_some());
                prop_assert!(delivery.delivered_at.is_none() || delivery.sent_at.is_some());
                prop_assert!(dispatch.channels.contains(&delivery.channel));
                let held = matches!(dispatch.turn, Turn::Leased { .. });
                prop_assert!(delivery.status != DeliveryStatus::Sending || held, "somebody sends what is sending");
            }
        }
    }
}
