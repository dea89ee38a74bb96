//! Connections: a tenant's own way through a channel.

mod account;
mod live;

use serde::Serialize;
use serde_json::Value;

pub(super) use live::State;

use super::commit::{Readable, tried_again};
use super::live_connections::LiveSeen;
use super::plugins::Given;
use super::{ApiCaller, App, FieldError, Refusal};
use crate::domain::audit::Deed;
use crate::domain::connection::Connection;
use crate::domain::id::{ConnectionId, TenantId};
use crate::domain::live_connection::{LiveConnection, Wish};
use crate::domain::plugin::{Connecting, Plugin, SecretAsked, Settings};
use crate::domain::routing::ChannelInfo;
use crate::domain::tenant::{self, Tenant};
use crate::domain::vault::Purpose;
use crate::ports::{Change, EntityList, Owner, Stored};

/// A channel, as a tenant sees it.
#[derive(Debug, Clone)]
pub struct TenantChannel {
    /// What routing knows of it.
    pub info: ChannelInfo,
    /// Whether it takes connections.
    pub connecting: Connecting,
    /// The tenant's own, if there is one: the oldest, where there are several.
    pub connection: Option<ConnectionId>,
    /// What a connection is made of; none where it takes none, or is not ready on this node yet.
    pub asks: Option<Asks>,
}

/// What a connection is made of.
#[derive(Debug, Clone)]
pub struct Asks {
    /// What its settings may be: a JSON Schema.
    pub config_schema: Value,
    /// The secrets that it works with: name, what it is, and whether it works without.
    pub secrets: Vec<SecretAsked>,
}

/// A connection to make.
pub struct NewConnection {
    /// To which channel.
    pub channel: String,
    /// What the tenant calls it; the channel's name when none.
    pub name: Option<String>,
    /// What it works with.
    pub given: Given,
}

/// A change to a connection: what is not there stays.
#[derive(Default)]
pub struct ConnectionChange {
    /// What the tenant calls it.
    pub name: Option<String>,
    /// What is answered to people who write to it, and not to confirm themselves: none within takes it away.
    pub auto_reply: Option<Option<String>>,
    /// What it works with.
    pub given: Given,
}

/// A connection, and whether messages get out through it.
#[derive(Clone, PartialEq)]
pub enum ConnectionSeen {
    /// To a plugin: it sends with what the tenant gave it.
    Plugins {
        /// It.
        connection: Connection,
        /// Why none gets out; none where they do, as far as can be told without sending one.
        problem: Option<String>,
    },
    /// One that a node keeps logged in.
    Live(LiveSeen),
}

impl From<LiveSeen> for ConnectionSeen {
    fn from(seen: LiveSeen) -> Self {
        Self::Live(seen)
    }
}

impl ConnectionSeen {
    /// Its id.
    pub fn id(&self) -> ConnectionId {
        match self {
            Self::Plugins { connection, .. } => connection.id,
            Self::Live(seen) => seen.connection.id,
        }
    }
}

/// What the audit log says of a connection: of its settings no more than their names, since a plugin's author may ask for
/// secrets there.
#[derive(Serialize)]
struct Told<'a> {
    channel: &'a str,
    name: &'a str,
    config: Vec<&'a str>,
    secrets: Vec<&'a str>,
}

fn told(connection: &Connection) -> Told<'_> {
    Told {
        channel: &connection.channel,
        name: &connection.name,
        config: connection.settings.config.keys().map(String::as_str).collect(),
        secrets: connection.settings.secrets.keys().map(String::as_str).collect(),
    }
}

