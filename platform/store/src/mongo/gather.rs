//! What waits at one moment goes to the server together.
//!
//! A command costs a server the same for one statement as for many, and most of what it costs is not
//! the statement. So while commands are under way, what else is asked for waits, and goes as one.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::Instant;

use super::fault::Fault;

/// A batch that takes longer says that the server is slow, or far.
const SLOW: Duration = Duration::from_millis(50);
/// What part of the time that the last batch took is waited for more, where that was slow: without it, whoever is
/// a moment ahead of all others goes alone, and all others wait for it at each step.
const SLOW_LINGER_PART: u32 = 6;
/// Longest that is waited for more.
const SLOW_LINGER_MAX: Duration = Duration::from_millis(200);

/// One question and where its answer goes.
struct Waiting<Q, A> {
    question: Q,
    answer: oneshot::Sender<Result<A, Fault>>,
}

/// How much goes together.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Questions that may wait. Beyond it they are refused at once: a server that is slow must not
    /// fill our memory.
    pub(super) queue_max: usize,
    /// Questions in one batch.
    pub(super) batch_max: usize,
    /// Batches under way at once.
    pub(super) in_flight: usize,
    /// How long more is waited for, once something waits and the last batch was no single question.
    pub(super) linger: Duration,
    /// Longest that whoever asks waits. What is under way then goes on to its end.
    pub(super) patience: Duration,
}

/// Takes questions one by one and answers them in batches.
pub(super) struct Gather<Q, A> {
    waiting: mpsc::Sender<Waiting<Q, A>>,
    patience: Duration,
}

