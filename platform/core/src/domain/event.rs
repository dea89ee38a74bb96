//! Events: facts that a tenant is told, by webhook, by stream and in a list.
//!
//! An event names no person: it carries neither an address nor the caller's notes, since it is kept on its
//! own terms and goes to places that we do not know. Whoever gets one asks for the thing by its id.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Timestamp;
use super::dispatch::{DeliveryFailure, DeliveryStatus};
use super::id::{ConnectionId, EndpointId, EventId, MessageId, ServiceId, TenantId, UserId, VerificationId};
use super::live_connection::{LiveConnection, LiveStatus, SenderGrade, SenderHealth, SenderHeld, Standing};
use super::magic_link::Method;
use super::mode::Mode;
use super::quota::{Resource, WindowKind};
use super::tenant::{Suspension, Tenant};
use super::verification::{FailureReason, Status};
use crate::ports::{Entity, Entropy, Owner};

/// How long events are kept.
pub const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Largest body of a webhook. Source: Standard Webhooks 1.0.
pub const PAYLOAD_SIZE_MAX: usize = 20_000;

/// A fact that a tenant is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id: the same for all who are told, and for each time that they are told.
    pub id: EventId,
    /// Who is told.
    pub tenant: TenantId,
    /// What happened, as in `verification.approved`: one of [`EventKind`], or what a newer program knows.
    pub kind: String,
    /// When it happened.
    pub at: Timestamp,
    /// More about it; its fields are those of the kind.
    pub data: Value,
    /// At which service; none where it is about the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// Whether there is a delivery for each endpoint that is to be told.
    #[serde(default)]
    pub fanned_out: bool,
}

impl Event {
    /// An event of this fact.
    pub fn new(tenant: TenantId, service: Option<ServiceId>, fact: &Fact, now: Timestamp, dice: &dyn Entropy) -> Self {
        Self {
            id: EventId::new(now, dice),
            tenant,
            kind: fact.kind().name().to_owned(),
            at: now,
            data: fact.data(),
            service,
            fanned_out: false,
        }
    }

    /// Whether it happened live or in test; none where there is no such thing.
    pub fn mode(&self) -> Option<Mode> {
        let test = self.data.get("test_mode")?.as_bool()?;
        Some(if test { Mode::Test } else { Mode::Live })
    }

    /// When it is deleted.
    pub fn kept_until(&self) -> Timestamp {
        self.at.saturating_add(KEPT).unwrap_or(Timestamp::MAX)
    }

    /// The body of the webhook: `type`, `timestamp` and `data`.
    pub fn payload(&self) -> String {
        serde_json::json!({"type": self.kind, "timestamp": self.at, "data": self.data}).to_string()
    }
}

impl Entity for Event {
    const KIND: &'static str = "event";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// Until its deliveries are there, at once, and as early as events are kept: whoever asks for what is due longest has
    /// what is new before what is to be deleted, however much of that there is. Then when it has been kept long enough.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(if self.fanned_out { self.kept_until() } else { self.at.saturating_sub(KEPT).unwrap_or(Timestamp::MIN) })
    }
}

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident($data:ty) = $text:literal;)+) => {
        /// What happens that a tenant is told. NEVER change a name that was released.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum EventKind {
            $($(#[$doc])* $name,)+
        }

        impl EventKind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in the API.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }

        /// What happened, with what is told of it.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Fact {
            $($(#[$doc])* $name($data),)+
        }

        impl Fact {
            /// What happened.
            pub fn kind(&self) -> EventKind {
                match self { $(Self::$name(_) => EventKind::$name,)+ }
            }

            /// What is told of it.
            pub fn data(&self) -> Value {
                let data = match self { $(Self::$name(data) => serde_json::to_value(data),)+ };
                data.expect("what is told of a fact is a struct whose fields JSON can hold")
            }
        }
    };
}

