//! That an endpoint was disabled, until the people who run its tenant are written to.

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::event::DisabledReason;
use crate::domain::id::{EndpointId, EventId, TenantId};
use crate::ports::{Entity, Owner};

/// That the platform disabled an endpoint. Stored together with that, and gone once everybody was written to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointNotice {
    /// The event that tells of the same.
    pub event: EventId,
    /// Whose the endpoint is.
    pub tenant: TenantId,
    /// Which it is.
    pub endpoint: EndpointId,
    /// Why it was disabled.
    pub reason: DisabledReason,
    /// When.
    pub disabled_at: Timestamp,
}

impl Entity for EndpointNotice {
    const KIND: &'static str = "webhook_notice";

    fn id(&self) -> [u8; 16] {
        self.event.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// At once, until it is gone.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.disabled_at)
    }
}
