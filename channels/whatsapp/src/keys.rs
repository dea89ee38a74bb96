//! Where sessions keep their keys, and what they must remember besides.

use async_trait::async_trait;
use wotp_core::app::{App, ConnectionMemory, MemoryError};
use wotp_core::domain::connection_lease::ConnectionLease;

/// Where sessions keep their keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// What a session remembers: nothing, where it was never linked. Called once for each lease, by the process that has
    /// it; what is written under an older one is refused.
    ///
    /// # Errors
    /// [`MemoryError`].
    async fn open(&self, lease: &ConnectionLease) -> Result<ConnectionMemory, MemoryError>;
}

#[async_trait]
impl Keys for App {
    async fn open(&self, lease: &ConnectionLease) -> Result<ConnectionMemory, MemoryError> {
        self.connection_memory(lease.clone()).await
    }
}
