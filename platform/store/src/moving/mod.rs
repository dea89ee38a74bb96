//! An embedded store moved into MongoDB: all of it, resumable, and compared in the end.
//!
//! The source is read in the order of ids, and the target notes how far it has come, so a move that is
//! cut off at any moment goes on from there. The documents follow from the source alone: what is stored
//! twice is the same. From the first step until both were found equal a note in the target keeps every
//! node away.

mod error;

use std::sync::Arc;

pub use error::{Difference, MoveError};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use wotp_core::domain::Timestamp;
use wotp_core::ports::{Store as _, StoreError};

use crate::holding::Holding;
pub use crate::holding::Kind;
use crate::mongo::{self, ConnectOptions, FillError, Filling, Mirrored};
use crate::sqlite::{Contents, Found, SqliteStore};

/// Things that go to the server in one command.
const BATCH: usize = 1000;
/// Commands at once.
const IN_FLIGHT: usize = 4;
/// Batches that are read ahead.
const AHEAD: usize = 4;

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Things are read from the source and stored in the target.
    Copy,
    /// Both are read and compared.
    Compare,
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// With what.
    pub phase: Phase,
    /// With which kind.
    pub kind: Kind,
    /// So many of them, counted from the first, whenever that was copied.
    pub done: u64,
    /// Of so many.
    pub total: u64,
}

/// How many of one kind there are on both sides, and what all of them are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Total {
    /// Which kind.
    pub kind: Kind,
    /// How many.
    pub count: u64,
    /// SHA-256 over the SHA-256 of each, in the order of their ids, in hexadecimal.
    pub sha256: String,
}

/// Something that did not move: it cannot be read, or MongoDB cannot hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
}

/// What came of a move.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// When it was begun.
    pub began_at: Timestamp,
    /// When both were found equal.
    pub finished_at: Timestamp,
    /// What moved.
    pub totals: Vec<Total>,
    /// What was left behind, because it was asked for.
    pub left: Vec<Left>,
    /// Idempotency keys that moved.
    pub idempotency_keys: u64,
    /// Idempotency keys that did not: the record that they would repeat is gone.
    pub idempotency_keys_left: u64,
}

/// From where, to where and how.
pub struct Plan<'p> {
    /// The source, opened and up to date, which nobody else may use until the move is done.
    pub source: &'p SqliteStore,
    /// The URL of the target.
    pub target: &'p str,
    /// How to reach it.
    pub connect: ConnectOptions,
    /// What time it is.
    pub now: Timestamp,
    /// Whether the source says that it was moved already.
    pub was_moved: bool,
    /// Whether to go on without what cannot be read or stored.
    pub leave_unreadable: bool,
}

/// A move, begun.
pub enum Begun {
    /// It was done before: nothing is to do.
    Finished(Report),
    /// It is to be done, or gone on with.
    Unfinished(Move),
}

/// A move under way.
pub struct Move {
    contents: Arc<Contents>,
    target: Filling,
    note: mongo::Note,
    leave: bool,
}

/// What was found when both were compared.
pub struct Compared {
    totals: Vec<Total>,
    left: Vec<Left>,
    /// Idempotency keys that moved, and that did not.
    keys: (u64, u64),
}

/// Begins a move, or finds how far it has come.
///
/// # Errors
/// [`MoveError`].
pub async fn begin(plan: Plan<'_>) -> Result<Begun, MoveError> {
    let Plan { source, target, connect, now, was_moved, leave_unreadable: leave } = plan;
    let checks = source.key_checks().await.map_err(MoveError::Source)?;
    let whole = source.contents(now);
    let fingerprint = blocking(move || whole.fingerprint()).await?;
    let target = Filling::connect(target, &connect).await?;
    Ok(match target.begin(&fingerprint, &checks, now, !was_moved).await? {
        mongo::Begun::Finished(note) => Begun::Finished(report(&note)),
        mongo::Begun::Unfinished(note) => {
            // What is forgotten by then depends on it, and may not differ from run to run.
            let contents = Arc::new(source.contents(note.began_at));
            Begun::Unfinished(Move { contents, target, note, leave })
        }
    })
}

