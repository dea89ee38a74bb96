//! Documents that a newer node wrote, in the hands of this one.

use wotp_core::domain::mode::Mode;
use wotp_core::domain::verification::Status;
use wotp_core::ports::{Change, Entities as _};
use wotp_core::testing::builders::{
    a_message, a_stored_key, a_verification, admission, an_idempotency, message_admission, noon, seconds,
};

use super::*;

/// The form of a program that comes after this one.
const NEWER: i32 = 1000;

/// What a newer node adds to every document: beside what this one knows, and within.
fn add(database: &MongoDatabase, collection: &str, within: &[&str]) {
    let mut set = doc! { "new": { "deep": 1 }, "schema": NEWER };
    for place in within {
        set.insert(format!("{place}.new"), "kept");
    }
    let reply =
        database.run(doc! { "update": collection, "updates": [{ "q": {}, "u": { "$set": set }, "multi": true }] });
    assert!(reply.unwrap().get_i32("nModified").unwrap() > 0);
}

/// The only document of a collection, in which all that was added is still there.
fn kept(database: &MongoDatabase, collection: &str, within: &[&str]) -> Document {
    let row = raw(database, collection).pop().unwrap();
    assert_eq!(row.get_document("new").ok(), Some(&doc! { "deep": 1 }), "{collection}: {row}");
    assert_eq!(row.get_i32("schema").ok(), Some(NEWER), "{collection}: {row}");
    for place in within {
        assert_eq!(row.get_document(place).unwrap().get_str("new").ok(), Some("kept"), "{collection}: {row}");
    }
    row
}

#[tokio::test]
async fn a_verification_of_a_newer_node_is_read_and_changed_and_keeps_what_is_new_in_it() {
    let database = MongoDatabase::fresh();
    let (store, tenant) = store(database.url()).await;
    let door = store.tenant(tenant.id);
    let mut verification = a_verification(tenant.id, "+447700900123", noon());
    let mut new = admission(verification.clone());
    new.idempotency = Some(an_idempotency(1, 1, noon()));
    door.admit(new).await.unwrap();
    add(&database, "verifications", &["state", "fixed", "idem"]);
    let id = verification.id;
    verification = door.find_verification(id).await.unwrap().unwrap();
    verification.checks_used = 1;
    door.replace(&mut verification, false).await.unwrap();
    verification.sends.push(seconds(60));
    door.replace_for_resend(&mut verification, true).await.unwrap();
    kept(&database, "verifications", &["state", "fixed", "idem"]);
    verification.status = Status::Approved;
    verification.code = None;
    verification.ended_at = Some(seconds(61));
    door.replace(&mut verification, true).await.unwrap();
    let row = kept(&database, "verifications", &["state", "fixed", "idem"]);
    let state = row.get_document("state").unwrap();
    assert!(!state.contains_key("code") && state.contains_key("ended_at"), "its own fields come and go: {state}");
    assert_eq!(door.find_verification(id).await.unwrap().unwrap(), verification);
    // What is erased is erased with all that might tell it.
    verification.redact();
    door.replace(&mut verification, false).await.unwrap();
    let row = kept(&database, "verifications", &["state"]);
    assert!(!row.get_document("fixed").unwrap().contains_key("new") && !row.contains_key("idem"), "{row}");
}

#[tokio::test]
async fn a_message_of_a_newer_node_keeps_what_is_new_in_it() {
    let database = MongoDatabase::fresh();
    let (store, tenant) = store(database.url()).await;
    let door = store.tenant(tenant.id);
    let mut message = a_message(tenant.id, "+447700900123", noon());
    door.admit_message(message_admission(message.clone())).await.unwrap();
    add(&database, "messages", &["state", "fixed"]);
    message.content = None;
    door.replace_message(&mut message, false).await.unwrap();
    let row = kept(&database, "messages", &["state", "fixed"]);
    assert!(!row.get_document("state").unwrap().contains_key("content"), "{row}");
    assert_eq!(door.find_message(message.id).await.unwrap().unwrap(), message);
}

#[tokio::test]
async fn tenants_services_and_keys_of_a_newer_node_keep_what_is_new_in_them() {
    let database = MongoDatabase::fresh();
    let (store, mut tenant) = store(database.url()).await;
    let door = store.tenant(tenant.id);
    let (mut key, hash) = a_stored_key(tenant.id, Mode::Live);
    key.expires_at = Some(seconds(3600));
    key.allowed_ips = vec!["192.0.2.0/24".parse().unwrap()];
    door.insert_key(&key, &hash).await.unwrap();
    for collection in ["tenants", "services", "api_keys"] {
        add(&database, collection, &["doc"]);
    }
    tenant.name = "Acme Limited".to_owned();
    store.commit(vec![Change::ReplaceTenant(Box::new(tenant.clone()))]).await.unwrap();
    tenant.version += 1;
    let mut service = door.find_service(tenant.default_service).await.unwrap().unwrap();
    service.name = "Login".to_owned();
    door.replace_service(&mut service).await.unwrap();
    (key.revoked_at, key.expires_at) = (Some(noon()), None);
    store.commit(vec![Change::ReplaceKey(Box::new(key.clone()))]).await.unwrap();
    key.version += 1;
    for collection in ["tenants", "services", "api_keys"] {
        kept(&database, collection, &["doc"]);
    }
    let holder = store.find_key(&hash).await.unwrap().unwrap();
    assert_eq!((holder.key, holder.tenant), (key, tenant.clone()), "its own fields come and go");
    assert_eq!(door.find_service(tenant.default_service).await.unwrap().unwrap(), service);
}
