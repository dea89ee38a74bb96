//! How a sender fares with WhatsApp, and how much it may send: pure, with the time as a parameter.
//!
//! WhatsApp publishes no limits for accounts like these. What is known is told by those who were banned: 15 to 20
//! strangers a day did it for new numbers, and messages to people who never wrote are what is punished. So what is
//! counted is above all how many strangers a number writes to, and a number that is new may write to few of them.

mod allowance;
mod window;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use wotp_core::domain::Timestamp;

pub use allowance::{Allowance, Step, WAIT_MAX};
use window::Window;

/// To whom a message goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recipient {
    /// The number has never written with them.
    Stranger,
    /// It has: either of them has had a message of the other.
    Known,
}

/// Why a sender may not send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// WhatsApp has locked the number out of writing to strangers (463).
    TimeLocked,
    /// WhatsApp has counted enough new chats for now (475).
    NewChatsUsedUp,
    /// WhatsApp said that it was too much (429).
    TooMuch,
    /// WhatsApp has banned the number for a while.
    Banned,
    /// What such a number may send in an hour, by our own measure, is sent.
    HourIsFull,
    /// What it may send in a day is.
    DayIsFull,
    /// What it may send to strangers in a day is.
    StrangersOfDay,
    /// Too large a part of what it sends goes to strangers.
    ShareOfStrangers,
}

impl Reason {
    /// As it is said to operators and in lists.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TimeLocked => "time_locked",
            Self::NewChatsUsedUp => "new_chats_used_up",
            Self::TooMuch => "too_much",
            Self::Banned => "banned",
            Self::HourIsFull => "hour_is_full",
            Self::DayIsFull => "day_is_full",
            Self::StrangersOfDay => "strangers_of_day",
            Self::ShareOfStrangers => "share_of_strangers",
        }
    }
}

/// Not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Why.
    pub reason: Reason,
    /// When it may be otherwise.
    pub until: Timestamp,
}

/// How a sender is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// It sends to anybody.
    Well,
    /// It sends to those it knows.
    Limited,
    /// It sends to nobody.
    Held,
}

/// How a sender is, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// In one word.
    pub grade: Grade,
    /// What holds it back, until when: nothing when it is well.
    pub reasons: Vec<Held>,
    /// How many messages it has left today.
    pub left_today: u32,
    /// How many of them to strangers.
    pub strangers_left_today: u32,
    /// What was sent in the last 24 hours.
    pub sent_today: u32,
}

/// How long a 429 holds a sender back.
const TOO_MUCH: SignedDuration = SignedDuration::from_mins(1);
/// How long a lock or a cap is believed in that WhatsApp names no end of: then a stranger shows whether it is still there.
const UNTOLD: SignedDuration = SignedDuration::from_hours(6);
/// How long strangers are spared after a refusal of which WhatsApp says, when it is asked, that there is no such thing.
const DENIED: SignedDuration = SignedDuration::from_mins(15);
/// Share of strangers is looked at only from so many messages a day on: of a few, all may be strangers.
const SHARE_FROM: u32 = 50;
/// After so long without a message the next one goes at once.
const QUIET: SignedDuration = SignedDuration::from_secs(10);

/// What WhatsApp says of a restriction when it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// There is none.
    None,
    /// It is in force, and no end of it is named.
    InForce,
    /// It is in force until then.
    Until(Timestamp),
}

/// A restriction of what may be sent to strangers, as it was told and as it was met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Restriction {
    told_until: Option<Timestamp>,
    /// When a message was refused because of it.
    met_at: Option<Timestamp>,
    /// Whether WhatsApp has said since that there is none.
    denied: bool,
}

impl Restriction {
    fn met(&mut self, now: Timestamp) {
        (self.met_at, self.denied) = (Some(now), false);
    }

    fn told(&mut self, told: Told, now: Timestamp) {
        match told {
            // What was refused a moment ago was so all the same.
            Told::None => (self.told_until, self.denied) = (None, true),
            Told::Until(until) if now < until => *self = Self { told_until: Some(until), ..Self::default() },
            Told::Until(_) | Told::InForce => *self = Self { met_at: Some(now), ..Self::default() },
        }
    }

