use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::refused;
use crate::app::{App, Refusal};
use crate::domain::plugin::{Plugin, Settings};
use crate::domain::vault::Purpose;
use crate::ports::{Channel, PluginSetup, ReadyPlugin};

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

    /// The channel that a plugin is, with the release that delivers. What it does not take is said of `field`.
    pub(super) async fn plugin_channel(&self, plugin: &Plugin, field: &str) -> Result<Arc<dyn Channel>, Refusal> {
        let sha256 = plugin
            .active
            .as_deref()
            .ok_or_else(|| Refusal::field("release", "is missing: approve a release of the plugin first"))?;
        let release = plugin.delivering().ok_or(Refusal::NotFound("release"))?;
        let ready = self.ready_plugin(sha256).await?;
        let setup = PluginSetup {
            release: release.clone(),
            channel: plugin.channel.clone(),
            hosts: plugin.hosts.clone(),
            secrets: self.plugin_secrets(plugin)?,
            config: plugin.settings.config.clone(),
            concurrency: plugin.concurrency,
            timeout: SignedDuration::from_secs(plugin.timeout_seconds.into()),
        };
        ready.channel(setup).await.map_err(|fault| refused(field, fault))
    }

    /// The secrets that the release that delivers asks for: one that it does not know keeps it from nothing, since the
    /// release before may have.
    fn plugin_secrets(&self, plugin: &Plugin) -> Result<BTreeMap<String, Zeroizing<String>>, Refusal> {
        let asked = plugin.delivering().map(|release| release.secrets.as_slice()).unwrap_or_default();
        let Settings { secrets, .. } = &plugin.settings;
        let known = secrets.iter().filter(|(name, _)| asked.iter().any(|secret| secret.name == **name));
        let open = |(name, sealed): (&String, _)| {
            let text = self.ports.vault.open(Purpose::PluginSecret, &plugin.id.to_bytes(), sealed)?;
            Ok((name.clone(), Zeroizing::new(text)))
        };
        known.map(open).collect()
    }
}
