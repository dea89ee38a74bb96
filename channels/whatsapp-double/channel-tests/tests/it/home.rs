//! A real store, which processes share and each may lose sight of.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use jiff::SignedDuration;
use serde_json::Value;
use tempfile::TempDir;
use wotp_channel_whatsapp::{Keys, SessionId};
use wotp_core::app::{ConnectionMemory, Memory, MemoryError};
use wotp_core::domain::Timestamp;
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::id::{NodeId, TenantId};
use wotp_core::domain::tenant::Tenant;
use wotp_core::domain::vault::StateName;
use wotp_core::ports::{
    Clock, ConnectionStates, StateChange, StateError, StateKey, StateRange, StateRow, Store as _, StoreError,
    TenantAccount,
};
use wotp_core::testing::SeededEntropy;
use wotp_core::testing::builders::{a_service, a_tenant, vault};
use wotp_store::sqlite::{OpenOptions, SqliteStore};

/// The device that a client is, among what it remembers.
const DEVICE: StateName<'static> = StateName { kind: 20, group: &[], name: &[] };

fn copy(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// Where a store is.
pub struct Home {
    folder: TempDir,
}

/// Opens the store in a folder.
pub fn open(folder: &Path) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(folder.join("wotp.db"), OpenOptions::default()).unwrap())
}

impl Home {
    /// One with this tenant in it.
    pub async fn of(tenant: TenantId) -> (Arc<Self>, Arc<SqliteStore>) {
        let home = Arc::new(Self { folder: TempDir::new().unwrap() });
        let store = home.open();
        let tenant = Tenant { id: tenant, ..a_tenant() };
        store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
        (home, store)
    }

    /// What is stored now. Nobody may be writing.
    pub fn keep(&self) -> TempDir {
        let kept = TempDir::new().unwrap();
        copy(self.folder(), kept.path());
        kept
    }

    /// Puts back what was stored. Nobody may have it open.
    pub fn put_back(&self, kept: &TempDir) {
        for file in std::fs::read_dir(self.folder()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        copy(kept.path(), self.folder());
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Opens the store: all that had it open before are gone.
    pub fn open(&self) -> Arc<SqliteStore> {
        open(self.folder())
    }
}

/// The store as one process reaches it.
pub struct Reach {
    pub store: Arc<SqliteStore>,
    pub away: AtomicBool,
    /// What sessions remember is not read, though all else is answered.
    pub unreadable: AtomicBool,
    clock: Arc<dyn Clock>,
}

pub fn account(session: SessionId) -> TenantAccount {
    TenantAccount { tenant: session.tenant, connection: session.connection }
}

/// The `nth` process.
pub fn node(nth: u8) -> NodeId {
    NodeId::from_bytes([nth; 16])
}

impl Reach {
    pub fn new(store: Arc<SqliteStore>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { store, away: AtomicBool::new(false), unreadable: AtomicBool::new(false), clock })
    }

    fn reach(&self) -> Result<&SqliteStore, StoreError> {
        match self.away.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("a test took it away".into())),
            false => Ok(&self.store),
        }
    }

    fn read(&self) -> Result<&SqliteStore, StoreError> {
        match self.unreadable.load(Ordering::SeqCst) {
            true => Err(StoreError::Unavailable("a test made it unreadable".into())),
            false => self.reach(),
        }
    }

    /// Whether keys of a session are kept.
    pub async fn has(&self, session: SessionId) -> bool {
        let of = account(session);
        let key = vault().of_connection(of).key(DEVICE);
        self.store.read_state(of, &[key]).await.unwrap()[0].is_some()
    }

    pub async fn lease(&self, session: SessionId) -> ConnectionLease {
        self.store.find_connection_lease(account(session)).await.unwrap().unwrap()
    }

    /// Gives a session to a process that has not asked for it, for a minute, as if the one that had it had been away for
    /// long.
    pub async fn give_to(&self, session: SessionId, nth: u8) {
        let (lease, now) = (self.lease(session).await, self.clock.now());
        let until = now + SignedDuration::from_secs(60);
        self.store.hand_over_connection(&lease, node(nth), now, until).await.unwrap().unwrap();
    }
}

/// What sessions remember, in the store as a process reaches it.
pub struct KeysIn(pub Arc<Reach>);

#[async_trait]
impl Keys for KeysIn {
    async fn open(&self, lease: &ConnectionLease) -> Result<ConnectionMemory, MemoryError> {
        let (store, entropy) = (Arc::clone(&self.0), Arc::new(SeededEntropy::new(lease.fence)));
        let memory = ConnectionMemory::open(store, vault(), entropy, lease.clone()).await?;
        name(&memory).await?;
        Ok(memory)
    }
}

/// Gives a linked account its name, as WhatsApp's settings do, which the double does not have: a client that is started
/// again on an account without one waits 10 s for it.
async fn name(memory: &ConnectionMemory) -> Result<(), MemoryError> {
    let Some(device) = memory.find(DEVICE).await? else { return Ok(()) };
    let mut device: Value = serde_json::from_slice(&device).unwrap();
    if !device["pn"].is_null() && device["push_name"] == "" {
        device["push_name"] = "Acme".into();
        memory.change(&[Memory::Keep(DEVICE, &serde_json::to_vec(&device).unwrap())]).await?;
    }
    Ok(())
}

#[async_trait]
impl ConnectionStates for Reach {
    async fn take_connection(
        &self,
        of: TenantAccount,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ConnectionLease>, StoreError> {
        self.reach()?.take_connection(of, holder, now, until).await
    }

    async fn prolong_connections(
        &self,
        leases: &[ConnectionLease],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError> {
        self.reach()?.prolong_connections(leases, now, until).await
    }

    async fn release_connection(&self, lease: &ConnectionLease, now: Timestamp) -> Result<(), StoreError> {
        self.reach()?.release_connection(lease, now).await
    }

    async fn hand_over_connection(
        &self,
        lease: &ConnectionLease,
        to: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ConnectionLease>, StoreError> {
        self.reach()?.hand_over_connection(lease, to, now, until).await
    }

    async fn find_connection_lease(&self, of: TenantAccount) -> Result<Option<ConnectionLease>, StoreError> {
        self.reach()?.find_connection_lease(of).await
    }

    async fn connection_leases(&self) -> Result<Vec<ConnectionLease>, StoreError> {
        self.reach()?.connection_leases().await
    }

    async fn read_state(&self, of: TenantAccount, keys: &[StateKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.read()?.read_state(of, keys).await
    }

    async fn list_state(
        &self,
        of: TenantAccount,
        range: StateRange,
        after: Option<StateKey>,
        limit: usize,
    ) -> Result<Vec<StateRow>, StoreError> {
        self.read()?.list_state(of, range, after, limit).await
    }

    async fn write_state(&self, lease: &ConnectionLease, changes: Vec<StateChange>) -> Result<(), StateError> {
        self.reach()?.write_state(lease, changes).await
    }

    async fn erase_state(&self, of: TenantAccount, limit: usize) -> Result<bool, StoreError> {
        self.reach()?.erase_state(of, limit).await
    }
}
