//! What sessions tell.

use std::fmt;

use async_trait::async_trait;
use wotp_core::domain::Timestamp;
use wotp_core::domain::dispatch::Receipt;
use wotp_core::domain::id::{ConnectionId, TenantId};
use wotp_core::ports::Reference;

/// Which session: a tenant's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId {
    /// Whose it is.
    pub tenant: TenantId,
    /// Which of theirs.
    pub connection: ConnectionId,
}

/// What became of a message after [`Session::send`](crate::Session::send) had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reported {
    /// Which delivery.
    pub reference: Reference,
    /// What became of it.
    pub receipt: Receipt,
}

/// What a person wrote to the tenant's number.
#[derive(Clone, PartialEq, Eq)]
pub struct Incoming {
    /// Their number: its digits, without `+`. WhatsApp vouches for it.
    pub from: String,
    /// What they wrote.
    pub text: String,
    /// WhatsApp's id of the message: one person uses it once. The same message may be told more than once.
    pub id: String,
    /// When they wrote it, as WhatsApp says.
    pub sent_at: Timestamp,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("sent_at", &self.sent_at).finish_non_exhaustive()
    }
}

/// What was told could not be kept: it is told again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it could not be kept")]
pub struct NotTaken;

/// Who is told what happens in sessions.
#[async_trait]
pub trait Listen: Send + Sync {
    /// A receipt, or an acknowledgement that came late.
    async fn reported(&self, session: SessionId, reported: Reported);

    /// Somebody wrote to the tenant's number. Only when this has returned is WhatsApp told that the message arrived, and
    /// the next one comes.
    ///
    /// # Errors
    /// [`NotTaken`]: it comes again after the next login.
    async fn incoming(&self, session: SessionId, incoming: &Incoming) -> Result<(), NotTaken>;
}
