//! Moving the write-ahead log into the file, beside the writer instead of in its way.
//!
//! SQLite's own automatic checkpoint runs inside a commit: every so many pages, everybody who waits
//! would wait for thousands of pages to be copied and flushed. So a thread of its own copies while
//! the writer goes on, and the writer itself only does the short rest, which lets the log start
//! over from its beginning instead of growing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;

use rusqlite::Connection;
use rusqlite::wal::CheckpointMode;

use super::schema::{self, OpenOptions};

/// Length of the log, in pages of 4 KB, from which it is moved into the file: 8 MB.
///
/// A page that changes often is copied once per round, so longer is cheaper; and while more is copied and flushed at
/// once, commits wait for the disk: that is the 99th percentile.
const LOG_PAGES: i32 = 2_000;
/// What the writer does itself, in pages: about a millisecond, since nothing is answered meanwhile.
/// The copier goes on with what came while it copied until no more than this is left.
const REST_PAGES: i32 = 64;
/// Rounds of the copier after which the writer does the rest, however much it is: under a load that
/// writes faster than the copier copies, what is left would not get less.
const ROUNDS_MAX: u32 = 8;
/// Length from which the writer waits for readers rather than let the log grow on: 256 MB.
const LOG_PAGES_MAX: i32 = 64_000;

/// Nothing copied yet, or a round is under way.
const NONE: i32 = -1;

/// The writer's side.
pub(super) struct LogKeeper {
    /// Pages in the log after the last commit.
    length: Arc<AtomicI32>,
    /// Pages of the log that the last round of the copier found copied.
    copied: Arc<AtomicI32>,
    copier: Option<(mpsc::SyncSender<()>, JoinHandle<()>)>,
    copying: bool,
    /// Rounds since the log was last started over.
    rounds: u32,
    /// Length from which the writer waits for readers the next time.
    patience: i32,
}

impl LogKeeper {
    /// Takes over the log from SQLite's automatic checkpoint, which the hook replaces.
    pub(super) fn start(
        writer: &mut Connection,
        path: &Path,
        options: &OpenOptions,
    ) -> Result<Self, schema::OpenError> {
        let length = Arc::new(AtomicI32::new(0));
        let seen = Arc::clone(&length);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
            seen.store(pages, Ordering::Relaxed);
            Ok(())
        };
        writer.wal_hook(Some(hook)).map_err(|error| schema::OpenError::of(path, error))?;
        let connection = schema::connect(path, options)?;
        let copied = Arc::new(AtomicI32::new(NONE));
        let done = Arc::clone(&copied);
        let (start, rounds) = mpsc::sync_channel::<()>(1);
        let thread = std::thread::Builder::new()
            .name("wotp-checkpoint".to_owned())
            .spawn(move || {
                while rounds.recv().is_ok() {
                    let pages = match connection.wal_checkpoint_v2(None::<&str>, CheckpointMode::PASSIVE) {
                        Ok((_, copied)) => copied,
                        Err(error) => {
                            tracing::warn!(%error, "the log of the store could not be moved into the file; it grows");
                            0
                        }
                    };
                    done.store(pages.max(0), Ordering::Release);
                }
            })
            .map_err(|error| schema::OpenError::Thread { source: error })?;
        Ok(Self { length, copied, copier: Some((start, thread)), copying: false, rounds: 0, patience: LOG_PAGES_MAX })
    }

    /// After each commit: starts a round of copying, or ends one.
    pub(super) fn tend(&mut self, writer: &Connection) {
        let length = self.length.load(Ordering::Relaxed);
        if length < LOG_PAGES {
            return;
        }
        if self.copying {
            let copied = self.copied.swap(NONE, Ordering::Acquire);
            if copied == NONE && length < self.patience {
                return;
            }
            self.copying = false;
            if length - copied <= REST_PAGES || self.rounds >= ROUNDS_MAX {
                self.finish(writer, CheckpointMode::PASSIVE);
                return;
            }
        }
        if length >= self.patience {
            self.finish(writer, CheckpointMode::RESTART);
            return;
        }
        self.copying = self.copier.as_ref().is_some_and(|(start, _)| start.try_send(()).is_ok());
        self.rounds += 1;
    }

    fn finish(&mut self, writer: &Connection, mode: CheckpointMode) {
        self.rounds = 0;
        match writer.wal_checkpoint_v2(None::<&str>, mode) {
            // The next write starts the log over, unless a reader still needs it.
            Ok(_) => {
                self.length.store(0, Ordering::Relaxed);
                self.patience = LOG_PAGES_MAX;
            }
            Err(error) => {
                tracing::warn!(%error, "the log of the store could not be moved into the file; it grows");
                // Somebody reads for long, a backup for one: not to be waited for with each commit.
                self.patience = self.length.load(Ordering::Relaxed).saturating_add(LOG_PAGES_MAX);
            }
        }
    }
}

impl Drop for LogKeeper {
    fn drop(&mut self) {
        if let Some((start, thread)) = self.copier.take() {
            drop(start);
            // It ends by itself once nobody can start a round.
            let _ = thread.join();
        }
    }
}
