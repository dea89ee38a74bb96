//! What only the store over MongoDB has to stand: nodes of other versions, servers that fail.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod dead;
mod fates;
mod histories;
mod newer;
mod old_server;
mod tallies;

use mongodb::bson::{Bson, Document, doc};
use wotp_core::domain::tenant::Tenant;
use wotp_core::ports::Store as _;
use wotp_core::testing::builders::{a_service, a_tenant};
use wotp_store::mongo::{ConnectOptions, MongoStore};
use wotp_test_servers::MongoDatabase;

/// A store over a database, with one tenant and its service.
async fn store(url: &str) -> (MongoStore, Tenant) {
    let store = MongoStore::connect(url, ConnectOptions::default()).await.unwrap();
    let tenant = a_tenant();
    store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
    (store, tenant)
}

/// The documents of a collection, as they are stored.
fn raw(database: &MongoDatabase, collection: &str) -> Vec<Document> {
    let reply = database.run(doc! { "find": collection, "sort": { "_id": 1 } }).unwrap();
    let rows = reply.get_document("cursor").unwrap().get_array("firstBatch").unwrap();
    rows.iter().filter_map(Bson::as_document).cloned().collect()
}
