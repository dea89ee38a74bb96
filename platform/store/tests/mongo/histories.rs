//! What is read of an address that has a long history.

use jiff::SignedDuration;
use wotp_core::domain::address_limits::{AddressLimits, AddressRefusal};
use wotp_core::domain::verification::{Status, Verification};
use wotp_core::ports::{Admission, AdmitError, NewVerification};
use wotp_core::testing::builders::{a_verification, admission, noon, seconds};

use super::*;

const TO: &str = "+447700900123";
/// Verifications of the address, one an hour.
const HISTORY: i64 = 400;

#[tokio::test]
async fn of_a_long_history_no_more_is_read_than_the_limits_look_at() {
    let database = MongoDatabase::fresh();
    let (store, tenant) = store(database.url()).await;
    let ended = |hour: i64, wrong: u8, status: Status| {
        let mut verification = a_verification(tenant.id, TO, seconds(-3600 * hour));
        (verification.status, verification.checks_used) = (status, wrong);
        verification.ended_at = Some(verification.created_at.saturating_add(SignedDuration::from_mins(1)).unwrap());
        verification
    };
    let mut old: Vec<Verification> = (30..=HISTORY).rev().map(|hour| ended(hour, 1, Status::Approved)).collect();
    // Since the last right code sixty guesses were wrong, the last an hour ago.
    old.extend([7, 4, 1].map(|hour| ended(hour, 20, Status::Failed)));
    let stored = old.len();
    for verification in old {
        store.tenant(tenant.id).admit(admission(verification)).await.unwrap();
    }
    database.run(doc! { "profile": 2 }).unwrap();
    let mut new = admission(a_verification(tenant.id, TO, seconds(-30)));
    new.address_limits = Some(AddressLimits::default());
    let refused = store.tenant(tenant.id).admit(new).await;
    database.run(doc! { "profile": 0 }).unwrap();
    match refused {
        Err(AdmitError::Address(limited)) => {
            assert_eq!((limited.refusal, limited.retry_at), (AddressRefusal::Failures, noon()));
        }
        other => panic!("an hour after sixty wrong guesses is not over: {other:?}"),
    }
    let looks = raw(&database, "system.profile");
    let ours = looks.iter().filter(|look| look.get_str("ns").is_ok_and(|name| name.ends_with(".verifications")));
    let examined: i32 = ours.filter_map(|look| look.get_i32("docsExamined").ok()).sum();
    assert!((1..=120).contains(&examined), "{examined} documents of {stored} were read");
}

#[tokio::test]
async fn addresses_with_long_and_with_short_histories_are_told_apart_in_one_batch() {
    let database = MongoDatabase::fresh();
    let (store, tenant) = store(database.url()).await;
    let door = store.tenant(tenant.id);
    for hour in (1..=HISTORY).rev() {
        door.admit(admission(a_verification(tenant.id, TO, seconds(-3600 * hour)))).await.unwrap();
    }
    let to = |number: usize| format!("+4477009002{number:02}");
    door.admit(admission(a_verification(tenant.id, &to(0), seconds(-10)))).await.unwrap();
    let new = |to: &str| -> NewVerification {
        let mut new = admission(a_verification(tenant.id, to, noon()));
        new.address_limits = Some(AddressLimits { sends_per_day: 24, ..AddressLimits::default() });
        new
    };
    // All wait at once, and so go together.
    let (long, short, first, second) =
        tokio::join!(door.admit(new(TO)), door.admit(new(&to(0))), door.admit(new(&to(1))), door.admit(new(&to(2))));
    let limited = |outcome: Result<Admission<Verification>, AdmitError>| match outcome {
        Err(AdmitError::Address(limited)) => Some(limited.refusal),
        Ok(_) => None,
        Err(other) => panic!("{other:?}"),
    };
    assert_eq!(
        [limited(long), limited(short), limited(first), limited(second)],
        [None, Some(AddressRefusal::CoolDown), None, None]
    );
}
