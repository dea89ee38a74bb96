//! The watch: a destination is compared with its own history, and restricted when its codes are not typed in.
//!
//! Codes that are typed in are the one thing that somebody who pumps does not have. So a destination whose
//! conversion falls far below what it was is slowed first, which costs honest people some waiting; if those that
//! still go out are not typed in either, it is blocked; after a while a few go out again, and it is released if
//! those are typed in. What is counted is approximate, and small numbers decide nothing: a share is only
//! believed as far as Wilson's interval allows.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::destination::Destination;
use crate::domain::Timestamp;
use crate::domain::id::{DestinationId, ServiceId, TenantId};
use crate::ports::{Entity, IndexKey, Owner};

use super::settings::GuardSettings;

/// Minutes that are looked at; older ones are history.
pub const WINDOW_MINUTES: i64 = 60;
/// Minutes after which somebody has typed in a code who is going to: younger starts tell nothing yet.
const MATURE_AFTER_MINUTES: i64 = 2;
/// Starts that a history needs before anything is compared with it.
const HISTORY_MIN: f64 = 50.0;
/// History counts half after so long: a week.
const HALF_LIFE: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How sure: 99 in 100, both sides. Source: the quantile of the normal distribution.
const Z: f64 = 2.576;
/// A destination is slowed for at least so long before it is blocked.
const SLOWED_AT_LEAST: SignedDuration = SignedDuration::from_mins(5);
/// One that is neither well nor collapsed any more after so long is released.
const SLOWED_AT_MOST: SignedDuration = SignedDuration::from_mins(30);
/// Starts at a slowed destination that are enough to decide.
const SLOWED_MIN: u64 = 10;
/// Starts of a probe that are enough to decide.
const PROBE_MIN: u64 = 10;
/// Nobody came for so long: there is nothing to keep away any more.
const PROBED_AT_MOST: SignedDuration = SignedDuration::from_hours(24);
/// Longest that a destination is blocked before it is probed again.
const BLOCKED_AT_MOST: SignedDuration = SignedDuration::from_hours(24);
/// Codes a minute that go out to a destination that is probed.
const PROBES_PER_MINUTE: u64 = 2;
/// A destination that nothing happened at is forgotten after so long: its history counts for nothing then.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(30 * 24);

/// How many codes went out, and how many of these were typed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Count {
    /// Went out.
    pub started: u64,
    /// Were typed in; never more.
    pub approved: u64,
}

impl Count {
    /// The share that was typed in.
    fn rate(self) -> f64 {
        share(as_float(self.approved), as_float(self.started))
    }

    /// The most that the share can honestly be: the upper end of Wilson's interval.
    ///
    /// Source: E. B. Wilson, "Probable Inference", JASA 22 (1927).
    fn rate_at_most(self) -> f64 {
        let n = as_float(self.started);
        if n < 1.0 {
            return 1.0;
        }
        let (p, z2) = (self.rate(), Z * Z);
        ((p + z2 / (2.0 * n) + Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt()) / (1.0 + z2 / n)).min(1.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of an hour are far below 2^52")]
fn as_float(count: u64) -> f64 {
    count as f64
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { (part / whole).clamp(0.0, 1.0) } else { 0.0 }
}

/// What was started in one minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minute {
    /// Minutes since 1970.
    #[serde(rename = "m")]
    pub minute: i64,
    /// Started in it.
    #[serde(rename = "s")]
    pub started: i64,
    /// Of these, approved whenever.
    #[serde(rename = "a")]
    pub approved: i64,
}

/// What is usual at a destination: older starts and approvals, each counting half after a week.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct History {
    /// Started.
    pub started: f64,
    /// Of these, approved.
    pub approved: f64,
    /// The minute that it was last added to, since 1970.
    pub minute: i64,
}

impl History {
    /// Whether it is enough to compare with.
    pub fn is_enough(&self) -> bool {
        self.started >= HISTORY_MIN
    }

    /// The usual share.
    pub fn rate(&self) -> f64 {
        share(self.approved, self.started)
    }

    /// Starts a minute, on average: what keeps a count that halves within a week at what it is.
    fn per_minute(&self) -> f64 {
        self.started * std::f64::consts::LN_2 * 60.0 / HALF_LIFE.as_secs_f64()
    }

    fn add(&mut self, minute: &Minute) {
        let later = minute.minute.saturating_sub(self.minute).clamp(0, 10_000_000);
        let halves = as_float(later.unsigned_abs()) * 60.0 / HALF_LIFE.as_secs_f64();
        let left = 0.5f64.powf(halves);
        #[expect(clippy::cast_precision_loss, reason = "counts of a minute are far below 2^52")]
        let (started, approved) = (minute.started as f64, minute.approved as f64);
        self.started = (self.started * left + started).max(0.0);
        self.approved = (self.approved * left + approved).clamp(0.0, self.started);
        self.minute = self.minute.max(minute.minute);
    }
}

/// Where a destination stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All goes out.
    Normal,
    /// Some goes out.
    Slowed,
    /// Nothing goes out.
    Blocked,
    /// A few go out, to see.
    Probing,
}

