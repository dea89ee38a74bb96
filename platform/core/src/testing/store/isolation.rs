//! What belongs to another tenant does not exist.

use super::admitting::usage_of;
use super::messages::sent;
use super::{ANSWERS, Subject, TO, admitted, new_tenant, started};
use crate::domain::address_limits::AddressLimits;
use crate::domain::api_key::ApiKey;
use crate::domain::mode::Mode;
use crate::domain::quota::Resource;
use crate::ports::{Change, CommitError, Filter, NewVerification, Page, ReplaceError, ResendError};
use crate::testing::builders::{
    a_message, a_quota, a_service, a_stored_key, a_tenant, a_verification, admission, an_idempotency,
    message_admission, noon, seconds,
};

/// Not found, not listed, not counted, not changed, not deleted.
pub async fn another_tenants_verification_does_not_exist(store: Subject) {
    let (mine, theirs) = (new_tenant(), new_tenant());
    let verification = started(&store, a_verification(mine, TO, noon())).await;
    let index = verification.address.as_ref().expect("it has one").index;
    let door = store.tenant(theirs);
    assert_eq!(door.find_verification(verification.id).await.expect(ANSWERS), None);
    for filter in [Filter::default(), Filter { address: Some(index), ..Filter::default() }] {
        let page = door.verifications(&filter, None, 10).await.expect(ANSWERS);
        assert_eq!(page, Page { items: vec![], more: false });
    }
    for tenant in [mine, theirs] {
        let mut forged = verification.clone();
        forged.tenant = tenant;
        forged.cancel(seconds(1));
        assert!(matches!(door.replace(&mut forged, true).await, Err(ReplaceError::Conflict)));
        assert!(matches!(door.replace_for_resend(&mut forged, true).await, Err(ResendError::Conflict)));
    }
    door.delete_verification(verification.id).await.expect(ANSWERS);
    assert!(door.admit(admission(a_verification(mine, TO, noon()))).await.is_err());
    assert_eq!(usage_of(&store, theirs, Resource::Verifications).await[0].used, 0);
    assert_eq!(usage_of(&store, mine, Resource::Verifications).await[0].used, 1);
    let found = store.tenant(mine).find_verification(verification.id).await.expect(ANSWERS);
    assert_eq!(found, Some(verification));
}

/// As verifications.
pub async fn another_tenants_message_does_not_exist(store: Subject) {
    let (mine, theirs) = (new_tenant(), new_tenant());
    let message = sent(&store, message_admission(a_message(mine, TO, noon()))).await;
    let door = store.tenant(theirs);
    assert_eq!(door.find_message(message.id).await.expect(ANSWERS), None);
    let page = door.messages(&Filter::default(), None, 10).await.expect(ANSWERS);
    assert_eq!(page, Page { items: vec![], more: false });
    for tenant in [mine, theirs] {
        let mut forged = message.clone();
        forged.tenant = tenant;
        assert!(matches!(door.replace_message(&mut forged, true).await, Err(ReplaceError::Conflict)));
    }
    door.delete_message(message.id).await.expect(ANSWERS);
    assert!(door.admit_message(message_admission(a_message(mine, TO, noon()))).await.is_err());
    assert_eq!(store.tenant(mine).find_message(message.id).await.expect(ANSWERS), Some(message));
}

/// Nor can they be planted.
pub async fn another_tenants_services_and_keys_do_not_exist(store: Subject) {
    let (mine, theirs) = (a_tenant(), a_tenant());
    let mut service = a_service(&mine);
    let (key, hash) = a_stored_key(mine.id, Mode::Live);
    store.create_tenant(&mine, &service, &[(key.clone(), hash)]).await.expect(ANSWERS);
    store.create_tenant(&theirs, &a_service(&theirs), &[]).await.expect(ANSWERS);
    let door = store.tenant(theirs.id);
    assert_eq!(door.find_tenant().await.expect(ANSWERS), Some(theirs.clone()));
    assert_eq!(door.find_service(service.id).await.expect(ANSWERS), None);
    assert_eq!(door.services().await.expect(ANSWERS).len(), 1);
    assert_eq!(door.keys(None, 9).await.expect(ANSWERS).items, []);
    assert_eq!(door.working_keys(noon()).await.expect(ANSWERS), []);
    assert_eq!(door.find_key(key.id).await.expect(ANSWERS), None);
    for tenant in [mine.id, theirs.id] {
        service.tenant = tenant;
        assert!(matches!(door.replace_service(&mut service).await, Err(ReplaceError::Conflict)));
    }
    // The key says whose it is, and is not theirs.
    let replaced = store.commit(vec![Change::ReplaceKey(Box::new(ApiKey { tenant: theirs.id, ..key.clone() }))]).await;
    assert!(matches!(replaced, Err(CommitError::Changed)), "{replaced:?}");
    assert!(door.insert_service(&a_service(&mine)).await.is_err());
    let (planted, planted_hash) = a_stored_key(mine.id, Mode::Live);
    assert!(door.insert_key(&planted, &planted_hash).await.is_err());
    assert_eq!(store.find_key(&planted_hash).await.expect(ANSWERS), None);
    let holder = store.find_key(&hash).await.expect(ANSWERS).expect("the key was created");
    assert_eq!((holder.tenant, holder.key.tenant), (mine.clone(), mine.id));
    assert_eq!(store.tenant(mine.id).services().await.expect(ANSWERS), [a_service(&mine)]);
}

/// Two tenants may write to the same person, even under the same index.
pub async fn another_tenants_address_is_not_limited_or_counted(store: Subject) {
    let (mine, theirs) = (new_tenant(), new_tenant());
    let limited =
        |verification| NewVerification { address_limits: Some(AddressLimits::default()), ..admission(verification) };
    let first = admitted(&store, limited(a_verification(mine, TO, noon()))).await;
    let mut second = a_verification(theirs, TO, noon());
    second.address.clone_from(&first.address);
    let index = first.address.as_ref().expect("it has one").index;
    admitted(&store, limited(second)).await;
    let of_address = Filter { address: Some(index), ..Filter::default() };
    let door = store.tenant(mine);
    assert_eq!(door.verifications_to_check(&of_address, 10).await.expect(ANSWERS), std::slice::from_ref(&first));
    assert_eq!(door.verifications(&of_address, None, 10).await.expect(ANSWERS).items, [first]);
}

/// Equal keys of two tenants are two keys.
pub async fn another_tenants_quota_and_idempotency_keys_are_its_own(store: Subject) {
    for _ in 0..2 {
        let tenant = new_tenant();
        let new = NewVerification {
            quota: a_quota(Resource::Verifications, noon(), Some(1), Some(1), Some(1)),
            idempotency: Some(an_idempotency(1, 1, noon())),
            ..admission(a_verification(tenant, TO, noon()))
        };
        admitted(&store, new).await;
    }
}
