//! Which channels there are: those that the configuration switches on, then those of plugins that are installed.

use std::borrow::Cow;
use std::sync::Arc;

use super::{App, Refusal};
use crate::domain::dispatch::Delivery;
use crate::domain::id::{ConnectionId, NodeId, TenantId};
use crate::domain::live_connection::{Connect, LiveConnection, Wish};
use crate::domain::plugin::{CALLS_MAX, Connecting};
use crate::domain::routing::ChannelInfo;
use crate::ports::{Channel, Outgoing, TenantAccount};

/// What routing knows of a channel.
pub(super) fn info(channel: &dyn Channel) -> ChannelInfo {
    ChannelInfo { name: channel.name().to_owned(), reaches: channel.reaches().to_vec(), own_room: channel.own_room() }
}

/// A channel, and whose account it goes through.
pub(super) struct Way {
    pub(super) channel: Arc<dyn Channel>,
    /// The tenant's own; the operator's, where it is none.
    pub(super) account: Option<ConnectionId>,
}

impl Way {
    /// Through the operator's account.
    pub(super) fn operators(channel: Arc<dyn Channel>) -> Self {
        Self { channel, account: None }
    }
}

/// What there is by a name.
pub(super) enum Found {
    /// This.
    Way(Way),
    /// A plugin that will be ready in a moment: nothing has been looked at yet, or it is not loaded.
    Awaited,
    /// Nothing that this tenant may use, or nothing that works.
    Nothing,
}

impl Found {
    fn channel(&self) -> Option<&dyn Channel> {
        match self {
            Self::Way(way) => Some(&*way.channel),
            Self::Awaited | Self::Nothing => None,
        }
    }

    /// Whether its provider can be asked about a delivery.
    pub(super) fn asks(&self) -> bool {
        self.channel().is_some_and(|channel| channel.asks().is_some())
    }

    /// Which other node has to call it for what goes out.
    pub(super) fn kept_by_another(&self, outgoing: &Outgoing) -> Option<NodeId> {
        self.channel().and_then(|channel| channel.kept_by_another(outgoing.tenant, outgoing.connection))
    }

    /// The seat that calling it takes; none where it has a room of its own.
    pub(super) fn seat<S>(&self, seat: S) -> Option<S> {
        let own = self.channel().is_some_and(|channel| channel.own_room() > 0);
        (!own).then_some(seat)
    }
}

/// The channels that there are for a tenant.
pub(super) struct Available<'a> {
    /// In the order they are tried when nobody says another.
    pub(super) channels: Cow<'a, [ChannelInfo]>,
    /// Those through which nothing gets out, though the tenant has accounts there: somebody has to do something about them.
    pub(super) silent: Vec<ChannelInfo>,
}

impl App {
    /// The channels that there are for everybody.
    pub fn channels(&self) -> Vec<ChannelInfo> {
        let loaded = self.plugins.loaded();
        let for_all = loaded.wanted().filter(|(plugin, _)| plugin.tenants.is_none());
        self.channel_infos.iter().cloned().chain(for_all.map(|(_, info)| info.clone())).collect()
    }

