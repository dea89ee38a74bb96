//! What a live connection remembers, for the node that keeps it: sealed at rest, and refused once another keeps it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use zeroize::Zeroizing;

use super::App;
use crate::domain::connection_lease::ConnectionLease;
use crate::domain::live_connection::Standing;
use crate::domain::vault::{OpenedState, StateName, StateVault, Vault, VaultError};
use crate::ports::{
    ConnectionStates, Entropy, StateChange, StateError, StateKey, StateRange, StateRow, StoreError, TenantAccount,
};

/// Values that are read together.
const PAGE: usize = 500;

/// Why something is not remembered, or not found.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// Another node keeps the connection, or it was erased: stop at once. Nothing was changed.
    #[error("another node keeps the connection")]
    Lost,
    /// What is stored does not open.
    #[error(transparent)]
    Sealed(#[from] VaultError),
    /// The store could not do it. What was to be changed may be so all the same.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<StateError> for MemoryError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Fenced => Self::Lost,
            StateError::Store(error) => Self::Store(error),
        }
    }
}

/// One of the changes that are made together.
#[derive(Clone, Copy)]
pub enum Memory<'a> {
    /// This is remembered from now on, whatever was before.
    Keep(StateName<'a>, &'a [u8]),
    /// Nothing is remembered under this name any more.
    Forget(StateName<'a>),
}

/// Which memories are listed.
#[derive(Clone, Copy)]
pub enum Memories<'a> {
    /// All of a kind.
    Kind(u8),
    /// All of a group of a kind.
    Group(u8, &'a [u8]),
}

/// What one connection remembers, under one lease.
///
/// A change that returned is durable. Changes are all or nothing, and made in the order in which they were asked for.
pub struct ConnectionMemory {
    store: Arc<dyn ConnectionStates>,
    vault: StateVault,
    entropy: Arc<dyn Entropy>,
    lease: ConnectionLease,
    lost: Lost,
}

