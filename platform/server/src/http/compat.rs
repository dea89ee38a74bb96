//! The paths of the WOTP API, over the same use cases: a WOTP client works by changing its base URL.
//!
//! Replies and errors have WOTP's shapes, `{success, message}` and `{error, details?}`.

pub(super) mod accounts;
pub(super) mod keys;
pub(super) mod sessions;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{Refusal, SendMessage, StartVerification};
use wotp_core::domain::code::CodeKind;
use wotp_core::domain::guard::{Effect, GuardNote};
use wotp_core::domain::id::MessageId;
use wotp_core::domain::verification::FailureReason;

use super::auth::{Caller, MessagesRead, MessagesWrite, UsageRead, VerificationsWrite};
use super::body::Body;
use super::guard::count_against;
use super::problem::{Problem, ProblemCode};
use super::query::ListQuery;
use super::verifications::{CodeKindName, refused};
use super::{Api, messages, to_the_end};

/// Whether errors on this path have WOTP's shape.
pub(super) fn speaks_at(route: &str) -> bool {
    route.starts_with("/api/")
}

/// An error in WOTP's shape.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpError)]
pub(super) struct ErrorBody {
    /// What happened.
    #[schema(example = "The request does not hold")]
    error: String,
    /// What would be right.
    #[schema(example = "`phone`: a phone number starts with `+` and the country code, as in `+12025550123`")]
    details: String,
}

/// Our names of fields, and what WOTP calls them.
const NAMES: [(&str, &str); 9] = [
    ("`to`", "`phone`"),
    ("`code_length`", "`length`"),
    ("`code_kind`", "`type`"),
    ("`expires_in_seconds`", "`expiresIn`"),
    ("`template`", "`message`"),
    ("`connection`", "`sessionId`"),
    ("`accept_risk`", "`acceptRisk`"),
    ("`code_for`", "`phone`"),
    ("{{code}}", "{{otp}}"),
];

/// The body of a refusal.
pub(super) fn refusal(problem: &Problem) -> Vec<u8> {
    let details = NAMES.iter().fold(problem.detail().to_owned(), |text, (ours, theirs)| text.replace(ours, theirs));
    let body = ErrorBody { error: problem.code().title().to_owned(), details };
    serde_json::to_vec(&body).expect("an error serialises")
}

/// The status that WOTP clients know: 400, 401, 403, 404, 429 or 500.
pub(super) fn status(code: ProblemCode) -> StatusCode {
    if code == ProblemCode::NotConnected {
        return StatusCode::FORBIDDEN;
    }
    match code.status().as_u16() {
        401 => StatusCode::UNAUTHORIZED,
        403 => StatusCode::FORBIDDEN,
        404 => StatusCode::NOT_FOUND,
        405 => StatusCode::METHOD_NOT_ALLOWED,
        429 => StatusCode::TOO_MANY_REQUESTS,
        400..=499 => StatusCode::BAD_REQUEST,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A code to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OtpSend)]
pub(super) struct OtpSendBody {
    /// The phone number in E.164.
    #[schema(example = "+12025550123", min_length = 3, max_length = 254)]
    phone: String,
    /// Characters of the code.
    #[schema(minimum = 4, maximum = 12)]
    length: Option<u8>,
    /// What the code is made of.
    #[serde(rename = "type")]
    kind: Option<CodeKindName>,
    /// Life of the code in seconds.
    #[serde(rename = "expiresIn")]
    #[schema(minimum = 30, maximum = 3600)]
    expires_in: Option<u32>,
    /// A text with `{{otp}}` in it.
    #[schema(example = "{{otp}} is your code.", max_length = 1000)]
    message: Option<String>,
}

/// A code to check.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OtpVerify)]
pub(super) struct OtpVerifyBody {
    /// The phone number that it went to.
    #[schema(example = "+12025550123", min_length = 3, max_length = 254)]
    phone: String,
    /// The code as it was typed.
    #[schema(example = "123456")]
    otp: String,
}

/// A direct message to send.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WotpMessageSend)]
pub(super) struct MessageSendBody {
    /// The phone number in E.164.
    #[schema(example = "+12025550123", min_length = 3, max_length = 254)]
    phone: String,
    /// What it says.
    #[schema(example = "Your order has arrived.", min_length = 1, max_length = 2048)]
    content: String,
    /// The WhatsApp session that it goes out through, and no other: what you call it, or the id of its connection. Left out,
    /// it is whichever there is, or another channel.
    #[serde(rename = "sessionId")]
    #[schema(example = "support")]
    session_id: Option<String>,
}

