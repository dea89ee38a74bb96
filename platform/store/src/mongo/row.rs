//! A verification or a message as a document of its collection.
//!
//! `_id` its id, `t` its tenant, `v` its version, `w` when time next asks for anything, `m` mode, `s`
//! status, `a` the index of its address and `q` its place among those of that address, `idem` what its
//! idempotency key repeats, `fixed` what stays and `state` what changes, `n` what is still to be told of it.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, RawDocument, deserialize_from_slice, doc, serialize_to_bson};
use serde::Deserialize;
use wotp_core::domain::Timestamp;
use wotp_core::domain::address_limits::AddressTrace;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::message::Message;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::verification::{Status, Verification};
use wotp_core::ports::Idempotency;

use super::fault::Fault;
use super::{fields, forms, outbox, schema};
use crate::record::Record;

/// A record that has a collection of its own.
pub(super) trait Row: Record {
    const COLLECTION: &'static str;
    /// What the idempotency key repeats of the record's secret, which it keeps no longer than the
    /// record does.
    const SECRET: &'static str;

    /// What it tells about its address, if that has limits.
    fn trace(&self) -> Option<AddressTrace>;
}

impl Row for Verification {
    const COLLECTION: &'static str = schema::VERIFICATIONS;
    const SECRET: &'static str = "idem.state.code";

    fn trace(&self) -> Option<AddressTrace> {
        Some(AddressTrace::of(self))
    }
}

impl Row for Message {
    const COLLECTION: &'static str = schema::MESSAGES;
    const SECRET: &'static str = "idem.state.content";

    fn trace(&self) -> Option<AddressTrace> {
        None
    }
}

pub(super) fn binary(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() })
}

/// NEVER change a name: they are stored.
pub(super) fn mode_name(mode: Mode) -> &'static str {
    match mode {
        Mode::Live => "live",
        Mode::Test => "test",
    }
}

/// What `s` holds; messages have no status.
pub(super) fn status_name(status: Option<Status>) -> Bson {
    status.map_or(Bson::Null, |status| status.name().into())
}

pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The document of a new record. `place` is its place among those of its address.
pub(super) fn new<R: Row>(
    record: &R,
    idempotency: Option<&Idempotency>,
    place: Option<i64>,
) -> Result<Document, Fault> {
    let state = serialize_to_bson(&record.state())?;
    let repeat = idempotency.map(|idempotency| (idempotency, state.clone()));
    let mut row = whole(record, state, repeat, place)?;
    if let Some(news) = record.news_of_start() {
        row.insert("n", vec![outbox::element(&news)?]);
    }
    Ok(row)
}

/// The document of a record: with the key that made it, if there is one, and what that repeats.
pub(super) fn whole<R: Row>(
    record: &R,
    state: Bson,
    repeat: Option<(&Idempotency, Bson)>,
    place: Option<i64>,
) -> Result<Document, Fault> {
    let mut row = doc! {
        "_id": binary(&record.id()),
        "t": binary(&record.tenant().to_bytes()),
        "v": number(record.version()),
        "w": record.wake_at().as_microsecond(),
        "m": mode_name(record.mode()),
        "s": status_name(record.status()),
        "service": binary(&record.service().to_bytes()),
        "schema": forms::FORM,
        "fixed": fixed(record)?,
    };
    if let Some(address) = record.address() {
        row.insert("a", binary(address.index.as_bytes()));
        if let Some(place) = place {
            row.insert("q", place);
        }
    }
    if let Some((idempotency, first)) = repeat {
        row.insert(
            "idem",
            doc! {
                "k": binary(&idempotency.key),
                "f": binary(&idempotency.fingerprint),
                "x": idempotency.expires_at.as_microsecond(),
                "state": first,
            },
        );
    }
    row.insert("state", state);
    Ok(row)
}

/// What stays of a record.
///
/// Metadata with a name as `$numberLong` are a text, of JSON: the library takes a document with such names for
/// something else, a number or a moment, and what is read then is no metadata any more. All others stay the document
/// that older programs know.
fn fixed<R: Row>(record: &R) -> Result<Bson, Fault> {
    let mut fixed = serialize_to_bson(&record.fixed())?;
    let metadata = record.metadata().filter(|metadata| metadata.keys().any(|name| name.starts_with('$')));
    if let (Some(metadata), Bson::Document(fixed)) = (metadata, &mut fixed) {
        let text = serde_json::to_string(metadata).map_err(|_| Fault::Shape("metadata cannot be written as JSON"))?;
        fixed.insert("metadata", text);
    }
    Ok(fixed)
}

