//! Whose turn it is: work that one node does for all, by a lease in the store.

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio::sync::watch;
use tokio::time::{Interval, MissedTickBehavior, interval};
use wotp_core::app::App;
use wotp_core::domain::Timestamp;
use wotp_core::domain::id::NodeId;
use wotp_core::domain::lease::Lease;

/// How long it is a node's turn, unless it prolongs it. When that node dies, so long nobody does the
/// work: short, because two that do it at once harm nothing.
const LASTS: SignedDuration = SignedDuration::from_secs(5);
/// How often a turn is prolonged, and asked for by the others.
const EVERY: SignedDuration = SignedDuration::from_secs(2);

/// A node's wish to do something alone.
pub(super) struct Turn {
    app: Arc<App>,
    name: &'static str,
    node: NodeId,
    lease: Option<Lease>,
    asked_at: Option<Timestamp>,
}

impl Turn {
    pub(super) fn new(app: Arc<App>, name: &'static str, node: NodeId) -> Self {
        Self { app, name, node, lease: None, asked_at: None }
    }

    /// Whether it is this node's turn now. Asks the store, when it is time to.
    pub(super) async fn is_mine(&mut self) -> bool {
        let ports = self.app.ports();
        let now = ports.clock.now();
        if self.asked_at.is_none_or(|asked| now.duration_since(asked) >= EVERY) {
            self.asked_at = Some(now);
            let until = now.saturating_add(LASTS).unwrap_or(Timestamp::MAX);
            match ports.store.take_lease(self.name, self.node, now, until).await {
                Ok(lease) => {
                    if lease.is_some() != self.lease.is_some() {
                        tracing::debug!(turn = self.name, mine = lease.is_some(), "the turn changed");
                    }
                    self.lease = lease;
                }
                Err(error) => {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(turn = self.name, error, "the store does not say whose turn it is");
                }
            }
        }
        self.lease.as_ref().is_some_and(|lease| ports.clock.now() < lease.until)
    }

    /// Lets another node take its turn at once.
    pub(super) async fn give_up(self) {
        let ports = self.app.ports();
        if let Some(lease) = self.lease
            && let Err(error) = ports.store.release_lease(&lease, ports.clock.now()).await
        {
            tracing::debug!(error = &error as &dyn std::error::Error, "another node waits for this one's turn to end");
        }
    }
}

/// Work that is done again and again: only when it is its turn, where there are other nodes.
pub(super) struct Rounds {
    tick: Interval,
    turn: Option<Turn>,
    stop: watch::Receiver<bool>,
}

impl Rounds {
    /// One each `period`, until `stop` says true.
    pub(super) fn new(period: Duration, turn: Option<Turn>, stop: watch::Receiver<bool>) -> Self {
        let mut tick = interval(period);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { tick, turn, stop }
    }

    /// Waits for the next round of this node. False when it is to stop: then its turn is another node's at once.
    pub(super) async fn next(&mut self) -> bool {
        loop {
            tokio::select! {
                _ = self.tick.tick() => {}
                () = super::stopped(self.stop.clone()) => break,
            }
            let is_mine = match &mut self.turn {
                Some(turn) => turn.is_mine().await,
                None => true,
            };
            if is_mine {
                return true;
            }
        }
        if let Some(turn) = self.turn.take() {
            turn.give_up().await;
        }
        false
    }

    /// Whether a round that has more to do may go on.
    pub(super) fn go_on(&self) -> bool {
        !*self.stop.borrow()
    }
}
