//! A node among others: says that it is there, hears what changed, and keeps the common time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use wotp_core::app::App;
use wotp_core::domain::Timestamp;
use wotp_core::domain::node::Node;
use wotp_core::ports::Clock as _;

use crate::system::{SharedClock, SystemClock};
use crate::wiring::look_at_time;

/// How often it says so.
const EVERY: Duration = Duration::from_secs(2);
/// A node that was not heard of for so long is no news any more.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Turns after which nodes that are long gone are forgotten: ten minutes.
const FORGET_EVERY: u32 = 300;

/// Says that `node` is there until `stop` says true, and then that it has left. Ready says whether it
/// still takes requests.
pub(super) async fn keep(
    app: Arc<App>,
    mut node: Node,
    clock: Arc<SharedClock>,
    ready: Arc<AtomicBool>,
    stop: watch::Receiver<bool>,
) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopping = super::stopped(stop);
    tokio::pin!(stopping);
    let store = &*app.ports().store;
    let mut turns = 0u32;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = &mut stopping => break,
        }
        if let Ok(Some(time)) = look_at_time(store).await {
            clock.correct(time);
        }
        let now = clock.now();
        let offset = SystemClock.now().duration_since(now);
        metrics::gauge!("wotp_clock_offset_seconds").set(offset.as_secs_f64());
        node.seen_at = now;
        node.draining = !ready.load(Ordering::Relaxed);
        if let Err(error) = store.note_node(&node).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the store does not know that this node is there; it tries again");
        }
        turns = turns.wrapping_add(1);
        if turns.is_multiple_of(FORGET_EVERY) {
            forget_others(&app, now).await;
        }
    }
    if let Err(error) = store.forget_node(node.id).await {
        tracing::debug!(error = &error as &dyn std::error::Error, "the others find out that this node has left");
    }
}

/// Nodes that did not say that they leave, long ago.
async fn forget_others(app: &App, now: Timestamp) {
    let store = &*app.ports().store;
    let forgotten = async {
        for node in store.nodes().await? {
            if now.duration_since(node.seen_at) >= FORGOTTEN_AFTER {
                store.forget_node(node.id).await?;
            }
        }
        Ok::<_, wotp_core::ports::StoreError>(())
    };
    if let Err(error) = forgotten.await {
        tracing::debug!(error = &error as &dyn std::error::Error, "nodes that are gone could not be forgotten");
    }
}
