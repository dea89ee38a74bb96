//! Which channels there are: those that the configuration switches on, then those of plugins that are installed.

use std::borrow::Cow;
use std::sync::Arc;

use super::App;
use crate::domain::id::TenantId;
use crate::domain::plugin::CALLS_MAX;
use crate::domain::routing::ChannelInfo;
use crate::ports::Channel;

/// What routing knows of a channel.
pub(super) fn info(channel: &dyn Channel) -> ChannelInfo {
    ChannelInfo { name: channel.name().to_owned(), reaches: channel.reaches().to_vec(), own_room: channel.own_room() }
}

impl App {
    /// The channels that there are for everybody.
    pub fn channels(&self) -> Vec<ChannelInfo> {
        let loaded = self.plugins.loaded();
        let for_all = loaded.wanted().filter(|(plugin, _)| plugin.tenants.is_none());
        self.channel_infos.iter().cloned().chain(for_all.map(|(_, info)| info.clone())).collect()
    }

    /// The channels that there are for a tenant, in the order they are tried when nobody says another.
    pub(super) fn available(&self, tenant: TenantId) -> Cow<'_, [ChannelInfo]> {
        let loaded = self.plugins.loaded();
        let installed = || loaded.wanted().filter(|(plugin, _)| plugin.is_for(tenant));
        if installed().next().is_none() {
            return Cow::Borrowed(&self.channel_infos);
        }
        self.channel_infos.iter().cloned().chain(installed().map(|(_, info)| info.clone())).collect()
    }

    /// A channel, whoever it is for.
    pub(super) fn channel(&self, name: &str) -> Option<Arc<dyn Channel>> {
        let configured = self.ports.channels.iter().find(|channel| channel.name() == name);
        configured.cloned().or_else(|| self.plugins.loaded().find(name).and_then(|installed| installed.channel.clone()))
    }

    /// A channel, as far as this tenant may use it.
    pub(super) fn channel_for(&self, name: &str, tenant: TenantId) -> Option<Arc<dyn Channel>> {
        let loaded = self.plugins.loaded();
        if loaded.find(name).is_some_and(|installed| !installed.plugin.is_for(tenant)) {
            return None;
        }
        self.channel(name)
    }

    /// How many sends channels take at once by themselves: of plugins as many as all together may be given, as soon as one
    /// is on.
    pub fn own_room(&self) -> usize {
        let configured: usize = self.channel_infos.iter().map(|channel| channel.own_room).sum();
        let loaded = self.plugins.loaded();
        configured + loaded.wanted().next().map_or(0, |_| 2 * CALLS_MAX as usize)
    }
}
