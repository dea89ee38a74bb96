//! Where events go.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::event::{self, DisabledReason, Event, EventKind};
use crate::domain::id::{EndpointId, ServiceId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::vault::Sealed;
use crate::ports::{Entity, Owner};

/// Most endpoints of one tenant, live and test each.
pub const ENDPOINTS_MAX: usize = 50;
/// Longest URL, in bytes.
pub const URL_SIZE_MAX: usize = 2000;
/// Longest description, in characters.
pub const DESCRIPTION_LENGTH_MAX: usize = 200;
/// How long secrets go on signing beside those that follow them.
pub const OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// Most keys of an endpoint in force at once.
pub const KEYS_MAX: usize = 4;
/// How long an endpoint may take nothing before it is disabled. Source: Svix.
pub const FAILING_MAX: SignedDuration = SignedDuration::from_hours(5 * 24);

/// The events that an endpoint is told of: one kind, or all that begin with a word.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventPattern(String);

/// The text is no pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("names no event; write one as in `verification.approved`, or all of a thing as in `verification.*`")]
pub struct PatternError;

impl EventPattern {
    /// Reads `verification.approved`, or `verification.*`. What no event would ever match is refused.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let pattern = Self(text.to_owned());
        let known = EventKind::ALL.iter().any(|kind| pattern.matches(kind.name()));
        if known { Ok(pattern) } else { Err(PatternError) }
    }

    /// Whether it means this kind.
    pub fn matches(&self, kind: &str) -> bool {
        match self.0.strip_suffix(".*") {
            Some(thing) => kind.split('.').next() == Some(thing),
            None => self.0 == kind,
        }
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What an endpoint's webhooks are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointKeys {
    /// The shared secret and the key pair, as [`SigningKeys`](super::signature::SigningKeys) writes them.
    pub sealed: Sealed,
    /// The public half.
    pub public_key: String,
    /// When they were made.
    pub created_at: Timestamp,
    /// Until when they sign; none for those in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// Where events of a tenant go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its id.
    pub id: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is told of: what happens live, or in test.
    pub mode: Mode,
    /// Where it is.
    pub url: String,
    /// What the tenant says about it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it is told of; empty means everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<EventPattern>,
    /// Only what happens at this service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// Why it is told nothing for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<DisabledReason>,
    /// What webhooks are signed with, the newest first.
    pub keys: Vec<EndpointKeys>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Endpoint {
    /// Whether an event is of its mode and of the service that it is narrowed to: no other is ever sent there.
    pub fn is_for(&self, event: &Event) -> bool {
        event.mode().is_none_or(|mode| mode == self.mode)
            && self.service.is_none_or(|service| event.service == Some(service))
    }

    /// Whether it is to be told of an event.
    pub fn wants(&self, event: &Event) -> bool {
        self.disabled.is_none()
            && self.is_for(event)
            && (self.events.is_empty() || self.events.iter().any(|pattern| pattern.matches(&event.kind)))
    }

    /// Whether events are kept for it: it is told of them, or may want those that it missed replayed. One that
    /// is disabled is as it was last changed, which is when, or after, it was disabled.
    pub fn is_kept_for(&self, now: Timestamp) -> bool {
        self.disabled.is_none() || now.duration_since(self.updated_at) < event::KEPT
    }

    /// The keys that sign at `now`, the newest first.
    pub fn keys_at(&self, now: Timestamp) -> impl Iterator<Item = &EndpointKeys> {
        self.keys.iter().filter(move |keys| keys.until.is_none_or(|until| now < until))
    }

    /// Whether as many keys are in force as may be: one more would have to end one that its overlap was promised.
    pub fn is_rotated_out(&self, now: Timestamp) -> bool {
        self.keys_at(now).count() >= KEYS_MAX
    }

    /// Puts other keys in force. Those before go on signing for a day, and what is over goes.
    pub fn rotate(&mut self, keys: EndpointKeys, now: Timestamp) {
        let end = now.saturating_add(OVERLAP).unwrap_or(Timestamp::MAX);
        self.keys.retain(|keys| keys.until.is_none_or(|until| now < until));
        for old in &mut self.keys {
            old.until.get_or_insert(end);
        }
        self.keys.insert(0, keys);
        self.updated_at = now;
    }
}

impl Entity for Endpoint {
    const KIND: &'static str = "webhook_endpoint";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}

/// That a tenant's endpoints became more: whoever creates one replaces this, so that of two who do at once the
/// second counts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointRoll {
    /// Whose they are.
    pub tenant: TenantId,
    /// How many were ever created.
    pub created: u64,
}

impl Entity for EndpointRoll {
    const KIND: &'static str = "webhook_endpoint_roll";

    /// One for each tenant.
    fn id(&self) -> [u8; 16] {
        self.tenant.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}

/// That an endpoint takes nothing. It is there from the first failure to the next success, so that an
/// endpoint that works costs no write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// Which endpoint.
    pub endpoint: EndpointId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Since when.
    pub since: Timestamp,
    /// When it last failed, to within [`NOTED`](Self::NOTED); none means when it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<Timestamp>,
}

impl Failing {
    /// How exactly the last failure is noted: one that fails all the time is one write in so long.
    pub const NOTED: SignedDuration = SignedDuration::from_hours(1);
    /// How long after the last failure it still counts. Longer than any pause between two attempts.
    pub const LASTS: SignedDuration = SignedDuration::from_hours(48);

    /// From `now` on.
    pub fn new(endpoint: EndpointId, tenant: TenantId, now: Timestamp) -> Self {
        Self { endpoint, tenant, since: now, last_at: None }
    }

    /// It failed again. Says whether that is to be written down.
    pub fn again(&mut self, now: Timestamp) -> bool {
        let last = self.last_at.unwrap_or(self.since);
        if now.duration_since(last) >= Self::LASTS {
            self.since = now;
        }
        let noted = now.duration_since(last) >= Self::NOTED;
        if noted {
            self.last_at = Some(now);
        }
        noted
    }

    /// Whether it has gone on for too long at an endpoint that was last changed at `changed_at`: what failed
    /// somewhere else, or before it was enabled again, does not count.
    pub fn is_hopeless(&self, changed_at: Timestamp, now: Timestamp) -> bool {
        now.duration_since(self.since.max(changed_at)) >= FAILING_MAX
    }
}

impl Entity for Failing {
    const KIND: &'static str = "webhook_failing";

    /// One for each endpoint.
    fn id(&self) -> [u8; 16] {
        self.endpoint.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// When it counts no more.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.last_at.unwrap_or(self.since).saturating_add(Self::LASTS).unwrap_or(Timestamp::MAX))
    }
}

/// That somebody of a tenant follows events, or reads them, so that they are kept though no endpoint is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audience {
    /// Which tenant.
    pub tenant: TenantId,
    /// When somebody last did.
    pub seen_at: Timestamp,
}

impl Audience {
    /// How long events go on being kept for somebody who does not come back.
    pub const LASTS: SignedDuration = SignedDuration::from_hours(24);
    /// How long it is as good as new: a stream that is opened again and again is one write an hour.
    pub const FRESH: SignedDuration = SignedDuration::from_hours(1);

    /// Whether anybody is there.
    pub fn is_there(&self, now: Timestamp) -> bool {
        now.duration_since(self.seen_at) < Self::LASTS
    }
}

impl Entity for Audience {
    const KIND: &'static str = "event_audience";

    /// One for each tenant.
    fn id(&self) -> [u8; 16] {
        self.tenant.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_that_are_far_apart_are_not_one() {
        let at = |hours| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        let mut failing = Failing::new(EndpointId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]), at(0));
        assert!(failing.again(at(1)) && !failing.again(at(1)), "noted once an hour");
        for day in 1..5 {
            assert!(failing.again(at(24 * day)) && !failing.is_hopeless(at(0), at(24 * day)));
        }
        assert!(failing.is_hopeless(at(0), at(24 * 5)));
        assert!(!failing.is_hopeless(at(1), at(24 * 5)), "it was enabled again meanwhile");
        assert!(failing.again(at(24 * 6)) && failing.since == at(24 * 6), "it was quiet for two days");
        assert_eq!(failing.wake_at(), Some(at(24 * 8)));
    }

    #[test]
    fn a_pattern_names_one_kind_or_all_of_a_thing() {
        let one = EventPattern::parse("verification.approved").unwrap();
        assert!(one.matches("verification.approved") && !one.matches("verification.failed"));
        let all = EventPattern::parse("verification.*").unwrap();
        assert!(all.matches("verification.failed") && !all.matches("message.failed"));
        for wrong in ["", "*", "verification", "verification.", "verification.aproved", "verif.*", "verification.*.*"] {
            assert_eq!(EventPattern::parse(wrong), Err(PatternError), "{wrong}");
        }
    }
}
