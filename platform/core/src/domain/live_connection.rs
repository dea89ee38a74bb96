//! Live connections: accounts that some node keeps logged in, as a linked WhatsApp number.
//!
//! What is wanted of one is the same for all nodes ([`LiveConnection`]); where it stands is said by the one that keeps it
//! ([`Standing`]).

mod held;

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{ConnectionId, TenantId};
use super::vault::{Sealed, StateName};
use crate::ports::{Entity, EntityList, IndexKey, Owner};

const WANTED: &str = "wanted";
/// How long a connection that is to be gone waits for a node to log it out.
const LEFT_WITHIN: SignedDuration = SignedDuration::from_hours(24);
/// Least time between two codes to link a phone that WhatsApp is asked for: it refuses numbers for which many are.
const CODES_APART: SignedDuration = SignedDuration::from_secs(30);
/// Least time between two logins that somebody asks for. A number that is banned, or whose keys somebody else logs in with,
/// does not come to harm by whoever asks each second until it is connected.
const CONNECTS_APART: SignedDuration = SignedDuration::from_secs(10);
/// A ban that ends sooner ends while a code lives.
const BANNED_SHORTLY: SignedDuration = SignedDuration::from_mins(10);

/// A tenant's account that a node keeps logged in, and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveConnection {
    /// Its id.
    pub id: ConnectionId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The channel.
    pub channel: String,
    /// What the tenant calls it.
    pub name: String,
    /// What is wanted of it.
    pub wish: Wish,
    /// What is answered to people who write to it, and not to confirm themselves; nothing where it is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auto_reply: Option<String>,
    /// When somebody of the tenant accepted that such an account may be banned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_accepted_at: Option<Timestamp>,
    /// When somebody last asked for a code to link a phone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_asked_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When somebody last changed it.
    pub updated_at: Timestamp,
}

/// What is wanted of a live connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wish {
    /// Nothing: it stays as it is.
    Rest,
    /// To be logged in.
    Connect(Connect),
    /// To be logged out for good, and to be gone then.
    Leave,
}

/// How a connection is to log in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connect {
    /// When somebody last asked for it: from then on, for some minutes, it shows what links a phone if none is linked.
    pub asked_at: Timestamp,
    /// The number of the phone that is to be linked by a code to be typed, sealed for the connection; none for a QR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_for: Option<Sealed>,
}

impl LiveConnection {
    /// Those of all tenants of which something is wanted.
    pub fn all_wanted() -> EntityList {
        EntityList::by(WANTED, [1_u8])
    }

    /// Whether it is to be logged in.
    pub fn connects(&self) -> bool {
        matches!(self.wish, Wish::Connect(_))
    }

    /// Whether somebody has only just asked for it to log in, without a code.
    pub fn has_just_been_asked_for(&self, now: Timestamp) -> bool {
        let Wish::Connect(Connect { asked_at, code_for: None }) = &self.wish else { return false };
        // Nodes do not have quite the same time.
        now.duration_since(*asked_at).abs() < CONNECTS_APART
    }

    /// From when on another code to link a phone may be asked for; none where none was yet.
    pub fn next_code_at(&self) -> Option<Timestamp> {
        self.code_asked_at.map(|asked_at| asked_at.saturating_add(CODES_APART).unwrap_or(Timestamp::MAX))
    }
}

impl Entity for LiveConnection {
    const KIND: &'static str = "live_connection";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    fn listed(&self) -> Vec<IndexKey> {
        match self.wish {
            Wish::Rest => Vec::new(),
            Wish::Connect(_) | Wish::Leave => vec![IndexKey::new(WANTED, [1_u8])],
        }
    }

    /// When nobody is waited for any more who would log it out.
    fn wake_at(&self) -> Option<Timestamp> {
        let leaves = self.wish == Wish::Leave;
        leaves.then(|| self.updated_at.saturating_add(LEFT_WITHIN).unwrap_or(Timestamp::MAX))
    }
}

/// Where a live connection stands, as the node says that keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// In one word.
    pub status: LiveStatus,
    /// Why, where that can be said, in a word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// When that ends by itself: the linking, or a ban.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The number that it is linked to, where it is connected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<OwnNumber>,
    /// The QR to scan with the phone that is to be linked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub qr: Option<Shown>,
    /// The code to type on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<ShownCode>,
    /// How it fares as a sender, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<SenderHealth>,
}

