//! Tenants: customer organisations.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{ServiceId, TenantId};

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
}

/// Whether a tenant's callers are served.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Standing {
    /// They are.
    #[default]
    Active,
    /// An operator stopped it, until an operator lets it go on.
    Suspended {
        /// Since when.
        since: Timestamp,
        /// Why, as its members are told.
        reason: String,
    },
    /// An owner deleted it: it is erased at `erased_at`, and can be had back until then.
    Deleted {
        /// Since when.
        since: Timestamp,
        /// When nothing of it will be left.
        erased_at: Timestamp,
    },
}

/// A name that cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a name has 1 to 100 characters and no control characters")]
pub struct NameError;

/// A name for people: of a tenant, a service, a key.
///
/// # Errors
/// [`NameError`] when it is empty, too long, or holds control characters.
pub fn name(text: &str) -> Result<String, NameError> {
    let text = text.trim();
    let holds = !text.is_empty() && text.chars().count() <= NAME_LENGTH_MAX && !text.chars().any(char::is_control);
    if holds { Ok(text.to_owned()) } else { Err(NameError) }
}
