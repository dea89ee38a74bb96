//! The connections that messages go out through.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;

use super::ConnectionSeen;
use crate::app::cache::Cache;
use crate::app::channels::{Found, Way};
use crate::app::plugins::{Installed, Loaded, Running, said};
use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::connection::{Connection, HOOK};
use crate::domain::id::{ConnectionId, TenantId};
use crate::domain::plugin::Connecting;
use crate::ports::{Channel, Entity as _, EntityList, IndexKey, Owner, Stored};

/// Tenants whose channels are kept; then it begins anew.
const TENANTS_MAX: usize = 10_000;
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
    made: Mutex<HashMap<TenantId, Vec<Made>>>,
}

impl State {
    /// Has the connections of a tenant read again, of all where none is named. What was made of them stays until they are
    /// something else: what their breakers know has nothing to do with whatever else changed of the tenant.
    pub(in crate::app) fn forget(&self, tenant: Option<TenantId>) {
        self.lists.forget(|list| list.first().is_none_or(|one| tenant.is_none_or(|tenant| one.tenant == tenant)));
    }

    /// Drops what was made of plugins that do not run any more, with the secrets in it.
    pub(in crate::app) fn prune(&self, loaded: &Loaded) {
        let runs = |made: &Made| {
            let mut running = loaded.installed().filter_map(|installed| installed.running.as_ref());
            running.any(|running| Arc::ptr_eq(running, &made.running))
        };
        self.keep(|all| {
            all.retain(|_, made| {
                made.retain(runs);
                !made.is_empty()
            });
        });
    }

    fn keep<T>(&self, work: impl FnOnce(&mut HashMap<TenantId, Vec<Made>>) -> T) -> T {
        work(&mut self.made.lock().unwrap_or_else(PoisonError::into_inner))
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
        // Of those that were deleted nothing is kept, least of all their secrets.
        self.connections.keep(|all| {
            if let Some(made) = all.get_mut(&tenant) {
                made.retain(|made| list.iter().any(|connection| connection.id == made.connection.id));
            }
        });
        lists.keep_unless_forgotten(forgotten, tenant, Arc::clone(&list), self.now());
        Ok(list)
    }

    /// A plugin through a tenant's own account; none where it has none, or the plugin takes none.
    pub(in crate::app) async fn own_way(
        &self,
        installed: &Installed,
        tenant: TenantId,
    ) -> Result<Option<Found>, Refusal> {
        if installed.plugin.connecting == Connecting::None {
            return Ok(None);
        }
        let connections = self.connections_of(tenant).await?;
        let own = connections.iter().find(|connection| connection.plugin == installed.plugin.id);
        let (Some(own), Some(running)) = (own, &installed.running) else { return Ok(None) };
        Ok(Some(match self.channel_through(running, own).await {
            Ok(channel) => Found::Way(Way { channel, account: Some(own.id) }),
            Err(_) => Found::Nothing,
        }))
    }

    /// The channel through a connection, made once and kept until one of the two changes; else what is wrong.
    pub(super) async fn channel_through(
        &self,
        running: &Arc<Running>,
        connection: &Connection,
    ) -> Result<Arc<dyn Channel>, String> {
        let (now, tenant) = (self.now(), connection.tenant);
        let known = self.connections.keep(|all| {
            let made = all.get(&tenant)?.iter().find(|made| made.connection.leads_as(connection))?;
            let holds = made.channel.is_ok() || now.duration_since(made.made_at).abs() < AGAIN_AFTER;
            (Arc::ptr_eq(&made.running, running) && holds).then(|| made.channel.clone())
        });
        if let Some(known) = known {
            return known;
        }
        let channel = self.connected(running, connection, false).await.map_err(|refusal| said(&refusal));
        if channel.is_err() {
            // Not why: the plugin says that of the tenant's settings, and the tenant is told.
            let channel = connection.channel.as_str();
            tracing::warn!(%tenant, connection = %connection.id, channel, "a plugin does not take a connection");
        }
        let (connection, running) = (connection.clone(), Arc::clone(running));
        let made = Made { connection, running, made_at: now, channel: channel.clone() };
        self.connections.keep(|all| {
            if all.len() >= TENANTS_MAX {
                all.clear();
            }
            let of_tenant = all.entry(tenant).or_default();
            of_tenant.retain(|other| other.connection.id != made.connection.id);
            of_tenant.push(made);
        });
        channel
    }

    /// A connection, and why nothing gets out through it, if so.
    pub(super) async fn seen(&self, connection: Connection) -> ConnectionSeen {
        let problem = match self.way_through(&connection) {
            Ok(running) => match self.channel_through(&running, &connection).await {
                // Only of a channel that still looks at accounts: nobody would ever find one mended of another.
                Ok(channel) if channel.account().is_some() => {
                    connection.account.as_ref().and_then(|account| account.standing.holds().err())
                }
                Ok(_) => None,
                Err(problem) => Some(problem),
            },
            Err(problem) => Some(problem.to_owned()),
        };
        ConnectionSeen::Plugins { connection, problem }
    }

    /// The plugin that a connection is to; else why there is none, in words for its tenant.
    pub(super) fn way_through(&self, connection: &Connection) -> Result<Arc<Running>, &'static str> {
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
