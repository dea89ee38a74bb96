//! The connections that messages go out through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;

use super::ConnectionSeen;
use crate::app::cache::Cache;
use crate::app::plugins::{Installed, Running, said};
use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::connection::{Connection, HOOK};
use crate::domain::id::{ConnectionId, TenantId};
use crate::domain::plugin::Connecting;
use crate::ports::{Channel, Entity as _, EntityList, IndexKey, Owner, Stored};

/// Channels that are kept; then it begins anew.
const KEPT_MAX: usize = 10_000;
/// How long one that its plugin did not take is not tried again.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(30);

/// A tenant's own channel, as it was made.
struct Made {
    connection: Connection,
    running: Arc<Running>,
    made_at: Timestamp,
    /// It, or what is wrong with it.
    channel: Result<Arc<dyn Channel>, String>,
}

/// What of connections is kept in memory.
#[derive(Default)]
pub(in crate::app) struct State {
    lists: Cache<TenantId, Arc<Vec<Connection>>>,
    made: Mutex<HashMap<ConnectionId, Made>>,
}

impl State {
    /// Forgets the connections of a tenant; of all, where none is named.
    pub(in crate::app) fn forget(&self, tenant: Option<TenantId>) {
        self.lists.forget(|list| list.first().is_none_or(|one| tenant.is_none_or(|tenant| one.tenant == tenant)));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.retain(|_, one| tenant.is_some_and(|tenant| one.connection.tenant != tenant));
    }
}

impl App {
    /// The connections of a tenant, as of the last second; none is read where no plugin takes any.
    pub(in crate::app) async fn connections_of(&self, tenant: TenantId) -> Result<Arc<Vec<Connection>>, Refusal> {
        let takes = |installed: &Installed| installed.plugin.connecting != Connecting::None;
        if !self.plugins.loaded().installed().any(takes) {
            return Ok(Arc::default());
        }
        let lists = &self.connections.lists;
        if let Some(known) = lists.find(&tenant, self.now()) {
            return Ok(known);
        }
        let forgotten = lists.forgotten();
        let read = self.list_readable::<Connection>(&EntityList::of(Owner::Tenant(tenant))).await?;
        let list = Arc::new(read.things.into_iter().map(|stored| stored.entity).collect::<Vec<_>>());
        lists.keep_unless_forgotten(forgotten, tenant, Arc::clone(&list), self.now());
        Ok(list)
    }

    /// The channel that a plugin is for a tenant: through its own connection, else the operator's. What is wrong where
    /// there is none.
    pub(in crate::app) async fn channel_of(
        &self,
        running: &Arc<Running>,
        connecting: Connecting,
        tenant: TenantId,
    ) -> Result<Option<Arc<dyn Channel>>, Refusal> {
        if connecting != Connecting::None {
            let connections = self.connections_of(tenant).await?;
            if let Some(own) = connections.iter().find(|connection| connection.plugin == running.plugin.id) {
                return Ok(self.channel_through(running, own).await.ok());
            }
        }
        Ok(running.channel.clone().filter(|_| connecting != Connecting::Required))
    }

    /// The channel through a connection, made once and kept until one of the two changes; else what is wrong.
    async fn channel_through(
        &self,
        running: &Arc<Running>,
        connection: &Connection,
    ) -> Result<Arc<dyn Channel>, String> {
        let now = self.now();
        let known = || self.connections.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(made) = known().get(&connection.id) {
            let is_current = Arc::ptr_eq(&made.running, running) && made.connection == *connection;
            let holds = made.channel.is_ok() || now.duration_since(made.made_at).abs() < AGAIN_AFTER;
            if is_current && holds {
                return made.channel.clone();
            }
        }
        let channel = self.connected(running, connection, false).await.map_err(|refusal| said(&refusal));
        if let Err(why) = &channel {
            let (tenant, channel) = (connection.tenant, connection.channel.as_str());
            tracing::warn!(%tenant, connection = %connection.id, channel, why, "a plugin does not take a connection");
        }
        let made = Made {
            connection: connection.clone(),
            running: Arc::clone(running),
            made_at: now,
            channel: channel.clone(),
        };
        let mut all = known();
        if all.len() >= KEPT_MAX {
            all.clear();
        }
        all.insert(connection.id, made);
        channel
    }

    /// A connection, and why nothing gets out through it, if so.
    pub(super) async fn seen(&self, connection: Connection) -> ConnectionSeen {
        let problem = self.problem(&connection).await;
        ConnectionSeen { connection, problem }
    }

    async fn problem(&self, connection: &Connection) -> Option<String> {
        match self.way_through(connection) {
            Ok(running) => self.connected(&running, connection, true).await.err().map(|refusal| said(&refusal)),
            Err(problem) => Some(problem.to_owned()),
        }
    }

    /// The plugin that a connection is to; else why there is none, in words for its tenant.
    fn way_through(&self, connection: &Connection) -> Result<Arc<Running>, &'static str> {
        let loaded = self.plugins.loaded();
        let installed = loaded.find(&connection.channel).map(|installed| (&installed.plugin, &installed.running));
        let installed =
            installed.filter(|(plugin, _)| plugin.id == connection.plugin && plugin.is_for(connection.tenant));
        match installed {
            None => Err("the operator switched this channel off, or removed it"),
            Some((plugin, _)) if plugin.connecting == Connecting::None => {
                Err("the operator takes no connections to this channel any more")
            }
            Some((_, None)) => Err("the channel is being loaded"),
            Some((_, Some(running))) => Ok(Arc::clone(running)),
        }
    }

    /// The connection that stands in the URL of somebody who calls, and the channel through it, if there is one.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(in crate::app) async fn hooked(
        &self,
        id: ConnectionId,
    ) -> Result<Option<(Connection, Option<Arc<dyn Channel>>)>, Refusal> {
        let key = IndexKey::new(HOOK, id.to_bytes());
        let Some(row) = self.ports.store.find_unique(Connection::KIND, &key).await? else { return Ok(None) };
        let connection = Stored::<Connection>::read(row)?.entity;
        let channel = match self.way_through(&connection) {
            Ok(running) => self.channel_through(&running, &connection).await.ok(),
            Err(_) => None,
        };
        Ok(Some((connection, channel)))
    }
}
