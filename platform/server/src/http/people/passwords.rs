//! Passwords that are forgotten, and those that are changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use utoipa::ToSchema;
use wotp_core::app::App;

use super::super::auth::{From, Person};
use super::super::body::Body;
use super::super::to_the_end::whoever_hangs_up;
use super::super::{Api, Problem, openapi};
use super::cookies;
use super::sign_up::{CodeSentView, verification};

/// Whose password is forgotten.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PasswordReset)]
pub(in super::super) struct ResetBody {
    /// Where the code goes.
    #[schema(example = "ada@example.com")]
    email: String,
    /// `device_token` of an earlier login from here; a browser sends it by itself. Whoever has one is not kept waiting
    /// by others who ask for codes for the same address.
    #[serde(default)]
    device_token: Option<String>,
}

/// Another password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfirmPasswordReset)]
pub(in super::super) struct ConfirmResetBody {
    /// What the code went out with.
    #[schema(example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    verification: String,
    /// The code: eight letters and digits.
    #[schema(example = "ACDE4679")]
    code: String,
    /// 8 to 128 characters of any kind; none of those that everybody tries first.
    #[schema(format = Password, min_length = 8, max_length = 128, example = "correct horse battery")]
    password: String,
}

/// Another password in place of one that is known.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PasswordChange)]
pub(in super::super) struct ChangeBody {
    /// The password until now.
    #[schema(format = Password)]
    current_password: String,
    /// 8 to 128 characters of any kind; none of those that everybody tries first.
    #[schema(format = Password, min_length = 8, max_length = 128, example = "correct horse battery")]
    new_password: String,
}

/// Ask for a new password: sends a code to an email address.
///
/// The answer, and the time it takes, are the same whether or not there is an account.
#[utoipa::path(post, path = "/v1/auth/password-reset", tag = "Sign-in", security(()), request_body = ResetBody, responses(
    (status = 202, description = "A code went out", body = CodeSentView),
    openapi::SendProblems, openapi::CodeLimits,
))]
pub(in super::super) async fn request_password_reset(
    State(api): State<Arc<Api>>,
    from: From,
    headers: HeaderMap,
    body: Body<ResetBody>,
) -> Result<(StatusCode, Json<CodeSentView>), Problem> {
    let ResetBody { email, device_token } = body.value;
    let device = device_token.or_else(|| cookies::device(&api, &headers));
    let started = whoever_hangs_up(&api, move |app| async move {
        app.request_password_reset(&email, device.as_deref(), &from.0).await
    })
    .await?;
    Ok((StatusCode::ACCEPTED, Json(started.into())))
}

/// Take a new password with a code.
///
/// Ends all sessions of the account, and lifts the delay after wrong passwords. That there is no account is
/// told only to who has proved that the address is theirs.
#[utoipa::path(post, path = "/v1/auth/password-reset/confirm", tag = "Sign-in", security(()), request_body = ConfirmResetBody, responses(
    (status = 204, description = "The password is another now"),
    openapi::CodeProblems, openapi::NotFoundProblem, openapi::ConflictProblem,
))]
pub(in super::super) async fn reset_password(
    State(api): State<Arc<Api>>,
    from: From,
    body: Body<ConfirmResetBody>,
) -> Result<StatusCode, Problem> {
    let id = verification(&body.value.verification)?;
    let ConfirmResetBody { code, password, .. } = body.value;
    whoever_hangs_up(&api, move |app| async move { app.reset_password(id, &code, &password, &from.0).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Change your password. Ends all other sessions.
#[utoipa::path(post, path = "/v1/me/password", tag = "Sign-in", security(("session" = [])), request_body = ChangeBody, responses(
    (status = 204, description = "The password is another now"),
    openapi::BodyProblems, openapi::LoginProblems, openapi::PersonProblems, openapi::ConflictProblem,
))]
pub(in super::super) async fn change_password(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<ChangeBody>,
) -> Result<StatusCode, Problem> {
    let ChangeBody { current_password, new_password } = body.value;
    let change =
        move |app: Arc<App>| async move { app.change_password(&person, &current_password, &new_password).await };
    whoever_hangs_up(&api, change).await?;
    Ok(StatusCode::NO_CONTENT)
}