/// What was done.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpReply)]
pub(super) struct Reply {
    /// Whether it was done; of a check, whether the code was right.
    #[schema(example = true)]
    success: bool,
    /// In words.
    #[schema(example = "OTP sent")]
    message: &'static str,
    /// The phone number as it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "+12025550123")]
    phone: Option<String>,
    /// The code, with a test key.
    #[serde(skip_serializing_if = "Option::is_none")]
    test_code: Option<String>,
}

/// Send a code.
#[utoipa::path(post, path = "/api/otp/send", tag = "WOTP-compatible", security(("api_key" = ["verifications:write"])), request_body = OtpSendBody,
    responses((status = 200, description = "Sent", body = Reply), CompatProblems))]
pub(super) async fn otp_send(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsWrite>,
    body: Body<OtpSendBody>,
) -> Result<Json<Reply>, Problem> {
    let body = body.value;
    api.app.take_rate(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    let request = StartVerification {
        to: Some(body.phone.clone()),
        code_length: body.length,
        code_kind: body.kind.map(CodeKind::from),
        expires_in_seconds: body.expires_in,
        long_expiry_allowed: true,
        template: body.message.map(|text| otp_placeholder(&text)),
        ..StartVerification::default()
    };
    let verification =
        to_the_end(&api, &caller, |app, caller| async move { app.start_verification(&caller, request).await }).await?;
    passed(&api, &verification.guard)?;
    let test_code = api.app.test_code(&verification).map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(Reply {
        success: true,
        message: "OTP sent",
        phone: Some(body.phone),
        test_code: test_code.map(|code| code.as_str().to_owned()),
    }))
}

/// A WOTP client knows no verdicts: to it, what the guard stopped is an error.
fn passed(api: &Api, notes: &[GuardNote]) -> Result<(), Problem> {
    count_against(notes);
    match notes.iter().find(|note| note.effect == Effect::Blocked) {
        Some(note) => Err(refused(api, Refusal::Blocked(note.clone()))),
        None => Ok(()),
    }
}

/// WOTP's placeholder as ours.
fn otp_placeholder(text: &str) -> String {
    text.replace("{{otp}}", "{{code}}").replace("{{ otp }}", "{{code}}").replace("\r\n", "\n")
}

/// Check a code.
///
/// A wrong or expired one is `success: false`.
#[utoipa::path(post, path = "/api/otp/verify", tag = "WOTP-compatible", security(("api_key" = ["verifications:write"])), request_body = OtpVerifyBody,
    responses((status = 200, description = "Checked", body = Reply), CompatProblems))]
pub(super) async fn otp_verify(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsWrite>,
    body: Body<OtpVerifyBody>,
) -> Result<Json<Reply>, Problem> {
    let said = |success, message| Ok(Json(Reply { success, message, phone: None, test_code: None }));
    match api.app.check_address(&caller, &body.value.phone, &body.value.otp, None).await {
        Ok(checked) if checked.valid => said(true, "OTP verified"),
        Ok(checked) if checked.verification.reason == Some(FailureReason::MaxChecks) => {
            said(false, "Too many wrong codes; request a new one")
        }
        // Who was sent a link, or is to write, has no code to be right.
        Ok(_) | Err(Refusal::NotFound(_) | Refusal::HasLink | Refusal::IsInbound) => {
            said(false, "Invalid or expired OTP")
        }
        Err(refusal) => Err(refused(&api, refusal)),
    }
}

/// Send a direct message.
#[utoipa::path(post, path = "/api/message/send", tag = "WOTP-compatible", security(("api_key" = ["messages:write"])), request_body = MessageSendBody,
    responses((status = 200, description = "Queued", body = Reply), CompatProblems))]
