//! Components from the folder that `.ci/guests` prints, and channels of them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;
use wotp_channel_wasm::{Component, Plugin, Refusal, Runtime, Settings, SettingsError, World};
use wotp_core::domain::address::AddressKind;
use wotp_core::testing::{ManualClock, SeededEntropy};
use wotp_outbound::{Caller, Plain, Policy, Resolve};

use crate::gateway::Gateway;

/// What a component is made of.
pub fn bytes(name: &str) -> Vec<u8> {
    let folder = std::env::var("TEST_PLUGINS");
    let folder =
        PathBuf::from(folder.expect("TEST_PLUGINS is the folder that `.ci/guests` prints; `make test` sets it"));
    std::fs::read(folder.join(name).with_extension("wasm")).unwrap()
}

pub fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(64).unwrap())
}

/// No name is anybody's: tests call addresses.
struct Nobody;

#[async_trait]
impl Resolve for Nobody {
    async fn resolve(&self, _: &str) -> Vec<std::net::IpAddr> {
        Vec::new()
    }
}

pub fn world() -> World {
    world_at(Arc::new(ManualClock::at("2026-11-22T12:00:00Z")))
}

pub fn world_at(clock: Arc<ManualClock>) -> World {
    let allowed_networks = vec!["127.0.0.0/8".parse().unwrap()];
    World {
        clock,
        entropy: Arc::new(SeededEntropy::new(7)),
        caller: Arc::new(Caller::new(Policy { allowed_networks, plain: Plain::ToLoopback }, Arc::new(Nobody))),
        public_url: Some("https://wotp.example".to_owned()),
    }
}

pub async fn load(name: &str) -> Result<Component, Refusal> {
    Component::load(runtime(), &bytes(name), world()).await
}

/// Settings of a channel `sms` that may call `hosts`.
pub fn settings(hosts: &[&str], config: Value) -> Settings {
    Settings {
        name: "sms".to_owned(),
        reaches: vec![AddressKind::Phone],
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        secrets: BTreeMap::new(),
        config,
        timeout: Duration::from_secs(20),
        concurrency: 40,
    }
}

pub async fn channel(name: &str, settings: Settings) -> Result<Plugin, SettingsError> {
    Plugin::new(load(name).await.unwrap(), settings, world()).await
}

/// The gateway as it would be written for `generic-http`.
pub fn gateway_config(url: &str) -> Value {
    json!({
        "url": format!("{url}?to={{{{to}}}}"),
        "body": { "json": { "text": "{{text}}", "code": "{{code}}", "id": "{{id}}" } },
        "success": { "statuses": [200], "pointer": "/status", "equals": ["queued"] },
        "message_id": "/id",
    })
}

/// A channel that behaves, to a gateway that does.
pub async fn good(gateway: &Gateway) -> Plugin {
    channel("generic_http", settings(&[&gateway.host()], gateway_config(&gateway.url("/send")))).await.unwrap()
}

/// All that is logged on this thread while it lives.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    pub fn listen() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
