//! `replace`: a compare-and-swap, with what happens in the same step.

use std::sync::Arc;

use tokio::task::JoinSet;

use super::admitting::usage_of;
use super::{ANSWERS, Subject, TO, admitted, new_tenant, started, try_admit};
use crate::domain::Timestamp;
use crate::domain::address_limits::{AddressLimits, AddressRefusal};
use crate::domain::dispatch::{DeliveryFailure, Verdict};
use crate::domain::id::DeliveryId;
use crate::domain::inbound::MessageOutcome;
use crate::domain::magic_link::LinkTerms;
use crate::domain::quota::{Charge, Resource};
use crate::domain::verification::{Status, Verification};
use crate::ports::{Admission, Filter, NewVerification, ReplaceError, ResendError, Usage};
use crate::testing::builders::{
    a_quota, a_stored_address, a_verification, admission, an_idempotency, an_inbound_verification, entropy, noon,
    seconds,
};

fn resend(verification: &mut Verification, now: Timestamp) {
    let until = now.saturating_add(jiff::SignedDuration::from_secs(30)).expect("within the calendar");
    verification.resend(now, DeliveryId::new(now, entropy()), until, 2).expect("the cool-down is over");
}

fn give_up(verification: &mut Verification) {
    for second in [1, 2] {
        let refused = Verdict::Refused(DeliveryFailure::Rejected);
        verification.settle(refused, seconds(second), || DeliveryId::new(noon(), entropy()));
    }
    assert!(verification.counted.refunded, "both channels refused");
}

/// The version is counted up in the store and in the caller's hands.
pub async fn a_replaced_verification_is_found_with_its_next_version(store: Subject) {
    let tenant = new_tenant();
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    let version = verification.version;
    for guesses in 1..=3 {
        verification.check(|_| false, seconds(1));
        store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
        assert_eq!(verification.version, version + guesses);
    }
    let found = store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(found, Some(verification));
}

/// A change leaves it as it is, and redaction leaves nothing of its URLs.
pub async fn what_was_agreed_about_a_link_is_kept_until_it_is_redacted(store: Subject) {
    let tenant = new_tenant();
    let url = |page| Some(format!("https://app.example.com/{page}"));
    let terms = LinkTerms { redirect_url: url("welcome"), return_url: url("wait") };
    let born = Verification { link: Some(terms.clone()), ..a_verification(tenant, TO, noon()) };
    let mut verification = started(&store, born).await;
    assert!(verification.approve_by_link(|_| true, seconds(1)));
    store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
    let found = store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS);
    let mut found = found.expect("it is there");
    assert_eq!((&found.link, found.status, &found.code), (&Some(terms), Status::Approved, &None));
    found.redact();
    store.tenant(tenant).replace(&mut found, false).await.expect(ANSWERS);
    let redacted = store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(redacted.and_then(|redacted| redacted.link), Some(LinkTerms::default()));
}

/// A message counts where it comes from another number, and what was agreed about it outlasts the address.
pub async fn what_was_agreed_about_a_message_is_kept_with_it(store: Subject) {
    let tenant = new_tenant();
    let born = an_inbound_verification(tenant, Some(TO), noon());
    let terms = born.inbound.clone();
    let mut verification = started(&store, born).await;
    let other = a_stored_address(tenant, &verification.id.to_bytes(), "+447700900456");
    assert_eq!(verification.take_message(|_| true, other, seconds(1)), MessageOutcome::OtherNumber);
    store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
    let found = store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS);
    let mut found = found.expect("it is there");
    assert_eq!((&found.inbound, found.other_numbers), (&terms, 1));
    assert!(found.cancel(seconds(2)));
    store.tenant(tenant).replace(&mut found, false).await.expect(ANSWERS);
    found.redact();
    store.tenant(tenant).replace(&mut found, false).await.expect(ANSWERS);
    let redacted = store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(redacted.map(|redacted| (redacted.inbound, redacted.address)), Some((terms, None)));
}

/// From then on it is found by it, like any other, and erased with it; any number of them are of one address.
pub async fn an_address_that_becomes_known_is_kept_and_found(store: Subject) {
    let tenant = new_tenant();
    let find = async |index| {
        let filter = Filter { address: Some(index), ..Filter::default() };
        store.tenant(tenant).verifications(&filter, None, 10).await.expect(ANSWERS).items
    };
    let mut learned = Vec::new();
    for second in 1..4 {
        let mut verification = started(&store, an_inbound_verification(tenant, None, noon())).await;
        // Before that, changes leave it without.
        verification.other_numbers = 1;
        store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
        let sender = a_stored_address(tenant, &verification.id.to_bytes(), TO);
        let index = sender.index;
        assert_eq!(verification.take_message(|_| true, sender, seconds(second)), MessageOutcome::Approved);
        store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
        let found = store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS);
        assert_eq!(found.as_ref(), Some(&verification));
        learned.insert(0, verification);
        assert_eq!(find(index).await.len(), learned.len());
    }
    let index = learned[0].address.as_ref().expect("it is known").index;
    // A start for the same address comes behind them.
    let code = started(&store, a_verification(tenant, TO, seconds(5))).await;
    assert_eq!(find(index).await.len(), 4);
    for verification in &mut learned {
        verification.redact();
        store.tenant(tenant).replace(verification, false).await.expect(ANSWERS);
    }
    assert_eq!(find(index).await, [code]);
}

