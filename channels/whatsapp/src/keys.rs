//! Where sessions keep their keys, and what they must remember besides.

use std::sync::Arc;

use async_trait::async_trait;
use wacore::store::traits::Backend;

use crate::listen::SessionId;

/// It cannot be read or written now.
#[derive(Debug, thiserror::Error)]
#[error("what a session keeps is out of reach")]
pub struct KeysError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What one session keeps.
#[derive(Clone)]
pub struct Kept {
    /// The client's own: keys, and all that it must not forget. A write is lasting before it returns.
    pub backend: Arc<dyn Backend>,
    /// What is noted besides.
    pub notes: Arc<dyn Notes>,
}

/// Small things that a session must remember: how much it has sent lately, and to whom it has written before.
#[async_trait]
pub trait Notes: Send + Sync {
    /// What was written last under a name, if anything was.
    ///
    /// # Errors
    /// [`KeysError`].
    async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, KeysError>;

    /// Writes it, in the place of what was there.
    ///
    /// # Errors
    /// [`KeysError`].
    async fn write(&self, name: &str, value: &[u8]) -> Result<(), KeysError>;
}

/// Where sessions keep their keys.
#[async_trait]
pub trait Keys: Send + Sync {
    /// What a session keeps: nothing, where it was never linked. Called by the process that has the right to the session,
    /// whose [`fence`](crate::Right::fence) is higher than any before; what is written under a lower one is refused.
    ///
    /// # Errors
    /// [`KeysError`].
    async fn open(&self, session: SessionId, fence: u64) -> Result<Kept, KeysError>;

    /// Erases all of it, for good: the session was logged out, or deleted.
    ///
    /// # Errors
    /// [`KeysError`].
    async fn erase(&self, session: SessionId, fence: u64) -> Result<(), KeysError>;
}
