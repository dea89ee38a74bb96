//! What comes from another store, as documents of ours, and back.

use mongodb::bson::{
    Bson, Document, RawDocument, RawDocumentBuf, deserialize_from_bson, deserialize_from_slice, doc, serialize_to_bson,
};
use serde::Deserialize;
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::KeyHash;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::lease::Lease;
use wotp_core::domain::message::Message;
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::domain::verification::Verification;
use wotp_core::ports::Usage;

use super::fault::Fault;
use super::row::{self, Row, binary, number};
use super::{connection_states, entities, forms, nodes, outbox, schema, store, usage};
use crate::holding::{Holding, Kind, Repeat, Stored, WindowUsage};

/// Where a kind is kept.
pub(super) fn collection(kind: Kind) -> &'static str {
    match kind {
        Kind::KeyChecks => schema::KEY_CHECKS,
        Kind::Tenants => schema::TENANTS,
        Kind::Services => schema::SERVICES,
        Kind::ApiKeys => schema::API_KEYS,
        Kind::Usage => schema::USAGE,
        Kind::Leases => schema::LEASES,
        Kind::Verifications => schema::VERIFICATIONS,
        Kind::Messages => schema::MESSAGES,
        Kind::Entities => schema::ENTITIES,
        Kind::News => schema::OUTBOX,
        Kind::ConnectionLeases | Kind::ConnectionStates => schema::CONNECTION_STATES,
    }
}

/// What of its collection a kind is.
pub(super) fn wanted(kind: Kind) -> Document {
    match kind {
        Kind::ConnectionLeases => doc! { "f": { "$exists": true } },
        Kind::ConnectionStates => doc! { "v": { "$exists": true } },
        // Whoever looked at the database first brought its documents up to date under one of its own.
        Kind::Leases => doc! { "_id": { "$ne": forms::LEASE } },
        _ => Document::new(),
    }
}

/// The document that a node would find it as.
///
/// # Errors
/// [`Fault::Read`] when MongoDB cannot hold it: no name in a document has the character NUL in it.
pub(super) fn row(holding: &Holding) -> Result<RawDocumentBuf, Fault> {
    Ok(RawDocumentBuf::try_from(document(holding)?)?)
}

fn document(holding: &Holding) -> Result<Document, Fault> {
    match holding {
        Holding::KeyCheck(key, check) => Ok(doc! { "_id": i32::from(*key), "value": binary(check) }),
        Holding::Tenant(tenant) => store::tenant_row(tenant),
        Holding::Service(service) => store::service_row(service),
        Holding::ApiKey(key, hash) => store::key_row(key, hash),
        Holding::Usage(WindowUsage { tenant, resource, window, starts, usage }) => {
            let key = (*tenant, *resource, *window, *starts);
            let mut row = doc! { "_id": usage::id(key), "used": number(usage.used), "overage": number(usage.overage) };
            row.extend(usage::beside(key));
            Ok(row)
        }
        Holding::Lease(Lease { name, holder, fence, until }) => Ok(doc! {
            "_id": name,
            "fence": number(*fence),
            "holder": binary(&holder.to_bytes()),
            "until": until.as_microsecond(),
        }),
        Holding::Verification(stored) => record_row(stored),
        Holding::Message(stored) => record_row(stored),
        Holding::Entity(entity) => entities::whole(entity),
        Holding::News(news) => outbox::alone(news),
        Holding::ConnectionLease(lease) => Ok(connection_states::lease_row(lease)),
        Holding::ConnectionState(of, row) => Ok(connection_states::state_row(*of, row)),
    }
}

