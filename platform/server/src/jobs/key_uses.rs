//! Writes down when keys were last used.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use wotp_core::app::App;

/// How often it does.
const EVERY: Duration = Duration::from_secs(60);

/// Does so until `stop` says true, and then once more.
pub(super) async fn keep(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = super::stopped(stop);
    tokio::pin!(stopping);
    loop {
        let last = tokio::select! {
            _ = tick.tick() => false,
            () = &mut stopping => true,
        };
        if let Err(error) = app.keep_key_uses().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "when keys were last used could not be written down");
        }
        if last {
            return;
        }
    }
}
