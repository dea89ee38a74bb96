use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;
use wotp_core::domain::dispatch::{DeliveryFailure, DeliveryStatus};
use wotp_core::domain::event::{
    AccessData, ConnectionData, DestinationData, DisabledByUs, EndpointData, Event, EventKind, Fact, MessageData,
    PAYLOAD_SIZE_MAX, PlanData, QuotaData, SuspensionData, TestData, VerificationData,
};
use wotp_core::domain::id::{
    ConnectionId, EndpointId, EventId, MessageId, ServiceId, TenantId, UserId, VerificationId,
};
use wotp_core::domain::live_connection::{LiveStatus, SenderGrade};
use wotp_core::domain::magic_link::Method;
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::domain::verification::{FailureReason, Status};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

/// One of each kind, and the schema of its data. A kind that is added does not compile until it is here.
fn sample(kind: EventKind) -> (&'static str, Fact) {
    let service = ServiceId::from_bytes([3; 16]);
    let verification = || VerificationData {
        id: VerificationId::from_bytes([1; 16]),
        service,
        method: Method::Code,
        status: Status::Failed,
        reason: Some(FailureReason::Undeliverable),
        channel: Some("email".to_owned()),
        country: Some("FR".to_owned()),
        test_mode: false,
        checks_used: 0,
        sends_used: 1,
        created_at: NOW,
        expires_at: NOW,
        ended_at: Some(NOW),
    };
    let message = || MessageData {
        id: MessageId::from_bytes([1; 16]),
        service,
        status: DeliveryStatus::Failed,
        reason: Some(DeliveryFailure::NoAck),
        channel: Some("email".to_owned()),
        country: Some("FR".to_owned()),
        test_mode: false,
        created_at: NOW,
    };
    let destination = || DestinationData {
        destination: "+3361234".to_owned(),
        service: None,
        reason: "conversion".to_owned(),
        shadow: false,
        until: Some(NOW),
    };
    let connection = || ConnectionData {
        connection: ConnectionId::from_bytes([1; 16]),
        channel: "whatsapp".to_owned(),
        status: LiveStatus::Banned,
        reason: Some("other".to_owned()),
        health: Some(SenderGrade::Held),
        held_by: vec!["banned".to_owned()],
        until: Some(NOW),
        advice: Some("use another number"),
    };
    let suspension = || SuspensionData { reason: "unpaid".to_owned(), since: NOW };
    let endpoint = EndpointId::from_bytes([7; 16]);
    match kind {
        EventKind::VerificationStarted => ("VerificationEventData", Fact::VerificationStarted(verification())),
        EventKind::VerificationSent => ("VerificationEventData", Fact::VerificationSent(verification())),
        EventKind::VerificationDelivered => ("VerificationEventData", Fact::VerificationDelivered(verification())),
        EventKind::VerificationApproved => ("VerificationEventData", Fact::VerificationApproved(verification())),
        EventKind::VerificationFailed => ("VerificationEventData", Fact::VerificationFailed(verification())),
        EventKind::VerificationExpired => ("VerificationEventData", Fact::VerificationExpired(verification())),
        EventKind::VerificationCanceled => ("VerificationEventData", Fact::VerificationCanceled(verification())),
        EventKind::VerificationBlocked => ("VerificationEventData", Fact::VerificationBlocked(verification())),
        EventKind::MessageSent => ("MessageEventData", Fact::MessageSent(message())),
        EventKind::MessageDelivered => ("MessageEventData", Fact::MessageDelivered(message())),
        EventKind::MessageFailed => ("MessageEventData", Fact::MessageFailed(message())),
        EventKind::QuotaThreshold => {
            let (resource, window) = (Resource::Verifications, WindowKind::Day);
            let data = QuotaData { resource, window, percent: 80, used: 80, limit: 100, resets_at: NOW };
            ("QuotaEventData", Fact::QuotaThreshold(data))
        }
        EventKind::GuardDestinationSlowed => ("DestinationEventData", Fact::GuardDestinationSlowed(destination())),
        EventKind::GuardDestinationBlocked => ("DestinationEventData", Fact::GuardDestinationBlocked(destination())),
        EventKind::GuardDestinationReleased => ("DestinationEventData", Fact::GuardDestinationReleased(destination())),
        EventKind::WebhookEndpointDisabled => {
            let data = EndpointData { endpoint, reason: DisabledByUs::Failing, failing_since: Some(NOW) };
            ("EndpointEventData", Fact::WebhookEndpointDisabled(data))
        }
        EventKind::ConnectionConnected => ("ConnectionEventData", Fact::ConnectionConnected(connection())),
        EventKind::ConnectionDisconnected => ("ConnectionEventData", Fact::ConnectionDisconnected(connection())),
        EventKind::ConnectionLoggedOut => ("ConnectionEventData", Fact::ConnectionLoggedOut(connection())),
        EventKind::ConnectionReplaced => ("ConnectionEventData", Fact::ConnectionReplaced(connection())),
        EventKind::ConnectionBanned => ("ConnectionEventData", Fact::ConnectionBanned(connection())),
        EventKind::ConnectionHealth => ("ConnectionEventData", Fact::ConnectionHealth(connection())),
        EventKind::TenantAccessedByOperator => {
            let operator = UserId::from_bytes([7; 16]);
            let data = AccessData { operator, reason: "a ticket".to_owned(), until: NOW };
            ("AccessEventData", Fact::TenantAccessedByOperator(data))
        }
        EventKind::TenantSuspended => ("SuspensionEventData", Fact::TenantSuspended(suspension())),
        EventKind::TenantResumed => ("SuspensionEventData", Fact::TenantResumed(suspension())),
        EventKind::TenantPlanChanged => {
            let (plan, previous_plan) = ("pro".to_owned(), "free".to_owned());
            ("PlanEventData", Fact::TenantPlanChanged(PlanData { plan, previous_plan, limits_changed: false }))
        }
        EventKind::WebhookTest => ("TestEventData", Fact::WebhookTest(TestData { endpoint, message: "A test." })),
    }
}