fn report(note: &mongo::Note) -> Report {
    let total = |kind: Kind| {
        let total = note.totals.get(kind.name())?;
        Some(Total { kind, count: total.count, sha256: total.sha256.clone() })
    };
    let left = |(kind, name): &(String, String)| {
        let kind = Kind::ALL.into_iter().find(|known| known.name() == kind)?;
        Some(Left { kind, name: name.clone() })
    };
    Report {
        began_at: note.began_at,
        finished_at: note.finished_at.unwrap_or(note.began_at),
        totals: Kind::ALL.into_iter().filter_map(total).collect(),
        left: note.left.iter().filter_map(left).collect(),
        idempotency_keys: note.keys.0,
        idempotency_keys_left: note.keys.1,
    }
}

async fn blocking<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, MoveError> {
    joined(tokio::task::spawn_blocking(read)).await
}

async fn joined<T>(reading: JoinHandle<Result<T, StoreError>>) -> Result<T, MoveError> {
    match reading.await {
        Ok(read) => read.map_err(MoveError::Source),
        Err(error) => Err(MoveError::Source(StoreError::Unavailable(Box::new(error)))),
    }
}

/// Hears how far it has come.
pub type Watch<'w> = &'w mut (dyn FnMut(Progress) + Send);

impl Move {
    /// Where the target is, for people, without passwords.
    pub fn target(&self) -> &str {
        self.target.place()
    }

    /// Copies what is not in the target yet.
    ///
    /// # Errors
    /// [`MoveError`]. What was copied stays; the next time goes on from there.
    pub async fn copy(&self, watch: Watch<'_>) -> Result<(), MoveError> {
        for kind in Kind::ALL {
            self.copy_kind(kind, watch).await?;
        }
        Ok(())
    }

    async fn copy_kind(&self, kind: Kind, watch: Watch<'_>) -> Result<(), MoveError> {
        // What is small is copied again, and is there already.
        let reached = self.note.done(kind);
        let total = self.count(kind).await?;
        let (found, reading) = self.read(kind, reached.clone());
        let stored = stream::unfold(found, async |mut found| found.recv().await.map(|batch| (batch, found)))
            .map(async |batch: Vec<Found>| self.store(kind, batch).await)
            .buffered(IN_FLIGHT);
        let mut stored = std::pin::pin!(stored);
        let mut done = 0;
        if reached.is_some() {
            let (contents, reached) = (Arc::clone(&self.contents), reached.clone());
            done = blocking(move || contents.count_up_to(kind, reached.as_deref())).await?;
        }
        watch(Progress { phase: Phase::Copy, kind, done, total });
        while let Some((count, last)) = stored.try_next().await? {
            self.target.reached(kind, &last).await.map_err(FillError::from)?;
            done += count;
            watch(Progress { phase: Phase::Copy, kind, done, total });
        }
        joined(reading).await
    }

    async fn count(&self, kind: Kind) -> Result<u64, MoveError> {
        let contents = Arc::clone(&self.contents);
        blocking(move || contents.count(kind)).await
    }

    /// Reads all of a kind on a thread of its own, some batches ahead.
    fn read(
        &self,
        kind: Kind,
        after: Option<Vec<u8>>,
    ) -> (mpsc::Receiver<Vec<Found>>, JoinHandle<Result<(), StoreError>>) {
        let (found, batches) = mpsc::channel(AHEAD);
        let contents = Arc::clone(&self.contents);
        let reading = tokio::task::spawn_blocking(move || {
            let mut batch = Vec::with_capacity(BATCH);
            let mut open = true;
            contents.read(kind, after.as_deref(), &mut |one| {
                batch.push(one);
                if batch.len() == BATCH {
                    open = found.blocking_send(std::mem::replace(&mut batch, Vec::with_capacity(BATCH))).is_ok();
                }
                open
            })?;
            if !batch.is_empty() {
                // Nobody listens any more: whoever did has failed, and says why.
                let _ = found.blocking_send(batch);
            }
            Ok(())
        });
        (batches, reading)
    }

    /// Stores a batch; says how many there were, and the last one's key.
    async fn store(&self, kind: Kind, batch: Vec<Found>) -> Result<(u64, Vec<u8>), MoveError> {
        let count = batch.len() as u64;
        let last = batch.last().map(Found::key).unwrap_or_default();
        let mut holdings = Vec::with_capacity(batch.len());
        for found in batch {
            match found {
                Found::Whole(holding) => holdings.push(holding),
                Found::Unreadable { .. } if self.leave => {}
                Found::Unreadable { name, .. } => return Err(MoveError::Unreadable { kind, name }),
            }
        }
        let unfit = self.target.put(kind, holdings).await.map_err(FillError::from)?;
        match unfit.first() {
            Some(holding) if !self.leave => Err(MoveError::Unfit { kind, name: holding.name() }),
            _ => Ok((count, last)),
        }
    }

