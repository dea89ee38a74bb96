//! Which sessions are to be connected: of all processes the same.

use async_trait::async_trait;
use wotp_core::app::{App, OtherwiseWanted, Wanted};
use wotp_core::domain::Timestamp;
use wotp_core::ports::StoreError;

use crate::leases::{account, session};
use crate::listen::SessionId;

/// What is wanted of sessions, in the store that all processes share.
#[async_trait]
pub trait Wishes: Send + Sync {
    /// All of which something is wanted.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn all(&self) -> Result<Vec<(SessionId, Wanted)>, StoreError>;

    /// What is wanted of one; nothing where none is.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find(&self, session: SessionId) -> Result<Option<Wanted>, StoreError>;

    /// Waits until something else is wanted, as far as this process knows by itself; of which session it is.
    async fn changed(&self) -> OtherwiseWanted;

    /// When somebody else logged in with a session's keys, if that is what was told last of where it stands.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn replaced_at(&self, session: SessionId) -> Result<Option<Timestamp>, StoreError>;

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
        Ok(wanted.map(|(of, wanted)| (session(of), wanted)).collect())
    }

    async fn find(&self, session: SessionId) -> Result<Option<Wanted>, StoreError> {
        self.wanted_connection(account(session)).await
    }

    async fn changed(&self) -> OtherwiseWanted {
        self.wanted_connections_changed().await
    }

    async fn replaced_at(&self, session: SessionId) -> Result<Option<Timestamp>, StoreError> {
        self.connection_replaced_at(account(session)).await
    }

    async fn left(&self, session: SessionId) -> Result<(), StoreError> {
        self.live_connection_left(account(session)).await
    }
}
