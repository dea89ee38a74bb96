//! Every promise of every port, on each implementation.

#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

use std::sync::Arc;

use async_trait::async_trait;
use tempfile::TempDir;
use tokio::sync::watch;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::{Job, Limiter, Queue, Store};
use wotp_core::testing::builders::{entropy, noon};
use wotp_core::testing::queue::Hears;
use wotp_store::limiter::{MemoryLimiter, RedisLimiter};
use wotp_store::mongo::{ConnectOptions, MongoStore};
use wotp_store::queue::{ListenOptions, MemoryQueue, RedisQueue, RingReceiver};
use wotp_store::redis::Redis;
use wotp_store::sqlite::{OpenOptions, SqliteStore};
use wotp_test_servers::{MongoDatabase, redis_url};

mod sqlite {
    use super::*;

    async fn fresh() -> (Arc<dyn Store>, TempDir) {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(folder.path().join("wotp.db"), OpenOptions::default()).unwrap();
        (Arc::new(store), folder)
    }

    wotp_core::store_contract!(fresh);
    wotp_core::lone_store_contract!(fresh);
}

mod mongodb {
    use super::*;

    async fn fresh() -> (Arc<dyn Store>, MongoDatabase) {
        let database = MongoDatabase::fresh();
        let store = MongoStore::connect(database.url(), ConnectOptions::default()).await.unwrap();
        (Arc::new(store), database)
    }

    wotp_core::store_contract!(fresh);
}

mod memory_limiter {
    use super::*;

    async fn fresh() -> (Arc<dyn Limiter>, ()) {
        (Arc::new(MemoryLimiter::new()), ())
    }

    wotp_core::limiter_contract!(fresh);
}

/// The shared server, with names of keys that no other test has.
fn redis() -> Redis {
    let unique = NodeId::new(noon(), entropy());
    Redis::at(redis_url(), Some(&format!("test:{}:{unique}", std::process::id()))).unwrap()
}

mod redis_limiter {
    use super::*;

    async fn fresh() -> (Arc<dyn Limiter>, ()) {
        (Arc::new(RedisLimiter::new(redis())), ())
    }

    wotp_core::limiter_contract!(fresh);
}

/// One node's end of a queue.
struct Listener {
    node: NodeId,
    rings: RingReceiver,
    _stop: watch::Sender<bool>,
}

#[async_trait]
impl Hears for Listener {
    fn node(&self) -> NodeId {
        self.node
    }

    async fn next(&mut self) -> Job {
        let ring = self.rings.next().await.expect("somebody may ring");
        let job = ring.job;
        ring.done();
        job
    }
}

mod memory_queue {
    use super::*;

    async fn fresh() -> (Arc<dyn Queue>, Listener) {
        let (queue, rings) = MemoryQueue::new(100);
        let node = NodeId::new(noon(), entropy());
        (Arc::new(queue), Listener { node, rings, _stop: watch::channel(false).0 })
    }

    wotp_core::queue_contract!(fresh);
}

mod redis_queue {
    use super::*;

    async fn fresh() -> (Arc<dyn Queue>, Listener) {
        let queue = RedisQueue::new(redis());
        let node = NodeId::new(noon(), entropy());
        let (stop, stopping) = watch::channel(false);
        let (rings, _) = queue.listen(node, ListenOptions::default(), stopping);
        (Arc::new(queue), Listener { node, rings, _stop: stop })
    }

    wotp_core::queue_contract!(fresh);
}
