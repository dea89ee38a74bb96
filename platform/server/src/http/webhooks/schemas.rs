//! The schemas of core's types, which know nothing of OpenAPI. A test holds them to what is sent.

use utoipa::ToSchema;

use crate::http::connections::session::{SessionGradeName, SessionStatusName};
use crate::http::verifications::{DeliveryFailureName, DeliveryStatusName, FailureReasonName, MethodName, StatusName};

/// Why an endpoint was disabled.
#[derive(ToSchema)]
#[schema(as = DisabledReason, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum DisabledReasonName {
    /// Nothing was taken for five days.
    Failing,
    /// It answered 410.
    Gone,
    /// Somebody disabled it.
    Member,
}

/// Why we disabled an endpoint.
#[derive(ToSchema)]
#[schema(as = EndpointDisabledByUs, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum DisabledByUsName {
    /// Nothing was taken for five days.
    Failing,
    /// It answered 410.
    Gone,
}

/// Where the delivery of a webhook stands.
#[derive(ToSchema)]
#[schema(as = WebhookStatus, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum WebhookStatusName {
    /// It is tried, now or later.
    Pending,
    /// It was taken.
    Delivered,
    /// It is not tried any more.
    Failed,
}

/// Why a webhook is not tried any more.
#[derive(ToSchema)]
#[schema(as = WebhookGivenUp, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum GivenUpName {
    /// Every attempt failed.
    Exhausted,
    /// The endpoint answered 410.
    Gone,
    /// The endpoint was disabled.
    Disabled,
    /// It waited for the endpoint for longer than all attempts take.
    Expired,
}

