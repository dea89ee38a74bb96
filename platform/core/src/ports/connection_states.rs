//! What a live connection must remember, as the keys of a linked WhatsApp account, and which node keeps it.

use async_trait::async_trait;

use super::plugins::TenantAccount;
use super::store::StoreError;
use crate::domain::Timestamp;
use crate::domain::connection_lease::ConnectionLease;
use crate::domain::id::NodeId;

/// Under what a value is kept: within its connection, one value for each.
///
/// Group and name stand for what they are made of and do not tell it, since that may be somebody's phone number: see
/// [`StateVault`](crate::domain::vault::StateVault).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateKey {
    /// What kind of thing it is. Numbers are of whoever keeps the connection; NEVER change one that was released.
    pub kind: u8,
    /// What it is listed with.
    pub group: [u8; 16],
    /// Which it is in its group.
    pub name: [u8; 16],
}

impl StateKey {
    /// Bytes of a key.
    pub const SIZE: usize = 33;

    /// Kind, group and name: the order of these is that of listings.
    pub fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[0] = self.kind;
        bytes[1..17].copy_from_slice(&self.group);
        bytes[17..].copy_from_slice(&self.name);
        bytes
    }

    /// The key that [`to_bytes`](Self::to_bytes) came from.
    pub fn from_bytes(bytes: [u8; Self::SIZE]) -> Self {
        let (mut group, mut name) = ([0; 16], [0; 16]);
        group.copy_from_slice(&bytes[1..17]);
        name.copy_from_slice(&bytes[17..]);
        Self { kind: bytes[0], group, name }
    }
}

/// Which values of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateRange {
    /// All.
    All,
    /// Those of a kind.
    Kind(u8),
    /// Those of a group of a kind.
    Group(u8, [u8; 16]),
}

impl StateRange {
    /// The least and the greatest key that are in it.
    pub fn bounds(self) -> (StateKey, StateKey) {
        let key = |kind, group, name| StateKey { kind, group: [group; 16], name: [name; 16] };
        match self {
            Self::All => (key(0, 0, 0), key(u8::MAX, u8::MAX, u8::MAX)),
            Self::Kind(kind) => (key(kind, 0, 0), key(kind, u8::MAX, u8::MAX)),
            Self::Group(kind, group) => {
                (StateKey { kind, group, name: [0; 16] }, StateKey { kind, group, name: [u8::MAX; 16] })
            }
        }
    }
}

/// A value as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateRow {
    /// Under what.
    pub key: StateKey,
    /// The value, sealed.
    pub value: Vec<u8>,
}

/// One of the changes that are made together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StateChange {
    /// A value becomes this, whatever it was, if it was at all. At most a few megabytes.
    Put(StateRow),
    /// A value goes, if it is there.
    Delete(StateKey),
}

/// A change of a connection's state that was not made, nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another node keeps the connection by now, or it was erased: stop at once.
    #[error("another node keeps the connection")]
    Fenced,
    /// The store could not do it. It may have been made all the same, where the store says that it does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Keeps the state of live connections, each for the one node that holds its lease.
///
/// A write that returned is durable. It is all or nothing, and is refused where its lease is not the newest: whoever
/// has taken a connection reads what its former holder wrote, and nothing of that one is added any more. Writes of one
/// connection are made in the order in which they were asked for, also where nobody waits for them any more; one that
/// nobody waits for may also not be made.
#[async_trait]
pub trait ConnectionStates: Send + Sync {
    /// Takes a connection for `holder` until `until`; none when another holds it at `now`, or its tenant is gone. Of
    /// racing nodes one gets it. Whoever takes it, the holder itself too, has a higher fence than all before.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn take_connection(
        &self,
        of: TenantAccount,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ConnectionLease>, StoreError>;

    /// Prolongs leases that are in force at `now` until `until`, with their fences; says of each, in their order,
    /// whether it was. One that was not is lost: it may be taken again, if it is free.
    ///
    /// # Errors
    /// [`StoreError`]. Some may be prolonged all the same.
    async fn prolong_connections(
        &self,
        leases: &[ConnectionLease],
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<bool>, StoreError>;

    /// Gives a lease back at `now`, so that another node need not wait for its end; one that somebody else has taken
    /// since stays theirs.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release_connection(&self, lease: &ConnectionLease, now: Timestamp) -> Result<(), StoreError>;

    /// Gives a lease that is in force at `now` to another node, until `until`, so that no third can come in between;
    /// none when it is not in force.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn hand_over_connection(
        &self,
        lease: &ConnectionLease,
        to: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<ConnectionLease>, StoreError>;

    /// Who took a connection last, even if the lease has ended since.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_connection_lease(&self, of: TenantAccount) -> Result<Option<ConnectionLease>, StoreError>;

    /// All leases that were taken and not erased, those that have ended too, by tenant and connection: each
    /// connection that has state has one.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn connection_leases(&self) -> Result<Vec<ConnectionLease>, StoreError>;

    /// The values under these keys, in their order.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn read_state(&self, of: TenantAccount, keys: &[StateKey]) -> Result<Vec<Option<Vec<u8>>>, StoreError>;

    /// Values in the order of their keys, after the one that is given, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn list_state(
        &self,
        of: TenantAccount,
        range: StateRange,
        after: Option<StateKey>,
        limit: usize,
    ) -> Result<Vec<StateRow>, StoreError>;

    /// Makes all of these changes, or none, one after another.
    ///
    /// # Errors
    /// [`StateError`].
    async fn write_state(&self, lease: &ConnectionLease, changes: Vec<StateChange>) -> Result<(), StateError>;

    /// Takes away the lease of a connection that is gone, so that nobody writes any more, and at most `limit` of its
    /// values; says whether nothing is left.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn erase_state(&self, of: TenantAccount, limit: usize) -> Result<bool, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_bytes_and_are_ordered_as_these() {
        let key = |kind, group, name| StateKey { kind, group: [group; 16], name: [name; 16] };
        let in_order = [key(0, 0, 0), key(0, 0, 9), key(0, 1, 0), key(7, 0, 0), key(255, 255, 255)];
        assert!(in_order.is_sorted());
        assert!(in_order.map(StateKey::to_bytes).is_sorted());
        for key in in_order {
            assert_eq!(StateKey::from_bytes(key.to_bytes()), key);
        }
    }

    #[test]
    fn ranges_begin_and_end_where_they_say() {
        let key = |kind, group, name| StateKey { kind, group: [group; 16], name: [name; 16] };
        let within = |range: StateRange, key| (range.bounds().0..=range.bounds().1).contains(&key);
        for (key, kind, group) in [
            (key(7, 3, 0), true, true),
            (key(7, 3, 255), true, true),
            (key(7, 4, 0), true, false),
            (key(7, 2, 255), true, false),
            (key(8, 3, 0), false, false),
            (key(6, 255, 255), false, false),
        ] {
            assert!(within(StateRange::All, key));
            assert_eq!(within(StateRange::Kind(7), key), kind, "{key:?}");
            assert_eq!(within(StateRange::Group(7, [3; 16]), key), group, "{key:?}");
        }
    }
}
