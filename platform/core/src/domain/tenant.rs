//! Tenants: customer organisations.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{ServiceId, TenantId};
use super::plan::{Limits, Plan};
use super::template;

/// Longest name, in characters.
pub const NAME_LENGTH_MAX: usize = 100;

/// The platform's own tenant: codes to people who sign up or lost their password go out in its name, by the
/// same flow as everybody's. It is no customer: no plan bounds it, and lists of tenants leave it out.
pub const HOUSE: TenantId = TenantId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
/// The platform's own service.
pub const HOUSE_SERVICE: ServiceId = ServiceId::from_bytes([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// A customer organisation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// For people.
    pub name: String,
    /// The id of its plan.
    pub plan: String,
    /// When its subscription began: what anniversary months count from.
    pub period_anchor: Timestamp,
    /// The service that is used when a call names none.
    pub default_service: ServiceId,
    /// When it was created.
    pub created_at: Timestamp,
    /// How often it was changed.
    #[serde(default)]
    pub version: u64,
    /// Whether its callers are served.
    #[serde(default)]
    pub standing: Standing,
    /// What an operator set in place of what its plan says; what is left out is the plan's.
    #[serde(default, skip_serializing_if = "Limits::is_empty")]
    pub limits: Limits,
}

impl Tenant {
    /// The plan as it holds for this tenant.
    pub fn plan_with_limits(&self, plan: &Plan) -> Plan {
        Plan { limits: self.limits.over(&plan.limits), ..plan.clone() }
    }
}

/// Whether a tenant's callers are served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// They are.
    #[default]
    Active,
    /// An operator stopped it, until an operator lets it go on.
    Suspended(Suspension),
    /// An owner deleted it: it is erased at `erased_at`, and can be had back until then.
    Deleted {
        /// Since when.
        since: Timestamp,
        /// When nothing of it will be left.
        erased_at: Timestamp,
        /// What holds again when an owner has it back: a deletion is no way out of a suspension.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        suspended: Option<Suspension>,
    },
}

/// That an operator stopped a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspension {
    /// Since when.
    pub since: Timestamp,
    /// Why, as its members are told.
    pub reason: String,
}

impl Standing {
    /// Every state, by its name in the API and in the store.
    pub const STATES: [&str; 3] = ["active", "suspended", "deleted"];

    /// Its name in the API.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended(_) => "suspended",
            Self::Deleted { .. } => "deleted",
        }
    }

    /// When a deleted one is erased; none where it is not deleted.
    pub fn erased_at(&self) -> Option<Timestamp> {
        match self {
            Self::Deleted { erased_at, .. } => Some(*erased_at),
            Self::Active | Self::Suspended(_) => None,
        }
    }

    /// That an operator stopped it, whether or not it is deleted besides.
    pub fn suspension(&self) -> Option<&Suspension> {
        match self {
            Self::Active => None,
            Self::Suspended(suspension) => Some(suspension),
            Self::Deleted { suspended, .. } => suspended.as_ref(),
        }
    }

    /// Stops it, or lets it go on; what is deleted stays deleted.
    pub fn suspend(&mut self, suspension: Option<Suspension>) {
        match self {
            Self::Deleted { suspended, .. } => *suspended = suspension,
            Self::Active | Self::Suspended(_) => *self = suspension.map_or(Self::Active, Self::Suspended),
        }
    }

    /// An owner deletes it.
    pub fn delete(&mut self, since: Timestamp, erased_at: Timestamp) {
        *self = Self::Deleted { since, erased_at, suspended: self.suspension().cloned() };
    }

    /// An owner has it back: as it was, and suspended if an operator stopped it before or meanwhile.
    pub fn restore(&mut self) {
        *self = self.suspension().cloned().map_or(Self::Active, Self::Suspended);
    }
}

/// A name that cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 100 characters and no control characters")]
pub struct NameError;

/// A name for people: of a tenant, a service, a key.
///
/// # Errors
/// [`NameError`] when it is empty, too long, or holds control characters, those that turn the direction of what
/// follows among them.
pub fn name(text: &str) -> Result<String, NameError> {
    let text = text.trim();
    let holds = !text.is_empty() && text.chars().count() <= NAME_LENGTH_MAX && !text.chars().any(template::is_control);
    if holds { Ok(text.to_owned()) } else { Err(NameError) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::builders::{noon, seconds};

    fn suspension(reason: &str) -> Suspension {
        Suspension { since: noon(), reason: reason.to_owned() }
    }

    #[test]
    fn a_deletion_is_no_way_out_of_a_suspension() {
        let mut standing = Standing::Active;
        standing.delete(noon(), seconds(60));
        standing.suspend(Some(suspension("unpaid")));
        assert_eq!((standing.name(), standing.erased_at()), ("deleted", Some(seconds(60))));
        standing.restore();
        assert_eq!(standing, Standing::Suspended(suspension("unpaid")));
        standing.delete(noon(), seconds(60));
        assert_eq!(standing.suspension(), Some(&suspension("unpaid")));
        standing.suspend(None);
        standing.restore();
        assert_eq!(standing, Standing::Active);
    }

    #[test]
    fn a_standing_is_written_as_it_always_was() {
        let at = noon();
        for (written, standing) in [
            (
                json!({ "state": "suspended", "since": at, "reason": "unpaid" }),
                Standing::Suspended(suspension("unpaid")),
            ),
            (
                json!({ "state": "deleted", "since": at, "erased_at": at }),
                Standing::Deleted { since: at, erased_at: at, suspended: None },
            ),
        ] {
            assert_eq!(serde_json::to_value(&standing).unwrap(), written);
            assert_eq!(serde_json::from_value::<Standing>(written).unwrap(), standing);
        }
    }
}
