//! That an endpoint was disabled, or does not keep up, until the people who run its tenant are written to.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::event::DisabledByUs;
use crate::domain::id::{EndpointId, EventId, TenantId};
use crate::ports::{Entity, Owner};

/// Whoever was told that an endpoint does not keep up is told again after so long at the earliest.
const AGAIN: SignedDuration = SignedDuration::from_hours(7 * 24);
/// How soon somebody who could not be written to is tried again.
const PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// For how long that is tried: for less than the day for which the idempotency keys of what was sent are kept, so that
/// nobody is told twice.
const TRIED: SignedDuration = SignedDuration::from_hours(23);

/// What there is to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeReason {
    /// It was disabled: nothing was taken for five days.
    Failing,
    /// It was disabled: it answered 410.
    Gone,
    /// What waited for it for too long was given up.
    Behind,
}

impl From<DisabledByUs> for NoticeReason {
    fn from(reason: DisabledByUs) -> Self {
        match reason {
            DisabledByUs::Failing => Self::Failing,
            DisabledByUs::Gone => Self::Gone,
        }
    }
}

/// What happened to an endpoint that somebody is to know. Stored together with that, and gone once everybody was
/// written to, or, where it may happen again at once, a week later.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointNotice {
    /// The event that tells of the same, or the first that was given up.
    pub event: EventId,
    /// Whose the endpoint is.
    pub tenant: TenantId,
    /// Which it is.
    pub endpoint: EndpointId,
    /// What there is to tell.
    pub reason: NoticeReason,
    /// When it happened.
    #[serde(rename = "disabled_at")]
    pub at: Timestamp,
    /// When everybody was written to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// When those who could not be written to are tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_at: Option<Timestamp>,
}

impl EndpointNotice {
    /// What there is to tell of an endpoint, at once.
    pub fn new(tenant: TenantId, endpoint: EndpointId, event: EventId, reason: NoticeReason, at: Timestamp) -> Self {
        Self { event, tenant, endpoint, reason, at, told_at: None, next_at: None }
    }

    /// Somebody could not be written to: it waits for another try.
    pub fn try_again(&mut self, now: Timestamp) {
        self.next_at = now.checked_add(PAUSE).ok();
    }

    /// Whether it was tried for long enough. Whoever was written to at first might be written to again.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.next_at.is_some() && now.duration_since(self.at) >= TRIED
    }

    /// The id of the one that tells that an endpoint does not keep up.
    pub fn behind(endpoint: EndpointId) -> [u8; 16] {
        endpoint.to_bytes()
    }
}

impl Entity for EndpointNotice {
    const KIND: &'static str = "webhook_notice";

    fn id(&self) -> [u8; 16] {
        match self.reason {
            NoticeReason::Behind => Self::behind(self.endpoint),
            NoticeReason::Failing | NoticeReason::Gone => self.event.to_bytes(),
        }
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// At once, when somebody is tried again, and when it may be told again.
    fn wake_at(&self) -> Option<Timestamp> {
        let again = |told: Timestamp| told.saturating_add(AGAIN).unwrap_or(Timestamp::MAX);
        Some(self.told_at.map_or(self.next_at.unwrap_or(self.at), again))
    }
}
