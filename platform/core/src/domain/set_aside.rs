//! What is due and cannot be read, so that whoever runs the platform sees that it is there.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Timestamp;
use crate::ports::{Entity, Owner};

/// How long a row waits that cannot be read before it is looked at again.
pub const LASTS: SignedDuration = SignedDuration::from_mins(5);
/// How long after that it still counts: until whoever looks has come by.
const LATE: SignedDuration = SignedDuration::from_mins(1);

/// That a row waits for a program that can read it, or for somebody who mends it. Each time that it is set aside this
/// is written anew, whichever node did it; once nobody does any more it goes by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetAside {
    /// What it is, as in `event`.
    pub kind: String,
    /// Whose it is and its id, 32 bytes as hexadecimal digits.
    pub row: String,
    /// When it is looked at again.
    pub until: Timestamp,
}

impl SetAside {
    /// A row that is set aside at `now`.
    pub fn new(kind: &str, owner: Owner, id: [u8; 16], now: Timestamp) -> Self {
        let row = [owner.to_bytes(), id].concat().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { kind: kind.to_owned(), row, until: now.saturating_add(LASTS).unwrap_or(Timestamp::MAX) }
    }

    /// Until when it counts, unless it is set aside again.
    pub fn counts_until(&self) -> Timestamp {
        self.until.saturating_add(LATE).unwrap_or(Timestamp::MAX)
    }
}

impl Entity for SetAside {
    const KIND: &'static str = "set_aside";

    /// One for each row.
    fn id(&self) -> [u8; 16] {
        let digest = Sha256::new().chain_update(&self.kind).chain_update(b"\0").chain_update(&self.row).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        id
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.counts_until())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::TenantId;
    use crate::testing::builders::{noon, seconds};

    #[test]
    fn a_row_that_is_set_aside_again_is_the_same_and_counts_for_longer() {
        let tenant = Owner::Tenant(TenantId::from_bytes([1; 16]));
        let first = SetAside::new("event", tenant, [2; 16], noon());
        let again = SetAside::new("event", tenant, [2; 16], seconds(300));
        assert_eq!(first.id(), again.id());
        assert_eq!((first.until, first.wake_at()), (seconds(300), Some(seconds(360))));
        assert!(again.until < again.counts_until());
        for other in [
            SetAside::new("webhook_delivery", tenant, [2; 16], noon()),
            SetAside::new("event", Owner::Platform, [2; 16], noon()),
            SetAside::new("event", tenant, [3; 16], noon()),
        ] {
            assert_ne!(first.id(), other.id());
        }
    }
}
