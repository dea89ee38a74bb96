//! Nodes, leases, the check values of master keys, and the server's time.

use futures_util::TryStreamExt as _;
use std::collections::BTreeMap;

use jiff::SignedDuration;
use mongodb::bson::{Bson, DateTime, Document, deserialize_from_document, doc, serialize_to_bson};
use mongodb::options::ReturnDocument;
use tokio::time::Instant;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::NodeId;
use wotp_core::domain::lease::Lease;
use wotp_core::domain::node::Node;

use super::Server;
use super::fault::{self, Fault};
use super::row::{binary, number};
use super::{forms, schema};

pub(super) async fn note(server: &Server, node: &Node) -> Result<(), Fault> {
    let seen = DateTime::from_millis(node.seen_at.as_millisecond());
    let id = binary(&node.id.to_bytes());
    let row = doc! { "_id": id, "seen": seen, "form": forms::FORM, "node": serialize_to_bson(node)? };
    server.collection(schema::NODES).replace_one(doc! { "_id": binary(&node.id.to_bytes()) }, row).upsert(true).await?;
    Ok(())
}

pub(super) async fn all(server: &Server) -> Result<Vec<Node>, Fault> {
    let found = server.collection(schema::NODES).find(doc! {}).sort(doc! { "_id": 1 }).await?;
    let rows: Vec<Document> = found.try_collect().await?;
    rows.into_iter()
        .map(|mut row| match row.remove("node") {
            Some(Bson::Document(node)) => Ok(deserialize_from_document(node)?),
            _ => Err(Fault::Shape("a node is missing")),
        })
        .collect()
}

pub(super) async fn forget(server: &Server, id: NodeId) -> Result<(), Fault> {
    server.collection(schema::NODES).delete_one(doc! { "_id": binary(&id.to_bytes()) }).await?;
    Ok(())
}

pub(super) async fn take_lease(
    server: &Server,
    name: &str,
    holder: NodeId,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Lease>, Fault> {
    let (now, until, holder) = (now.as_microsecond(), until.as_microsecond(), binary(&holder.to_bytes()));
    let free_or_own = doc! { "_id": name, "$or": [{ "until": { "$lte": now } }, { "holder": holder.clone() }] };
    // One that has ended counts on, even for its last holder: others were let in between.
    let ended = doc! { "$lte": [{ "$ifNull": ["$until", now] }, now] };
    let fence = doc! { "$add": [{ "$ifNull": ["$fence", 0_i64] }, { "$cond": [ended, 1_i64, 0_i64] }] };
    let change = vec![doc! { "$set": { "fence": fence, "holder": holder, "until": until } }];
    let taken = server
        .collection(schema::LEASES)
        .find_one_and_update(free_or_own, change)
        .upsert(true)
        .return_document(ReturnDocument::After)
        .await;
    match taken {
        Ok(row) => row.map(|row| lease(name, &row)).transpose(),
        // Held by another: then the upsert meets it.
        Err(error) if fault::is_duplicate(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

pub(super) async fn find_lease(server: &Server, name: &str) -> Result<Option<Lease>, Fault> {
    let row = server.collection(schema::LEASES).find_one(doc! { "_id": name }).await?;
    row.map(|row| lease(name, &row)).transpose()
}

pub(super) fn lease(name: &str, row: &Document) -> Result<Lease, Fault> {
    let holder = row.get_binary_generic("holder").ok().and_then(|bytes| <[u8; 16]>::try_from(bytes.as_slice()).ok());
    let until = row.get_i64("until").ok().and_then(|moment| Timestamp::from_microsecond(moment).ok());
    let fence = row.get_i64("fence").ok().and_then(|fence| u64::try_from(fence).ok());
    match (holder, until, fence) {
        (Some(holder), Some(until), Some(fence)) => {
            Ok(Lease { name: name.to_owned(), holder: NodeId::from_bytes(holder), fence, until })
        }
        _ => Err(Fault::Shape("a lease is not whole")),
    }
}

pub(super) async fn release_lease(server: &Server, lease: &Lease, now: Timestamp) -> Result<(), Fault> {
    let free = doc! { "$set": { "until": now.as_microsecond() } };
    server.collection(schema::LEASES).update_one(as_held(lease), free).await?;
    Ok(())
}

/// Gives up one whose fences nobody knows: the next one begins with the first.
pub(super) async fn drop_lease(server: &Server, lease: &Lease) -> Result<(), Fault> {
    server.collection(schema::LEASES).delete_one(as_held(lease)).await?;
    Ok(())
}

fn as_held(lease: &Lease) -> Document {
    doc! {
        "_id": &lease.name,
        "holder": binary(&lease.holder.to_bytes()),
        "fence": number(lease.fence),
    }
}

pub(super) async fn key_checks(server: &Server) -> Result<BTreeMap<u8, [u8; 32]>, Fault> {
    let rows: Vec<Document> = server.collection(schema::KEY_CHECKS).find(doc! {}).await?.try_collect().await?;
    let key = |row: &Document| row.get_i32("_id").ok().and_then(|id| u8::try_from(id).ok());
    let check = |row: &Document| Ok((key(row).ok_or(Fault::Shape("a master key's id is not a byte"))?, value(row)?));
    rows.iter().map(check).collect()
}

pub(super) async fn keep_key_check(server: &Server, key: u8, check: [u8; 32]) -> Result<[u8; 32], Fault> {
    let kept = server
        .collection(schema::KEY_CHECKS)
        .find_one_and_update(doc! { "_id": i32::from(key) }, doc! { "$setOnInsert": { "value": binary(&check) } })
        .upsert(true)
        .return_document(ReturnDocument::After)
        .await;
    match kept {
        Ok(row) => row.map_or(Ok(check), |row| value(&row)),
        // Somebody else was first, at the same moment.
        Err(error) if fault::is_duplicate(&error) => Ok(key_checks(server).await?.get(&key).copied().unwrap_or(check)),
        Err(error) => Err(error.into()),
    }
}

pub(super) fn value(row: &Document) -> Result<[u8; 32], Fault> {
    let held = row.get_binary_generic("value").ok();
    held.and_then(|bytes| bytes.as_slice().try_into().ok()).ok_or(Fault::Shape("a check value is not 32 bytes"))
}

/// What time it is at the server: as it said, and half the way to it and back.
pub(super) async fn time(server: &Server) -> Result<Timestamp, Fault> {
    let asked = Instant::now();
    let hello = server.client.database("admin").run_command(doc! { "hello": 1 }).await?;
    let way = SignedDuration::try_from(asked.elapsed() / 2).unwrap_or(SignedDuration::ZERO);
    let said = hello.get_datetime("localTime").map_err(|_| Fault::Shape("the server tells no time"))?;
    let said = Timestamp::from_millisecond(said.timestamp_millis());
    let said = said.map_err(|_| Fault::Shape("the server's time is beyond the calendar"))?;
    Ok(said.saturating_add(way).unwrap_or(said))
}
