//! `admit`: counts and inserts together.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::task::JoinSet;

use super::{ANSWERS, Subject, TO, admitted, new_tenant, started, try_admit};
use crate::domain::Timestamp;
use crate::domain::address_limits::{AddressLimits, AddressRefusal};
use crate::domain::guard::{Effect, GuardNote, Rule, Step};
use crate::domain::id::TenantId;
use crate::domain::mode::Mode;
use crate::domain::quota::{Charge, Period, Resource, Window, WindowKind};
use crate::domain::verification::{Status, Verification};
use crate::ports::{Admission, AdmitError, Filter, NewVerification, Usage};
use crate::testing::builders::{a_quota, a_verification, admission, an_idempotency, noon, seconds};

/// What was used on the day and in the month of `noon()`.
pub(super) async fn usage_of(store: &Subject, tenant: TenantId, resource: Resource) -> [Usage; 2] {
    let windows = [Window::day(noon()), Window::month(noon(), Period::Calendar, noon())];
    let usage = store.tenant(tenant).usage(resource, &windows).await.expect(ANSWERS);
    usage.try_into().expect("one answer for each window")
}

fn with_quota(verification: Verification, day: Option<u64>, month: Option<u64>, cap: Option<u64>) -> NewVerification {
    let quota = a_quota(verification.counted.resource, verification.created_at, day, month, cap);
    NewVerification { quota, ..admission(verification) }
}

fn limited(verification: Verification) -> NewVerification {
    NewVerification { address_limits: Some(AddressLimits::default()), ..admission(verification) }
}

fn keyed(verification: Verification, key: u8, fingerprint: u8) -> NewVerification {
    let idempotency = Some(an_idempotency(key, fingerprint, verification.created_at));
    NewVerification { idempotency, ..admission(verification) }
}

/// Admits what `new` makes 64 times at once; says what came of each.
async fn race(
    store: &Subject,
    new: impl Fn(usize) -> NewVerification,
) -> Vec<Result<Admission<Verification>, AdmitError>> {
    let mut calls = JoinSet::new();
    for n in 0..64 {
        let (store, new) = (Arc::clone(store), new(n));
        calls.spawn(async move { try_admit(&store, new).await });
    }
    calls.join_all().await
}

/// What a guard stopped is stored, by its key too, though the quota has no room, and no use of anything.
pub async fn what_was_blocked_is_stored_and_counted_nowhere(store: Subject) {
    let tenant = new_tenant();
    let mut blocked = a_verification(tenant, TO, noon());
    blocked.block(noon());
    let new =
        NewVerification { quota: with_quota(blocked.clone(), Some(0), Some(0), None).quota, ..keyed(blocked, 1, 1) };
    let kept = admitted(&store, new.clone()).await;
    assert_eq!((kept.status, kept.counted.refunded), (Status::Failed, true));
    assert_eq!(store.tenant(tenant).find_verification(kept.id).await.expect(ANSWERS), Some(kept.clone()));
    match try_admit(&store, new).await {
        Ok(Admission::Repeated(first)) => assert_eq!(first.id, kept.id),
        other => panic!("the key was used: {other:?}"),
    }
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await, [Usage::default(); 2]);
    // Nor is it a send to the address.
    admitted(&store, limited(a_verification(tenant, TO, noon()))).await;
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await.map(|usage| usage.used), [1; 2]);
}

