//! A wish to have a range of events once more. It is worked off bit by bit, however many there are.

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::id::{EndpointId, EventId, ReplayId, TenantId};
use crate::ports::{Entity, Owner};

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
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl Entity for Replay {
    const KIND: &'static str = "webhook_replay";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// At once, until it is gone.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.created_at)
    }
}
