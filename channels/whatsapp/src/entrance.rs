//! The entrance that all sessions of a process share, so that they do not storm WhatsApp together.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::settings::Entrance;

/// Lets in so many at once, and one after the other.
pub(crate) struct Gate {
    at_once: Arc<Semaphore>,
    next: Mutex<Instant>,
    settings: Entrance,
}

/// Held while a session logs in.
pub(crate) struct Pass {
    _place: OwnedSemaphorePermit,
}

impl Gate {
    pub(crate) fn new(settings: Entrance) -> Self {
        let at_once = Arc::new(Semaphore::new(settings.at_once.max(1)));
        Self { at_once, next: Mutex::new(Instant::now()), settings }
    }

    /// Waits for its turn: who came first is first. Dropped before, it takes no turn.
    pub(crate) async fn pass(&self) -> Pass {
        let place = Arc::clone(&self.at_once).acquire_owned().await.expect("the entrance is never closed");
        // Held while it waits, so that the turns come in order.
        let mut next = self.next.lock().await;
        sleep_until(*next).await;
        *next = Instant::now() + self.settings.apart;
        Pass { _place: place }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_crowd_comes_in_one_after_the_other_and_only_so_many_at_once() {
        let gate = Arc::new(Gate::new(Entrance { at_once: 3, apart: Duration::from_millis(20) }));
        let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let began = Instant::now();
        let crowd = (0..30).map(|_| {
            let (gate, inside, most) = (Arc::clone(&gate), Arc::clone(&inside), Arc::clone(&most));
            tokio::spawn(async move {
                let pass = gate.pass().await;
                let came = began.elapsed();
                most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(50)).await;
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(pass);
                came
            })
        });
        let mut came = Vec::new();
        for one in crowd.collect::<Vec<_>>() {
            came.push(one.await.unwrap());
        }
        came.sort_unstable();
        assert_eq!(most.load(Ordering::SeqCst), 3);
        assert!(came.windows(2).all(|two| two[1] - two[0] >= Duration::from_millis(20)), "{came:?}");
        // 30 of them, 3 at a time, 50 ms each.
        assert!(came[29] >= Duration::from_millis(9 * 50), "{came:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_holds_up_nobody() {
        let gate = Gate::new(Entrance { at_once: 1, apart: Duration::from_secs(1) });
        let first = gate.pass().await;
        assert!(tokio::time::timeout(Duration::from_millis(10), gate.pass()).await.is_err());
        drop(first);
        assert!(tokio::time::timeout(Duration::from_secs(2), gate.pass()).await.is_ok());
    }
}
