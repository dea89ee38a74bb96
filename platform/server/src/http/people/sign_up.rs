//! `/v1/auth/sign-up` and `/v1/auth/confirm-email`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{SignUp, Started};
use wotp_core::domain::id::VerificationId;

use super::super::auth::From;
use super::super::body::Body;
use super::super::to_the_end::whoever_hangs_up;
use super::super::{Api, Problem, openapi};

/// An account and a tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignUp)]
pub(in super::super) struct SignUpBody {
    /// Where the code goes.
    #[schema(example = "ada@example.com")]
    email: String,
    /// 8 to 128 characters of any kind; none of those that everybody tries first.
    #[schema(format = Password, min_length = 8, max_length = 128, example = "correct horse battery")]
    password: String,
    /// What you are called.
    #[serde(default)]
    #[schema(example = "Ada", max_length = 100)]
    name: Option<String>,
    /// What your organisation is called: it begins with your account. Leave it out to begin without one, as when you
    /// were invited to somebody else's; `POST /v1/tenants` makes one later.
    #[serde(default)]
    #[schema(example = "Acme", min_length = 1, max_length = 100)]
    tenant: Option<String>,
}

/// A code went out.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CodeSent)]
pub(in super::super) struct CodeSentView {
    /// What the code comes back with.
    #[schema(example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    verification: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:10:00Z")]
    expires_at: Timestamp,
}

impl std::convert::From<Started> for CodeSentView {
    fn from(started: Started) -> Self {
        Self { verification: started.verification.to_string(), expires_at: started.expires_at }
    }
}

/// A code that came back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfirmEmail)]
pub(in super::super) struct ConfirmBody {
    /// What it went out with.
    #[schema(example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    pub(super) verification: String,
    /// The code: eight letters and digits.
    #[schema(example = "ACDE4679")]
    pub(super) code: String,
}

/// An account as it began.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewAccount)]
pub(in super::super) struct ConfirmedView {
    /// The person.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    user: String,
    /// Their tenant, which they own; null where they asked for none.
    #[schema(required, example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    tenant: Option<String>,
}

/// The id in a body.
pub(super) fn verification(text: &str) -> Result<VerificationId, Problem> {
    text.parse().map_err(|error: wotp_core::domain::id::IdError| Problem::field("verification", error.to_string()))
}

/// Sign up: sends a code to an email address.
///
/// The answer, and the time it takes, are the same whether or not there is an account. An account begins when
/// the code comes back; until then nothing of it is there.
#[utoipa::path(post, path = "/v1/auth/sign-up", tag = "Sign-in", security(()), request_body = SignUpBody, responses(
    (status = 202, description = "A code went out", body = CodeSentView),
    openapi::SendProblems, openapi::CodeLimits,
))]
pub(in super::super) async fn sign_up(
    State(api): State<Arc<Api>>,
    from: From,
    body: Body<SignUpBody>,
) -> Result<(StatusCode, Json<CodeSentView>), Problem> {
    let SignUpBody { email, password, name, tenant } = body.value;
    let request = SignUp { email, password, name: name.unwrap_or_default(), tenant };
    let started = whoever_hangs_up(&api, move |app| async move { app.sign_up(request, &from.0).await }).await?;
    Ok((StatusCode::ACCEPTED, Json(started.into())))
}

/// Confirm an email address: makes the account, and the tenant if one was named.
///
/// Sign in afterwards. Who has an account already is told so (`taken`): they have proved that the address is
/// theirs.
#[utoipa::path(post, path = "/v1/auth/confirm-email", tag = "Sign-in", security(()), request_body = ConfirmBody, responses(
    (status = 201, description = "The account", body = ConfirmedView),
    openapi::CodeProblems, openapi::TakenConflict,
))]
pub(in super::super) async fn confirm_email(
    State(api): State<Arc<Api>>,
    from: From,
    body: Body<ConfirmBody>,
) -> Result<(StatusCode, Json<ConfirmedView>), Problem> {
    let id = verification(&body.value.verification)?;
    let code = body.value.code;
    let confirmed =
        whoever_hangs_up(&api, move |app| async move { app.confirm_email(id, &code, &from.0).await }).await?;
    let tenant = confirmed.tenant.map(|tenant| tenant.id.to_string());
    let view = ConfirmedView { user: confirmed.user.id.to_string(), tenant };
    Ok((StatusCode::CREATED, Json(view)))
}
