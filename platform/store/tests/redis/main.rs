//! What Redis does to us, and what we do then.
#![allow(clippy::unwrap_used, reason = "`allow-unwrap-in-tests` does not see what tests call")]

mod away;
mod bulletin;
mod limiter;
mod logs;
mod queue;
mod sets;
mod stop;
mod tls;

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::watch;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::{Job, Queue as _};
use wotp_core::testing::builders::{entropy, noon};
use wotp_store::queue::{ListenOptions, RedisQueue, RingReceiver, RingTask};
use wotp_store::redis::Redis;
use wotp_test_servers::Redis as Server;

/// Longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A node that listens.
struct Node {
    id: NodeId,
    rings: RingReceiver,
    task: RingTask,
    stop: watch::Sender<bool>,
}

impl Node {
    fn listening(queue: &RedisQueue, options: ListenOptions) -> Self {
        let id = NodeId::new(noon(), entropy());
        let (stop, stopping) = watch::channel(false);
        let (rings, task) = queue.listen(id, options, stopping);
        Self { id, rings, task, stop }
    }

    async fn hear(&mut self) -> Job {
        let ring = tokio::time::timeout(PATIENCE, self.rings.next()).await.expect("it is heard in time");
        let ring = ring.unwrap();
        let job = ring.job;
        ring.done();
        job
    }

    /// Hears until it has heard all of these; others may be among them.
    async fn hear_all(&mut self, expected: &[Job]) {
        let mut missing: HashSet<Job> = expected.iter().copied().collect();
        while !missing.is_empty() {
            let job = self.hear().await;
            missing.retain(|waiting| waiting.item != job.item);
        }
    }

    async fn stop(self) {
        self.stop.send_replace(true);
        drop(self.rings);
        self.task.ended().await;
    }
}

fn at(url: &str) -> Redis {
    Redis::at(url, None).unwrap()
}

fn queue_at(url: &str) -> RedisQueue {
    RedisQueue::new(at(url))
}

fn queue_of(server: &Server) -> RedisQueue {
    queue_at(&server.url())
}

/// Rings, as often as it takes: as the sweep does for what is still due.
async fn insist(queue: &RedisQueue, job: Job) {
    let ringing = async {
        while queue.ring(job).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, ringing).await.expect("it rings in time");
}

async fn until(what: impl AsyncFn() -> bool) {
    let looking = async {
        while !what().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.expect("it happens in time");
}
