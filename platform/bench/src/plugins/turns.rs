//! Turns of deliveries, and what each costs of the processor.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;
use tokio::time::Instant;
use wotp_channel_wasm::{Component, Runtime};
use wotp_core::domain::address::AddressKind;
use wotp_core::ports::{Channel, Outgoing};
use wotp_outbound::Fetch;

use super::channels::{self, Answering, BuiltIn, CONCURRENCY, Quiet, component, message, plugin, quiet_plugin};
use super::provider::Provider;
use super::{PluginsError, Way};
use crate::process;

/// Of the attacks the one that delivers as it should: it calls nobody while it does.
const QUIET: &str = "nosy_webhook";
/// Where nobody is called.
const NOBODY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9);
/// Deliveries before a channel is measured.
const WARM_UP: u64 = 100;
/// How often memory is looked at meanwhile.
const LOOKS: u64 = 10;

/// Deliveries that were made, and what they took.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Turn {
    /// How many.
    pub done: u64,
    /// From the first to the last.
    pub wall_seconds: f64,
    /// Processor time of the process.
    pub cpu_seconds: f64,
}

impl Turn {
    /// Processor time of one, in microseconds.
    pub fn micros_each(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.done as f64
    }
}

/// The turns of both channels.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Comparison {
    /// Of the channel that is built in.
    pub built_in: Vec<Turn>,
    /// Of the plugin.
    pub plugin: Vec<Turn>,
}

/// Many deliveries, and what became of the memory.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Flood {
    /// All but those of the warm-up.
    pub turn: Turn,
    /// Memory after the warm-up, in bytes.
    pub warm_bytes: u64,
    /// Memory after each tenth of those after it, in bytes.
    pub later_bytes: Vec<u64>,
}

/// Processor time that this process has used, all threads together.
pub(super) fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// How long is measured.
#[derive(Clone, Copy)]
pub(super) struct Length {
    /// Of each turn.
    pub seconds: f64,
    /// Turns of each channel.
    pub rounds: usize,
}

/// A plugin and the same channel built in, by each of these ways.
pub(super) async fn compare(
    components: &Path,
    provider: Option<Provider>,
    ways: &[Way],
    length: Length,
) -> Result<Vec<Comparison>, PluginsError> {
    let runtime = Runtime::new(2 * CONCURRENCY as u32)?;
    let name = provider.map_or(QUIET, Provider::component);
    let component = Arc::new(component(&runtime, components, name).await?);
    let mut comparisons = Vec::with_capacity(ways.len());
    for way in ways {
        let pair = Pair::of(&component, provider, *way).await?;
        comparisons.push(pair.compared(length).await?);
    }
    Ok(comparisons)
}

/// A plugin, and the same channel built in.
struct Pair {
    built_in: Arc<dyn Channel>,
    plugin: Arc<dyn Channel>,
    message: Arc<Outgoing>,
    callers: usize,
}

impl Pair {
    async fn of(component: &Arc<Component>, provider: Option<Provider>, way: Way) -> Result<Self, PluginsError> {
        let component = Arc::clone(component);
        let Some(provider) = provider else {
            let message = Arc::new(message(AddressKind::Phone));
            let plugin = Arc::new(quiet_plugin(component).await?);
            return Ok(Self { built_in: Arc::new(Quiet), plugin, message, callers: 1 });
        };
        channels::ask_the_same(Arc::clone(&component), provider).await?;
        let (at, callers, caller): (_, _, Arc<dyn Fetch>) = match way {
            Way::Http { at, callers } => (at, callers, channels::calling()),
            Way::AtOnce => (NOBODY, 1, Arc::new(Answering::of(provider))),
        };
        let plugin = Arc::new(plugin(component, provider, at, Arc::clone(&caller)).await?);
        let message = Arc::new(message(provider.reaches()));
        Ok(Self { built_in: Arc::new(BuiltIn::new(provider, at, caller)), plugin, message, callers })
    }

    async fn compared(&self, length: Length) -> Result<Comparison, PluginsError> {
        let mut comparison = Comparison { built_in: Vec::new(), plugin: Vec::new() };
        let turn = async |channel, until| turn(channel, &self.message, self.callers, until).await;
        for channel in [&self.built_in, &self.plugin] {
            turn(channel, Until::Count(WARM_UP)).await?;
        }
        let until = Until::Over(Duration::from_secs_f64(length.seconds));
        for _ in 0..length.rounds {
            comparison.built_in.push(turn(&self.built_in, until).await?);
            comparison.plugin.push(turn(&self.plugin, until).await?);
        }
        Ok(comparison)
    }
}

/// Deliveries of so many callers at once.
async fn turn(
    channel: &Arc<dyn Channel>,
    message: &Arc<Outgoing>,
    callers: usize,
    until: Until,
) -> Result<Turn, PluginsError> {
    let (begun, before) = (Instant::now(), cpu());
    let mut calling = JoinSet::new();
    for _ in 0..callers {
        calling.spawn(one_after_another(Arc::clone(channel), Arc::clone(message), until, begun));
    }
    let mut done = 0;
    while let Some(of_one) = calling.join_next().await {
        done += of_one??;
    }
    let cpu_seconds = cpu().saturating_sub(before).as_secs_f64();
    Ok(Turn { done, wall_seconds: begun.elapsed().as_secs_f64(), cpu_seconds })
}

/// How long one goes on.
#[derive(Debug, Clone, Copy)]
enum Until {
    Over(Duration),
    Count(u64),
}

async fn one_after_another(
    channel: Arc<dyn Channel>,
    message: Arc<Outgoing>,
    until: Until,
    begun: Instant,
) -> Result<u64, PluginsError> {
    let mut done = 0;
    loop {
        channel.send(&message).await?;
        done += 1;
        let over = match until {
            Until::Over(time) => begun.elapsed() >= time,
            Until::Count(count) => done >= count,
        };
        if over {
            return Ok(done);
        }
    }
}

/// Deliveries through a plugin that calls nobody.
pub(super) async fn flood(components: &Path, warm_up: u64, count: u64) -> Result<Flood, PluginsError> {
    let runtime = Runtime::new(CONCURRENCY as u32)?;
    let plugin: Arc<dyn Channel> =
        Arc::new(quiet_plugin(Arc::new(component(&runtime, components, QUIET).await?)).await?);
    let message = Arc::new(message(AddressKind::Phone));
    let resident = || process::memory(std::process::id()).map(|memory| memory.resident_bytes);
    turn(&plugin, &message, 1, Until::Count(warm_up)).await?;
    let warm_bytes = resident()?;
    let mut all = Turn { done: 0, wall_seconds: 0.0, cpu_seconds: 0.0 };
    let mut later_bytes = Vec::new();
    for _ in 0..LOOKS {
        let turn = turn(&plugin, &message, 1, Until::Count(count.div_ceil(LOOKS))).await?;
        all.done += turn.done;
        all.wall_seconds += turn.wall_seconds;
        all.cpu_seconds += turn.cpu_seconds;
        later_bytes.push(resident()?);
    }
    Ok(Flood { turn: all, warm_bytes, later_bytes })
}
