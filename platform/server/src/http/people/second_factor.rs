//! `/v1/me/second-factor`, and its question at sign-in: `/v1/auth/second-factor`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{Opened, Reproof, SignInStep};

use super::super::auth::{FromAtAnyTime, Person};
use super::super::body::Body;
use super::super::to_the_end::whoever_hangs_up;
use super::super::verifications::refused;
use super::super::{Api, Problem, openapi};
use super::cookies;
use super::login::{OpenedView, given};
use super::sign_up::{CodeSentView, verification};

/// What signing in gives: a session, or the question for the second factor.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = SignIn)]
pub(in super::super) enum SignInView {
    /// A session.
    Open(OpenedView),
    /// The second factor is asked for: answer with `POST /v1/auth/second-factor`.
    SecondFactor(SecondFactorAskedView),
}

/// The question for the second factor.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondFactorAsked)]
pub(in super::super) struct SecondFactorAskedView {
    /// Always true.
    second_factor_required: bool,
    /// What the answer comes with. Keep it where nobody else reads it.
    #[schema(example = "q3Jv0uXk1m8hT5yWZrNf2bCdE4gHiJkLmNoPqRsTuVw")]
    challenge: String,
    /// Until when it may be answered: five minutes.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:05:00Z")]
    expires_at: Timestamp,
}

/// An answer to the question for the second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SecondFactorAnswer)]
pub(in super::super) struct AnswerBody {
    /// `challenge` of the question.
    #[schema(example = "q3Jv0uXk1m8hT5yWZrNf2bCdE4gHiJkLmNoPqRsTuVw")]
    challenge: String,
    /// The six digits that the app shows now, or a recovery code.
    #[schema(example = "492039")]
    code: String,
    /// `device_token` of an earlier login from here; a browser sends it by itself.
    #[serde(default)]
    device_token: Option<String>,
}

/// Your second factor.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SecondFactor)]
pub(in super::super) struct SecondFactorView {
    /// Whether it is asked for when you sign in.
    active: bool,
    /// Since when; null while it is not.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00Z")]
    active_since: Option<Timestamp>,
    /// Recovery codes that were not used.
    #[schema(example = 10)]
    recovery_codes_left: usize,
}

/// Who begins a second factor.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EnrolSecondFactor)]
pub(in super::super) struct EnrolBody {
    /// Your password. Left out by who has none and signs in elsewhere.
    #[serde(default)]
    #[schema(format = Password, example = "correct horse battery")]
    password: Option<String>,
    /// Without a password: what the code of `POST /v1/me/second-factor/code` went out with.
    #[serde(default)]
    #[schema(example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    verification: Option<String>,
    /// The code.
    #[serde(default)]
    #[schema(example = "ACDE4679")]
    code: Option<String>,
}

/// What an authenticator app is to know. Shown once.
#[derive(Serialize, ToSchema)]
#[schema(as = SecondFactorEnrolment)]
pub(in super::super) struct EnrolmentView {
    /// To be typed into an app.
    #[schema(example = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")]
    secret: String,
    /// To be shown as a QR code.
    #[schema(
        example = "otpauth://totp/WOTP:ada%40example.com?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=WOTP&algorithm=SHA1&digits=6&period=30"
    )]
    uri: String,
}

/// The first code of an app.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConfirmSecondFactor)]
pub(in super::super) struct ConfirmBody {
    /// The six digits that the app shows now.
    #[schema(example = "492039")]
    code: String,
}

/// That it is still you: one of the two.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StillYou)]
pub(in super::super) struct ReproofBody {
    /// Your password.
    #[serde(default)]
    #[schema(format = Password)]
    password: Option<String>,
    /// The six digits that the app shows now, or a recovery code.
    #[serde(default)]
    #[schema(example = "492039")]
    code: Option<String>,
}

impl ReproofBody {
    /// Of a body that asks for more.
    pub(super) fn new(password: Option<String>, code: Option<String>) -> Self {
        Self { password, code }
    }