    /// Reads everything back and compares it with the source, one by one.
    ///
    /// # Errors
    /// [`MoveError::Differs`] and [`MoveError::Broken`] name the first that is not as it should be.
    pub async fn compare(&self, watch: Watch<'_>) -> Result<Compared, MoveError> {
        let mut compared = Compared { totals: Vec::new(), left: Vec::new(), keys: (0, 0) };
        for kind in Kind::ALL {
            self.compare_kind(kind, &mut compared, watch).await?;
        }
        let contents = Arc::clone(&self.contents);
        let keys = blocking(move || contents.count_keys()).await?;
        compared.keys.1 = keys.saturating_sub(compared.keys.0);
        Ok(compared)
    }

    async fn compare_kind(&self, kind: Kind, compared: &mut Compared, watch: Watch<'_>) -> Result<(), MoveError> {
        let total = self.count(kind).await?;
        let (mut found, reading) = self.read(kind, None);
        let mut theirs = self.target.holdings(kind).await.map_err(FillError::from)?;
        let mut hash = Sha256::new();
        let (mut count, mut done) = (0, 0);
        watch(Progress { phase: Phase::Compare, kind, done, total });
        let mut next = self.mirrored(kind, &mut theirs).await?;
        while let Some(batch) = found.recv().await {
            done += batch.len() as u64;
            for one in batch {
                let holding = match one {
                    Found::Whole(holding) => holding,
                    Found::Unreadable { name, .. } if self.leave => {
                        compared.left.push(Left { kind, name });
                        continue;
                    }
                    Found::Unreadable { name, .. } => return Err(MoveError::Unreadable { kind, name }),
                };
                let differs = |name, difference| Err(MoveError::Differs { kind, name, difference });
                let key = holding.key();
                match &next {
                    Some(other) if other.key() < key => return differs(other.name(), Difference::Extra),
                    Some(other) if other.key() == key => {
                        let digest = holding.digest();
                        if other.digest() != digest {
                            return differs(holding.name(), Difference::Other);
                        }
                        hash.update(digest);
                        count += 1;
                        compared.keys.0 += u64::from(holding.is_repeated());
                        next = self.mirrored(kind, &mut theirs).await?;
                    }
                    _ if self.leave && !Filling::fits(&holding) => {
                        compared.left.push(Left { kind, name: holding.name() });
                    }
                    _ => return differs(holding.name(), Difference::Missing),
                }
            }
            watch(Progress { phase: Phase::Compare, kind, done, total });
        }
        joined(reading).await?;
        if let Some(other) = next {
            return Err(MoveError::Differs { kind, name: other.name(), difference: Difference::Extra });
        }
        let sha256 = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        compared.totals.push(Total { kind, count, sha256 });
        Ok(())
    }

    /// What comes next from the target.
    async fn mirrored(
        &self,
        kind: Kind,
        theirs: &mut (impl stream::Stream<Item = Result<Mirrored, mongo::Fault>> + Unpin),
    ) -> Result<Option<Holding>, MoveError> {
        match theirs.try_next().await.map_err(FillError::from)? {
            None => Ok(None),
            Some(Mirrored::Whole(holding)) => Ok(Some(holding)),
            Some(Mirrored::Broken(name, why)) => Err(MoveError::Broken { kind, name, why }),
        }
    }

    /// Lets nodes use the target. Whoever calls this has seen to it that the source is not used again.
    ///
    /// # Errors
    /// [`MoveError`].
    pub async fn finish(mut self, compared: Compared, now: Timestamp) -> Result<Report, MoveError> {
        // One that was there before the note, and that was not heard of at the begin.
        self.target.alone().await?;
        let Compared { totals, left, keys } = compared;
        let total =
            |total: Total| (total.kind.name().to_owned(), mongo::Total { count: total.count, sha256: total.sha256 });
        self.note.totals = totals.into_iter().map(total).collect();
        let left = left.into_iter().map(|left| (left.kind.name().to_owned(), left.name)).collect();
        (self.note.left, self.note.keys, self.note.finished_at) = (left, keys, Some(now));
        self.target.finish(&self.note).await.map_err(FillError::from)?;
        Ok(report(&self.note))
    }
}
