//! `/v1/verifications`: start, check, resend, cancel, read.

pub(super) mod inbound;
mod views;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{ApiCaller, StartVerification};
use wotp_core::domain::code::CodeKind;
use wotp_core::domain::id::VerificationId;
use wotp_core::domain::magic_link::LinkTerms;

use super::auth::{Caller, VerificationsRead, VerificationsWrite};
use super::body::Body;
use super::guard::count_against;
use super::live::{self, Wait};
use super::path::InPath;
use super::query::{ListPage, ListQuery};
use super::{Api, Problem, idempotency, rate_limit, to_the_end};
use inbound::InboundView;
use views::{Checks, LinkBody};
pub(super) use views::{
    CodeKindName, DeliveryFailureName, DeliveryStatusName, DeliveryView, FailureReasonName, MethodName, StatusName,
    VerificationView, shown_address, view,
};

/// A request to verify an address.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartVerification)]
pub(super) struct StartBody {
    /// A phone number in E.164, or an email address. With `method: "inbound"` a phone number, or left out: then whoever
    /// writes is verified.
    #[schema(example = "+12025550123", min_length = 3, max_length = 254)]
    to: Option<String>,
    /// `code`, which your app asks for and checks, `link`, which the person opens to approve by a button, or `inbound`,
    /// where the person writes to your number.
    #[serde(default)]
    #[schema(default = "code")]
    method: MethodName,
    /// What is agreed about the link; with `method: "link"` only.
    link: Option<LinkBody>,
    /// The service's id; the key's or the tenant's default when left out.
    #[schema(example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: Option<String>,
    /// Channels in the order they are tried; the service's when left out, and none with `method: "inbound"`.
    #[serde(default)]
    #[schema(example = json!(["console"]), max_items = 10)]
    channels: Vec<String>,
    /// Language of the message (BCP 47); that of the number's region when left out, then the service's.
    #[schema(example = "en")]
    locale: Option<String>,
    /// Characters of the code.
    #[schema(minimum = 4, maximum = 12)]
    code_length: Option<u8>,
    /// What the code is made of.
    code_kind: Option<CodeKindName>,
    /// Life of the code in seconds: up to 600, or 3600 where the service opted in.
    #[schema(minimum = 30, maximum = 3600)]
    expires_in_seconds: Option<u32>,
    /// Your own code, where the service sets `code.custom_allowed`: 4 to 12 letters and digits.
    #[schema(min_length = 4, max_length = 12, pattern = "^[0-9A-Za-z]*$")]
    code: Option<String>,
    /// A text for this verification with `{{code}}` in it, by the rules of a service's templates.
    #[schema(example = "{{code}} is your {{brand}} code. {{expiry}}", max_length = 1000)]
    template: Option<String>,
    /// Your own notes: at most 20 pairs, names up to 40 and values up to 500 characters.
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    /// The IP address of your user, for the guard's rules at the start. It is not kept.
    #[schema(example = "192.0.2.7")]
    ip: Option<String>,
}

/// A guess.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Check)]
pub(super) struct CheckBody {
    /// The code as it was typed; spaces, dashes and case do not matter.
    #[schema(example = "123456")]
    code: String,
}

/// A guess, for whoever does not keep the verification's id.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CheckAddress)]
pub(super) struct CheckAddressBody {
    /// The address that the code went to.
    #[schema(example = "+12025550123", min_length = 3, max_length = 254)]
    to: String,
    /// The code as it was typed.
    #[schema(example = "123456")]
    code: String,
    /// The service's id; the key's or the tenant's default when left out.
    service: Option<String>,
}

/// What came of a check.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CheckResult {
    /// True once, for the first right code in time.
    #[schema(example = false)]
    valid: bool,
    /// Where the verification stands now.
    status: StatusName,
    /// Guesses.
    checks: Checks,
    /// The verification.
    verification: VerificationView,
}

/// The problem that a refusal is.
pub(super) fn refused(api: &Api, refusal: wotp_core::app::Refusal) -> Problem {
    Problem::of(refusal, api.app.ports().clock.now())
}

/// An id in a path: one that cannot be is nobody's.
pub(super) fn path_id<T: std::str::FromStr<Err = wotp_core::domain::id::IdError>>(text: &str) -> Result<T, Problem> {
    text.parse()
        .map_err(|error: wotp_core::domain::id::IdError| Problem::new(super::ProblemCode::NotFound, error.to_string()))
}

