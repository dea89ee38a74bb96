//! `/v1/me`: what people change about their own accounts, and how they erase them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::super::auth::Person;
use super::super::body::Body;
use super::super::tenants::problems::OwnerConflict;
use super::super::verifications::refused;
use super::super::{Api, Problem, openapi};
use super::me::{MeView, view};
use super::second_factor::ReproofBody;
use super::sign_up::{CodeSentView, ConfirmBody, verification};

/// What is to be different about you.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeMe)]
pub(in super::super) struct RenameBody {
    /// What you are called; empty for nothing.
    #[schema(example = "Ada", max_length = 100)]
    name: String,
}

/// Where your account is to be found, and that it is still you: one of `password` and `code`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EmailChange)]
pub(in super::super) struct EmailChangeBody {
    /// Where the code goes.
    #[schema(example = "ada@example.org")]
    email: String,
    /// Your password.
    #[serde(default)]
    #[schema(format = Password)]
    password: Option<String>,
    /// The six digits that the app shows now, or a recovery code.
    #[serde(default)]
    #[schema(example = "492039")]
    code: Option<String>,
}

/// Change what you are called.
#[utoipa::path(patch, path = "/v1/me", tag = "Sign-in", security(("session" = [])), request_body = RenameBody, responses(
    (status = 200, description = "You", body = MeView),
    openapi::BodyProblems, openapi::PersonProblems, openapi::NotFoundProblem, openapi::ConflictProblem,
))]
pub(in super::super) async fn rename_person(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<RenameBody>,
) -> Result<Json<MeView>, Problem> {
    let renamed = api.app.rename_person(&person, &body.value.name).await;
    let user = renamed.map_err(|refusal| refused(&api, refusal))?;
    view(&api, &user, &person.members).map(Json)
}

/// Ask for another email address: sends a code there.
///
/// The answer, and the time it takes, are the same whether or not somebody has an account with that address. The
/// address that you have is told.
#[utoipa::path(post, path = "/v1/me/email", tag = "Sign-in", security(("session" = [])), request_body = EmailChangeBody, responses(
    (status = 202, description = "A code went out", body = CodeSentView),
    openapi::CodeProblems, openapi::ReproofProblems, openapi::EmailChangeProblems,
    openapi::NotFoundProblem, openapi::ConflictProblem,
))]
pub(in super::super) async fn request_email_change(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<EmailChangeBody>,
) -> Result<(StatusCode, Json<CodeSentView>), Problem> {
    let EmailChangeBody { email, password, code } = body.value;
    let still_you = ReproofBody::new(password, code);
    let started = api.app.request_email_change(&person, &email, still_you.reproof()?).await;
    let started = started.map_err(|refusal| refused(&api, refusal))?;
    Ok((StatusCode::ACCEPTED, Json(started.into())))
}

/// Take another email address with the code that went there. Ends all other sessions.
///
/// It takes the session that asked. Both addresses are told. That another account has the address (`taken`) is
/// told only to who has proved that it is theirs.
#[utoipa::path(post, path = "/v1/me/email/confirm", tag = "Sign-in", security(("session" = [])), request_body = ConfirmBody, responses(
    (status = 200, description = "You", body = MeView),
    openapi::CodeProblems, openapi::PersonProblems, openapi::TakenConflict,
))]
pub(in super::super) async fn confirm_email_change(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<ConfirmBody>,
) -> Result<Json<MeView>, Problem> {
    let ConfirmBody { verification: id, code } = body.value;
    let changed = api.app.confirm_email_change(&person, verification(&id)?, &code).await;
    let user = changed.map_err(|refusal| refused(&api, refusal))?;
    view(&api, &user, &person.members).map(Json)
}

/// Erase your account, for good.
///
/// With it go your memberships, sessions, second factor, linked identities and the invitations to your address,
/// all at once. The address is free again. The audit log keeps your id. As long as you are the only owner of a
/// tenant that is not deleted, `last_owner` says of which.
#[utoipa::path(post, path = "/v1/me/erase", tag = "Sign-in", security(("session" = [])), request_body = ReproofBody, responses(
    (status = 204, description = "It is gone"),
    openapi::CodeProblems, openapi::ReproofProblems, openapi::NotFoundProblem, OwnerConflict,
))]
pub(in super::super) async fn erase_account(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<ReproofBody>,
) -> Result<StatusCode, Problem> {
    let erased = api.app.erase_account(&person, body.value.reproof()?).await;
    erased.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}
