//! The Redis server that is measured, what it says about itself, and the bare limit on it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::streams::StreamPendingReply;
use redis::{Client, Script};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep};
use wotp_test_servers::Redis;

use super::PartError;

/// The stream that the platform's queue makes, by the prefix it is given.
const STREAM: &str = "{bench}:ring";
/// The group that its workers are in.
const GROUP: &str = "workers";
/// Where the bare limit adds.
const BARE: &str = "bare";
/// As long as the platform's entries are with a token.
const ENTRY: [u8; 41] = [b'j'; 41];
/// How long Redis may take until it knows that everything is done.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
/// Looks at the memory, of which the least counts: connections hold more for a moment.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Something that is measured for comparison, once for each call.
#[derive(Debug, Clone, Copy)]
pub enum Bare {
    /// One entry added to a stream.
    Xadd,
    /// A script of one command, then one entry added to a stream: what one request needs at least that
    /// asks the limiter and rings.
    ScriptAndXadd,
}

/// A server of our own on loopback, empty at first.
pub struct Server {
    redis: Redis,
    line: MultiplexedConnection,
}

impl Server {
    /// Starts it.
    ///
    /// # Errors
    /// [`PartError::Start`] when there is no `redis-server`.
    pub async fn start() -> Result<Self, PartError> {
        // It says by a panic what is missing.
        let redis = spawn_blocking(Redis::start).await.map_err(|error| PartError::Start(error.to_string()))?;
        let line = Client::open(redis.url())?.get_multiplexed_async_connection().await?;
        Ok(Self { redis, line })
    }

    /// Where it is.
    pub fn url(&self) -> String {
        self.redis.url()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.redis.pid()
    }

    /// So many callers on one connection, for `time`; how often they were answered.
    ///
    /// # Errors
    /// [`PartError::Redis`].
    pub async fn bare(&self, bare: Bare, callers: usize, time: Duration) -> Result<u64, PartError> {
        let end = Instant::now() + time;
        let mut running = JoinSet::new();
        for _ in 0..callers {
            let mut line = self.line.clone();
            running.spawn(async move {
                let script = Script::new("return redis.call('INCR', KEYS[1])");
                let mut add = redis::cmd("XADD");
                add.arg(BARE).arg("*").arg("j").arg(&ENTRY);
                let mut done = 0;
                while Instant::now() < end {
                    if matches!(bare, Bare::ScriptAndXadd) {
                        script.key("bare:count").invoke_async::<()>(&mut line).await?;
                    }
                    add.query_async::<()>(&mut line).await?;
                    done += 1;
                }
                Ok::<u64, redis::RedisError>(done)
            });
        }
        let mut done = 0;
        for caller in running.join_all().await {
            done += caller?;
        }
        redis::cmd("DEL").arg(BARE).query_async::<()>(&mut self.line.clone()).await?;
        Ok(done)
    }

    /// Entries that wait, or are with a worker, once there are none; else after a while.
    ///
    /// # Errors
    /// [`PartError::Redis`].
    pub async fn left(&self) -> Result<u64, PartError> {
        let mut line = self.line.clone();
        let give_up = Instant::now() + SETTLED_WITHIN;
        loop {
            let length: u64 = redis::cmd("XLEN").arg(STREAM).query_async(&mut line).await?;
            let pending: StreamPendingReply =
                redis::cmd("XPENDING").arg(STREAM).arg(GROUP).query_async(&mut line).await?;
            let left = length.max(pending.count() as u64);
            if left == 0 || Instant::now() > give_up {
                return Ok(left);
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Bytes that Redis counts as used, when nothing goes on.
    ///
    /// # Errors
    /// [`PartError`].
    pub async fn used_memory(&self) -> Result<u64, PartError> {
        let mut least = u64::MAX;
        for _ in 0..LOOKS {
            let info: String = redis::cmd("INFO").arg("memory").query_async(&mut self.line.clone()).await?;
            let used = used_memory(&info).ok_or_else(|| PartError::Told(info))?;
            least = least.min(used);
            sleep(BETWEEN_LOOKS).await;
        }
        Ok(least)
    }

    /// Bytes of the stream alone, by Redis' own count of every part of it.
    ///
    /// # Errors
    /// [`PartError::Redis`], also when there is no stream.
    pub async fn stream_memory(&self) -> Result<u64, PartError> {
        let mut usage = redis::cmd("MEMORY");
        usage.arg("USAGE").arg(STREAM).arg("SAMPLES").arg(0);
        Ok(usage.query_async(&mut self.line.clone()).await?)
    }
}

fn used_memory(info: &str) -> Option<u64> {
    info.lines().find_map(|line| line.strip_prefix("used_memory:"))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::PREFIX;

    #[test]
    fn used_memory_is_not_mistaken_for_its_neighbours() {
        let info = "# Memory\r\nused_memory_human:1.0M\r\nused_memory:1048576\r\nused_memory_rss:9\r\n";
        assert_eq!(used_memory(info), Some(1_048_576));
        assert_eq!(used_memory("# Memory\r\n"), None);
    }

    #[test]
    fn the_stream_is_the_one_of_the_prefix() {
        assert_eq!(STREAM, format!("{{{PREFIX}}}:ring"));
    }
}
