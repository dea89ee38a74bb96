//! Loading the plugins that operators installed, on every node.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use wotp_core::app::App;

use super::turn::Rounds;

/// How often it looks whether something changed: what is remembered is never older than a second.
const EVERY: Duration = Duration::from_secs(1);
/// Looks after which what was compiled and nobody needs is removed: an hour, and at once after a start.
const CLEARED_EVERY: u32 = 3600;

/// Looks until `stop` says true. What takes long to load, since it is compiled first, keeps nothing else waiting.
pub(super) async fn load(app: Arc<App>, stop: watch::Receiver<bool>) {
    let mut rounds = Rounds::new(EVERY, None, stop);
    let mut loading = JoinSet::new();
    let mut shown = BTreeSet::new();
    let mut looks = 0_u32;
    while rounds.next().await {
        while let Some(ended) = loading.try_join_next() {
            if let Err(panic) = ended {
                tracing::error!(error = &panic as &dyn std::error::Error, "a plugin was not loaded; it is tried again");
            }
        }
        if let Err(error) = app.look_at_plugins().await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(error, "the store does not say whether plugins changed");
        }
        if app.due_plugins() > 0 {
            let app = Arc::clone(&app);
            loading.spawn(async move { app.load_due_plugins().await });
        }
        if looks.is_multiple_of(CLEARED_EVERY) {
            clear(&app).await;
        }
        looks = looks.wrapping_add(1);
        show(&app, &mut shown);
    }
}

async fn clear(app: &App) {
    match app.drop_compiled_orphans().await {
        Ok(0) => {}
        Ok(files) => tracing::info!(files, "removed what plugins were compiled to that are not installed"),
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "what plugins were compiled to that are not installed is still there");
        }
    }
}

/// Shows which plugins this node does not run as they are wanted. One that is off is missed by nobody.
fn show(app: &App, shown: &mut BTreeSet<String>) {
    let stale = |channel: &str| metrics::gauge!("wotp_plugin_not_current", "channel" => channel.to_owned());
    let here = app.plugins_here();
    for (channel, is_current) in &here {
        stale(channel).set(f64::from(u8::from(!is_current)));
    }
    let now: BTreeSet<String> = here.into_iter().map(|(channel, _)| channel).collect();
    for gone in shown.difference(&now) {
        stale(gone).set(0.0);
    }
    *shown = now;
}
