//! That something waits at an endpoint, and when somebody looks at it next.

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::id::{EndpointId, TenantId};
use crate::ports::{Entity, Owner};

/// The one moment at which the store asks for what is parked at an endpoint: however much waits there, this is
/// the one row that time asks for.
///
/// It comes with the first delivery that is parked and stays for as long as its endpoint does, so that nobody
/// can take it away under somebody who parks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Backlog {
    /// Where it waits.
    pub endpoint: EndpointId,
    /// Whose endpoint it is.
    pub tenant: TenantId,
    /// When somebody looks.
    pub next_at: Timestamp,
}

impl Backlog {
    /// Something waits at an endpoint, and is looked at then.
    pub fn new(endpoint: EndpointId, tenant: TenantId, next_at: Timestamp) -> Self {
        Self { endpoint, tenant, next_at }
    }
}

impl Entity for Backlog {
    const KIND: &'static str = "webhook_backlog";

    /// One for each endpoint.
    fn id(&self) -> [u8; 16] {
        self.endpoint.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.next_at)
    }
}
