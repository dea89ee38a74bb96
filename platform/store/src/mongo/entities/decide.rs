//! What a commit makes of the entities that there are: decided one change after another, in memory.

use std::collections::{BTreeMap, BTreeSet};

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Bson, Document, doc};
use wotp_core::domain::Timestamp;
use wotp_core::ports::{Change, EntityRow};

use super::{Outcome, json, key_of, keys_of, name};
use crate::mongo::fault::Fault;
use crate::mongo::forms;
use crate::mongo::row::{binary, number};

/// What is stored of entities, as far as a commit rests on it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Version and unique values, by name.
    entities: BTreeMap<Vec<u8>, (u64, Vec<Vec<u8>>)>,
    /// Who has a unique value.
    holders: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// Statements of one kind, in order.
#[derive(Debug, PartialEq)]
pub(super) enum Statements {
    Updates(Vec<Document>),
    Deletes(Vec<Document>),
}

/// The entity that a change is about, and whether it is written.
fn about(change: &Change) -> Option<(&EntityRow, bool)> {
    match change {
        Change::Insert(row) | Change::Replace(row) | Change::Put(row) => Some((row, true)),
        Change::Delete(row) => Some((row, false)),
        _ => None,
    }
}

fn name_of(row: &EntityRow) -> Vec<u8> {
    name(row.kind, row.owner, row.id)
}

/// What is to be looked at; nothing where no entity is changed.
pub(super) fn wanted(changes: &[Change]) -> Option<Document> {
    let (mut names, mut keys) = (Vec::new(), Vec::new());
    for (row, written) in changes.iter().filter_map(about) {
        names.push(binary(&name_of(row)));
        if written {
            keys.extend(keys_of(row.kind, &row.unique));
        }
    }
    let by_name = doc! { "_id": { "$in": &names } };
    match (names.is_empty(), keys.is_empty()) {
        (true, _) => None,
        (false, true) => Some(by_name),
        (false, false) => Some(doc! { "$or": [by_name, { "u": { "$in": keys } }] }),
    }
}

impl Found {
    /// What there is if nobody changed anything since whoever makes these changes read it; none where that does not
    /// follow from them, or there is nothing to look at in any case.
    pub(super) fn expected(changes: &[Change]) -> Option<Self> {
        let (mut expected, mut named) = (Self::default(), BTreeSet::new());
        for change in changes {
            let Some((row, _)) = about(change) else { continue };
            let name = name_of(row);
            if !named.insert(name.clone()) {
                // As the change before leaves it.
                continue;
            }
            match change {
                Change::Put(_) => return None,
                Change::Insert(_) => {}
                // What it has that no other may have is not asked for: an index knows.
                _ => expected.keep(name, row.version, Vec::new()),
            }
        }
        (!named.is_empty()).then_some(expected)
    }

    pub(super) fn of(rows: &[Document]) -> Result<Self, Fault> {
        let bytes = |value: &Bson| match value {
            Bson::Binary(binary) if binary.subtype == BinarySubtype::Generic => Some(binary.bytes.clone()),
            _ => None,
        };
        let mut found = Self::default();
        for row in rows {
            let name = row.get("_id").and_then(bytes).ok_or(Fault::Shape("an entity has no name"))?;
            let version = row.get_i64("v").ok().and_then(|version| u64::try_from(version).ok());
            let version = version.ok_or(Fault::Shape("an entity has no version"))?;
            let keys = row.get_array("u").map(|keys| keys.iter().filter_map(bytes).collect());
            found.keep(name, version, keys.unwrap_or_default());
        }
        Ok(found)
    }

    fn keep(&mut self, name: Vec<u8>, version: u64, keys: Vec<Vec<u8>>) {
        self.drop(&name);
        self.holders.extend(keys.iter().map(|key| (key.clone(), name.clone())));
        self.entities.insert(name, (version, keys));
    }

