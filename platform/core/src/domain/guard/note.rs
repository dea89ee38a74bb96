//! What the guard did with a verification or a message: kept with it, and shown in its timeline.

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;

/// From how many notes of one verification on one of a resend replaces what the same rule did before.
pub const NOTES_MAX: usize = 20;

macro_rules! rules {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// A rule of the guard that had something to say.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Rule {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Rule {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in the API.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

rules! {
    /// The address is on the list, to be let pass or to be blocked.
    AddressListed = "address_listed",
    /// The number begins like one on the list.
    PrefixListed = "prefix_listed",
    /// The end user's IP address is in a network on the list.
    NetworkListed = "network_listed",
    /// Only some countries are allowed, and this is not one of them.
    CountryNotAllowed = "country_not_allowed",
    /// The country is blocked.
    CountryBlocked = "country_blocked",
    /// The country is watched more closely.
    CountryWatched = "country_watched",
    /// Too many for this address.
    CapAddress = "cap_address",
    /// Too many for numbers that begin like this one.
    CapPrefix = "cap_prefix",
    /// Too many for this IP address of an end user.
    CapIp = "cap_ip",
    /// Too many for the service.
    CapService = "cap_service",
    /// Too many for the tenant.
    CapTenant = "cap_tenant",
    /// What is estimated to be spent in a day is used up.
    CapSpend = "cap_spend",
    /// Few codes for numbers that begin like this one are typed in any more: only some go out.
    PrefixSlowed = "prefix_slowed",
    /// Codes for numbers that begin like this one are not typed in: none go out.
    PrefixCollapsed = "prefix_collapsed",
    /// A few codes go out to such numbers, to see whether they are typed in again.
    PrefixProbed = "prefix_probed",
    /// As `prefix_slowed`, for the country.
    CountrySlowed = "country_slowed",
    /// As `prefix_collapsed`, for the country.
    CountryCollapsed = "country_collapsed",
    /// As `prefix_probed`, for the country.
    CountryProbed = "country_probed",
}

/// What a rule did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It stopped it.
    Blocked,
    /// It would have stopped it; the guard only reports.
    WouldBlock,
    /// It let it pass, whatever other rules say.
    Allowed,
    /// It let it pass, and says that it looked.
    Noted,
}

impl Effect {
    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::WouldBlock => "would_block",
            Self::Allowed => "allowed",
            Self::Noted => "noted",
        }
    }
}

/// At which step a rule spoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// When the verification was started, or the message was to be sent.
    Start,
    /// When its code was to be sent again.
    Resend,
}

/// What one rule did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardNote {
    /// When.
    pub at: Timestamp,
    /// At which step.
    pub step: Step,
    /// Which rule.
    pub rule: Rule,
    /// What it did.
    pub effect: Effect,
    /// From when on the same may be let pass; none where only a change of the rules helps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

impl GuardNote {
    /// Whether it stopped something, or would have.
    pub fn is_against(&self) -> bool {
        matches!(self.effect, Effect::Blocked | Effect::WouldBlock)
    }
}

/// What the guard decided on the start of a verification, or on a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it was stopped.
    pub blocked: bool,
    /// The first rule that stopped it, or would have.
    pub reason: Rule,
    /// From when on the same may be let pass.
    pub retry_at: Option<Timestamp>,
}

impl Verdict {
    /// The verdict that these notes hold; none when no rule was against it.
    pub fn of(notes: &[GuardNote]) -> Option<Self> {
        let against = notes.iter().find(|note| note.step == Step::Start && note.is_against())?;
        Some(Self { blocked: against.effect == Effect::Blocked, reason: against.rule, retry_at: against.retry_at })
    }
}

/// Adds what a rule did. A resend at which the same rule does the same again replaces what is known of it, so that
/// somebody who keeps asking does not make the record grow: at once where nothing came in between, else from
/// [`NOTES_MAX`] on. What a rule did for the first time is never left out.
pub fn add(notes: &mut Vec<GuardNote>, note: GuardNote) {
    let same = |known: &GuardNote| {
        known.step == Step::Resend && (known.step, known.rule, known.effect) == (note.step, note.rule, note.effect)
    };
    if notes.last().is_some_and(same) {
        notes.pop();
    } else if notes.len() >= NOTES_MAX
        && let Some(known) = notes.iter().rposition(same)
    {
        notes.remove(known);
    }
    notes.push(note);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(step: Step, rule: Rule, effect: Effect) -> GuardNote {
        GuardNote { at: Timestamp::UNIX_EPOCH, step, rule, effect, retry_at: None }
    }

    #[test]
    fn the_verdict_is_of_the_start_alone() {
        let resend = note(Step::Resend, Rule::CapAddress, Effect::Blocked);
        assert_eq!(Verdict::of(std::slice::from_ref(&resend)), None);
        let noted = note(Step::Start, Rule::CountryWatched, Effect::Noted);
        let start = note(Step::Start, Rule::CountryBlocked, Effect::WouldBlock);
        let verdict = Verdict::of(&[noted, start, resend]).unwrap();
        assert_eq!((verdict.blocked, verdict.reason), (false, Rule::CountryBlocked));
    }

    #[test]
    fn somebody_who_keeps_asking_does_not_make_the_notes_grow() {
        let mut notes = Vec::new();
        for _ in 0..100 {
            add(&mut notes, note(Step::Resend, Rule::CapAddress, Effect::Blocked));
        }
        assert_eq!(notes.len(), 1);
        for n in 0..100 {
            let rule = if n % 2 == 0 { Rule::CapIp } else { Rule::CapAddress };
            add(&mut notes, note(Step::Resend, rule, Effect::Blocked));
        }
        assert_eq!(notes.len(), NOTES_MAX);
        let (first, last) = (Rule::CapAddress, Rule::CapIp);
        assert_eq!((notes[0].rule, notes[1].rule), (first, last), "and what came first stays");
    }

    #[test]
    fn what_a_rule_did_is_never_left_out_for_what_others_did() {
        let mut notes: Vec<_> = Rule::ALL.iter().map(|rule| note(Step::Start, *rule, Effect::WouldBlock)).collect();
        for _ in 0..100 {
            for rule in Rule::ALL {
                for effect in [Effect::WouldBlock, Effect::Noted] {
                    add(&mut notes, note(Step::Resend, *rule, effect));
                }
            }
        }
        for rule in Rule::ALL {
            let did = |step, effect| {
                notes.iter().any(|known| (known.step, known.rule, known.effect) == (step, *rule, effect))
            };
            assert!(did(Step::Start, Effect::WouldBlock), "{rule:?}");
            assert!(did(Step::Resend, Effect::WouldBlock) && did(Step::Resend, Effect::Noted), "{rule:?}");
        }
        assert!(notes.len() <= NOTES_MAX + 3 * Rule::ALL.len(), "{}", notes.len());
    }

    #[test]
    fn the_name_of_a_rule_is_the_one_that_is_stored() {
        for rule in Rule::ALL {
            assert_eq!(serde_json::to_value(rule).unwrap(), rule.name());
        }
    }
}
