//! The doorbell of a single process: a bounded channel, with apalis at its other end.
//!
//! It forgets everything when the process ends, and may: the store is the ledger, and the sweep
//! rings for whatever is due.

use std::convert::Infallible;
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::layers::Identity;
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::RandomId;
use apalis_core::worker::context::WorkerContext;
use async_trait::async_trait;
use tokio::sync::mpsc;
use wotp_core::ports::{Job, Queue, QueueError};

/// The queue holds as many rings as it may. Nothing is lost: the sweep rings again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the queue is full, or its workers have stopped")]
pub struct RingFull;

/// Where rings go in.
#[derive(Debug, Clone)]
pub struct MemoryQueue {
    rings: mpsc::Sender<Job>,
}

/// Where rings come out, for an apalis worker.
#[derive(Debug)]
pub struct MemoryBackend {
    rings: mpsc::Receiver<Job>,
}

impl MemoryQueue {
    /// A queue that holds at most `capacity` rings, and the backend that a worker runs on.
    pub fn new(capacity: usize) -> (Self, MemoryBackend) {
        let (sender, receiver) = mpsc::channel(capacity);
        (Self { rings: sender }, MemoryBackend { rings: receiver })
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    async fn ring(&self, job: Job) -> Result<(), QueueError> {
        // Not waiting for room: the caller is a request, and the sweep will ring again.
        self.rings.try_send(job).map_err(|_| QueueError(Box::new(RingFull)))
    }

    async fn ping(&self) -> Result<(), QueueError> {
        if self.rings.is_closed() { Err(QueueError(Box::new(RingFull))) } else { Ok(()) }
    }

    async fn depth(&self) -> Result<usize, QueueError> {
        Ok(self.rings.max_capacity() - self.rings.capacity())
    }
}

impl MemoryBackend {
    /// The next ring, if one waits: for tests that do the work themselves.
    pub fn try_next(&mut self) -> Option<Job> {
        self.rings.try_recv().ok()
    }
}

impl Backend for MemoryBackend {
    type Task = Task<Job>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<Job>, Infallible>>> {
        self.rings.poll_recv(cx).map(|job| job.map(|job| Ok(TaskBuilder::new(job).build())))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.rings.close();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for MemoryBackend {
    type Args = Job;
    type Id = RandomId;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
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
        assert_eq!(backend.try_next(), Some(job(1)));
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
