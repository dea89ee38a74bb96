//! The doorbell of nodes: a Redis stream that all workers read together.
//!
//! It may lose everything at any moment: the store is the ledger, and the sweep rings for whatever is
//! due. What it must not do is stop: a server that was emptied, restarted or away is gone on with.
//!
//! A stream's entry belongs to the worker that read it until that says that the job is done. What a
//! worker leaves behind when it dies is given to another after a while, without its token: the hold
//! that the token names may still be somebody's, and the store decides.

mod reader;
mod teller;

use std::sync::{Arc, LazyLock, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::Script;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use wotp_core::domain::id::{MessageId, NodeId, TenantId, VerificationId};
use wotp_core::ports::{Item, Job, Queue, QueueError};

use super::ring::{Ring, RingReceiver};
use crate::redis::{Redis, RedisError};
use reader::Reader;
use teller::Teller;

/// The one field of an entry.
const FIELD: &str = "j";
/// The group that all workers are in.
const GROUP: &str = "workers";
/// Pause before a server that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// Entries that one command takes at most.
const BATCH: usize = 256;
/// Rings that one node's own doorbell holds at most.
const NODE_MAX: usize = 10_000;

/// Where rings go in.
#[derive(Clone)]
pub struct RedisQueue {
    redis: Redis,
    stream: String,
    /// The worker of this process, once there is one.
    own: Arc<OnceLock<mpsc::WeakSender<Ring>>>,
}

impl RedisQueue {
    /// The doorbell on this server.
    pub fn new(redis: Redis) -> Self {
        let stream = redis.key("ring");
        Self { redis, stream, own: Arc::default() }
    }

    /// Forgets workers of `worker`'s name, and those that were not heard of for so long, if they hold
    /// nothing.
    async fn forget(&self, redis: &Redis, worker: &str, idle: Duration) -> Result<(), RedisError> {
        static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("forget.lua")));
        let mut call = FORGET.key(&self.stream);
        call.arg(GROUP).arg(worker).arg(as_millis(idle));
        redis.run_script(&call).await
    }

    fn own_worker(&self) -> Option<mpsc::Sender<Ring>> {
        self.own.get()?.upgrade()
    }

    fn node_stream(&self, node: NodeId) -> String {
        self.redis.key(&format!("ring:{node}"))
    }

    /// Hears the rings, as `node`, until `stop` says true.
    pub fn listen(
        &self,
        node: NodeId,
        options: ListenOptions,
        stop: watch::Receiver<bool>,
    ) -> (RingReceiver, RingTask) {
        let (rings, receiver) = mpsc::channel(options.ahead.max(1));
        // Weak: when listening ends, so do the rings. Whoever listens a second time is another process.
        let _ = self.own.set(rings.downgrade());
        let (fates, told) = mpsc::unbounded_channel();
        let own = self.node_stream(node);
        let reader = Reader::new(self, own.clone(), node, options, rings, fates);
        let teller = Teller::new(self.clone(), own, node);
        let reading = tokio::spawn(reader.run(stop));
        let telling = tokio::spawn(teller.run(told));
        (RingReceiver::new(receiver), RingTask { reading, telling })
    }
}

/// How a worker listens.
#[derive(Debug, Clone, Copy)]
pub struct ListenOptions {
    /// Rings that are read before a worker is free for them.
    pub ahead: usize,
    /// How long a ring may be with a worker before another gets it too. Not less than a hold lasts:
    /// before that the other would find it held.
    pub claim_after: Duration,
    /// A worker that holds nothing and was not heard of for so long is forgotten.
    pub forget_after: Duration,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { ahead: 64, claim_after: Duration::from_secs(10), forget_after: Duration::from_secs(600) }
    }
}

/// What listens in the background.
pub struct RingTask {
    reading: JoinHandle<()>,
    telling: JoinHandle<()>,
}