events! {
    /// A verification was started.
    VerificationStarted(VerificationData) = "verification.started";
    /// A channel's server acknowledged a code, for the first time.
    VerificationSent(VerificationData) = "verification.sent";
    /// A code reached the device, for the first time. Not every channel can tell.
    VerificationDelivered(VerificationData) = "verification.delivered";
    /// The right code was typed in time.
    VerificationApproved(VerificationData) = "verification.approved";
    /// A verification cannot succeed any more; its `reason` says why.
    VerificationFailed(VerificationData) = "verification.failed";
    /// Its time ran out.
    VerificationExpired(VerificationData) = "verification.expired";
    /// It was called off.
    VerificationCanceled(VerificationData) = "verification.canceled";
    /// A guard stopped it.
    VerificationBlocked(VerificationData) = "verification.blocked";
    /// A channel's server acknowledged a direct message.
    MessageSent(MessageData) = "message.sent";
    /// A direct message reached the device. Not every channel can tell.
    MessageDelivered(MessageData) = "message.delivered";
    /// A direct message did not get out; its `reason` says why.
    MessageFailed(MessageData) = "message.failed";
    /// A part of what the plan includes was used up: once for each part, window and limit.
    QuotaThreshold(QuotaData) = "quota.threshold";
    /// Codes for a destination are hardly typed in any more: the guard lets only some go there.
    GuardDestinationSlowed(DestinationData) = "guard.destination_slowed";
    /// The guard stopped sending to a destination.
    GuardDestinationBlocked(DestinationData) = "guard.destination_blocked";
    /// The guard lets codes go to a destination again.
    GuardDestinationReleased(DestinationData) = "guard.destination_released";
    /// A webhook endpoint was disabled, since it kept failing or said that it is gone.
    WebhookEndpointDisabled(EndpointData) = "webhook.endpoint_disabled";
    /// A connection is logged in: for the first time, or again after another of these was told.
    ConnectionConnected(ConnectionData) = "connection.connected";
    /// A connection is not logged in, and may not come back by itself. One that breaks and comes back is not told.
    ConnectionDisconnected(ConnectionData) = "connection.disconnected";
    /// A connection was taken off its phone.
    ConnectionLoggedOut(ConnectionData) = "connection.logged_out";
    /// Somebody else logged in with the keys of a connection.
    ConnectionReplaced(ConnectionData) = "connection.replaced";
    /// The account of a connection is banned.
    ConnectionBanned(ConnectionData) = "connection.banned";
    /// A connection sends to more people, or to fewer, than before.
    ConnectionHealth(ConnectionData) = "connection.health";
    /// An operator of the platform acts as the tenant for a while.
    TenantAccessedByOperator(AccessData) = "tenant.accessed_by_operator";
    /// Whoever runs the platform stopped the tenant: its callers are refused.
    TenantSuspended(SuspensionData) = "tenant.suspended";
    /// A tenant that was stopped goes on.
    TenantResumed(SuspensionData) = "tenant.resumed";
    /// The tenant has another plan, or other limits in place of its plan's.
    TenantPlanChanged(PlanData) = "tenant.plan_changed";
    /// A test that somebody asked for.
    WebhookTest(TestData) = "webhook.test";
}

/// The text names no kind of event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("names no event; an event is named as in `verification.approved`")]
pub struct EventKindError;

impl std::str::FromStr for EventKind {
    type Err = EventKindError;

    fn from_str(text: &str) -> Result<Self, EventKindError> {
        Self::ALL.iter().copied().find(|kind| kind.name() == text).ok_or(EventKindError)
    }
}

/// What is told of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerificationData {
    /// Its id.
    pub id: VerificationId,
    /// For which service.
    pub service: ServiceId,
    /// How it is approved.
    pub method: Method,
    /// Where it stands.
    pub status: Status,
    /// Why it failed.
    pub reason: Option<FailureReason>,
    /// The channel at hand; for what was sent or delivered, the one that did it.
    pub channel: Option<String>,
    /// ISO 3166-1 alpha-2 of a phone number.
    pub country: Option<String>,
    /// Whether it was started with a test key.
    pub test_mode: bool,
    /// Guesses made.
    pub checks_used: u8,
    /// How often the code was asked to go out.
    pub sends_used: usize,
    /// When it was started.
    pub created_at: Timestamp,
    /// When its code stops working.
    pub expires_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// What is told of a direct message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MessageData {
    /// Its id.
    pub id: MessageId,
    /// For which service.
    pub service: ServiceId,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Why it failed; none where the guard stopped it.
    pub reason: Option<DeliveryFailure>,
    /// The channel at hand; none where the guard stopped it.
    pub channel: Option<String>,
    /// ISO 3166-1 alpha-2 of a phone number.
    pub country: Option<String>,
    /// Whether it was sent with a test key.
    pub test_mode: bool,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// What is told of a quota.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QuotaData {
    /// What is counted.
    pub resource: Resource,
    /// Over which window.
    pub window: WindowKind,
    /// The part that was reached, in percent.
    pub percent: u8,
    /// Uses so far.
    pub used: u64,
    /// Uses that the plan includes.
    pub limit: u64,
    /// When the window turns over.
    pub resets_at: Timestamp,
}

