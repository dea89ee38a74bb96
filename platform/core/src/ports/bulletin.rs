use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::domain::id::{TenantId, UserId};

/// What changed, for nodes that keep some of it in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// Something of a tenant: its plan, a key, a service.
    Tenant(TenantId),
    /// Something of a person: their password, a session, what they may.
    Person(UserId),
    /// It is not known what: a node that did not hear for a while forgets everything.
    Anything,
}

/// The other nodes cannot be told. They see the change by themselves within a second.
#[derive(Debug, thiserror::Error)]
#[error("the other nodes cannot be told")]
pub struct BulletinError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// Tells every node what changed, so that none goes by what it remembers. It may lose news: what a
/// node remembers is therefore never older than a second.
#[async_trait]
pub trait Bulletin: Send + Sync {
    /// Tells all nodes, this one too.
    ///
    /// # Errors
    /// [`BulletinError`] when they cannot be reached.
    async fn tell(&self, changed: Changed) -> Result<(), BulletinError>;
}

/// The bulletin of a node that is alone: there is nobody to tell.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unheard;

#[async_trait]
impl Bulletin for Unheard {
    async fn tell(&self, _: Changed) -> Result<(), BulletinError> {
        Ok(())
    }
}
