//! Transactions that a killed node left open.

use std::time::Duration;

use mongodb::Client;
use mongodb::options::ClientOptions;
use tokio::time::timeout;
use wotp_core::testing::builders::{a_verification, admission, noon};

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
