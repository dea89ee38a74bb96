//! Loading the plugins that operators installed, on every node.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use wotp_core::app::App;

use super::turn::Rounds;

/// How often it looks whether something changed: what is remembered is never older than a second.
const EVERY: Duration = Duration::from_secs(1);

/// Looks until `stop` says true.
pub(super) async fn load(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut rounds = Rounds::new(EVERY, None, stop);
    while rounds.next().await {
        if let Err(error) = app.load_plugins().await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "the store does not say whether plugins changed");
        }
    }
}
