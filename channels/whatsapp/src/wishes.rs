//! Which sessions are to be connected: of all processes the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use wotp_core::domain::id::ConnectionId;
use wotp_core::domain::live_connection::LiveConnection;
use wotp_core::ports::{Change, Clock, CommitError, Entities, Entity as _, EntityRow, Owner, StoreError};

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

    /// All that are to be connected: those that are listed as such, whatever else a newer program wrote of them.
    pub(crate) async fn wanted(&self) -> Result<BTreeSet<SessionId>, StoreError> {
        let rows = self.store.list_entities(LiveConnection::KIND, &LiveConnection::all_wanted()).await?;
        let session = |row: EntityRow| match row.owner {
            Owner::Tenant(tenant) => Some(SessionId { tenant, connection: ConnectionId::from_bytes(row.id) }),
            Owner::Platform => None,
        };
        Ok(rows.into_iter().filter_map(session).collect())
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

#[cfg(test)]
mod tests {
    use wotp_core::ports::Store as _;
    use wotp_core::testing::ManualClock;
    use wotp_core::testing::builders::{a_service, a_tenant};
    use wotp_store::sqlite::{OpenOptions, SqliteStore};

    use super::*;

    #[tokio::test]
    async fn what_is_wanted_is_the_same_for_all_also_where_it_cannot_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(SqliteStore::open(folder.path().join("wotp.db"), OpenOptions::default()).unwrap());
        let tenant = a_tenant();
        store.create_tenant(&tenant, &a_service(&tenant), &[]).await.unwrap();
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z"));
        let process = || Wishes::new(store.clone(), clock.clone());
        let session = |nth| SessionId { tenant: tenant.id, connection: ConnectionId::from_bytes([nth; 16]) };
        for nth in [1, 2, 3] {
            process().want(session(nth), true).await.unwrap();
        }
        process().want(session(2), false).await.unwrap();
        // One that a newer program wrote, in a way that this one does not know.
        let newer =
            LiveConnection { id: session(3).connection, tenant: tenant.id, wanted: true, changed_at: clock.now() };
        let Change::Put(mut row) = Change::put(&newer) else { panic!("it is put") };
        row.doc.remove("changed_at");
        store.commit(vec![Change::Put(row)]).await.unwrap();
        assert_eq!(process().wanted().await.unwrap(), [session(1), session(3)].into());
    }
}