/// Start a verification: sends a code, or a link, or says what the person is to write.
///
/// When the reply is there, the verification is stored and will be attempted, whatever crashes.
/// The message goes out within moments; follow `deliveries`. With `method: "link"` it carries a link to a page of this
/// server, whose button approves; the browser that it is bound to by `link.same_browser` is to be sent to `bind_url`,
/// which is in this reply only. With `method: "inbound"` nothing is sent: show the person the link or the QR of
/// `inbound.message`, which is in this reply only; their message to your WhatsApp number, with the token in it, approves. One
/// that the guard of the service stops is started as
/// `failed`, with the reason in `verdict`: nothing is sent, and nothing is counted. Of these and of messages, 1,000 a
/// day are stored; one more is `guard_blocked` (409): it names the `rule`, and has no id.
#[utoipa::path(post, path = "/v1/verifications", tag = "Verifications", security(("api_key" = ["verifications:write"])), request_body = StartBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names this request: repeated within 24 hours, it returns the first result", min_length = 1, max_length = 255)),
    responses(
        (status = 201, description = "Started", body = VerificationView, headers(("Location" = String, description = "Its path"), ("RateLimit" = String, description = "What is left of the plan's rate"), ("RateLimit-Policy" = String, description = "The plan's rate"))),
        super::openapi::StartProblems, super::openapi::AuthProblems, super::openapi::StartLimits, super::openapi::UnkeptConflict,
        super::openapi::NotFoundProblem,
    ))]
pub(super) async fn start_verification(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsWrite>,
    headers: HeaderMap,
    body: Body<StartBody>,
) -> Result<Response, Problem> {
    let idempotency = idempotency::key(&headers, body.fingerprint)?;
    let taken = api.app.take_rate(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    let body = body.value;
    let request = StartVerification {
        to: body.to,
        method: body.method.into(),
        link: body.link.map(LinkTerms::from),
        service: body.service,
        channels: body.channels,
        locale: body.locale,
        code_length: body.code_length,
        code_kind: body.code_kind.map(CodeKind::from),
        expires_in_seconds: body.expires_in_seconds,
        long_expiry_allowed: false,
        code: body.code,
        template: body.template,
        metadata: body.metadata,
        ip: body.ip,
        idempotency,
        // Those of the service.
        address_limits: None,
        id: None,
    };
    let verification =
        to_the_end(&api, &caller, |app, caller| async move { app.start_verification(&caller, request).await }).await?;
    count_against(&verification.guard);
    let mut headers = rate_limit::headers(taken, verification.created_at);
    headers.insert(header::LOCATION, location("/v1/verifications/", &verification.id.to_string()));
    // Whoever only reads verifications is not to bind a browser of theirs.
    let bind_url = api.app.bind_url(&verification).map_err(|refusal| refused(&api, refusal))?;
    let inbound = InboundView::of(&api, &verification)?;
    let inbound = inbound.map(|inbound| inbound.with_message(&api, &verification)).transpose()?;
    let mut started = view(&api, &caller, verification)?;
    started.bind_url = bind_url;
    started.inbound = inbound;
    Ok((StatusCode::CREATED, headers, Json(started)).into_response())
}

/// `Location` of something new.
pub(super) fn location(path: &str, id: &str) -> HeaderValue {
    HeaderValue::from_str(&format!("{path}{id}")).expect("an id is ASCII")
}

/// List verifications, newest first.
#[utoipa::path(get, path = "/v1/verifications", tag = "Verifications", security(("api_key" = ["verifications:read"])), params(VerificationListParams),
    responses((status = 200, description = "A page", body = ListPage<VerificationView>), super::openapi::QueryProblems, super::openapi::AuthProblems))]
pub(super) async fn list_verifications(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsRead>,
    query: ListQuery,
) -> Result<Json<ListPage<VerificationView>>, Problem> {
    let filter = query.filter(&api, &caller, true)?;
    let after = query.after.map(VerificationId::from_bytes);
    let page = api
        .app
        .list_verifications(&caller, filter, after, query.limit)
        .await
        .map_err(|refusal| refused(&api, refusal))?;
    let last = page.items.last().map(|verification| verification.id.to_bytes());
    let items =
        page.items.into_iter().map(|verification| view(&api, &caller, verification)).collect::<Result<_, _>>()?;
    Ok(Json(ListPage::new(items, last.filter(|_| page.more))))
}

/// Parameters of the listing of verifications. All conditions hold together.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the documentation of what `ListQuery` reads")]
pub(super) struct VerificationListParams {
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only with this status.
    #[param(inline)]
    status: Option<StatusName>,
    /// Only with a delivery through this channel.
    channel: Option<String>,
    /// Only to this address.
    address: Option<String>,
    /// Only of this service.
    service: Option<String>,
    /// Only started at or after this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_from: Option<String>,
    /// Only started before this moment (RFC 3339).
    #[param(value_type = Option<String>, format = DateTime)]
    created_before: Option<String>,
    /// Only with these notes, as in `metadata[order]=7`.
    #[param(style = DeepObject, explode, value_type = Option<std::collections::HashMap<String, String>>)]
    metadata: Option<BTreeMap<String, String>>,
}