/// What is told of a destination: a country, or a phone prefix without its last four digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DestinationData {
    /// The country or the prefix, as in `FR` or `+3361234`.
    pub destination: String,
    /// At which service; null where it is for all.
    pub service: Option<ServiceId>,
    /// Why, as in `conversion`, or by whom it was released, as in `time` or `member`.
    pub reason: String,
    /// Whether the guard only reports, and lets all go there.
    pub shadow: bool,
    /// Until when it stays so, if nobody changes it.
    pub until: Option<Timestamp>,
}

/// Why an endpoint was disabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// Nothing was taken for five days.
    Failing,
    /// It answered 410.
    Gone,
    /// Somebody disabled it.
    Member,
}

/// Why we disabled an endpoint: what nobody of its tenant knows yet, and so is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DisabledByUs {
    /// Nothing was taken for five days.
    Failing,
    /// It answered 410.
    Gone,
}

impl From<DisabledByUs> for DisabledReason {
    fn from(reason: DisabledByUs) -> Self {
        match reason {
            DisabledByUs::Failing => Self::Failing,
            DisabledByUs::Gone => Self::Gone,
        }
    }
}

/// What is told of a webhook endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EndpointData {
    /// Its id.
    pub endpoint: EndpointId,
    /// Why it was disabled.
    pub reason: DisabledByUs,
    /// Since when nothing was taken.
    pub failing_since: Option<Timestamp>,
}

/// What is told of a connection that is kept logged in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionData {
    /// Its id.
    pub connection: ConnectionId,
    /// The channel.
    pub channel: String,
    /// Where it stands.
    pub status: LiveStatus,
    /// Why, where that can be said.
    pub reason: Option<String>,
    /// How it fares as a sender, once that is known.
    pub health: Option<SenderGrade>,
    /// What holds it back.
    pub held_by: Vec<String>,
    /// When a ban ends, or else what weighs most of what holds it back.
    pub until: Option<Timestamp>,
    /// What that is, and what to do.
    pub advice: Option<&'static str>,
}

impl ConnectionData {
    /// Of a connection that stands so.
    pub fn of(connection: &LiveConnection, standing: &Standing) -> Self {
        let health = standing.health.as_ref();
        let worst = health.and_then(SenderHealth::worst);
        Self {
            connection: connection.id,
            channel: connection.channel.clone(),
            status: standing.status,
            reason: standing.reason.clone(),
            health: health.map(|health| health.grade),
            held_by: health.iter().flat_map(|health| &health.reasons).map(|held| held.reason.clone()).collect(),
            until: standing.until.or(worst.map(|held| held.until)),
            advice: worst.map(SenderHeld::advice),
        }
    }
}

/// What is told of an operator who acts as the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AccessData {
    /// Who.
    pub operator: UserId,
    /// Why, in the operator's words.
    pub reason: String,
    /// Until when.
    pub until: Timestamp,
}

/// What is told of a suspension, when it begins and when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuspensionData {
    /// Why the tenant was stopped, in the operator's words.
    pub reason: String,
    /// Since when it is stopped, or was.
    pub since: Timestamp,
}

impl From<&Suspension> for SuspensionData {
    fn from(suspension: &Suspension) -> Self {
        Self { reason: suspension.reason.clone(), since: suspension.since }
    }
}

/// What is told of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanData {
    /// The plan from now on, by its id.
    pub plan: String,
    /// The plan until now; the same where only limits changed.
    pub previous_plan: String,
    /// Whether limits that stand in place of the plan's are others now.
    pub limits_changed: bool,
}

impl PlanData {
    /// What is different between a tenant as it was and as it is.
    pub fn between(before: &Tenant, after: &Tenant) -> Self {
        Self {
            plan: after.plan.clone(),
            previous_plan: before.plan.clone(),
            limits_changed: before.limits != after.limits,
        }
    }
}

/// What a test tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TestData {
    /// The endpoint that is tested.
    pub endpoint: EndpointId,
    /// A sentence for whoever reads it.
    pub message: &'static str,
}

#[cfg(test)]
#[path = "event_tests.rs"]
mod tests;
