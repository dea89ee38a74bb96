use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::refused;
use crate::app::{App, Refusal};
use crate::domain::connection::Connection;
use crate::domain::plugin::{Connecting, Plugin, Release, Settings};
use crate::domain::vault::Purpose;
use crate::ports::{Channel, PluginSetup, ReadyPlugin, TenantAccount};

/// A plugin that is ready to deliver.
pub(in crate::app) struct Running {
    /// As it was when it was made ready: its release is the one that is ready.
    pub plugin: Plugin,
    ready: Arc<dyn ReadyPlugin>,
    /// The operator's own; none where each tenant brings a connection.
    pub channel: Option<Arc<dyn Channel>>,
}

impl Running {
    /// What settings may be: a JSON Schema.
    pub(in crate::app) fn config_schema(&self) -> &serde_json::Value {
        self.ready.config_schema()
    }
}

impl App {
    /// A component, ready to run: as this machine compiled it before, else as it is stored.
    pub(super) async fn ready_plugin(&self, sha256: &str) -> Result<Arc<dyn ReadyPlugin>, Refusal> {
        let host = &self.ports.plugins;
        if let Some(known) = host.known(sha256).await.map_err(|fault| refused("component", fault))? {
            return Ok(known);
        }
        // Whoever waits for their turn holds no component meanwhile, and finds one compiled that was the same.
        let _turn = self.plugins.compiling.lock().await;
        if let Some(known) = host.known(sha256).await.map_err(|fault| refused("component", fault))? {
            return Ok(known);
        }
        let component = self.stored_component(sha256).await?;
        host.compile(&component).await.map_err(|fault| refused("component", fault))
    }

    /// A plugin, with the release that delivers made ready. What it does not take is said of `field`.
    pub(super) async fn running(&self, plugin: &Plugin, field: &str) -> Result<Running, Refusal> {
        let sha256 = plugin
            .active
            .as_deref()
            .ok_or_else(|| Refusal::field("release", "is missing: approve a release of the plugin first"))?;
        let release = plugin.delivering().ok_or(Refusal::NotFound("release"))?;
        let ready = self.ready_plugin(sha256).await?;
        let channel = match plugin.connecting {
            Connecting::Required => None,
            Connecting::None | Connecting::Optional => {
                let owner = (Purpose::PluginSecret, &plugin.id.to_bytes());
                let setup = self.plugin_setup(plugin, release, &plugin.settings, owner)?;
                Some(ready.channel(setup).await.map_err(|fault| refused(field, fault))?)
            }
        };
        Ok(Running { plugin: plugin.clone(), ready, channel })
    }

    /// The channel that a plugin is through a tenant's own connection: nothing of the operator's goes into it but the
    /// hosts. `asked` says whether the plugin is shown the settings, besides that its schema takes them.
    pub(in crate::app) async fn connected(
        &self,
        running: &Running,
        connection: &Connection,
        asked: bool,
    ) -> Result<Arc<dyn Channel>, Refusal> {
        let plugin = &running.plugin;
        let release = plugin.delivering().ok_or(Refusal::NotFound("release"))?;
        let owner = (Purpose::ConnectionSecret, &connection.id.to_bytes());
        let setup = self.plugin_setup(plugin, release, &connection.settings, owner)?;
        let account = TenantAccount { connection: connection.id, tenant: connection.tenant };
        let setup = PluginSetup { account: Some(account), asked, ..setup };
        running.ready.channel(setup).await.map_err(|fault| refused("config", fault))
    }

    fn plugin_setup(
        &self,
        plugin: &Plugin,
        release: &Release,
        settings: &Settings,
        owner: (Purpose, &[u8; 16]),
    ) -> Result<PluginSetup, Refusal> {
        Ok(PluginSetup {
            release: release.clone(),
            channel: plugin.channel.clone(),
            account: None,
            asked: true,
            hosts: plugin.hosts.clone(),
            secrets: self.secrets_of(release, settings, owner)?,
            config: settings.config.clone(),
            concurrency: plugin.concurrency,
            timeout: SignedDuration::from_secs(plugin.timeout_seconds.into()),
        })
    }

    /// The secrets that a release asks for: one that it does not know keeps it from nothing, since the release before
    /// may have.
    fn secrets_of(
        &self,
        release: &Release,
        settings: &Settings,
        (purpose, owner): (Purpose, &[u8; 16]),
    ) -> Result<BTreeMap<String, Zeroizing<String>>, Refusal> {
        let is_known = |name: &str| release.secrets.iter().any(|asked| asked.name == name);
        let known = settings.secrets.iter().filter(|(name, _)| is_known(name));
        let open = |(name, sealed): (&String, _)| {
            let text = self.ports.vault.open(purpose, owner, sealed)?;
            Ok((name.clone(), Zeroizing::new(text)))
        };
        known.map(open).collect()
    }
}