/// A key that was used repeats what it made, and an address that was written to is refused as such.
pub async fn what_is_not_to_be_kept_is_decided_on_and_leaves_nothing(store: Subject) {
    let tenant = new_tenant();
    let note = GuardNote {
        at: noon(),
        step: Step::Start,
        rule: Rule::CountryBlocked,
        effect: Effect::Blocked,
        retry_at: Some(seconds(9)),
    };
    let unkept = |new: NewVerification| NewVerification { unkept: Some(note.clone()), ..new };
    let first = admitted(&store, keyed(a_verification(tenant, TO, noon()), 1, 1)).await;
    match try_admit(&store, unkept(keyed(a_verification(tenant, TO, noon()), 1, 1))).await {
        Ok(Admission::Repeated(known)) => assert_eq!(known.id, first.id),
        other => panic!("the key was used: {other:?}"),
    }
    let limited = try_admit(&store, unkept(limited(a_verification(tenant, TO, noon())))).await;
    assert!(matches!(limited, Err(AdmitError::Address(_))), "{limited:?}");
    let mut blocked = a_verification(tenant, TO, noon());
    blocked.block(noon());
    let id = blocked.id;
    match try_admit(&store, unkept(keyed(blocked, 2, 1))).await {
        Err(AdmitError::NotKept(said)) => assert_eq!(said, note),
        other => panic!("nothing was to be kept: {other:?}"),
    }
    assert_eq!(store.tenant(tenant).find_verification(id).await.expect(ANSWERS), None);
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await.map(|usage| usage.used), [1; 2]);
    // Nor is its key used.
    admitted(&store, keyed(a_verification(tenant, TO, noon()), 2, 7)).await;
}

/// Whatever a store or its library takes such a name for: alone, with another, and with one of ours.
pub async fn metadata_of_any_name_are_kept_filtered_and_repeated(store: Subject) {
    let tenant = new_tenant();
    let of_a_database = [
        ("$numberLong", "5"),
        ("$numberInt", "5"),
        ("$numberDouble", "Infinity"),
        ("$numberDecimal", "1.5"),
        ("$oid", "507f1f77bcf86cd799439011"),
        ("$date", "2026-11-22T12:00:00Z"),
        ("$uuid", "c8edabc3-f738-4ca3-b68d-ab92a91478a3"),
        ("$symbol", "x"),
        ("$code", "x"),
        ("$undefined", "true"),
        ("$minKey", "1"),
        ("$binary", "AAAA"),
        ("$type", "00"),
        ("$ref", "x"),
        ("$id", "x"),
        ("$set", "x"),
        ("$", "x"),
        ("a.b", "$7"),
        (".", ""),
        ("$a.$b", "{\"$numberLong\": \"5\"}"),
    ];
    let mut all: Vec<BTreeMap<String, String>> = Vec::new();
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    for one in of_a_database {
        all.push([pair(one)].into());
        all.push([pair(one), pair(("order", "7"))].into());
    }
    all.push(of_a_database.map(pair).into());
    all.push([pair(("$binary", "AAAA")), pair(("$type", "00"))].into());
    all.push([pair(("$ref", "x")), pair(("$id", "y"))].into());
    let door = store.tenant(tenant);
    for (byte, metadata) in (0..).zip(all) {
        let new = || NewVerification {
            idempotency: Some(an_idempotency(byte, byte, noon())),
            ..admission(Verification { metadata: metadata.clone(), ..a_verification(tenant, TO, noon()) })
        };
        let mut kept = admitted(&store, new()).await;
        assert_eq!(door.find_verification(kept.id).await.expect(ANSWERS), Some(kept.clone()));
        match try_admit(&store, new()).await {
            Ok(Admission::Repeated(first)) => assert_eq!((first.id, &first.metadata), (kept.id, &metadata)),
            other => panic!("the key was used: {other:?}"),
        }
        let filter = Filter { metadata: metadata.clone(), ..Filter::default() };
        let found = door.verifications(&filter, None, 100).await.expect(ANSWERS).items;
        assert!(found.iter().any(|found| found.id == kept.id && found.metadata == metadata), "{metadata:?}");
        kept.cancel(noon());
        door.replace(&mut kept, false).await.expect(ANSWERS);
        assert_eq!(door.find_verification(kept.id).await.expect(ANSWERS), Some(kept.clone()));
        kept.redact();
        door.replace(&mut kept, false).await.expect(ANSWERS);
        let redacted = door.find_verification(kept.id).await.expect(ANSWERS).expect("it is there");
        assert!(redacted.metadata.is_empty());
    }
}

