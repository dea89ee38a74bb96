use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::app::Bell;
use crate::domain::Timestamp;
use crate::domain::webhook::endpoint::Endpoint;
use crate::domain::webhook::lanes::{Entry, Lanes, Pass, Seat, Way};

/// Who may be called, and the bell that says that there is something to do.
#[derive(Default)]
pub(super) struct Desk {
    lanes: Mutex<Lanes>,
    pub(super) bell: Bell,
}

impl Desk {
    pub(super) fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a place in the lane of an endpoint, or says when to ask again.
    pub(super) fn place(self: &Arc<Self>, endpoint: &Endpoint, way: Way, now: Timestamp) -> Result<Place, Timestamp> {
        match self.lanes().enter(endpoint, way, now) {
            Entry::Go(seat) => Ok(Place { desk: Arc::clone(self), seat, pass: Pass::Unused, at: now }),
            Entry::Wait(until) => Err(until),
        }
    }
}

/// A place in the lane of an endpoint. Whoever drops it gives it back, also where something failed or panicked
/// on the way.
#[must_use = "it is given back at once"]
pub(super) struct Place {
    desk: Arc<Desk>,
    seat: Seat,
    pass: Pass,
    at: Timestamp,
}

impl Place {
    /// The endpoint was called, or was not after all.
    pub(super) fn done(mut self, pass: Pass, now: Timestamp) {
        (self.pass, self.at) = (pass, now);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let wanted = self.desk.lanes().leave(self.seat, self.pass, self.at);
        if wanted {
            self.desk.bell.ring();
        }
    }
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.seat).finish()
    }
}
