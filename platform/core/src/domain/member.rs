//! Members: which person is what in which tenant.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{TenantId, UserId};
use super::permission::Role;
use crate::ports::{Entity, IndexKey, Owner};

/// The index by which a person's memberships are listed: its value is the user's id, 16 bytes.
pub const BY_USER: &str = "user";

/// A person in a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which tenant.
    pub tenant: TenantId,
    /// Who.
    pub user: UserId,
    /// What they are there.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
}

impl Entity for Member {
    const KIND: &'static str = "member";

    /// The user's: nobody is in a tenant twice.
    fn id(&self) -> [u8; 16] {
        self.user.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    fn listed(&self) -> Vec<IndexKey> {
        vec![IndexKey::new(BY_USER, self.user.to_bytes())]
    }
}