/// Every field of it.
pub async fn an_admitted_verification_is_found_as_it_was(store: Subject) {
    let tenant = new_tenant();
    let mut verification = a_verification(tenant, TO, noon());
    verification.metadata = [("order".to_owned(), "\"4711\" — ✓".to_owned())].into();
    verification.guard = vec![GuardNote {
        at: noon(),
        step: Step::Start,
        rule: Rule::CountryWatched,
        effect: Effect::Noted,
        retry_at: Some(noon()),
    }];
    let kept = started(&store, verification.clone()).await;
    assert_eq!(kept, verification);
    assert_eq!(store.tenant(tenant).find_verification(kept.id).await.expect(ANSWERS), Some(verification));
}

/// Windows that nothing was counted in are zero.
pub async fn an_admission_counts_in_its_day_and_its_month(store: Subject) {
    let tenant = new_tenant();
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await, [Usage::default(); 2]);
    started(&store, a_verification(tenant, TO, noon())).await;
    let tomorrow = seconds(86_400);
    started(&store, a_verification(tenant, TO, tomorrow)).await;
    let used = usage_of(&store, tenant, Resource::Verifications).await.map(|usage| usage.used);
    assert_eq!(used, [1, 2]);
    let next_day = store.tenant(tenant).usage(Resource::Verifications, &[Window::day(tomorrow)]).await.expect(ANSWERS);
    assert_eq!(next_day, [Usage { used: 1, overage: 0 }]);
}

/// Refused and not stored; the same call tomorrow is admitted.
pub async fn the_quota_refuses_the_first_beyond_it_and_keeps_nothing_of_it(store: Subject) {
    let tenant = new_tenant();
    let new = |at: Timestamp| with_quota(a_verification(tenant, TO, at), Some(2), Some(100), Some(100));
    admitted(&store, new(noon())).await;
    admitted(&store, new(seconds(1))).await;
    let refused = new(seconds(2));
    let id = refused.verification.id;
    match try_admit(&store, refused).await {
        Err(AdmitError::Quota(exceeded)) => {
            assert_eq!((exceeded.window.kind, exceeded.limit), (WindowKind::Day, 2));
        }
        other => panic!("the day was used up: {other:?}"),
    }
    assert_eq!(store.tenant(tenant).find_verification(id).await.expect(ANSWERS), None);
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[0].used, 2);
    admitted(&store, new(seconds(86_400))).await;
}

/// The charge is what is stored, not what the caller guessed.
pub async fn beyond_the_included_uses_overage_is_charged_up_to_its_cap(store: Subject) {
    let tenant = new_tenant();
    let new = || with_quota(a_verification(tenant, TO, noon()), None, Some(1), Some(3));
    let mut charges = Vec::new();
    for _ in 0..3 {
        let kept = admitted(&store, new()).await;
        let stored = store.tenant(tenant).find_verification(kept.id).await.expect(ANSWERS);
        assert_eq!(stored.as_ref(), Some(&kept));
        charges.push(kept.counted.charge);
    }
    assert_eq!(charges, [Charge::Included, Charge::Overage, Charge::Overage]);
    assert!(matches!(try_admit(&store, new()).await, Err(AdmitError::Quota(_))));
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[1], Usage { used: 3, overage: 2 });
}

/// Each resource has counts of its own.
pub async fn test_and_live_are_counted_apart(store: Subject) {
    let tenant = new_tenant();
    let mut test = a_verification(tenant, TO, noon());
    test.mode = Mode::Test;
    test.counted.resource = Resource::TestVerifications;
    admitted(&store, with_quota(a_verification(tenant, TO, noon()), Some(1), None, None)).await;
    admitted(&store, with_quota(test, Some(1), None, None)).await;
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[0].used, 1);
    assert_eq!(usage_of(&store, tenant, Resource::TestVerifications).await[0].used, 1);
    assert_eq!(usage_of(&store, tenant, Resource::Messages).await[0].used, 0);
}

/// Neither one more nor one less.
pub async fn at_the_edge_of_the_quota_64_racing_calls_admit_exactly_what_is_left(store: Subject) {
    let tenant = new_tenant();
    let new = |_| with_quota(a_verification(tenant, TO, noon()), Some(23), Some(100), Some(100));
    admitted(&store, new(0)).await;
    admitted(&store, new(0)).await;
    let outcomes = race(&store, new).await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(Admission::Admitted(_)))).count(), 21);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err(AdmitError::Quota(_)))).count(), 43);
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await.map(|usage| usage.used), [23, 23]);
}

