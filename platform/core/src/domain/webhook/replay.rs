//! A wish to have a range of events once more. It is worked off bit by bit, however many there are.

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::id::{EndpointId, EventId, ReplayId, TenantId};
use crate::ports::{Entity, IndexKey, Owner};

/// Replays of one tenant at one time.
pub const REPLAYS_MAX: u8 = 5;

/// A wish to have a range of events once more, until it is worked off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replay {
    /// Its id.
    pub id: ReplayId,
    /// Whose it is.
    pub tenant: TenantId,
    /// To which endpoint.
    pub endpoint: EndpointId,
    /// Only what was not taken.
    pub failed_only: bool,
    /// Events from this id on are still to be looked at.
    pub from: EventId,
    /// Events before this id.
    pub before: EventId,
    /// Events that happened from this moment on; none means from what the ids say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Events that happened before this moment; none means until what the ids say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Which of the tenant's places for replays it has, from 0.
    #[serde(default)]
    pub slot: u8,
    /// When its next part is done; none means at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl Replay {
    /// Under which the one of an endpoint is found.
    pub const BY_ENDPOINT: &'static str = "endpoint";
    /// Under which the one in a place of the tenant's is found.
    pub const BY_SLOT: &'static str = "slot";

    /// Whether it is about what happened then.
    pub fn covers(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= at) && self.until.is_none_or(|until| at < until)
    }
}

impl Entity for Replay {
    const KIND: &'static str = "webhook_replay";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// One for each endpoint, and so many of a tenant.
    fn unique(&self) -> Vec<IndexKey> {
        let slot = [&self.tenant.to_bytes()[..], &[self.slot]].concat();
        vec![IndexKey::new(Self::BY_ENDPOINT, self.endpoint.to_bytes()), IndexKey::new(Self::BY_SLOT, slot)]
    }

    /// Whoever waited longest goes on, until it is gone.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.next_at.unwrap_or(self.created_at))
    }
}