    /// Until when it is believed in.
    fn until(&self, now: Timestamp) -> Option<Timestamp> {
        let met = lasting(self.met_at, if self.denied { DENIED } else { UNTOLD }, now);
        self.told_until.max(met)
    }
}

/// When something ends that began at a moment; none where that is yet to come, because the clock was ahead then.
fn lasting(began: Option<Timestamp>, lasts: SignedDuration, now: Timestamp) -> Option<Timestamp> {
    began.filter(|began| *began <= now).map(|began| began.saturating_add(lasts).unwrap_or(Timestamp::MAX))
}

/// How long one message has waited by chance, by all the numbers that tried it.
#[derive(Debug, Default)]
pub struct Waited(SignedDuration);

impl Waited {
    /// How much longer it waits for a number by which it is to wait so long in all.
    pub fn waits(&mut self, jitter: SignedDuration) -> SignedDuration {
        let more = (jitter - self.0).max(SignedDuration::ZERO);
        self.0 += more;
        more
    }
}

/// How one sender fares. What it has counted outlives the process: see `Serialize`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Since when the number sends through us.
    since: Timestamp,
    sent: Window,
    strangers: Window,
    last_at: Option<Timestamp>,
    time_lock: Restriction,
    new_chat_cap: Restriction,
    too_much_at: Option<Timestamp>,
    banned_until: Option<Timestamp>,
}

impl Health {
    /// A number that begins at `since`.
    pub fn new(since: Timestamp) -> Self {
        Self {
            since,
            sent: Window::default(),
            strangers: Window::default(),
            last_at: None,
            time_lock: Restriction::default(),
            new_chat_cap: Restriction::default(),
            too_much_at: None,
            banned_until: None,
        }
    }

    /// Counts a message that is about to go out, or says why it may not.
    ///
    /// # Errors
    /// [`Held`].
    pub fn admit(&mut self, allowance: &Allowance, to: Recipient, now: Timestamp) -> Result<(), Held> {
        self.may_send(allowance, to, now)?;
        self.sent.count(now);
        if to == Recipient::Stranger {
            self.strangers.count(now);
        }
        self.last_at = Some(now);
        Ok(())
    }

    /// Takes back one that was counted at `at` and did not go out.
    pub fn take_back(&mut self, to: Recipient, at: Timestamp) {
        self.sent.uncount(at);
        if to == Recipient::Stranger {
            self.strangers.uncount(at);
        }
    }

    /// Whether a message may go out now.
    ///
    /// # Errors
    /// [`Held`]: what holds it longest.
    pub fn may_send(&self, allowance: &Allowance, to: Recipient, now: Timestamp) -> Result<(), Held> {
        let for_all = self.holds_all(allowance, now);
        let for_strangers = match to {
            Recipient::Stranger => self.holds_strangers(allowance, now),
            Recipient::Known => Vec::new(),
        };
        match for_all.into_iter().chain(for_strangers).max_by_key(|held| held.until) {
            Some(held) => Err(held),
            None => Ok(()),
        }
    }

    fn holds_all(&self, allowance: &Allowance, now: Timestamp) -> Vec<Held> {
        let step = allowance.at(self.age(now));
        let too_much = lasting(self.too_much_at, TOO_MUCH, now);
        let told = [(Reason::Banned, self.banned_until), (Reason::TooMuch, too_much)];
        let mut holds: Vec<Held> = in_force(told, now).collect();
        if self.sent.in_hour(now) >= step.per_hour {
            holds.push(Held { reason: Reason::HourIsFull, until: self.sent.hour_frees(now) });
        }
        if self.sent.in_day(now) >= step.per_day {
            holds.push(Held { reason: Reason::DayIsFull, until: self.sent.day_frees(now) });
        }
        holds
    }

