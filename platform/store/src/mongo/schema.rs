//! The collections and their indexes: declared here and nowhere else, made and checked at each start.

use std::collections::BTreeSet;
use std::time::Duration;

use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use mongodb::{Database, IndexModel};

use super::fault::Fault;
use super::forms;

pub(super) const TENANTS: &str = "tenants";
pub(super) const SERVICES: &str = "services";
pub(super) const API_KEYS: &str = "api_keys";
pub(super) const VERIFICATIONS: &str = "verifications";
pub(super) const MESSAGES: &str = "messages";
pub(super) const USAGE: &str = "usage";
pub(super) const TALLIES: &str = "tallies";
pub(super) const NODES: &str = "nodes";
pub(super) const LEASES: &str = "leases";
pub(super) const KEY_CHECKS: &str = "key_checks";
pub(super) const FORMS: &str = "forms";
pub(super) const ENTITIES: &str = "entities";
pub(super) const OUTBOX: &str = "outbox";
pub(super) const CONNECTION_STATES: &str = "connection_states";

/// The index of verifications, and of messages, that have news.
pub(super) const NEWS: &str = "news";
/// The index of entities that an owner has, by what they are listed under.
pub(super) const LISTED_OF: &str = "listed_of";
/// The index of the sequence of an address.
pub(super) const ADDRESS: &str = "address";
pub(super) const MOVES: &str = "moves";

/// The server's code for "an index of this name is different".
const INDEX_CONFLICTS: [i32; 3] = [85, 86, 67];
/// The server's code for "this collection is there already".
const NAMESPACE_EXISTS: i32 = 48;

struct Index {
    collection: &'static str,
    name: &'static str,
    keys: Document,
    unique: bool,
    /// Only documents that have this field are in it.
    only_with: Option<&'static str>,
    /// Documents go by themselves so long after the moment in the field. Garbage collection only: no
    /// decision rests on whether something is still there.
    expires_after: Option<Duration>,
}

impl Index {
    fn new(collection: &'static str, name: &'static str, keys: Document) -> Self {
        Self { collection, name, keys, unique: false, only_with: None, expires_after: None }
    }

    fn unique(self) -> Self {
        Self { unique: true, ..self }
    }

    fn only_with(self, field: &'static str) -> Self {
        Self { only_with: Some(field), ..self }
    }

    fn expires_after(self, after: Duration) -> Self {
        Self { expires_after: Some(after), ..self }
    }

    fn model(&self) -> IndexModel {
        let partial = self.only_with.map(|field| doc! { field: { "$exists": true } });
        let options = IndexOptions::builder()
            .name(self.name.to_owned())
            .unique(self.unique.then_some(true))
            .partial_filter_expression(partial)
            .expire_after(self.expires_after)
            .build();
        IndexModel::builder().keys(self.keys.clone()).options(options).build()
    }
}

