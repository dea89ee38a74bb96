//! How an installed plugin fares on a machine, for whoever looks while no server has to run.

use super::components::component_of;
use super::set_up::{opened, operators_setup};
use crate::domain::plugin::{Connecting, PLUGINS_MAX, Plugin};
use crate::domain::vault::Vault;
use crate::ports::{Entity as _, EntityList, Owner, PluginFault, PluginHost, Store, StoreError, Stored};

/// Something that keeps a plugin from delivering as operators want it.
#[derive(Debug, thiserror::Error)]
pub enum PluginTrouble {
    /// What is stored of its component is not all of it, or something else.
    #[error("its component is not in the store as it was installed")]
    Component,
    /// A secret is sealed with another key.
    #[error("its secret `{0}` does not open with the master key")]
    Secret(String),
    /// It has none, and cannot do without.
    #[error("it needs the secret `{0}`, which it was not given")]
    NoSecret(String),
    /// Whatever runs plugins finds something wrong with it, or with its settings.
    #[error("it {0}")]
    Refused(String),
    /// Nothing runs plugins here.
    #[error("it cannot be run here")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// What was seen of a plugin.
#[derive(Debug, Default)]
pub struct ExaminedPlugin {
    /// Whether its component was compiled on this machine, for the engine of this program.
    pub is_compiled: bool,
    /// What is wrong.
    pub troubles: Vec<PluginTrouble>,
}

/// The plugins that are installed and can be read, oldest first, and how many cannot.
///
/// # Errors
/// [`StoreError`].
pub async fn stored_plugins(store: &dyn Store) -> Result<(Vec<Plugin>, usize), StoreError> {
    let list = EntityList { limit: 2 * PLUGINS_MAX, ..EntityList::of(Owner::Platform) };
    let rows = store.list_entities(Plugin::KIND, &list).await?;
    let all = rows.len();
    let plugins: Vec<Plugin> =
        rows.into_iter().filter_map(|row| Stored::read(row).ok()).map(|stored| stored.entity).collect();
    let unreadable = all - plugins.len();
    Ok((plugins, unreadable))
}

/// Looks at the release of a plugin that delivers as a server would that loads it, and compiles nothing. One that none was
/// approved of has no trouble.
///
/// # Errors
/// [`StoreError`]. A component that is damaged is none.
pub async fn examine_plugin(
    store: &dyn Store,
    vault: &Vault,
    host: &dyn PluginHost,
    plugin: &Plugin,
) -> Result<ExaminedPlugin, StoreError> {
    let mut examined = ExaminedPlugin::default();
    let Some(release) = plugin.delivering() else { return Ok(examined) };
    let troubles = &mut examined.troubles;
    match component_of(store, &release.sha256).await {
        Ok(_) => {}
        Err(StoreError::Damaged(_)) => troubles.push(PluginTrouble::Component),
        Err(error) => return Err(error),
    }
    // Where each tenant brings an account, the operator gives it nothing.
    let is_operators = plugin.connecting != Connecting::Required;
    for asked in release.secrets.iter().filter(|_| is_operators) {
        match plugin.settings.secrets.get(&asked.name) {
            Some(sealed) if opened(vault, plugin, sealed).is_err() => {
                troubles.push(PluginTrouble::Secret(asked.name.clone()));
            }
            None if !asked.optional => troubles.push(PluginTrouble::NoSecret(asked.name.clone())),
            _ => {}
        }
    }
    let ready = match host.known(&release.sha256).await {
        Ok(ready) => ready,
        Err(fault) => {
            troubles.push(trouble(fault));
            return Ok(examined);
        }
    };
    examined.is_compiled = ready.is_some();
    // What stands above would be said again.
    if let Some(ready) = ready.filter(|_| is_operators && examined.troubles.is_empty())
        && let Ok(setup) = operators_setup(vault, plugin, release)
        && let Err(fault) = ready.channel(setup).await
    {
        examined.troubles.push(trouble(fault));
    }
    Ok(examined)
}

fn trouble(fault: PluginFault) -> PluginTrouble {
    match fault {
        PluginFault::Refused(words) => PluginTrouble::Refused(words),
        PluginFault::MissingSecret { name, .. } => PluginTrouble::NoSecret(name),
        PluginFault::Unavailable(error) => PluginTrouble::Unavailable(error),
    }
}
