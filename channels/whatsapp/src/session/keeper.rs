//! What a session does by itself: it begins anew, ends, reads what WhatsApp restricts it to, and tells.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::SignedDuration;
use serde_json::json;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use wacore::iq::mex_operations::fetch_new_chat_message_capping_info as capping;
use whatsapp_rust::{Client, MexRequest};
use wotp_core::domain::Timestamp;

use super::todos::Todo;
use super::{Core, lock};
use crate::health::Told;
use crate::listen::Reported;
use crate::sent::Answer;
use crate::state::State;
use crate::status::{Away, Status, Unpaired};

/// What is counted is written down so long after it changed at the latest.
const NOTED_WITHIN: Duration = Duration::from_secs(5);
/// How often what was sent long ago is forgotten.
const FORGETS_EVERY: Duration = Duration::from_secs(3_600);
/// So long it is known what was sent: receipts that come later are of no use.
const SENT_KNOWN: SignedDuration = SignedDuration::from_hours(48);
/// Longest that a connection is left alone over which something comes that is not taken.
const AGAIN_MAX: Duration = Duration::from_secs(900);
/// How long WhatsApp may take to say what it restricts.
const SAID_WITHIN: Duration = Duration::from_secs(10);

/// Does what is to be done, in order, for as long as the session is there.
pub(super) async fn keep(core: Arc<Core>) {
    let mut status = core.status.subscribe();
    let mut version = core.parts.version.watch();
    let mut note_at: Option<Instant> = None;
    let mut forget_at = Instant::now();
    let mut again = Again::default();
    loop {
        let stays_for = status.borrow_and_update().stays_for(&core.parts.settings.patience, core.now());
        tokio::select! {
            todo = core.todos.next() => match todo {
                Todo::Note => {
                    note_at.get_or_insert_with(|| Instant::now() + NOTED_WITHIN);
                }
                Todo::AskAgain { life } => again.is_wanted(life, core.parts.settings.patience.ask_again),
                todo => core.act(todo).await,
            },
            changed = status.changed() => if changed.is_err() { return },
            changed = version.changed() => if changed.is_err() { return },
            () = ready(()), if core.has_newer_version() => core.begin_anew().await,
            () = sleep(stays_for.unwrap_or_default()), if stays_for.is_some() => core.time_is_up().await,
            () = sleep_until(note_at.unwrap_or_else(Instant::now)), if note_at.is_some() => {
                note_at = None;
                if let Some(live) = core.live() {
                    core.note(&live.state).await;
                    if forget_at <= Instant::now() {
                        forget_at = Instant::now() + FORGETS_EVERY;
                        core.forget_sent(&live.state).await;
                    }
                }
            }
            () = sleep_until(again.at()), if again.is_due() => {
                let life = again.is_done();
                if let Some(live) = core.live().filter(|_| core.lives(life)) {
                    live.dialer.cut().await;
                }
            }
        }
    }
}

/// When WhatsApp is to say again what was not taken: it does after the next login.
#[derive(Default)]
struct Again {
    due: Option<(Instant, u64)>,
    /// How long it was waited the last time, and when that was over.
    last: Option<(Duration, Instant)>,
}

impl Again {
    /// Longer from time to time, as long as that goes on.
    fn is_wanted(&mut self, life: u64, first: Duration) {
        if self.due.is_some_and(|(_, of)| of == life) {
            return;
        }
        let wait = match self.last {
            Some((wait, at)) if at.elapsed() < AGAIN_MAX => (wait * 2).min(AGAIN_MAX),
            _ => first,
        };
        let at = Instant::now() + wait;
        (self.due, self.last) = (Some((at, life)), Some((wait, at)));
    }

    fn is_due(&self) -> bool {
        self.due.is_some()
    }

    fn at(&self) -> Instant {
        self.due.map_or_else(Instant::now, |(at, _)| at)
    }

    /// Whose it was.
    fn is_done(&mut self) -> u64 {
        self.due.take().map_or(0, |(_, life)| life)
    }
}