impl RingTask {
    /// Resolves when all rings are done or given back, after `stop`; within about a second of the last.
    pub async fn ended(self) {
        for task in [self.reading, self.telling] {
            if let Err(error) = task.await {
                tracing::error!(error = &error as &dyn std::error::Error, "listening to the queue panicked");
            }
        }
    }
}

fn queue_error(error: RedisError) -> QueueError {
    QueueError(Box::new(error))
}

/// The node does not listen to its own doorbell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the node does not listen")]
struct NotListening;

#[async_trait]
impl Queue for RedisQueue {
    async fn ring(&self, job: Job) -> Result<(), QueueError> {
        let mut ring = redis::cmd("XADD");
        ring.arg(&self.stream).arg("*").arg(FIELD).arg(encode(&job));
        match self.redis.run::<()>(&ring).await {
            Ok(()) => Ok(()),
            // Nobody hears it through Redis. The worker of this process does without.
            Err(error) => match self.own_worker() {
                Some(own) => own.try_send(Ring::of(job)).map_err(|_| queue_error(error)),
                None => Err(queue_error(error)),
            },
        }
    }

    async fn ring_node(&self, node: NodeId, job: Job) -> Result<(), QueueError> {
        let mut ring = redis::cmd("XADD");
        // A node that listens has made its doorbell.
        ring.arg(self.node_stream(node)).arg("NOMKSTREAM").arg("MAXLEN").arg("~").arg(NODE_MAX);
        ring.arg("*").arg(FIELD).arg(encode(&job));
        match self.redis.run::<Option<String>>(&ring).await.map_err(queue_error)? {
            Some(_) => Ok(()),
            None => Err(QueueError(Box::new(NotListening))),
        }
    }

    async fn ping(&self) -> Result<(), QueueError> {
        self.redis.ping().await.map_err(queue_error)
    }

    async fn depth(&self) -> Result<usize, QueueError> {
        match (self.redis.run(redis::cmd("XLEN").arg(&self.stream)).await, self.own_worker()) {
            (Ok(waiting), _) => Ok(waiting),
            (Err(_), Some(own)) => Ok(own.max_capacity() - own.capacity()),
            (Err(error), None) => Err(queue_error(error)),
        }
    }
}

fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A job in as few bytes as it takes: kind, tenant, item, and the token if there is one.
fn encode(job: &Job) -> Vec<u8> {
    let (kind, item) = match job.item {
        Item::Verification(id) => (0, id.to_bytes()),
        Item::Message(id) => (1, id.to_bytes()),
    };
    let mut bytes = Vec::with_capacity(41);
    bytes.push(kind);
    bytes.extend(job.tenant.to_bytes());
    bytes.extend(item);
    if let Some(token) = job.token {
        bytes.extend(token.to_be_bytes());
    }
    bytes
}

/// The job in an entry; none for what another program put there.
fn decode(bytes: &[u8]) -> Option<Job> {
    let (kind, rest) = bytes.split_first()?;
    let (tenant, rest) = rest.split_first_chunk::<16>()?;
    let (item, rest) = rest.split_first_chunk::<16>()?;
    let item = match kind {
        0 => Item::Verification(VerificationId::from_bytes(*item)),
        1 => Item::Message(MessageId::from_bytes(*item)),
        _ => return None,
    };
    let token = match rest {
        [] => None,
        token => Some(u64::from_be_bytes(token.try_into().ok()?)),
    };
    Some(Job { tenant: TenantId::from_bytes(*tenant), item, token })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_job_survives_its_bytes(tenant: [u8; 16], item: [u8; 16], message: bool, token: Option<u64>) {
            let item = if message {
                Item::Message(MessageId::from_bytes(item))
            } else {
                Item::Verification(VerificationId::from_bytes(item))
            };
            let job = Job { tenant: TenantId::from_bytes(tenant), item, token };
            prop_assert_eq!(decode(&encode(&job)), Some(job));
        }

        #[test]
        fn any_bytes_are_a_job_or_none(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(job) = decode(&bytes) {
                prop_assert_eq!(encode(&job), bytes);
            }
        }
    }
}
