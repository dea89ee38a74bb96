//! Which node keeps a live connection, as a linked WhatsApp account: exactly one at a time.
//!
//! Two that keep the same one would each move its keys on, and messages could not be decrypted any more. So a node
//! holds a lease, and whatever it stores for the connection carries the lease's fence: what a former holder still
//! does late is refused.

use super::Timestamp;
use super::id::NodeId;
use crate::ports::TenantAccount;

/// A node's right to keep a connection, until a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionLease {
    /// Of which connection.
    pub of: TenantAccount,
    /// Whose right it is.
    pub holder: NodeId,
    /// Higher for each that takes it, also where the same node takes it again: microseconds since 1970 at the moment
    /// of the take, or one more than the last. So it grows even over an erasure and a restored backup.
    pub fence: u64,
    /// When it ends, unless it is prolonged before.
    pub until: Timestamp,
}

impl ConnectionLease {
    /// Whether it has not ended. It may have been lost before that all the same: only the store knows.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        now < self.until
    }
}
