//! News for all nodes, through Redis.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wotp_core::ports::{Bulletin, BulletinError, Changed};

use crate::redis::{Redis, RedisError};

/// Pause before a server that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(200);

/// Tells every node what changed, and hears what others tell.
pub struct RedisBulletin {
    redis: Redis,
    channel: String,
}

impl RedisBulletin {
    /// The bulletin on this server.
    pub fn new(redis: Redis) -> Self {
        let channel = redis.key("changed");
        Self { redis, channel }
    }

    /// Calls `heard` with all that is told, until `stop` says true; with [`Changed::Anything`] whenever
    /// it begins to listen, since it may have missed something before.
    pub fn listen(
        &self,
        heard: impl Fn(Changed) + Send + Sync + 'static,
        mut stop: watch::Receiver<bool>,
    ) -> JoinHandle<()> {
        let (redis, channel) = (self.redis.clone(), self.channel.clone());
        tokio::spawn(async move {
            let listening = async {
                loop {
                    if let Err(error) = listen(&redis, &channel, &heard).await {
                        tracing::debug!(error = &error as &dyn std::error::Error, "the bulletin is not heard");
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            tokio::select! {
                () = listening => {}
                // An error means that nobody is left who could say stop.
                _ = stop.wait_for(|stop| *stop) => {}
            }
        })
    }
}

/// Listens until the connection breaks.
async fn listen(redis: &Redis, channel: &str, heard: &impl Fn(Changed)) -> Result<(), RedisError> {
    let mut line = redis.listen().await?;
    let subscribed = line.subscribe(channel).await;
    subscribed.map_err(|error| RedisError::Unavailable(error.category().to_owned()))?;
    heard(Changed::Anything);
    let mut news = line.on_message();
    while let Some(message) = news.next().await {
        // What a newer node tells and this one does not understand may be anything.
        let changed = serde_json::from_slice(message.get_payload_bytes()).unwrap_or(Changed::Anything);
        heard(changed);
    }
    Ok(())
}

#[async_trait]
impl Bulletin for RedisBulletin {
    async fn tell(&self, changed: Changed) -> Result<(), BulletinError> {
        let told = serde_json::to_string(&changed).map_err(|error| BulletinError(Box::new(error)))?;
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(&self.channel).arg(told);
        self.redis.run::<()>(&publish).await.map_err(|error| BulletinError(Box::new(error)))
    }
}
