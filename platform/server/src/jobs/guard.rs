//! The guard: every node tells what it counted, and one of them watches for all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use wotp_core::app::App;

use super::turn::{Rounds, Turn};
use crate::http::count_against;

/// How often a node tells what it counted, and the watch looks at what was told.
const EVERY: Duration = Duration::from_secs(2);

/// Tells what this node counted until `stop` says true, and then once more.
pub(super) async fn tell(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = super::stopped(stop);
    tokio::pin!(stopping);
    let mut stopped = false;
    while !stopped {
        tokio::select! {
            _ = tick.tick() => {}
            () = &mut stopping => stopped = true,
        }
        count_against(&app.take_late_guard_notes());
        if let Err(error) = app.tell_guard_counts().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "what this node counted for the guard is not told yet; it tries again");
        }
    }
}

/// Watches until `stop` says true: only when it is its `turn`, where there are other nodes.
pub(super) async fn watch(app: Arc<App>, turn: Option<Turn>, stop: watch::Receiver<bool>) {
    let mut rounds = Rounds::new(EVERY, turn, stop);
    while rounds.next().await {
        while rounds.go_on() {
            match app.watch_guards().await {
                Ok(watched) => {
                    let turned = u64::try_from(watched.turned).unwrap_or(0);
                    metrics::counter!("wotp_guard_destinations_turned_total").increment(turned);
                    if !watched.more {
                        break;
                    }
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "the guard could not watch; it tries again");
                    break;
                }
            }
        }
    }
}
