//! Connections that are to be gone, and whose phones are to be told before.

use jiff::SignedDuration;

use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::erasure::Erasure;
use crate::domain::live_connection::{LiveConnection, Wish};
use crate::ports::{Change, EntityList, Owner, TenantAccount};

/// How long the erasure of a tenant waits for nodes to take its connections off their phones. A node does within seconds
/// where WhatsApp answers, and gives up by itself where it does not; one that is short of time has some.
const PHONES_TOLD_WITHIN: SignedDuration = SignedDuration::from_mins(10);

impl App {
    /// Erases connections that no node has logged out in time, as where their channel is switched off: their keys are worth
    /// more to whoever steals them than to a phone that shows them for some weeks. Says how many.
    pub(in crate::app) async fn erase_left_connections(&self, limit: usize) -> Result<usize, Refusal> {
        let mut erased = 0;
        for found in self.due::<LiveConnection>(limit).await? {
            let of = TenantAccount { tenant: found.tenant, connection: found.id };
            match self.live_connection_left(of).await {
                Ok(()) => {
                    erased += 1;
                    tracing::warn!(connection = %of.connection, "a connection is erased that no node logged out: its phone is not told");
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(connection = %of.connection, error, "a connection that is to be gone is not erased yet");
                }
            }
        }
        Ok(erased)
    }

    /// Whether the erasure of a tenant, which has begun, has to wait for its connections to be taken off their phones. Has
    /// them taken off: those too that are not logged in.
    pub(in crate::app) async fn waits_for_phones(&self, erasure: &Erasure) -> Result<bool, Refusal> {
        let now = self.now();
        let began_at = erasure.began_at.unwrap_or(now);
        let until = began_at.saturating_add(PHONES_TOLD_WITHIN).unwrap_or(Timestamp::MAX);
        if until <= now || !self.ports.channels.iter().any(|channel| channel.keeps_accounts()) {
            return Ok(false);
        }
        let list = EntityList::of(Owner::Tenant(erasure.tenant));
        let mut connections = self.list_readable::<LiveConnection>(&list).await?.things;
        connections.retain(|connection| self.keeps_accounts(&connection.channel));
        let mut changes = Vec::new();
        for connection in connections.iter_mut().filter(|connection| connection.wish != Wish::Leave) {
            connection.wish = Wish::Leave;
            connection.updated_at = now;
            changes.push(Change::replace(connection));
        }
        if !changes.is_empty() {
            self.ports.store.commit(changes).await?;
            self.changed(erasure.tenant).await;
            self.live_connections.wishes.tell(None);
        }
        Ok(!connections.is_empty())
    }
}
