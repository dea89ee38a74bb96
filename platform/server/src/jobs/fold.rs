//! The fold: what happened to verifications becomes events and is counted, moments later.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use wotp_core::app::App;

use super::turn::Turn;

/// How often it looks: what happened is told of at most so long after.
const EVERY: Duration = Duration::from_millis(100);
/// How often rollups that were kept long enough are deleted, in looks.
const RETIRE_EVERY: u32 = 600;
/// News in one step. Few, so that changes of the same verifications need not wait for it.
const BATCH: usize = 128;
/// Rollups that are deleted in one step.
const RETIRED: usize = 500;

/// Folds until `stop` says true: only when it is its `turn`, where there are other nodes.
pub(super) async fn run(app: Arc<App>, mut turn: Option<Turn>, stop: watch::Receiver<bool>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rounds = 0u32;
    let mut failing = false;
    let stopping = super::stopped(stop.clone());
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = &mut stopping => break,
        }
        if let Some(turn) = &mut turn
            && !turn.is_mine().await
        {
            continue;
        }
        while !*stop.borrow() {
            match app.fold(BATCH).await {
                Ok(folded) => {
                    failing = false;
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
        rounds = rounds.wrapping_add(1);
        while rounds.is_multiple_of(RETIRE_EVERY) && !*stop.borrow() {
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
    if let Some(turn) = turn {
        turn.give_up().await;
    }
}