#[test]
fn what_is_told_has_exactly_the_members_of_its_schema() {
    let document: Value = serde_json::from_str(&crate::http::openapi_json()).unwrap();
    for kind in EventKind::ALL {
        let (schema, fact) = sample(*kind);
        let schema = &document["components"]["schemas"][schema];
        let documented: BTreeSet<&str> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let data = fact.data();
        let told: BTreeSet<&str> = data.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(told, documented, "{}", kind.name());
        let required: BTreeSet<&str> =
            schema["required"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(told, required, "{}", kind.name());
        let description = schema["description"].as_str().unwrap();
        let last = kind.name().split_once('.').unwrap().1;
        assert!(description.contains(kind.name()) || description.contains(&format!("`.{last}`")), "{}", kind.name());
    }
}

#[test]
fn a_body_is_far_below_what_the_standard_allows() {
    for kind in EventKind::ALL {
        let (_, fact) = sample(*kind);
        let event = Event {
            id: EventId::from_bytes([1; 16]),
            tenant: TenantId::from_bytes([2; 16]),
            kind: kind.name().to_owned(),
            at: NOW,
            data: fact.data(),
            service: None,
            fanned_out: false,
        };
        assert!(event.payload().len() < PAYLOAD_SIZE_MAX / 4, "{}", kind.name());
    }
}

/// What a schema promises is what is told, and no more: a program that looks for each value looks for none in vain.
#[test]
fn the_reasons_for_which_we_disable_an_endpoint_are_those_that_are_documented() {
    let document: Value = serde_json::from_str(&crate::http::openapi_json()).unwrap();
    let told = [DisabledByUs::Failing, DisabledByUs::Gone].map(|reason| serde_json::to_value(reason).unwrap());
    assert_eq!(document["components"]["schemas"]["EndpointDisabledByUs"]["enum"], Value::from(told.to_vec()));
}
