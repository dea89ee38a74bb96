//! What is wanted of a connection that some node keeps alive, as a linked WhatsApp account: of all nodes the same.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{ConnectionId, TenantId};
use crate::ports::{Entity, EntityList, IndexKey, Owner};

const WANTED: &str = "wanted";

/// Whether a connection is to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConnection {
    /// Which it is.
    pub id: ConnectionId,
    /// Whose.
    pub tenant: TenantId,
    /// Whether it is to be connected.
    pub wanted: bool,
    /// When somebody last said so.
    pub changed_at: Timestamp,
}

impl LiveConnection {
    /// Those of all tenants that are to be connected.
    pub fn all_wanted() -> EntityList {
        EntityList::by(WANTED, [1_u8])
    }
}

impl Entity for LiveConnection {
    const KIND: &'static str = "live_connection";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    fn listed(&self) -> Vec<IndexKey> {
        if self.wanted { vec![IndexKey::new(WANTED, [1_u8])] } else { Vec::new() }
    }
}