    pub(super) fn reproof(&self) -> Result<Reproof<'_>, Problem> {
        match (&self.password, &self.code) {
            (Some(password), None) => Ok(Reproof::Password(password)),
            (None, Some(code)) => Ok(Reproof::Code(code)),
            _ => Err(Problem::field("code", "write one of `password` and `code`")),
        }
    }
}

/// Recovery codes.
#[derive(Serialize, ToSchema)]
#[schema(as = RecoveryCodes)]
pub(in super::super) struct RecoveryCodesView {
    /// Ten codes that work once each where the app is lost. Shown this one time: print them, or put them into
    /// a password manager.
    #[schema(example = json!(["ACDEF-GHJKM-NPQRT-UVWXY-34679"]))]
    recovery_codes: Vec<String>,
}

/// What came of a first factor, in its body and in cookies.
pub(super) fn stepped(api: &Api, step: SignInStep) -> (HeaderMap, Json<SignInView>) {
    match step {
        SignInStep::Open(opened) => {
            let (headers, Json(view)) = given(api, *opened);
            (headers, Json(SignInView::Open(view)))
        }
        SignInStep::SecondFactor { challenge, expires_at } => {
            let challenge = challenge.reveal();
            let view = SecondFactorAskedView { second_factor_required: true, challenge, expires_at };
            (HeaderMap::new(), Json(SignInView::SecondFactor(view)))
        }
    }
}

/// Answer the question for the second factor.
///
/// The session's tokens travel as the login asked for. A wrong code makes the next one wait, a second at first;
/// after five wrong ones, or five minutes, sign in anew. Wrong codes of the app are counted for the account as
/// well: after five in a row the next one waits 30 seconds, up to an hour, and after a hundred only a recovery
/// code is taken. A recovery code never waits for that.
#[utoipa::path(post, path = "/v1/auth/second-factor", tag = "Sign-in", security(()), request_body = AnswerBody, responses(
    (status = 200, description = "Signed in", body = OpenedView, headers(("Set-Cookie" = String, description = "With `cookie`: the refresh token, the CSRF token and the device token"))),
    openapi::CodeProblems, openapi::SignInProblems, openapi::ConflictProblem,
))]
pub(in super::super) async fn answer_second_factor(
    State(api): State<Arc<Api>>,
    from: FromAtAnyTime,
    headers: HeaderMap,
    body: Body<AnswerBody>,
) -> Result<(HeaderMap, Json<OpenedView>), Problem> {
    let AnswerBody { challenge, code, device_token } = body.value;
    let device = device_token.or_else(|| cookies::device(&api, &headers));
    let opened: Opened = whoever_hangs_up(&api, move |app| async move {
        app.answer_second_factor(&challenge, &code, device.as_deref(), &from.0).await
    })
    .await?;
    Ok(given(&api, opened))
}

/// Read whether you have a second factor.
#[utoipa::path(get, path = "/v1/me/second-factor", tag = "Sign-in", security(("session" = [])), responses(
    (status = 200, description = "Your second factor", body = SecondFactorView), openapi::PersonProblems,
))]
pub(in super::super) async fn find_second_factor(
    State(api): State<Arc<Api>>,
    person: Person,
) -> Result<Json<SecondFactorView>, Problem> {
    let state = api.app.second_factor(&person).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(SecondFactorView {
        active: state.active_since.is_some(),
        active_since: state.active_since,
        recovery_codes_left: state.recovery_codes_left,
    }))
}

/// Ask for the code that begins a second factor where you have no password: it goes to your email address.
#[utoipa::path(post, path = "/v1/me/second-factor/code", tag = "Sign-in", security(("session" = [])), responses(
    (status = 202, description = "A code went out", body = CodeSentView),
    openapi::PersonProblems, openapi::CodeLimits,
))]
pub(in super::super) async fn request_second_factor_code(
    State(api): State<Arc<Api>>,
    person: Person,
) -> Result<(StatusCode, Json<CodeSentView>), Problem> {
    let started = api.app.request_second_factor_code(&person).await.map_err(|refusal| refused(&api, refusal))?;
    Ok((StatusCode::ACCEPTED, Json(started.into())))
}

