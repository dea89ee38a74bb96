//! Who has WhatsApp: asked before anything is sent, because to write to numbers without it is held against the sender.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;
use tokio::sync::{OnceCell, Semaphore};
use wotp_core::domain::Timestamp;
use wotp_core::ports::Clock;

/// How long it is known that somebody has WhatsApp.
const THERE: SignedDuration = SignedDuration::from_hours(24);
/// How long it is known that somebody has not: they may get it because of us.
const NOT_THERE: SignedDuration = SignedDuration::from_mins(10);
/// Most answers that are known.
const KNOWN_MAX: usize = 10_000;
/// Most questions at once.
const AT_ONCE: usize = 4;
/// A minute, in which there may be so many questions.
const WINDOW: SignedDuration = SignedDuration::from_mins(1);
/// How long nothing is asked after WhatsApp said that it was too much, unless it says how long.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// It is not known whether somebody has WhatsApp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// Too much was asked: not before this.
    TooMuch(Timestamp),
    /// WhatsApp did not answer.
    NoAnswer,
}

/// How WhatsApp refused to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was asked too much; how many seconds it wants to be left alone, if it says.
    TooMuch(Option<u32>),
    /// It did not answer, or not in time.
    NoAnswer,
}

struct Answer {
    /// The digits of the account, if there is one, and until when that is known.
    account: OnceCell<(Option<String>, Timestamp)>,
}

#[derive(Default)]
struct Table {
    answers: HashMap<String, Arc<Answer>>,
    order: VecDeque<String>,
    asked: VecDeque<Timestamp>,
    paused_until: Option<Timestamp>,
}

/// What one session knows of who has WhatsApp.
pub(crate) struct Directory {
    clock: Arc<dyn Clock>,
    per_minute: usize,
    table: Mutex<Table>,
    at_once: Semaphore,
}

impl Directory {
    /// That asks of so many numbers in a minute at most.
    pub(crate) fn new(clock: Arc<dyn Clock>, per_minute: u32) -> Self {
        Self { clock, per_minute: per_minute as usize, table: Mutex::default(), at_once: Semaphore::new(AT_ONCE) }
    }

    /// The digits of the account under a number, as is known, or as `ask` says; none where nobody has WhatsApp under it. Of
    /// many who want to know of one number at once, one asks.
    pub(crate) async fn account<F>(&self, number: &str, ask: impl FnOnce() -> F) -> Result<Option<String>, Unknown>
    where
        F: Future<Output = Result<Option<String>, Refusal>>,
    {
        let answer = self.entry(number);
        let found = answer.account.get_or_try_init(|| async {
            let _place = self.at_once.acquire().await.expect("it is never closed");
            self.admit()?;
            match ask().await {
                Ok(account) => {
                    let lasts = if account.is_some() { THERE } else { NOT_THERE };
                    Ok((account, self.clock.now().saturating_add(lasts).unwrap_or(Timestamp::MAX)))
                }
                Err(refusal) => Err(self.refused(refusal)),
            }
        });
        found.await.map(|(account, _)| account.clone())
    }

    /// The answer for a number: one that is in force, or a place for one.
    fn entry(&self, number: &str) -> Arc<Answer> {
        let now = self.clock.now();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = |answer: &&Arc<Answer>| answer.account.get().is_none_or(|(_, until)| now < *until);
        if let Some(answer) = table.answers.get(number).filter(fresh) {
            return Arc::clone(answer);
        }
        let answer = Arc::new(Answer { account: OnceCell::new() });
        if table.answers.insert(number.to_owned(), Arc::clone(&answer)).is_none() {
            table.order.push_back(number.to_owned());
            if table.order.len() > KNOWN_MAX
                && let Some(oldest) = table.order.pop_front()
            {
                table.answers.remove(&oldest);
            }
        }
        answer
    }

    /// Counts a question, or says when there may be one.
    fn admit(&self) -> Result<(), Unknown> {
        let now = self.clock.now();
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = table.paused_until.filter(|until| now < *until) {
            return Err(Unknown::TooMuch(until));
        }
        while table.asked.front().is_some_and(|asked| now.duration_since(*asked) >= WINDOW) {
            table.asked.pop_front();
        }
        if table.asked.len() >= self.per_minute
            && let Some(oldest) = table.asked.front()
        {
            return Err(Unknown::TooMuch(oldest.saturating_add(WINDOW).unwrap_or(Timestamp::MAX)));
        }
        table.asked.push_back(now);
        Ok(())
    }

