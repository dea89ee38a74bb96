//! The end of a doorbell where rings come out: one apalis backend, whatever the rings came through.

use std::convert::Infallible;
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::layers::Identity;
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::RandomId;
use apalis_core::worker::context::WorkerContext;
use tokio::sync::mpsc;
use wotp_core::ports::Job;

/// A job, and what the queue wants to hear when it is done.
#[derive(Debug)]
pub struct Ring {
    /// The job.
    pub job: Job,
    receipt: Option<Receipt>,
}

/// What a queue that must be told is told.
#[derive(Debug)]
struct Receipt {
    tell: mpsc::UnboundedSender<Fate>,
    entry: Entry,
}

/// Where a ring is in its queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stream: String,
    pub(super) id: String,
}

/// What became of a ring.
#[derive(Debug)]
pub(super) enum Fate {
    /// The job was done.
    Done(Entry),
    /// Nobody began it: it is for another worker.
    Untouched(Entry, Job),
}

impl Ring {
    /// A ring that nobody wants to hear of again.
    pub(super) fn of(job: Job) -> Self {
        Self { job, receipt: None }
    }

    /// A ring whose fate is told.
    pub(super) fn with_receipt(job: Job, entry: Entry, tell: mpsc::UnboundedSender<Fate>) -> Self {
        Self { job, receipt: Some(Receipt { tell, entry }) }
    }

    /// The job is done, or there was nothing to do. A ring that is dropped without is heard again, unless
    /// it is dropped by a panic.
    pub fn done(mut self) {
        if let Some(Receipt { tell, entry }) = self.receipt.take() {
            // Nobody listens any more: then the queue gives it to another worker, who finds it done.
            let _ = tell.send(Fate::Done(entry));
        }
    }

    /// Nobody began it: another worker may have it.
    pub(super) fn untouched(mut self) {
        if let Some(Receipt { tell, entry }) = self.receipt.take() {
            let _ = tell.send(Fate::Untouched(entry, self.job));
        }
    }
}

impl Drop for Ring {
    /// A job that panicked is done: it would only panic again, and when something is due all the same
    /// the sweep rings. Counting deliveries instead would let it panic some times more, and ask the
    /// server for a number each time.
    fn drop(&mut self) {
        if let Some(Receipt { tell, entry }) = self.receipt.take_if(|_| std::thread::panicking()) {
            tracing::error!(tenant = %self.job.tenant, item = ?self.job.item, "a job panicked; it is not tried again before the sweep rings");
            let _ = tell.send(Fate::Done(entry));
        }
    }
}

/// Where rings come out, for an apalis worker. Rings that nobody began when it is dropped go back.
#[derive(Debug)]
pub struct RingReceiver {
    rings: mpsc::Receiver<Ring>,
}

impl RingReceiver {
    pub(super) fn new(rings: mpsc::Receiver<Ring>) -> Self {
        Self { rings }
    }

    /// The next ring, if one waits: for tests that do the work themselves.
    pub fn try_next(&mut self) -> Option<Ring> {
        self.rings.try_recv().ok()
    }

    /// The next ring, once there is one; none when nobody rings any more.
    pub async fn next(&mut self) -> Option<Ring> {
        self.rings.recv().await
    }
}

impl Drop for RingReceiver {
    fn drop(&mut self) {
        self.rings.close();
        while let Ok(ring) = self.rings.try_recv() {
            ring.untouched();
        }
    }
}

impl Backend for RingReceiver {
    type Task = Task<Ring>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<Ring>, Infallible>>> {
        self.rings.poll_recv(cx).map(|ring| ring.map(|ring| Ok(TaskBuilder::new(ring).build())))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.rings.close();
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for RingReceiver {
    type Args = Ring;
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
