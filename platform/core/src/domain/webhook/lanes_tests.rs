use super::*;
use crate::domain::mode::Mode;

const NOW: Timestamp = Timestamp::UNIX_EPOCH;
const QUICKLY: Pass = Pass::Answered(SignedDuration::ZERO);

fn tenant(n: u8) -> TenantId {
    TenantId::from_bytes([n; 16])
}

fn of(tenant: TenantId, n: u16) -> Endpoint {
    let mut id = tenant.to_bytes();
    id[..2].copy_from_slice(&n.to_be_bytes());
    Endpoint {
        id: EndpointId::from_bytes(id),
        tenant,
        mode: Mode::Live,
        url: String::new(),
        description: String::new(),
        events: Vec::new(),
        service: None,
        disabled: None,
        keys: Vec::new(),
        created_at: NOW,
        updated_at: NOW,
    }
}

fn endpoint(n: u16) -> Endpoint {
    of(tenant(1), n)
}

fn after(seconds: i64) -> Timestamp {
    NOW + SignedDuration::from_secs(seconds)
}

fn seat(entry: Entry) -> Option<Seat> {
    match entry {
        Entry::Go(seat) => Some(seat),
        Entry::Wait(_) => None,
    }
}

/// As many places as there are.
fn all(lanes: &mut Lanes, endpoint: &Endpoint, way: Way, now: Timestamp) -> Vec<Seat> {
    std::iter::from_fn(|| seat(lanes.enter(endpoint, way, now))).collect()
}

#[test]
fn one_endpoint_has_four_places_and_takes_none_of_anothers() {
    let mut lanes = Lanes::default();
    let seats = all(&mut lanes, &endpoint(1), Way::Fresh, NOW);
    assert_eq!(seats.len(), 4);
    assert!(seat(lanes.enter(&endpoint(2), Way::Fresh, NOW)).is_some());
    lanes.leave(seats[0], QUICKLY, NOW);
    assert_eq!(all(&mut lanes, &endpoint(1), Way::Fresh, NOW).len(), 1);
}

#[test]
fn one_that_was_not_there_rests_and_is_then_asked_by_one_call() {
    let mut lanes = Lanes::default();
    let one = seat(lanes.enter(&endpoint(1), Way::Fresh, NOW)).unwrap();
    lanes.leave(one, Pass::Rest(None), NOW);
    assert_eq!(lanes.enter(&endpoint(1), Way::Fresh, after(4)), Entry::Wait(after(5)));
    let probes = all(&mut lanes, &endpoint(1), Way::Fresh, after(5));
    assert_eq!(probes.len(), 1);
    lanes.leave(probes[0], QUICKLY, after(5));
    assert_eq!(all(&mut lanes, &endpoint(1), Way::Fresh, after(6)).len(), 4);
}

#[test]
fn calls_that_failed_together_are_one_rest() {
    let mut lanes = Lanes::default();
    for seat in all(&mut lanes, &endpoint(1), Way::Fresh, NOW) {
        lanes.leave(seat, Pass::Rest(None), after(1));
    }
    assert_eq!(lanes.enter(&endpoint(1), Way::Fresh, after(5)), Entry::Wait(after(6)));
    let probe = seat(lanes.enter(&endpoint(1), Way::Fresh, after(6))).unwrap();
    lanes.leave(probe, Pass::Rest(None), after(7));
    assert_eq!(lanes.enter(&endpoint(1), Way::Fresh, after(8)), Entry::Wait(after(17)), "the second is longer");
}

#[test]
fn a_rest_ends_when_the_endpoint_is_changed_and_a_test_does_not_wait_for_it() {
    let mut lanes = Lanes::default();
    let one = seat(lanes.enter(&endpoint(1), Way::Fresh, NOW)).unwrap();
    lanes.leave(one, Pass::Rest(Some(SignedDuration::from_hours(24))), NOW);
    assert_eq!(lanes.enter(&endpoint(1), Way::Fresh, after(1)), Entry::Wait(after(900)));
    assert!(seat(lanes.enter(&endpoint(1), Way::Test, after(1))).is_some());
    let changed = Endpoint { updated_at: after(1), ..endpoint(1) };
    assert!(seat(lanes.enter(&changed, Way::Fresh, after(2))).is_some());
}

#[test]
fn what_waits_and_what_happens_now_keep_each_other_from_nothing() {
    let mut lanes = Lanes::default();
    let first = all(&mut lanes, &endpoint(1), Way::Fresh, NOW);
    assert!(!lanes.parked(endpoint(1).id, NOW), "there is no room");
    assert!(lanes.leave(first[0], QUICKLY, NOW) && lanes.wants());
    assert_eq!(lanes.wanted(9), [(tenant(1), endpoint(1).id)]);
    assert!(!lanes.wants());
    assert!(seat(lanes.enter(&endpoint(1), Way::Fresh, NOW)).is_none(), "it is the turn of what waits");
    for seat in &first[1..] {
        lanes.leave(*seat, QUICKLY, NOW);
    }
    assert_eq!(all(&mut lanes, &endpoint(1), Way::Drawn, NOW).len(), 3);
    assert_eq!(all(&mut lanes, &endpoint(1), Way::Fresh, NOW).len(), 1);
}

