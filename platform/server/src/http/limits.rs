//! `/v1/limits`: every default and bound, and the sandbox numbers. Public, like the documentation.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::domain::message::CONTENT_LENGTH_MAX;
use wotp_core::domain::service::{
    CHECKS_MAX, EXPIRY_MAX_SECONDS, EXPIRY_MIN_SECONDS, EXPIRY_STANDARD_SECONDS, Settings,
};
use wotp_core::domain::template::MAX_TEXT_CHARACTERS;
use wotp_core::domain::{code, sandbox};

use super::{Api, BODY_SIZE_MAX};

/// A number and its bounds.
#[derive(Debug, Serialize, ToSchema)]
struct Bounded {
    /// When nothing else is said.
    #[schema(example = 6)]
    default: u32,
    /// At least.
    #[schema(example = 4)]
    min: u32,
    /// At most.
    #[schema(example = 12)]
    max: u32,
    /// Beyond this it is marked as below a standard; null where there is none.
    #[schema(required, example = 6)]
    standard: Option<u32>,
}

/// A number that behaves the same every time, with live and with test keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SandboxNumber)]
struct SandboxNumberView {
    /// E.164.
    #[schema(example = "+447700900001")]
    number: &'static str,
    /// How it behaves.
    #[schema(example = "delivered at once")]
    behaviour: &'static str,
}

/// Every default and bound.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limits)]
pub(super) struct LimitsView {
    /// Characters of a code.
    code_length: Bounded,
    /// Life of a code.
    expires_in_seconds: Bounded,
    /// Guesses at one code.
    checks: Bounded,
    /// How long a channel may take to acknowledge.
    failover_after_seconds: Bounded,
    /// Codes to one address within 10 minutes.
    sends_per_10_minutes: Bounded,
    /// Codes to one address within a day.
    sends_per_day: Bounded,
    /// Pauses after the first, second, third … code to one address.
    #[schema(example = json!([30, 60, 120]))]
    cool_down_seconds: Vec<u32>,
    /// How long an `Idempotency-Key` is remembered.
    #[schema(example = 86400)]
    idempotency_seconds: u32,
    /// Largest request body.
    #[schema(example = 16384)]
    body_size_bytes: usize,
    /// Longest direct message.
    #[schema(example = 2048)]
    message_length_characters: usize,
    /// Longest template.
    #[schema(example = 1000)]
    template_length_characters: usize,
    /// Channels that are there.
    #[schema(example = json!(["console"]))]
    channels: Vec<String>,
    /// Numbers for tests.
    sandbox_numbers: Vec<SandboxNumberView>,
}

/// Read every default and bound.
#[utoipa::path(get, path = "/v1/limits", tag = "Usage", security(()), responses((status = 200, description = "Defaults and bounds", body = LimitsView)))]
pub(super) async fn limits(State(api): State<Arc<Api>>) -> Json<LimitsView> {
    let defaults = Settings::default();
    let bounded = |default: u32, min: u32, max: u32, standard| Bounded { default, min, max, standard };
    let numbers = sandbox::NUMBERS
        .iter()
        .map(|sandbox| SandboxNumberView { number: sandbox.number, behaviour: sandbox.description });
    Json(LimitsView {
        code_length: bounded(
            defaults.code.length.into(),
            code::LENGTH_MIN.into(),
            code::LENGTH_MAX.into(),
            Some(code::LENGTH_NIST.into()),
        ),
        expires_in_seconds: bounded(
            defaults.code.expires_in_seconds,
            EXPIRY_MIN_SECONDS,
            EXPIRY_MAX_SECONDS,
            Some(EXPIRY_STANDARD_SECONDS),
        ),
        checks: bounded(defaults.code.checks.into(), 1, CHECKS_MAX.into(), None),
        failover_after_seconds: bounded(defaults.failover_after_seconds, 3, 60, None),
        sends_per_10_minutes: bounded(defaults.address_limits.sends_per_10_minutes, 1, 20, None),
        sends_per_day: bounded(defaults.address_limits.sends_per_day, 1, 100, None),
        cool_down_seconds: defaults.address_limits.cool_down_seconds,
        idempotency_seconds: 24 * 60 * 60,
        body_size_bytes: BODY_SIZE_MAX,
        message_length_characters: CONTENT_LENGTH_MAX,
        template_length_characters: MAX_TEXT_CHARACTERS,
        channels: api.app.channels().iter().map(|channel| channel.name.clone()).collect(),
        sandbox_numbers: numbers.collect(),
    })
}
