//! Tells all nodes where the session stands.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use wotp_core::domain::live_connection::{LiveStatus, Standing};

use super::{Core, lock};

/// How often it is told how the number fares, where that has changed, and told again what nobody took.
const EVERY: Duration = Duration::from_secs(5);

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
    loop {
        tokio::select! {
            changed = status.changed() => if changed.is_err() { return },
            () = sleep(EVERY) => if !core.said.lock().await.begun { continue },
        }
        status.mark_unchanged();
        core.tell_standing().await;
    }
}

impl Core {
    /// Tells where it stands, unless that is known.
    pub(super) async fn tell_standing(&self) {
        let mut said = self.said.lock().await;
        said.begun = true;
        let health = {
            let sender = lock(&self.sender);
            sender.is_read().then(|| sender.report(&self.parts.settings.allowance, self.now()))
        };
        let mut standing = self.status.borrow().standing(health.as_ref(), self.now());
        // Of these nobody notes when they began.
        let lasts = matches!(standing.status, LiveStatus::Unpaired | LiveStatus::Pairing | LiveStatus::Connecting);
        if let Some(before) = said.last.as_ref().filter(|before| lasts && before.status == standing.status) {
            standing.since = before.since;
        }
        if said.last.as_ref() != Some(&standing)
            && self.parts.listener.stands(&self.right.lease(), &standing).await.is_ok()
        {
            said.last = Some(standing);
        }
    }
}
