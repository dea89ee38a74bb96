//! What a session has counted of its number, and whom that has written with: what it must remember.

use std::collections::{HashMap, VecDeque};
use std::mem;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use wacore::store::error::StoreError;
use wotp_core::app::MemoryError;
use wotp_core::domain::Timestamp;
use wotp_core::ports::{Entropy, Reference};

use super::account::Account;
use crate::health::{Allowance, Health, Held, Recipient, Report, Told};
use crate::state::{State, failed};

/// Under which name the count is kept.
const COUNT: &str = "count";
/// How many are known without asking what was kept.
const MET_MAX: usize = 10_000;
/// How many messages wait to be written down.
const UNWRITTEN_MAX: usize = 1_000;

/// What is kept of it.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Note {
    /// The number that it counts for: another one that is linked later begins as new.
    number: Option<String>,
    /// Keeps the names of whom it has met from being guessed.
    salt: [u8; 16],
    health: Health,
}

/// The sender that a session is.
pub(super) struct Sender {
    note: Note,
    /// Whether it is known what was kept.
    read: bool,
    noted: bool,
    met: HashMap<[u8; 16], Account>,
    order: VecDeque<[u8; 16]>,
    /// Of those, whom it is not written down of yet.
    newly_met: Vec<(Met, Account)>,
    /// What was sent and is not written down yet.
    newly_sent: Vec<(String, Reference)>,
}

/// What is to be written down.
pub(super) struct Unwritten {
    count: Note,
    met: Vec<(Met, Account)>,
    sent: Vec<(String, Reference)>,
}

impl Sender {
    /// One of which nothing is known yet.
    pub(super) fn unknown(now: Timestamp) -> Self {
        Self::of(Note { number: None, salt: [0; 16], health: Health::new(now) }, false)
    }

    fn of(note: Note, read: bool) -> Self {
        let (met, order) = (HashMap::new(), VecDeque::new());
        Self { note, read, noted: true, met, order, newly_met: Vec::new(), newly_sent: Vec::new() }
    }

    /// Whether it is known what was kept. From then on it is known here first.
    pub(super) fn is_read(&self) -> bool {
        self.read
    }

    /// As it was kept, or a new one.
    pub(super) async fn read(state: &State, now: Timestamp, entropy: &dyn Entropy) -> Result<Self, MemoryError> {
        let read = state.read_note(COUNT).await?;
        // What cannot be read was written by a version to come, or by none: to count anew does less harm than to stand.
        if let Some(note) = read.and_then(|read| serde_json::from_slice(&read).ok()) {
            return Ok(Self::of(note, true));
        }
        let mut sender = Self::unknown(now);
        entropy.fill(&mut sender.note.salt);
        (sender.read, sender.noted) = (true, false);
        Ok(sender)
    }

    /// Has all that a session remembers forgotten but its count: how much a number has sent is known when it is linked again.
    pub(super) async fn forget_all_else(state: &State) -> Result<(), MemoryError> {
        state.forget_all_but(COUNT).await
    }

    /// What is to be written, if anything changed; it counts as written then.
    pub(super) fn unwritten(&mut self) -> Option<Unwritten> {
        let (met, sent) = (!self.newly_met.is_empty(), !self.newly_sent.is_empty());
        let changed = !mem::replace(&mut self.noted, true) || met || sent;
        changed.then(|| Unwritten {
            count: self.note.clone(),
            met: mem::take(&mut self.newly_met),
            sent: mem::take(&mut self.newly_sent),
        })
    }

    /// It was not written after all.
    pub(super) fn not_written(&mut self, unwritten: Unwritten) {
        self.noted = false;
        self.newly_met.extend(unwritten.met);
        self.newly_sent.extend(unwritten.sent);
        // What a store that is away for long would have to be told: the oldest is of the least use.
        let over = self.newly_sent.len().saturating_sub(UNWRITTEN_MAX);
        self.newly_sent.drain(..over);
    }

    /// A message went out.
    pub(super) fn sent(&mut self, id: String, reference: Reference) {
        self.newly_sent.push((id, reference));
    }

    fn change(&mut self) -> &mut Health {
        self.noted = false;
        &mut self.note.health
    }

    /// It is linked to this number, and logged in. One that was not there before begins as new, now.
    pub(super) fn is(&mut self, number: &str, now: Timestamp) {
        if self.note.number.as_deref() != Some(number) {
            self.note.health = Health::new(now);
            self.note.number = Some(number.to_owned());
            // Whom it has written with is another number's as well.
            (self.met, self.order, self.newly_met) = Default::default();
        }
        self.change().is_in();
    }

    /// Under which name it is kept that it has met a number.
    pub(super) fn name(&self, number: &str) -> Met {
        let hash = Sha256::new_with_prefix(self.note.salt).chain_update(number).finalize();
        let mut name = [0; 16];
        name.copy_from_slice(&hash[..16]);
        Met(name)
    }

    /// The account of somebody that it has written with.
    pub(super) fn account(&self, met: Met) -> Option<&Account> {
        self.met.get(&met.0)
    }

