//! Where a session stands.

use std::time::Duration;

use wotp_core::domain::Timestamp;
use wotp_core::domain::live_connection::{LiveStatus, SenderGrade, SenderHealth, SenderHeld, Standing};
pub use wotp_core::domain::live_connection::{OwnNumber, Shown, ShownCode};

use crate::health::{Grade, Report};

/// Where a session stands. It is watched ([`Session::watch`](crate::Session::watch)): whoever shows it sees the newest,
/// and may miss what was over in between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// No phone is linked.
    Unpaired {
        /// Why not.
        why: Unpaired,
    },
    /// It waits for the tenant's phone to scan the QR, or for the person to type the code.
    Pairing {
        /// The QR to show; none for a moment between two, or for the last of the time that a code is shown.
        qr: Option<Shown>,
        /// The code to type on the phone, if one was asked for.
        code: Option<ShownCode>,
        /// Then it is over, and somebody has to ask again.
        ends_at: Timestamp,
    },
    /// It is linked, and logs in.
    Connecting,
    /// It is logged in.
    Connected {
        /// The number that it is linked to.
        number: OwnNumber,
        /// Since when.
        since: Timestamp,
    },
    /// It is linked and not logged in.
    Disconnected {
        /// Why not, and so whether it comes back by itself.
        why: Away,
        /// Since when.
        since: Timestamp,
    },
    /// The tenant took it off the phone, or had us log it out. Its keys are gone.
    LoggedOut {
        /// When.
        at: Timestamp,
    },
    /// Somebody else logged in with its keys. It comes back when it is started again.
    Replaced {
        /// When.
        at: Timestamp,
    },
    /// WhatsApp has banned the account. The keys are kept.
    Banned {
        /// When it comes back by itself; none where WhatsApp names no end.
        until: Option<Timestamp>,
        /// What WhatsApp says it is for.
        why: Ban,
    },
}

/// Why no phone is linked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpaired {
    /// Nobody has asked for it yet.
    NotAsked,
    /// Nobody scanned a QR or typed a code in time.
    TimedOut,
    /// The phone and the session did not agree.
    Failed,
}

/// Why a session that is linked is not logged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Away {
    /// The connection broke. It comes back by itself.
    Lost,
    /// WhatsApp asks to come back later, and so it does by itself.
    Unavailable,
    /// WhatsApp refused the login with this code. It is tried again after a while.
    Refused(i32),
    /// WhatsApp wants a newer version than the one that is in use. It is tried again when there is one.
    Outdated,
    /// It was stopped.
    Stopped,
    /// It is another process's by now.
    TakenOver,
    /// What it keeps could not be read or written. It is tried again after a while.
    NotKept,
}

impl Unpaired {
    /// As it is told; nothing where nobody has asked.
    fn as_str(self) -> Option<&'static str> {
        match self {
            Self::NotAsked => None,
            Self::TimedOut => Some("timed_out"),
            Self::Failed => Some("failed"),
        }
    }
}

impl Away {
    /// As it is told.
    fn as_str(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Unavailable => "unavailable",
            Self::Refused(_) => "refused",
            Self::Outdated => "outdated",
            Self::Stopped => "stopped",
            Self::TakenOver => "taken_over",
            Self::NotKept => "not_kept",
        }
    }
}

impl Ban {
    /// As it is told.
    fn as_str(self) -> &'static str {
        match self {
            Self::Strangers => "strangers",
            Self::Blocked => "blocked",
            Self::SameMessage => "same_message",
            Self::Other => "other",
        }
    }
}

fn told(report: &Report) -> SenderHealth {
    let held = report.reasons.iter();
    SenderHealth {
        grade: match report.grade {
            Grade::Well => SenderGrade::Well,
            Grade::Limited => SenderGrade::Limited,
            Grade::Held => SenderGrade::Held,
        },
        reasons: held.map(|held| SenderHeld { reason: held.reason.as_str().to_owned(), until: held.until }).collect(),
        sent_today: report.sent_today,
        left_today: report.left_today,
        strangers_left_today: report.strangers_left_today,
    }
}

/// What an account is banned for, in WhatsApp's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ban {
    /// Too many messages to people who do not know the number.
    Strangers,
    /// Too many people blocked the number.
    Blocked,
    /// The same message to too many people.
    SameMessage,
    /// For something else, or nothing was said.
    Other,
}