    /// The channels that there are for a tenant.
    pub(super) async fn available(&self, tenant: TenantId) -> Result<Available<'_>, Refusal> {
        let loaded = self.plugins.loaded();
        let configured = self.configured_for(tenant).await?;
        if !loaded.wanted().any(|(plugin, _)| plugin.is_for(tenant)) {
            return Ok(configured);
        }
        let Available { channels, silent } = configured;
        let connections = self.connections_of(tenant).await?;
        let installed = loaded.wanted().filter(|(plugin, _)| {
            let is_connected = || connections.iter().any(|connection| connection.plugin == plugin.id);
            plugin.is_for(tenant) && (plugin.connecting != Connecting::Required || is_connected())
        });
        let channels = channels.iter().cloned().chain(installed.map(|(_, info)| info.clone())).collect();
        Ok(Available { channels, silent })
    }

    /// The channels of the configuration, without those whose accounts are the tenants' where this tenant has none that is
    /// to be logged in.
    async fn configured_for(&self, tenant: TenantId) -> Result<Available<'_>, Refusal> {
        if !self.ports.channels.iter().any(|channel| channel.keeps_accounts()) {
            return Ok(Available { channels: Cow::Borrowed(&self.channel_infos), silent: Vec::new() });
        }
        let live = self.live_connections_of(tenant).await?;
        let (mut channels, mut silent) = (Vec::new(), Vec::new());
        for info in &self.channel_infos {
            let own: Vec<_> = live.iter().filter(|one| one.channel == info.name).collect();
            let keeps_accounts = self.keeps_accounts(&info.name);
            if !keeps_accounts || own.iter().any(|one| one.connects()) {
                channels.push(info.clone());
            }
            if keeps_accounts && !own.is_empty() && !self.any_may_send(&own).await? {
                silent.push(info.clone());
            }
        }
        Ok(Available { channels: Cow::Owned(channels), silent })
    }

    async fn any_may_send(&self, connections: &[&LiveConnection]) -> Result<bool, Refusal> {
        // Of many one is enough that is known to.
        let now = self.now();
        if connections.iter().any(|one| one.connects() && self.senders.find(&one.id, now).is_some()) {
            return Ok(true);
        }
        for connection in connections {
            if self.may_send(connection).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether a connection sends, or will in a moment by itself, as of the last second; one of which nothing is known yet
    /// may. That one may not is looked at anew each time: as soon as it is connected, it is there.
    async fn may_send(&self, connection: &LiveConnection) -> Result<bool, Refusal> {
        let Wish::Connect(Connect { asked_at, .. }) = connection.wish else { return Ok(false) };
        let of = TenantAccount { tenant: connection.tenant, connection: connection.id };
        let kept = self.kept_standing(of).await?;
        let may_send = kept.is_none_or(|kept| kept.standing.may_send(asked_at, self.now()));
        if may_send {
            self.senders.keep(connection.id, (), self.now());
        }
        Ok(may_send)
    }

    /// A channel that is the operator's, whoever it is for.
    pub(super) fn operators_channel(&self, name: &str) -> Found {
        if let Some(configured) = self.configured(name) {
            return Found::Way(Way::operators(configured));
        }
        if self.is_awaited(name) {
            return Found::Awaited;
        }
        let loaded = self.plugins.loaded();
        loaded.find(name).map_or(Found::Nothing, |installed| installed.operators())
    }

    /// A channel, as far as this tenant may use it: through its own connection, where it has one.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(super) async fn channel_for(&self, name: &str, tenant: TenantId) -> Result<Found, Refusal> {
        if let Some(configured) = self.configured(name) {
            return Ok(Found::Way(Way::operators(configured)));
        }
        let loaded = self.plugins.loaded();
        let Some(installed) = loaded.find(name) else {
            return Ok(if self.is_awaited(name) { Found::Awaited } else { Found::Nothing });
        };
        if !installed.plugin.is_for(tenant) {
            return Ok(Found::Nothing);
        }
        match self.own_way(installed, tenant).await? {
            Some(own) => Ok(own),
            None => Ok(installed.operators()),
        }
    }

    /// The channel that took a delivery. Where that went through a tenant's account, and the tenant has another one there
    /// now, it is that one's.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(super) async fn channel_that_took(&self, delivery: &Delivery, tenant: TenantId) -> Result<Found, Refusal> {
        match delivery.account {
            None => Ok(self.operators_channel(&delivery.channel)),
            Some(_) => self.channel_for(&delivery.channel, tenant).await,
        }
    }

    /// Whether the provider of a channel takes back what was sent; a channel that this node has yet to load may.
    pub(super) fn can_revoke(&self, name: &str) -> bool {
        if let Some(configured) = self.configured(name) {
            return configured.revokes().is_some();
        }
        let loaded = self.plugins.loaded();
        let running = loaded.find(name).and_then(|installed| installed.running.as_ref());
        running.map_or_else(|| self.is_awaited(name), |running| running.revokes())
    }

    fn configured(&self, name: &str) -> Option<Arc<dyn Channel>> {
        self.ports.channels.iter().find(|channel| channel.name() == name).cloned()
    }

    /// How many sends channels take at once by themselves: of plugins as many as all together may be given, as soon as one
    /// is on.
    pub fn own_room(&self) -> usize {
        let configured: usize = self.channel_infos.iter().map(|channel| channel.own_room).sum();
        let loaded = self.plugins.loaded();
        configured + loaded.wanted().next().map_or(0, |_| 2 * CALLS_MAX as usize)
    }
}
