//! What sessions tell.

use std::fmt;

use async_trait::async_trait;
use wotp_core::app::{App, Refusal, WrittenMessage};
use wotp_core::domain::Timestamp;
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::dispatch::Receipt;
use wotp_core::domain::id::{ConnectionId, TenantId};
use wotp_core::domain::live_connection::Standing;
use wotp_core::ports::{Reference, StoreError, TenantAccount};

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

#[async_trait]
impl Listen for App {
    async fn reported(&self, _: SessionId, Reported { reference, receipt }: Reported) {
        let Reference { tenant, item, delivery } = reference;
        if let Err(error) = self.record_receipt(tenant, item, delivery, receipt).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%tenant, %delivery, error, "what became of a WhatsApp message is not written down");
        }
    }

    async fn stands(&self, lease: &ConnectionLease, standing: &Standing) -> Result<(), NotTaken> {
        self.tell_standing(lease, standing).await.map_err(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(connection = %lease.of.connection, error, "where a WhatsApp session stands is told later");
            NotTaken
        })
    }

    async fn incoming(&self, session: SessionId, incoming: &Incoming) -> Result<Option<String>, NotTaken> {
        let SessionId { tenant, connection } = session;
        let Incoming { from, text, sent_at, .. } = incoming;
        let written = WrittenMessage { to: TenantAccount { tenant, connection }, from, text, sent_at: *sent_at };
        self.take_in_message(written).await.or_else(|error| {
            let passes = match &error {
                Refusal::Maintenance { .. } => true,
                Refusal::Store(error) => !matches!(error, StoreError::Damaged(_)),
                _ => false,
            };
            let error: &dyn std::error::Error = &error;
            if passes {
                tracing::debug!(%connection, error, "what somebody wrote is taken in later");
                return Err(NotTaken);
            }
            // It would be the same the next time, and all that others write waits behind it.
            tracing::error!(%connection, error, "what somebody wrote cannot be taken in");
            Ok(None)
        })
    }
}

/// Who is told what happens in sessions.
#[async_trait]
pub trait Listen: Send + Sync {
    /// A receipt, or an acknowledgement that came late.
    async fn reported(&self, session: SessionId, reported: Reported);

    /// Where a session stands has changed, or how it fares. It is this process's by this lease.
    ///
    /// # Errors
    /// [`NotTaken`]: it is told again after a while.
    async fn stands(&self, lease: &ConnectionLease, standing: &Standing) -> Result<(), NotTaken>;

    /// Somebody wrote to the tenant's number. Only when this has returned is WhatsApp told that the message arrived, and
    /// the next one comes. What is returned they are answered, once, however often the message is told.
    ///
    /// # Errors
    /// [`NotTaken`]: it comes again after the next login.
    async fn incoming(&self, session: SessionId, incoming: &Incoming) -> Result<Option<String>, NotTaken>;
}
