//! Channels that a provider's messages go through: a plugin, the same built in, and what both call.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use wotp_channel_wasm::{Component, Plugin, Runtime, Secret, Settings, World};
use wotp_core::domain::address::{Address, AddressKind};
use wotp_core::domain::code::Code;
use wotp_core::domain::dispatch::DeliveryStatus;
use wotp_core::domain::id::{DeliveryId, TenantId, VerificationId};
use wotp_core::domain::locale::Locale;
use wotp_core::ports::{Acknowledged, Channel, Clock as _, Item, Outgoing, SendError};
use wotp_outbound::{Answer, Caller, Fetch, NoAnswer, Plain, Policy, Reading, Request, Resolve};
use wotp_server::system::{OsEntropy, SystemClock};

use super::PluginsError;
use super::provider::Provider;

/// Longest that one delivery may take.
const TIMEOUT: Duration = Duration::from_secs(7);
/// Largest answer that is read, in bytes: as of a plugin.
const READ_MAX: usize = 1 << 20;
/// Calls of a plugin that may be under way at once: as when nobody says how many.
pub const CONCURRENCY: usize = 32;

/// No name is anybody's: providers are addresses.
struct Nobody;

#[async_trait]
impl Resolve for Nobody {
    async fn resolve(&self, _: &str) -> Vec<IpAddr> {
        Vec::new()
    }
}

fn policy() -> Policy {
    let loopback = "127.0.0.0/8".parse().expect("it is a network");
    Policy { allowed_networks: vec![loopback], plain: Plain::ToLoopback }
}

/// Calls over real connections, as a server in development does.
pub fn calling() -> Arc<dyn Fetch> {
    Arc::new(Caller::new(policy(), Arc::new(Nobody)))
}

/// Answers for a provider at once, without a connection.
pub struct Answering {
    policy: Policy,
    reply: (u16, &'static str),
    last: Mutex<Option<Request>>,
}

impl Answering {
    /// For this provider, which takes every message.
    pub fn of(provider: Provider) -> Self {
        Self { policy: policy(), reply: provider.taken(), last: Mutex::default() }
    }

    /// The last request.
    fn last(&self) -> Option<Request> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl Fetch for Answering {
    fn policy(&self) -> &Policy {
        &self.policy
    }

    async fn call(&self, request: Request, _: Reading, _: Duration) -> Result<Answer, NoAnswer> {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some(request);
        let (status, body) = self.reply;
        Ok(Answer { status, headers: http::HeaderMap::new(), body: body.as_bytes().to_vec() })
    }
}

/// What a plugin is lent, with requests made by `caller`.
pub fn world(caller: Arc<dyn Fetch>) -> World {
    World { clock: Arc::new(SystemClock), entropy: Arc::new(OsEntropy), caller, public_url: None }
}

/// The component of that name in a folder, compiled.
///
/// # Errors
/// [`PluginsError`].
pub async fn component(runtime: &Runtime, folder: &Path, name: &str) -> Result<Component, PluginsError> {
    let file = folder.join(name).with_extension("wasm");
    let bytes = fs::read(&file).map_err(|source| PluginsError::Component { file, source })?;
    Ok(Component::load(runtime, &bytes, world(calling())).await?)
}

/// A plugin for a provider at `at`.
///
/// # Errors
/// [`PluginsError`].
pub async fn plugin(
    component: Arc<Component>,
    provider: Provider,
    at: SocketAddr,
    caller: Arc<dyn Fetch>,
) -> Result<Plugin, PluginsError> {
    let (name, secret) = provider.secret();
    let settings = Settings {
        secrets: BTreeMap::from([(name.to_owned(), Secret::from(secret.to_owned()))]),
        config: provider.config(&format!("http://{at}")),
        ..settings(provider.reaches(), Some(at))
    };
    Ok(Plugin::new(component, settings, world(caller)).await?)
}

/// A plugin that takes each message for sent without calling anybody.
///
/// # Errors
/// [`PluginsError`].
pub async fn quiet_plugin(component: Arc<Component>) -> Result<Plugin, PluginsError> {
    let settings = settings(AddressKind::Phone, Some(SocketAddr::from(([127, 0, 0, 1], 9))));
    Ok(Plugin::new(component, settings, world(calling())).await?)
}

fn settings(reaches: AddressKind, host: Option<SocketAddr>) -> Settings {
    Settings {
        name: "measured".to_owned(),
        reaches: vec![reaches],
        hosts: host.into_iter().filter_map(|at| at.to_string().parse().ok()).collect(),
        secrets: BTreeMap::new(),
        config: json!({}),
        timeout: TIMEOUT,
        concurrency: CONCURRENCY,
    }
}

/// What a provider's plugin does, built in: the same request through the same client, and the same look at the answer.
pub struct BuiltIn {
    provider: Provider,
    origin: String,
    caller: Arc<dyn Fetch>,
}

impl BuiltIn {
    /// For a provider at `at`.
    pub fn new(provider: Provider, at: SocketAddr, caller: Arc<dyn Fetch>) -> Self {
        Self { provider, origin: format!("http://{at}"), caller }
    }
}

#[async_trait]
impl Channel for BuiltIn {
    fn name(&self) -> &'static str {
        "built_in"
    }

