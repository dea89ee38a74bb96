//! Turns at the processor, which plugins take: whoever computes for long holds up only itself.
//!
//! What runs in the sandbox gives its thread back at each tick. That alone is not fair: as many calls of one plugin as
//! there may be are as many turns that everybody else waits for, and where all threads are busy with plugins, nobody
//! looks at connections for as long. So of one plugin only some calls run at one moment, and those that did not get done
//! within a tick go on in the slow lane. So does, from its beginning, the next call of a plugin whose last one was there
//! for long.

use std::future::poll_fn;
use std::mem::replace;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use crate::lane::{Lane, Woken, Work};

/// Ticks for which a call keeps its turn: whoever takes much memory is done with it before the next of the same plugin
/// takes as much. Others of the slow lane go in between.
const SLICE: u32 = 10;
/// Ticks after which a call was a long one: so many that it computed for one whole at least. One that is short is
/// interrupted by chance.
const LONG: u32 = 2;

/// The turns of one plugin.
#[derive(Debug)]
pub(crate) struct Turns {
    /// Half of what the slow lane has, so that no plugin has it alone.
    at_once: Semaphore,
    lane: Arc<Lane>,
    /// Whether the last call was a long one.
    is_long: AtomicBool,
}

/// What a call has taken so far.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    ticks: AtomicU32,
    nanoseconds: AtomicU64,
}

impl Effort {
    /// Notes that it was interrupted by a tick.
    pub(crate) fn interrupted(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    /// How long it computed.
    pub(crate) fn computed(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    fn ticks(&self) -> u32 {
        self.ticks.load(Ordering::Relaxed)
    }

    /// Counts how long this computes.
    async fn counted<T>(self: Arc<Self>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            let begun = Instant::now();
            let polled = work.as_mut().poll(context);
            let nanoseconds = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.nanoseconds.fetch_add(nanoseconds, Ordering::Relaxed);
            polled
        })
        .await
    }
}

/// A call that goes on, here or in the slow lane. Given up, it ends there if it was there, since it may have much to give
/// back.
struct UnderWay<'a, T: 'static> {
    work: Option<Work<T>>,
    lane: &'a Lane,
    /// Who is told when it may go on; none where it never was in the lane.
    woken: Option<Arc<Woken>>,
}

impl Turns {
    pub(crate) fn new(lane: &Arc<Lane>) -> Self {
        let at_once = Semaphore::new((lane.threads() / 2).max(1));
        Self { at_once, lane: Arc::clone(lane), is_long: AtomicBool::default() }
    }

    /// Does this by turns, each of which ends when there is something to wait for, or after some ticks. Whoever has waited
    /// longest is next.
    pub(crate) async fn taken<T: Send + 'static>(
        &self,
        effort: &Arc<Effort>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let work: Work<T> = Box::pin(Arc::clone(effort).counted(work));
        let mut under_way = UnderWay { work: Some(work), lane: &self.lane, woken: None };
        let mut kept = None;
        loop {
            let turn = match kept.take() {
                Some(turn) => turn,
                // It is never closed.
                None => self.at_once.acquire().await,
            };
            let before = effort.ticks();
            if before > 0 || self.is_long.load(Ordering::Relaxed) {
                under_way.woken.get_or_insert_default();
            }
            match under_way.poll().await {
                Poll::Ready(done) => {
                    self.is_long.store(effort.ticks() >= LONG, Ordering::Relaxed);
                    return done;
                }
                Poll::Pending => {
                    let ticks = effort.ticks();
                    kept = (ticks > before && !ticks.is_multiple_of(SLICE)).then_some(turn);
                    under_way.woken().await;
                }
            }
        }
    }
}

impl<T: Send + 'static> UnderWay<'_, T> {
    /// Goes on once.
    async fn poll(&mut self) -> Poll<T> {
        let mut work = self.work.take().expect("it is not done");
        let polled;
        (work, polled) = match &self.woken {
            Some(woken) => self.lane.poll(work, woken).await,
            None => {
                let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
                (work, polled)
            }
        };
        self.work = polled.is_pending().then_some(work);
        polled
    }