/// Over all verifications of the address; what is refused is not counted against the quota.
pub async fn an_address_is_written_to_only_as_often_as_its_limits_allow(store: Subject) {
    let tenant = new_tenant();
    let new = |second| limited(a_verification(tenant, TO, seconds(second)));
    admitted(&store, new(0)).await;
    match try_admit(&store, new(29)).await {
        Err(AdmitError::Address(limited)) => {
            assert_eq!((limited.refusal, limited.retry_at), (AddressRefusal::CoolDown, seconds(30)));
        }
        other => panic!("the last code went out 29 seconds ago: {other:?}"),
    }
    for second in [30, 90, 210, 330] {
        admitted(&store, new(second)).await;
    }
    match try_admit(&store, new(455)).await {
        Err(AdmitError::Address(limited)) => {
            assert_eq!((limited.refusal, limited.retry_at), (AddressRefusal::ShortWindow, seconds(600)));
        }
        other => panic!("five codes went out within 10 minutes: {other:?}"),
    }
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[0].used, 5);
    admitted(&store, limited(a_verification(tenant, "+12025550124", seconds(455)))).await;
}

/// The modes' histories are apart.
pub async fn test_mode_does_not_spend_a_live_address(store: Subject) {
    let tenant = new_tenant();
    let mut test = a_verification(tenant, TO, noon());
    test.mode = Mode::Test;
    admitted(&store, limited(test)).await;
    admitted(&store, limited(a_verification(tenant, TO, noon()))).await;
}

/// NIST's growing delay: a new code does not reset wrong guesses, a right one does.
pub async fn wrong_guesses_of_earlier_verifications_delay_the_next(store: Subject) {
    let tenant = new_tenant();
    let guess = |at: i64, wrong: u8, status| {
        let mut verification = a_verification(tenant, TO, seconds(at));
        verification.checks_used = wrong;
        verification.status = status;
        verification.ended_at = (status != Status::Pending).then(|| seconds(at));
        verification
    };
    for at in 0..6 {
        started(&store, guess(1000 * at, 5, Status::Failed)).await;
    }
    match try_admit(&store, limited(guess(5031, 0, Status::Pending))).await {
        Err(AdmitError::Address(limited)) => assert_eq!(limited.refusal, AddressRefusal::Failures),
        other => panic!("thirty codes were wrong in a row: {other:?}"),
    }
    started(&store, guess(5040, 1, Status::Approved)).await;
    admitted(&store, limited(guess(5100, 0, Status::Pending))).await;
}

/// Limits hold under racing as the quota does.
pub async fn of_64_racing_calls_to_one_address_exactly_one_is_admitted(store: Subject) {
    let tenant = new_tenant();
    let outcomes = race(&store, |_| limited(a_verification(tenant, TO, noon()))).await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Ok(Admission::Admitted(_)))).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err(AdmitError::Address(_)))).count(), 63);
}

/// Not as it is now. Only the code goes with the verification's end.
pub async fn a_repeated_key_returns_what_it_made_as_it_was_then(store: Subject) {
    let tenant = new_tenant();
    let again = async |at| {
        let again = keyed(a_verification(tenant, TO, seconds(at)), 1, 1);
        try_admit(&store, again).await.expect("it is a repeat")
    };
    let mut first = admitted(&store, keyed(a_verification(tenant, TO, noon()), 1, 1)).await;
    let mut changed = first.clone();
    changed.check(|_| false, seconds(10));
    store.tenant(tenant).replace(&mut changed, false).await.expect(ANSWERS);
    assert_eq!(again(15).await, Admission::Repeated(first.clone()));
    changed.check(|_| true, seconds(20));
    store.tenant(tenant).replace(&mut changed, false).await.expect(ANSWERS);
    first.code = None;
    assert_eq!(again(25).await, Admission::Repeated(first));
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[0].used, 1);
}

