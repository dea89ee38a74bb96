//! Transactions that a killed node left open.

use std::time::Duration;

use mongodb::Client;
use mongodb::options::ClientOptions;
use tokio::time::timeout;
use wotp_core::domain::id::{ConnectionId, NodeId};
use wotp_core::ports::{ConnectionStates as _, StateChange, StateKey, StateRow, TenantAccount};
use wotp_core::testing::builders::{a_verification, admission, noon, seconds};

use super::*;

/// Far less than the minute after which the server ends it.
const SOON: Duration = Duration::from_secs(20);

/// As a fold leaves it that is killed between its first write and its end.
#[tokio::test]
async fn a_change_does_not_wait_for_a_transaction_that_nobody_will_end() {
    let database = MongoDatabase::fresh();
    let (store, tenant) = store(database.url()).await;
    let door = store.tenant(tenant.id);
    let mut verification = a_verification(tenant.id, "+447700900123", noon());
    door.admit(admission(verification.clone())).await.unwrap();
    let mut options = ClientOptions::parse(database.url()).await.unwrap();
    options.app_name = Some("wotp".to_owned());
    let killed = Client::with_options(options).unwrap();
    let mut session = killed.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let records = killed.database(database.name()).collection::<Document>("verifications");
    let written = records.update_many(doc! {}, doc! { "$set": { "left": true } }).session(&mut session).await.unwrap();
    assert_eq!(written.modified_count, 1);
    verification = door.find_verification(verification.id).await.unwrap().unwrap();
    verification.checks_used = 1;
    timeout(SOON, door.replace(&mut verification, false)).await.expect("it is ended soon").unwrap();
    assert!(session.commit_transaction().await.is_err(), "what nobody ended is not kept");
    assert_eq!(raw(&database, "verifications")[0].get_bool("left").ok(), None);
    assert_eq!(door.find_verification(verification.id).await.unwrap().unwrap(), verification);
}

/// As a node leaves it that is killed while it writes: the next holder need not wait for a minute.
#[tokio::test]
async fn a_connection_of_a_killed_node_is_taken_and_written_soon() {
    let database = MongoDatabase::fresh();
    let (store, tenant) = store(database.url()).await;
    let of = TenantAccount { tenant: tenant.id, connection: ConnectionId::from_bytes([1; 16]) };
    let [dead, next] = [1, 2].map(|n| NodeId::from_bytes([n; 16]));
    let old = store.take_connection(of, dead, noon(), seconds(10)).await.unwrap().unwrap();
    let mut options = ClientOptions::parse(database.url()).await.unwrap();
    options.app_name = Some("wotp".to_owned());
    let killed = Client::with_options(options).unwrap();
    let mut session = killed.start_session().await.unwrap();
    session.start_transaction().await.unwrap();
    let rows = killed.database(database.name()).collection::<Document>("connection_states");
    let left = doc! { "$inc": { "n": 1_i64 } };
    assert_eq!(rows.update_many(doc! {}, left).session(&mut session).await.unwrap().modified_count, 1);
    let taken = timeout(SOON, store.take_connection(of, next, seconds(10), seconds(20))).await.expect("soon");
    let new = taken.unwrap().unwrap();
    assert!(new.fence > old.fence);
    assert!(session.commit_transaction().await.is_err(), "what nobody ended is not kept");
    let row = StateRow { key: StateKey { kind: 1, group: [0; 16], name: [0; 16] }, value: vec![1] };
    store.write_state(&new, vec![StateChange::Put(row)]).await.unwrap();
}
