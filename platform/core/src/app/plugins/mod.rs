//! Plugins: installed, approved and switched on by operators, and loaded by every node.

mod components;
mod examine;
mod give;
mod install;
mod load;
mod set_up;
mod switch;

use serde::Serialize;
use serde_json::Value;

pub use examine::{ExaminedPlugin, PluginTrouble, examine_plugin, stored_plugins};
pub use give::Given;
pub(super) use load::{Installed, Loaded, State, said};
pub(super) use set_up::Running;

use super::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::id::{PluginId, TenantId};
use crate::domain::plugin::{Connecting, PLUGINS_MAX, Plugin, PluginChanges, Release};
use crate::ports::{Change, Entity as _, EntityList, Owner, PluginFault, Stored};

/// What is installed.
pub struct NewPlugin {
    /// The component.
    pub component: Vec<u8>,
    /// Its manifest, in which its publisher signs it.
    pub manifest: Option<String>,
    /// Whether one that nobody signed is taken.
    pub unsigned: bool,
    /// Who has to have signed it, as in `ed25519:…`; none: whoever may follow up what is installed.
    pub publisher: Option<String>,
    /// What its channel is called; none: by the last part of the plugin's name in the world. Of one that is there
    /// already, what it is called.
    pub channel: Option<String>,
    /// Names of channels that the configuration has, besides those that this process runs.
    pub configured: Vec<String>,
}

/// For whom a plugin is switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// For whom it was on before; for all, where it never was for some.
    AsBefore,
    /// For all tenants.
    All,
    /// For these.
    Tenants(Vec<TenantId>),
}

/// What an operator approves.
#[derive(Default)]
pub struct Approval {
    /// Which release: its version, or the beginning of its SHA-256, at least 8 characters of it. None: the newest.
    pub release: Option<String>,
    /// The hosts that it may call from now on; none: those that it may call already.
    pub hosts: Option<Vec<String>>,
    /// What it is given besides, in the same moment: a release may ask for more than the one before.
    pub settings: PluginSettings,
}

/// How a plugin is set up. What is not there stays as it is.
#[derive(Default)]
pub struct PluginSettings {
    /// What it works with.
    pub given: Given,
    /// Whether tenants bring connections of their own.
    pub connecting: Option<Connecting>,
    /// Calls of it that may be under way at once.
    pub concurrency: Option<u32>,
    /// Longest that one delivery may take, in seconds.
    pub timeout_seconds: Option<u32>,
}

/// What the audit log says of a plugin: nothing of its settings but their names, since an author may ask for secrets
/// there, whatever the contract says.
#[derive(Serialize)]
struct Told<'a> {
    channel: &'a str,
    package: &'a str,
    publisher: Option<&'a str>,
    installed: Vec<&'a str>,
    active: Option<&'a str>,
    hosts: &'a [String],
    enabled: bool,
    tenants: Option<&'a [TenantId]>,
    connections: &'a str,
    concurrency: u32,
    timeout_seconds: u32,
    config: Vec<&'a str>,
    secrets: Vec<&'a str>,
}

fn told(plugin: &Plugin) -> Told<'_> {
    Told {
        channel: &plugin.channel,
        package: &plugin.package,
        publisher: plugin.publisher.as_deref(),
        installed: plugin.releases.iter().map(|release| release.sha256.as_str()).collect(),
        active: plugin.active.as_deref(),
        hosts: &plugin.hosts,
        enabled: plugin.enabled,
        tenants: plugin.tenants.as_deref(),
        connections: plugin.connecting.name(),
        concurrency: plugin.concurrency,
        timeout_seconds: plugin.timeout_seconds,
        config: plugin.settings.config.keys().map(String::as_str).collect(),
        secrets: plugin.settings.secrets.keys().map(String::as_str).collect(),
    }
}

/// What was done to a plugin that is there.
fn deed(action: &'static str, before: &Plugin, after: &Plugin) -> Deed {
    Deed::of_platform(action, after.id).between(told(before), told(after))
}

