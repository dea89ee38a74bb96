//! What keeps plugins that misbehave busy.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::operator::{Given, Operator};
use crate::api::{self, ApiError, Requests};
use crate::client::Client;
use crate::number::Numbers;

/// Starts under way at once, at most: a server that stands still for seconds is attacked on, and the driver is not
/// without sockets.
const UNDER_WAY_MAX: usize = 512;
/// How long a message for a plugin that misbehaves is of use, in seconds: the shortest that there is, so that little of an
/// attack is left when it is over.
const EXPIRES_IN: u32 = 30;
/// How often a plugin that is refused is installed again.
const INSTALLED_EVERY: Duration = Duration::from_millis(500);
/// How often a callback comes.
const CALLED_BACK_EVERY: Duration = Duration::from_millis(10);
/// The callback whose plugin computes without an end.
const ENDLESS: &str = "/hooks/nosy_webhook/loop";

/// What was done, counted while it goes on.
#[derive(Debug, Default)]
pub(super) struct Pressure {
    /// Messages for plugins that misbehave, as far as the server took them.
    pub(super) messages: AtomicU64,
    /// Callbacks that reached a plugin.
    pub(super) callbacks: AtomicU64,
    /// Components that were looked at again, and refused again.
    pub(super) refusals: AtomicU64,
}

/// Begins so many messages a second for each of these channels, for ever, and whether or not earlier ones are answered:
/// a server that is held up is attacked no less.
pub(super) async fn press(
    address: SocketAddr,
    requests: Requests,
    numbers: Arc<Numbers>,
    channels: Vec<String>,
    per_second: f64,
    pressure: Arc<Pressure>,
) {
    if channels.is_empty() {
        return std::future::pending().await;
    }
    let mut every = interval(Duration::from_secs_f64(1.0 / (per_second * channels.len() as f64)));
    every.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let free: Arc<Mutex<Vec<Client>>> = Arc::default();
    // They end with this.
    let mut under_way = JoinSet::new();
    for channel in channels.iter().cycle() {
        every.tick().await;
        while under_way.try_join_next().is_some() {}
        if under_way.len() == UNDER_WAY_MAX {
            continue;
        }
        let (free, mut requests, numbers) = (Arc::clone(&free), requests.clone(), Arc::clone(&numbers));
        let (channel, pressure) = (channel.clone(), Arc::clone(&pressure));
        under_way.spawn(async move {
            let unused = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut client = match unused {
                Some(client) => client,
                None => match Client::connect(address).await {
                    Ok(client) => client,
                    Err(_) => return,
                },
            };
            let body = json!({ "to": numbers.take(), "channels": [channel], "expires_in_seconds": EXPIRES_IN });
            if start(&mut client, &mut requests, &body).await.is_ok() {
                pressure.messages.fetch_add(1, Ordering::Relaxed);
            }
            free.lock().unwrap_or_else(PoisonError::into_inner).push(client);
        });
    }
}

/// Starts a verification; its id.
pub(super) async fn start(client: &mut Client, requests: &mut Requests, body: &Value) -> Result<String, ApiError> {
    let reply = client.call(requests.post(&["/v1/verifications"], body)).await?;
    if reply.status != 201 {
        return Err(ApiError::refused("start", reply.status, reply.body));
    }
    api::verification_id(reply.body)
}

/// Installs again and again what is not taken, for ever.
pub(super) async fn install_again(operator: &mut Operator, refused: &[(String, Vec<u8>, String)], pressure: &Pressure) {
    let mut every = interval(INSTALLED_EVERY);
    let nothing = || Given { hosts: &[], config: json!({}), secrets: json!({}), concurrency: 1 };
    for (channel, component, _) in refused.iter().cycle() {
        every.tick().await;
        if let Err(ApiError::Refused { status: 422, .. }) = operator.install(component, channel, nothing(), &[]).await {
            pressure.refusals.fetch_add(1, Ordering::Relaxed);
        }
    }
    std::future::pending().await
}

/// Calls back a plugin that makes an endless loop of it, as anybody can, for ever.
pub(super) async fn call_back(address: SocketAddr, pressure: &Pressure) {
    let (mut every, mut requests) = (interval(CALLED_BACK_EVERY), Requests::new(address, None));
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut open = None;
    loop {
        every.tick().await;
        let mut client = match open.take() {
            Some(client) => client,
            None => match Client::connect(address).await {
                Ok(client) => client,
                Err(_) => continue,
            },
        };
        // 503 is what it comes to: the plugin does not end in time, or is left alone after it has not. 404 would be a
        // plugin that is not there.
        if let Ok(reply) = client.call(requests.post(&[ENDLESS], &json!({}))).await {
            pressure.callbacks.fetch_add(u64::from(reply.status == 503), Ordering::Relaxed);
            open = Some(client);
        }
    }
}
