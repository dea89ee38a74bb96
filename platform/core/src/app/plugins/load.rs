//! What of the plugins is ready to deliver on this node.

use std::sync::{Arc, PoisonError, RwLock};

use futures_util::lock::{Mutex, OwnedMutexGuard};
use jiff::SignedDuration;

use super::set_up::Running;
use crate::app::channels::{Found, Way};
use crate::app::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::id::PluginId;
use crate::domain::plugin::{Connecting, PLUGINS_MAX, Plugin, PluginChanges};
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
    /// Held by who loads it as it is wanted. Another one once that is something else, so that a change waits for nobody who
    /// still compiles what was wanted before.
    claim: Arc<Mutex<()>>,
}

impl Installed {
    /// It through the operator's account, as far as messages go out through that.
    pub(in crate::app) fn operators(&self) -> Found {
        let Some(running) = &self.running else { return Found::Awaited };
        match &running.channel {
            _ if self.plugin.connecting == Connecting::Required => Found::Nothing,
            Some(channel) => Found::Way(Way::operators(Arc::clone(channel))),
            // A moment ago each tenant brought its own.
            None => Found::Awaited,
        }
    }

    fn is_due(&self, now: Timestamp) -> bool {
        self.again.is_some_and(|(at, _)| at <= now)
    }
}

/// What came of loading a plugin.
struct Made {
    /// It; none where it cannot be loaded.
    running: Option<Arc<Running>>,
    /// When to try again, and how long that was put off.
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
    /// One looks at a time, or one that is slow would put back what it saw before another did.
    looking: Mutex<()>,
    /// One is compiled at a time.
    pub(super) compiling: Mutex<()>,
}

