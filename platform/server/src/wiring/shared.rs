//! An installation that nodes share: MongoDB holds all of it, and Redis lets them call each other.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use wotp_core::domain::Timestamp;
use wotp_core::domain::vault::Vault;
use wotp_core::ports::{Store, StoreError};
use wotp_store::bulletin::RedisBulletin;
use wotp_store::limiter::RedisLimiter;
use wotp_store::mongo::{ConnectOptions, MongoStore};
use wotp_store::queue::RedisQueue;
use wotp_store::redis::Redis;

use super::watched::Watched;
use super::{Adapters, Others, Purpose, WiringError};
use crate::config::Config;
use crate::data_folder::DataFolder;
use crate::system::{OsEntropy, SharedClock};

/// How long a server waits for its store at a start: as long as a replica set may take to elect.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a command waits: somebody sits in front of it.
const PATIENCE_OF_COMMANDS: Duration = Duration::from_secs(10);
/// A look at the store's time that took no longer than this tells it well enough.
const GOOD_LOOK: Duration = Duration::from_millis(20);
/// Looks at the start, of which the quickest counts.
const LOOKS: usize = 5;

/// What nodes need of each other.
pub struct Fellows {
    /// Where all ring.
    pub queue: RedisQueue,
    /// What changed.
    pub bulletin: RedisBulletin,
    /// The time that they share.
    pub clock: Arc<SharedClock>,
}

/// Reaches the store, and makes nothing; says too what is missing in it, which a start makes.
///
/// # Errors
/// [`WiringError::Connect`].
pub async fn look_at_store(url: &str, config: &Config) -> Result<(Arc<MongoStore>, Vec<String>), WiringError> {
    let (store, missing) = MongoStore::look(url, options(config, Purpose::Command)).await?;
    Ok((Arc::new(store), missing))
}

/// How the store is reached, waiting for it.
fn options(config: &Config, purpose: Purpose) -> ConnectOptions {
    ConnectOptions {
        patience: match purpose {
            Purpose::Serve => PATIENCE,
            Purpose::Command => PATIENCE_OF_COMMANDS,
        },
        progress: Arc::new(move |line| match purpose {
            Purpose::Serve => tracing::warn!("{line}"),
            // Progress that cannot be shown is no reason to stop.
            Purpose::Command => drop(writeln!(std::io::stderr(), "{line}")),
        }),
        // So that a caller hears a reason before its request runs out of time.
        call_timeout: config.request_timeout() * 2 / 3,
        ..ConnectOptions::default()
    }
}

/// Whether the queue answers.
///
/// # Errors
/// [`WiringError::Redis`].
pub async fn reach_queue(url: &str) -> Result<(), WiringError> {
    Ok(Redis::at(url, None)?.ping().await?)
}

pub(super) async fn open(
    store_url: &str,
    queue_url: &str,
    config: &Config,
    folder: &DataFolder,
    purpose: Purpose,
) -> Result<Adapters, WiringError> {
    // Before the store is waited for: a mistake in the URL is told at once.
    Redis::at(queue_url, None)?;
    let store = Arc::new(MongoStore::connect(store_url, options(config, purpose)).await?);
    // Named as the database is: installations that share a Redis as they share a MongoDB keep apart.
    let redis = Redis::at(queue_url, Some(store.database()))?;
    // A key that is made here is right only where no node was before.
    let used = !store.key_checks().await?.is_empty();
    let keys = folder.shared_master_keys(used, &OsEntropy)?;
    let vault = Vault::new(&keys).expect("a master key file without keys is refused");
    let clock = Arc::new(SharedClock::started(first_look(&*store).await?));
    if purpose == Purpose::Serve
        && let Err(error) = redis.ping().await
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "Redis does not answer: until it does, deliveries wait for the sweep, and rate limits are not enforced"
        );
    }
    let queue = RedisQueue::new(redis.clone());
    Ok(Adapters {
        store,
        vault,
        queue: Arc::new(queue.clone()),
        bulletin: Arc::new(RedisBulletin::new(redis.clone())),
        limiter: Arc::new(Watched::new(RedisLimiter::new(redis.clone()))),
        clock: Arc::clone(&clock) as Arc<_>,
        others: Others::Nodes(Fellows { queue, bulletin: RedisBulletin::new(redis), clock }),
    })
}

/// What time it is at the store, if it was told so quickly that it can be relied on.
///
/// # Errors
/// [`StoreError`].
pub(crate) async fn look_at_time(store: &dyn Store) -> Result<Option<Timestamp>, StoreError> {
    let asked = Instant::now();
    let time = store.time().await?;
    Ok(time.filter(|_| asked.elapsed() <= GOOD_LOOK))
}

/// What time it is at the store: by the quickest of some looks.
async fn first_look(store: &dyn Store) -> Result<Timestamp, WiringError> {
    let mut best: Option<(Duration, Timestamp, Instant)> = None;
    for _ in 0..LOOKS {
        let asked = Instant::now();
        let time = store.time().await?.expect("MongoDB tells the time");
        let (took, told) = (asked.elapsed(), Instant::now());
        if best.is_none_or(|(best, ..)| took < best) {
            best = Some((took, time, told));
        }
    }
    let (_, time, told) = best.expect("there was a look");
    Ok(time.saturating_add(jiff::SignedDuration::try_from(told.elapsed()).unwrap_or_default()).unwrap_or(time))
}