fn indexes() -> Vec<Index> {
    let of_records = |collection| {
        [
            // Listings, newest first.
            Index::new(collection, "tenant_id", doc! { "t": 1, "_id": -1 }),
            // What is due.
            Index::new(collection, "wake", doc! { "w": 1 }),
            Index::new(collection, "idempotency", doc! { "t": 1, "idem.k": 1 }).unique().only_with("idem.k"),
            // What `forget` looks for.
            Index::new(collection, "idempotency_end", doc! { "idem.x": 1 }).only_with("idem.x"),
        ]
    };
    let mut indexes: Vec<Index> = of_records(VERIFICATIONS).into_iter().chain(of_records(MESSAGES)).collect();
    indexes.extend([
        // Finds what went to an address, and decides between two that are started for it at once:
        // both take the next number of the sequence `q`, and one of them finds it taken.
        Index::new(VERIFICATIONS, ADDRESS, doc! { "t": 1, "a": 1, "m": 1, "q": 1 }).unique().only_with("a"),
        Index::new(VERIFICATIONS, NEWS, doc! { "n.s": 1 }).only_with("n.s"),
        Index::new(MESSAGES, NEWS, doc! { "n.s": 1 }).only_with("n.s"),
        Index::new(OUTBOX, "tenant", doc! { "t": 1 }),
        Index::new(MESSAGES, "address", doc! { "t": 1, "a": 1 }).only_with("a"),
        Index::new(SERVICES, "tenant", doc! { "t": 1, "_id": 1 }),
        Index::new(API_KEYS, "tenant", doc! { "t": 1, "id": 1 }).unique(),
        // Those that work; those that were over for long enough to be forgotten.
        Index::new(API_KEYS, "working", doc! { "t": 1, "doc.revoked_at": 1, "doc.expires_at": 1 }),
        Index::new(API_KEYS, "revoked", doc! { "doc.revoked_at": 1 }).only_with("doc.revoked_at"),
        Index::new(API_KEYS, "expired", doc! { "doc.expires_at": 1 }).only_with("doc.expires_at"),
        // Two months after the window is over `forget` takes it; this is for what `forget` missed.
        Index::new(USAGE, "gone", doc! { "gone": 1 }).expires_after(Duration::from_secs(0)),
        // What nodes count of a day, and of a month.
        Index::new(TALLIES, "day", doc! { "t": 1, "r": 1, "d": 1 }),
        Index::new(TALLIES, "month", doc! { "t": 1, "r": 1, "m": 1 }),
        // Those of days that ended.
        Index::new(TALLIES, "ended", doc! { "d": 1 }),
        Index::new(TALLIES, "gone", doc! { "gone": 1 }).expires_after(Duration::from_secs(0)),
        // What no two may have; under what things are listed, everybody's and one owner's; all of a kind, whoever owns them (those of an
        // owner are found by `_id`); what is due; all of a tenant.
        Index::new(ENTITIES, "unique", doc! { "u": 1 }).unique().only_with("u"),
        Index::new(ENTITIES, "listed", doc! { "l": 1, "i": 1 }).only_with("l"),
        Index::new(ENTITIES, LISTED_OF, doc! { "l": 1, "o": 1, "i": 1 }).only_with("l"),
        Index::new(ENTITIES, "kind", doc! { "k": 1, "i": 1 }),
        Index::new(ENTITIES, "wake", doc! { "k": 1, "w": 1 }).only_with("w"),
        Index::new(ENTITIES, "owner", doc! { "o": 1 }),
        // Leases, among the values that are written under them.
        Index::new(CONNECTION_STATES, "leases", doc! { "f": 1 }).only_with("f"),
        Index::new(NODES, "seen", doc! { "seen": 1 }).expires_after(Duration::from_secs(24 * 3600)),
    ]);
    indexes
}

