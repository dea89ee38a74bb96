//! What providers do not tell, and have to be asked; and what they are asked to take back.

use async_trait::async_trait;
use jiff::SignedDuration;

use super::Reference;
use crate::domain::Timestamp;
use crate::domain::asking::Again;
use crate::domain::dispatch::Receipt;

/// Longest that one may take to answer.
pub const ASKING_MAX: SignedDuration = SignedDuration::from_secs(5);

/// Which delivery a provider is asked about, or to take back. It names no person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The delivery, as the provider was told of it.
    pub reference: Reference,
    /// The provider's own name for it.
    pub provider_id: Option<String>,
    /// When the provider took it.
    pub sent_at: Timestamp,
    /// Which time it is that it is asked about, or to be taken back, from 1.
    pub asked: u8,
}

/// How a delivery fares, as its provider says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// What became of it; none where the provider does not say, or was not asked: it has not answered lately, or there
    /// is too much to ask.
    pub receipt: Option<Receipt>,
    /// When to ask again.
    pub again: Again,
}

/// How a channel asks its provider what became of a delivery.
#[async_trait]
pub trait Ask: Send + Sync {
    /// Asks once. The caller bounds the time, by [`ASKING_MAX`].
    async fn ask(&self, question: &Question) -> Standing;
}

/// How a channel has its provider take back what it sent.
#[async_trait]
pub trait Revoke: Send + Sync {
    /// Asks once that a message be taken back, and says when to ask again: never, once the provider was told, or cannot do
    /// it. The caller bounds the time, by [`ASKING_MAX`].
    async fn revoke(&self, sent: &Question) -> Again;
}