/// The number of an account: its digits, without `+`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OwnNumber(pub String);

impl OwnNumber {
    /// The digits.
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for OwnNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.0.len().saturating_sub(2);
        write!(f, "…{}", self.0.get(shown..).unwrap_or_default())
    }
}

/// Where a live connection stands, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LiveStatus {
    /// No phone is linked.
    Unpaired,
    /// It shows what links one.
    Pairing,
    /// It is linked, and logs in.
    Connecting,
    /// It is logged in.
    Connected,
    /// It is linked and not logged in.
    Disconnected,
    /// It was taken off the phone: its keys are gone.
    LoggedOut,
    /// Somebody else logged in with its keys.
    Replaced,
    /// The account is banned.
    Banned,
}

impl LiveStatus {
    /// All of them, as they are said.
    pub const NAMES: [&'static str; 8] =
        ["unpaired", "pairing", "connecting", "connected", "disconnected", "logged_out", "replaced", "banned"];

    /// As it is said.
    pub fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// What links a phone that scans it. Whoever sees it can link theirs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The content of the QR.
    pub text: String,
    /// Then it is of no use, and another follows.
    pub expires_at: Timestamp,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// A code that links a phone on which it is typed. Whoever sees it can link theirs.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCode {
    /// What is to be typed.
    pub text: String,
    /// Then it is of no use, and another follows.
    pub expires_at: Timestamp,
    /// For whose phone; none as an older program says it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<OwnNumber>,
}

impl fmt::Debug for ShownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShownCode").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

/// How an account fares as a sender.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderHealth {
    /// In one word.
    pub grade: SenderGrade,
    /// What holds it back: nothing when it is well.
    pub reasons: Vec<SenderHeld>,
    /// How many messages went out in the last 24 hours.
    pub sent_today: u32,
    /// How many more may today.
    pub left_today: u32,
    /// How many of those to people who never wrote with the number.
    pub strangers_left_today: u32,
}

/// How an account is as a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SenderGrade {
    /// It sends to anybody.
    Well,
    /// It sends to those it knows.
    Limited,
    /// It sends to nobody.
    Held,
}

impl SenderGrade {
    fn well() -> Self {
        Self::Well
    }
}

/// What holds a sender back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderHeld {
    /// In a word.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// Where a connection stands, and what its tenant was told of that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptStanding {
    /// Where it stands.
    #[serde(flatten)]
    pub standing: Standing,
    /// The last status that was told; none before one was.
    #[serde(default)]
    told: Option<LiveStatus>,
    /// The last grade that was told.
    #[serde(default = "SenderGrade::well")]
    told_grade: SenderGrade,
    /// What its provider imposed on it when that was last known, which was told as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    told_imposed: Vec<String>,
}

/// What a tenant is told of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionNews {
    /// Its status.
    Status(LiveStatus),
    /// How it fares as a sender.
    Health,
}

impl KeptStanding {
    /// Whether it says why no phone is linked, and what is told now says only that none is: as the next keeper does, who
    /// does not know.
    pub fn says_more_than(&self, standing: &Standing) -> bool {
        let no_reason = standing.status == LiveStatus::Unpaired && standing.reason.is_none();
        no_reason
            && match self.standing.status {
                LiveStatus::LoggedOut => true,
                LiveStatus::Unpaired => self.standing.reason.is_some(),
                _ => false,
            }
    }

    /// Where a connection stands now, after it stood like `before`, and what its tenant is told.
    pub fn next(before: Option<&Self>, standing: Standing) -> (Self, Vec<ConnectionNews>) {
        let told = before.and_then(|before| before.told);
        let told_grade = before.map_or(SenderGrade::Well, |before| before.told_grade);
        let told_imposed = before.map(|before| before.told_imposed.clone()).unwrap_or_default();
        let mut next = Self { told, told_grade, told_imposed, standing };
        let mut news = Vec::new();
        if next.standing.is_told() && told != Some(next.standing.status) {
            next.told = Some(next.standing.status);
            news.push(ConnectionNews::Status(next.standing.status));
        }
        if let Some(health) = &next.standing.health {
            let imposed = health.imposed();
            // A lock on top of what we hold back ourselves is news, though the number sends to no fewer people.
            let is_new = imposed.iter().any(|reason| !next.told_imposed.contains(reason));
            if health.grade != told_grade || is_new {
                news.push(ConnectionNews::Health);
            }
            (next.told_grade, next.told_imposed) = (health.grade, imposed);
        }
        (next, news)
    }
}

