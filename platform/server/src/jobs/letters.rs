//! How many letters wait, for monitors.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wotp_core::app::App;

use super::turn::Rounds;

/// How often it looks: every node by itself, so that what one shows is not what was so when it last had a turn.
const EVERY: Duration = Duration::from_secs(15);

/// Looks until `stop` says true. Not when the metrics are asked for, which has to be answered while the store is away.
pub(super) async fn count(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut rounds = Rounds::new(EVERY, None, stop);
    while rounds.next().await {
        match app.waiting_letters().await {
            Ok(waiting) => {
                metrics::gauge!("wotp_letters_waiting").set(u32::try_from(waiting.count).unwrap_or(u32::MAX));
                metrics::gauge!("wotp_letters_oldest_seconds").set(waiting.oldest.as_secs_f64());
            }
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::debug!(error, "the store does not say how many letters wait");
            }
        }
    }
}
