//! The outbox: what happened and was not told of yet.

use async_trait::async_trait;

use super::queue::Item;
use super::store::StoreError;
use crate::domain::id::TenantId;
use crate::domain::news::News;

/// What news are known by, to be taken by [`Change::TakeNews`](super::Change::TakeNews).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NewsKey {
    /// Whose.
    pub tenant: TenantId,
    /// Of which verification or message.
    pub item: Item,
    /// Which of its versions.
    pub version: u64,
    /// Where the store keeps them, where that is not with the record.
    pub place: Option<i64>,
}

impl NewsKey {
    /// The key of these news, which are kept there.
    pub fn of(news: &News, place: Option<i64>) -> Self {
        Self { tenant: news.tenant(), item: news.item(), version: news.version(), place }
    }
}

/// Keeps news.
///
/// [`TenantStore::admit`](super::TenantStore::admit), [`replace`](super::TenantStore::replace),
/// [`replace_for_resend`](super::TenantStore::replace_for_resend) and
/// [`replace_message`](super::TenantStore::replace_message) store the news of a verification or a message
/// together with it, in one step. They stay until they are taken, and of those who race for them one takes them.
#[async_trait]
pub trait Outbox: Send + Sync {
    /// News that nobody took yet, about in the order in which they happened.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn news(&self, limit: usize) -> Result<Vec<(NewsKey, News)>, StoreError>;
}