/// Begin a second factor: an authenticator app. Whoever has no password shows a code that went to their address.
///
/// It is asked for once its first code was right: `POST /v1/me/second-factor/confirm`. Beginning again gives
/// another secret, as long as none is on.
#[utoipa::path(post, path = "/v1/me/second-factor", tag = "Sign-in", security(("session" = [])), request_body = EnrolBody, responses(
    (status = 201, description = "Begun", body = EnrolmentView),
    openapi::CodeProblems, openapi::ReproofProblems, openapi::SecondFactorConflict,
))]
pub(in super::super) async fn enrol_second_factor(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<EnrolBody>,
) -> Result<(StatusCode, Json<EnrolmentView>), Problem> {
    let EnrolBody { password, verification: id, code } = body.value;
    let mailed = match (&id, &code) {
        (Some(id), Some(code)) => Some((verification(id)?, code.as_str())),
        _ => None,
    };
    let enrolled = api.app.enrol_second_factor(&person, password.as_deref(), mailed).await;
    let enrolment = enrolled.map_err(|refusal| refused(&api, refusal))?;
    let view = EnrolmentView { secret: (*enrolment.secret).clone(), uri: (*enrolment.uri).clone() };
    Ok((StatusCode::CREATED, Json(view)))
}

/// Switch the second factor on, with the first code of the app. Gives the recovery codes, and ends all other sessions.
///
/// Whoever signs in at this moment begins again, and is asked for it. Device tokens from before are worth nothing.
#[utoipa::path(post, path = "/v1/me/second-factor/confirm", tag = "Sign-in", security(("session" = [])), request_body = ConfirmBody, responses(
    (status = 200, description = "It is on", body = RecoveryCodesView),
    openapi::CodeProblems, openapi::ReproofProblems, openapi::NotFoundProblem, openapi::SecondFactorConflict,
))]
pub(in super::super) async fn confirm_second_factor(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<ConfirmBody>,
) -> Result<Json<RecoveryCodesView>, Problem> {
    let confirmed = api.app.confirm_second_factor(&person, &body.value.code).await;
    Ok(Json(RecoveryCodesView { recovery_codes: confirmed.map_err(|refusal| refused(&api, refusal))? }))
}

/// Replace your recovery codes. Those from before work no more.
#[utoipa::path(post, path = "/v1/me/second-factor/recovery-codes", tag = "Sign-in", security(("session" = [])), request_body = ReproofBody, responses(
    (status = 200, description = "The new ones", body = RecoveryCodesView),
    openapi::CodeProblems, openapi::ReproofProblems, openapi::NotFoundProblem, openapi::ConflictProblem,
))]
pub(in super::super) async fn renew_recovery_codes(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<ReproofBody>,
) -> Result<Json<RecoveryCodesView>, Problem> {
    let renewed = api.app.renew_recovery_codes(&person, body.value.reproof()?).await;
    Ok(Json(RecoveryCodesView { recovery_codes: renewed.map_err(|refusal| refused(&api, refusal))? }))
}

/// Switch the second factor off.
#[utoipa::path(post, path = "/v1/me/second-factor/disable", tag = "Sign-in", security(("session" = [])), request_body = ReproofBody, responses(
    (status = 204, description = "It is off, and forgotten"),
    openapi::CodeProblems, openapi::ReproofProblems, openapi::NotFoundProblem, openapi::ConflictProblem,
))]
pub(in super::super) async fn disable_second_factor(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<ReproofBody>,
) -> Result<StatusCode, Problem> {
    let disabled = api.app.disable_second_factor(&person, body.value.reproof()?).await;
    disabled.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}