    fn refused(&self, refusal: Refusal) -> Unknown {
        let Refusal::TooMuch(seconds) = refusal else { return Unknown::NoAnswer };
        let pause = seconds.map_or(PAUSE, |seconds| SignedDuration::from_secs(seconds.into()));
        let until = self.clock.now().saturating_add(pause).unwrap_or(Timestamp::MAX);
        self.table.lock().unwrap_or_else(PoisonError::into_inner).paused_until = Some(until);
        Unknown::TooMuch(until)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use wotp_core::testing::ManualClock;

    use super::*;

    /// Counts who asks.
    #[derive(Default)]
    struct Asked(AtomicUsize);

    impl Asked {
        /// Whether there is an account.
        async fn answer(&self, there: Result<bool, Refusal>) -> Result<Option<String>, Refusal> {
            self.0.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
            there.map(|there| there.then(|| ACCOUNT.to_owned()))
        }

        fn times(&self) -> usize {
            self.0.load(Ordering::SeqCst)
        }
    }

    const PER_MINUTE: u32 = 60;
    const ACCOUNT: &str = "553188881234";

    fn there() -> Result<Option<String>, Unknown> {
        Ok(Some(ACCOUNT.to_owned()))
    }

    fn directory() -> (Arc<ManualClock>, Arc<Directory>) {
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z"));
        (clock.clone(), Arc::new(Directory::new(clock, PER_MINUTE)))
    }

    #[tokio::test]
    async fn of_many_who_want_to_know_of_one_number_one_asks() {
        let (_, directory) = directory();
        let asked = Arc::new(Asked::default());
        let all: Vec<_> = (0..50)
            .map(|_| {
                let (directory, asked) = (Arc::clone(&directory), Arc::clone(&asked));
                tokio::spawn(async move { directory.account("447700900123", || asked.answer(Ok(true))).await })
            })
            .collect();
        for one in all {
            assert_eq!(one.await.unwrap(), there());
        }
        assert_eq!(asked.times(), 1);
    }

    #[tokio::test]
    async fn an_answer_is_known_for_its_time() {
        let (clock, directory) = directory();
        let asked = Asked::default();
        for (passes, answer, times) in [
            (SignedDuration::ZERO, Ok(false), 1),
            (SignedDuration::from_mins(9), Ok(true), 1),
            (SignedDuration::from_mins(1), Ok(true), 2),
            (SignedDuration::from_hours(23), Ok(false), 2),
            (SignedDuration::from_hours(1), Ok(false), 3),
        ] {
            clock.advance(passes);
            directory.account("447700900123", || asked.answer(answer)).await.unwrap();
            assert_eq!(asked.times(), times);
        }
    }

    #[tokio::test]
    async fn what_was_not_answered_is_asked_again() {
        let (_, directory) = directory();
        let asked = Asked::default();
        let first = directory.account("447700900123", || asked.answer(Err(Refusal::NoAnswer))).await;
        assert_eq!(first, Err(Unknown::NoAnswer));
        assert_eq!(directory.account("447700900123", || asked.answer(Ok(true))).await, there());
    }

    #[tokio::test]
    async fn who_asked_too_much_asks_nothing_for_a_while_and_knows_what_it_knew() {
        let (clock, directory) = directory();
        let asked = Asked::default();
        directory.account("447700900100", || asked.answer(Ok(true))).await.unwrap();
        let pause = Err(Unknown::TooMuch(clock.now() + SignedDuration::from_secs(20)));
        let refused = || asked.answer(Err(Refusal::TooMuch(Some(20))));
        assert_eq!(directory.account("447700900101", refused).await, pause);
        assert_eq!(directory.account("447700900102", || asked.answer(Ok(true))).await, pause);
        assert_eq!(directory.account("447700900100", || asked.answer(Ok(true))).await, there());
        assert_eq!(asked.times(), 2);
        clock.advance(SignedDuration::from_secs(20));
        assert_eq!(directory.account("447700900102", || asked.answer(Ok(true))).await, there());
    }

    #[tokio::test]
    async fn so_much_is_asked_in_a_minute_and_no_more() {
        let (clock, directory) = directory();
        let asked = Asked::default();
        for n in 0..PER_MINUTE {
            directory.account(&n.to_string(), || asked.answer(Ok(false))).await.unwrap();
        }
        let until = clock.now() + WINDOW;
        assert_eq!(directory.account("one more", || asked.answer(Ok(false))).await, Err(Unknown::TooMuch(until)));
        clock.advance(WINDOW);
        assert_eq!(directory.account("one more", || asked.answer(Ok(false))).await, Ok(None));
        assert_eq!(asked.times(), PER_MINUTE as usize + 1);
    }

    #[tokio::test]
    async fn who_gives_up_asking_leaves_it_to_the_next() {
        let (_, directory) = directory();
        let gone = directory.account("447700900123", std::future::pending);
        assert!(tokio::time::timeout(std::time::Duration::from_millis(1), gone).await.is_err());
        let asked = Asked::default();
        assert_eq!(directory.account("447700900123", || asked.answer(Ok(true))).await, there());
    }
}