/// A retry of a call that got through is not refused for what that call used.
pub async fn a_repeated_key_comes_before_limits_and_quota(store: Subject) {
    let tenant = new_tenant();
    let new = || NewVerification {
        quota: a_quota(Resource::Verifications, noon(), Some(1), Some(1), Some(1)),
        address_limits: Some(AddressLimits::default()),
        ..keyed(a_verification(tenant, TO, noon()), 1, 1)
    };
    let first = admitted(&store, new()).await;
    assert_eq!(try_admit(&store, new()).await.expect("it is a repeat"), Admission::Repeated(first));
}

/// A key names one request.
pub async fn a_key_used_for_another_request_is_refused(store: Subject) {
    let tenant = new_tenant();
    admitted(&store, keyed(a_verification(tenant, TO, noon()), 1, 1)).await;
    let other = try_admit(&store, keyed(a_verification(tenant, TO, noon()), 1, 2)).await;
    assert!(matches!(other, Err(AdmitError::KeyReused)), "{other:?}");
    admitted(&store, keyed(a_verification(tenant, TO, noon()), 2, 2)).await;
}

/// Whether or not it has been forgotten yet.
pub async fn an_expired_key_is_free_again(store: Subject) {
    let tenant = new_tenant();
    admitted(&store, keyed(a_verification(tenant, TO, noon()), 1, 1)).await;
    let day = 86_400;
    let last = try_admit(&store, keyed(a_verification(tenant, TO, seconds(day - 1)), 1, 1)).await;
    assert!(matches!(last, Ok(Admission::Repeated(_))), "{last:?}");
    let free = admitted(&store, keyed(a_verification(tenant, TO, seconds(day)), 1, 2)).await;
    let again = try_admit(&store, keyed(a_verification(tenant, TO, seconds(day + 1)), 1, 2)).await;
    assert_eq!(again.expect("it is a repeat"), Admission::Repeated(free));
}

/// Redacted or deleted: the key's newer record is repeated as before.
pub async fn erasing_an_old_record_forgets_no_newer_use_of_its_key(store: Subject) {
    let tenant = new_tenant();
    let day = 86_400;
    let mut old = admitted(&store, keyed(a_verification(tenant, TO, noon()), 1, 1)).await;
    let newer = admitted(&store, keyed(a_verification(tenant, TO, seconds(day)), 1, 2)).await;
    let door = store.tenant(tenant);
    old.cancel(seconds(day));
    old.redact();
    door.replace(&mut old, false).await.expect(ANSWERS);
    let again = || keyed(a_verification(tenant, TO, seconds(day + 1)), 1, 2);
    assert_eq!(try_admit(&store, again()).await.expect("it is a repeat"), Admission::Repeated(newer.clone()));
    door.delete_verification(old.id).await.expect(ANSWERS);
    assert_eq!(try_admit(&store, again()).await.expect("it is a repeat"), Admission::Repeated(newer.clone()));
    door.delete_verification(newer.id).await.expect(ANSWERS);
    let free = try_admit(&store, again()).await;
    assert!(matches!(free, Ok(Admission::Admitted(_))), "{free:?}");
}

/// One is admitted, and all the others get that one.
pub async fn one_key_raced_64_times_admits_once(store: Subject) {
    let tenant = new_tenant();
    let outcomes = race(&store, |_| keyed(a_verification(tenant, TO, noon()), 1, 1)).await;
    let (mut first, mut repeats) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome.expect("every call has an answer") {
            Admission::Admitted(verification) => first.push(verification),
            Admission::Repeated(verification) => repeats.push(verification),
        }
    }
    assert_eq!((first.len(), repeats.len()), (1, 63));
    assert!(repeats.iter().all(|repeat| *repeat == first[0]));
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[0].used, 1);
}

/// The caller may try again under the same key.
pub async fn a_refused_call_does_not_spend_its_key(store: Subject) {
    let tenant = new_tenant();
    let new = |at| NewVerification {
        quota: a_quota(Resource::Verifications, at, Some(1), None, None),
        ..keyed(a_verification(tenant, TO, at), 1, 1)
    };
    admitted(&store, with_quota(a_verification(tenant, TO, noon()), Some(1), None, None)).await;
    assert!(matches!(try_admit(&store, new(noon())).await, Err(AdmitError::Quota(_))));
    admitted(&store, new(seconds(86_399))).await;
}
