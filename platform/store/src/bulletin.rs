//! News for all nodes, through Redis.

use std::convert::Infallible;
use std::mem;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wotp_core::ports::{Bulletin, BulletinError, Changed};

use crate::redis::{Redis, RedisError};

/// Pause before a server that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// When there were no news for so long, the server is asked whether it is there.
const QUIET: Duration = Duration::from_secs(1);
/// Longest that its answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

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
                let mut away = false;
                loop {
                    let Err(error) = listen(&redis, &channel, &heard, &mut away).await;
                    if !away {
                        away = true;
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the bulletin is not heard; trying again until it is"
                        );
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

/// Listens until the connection breaks, or the server is silent.
async fn listen(
    redis: &Redis,
    channel: &str,
    heard: &impl Fn(Changed),
    away: &mut bool,
) -> Result<Infallible, RedisError> {
    let (mut ask, mut news) = redis.listen().await?.split();
    answer(ask.subscribe(channel)).await?;
    if mem::take(away) {
        tracing::info!("the bulletin is heard again");
    }
    heard(Changed::Anything);
    loop {
        match tokio::time::timeout(QUIET, news.next()).await {
            Ok(Some(message)) => {
                // What a newer node tells and this one does not understand may be anything.
                heard(serde_json::from_slice(message.get_payload_bytes()).unwrap_or(Changed::Anything));
            }
            Ok(None) => return Err(RedisError::Unavailable("the connection ended".to_owned())),
            // No news, or nobody there who could tell.
            Err(_) => drop(answer(ask.ping::<redis::Value>()).await?),
        }
    }
}

/// What the server says, if it does in time.
async fn answer<T>(asked: impl Future<Output = redis::RedisResult<T>>) -> Result<T, RedisError> {
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(answer) => answer.map_err(|error| RedisError::Unavailable(error.category().to_owned())),
        Err(_) => Err(RedisError::Unavailable("no answer in time".to_owned())),
    }
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
