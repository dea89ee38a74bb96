//! What happened to a verification or a message, between its store and whoever is told of it.
//!
//! Each notes what happens to it; its store keeps that together with the change, in one step. So whatever
//! crashes, it is told of and counted once, and it is told of after the verification or message is gone.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::cost::Cost;
use super::dispatch::{DeliveryFailure, DeliveryStatus};
use super::event::{Fact, MessageData, VerificationData};
use super::id::{DeliveryId, MessageId, ServiceId, TenantId, VerificationId};
use super::magic_link::Method;
use super::message::Message;
use super::mode::Mode;
use super::verification::{FailureReason, Status, Verification};
use crate::ports::Item;

/// What happened. To a message, only [`Sent`](Self::Sent), [`Delivered`](Self::Delivered) and
/// [`Failed`](Self::Failed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It was started, and its code is to go out a first time.
    Started,
    /// Its code is to go out through another channel, for the first time. Counted, and not told.
    Next,
    /// Its code is to go out again through a channel that was used before. Counted, and not told.
    Again,
    /// A channel's server acknowledged it, for the first time.
    Sent,
    /// It reached the device, for the first time.
    Delivered,
    /// The right code was typed in time.
    Approved,
    /// It cannot succeed any more.
    Failed,
    /// Its time ran out.
    Expired,
    /// It was called off.
    Canceled,
    /// A guard stopped it.
    Blocked,
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happening {
    /// What.
    pub what: What,
    /// When.
    pub at: Timestamp,
    /// Through which channel: the one that did it, or the one at hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channel: Option<String>,
}

/// What a channel charged for one delivery.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// For which.
    pub delivery: DeliveryId,
    /// Which channel.
    pub channel: String,
    /// How much.
    pub cost: Cost,
}

/// What one change came to, and what changed as it was then. It names no person.
///
/// Which of the two it is shows in its id, `verification` or `message`: NEVER give either both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum News {
    /// Of a verification.
    Verification(VerificationNews),
    /// Of a direct message.
    Message(MessageNews),
}

impl News {
    /// Whose.
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Verification(news) => news.tenant,
            Self::Message(news) => news.tenant,
        }
    }

    /// Of what.
    pub fn item(&self) -> Item {
        match self {
            Self::Verification(news) => Item::Verification(news.verification),
            Self::Message(news) => Item::Message(news.message),
        }
    }

    /// Which of its versions: one has news once.
    pub fn version(&self) -> u64 {
        match self {
            Self::Verification(news) => news.version,
            Self::Message(news) => news.version,
        }
    }

    /// For which service.
    pub fn service(&self) -> ServiceId {
        match self {
            Self::Verification(news) => news.service,
            Self::Message(news) => news.service,
        }
    }

    /// Live or test.
    pub fn mode(&self) -> Mode {
        match self {
            Self::Verification(news) => news.mode,
            Self::Message(news) => news.mode,
        }
    }

    /// When it was started or accepted, and so counted.
    pub fn created_at(&self) -> Timestamp {
        match self {
            Self::Verification(news) => news.created_at,
            Self::Message(news) => news.created_at,
        }
    }

    /// What happened, in this order.
    pub fn happenings(&self) -> &[Happening] {
        match self {
            Self::Verification(news) => &news.happenings,
            Self::Message(news) => &news.happenings,
        }
    }

    /// What the tenant is told, and when it happened.
    pub fn facts(&self) -> impl Iterator<Item = (Timestamp, Fact)> {
        self.happenings().iter().filter_map(|happening| {
            let fact = match self {
                Self::Verification(news) => news.fact(happening),
                Self::Message(news) => news.fact(happening),
            };
            Some((happening.at, fact?))
        })
    }
}

/// What one change of a verification came to, and the verification as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerificationNews {
    /// Whose.
    pub tenant: TenantId,
    /// Of which verification.
    pub verification: VerificationId,
    /// Which of its versions: one has news once.
    pub version: u64,
    /// For which service.
    pub service: ServiceId,
    /// Live or test.
    pub mode: Mode,
    /// How it is approved.
    #[serde(default, skip_serializing_if = "Method::is_code")]
    pub method: Method,
    /// Where it stands.
    pub status: Status,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// ISO 3166-1 alpha-2 of a phone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Guesses made.
    pub checks_used: u8,
    /// How often the code was asked to go out.
    pub sends_used: usize,
    /// When it was started.
    pub created_at: Timestamp,
    /// When its code stops working.
    pub expires_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What happened, in this order.
    pub happenings: Vec<Happening>,
    /// What was charged. Beside what happened, and no kind of it: a program that does not know of costs reads
    /// over them, where a kind that it does not know would keep it from folding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub charges: Vec<Charge>,
}

