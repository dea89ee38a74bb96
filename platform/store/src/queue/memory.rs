//! The doorbell of a single process: a bounded channel.
//!
//! It forgets everything when the process ends, and may: the store is the ledger, and the sweep
//! rings for whatever is due.

use async_trait::async_trait;
use tokio::sync::mpsc;
use wotp_core::domain::id::NodeId;
use wotp_core::ports::{Job, Queue, QueueError};

use super::ring::{Ring, RingReceiver};

/// The queue holds as many rings as it may. Nothing is lost: the sweep rings again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full, or its workers have stopped")]
pub struct RingFull;

/// Where rings go in.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    rings: mpsc::Sender<Ring>,
}

impl MemoryQueue {
    /// A queue that holds at most `capacity` rings, and the backend that a worker runs on.
    pub fn new(capacity: usize) -> (Self, RingReceiver) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { rings: sender }, RingReceiver::new(receiver))
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn ring(&self, job: Job) -> Result<(), QueueError> {
        // Not waiting for room: the caller is a request, and the sweep will ring again.
        self.rings.try_send(Ring::of(job)).map_err(|_| QueueError(Box::new(RingFull)))
    }

    /// There is one node, and it rings itself.
    async fn ring_node(&self, _: NodeId, job: Job) -> Result<(), QueueError> {
        self.ring(job).await
    }

    async fn ping(&self) -> Result<(), QueueError> {
        if self.rings.is_closed() { Err(QueueError(Box::new(RingFull))) } else { Ok(()) }
    }

    async fn depth(&self) -> Result<usize, QueueError> {
        Ok(self.rings.max_capacity() - self.rings.capacity())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wotp_core::domain::id::{TenantId, VerificationId};
    use wotp_core::ports::Item;

    fn job(n: u8) -> Job {
        Job {
            tenant: TenantId::from_bytes([1; 16]),
            item: Item::Verification(VerificationId::from_bytes([n; 16])),
            token: None,
        }
    }

    #[tokio::test]
    async fn rings_come_out_in_order_and_are_counted() {
        let (queue, mut backend) = MemoryQueue::new(2);
        queue.ring(job(1)).await.unwrap();
        queue.ring(job(2)).await.unwrap();
        assert_eq!(queue.depth().await.unwrap(), 2);
        assert!(queue.ring(job(3)).await.is_err(), "a full queue says so at once");
        assert_eq!(backend.try_next().map(|ring| ring.job), Some(job(1)));
        assert_eq!(queue.depth().await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_queue_without_workers_is_not_healthy() {
        let (queue, backend) = MemoryQueue::new(2);
        assert!(queue.ping().await.is_ok());
        drop(backend);
        assert!(queue.ping().await.is_err());
        assert!(queue.ring(job(1)).await.is_err());
    }
}