#[test]
fn what_was_parked_while_somebody_looked_is_not_forgotten() {
    let mut lanes = Lanes::default();
    lanes.enter(&endpoint(1), Way::Fresh, NOW);
    lanes.parked(endpoint(1).id, NOW);
    let before = lanes.parkings(endpoint(1).id);
    lanes.parked(endpoint(1).id, NOW);
    assert!(lanes.looked(endpoint(1).id, before, false));
    let before = lanes.parkings(endpoint(1).id);
    assert!(!lanes.looked(endpoint(1).id, before, false));
    assert!(!lanes.has_said(endpoint(1).id, NOW));
}

#[test]
fn that_something_is_parked_is_said_once_in_a_while_and_again_when_it_may_be_true_no_more() {
    let mut lanes = Lanes::default();
    lanes.enter(&endpoint(1), Way::Fresh, NOW);
    assert!(!lanes.has_said(endpoint(1).id, NOW));
    lanes.parked(endpoint(1).id, NOW);
    lanes.parked(endpoint(1).id, after(4));
    assert!(lanes.has_said(endpoint(1).id, after(4)));
    assert!(!lanes.has_said(endpoint(1).id, after(5)), "another process may have drawn everything");
    lanes.parked(endpoint(1).id, after(5));
    assert!(lanes.has_said(endpoint(1).id, after(9)));
}

#[test]
fn where_there_is_room_comes_in_turn() {
    let mut lanes = Lanes::default();
    let (first, second) = (of(tenant(2), 1), of(tenant(1), 1));
    for endpoint in [&first, &second, &first] {
        let seat = seat(lanes.enter(endpoint, Way::Fresh, NOW)).unwrap();
        lanes.parked(endpoint.id, NOW);
        lanes.leave(seat, QUICKLY, NOW);
    }
    assert_eq!(lanes.wanted(1), [(first.tenant, first.id)]);
    assert_eq!(lanes.wanted(9), [(second.tenant, second.id)]);
    assert!(!lanes.wants());
}

#[test]
fn one_tenant_does_not_take_every_place() {
    let mut lanes = Lanes::default();
    let taken: usize = (0..100).map(|n| all(&mut lanes, &endpoint(n), Way::Fresh, NOW).len()).sum();
    assert_eq!(taken, 256);
    assert!(seat(lanes.enter(&of(tenant(9), 200), Way::Fresh, NOW)).is_some());
}

#[test]
fn however_many_are_slow_the_quick_have_room_and_so_has_whoever_is_new() {
    let mut lanes = Lanes::default();
    let quick = of(tenant(200), 1);
    let one = seat(lanes.enter(&quick, Way::Fresh, NOW)).unwrap();
    lanes.leave(one, QUICKLY, NOW);
    // Each answers after 14 seconds, and there is always more for all of them.
    let mut seats: Vec<(TenantId, Seat)> = Vec::new();
    for round in 0..20 {
        for (_, seat) in seats.drain(..) {
            lanes.leave(seat, Pass::Answered(SignedDuration::from_secs(14)), after(14 * round));
        }
        for slow in 1..=60 {
            for n in 0..64 {
                let slow = of(tenant(slow), n);
                let taken = all(&mut lanes, &slow, Way::Fresh, after(14 * round));
                seats.extend(taken.into_iter().map(|seat| (slow.tenant, seat)));
            }
        }
        let now = after(14 * round);
        assert!(seats.len() <= 1024 + 60, "{}", seats.len());
        let theirs = all(&mut lanes, &quick, Way::Fresh, now);
        assert_eq!(theirs.len(), 4);
        theirs.into_iter().for_each(|seat| _ = lanes.leave(seat, QUICKLY, now));
        let new = seat(lanes.enter(&of(tenant(201), u16::from(round as u8)), Way::Fresh, now)).unwrap();
        lanes.leave(new, QUICKLY, now);
    }
}

#[test]
fn what_is_given_back_leaves_nothing_behind() {
    let mut lanes = Lanes::default();
    for n in 0..100 {
        for seat in all(&mut lanes, &endpoint(n), Way::Fresh, NOW) {
            lanes.leave(seat, Pass::Unused, NOW);
        }
    }
    assert_eq!((lanes.in_hand, lanes.slow, lanes.tenants.len()), (0, 0, 0));
}
