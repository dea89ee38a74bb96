//! Turns at the processor, which plugins take: whoever computes for long holds up only itself.
//!
//! What runs in the sandbox gives its thread back at each tick. That alone is not fair: as many calls of one plugin as
//! there may be are as many turns that everybody else waits for, and where all threads are busy with plugins, nobody
//! looks at connections for as long. So of one plugin only some calls run at one moment, and those that have computed for
//! some milliseconds go on in the slow lane. So does, from its beginning, the next call of a plugin whose last one was a
//! long one.

use std::future::poll_fn;
use std::mem::replace;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tokio::sync::Semaphore;

use crate::lane::{Lane, Woken, Work};

/// What a call may have computed by a tick and still go on where it is. One that is short is interrupted by chance, and is
/// done sooner than it would be its turn elsewhere.
const SHORT: Duration = Duration::from_millis(2);
/// What a long call has computed at least: as much as lies between two ticks.
const LONG: Duration = crate::runtime::TICK;
/// What a call computes before the next of its plugin goes on: whoever takes much memory is done with it before the next
/// takes as much. Calls of other plugins go in between, at each tick.
const SLICE: Duration = Duration::from_millis(50);

/// The turns of one plugin: of what it is called for by WOTP, and of what anybody may call it for, so that strangers hold
/// up nothing but that.
#[derive(Debug)]
pub(crate) struct Turns {
    pub(crate) asked: Line,
    pub(crate) hearing: Line,
}

/// Calls that take turns with each other.
#[derive(Debug)]
pub(crate) struct Line {
    /// Half of what the slow lane has, at least one.
    at_once: Semaphore,
    lane: Arc<Lane>,
    /// Whether the last call was a long one.
    is_long: AtomicBool,
}

/// What a call has computed so far, in time of the processor: while the system lets others go first it computes nothing.
#[derive(Debug, Default)]
pub(crate) struct Effort {
    nanoseconds: AtomicU64,
    /// What the clock of the thread said when the turn began that it has now.
    begun: AtomicU64,
    /// Whether a tick ended its turn.
    interrupted: AtomicBool,
}

impl Effort {
    /// Notes that a tick ends its turn.
    pub(crate) fn interrupted(&self) {
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// How long it has computed, without the turn that it has now.
    pub(crate) fn computed(&self) -> Duration {
        Duration::from_nanos(self.nanoseconds.load(Ordering::Relaxed))
    }

    /// How long it has computed in the turn that it has now, on this thread.
    pub(crate) fn turn(&self) -> Duration {
        Duration::from_nanos(on_this_thread().saturating_sub(self.begun.load(Ordering::Relaxed)))
    }

    /// Counts what this computes.
    async fn counted<T>(self: Arc<Self>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        poll_fn(|context| {
            let begun = on_this_thread();
            self.begun.store(begun, Ordering::Relaxed);
            let polled = work.as_mut().poll(context);
            self.nanoseconds.fetch_add(on_this_thread().saturating_sub(begun), Ordering::Relaxed);
            polled
        })
        .await
    }
}

/// Time of the processor that this thread has had, in nanoseconds.
fn on_this_thread() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = time.tv_sec.unsigned_abs().saturating_mul(1_000_000_000);
    seconds.saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// A call that goes on, here or in the slow lane. Given up, it ends there if it was there, since it may have much to give
/// back.
struct UnderWay<'a, T: 'static> {
    work: Option<Work<T>>,
    line: &'a Line,
    effort: &'a Effort,
    /// Who is told when it may go on; none where it never was in the lane.
    woken: Option<Arc<Woken>>,
}

impl Turns {
    pub(crate) fn new(lane: &Arc<Lane>) -> Self {
        Self { asked: Line::new(lane), hearing: Line::new(lane) }
    }
}

impl Line {
    fn new(lane: &Arc<Lane>) -> Self {
        let at_once = Semaphore::new((lane.threads() / 2).max(1));
        Self { at_once, lane: Arc::clone(lane), is_long: AtomicBool::default() }
    }