/// What changed at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: State,
    /// What it is.
    pub to: State,
}

/// A destination, as all nodes saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which service.
    pub service: ServiceId,
    /// Where to.
    pub destination: Destination,
    /// Its country: whose history is compared with where it has none of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Where it stands.
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Until when it is blocked, unless somebody releases it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How often in a row it was blocked.
    #[serde(default)]
    pub blocks: u32,
    /// The last hour, by minutes, the oldest first.
    #[serde(default)]
    pub recent: Vec<Minute>,
    /// What is usual.
    #[serde(default)]
    pub history: History,
    /// When it was last looked at.
    pub looked_at: Timestamp,
}

impl Entity for Watch {
    const KIND: &'static str = "guard_watch";

    fn id(&self) -> [u8; 16] {
        self.destination.id(self.service).to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    fn listed(&self) -> Vec<IndexKey> {
        match self.state {
            State::Normal => Vec::new(),
            _ => {
                let country = matches!(self.destination, Destination::Country(_)).then_some(Self::RESTRICTED_COUNTRY);
                let indexes = [Self::RESTRICTED].into_iter().chain(country);
                indexes.map(|index| IndexKey::new(index, self.service.to_bytes())).collect()
            }
        }
    }

    fn wake_at(&self) -> Option<Timestamp> {
        match (self.state, self.until) {
            (State::Normal, _) => self.looked_at.saturating_add(FORGOTTEN_AFTER).ok(),
            (State::Blocked, Some(until)) => Some(until),
            // What goes out is told, and looked at then; and once more when it is old enough to tell.
            (State::Probing, _) if self.is_mature() => self.since.saturating_add(PROBED_AT_MOST).ok(),
            _ => self.looked_at.saturating_add(SignedDuration::from_mins(1)).ok(),
        }
    }
}

fn minute_of(moment: Timestamp) -> i64 {
    moment.as_second().div_euclid(60)
}

impl Watch {
    /// The index that holds what is restricted, by the service.
    pub const RESTRICTED: &'static str = "restricted";
    /// The index that holds the countries of these: few, and none of them is to be missed among many prefixes.
    pub const RESTRICTED_COUNTRY: &'static str = "restricted_country";

    /// A destination that nothing is known of yet.
    pub fn new(
        tenant: TenantId,
        service: ServiceId,
        destination: Destination,
        country: Option<String>,
        now: Timestamp,
    ) -> Self {
        Self {
            tenant,
            service,
            destination,
            country,
            state: State::Normal,
            since: now,
            until: None,
            blocks: 0,
            recent: Vec::new(),
            history: History { minute: minute_of(now), ..History::default() },
            looked_at: now,
        }
    }

    /// Its id in the API.
    pub fn id(&self) -> DestinationId {
        self.destination.id(self.service)
    }

    /// Whether all that was seen up to the last look was old enough to tell.
    fn is_mature(&self) -> bool {
        self.recent.last().is_none_or(|last| last.minute <= minute_of(self.looked_at) - MATURE_AFTER_MINUTES)
    }

    /// Whether nothing happened here for so long that it can be forgotten.
    pub fn is_forgotten(&self, now: Timestamp) -> bool {
        self.state == State::Normal && now.duration_since(self.looked_at) >= FORGOTTEN_AFTER
    }

    /// Adds what was seen of one minute.
    pub fn add(&mut self, seen: Minute, now: Timestamp) {
        self.looked_at = self.looked_at.max(now);
        // A minute that has gone into history takes its late approvals along.
        if seen.minute <= minute_of(now) - WINDOW_MINUTES {
            if self.state == State::Normal {
                self.history.add(&seen);
            }
            return;
        }
        match self.recent.binary_search_by_key(&seen.minute, |known| known.minute) {
            Ok(place) => {
                let known = &mut self.recent[place];
                known.started += seen.started;
                known.approved += seen.approved;
            }
            Err(place) => self.recent.insert(place, seen),
        }
    }

    /// Takes out what `other` did in the last hour: it stands for itself now, and its country is not to suffer.
    pub fn take_out(&mut self, other: &[Minute]) {
        for taken in other {
            if let Ok(place) = self.recent.binary_search_by_key(&taken.minute, |known| known.minute) {
                let known = &mut self.recent[place];
                known.started -= taken.started;
                known.approved -= taken.approved;
            }
        }
    }