impl State {
    pub(in crate::app) fn loaded(&self) -> Arc<Loaded> {
        Arc::clone(&self.loaded.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes it as it is in that moment: nobody's change is lost.
    fn change(&self, change: impl FnOnce(&Loaded) -> Loaded) {
        let mut loaded = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        *loaded = Arc::new(change(&loaded));
    }

    /// Puts what came of loading in its place, if it is still what is wanted.
    fn put(&self, claimed: &Installed, made: &Made) {
        let placed = |installed: &Arc<Installed>| match Arc::ptr_eq(&installed.claim, &claimed.claim) {
            // For whom it is on may have changed meanwhile.
            true => Arc::new(Installed {
                plugin: installed.plugin.clone(),
                running: made.running.clone().or_else(|| installed.running.clone()),
                info: installed.info.clone(),
                again: made.again,
                claim: Arc::clone(&installed.claim),
            }),
            false => Arc::clone(installed),
        };
        self.change(|loaded| Loaded {
            changes: loaded.changes,
            installed: loaded.installed.iter().map(placed).collect(),
        });
    }
}

impl App {
    /// Whether a channel is a plugin's that will be ready in a moment: nothing has been looked at yet, or it is not loaded.
    pub(in crate::app) fn is_awaited(&self, channel: &str) -> bool {
        let loaded = self.plugins.loaded();
        loaded.changes.is_none() || loaded.find(channel).is_some_and(|installed| installed.running.is_none())
    }

    /// Looks what changed since the last time, and loads it; what somebody else loads at this moment is not waited for.
    ///
    /// # Errors
    /// [`Refusal::Store`]. What is loaded stays.
    pub async fn load_plugins(&self) -> Result<(), Refusal> {
        self.look_at_plugins().await?;
        self.load_due_plugins().await;
        Ok(())
    }

    /// Looks what changed since the last time: what is off, or allowed less, is so from now on. Each node does this once a
    /// second, and it waits for nothing that is compiled.
    ///
    /// # Errors
    /// [`Refusal::Store`]. What is loaded stays.
    pub async fn look_at_plugins(&self) -> Result<(), Refusal> {
        let _looking = self.plugins.looking.lock().await;
        let found = self.find::<PluginChanges>(Owner::Platform, [0; 16]).await?;
        // Before the plugins are read: what changes meanwhile is seen the next time.
        let changes = found.map_or(0, |found| found.count);
        if self.plugins.loaded().changes == Some(changes) {
            return Ok(());
        }
        let list = EntityList { limit: 2 * PLUGINS_MAX, ..EntityList::of(Owner::Platform) };
        let read = if changes > 0 { Some(self.list_readable::<Plugin>(&list).await?) } else { None };
        self.plugins.change(|loaded| {
            let mut installed = Vec::new();
            if let Some(read) = &read {
                // What a newer program wrote, and this one cannot read, goes on as it was.
                let known = loaded.installed.iter().filter(|_| read.things.len() < read.count);
                let is_read = |known: &&Arc<Installed>| read.things.iter().any(|stored| stored.id == known.plugin.id);
                installed.extend(known.filter(|known| !is_read(known)).cloned());
                let wanted = read.things.iter().map(|stored| &stored.entity).filter(|plugin| plugin.enabled);
                installed.extend(wanted.map(|plugin| wanted_of(plugin, loaded)));
            }
            Loaded { changes: Some(changes), installed }
        });
        self.connections.prune(&self.plugins.loaded());
        Ok(())
    }

    /// Loads what is wanted and not loaded, and nobody else loads. What cannot be loaded goes on as it was, is told of in the
    /// log, and is tried again after half a minute, and then more and more rarely.
    pub async fn load_due_plugins(&self) {
        while let Some((installed, _claim)) = self.claimed_plugin(None) {
            let made = self.made(&installed).await;
            self.plugins.put(&installed, &made);
            self.connections.prune(&self.plugins.loaded());
        }
    }

    /// Loads this one as it is wanted, if that is to be done; if somebody does it, until they have.
    pub(super) async fn load_plugin(&self, id: PluginId) {
        if let Some((installed, _claim)) = self.claimed_plugin(Some(id)) {
            let made = self.made(&installed).await;
            self.plugins.put(&installed, &made);
            self.connections.prune(&self.plugins.loaded());
        }
        let loaded = self.plugins.loaded();
        if let Some(installed) = loaded.installed.iter().find(|installed| installed.plugin.id == id) {
            drop(installed.claim.lock().await);
        }
    }

    /// How many plugins are to be loaded and nobody loads now, as they are wanted.
    pub fn due_plugins(&self) -> usize {
        let (loaded, now) = (self.plugins.loaded(), self.now());
        let is_free = |installed: &&Arc<Installed>| installed.claim.try_lock().is_some();
        loaded.installed.iter().filter(|installed| installed.is_due(now)).filter(is_free).count()
    }

    /// The plugins that are on, by the names of their channels, and whether this node runs each as it is wanted.
    pub fn plugins_here(&self) -> Vec<(String, bool)> {
        let loaded = self.plugins.loaded();
        let told = |installed: &Arc<Installed>| (installed.plugin.channel.clone(), installed.again.is_none());
        loaded.installed.iter().map(told).collect()
    }

    /// A plugin that is to be loaded, if it may be any or is this one, and the right to do it, which ends when it is dropped: whoever gives up half way leaves it
    /// to the next.
    fn claimed_plugin(&self, only: Option<PluginId>) -> Option<(Arc<Installed>, OwnedMutexGuard<()>)> {
        let (loaded, now) = (self.plugins.loaded(), self.now());
        let is_wanted = |installed: &&Arc<Installed>| only.is_none_or(|only| installed.plugin.id == only);
        let due = loaded.installed.iter().filter(|installed| installed.is_due(now)).filter(is_wanted);
        let claimed = due.filter_map(|installed| Some((installed, installed.claim.clone().try_lock_owned()?)));
        // Somebody may have loaded it between the look and the claim.
        let is_still = |installed: &Installed| {
            let loaded = self.plugins.loaded();
            loaded.installed.iter().any(|one| Arc::ptr_eq(&one.claim, &installed.claim) && one.is_due(now))
        };
        claimed.map(|(installed, claim)| (Arc::clone(installed), claim)).find(|(installed, _)| is_still(installed))
    }

    /// A plugin, loaded as it is wanted; or when to try again.
    async fn made(&self, wanted: &Installed) -> Made {
        let plugin = &wanted.plugin;
        let made = match self.ports.channels.iter().any(|channel| channel.name() == plugin.channel) {
            true => Err(Refusal::field("channel", "is the name of a channel in this node's configuration as well")),
            false => self.running(plugin, "config").await,
        };
        match made {
            Ok(running) => Made { running: Some(Arc::new(running)), again: None },
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
                let at = self.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
                Made { running: None, again: Some((at, pause)) }
            }
        }
    }
}

/// A plugin as it is wanted, with what is there of it already.
fn wanted_of(plugin: &Plugin, loaded: &Loaded) -> Arc<Installed> {
    let info = ChannelInfo {
        name: plugin.channel.clone(),
        reaches: plugin.delivering().map(|release| release.reaches.clone()).unwrap_or_default(),
        own_room: 2 * plugin.concurrency as usize,
    };
    let Some(known) = loaded.installed.iter().find(|known| known.plugin.id == plugin.id) else {
        let again = Some((Timestamp::MIN, SignedDuration::ZERO));
        return Arc::new(Installed { plugin: plugin.clone(), running: None, info, again, claim: Arc::default() });
    };
    // For whom it is on changes nothing in it: what its breaker knows stays.
    let is_same = Plugin { tenants: known.plugin.tenants.clone(), ..plugin.clone() } == known.plugin;
    // It goes on as it was for a moment, but with nothing that was taken from it.
    let is_less = known.plugin.settings.secrets != plugin.settings.secrets
        || known.plugin.hosts.iter().any(|host| !plugin.hosts.contains(host));
    let running = known.running.clone().filter(|_| is_same || !is_less);
    let (again, claim) = match is_same {
        true => (known.again, Arc::clone(&known.claim)),
        false => (Some((Timestamp::MIN, SignedDuration::ZERO)), Arc::default()),
    };
    Arc::new(Installed { plugin: plugin.clone(), running, info, again, claim })
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