impl Status {
    /// Whether a message can go out now.
    pub fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }

    /// Whether it logs in, or will by itself soon.
    pub(crate) fn is_about_to_connect(&self) -> bool {
        use Away::{Lost, NotKept, Unavailable};
        matches!(self, Self::Connecting | Self::Disconnected { why: Lost | Unavailable | NotKept, .. })
    }

    /// Whether WhatsApp has refused it in a way that passes: it logs in by itself, in minutes or later.
    pub(crate) fn is_put_off(&self) -> bool {
        use Away::{Outdated, Refused};
        matches!(self, Self::Disconnected { why: Refused(_) | Outdated, .. } | Self::Banned { until: Some(_), .. })
    }

    /// One word for it, for metrics and lists.
    pub fn name(&self) -> &'static str {
        self.live().as_str()
    }

    fn live(&self) -> LiveStatus {
        match self {
            Self::Unpaired { .. } => LiveStatus::Unpaired,
            Self::Pairing { .. } => LiveStatus::Pairing,
            Self::Connecting => LiveStatus::Connecting,
            Self::Connected { .. } => LiveStatus::Connected,
            Self::Disconnected { .. } => LiveStatus::Disconnected,
            Self::LoggedOut { .. } => LiveStatus::LoggedOut,
            Self::Replaced { .. } => LiveStatus::Replaced,
            Self::Banned { .. } => LiveStatus::Banned,
        }
    }

    /// As it is told to all nodes, since `now` where it does not say itself since when.
    pub(crate) fn standing(&self, health: Option<&Report>, now: Timestamp) -> Standing {
        let mut standing = Standing {
            status: self.live(),
            reason: None,
            since: now,
            until: None,
            number: None,
            qr: None,
            code: None,
            health: health.map(told),
        };
        match self {
            Self::Unpaired { why } => standing.reason = why.as_str().map(str::to_owned),
            Self::Pairing { qr, code, ends_at } => {
                (standing.qr, standing.code, standing.until) = (qr.clone(), code.clone(), Some(*ends_at));
            }
            Self::Connecting => {}
            Self::Connected { number, since } => {
                (standing.number, standing.since) = (Some(number.clone()), *since);
            }
            Self::Disconnected { why, since } => {
                (standing.reason, standing.since) = (Some(why.as_str().to_owned()), *since);
            }
            Self::LoggedOut { at } | Self::Replaced { at } => standing.since = *at,
            Self::Banned { until, why } => {
                (standing.until, standing.reason) = (*until, Some(why.as_str().to_owned()));
            }
        }
        standing
    }

    /// How long it may stay like this before the session is begun anew; none when it comes back only by somebody's doing,
    /// or need not.
    pub(crate) fn stays_for(&self, patience: &crate::Patience, now: Timestamp) -> Option<Duration> {
        let left = |until: Timestamp| Duration::try_from(until.duration_since(now)).unwrap_or_default();
        let gone = |since: Timestamp, limit: Duration| {
            limit.saturating_sub(Duration::try_from(now.duration_since(since)).unwrap_or_default())
        };
        match self {
            Self::Disconnected { why: Away::Lost | Away::Unavailable, since } => Some(gone(*since, patience.lost)),
            Self::Disconnected { why: Away::Refused(_), since } => Some(gone(*since, patience.refused)),
            Self::Disconnected { why: Away::NotKept, since } => Some(gone(*since, patience.not_kept)),
            Self::Banned { until: Some(until), .. } => Some(left(*until)),
            Self::Pairing { ends_at, .. } => Some(left(*ends_at)),
            Self::Connecting => Some(patience.login),
            Self::Disconnected { why: Away::Outdated | Away::Stopped | Away::TakenOver, .. }
            | Self::Unpaired { .. }
            | Self::Connected { .. }
            | Self::LoggedOut { .. }
            | Self::Replaced { .. }
            | Self::Banned { until: None, .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_waited_for_and_nothing_else() {
        let patience = crate::Patience::default();
        let (then, now) = (Timestamp::from_second(1_000).unwrap(), Timestamp::from_second(1_030).unwrap());
        let away = |why| Status::Disconnected { why, since: then }.stays_for(&patience, now).map(|left| left.as_secs());
        assert_eq!(away(Away::Lost), Some(60));
        assert_eq!(away(Away::Refused(400)), Some(270));
        assert_eq!(away(Away::NotKept), Some(0));
        assert_eq!([away(Away::Outdated), away(Away::Stopped), away(Away::TakenOver)], [None; 3]);
        let ban = |until| Status::Banned { until, why: Ban::Other }.stays_for(&patience, now);
        assert_eq!(ban(Some(Timestamp::from_second(1_090).unwrap())), Some(Duration::from_secs(60)));
        assert_eq!(ban(Some(then)), Some(Duration::ZERO));
        assert_eq!(ban(None), None);
        assert_eq!(Status::Replaced { at: then }.stays_for(&patience, now), None);
        assert_eq!(Status::LoggedOut { at: then }.stays_for(&patience, now), None);
    }
}
