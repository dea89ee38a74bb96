use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{PoisonError, RwLock};

use jiff::SignedDuration;

use crate::domain::Timestamp;

/// How long something that another process changed may still be used here: a revoked key stops
/// working everywhere within this time.
const FRESH: SignedDuration = SignedDuration::from_secs(1);
/// Entries beyond which the cache starts over: 10,000 tenants in a second are more than one node serves.
const ENTRIES_MAX: usize = 20_000;

/// What was read within the last second. Reads are by far most of what keys and services see, and
/// a read of the store costs more than all the rest of authentication.
///
/// Not a library's cache: those keep a clock of their own, and time is a parameter here.
pub(super) struct Cache<K, V> {
    entries: RwLock<HashMap<K, (Timestamp, V)>>,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { entries: RwLock::new(HashMap::new()) }
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn find(&self, key: &K, now: Timestamp) -> Option<V> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = entries.get(key)?;
        // Both ways, so that a clock that steps back does not keep an entry for ever.
        (now.duration_since(*read_at).abs() < FRESH).then(|| value.clone())
    }

    pub(super) fn keep(&self, key: K, value: V, now: Timestamp) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(key, (now, value));
    }

    /// Forgets the values that `stale` says yes to.
    pub(super) fn forget(&self, stale: impl Fn(&V) -> bool) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).retain(|_, (_, value)| !stale(value));
    }
}
