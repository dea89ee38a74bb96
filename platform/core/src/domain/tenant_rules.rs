//! What bounds tenants and their teams, whatever their plan.

use jiff::SignedDuration;

/// Most members of one tenant: all of a team are read when one of it changes.
pub const MEMBERS_MAX: usize = 500;

/// What an installation says about tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TenantRules {
    /// How long a deleted tenant can be had back.
    pub deletion_grace: SignedDuration,
    /// Tenants that one person may own and still create another.
    pub owned_max: usize,
    /// Invitations that one tenant may send in a day (UTC), resends included.
    pub invitations_per_day: u32,
}

impl Default for TenantRules {
    /// 14 days, 10 tenants, 50 invitations.
    fn default() -> Self {
        Self { deletion_grace: SignedDuration::from_hours(14 * 24), owned_max: 10, invitations_per_day: 50 }
    }
}