impl App {
    /// The channels that there are for the caller's tenant, and those that it could connect.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn tenant_channels(&self, caller: &ApiCaller) -> Result<Vec<TenantChannel>, Refusal> {
        let tenant = caller.tenant.id;
        let connections = self.connections_of(tenant).await?;
        let live = self.live_connections_of(tenant).await?;
        let configured = self.channel_infos.iter().map(|info| {
            let keeps = self.keeps_accounts(&info.name);
            let own = live.iter().find(|connection| connection.channel == info.name);
            TenantChannel {
                info: info.clone(),
                connecting: if keeps { Connecting::Required } else { Connecting::None },
                connection: own.filter(|_| caller.service().is_none()).map(|connection| connection.id),
                asks: None,
            }
        });
        let loaded = self.plugins.loaded();
        let installed = loaded.installed().filter(|installed| installed.plugin.is_for(tenant));
        let installed = installed.map(|installed| {
            let plugin = &installed.plugin;
            let asks =
                installed.running.as_ref().filter(|_| plugin.connecting != Connecting::None).map(|running| Asks {
                    config_schema: running.config_schema().clone(),
                    secrets: plugin.delivering().map(|release| release.secrets.clone()).unwrap_or_default(),
                });
            let own = connections.iter().find(|connection| connection.plugin == plugin.id);
            // A key that is bound to a service sees no connection.
            let own = own.filter(|_| caller.service().is_none());
            TenantChannel {
                info: installed.info.clone(),
                connecting: plugin.connecting,
                connection: own.map(|connection| connection.id),
                asks,
            }
        });
        Ok(configured.chain(installed).collect())
    }

    /// The connections of the caller's tenant, oldest first.
    ///
    /// # Errors
    /// [`Refusal::OtherService`] for a key bound to one, [`Refusal::Store`].
    pub async fn list_connections(&self, caller: &ApiCaller) -> Result<Vec<ConnectionSeen>, Refusal> {
        whole_tenant(caller)?;
        let list = EntityList::of(Owner::Tenant(caller.tenant.id));
        let mut seen = Vec::new();
        for stored in self.list_readable::<Connection>(&list).await?.things {
            seen.push(self.seen(stored.entity).await);
        }
        for connection in self.live_connections_now(caller.tenant.id).await?.0 {
            seen.push(ConnectionSeen::from(self.seen_live(connection).await?));
        }
        // Ids begin with the time.
        seen.sort_by_key(ConnectionSeen::id);
        Ok(seen)
    }

    /// One connection.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherService`], [`Refusal::Store`].
    pub async fn find_connection(&self, caller: &ApiCaller, id: ConnectionId) -> Result<ConnectionSeen, Refusal> {
        whole_tenant(caller)?;
        if let Some(live) = self.live_connection(caller.tenant.id, id).await? {
            return Ok(ConnectionSeen::from(self.seen_live(live.entity).await?));
        }
        Ok(self.seen(self.connection(caller.tenant.id, id).await?.entity).await)
    }

    /// Makes a connection, of which the plugin is asked whether it takes it. From now on the tenant's messages through
    /// this channel go out through it: here at once, on other nodes within a second. Where the plugin can, it then looks at
    /// the account. One that a node is to keep logged in does nothing yet ([`connect_live`](Self::connect_live)).
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where the channel takes none, the tenant has one, or the plugin does not take what it is
    /// given; [`Refusal::OtherService`] for a key bound to one; [`Refusal::LimitReached`], [`Refusal::TenantDeleted`],
    /// [`Refusal::NoPlugins`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn create_connection(&self, caller: &ApiCaller, new: NewConnection) -> Result<ConnectionSeen, Refusal> {
        whole_tenant(caller)?;
        if self.keeps_accounts(&new.channel) {
            let made = self.create_live_connection(caller, new, false).await?;
            return self.seen_live(made).await.map(ConnectionSeen::from);
        }
        let plugin = self.connectable(caller.tenant.id, &new.channel)?;
        let now = self.now();
        let mut connection = Connection {
            id: ConnectionId::new(now, &*self.ports.entropy),
            tenant: caller.tenant.id,
            channel: plugin.channel.clone(),
            plugin: plugin.id,
            name: plugin.channel.clone(),
            settings: Settings::default(),
            account: None,
            created_at: now,
            updated_at: now,
        };
        let change = ConnectionChange { name: new.name, auto_reply: None, given: new.given };
        self.set_up_connection(&mut connection, &plugin, &change).await?;
        let connection = &connection;
        // Many at once would fail each other over and over: they go one after another, and only nodes race.
        let turn = self.additions.turn(std::iter::once(Owner::Tenant(connection.tenant))).await;
        self.in_turn(move || async move {
            let door = self.store_of(caller);
            let tenant = self.tenant_to_add_to(&*door).await?;
            let there = self.list_readable::<Connection>(&EntityList::of(Owner::Tenant(tenant.id))).await?;
            if let Some(other) = there.things.iter().find(|other| other.plugin == connection.plugin) {
                let words = format!("is connected already, by `{}`; change that one", other.id);
                return Err(Refusal::field("channel", words));
            }
            self.room_for_connection(&tenant, &there).await?;
            let deed = Deed::of(tenant.id, "connection.create", connection.id).after(told(connection));
            let changes = vec![Change::insert(connection), Change::ReplaceTenant(Box::new(tenant))];
            self.commit(&caller.by(), vec![deed], changes).await
        })
        .await?;
        drop(turn);
        self.changed(caller.tenant.id).await;
        Ok(self.seen(self.with_account(connection.clone()).await).await)
    }

    /// Refuses one more connection where the plan allows no more.
    async fn room_for_connection(&self, tenant: &Tenant, there: &Readable<Connection>) -> Result<(), Refusal> {
        // Those of plugins that were removed are of no use to anybody, and keep nobody from another.
        let plugins = self.plugins().await?;
        let is_there = |other: &&Stored<Connection>| plugins.iter().any(|plugin| plugin.id == other.plugin);
        let unreadable = there.count - there.things.len();
        let (live, unreadable_live) = self.live_connections_now(tenant.id).await?;
        let count = unreadable + there.things.iter().filter(is_there).count() + live.len() + unreadable_live;
        let limit = self.plan_of(tenant)?.limits.connections.unwrap_or(u64::MAX);
        if u64::try_from(count).unwrap_or(u64::MAX) >= limit {
            return Err(Refusal::LimitReached("connections", usize::try_from(limit).unwrap_or(usize::MAX)));
        }
        Ok(())
    }

    /// Makes one that a node is to keep logged in. With `unless_there` it is the one that is called so already, if there is
    /// one by then: of many who ask for the same at once, one makes it.
    pub(super) async fn create_live_connection(
        &self,
        caller: &ApiCaller,
        new: NewConnection,
        unless_there: bool,
    ) -> Result<LiveConnection, Refusal> {
        takes_no_settings(&new.given)?;
        let name = new.name.as_deref().unwrap_or(&new.channel);
        let now = self.now();
        let connection = LiveConnection {
            id: ConnectionId::new(now, &*self.ports.entropy),
            tenant: caller.tenant.id,
            channel: new.channel.clone(),
            name: tenant::name(name).map_err(|error| Refusal::field("name", error.to_string()))?,
            wish: Wish::Rest,
            auto_reply: None,
            risk_accepted_at: None,
            code_asked_at: None,
            created_at: now,
            updated_at: now,
        };
        let connection = &connection;
        let _turn = self.additions.turn(std::iter::once(Owner::Tenant(connection.tenant))).await;
        let made = self.in_turn(move || async move {
            let tenant = self.tenant_to_add_to(&*self.store_of(caller)).await?;
            if unless_there {
                let (live, _) = self.live_connections_now(tenant.id).await?;
                let is_it = |one: &LiveConnection| one.channel == connection.channel && one.name == connection.name;
                if let Some(other) = live.into_iter().find(is_it) {
                    return Ok(other);
                }
            }
            let there = self.list_readable::<Connection>(&EntityList::of(Owner::Tenant(tenant.id))).await?;
            self.room_for_connection(&tenant, &there).await?;
            self.insert_live_connection(caller, tenant, connection).await?;
            Ok(connection.clone())
        });
        let made = made.await?;
        self.changed(caller.tenant.id).await;
        Ok(made)
    }

    /// Changes a connection, of which the plugin is asked whether it takes it. Calls that are under way end with what they
    /// began with. Where its settings or secrets are others, the account is looked at anew.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::OtherService`], [`Refusal::NoPlugins`],
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn change_connection(
        &self,
        caller: &ApiCaller,
        id: ConnectionId,
        change: ConnectionChange,
    ) -> Result<ConnectionSeen, Refusal> {
        whole_tenant(caller)?;
        if let Some(live) = self.live_connection(caller.tenant.id, id).await? {
            takes_no_settings(&change.given)?;
            return self.change_live(caller, live, change).await.map(ConnectionSeen::from);
        }
        if change.auto_reply.is_some() {
            return Err(Refusal::field("auto_reply", "is for connections that people write to, as to `whatsapp`"));
        }
        let change = &change;
        let (connection, leads_elsewhere) = tried_again(move || self.change_to_plugin(caller, id, change)).await?;
        let connection = if leads_elsewhere { self.with_account(connection).await } else { connection };
        Ok(self.seen(connection).await)
    }

    /// Changes one to a plugin, and says whether messages go out by it in another way from now on.
    async fn change_to_plugin(
        &self,
        caller: &ApiCaller,
        id: ConnectionId,
        change: &ConnectionChange,
    ) -> Result<(Connection, bool), Refusal> {
        let mut found = self.connection(caller.tenant.id, id).await?;
        let before = found.entity.clone();
        let plugin = self.connectable(before.tenant, &before.channel).ok();
        match plugin.filter(|plugin| plugin.id == before.plugin) {
            Some(plugin) => self.set_up_connection(&mut found.entity, &plugin, change).await?,
            // Nobody looks at what is given, so nothing is; what is taken away, and the name, need nobody.
            None if change.given.gives() => {
                let words = "cannot be changed while the operator has the channel switched off, removed, or takes no \
                             connections to it";
                return Err(Refusal::field("config", words));
            }
            None => self.write_connection(&mut found.entity, &[], change)?,
        }
        let leads_elsewhere = !found.leads_as(&before);
        if found.entity != before {
            found.updated_at = self.now();
            if leads_elsewhere {
                found.entity.account = None;
            }
            let deed = Deed::of(before.tenant, "connection.change", id).between(told(&before), told(&found));
            self.commit(&caller.by(), vec![deed], vec![Change::replace(&found)]).await?;
            self.changed(before.tenant).await;
        }
        Ok((found.entity, leads_elsewhere))
    }

    /// Deletes a connection, with its secrets. What waits for it goes out through the operator's account, where there is
    /// one for everybody, or to the next channel.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherService`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn delete_connection(&self, caller: &ApiCaller, id: ConnectionId) -> Result<(), Refusal> {
        whole_tenant(caller)?;
        if let Some(live) = self.live_connection(caller.tenant.id, id).await? {
            return self.leave_live(caller, live).await;
        }
        tried_again(move || async move {
            let found = self.connection(caller.tenant.id, id).await?;
            let deed = Deed::of(caller.tenant.id, "connection.delete", id).before(told(&found));
            self.commit(&caller.by(), vec![deed], vec![Change::delete(&found)]).await
        })
        .await?;
        self.changed(caller.tenant.id).await;
        Ok(())
    }

    async fn connection(&self, tenant: TenantId, id: ConnectionId) -> Result<Stored<Connection>, Refusal> {
        let found = self.find::<Connection>(Owner::Tenant(tenant), id.to_bytes()).await?;
        found.ok_or(Refusal::NotFound("connection"))
    }

    /// The plugin that a tenant can connect by the name of its channel.
    fn connectable(&self, tenant: TenantId, channel: &str) -> Result<Plugin, Refusal> {
        let loaded = self.plugins.loaded();
        let takes = |plugin: &Plugin| plugin.is_for(tenant) && plugin.connecting != Connecting::None;
        let found = loaded.find(channel).map(|installed| &installed.plugin).filter(|plugin| takes(plugin));
        found.cloned().ok_or_else(|| {
            let known: Vec<_> =
                loaded.wanted().filter(|(plugin, _)| takes(plugin)).map(|(_, info)| &*info.name).collect();
            let live = self.ports.channels.iter().filter(|one| one.keeps_accounts()).map(|one| one.name());
            let known: Vec<_> = live.chain(known).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Refusal::field("channel", format!("is none that you can connect; there are: {known}"))
        })
    }

    /// Puts into a connection what is given, and has the plugin look at it.
    async fn set_up_connection(
        &self,
        connection: &mut Connection,
        plugin: &Plugin,
        change: &ConnectionChange,
    ) -> Result<(), Refusal> {
        let asked = plugin.delivering().map(|release| release.secrets.as_slice()).unwrap_or_default();
        self.write_connection(connection, asked, change)?;
        let loaded = self.plugins.loaded();
        let running = loaded.find(&plugin.channel).and_then(|installed| installed.running.as_ref());
        let running = running.ok_or_else(|| Refusal::NoPlugins("it is being loaded".into()))?;
        self.connected(running, connection, true).await.map(drop)
    }

    /// Puts into a connection what is given, of the secrets those that are asked for.
    fn write_connection(
        &self,
        connection: &mut Connection,
        asked: &[SecretAsked],
        change: &ConnectionChange,
    ) -> Result<(), Refusal> {
        let mut wrong = change.given.too_large();
        match change.name.as_deref().map(tenant::name) {
            None => {}
            Some(Ok(name)) => connection.name = name,
            Some(Err(error)) => wrong.push(FieldError { field: "name".to_owned(), message: error.to_string() }),
        }
        if !wrong.is_empty() {
            return Err(Refusal::Invalid(wrong));
        }
        let is_asked = |name: &str| asked.iter().any(|secret| secret.name == name);
        let owner = (Purpose::ConnectionSecret, &connection.id.to_bytes());
        self.give(&mut connection.settings, &change.given, is_asked, owner)
    }
}

/// What is linked to a phone has nothing to be set up with.
fn takes_no_settings(given: &Given) -> Result<(), Refusal> {
    if given.config.as_ref().is_some_and(|config| !config.is_empty()) {
        return Err(Refusal::field("config", "is empty for this channel: a phone is linked to it instead"));
    }
    if !given.secrets.is_empty() {
        return Err(Refusal::field("secrets", "are none for this channel: a phone is linked to it instead"));
    }
    Ok(())
}

/// Connections are the tenant's, of all its services: a key that is bound to one neither sees nor changes any.
pub(super) fn whole_tenant(caller: &ApiCaller) -> Result<(), Refusal> {
    if caller.service().is_some() { Err(Refusal::OtherService) } else { Ok(()) }
}