/// Why the collections cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// An index is there that is not ours.
    #[error(
        "the collection `{collection}` has an index `{index}` that is not as this program needs it: drop that index; the \
         next start makes it anew"
    )]
    Index {
        /// The collection.
        collection: &'static str,
        /// The index.
        index: &'static str,
    },
    /// This program is too old for the database.
    #[error(
        "the database is in form {form}, to which wotp {by} brought it and which programs older than form {oldest} \
         cannot use; this is wotp {version}, of form {known}: run the version that the other nodes run"
    )]
    OldProgram {
        /// The form of its documents.
        form: i32,
        /// The version of the program that brought them there.
        by: String,
        /// The oldest form of a program that may use them.
        oldest: i32,
        /// The form of this program.
        known: i32,
        /// The version of this program.
        version: &'static str,
    },
    /// Nodes run that could not go on.
    #[error(
        "the database is to be brought to form {form}, which programs older than form {oldest} cannot use, and such \
         nodes run: {nodes}. Bring those to a version between theirs and this one first, or stop them; then start again"
    )]
    OldNodes {
        /// Which.
        nodes: String,
        /// The form that is next.
        form: i32,
        /// The oldest form of a program that may use it.
        oldest: i32,
    },
    /// Anything else.
    #[error("the collections cannot be made ready")]
    Other(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<Fault> for SchemaError {
    fn from(fault: Fault) -> Self {
        Self::Other(Box::new(fault))
    }
}

/// Makes what is missing, and checks what is there.
pub(super) async fn ensure(database: &Database) -> Result<(), SchemaError> {
    // A newer program was here already, and made what both need in its way.
    if forms::look(database).await?.is_some_and(|stored| stored.form > forms::FORM) {
        return Ok(());
    }
    // An update that finds no record tries to insert one (see `replace`), which has no service.
    // Without this rule that would leave a piece of a record that was deleted.
    let whole = doc! { "service": { "$exists": true } };
    // A node counts no more than it was lent.
    let within = doc! { "$expr": { "$lte": ["$used", "$lent"] } };
    let rules = [(VERIFICATIONS, whole.clone()), (MESSAGES, whole), (TALLIES, within)];
    let there = database.run_command(doc! { "listCollections": 1 }).await.map_err(Fault::from)?;
    for (name, rule) in rules {
        // Looked at first: to set a rule, even the same one, the server waits for every transaction on the
        // collection, and one that a killed node left open is there for a minute.
        let command = match rule_of(&there, name) {
            Some(held) if held == Some(&rule) => continue,
            Some(_) => doc! { "collMod": name, "validator": rule },
            None => doc! { "create": name, "validator": rule },
        };
        match database.run_command(command).await {
            Ok(_) => {}
            // Another node made it meanwhile.
            Err(error) if has_code(&error, &[NAMESPACE_EXISTS]) => {}
            Err(error) => return Err(Fault::from(error).into()),
        }
    }
    for index in indexes() {
        let made = database.collection::<Document>(index.collection).create_index(index.model()).await;
        made.map_err(|error| {
            if has_code(&error, &INDEX_CONFLICTS) {
                SchemaError::Index { collection: index.collection, index: index.name }
            } else {
                Fault::from(error).into()
            }
        })?;
    }
    Ok(())
}

/// The rule of a collection, if it has one; none where there is no such collection.
fn rule_of<'a>(there: &'a Document, name: &str) -> Option<Option<&'a Document>> {
    let rows = there.get_document("cursor").and_then(|cursor| cursor.get_array("firstBatch")).ok()?;
    let mut rows = rows.iter().filter_map(Bson::as_document);
    let row = rows.find(|row| row.get_str("name").is_ok_and(|held| held == name))?;
    Some(row.get_document("options").ok().and_then(|options| options.get_document("validator").ok()))
}

/// What [`ensure`] would make.
pub(super) async fn missing(database: &Database) -> Result<Vec<String>, SchemaError> {
    let stored = forms::look(database).await?;
    if stored.as_ref().is_some_and(|stored| stored.form > forms::FORM) {
        return Ok(Vec::new());
    }
    let mut missing = Vec::new();
    if let Some(stored) = stored.filter(|stored| stored.form < forms::FORM) {
        missing.push(format!("the step from form {} to form {}", stored.form, forms::FORM));
    }
    let there = database.list_collection_names().await.map_err(Fault::from)?;
    let collections: BTreeSet<&str> = indexes().iter().map(|index| index.collection).collect();
    for collection in collections {
        if !there.iter().any(|name| name == collection) {
            missing.push(format!("the collection `{collection}`"));
            continue;
        }
        let names = database.collection::<Document>(collection).list_index_names().await.map_err(Fault::from)?;
        let absent = indexes().into_iter().filter(|index| index.collection == collection);
        let absent = absent.filter(|index| !names.iter().any(|name| name == index.name));
        missing.extend(absent.map(|index| format!("the index `{}` of `{collection}`", index.name)));
    }
    Ok(missing)
}

fn has_code(error: &mongodb::error::Error, codes: &[i32]) -> bool {
    matches!(&*error.kind, mongodb::error::ErrorKind::Command(command) if codes.contains(&command.code))
}
