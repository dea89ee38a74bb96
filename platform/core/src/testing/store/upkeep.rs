//! What the sweep and a start ask for.

use super::admitting::usage_of;
use super::messages::sent;
use super::{ANSWERS, Subject, TO, admitted, new_tenant, started, try_admit};
use crate::domain::asking::Again;
use crate::domain::dispatch::{DeliveryStatus, Receipt, Turn, Verdict};
use crate::domain::id::DeliveryId;
use crate::domain::quota::Resource;
use crate::domain::verification::Wake;
use crate::ports::{Admission, Item, NewVerification, ReplaceError, Usage};
use crate::testing::builders::{
    a_message, a_verification, admission, an_idempotency, entropy, message_admission, noon, seconds,
};

/// Of all tenants; nothing before its time.
pub async fn what_is_due_comes_longest_due_first_of_both_kinds(store: Subject) {
    let (a, b) = (new_tenant(), new_tenant());
    let first = started(&store, a_verification(a, TO, seconds(0))).await;
    let second = sent(&store, message_admission(a_message(b, TO, seconds(1)))).await;
    let third = started(&store, a_verification(b, TO, seconds(2))).await;
    assert_eq!(store.due(seconds(29), 10).await.expect(ANSWERS), []);
    let all = [(a, Item::Verification(first.id)), (b, Item::Message(second.id)), (b, Item::Verification(third.id))];
    assert_eq!(store.due(seconds(30), 10).await.expect(ANSWERS), all[..1]);
    assert_eq!(store.due(seconds(60), 10).await.expect(ANSWERS), all);
}

/// The rest is still due.
pub async fn due_takes_no_more_than_asked(store: Subject) {
    let tenant = new_tenant();
    let mut expected = Vec::new();
    for second in 0..5 {
        let verification = started(&store, a_verification(tenant, TO, seconds(second))).await;
        expected.push((tenant, Item::Verification(verification.id)));
    }
    assert_eq!(store.due(seconds(100), 3).await.expect(ANSWERS), expected[..3]);
    assert_eq!(store.due(seconds(100), 0).await.expect(ANSWERS), []);
}

/// Lease, expiry, retention: one after the other.
pub async fn what_is_replaced_is_due_at_its_new_time(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    let due = [(tenant, Item::Verification(verification.id))];
    let sent = Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: None };
    verification.settle(sent, seconds(1), || DeliveryId::new(noon(), entropy()));
    door.replace(&mut verification, false).await.expect(ANSWERS);
    assert_eq!(store.due(seconds(299), 10).await.expect(ANSWERS), []);
    assert_eq!(store.due(seconds(300), 10).await.expect(ANSWERS), due);
    verification.check(|_| true, seconds(10));
    door.replace(&mut verification, false).await.expect(ANSWERS);
    assert_eq!(store.due(seconds(300), 10).await.expect(ANSWERS), []);
    let retained = verification.wake_at();
    assert_eq!(verification.wake(retained), Wake::Redact);
    assert_eq!(store.due(retained, 10).await.expect(ANSWERS), due);
    verification.redact();
    door.replace(&mut verification, false).await.expect(ANSWERS);
    assert_eq!(store.due(retained, 10).await.expect(ANSWERS), []);
    assert_eq!(store.due(verification.wake_at(), 10).await.expect(ANSWERS), due);
    door.delete_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(store.due(verification.wake_at(), 10).await.expect(ANSWERS), []);
}

/// Of both kinds; and whoever takes a question first has it alone.
pub async fn what_a_provider_is_to_be_asked_is_due_at_its_moment_until_it_is_needless(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let verdict = || Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: None };
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    let mut message = sent(&store, message_admission(a_message(tenant, TO, noon()))).await;
    let (code, text) = (verification.dispatch.deliveries[0].id, message.dispatch.deliveries[0].id);
    verification.settle(verdict(), seconds(1), || DeliveryId::new(noon(), entropy()));
    verification.ask_about(code, seconds(1));
    message.settle(verdict(), seconds(2), || DeliveryId::new(noon(), entropy()));
    message.ask_about(text, seconds(2));
    door.replace(&mut verification, false).await.expect(ANSWERS);
    door.replace_message(&mut message, false).await.expect(ANSWERS);
    let (first, second) = ((tenant, Item::Verification(verification.id)), (tenant, Item::Message(message.id)));
    assert_eq!(store.due(seconds(6), 10).await.expect(ANSWERS), []);
    assert_eq!(store.due(seconds(7), 10).await.expect(ANSWERS), [first]);
    assert_eq!(store.due(seconds(8), 10).await.expect(ANSWERS), [first, second]);
    let mut faster = door.find_verification(verification.id).await.expect(ANSWERS).expect("it is stored");
    let mut slower = faster.clone();
    assert!(faster.hand_over_asking(seconds(8)) && slower.hand_over_asking(seconds(8)));
    door.replace(&mut faster, false).await.expect(ANSWERS);
    assert!(matches!(door.replace(&mut slower, false).await, Err(ReplaceError::Conflict)));
    assert_eq!(store.due(seconds(8), 10).await.expect(ANSWERS), [second]);
    faster.record(code, Receipt::Delivered, seconds(9));
    door.replace(&mut faster, false).await.expect(ANSWERS);
    message.record(text, Receipt::Read, seconds(9));
    door.replace_message(&mut message, false).await.expect(ANSWERS);
    assert_eq!(store.due(seconds(299), 10).await.expect(ANSWERS), []);
    let read = door.find_verification(verification.id).await.expect(ANSWERS).expect("it is stored");
    assert_eq!(read.asking, []);
}

