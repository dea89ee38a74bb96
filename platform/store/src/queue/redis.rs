//! The doorbell of nodes: a Redis stream that all workers read together.
//!
//! It may lose everything at any moment: the store is the ledger, and the sweep rings for whatever is
//! due. What it must not do is stop: a server that was emptied, restarted or away is gone on with.
//!
//! A stream's entry belongs to the worker that read it until that says that the job is done. What a
//! worker leaves behind when it dies is given to another after a while, without its token: the hold
//! that the token names may still be somebody's, and the store decides.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use redis::streams::{StreamAutoClaimReply, StreamId, StreamReadReply};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use wotp_core::domain::id::{MessageId, NodeId, TenantId, VerificationId};
use wotp_core::ports::{Item, Job, Queue, QueueError};

use super::ring::{Entry, Fate, Ring, RingReceiver};
use crate::redis::{Redis, RedisError};

/// The one field of an entry.
const FIELD: &str = "j";
/// The group that all workers are in.
const GROUP: &str = "workers";
/// Longest that a read waits for the next ring.
const WAIT: Duration = Duration::from_secs(1);
/// Pause before a server that did not answer is asked again.
const PAUSE: Duration = Duration::from_millis(200);
/// How often it is looked for what dead workers left.
const CLAIM_EVERY: Duration = Duration::from_secs(2);
/// Entries that one command takes at most.
const BATCH: usize = 256;
/// Rings that one node's own doorbell holds at most.
const NODE_MAX: usize = 10_000;
/// A node's own doorbell goes by itself so long after its node last read it.
const NODE_KEPT: Duration = Duration::from_secs(60);
/// A worker that was not heard of for so long, and holds nothing, is forgotten.
const WORKER_GONE: Duration = Duration::from_secs(600);

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
        let reader = Reader {
            redis: self.redis.apart(),
            common: self.stream.clone(),
            own: self.node_stream(node),
            worker: node.to_string(),
            options,
            rings,
            fates,
        };
        let reading = tokio::spawn(reader.run(stop));
        let telling = tokio::spawn(tell(self.clone(), told));
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
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { ahead: 64, claim_after: Duration::from_secs(10) }
    }
}

/// What listens in the background.
pub struct RingTask {
    reading: JoinHandle<()>,
    telling: JoinHandle<()>,
}

