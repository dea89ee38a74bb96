//! How much of a plugin may be under way at once: by all whose channel it is together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use wotp_core::domain::id::TenantId;

use crate::asking::asked_at_once;
use crate::ears::HEARING_MAX;

/// How long a message waits for its turn when as many calls are under way as may be. As many may wait.
const TURN_WAIT: Duration = Duration::from_secs(1);

/// Room for the calls of a plugin.
pub(crate) struct Room {
    calls: usize,
    all: Share,
    /// What each tenant that has an account of its own may have of it, however often that changes.
    shares: Mutex<HashMap<TenantId, Weak<Share>>>,
    /// A place for each call of a provider's that is heard at once.
    pub(crate) hearing: Semaphore,
    /// A place for whoever has its settings looked at: members and keys of tenants can as often as they like.
    looking: Semaphore,
}

/// The right to do something, until it is dropped: of all, and of a share.
pub(crate) type Turn<'a> = (SemaphorePermit<'a>, SemaphorePermit<'a>);

impl Room {
    /// Room for so many calls at once.
    pub(crate) fn new(calls: usize) -> Self {
        Self {
            calls,
            all: Share::whole(calls),
            shares: Mutex::default(),
            hearing: Semaphore::new(HEARING_MAX as usize),
            looking: Semaphore::new(1),
        }
    }

    /// How many calls it is for.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// What a tenant may have of it: a quarter, so that one whose provider is slow leaves the others some. It is the same one
    /// for as long as anything is made for that tenant, or under way.
    pub(crate) fn share_of(&self, tenant: TenantId) -> Arc<Share> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shares.get(&tenant).and_then(Weak::upgrade) {
            return known;
        }
        shares.retain(|_, share| share.strong_count() > 0);
        let share = Arc::new(Share::whole(self.calls.div_ceil(4)));
        shares.insert(tenant, Arc::downgrade(&share));
        share
    }

    /// The right to one call: at once, or after a second at most; none when as many wait already as may be under way, of
    /// all or of this share.
    pub(crate) async fn turn<'a>(&'a self, share: &'a Share) -> Option<Turn<'a>> {
        if let Ok(part) = share.turns.try_acquire()
            && let Ok(turn) = self.all.turns.try_acquire()
        {
            return Some((turn, part));
        }
        let (_place, _part) = (self.all.waiting.try_acquire().ok()?, share.waiting.try_acquire().ok()?);
        // Its own first: who waits for that holds nothing of the others'.
        let both = async {
            let part = share.turns.acquire().await.ok()?;
            Some((self.all.turns.acquire().await.ok()?, part))
        };
        timeout(TURN_WAIT, both).await.ok()?
    }

    /// The right to ask about one message, if there is a place.
    pub(crate) fn question<'a>(&'a self, share: &'a Share) -> Option<Turn<'a>> {
        let part = share.asking.try_acquire().ok()?;
        Some((self.all.asking.try_acquire().ok()?, part))
    }

    /// The same, as soon as there is a place; none after `time`.
    pub(crate) async fn question_within<'a>(&'a self, share: &'a Share, time: Duration) -> Option<Turn<'a>> {
        let both = async {
            let part = share.asking.acquire().await.ok()?;
            Some((self.all.asking.acquire().await.ok()?, part))
        };
        timeout(time, both).await.ok()?
    }

    /// The right to have settings looked at: one at a time; none after a second.
    pub(crate) async fn look(&self) -> Option<SemaphorePermit<'_>> {
        timeout(TURN_WAIT, self.looking.acquire()).await.ok()?.ok()
    }
}

/// What one may have of a room.
pub(crate) struct Share {
    turns: Semaphore,
    waiting: Semaphore,
    asking: Semaphore,
}

impl Share {
    /// So many calls, and what goes with them.
    pub(crate) fn whole(calls: usize) -> Self {
        Self {
            turns: Semaphore::new(calls),
            waiting: Semaphore::new(calls),
            asking: Semaphore::new(asked_at_once(calls)),
        }
    }
}
