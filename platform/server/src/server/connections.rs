//! How many connections may be open at once, and how many are.

use std::sync::Arc;

use metrics::Gauge;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wotp_core::domain::webhook::lanes::IN_HAND_MAX;

/// Files that are for everything but connections of clients: calls of webhooks, the store, mail servers, the terminal.
const FILES_KEPT: u64 = 256 + IN_HAND_MAX as u64;

/// Room for connections.
pub(super) struct Room {
    free: Arc<Semaphore>,
    open: Gauge,
}

/// A connection that is counted as open, until it is dropped.
pub(super) struct Open {
    gauge: Gauge,
    _place: OwnedSemaphorePermit,
}

impl Room {
    /// Room for `max`, or for as many as the system gives files.
    pub(super) fn new(max: usize) -> Self {
        let room = affordable(max);
        if room < max {
            tracing::warn!(
                room,
                connections_max = max,
                "the system gives this process too few open files for so many connections; raise its hard limit (ulimit -Hn, LimitNOFILE)"
            );
        }
        let open = metrics::gauge!("wotp_http_connections");
        open.set(0.0);
        Self { free: Arc::new(Semaphore::new(room)), open }
    }

    /// Waits until there is room for one more, which is taken until the place is dropped.
    pub(super) async fn place(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.free).acquire_owned().await.expect("nobody closes the semaphore")
    }

    /// Counts a connection.
    pub(super) fn open(&self, place: OwnedSemaphorePermit) -> Open {
        self.open.increment(1.0);
        Open { gauge: self.open.clone(), _place: place }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
    }
}

/// How many connections there are files for, `max` at most. Asks the system for more files where it
/// has to: the usual limit of 1024 is a courtesy to programs that use `select`, and the hard one is
/// what counts.
fn affordable(max: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let wanted = files_for(max);
    let granted = match limit.current {
        Some(current) if current < wanted => {
            let raised = limit.maximum.map_or(wanted, |hard| hard.min(wanted));
            let raise = || setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum: limit.maximum });
            if raised > current && raise().is_ok() { raised } else { current }
        }
        _ => wanted,
    };
    connections_of(granted).min(max)
}

fn files_for(connections: usize) -> u64 {
    u64::try_from(connections).unwrap_or(u64::MAX).saturating_add(FILES_KEPT)
}

/// At least half of the files, however few there are, and at least one connection.
fn connections_of(files: u64) -> usize {
    usize::try_from(files.saturating_sub(FILES_KEPT).max(files / 2).max(1)).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_kept_for_everything_else() {
        for (files, connections) in
            [(0, 1), (1, 1), (64, 32), (1024, 512), (4608, 2304), (8192, 5888), (12_304, 10_000)]
        {
            assert_eq!(connections_of(files), connections, "{files} files");
        }
        assert_eq!(files_for(10_000), 12_304);
    }

    #[tokio::test]
    async fn room_that_is_given_back_can_be_taken_again() {
        let room = Room::new(1);
        let open = room.open(room.place().await);
        assert_eq!(room.free.available_permits(), 0);
        drop(open);
        drop(room.place().await);
    }
}
