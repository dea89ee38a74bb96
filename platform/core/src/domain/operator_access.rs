//! Acting as a tenant: an operator who helps a tenant, for a limited time, with the tenant told.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{AccessId, TenantId, UserId};
use super::permission::Role;
use crate::ports::{Entity, IndexKey, Owner};

/// Longest that an operator may act as a tenant before saying again why: an hour.
pub const MINUTES_MAX: u32 = 60;
/// Longest reason, in characters.
pub const REASON_LENGTH_MAX: usize = 300;

/// That an operator may act as a tenant. Kept afterwards, for the tenant to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorAccess {
    /// Its id.
    pub id: AccessId,
    /// As which tenant.
    pub tenant: TenantId,
    /// Which operator.
    pub operator: UserId,
    /// Why, as the tenant is told.
    pub reason: String,
    /// What they may do there: as much as a member of this role.
    pub role: Role,
    /// From when.
    pub starts_at: Timestamp,
    /// Until when.
    pub ends_at: Timestamp,
}

impl OperatorAccess {
    /// Whether it holds at `now`.
    pub fn holds(&self, now: Timestamp) -> bool {
        self.starts_at <= now && now < self.ends_at
    }
}

impl Entity for OperatorAccess {
    const KIND: &'static str = "operator_access";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    fn listed(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("operator", self.operator.to_bytes())]
    }
}
