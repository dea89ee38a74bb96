//! What a plugin is tried in: the production host, with its wire led to a provider of ours.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::Value;
use wotp_channel_wasm::{
    Component, DeclaredHosts, Host, Plugin, Runtime, Said, Secret, Settings, SettingsError, World,
};
use wotp_core::domain::Timestamp;
use wotp_core::domain::address::AddressKind;
use wotp_core::ports::{Clock, Entropy, Outgoing, SendError};

use super::{NoTrial, Report, Setting};
use crate::log::Log;
use crate::message;
use crate::provider::Provider;
use crate::script::Script;
use crate::wire::{Exchange, Wire};

/// Longest that one delivery may take here: short, since one case waits for all of it.
const TIME: Duration = Duration::from_secs(2);
/// How far time is moved on between two deliveries: a provider that was away is not left alone for longer.
const BETWEEN: i64 = 60;
/// The name of the channel.
const CHANNEL: &str = "tried";

/// The time of whoever runs this, and what it was moved on.
pub(super) struct MovedClock {
    real: Arc<dyn Clock>,
    seconds: AtomicI64,
}

impl Clock for MovedClock {
    fn now(&self) -> Timestamp {
        let moved = SignedDuration::from_secs(self.seconds.load(Ordering::Relaxed));
        self.real.now().saturating_add(moved).unwrap_or(Timestamp::MAX)
    }
}

pub(super) struct Bench {
    pub component: Arc<Component>,
    pub settings: Value,
    pub script: Script,
    pub provider: Provider,
    pub log: Log,
    /// All that was written to the log so far.
    pub written: Mutex<Vec<String>>,
    /// Made up for this trial, so that they are found wherever they turn up.
    pub secrets: BTreeMap<String, String>,
    hosts: Vec<Host>,
    wire: Arc<Wire>,
    clock: Arc<MovedClock>,
    entropy: Arc<dyn Entropy>,
}

/// What came of a delivery.
pub(super) struct Delivered {
    pub said: Said,
    pub exchanges: Vec<Exchange>,
}

impl Delivered {
    fn of((said, exchanges): (Result<Said, SendError>, Vec<Exchange>)) -> Self {
        Self { said: said.unwrap_or_else(|away| Said::Stopped(away.to_string())), exchanges }
    }
}

impl Bench {
    /// The bench with a component on it; none for one that is refused, which is then in the report.
    pub async fn set_up(
        runtime: &Runtime,
        bytes: &[u8],
        setting: Setting,
        mut hosts: Vec<Host>,
        report: &mut Report,
    ) -> Result<Option<Self>, NoTrial> {
        const LOADS: &str = "is a component of the contract";
        let Setting { settings, script, clock, entropy, .. } = setting;
        let provider = Provider::start().await.map_err(NoTrial::Provider)?;
        let wire = Arc::new(Wire::led_to(provider.address));
        let clock = Arc::new(MovedClock { real: clock, seconds: AtomicI64::new(0) });
        let world = world(&clock, &entropy, &wire);
        let component = match Component::load(runtime, bytes, world).await {
            Ok(component) => Arc::new(component),
            Err(refusal) => {
                report.no(LOADS, "it is refused", refusal.to_string());
                return Ok(None);
            }
        };
        let descriptor = component.descriptor();
        report.ok(
            LOADS,
            format!("{} {}, for {} of the contract", descriptor.id, descriptor.version, component.contract()),
        );
        if let DeclaredHosts::These(these) = &descriptor.hosts {
            hosts.clone_from(these);
        }
        let secrets = descriptor.secrets.iter().map(|secret| (secret.name.clone(), made_up(&*entropy))).collect();
        let log = Log::default();
        let written = Mutex::default();
        Ok(Some(Self { component, settings, script, provider, log, written, secrets, hosts, wire, clock, entropy }))
    }

    pub fn world(&self) -> World {
        world(&self.clock, &self.entropy, &self.wire)
    }

    /// The plugin with these settings.
    pub async fn plugin(&self, settings: &Value) -> Result<Plugin, SettingsError> {
        let secret = |(name, value): (&String, &String)| (name.clone(), Secret::from(value.clone()));
        let settings = Settings {
            name: CHANNEL.to_owned(),
            reaches: Vec::new(),
            hosts: self.hosts.clone(),
            secrets: self.secrets.iter().map(secret).collect(),
            config: settings.clone(),
            timeout: TIME,
            concurrency: 1,
        };
        self.log.follow(Plugin::new(Arc::clone(&self.component), settings, self.world())).await
    }

    /// A message to somebody, the first kind that the plugin reaches.
    pub fn message(&self) -> Outgoing {
        let kind = self.component.descriptor().reaches.first().copied().unwrap_or(AddressKind::Phone);
        self.message_to(kind)
    }

    pub fn message_to(&self, kind: AddressKind) -> Outgoing {
        message::to_somebody(kind, &*self.clock, &*self.entropy)
    }

    /// Has a message delivered, some time after the one before.
    pub async fn delivered(&self, plugin: &Plugin, outgoing: &Outgoing) -> Delivered {
        // Once alone, and after the pause: it is called.
        let outgoing = Outgoing { expires_at: later(outgoing.expires_at), ..outgoing.clone() };
        Delivered::of(self.watched(plugin.deliver(&outgoing)).await)
    }

    /// The same, where nobody is.
    pub async fn delivered_nowhere(&self, plugin: &Plugin, outgoing: &Outgoing) -> Delivered {
        let outgoing = Outgoing { expires_at: later(outgoing.expires_at), ..outgoing.clone() };
        Delivered::of(self.watched_nowhere(plugin.deliver(&outgoing)).await)
    }

    /// Does something with the plugin, some time after what was done before; with what went over the wire meanwhile.
    pub async fn watched<T>(&self, work: impl Future<Output = T>) -> (T, Vec<Exchange>) {
        self.wire.lead_to(self.provider.address);
        self.watched_as_led(work).await
    }

    /// The same, where nobody is.
    pub async fn watched_nowhere<T>(&self, work: impl Future<Output = T>) -> (T, Vec<Exchange>) {
        if let Ok(nowhere) = self.provider.nowhere() {
            self.wire.lead_to(nowhere);
        }
        self.watched_as_led(work).await
    }

    async fn watched_as_led<T>(&self, work: impl Future<Output = T>) -> (T, Vec<Exchange>) {
        self.clock.seconds.fetch_add(BETWEEN, Ordering::Relaxed);
        self.wire.taken();
        let came = self.log.follow(work).await;
        self.written.lock().unwrap_or_else(PoisonError::into_inner).extend(self.log.taken());
        (came, self.wire.taken())
    }

    /// What time it is here.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How many requests went out since this was asked last.
    pub fn requests(&self) -> usize {
        self.wire.taken().len()
    }
}

/// As much later as time is moved on.
fn later(expires_at: Timestamp) -> Timestamp {
    expires_at.saturating_add(SignedDuration::from_secs(BETWEEN)).unwrap_or(Timestamp::MAX)
}

fn world(clock: &Arc<MovedClock>, entropy: &Arc<dyn Entropy>, wire: &Arc<Wire>) -> World {
    World {
        clock: Arc::clone(clock) as Arc<dyn Clock>,
        entropy: Arc::clone(entropy),
        caller: Arc::clone(wire) as _,
        public_url: Some("https://wotp.example".to_owned()),
    }
}

/// A secret that is nowhere else: letters and digits, which no encoding changes.
fn made_up(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 12];
    entropy.fill(&mut bytes);
    bytes.iter().fold("madeup".to_owned(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes all that is written to it");
        text
    })
}
