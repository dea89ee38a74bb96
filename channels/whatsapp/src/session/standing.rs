//! Tells all nodes where the session stands.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use wotp_core::domain::live_connection::{LiveStatus, Standing};

use super::{Core, lock};
use crate::pace::together;

/// How long it is waited for more to change before it is told how the number fares, and before it is told again what nobody
/// took.
const SOON: Duration = Duration::from_secs(5);
/// How often it is told what time alone changes: what the number may send again. Of a thousand sessions at rest, each tells
/// so seldom that it costs nothing beside what keeps their connections open.
const EVERY: Duration = Duration::from_secs(60);

/// What was told.
#[derive(Default)]
pub(super) struct Said {
    /// Whether anything is to be told: before it has begun, another process may have told more.
    begun: bool,
    /// What was taken last.
    last: Option<Standing>,
}

/// Tells where the session stands, at once when that changes, for as long as the session is there.
pub(super) async fn tell(core: Arc<Core>) {
    let mut status = core.status.subscribe();
    let mut next = Instant::now() + EVERY;
    loop {
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            () = core.fares.notified() => {
                next = next.min(Instant::now() + SOON);
                continue;
            }
            () = sleep_until(next) => if !core.said.lock().await.begun {
                next = together(Instant::now() + EVERY);
                continue;
            }
        }
        status.mark_unchanged();
        let known = core.tell_standing().await;
        next = if known { together(Instant::now() + EVERY) } else { Instant::now() + SOON };
    }
}

impl Core {
    /// How the number fares has changed.
    pub(super) fn fares_otherwise(&self) {
        self.fares.notify_one();
    }

    /// Tells where it stands, unless that is known; says whether it is known then.
    pub(super) async fn tell_standing(&self) -> bool {
        let mut said = self.said.lock().await;
        said.begun = true;
        let health = {
            let sender = lock(&self.sender);
            sender.is_read().then(|| sender.report(&self.parts.settings.allowance, self.now()))
        };
        let mut standing = self.status.borrow().standing(health.as_ref(), self.now());
        // Of these nobody notes when they began.
        let lasts = matches!(
            standing.status,
            LiveStatus::Unpaired | LiveStatus::Pairing | LiveStatus::Connecting | LiveStatus::Banned
        );
        if let Some(before) = said.last.as_ref().filter(|before| lasts && before.status == standing.status) {
            standing.since = before.since;
        }
        if said.last.as_ref() == Some(&standing) {
            return true;
        }
        let taken = self.parts.listener.stands(&self.right.lease(), &standing).await.is_ok();
        if taken {
            said.last = Some(standing);
        }
        taken
    }
}