/// Although its verification has ended.
pub async fn what_a_provider_is_to_take_back_is_due_at_its_moment(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut verification = started(&store, a_verification(tenant, TO, noon())).await;
    let (code, item) = (verification.dispatch.deliveries[0].id, (tenant, Item::Verification(verification.id)));
    let sent = Verdict::Sent { provider_id: None, reached: DeliveryStatus::Sent, cost: None };
    verification.settle(sent, seconds(1), || DeliveryId::new(noon(), entropy()));
    verification.cancel(seconds(2));
    assert!(verification.revoke(code, seconds(2)) && verification.take_revoking().is_some());
    door.replace(&mut verification, false).await.expect(ANSWERS);
    assert_eq!(store.due(seconds(11), 10).await.expect(ANSWERS), []);
    assert_eq!(store.due(seconds(12), 10).await.expect(ANSWERS), [item]);
    let mut read = door.find_verification(verification.id).await.expect(ANSWERS).expect("it is stored");
    assert_eq!(read.revoking, verification.revoking);
    assert!(read.hand_over_asking(seconds(12)) && read.take_revoking().is_some());
    assert!(read.revoked(code, Again::Never, seconds(13)));
    door.replace(&mut read, false).await.expect(ANSWERS);
    assert_eq!(store.due(seconds(2000), 10).await.expect(ANSWERS), []);
    let read = door.find_verification(verification.id).await.expect(ANSWERS).expect("it is stored");
    assert_eq!(read.revoking, []);
}

/// Its work is due at once, though the verification has ended; what nobody held stays as it is.
pub async fn recovery_frees_what_a_gone_process_held(store: Subject) {
    let tenant = new_tenant();
    let held = started(&store, a_verification(tenant, TO, noon())).await;
    let message = sent(&store, message_admission(a_message(tenant, TO, noon()))).await;
    let mut waiting = a_verification(tenant, TO, noon());
    waiting.dispatch.turn = Turn::Due { at: seconds(20) };
    let waiting = started(&store, waiting).await;
    let mut ended = started(&store, a_verification(tenant, TO, noon())).await;
    ended.check(|_| true, seconds(1));
    store.tenant(tenant).replace(&mut ended, false).await.expect(ANSWERS);

    assert_eq!(store.recover(seconds(5)).await.expect(ANSWERS), 3);
    assert_eq!(store.recover(seconds(5)).await.expect(ANSWERS), 0);
    let due = store.due(seconds(5), 10).await.expect(ANSWERS);
    assert_eq!(due.len(), 3);
    for item in [Item::Verification(held.id), Item::Message(message.id), Item::Verification(ended.id)] {
        assert!(due.contains(&(tenant, item)), "{item:?}");
    }
    let found = store.tenant(tenant).find_verification(waiting.id).await.expect(ANSWERS);
    assert_eq!(found, Some(waiting));
    let found = store.tenant(tenant).find_verification(held.id).await.expect(ANSWERS).expect("it was started");
    assert_eq!(found.dispatch.turn, Turn::Due { at: seconds(5) });
}

/// Whatever of the old process still runs cannot store what it did.
pub async fn a_recovered_hold_is_lost_to_its_old_worker(store: Subject) {
    let tenant = new_tenant();
    let mut held = started(&store, a_verification(tenant, TO, noon())).await;
    store.recover(seconds(5)).await.expect(ANSWERS);
    assert!(matches!(store.tenant(tenant).replace(&mut held, false).await, Err(ReplaceError::Conflict)));
}

/// Everything that is still of use stays.
pub async fn forgetting_drops_expired_keys_and_old_counts_only(store: Subject) {
    let tenant = new_tenant();
    let keyed = |key, at| NewVerification {
        idempotency: Some(an_idempotency(key, 1, at)),
        ..admission(a_verification(tenant, TO, at))
    };
    let (day, late) = (86_400, seconds(86_400 + 10));
    admitted(&store, keyed(1, noon())).await;
    admitted(&store, keyed(2, seconds(60))).await;
    assert_eq!(store.forget(late).await.expect(ANSWERS), 1);
    assert_eq!(store.forget(late).await.expect(ANSWERS), 0);
    let kept = try_admit(&store, keyed(2, late)).await;
    assert!(matches!(kept, Ok(Admission::Repeated(_))), "{kept:?}");
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await.map(|usage| usage.used), [2, 2]);

    store.forget(seconds(380 * day)).await.expect(ANSWERS);
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[1].used, 2);
    store.forget(seconds(480 * day)).await.expect(ANSWERS);
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await, [Usage::default(); 2]);
}
