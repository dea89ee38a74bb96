//! When a key was last used, to the minute.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{ApiKeyId, TenantId};
use crate::ports::{Entity, Owner};

/// When a key was last used. Kept beside the key, which it does not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// Which key.
    pub key: ApiKeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The minute of its last use, at its beginning.
    pub at: Timestamp,
}

impl Entity for KeyUse {
    const KIND: &'static str = "key_use";

    fn id(&self) -> [u8; 16] {
        self.key.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}
