//! Which process keeps which sessions.

use std::sync::Arc;

use async_trait::async_trait;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::NodeId;
use wotp_core::domain::lease::Lease;
use wotp_core::ports::{Clock, Store};

use crate::listen::SessionId;

/// Nobody says which process keeps a session.
#[derive(Debug, thiserror::Error)]
#[error("nobody says which process keeps a session")]
pub struct LeasesError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The leases of sessions: at any moment one process has one.
#[async_trait]
pub trait Leases: Send + Sync {
    /// Takes the lease of a session until then, or prolongs it; none while another process has it.
    ///
    /// # Errors
    /// [`LeasesError`].
    async fn take(&self, session: SessionId, until: Timestamp) -> Result<Option<Lease>, LeasesError>;

    /// Gives it back, so that another process need not wait for its end.
    ///
    /// # Errors
    /// [`LeasesError`].
    async fn give_back(&self, lease: &Lease) -> Result<(), LeasesError>;
}

/// Leases in the store that all nodes share.
pub struct StoreLeases {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    node: NodeId,
}

impl StoreLeases {
    /// Those that `node` takes.
    pub fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, node: NodeId) -> Self {
        Self { store, clock, node }
    }
}

#[async_trait]
impl Leases for StoreLeases {
    async fn take(&self, session: SessionId, until: Timestamp) -> Result<Option<Lease>, LeasesError> {
        let name = format!("whatsapp/{}", session.connection);
        let taken = self.store.take_lease(&name, self.node, self.clock.now(), until).await;
        taken.map_err(|error| LeasesError(error.into()))
    }

    async fn give_back(&self, lease: &Lease) -> Result<(), LeasesError> {
        let given = self.store.release_lease(lease, self.clock.now()).await;
        given.map_err(|error| LeasesError(error.into()))
    }
}
