use std::collections::BTreeSet;

use super::{Approval, Audience, PluginSettings, deed, refused, release_called, told};
use crate::app::commit::tried_again;
use crate::app::{App, FieldError, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::id::PluginId;
use crate::domain::plugin::{
    CALLS_MAX, CALLS_OF_ONE_MAX, Connecting, HOSTS_MAX, Plugin, Previous, Release, TENANTS_MAX, TIMEOUT_MAX_SECONDS,
};
use crate::domain::vault::Purpose;
use crate::ports::{Change, Stored};

impl App {
    /// Approves a release: it delivers from now on, and may call these hosts. Calls that are under way end with the
    /// release that they began with.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where it calls hosts that nobody approved, or does not take the settings that are there;
    /// [`Refusal::NotFound`], [`Refusal::NoPlugins`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn approve_plugin(&self, by: &By, id: PluginId, approval: Approval) -> Result<Plugin, Refusal> {
        // The one that is meant now, whatever is installed meanwhile.
        let meant = release_called(&self.plugin(id).await?, approval.release.as_deref())?.sha256.clone();
        let (approval, meant) = (&approval, &meant);
        self.change_plugin(by, id, "plugin.approve", |mut plugin: Plugin| async move {
            let release = plugin.release(meant).ok_or(Refusal::NotFound("release"))?.clone();
            let hosts = match &approval.hosts {
                Some(hosts) => self.approved(&release, hosts)?,
                None => plugin.hosts.clone(),
            };
            plugin.publisher = plugin.publisher.take().or_else(|| release.publisher.clone());
            plugin.activate(&release.sha256, hosts, plugin.settings.clone());
            holds_hosts(&plugin, &release)?;
            self.set_up(&mut plugin, &approval.settings)?;
            self.holds_calls(&plugin).await?;
            self.holds_while_on(&plugin, "release").await?;
            Ok(plugin)
        })
        .await
    }

    /// Lets the release deliver that did before, with the hosts and settings that it had then.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where there is none; [`Refusal::NotFound`], [`Refusal::NoPlugins`], [`Refusal::Conflict`],
    /// [`Refusal::Store`].
    pub async fn roll_back_plugin(&self, by: &By, id: PluginId) -> Result<Plugin, Refusal> {
        // Of two who go back at once, the second would go forward again.
        let left = &self.plugin(id).await?.active;
        self.change_plugin(by, id, "plugin.roll_back", |mut plugin: Plugin| async move {
            if plugin.active != *left {
                return Err(Refusal::Conflict);
            }
            let before = plugin.previous.clone().filter(|before| plugin.release(&before.sha256).is_some());
            let Some(Previous { sha256, hosts, settings, connecting }) = before else {
                return Err(Refusal::field("release", "cannot be gone back from: no other delivered before"));
            };
            plugin.activate(&sha256, hosts, settings);
            plugin.connecting = connecting.unwrap_or(plugin.connecting);
            self.holds_while_on(&plugin, "release").await?;
            Ok(plugin)
        })
        .await
    }

    /// Gives a plugin what it works with.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where it does not take it; [`Refusal::NotFound`], [`Refusal::NoPlugins`],
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn configure_plugin(&self, by: &By, id: PluginId, given: PluginSettings) -> Result<Plugin, Refusal> {
        let given = &given;
        self.change_plugin(by, id, "plugin.configure", |mut plugin: Plugin| async move {
            self.set_up(&mut plugin, given)?;
            self.holds_calls(&plugin).await?;
            // At once, and not when it is switched on: whoever typed it is there now.
            self.running(&plugin, "config").await?;
            Ok(plugin)
        })
        .await
    }

    /// Sets a plugin up, without seeing whether it takes what it is given.
    fn set_up(&self, plugin: &mut Plugin, settings: &PluginSettings) -> Result<(), Refusal> {
        within_bounds(settings)?;
        plugin.connecting = settings.connecting.unwrap_or(plugin.connecting);
        if plugin.connecting == Connecting::Required && settings.given.gives() {
            let words = "is not used: each tenant brings a connection of its own; leave out settings and secrets";
            return Err(Refusal::field("connections", words));
        }
        // Also those of a release that is to be approved next.
        let known: BTreeSet<_> =
            plugin.releases.iter().flat_map(|release| &release.secrets).map(|asked| asked.name.clone()).collect();
        let owner = (Purpose::PluginSecret, &plugin.id.to_bytes());
        self.give(&mut plugin.settings, &settings.given, |name| known.contains(name), owner)?;
        plugin.concurrency = settings.concurrency.unwrap_or(plugin.concurrency);
        plugin.timeout_seconds = settings.timeout_seconds.unwrap_or(plugin.timeout_seconds);
        Ok(())
    }

    /// Switches a plugin on.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] where it cannot deliver yet; [`Refusal::NotFound`], [`Refusal::NoPlugins`],
    /// [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn enable_plugin(&self, by: &By, id: PluginId, audience: Audience) -> Result<Plugin, Refusal> {
        let tenants = match audience {
            Audience::AsBefore => None,
            Audience::All => Some(None),
            Audience::Tenants(mut tenants) => {
                tenants.sort_unstable();
                tenants.dedup();
                Some(Some(tenants))
            }
        };
        let named = tenants.iter().flatten().next();
        if named.is_some_and(|tenants| tenants.is_empty() || tenants.len() > TENANTS_MAX) {
            return Err(Refusal::field("tenants", format!("names 1 to {TENANTS_MAX} tenants")));
        }
        for tenant in named.into_iter().flatten() {
            if self.ports.store.tenant(*tenant).find_tenant().await?.is_none() {
                return Err(Refusal::field("tenants", format!("names `{tenant}`, which is no tenant")));
            }
        }
        let tenants = &tenants;
        self.change_plugin(by, id, "plugin.enable", |mut plugin: Plugin| async move {
            plugin.enabled = true;
            if let Some(tenants) = tenants {
                plugin.tenants.clone_from(tenants);
            }
            self.holds_calls(&plugin).await?;
            self.holds_while_on(&plugin, "config").await?;
            Ok(plugin)
        })
        .await
    }

    /// Switches a plugin off. Calls that are under way end; what waits for it goes to the next channel.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn disable_plugin(&self, by: &By, id: PluginId) -> Result<Plugin, Refusal> {
        self.change_plugin(by, id, "plugin.disable", |mut plugin: Plugin| async move {
            plugin.enabled = false;
            Ok(plugin)
        })
        .await
    }

    /// Removes a plugin that is switched off, with its settings, secrets and components. Connections of tenants to it are
    /// theirs, and stay until they delete them.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] while it is on; [`Refusal::NotFound`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn remove_plugin(&self, by: &By, id: PluginId) -> Result<(), Refusal> {
        let removed = tried_again(|| async {
            let noticed = self.plugins_change().await?;
            let found = self.stored_plugin(id).await?;
            if found.enabled {
                return Err(Refusal::field("id", "is of a plugin that is switched on; switch it off first"));
            }
            let deed = Deed::of_platform("plugin.remove", id).before(told(&found));
            self.commit_to_plugins(by, deed, Change::delete(&found), noticed).await
        });
        removed.await?;
        if let Err(error) = self.drop_orphans().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "components that nothing names are still there");
        }
        self.go_by_plugins(id).await;
        Ok(())
    }

    /// Goes by what was changed of a plugin, on this node: a command goes by none.
    async fn go_by_plugins(&self, id: PluginId) {
        if !self.plugins.loaded().is_looked_at() {
            return;
        }
        if let Err(error) = self.look_at_plugins().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "plugins are looked at again in a moment");
        }
        // And no other: whoever changes one waits for no other that is compiled.
        self.load_plugin(id).await;
    }

    /// Changes a plugin as it is now; this node goes by it at once, the others within a second.
    async fn change_plugin<F>(
        &self,
        by: &By,
        id: PluginId,
        action: &'static str,
        change: impl Fn(Plugin) -> F + Send + Sync,
    ) -> Result<Plugin, Refusal>
    where
        F: Future<Output = Result<Plugin, Refusal>> + Send,
    {
        let changed = tried_again(|| async {
            // Before anything is read that the change rests on.
            let noticed = self.plugins_change().await?;
            let mut found: Stored<Plugin> = self.stored_plugin(id).await?;
            let before = found.entity.clone();
            match change(found.entity).await {
                Ok(changed) => found.entity = changed,
                // Also a conflict, if that is what the change says.
                Err(refusal) => return Ok(Err(refusal)),
            }
            if found.entity != before {
                let deed = deed(action, &before, &found);
                self.commit_to_plugins(by, deed, Change::replace(&found), noticed).await?;
            }
            Ok(Ok((found.entity, before)))
        });
        let (plugin, before) = changed.await??;
        if plugin != before {
            self.go_by_plugins(id).await;
        }
        Ok(plugin)
    }

    /// The hosts that an operator names for a release, as they are written.
    fn approved(&self, release: &Release, hosts: &[String]) -> Result<Vec<String>, Refusal> {
        if hosts.len() > HOSTS_MAX {
            return Err(Refusal::field("hosts", format!("names at most {HOSTS_MAX}")));
        }
        let mut approved = Vec::with_capacity(hosts.len());
        for host in hosts {
            let host = self.ports.plugins.host(host).map_err(|fault| refused("hosts", fault))?;
            if !release.calls_any() && !release.hosts.contains(&host) {
                let words =
                    format!("names `{host}`, which the plugin does not call; it calls {}", listed(&release.hosts));
                return Err(Refusal::field("hosts", words));
            }
            if !approved.contains(&host) {
                approved.push(host);
            }
        }
        Ok(approved)
    }

    /// What is switched on has to work before it is stored.
    async fn holds_while_on(&self, plugin: &Plugin, field: &str) -> Result<(), Refusal> {
        match plugin.enabled {
            true => self.running(plugin, field).await.map(drop),
            false => Ok(()),
        }
    }

    /// All that are on together get no more calls than there is room for.
    async fn holds_calls(&self, plugin: &Plugin) -> Result<(), Refusal> {
        if !plugin.enabled {
            return Ok(());
        }
        let others = self.plugins().await?;
        let others = others.iter().filter(|other| other.enabled && other.id != plugin.id);
        let left = CALLS_MAX.saturating_sub(others.map(|other| other.concurrency).sum());
        if plugin.concurrency <= left {
            return Ok(());
        }
        let words = format!(
            "is {}, and the plugins that are on leave {left} of {CALLS_MAX} calls at once; lower it, or that of another",
            plugin.concurrency
        );
        Err(Refusal::field("concurrency", words))
    }
}

