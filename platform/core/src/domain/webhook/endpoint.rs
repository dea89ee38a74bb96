//! Where events go.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::event::{DisabledReason, Event, EventKind};
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
    /// Whether it is to be told of an event.
    pub fn wants(&self, event: &Event) -> bool {
        self.disabled.is_none()
            && event.mode().is_none_or(|mode| mode == self.mode)
            && self.service.is_none_or(|service| event.service == Some(service))
            && (self.events.is_empty() || self.events.iter().any(|pattern| pattern.matches(&event.kind)))
    }

    /// The keys that sign at `now`, the newest first.
    pub fn keys_at(&self, now: Timestamp) -> impl Iterator<Item = &EndpointKeys> {
        self.keys.iter().filter(move |keys| keys.until.is_none_or(|until| now < until))
    }

    /// Puts other keys in force. Those before go on signing for a day, and what is over goes.
    pub fn rotate(&mut self, keys: EndpointKeys, now: Timestamp) {
        let end = now.saturating_add(OVERLAP).unwrap_or(Timestamp::MAX);
        self.keys.retain(|keys| keys.until.is_none_or(|until| now < until));
        for old in &mut self.keys {
            old.until.get_or_insert(end);
        }
        self.keys.insert(0, keys);
        // More are in force only if somebody rotates again and again.
        self.keys.truncate(4);
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
}

impl Failing {
    /// Whether it has gone on for too long.
    pub fn is_hopeless(&self, now: Timestamp) -> bool {
        now.duration_since(self.since) >= FAILING_MAX
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