    /// Until it is woken by what it waits for, which was asked to just before.
    async fn woken(&mut self) {
        if let Some(woken) = &self.woken {
            return woken.wait().await;
        }
        let mut is_woken = false;
        poll_fn(|_| if replace(&mut is_woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl<T: 'static> Drop for UnderWay<'_, T> {
    fn drop(&mut self) {
        if let (Some(work), Some(_)) = (self.work.take(), &self.woken) {
            self.lane.drop_there(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    use tokio::task::{JoinSet, yield_now};
    use tokio::time::timeout;

    use super::*;

    fn turns() -> Arc<Turns> {
        let lane = Lane::shared().unwrap();
        Arc::new(Turns { at_once: Semaphore::new(1), lane, is_long: AtomicBool::default() })
    }

    /// Whether what goes on now does so in the slow lane.
    fn is_slow() -> bool {
        thread::current().name() == Some("plugins-slow")
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn calls_of_one_plugin_do_not_run_at_one_moment() {
        let (turns, running) = (turns(), Arc::<AtomicUsize>::default());
        let mut calls = JoinSet::new();
        for nth in 0..20 {
            let (turns, running) = (Arc::clone(&turns), Arc::clone(&running));
            calls.spawn(async move {
                let effort = Arc::<Effort>::default();
                let noted = Arc::clone(&effort);
                let work = async move {
                    for _ in 0..100 {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "another one runs");
                        thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        if nth % 2 == 0 {
                            noted.interrupted();
                        }
                        yield_now().await;
                    }
                };
                turns.taken(&effort, work).await;
            });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    }

    /// Interrupted so often, where was it before the first time, and after the last?
    async fn went_on(turns: &Turns, interruptions: u32) -> (bool, bool) {
        let effort = Arc::<Effort>::default();
        let noted = Arc::clone(&effort);
        let work = async move {
            let before = is_slow();
            for _ in 0..interruptions {
                noted.interrupted();
                yield_now().await;
            }
            (before, is_slow())
        };
        turns.taken(&effort, work).await
    }

    #[tokio::test]
    async fn what_is_interrupted_goes_on_in_the_slow_lane_and_after_a_long_call_the_next_begins_there() {
        let turns = turns();
        assert_eq!(went_on(&turns, 0).await, (false, false));
        assert_eq!(went_on(&turns, 1).await, (false, true));
        assert_eq!(went_on(&turns, 0).await, (false, false), "one tick comes by chance");
        assert_eq!(went_on(&turns, LONG).await, (false, true));
        assert_eq!(went_on(&turns, 0).await, (true, true));
        assert_eq!(went_on(&turns, 0).await, (false, false), "the last one was short again");
    }

    #[tokio::test]
    async fn a_call_goes_on_for_some_ticks_and_then_the_next_one_does() {
        let (turns, order) = (turns(), Arc::<Mutex<String>>::default());
        let call = |name: char| {
            let (effort, order) = (Arc::<Effort>::default(), Arc::clone(&order));
            let noted = Arc::clone(&effort);
            let work = async move {
                for _ in 0..SLICE + 2 {
                    order.lock().unwrap().push(name);
                    noted.interrupted();
                    yield_now().await;
                }
            };
            let turns = Arc::clone(&turns);
            async move { turns.taken(&effort, work).await }
        };
        tokio::join!(call('a'), call('b'));
        let whole = |name: &str| name.repeat(SLICE as usize);
        assert_eq!(*order.lock().unwrap(), format!("{}{}aabb", whole("a"), whole("b")));
    }

    #[tokio::test]
    async fn a_turn_is_given_back_by_whoever_is_given_up() {
        let (turns, effort) = (turns(), Arc::<Effort>::default());
        for is_long in [false, true] {
            turns.is_long.store(is_long, Ordering::Relaxed);
            let waiting = turns.taken(&effort, std::future::pending::<()>());
            assert!(timeout(Duration::from_millis(1), waiting).await.is_err());
            assert_eq!(turns.at_once.available_permits(), 1);
        }
        assert_eq!(turns.taken(&effort, async { 7 }).await, 7);
    }
}