    /// It has written with them.
    pub(super) fn meet(&mut self, met: Met, account: &Account) {
        if self.know(met, account) {
            self.newly_met.push((met, account.clone()));
        }
    }

    /// It is written down that it has written with them. Whether that was not known.
    pub(super) fn know(&mut self, met: Met, account: &Account) -> bool {
        let before = self.met.insert(met.0, account.clone());
        if before.is_none() {
            self.order.push_back(met.0);
            if self.order.len() > MET_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.met.remove(&oldest);
            }
        }
        before.as_ref() != Some(account)
    }

    pub(super) fn admit(&mut self, allowance: &Allowance, to: Recipient, now: Timestamp) -> Result<(), Held> {
        self.note.health.may_send(allowance, to, now)?;
        self.change().admit(allowance, to, now)
    }

    pub(super) fn take_back(&mut self, to: Recipient, at: Timestamp) {
        self.change().take_back(to, at);
    }

    pub(super) fn health(&self) -> &Health {
        &self.note.health
    }

    pub(super) fn refused(&mut self, code: u16, now: Timestamp) {
        self.change().refused(code, now);
    }

    pub(super) fn banned(&mut self, until: Timestamp) {
        self.change().banned(until);
    }

    pub(super) fn linked_anew(&mut self) {
        self.change().linked_anew();
    }

    pub(super) fn time_lock(&mut self, told: Told, now: Timestamp) {
        self.change().time_lock(told, now);
    }

    pub(super) fn new_chat_cap(&mut self, told: Told, now: Timestamp) {
        self.change().new_chat_cap(told, now);
    }

    pub(super) fn report(&self, allowance: &Allowance, now: Timestamp) -> Report {
        self.note.health.report(allowance, now)
    }
}

impl Unwritten {
    /// What was sent, at about `now`, and then the rest of it together.
    pub(super) async fn write(&self, state: &State, now: Timestamp) -> Result<(), StoreError> {
        state.remember_sent(&self.sent, now.as_second()).await?;
        let count = serde_json::to_vec(&self.count).expect("a count is what JSON can hold");
        let names: Vec<String> = self.met.iter().map(|(met, _)| met.name()).collect();
        let met = names.iter().zip(&self.met).map(|(name, (_, account))| (name.as_str(), account.as_note()));
        state.write_notes(met.chain([(COUNT, count.as_slice())])).await.map_err(failed)
    }
}

/// Somebody that the session may have met, without their number.
#[derive(Clone, Copy)]
pub(super) struct Met([u8; 16]);

impl Met {
    /// Under which name it is kept.
    pub(super) fn name(self) -> String {
        self.0.iter().fold(String::from("met/"), |name, byte| name + &format!("{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use wotp_core::ports::Clock;
    use wotp_core::testing::ManualClock;

    use super::*;

    #[test]
    fn another_number_that_is_linked_begins_as_new_and_the_same_one_does_not() {
        let clock = ManualClock::at("2026-03-01T12:00:00Z");
        let (mut sender, allowance) = (Sender::unknown(clock.now()), Allowance::flat(10, 10, 10));
        sender.is("15550100", clock.now());
        sender.admit(&allowance, Recipient::Known, clock.now()).unwrap();
        sender.is("15550100", clock.now());
        assert_eq!(sender.report(&allowance, clock.now()).sent_today, 1);
        sender.is("15550101", clock.now());
        assert_eq!(sender.report(&allowance, clock.now()).sent_today, 0);
    }

    #[test]
    fn whom_it_met_is_kept_under_a_name_that_tells_no_number() {
        let now = ManualClock::at("2026-03-01T12:00:00Z").now();
        let (one, mut other) = (Sender::unknown(now), Sender::unknown(now));
        other.note.salt = [1; 16];
        let name = one.name("447700900123").name();
        assert!(name.starts_with("met/") && name.len() == 36, "{name}");
        assert_ne!(name, other.name("447700900123").name(), "another session's name is another");
        let account = Account::of("5531988881234", "553188881234");
        other.meet(other.name("5531988881234"), &account);
        assert_eq!(other.account(other.name("5531988881234")), Some(&account));
        assert_eq!(other.account(other.name("447700900124")), None);
    }

    #[test]
    fn what_changed_is_written_once() {
        let now = ManualClock::at("2026-03-01T12:00:00Z").now();
        let mut sender = Sender::unknown(now);
        assert!(sender.unwritten().is_none());
        sender.refused(463, now);
        assert!(sender.unwritten().is_some() && sender.unwritten().is_none());
        let account = Account::of("447700900123", "447700900123");
        for _ in 0..2 {
            sender.meet(sender.name("447700900123"), &account);
        }
        let unwritten = sender.unwritten().unwrap();
        assert_eq!(unwritten.met.len(), 1);
        sender.not_written(unwritten);
        assert_eq!(sender.unwritten().unwrap().met.len(), 1);
        sender.know(sender.name("447700900124"), &account);
        assert!(sender.unwritten().is_none());
    }
}
