use std::future::Future;
use std::pin::Pin;

use async_trait::async_trait;
use jiff::SignedDuration;

/// Bounds how long something may take, on the runtime's own time.
#[async_trait]
pub trait Timer: Send + Sync {
    /// Runs `work` for at most `limit`; says whether it finished. What did not finish is dropped.
    async fn within<'a>(&self, limit: SignedDuration, work: Pin<Box<dyn Future<Output = ()> + Send + 'a>>) -> bool;

    /// Waits for so long.
    async fn sleep(&self, duration: SignedDuration);
}