    fn reaches(&self) -> &[AddressKind] {
        &[AddressKind::Phone, AddressKind::Email]
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        let left = outgoing.expires_at.duration_since(SystemClock.now()).as_secs();
        let request = self.provider.request(&self.origin, outgoing, left);
        let answer = self.caller.call(request, Reading::Whole { bytes: READ_MAX }, TIMEOUT).await;
        let answer = answer.map_err(|why| SendError::Unknown { detail: why.to_string() })?;
        let provider_id = self.provider.name_of(&answer);
        match provider_id {
            Some(_) => Ok(Acknowledged { provider_id, reached: DeliveryStatus::Sent, cost: None }),
            None => Err(SendError::Unknown { detail: format!("the provider answered {}", answer.status) }),
        }
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
}

/// Takes each message for sent, as the quiet plugin does.
pub struct Quiet;

#[async_trait]
impl Channel for Quiet {
    fn name(&self) -> &'static str {
        "quiet"
    }

    fn reaches(&self) -> &[AddressKind] {
        &[AddressKind::Phone]
    }

    async fn send(&self, _: &Outgoing) -> Result<Acknowledged, SendError> {
        Ok(Acknowledged { provider_id: None, reached: DeliveryStatus::Sent, cost: None })
    }

    async fn probe(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A message, the same each time.
pub fn message(kind: AddressKind) -> Outgoing {
    let to = match kind {
        AddressKind::Phone => "+12025550123",
        AddressKind::Email => "ada.lovelace@example.com",
    };
    let id = [7; 16];
    Outgoing {
        message_id: DeliveryId::from_bytes(id),
        tenant: TenantId::from_bytes([3; 16]),
        connection: None,
        item: Item::Verification(VerificationId::from_bytes(id)),
        to: Address::parse(to).expect("a number for fiction and a name at example.com are addresses"),
        subject: "Your code for Acme".to_owned(),
        text: "482913 is your Acme code. It expires in 5 minutes. Do not share it.".to_owned(),
        code: Some(Code::typed("482913")),
        link: None,
        brand: "Acme".to_owned(),
        locale: Locale::ENGLISH,
        // So far away that providers are always told their longest, and no further: QuickJS takes a u32 from 2^31 on for a
        // negative number.
        expires_at: SystemClock.now().saturating_add(SignedDuration::from_hours(24 * 30)).unwrap_or(Timestamp::MAX),
    }
}

/// Sees that a provider is asked the same by the plugin and by what is built in: else they would not be compared.
///
/// # Errors
/// [`PluginsError::Differs`], and what keeps the plugin from sending.
pub async fn ask_the_same(component: Arc<Component>, provider: Provider) -> Result<(), PluginsError> {
    let (at, answering) = (SocketAddr::from(([127, 0, 0, 1], 9)), Arc::new(Answering::of(provider)));
    let plugin = plugin(component, provider, at, Arc::clone(&answering) as Arc<_>).await?;
    let built_in = BuiltIn::new(provider, at, Arc::clone(&answering) as Arc<_>);
    let message = message(provider.reaches());
    let mut asked = Vec::new();
    let mut named = Vec::new();
    for channel in [&built_in as &dyn Channel, &plugin] {
        named.push(channel.send(&message).await?.provider_id);
        asked.extend(answering.last().map(shown));
    }
    if asked.len() == 2 && asked[0] == asked[1] && named[0] == named[1] {
        return Ok(());
    }
    let shown = |asked: Option<&Value>| asked.map(Value::to_string).unwrap_or_default();
    Err(PluginsError::Differs { built_in: shown(asked.first()), plugin: shown(asked.get(1)) })
}

/// A request, so that what means the same is the same.
fn shown(request: Request) -> Value {
    let headers: BTreeMap<&str, &[u8]> =
        request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let headers: BTreeMap<_, _> =
        headers.into_iter().map(|(name, value)| (name, String::from_utf8_lossy(value).into_owned())).collect();
    let body = serde_json::from_slice(&request.body)
        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&request.body).into_owned()));
    json!({ "method": request.method.as_str(), "url": request.url, "headers": headers, "body": body })
}
