//! What is wanted of sessions, as the platform has it in its store; and sessions that do it.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Notify;
use wotp_channel_whatsapp::{KeepError, Session, SessionId, Sessions, Wishes};
use wotp_core::app::{OtherwiseWanted, Wanted, WantedConnect, erase_connection_memory};
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::ConnectionId;
use wotp_core::domain::live_connection::{Connect, LiveConnection, Wish};
use wotp_core::ports::{
    Change, Clock, ConnectionStates as _, Entities as _, Entity as _, Owner, StoreError, Stored, TenantAccount,
};
use wotp_store::sqlite::SqliteStore;

use crate::tenant::{RealTime, within};

/// Those in a store.
pub struct WishesIn {
    store: Arc<SqliteStore>,
    clock: Arc<RealTime>,
    changed: Notify,
}

impl WishesIn {
    pub fn new(store: Arc<SqliteStore>, clock: Arc<RealTime>) -> Arc<Self> {
        Arc::new(Self { store, clock, changed: Notify::new() })
    }

    /// As a call of the tenant does. When it was asked for.
    pub async fn want(&self, session: SessionId, connect: bool) -> Timestamp {
        let asked_at = self.clock.now();
        let wish = if connect { Wish::Connect(Connect { asked_at, code_for: None }) } else { Wish::Rest };
        self.wish(session, wish).await;
        asked_at
    }

    /// As a call of the tenant does.
    pub async fn wish(&self, session: SessionId, wish: Wish) {
        let now = self.clock.now();
        let connection = LiveConnection {
            id: session.connection,
            tenant: session.tenant,
            channel: "whatsapp".to_owned(),
            name: "a number".to_owned(),
            wish,
            auto_reply: None,
            risk_accepted_at: Some(now),
            code_asked_at: None,
            created_at: now,
            updated_at: now,
        };
        self.store.commit(vec![Change::put(&connection)]).await.unwrap();
        self.changed.notify_one();
    }

    /// Of which sessions anything is known.
    pub async fn known(&self, session: SessionId) -> bool {
        let owner = Owner::Tenant(session.tenant);
        let row = self.store.find_entity(LiveConnection::KIND, owner, session.connection.to_bytes()).await;
        row.unwrap().is_some()
    }
}

#[async_trait]
impl Wishes for WishesIn {
    async fn all(&self) -> Result<Vec<(SessionId, Wanted)>, StoreError> {
        let rows = self.store.list_entities(LiveConnection::KIND, &LiveConnection::all_wanted()).await?;
        let wanted = rows.into_iter().map(|row| {
            let LiveConnection { id, tenant, wish, .. } = Stored::<LiveConnection>::read(row).unwrap().entity;
            let wanted = match wish {
                Wish::Leave => Wanted::Leave,
                Wish::Connect(connect) => {
                    Wanted::Connect(WantedConnect { asked_at: Some(connect.asked_at), code_for: None })
                }
                Wish::Rest => unreachable!("nothing is wanted of it"),
            };
            (SessionId { tenant, connection: id }, wanted)
        });
        Ok(wanted.collect())
    }

    async fn find(&self, session: SessionId) -> Result<Option<Wanted>, StoreError> {
        Ok(self.all().await?.into_iter().find(|(id, _)| *id == session).map(|(_, wanted)| wanted))
    }

    async fn changed(&self) -> OtherwiseWanted {
        self.changed.notified().await;
        OtherwiseWanted::Any
    }

    /// Nothing is told here of where sessions stood.
    async fn replaced_at(&self, _: SessionId) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn left(&self, SessionId { tenant, connection }: SessionId) -> Result<(), StoreError> {
        erase_connection_memory(&*self.store, TenantAccount { tenant, connection }).await?;
        let id: ConnectionId = connection;
        let row = self.store.find_entity(LiveConnection::KIND, Owner::Tenant(tenant), id.to_bytes()).await?;
        let found = Stored::<LiveConnection>::read(row.expect("it is there"))?;
        self.store.commit(vec![Change::delete(&found)]).await.unwrap();
        Ok(())
    }
}

/// The sessions of a process, and a tenant who calls it.
pub struct Kept {
    pub sessions: Arc<Sessions>,
    pub wishes: Arc<WishesIn>,
}

impl Deref for Kept {
    type Target = Arc<Sessions>;

    fn deref(&self) -> &Arc<Sessions> {
        &self.sessions
    }
}

impl Kept {
    /// The tenant has a session connect.
    pub async fn start(&self, id: SessionId) -> Result<Arc<Session>, KeepError> {
        let asked_at = Some(self.wishes.want(id, true).await);
        self.sessions.follow(id, &Wanted::Connect(WantedConnect { asked_at, code_for: None })).await?;
        Ok(within("it is kept", async {
            loop {
                match self.sessions.find(id) {
                    Some(session) => return session,
                    None => tokio::task::yield_now().await,
                }
            }
        })
        .await)
    }

    /// The tenant has it disconnect; whoever kept it has let it go.
    pub async fn disconnect(&self, id: SessionId) {
        self.wishes.want(id, false).await;
        let of = TenantAccount { tenant: id.tenant, connection: id.connection };
        within("it is let go", async {
            loop {
                let lease = self.wishes.store.find_connection_lease(of).await.unwrap();
                if lease.is_none_or(|lease| !lease.is_in_force(self.wishes.clock.now())) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// It is taken off its phone, and stays.
    pub async fn log_out(&self, id: SessionId) -> Result<bool, KeepError> {
        self.wishes.want(id, false).await;
        self.sessions.log_out(id).await
    }

    /// The tenant deletes it; nothing is left of it.
    pub async fn delete(&self, ids: &BTreeSet<SessionId>) {
        for id in ids {
            self.wishes.wish(*id, Wish::Leave).await;
        }
        for id in ids {
            within("it is gone", async {
                while self.wishes.known(*id).await {
                    tokio::task::yield_now().await;
                }
            })
            .await;
        }
    }
}