/// The key is the caller's word for the start, whatever becomes known later; only what is erased is not repeated.
pub async fn a_change_of_what_has_no_address_yet_leaves_its_key(store: Subject) {
    let tenant = new_tenant();
    let born = NewVerification {
        idempotency: Some(an_idempotency(1, 1, noon())),
        ..admission(an_inbound_verification(tenant, None, noon()))
    };
    let mut verification = admitted(&store, born.clone()).await;
    let repeated = async || matches!(try_admit(&store, born.clone()).await, Ok(Admission::Repeated(_)));
    verification.other_numbers = 1;
    store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
    assert!(repeated().await, "it is open");
    assert!(verification.cancel(seconds(1)));
    store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
    assert!(repeated().await, "it has ended");
}

/// What lost keeps its version, so that it can be seen that it lost.
pub async fn a_verification_is_replaced_only_as_it_was_read(store: Subject) {
    let tenant = new_tenant();
    let mut mine = started(&store, a_verification(tenant, TO, noon())).await;
    let mut theirs = mine.clone();
    mine.cancel(seconds(1));
    theirs.check(|_| true, seconds(1));
    store.tenant(tenant).replace(&mut mine, false).await.expect(ANSWERS);
    let version = theirs.version;
    let lost = store.tenant(tenant).replace(&mut theirs, false).await;
    assert!(matches!(lost, Err(ReplaceError::Conflict)), "{lost:?}");
    assert_eq!(theirs.version, version);
    assert_eq!(store.tenant(tenant).find_verification(mine.id).await.expect(ANSWERS), Some(mine));
    let unknown = store.tenant(tenant).replace(&mut a_verification(tenant, TO, noon()), false).await;
    assert!(matches!(unknown, Err(ReplaceError::Conflict)), "{unknown:?}");
}

/// A right code is right once.
pub async fn of_50_racing_replaces_of_one_version_one_wins(store: Subject) {
    let tenant = new_tenant();
    let verification = started(&store, a_verification(tenant, TO, noon())).await;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let (store, mut mine) = (Arc::clone(&store), verification.clone());
        calls.spawn(async move {
            assert!(mine.check(|_| true, seconds(1)));
            store.tenant(tenant).replace(&mut mine, false).await
        });
    }
    let outcomes = calls.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert!(outcomes.iter().filter(|outcome| outcome.is_err()).all(|o| matches!(o, Err(ReplaceError::Conflict))));
    let found = store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(found.map(|found| (found.status, found.version)), Some((Status::Approved, verification.version + 1)));
}

/// Reading again after each conflict, every guess is counted once.
pub async fn fifty_racing_guesses_count_fifty(store: Subject) {
    let tenant = new_tenant();
    let mut verification = a_verification(tenant, TO, noon());
    Arc::make_mut(&mut verification.policy).checks_allowed = 100;
    let id = started(&store, verification).await.id;
    let mut calls = JoinSet::new();
    for _ in 0..50 {
        let store = Arc::clone(&store);
        calls.spawn(async move {
            let door = store.tenant(tenant);
            loop {
                let mut mine = door.find_verification(id).await.expect(ANSWERS).expect("it was started");
                mine.check(|_| false, seconds(1));
                match door.replace(&mut mine, false).await {
                    Ok(()) => return,
                    Err(ReplaceError::Conflict) => {}
                    Err(ReplaceError::Store(error)) => panic!("{ANSWERS}: {error}"),
                }
            }
        });
    }
    calls.join_all().await;
    let found = store.tenant(tenant).find_verification(id).await.expect(ANSWERS).expect("it was started");
    assert_eq!(found.checks_used, 50);
}

/// And makes room for another.
pub async fn a_refund_gives_back_the_use_once(store: Subject) {
    let tenant = new_tenant();
    let new = || NewVerification {
        quota: a_quota(Resource::Verifications, noon(), Some(1), Some(1), Some(1)),
        ..admission(a_verification(tenant, TO, noon()))
    };
    let mut verification = admitted(&store, new()).await;
    assert!(try_admit(&store, new()).await.is_err());
    let mut twice = verification.clone();
    give_up(&mut verification);
    give_up(&mut twice);
    store.tenant(tenant).replace(&mut verification, true).await.expect(ANSWERS);
    assert!(matches!(store.tenant(tenant).replace(&mut twice, true).await, Err(ReplaceError::Conflict)));
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await, [Usage::default(); 2]);
    admitted(&store, new()).await;
    assert!(try_admit(&store, new()).await.is_err());
}

