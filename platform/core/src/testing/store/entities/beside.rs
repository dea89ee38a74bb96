//! Tenants, services and keys, in the same commits.

use super::{a_thing, found, holder, is_changed, made, read, with_email};
use crate::domain::api_key::ApiKey;
use crate::domain::id::ApiKeyId;
use crate::domain::mode::Mode;
use crate::domain::tenant::Tenant;
use crate::ports::{Change, CommitError};
use crate::testing::builders::{a_service, a_stored_key, a_tenant, entropy, seconds};
use crate::testing::store::{ANSWERS, Subject};

/// With entities, in one commit.
pub async fn a_commit_changes_tenants_services_and_keys_too(store: Subject) {
    let tenant = a_tenant();
    let service = a_service(&tenant);
    let (mut key, hash) = a_stored_key(tenant.id, Mode::Live);
    let thing = a_thing(tenant.id, 0);
    made(
        &store,
        vec![
            Change::InsertTenant(Box::new(tenant.clone())),
            Change::InsertService(Box::new(service.clone())),
            Change::InsertKey(Box::new(key.clone()), hash),
            Change::insert(&thing),
        ],
    )
    .await;
    let door = store.tenant(tenant.id);
    let holder = store.find_key(&hash).await.expect(ANSWERS).expect("the key was inserted");
    assert_eq!((holder.tenant, holder.key), (tenant.clone(), key.clone()));
    assert_eq!(door.services().await.expect(ANSWERS), std::slice::from_ref(&service));
    let renamed = Tenant { name: "Other".to_owned(), ..tenant.clone() };
    let mut other = service.clone();
    other.name = "Other Login".to_owned();
    key.revoked_at = Some(seconds(5));
    made(
        &store,
        vec![
            Change::ReplaceTenant(Box::new(renamed.clone())),
            Change::ReplaceService(Box::new(other.clone())),
            Change::ReplaceKey(Box::new(key.clone())),
            Change::delete(&read(&store, &thing).await),
        ],
    )
    .await;
    let next = Tenant { version: tenant.version + 1, ..renamed };
    other.version = service.version + 1;
    assert_eq!(door.find_tenant().await.expect(ANSWERS), Some(next.clone()));
    assert_eq!(door.find_service(service.id).await.expect(ANSWERS), Some(other));
    let holder = store.find_key(&hash).await.expect(ANSWERS).expect("the key was inserted");
    key.version += 1;
    assert_eq!((holder.tenant, holder.key), (next, key));
    assert_eq!(found(&store, &thing).await, None);
}

/// And neither does what came with it.
pub async fn a_tenant_service_or_key_that_changed_meanwhile_is_not_replaced(store: Subject) {
    // From before tenants and keys had versions, too.
    for version in [0, 1] {
        let tenant = Tenant { version, ..a_tenant() };
        let service = a_service(&tenant);
        let (key, hash) = a_stored_key(tenant.id, Mode::Live);
        let key = ApiKey { version, ..key };
        store.create_tenant(&tenant, &service, &[(key.clone(), hash)]).await.expect(ANSWERS);
        let changes = [
            Change::ReplaceTenant(Box::new(tenant.clone())),
            Change::ReplaceService(Box::new(service.clone())),
            Change::ReplaceKey(Box::new(key)),
        ];
        made(&store, changes.to_vec()).await;
        let unknown = a_tenant();
        let stale = changes.into_iter().chain([
            Change::ReplaceTenant(Box::new(unknown.clone())),
            Change::ReplaceService(Box::new(a_service(&unknown))),
            Change::ReplaceKey(Box::new(a_stored_key(tenant.id, Mode::Live).0)),
        ]);
        for change in stale {
            let thing = with_email(tenant.id, "ada");
            for both in [vec![Change::insert(&thing), change.clone()], vec![change.clone(), Change::insert(&thing)]] {
                let outcome = store.commit(both).await;
                assert!(is_changed(&outcome), "{change:?}: {outcome:?}");
            }
            assert_eq!((found(&store, &thing).await, holder(&store, "ada").await), (None, None));
        }
        let kept = store.tenant(tenant.id).find_tenant().await.expect(ANSWERS);
        assert_eq!(kept.map(|tenant| tenant.version), Some(version + 1));
        let kept = store.tenant(tenant.id).keys(None, 9).await.expect(ANSWERS).items;
        assert_eq!(kept.iter().map(|key| key.version).collect::<Vec<_>>(), [version + 1]);
    }
}

/// As an entity's.
pub async fn an_id_of_a_tenant_service_or_key_that_is_there_is_taken(store: Subject) {
    let tenant = a_tenant();
    let service = a_service(&tenant);
    let (key, hash) = a_stored_key(tenant.id, Mode::Live);
    store.create_tenant(&tenant, &service, &[(key.clone(), hash)]).await.expect(ANSWERS);
    let other = Box::new(ApiKey { id: ApiKeyId::new(seconds(1), entropy()), ..key.clone() });
    for (change, taken) in [
        (Change::InsertTenant(Box::new(tenant.clone())), "tenant"),
        (Change::InsertService(Box::new(service)), "service"),
        (Change::InsertKey(Box::new(key), a_stored_key(tenant.id, Mode::Live).1), "API key"),
        (Change::InsertKey(other, hash), "API key"),
    ] {
        let thing = a_thing(tenant.id, 0);
        let outcome = store.commit(vec![Change::insert(&thing), change]).await;
        let expected = matches!(&outcome, Err(CommitError::Taken { kind, index: "id" }) if *kind == taken);
        assert!(expected, "{taken}: {outcome:?}");
        assert_eq!(found(&store, &thing).await, None);
    }
}
