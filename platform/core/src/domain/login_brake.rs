//! Brakes on guessing passwords, such that nobody can lock out somebody else from where they signed in before.
//!
//! Wrong passwords are counted where they come from: for an account at one IP address (IPv6: one /64), and
//! for the account from everywhere. After a few, the next guess has to wait, longer each time. Whoever once
//! signed in from a browser has a device token; guesses that come with one are counted for that device
//! alone, and wait for nobody else's. So the owner of an account that is under attack from everywhere signs
//! in as ever from where they did before, and from anywhere after a password reset. What an attack can still do to
//! somebody on a new device is in docs/sign-in.md, under Guessing.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::vault::AddressIndex;
use crate::ports::{Entity, Owner};

/// When a count is forgotten after its last wrong password.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_hours(24);
/// Longest wait.
const WAIT_MAX_SECONDS: i64 = 3600;

/// Where wrong passwords are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// At one address, or on one device.
    Here,
    /// From everywhere.
    Everywhere,
}

impl Place {
    /// Wrong passwords before the first wait. From everywhere: half of the 100 that NIST SP 800-63B-4 allows.
    fn free(self) -> u32 {
        match self {
            Self::Here => 5,
            Self::Everywhere => 50,
        }
    }

    /// Further ones until the wait doubles.
    fn step(self) -> u32 {
        match self {
            Self::Here => 1,
            Self::Everywhere => 10,
        }
    }
}

/// A count of wrong passwords.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginBrake {
    /// A keyed hash of the account and the place, as hexadecimal digits.
    pub name: String,
    /// Where it counts.
    pub place: Place,
    /// Guesses that were not right.
    pub failures: u32,
    /// The last of them.
    pub failed_at: Timestamp,
    /// Whose passwords are guessed, where guesses from everywhere are counted; kept for addresses without an
    /// account as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<AddressIndex>,
    /// When it was last told that guesses have to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
}

impl Entity for LoginBrake {
    const KIND: &'static str = "login_brake";

    fn id(&self) -> [u8; 16] {
        u128::from_str_radix(&self.name, 16).unwrap_or(0).to_be_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn wake_at(&self) -> Option<Timestamp> {
        if self.is_to_be_told() { Some(self.failed_at) } else { self.failed_at.saturating_add(FORGOTTEN_AFTER).ok() }
    }
}

impl LoginBrake {
    /// A new count of nothing.
    pub fn new(id: [u8; 16], place: Place, now: Timestamp) -> Self {
        Self {
            name: format!("{:032x}", u128::from_be_bytes(id)),
            place,
            failures: 0,
            failed_at: now,
            account: None,
            told_at: None,
        }
    }

    /// From when on a guess is taken: 30 seconds after the last wrong one, then 60, 120 … up to an hour.
    pub fn opens_at(&self) -> Timestamp {
        let Some(over) = self.failures.checked_sub(self.place.free()) else { return Timestamp::UNIX_EPOCH };
        let wait = (30i64 << (over / self.place.step()).min(7)).min(WAIT_MAX_SECONDS);
        self.failed_at.saturating_add(SignedDuration::from_secs(wait)).unwrap_or(Timestamp::MAX)
    }

    /// Whether it is to be told that an account is guessed at from everywhere: once a day at most, so that nobody
    /// who guesses fills a log with it. Not when a guess is answered, which would take longer where there is an
    /// account.
    pub fn is_to_be_told(&self) -> bool {
        let told = self.told_at.is_some_and(|told_at| self.failed_at.duration_since(told_at) < FORGOTTEN_AFTER);
        self.account.is_some() && self.failures >= self.place.free() && !told
    }

    /// Whether a guess is taken while so many others are under way, each of which may be wrong: of guesses at the
    /// same moment none is free.
    ///
    /// # Errors
    /// When it comes too early: the moment from which on it is taken.
    pub fn admit(&self, under_way: u32, now: Timestamp) -> Result<(), Timestamp> {
        let mut ahead = self.clone();
        for _ in 0..under_way {
            ahead.add(now);
        }
        let opens_at = if ahead.is_over(now) { Timestamp::UNIX_EPOCH } else { ahead.opens_at() };
        if now < opens_at { Err(opens_at) } else { Ok(()) }
    }

    /// Counts a guess as a wrong one, before it is looked at.
    ///
    /// # Errors
    /// As [`admit`](Self::admit); then it is not counted.
    pub fn count(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        self.admit(0, now)?;
        self.add(now);
        Ok(())
    }

    /// Counts a guess that was wrong.
    pub fn add(&mut self, now: Timestamp) {
        if self.is_over(now) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        // Clocks of nodes are seconds apart.
        self.failed_at = self.failed_at.max(now);
    }

    fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.failed_at) >= FORGOTTEN_AFTER
    }

    /// Takes back a guess that was right.
    pub fn take_back(&mut self) {
        self.failures = self.failures.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::{noon, seconds};

    fn waits(place: Place, guesses: u32) -> Vec<i64> {
        let mut brake = LoginBrake::new([1; 16], place, noon());
        let mut now = noon();
        let mut waits = Vec::new();
        for _ in 0..guesses {
            if let Err(at) = brake.count(now) {
                waits.push(at.duration_since(now).as_secs());
                now = at;
                brake.count(now).unwrap();
            }
        }
        waits
    }

    #[test]
    fn waits_grow_from_half_a_minute_to_an_hour() {
        assert_eq!(waits(Place::Here, 14), [30, 60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert!(waits(Place::Everywhere, 50).is_empty());
        assert_eq!(waits(Place::Everywhere, 61), [[30; 10].as_slice(), &[60]].concat());
    }

    #[test]
    fn guesses_under_way_count_as_wrong_ones() {
        let brake = LoginBrake { failures: 2, ..LoginBrake::new([1; 16], Place::Here, noon()) };
        assert_eq!(brake.admit(2, noon()), Ok(()));
        assert_eq!(brake.admit(3, seconds(10)), Err(seconds(40)), "the fifth waits for the fourth, which is now");
        assert_eq!(brake.admit(3, seconds(86_400)), Ok(()), "what was counted is forgotten");
        assert_eq!(brake.admit(5, seconds(86_400)), Err(seconds(86_430)));
        assert_eq!(brake.failures, 2);
    }

    #[test]
    fn a_day_after_the_last_wrong_one_all_is_forgotten() {
        let mut brake = LoginBrake { failures: 40, ..LoginBrake::new([1; 16], Place::Here, noon()) };
        assert!(brake.count(seconds(3599)).is_err());
        brake.count(seconds(86_400)).unwrap();
        assert_eq!(brake.failures, 1);
    }
}
