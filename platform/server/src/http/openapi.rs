//! The OpenAPI 3.1 document, from the code. `sdk/openapi.json` is its committed copy.

use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{OpenApi as Document, SecurityRequirement};
use utoipa::{IntoResponses, OpenApi};

use super::problem::ProblemBody;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "WOTP",
        description = "Verifies that a person holds a phone number or an email address.\n\nErrors are RFC 9457 problem details with a stable `code`. Timestamps are RFC 3339 in UTC; durations say their unit in the name.",
        license(name = "AGPL-3.0-only", identifier = "AGPL-3.0-only")
    ),
    tags(
        (name = "Verifications", description = "Send a one-time code and check it."),
        (name = "Messages", description = "Direct messages through the same channels."),
        (name = "Services", description = "What your products look like to people: brand, code, channels, texts."),
        (name = "Usage", description = "What is allowed and what is used."),
        (name = "WOTP-compatible", description = "The paths of the WOTP API: a WOTP client works by changing its base URL."),
        (name = "Health", description = "For load balancers and monitors."),
    ),
)]
struct Description;

/// The document's head: title, security, tags.
pub(super) fn description() -> Document {
    let mut document = Description::openapi();
    let components = document.components.get_or_insert_default();
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("wk_live_… or wk_test_…").build();
    components.add_security_scheme("api_key", SecurityScheme::Http(bearer));
    components
        .add_security_scheme("api_key_header", SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::new("X-API-Key"))));
    let none: [&str; 0] = [];
    document.security =
        Some(vec![SecurityRequirement::new("api_key", none), SecurityRequirement::new("api_key_header", none)]);
    document
}

/// The whole document as JSON, with a line feed at its end.
pub fn openapi_json() -> String {
    let (_, document) = super::documented().split_for_parts();
    let mut json = document.to_pretty_json().expect("the document serialises");
    json.push('\n');
    json
}

/// A body that does not hold.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum BodyProblems {
    /// `malformed_json`
    #[response(status = 400, content_type = "application/problem+json")]
    Malformed(#[to_schema] ProblemBody),
    /// `body_too_large`
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(#[to_schema] ProblemBody),
    /// `unsupported_media_type`
    #[response(status = 415, content_type = "application/problem+json")]
    MediaType(#[to_schema] ProblemBody),
    /// `invalid_request`, `unknown_channel`, `no_channel`, `idempotency_key_reused`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] ProblemBody),
}

/// A query that does not hold.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum QueryProblems {
    /// `invalid_request`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(#[to_schema] ProblemBody),
}

/// A caller that may not.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum AuthProblems {
    /// `api_key_missing`, `api_key_malformed`, `api_key_unknown`, `api_key_revoked`, `api_key_expired`
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(#[to_schema] ProblemBody),
    /// `ip_not_allowed`, `scope_missing`, `service_not_allowed`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(#[to_schema] ProblemBody),
}

/// Something that is not there.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum NotFoundProblem {
    /// `not_found`
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(#[to_schema] ProblemBody),
}

/// Something in the way.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum ConflictProblem {
    /// `verification_ended`, `no_sends_left`, `conflict`
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(#[to_schema] ProblemBody),
}

/// Too much.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum LimitProblems {
    /// `quota_exceeded`, `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(#[to_schema] ProblemBody),
}