/// The statement that stores a changed record, if it is still of version `expected`.
///
/// It may insert when it finds nothing to change. That is how one statement among many tells that it
/// found nothing: the insert then meets the record itself, or the rule that no record is without a
/// service, and the server names the statement in its answer.
pub(super) fn replacement<R: Row>(tenant: TenantId, record: &mut R, expected: u64) -> Result<Document, Fault> {
    if record.tenant() != tenant {
        return Err(Fault::Foreign);
    }
    let mut set = doc! {
        "v": number(expected.saturating_add(1)),
        "w": record.wake_at().as_microsecond(),
        "s": status_name(record.status()),
    };
    let version = *record.version_mut();
    *record.version_mut() = expected.saturating_add(1);
    let state = serialize_to_bson(&record.state());
    *record.version_mut() = version;
    let Bson::Document(state) = state? else { return Err(Fault::Shape("a state is no document")) };
    let mut unset = Document::new();
    fields::change::<R::State>("state", state, &mut set, &mut unset);
    if record.is_rewritten() {
        set.insert("fixed", fixed(record)?);
    }
    if let Some(address) = record.address().filter(|_| record.is_rewritten()) {
        // Without its place among those of the address, which whoever stores it looks for.
        set.insert("a", binary(address.index.as_bytes()));
    }
    let is_redacted = record.is_rewritten() && record.address().is_none();
    if is_redacted {
        // What stays is written again as a whole, without the address and without what this
        // program does not know, which might tell it; and what the idempotency key would repeat holds
        // the address too.
        unset.extend(doc! { "a": 1, "q": 1, "idem": 1 });
    } else if !record.is_under_way() {
        unset.insert(R::SECRET, 1);
    }
    let mut change = doc! { "$set": set, "$max": { "schema": forms::FORM } };
    if !unset.is_empty() {
        change.insert("$unset", unset);
    }
    if let Some(news) = record.news_of_change(expected.saturating_add(1)) {
        change.insert("$push", doc! { "n": outbox::element(&news)? });
    }
    Ok(doc! {
        "q": { "_id": binary(&record.id()), "t": binary(&tenant.to_bytes()), "v": number(expected) },
        "u": change,
        "upsert": true,
        // Otherwise the server weighs it against the tenant's index.
        "hint": { "_id": 1 },
    })
}

/// The two documents of a record, as they are read.
#[derive(Deserialize)]
#[serde(bound = "")]
struct Stored<R: Row> {
    fixed: R::Fixed,
    state: R::State,
}

/// What is read of a record: the fields of [`Stored`].
pub(super) fn projection() -> Document {
    doc! { "t": 1, "fixed": 1, "state": 1 }
}

/// The record in a document.
pub(super) fn read<R: Row>(row: &RawDocument) -> Result<R, Fault> {
    let stored: Stored<R> = deserialize_from_slice(row.as_bytes())?;
    Ok(R::of(stored.fixed, stored.state))
}

/// What a key made: itself, and the state that it repeats.
pub(super) fn repeated(idem: &Document) -> Result<(Idempotency, Bson), Fault> {
    let bytes = |field| {
        let held = idem.get_binary_generic(field).ok();
        held.and_then(|held| <[u8; 32]>::try_from(held.as_slice()).ok())
    };
    let (Some(key), Some(fingerprint)) = (bytes("k"), bytes("f")) else {
        return Err(Fault::Shape("an idempotency key is not 32 bytes"));
    };
    let expires_at = idem.get_i64("x").ok().and_then(|moment| Timestamp::from_microsecond(moment).ok());
    let expires_at = expires_at.ok_or(Fault::Shape("an idempotency key has no end"))?;
    let state = idem.get("state").cloned().ok_or(Fault::Shape("an idempotency key repeats nothing"))?;
    Ok((Idempotency { key, fingerprint, expires_at }, state))
}

/// The 16 bytes of an id in a document.
pub(super) fn id_of(row: &RawDocument, field: &str) -> Result<[u8; 16], Fault> {
    bytes_of(row, field)
}

/// The bytes of an id, or of a hash.
pub(super) fn bytes_of<const N: usize>(row: &RawDocument, field: &str) -> Result<[u8; N], Fault> {
    let held = row.get_binary(field).map_err(|_| Fault::Shape("an id is missing"))?;
    held.bytes.try_into().map_err(|_| Fault::Shape("an id is not as long as it should be"))
}
