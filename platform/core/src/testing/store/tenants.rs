//! Tenants, services and keys.

use jiff::SignedDuration;

use super::{ANSWERS, Subject, new_tenant};
use crate::domain::api_key::{ApiKey, KeyHash};
use crate::domain::id::{ApiKeyId, ServiceId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::service::Service;
use crate::domain::tenant::{Standing, Suspension, Tenant};
use crate::ports::{Change, CommitError, Page, ReplaceError, TenantSearch};
use crate::testing::builders::{a_service, a_stored_key, a_tenant, entropy, noon, seconds};

async fn created(store: &Subject) -> (Tenant, Service) {
    let tenant = a_tenant();
    let service = a_service(&tenant);
    store.create_tenant(&tenant, &service, &[]).await.expect(ANSWERS);
    (tenant, service)
}

/// All of it is there once the call returns.
pub async fn a_tenant_is_created_with_its_service_and_keys(store: Subject) {
    let tenant = a_tenant();
    let service = a_service(&tenant);
    let keys = [a_stored_key(tenant.id, Mode::Live), a_stored_key(tenant.id, Mode::Test)];
    store.create_tenant(&tenant, &service, &keys).await.expect(ANSWERS);
    let door = store.tenant(tenant.id);
    assert_eq!(door.find_tenant().await.expect(ANSWERS), Some(tenant.clone()));
    assert_eq!(door.find_service(service.id).await.expect(ANSWERS), Some(service.clone()));
    assert_eq!(door.services().await.expect(ANSWERS), [service]);
    for (key, hash) in keys {
        let holder = store.find_key(&hash).await.expect(ANSWERS).expect("the key was created");
        assert_eq!((holder.key, holder.tenant), (key, tenant.clone()));
    }
}

/// All or nothing.
pub async fn a_tenant_that_exists_is_not_created_again_and_nothing_of_it_is_kept(store: Subject) {
    let (tenant, _) = created(&store).await;
    let again = Tenant { name: "Other".to_owned(), default_service: ServiceId::new(seconds(1), entropy()), ..tenant };
    let key = a_stored_key(again.id, Mode::Live);
    assert!(store.create_tenant(&again, &a_service(&again), std::slice::from_ref(&key)).await.is_err());
    assert_eq!(store.find_key(&key.1).await.expect(ANSWERS), None);
    assert_eq!(store.tenant(again.id).services().await.expect(ANSWERS).len(), 1);
    assert_eq!(store.tenants().await.expect(ANSWERS)[0].name, "Acme");
}

/// By id, which is by time.
pub async fn tenants_are_listed_oldest_first(store: Subject) {
    let mut expected = Vec::new();
    for second in [5, 3, 9] {
        let tenant = Tenant { id: TenantId::new(seconds(second), entropy()), ..a_tenant() };
        store.create_tenant(&tenant, &a_service(&tenant), &[]).await.expect(ANSWERS);
        expected.push(tenant);
    }
    expected.sort_by_key(|tenant| tenant.id);
    assert_eq!(store.tenants().await.expect(ANSWERS), expected);
}

/// The next call with one of its keys is under the new plan.
pub async fn a_tenant_moves_to_another_plan_and_its_keys_show_it(store: Subject) {
    let tenant = a_tenant();
    let (key, hash) = a_stored_key(tenant.id, Mode::Live);
    store.create_tenant(&tenant, &a_service(&tenant), &[(key, hash)]).await.expect(ANSWERS);
    let mut moved = Tenant { plan: "pro".to_owned(), ..tenant };
    store.commit(vec![Change::ReplaceTenant(Box::new(moved.clone()))]).await.expect("nobody else changed it");
    moved.version += 1;
    let holder = store.find_key(&hash).await.expect(ANSWERS).expect("the key was created");
    assert_eq!(holder.tenant, moved);
}

/// Replacing is not creating.
pub async fn an_unknown_tenant_cannot_be_replaced(store: Subject) {
    let tenant = a_tenant();
    let replaced = store.commit(vec![Change::ReplaceTenant(Box::new(tenant.clone()))]).await;
    assert!(matches!(replaced, Err(CommitError::Changed)), "{replaced:?}");
    assert_eq!(store.tenant(tenant.id).find_tenant().await.expect(ANSWERS), None);
}

/// Only the hash of a key that was inserted finds one.
pub async fn an_unknown_key_is_not_found(store: Subject) {
    created(&store).await;
    assert_eq!(store.find_key(&KeyHash([9; 32])).await.expect(ANSWERS), None);
}

/// So that the caller can be told why it does not work.
pub async fn a_revoked_key_is_still_found_and_says_so(store: Subject) {
    let (tenant, _) = created(&store).await;
    let door = store.tenant(tenant.id);
    let (mut key, hash) = a_stored_key(tenant.id, Mode::Live);
    let replaced = store.commit(vec![Change::ReplaceKey(Box::new(key.clone()))]).await;
    assert!(matches!(replaced, Err(CommitError::Changed)), "it is not there yet: {replaced:?}");
    door.insert_key(&key, &hash).await.expect(ANSWERS);
    key.revoked_at = Some(seconds(5));
    store.commit(vec![Change::ReplaceKey(Box::new(key.clone()))]).await.expect(ANSWERS);
    key.version += 1;
    let holder = store.find_key(&hash).await.expect(ANSWERS).expect("the key was inserted");
    assert_eq!(holder.key.revoked_at, Some(seconds(5)));
    assert_eq!(door.find_key(key.id).await.expect(ANSWERS), Some(key));
}

async fn inserted(store: &Subject, tenant: &Tenant, second: i64, change: impl FnOnce(&mut ApiKey)) -> ApiKey {
    let (mut key, hash) = a_stored_key(tenant.id, Mode::Test);
    key.id = ApiKeyId::new(seconds(second), entropy());
    change(&mut key);
    store.tenant(tenant.id).insert_key(&key, &hash).await.expect(ANSWERS);
    key
}

/// Page after page, revoked ones too; and each is found by its id.
pub async fn keys_are_listed_newest_first(store: Subject) {
    let (tenant, _) = created(&store).await;
    let door = store.tenant(tenant.id);
    let mut expected = Vec::new();
    for second in [2, 1, 3] {
        let revoked_at = (second == 2).then(|| seconds(9));
        expected.push(inserted(&store, &tenant, second, |key| key.revoked_at = revoked_at).await);
    }
    expected.sort_by_key(|key| std::cmp::Reverse(key.id));
    for key in &expected {
        assert_eq!(door.find_key(key.id).await.expect(ANSWERS).as_ref(), Some(key));
    }
    assert_eq!(door.find_key(ApiKeyId::from_bytes([0; 16])).await.expect(ANSWERS), None);
    let page = async |after: Option<&ApiKey>, limit| door.keys(after.map(|key| key.id), limit).await.expect(ANSWERS);
    assert_eq!(page(None, 3).await, Page { items: expected.clone(), more: false });
    assert_eq!(page(None, 2).await, Page { items: expected[..2].to_vec(), more: true });
    assert_eq!(page(Some(&expected[1]), 2).await, Page { items: expected[2..].to_vec(), more: false });
    assert_eq!(page(Some(&expected[2]), 2).await, Page { items: vec![], more: false });
    assert_eq!(page(None, 0).await, Page { items: vec![], more: true });
}

/// To the moment, whatever was changed of them since.
pub async fn keys_that_work_are_found_among_those_that_are_over(store: Subject) {
    let (tenant, _) = created(&store).await;
    let (other, _) = created(&store).await;
    inserted(&store, &other, 1, |_| {}).await;
    let door = store.tenant(tenant.id);
    let now = seconds(60);
    let soon = now.saturating_add(SignedDuration::from_micros(1)).expect("it is no late moment");
    let lasting = inserted(&store, &tenant, 1, |_| {}).await;
    let ending = inserted(&store, &tenant, 2, |key| key.expires_at = Some(soon)).await;
    let ended = inserted(&store, &tenant, 3, |key| key.expires_at = Some(now)).await;
    inserted(&store, &tenant, 4, |key| key.revoked_at = Some(seconds(5))).await;
    assert_eq!(door.working_keys(now).await.expect(ANSWERS), [ending.clone(), lasting.clone()]);
    assert_eq!(door.working_keys(soon).await.expect(ANSWERS), std::slice::from_ref(&lasting));
    // One works for longer, and one does not work any more.
    let mut longer = ApiKey { expires_at: None, ..ended };
    let revoked = ApiKey { revoked_at: Some(now), ..lasting };
    let changes = [&longer, &revoked].map(|key| Change::ReplaceKey(Box::new(key.clone())));
    store.commit(changes.into()).await.expect("nobody else changed them");
    longer.version += 1;
    assert_eq!(door.working_keys(now).await.expect(ANSWERS), [longer, ending]);
}

/// Of all tenants, by when they stopped working, and no more than asked; and gone, they are found by nothing.
pub async fn keys_that_were_over_for_long_are_found_and_deleted(store: Subject) {
    let (tenant, _) = created(&store).await;
    let (other, _) = created(&store).await;
    let at = |second| Some(seconds(second));
    let expired = inserted(&store, &tenant, 1, |key| key.expires_at = at(20)).await;
    let revoked = inserted(&store, &other, 2, |key| (key.revoked_at, key.expires_at) = (at(10), at(99))).await;
    let both = inserted(&store, &tenant, 3, |key| (key.revoked_at, key.expires_at) = (at(40), at(30))).await;
    inserted(&store, &tenant, 4, |key| key.expires_at = at(50)).await;
    inserted(&store, &tenant, 5, |_| {}).await;
    let over = async |before, limit| store.keys_over(seconds(before), limit).await.expect(ANSWERS);
    assert_eq!(over(50, 9).await, [revoked.clone(), expired.clone(), both.clone()]);
    assert_eq!(over(50, 2).await, [revoked.clone(), expired.clone()]);
    assert_eq!(over(10, 9).await, []);
    let delete = |key: &ApiKey| Change::DeleteKey(Box::new(key.clone()));
    store.commit(vec![delete(&expired), delete(&revoked)]).await.expect("nobody else changed them");
    assert_eq!(over(50, 9).await, std::slice::from_ref(&both));
    assert_eq!(store.tenant(other.id).keys(None, 9).await.expect(ANSWERS).items, []);
    // One that is gone, one that changed since, and one of another tenant's: nothing of it is made.
    let changed = ApiKey { version: 7, ..both.clone() };
    let theirs = ApiKey { tenant: other.id, ..both.clone() };
    for refused in [&expired, &changed, &theirs] {
        let outcome = store.commit(vec![delete(&both), delete(refused)]).await;
        assert!(matches!(outcome, Err(CommitError::Changed)), "{outcome:?}");
        assert_eq!(over(50, 9).await, std::slice::from_ref(&both));
    }
}

/// Each is found by its id, too.
pub async fn services_are_added_and_listed_oldest_first(store: Subject) {
    let (tenant, first) = created(&store).await;
    let door = store.tenant(tenant.id);
    let second = Service { id: ServiceId::new(seconds(60), entropy()), ..a_service(&tenant) };
    door.insert_service(&second).await.expect(ANSWERS);
    assert_eq!(door.services().await.expect(ANSWERS), [first, second.clone()]);
    assert_eq!(door.find_service(second.id).await.expect(ANSWERS), Some(second));
    assert_eq!(door.find_service(ServiceId::from_bytes([0; 16])).await.expect(ANSWERS), None);
}

/// Two people who edit the same settings do not overwrite each other.
pub async fn a_service_is_replaced_only_as_it_was_read(store: Subject) {
    let (tenant, mut mine) = created(&store).await;
    let door = store.tenant(tenant.id);
    let mut theirs = mine.clone();
    mine.settings.brand = "Mine".to_owned();
    theirs.settings.brand = "Theirs".to_owned();
    let version = mine.version;
    door.replace_service(&mut mine).await.expect(ANSWERS);
    assert_eq!(mine.version, version + 1);
    assert!(matches!(door.replace_service(&mut theirs).await, Err(ReplaceError::Conflict)));
    assert_eq!(theirs.version, version);
    assert_eq!(door.find_service(mine.id).await.expect(ANSWERS), Some(mine.clone()));
    mine.settings.brand = "Mine again".to_owned();
    door.replace_service(&mut mine).await.expect(ANSWERS);
    assert_eq!(door.find_service(mine.id).await.expect(ANSWERS), Some(mine));
}

/// For `/health/ready`.
pub async fn a_store_that_is_there_answers(store: Subject) {
    store.ping().await.expect(ANSWERS);
    assert_eq!(store.tenant(new_tenant()).find_tenant().await.expect(ANSWERS), None);
}

/// In any case, as a text and not as a pattern; page after page.
pub async fn tenants_are_searched_by_name_plan_and_state(store: Subject) {
    let mut tenants = Vec::new();
    for (name, plan) in [("Acme", "free"), ("acme.example", "pro"), ("Globex (\\Q)", "free"), ("Ünïon", "free")] {
        let mut tenant = a_tenant();
        tenant.name = name.to_owned();
        tenant.plan = plan.to_owned();
        if plan == "pro" {
            tenant.standing = Standing::Suspended(Suspension { since: noon(), reason: "unpaid".to_owned() });
        }
        store.create_tenant(&tenant, &a_service(&tenant), &[]).await.expect(ANSWERS);
        tenants.push(tenant);
    }
    tenants.sort_by_key(|tenant| tenant.id);
    let found = async |search: TenantSearch| {
        let found = store.search_tenants(&TenantSearch { limit: 10, ..search }).await.expect(ANSWERS);
        let mut names: Vec<String> = found.into_iter().map(|tenant| tenant.name).collect();
        names.sort();
        names
    };
    let named = |name: &str| TenantSearch { name: Some(name.to_owned()), ..TenantSearch::default() };
    assert_eq!(found(TenantSearch::default()).await.len(), 4);
    assert_eq!(found(named("ACME")).await, ["Acme", "acme.example"]);
    assert_eq!(found(named("e.e")).await, ["acme.example"]);
    assert_eq!(found(named("(\\q)")).await, ["Globex (\\Q)"]);
    for nobodys in ["%", "\0", "Acme\0"] {
        assert_eq!(found(named(nobodys)).await, [""; 0], "{nobodys:?}");
    }
    // Letters that are not of English have two cases too.
    for name in ["Ünïon", "ÜNÏ", "ünïon", "ÏON"] {
        assert_eq!(found(named(name)).await, ["Ünïon"], "{name}");
    }
    assert_eq!(found(named("Unïon")).await, [""; 0]);
    assert_eq!(found(TenantSearch { plan: Some("pro".to_owned()), ..TenantSearch::default() }).await, ["acme.example"]);
    let state = |state| TenantSearch { state: Some(state), ..TenantSearch::default() };
    assert_eq!(found(state("suspended")).await, ["acme.example"]);
    assert_eq!(found(state("active")).await.len(), 3);
    let next = TenantSearch { after: Some(tenants[1].id), limit: 1, ..TenantSearch::default() };
    assert_eq!(store.search_tenants(&next).await.expect(ANSWERS), [tenants[2].clone()]);
}
