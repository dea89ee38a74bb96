//! What people have received.

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use tokio::sync::watch;

/// One message, as the person sees it: once, however often it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Received {
    /// The id that the sender gave it.
    pub id: String,
    /// The number that it came from.
    pub from: String,
    /// The number that it went to.
    pub to: String,
    /// What it says; `None` for what is no text.
    pub text: Option<String>,
    /// Which of the person's devices could read it: 0 is the phone.
    pub devices: Vec<u16>,
    /// How often the sender sent a message of this id.
    pub times_sent: u32,
    /// Whether the sender's own phone got its copy.
    pub own_copy: bool,
    /// When it came first, in microseconds since 1970.
    pub at_micros: u64,
}

/// All messages that were received, the oldest first.
pub struct Inbox {
    messages: Mutex<Vec<Received>>,
    changed: watch::Sender<()>,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { messages: Mutex::default(), changed: watch::Sender::new(()) }
    }

    /// What is there now.
    pub fn all(&self) -> Vec<Received> {
        self.lock().clone()
    }

    /// The first message that is wanted: now, or when it comes. Waits for as long as it takes.
    pub async fn wait(&self, mut wanted: impl FnMut(&Received) -> bool) -> Received {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let found = self.lock().iter().find(|message| wanted(message)).cloned();
            if let Some(found) = found {
                return found;
            }
            if changed.changed().await.is_err() {
                unreachable!("the sender is in here");
            }
        }
    }

    /// Adds a message, or what is new about one.
    pub(crate) fn record(&self, new: Received) {
        {
            let mut messages = self.lock();
            match messages.iter_mut().find(|known| known.id == new.id && known.from == new.from && known.to == new.to) {
                None => messages.push(new),
                Some(known) => {
                    known.times_sent = new.times_sent;
                    known.own_copy |= new.own_copy;
                    known.devices.extend(new.devices);
                    known.devices.sort_unstable();
                    known.devices.dedup();
                }
            }
        }
        self.changed.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Received>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
