//! The sweep: rings for what is due, ends what ran out, erases what was kept long enough.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wotp_core::app::App;

use super::turn::{Rounds, Turn};

/// How often it looks. A retry that is due waits at most this long.
const EVERY: Duration = Duration::from_secs(1);
/// How often idempotency keys that expired are forgotten.
const FORGET_EVERY: u32 = 60;
/// How many it takes at once, so that a backlog does not hold up what is newly due.
const BATCH: usize = 500;

/// Sweeps until `stop` says true: only when it is its `turn`, where there are other nodes.
pub(super) async fn run(app: Arc<App>, turn: Option<Turn>, stop: watch::Receiver<bool>) {
    let mut rounds = Rounds::new(EVERY, turn, stop);
    let mut done = 0u32;
    while rounds.next().await {
        while rounds.go_on() {
            match app.sweep(BATCH).await {
                Ok(swept) => {
                    for (action, count) in [
                        ("ring", swept.rung),
                        ("expire", swept.expired),
                        ("cut", swept.cut),
                        ("redact", swept.redacted),
                        ("delete", swept.deleted),
                        ("erase", swept.erased),
                        ("notice", swept.noticed),
                        ("letter", swept.lettered),
                    ] {
                        metrics::counter!("wotp_swept_total", "action" => action)
                            .increment(u64::try_from(count).unwrap_or(0));
                    }
                    if !swept.more {
                        break;
                    }
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the sweep could not do its work; it tries again in a second"
                    );
                    break;
                }
            }
        }
        done = done.wrapping_add(1);
        if done.is_multiple_of(FORGET_EVERY)
            && let Err(error) = app.ports().store.forget(app.ports().clock.now()).await
        {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "expired idempotency keys could not be forgotten"
            );
        }
    }
}