/// What the host finds wrong, as of a field of the request.
pub(super) fn refused(field: &str, fault: PluginFault) -> Refusal {
    match fault {
        PluginFault::Refused(words) => Refusal::field(field, words),
        // Whoever gave settings and no secret is told of the secret; whoever approved or switched on, of that.
        PluginFault::MissingSecret { name, about } if field == "config" => {
            Refusal::field(format!("secrets.{name}"), format!("is missing: {about}"))
        }
        fault @ PluginFault::MissingSecret { .. } => Refusal::field(field, format!("does not hold: {fault}")),
        PluginFault::Unavailable(error) => Refusal::NoPlugins(error),
    }
}

impl App {
    /// Every plugin that is installed, oldest first.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn plugins(&self) -> Result<Vec<Plugin>, Refusal> {
        let list = EntityList { limit: 2 * PLUGINS_MAX, ..EntityList::of(Owner::Platform) };
        Ok(self.list_readable(&list).await?.things.into_iter().map(|stored| stored.entity).collect())
    }

    /// A plugin.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn plugin(&self, id: PluginId) -> Result<Plugin, Refusal> {
        Ok(self.stored_plugin(id).await?.entity)
    }

    /// A plugin by its id, the name of its channel, or its name in the world: what an operator types.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn plugin_called(&self, name: &str) -> Result<Plugin, Refusal> {
        if let Ok(id) = name.parse() {
            return self.plugin(id).await;
        }
        let found = match self.find_by::<Plugin>("channel", name).await? {
            Some(found) => Some(found),
            None => self.find_by::<Plugin>("package", name).await?,
        };
        found.map(|stored| stored.entity).ok_or(Refusal::NotFound("plugin"))
    }

    /// What a plugin's settings may be: a JSON Schema of the release that delivers, else of the newest.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::NoPlugins`], [`Refusal::Store`].
    pub async fn plugin_schema(&self, id: PluginId) -> Result<Value, Refusal> {
        let plugin = self.plugin(id).await?;
        let release = plugin.delivering().or(plugin.newest()).ok_or(Refusal::NotFound("release"))?;
        Ok(self.ready_plugin(&release.sha256).await?.config_schema().clone())
    }

    async fn stored_plugin(&self, id: PluginId) -> Result<Stored<Plugin>, Refusal> {
        self.find::<Plugin>(Owner::Platform, id.to_bytes()).await?.ok_or(Refusal::NotFound("plugin"))
    }

    /// Tells every node to look: goes with every change to a plugin.
    async fn plugins_change(&self) -> Result<Change, Refusal> {
        let found = self.find::<PluginChanges>(Owner::Platform, [0; 16]).await?;
        Ok(match found {
            Some(mut found) => {
                found.entity.count += 1;
                Change::replace(&found)
            }
            None => Change::insert(&PluginChanges { count: 1 }),
        })
    }

    /// Makes a change of a plugin, of which every node is told.
    async fn commit_to_plugins(&self, by: &By, deed: Deed, change: Change, noticed: Change) -> Result<(), Refusal> {
        match self.commit(by, vec![deed], vec![change, noticed]).await {
            // The first change of all, and somebody else's came first.
            Err(Refusal::Taken { kind: PluginChanges::KIND, .. }) => Err(Refusal::Conflict),
            done => done,
        }
    }
}

/// A release of a plugin by what an operator calls it.
fn release_called<'a>(plugin: &'a Plugin, name: Option<&str>) -> Result<&'a Release, Refusal> {
    let Some(name) = name else { return plugin.newest().ok_or(Refusal::NotFound("release")) };
    let by_digest = |release: &&Release| name.len() >= 8 && release.sha256.starts_with(name);
    let by_version = |release: &&Release| release.version == name;
    let releases = || plugin.releases.iter().rev();
    if releases().filter(by_version).count() > 1 {
        let digests: Vec<_> = releases().filter(by_version).map(|release| &release.sha256[..12]).collect();
        let words = format!("is what several call themselves; name one by its SHA-256: {}", digests.join(", "));
        return Err(Refusal::field("release", words));
    }
    releases().find(by_digest).or_else(|| releases().find(by_version)).ok_or_else(|| {
        let known: Vec<_> = releases().map(|release| release.version.as_str()).collect();
        Refusal::field("release", format!("is none of those that are installed: {}", known.join(", ")))
    })
}