    /// Minutes that are over an hour old become history; those of a restricted destination do not, or what is
    /// usual would become what the attack made of it.
    pub fn age(&mut self, now: Timestamp) {
        let oldest = minute_of(now) - WINDOW_MINUTES;
        let over = self.recent.partition_point(|known| known.minute <= oldest);
        for minute in self.recent.drain(..over) {
            if self.state == State::Normal {
                self.history.add(&minute);
            }
        }
    }

    /// What went out from `since` on, as far as it is old enough to tell.
    pub fn counted(&self, since: i64, now: Timestamp) -> Count {
        let until = minute_of(now) - MATURE_AFTER_MINUTES;
        let inside = self.recent.iter().filter(|known| (since..=until).contains(&known.minute));
        let (started, approved) = inside
            .fold((0i64, 0i64), |(started, approved), known| (started + known.started, approved + known.approved));
        let started = u64::try_from(started).unwrap_or(0);
        Count { started, approved: u64::try_from(approved).unwrap_or(0).min(started) }
    }

    /// Decides, by what was seen up to now. `usual` is the history of its country and of its service, in the order
    /// in which they stand in where it has none of its own.
    pub fn decide(&mut self, settings: &GuardSettings, usual: &[History], now: Timestamp) -> Option<Transition> {
        self.age(now);
        if self.state != State::Normal {
            self.looked_at = self.looked_at.max(now);
        }
        let to = self.next(settings, usual, now)?;
        Some(self.turn(to, settings, now))
    }

    fn next(&self, settings: &GuardSettings, usual: &[History], now: Timestamp) -> Option<State> {
        let history = [self.history].into_iter().chain(usual.iter().copied()).find(History::is_enough);
        let kept = 1.0 - f64::from(settings.watch.drop_percent) / 100.0;
        // Nothing is usual: then nothing is unusual either.
        let floor = history.map_or(0.0, |history| history.rate() * kept);
        let all = self.counted(i64::MIN, now);
        let since = self.counted(minute_of(self.since), now);
        let lasts = now.duration_since(self.since);
        let enough = u64::from(settings.volume_min(self.country.as_deref()));
        let collapsed = |count: Count| count.rate_at_most() < floor;
        match self.state {
            State::Normal => (all.started >= enough && collapsed(all)).then_some(State::Slowed),
            State::Slowed if since.started >= SLOWED_MIN && since.rate() >= floor => Some(State::Normal),
            State::Slowed if lasts < SLOWED_AT_LEAST => None,
            State::Slowed if since.started >= SLOWED_MIN && collapsed(all) => Some(State::Blocked),
            State::Slowed if lasts >= SLOWED_AT_MOST => Some(State::Normal),
            State::Slowed => None,
            State::Blocked => self.until.is_none_or(|until| now >= until).then_some(State::Probing),
            State::Probing if since.started >= PROBE_MIN && since.rate() >= floor => Some(State::Normal),
            State::Probing if since.started >= PROBE_MIN => Some(State::Blocked),
            State::Probing => (lasts >= PROBED_AT_MOST).then_some(State::Normal),
        }
    }

    fn turn(&mut self, to: State, settings: &GuardSettings, now: Timestamp) -> Transition {
        let from = self.state;
        self.state = to;
        self.since = now;
        self.until = None;
        match to {
            State::Blocked => {
                let minutes = i64::from(settings.watch.block_minutes) << self.blocks.min(10);
                let lasts = SignedDuration::from_mins(minutes).min(BLOCKED_AT_MOST);
                self.until = now.saturating_add(lasts).ok();
                self.blocks = self.blocks.saturating_add(1);
            }
            State::Normal | State::Probing => {
                // What led here is neither usual nor evidence any more.
                self.recent.clear();
                if to == State::Normal {
                    self.blocks = 0;
                }
            }
            State::Slowed => {}
        }
        Transition { from, to }
    }

    /// Codes a minute that still go out: to a slowed destination as many as usual, so that what is cut off is what
    /// came on top, and never fewer than its tenant says.
    pub fn per_minute(&self, settings: &GuardSettings) -> u64 {
        match self.state {
            State::Normal => u64::MAX,
            State::Blocked => 0,
            State::Probing => PROBES_PER_MINUTE,
            State::Slowed => {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of codes")]
                let usual = self.history.per_minute().ceil() as u64;
                usual.max(settings.watch.slow_per_minute.into())
            }
        }
    }

    /// Lets all go out again, because somebody said so. None when all does already.
    pub fn release(&mut self, settings: &GuardSettings, now: Timestamp) -> Option<Transition> {
        (self.state != State::Normal).then(|| self.turn(State::Normal, settings, now))
    }
}

#[cfg(test)]
#[path = "watch_tests.rs"]
mod tests;
