//! How much of a plugin may be under way at once: by all whose channel it is together.

use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use crate::asking::asked_at_once;
use crate::ears::HEARING_MAX;

/// How long a message waits for its turn when as many calls are under way as may be. As many may wait.
const TURN_WAIT: Duration = Duration::from_secs(1);

/// Room for the calls of a plugin.
pub(crate) struct Room {
    calls: usize,
    turns: Semaphore,
    waiting: Semaphore,
    /// A place for each message that is asked about at once.
    pub(crate) asking: Semaphore,
    /// A place for each call of a provider's that is heard at once.
    pub(crate) hearing: Semaphore,
}

impl Room {
    /// Room for so many calls at once.
    pub(crate) fn new(calls: usize) -> Self {
        Self {
            calls,
            turns: Semaphore::new(calls),
            waiting: Semaphore::new(calls),
            asking: Semaphore::new(asked_at_once(calls)),
            hearing: Semaphore::new(HEARING_MAX as usize),
        }
    }

    /// How many calls it is for.
    pub(crate) fn calls(&self) -> usize {
        self.calls
    }

    /// The right to one call: at once, or after a second at most; none when as many wait already as may be under way, of
    /// all or of this share.
    pub(crate) async fn turn<'a>(&'a self, share: &'a Share) -> Option<Turn<'a>> {
        if let Ok(part) = share.turns.try_acquire()
            && let Ok(turn) = self.turns.try_acquire()
        {
            return Some((turn, part));
        }
        let (_place, _part) = (self.waiting.try_acquire().ok()?, share.waiting.try_acquire().ok()?);
        // Its own first: who waits for that holds nothing of the others'.
        let both = async {
            let part = share.turns.acquire().await.ok()?;
            Some((self.turns.acquire().await.ok()?, part))
        };
        timeout(TURN_WAIT, both).await.ok()?
    }
}

/// The right to one call, until it is dropped: of all, and of a share.
pub(crate) type Turn<'a> = (SemaphorePermit<'a>, SemaphorePermit<'a>);

/// What one channel may have of a room.
pub(crate) struct Share {
    turns: Semaphore,
    waiting: Semaphore,
}

impl Share {
    /// All of it.
    pub(crate) fn whole(calls: usize) -> Self {
        Self { turns: Semaphore::new(calls), waiting: Semaphore::new(calls) }
    }

    /// A quarter, for one of many tenants: one whose provider is slow leaves the others some.
    pub(crate) fn quarter(calls: usize) -> Self {
        Self::whole(calls.div_ceil(4))
    }
}
