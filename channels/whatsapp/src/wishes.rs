//! Which sessions are to be connected: of all processes the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use wotp_core::domain::live_connection::LiveConnection;
use wotp_core::ports::{Change, Clock, CommitError, Entities, Entity as _, StoreError, Stored};

use crate::listen::SessionId;

/// What is wanted of sessions, in the store that all processes share.
pub struct Wishes {
    store: Arc<dyn Entities>,
    clock: Arc<dyn Clock>,
}

impl Wishes {
    /// Those in this store.
    pub fn new(store: Arc<dyn Entities>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// All that are to be connected.
    pub(crate) async fn wanted(&self) -> Result<BTreeSet<SessionId>, StoreError> {
        let rows = self.store.list_entities(LiveConnection::KIND, &LiveConnection::all_wanted()).await?;
        let mut wanted = BTreeSet::new();
        for row in rows {
            match Stored::<LiveConnection>::read(row) {
                Ok(wish) => _ = wanted.insert(SessionId { tenant: wish.tenant, connection: wish.id }),
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "whether a WhatsApp session is wanted cannot be read; it is passed over");
                }
            }
        }
        Ok(wanted)
    }

    /// Says whether a session is to be connected.
    pub(crate) async fn want(&self, session: SessionId, wanted: bool) -> Result<(), StoreError> {
        let SessionId { tenant, connection: id } = session;
        let wish = LiveConnection { id, tenant, wanted, changed_at: self.clock.now() };
        match self.store.commit(vec![Change::put(&wish)]).await {
            Ok(()) => Ok(()),
            Err(CommitError::Store(error)) => Err(error),
            // Nothing was read for it, and no other has its place.
            Err(error @ (CommitError::Changed | CommitError::Taken { .. })) => {
                Err(StoreError::Unavailable(error.into()))
            }
        }
    }
}
