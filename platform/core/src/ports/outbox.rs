//! The outbox: what happened and was not told of yet.

use async_trait::async_trait;

use super::store::StoreError;
use crate::domain::id::{TenantId, VerificationId};
use crate::domain::news::News;

/// What news are known by, to be taken by [`Change::TakeNews`](super::Change::TakeNews).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NewsKey {
    /// Whose.
    pub tenant: TenantId,
    /// Of which verification.
    pub verification: VerificationId,
    /// Which of its versions.
    pub version: u64,
    /// Where the store keeps them, where that is not with the verification.
    pub place: Option<i64>,
}

/// Keeps news.
///
/// [`TenantStore::admit`](super::TenantStore::admit), [`replace`](super::TenantStore::replace) and
/// [`replace_for_resend`](super::TenantStore::replace_for_resend) store the news of a verification together
/// with it, in one step. They stay until they are taken, and of those who race for them one takes them.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// News that nobody took yet, about in the order in which they happened.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn news(&self, limit: usize) -> Result<Vec<(NewsKey, News)>, StoreError>;
}
