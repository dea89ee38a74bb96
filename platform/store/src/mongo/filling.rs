//! A database that is being filled from another store.

use std::collections::BTreeMap;

use futures_util::{Stream, StreamExt as _};
use mongodb::Database;
use mongodb::bson::{RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::ReadConcern;
use wotp_core::domain::Timestamp;

use super::connect::{self, ConnectError, ConnectOptions, Reached};
use super::fault::{self, Fault};
use super::holding::{collection, name, read, row, wanted};
use super::moves::{self, Note};
use super::schema::{self, SchemaError};
use super::{Server, nodes};
use crate::holding::{Holding, Kind};

/// Documents that come back at a time.
const BATCH: u32 = 1000;

/// Why a database is not to be filled, or cannot be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FillError {
    /// Something is in it already.
    #[error("the target holds {0} already")]
    Holds(&'static str),
    /// Another source, or this one as it was.
    #[error(
        "the target holds an unfinished move, begun {0}, of another database or of this one before it was used again"
    )]
    Other(Timestamp),
    /// A node would work on half of it.
    #[error("a node runs on the target, on the machine {0}")]
    Node(String),
    /// Others seal with another key.
    #[error("the target was used with another master key number {0}")]
    Key(u8),
    /// The source says that it was moved, and the target knows of nothing.
    #[error("the target knows of no move of this database")]
    Unknown,
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// What was found at the begin.
pub(crate) enum Begun {
    /// It was done before.
    Finished(Note),
    /// There is something to do.
    Unfinished(Note),
}

/// A document as it came back.
pub(crate) enum Mirrored {
    Whole(Holding),
    /// No node could work with it: why.
    Broken(String, String),
}

pub(crate) struct Filling {
    server: Server,
    place: String,
}

impl Filling {
    pub(crate) async fn connect(url: &str, options: &ConnectOptions) -> Result<Self, ConnectError> {
        let Reached { client, database, hosts } = connect::reach(url, options).await?;
        let place = format!("the database `{}` at {hosts}", database.name());
        Ok(Self { server: Server::new(client, database, options.call_timeout), place })
    }

    fn database(&self) -> &Database {
        &self.server.database
    }

    /// Where it is, for people, without passwords.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Begins, or goes on with what was begun from the same source. `anew`: whether it may begin.
    pub(crate) async fn begin(
        &self,
        source: &[u8; 32],
        checks: &BTreeMap<u8, [u8; 32]>,
        now: Timestamp,
        anew: bool,
    ) -> Result<Begun, FillError> {
        let note = match moves::find(self.database()).await? {
            Some(note) if !note.is_of(source) => {
                return Err(if note.finished_at.is_some() {
                    FillError::Holds("a database that was moved there")
                } else {
                    FillError::Other(note.began_at)
                });
            }
            Some(note) if note.finished_at.is_some() => return Ok(Begun::Finished(note)),
            Some(note) => note,
            None if anew => self.begin_anew(source, checks, now).await?,
            None => return Err(FillError::Unknown),
        };
        // Again, now that the note is there: a node may have come in between.
        self.alone().await?;
        schema::ensure(self.database()).await?;
        Ok(Begun::Unfinished(note))
    }

    /// Leaves the note, where nothing is in its way; where something is, nothing.
    async fn begin_anew(
        &self,
        source: &[u8; 32],
        checks: &BTreeMap<u8, [u8; 32]>,
        now: Timestamp,
    ) -> Result<Note, FillError> {
        for kind in Kind::ALL {
            // A look at it with the same master key leaves that one's check value.
            let held = self.server.collection(collection(kind)).find_one(wanted(kind)).await.map_err(Fault::from)?;
            if held.is_some() && kind != Kind::KeyChecks {
                return Err(FillError::Holds(kind.name()));
            }
        }
        for (key, check) in nodes::key_checks(&self.server).await? {
            if checks.get(&key) != Some(&check) {
                return Err(FillError::Key(key));
            }
        }
        self.alone().await?;
        let note = Note::new(source, now);
        if moves::begin(self.database(), &note).await? { Ok(note) } else { Err(FillError::Other(now)) }
    }

    /// Refuses when a node runs here. Only one that was there before the note can: it keeps others away.
    pub(crate) async fn alone(&self) -> Result<(), FillError> {
        let now = nodes::time(&self.server).await?;
        let there = nodes::all(&self.server).await?.into_iter().find(|node| !node.is_gone(now));
        there.map_or(Ok(()), |node| Err(FillError::Node(node.host)))
    }

    /// Whether MongoDB can hold it.
    pub(crate) fn fits(holding: &Holding) -> bool {
        row(holding).is_ok()
    }

    /// Stores these, all of one kind. What is there already stays: a batch may be stored twice, and is
    /// compared in the end. What MongoDB cannot hold is handed back.
    pub(crate) async fn put(&self, kind: Kind, holdings: Vec<Holding>) -> Result<Vec<Holding>, Fault> {
        let (mut rows, mut unfit) = (Vec::with_capacity(holdings.len()), Vec::new());
        for holding in holdings {
            match row(&holding) {
                Ok(row) => rows.push(row),
                Err(_) => unfit.push(holding),
            }
        }
        if !rows.is_empty() {
            let put = self.database().collection::<RawDocumentBuf>(collection(kind));
            let put = put.insert_many(rows).ordered(false).await;
            put.map(drop).or_else(|error| if is_there_already(&error) { Ok(()) } else { Err(error) })?;
        }
        Ok(unfit)
    }

    /// Notes that all of a kind is stored up to `key`.
    pub(crate) async fn reached(&self, kind: Kind, key: &[u8]) -> Result<(), Fault> {
        moves::reached(self.database(), kind, key).await
    }

    /// All of a kind, in the order of its keys, as nodes will read it.
    pub(crate) async fn holdings(
        &self,
        kind: Kind,
    ) -> Result<impl Stream<Item = Result<Mirrored, Fault>> + Unpin + Send + 'static, Fault> {
        let found = self
            .database()
            .collection::<RawDocumentBuf>(collection(kind))
            .find(wanted(kind))
            .sort(doc! { "_id": 1 })
            .batch_size(BATCH)
            .read_concern(ReadConcern::majority())
            .await?;
        Ok(found.map(move |document| {
            let document = document?;
            let holding = match read(kind, &document) {
                Ok(holding) => holding,
                Err(fault) => return Ok(Mirrored::Broken(name(kind, &document), fault.to_string())),
            };
            // What stands beside the record in a document is what nodes find it by.
            if row(&holding)?.as_bytes() == document.as_bytes() {
                Ok(Mirrored::Whole(holding))
            } else {
                Ok(Mirrored::Broken(holding.name(), "its document is not as this program writes it".to_owned()))
            }
        }))
    }

    /// Notes that all of it is here, and lets nodes in.
    pub(crate) async fn finish(&self, note: &Note) -> Result<(), Fault> {
        moves::finish(self.database(), note).await
    }
}

/// Whether all that an insert met were documents that it would have made.
fn is_there_already(error: &Error) -> bool {
    match &*error.kind {
        ErrorKind::InsertMany(many) => many.write_concern_error.is_none() && fault::is_all_duplicates(error),
        _ => false,
    }
}