impl Standing {
    /// Whether its tenant is told: that it is connected, and what does not pass by itself.
    fn is_told(&self) -> bool {
        match self.status {
            LiveStatus::Connected | LiveStatus::LoggedOut | LiveStatus::Replaced | LiveStatus::Banned => true,
            LiveStatus::Disconnected => matches!(self.reason.as_deref(), Some("outdated" | "refused")),
            LiveStatus::Unpaired | LiveStatus::Pairing | LiveStatus::Connecting => false,
        }
    }

    /// Whether it sends, or will in a moment without anybody doing something about it; `asked_at` is when somebody last had it
    /// log in. What is told of it may be some seconds old.
    pub fn may_send(&self, asked_at: Timestamp, now: Timestamp) -> bool {
        match self.status {
            LiveStatus::Connected | LiveStatus::Connecting => true,
            LiveStatus::Disconnected => self.reason.as_deref() != Some("outdated"),
            // Whoever asked since has done something about it.
            LiveStatus::Replaced => self.since < asked_at,
            LiveStatus::Banned => self.until.is_some_and(|until| until.duration_since(now) < BANNED_SHORTLY),
            LiveStatus::Unpaired | LiveStatus::Pairing | LiveStatus::LoggedOut => false,
        }
    }

    /// Under what it is kept with what the connection remembers. What keeps connections uses lower numbers.
    pub const NAME: StateName<'static> = StateName { kind: u8::MAX, group: &[], name: b"standing" };

