//! What exactly one node owns for a while, as the sweep, or one connection to a provider.

use super::Timestamp;
use super::id::NodeId;

/// One node's right to something, until a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// What it is the right to, as in `sweep`.
    pub name: String,
    /// Whose it is.
    pub holder: NodeId,
    /// Counts the holders. Whoever holds it next has a higher number, so that what a former holder
    /// still does late can be told by its lower one, and refused.
    pub fence: u64,
    /// When it ends, unless it is prolonged before.
    pub until: Timestamp,
}