    fn holds_strangers(&self, allowance: &Allowance, now: Timestamp) -> Vec<Held> {
        let step = allowance.at(self.age(now));
        let told =
            [(Reason::TimeLocked, self.time_lock.until(now)), (Reason::NewChatsUsedUp, self.new_chat_cap.until(now))];
        let mut holds: Vec<Held> = in_force(told, now).collect();
        let (sent, strangers) = (self.sent.in_day(now), self.strangers.in_day(now));
        if strangers >= step.strangers_per_day {
            holds.push(Held { reason: Reason::StrangersOfDay, until: self.strangers.day_frees(now) });
        }
        // As if this one were sent.
        let share = u64::from(strangers + 1) * 100 > u64::from(sent + 1) * u64::from(allowance.strangers_percent_max);
        if sent >= SHARE_FROM && share {
            holds.push(Held { reason: Reason::ShareOfStrangers, until: self.strangers.day_frees(now) });
        }
        holds
    }

    fn age(&self, now: Timestamp) -> SignedDuration {
        now.duration_since(self.since)
    }

    /// How long a message waits before it goes: not at all after a pause, else by chance (`dice`) up to
    /// [`Allowance::wait_max`]; those to people it knows a quarter of that.
    pub fn jitter(&self, allowance: &Allowance, to: Recipient, now: Timestamp, dice: u16) -> SignedDuration {
        if self.last_at.is_none_or(|last| now.duration_since(last) >= QUIET) {
            return SignedDuration::ZERO;
        }
        let most = match to {
            Recipient::Stranger => allowance.wait_max.as_millis(),
            Recipient::Known => allowance.wait_max.as_millis() / 4,
        };
        let millis = most * i128::from(dice) / i128::from(u16::MAX);
        SignedDuration::from_millis(i64::try_from(millis).unwrap_or(0))
    }

    /// The server refused a message with this code.
    pub fn refused(&mut self, code: u16, now: Timestamp) {
        match code {
            463 => self.time_lock.met(now),
            475 => self.new_chat_cap.met(now),
            429 => self.too_much_at = Some(now),
            _ => {}
        }
    }

    /// What WhatsApp says of its time-lock.
    pub fn time_lock(&mut self, told: Told, now: Timestamp) {
        self.time_lock.told(told, now);
    }

    /// What WhatsApp says of its cap on new chats, which is in force once it is reached.
    pub fn new_chat_cap(&mut self, told: Told, now: Timestamp) {
        self.new_chat_cap.told(told, now);
    }

    /// WhatsApp has banned the number until then.
    pub fn banned(&mut self, until: Timestamp) {
        self.banned_until = Some(until);
    }

    /// WhatsApp let the number in: it is not banned.
    pub fn is_in(&mut self) {
        self.banned_until = None;
    }

    /// The number is linked anew, maybe another one: what WhatsApp held against it is asked again; how much was sent stays.
    pub fn linked_anew(&mut self) {
        (self.time_lock, self.new_chat_cap) = (Restriction::default(), Restriction::default());
        (self.too_much_at, self.banned_until) = (None, None);
    }

    /// How it is, and why.
    pub fn report(&self, allowance: &Allowance, now: Timestamp) -> Report {
        let step = allowance.at(self.age(now));
        let (all, strangers) = (self.holds_all(allowance, now), self.holds_strangers(allowance, now));
        let grade = match (all.is_empty(), strangers.is_empty()) {
            (true, true) => Grade::Well,
            (true, false) => Grade::Limited,
            (false, _) => Grade::Held,
        };
        let left_today = step.per_day.saturating_sub(self.sent.in_day(now));
        let strangers_left = step.strangers_per_day.saturating_sub(self.strangers.in_day(now));
        Report {
            grade,
            left_today,
            strangers_left_today: if strangers.is_empty() { strangers_left.min(left_today) } else { 0 },
            sent_today: self.sent.in_day(now),
            reasons: all.into_iter().chain(strangers).collect(),
        }
    }
}

fn in_force(told: [(Reason, Option<Timestamp>); 2], now: Timestamp) -> impl Iterator<Item = Held> {
    told.into_iter()
        .filter_map(move |(reason, until)| until.filter(|until| now < *until).map(|until| Held { reason, until }))
}

#[cfg(test)]
mod tests;
