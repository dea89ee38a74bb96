//! Putting one database in the place of another, so that a cut at any moment can be mended.
//!
//! The new one is put together beside the old one. As long as it lies there nothing else opens the
//! database: an old one is never read without its log, nor a new one with another's.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use crate::data_folder::{beside, sync_folder};

/// What SQLite keeps beside a database.
pub(super) const LOG: &str = "-wal";
const LOG_INDEX: &str = "-shm";

/// Removes a staged database, whole or not.
pub(super) fn discard(staged: &Path) {
    for suffix in ["", LOG, LOG_INDEX] {
        // What is not there need not go; what cannot go, the next step complains about.
        let _ = fs::remove_file(beside(staged, suffix));
    }
}

/// Puts the staged database in place; says where the old one is kept.
pub(super) fn swap(staged: &Path, database: &Path) -> io::Result<Option<PathBuf>> {
    let kept = kept(staged, database)?;
    rename_if_there(&beside(database, LOG), &beside(&kept, LOG))?;
    remove_if_there(&beside(database, LOG_INDEX))?;
    let had_one = rename_if_there(database, &kept)?;
    sync_folder(folder(database))?;
    fs::rename(staged, database)?;
    sync_folder(folder(database))?;
    Ok(had_one.then_some(kept))
}

/// Takes back what a [`swap`] that was cut off had done: the old database lies in its place, with
/// its log. Does nothing when none was.
pub(super) fn take_back(staged: &Path, database: &Path) -> io::Result<()> {
    if !staged.exists() {
        return Ok(());
    }
    let kept = kept(staged, database)?;
    let away = [(database.to_owned(), kept.clone()), (beside(database, LOG), beside(&kept, LOG))];
    for (place, kept) in away {
        if !place.exists() {
            rename_if_there(&kept, &place)?;
        }
    }
    sync_folder(folder(database))
}

/// Where the old database is kept: named for when the staged one was done, so that whoever finds that
/// one after a cut knows which one it was about to replace.
fn kept(staged: &Path, database: &Path) -> io::Result<PathBuf> {
    let done = Timestamp::try_from(fs::metadata(staged)?.modified()?).map_err(io::Error::other)?;
    Ok(beside(database, &format!(".before-{}", done.strftime("%Y%m%dT%H%M%S%.3fZ"))))
}

fn folder(database: &Path) -> &Path {
    database.parent().unwrap_or(Path::new("."))
}

fn rename_if_there(from: &Path, to: &Path) -> io::Result<bool> {
    match fs::rename(from, to) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        other => other.map(|()| true),
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// An old database with its log, and a staged one.
    fn files() -> (TempDir, PathBuf, PathBuf) {
        let folder = TempDir::new().unwrap();
        let (database, staged) = (folder.path().join("wotp.db"), folder.path().join("wotp.db.restoring"));
        fs::write(&database, "old").unwrap();
        fs::write(beside(&database, LOG), "log").unwrap();
        fs::write(&staged, "new").unwrap();
        (folder, database, staged)
    }

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn the_old_database_is_kept_whole_beside_the_new_one() {
        let (_folder, database, staged) = files();
        let kept = swap(&staged, &database).unwrap().unwrap();
        assert_eq!((read(&database).as_str(), read(&kept).as_str()), ("new", "old"));
        assert_eq!(read(&beside(&kept, LOG)), "log");
        assert!(!staged.exists() && !beside(&database, LOG).exists());
        // It is done: there is nothing to take back.
        take_back(&staged, &database).unwrap();
        assert_eq!(read(&database), "new");
    }

    #[test]
    fn a_swap_that_was_cut_off_at_any_step_can_be_taken_back() {
        for steps in 0..=2 {
            let (_folder, database, staged) = files();
            let kept = kept(&staged, &database).unwrap();
            let moves = [(beside(&database, LOG), beside(&kept, LOG)), (database.clone(), kept.clone())];
            moves.iter().take(steps).for_each(|(from, to)| fs::rename(from, to).unwrap());
            take_back(&staged, &database).unwrap();
            assert_eq!((read(&database).as_str(), read(&beside(&database, LOG)).as_str()), ("old", "log"), "{steps}");
            assert!(!kept.exists() && !beside(&kept, LOG).exists());
        }
    }

    #[test]
    fn what_an_earlier_restore_kept_is_not_taken_back() {
        let (_folder, database, staged) = files();
        let earlier = beside(&database, ".before-20260101T000000.000Z");
        fs::rename(&database, &earlier).unwrap();
        take_back(&staged, &database).unwrap();
        assert!(!database.exists() && earlier.exists());
    }
}
