//! The slow lane: threads on which calls go on that compute for long.
//!
//! What answers people has threads of its own, one for each processor. A call that computes on one of them for
//! milliseconds holds up whatever came to that thread meanwhile, and as much again when it ends, since its memory is given
//! back. So whoever was interrupted goes on here, where the system lets everybody else go first.

use std::any::Any;
use std::io;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, available_parallelism};

use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tracing::{Dispatch, Span, dispatcher};

/// How far the threads stand back, as `nice` counts it: each gets a tenth of what another gets that wants the same
/// processor. What they start stands back as well. Rejected: 19, which on a machine that is busy leaves a plugin that is
/// slow and means well a hundredth.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

/// A call under way.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

type Job = Box<dyn FnOnce() + Send>;

/// The threads: one less than there are processors, where there is more than one. They end with the last of these.
#[derive(Debug)]
pub(crate) struct Lane {
    jobs: Sender<Job>,
    threads: usize,
}

/// The one of this process, as long as somebody needs it.
static LANE: Mutex<Weak<Lane>> = Mutex::new(Weak::new());

impl Lane {
    /// That of this process, whose threads are started where nobody needed them so far.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn shared() -> io::Result<Arc<Self>> {
        let mut lane = LANE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lane.upgrade() {
            return Ok(lane);
        }
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let processors = available_parallelism().map_or(1, NonZero::get);
        let threads = processors.saturating_sub(1).max(1);
        for _ in 0..threads {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new().name("plugins-slow".to_owned()).spawn(move || work_off(&waiting))?;
        }
        let started = Arc::new(Self { jobs, threads });
        *lane = Arc::downgrade(&started);
        Ok(started)
    }

    /// How many calls go on here at one moment.
    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    /// Polls a call once, when it is its turn, and gives it back: with its answer, or to be polled again when it was woken.
    pub(crate) async fn poll<T: Send + 'static>(&self, mut work: Work<T>, woken: &Arc<Woken>) -> (Work<T>, Poll<T>) {
        let (back, polled) = oneshot::channel::<Result<(Work<T>, Poll<T>), Box<dyn Any + Send>>>();
        let (runtime, waker) = (Handle::current(), Waker::from(Arc::clone(woken)));
        let (log, span) = (dispatcher::get_default(Dispatch::clone), Span::current());
        self.add(Box::new(move || {
            // Given up while it waited for its turn.
            if back.is_closed() {
                return;
            }
            // Its timers and connections are the runtime's, and what it logs is logged as where it came from.
            let _inside = (runtime.enter(), dispatcher::set_default(&log), span.enter());
            let polled = catch_unwind(AssertUnwindSafe(move || {
                let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
                (work, polled)
            }));
            // Nobody waits for one that was given up: it ends here.
            drop(back.send(polled));
        }));
        match polled.await.expect("a job is done, or dropped with its lane, which is there") {
            Ok(polled) => polled,
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Drops what was given up, with all memory that it has, where nobody waits for that.
    pub(crate) fn drop_there<T: 'static>(&self, work: Work<T>) {
        self.add(Box::new(move || drop(work)));
    }

    fn add(&self, job: Job) {
        // They take jobs for as long as this is there.
        self.jobs.send(job).expect("the threads end with the lane");
    }
}

/// Does jobs in the order in which they came, until there will be none.
fn work_off(waiting: &Mutex<Receiver<Job>>) {
    stand_back();
    loop {
        let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        // A panic is told to whoever waits; of what was given up nobody is to know.
        let _ = catch_unwind(AssertUnwindSafe(job));
    }
}

/// Lets what answers people go first.
fn stand_back() {
    // On Linux this is about one thread; elsewhere it would be about all.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(error, "plugins that compute for long do so as if they were anything else");
    }
}

/// Who is told that a call which was polled in the lane may go on.
#[derive(Debug, Default)]
pub(crate) struct Woken(Notify);

impl Woken {
    /// Until it may go on, or might.
    pub(crate) async fn wait(&self) {
        self.0.notified().await;
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread::ThreadId;

    use super::*;

    fn boxed<T>(work: impl Future<Output = T> + Send + 'static) -> Work<T> {
        Box::pin(work)
    }

    fn here() -> ThreadId {
        thread::current().id()
    }

    #[tokio::test]
    async fn a_call_goes_on_elsewhere_and_with_what_it_had() {
        let (lane, woken) = (Lane::shared().unwrap(), Arc::<Woken>::default());
        let mut begun = false;
        let work = boxed(poll_fn(move |context| {
            if begun {
                return Poll::Ready((here(), Handle::try_current().is_ok()));
            }
            begun = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }));
        let (work, polled) = lane.poll(work, &woken).await;
        assert!(polled.is_pending());
        // It was woken while it was polled, and that is not lost.
        woken.wait().await;
        let (_, Poll::Ready((thread, has_runtime))) = lane.poll(work, &woken).await else { panic!("it is done") };
        assert!(thread != here() && has_runtime);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_lane_stands_back_and_nobody_else_does() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let before = niceness();
        let lane = Lane::shared().unwrap();
        let (_, polled) = lane.poll(boxed(async move { niceness() }), &Arc::default()).await;
        assert_eq!(polled, Poll::Ready((before + NICENESS).min(19)));
        assert_eq!(niceness(), before);
    }

    #[tokio::test]
    async fn a_panic_is_that_of_whoever_waits_and_the_lane_goes_on() {
        let lane = Lane::shared().unwrap();
        let fallen = Arc::clone(&lane);
        let fallen = tokio::spawn(async move {
            drop(fallen.poll(boxed(async { panic!("as it was told") }), &Arc::default()).await);
        });
        let panic = fallen.await.unwrap_err().into_panic();
        assert_eq!(panic.downcast_ref(), Some(&"as it was told"));
        let (_, polled) = lane.poll(boxed(async { 7 }), &Arc::default()).await;
        assert_eq!(polled, Poll::Ready(7));
    }

    #[tokio::test]
    async fn what_is_given_up_ends_in_the_lane() {
        struct Ends(Arc<Mutex<Option<ThreadId>>>);
        impl Drop for Ends {
            fn drop(&mut self) {
                *self.0.lock().unwrap() = Some(here());
            }
        }
        let (lane, ended, begun) = (Lane::shared().unwrap(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let (ends, begins) = (Ends(Arc::clone(&ended)), Arc::clone(&begun));
        let work = boxed(async move {
            let _ends = ends;
            begins.store(true, Ordering::SeqCst);
            pending::<()>().await;
        });
        let (work, _) = lane.poll(work, &Arc::default()).await;
        assert!(begun.load(Ordering::SeqCst) && ended.lock().unwrap().is_none());
        lane.drop_there(work);
        // Done in the order in which they came, by one thread at least; by others perhaps before that.
        while ended.lock().unwrap().is_none() {
            drop(lane.poll(boxed(async {}), &Arc::default()).await);
        }
        assert_ne!(*ended.lock().unwrap(), Some(here()));
    }
}
