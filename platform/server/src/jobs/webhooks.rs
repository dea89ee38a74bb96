//! Webhooks: what happened goes to the endpoints that are to be told.
//!
//! The store says what is due; the bell only says it sooner. So any number of nodes share the work, and what
//! one of them held when it was killed is another's when the hold ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use wotp_core::app::{App, Attempted};

/// How often the store is asked: by other nodes, by what waits and by retries. In this process the bell says it
/// at once.
const EVERY: Duration = Duration::from_millis(500);
/// Calls in hand at once. One takes a socket and little else; each endpoint and each tenant has a bound of its
/// own far below it.
const IN_HAND_MAX: usize = 2048;
/// How many are looked at at once.
const BATCH: usize = 256;
/// How long calls in hand may go on when the process is to end: most answer within that. The others' holds
/// end, and they are made again.
const PATIENCE: Duration = Duration::from_secs(5);

/// Delivers until `stop` says true.
pub(super) async fn run(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut in_hand: JoinSet<()> = JoinSet::new();
    let stopping = super::stopped(stop.clone());
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = app.webhook_bell().heard() => {}
            () = &mut stopping => break,
        }
        while !*stop.borrow() {
            while in_hand.try_join_next().is_some() {}
            let room = IN_HAND_MAX.saturating_sub(in_hand.len()).min(BATCH);
            if room == 0 {
                // One that ends makes room; each does within seconds.
                in_hand.join_next().await;
                continue;
            }
            match app.take_webhooks(room).await {
                Ok(taken) => {
                    count("fanned_out", taken.fanned_out);
                    count("waiting", taken.waiting);
                    count("deleted", taken.deleted);
                    for held in taken.held {
                        let app = Arc::clone(&app);
                        in_hand.spawn(async move {
                            match app.attempt_webhook(held).await {
                                Ok(Attempted::Delivered) => count("delivered", 1),
                                Ok(Attempted::Again) => count("again", 1),
                                Ok(Attempted::Failed) => count("failed", 1),
                                Ok(Attempted::Unsent) => count("unsent", 1),
                                Err(error) => {
                                    let error: &dyn std::error::Error = &error;
                                    tracing::error!(
                                        error,
                                        "a webhook could not be attempted; it is when its hold ends"
                                    );
                                }
                            }
                        });
                    }
                    if !taken.more {
                        break;
                    }
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "what is due for webhooks could not be read; it is tried again");
                    break;
                }
            }
        }
    }
    let all = async { while in_hand.join_next().await.is_some() {} };
    if timeout(PATIENCE, all).await.is_err() {
        tracing::info!(in_hand = in_hand.len(), "calls of webhooks were cut off; they are made again");
    }
}

fn count(outcome: &'static str, times: usize) {
    metrics::counter!("wotp_webhooks_total", "outcome" => outcome).increment(u64::try_from(times).unwrap_or(0));
}
