//! What the client of one linked account must remember, kept as the memory of its connection: sealed, durable before a
//! call returns, and refused once another node keeps the connection.
//!
//! The client reads nearly everything once and holds it in memory. What it writes comes in batches, and a batch is one
//! write of the store.

mod aged;
mod app_sync;
mod device;
mod kind;
mod msg_secrets;
mod protocol;
mod sent;
mod signal;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::{Mutex, Notify};
use wacore::store::error::{Result, StoreError};
use wotp_core::app::{ConnectionMemory, Memories, Memory, MemoryError};
use wotp_core::domain::vault::StateName;
use zeroize::Zeroizing;

use self::aged::Aged;
use self::kind::Kind;

/// The memory of one linked account, as its client wants it.
pub(crate) struct State {
    memory: Arc<ConnectionMemory>,
    /// Held while something is read to be changed, and while what may be so is written.
    changing: Mutex<()>,
    sent: Mutex<Aged>,
    inbound: Mutex<Aged>,
    secrets: Mutex<Aged>,
    /// What was sent through us.
    out: Mutex<Aged>,
    /// How often in a row the device was not saved.
    unsaved: AtomicU32,
    failing: Notify,
}

/// After so many the client's own saver is about to end, unseen: it does after ten.
const UNSAVED_MAX: u32 = 3;

impl State {
    /// Over what a connection remembers. Of one lease there is one: what it knows of the age of things it knows alone.
    pub(crate) fn new(memory: Arc<ConnectionMemory>) -> Self {
        Self {
            memory,
            changing: Mutex::default(),
            sent: Mutex::new(Aged::of(Kind::SentMessage)),
            inbound: Mutex::new(Aged::of(Kind::PendingInbound)),
            secrets: Mutex::new(Aged::of(Kind::MsgSecret)),
            out: Mutex::new(Aged::of(Kind::Sent)),
            unsaved: AtomicU32::new(0),
            failing: Notify::new(),
        }
    }

    /// What was noted last under a name, for the channel itself.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub(crate) async fn read_note(&self, name: &str) -> std::result::Result<Option<Vec<u8>>, MemoryError> {
        Ok(self.memory.find(Kind::Note.named(name)).await?.map(|value| value.to_vec()))
    }

    /// Notes things, each in the place of what was there, all together.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub(crate) async fn write_notes<'a>(
        &self,
        notes: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> std::result::Result<(), MemoryError> {
        let keep = notes.into_iter().map(|(name, value)| Memory::Keep(Kind::Note.named(name), value));
        self.memory.change(&keep.collect::<Vec<_>>()).await
    }

    /// Waits until a write is refused, because another process has the connection.
    pub(crate) async fn lost(&self) {
        self.memory.lost().await;
    }

    /// Waits until the device could not be saved so often that the client is about to give it up.
    pub(crate) async fn fails(&self) {
        self.failing.notified().await;
    }

    fn saved(&self, saved: &Result<()>) {
        if saved.is_ok() {
            self.unsaved.store(0, Ordering::SeqCst);
        } else if self.unsaved.fetch_add(1, Ordering::SeqCst) + 1 == UNSAVED_MAX {
            self.failing.notify_one();
        }
    }

    /// Forgets everything but this note, and where the session stands.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub(crate) async fn forget_all_but(&self, note: &str) -> std::result::Result<(), MemoryError> {
        self.memory.forget_all_but(&[Kind::Note.named(note)]).await
    }

    async fn find(&self, name: StateName<'_>) -> Result<Option<Zeroizing<Vec<u8>>>> {
        self.memory.find(name).await.map_err(failed)
    }

    async fn find_whole<T: DeserializeOwned>(&self, name: StateName<'_>) -> Result<Option<T>> {
        self.find(name).await?.map(|value| whole(&value)).transpose()
    }

    async fn list(&self, which: Memories<'_>) -> Result<Vec<wotp_core::domain::vault::OpenedState>> {
        self.memory.list(which).await.map_err(failed)
    }

    async fn change(&self, changes: &[Memory<'_>]) -> Result<()> {
        self.memory.change(changes).await.map_err(failed)
    }

    async fn keep(&self, name: StateName<'_>, value: &[u8]) -> Result<()> {
        self.change(&[Memory::Keep(name, value)]).await
    }

    async fn keep_whole(&self, name: StateName<'_>, value: &impl Serialize) -> Result<()> {
        self.keep(name, &bytes(value)?).await
    }

    async fn forget(&self, name: StateName<'_>) -> Result<()> {
        self.change(&[Memory::Forget(name)]).await
    }

    /// Forgets all that is listed so.
    async fn forget_listed(&self, which: Memories<'_>) -> Result<()> {
        let found = self.list(which).await?;
        let forget =
            found.iter().map(|one| Memory::Forget(StateName { kind: one.kind, group: &one.group, name: &one.name }));
        self.change(&forget.collect::<Vec<_>>()).await
    }
}

pub(crate) fn failed(error: MemoryError) -> StoreError {
    match error {
        MemoryError::Sealed(error) => StoreError::Serialization(error.into()),
        error @ (MemoryError::Lost | MemoryError::Store(_)) => StoreError::Database(error.into()),
    }
}

fn bytes(value: &impl Serialize) -> Result<Zeroizing<Vec<u8>>> {
    serde_json::to_vec(value).map(Zeroizing::new).map_err(|error| StoreError::Serialization(error.into()))
}

fn whole<T: DeserializeOwned>(value: &[u8]) -> Result<T> {
    serde_json::from_slice(value).map_err(|error| StoreError::Serialization(error.into()))
}

/// A number of eight bytes at the front of a value, and the rest of it.
fn number_first(value: &[u8]) -> Result<(i64, &[u8])> {
    let (number, rest) = value.split_first_chunk().ok_or_else(cut_off)?;
    Ok((i64::from_be_bytes(*number), rest))
}

fn cut_off() -> StoreError {
    StoreError::Validation("a stored value is cut off".to_owned())
}

fn text(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| StoreError::Serialization(error.into()))
}
