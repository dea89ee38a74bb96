//! Which sessions are to be connected: of all processes the same.

use async_trait::async_trait;
use wotp_core::app::{App, Wanted};
use wotp_core::ports::StoreError;

use crate::leases::account;
use crate::listen::SessionId;

/// What is wanted of sessions, in the store that all processes share.
#[async_trait]
pub trait Wishes: Send + Sync {
    /// All of which something is wanted.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn all(&self) -> Result<Vec<(SessionId, Wanted)>, StoreError>;

    /// Waits until something else is wanted, as far as this process knows by itself.
    async fn changed(&self);

    /// A session that was to be logged out for good is: nothing is left of it.
    ///
    /// # Errors
    /// [`StoreError`]. It is still wanted then.
    async fn left(&self, session: SessionId) -> Result<(), StoreError>;
}

#[async_trait]
impl Wishes for App {
    async fn all(&self) -> Result<Vec<(SessionId, Wanted)>, StoreError> {
        let wanted = self.wanted_connections().await?.into_iter();
        Ok(wanted.map(|(of, wanted)| (SessionId { tenant: of.tenant, connection: of.connection }, wanted)).collect())
    }

    async fn changed(&self) {
        self.wanted_connections_changed().await;
    }

    async fn left(&self, session: SessionId) -> Result<(), StoreError> {
        self.live_connection_left(account(session)).await
    }
}