impl VerificationNews {
    /// Of a verification that is new.
    pub fn of_start(verification: &Verification) -> Self {
        let first = verification.dispatch.deliveries.first();
        let channel = first.map(|delivery| delivery.channel.clone());
        let at = verification.created_at;
        let mut happenings = vec![Happening { what: What::Started, at, channel: channel.clone() }];
        happenings.extend(verification.news.iter().cloned());
        let blocked = verification.reason == Some(FailureReason::Blocked);
        if blocked && !happenings.iter().any(|happening| happening.what == What::Blocked) {
            happenings.push(Happening { what: What::Blocked, at, channel });
        }
        Self::of(verification, verification.version, happenings)
    }

    /// Of a verification that changed and is to have this version; none when nothing happened that anybody
    /// is told of.
    pub fn of_change(verification: &Verification, version: u64) -> Option<Self> {
        let Verification { news, charged, .. } = verification;
        (!news.is_empty() || !charged.is_empty()).then(|| Self::of(verification, version, news.clone()))
    }

    fn of(verification: &Verification, version: u64, happenings: Vec<Happening>) -> Self {
        Self {
            tenant: verification.tenant,
            verification: verification.id,
            version,
            service: verification.service,
            mode: verification.mode,
            method: verification.method(),
            status: verification.status,
            reason: verification.reason,
            country: verification.country().map(str::to_owned),
            checks_used: verification.checks_used,
            sends_used: verification.sends.len(),
            created_at: verification.created_at,
            expires_at: verification.expires_at,
            ended_at: verification.ended_at,
            happenings,
            charges: verification.charged.clone(),
        }
    }

    /// What the tenant is told of something that happened.
    fn fact(&self, happening: &Happening) -> Option<Fact> {
        let data = VerificationData {
            id: self.verification,
            service: self.service,
            method: self.method,
            status: self.status,
            reason: self.reason,
            channel: happening.channel.clone(),
            country: self.country.clone(),
            test_mode: self.mode == Mode::Test,
            checks_used: self.checks_used,
            sends_used: self.sends_used,
            created_at: self.created_at,
            expires_at: self.expires_at,
            ended_at: self.ended_at,
        };
        Some(match happening.what {
            What::Started => Fact::VerificationStarted(data),
            What::Next | What::Again => return None,
            What::Sent => Fact::VerificationSent(data),
            What::Delivered => Fact::VerificationDelivered(data),
            What::Approved => Fact::VerificationApproved(data),
            What::Failed => Fact::VerificationFailed(data),
            What::Expired => Fact::VerificationExpired(data),
            What::Canceled => Fact::VerificationCanceled(data),
            What::Blocked => Fact::VerificationBlocked(data),
        })
    }
}

/// What one change of a direct message came to, and the message as it was then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageNews {
    /// Whose.
    pub tenant: TenantId,
    /// Of which message.
    pub message: MessageId,
    /// Which of its versions: one has news once.
    pub version: u64,
    /// For which service.
    pub service: ServiceId,
    /// Live or test.
    pub mode: Mode,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<DeliveryFailure>,
    /// ISO 3166-1 alpha-2 of a phone number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What happened, in this order.
    pub happenings: Vec<Happening>,
}

impl MessageNews {
    /// Of a message that changed and is to have this version; none when nothing happened that anybody is
    /// told of.
    pub fn of_change(message: &Message, version: u64) -> Option<Self> {
        (!message.news.is_empty()).then(|| Self {
            tenant: message.tenant,
            message: message.id,
            version,
            service: message.service,
            mode: message.mode,
            status: message.status(),
            reason: message.reason(),
            country: message.country().map(str::to_owned),
            created_at: message.created_at,
            happenings: message.news.clone(),
        })
    }

    /// What the tenant is told of something that happened.
    fn fact(&self, happening: &Happening) -> Option<Fact> {
        let data = MessageData {
            id: self.message,
            service: self.service,
            status: self.status,
            reason: self.reason,
            channel: happening.channel.clone(),
            country: self.country.clone(),
            test_mode: self.mode == Mode::Test,
            created_at: self.created_at,
        };
        match happening.what {
            What::Sent => Some(Fact::MessageSent(data)),
            What::Delivered => Some(Fact::MessageDelivered(data)),
            What::Failed => Some(Fact::MessageFailed(data)),
            _ => None,
        }
    }
}