/// Tells what became of messages.
pub(super) async fn tell(core: Arc<Core>, mut reported: Receiver<Reported>) {
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
            Todo::NotKept { life } if self.lives(life) => {
                tracing::error!(connection = %self.id.connection, "what a WhatsApp session has to keep is not kept; it begins anew");
                self.end(false).await;
                self.away(Away::NotKept);
            }
            Todo::PairingFailed { life } if self.lives(life) => {
                self.stop_pairing(Unpaired::Failed).await;
            }
            Todo::ReadRestrictions { life } if self.lives(life) => self.read_restrictions().await,
            Todo::LookUp { id, answer } => self.look_up(&id, answer).await,
            _ => {}
        }
    }

    /// Something was heard of a message that another process may have sent.
    async fn look_up(&self, id: &str, answer: Answer) {
        let Some(live) = self.live() else { return };
        match live.state.find_sent(id).await {
            Ok(Some(reference)) => {
                self.sent.was_sent(id, reference);
                self.sent.heard(id, answer);
            }
            Ok(None) => {}
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(connection = %self.id.connection, error, "what became of a WhatsApp message is lost");
            }
        }
    }

    async fn forget_sent(&self, state: &State) {
        let before = self.now().saturating_sub(SENT_KNOWN).unwrap_or(Timestamp::MIN);
        if let Err(error) = state.forget_sent(before.as_second()).await {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(connection = %self.id.connection, error, "what was sent long ago is not forgotten yet");
        }
    }

    /// It has been like this for as long as it may.
    async fn time_is_up(self: &Arc<Self>) {
        let status = self.status.borrow().clone();
        match status {
            // Meanwhile somebody has asked for it again.
            Status::Pairing { ends_at, .. } if ends_at > self.now() => {}
            // On the phone a code was typed: it and the client are about to link each other.
            Status::Pairing { .. } if self.codes.is_typed(self.life.load(Ordering::SeqCst)) => self.pair_for_longer(),
            Status::Pairing { .. } => self.stop_pairing(Unpaired::TimedOut).await,
            _ => self.begin_anew().await,
        }
    }

    /// Until somebody asks again. Who asks while it ends has it begin once it has ended; and a phone that was linked in the
    /// last moment is.
    async fn stop_pairing(self: &Arc<Self>, why: Unpaired) {
        self.asked.store(false, Ordering::SeqCst);
        let linked = {
            let mut running = self.turn.lock().await;
            if matches!(*self.status.borrow(), Status::Pairing { ends_at, .. } if why == Unpaired::TimedOut && ends_at > self.now())
            {
                self.asked.store(true, Ordering::SeqCst);
                return;
            }
            let client = self.live().map(|live| live.client);
            self.end_in_turn(&mut running, false).await;
            let linked = client.is_some_and(|client| client.pn().is_some());
            if !linked {
                self.set(Status::Unpaired { why });
            }
            linked
        };
        if linked || self.asked.load(Ordering::SeqCst) {
            self.go_on().await;
        }
    }

    async fn begin_anew(self: &Arc<Self>) {
        self.end(false).await;
        self.go_on().await;
    }

    async fn go_on(self: &Arc<Self>) {
        if let Err(error) = self.start().await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(connection = %self.id.connection, error, "a WhatsApp session does not begin again");
        }
    }

    /// Asks WhatsApp what it restricts the number to. What it does not say stays as it was.
    async fn read_restrictions(&self) {
        let Some(live) = self.live() else { return };
        let (time_lock, cap) =
            tokio::join!(timeout(SAID_WITHIN, time_lock(&live.client)), timeout(SAID_WITHIN, new_chats(&live.client)));
        let mut sender = lock(&self.sender);
        if let Ok(Some(told)) = time_lock {
            sender.time_lock(told, self.now());
        }
        if let Ok(Some(told)) = cap {
            sender.new_chat_cap(told, self.now());
        }
        drop(sender);
        self.fares_otherwise();
    }
}

/// Whether the number is locked out of writing to strangers; none where WhatsApp does not say.
async fn time_lock(client: &Client) -> Option<Told> {
    let told = client.mex().fetch_reachout_timelock().await.ok()?;
    if told.is_active != Some(true) {
        return Some(Told::None);
    }
    let ends = told.time_enforcement_ends.as_deref().and_then(|ends| ends.parse().ok());
    Some(until(ends))
}

/// Whether the new chats are used up; none where WhatsApp does not say.
async fn new_chats(client: &Client) -> Option<Told> {
    // Of which cap it is to tell: as the client of WhatsApp itself asks.
    let of_chats = json!({ "input": { "type": "INDIVIDUAL_NEW_CHAT_MSG" } });
    let asked = MexRequest::new(capping::NAME, capping::DOC_ID, of_chats);
    let answer = client.mex().query(asked).await.ok()?;
    let told: capping::Response = serde_json::from_value(answer.data?).ok()?;
    let told = told.xwa2_message_capping_info?;
    let reached = told.capping_status.as_deref() == Some("CAPPED");
    Some(if reached { until(told.cycle_end_timestamp) } else { Told::None })
}

/// An end as WhatsApp says it, in seconds since 1970.
fn until(ends: Option<i64>) -> Told {
    ends.and_then(|ends| Timestamp::from_second(ends).ok()).map_or(Told::InForce, Told::Until)
}
