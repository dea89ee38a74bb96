//! Webhooks: what happened goes to the endpoints that are to be told.
//!
//! The store says what is due; the bell only says it sooner. So any number of nodes share the work, and what
//! one of them held when it was killed is another's when the hold ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};
use wotp_core::app::{App, Attempted, HeldWebhook};

/// How often the store is asked: by other nodes, by what waits and by retries. In this process the bell says it
/// at once.
const EVERY: Duration = Duration::from_millis(500);
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
            while let Some(ended) = in_hand.try_join_next() {
                said(ended);
            }
            // How many are called at once is bounded where they are taken.
            let call = |held| {
                in_hand.spawn(attempt(Arc::clone(&app), held));
            };
            match app.take_webhooks(BATCH, call).await {
                Ok(taken) => {
                    count("fanned_out", taken.fanned_out);
                    count("waiting", taken.waiting);
                    count("given_up", taken.given_up);
                    count("deleted", taken.deleted);
                    count("lost", taken.lost);
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
        metrics::counter!("wotp_set_aside_total").increment(app.count_set_aside());
    }
    let all = async { while in_hand.join_next().await.is_some() {} };
    if timeout(PATIENCE, all).await.is_err() {
        tracing::info!(in_hand = in_hand.len(), "calls of webhooks were cut off; they are made again");
    }
}

/// Does the replays, one part after another, until `stop` says true. They have a task of their own, so that none
/// of what happens now waits for them.
pub(super) async fn replay(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = super::stopped(stop.clone());
    tokio::pin!(stopping);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = app.replay_bell().heard() => {}
            () = &mut stopping => break,
        }
        while !*stop.borrow() {
            match app.step_replays().await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::error!(error, "what is to be replayed could not be read; it is tried again");
                    break;
                }
            }
        }
    }
}

async fn attempt(app: Arc<App>, held: HeldWebhook) {
    match app.attempt_webhook(held).await {
        Ok(Attempted::Delivered) => count("delivered", 1),
        Ok(Attempted::Again) => count("again", 1),
        Ok(Attempted::Failed) => count("failed", 1),
        Ok(Attempted::Unsent) => count("unsent", 1),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(error, "a webhook could not be attempted; it is when its hold ends");
        }
    }
}

fn said(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        let error: &dyn std::error::Error = &error;
        tracing::error!(error, "an attempt of a webhook panicked; it is made again when its hold ends");
    }
}

fn count(outcome: &'static str, times: usize) {
    metrics::counter!("wotp_webhooks_total", "outcome" => outcome).increment(u64::try_from(times).unwrap_or(0));
}