/// Whether the connection was lost, and who waits for that.
#[derive(Default)]
struct Lost {
    is: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Lost {
    fn tell(&self) {
        self.is.store(true, Ordering::SeqCst);
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().for_each(Waker::wake);
    }

    async fn wait(&self) {
        std::future::poll_fn(|context| {
            let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
            // Under the lock: whoever tells takes those that wait after it has said so.
            if self.is.load(Ordering::SeqCst) {
                return Poll::Ready(());
            }
            if !wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl App {
    /// What a connection remembers, for a node that has taken it. See [`ConnectionMemory::open`].
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn connection_memory(&self, lease: ConnectionLease) -> Result<ConnectionMemory, MemoryError> {
        let store = Arc::clone(&self.ports.store);
        ConnectionMemory::open(store, &self.ports.vault, Arc::clone(&self.ports.entropy), lease).await
    }
}

impl ConnectionMemory {
    /// Opens it, and seals with the newest master key what was sealed with an older one. Of one lease it is opened
    /// once: what is sealed anew must not be what somebody changes at that moment.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn open(
        store: Arc<dyn ConnectionStates>,
        vault: &Vault,
        entropy: Arc<dyn Entropy>,
        lease: ConnectionLease,
    ) -> Result<Self, MemoryError> {
        let vault = vault.of_connection(lease.of);
        let memory = Self { store, vault, entropy, lease, lost: Lost::default() };
        if !memory.vault.has_one_key() {
            memory.seal_anew().await?;
        }
        Ok(memory)
    }

    /// Whose memory it is.
    pub fn account(&self) -> TenantAccount {
        self.lease.of
    }

    /// The lease under which it is kept, as it was when it was taken: it may have been prolonged since.
    pub fn lease(&self) -> &ConnectionLease {
        &self.lease
    }

    /// Whether a change was refused since another node keeps the connection. Where it was not, that may be so all the
    /// same.
    pub fn is_lost(&self) -> bool {
        self.lost.is.load(Ordering::SeqCst)
    }

    /// Waits until a change is refused since another node keeps the connection.
    pub async fn lost(&self) {
        self.lost.wait().await;
    }

    /// What is remembered under a name.
    ///
    /// # Errors
    /// [`MemoryError`], never [`MemoryError::Lost`].
    pub async fn find(&self, name: StateName<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, MemoryError> {
        Ok(self.find_all(&[name]).await?.pop().flatten())
    }

    /// What is remembered under each of these names, in their order.
    ///
    /// # Errors
    /// [`MemoryError`], never [`MemoryError::Lost`].
    pub async fn find_all(&self, names: &[StateName<'_>]) -> Result<Vec<Option<Zeroizing<Vec<u8>>>>, MemoryError> {
        let keys: Vec<StateKey> = names.iter().map(|name| self.vault.key(*name)).collect();
        let found = self.store.read_state(self.lease.of, &keys).await?;
        let open = |(key, value): (StateKey, Option<Vec<u8>>)| {
            let opened = value.map(|value| self.vault.open(&StateRow { key, value })).transpose()?;
            Ok(opened.map(|opened| opened.value))
        };
        keys.into_iter().zip(found).map(open).collect()
    }

    /// All that is remembered of a kind or a group, in no order. What does not open is left out, with a line in the
    /// log: it keeps nothing else from being found.
    ///
    /// # Errors
    /// [`MemoryError::Store`].
    pub async fn list(&self, which: Memories<'_>) -> Result<Vec<OpenedState>, MemoryError> {
        let range = match which {
            Memories::Kind(kind) => StateRange::Kind(kind),
            Memories::Group(kind, group) => StateRange::Group(kind, self.vault.group(kind, group)),
        };
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let rows = self.store.list_state(self.lease.of, range, after, PAGE).await?;
            found.extend(rows.iter().filter_map(|row| self.readable(row)));
            after = rows.last().map(|row| row.key);
            if rows.len() < PAGE {
                return Ok(found);
            }
        }
    }

    fn readable(&self, row: &StateRow) -> Option<OpenedState> {
        let opened = self.vault.open(row);
        if let Err(error) = &opened {
            let (connection, kind) = (self.lease.of.connection, row.key.kind);
            tracing::error!(%connection, kind, %error, "a value that a connection remembers cannot be read");
        }
        opened.ok()
    }

    /// Makes all of these changes, or none, one after another.
    ///
    /// # Errors
    /// [`MemoryError`].
    pub async fn change(&self, changes: &[Memory<'_>]) -> Result<(), MemoryError> {
        let sealed = |change: &Memory<'_>| match change {
            Memory::Keep(name, value) => StateChange::Put(self.vault.seal(*name, value, &*self.entropy)),
            Memory::Forget(name) => StateChange::Delete(self.vault.key(*name)),
        };
        if changes.is_empty() {
            return Ok(());
        }
        self.write(changes.iter().map(sealed).collect()).await
    }

    async fn write(&self, changes: Vec<StateChange>) -> Result<(), MemoryError> {
        // The store would say the same: another node has it for good, as far as this lease goes.
        if self.is_lost() {
            return Err(MemoryError::Lost);
        }
        let written = self.store.write_state(&self.lease, changes).await;
        if matches!(written, Err(StateError::Fenced)) {
            self.lost.tell();
        }
        Ok(written?)
    }

    /// Forgets everything but what has one of these names, and where the connection stands, as when its account was
    /// unlinked.
    ///
    /// # Errors
    /// [`MemoryError`]. A part may be forgotten all the same.
    pub async fn forget_all_but(&self, kept: &[StateName<'_>]) -> Result<(), MemoryError> {
        // Were it erased and told anew, nobody would know where it stands if the node dies in between.
        let kept: Vec<StateKey> = kept.iter().chain([&Standing::NAME]).map(|name| self.vault.key(*name)).collect();
        let mut after = None;
        loop {
            let rows = self.store.list_state(self.lease.of, StateRange::All, after, PAGE).await?;
            let forgotten = rows.iter().map(|row| row.key).filter(|key| !kept.contains(key));
            self.write(forgotten.map(StateChange::Delete).collect()).await?;
            after = rows.last().map(|row| row.key);
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }

    async fn seal_anew(&self) -> Result<(), MemoryError> {
        let mut after = None;
        loop {
            let rows = self.store.list_state(self.lease.of, StateRange::All, after, PAGE).await?;
            let older = rows.iter().filter(|row| !self.vault.is_newest(row));
            let opened = older.filter_map(|row| self.readable(row));
            let sealed = opened.map(|OpenedState { kind, group, name, value }| {
                let name = StateName { kind, group: &group, name: &name };
                StateChange::Put(self.vault.seal(name, &value, &*self.entropy))
            });
            let changes: Vec<StateChange> = sealed.collect();
            if !changes.is_empty() {
                self.write(changes).await?;
            }
            after = rows.last().map(|row| row.key);
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// Erases what a connection that is gone remembers, so that nothing is left of it and nobody keeps it any more.
///
/// # Errors
/// [`StoreError`]. A part may be erased all the same; erasing it again goes on.
pub async fn erase_connection_memory(store: &dyn ConnectionStates, of: TenantAccount) -> Result<(), StoreError> {
    while !store.erase_state(of, PAGE).await? {}
    Ok(())
}
