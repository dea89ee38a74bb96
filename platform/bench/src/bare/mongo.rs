//! Over MongoDB: what a plain server does for each call, one conditional `findOneAndUpdate` of the
//! tenant's count and one insert, both acknowledged by the majority.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use axum::{Json, Router};
use mongodb::bson::{Document, doc, oid::ObjectId, serialize_to_document};
use mongodb::error::{Error, ErrorKind, WriteFailure};
use mongodb::options::{Acknowledgment, ClientOptions, WriteConcern};
use mongodb::{Client, Collection};

use super::{BareError, Start, Started};

/// What each tenant may use: a limit that is looked at and never reached.
const QUOTA: i64 = 1 << 40;
/// The server's code for "there is one with this key already".
const DUPLICATE: i32 = 11_000;

struct Store {
    usage: Collection<Document>,
    verifications: Collection<Document>,
}

/// Serves until standard input ends or the process is killed, after saying where it listens. `url` names
/// the database. A caller's tenant is what its `Authorization` says.
///
/// # Errors
/// [`BareError`] when it cannot begin.
pub async fn serve(url: &str, listen: SocketAddr) -> Result<(), BareError> {
    let mut options = ClientOptions::parse(url).await?;
    options.write_concern = Some(WriteConcern::builder().w(Acknowledgment::Majority).journal(true).build());
    // As many as the platform takes.
    options.max_pool_size.get_or_insert(64);
    let name = options.default_database.clone().unwrap_or_else(|| "bare".to_owned());
    let database = Client::with_options(options)?.database(&name);
    database.run_command(doc! { "ping": 1 }).await?;
    let store = Store { usage: database.collection("usage"), verifications: database.collection("verifications") };
    super::serve(Router::new().route("/v1/verifications", post(start)).with_state(Arc::new(store)), listen).await
}

async fn start(
    State(store): State<Arc<Store>>,
    headers: HeaderMap,
    Json(start): Json<Start>,
) -> Result<(StatusCode, Json<Started>), StatusCode> {
    let tenant = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or("nobody");
    match store.keep(tenant, &start).await {
        Ok(Some(id)) => {
            let started = Started { id: format!("ver_{id}"), status: "pending", to: start.to };
            Ok((StatusCode::CREATED, Json(started)))
        }
        Ok(None) => Err(StatusCode::TOO_MANY_REQUESTS),
        Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE),
    }
}

impl Store {
    /// Counts and stores; none when the quota is used up.
    async fn keep(&self, tenant: &str, start: &Start) -> Result<Option<ObjectId>, Error> {
        if !self.count(tenant).await? {
            return Ok(None);
        }
        let id = ObjectId::new();
        let mut row = doc! { "_id": id, "t": tenant };
        row.extend(serialize_to_document(start)?);
        self.verifications.insert_one(row).await?;
        Ok(Some(id))
    }

    async fn count(&self, tenant: &str) -> Result<bool, Error> {
        loop {
            let wanted = doc! { "_id": tenant, "used": { "$lt": QUOTA } };
            let counted = self.usage.find_one_and_update(wanted, doc! { "$inc": { "used": 1_i64 } }).await?;
            if counted.is_some() {
                return Ok(true);
            }
            match self.usage.insert_one(doc! { "_id": tenant, "used": 0_i64 }).await {
                // It is there now, made by us or by another call at the same moment.
                Ok(_) => {}
                Err(error) if is_duplicate(&error) => {
                    let used_up = self.usage.find_one(doc! { "_id": tenant, "used": { "$gte": QUOTA } }).await?;
                    if used_up.is_some() {
                        return Ok(false);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn is_duplicate(error: &Error) -> bool {
    matches!(&*error.kind, ErrorKind::Write(WriteFailure::WriteError(failed)) if failed.code == DUPLICATE)
}

#[cfg(test)]
mod tests {
    use wotp_test_servers::MongoDatabase;

    use super::*;

    #[tokio::test]
    async fn each_call_is_counted_for_its_tenant_and_stored() {
        let database = MongoDatabase::fresh();
        let client = Client::with_uri_str(database.url()).await.unwrap();
        let held = client.database(database.name());
        let store = Store { usage: held.collection("usage"), verifications: held.collection("verifications") };
        let call: Start = serde_json::from_value(serde_json::json!({"to": "+12025550123"})).unwrap();
        // The first ones at once: each finds no count yet.
        let (a, b) = tokio::join!(store.keep("a", &call), store.keep("a", &call));
        assert_ne!(a.unwrap().unwrap(), b.unwrap().unwrap());
        store.keep("b", &call).await.unwrap().unwrap();
        let used = async |tenant| store.usage.find_one(doc! { "_id": tenant }).await.unwrap().unwrap().get_i64("used");
        assert_eq!((used("a").await.unwrap(), used("b").await.unwrap()), (2, 1));
        assert_eq!(store.verifications.count_documents(doc! { "t": "a" }).await.unwrap(), 2);
        store.usage.update_one(doc! { "_id": "b" }, doc! { "$set": { "used": QUOTA } }).await.unwrap();
        assert_eq!(store.keep("b", &call).await.unwrap(), None);
    }
}