/// Read a verification.
///
/// With `wait`, the reply's body comes once the status, the guesses, the sends or a delivery's status have
/// changed, or when the time is up; it is the verification as it is then. One that has ended is answered at
/// once. Let your client wait for longer than you ask the server to. A reply may be cut off when the key is
/// revoked meanwhile; when the server is about to stop, it answers early: ask again.
#[utoipa::path(get, path = "/v1/verifications/{id}", tag = "Verifications", security(("api_key" = ["verifications:read"])), params(("id" = String, Path, description = "`ver_…`", example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M"), ("wait" = Option<u64>, Query, description = "Seconds to wait for a change", minimum = 0, maximum = 60)),
    responses((status = 200, description = "The verification", body = VerificationView), super::openapi::AuthProblems, super::openapi::NotFoundProblem, super::openapi::WaitProblems))]
pub(super) async fn find_verification(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsRead>,
    Wait(wait): Wait,
    InPath(id): InPath<String>,
) -> Result<Response, Problem> {
    let id = path_id(&id)?;
    if let Some(wait) = wait {
        return live::verification(Arc::clone(&api), caller.clone(), id, wait).await;
    }
    let verification = api.app.find_verification(&caller, id).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(&api, &caller, verification)?).into_response())
}

/// Check a code.
///
/// Of any number of checks, at the same time or not, at most one is ever `valid`.
#[utoipa::path(post, path = "/v1/verifications/{id}/check", tag = "Verifications", security(("api_key" = ["verifications:write"])), params(("id" = String, Path, description = "`ver_…`", example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = CheckBody,
    responses((status = 200, description = "Checked", body = CheckResult), super::openapi::BodyProblems, super::openapi::AuthProblems, super::openapi::NotFoundProblem, super::openapi::CheckConflict))]
pub(super) async fn check_verification(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsWrite>,
    InPath(id): InPath<String>,
    body: Body<CheckBody>,
) -> Result<Json<CheckResult>, Problem> {
    let checked = api.app.check_verification(&caller, path_id(&id)?, &body.value.code).await;
    result(&api, &caller, checked.map_err(|refusal| refused(&api, refusal))?)
}

/// Check a code against an address.
///
/// A code of any pending verification of the address is right, in time. A wrong one counts as a guess
/// at each of them, and the newest answers.
#[utoipa::path(post, path = "/v1/verifications/check", tag = "Verifications", security(("api_key" = ["verifications:write"])), request_body = CheckAddressBody,
    responses((status = 200, description = "Checked", body = CheckResult), super::openapi::BodyProblems, super::openapi::AuthProblems, super::openapi::NotFoundProblem, super::openapi::CheckConflict))]
pub(super) async fn check_address(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsWrite>,
    body: Body<CheckAddressBody>,
) -> Result<Json<CheckResult>, Problem> {
    let body = body.value;
    let checked = api.app.check_address(&caller, &body.to, &body.code, body.service.as_deref()).await;
    result(&api, &caller, checked.map_err(|refusal| refused(&api, refusal))?)
}

fn result(api: &Api, caller: &ApiCaller, checked: wotp_core::app::Checked) -> Result<Json<CheckResult>, Problem> {
    let verification = view(api, caller, checked.verification)?;
    Ok(Json(CheckResult {
        valid: checked.valid,
        status: verification.status,
        checks: verification.checks,
        verification,
    }))
}

/// Send the same code or link again.
///
/// Same code or link, same expiry, same checks left. Not before `sends.next_at`.
#[utoipa::path(post, path = "/v1/verifications/{id}/resend", tag = "Verifications", security(("api_key" = ["verifications:write"])), params(("id" = String, Path, description = "`ver_…`", example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "Sent again", body = VerificationView, headers(("RateLimit" = String, description = "What is left of the plan's rate"), ("RateLimit-Policy" = String, description = "The plan's rate"))), super::openapi::AuthProblems, super::openapi::NotFoundProblem, super::openapi::ResendConflict, super::openapi::ResendLimits))]
pub(super) async fn resend_verification(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsWrite>,
    InPath(id): InPath<String>,
) -> Result<(HeaderMap, Json<VerificationView>), Problem> {
    let id = path_id(&id)?;
    let taken = api.app.take_rate(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    let verification =
        to_the_end(&api, &caller, move |app, caller| async move { app.resend_verification(&caller, id).await }).await?;
    let headers = rate_limit::headers(taken, api.app.ports().clock.now());
    Ok((headers, Json(view(&api, &caller, verification)?)))
}

/// Call a verification off.
#[utoipa::path(post, path = "/v1/verifications/{id}/cancel", tag = "Verifications", security(("api_key" = ["verifications:write"])), params(("id" = String, Path, description = "`ver_…`", example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "Canceled", body = VerificationView), super::openapi::AuthProblems, super::openapi::NotFoundProblem, super::openapi::EndedConflict))]
pub(super) async fn cancel_verification(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsWrite>,
    InPath(id): InPath<String>,
) -> Result<Json<VerificationView>, Problem> {
    let verification =
        api.app.cancel_verification(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(&api, &caller, verification)?))
}
