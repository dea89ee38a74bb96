use std::sync::Arc;

use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::refused;
use crate::app::{App, Refusal};
use crate::domain::plugin::{Plugin, Release};
use crate::domain::vault::{Purpose, Sealed, Vault, VaultError};
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
        let setup = setup(&self.ports.vault, plugin, release)?;
        ready.channel(setup).await.map_err(|fault| refused(field, fault))
    }
}

/// What a release that delivers is given: of the secrets those that it asks for, since one that it does not know keeps it
/// from nothing; the release before may have.
pub(super) fn setup(vault: &Vault, plugin: &Plugin, release: &Release) -> Result<PluginSetup, VaultError> {
    let asked = |name: &str| release.secrets.iter().any(|secret| secret.name == name);
    let known = plugin.settings.secrets.iter().filter(|(name, _)| asked(name));
    let secrets = known.map(|(name, sealed)| Ok((name.clone(), opened(vault, plugin, sealed)?)));
    Ok(PluginSetup {
        release: release.clone(),
        channel: plugin.channel.clone(),
        hosts: plugin.hosts.clone(),
        secrets: secrets.collect::<Result<_, VaultError>>()?,
        config: plugin.settings.config.clone(),
        concurrency: plugin.concurrency,
        timeout: SignedDuration::from_secs(plugin.timeout_seconds.into()),
    })
}

/// A secret of a plugin's.
pub(super) fn opened(vault: &Vault, plugin: &Plugin, sealed: &Sealed) -> Result<Zeroizing<String>, VaultError> {
    vault.open(Purpose::PluginSecret, &plugin.id.to_bytes(), sealed).map(Zeroizing::new)
}