impl<Q: Send + 'static, A: Send + 'static> Gather<Q, A> {
    /// `run` answers a batch: as many answers as questions, in their order, or one fault for all.
    pub(super) fn start<F, R>(shape: Shape, run: F) -> Self
    where
        F: Fn(Vec<Q>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Vec<Result<A, Fault>>, Fault>> + Send + 'static,
    {
        let (sender, receiver) = mpsc::channel(shape.queue_max);
        tokio::spawn(gather(receiver, shape, run));
        Self { waiting: sender, patience: shape.patience }
    }

    /// Asks, and waits for the answer. A question that is under way is answered although nobody waits
    /// any more; one that still waits then is dropped.
    pub(super) async fn ask(&self, question: Q) -> Result<A, Fault> {
        let (answer, answered) = oneshot::channel();
        self.waiting.try_send(Waiting { question, answer }).map_err(|error| match error {
            TrySendError::Full(_) => Fault::Busy(self.waiting.max_capacity()),
            TrySendError::Closed(_) => Fault::Closed,
        })?;
        match tokio::time::timeout(self.patience, answered).await {
            Ok(answer) => answer.unwrap_or(Err(Fault::Closed)),
            Err(_) => Err(Fault::Late),
        }
    }
}

async fn gather<Q, A, F, R>(mut receiver: mpsc::Receiver<Waiting<Q, A>>, shape: Shape, run: F)
where
    Q: Send + 'static,
    A: Send + 'static,
    F: Fn(Vec<Q>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<Vec<Result<A, Fault>>, Fault>> + Send + 'static,
{
    let flights = Arc::new(Semaphore::new(shape.in_flight));
    let mut last = 0;
    let took = Arc::new(AtomicU64::new(0));
    loop {
        // First a place, then what waits: the longer it takes, the more goes together.
        let Ok(flight) = Arc::clone(&flights).acquire_owned().await else { return };
        let mut batch = Vec::new();
        if receiver.recv_many(&mut batch, shape.batch_max).await == 0 {
            return;
        }
        let slow = Duration::from_micros(took.load(Ordering::Relaxed));
        let linger = match slow > SLOW {
            true => (slow / SLOW_LINGER_PART).min(SLOW_LINGER_MAX),
            // As many as come: a batch of twice the size costs the server little more, and under load those
            // who wait a moment longer are served sooner for it.
            false if last > 1 => shape.linger,
            false => Duration::ZERO,
        };
        if !linger.is_zero() && batch.len() < shape.batch_max {
            tokio::time::sleep(linger).await;
            while batch.len() < shape.batch_max
                && let Ok(more) = receiver.try_recv()
            {
                batch.push(more);
            }
        }
        last = batch.len();
        // A server that was slow for a while is not to do first what nobody waits for any more.
        let awaited = batch.into_iter().filter(|waiting| !waiting.answer.is_closed());
        let (questions, answers): (Vec<_>, Vec<_>) = awaited.map(|waiting| (waiting.question, waiting.answer)).unzip();
        if questions.is_empty() {
            continue;
        }
        let work = run(questions);
        let took = Arc::clone(&took);
        let began = Instant::now();
        tokio::spawn(async move {
            // To its end. The driver keeps its place in line for a command that is given up while it
            // waits for a connection, and serves one place for each that comes or goes: what is given
            // up would keep all others waiting, for good.
            let result = work.await;
            took.store(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
            drop(flight);
            match result {
                Ok(results) => {
                    for (answer, result) in answers.into_iter().zip(results) {
                        // Whoever does not wait any more has gone away.
                        let _ = answer.send(result);
                    }
                }
                Err(fault) => {
                    let fault = Arc::new(fault);
                    for answer in answers {
                        let _ = answer.send(Err(Fault::Shared(Arc::clone(&fault))));
                    }
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::Notify;

    use super::*;

    fn shape(queue_max: usize, in_flight: usize) -> Shape {
        Shape { queue_max, batch_max: 64, in_flight, linger: Duration::ZERO, patience: Duration::from_secs(60) }
    }

    #[tokio::test]
    async fn what_waits_goes_together_and_each_gets_its_own_answer() {
        let (open, sizes) = (Arc::new(Notify::new()), Arc::new(std::sync::Mutex::new(Vec::new())));
        let (gate, seen) = (Arc::clone(&open), Arc::clone(&sizes));
        let gather: Arc<Gather<u32, u32>> = Arc::new(Gather::start(shape(100, 1), move |batch: Vec<u32>| {
            let (gate, seen) = (Arc::clone(&gate), Arc::clone(&seen));
            async move {
                gate.notified().await;
                seen.lock().unwrap().push(batch.len());
                Ok(batch.into_iter().map(|question| Ok(question * 2)).collect())
            }
        }));
        let calls: Vec<_> = (0..10)
            .map(|n| {
                let gather = Arc::clone(&gather);
                tokio::spawn(async move { gather.ask(n).await.unwrap() })
            })
            .collect();
        open.notify_one();
        while sizes.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        open.notify_one();
        for (n, call) in (0..).zip(calls) {
            assert_eq!(call.await.unwrap(), n * 2);
            open.notify_one();
        }
        let sizes = sizes.lock().unwrap().clone();
        assert_eq!(sizes.iter().sum::<usize>(), 10);
        assert!(sizes.len() <= 2, "{sizes:?}");
    }

    #[tokio::test]
    async fn beyond_its_room_it_refuses_at_once() {
        let gather: Arc<Gather<u32, ()>> =
            Arc::new(Gather::start(shape(4, 1), |_| std::future::pending::<Result<Vec<_>, Fault>>()));
        let mut refused = 0;
        let mut waiting = Vec::new();
        for n in 0..16 {
            let asked = Arc::clone(&gather);
            let call = tokio::spawn(async move { asked.ask(n).await });
            tokio::task::yield_now().await;
            if call.is_finished() {
                assert!(matches!(call.await.unwrap(), Err(Fault::Busy(4))));
                refused += 1;
            } else {
                waiting.push(call);
            }
        }
        // At most one batch is under way, of one to five questions, and four wait.
        assert!(refused >= 7, "{refused} were refused");
        waiting.iter().for_each(tokio::task::JoinHandle::abort);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_batch_that_takes_too_long() {
        let gather: Gather<u32, ()> = Gather::start(shape(4, 1), |_| std::future::pending::<Result<Vec<_>, Fault>>());
        let fault = gather.ask(1).await.unwrap_err();
        assert!(fault.to_string().contains("in time"), "{fault}");
    }
}