    fn drop(&mut self, name: &[u8]) {
        let keys = self.entities.remove(name).map(|(_, keys)| keys);
        for key in keys.unwrap_or_default() {
            self.holders.remove(&key);
        }
    }

    fn version(&self, name: &[u8]) -> Option<u64> {
        self.entities.get(name).map(|(version, _)| *version)
    }

    /// The version that a change makes, if it is made.
    fn next(&self, change: &Change, row: &EntityRow, name: &[u8]) -> Result<u64, Outcome> {
        let version = self.version(name);
        let next = match (change, version) {
            (Change::Insert(_), Some(_)) => return Err(Outcome::Taken(row.kind, "id")),
            (Change::Replace(_) | Change::Delete(_), version) if version != Some(row.version) => {
                return Err(Outcome::Changed);
            }
            (_, version) => version.unwrap_or(0).saturating_add(1),
        };
        if !matches!(change, Change::Delete(_)) {
            let other = |key: &Vec<u8>| self.holders.get(key).is_some_and(|holder| holder != name);
            if let Some(taken) = row.unique.iter().find(|key| other(&key_of(row.kind, key))) {
                return Err(Outcome::Taken(row.kind, taken.index));
            }
        }
        Ok(next)
    }
}

/// What is to be written, or why nothing is.
pub(super) fn decide(mut found: Found, changes: &[Change]) -> Result<Result<Vec<Statements>, Outcome>, Fault> {
    let mut all = Vec::new();
    for change in changes {
        let Some((row, written)) = about(change) else { continue };
        let name = name_of(row);
        let next = match found.next(change, row, &name) {
            Ok(next) => next,
            Err(refused) => return Ok(Err(refused)),
        };
        let before = found.version(&name);
        if written {
            let statement = update(row, &name, before, next)?;
            match all.last_mut() {
                Some(Statements::Updates(updates)) => updates.push(statement),
                _ => all.push(Statements::Updates(vec![statement])),
            }
            found.keep(name, next, row.unique.iter().map(|key| key_of(row.kind, key)).collect());
        } else {
            let statement = doc! { "q": as_it_was(&name, before), "limit": 1 };
            match all.last_mut() {
                Some(Statements::Deletes(deletes)) => deletes.push(statement),
                _ => all.push(Statements::Deletes(vec![statement])),
            }
            found.drop(&name);
        }
    }
    Ok(Ok(all))
}

/// The condition that an entity is of this version; with none, one that nothing meets.
fn as_it_was(name: &[u8], version: Option<u64>) -> Document {
    match version {
        Some(version) => doc! { "_id": binary(name), "v": number(version) },
        None => doc! { "_id": binary(name), "v": { "$lt": 0 } },
    }
}

/// The statement that stores an entity, if there is one of version `before`, or none: then one that is there is met by
/// its name. What a newer program keeps beside its fields stays.
fn update(row: &EntityRow, name: &[u8], before: Option<u64>, version: u64) -> Result<Document, Fault> {
    let mut set = doc! { "v": number(version), "doc": json(&row.doc)? };
    // Absent, not empty: the indexes hold only those that have some.
    let mut unset = Document::new();
    let mut field = |name: &str, value: Option<Bson>| match value {
        Some(value) => set.insert(name, value),
        None => unset.insert(name, 1),
    };
    field("w", row.wake_at.map(Timestamp::as_microsecond).map(Bson::from));
    field("u", (!row.unique.is_empty()).then(|| keys_of(row.kind, &row.unique).into()));
    field("l", (!row.listed.is_empty()).then(|| keys_of(row.kind, &row.listed).into()));
    let first = doc! { "k": row.kind, "o": binary(&row.owner.to_bytes()), "i": binary(&row.id) };
    let mut change = doc! { "$set": set, "$setOnInsert": first, "$max": { "schema": forms::FORM } };
    if !unset.is_empty() {
        change.insert("$unset", unset);
    }
    Ok(doc! { "q": as_it_was(name, before), "u": change, "upsert": before.is_none() })
}
