//! A channel whose provider does not answer is left alone for a while, and asked again with one message.
//!
//! What counts is whether the provider was there at all, as the host saw it. What a plugin says of an answer, or that it
//! crashed, is no evidence: a tenant's text may have caused it, and would close the channel to all others.
//!
//! Questions about messages that were sent have a breaker of their own, for which it is the crash that counts: no text of a
//! tenant's is in them, and no message depends on them.

use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use wotp_core::domain::Timestamp;

/// Calls in a row whose provider was not there, after which it is left alone.
const SILENT_MAX: u32 = 5;
/// How long it is left alone.
const PAUSE: SignedDuration = SignedDuration::from_secs(30);

/// What a call showed of its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It is there: it answered the last request.
    Answered,
    /// It is not there: the last request found nobody, had no answer in time, or only a proxy's.
    Silent,
    /// Nothing: it was not asked, or whoever waited for it gave up first.
    Nothing,
}

/// A change that an operator hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing goes to it for a while.
    Opened,
    /// It is as it was.
    Closed,
}

#[derive(Debug, Default)]
struct State {
    /// Calls in a row whose provider was not there.
    silent: u32,
    /// When the next call may see whether it is back; none while all is well.
    probe_at: Option<Timestamp>,
    /// Whether one is seeing that now.
    probing: bool,
}

/// Whether anything goes to a provider.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

/// The right to one call, which is to say what it saw.
#[derive(Debug)]
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

impl Breaker {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call pass.
    ///
    /// # Errors
    /// How long to wait for the next try: at least a second.
    pub(crate) fn admit(&self, now: Timestamp) -> Result<Pass<'_>, SignedDuration> {
        let mut state = self.state();
        let probe = match state.probe_at {
            None => false,
            Some(at) if now < at => return Err(at.duration_since(now).max(SignedDuration::from_secs(1))),
            // What it comes to is known in some seconds.
            Some(_) if state.probing => return Err(SignedDuration::from_secs(5)),
            Some(_) => true,
        };
        state.probing |= probe;
        Ok(Pass { breaker: self, probe })
    }

    /// Whether the provider is left alone now.
    pub(crate) fn is_open(&self, now: Timestamp) -> bool {
        self.state().probe_at.is_some_and(|at| now < at)
    }
}

impl Pass<'_> {
    /// Says what the call saw. A change is told once.
    pub(crate) fn ended(self, seen: Seen, now: Timestamp) -> Option<Change> {
        let mut state = self.breaker.state();
        let again = now.saturating_add(PAUSE).unwrap_or(Timestamp::MAX);
        match seen {
            Seen::Answered => {
                let open = state.probe_at.is_some();
                *state = State::default();
                open.then_some(Change::Closed)
            }
            Seen::Silent if self.probe => {
                state.probe_at = Some(again);
                None
            }
            // Of calls that were under way when it opened, which say nothing new.
            Seen::Silent if state.probe_at.is_some() => None,
            Seen::Silent => {
                state.silent += 1;
                (state.silent >= SILENT_MAX).then(|| {
                    state.probe_at = Some(again);
                    Change::Opened
                })
            }
            Seen::Nothing => None,
        }
    }
}

impl Drop for Pass<'_> {
    /// Whoever waited for the probe may have given up: the next call is one.
    fn drop(&mut self) {
        if self.probe {
            self.breaker.state().probing = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn call(breaker: &Breaker, seen: Seen, now: i64) -> Option<Change> {
        breaker.admit(at(now)).expect("it passes").ended(seen, at(now))
    }

    fn opened() -> Breaker {
        let breaker = Breaker::default();
        for _ in 1..SILENT_MAX {
            assert_eq!(call(&breaker, Seen::Silent, 0), None);
        }
        assert_eq!(call(&breaker, Seen::Silent, 0), Some(Change::Opened));
        breaker
    }

    #[test]
    fn five_in_a_row_are_enough_and_an_answer_begins_anew() {
        let breaker = Breaker::default();
        for _ in 0..10 {
            for seen in [Seen::Silent, Seen::Silent, Seen::Nothing, Seen::Silent, Seen::Silent, Seen::Answered] {
                assert_eq!(call(&breaker, seen, 0), None);
            }
        }
        opened();
    }

    #[test]
    fn it_is_left_alone_and_then_asked_with_one_message() {
        let breaker = opened();
        assert_eq!(breaker.admit(at(10)).unwrap_err(), SignedDuration::from_secs(20));
        let probe = breaker.admit(at(30)).unwrap();
        assert!(breaker.admit(at(30)).is_err(), "one is under way");
        assert_eq!(probe.ended(Seen::Silent, at(37)), None);
        assert!(breaker.admit(at(66)).is_err());
        assert_eq!(call(&breaker, Seen::Answered, 67), Some(Change::Closed));
        assert_eq!(call(&breaker, Seen::Silent, 67), None, "it is counted anew");
    }

    #[test]
    fn a_probe_that_nobody_waits_for_is_followed_by_another() {
        let breaker = opened();
        drop(breaker.admit(at(30)).unwrap());
        assert_eq!(call(&breaker, Seen::Nothing, 30), None);
        assert_eq!(call(&breaker, Seen::Answered, 30), Some(Change::Closed));
    }

    #[test]
    fn calls_that_were_under_way_open_it_once_and_may_close_it() {
        let breaker = Breaker::default();
        let under_way: Vec<_> = (0..12).map(|_| breaker.admit(at(0)).unwrap()).collect();
        let mut changes = Vec::new();
        for (n, pass) in under_way.into_iter().enumerate() {
            changes.extend(pass.ended(if n < 10 { Seen::Silent } else { Seen::Answered }, at(7)));
        }
        assert_eq!(changes, [Change::Opened, Change::Closed]);
    }
}