fn within_bounds(settings: &PluginSettings) -> Result<(), Refusal> {
    let mut wrong = settings.given.too_large();
    let mut say = |field: &str, message: String| wrong.push(FieldError { field: field.to_owned(), message });
    if settings.concurrency.is_some_and(|calls| !(1..=CALLS_OF_ONE_MAX).contains(&calls)) {
        say("concurrency", format!("is 1 to {CALLS_OF_ONE_MAX}"));
    }
    if settings.timeout_seconds.is_some_and(|seconds| !(1..=TIMEOUT_MAX_SECONDS).contains(&seconds)) {
        say("timeout_seconds", format!("is 1 to {TIMEOUT_MAX_SECONDS}"));
    }
    if wrong.is_empty() { Ok(()) } else { Err(Refusal::Invalid(wrong)) }
}

/// A release delivers only where all hosts that it calls are approved.
fn holds_hosts(plugin: &Plugin, release: &Release) -> Result<(), Refusal> {
    if release.calls_any() && plugin.hosts.is_empty() {
        let words = "is empty, and the plugin calls those that you name; name the one of your gateway";
        return Err(Refusal::field("hosts", words));
    }
    let asked = plugin.unapproved(release);
    if asked.is_empty() {
        return Ok(());
    }
    let words = format!(
        "leaves out {}, which version {} calls as well; name all that it may call: {}",
        listed(&asked),
        release.version,
        listed(&release.hosts)
    );
    Err(Refusal::field("hosts", words))
}

fn listed(hosts: &[String]) -> String {
    if hosts.is_empty() { "none".to_owned() } else { hosts.join(", ") }
}
