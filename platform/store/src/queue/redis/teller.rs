//! Tells the server what became of rings.

use std::collections::HashMap;
use std::time::Duration;

use redis::Pipeline;
use tokio::sync::mpsc;
use wotp_core::domain::id::NodeId;

use super::{BATCH, FIELD, GROUP, PAUSE, RedisQueue, encode};
use crate::queue::ring::Fate;

/// What a server that is away is told later, at most. What is beyond that is heard again, by a worker
/// who finds it done.
const KEPT_MAX: usize = 10_000;

/// Whose rings they are.
pub(super) struct Teller {
    queue: RedisQueue,
    own: String,
    worker: String,
}

impl Teller {
    pub(super) fn new(queue: RedisQueue, own: String, node: NodeId) -> Self {
        Self { queue, own, worker: node.to_string() }
    }

    /// Tells many at once, until there are no more; then the worker leaves.
    pub(super) async fn run(self, mut told: mpsc::UnboundedReceiver<Fate>) {
        let mut kept = Vec::new();
        loop {
            // What is kept is told again after a while, whether there is more or not.
            let patience = if kept.is_empty() { Duration::MAX } else { PAUSE };
            let over = matches!(tokio::time::timeout(patience, told.recv_many(&mut kept, BATCH)).await, Ok(0));
            if kept.len() > KEPT_MAX {
                kept.drain(..kept.len() - KEPT_MAX);
            }
            if !kept.is_empty() {
                match self.queue.redis.run_all::<()>(&self.commands(&kept)).await {
                    Ok(()) => kept.clear(),
                    Err(error) => {
                        tracing::debug!(
                            error = &error as &dyn std::error::Error,
                            "the queue was not told of done jobs"
                        );
                    }
                }
            }
            if over {
                break;
            }
        }
        // What it still holds, because nobody said that it is done, is another worker's after a while.
        if let Err(error) = self.queue.forget(&self.queue.redis, &self.worker, Duration::MAX).await {
            tracing::debug!(error = &error as &dyn std::error::Error, "the worker is forgotten by others");
        }
    }

    fn commands(&self, fates: &[Fate]) -> Pipeline {
        let mut commands = redis::pipe();
        let mut done: HashMap<&str, Vec<&str>> = HashMap::new();
        for fate in fates {
            let entry = match fate {
                Fate::Done(entry) => entry,
                Fate::Untouched(entry, job) => {
                    // Its own doorbell goes with the node.
                    if entry.stream != self.own {
                        commands.cmd("XADD").arg(&entry.stream).arg("*").arg(FIELD).arg(encode(job)).ignore();
                    }
                    entry
                }
            };
            done.entry(&entry.stream).or_default().push(&entry.id);
        }
        for (stream, ids) in &done {
            commands.cmd("XACK").arg(stream).arg(GROUP).arg(ids).ignore();
            commands.cmd("XDEL").arg(stream).arg(ids).ignore();
        }
        commands
    }
}
