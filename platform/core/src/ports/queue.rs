use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::dispatch::LeaseToken;
use crate::domain::id::{MessageId, NodeId, TenantId, VerificationId};

/// What a worker is asked to deliver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Item {
    /// The code of a verification.
    Verification(VerificationId),
    /// A direct message.
    Message(MessageId),
}

impl Item {
    /// The 16 bytes of its id. No two items share one, of whatever kind they are.
    pub fn to_bytes(self) -> [u8; 16] {
        match self {
            Self::Verification(id) => id.to_bytes(),
            Self::Message(id) => id.to_bytes(),
        }
    }
}

/// A ring at the doorbell: ids only, never a code or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Job {
    /// Whose it is.
    pub tenant: TenantId,
    /// What to deliver.
    pub item: Item,
    /// The hold that the worker takes over; none if it has to claim it.
    pub token: Option<LeaseToken>,
}

/// The queue cannot be reached. Nothing is lost: the sweep rings again.
#[derive(Debug, thiserror::Error)]
#[error("the queue does not take jobs")]
pub struct QueueError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The doorbell. It may lose rings: the store is the ledger, and the sweep rings for what is due.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Rings for one job.
    ///
    /// # Errors
    /// [`QueueError`] when it cannot be reached or is full.
    async fn ring(&self, job: Job) -> Result<(), QueueError>;

    /// Rings for one job at one node: for what only that node can do.
    ///
    /// # Errors
    /// [`QueueError`] when it cannot be reached or is full, or the node does not listen.
    async fn ring_node(&self, node: NodeId, job: Job) -> Result<(), QueueError>;

    /// Whether it can be reached.
    ///
    /// # Errors
    /// [`QueueError`] when it cannot.
    async fn ping(&self) -> Result<(), QueueError>;

    /// Jobs that wait for a worker, on all nodes.
    ///
    /// # Errors
    /// [`QueueError`] when it cannot be reached.
    async fn depth(&self) -> Result<usize, QueueError>;
}