    /// Whether a message can go out now, as far as that goes.
    pub fn is_connected(&self) -> bool {
        self.status == LiveStatus::Connected
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::noon;

    #[test]
    fn what_links_a_phone_and_whose_it_is_does_not_show() {
        let qr = Shown { text: "ABCD1234".to_owned(), expires_at: noon() };
        let number = Some(OwnNumber("12025550100".to_owned()));
        let code = ShownCode { text: qr.text.clone(), expires_at: noon(), number };
        let standing = Standing {
            status: LiveStatus::Pairing,
            reason: None,
            since: noon(),
            until: None,
            number: Some(OwnNumber("12025550100".to_owned())),
            qr: Some(qr),
            code: Some(code),
            health: None,
        };
        let said = format!("{standing:?}");
        assert!(!said.contains("ABCD") && !said.contains("0100") && said.contains("…00"), "{said}");
    }

    fn standing(status: LiveStatus, reason: Option<&str>) -> Standing {
        let reason = reason.map(str::to_owned);
        Standing { status, reason, since: noon(), until: None, number: None, qr: None, code: None, health: None }
    }

    #[test]
    fn a_tenant_is_told_what_does_not_pass_by_itself_and_once() {
        use ConnectionNews::{Health, Status};
        let mut kept: Option<KeptStanding> = None;
        let mut stands = |standing: Standing| {
            let (next, news) = KeptStanding::next(kept.as_ref(), standing);
            // As it is stored.
            kept = Some(serde_json::from_value(serde_json::to_value(&next).unwrap()).unwrap());
            news
        };
        assert_eq!(stands(standing(LiveStatus::Pairing, None)), []);
        assert_eq!(stands(standing(LiveStatus::Connected, None)), [Status(LiveStatus::Connected)]);
        // It breaks, and comes back.
        for (status, reason) in [(LiveStatus::Disconnected, Some("lost")), (LiveStatus::Connecting, None)] {
            assert_eq!(stands(standing(status, reason)), []);
        }
        assert_eq!(stands(standing(LiveStatus::Connected, None)), []);
        let mut limited = standing(LiveStatus::Connected, None);
        limited.health = Some(SenderHealth {
            grade: SenderGrade::Limited,
            reasons: Vec::new(),
            sent_today: 3,
            left_today: 1,
            strangers_left_today: 0,
        });
        assert_eq!(stands(limited.clone()), [Health]);
        assert_eq!(stands(limited.clone()), []);
        limited.health.as_mut().unwrap().grade = SenderGrade::Well;
        assert_eq!(stands(limited), [Health]);
        assert_eq!(stands(standing(LiveStatus::Banned, Some("blocked"))), [Status(LiveStatus::Banned)]);
        assert_eq!(stands(standing(LiveStatus::Connected, None)), [Status(LiveStatus::Connected)]);
        let outdated = || standing(LiveStatus::Disconnected, Some("outdated"));
        assert_eq!([stands(outdated()), stands(outdated())], [vec![Status(LiveStatus::Disconnected)], vec![]]);
    }

    #[test]
    fn what_the_provider_imposes_is_told_also_where_the_number_was_held_back_before() {
        let mut kept: Option<KeptStanding> = None;
        let mut tells = |reasons: &[&str]| {
            let held = |reason: &&str| SenderHeld { reason: (*reason).to_owned(), until: noon() };
            let mut standing = standing(LiveStatus::Connected, None);
            standing.health = Some(SenderHealth {
                grade: if reasons.is_empty() { SenderGrade::Well } else { SenderGrade::Limited },
                reasons: reasons.iter().map(held).collect(),
                sent_today: 3,
                left_today: 1,
                strangers_left_today: 0,
            });
            let (next, news) = KeptStanding::next(kept.as_ref(), standing);
            kept = Some(serde_json::from_value(serde_json::to_value(&next).unwrap()).unwrap());
            news.contains(&ConnectionNews::Health)
        };
        assert!(!tells(&[]) && tells(&["strangers_of_day"]));
        assert!(tells(&["time_locked", "strangers_of_day"]) && !tells(&["time_locked", "strangers_of_day"]));
        // Our own measure comes and goes.
        assert!(!tells(&["time_locked"]) && !tells(&["share_of_strangers", "time_locked"]));
        assert!(tells(&["new_chats_used_up", "time_locked"]) && !tells(&["time_locked"]));
        // It ended, and begins anew.
        assert!(!tells(&["strangers_of_day"]) && tells(&["time_locked"]) && tells(&[]));
    }

    #[test]
    fn a_number_may_send_unless_somebody_has_to_do_something_about_it() {
        let may_send = |status, reason: Option<&str>| standing(status, reason).may_send(noon(), noon());
        for (status, reason) in [
            (LiveStatus::Connected, None),
            (LiveStatus::Connecting, None),
            (LiveStatus::Disconnected, Some("lost")),
            (LiveStatus::Disconnected, Some("taken_over")),
        ] {
            assert!(may_send(status, reason), "{status:?}");
        }
        for (status, reason) in [
            (LiveStatus::Unpaired, None),
            (LiveStatus::Pairing, None),
            (LiveStatus::LoggedOut, None),
            (LiveStatus::Replaced, None),
            (LiveStatus::Banned, Some("other")),
            (LiveStatus::Disconnected, Some("outdated")),
        ] {
            assert!(!may_send(status, reason), "{status:?}");
        }
        let later = noon() + SignedDuration::from_secs(1);
        assert!(standing(LiveStatus::Replaced, None).may_send(later, later), "somebody had it log in since");
        assert!(!standing(LiveStatus::LoggedOut, None).may_send(later, later), "its keys are gone");
        let banned_for = |minutes| {
            let until = Some(noon() + SignedDuration::from_mins(minutes));
            Standing { until, ..standing(LiveStatus::Banned, None) }.may_send(noon(), noon())
        };
        assert!(banned_for(0) && banned_for(9) && !banned_for(10));
    }

    #[test]
    fn whoever_keeps_it_next_and_knows_less_does_not_say_less() {
        let says_more = |before: Standing, now: &Standing| KeptStanding::next(None, before).0.says_more_than(now);
        let unpaired = standing(LiveStatus::Unpaired, None);
        assert!(says_more(standing(LiveStatus::LoggedOut, None), &unpaired));
        assert!(says_more(standing(LiveStatus::Unpaired, Some("timed_out")), &unpaired));
        for (before, now) in [
            (LiveStatus::Pairing, &unpaired),
            (LiveStatus::LoggedOut, &standing(LiveStatus::Pairing, None)),
            (LiveStatus::LoggedOut, &standing(LiveStatus::Unpaired, Some("failed"))),
        ] {
            assert!(!says_more(standing(before, None), now));
        }
    }

    #[test]
    fn statuses_are_said_as_they_are_stored() {
        for name in LiveStatus::NAMES {
            let status: LiveStatus = serde_json::from_value(name.into()).unwrap();
            assert_eq!(status.as_str(), name);
        }
    }
}