macro_rules! data {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)+ })+) => {$(
        $(#[$doc])*
        #[derive(ToSchema)]
        #[expect(dead_code, reason = "the schema of a core struct, which knows nothing of OpenAPI")]
        pub(in crate::http) struct $name { $($(#[$field_doc])* #[schema(required)] $field: $type,)+ }
    )+};
}

data! {
    /// Of `verification.started`, `.sent`, `.delivered`, `.approved`, `.failed`, `.expired`, `.canceled` and
    /// `.blocked`.
    VerificationEventData {
        /// The verification.
        #[schema(example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
        id: String,
        /// For which service.
        #[schema(example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
        service: String,
        /// How it is approved.
        method: MethodName,
        /// Where it stands.
        status: StatusName,
        /// Why it failed.
        reason: Option<FailureReasonName>,
        /// The channel at hand; of `.sent` and `.delivered`, the one that did it.
        #[schema(example = "email")]
        channel: Option<String>,
        /// ISO 3166-1 alpha-2 of a phone number.
        #[schema(example = "FR")]
        country: Option<String>,
        /// Whether it was started with a test key.
        test_mode: bool,
        /// Guesses made.
        #[schema(example = 1)]
        checks_used: u8,
        /// How often the code was asked to go out.
        #[schema(example = 1)]
        sends_used: usize,
        /// When it was started.
        #[schema(value_type = String, format = DateTime)]
        created_at: String,
        /// When its code stops working.
        #[schema(value_type = String, format = DateTime)]
        expires_at: String,
        /// When it ended.
        #[schema(value_type = Option<String>, format = DateTime)]
        ended_at: Option<String>,
    }
    /// Of `message.sent`, `.delivered` and `.failed`.
    MessageEventData {
        /// The message.
        #[schema(example = "msg_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
        id: String,
        /// For which service.
        #[schema(example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
        service: String,
        /// Where it stands.
        status: DeliveryStatusName,
        /// Why it failed; none where the guard stopped it.
        reason: Option<DeliveryFailureName>,
        /// The channel at hand; none where the guard stopped it.
        #[schema(example = "email")]
        channel: Option<String>,
        /// ISO 3166-1 alpha-2 of a phone number.
        #[schema(example = "FR")]
        country: Option<String>,
        /// Whether it was sent with a test key.
        test_mode: bool,
        /// When it was accepted.
        #[schema(value_type = String, format = DateTime)]
        created_at: String,
    }
    /// Of `quota.threshold`.
    QuotaEventData {
        /// What is counted, as in `verifications`.
        resource: String,
        /// `day` or `month`.
        window: String,
        /// The part that was reached, in percent: 80 or 100.
        percent: u8,
        /// Uses so far.
        used: u64,
        /// Uses that the plan includes.
        limit: u64,
        /// When the window turns over.
        #[schema(value_type = String, format = DateTime)]
        resets_at: String,
    }
    /// Of `guard.destination_slowed`, `.destination_blocked` and `.destination_released`.
    DestinationEventData {
        /// A country, or a phone prefix without its last four digits.
        #[schema(example = "+3361234")]
        destination: String,
        /// At which service; null where it is for all.
        service: Option<String>,
        /// Why, as in `conversion`, or by whom it was released.
        reason: String,
        /// Whether the guard only reports, and lets all go there.
        shadow: bool,
        /// Until when it stays so, if nobody changes it.
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<String>,
    }
    /// Of `webhook.endpoint_disabled`.
    EndpointEventData {
        /// The endpoint.
        #[schema(example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
        endpoint: String,
        /// Why it was disabled.
        reason: DisabledByUsName,
        /// Since when nothing was taken.
        #[schema(value_type = Option<String>, format = DateTime)]
        failing_since: Option<String>,
    }
    /// Of `connection.connected`, `.disconnected`, `.logged_out`, `.replaced`, `.banned` and `.health`.
    ConnectionEventData {
        /// The connection.
        #[schema(example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
        connection: String,
        /// The channel.
        #[schema(example = "whatsapp")]
        channel: String,
        /// Where it stands.
        status: SessionStatusName,
        /// Why, as in the `session` of the connection.
        reason: Option<String>,
        /// How it fares as a sender; null before that is known.
        health: Option<SessionGradeName>,
        /// What holds it back, as in `time_locked`.
        held_by: Vec<String>,
        /// When the ban ends, or else what weighs most of what holds it back; null where nothing does, or no end is known.
        #[schema(value_type = Option<String>, format = DateTime)]
        until: Option<String>,
        /// What holds it back most, and what to do; null where nothing does.
        #[schema(example = "WhatsApp lets this number write to nobody new for now: …")]
        advice: Option<String>,
    }
    /// Of `tenant.accessed_by_operator`.
    AccessEventData {
        /// Who.
        #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
        operator: String,
        /// Why, in the operator's words.
        reason: String,
        /// Until when.
        #[schema(value_type = String, format = DateTime)]
        until: String,
    }
    /// Of `tenant.suspended` and `tenant.resumed`.
    SuspensionEventData {
        /// Why the tenant was stopped, in the operator's words.
        #[schema(example = "the invoice of October is open")]
        reason: String,
        /// Since when it is stopped, or was.
        #[schema(value_type = String, format = DateTime)]
        since: String,
    }
    /// Of `tenant.plan_changed`.
    PlanEventData {
        /// The plan from now on.
        #[schema(example = "pro")]
        plan: String,
        /// The plan until now; the same where only limits changed.
        #[schema(example = "free")]
        previous_plan: String,
        /// Whether limits that stand in place of the plan's are others now: `GET /v1/usage` says what is included.
        limits_changed: bool,
    }
    /// Of `webhook.test`.
    TestEventData {
        /// The endpoint that is tested.
        #[schema(example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
        endpoint: String,
        /// A sentence for whoever reads it.
        message: String,
    }
}

/// What is told of an event: one of these, by its type. Members may be added.
#[derive(ToSchema)]
#[schema(as = EventData)]
#[serde(untagged)]
#[expect(dead_code, reason = "the schema of core structs, which know nothing of OpenAPI")]
pub(in crate::http) enum EventData {
    Verification(VerificationEventData),
    Message(MessageEventData),
    Quota(QuotaEventData),
    Destination(DestinationEventData),
    Endpoint(EndpointEventData),
    Connection(ConnectionEventData),
    Access(AccessEventData),
    Suspension(SuspensionEventData),
    Plan(PlanEventData),
    Test(TestEventData),
}

#[cfg(test)]
#[path = "schemas_tests.rs"]
mod tests;
