use async_trait::async_trait;

use crate::domain::account::AccountStanding;

/// Why nobody knows how an account stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unchecked {
    /// As many are looked at as may be: nobody was asked.
    #[error("as many accounts are looked at as may be at once")]
    Busy,
    /// The provider gave no answer; why, in words for the tenant.
    #[error("the provider could not be asked how the account stands: {0}")]
    Unanswered(String),
    /// The channel crashed over it, or was stopped.
    #[error("the channel broke down over how the account stands: {0}")]
    BrokeDown(String),
}

/// How a channel looks at the account at its provider.
#[async_trait]
pub trait CheckAccount: Send + Sync {
    /// Looks, and makes there what the account lacks where its settings ask for that. It bounds its time by itself.
    ///
    /// # Errors
    /// [`Unchecked`].
    async fn check(&self) -> Result<AccountStanding, Unchecked>;
}
