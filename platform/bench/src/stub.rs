//! A node without MongoDB: the platform's own, over Redis, with a store in memory that costs next to
//! nothing. What two of these do more than one is what nodes are worth that do not wait for a store.
//!
//! The store is the embedded one on a file system in memory, each node's own. So each has its own tenants
//! and hears its own rings only. All they share is the Redis server: no tenant, no bucket and no stream in it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use wotp_core::app::{App, Ports};
use wotp_core::domain::node::Role;
use wotp_core::domain::vault::Vault;
use wotp_server::config::{Config, ConsoleOutput};
use wotp_server::data_folder::{DataFolder, FolderError, MASTER_KEY_FILE, read_master_keys};
use wotp_server::server::{ServeError, Server};
use wotp_server::system::{OsEntropy, SharedClock, TokioTimer};
use wotp_server::wiring::{Fellows, Others, Purpose, Wired, WiringError, channels, wire};
use wotp_store::bulletin::RedisBulletin;
use wotp_store::limiter::RedisLimiter;
use wotp_store::queue::RedisQueue;
use wotp_store::redis::{Redis, RedisError};

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    /// Its folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// Its store.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// Its queue.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// Its socket.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Nobody hears where it listens.
    #[error("cannot say where it listens")]
    Say(#[from] std::io::Error),
}

/// Serves until standard input ends or the process is killed, after saying where it listens. `name` keeps
/// its keys in Redis apart from those of others.
///
/// # Errors
/// [`StubError`] when it cannot begin.
pub async fn serve(data: &Path, queue_url: &str, name: &str, listen: SocketAddr) -> Result<(), StubError> {
    let mut config = Config::default();
    config.server.listen = listen;
    config.channels.console.output = ConsoleOutput::Nowhere;
    config.limits.per_ip_per_second = 0;
    let folder = DataFolder::create(data)?;
    let wired = wire(&config, &folder, Purpose::Serve, channels(&config, &folder).await?).await?;
    // They are there: the store was opened with them.
    let keys = read_master_keys(&folder.path().join(MASTER_KEY_FILE))?.unwrap_or_default();
    let redis = Redis::at(queue_url, Some(name))?;
    let queue = RedisQueue::new(redis.clone());
    let ports = wired.app.ports();
    let clock = Arc::new(SharedClock::started(ports.clock.now()));
    let app = App::new(Ports {
        store: Arc::clone(&ports.store),
        queue: Arc::new(queue.clone()),
        bulletin: Arc::new(RedisBulletin::new(redis.clone())),
        limiter: Arc::new(RedisLimiter::new(redis.clone())),
        channels: ports.channels.clone(),
        vault: Vault::new(&keys).expect("a master key file without keys is refused"),
        plans: ports.plans.clone(),
        tenant_rules: ports.tenant_rules,
        clock: Arc::clone(&clock) as Arc<_>,
        entropy: Arc::new(OsEntropy),
        timer: Arc::new(TokioTimer),
        webhooks: Arc::clone(&ports.webhooks),
        plugins: Arc::clone(&ports.plugins),
        identity_providers: Vec::new(),
        passwords: Arc::clone(&ports.passwords),
        tokens: Arc::clone(&ports.tokens),
        people: ports.people.clone(),
        public_url: ports.public_url.clone(),
        alone: false,
    });
    let others = Others::Nodes(Fellows { queue, bulletin: RedisBulletin::new(redis), clock });
    let server = Server::bind(&config, Wired { app: Arc::new(app), others, ..wired }, Role::All).await?;
    crate::bare::say_listening(server.address())?;
    server.run(crate::bare::input_ends()).await;
    Ok(())
}
