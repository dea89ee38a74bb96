//! The fold: what happened to verifications becomes events and is counted, moments later.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wotp_core::app::App;

use super::turn::{Rounds, Turn};

/// How often it looks: what happened is told of at most so long after.
const EVERY: Duration = Duration::from_millis(100);
/// How often rollups that were kept long enough are deleted, in looks.
const RETIRE_EVERY: u32 = 600;
/// News in one step. Few, so that changes of the same verifications need not wait for it.
const BATCH: usize = 128;
/// Rollups that are deleted in one step.
const RETIRED: usize = 500;
/// Folds after one another that were lost to others, from which on it is said: for ten seconds nobody else has had the
/// turn.
const LOST_MAX: u32 = 100;

/// Folds until `stop` says true: only when it is its `turn`, where there are other nodes.
pub(super) async fn run(app: Arc<App>, turn: Option<Turn>, stop: watch::Receiver<bool>) {
    let mut rounds = Rounds::new(EVERY, turn, stop);
    let mut done = 0u32;
    let mut failing = false;
    let mut lost = 0u32;
    while rounds.next().await {
        while rounds.go_on() {
            match app.fold(BATCH).await {
                Ok(folded) => {
                    failing = false;
                    lost = if folded.lost { lost.saturating_add(1) } else { 0 };
                    if lost == LOST_MAX {
                        tracing::error!(
                            "what happened cannot be taken from the store, though no other node should take it; events and \
                             analytics wait"
                        );
                    }
                    for (what, count) in [("change", folded.taken), ("event", folded.events)] {
                        metrics::counter!("wotp_folded_total", "what" => what)
                            .increment(u64::try_from(count).unwrap_or(0));
                    }
                    if !folded.more {
                        break;
                    }
                }
                Err(error) => {
                    // Said once, and not ten times a second for as long as the store is away.
                    if !std::mem::replace(&mut failing, true) {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "events and analytics wait for the store; nothing of them is lost"
                        );
                    }
                    break;
                }
            }
        }
        done = done.wrapping_add(1);
        while done.is_multiple_of(RETIRE_EVERY) && rounds.go_on() {
            match app.retire_rollups(RETIRED).await {
                Ok(RETIRED) => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::error!(error = &error as &dyn std::error::Error, "old analytics could not be deleted");
                    break;
                }
            }
        }
    }
}