pub(super) async fn message_send(
    State(api): State<Arc<Api>>,
    caller: Caller<MessagesWrite>,
    body: Body<MessageSendBody>,
) -> Result<Json<Reply>, Problem> {
    let MessageSendBody { phone, content, session_id } = body.value;
    api.app.take_rate(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    let request = SendMessage { to: phone.clone(), content, connection: session_id, ..SendMessage::default() };
    let message =
        to_the_end(&api, &caller, |app, caller| async move { app.send_message(&caller, request).await }).await?;
    passed(&api, &message.guard)?;
    Ok(Json(Reply { success: true, message: "Message queued", phone: Some(phone), test_code: None }))
}

/// One line of the log.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpLog)]
struct Log {
    /// Its id.
    #[schema(example = "msg_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// Masked, unless the key has `addresses:read`.
    #[schema(required, example = "+1********23")]
    phone: Option<String>,
    /// Where it stands.
    #[schema(value_type = super::verifications::DeliveryStatusName)]
    status: wotp_core::domain::dispatch::DeliveryStatus,
    /// The channel at hand.
    #[schema(required, example = "console")]
    channel: Option<String>,
    /// When it was accepted.
    #[serde(rename = "createdAt")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// The log of direct messages.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpLogs)]
pub(super) struct Logs {
    /// True.
    #[schema(example = true)]
    success: bool,
    /// Newest first.
    logs: Vec<Log>,
}

/// Read the log of direct messages, newest first.
#[utoipa::path(get, path = "/api/message/logs", tag = "WOTP-compatible", security(("api_key" = ["messages:read"])), params(messages::MessageListParams),
    responses((status = 200, description = "A page", body = Logs), CompatProblems))]
pub(super) async fn message_logs(
    State(api): State<Arc<Api>>,
    caller: Caller<MessagesRead>,
    query: ListQuery,
) -> Result<Json<Logs>, Problem> {
    let filter = query.filter(&api, &caller, false)?;
    let after = query.after.map(MessageId::from_bytes);
    let page =
        api.app.list_messages(&caller, filter, after, query.limit).await.map_err(|refusal| refused(&api, refusal))?;
    let log = |message| {
        let view = messages::view(&api, &caller, message)?;
        Ok(Log { id: view.id, phone: view.to, status: view.status, channel: view.channel, created_at: view.created_at })
    };
    Ok(Json(Logs { success: true, logs: page.items.into_iter().map(log).collect::<Result<_, Problem>>()? }))
}

/// What was used this month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpUsage)]
pub(super) struct Usage {
    /// True.
    #[schema(example = true)]
    success: bool,
    /// The plan's id.
    #[schema(example = "free")]
    plan: String,
    /// Verifications this month.
    #[schema(example = 12)]
    #[serde(rename = "otpUsed")]
    otp_used: u64,
    /// Allowed this month; null without limit.
    #[serde(rename = "otpLimit")]
    #[schema(required, example = 100)]
    otp_limit: Option<u64>,
    /// Direct messages this month.
    #[schema(example = 3)]
    #[serde(rename = "messagesUsed")]
    messages_used: u64,
    /// Allowed this month; null without limit.
    #[serde(rename = "messagesLimit")]
    #[schema(required, example = 250)]
    messages_limit: Option<u64>,
}

/// Read what was used this month.
#[utoipa::path(get, path = "/api/user/usage", tag = "WOTP-compatible", security(("api_key" = ["usage:read"])), responses((status = 200, description = "This month", body = Usage), CompatProblems))]
pub(super) async fn user_usage(State(api): State<Arc<Api>>, caller: Caller<UsageRead>) -> Result<Json<Usage>, Problem> {
    use wotp_core::domain::quota::{Resource, WindowKind};
    let all = api.app.usage(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    let month = |resource: Resource| {
        let usage = all.iter().find(|usage| usage.resource == resource);
        let month = usage.and_then(|usage| usage.windows.iter().find(|window| window.window.kind == WindowKind::Month));
        month.map_or((0, None), |month| (month.usage.used, month.cap))
    };
    let (otp_used, otp_limit) = month(Resource::Verifications);
    let (messages_used, messages_limit) = month(Resource::Messages);
    Ok(Json(Usage {
        success: true,
        plan: caller.tenant.plan.clone(),
        otp_used,
        otp_limit,
        messages_used,
        messages_limit,
    }))
}

/// Refusals in WOTP's shape.
#[derive(utoipa::IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers on these paths")]
enum CompatProblems {
    /// The request does not hold.
    #[response(status = 400)]
    Invalid(ErrorBody),
    /// There is no API key or access token that works.
    #[response(status = 401)]
    Unknown(ErrorBody),
    /// The caller may not do this, or not from here.
    #[response(status = 403)]
    Forbidden(ErrorBody),
    /// There is no such thing, or the caller is not in the tenant that `WOTP-Tenant` names.
    #[response(status = 404)]
    NotFound(ErrorBody),
    /// A quota or limit is used up: see `Retry-After`.
    #[response(status = 429)]
    Limited(ErrorBody),
    /// Something went wrong on our side, or nothing can be stored now.
    #[response(status = 500)]
    Internal(ErrorBody),
}
