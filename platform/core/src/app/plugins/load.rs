//! What of the plugins is ready to deliver on this node.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::lock::Mutex;
use jiff::SignedDuration;

use crate::app::{App, Refusal, channels};
use crate::domain::Timestamp;
use crate::domain::plugin::{Plugin, PluginChanges};
use crate::domain::routing::ChannelInfo;
use crate::ports::{Channel, Owner};

/// How long it waits until it tries again to load what did not load.
const TRY_AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// A plugin that delivers.
pub(in crate::app) struct Installed {
    /// As operators want it.
    pub plugin: Plugin,
    /// It. Maybe still as it was before the last change, when that cannot be loaded.
    pub channel: Arc<dyn Channel>,
    /// What routing knows of it.
    pub info: ChannelInfo,
    /// Whether it is as operators want it.
    current: bool,
}

/// What is loaded.
#[derive(Default)]
pub(in crate::app) struct Loaded {
    /// As of so many changes; none before the first look.
    changes: Option<u64>,
    installed: Vec<Arc<Installed>>,
    /// Channels that are on and not ready here.
    awaited: BTreeSet<String>,
    /// When it is tried again.
    again_at: Option<Timestamp>,
}

impl Loaded {
    pub(in crate::app) fn ready(&self) -> impl Iterator<Item = &Installed> {
        self.installed.iter().map(|installed| &**installed)
    }

    pub(in crate::app) fn find(&self, channel: &str) -> Option<&Installed> {
        self.ready().find(|installed| installed.plugin.channel == channel)
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
    /// Whether a channel is a plugin's that will be ready in a moment: nothing has been looked at yet, or it did not load.
    pub(in crate::app) fn is_awaited(&self, channel: &str) -> bool {
        let loaded = self.plugins.loaded();
        loaded.changes.is_none() || loaded.awaited.contains(channel)
    }

    /// Loads what changed since the last time. What cannot be loaded goes on as it was, is told of in the log, and is
    /// tried again after half a minute. Each node does this once a second.
    ///
    /// # Errors
    /// [`Refusal::Store`]. What is loaded stays.
    pub async fn load_plugins(&self) -> Result<(), Refusal> {
        let _turn = self.plugins.turn.lock().await;
        let loaded = self.plugins.loaded();
        let found = self.find::<PluginChanges>(Owner::Platform, [0; 16]).await?;
        // Before the plugins are read: what changes meanwhile is seen the next time.
        let changes = found.map_or(0, |found| found.count);
        let is_due = loaded.again_at.is_some_and(|at| at <= self.now());
        if loaded.changes == Some(changes) && !is_due {
            return Ok(());
        }
        let wanted = if changes == 0 { Vec::new() } else { self.plugins().await? };
        let mut next = Loaded { changes: Some(changes), ..Loaded::default() };
        for plugin in wanted.into_iter().filter(|plugin| plugin.enabled) {
            let known = loaded.installed.iter().find(|known| known.plugin.id == plugin.id);
            match self.loaded_plugin(plugin, known).await {
                Ok(installed) => next.installed.push(installed),
                Err(channel) => drop(next.awaited.insert(channel)),
            }
        }
        let all_current = next.installed.iter().all(|installed| installed.current);
        if !next.awaited.is_empty() || !all_current {
            next.again_at = Some(self.now().saturating_add(TRY_AGAIN).unwrap_or(Timestamp::MAX));
        }
        self.plugins.set(next);
        Ok(())
    }

    /// A plugin as it is wanted, else as it was; else the name of its channel.
    async fn loaded_plugin(&self, plugin: Plugin, known: Option<&Arc<Installed>>) -> Result<Arc<Installed>, String> {
        if let Some(known) = known.filter(|known| known.current && known.plugin == plugin) {
            return Ok(Arc::clone(known));
        }
        // For whom it is on changes nothing in it: what its breaker knows stays.
        let same = |known: &&Arc<Installed>| {
            known.current && Plugin { tenants: known.plugin.tenants.clone(), ..plugin.clone() } == known.plugin
        };
        let made = match known.filter(same) {
            Some(known) => Ok(Arc::clone(&known.channel)),
            None if self.ports.channels.iter().any(|channel| channel.name() == plugin.channel) => {
                Err(Refusal::field("channel", "is the name of a channel in this node's configuration as well"))
            }
            None => self.plugin_channel(&plugin, "config").await,
        };
        match made {
            Ok(channel) => {
                let info = channels::info(&*channel);
                Ok(Arc::new(Installed { plugin, channel, info, current: true }))
            }
            Err(refusal) => {
                let why = said(&refusal);
                let (channel, error) = (plugin.channel.as_str(), &refusal as &dyn std::error::Error);
                tracing::error!(
                    channel,
                    why,
                    error,
                    "a plugin cannot be loaded on this node; it is tried again in 30 s"
                );
                let Some(known) = known else { return Err(plugin.channel) };
                let (channel, info) = (Arc::clone(&known.channel), known.info.clone());
                Ok(Arc::new(Installed { plugin, channel, info, current: false }))
            }
        }
    }
}

/// What is wrong, field by field.
fn said(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Invalid(fields) => {
            let said = fields.iter().map(|error| format!("{} {}", error.field, error.message));
            said.collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}
