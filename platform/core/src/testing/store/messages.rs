//! Direct messages: as verifications, on their own quota, without limits by address.

use super::admitting::usage_of;
use super::{ANSWERS, Subject, TO, new_tenant};
use crate::domain::dispatch::{DeliveryFailure, DeliveryStatus, Verdict};
use crate::domain::guard::{Effect, GuardNote, Rule, Step};
use crate::domain::id::{DeliveryId, TenantId};
use crate::domain::message::Message;
use crate::domain::mode::Mode;
use crate::domain::quota::Resource;
use crate::domain::verification::Status;
use crate::ports::{Admission, AdmitError, Filter, NewMessage, Page, ReplaceError};
use crate::testing::builders::{a_message, a_quota, an_idempotency, entropy, message_admission, noon, seconds};

pub(super) async fn sent(store: &Subject, new: NewMessage) -> Message {
    let tenant = new.message.tenant;
    match store.tenant(tenant).admit_message(new).await {
        Ok(Admission::Admitted(message)) => message,
        other => panic!("it should have been admitted: {other:?}"),
    }
}

async fn accepted(store: &Subject, tenant: TenantId, second: i64) -> Message {
    sent(store, message_admission(a_message(tenant, TO, seconds(second)))).await
}

/// On its own quota.
pub async fn a_message_is_admitted_found_and_counted(store: Subject) {
    let tenant = new_tenant();
    let message = a_message(tenant, TO, noon());
    let kept = sent(&store, message_admission(message.clone())).await;
    assert_eq!(kept, message);
    assert_eq!(store.tenant(tenant).find_message(kept.id).await.expect(ANSWERS), Some(message));
    assert_eq!(usage_of(&store, tenant, Resource::Messages).await.map(|usage| usage.used), [1, 1]);
    assert_eq!(usage_of(&store, tenant, Resource::Verifications).await[0].used, 0);
}

/// What a guard stopped is kept, and is no use of anything.
pub async fn a_blocked_message_is_stored_and_counted_nowhere(store: Subject) {
    let tenant = new_tenant();
    let mut message = a_message(tenant, TO, noon());
    message.block(vec![GuardNote {
        at: noon(),
        step: Step::Start,
        rule: Rule::CountryBlocked,
        effect: Effect::Blocked,
        retry_at: Some(noon()),
    }]);
    let quota = a_quota(Resource::Messages, noon(), Some(0), Some(0), None);
    let idempotency = Some(an_idempotency(1, 1, noon()));
    let new = NewMessage { quota, idempotency, ..message_admission(message.clone()) };
    let kept = sent(&store, new.clone()).await;
    // What is told of it is stored beside it.
    message.news.clear();
    assert_eq!((&kept, kept.status()), (&message, DeliveryStatus::Failed));
    assert_eq!(store.tenant(tenant).find_message(kept.id).await.expect(ANSWERS), Some(kept.clone()));
    match store.tenant(tenant).admit_message(new).await {
        Ok(Admission::Repeated(first)) => assert_eq!(first, kept),
        other => panic!("the key was used: {other:?}"),
    }
    assert_eq!(usage_of(&store, tenant, Resource::Messages).await.map(|usage| usage.used), [0, 0]);
}

/// With the refund in the same step.
pub async fn a_message_is_replaced_only_as_it_was_read(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut message = accepted(&store, tenant, 0).await;
    let mut stale = message.clone();
    let refused = Verdict::Refused(DeliveryFailure::Rejected);
    message.settle(refused, seconds(1), || DeliveryId::new(noon(), entropy()));
    assert!(message.counted.refunded);
    let version = message.version;
    door.replace_message(&mut message, true).await.expect(ANSWERS);
    assert_eq!(message.version, version + 1);
    assert!(matches!(door.replace_message(&mut stale, true).await, Err(ReplaceError::Conflict)));
    assert_eq!(door.find_message(message.id).await.expect(ANSWERS), Some(message));
    assert_eq!(usage_of(&store, tenant, Resource::Messages).await.map(|usage| usage.used), [0, 0]);
}

/// As verifications are.
pub async fn a_message_over_quota_is_refused(store: Subject) {
    let tenant = new_tenant();
    let new = || NewMessage {
        quota: a_quota(Resource::Messages, noon(), Some(1), None, None),
        ..message_admission(a_message(tenant, TO, noon()))
    };
    sent(&store, new()).await;
    let refused = store.tenant(tenant).admit_message(new()).await;
    assert!(matches!(refused, Err(AdmitError::Quota(_))), "{refused:?}");
}

/// As for verifications.
pub async fn a_message_key_is_repeated_and_told_apart(store: Subject) {
    let tenant = new_tenant();
    let new = |fingerprint| NewMessage {
        idempotency: Some(an_idempotency(1, fingerprint, noon())),
        ..message_admission(a_message(tenant, TO, noon()))
    };
    let first = sent(&store, new(1)).await;
    let again = store.tenant(tenant).admit_message(new(1)).await.expect(ANSWERS);
    assert_eq!(again, Admission::Repeated(first));
    assert!(matches!(store.tenant(tenant).admit_message(new(2)).await, Err(AdmitError::KeyReused)));
}

/// A message has no status of its own, so none has the one that is asked for.
pub async fn messages_are_listed_newest_first_and_filtered(store: Subject) {
    let tenant = new_tenant();
    let door = store.tenant(tenant);
    let mut all = Vec::new();
    for second in 0..4 {
        all.insert(0, accepted(&store, tenant, second).await);
    }
    let page = door.messages(&Filter::default(), None, 3).await.expect(ANSWERS);
    assert_eq!(page, Page { items: all[..3].to_vec(), more: true });
    let page = door.messages(&Filter::default(), Some(all[2].id), 3).await.expect(ANSWERS);
    assert_eq!(page, Page { items: all[3..].to_vec(), more: false });
    let index = all[0].address.as_ref().map(|address| address.index);
    for (filter, expected) in [
        (Filter { address: index, mode: Some(Mode::Live), ..Filter::default() }, 4),
        (Filter { created_from: Some(seconds(1)), created_before: Some(seconds(3)), ..Filter::default() }, 2),
        (Filter { mode: Some(Mode::Test), ..Filter::default() }, 0),
        (Filter { status: Some(Status::Pending), ..Filter::default() }, 0),
    ] {
        assert_eq!(door.messages(&filter, None, 10).await.expect(ANSWERS).items.len(), expected, "{filter:?}");
    }
}

/// For good.
pub async fn a_deleted_message_is_gone(store: Subject) {
    let tenant = new_tenant();
    let message = accepted(&store, tenant, 0).await;
    store.tenant(tenant).delete_message(message.id).await.expect(ANSWERS);
    assert_eq!(store.tenant(tenant).find_message(message.id).await.expect(ANSWERS), None);
}
