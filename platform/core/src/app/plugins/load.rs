//! What of the plugins is ready to deliver on this node.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::lock::Mutex;
use jiff::SignedDuration;

use super::set_up::Running;
use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::plugin::{PLUGINS_MAX, Plugin, PluginChanges};
use crate::domain::routing::ChannelInfo;
use crate::ports::{EntityList, Owner};

/// How long it waits until it tries again to load what did not load, at first and at most.
const TRY_AGAIN: (SignedDuration, SignedDuration) = (SignedDuration::from_secs(30), SignedDuration::from_mins(30));

/// A plugin that is on.
pub(in crate::app) struct Installed {
    /// As operators want it.
    pub plugin: Plugin,
    /// It, once it is loaded. Maybe still as it was before the last change, when that cannot be loaded.
    pub running: Option<Arc<Running>>,
    /// What routing knows of it.
    pub info: ChannelInfo,
    /// When it is tried again to load it as it is wanted, and how long that was put off; none when it is.
    again: Option<(Timestamp, SignedDuration)>,
}

/// What is loaded.
#[derive(Default)]
pub(in crate::app) struct Loaded {
    /// As of so many changes; none before the first look.
    changes: Option<u64>,
    installed: Vec<Arc<Installed>>,
}

impl Loaded {
    /// All that are on, and what routing knows of each, whether or not they are loaded.
    pub(in crate::app) fn wanted(&self) -> impl Iterator<Item = (&Plugin, &ChannelInfo)> {
        self.installed.iter().map(|installed| (&installed.plugin, &installed.info))
    }

    /// All that are on.
    pub(in crate::app) fn installed(&self) -> impl Iterator<Item = &Installed> {
        self.installed.iter().map(|installed| &**installed)
    }

    pub(in crate::app) fn find(&self, channel: &str) -> Option<&Installed> {
        self.installed().find(|installed| installed.plugin.channel == channel)
    }

    /// Whether it is known what is installed: in a server, and not in a command.
    pub(super) fn is_looked_at(&self) -> bool {
        self.changes.is_some()
    }
}

/// What of plugins is kept in memory.
#[derive(Default)]
pub(in crate::app) struct State {
    loaded: RwLock<Arc<Loaded>>,
    /// One loads at a time.
    turn: Mutex<()>,
}

impl State {
    pub(in crate::app) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn set(&self, loaded: Loaded) {
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(loaded);
    }
}

impl App {
    /// Whether a channel is a plugin's that will be ready in a moment: nothing has been looked at yet, or it is not loaded.
    pub(in crate::app) fn is_awaited(&self, channel: &str) -> bool {
        let loaded = self.plugins.loaded();
        loaded.changes.is_none() || loaded.find(channel).is_some_and(|installed| installed.running.is_none())
    }

    /// Loads what changed since the last time. What cannot be loaded goes on as it was, is told of in the log, and is
    /// tried again after half a minute, and then more and more rarely. Each node does this once a second.
    ///
    /// # Errors
    /// [`Refusal::Store`]. What is loaded stays.
    pub async fn load_plugins(&self) -> Result<(), Refusal> {
        let _turn = self.plugins.turn.lock().await;
        let loaded = self.plugins.loaded();
        let found = self.find::<PluginChanges>(Owner::Platform, [0; 16]).await?;
        // Before the plugins are read: what changes meanwhile is seen the next time.
        let changes = found.map_or(0, |found| found.count);
        let is_due = |installed: &Arc<Installed>| installed.again.is_some_and(|(at, _)| at <= self.now());
        if loaded.changes == Some(changes) && !loaded.installed.iter().any(is_due) {
            return Ok(());
        }
        let mut installed = Vec::new();
        if changes > 0 {
            let list = EntityList { limit: 2 * PLUGINS_MAX, ..EntityList::of(Owner::Platform) };
            let read = self.list_readable::<Plugin>(&list).await?;
            // What a newer program wrote, and this one cannot read, goes on as it was.
            let known = loaded.installed.iter().filter(|_| read.things.len() < read.count);
            let is_read = |known: &&Arc<Installed>| read.things.iter().any(|stored| stored.id == known.plugin.id);
            installed.extend(known.filter(|known| !is_read(known)).cloned());
            let wanted = read.things.iter().map(|stored| &stored.entity).filter(|plugin| plugin.enabled);
            installed.extend(wanted.map(|plugin| self.wanted(plugin, &loaded)));
        }
        // At once, before anything is compiled: what is off, or allowed less, is so from now on.
        self.plugins.set(Loaded { changes: Some(changes), installed: installed.clone() });
        for place in 0..installed.len() {
            if installed[place].again.is_some_and(|(at, _)| at <= self.now()) {
                installed[place] = self.loaded(&installed[place]).await;
                self.plugins.set(Loaded { changes: Some(changes), installed: installed.clone() });
            }
        }
        Ok(())
    }