/// What is in a document, as a node would read it.
pub(super) fn read(kind: Kind, row: &RawDocument) -> Result<Holding, Fault> {
    let whole = || -> Result<Document, Fault> { Ok(deserialize_from_slice(row.as_bytes())?) };
    Ok(match kind {
        Kind::KeyChecks => {
            let key = row.get_i32("_id").ok().and_then(|key| u8::try_from(key).ok());
            let key = key.ok_or(Fault::Shape("a master key's id is not a byte"))?;
            Holding::KeyCheck(key, nodes::value(&whole()?)?)
        }
        Kind::Tenants => Holding::Tenant(Box::new(store::of(whole()?)?)),
        Kind::Services => Holding::Service(Box::new(store::of(whole()?)?)),
        Kind::ApiKeys => {
            let hash = row.get_binary("_id").ok().and_then(|hash| hash.bytes.try_into().ok());
            let hash = hash.ok_or(Fault::Shape("the hash of a key is not 32 bytes"))?;
            Holding::ApiKey(Box::new(store::of(whole()?)?), KeyHash(hash))
        }
        Kind::Usage => Holding::Usage(window_usage(&whole()?).ok_or(Fault::Shape("a count is not whole"))?),
        Kind::Leases => {
            let name = row.get_str("_id").map_err(|_| Fault::Shape("a lease has no name"))?;
            Holding::Lease(nodes::lease(name, &whole()?)?)
        }
        Kind::Verifications => Holding::Verification(Box::new(read_record::<Verification>(row)?)),
        Kind::Messages => Holding::Message(Box::new(read_record::<Message>(row)?)),
        Kind::Entities => Holding::Entity(Box::new(entities::read_whole(row)?)),
        Kind::News => Holding::News(Box::new(outbox::read_alone(row)?)),
        Kind::ConnectionLeases => Holding::ConnectionLease(connection_states::read_lease(row)?),
        Kind::ConnectionStates => {
            let (of, row) = connection_states::read_state(row)?;
            Holding::ConnectionState(of, row)
        }
    })
}

fn window_usage(row: &Document) -> Option<WindowUsage> {
    let id = row.get_document("_id").ok()?;
    let count = |field| row.get_i64(field).ok().and_then(|count| u64::try_from(count).ok());
    let (resource, window) = (id.get_str("r").ok()?, id.get_str("k").ok()?);
    Some(WindowUsage {
        tenant: TenantId::from_bytes(id.get_binary_generic("t").ok()?.as_slice().try_into().ok()?),
        resource: Resource::ALL.into_iter().find(|known| known.name() == resource)?,
        window: [WindowKind::Day, WindowKind::Month].into_iter().find(|known| known.name() == window)?,
        starts: Timestamp::from_microsecond(id.get_i64("s").ok()?).ok()?,
        usage: Usage { used: count("used")?, overage: count("overage")? },
    })
}

fn record_row<R: Row>(Stored { record, place, repeat }: &Stored<R>) -> Result<Document, Fault> {
    let repeat = match repeat {
        Some(Repeat { idempotency, first }) => Some((idempotency, serialize_to_bson(&first.state())?)),
        None => None,
    };
    row::whole(record, serialize_to_bson(&record.state())?, repeat, *place)
}

/// As much of a document as a record and what is kept beside it.
#[derive(Deserialize)]
struct Kept {
    q: Option<i64>,
    fixed: Bson,
    state: Bson,
    idem: Option<Document>,
}

fn read_record<R: Row>(row: &RawDocument) -> Result<Stored<R>, Fault> {
    let Kept { q: place, fixed, state, idem } = deserialize_from_slice(row.as_bytes())?;
    let repeat = match idem {
        Some(idem) => {
            let (idempotency, first) = row::repeated(&idem)?;
            let first = R::of(deserialize_from_bson(fixed.clone())?, deserialize_from_bson(first)?);
            Some(Repeat { idempotency, first })
        }
        None => None,
    };
    Ok(Stored { record: R::of(deserialize_from_bson(fixed)?, deserialize_from_bson(state)?), place, repeat })
}

/// A document's name, for people.
pub(super) fn name(kind: Kind, row: &RawDocument) -> String {
    let id = match kind {
        Kind::ApiKeys => "id",
        Kind::Entities => "i",
        _ => "_id",
    };
    row::id_of(row, id).map_or_else(|_| "a document without an id".to_owned(), |id| kind.name_of(id))
}
