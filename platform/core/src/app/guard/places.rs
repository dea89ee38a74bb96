//! Starts on their way past a tenant's cap. It is asked by what the quota has counted, and between the question and
//! the count others must not find the same room.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use crate::domain::id::TenantId;

/// Those of all tenants on this node.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<TenantId, Queue>>);

/// Those of one tenant: who waits to be the first is woken by the one before.
#[derive(Debug, Default)]
struct Queue {
    next: u64,
    taken: BTreeMap<u64, Option<Waker>>,
}

impl Places {
    fn queues(&self) -> MutexGuard<'_, HashMap<TenantId, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the last place of a tenant's starts; says how many are ahead.
    pub(super) fn take(self: &Arc<Self>, tenant: TenantId) -> (Place, u64) {
        let mut queues = self.queues();
        let queue = queues.entry(tenant).or_default();
        let (number, ahead) = (queue.next, queue.taken.len());
        queue.next = number.saturating_add(1);
        queue.taken.insert(number, None);
        let place = Place { places: Arc::clone(self), tenant, number };
        (place, u64::try_from(ahead).unwrap_or(u64::MAX))
    }
}

/// The place of one start, until it is dropped: when the quota has counted it, or never will.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    tenant: TenantId,
    number: u64,
}

impl Place {
    /// Waits for all that are ahead. Each of them waits for those ahead of it alone, so the first goes on.
    pub(super) async fn first(&self) {
        poll_fn(|context| {
            let mut queues = self.places.queues();
            let Some(queue) = queues.get_mut(&self.tenant) else { return Poll::Ready(()) };
            if queue.taken.first_key_value().is_none_or(|(first, _)| *first == self.number) {
                return Poll::Ready(());
            }
            queue.taken.insert(self.number, Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut queues = self.places.queues();
        let Some(queue) = queues.get_mut(&self.tenant) else { return };
        queue.taken.remove(&self.number);
        let next = queue.taken.first_entry().and_then(|mut first| first.get_mut().take());
        if queue.taken.is_empty() {
            queues.remove(&self.tenant);
        }
        drop(queues);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}