    /// A plugin as it is wanted, with what is there of it already.
    fn wanted(&self, plugin: &Plugin, loaded: &Loaded) -> Arc<Installed> {
        let info = ChannelInfo {
            name: plugin.channel.clone(),
            reaches: plugin.delivering().map(|release| release.reaches.clone()).unwrap_or_default(),
            own_room: 2 * plugin.concurrency as usize,
        };
        let Some(known) = loaded.installed.iter().find(|known| known.plugin.id == plugin.id) else {
            let again = Some((Timestamp::MIN, SignedDuration::ZERO));
            return Arc::new(Installed { plugin: plugin.clone(), running: None, info, again });
        };
        // For whom it is on changes nothing in it: what its breaker knows stays.
        let is_same = Plugin { tenants: known.plugin.tenants.clone(), ..plugin.clone() } == known.plugin;
        // It goes on as it was for a moment, but with nothing that was taken from it.
        let is_less = known.plugin.settings.secrets != plugin.settings.secrets
            || known.plugin.hosts.iter().any(|host| !plugin.hosts.contains(host));
        let running = known.running.clone().filter(|_| is_same || !is_less);
        let again = if is_same { known.again } else { Some((Timestamp::MIN, SignedDuration::ZERO)) };
        Arc::new(Installed { plugin: plugin.clone(), running, info, again })
    }

    /// The same, loaded as it is wanted; or as it is, with when to try again.
    async fn loaded(&self, wanted: &Arc<Installed>) -> Arc<Installed> {
        let plugin = wanted.plugin.clone();
        let made = match self.ports.channels.iter().any(|channel| channel.name() == plugin.channel) {
            true => Err(Refusal::field("channel", "is the name of a channel in this node's configuration as well")),
            false => self.running(&plugin, "config").await,
        };
        let info = wanted.info.clone();
        match made {
            Ok(running) => Arc::new(Installed { plugin, running: Some(Arc::new(running)), info, again: None }),
            Err(refusal) => {
                let (shortest, longest) = TRY_AGAIN;
                let (_, put_off) = wanted.again.unwrap_or_default();
                let pause = (put_off * 2).clamp(shortest, longest);
                let (channel, why) = (plugin.channel.as_str(), said(&refusal));
                let (error, seconds) = (&refusal as &dyn std::error::Error, pause.as_secs());
                tracing::error!(
                    channel,
                    why,
                    error,
                    seconds,
                    "a plugin cannot be loaded on this node; it is tried again"
                );
                let again = Some((self.now().saturating_add(pause).unwrap_or(Timestamp::MAX), pause));
                Arc::new(Installed { plugin, running: wanted.running.clone(), info, again })
            }
        }
    }
}

/// What is wrong, field by field.
pub(in crate::app) fn said(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid(fields) => {
            let said = fields.iter().map(|error| format!("{} {}", error.field, error.message));
            said.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}
