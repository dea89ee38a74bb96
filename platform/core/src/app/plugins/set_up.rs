use std::sync::Arc;

use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::refused;
use crate::app::{App, Refusal};
use crate::domain::connection::Connection;
use crate::domain::plugin::{Connecting, Plugin, Release, Settings};
use crate::domain::vault::{Purpose, Sealed, Vault, VaultError};
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

    /// Whether its provider takes back what was sent, whoever's account it went through.
    pub(in crate::app) fn revokes(&self) -> bool {
        self.ready.revokes()
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
                let setup = operators_setup(&self.ports.vault, plugin, release)?;
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
        let setup = setup(&self.ports.vault, plugin, release, &connection.settings, owner)?;
        let account = TenantAccount { connection: connection.id, tenant: connection.tenant };
        let setup = PluginSetup { account: Some(account), asked, ..setup };
        running.ready.channel(setup).await.map_err(|fault| refused("config", fault))
    }
}

/// What a plugin is given to deliver through the operator's account.
pub(super) fn operators_setup(vault: &Vault, plugin: &Plugin, release: &Release) -> Result<PluginSetup, VaultError> {
    setup(vault, plugin, release, &plugin.settings, (Purpose::PluginSecret, &plugin.id.to_bytes()))
}

/// What a release that delivers is given: of the secrets those that it asks for, since one that it does not know keeps it
/// from nothing; the release before may have.
fn setup(
    vault: &Vault,
    plugin: &Plugin,
    release: &Release,
    settings: &Settings,
    (purpose, owner): (Purpose, &[u8; 16]),
) -> Result<PluginSetup, VaultError> {
    let asked = |name: &str| release.secrets.iter().any(|secret| secret.name == name);
    let known = settings.secrets.iter().filter(|(name, _)| asked(name));
    let open = |sealed: &Sealed| vault.open(purpose, owner, sealed).map(Zeroizing::new);
    let secrets = known.map(|(name, sealed)| Ok((name.clone(), open(sealed)?)));
    Ok(PluginSetup {
        release: release.clone(),
        channel: plugin.channel.clone(),
        account: None,
        asked: true,
        hosts: plugin.hosts.clone(),
        secrets: secrets.collect::<Result<_, VaultError>>()?,
        config: settings.config.clone(),
        concurrency: plugin.concurrency,
        timeout: SignedDuration::from_secs(plugin.timeout_seconds.into()),
    })
}

/// A secret that the operator gave.
pub(super) fn opened(vault: &Vault, plugin: &Plugin, sealed: &Sealed) -> Result<Zeroizing<String>, VaultError> {
    vault.open(Purpose::PluginSecret, &plugin.id.to_bytes(), sealed).map(Zeroizing::new)
}