    /// Does this by turns, each of which ends when there is something to wait for, or after a while. Whoever has waited
    /// longest is next.
    pub(crate) async fn taken<T: Send + 'static>(
        &self,
        effort: &Arc<Effort>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let work: Work<T> = Box::pin(Arc::clone(effort).counted(work));
        let mut under_way = UnderWay { work: Some(work), line: self, effort, woken: None };
        let (mut kept, mut begun) = (None, Duration::ZERO);
        loop {
            let turn = match kept.take() {
                Some(turn) => turn,
                None => {
                    begun = effort.computed();
                    // It is never closed.
                    self.at_once.acquire().await
                }
            };
            if effort.computed() >= SHORT || self.is_long.load(Ordering::Relaxed) {
                under_way.woken.get_or_insert_default();
            }
            match under_way.poll().await {
                Poll::Ready(done) => {
                    self.is_long.store(effort.computed() >= LONG, Ordering::Relaxed);
                    return done;
                }
                Poll::Pending => {
                    let goes_on = effort.interrupted.swap(false, Ordering::Relaxed);
                    kept = (goes_on && effort.computed() - begun < SLICE).then_some(turn);
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
            Some(woken) => self.line.lane.poll(work, woken).await,
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
        // Given up; what is in the lane at this moment ends there by itself.
        if self.effort.computed() >= LONG {
            self.line.is_long.store(true, Ordering::Relaxed);
        }
        if let (Some(work), Some(_)) = (self.work.take(), &self.woken) {
            self.line.lane.drop_there(work);
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

    fn line() -> Arc<Line> {
        let lane = Lane::shared().unwrap();
        Arc::new(Line { at_once: Semaphore::new(1), lane, is_long: AtomicBool::default() })
    }

    /// Whether what goes on now does so in the slow lane.
    fn is_slow() -> bool {
        thread::current().name() == Some("plugins-slow")
    }

    /// Computes for as long, and no tick comes meanwhile.
    fn compute(time: Duration) {
        let begun = on_this_thread();
        while Duration::from_nanos(on_this_thread() - begun) < time {
            std::hint::spin_loop();
        }
    }

    /// A tick comes.
    async fn tick(effort: &Effort) {
        effort.interrupted();
        yield_now().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn calls_of_one_plugin_do_not_run_at_one_moment() {
        let (line, running) = (line(), Arc::<AtomicUsize>::default());
        let mut calls = JoinSet::new();
        for nth in 0..20 {
            let (line, running) = (Arc::clone(&line), Arc::clone(&running));
            calls.spawn(async move {
                let effort = Arc::<Effort>::default();
                let own = Arc::clone(&effort);
                let work = async move {
                    if nth % 4 == 0 {
                        compute(SHORT);
                    }
                    for _ in 0..100 {
                        assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "another one runs");
                        thread::yield_now();
                        running.fetch_sub(1, Ordering::SeqCst);
                        match nth % 2 == 0 {
                            true => tick(&own).await,
                            false => yield_now().await,
                        }
                    }
                };
                line.taken(&effort, work).await;
            });
        }
        while let Some(call) = calls.join_next().await {
            call.unwrap();
        }
    }

    /// Whether a call is in the slow lane before it computes for so long, and after the tick that follows.
    async fn went_on(line: &Line, time: Duration) -> (bool, bool) {
        let effort = Arc::<Effort>::default();
        let own = Arc::clone(&effort);
        let work = async move {
            let before = is_slow();
            compute(time);
            tick(&own).await;
            (before, is_slow())
        };
        line.taken(&effort, work).await
    }

    #[tokio::test]
    async fn what_computes_for_long_goes_on_in_the_slow_lane_and_after_a_long_call_the_next_begins_there() {
        let line = line();
        assert_eq!(went_on(&line, Duration::ZERO).await, (false, false), "a tick comes by chance");
        assert_eq!(went_on(&line, SHORT).await, (false, true));
        assert_eq!(went_on(&line, Duration::ZERO).await, (false, false), "that was none of the long ones");
        assert_eq!(went_on(&line, LONG).await, (false, true));
        assert_eq!(went_on(&line, Duration::ZERO).await, (true, true));
        assert_eq!(went_on(&line, Duration::ZERO).await, (false, false), "the last one was short again");
    }

    #[tokio::test]
    async fn a_call_goes_on_for_a_while_and_then_the_next_one_does() {
        let (line, order) = (line(), Arc::<Mutex<String>>::default());
        let call = |name: char| {
            let (line, order, effort) = (Arc::clone(&line), Arc::clone(&order), Arc::<Effort>::default());
            let own = Arc::clone(&effort);
            let work = async move {
                for time in [SLICE / 2, SLICE / 2, Duration::ZERO, Duration::ZERO] {
                    order.lock().unwrap().push(name);
                    compute(time);
                    tick(&own).await;
                }
            };
            async move { line.taken(&effort, work).await }
        };
        tokio::join!(call('a'), call('b'));
        assert_eq!(*order.lock().unwrap(), "aabbaabb");
    }

    #[tokio::test]
    async fn a_turn_is_given_back_by_whoever_is_given_up_who_ends_where_it_was() {
        struct Ends(Arc<Mutex<Option<bool>>>);
        impl Drop for Ends {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = Some(is_slow());
            }
        }
        for time in [Duration::ZERO, LONG] {
            let (line, effort, ended) = (line(), Arc::<Effort>::default(), Arc::default());
            let (own, ends) = (Arc::clone(&effort), Ends(Arc::clone(&ended)));
            let waiting = line.taken(&effort, async move {
                let _ends = ends;
                compute(time);
                tick(&own).await;
                std::future::pending::<()>().await;
            });
            assert!(timeout(Duration::from_millis(200), waiting).await.is_err());
            assert_eq!(line.at_once.available_permits(), 1);
            assert_eq!(line.is_long.load(Ordering::Relaxed), time == LONG);
            // In the lane they end in the order in which they came; where there are many threads, about then.
            while ended.lock().unwrap().is_none() {
                drop(line.lane.poll(Box::pin(async {}), &Arc::default()).await);
            }
            assert_eq!(*ended.lock().unwrap(), Some(time == LONG));
        }
    }
}
