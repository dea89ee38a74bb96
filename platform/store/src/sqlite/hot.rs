//! What is under way, in memory: a verification is read twice within moments of its start, by the
//! worker that delivers it and by the check.
//!
//! A read of the file costs five times as much, since every commit makes readers' page caches
//! worthless. Only this process writes verifications and messages (the folder's lock sees to that),
//! and only the writer fills this, in the order of the commits, so what is found here is what is
//! stored.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use wotp_core::domain::id::TenantId;

use super::record::Record;

/// Records in one generation. Two of them, of about 2 KB each, are 8 MB.
const GENERATION: usize = 2048;

type Key = ([u8; 16], [u8; 16]);

/// Records that are under way. When the young generation is full it becomes the old one, and what
/// was in that is left to the file.
pub(super) struct Hot<R> {
    generations: Mutex<[HashMap<Key, Arc<R>>; 2]>,
}

impl<R> Default for Hot<R> {
    fn default() -> Self {
        Self { generations: Mutex::new([HashMap::new(), HashMap::new()]) }
    }
}

impl<R: Record> Hot<R> {
    fn with<T>(&self, act: impl FnOnce(&mut [HashMap<Key, Arc<R>>; 2]) -> T) -> T {
        act(&mut self.generations.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn find(&self, tenant: TenantId, id: [u8; 16]) -> Option<Arc<R>> {
        let key = (tenant.to_bytes(), id);
        self.with(|[young, old]| young.get(&key).or_else(|| old.get(&key)).map(Arc::clone))
    }

    /// Called by the writer only, after the commit.
    pub(super) fn put(&self, record: Arc<R>) {
        let key = (record.tenant().to_bytes(), record.id());
        self.with(|[young, old]| {
            if young.len() >= GENERATION {
                *old = std::mem::take(young);
            }
            old.remove(&key);
            young.insert(key, record);
        });
    }

    pub(super) fn remove(&self, tenant: TenantId, id: [u8; 16]) {
        let key = (tenant.to_bytes(), id);
        self.with(|[young, old]| {
            young.remove(&key);
            old.remove(&key);
        });
    }

    pub(super) fn clear(&self) {
        self.with(|generations| *generations = Default::default());
    }
}
