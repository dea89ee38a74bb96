//! Turns at the processor, which plugins take: whoever computes for long holds up only itself.
//!
//! What runs in the sandbox gives its thread back at each tick. That alone is not fair: as many calls of one plugin as
//! there may be are as many turns that everybody else waits for, and where all threads are busy with plugins, nobody
//! looks at connections for as long. So of one plugin only some calls run at one moment. And of those that did not get
//! done within a tick, of all plugins together, one less runs than there are threads.

use std::future::poll_fn;
use std::mem::replace;
use std::num::NonZero;
use std::pin::pin;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;

/// Calls of all plugins that go on after a tick. One thread is left for everything else, where there is more than one.
static AT_ONCE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(of_all()));

fn of_all() -> usize {
    let threads = available_parallelism().map_or(1, NonZero::get);
    threads.saturating_sub(1).max(1)
}

/// The turns of one plugin.
#[derive(Debug)]
pub(crate) struct Turns(Semaphore);

/// Whether a call was interrupted by a tick since it was looked at last.
#[derive(Debug, Default)]
pub(crate) struct Interrupted(AtomicBool);

impl Interrupted {
    pub(crate) fn note(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn look(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Turns {
    /// Half of what all have together, so that no plugin has it alone.
    pub(crate) fn new() -> Self {
        Self(Semaphore::new((of_all() / 2).max(1)))
    }

    /// Does this by turns, each of which ends when there is something to wait for or a tick comes. Whoever has waited
    /// longest is next. After a tick it waits for those of other plugins as well; what is short waits for nobody else's.
    pub(crate) async fn taken<T>(&self, interrupted: &Interrupted, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            let after_a_tick = interrupted.look();
            // None is ever closed.
            let own = self.0.acquire().await;
            let of_all = if after_a_tick { Some(AT_ONCE.acquire().await) } else { None };
            let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            drop((own, of_all));
            match polled {
                Poll::Ready(done) => return done,
                Poll::Pending => woken().await,
            }
        }
    }
}

/// Until the task is woken by what it waits for, which was asked to just before.
async fn woken() {
    let mut is_woken = false;
    poll_fn(|_| if replace(&mut is_woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::task::{JoinSet, yield_now};
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn calls_of_one_plugin_do_not_run_at_one_moment() {
        let (turns, running) = (Arc::new(Turns(Semaphore::new(1))), Arc::<AtomicUsize>::default());
        let mut calls = JoinSet::new();
        for nth in 0..20 {
            let (turns, running) = (Arc::clone(&turns), Arc::clone(&running));
            calls.spawn(async move {
                let interrupted = Interrupted::default();
                let work = async {
                    for _ in 0..100 {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "another one runs");
                        std::thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        if nth % 2 == 0 {
                            interrupted.note();
                        }
                        yield_now().await;
                    }
                };
                turns.taken(&interrupted, work).await;
            });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    }

    #[tokio::test]
    async fn a_turn_is_given_back_by_whoever_is_given_up() {
        let (turns, interrupted) = (Turns(Semaphore::new(1)), Interrupted::default());
        let waiting = turns.taken(&interrupted, std::future::pending::<()>());
        assert!(timeout(Duration::from_millis(1), waiting).await.is_err());
        assert_eq!(turns.taken(&interrupted, async { 7 }).await, 7);
        assert_eq!(turns.0.available_permits(), 1);
    }
}
