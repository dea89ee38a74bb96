//! The right to keep a session: one process has it, for a while.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::SignedDuration;
use tokio::sync::Notify;
use tokio::time::sleep;
use wotp_core::domain::Timestamp;
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::ports::Clock;

/// Until when a session may be kept. Once it is over not a byte goes out, whatever is under way: another process may have
/// logged in by then.
pub struct Right {
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    until: AtomicI64,
    /// Told when it ends before its time.
    ended: Notify,
}

struct Held {
    /// What the session remembers is written under it.
    lease: ConnectionLease,
    /// Whether a client has begun under it.
    used: bool,
    /// Whether it is being exchanged for another of this process: that it is not in force any more says nothing then.
    exchanging: bool,
}

impl Right {
    /// By this lease, over at `until`, unless it is prolonged.
    pub(crate) fn new(clock: Arc<dyn Clock>, lease: ConnectionLease, until: Timestamp) -> Arc<Self> {
        let held = Mutex::new(Held { lease, used: false, exchanging: false });
        Arc::new(Self { clock, held, until: AtomicI64::new(until.as_microsecond()), ended: Notify::new() })
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lease: of all that were given for the session the one with the highest fence, as far as this process knows.
    pub fn lease(&self) -> ConnectionLease {
        self.held().lease.clone()
    }

    /// The lease that is to be prolonged; none where that is of no use, or another is being had.
    pub(crate) fn to_prolong(&self) -> Option<ConnectionLease> {
        let held = self.held();
        (!held.exchanging && self.holds()).then(|| held.lease.clone())
    }

    /// A lease was prolonged. A right that is over stays over: whoever had it must begin anew.
    pub(crate) fn prolong(&self, lease: &ConnectionLease, until: Timestamp) {
        if self.held().lease.fence == lease.fence {
            self.extend(until);
        }
    }

    fn extend(&self, until: Timestamp) {
        let now = self.clock.now().as_microsecond();
        let prolonged = |current| (now < current).then_some(until.as_microsecond());
        let _ = self.until.try_update(Ordering::SeqCst, Ordering::SeqCst, prolonged);
    }

    /// A lease is another process's by now. That ends the right, unless this process itself has had another since.
    pub(crate) fn lost(&self, lease: &ConnectionLease) {
        let held = self.held();
        let newest = held.lease.fence == lease.fence && !held.exchanging;
        drop(held);
        if newest {
            self.end();
        }
    }

    /// The lease to exchange for another before a client begins; none where no client has begun under it yet.
    pub(crate) fn begin_exchange(&self) -> Option<ConnectionLease> {
        let mut held = self.held();
        let used = std::mem::replace(&mut held.used, true);
        held.exchanging = used;
        used.then(|| held.lease.clone())
    }

    /// What came of the exchange: another lease, or none since that cannot be known.
    pub(crate) fn end_exchange(&self, had: Option<(ConnectionLease, Timestamp)>) {
        let mut held = self.held();
        held.exchanging = false;
        if let Some((lease, until)) = had {
            held.lease = lease;
            drop(held);
            self.extend(until);
        }
    }

    /// Ends it now.
    pub fn end(&self) {
        self.until.store(i64::MIN, Ordering::SeqCst);
        self.ended.notify_waiters();
    }

    /// How long it is in force still.
    pub fn lasts(&self) -> SignedDuration {
        SignedDuration::from_micros(self.until.load(Ordering::SeqCst).saturating_sub(self.clock.now().as_microsecond()))
    }

    /// Whether it is in force.
    pub fn holds(&self) -> bool {
        self.clock.now().as_microsecond() < self.until.load(Ordering::SeqCst)
    }

    /// Waits until it is over.
    pub async fn over(&self) {
        loop {
            // Before it is looked at: what is told from now on is heard.
            let ended = self.ended.notified();
            if !self.holds() {
                return;
            }
            tokio::select! {
                () = ended => {}
                () = sleep(self.lasts().max(SignedDuration::from_millis(1)).unsigned_abs()) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use wotp_core::domain::id::{ConnectionId, NodeId, TenantId};
    use wotp_core::ports::TenantAccount;
    use wotp_core::testing::ManualClock;

    use super::*;

    fn lease(fence: u64) -> ConnectionLease {
        let of = TenantAccount { tenant: TenantId::from_bytes([1; 16]), connection: ConnectionId::from_bytes([1; 16]) };
        ConnectionLease { of, holder: NodeId::from_bytes([1; 16]), fence, until: Timestamp::MAX }
    }

    /// One that is over after ten seconds.
    fn right() -> (Arc<ManualClock>, Arc<Right>) {
        let clock = Arc::new(ManualClock::at("2026-03-01T12:00:00Z"));
        let until = clock.now() + SignedDuration::from_secs(10);
        (clock.clone(), Right::new(clock, lease(3), until))
    }

    #[test]
    fn a_right_that_is_over_is_not_prolonged() {
        let (clock, right) = right();
        let at = |seconds| clock.now() + SignedDuration::from_secs(seconds);
        assert!(right.holds() && right.lasts() == SignedDuration::from_secs(10));
        right.prolong(&lease(3), at(20));
        clock.advance(SignedDuration::from_secs(15));
        assert!(right.holds());
        clock.advance(SignedDuration::from_secs(5));
        assert!(!right.holds() && right.to_prolong().is_none());
        right.prolong(&lease(3), at(100));
        assert!(!right.holds());
    }

    #[test]
    fn a_lease_that_was_had_before_neither_prolongs_nor_ends_it() {
        let (clock, right) = right();
        let at = |seconds| clock.now() + SignedDuration::from_secs(seconds);
        assert_eq!(right.begin_exchange(), None, "no client has begun under it");
        assert_eq!(right.begin_exchange(), Some(lease(3)));
        // Meanwhile the store says of it whatever it likes.
        assert_eq!(right.to_prolong(), None);
        right.lost(&lease(3));
        assert!(right.holds());
        right.end_exchange(Some((lease(4), at(20))));
        right.lost(&lease(3));
        right.prolong(&lease(3), at(1_000));
        assert_eq!((right.lasts(), right.lease().fence), (SignedDuration::from_secs(20), 4));
        right.lost(&lease(4));
        assert!(!right.holds());
    }

    #[tokio::test]
    async fn whoever_waits_for_its_end_is_told_at_once() {
        let (_, right) = right();
        let waits = tokio::spawn({
            let right = Arc::clone(&right);
            async move { right.over().await }
        });
        tokio::task::yield_now().await;
        right.end();
        waits.await.unwrap();
        right.over().await;
    }
}
