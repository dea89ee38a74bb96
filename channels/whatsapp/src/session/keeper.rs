//! What a session does by itself: it begins anew, ends, reads what WhatsApp restricts it to, and tells.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wacore::iq::mex_operations::fetch_new_chat_message_capping_info as capping;
use whatsapp_rust::{Client, MexRequest};
use wotp_core::domain::Timestamp;

use super::{Core, lock};
use crate::listen::Reported;
use crate::status::{Away, Status, Unpaired};

/// What is counted is written down so long after it changed at the latest.
const NOTED_WITHIN: Duration = Duration::from_secs(5);
/// How long WhatsApp may take to say what it restricts.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// What is to be done. Where it is one client's, only while that is the one that runs.
pub(super) enum Todo {
    /// The client has given up.
    Ended { life: u64 },
    /// It needs another client.
    BeginAnew { life: u64 },
    /// The phone and the session did not agree.
    PairingFailed { life: u64 },
    /// The code that is shown has expired.
    RenewCode { life: u64 },
    /// What WhatsApp restricts may have changed.
    ReadRestrictions { life: u64 },
    /// Something was counted.
    Note,
}

/// Does what is to be done, in order, for as long as the session is there.
pub(super) async fn keep(core: Arc<Core>, mut todo: UnboundedReceiver<Todo>) {
    let mut status = core.status.subscribe();
    let mut note_at: Option<Instant> = None;
    loop {
        let stays_for = status.borrow_and_update().stays_for(&core.parts.settings.patience, core.now());
        tokio::select! {
            next = todo.recv() => match next {
                Some(Todo::Note) => {
                    note_at.get_or_insert_with(|| Instant::now() + NOTED_WITHIN);
                }
                Some(todo) => core.act(todo).await,
                None => return,
            },
            changed = status.changed() => if changed.is_err() { return },
            () = sleep(stays_for.unwrap_or_default()), if stays_for.is_some() => core.time_is_up().await,
            () = sleep_until(note_at.unwrap_or_else(Instant::now)), if note_at.is_some() => {
                note_at = None;
                if let Some(live) = core.live() {
                    core.note(&live.kept).await;
                }
            }
        }
    }
}

/// Tells what became of messages.
pub(super) async fn tell(core: Arc<Core>, mut reported: UnboundedReceiver<Reported>) {
    while let Some(reported) = reported.recv().await {
        core.parts.listener.reported(core.id, reported).await;
    }
}

impl Core {
    fn lives(&self, life: u64) -> bool {
        self.life.load(Ordering::SeqCst) == life
    }

    async fn act(self: &Arc<Self>, todo: Todo) {
        match todo {
            Todo::Ended { life } if self.lives(life) => {
                self.end(false).await;
            }
            Todo::BeginAnew { life } if self.lives(life) => self.begin_anew().await,
            Todo::PairingFailed { life } if self.lives(life) => {
                self.end(false).await;
                self.set(Status::Unpaired { why: Unpaired::Failed });
            }
            Todo::RenewCode { life } if self.lives(life) => {
                let number = lock(&self.code_for).clone();
                if let Some(number) = number
                    && let Err(error) = self.ask_for_code(number).await
                {
                    let error: &dyn std::error::Error = &error;
                    tracing::debug!(connection = %self.id.connection, error, "a code to link a phone is not renewed");
                }
            }
            Todo::ReadRestrictions { life } if self.lives(life) => self.read_restrictions().await,
            _ => {}
        }
    }

    /// It has been like this for as long as it may.
    async fn time_is_up(self: &Arc<Self>) {
        if matches!(*self.status.borrow(), Status::Pairing { .. }) {
            self.end(false).await;
            self.set(Status::Unpaired { why: Unpaired::TimedOut });
        } else {
            self.begin_anew().await;
        }
    }

    async fn begin_anew(self: &Arc<Self>) {
        self.end(false).await;
        if let Err(error) = self.start(true).await {
            let why = if self.right.holds() { Away::NotKept } else { Away::TakenOver };
            let error: &dyn std::error::Error = &error;
            tracing::warn!(connection = %self.id.connection, error, "a WhatsApp session does not begin again");
            self.away(why);
        }
    }

    /// Asks WhatsApp what it restricts the number to. What it does not say stays as it was.
    async fn read_restrictions(&self) {
        let Some(live) = self.live() else { return };
        let (lock_until, cap) =
            tokio::join!(timeout(SAID_WITHIN, time_lock(&live.client)), timeout(SAID_WITHIN, new_chats(&live.client)));
        let mut sender = lock(&self.sender);
        if let Ok(Some(until)) = lock_until {
            sender.time_lock(until);
        }
        if let Ok(Some((reached, until))) = cap {
            sender.new_chat_cap(reached, until, self.now());
        }
    }
}

/// Until when the number is locked; none within when it is not.
async fn time_lock(client: &Client) -> Option<Option<Timestamp>> {
    let told = client.mex().fetch_reachout_timelock().await.ok()?;
    if told.is_active != Some(true) {
        return Some(None);
    }
    let ends = told.time_enforcement_ends.as_deref().and_then(|ends| ends.parse().ok());
    // Locked without an end that can be read: what was there before is better than nothing.
    Some(Some(Timestamp::from_second(ends?).ok()?))
}

/// Whether the new chats are used up, and until when.
async fn new_chats(client: &Client) -> Option<(bool, Option<Timestamp>)> {
    let asked = MexRequest::new(capping::NAME, capping::DOC_ID, capping::Variables::default());
    let answer = client.mex().query(asked).await.ok()?;
    let told: capping::Response = serde_json::from_value(answer.data?).ok()?;
    let told = told.xwa2_message_capping_info?;
    let until = told.cycle_end_timestamp.and_then(|ends| Timestamp::from_second(ends).ok());
    Some((told.capping_status.as_deref() == Some("CAPPED"), until))
}