impl RingTask {
    /// Resolves when all rings are done or given back, after `stop`.
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

/// Reads one worker's rings.
struct Reader {
    redis: Redis,
    common: String,
    own: String,
    worker: String,
    options: ListenOptions,
    rings: mpsc::Sender<Ring>,
    fates: mpsc::UnboundedSender<Fate>,
}

impl Reader {
    async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.read_on() => {}
            // An error means that nobody is left who could say stop.
            _ = stop.wait_for(|stop| *stop) => {}
        }
        // A worker that has left holds nothing; what it still has is told of by itself.
        if let Err(error) = self.redis.run::<()>(redis::cmd("DEL").arg(&self.own)).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the node's own doorbell goes by itself");
        }
    }

    /// Reads until nobody takes the rings any more.
    async fn read_on(&self) {
        let mut away = false;
        let mut claim_at = Instant::now();
        let mut known = false;
        while !self.rings.is_closed() {
            let turn = async {
                if !known {
                    self.join().await?;
                }
                if Instant::now() >= claim_at {
                    self.claim().await?;
                    claim_at = Instant::now() + CLAIM_EVERY;
                }
                self.read().await
            };
            match turn.await {
                Ok(()) => {
                    if away {
                        tracing::info!("the queue is back");
                    }
                    (away, known) = (false, true);
                }
                Err(error) => {
                    if !away && known {
                        tracing::warn!(
                            error = &error as &dyn std::error::Error,
                            "the queue does not answer; trying again until it does"
                        );
                    }
                    // It may have been emptied: then group and doorbell are made again.
                    away |= known;
                    known = false;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Makes the streams and the group, where they are not there.
    async fn join(&self) -> Result<(), RedisError> {
        for stream in [&self.common, &self.own] {
            let mut make = redis::cmd("XGROUP");
            make.arg("CREATE").arg(stream).arg(GROUP).arg("0").arg("MKSTREAM");
            match self.redis.run::<()>(&make).await {
                Err(error) if !error.to_string().contains("BUSYGROUP") => return Err(error),
                _ => {}
            }
        }
        self.forget_workers().await
    }

    /// Workers that are gone and hold nothing.
    async fn forget_workers(&self) -> Result<(), RedisError> {
        let found: Vec<HashMap<String, Value>> =
            self.redis.run(redis::cmd("XINFO").arg("CONSUMERS").arg(&self.common).arg(GROUP)).await?;
        let number = |worker: &HashMap<String, Value>, name: &str| match worker.get(name) {
            Some(Value::Int(number)) => u128::try_from(*number).unwrap_or(0),
            _ => 0,
        };
        for worker in &found {
            if number(worker, "pending") == 0 && number(worker, "idle") > WORKER_GONE.as_millis() {
                let Some(name) = worker.get("name").and_then(|name| redis::from_redis_value_ref::<String>(name).ok())
                else {
                    continue;
                };
                let mut forget = redis::cmd("XGROUP");
                forget.arg("DELCONSUMER").arg(&self.common).arg(GROUP).arg(name);
                self.redis.run::<()>(&forget).await?;
            }
        }
        Ok(())
    }

    /// What a worker left that is gone, or has been at it for so long.
    async fn claim(&self) -> Result<(), RedisError> {
        let mut claim = redis::cmd("XAUTOCLAIM");
        claim.arg(&self.common).arg(GROUP).arg(&self.worker).arg(as_millis(self.options.claim_after));
        claim.arg("0").arg("COUNT").arg(BATCH);
        let claimed: StreamAutoClaimReply = self.redis.run(&claim).await?;
        for entry in claimed.claimed {
            self.pass_on(&self.common, entry, |job| Job { token: None, ..job }).await;
        }
        let mut keep = redis::cmd("EXPIRE");
        self.redis.run::<()>(keep.arg(&self.own).arg(NODE_KEPT.as_secs())).await
    }

    async fn read(&self) -> Result<(), RedisError> {
        // No more than workers have room for: the rest is for other nodes.
        let Ok(room) = self.rings.reserve().await else { return Ok(()) };
        drop(room);
        let mut read = redis::cmd("XREADGROUP");
        read.arg("GROUP").arg(GROUP).arg(&self.worker).arg("COUNT").arg(self.rings.capacity().clamp(1, BATCH));
        read.arg("BLOCK").arg(as_millis(WAIT)).arg("STREAMS").arg(&self.common).arg(&self.own).arg(">").arg(">");
        let answer: Option<StreamReadReply> = self.redis.run(&read).await?;
        for stream in answer.into_iter().flat_map(|answer| answer.keys) {
            for entry in stream.ids {
                self.pass_on(&stream.key, entry, |job| job).await;
            }
        }
        Ok(())
    }

    async fn pass_on(&self, stream: &str, entry: StreamId, change: impl FnOnce(Job) -> Job) {
        let place = Entry { stream: stream.to_owned(), id: entry.id.clone() };
        let job = entry.get::<Vec<u8>>(FIELD).and_then(|bytes| decode(&bytes));
        match job {
            // Nobody takes it any more: then it is another worker's after a while.
            Some(job) => drop(self.rings.send(Ring::with_receipt(change(job), place, self.fates.clone())).await),
            None => {
                tracing::warn!(stream, "an entry of the queue is none of ours; it is dropped");
                let _ = self.fates.send(Fate::Done(place));
            }
        }
    }
}

fn as_millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Tells the server what became of rings, many at once, until there are no more.
async fn tell(queue: RedisQueue, mut told: mpsc::UnboundedReceiver<Fate>) {
    let mut fates = Vec::new();
    while told.recv_many(&mut fates, BATCH).await > 0 {
        let mut again = redis::pipe();
        let mut done: HashMap<String, Vec<String>> = HashMap::new();
        for fate in fates.drain(..) {
            let entry = match fate {
                Fate::Done(entry) => entry,
                Fate::Untouched(entry, job) => {
                    again.cmd("XADD").arg(&entry.stream).arg("*").arg(FIELD).arg(encode(&job)).ignore();
                    entry
                }
            };
            done.entry(entry.stream).or_default().push(entry.id);
        }
        for (stream, ids) in &done {
            again.cmd("XACK").arg(stream).arg(GROUP).arg(ids).ignore();
            again.cmd("XDEL").arg(stream).arg(ids).ignore();
        }
        // Once more, on another connection. After that they are heard again, by a worker who finds
        // them done.
        for _ in 0..2 {
            match queue.redis.run_all::<()>(&again).await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "the queue was not told of done jobs");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
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
