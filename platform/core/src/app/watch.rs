//! Waiting for a verification to change.

use std::collections::HashMap;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::App;
use crate::domain::id::VerificationId;

/// Who waits in this process, and for what.
#[derive(Debug, Default)]
pub(super) struct Changes {
    seats: Mutex<HashMap<VerificationId, Seat>>,
    /// How many seats there are, to be looked at without the lock.
    taken: AtomicUsize,
}

/// Those who wait for one verification.
#[derive(Debug, Default)]
struct Seat {
    watches: usize,
    /// How often it changed.
    changes: u64,
    wakers: Vec<Waker>,
}

impl Changes {
    fn seats(&self) -> MutexGuard<'_, HashMap<VerificationId, Seat>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It changed.
    pub(super) fn tell(&self, id: VerificationId) {
        // Whoever begins to watch after this look reads it as it is now.
        if self.taken.load(Ordering::SeqCst) == 0 {
            return;
        }
        let wakers = match self.seats().get_mut(&id) {
            Some(seat) => {
                seat.changes += 1;
                std::mem::take(&mut seat.wakers)
            }
            None => return,
        };
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// Hears when a verification changes by this process's doing. What other nodes do is not heard: whoever
/// waits looks from time to time as well.
#[derive(Debug)]
pub struct Watch {
    changes: Arc<Changes>,
    id: VerificationId,
    seen: u64,
}

impl Watch {
    fn new(changes: &Arc<Changes>, id: VerificationId) -> Self {
        changes.taken.fetch_add(1, Ordering::SeqCst);
        let mut seats = changes.seats();
        let seat = seats.entry(id).or_default();
        seat.watches += 1;
        let seen = seat.changes;
        drop(seats);
        Self { changes: Arc::clone(changes), id, seen }
    }

    /// Waits for a change since the watch began, or since the last one that was heard.
    pub async fn changed(&mut self) {
        poll_fn(|context| {
            let mut seats = self.changes.seats();
            let seat = seats.entry(self.id).or_default();
            if seat.changes != self.seen {
                self.seen = seat.changes;
                return Poll::Ready(());
            }
            if !seat.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                seat.wakers.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut seats = self.changes.seats();
        if let Some(seat) = seats.get_mut(&self.id) {
            seat.watches -= 1;
            if seat.watches == 0 {
                seats.remove(&self.id);
            }
        }
        drop(seats);
        self.changes.taken.fetch_sub(1, Ordering::SeqCst);
    }
}

impl App {
    /// Begins to watch a verification. Read it after this call, or a change in between is missed.
    pub fn watch_verification(&self, id: VerificationId) -> Watch {
        Watch::new(&self.changes, id)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::testing::builders::{entropy, noon};

    fn an_id() -> VerificationId {
        VerificationId::new(noon(), entropy())
    }

    #[test]
    fn a_change_is_heard_once_by_everybody_who_watches() {
        let (changes, id) = (Arc::new(Changes::default()), an_id());
        changes.tell(id);
        let (mut one, mut two) = (Watch::new(&changes, id), Watch::new(&changes, id));
        assert!(one.changed().now_or_never().is_none(), "what was before is not heard");
        changes.tell(an_id());
        assert!(one.changed().now_or_never().is_none(), "nor what others do");
        changes.tell(id);
        changes.tell(id);
        for watch in [&mut one, &mut two] {
            assert!(watch.changed().now_or_never().is_some());
            assert!(watch.changed().now_or_never().is_none());
        }
    }

    #[tokio::test]
    async fn whoever_waits_is_woken_and_leaves_nothing() {
        let (changes, id) = (Arc::new(Changes::default()), an_id());
        let mut watch = Watch::new(&changes, id);
        let waiting = tokio::spawn(async move { watch.changed().await });
        while changes.seats().get(&id).is_none_or(|seat| seat.wakers.is_empty()) {
            tokio::task::yield_now().await;
        }
        changes.tell(id);
        waiting.await.expect("it does not panic");
        assert!(changes.seats().is_empty());
        assert_eq!(changes.taken.load(Ordering::SeqCst), 0);
        assert!(changes.seats().get(&id).is_none());
    }
}
