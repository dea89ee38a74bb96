use std::collections::HashMap;
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

use futures_util::lock::Mutex;

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
    /// How often something was forgotten. Changes only while `entries` is held.
    forgotten: AtomicU64,
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self { entries: RwLock::new(HashMap::new()), forgotten: AtomicU64::new(0) }
    }
}

impl<K: Eq + Hash, V: Clone> Cache<K, V> {
    pub(super) fn find(&self, key: &K, now: Timestamp) -> Option<V> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let (read_at, value) = entries.get(key)?;
        // Both ways, so that a clock that steps back does not keep an entry for ever.
        (now.duration_since(*read_at).abs() < FRESH).then(|| value.clone())
    }

    /// How often something was forgotten: asked before a value is read that is to be kept.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Acquire)
    }

    /// Keeps what was read, unless something was forgotten since: then it may be what was forgotten.
    pub(super) fn keep_unless_forgotten(&self, forgotten: u64, key: K, value: V, now: Timestamp) {
        self.keep_if(|| self.forgotten() == forgotten, key, value, now);
    }

    pub(super) fn keep(&self, key: K, value: V, now: Timestamp) {
        self.keep_if(|| true, key, value, now);
    }

    fn keep_if(&self, fresh: impl Fn() -> bool, key: K, value: V, now: Timestamp) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if !fresh() {
            return;
        }
        if entries.len() >= ENTRIES_MAX {
            entries.clear();
        }
        entries.insert(key, (now, value));
    }

    /// Forgets the values that `stale` says yes to.
    pub(super) fn forget(&self, stale: impl Fn(&V) -> bool) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        self.forgotten.fetch_add(1, Ordering::AcqRel);
        entries.retain(|_, (_, value)| !stale(value));
    }
}

/// A read that many want at one moment, made once for all of them: whoever asks gets what was read after it
/// asked, and waits for two reads at most.
pub(super) struct Shared<V> {
    begun: AtomicU64,
    last: Mutex<Option<(u64, V)>>,
}

impl<V> Default for Shared<V> {
    fn default() -> Self {
        Self { begun: AtomicU64::new(0), last: Mutex::new(None) }
    }
}

impl<V: Clone> Shared<V> {
    pub(super) async fn read<E>(&self, read: impl Future<Output = Result<V, E>>) -> Result<V, E> {
        let asked = self.begun.load(Ordering::Acquire);
        let mut last = self.last.lock().await;
        if let Some((_, value)) = last.as_ref().filter(|(number, _)| *number > asked) {
            return Ok(value.clone());
        }
        let number = self.begun.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        let value = read.await?;
        *last = Some((number, value.clone()));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_read_before_something_was_forgotten_is_not_kept() {
        let cache = Cache::default();
        let before = cache.forgotten();
        cache.forget(|_: &u8| true);
        cache.keep_unless_forgotten(before, "key", 1, Timestamp::UNIX_EPOCH);
        assert_eq!(cache.find(&"key", Timestamp::UNIX_EPOCH), None);
        cache.keep_unless_forgotten(cache.forgotten(), "key", 2, Timestamp::UNIX_EPOCH);
        assert_eq!(cache.find(&"key", Timestamp::UNIX_EPOCH), Some(2));
    }
}