/// What was charged extra is not charged any more.
pub async fn a_refund_of_overage_gives_back_the_overage(store: Subject) {
    let tenant = new_tenant();
    let new = || NewVerification {
        quota: a_quota(Resource::Verifications, noon(), None, Some(1), Some(5)),
        ..admission(a_verification(tenant, TO, noon()))
    };
    admitted(&store, new()).await;
    let mut extra = admitted(&store, new()).await;
    assert_eq!(extra.counted.charge, Charge::Overage);
    give_up(&mut extra);
    store.tenant(tenant).replace(&mut extra, true).await.expect(ANSWERS);
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[1], Usage { used: 1, overage: 0 });
}

/// Together or not at all.
pub async fn a_replace_that_lost_refunds_nothing(store: Subject) {
    let tenant = new_tenant();
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    let mut stale = verification.clone();
    verification.check(|_| false, seconds(1));
    store.tenant(tenant).replace(&mut verification, false).await.expect(ANSWERS);
    give_up(&mut stale);
    assert!(matches!(store.tenant(tenant).replace(&mut stale, true).await, Err(ReplaceError::Conflict)));
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[0].used, 1);
}

/// The next start sees the resend as one more send.
pub async fn a_resend_is_stored_and_counts_against_the_address(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    resend(&mut verification, seconds(30));
    door.replace_for_resend(&mut verification, false).await.expect("the address rested");
    assert_eq!(door.find_verification(verification.id).await.expect(ANSWERS), Some(verification.clone()));
    assert_eq!(verification.sends.len(), 2);
    let next = |at| NewVerification {
        address_limits: Some(AddressLimits::default()),
        ..admission(a_verification(tenant, TO, seconds(at)))
    };
    match try_admit(&store, next(89)).await {
        Err(crate::ports::AdmitError::Address(limited)) => assert_eq!(limited.retry_at, seconds(90)),
        other => panic!("the address was written to 59 seconds ago: {other:?}"),
    }
    admitted(&store, next(90)).await;
}

/// One address, one limit: a refused resend changes nothing.
pub async fn a_resend_respects_other_verifications_of_the_address(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    let before = verification.clone();
    started(&store, a_verification(tenant, TO, seconds(20))).await;
    resend(&mut verification, seconds(40));
    match door.replace_for_resend(&mut verification, false).await {
        Err(ResendError::Address(limited)) => assert_eq!(limited.refusal, AddressRefusal::CoolDown),
        other => panic!("the address was written to 20 seconds ago: {other:?}"),
    }
    assert_eq!(verification.version, before.version);
    assert_eq!(door.find_verification(before.id).await.expect(ANSWERS), Some(before));
}

/// Nobody's phone rings.
pub async fn a_sandbox_resend_is_exempt(store: Subject) {
    let tenant = new_tenant();
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    started(&store, a_verification(tenant, TO, seconds(20))).await;
    resend(&mut verification, seconds(40));
    store.tenant(tenant).replace_for_resend(&mut verification, true).await.expect("sandbox numbers are exempt");
    let found = store.tenant(tenant).find_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(found, Some(verification));
}

/// Of racing resends one goes out.
pub async fn a_resend_of_what_changed_is_a_conflict(store: Subject) {
    let tenant = new_tenant();
    let verification = started(&store, a_verification(tenant, TO, noon())).await;
    let mut calls = JoinSet::new();
    for _ in 0..16 {
        let (store, mut mine) = (Arc::clone(&store), verification.clone());
        calls.spawn(async move {
            resend(&mut mine, seconds(40));
            store.tenant(tenant).replace_for_resend(&mut mine, false).await
        });
    }
    let outcomes = calls.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Err(ResendError::Conflict))).count(), 15);
}

/// Deleting what is gone is no error; the key's memory of it goes with it.
pub async fn a_deleted_verification_is_gone_with_its_key(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let new = || NewVerification {
        idempotency: Some(an_idempotency(1, 1, noon())),
        ..admission(a_verification(tenant, TO, noon()))
    };
    let verification = admitted(&store, new()).await;
    door.delete_verification(verification.id).await.expect(ANSWERS);
    door.delete_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(door.find_verification(verification.id).await.expect(ANSWERS), None);
    assert!(matches!(door.replace(&mut verification.clone(), false).await, Err(ReplaceError::Conflict)));
    let again = try_admit(&store, new()).await.expect(ANSWERS);
    assert!(matches!(again, Admission::Admitted(_)), "what was deleted is not repeated: {again:?}");
}
