//! WOTP's paths for people: `/api/auth`, `/api/user`.
//!
//! WOTP's user is our person in their tenant; one with more than one tenant names it by `WOTP-Tenant`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{AnalyticsQuery, ApiCaller, Opened, Refusal, ResourceUsage, SignedIn, Whence, WindowUsage};
use wotp_core::domain::dispatch::DeliveryStatus;
use wotp_core::domain::id::VerificationId;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::domain::rollup::{Interval, KEPT};
use wotp_core::domain::session::Transport;
use wotp_core::domain::verification::{Status, Verification};

use super::CompatProblems;
use crate::http::auth::{
    AnalyticsRead, Caller, FromAtAnyTime, Member, Person, PersonAtAnyTime, UsageRead, VerificationsRead,
};
use crate::http::body::Body;
use crate::http::client_ip::FromThisMachine;
use crate::http::query::ListQuery;
use crate::http::verifications::{refused, shown_address};
use crate::http::{Api, Problem};

/// The provider whose ID tokens WOTP's clients bring: the one that is configured under this name.
const GOOGLE: &str = "google";
/// What the first tenant of somebody is called whom the provider does not name.
const FIRST_TENANT: &str = "My company";

/// What Google's own button gave to a page.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WotpGoogleLogin)]
pub(in crate::http) struct GoogleBody {
    /// The ID token, at most ten minutes old and made without a nonce. It works once.
    #[serde(rename = "idToken")]
    id_token: String,
}

/// A refresh token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WotpRefresh)]
pub(in crate::http) struct RefreshBody {
    /// The token.
    #[serde(rename = "refreshToken")]
    refresh_token: String,
}

/// The next tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = WotpTokens)]
pub(in crate::http) struct Tokens {
    /// For `Authorization: Bearer …`.
    #[serde(rename = "accessToken")]
    access_token: String,
    /// For the next access token. It works once.
    #[serde(rename = "refreshToken")]
    refresh_token: String,
}

/// What was done, in words.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpDone)]
pub(in crate::http) struct Done {
    /// In words.
    #[schema(example = "Logged out successfully")]
    message: &'static str,
}

impl Done {
    pub(super) fn of(message: &'static str) -> Self {
        Self { message }
    }
}

/// A person in their tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpUser)]
pub(in crate::http) struct UserView {
    /// Their id.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// Their email address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// What they are called; may be empty.
    #[schema(example = "Ada")]
    name: String,
    /// A picture: there is none.
    #[schema(required)]
    avatar: Option<String>,
    /// The plan of the tenant.
    #[schema(example = "free")]
    plan: String,
    /// Verifications this month.
    #[serde(rename = "usageCount")]
    #[schema(example = 12)]
    usage_count: u64,
    /// Allowed this month; null without limit.
    #[serde(rename = "usageLimit")]
    #[schema(required, example = 100)]
    usage_limit: Option<u64>,
    /// When the month turns over.
    #[serde(rename = "usageResetAt")]
    #[schema(value_type = String, format = DateTime)]
    usage_reset_at: Timestamp,
    /// When the account began.
    #[serde(rename = "createdAt")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A person who signed in.
#[derive(Serialize, ToSchema)]
#[schema(as = WotpSignedIn)]
pub(in crate::http) struct SignedInView {
    /// For `Authorization: Bearer …`.
    #[serde(rename = "accessToken")]
    access_token: String,
    /// For the next access token. It works once.
    #[serde(rename = "refreshToken")]
    refresh_token: String,
    /// Who it is.
    user: UserView,
}

async fn user_view(api: &Api, person: &SignedIn, caller: &ApiCaller) -> Result<UserView, Problem> {
    let email = person.user.address(&api.app.ports().vault).map_err(|error| refused(api, error.into()))?;
    let usage = api.app.usage(caller).await.map_err(|refusal| refused(api, refusal))?;
    let month = month(&usage, Resource::Verifications);
    Ok(UserView {
        id: person.user.id.to_string(),
        email,
        name: person.user.name.clone(),
        avatar: None,
        plan: caller.tenant.plan.clone(),
        usage_count: month.usage.used,
        usage_limit: month.cap,
        usage_reset_at: month.window.ends,
        created_at: person.user.created_at,
    })
}

fn month(usage: &[ResourceUsage], resource: Resource) -> &WindowUsage {
    let windows = usage.iter().filter(|usage| usage.resource == resource).flat_map(|usage| &usage.windows);
    windows.into_iter().find(|window| window.window.kind == WindowKind::Month).expect("every resource has a month")
}

/// Refresh: another access token, and the next refresh token.
#[utoipa::path(post, path = "/api/auth/refresh", tag = "WOTP-compatible", security(()), request_body = RefreshBody,
    responses((status = 200, description = "Refreshed", body = Tokens), CompatProblems))]
pub(in crate::http) async fn auth_refresh(
    State(api): State<Arc<Api>>,
    from: FromAtAnyTime,
    body: Body<RefreshBody>,
) -> Result<Json<Tokens>, Problem> {
    let opened = api.app.refresh(&body.value.refresh_token, Transport::Body, &from.0).await;
    let opened = opened.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(Tokens { refresh_token: opened.refresh_token.reveal(), access_token: opened.access_token }))
}

/// Log out: ends the session whose access token comes with the call.
#[utoipa::path(post, path = "/api/auth/logout", tag = "WOTP-compatible", security(("session" = [])),
    responses((status = 200, description = "Logged out", body = Done), CompatProblems))]
pub(in crate::http) async fn auth_logout(
    State(api): State<Arc<Api>>,
    person: PersonAtAnyTime,
) -> Result<Json<Done>, Problem> {
    api.app.log_out_here(&person).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(Done::of("Logged out successfully")))
}

/// Sign in with an ID token of Google.
///
/// For the provider that the operator configured under the name `google`, and for its client alone. Somebody new
/// gets an account and a tenant of their own. An account with a second factor is refused here: sign in with
/// `POST /v1/auth/oidc/google/start`, which asks for it.
#[utoipa::path(post, path = "/api/auth/google", tag = "WOTP-compatible", security(()), request_body = GoogleBody,
    responses((status = 200, description = "Signed in", body = SignedInView), CompatProblems))]
pub(in crate::http) async fn auth_google(
    State(api): State<Arc<Api>>,
    from: FromAtAnyTime,
    body: Body<GoogleBody>,
) -> Result<Json<SignedInView>, Problem> {
    let opened = api.app.sign_in_by_token(GOOGLE, &body.value.id_token, &from.0).await;
    let opened = opened.map_err(|refusal| refused(&api, refusal))?;
    signed_in(&api, opened, from.0).await.map(Json)
}

/// Signs in without a password. There is no such path unless the installation is for development and the call
/// comes from the same machine, so it is not in the document.
pub(in crate::http) async fn development_login(
    State(api): State<Arc<Api>>,
    _: FromThisMachine,
    from: FromAtAnyTime,
) -> Result<Json<SignedInView>, Problem> {
    let opened = api.app.log_in_for_development(&from.0).await.map_err(|refusal| refused(&api, refusal))?;
    signed_in(&api, opened, from.0).await.map(Json)
}

/// A person whose session was opened, in their tenant, since WOTP's clients name none when they sign in. Who gets
/// no answer has no session either.
async fn signed_in(api: &Api, opened: Opened, whence: Whence) -> Result<SignedInView, Problem> {
    let refuse = |refusal| refused(api, refusal);
    let person = api.app.authenticate_person(Some(&opened.access_token), whence.clone()).await.map_err(refuse)?;
    let (person, caller) = match in_first_tenant(api, person.clone(), &opened, whence).await {
        Ok(found) => found,
        Err(refusal) => {
            api.app.revoke_session(&person, person.session.id).await.map_err(refuse)?;
            return Err(refuse(refusal));
        }
    };
    let user = user_view(api, &person, &caller).await?;
    let refresh_token = opened.refresh_token.reveal();
    Ok(SignedInView { access_token: opened.access_token, refresh_token, user })
}

/// The person in the first tenant that they joined of those that are served. Somebody who has none, or only such as
/// were deleted, gets one.
async fn in_first_tenant(
    api: &Api,
    person: SignedIn,
    opened: &Opened,
    whence: Whence,
) -> Result<(SignedIn, ApiCaller), Refusal> {
    if let Some(caller) = first_served(api, &person).await? {
        return Ok((person, caller));
    }
    let name = Some(&*person.user.name).filter(|name| !name.is_empty()).unwrap_or(FIRST_TENANT);
    api.app.create_first_tenant_of(&person, name).await?;
    let person = api.app.authenticate_person(Some(&opened.access_token), whence).await?;
    let caller = first_served(api, &person).await?.ok_or(Refusal::Conflict)?;
    Ok((person, caller))
}

async fn first_served(api: &Api, person: &SignedIn) -> Result<Option<ApiCaller>, Refusal> {
    let Some(first) = api.app.first_tenant(person).await? else { return Ok(None) };
    match api.app.authenticate_member(person, Some(&first.to_string()), Mode::Live).await {
        Err(Refusal::TenantDeleted { .. }) => Ok(None),
        caller => caller.map(Some),
    }
}

/// Read who you are, and what was used this month.
#[utoipa::path(get, path = "/api/user/me", tag = "WOTP-compatible", security(("session" = ["usage:read"])),
    responses((status = 200, description = "You", body = UserView), CompatProblems))]
pub(in crate::http) async fn user_me(
    State(api): State<Arc<Api>>,
    person: Person,
    caller: Caller<UsageRead>,
) -> Result<Json<UserView>, Problem> {
    Ok(Json(user_view(&api, &person, &caller).await?))
}

/// A tenant at a glance.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpStats)]
pub(in crate::http) struct Stats {
    /// Codes that a channel's server acknowledged, of the last 13 months.
    #[serde(rename = "totalSent")]
    #[schema(example = 120)]
    total_sent: u64,
    /// Codes that were typed in rightly, of the last 13 months.
    #[serde(rename = "totalVerified")]
    #[schema(example = 100)]
    total_verified: u64,
    /// Keys that work.
    #[serde(rename = "activeKeys")]
    #[schema(example = 2)]
    active_keys: usize,
    /// Verifications that are left this month; null without limit.
    #[serde(rename = "remainingOtps")]
    #[schema(required, example = 88)]
    remaining_otps: Option<u64>,
    /// Verifications allowed this month; null without limit.
    #[serde(rename = "planLimit")]
    #[schema(required, example = 100)]
    plan_limit: Option<u64>,
}

/// Read how much was sent and verified, and what is left.
///
/// What was sent and verified is read from the same counts as `GET /v1/analytics`: live verifications only, and
/// within a second of what happens.
#[utoipa::path(get, path = "/api/user/stats", tag = "WOTP-compatible", security(("session" = ["analytics:read"])),
    responses((status = 200, description = "The tenant at a glance", body = Stats), CompatProblems))]
pub(in crate::http) async fn user_stats(
    State(api): State<Arc<Api>>,
    caller: Member<AnalyticsRead>,
) -> Result<Json<Stats>, Problem> {
    let refuse = |refusal| refused(&api, refusal);
    let now = api.app.ports().clock.now();
    let kept = AnalyticsQuery {
        from: now.saturating_sub(KEPT).ok(),
        interval: Some(Interval::Day),
        ..AnalyticsQuery::default()
    };
    let totals = api.app.analytics(&caller, &kept).await.map_err(refuse)?.totals.counts;
    let active_keys = api.app.count_working_keys(caller.tenant.id).await.map_err(refuse)?;
    let usage = api.app.usage(&caller).await.map_err(refuse)?;
    let month = month(&usage, Resource::Verifications);
    Ok(Json(Stats {
        total_sent: totals.sent,
        total_verified: totals.approved,
        active_keys,
        remaining_otps: month.cap.map(|cap| cap.saturating_sub(month.usage.used)),
        plan_limit: month.cap,
    }))
}

/// Where a code stands, in WOTP's words.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = WotpOtpStatus)]
enum OtpStatus {
    /// On its way.
    Pending,
    /// The channel's server has it.
    Sent,
    /// It reached the device.
    Delivered,
    /// The right code was typed.
    Verified,
    /// Its time ran out.
    Expired,
    /// It did not get out, was called off, or was guessed at too often.
    Failed,
}

impl OtpStatus {
    fn of(verification: &Verification) -> Self {
        match verification.status {
            Status::Approved => Self::Verified,
            Status::Expired => Self::Expired,
            Status::Failed | Status::Canceled => Self::Failed,
            Status::Pending => match verification.dispatch.current().map(|delivery| delivery.status) {
                Some(DeliveryStatus::Delivered | DeliveryStatus::Read) => Self::Delivered,
                Some(DeliveryStatus::Sent) => Self::Sent,
                _ => Self::Pending,
            },
        }
    }
}

/// One line of the log of codes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpOtpLog)]
struct OtpLog {
    /// Its id.
    #[schema(example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// Masked, unless the caller may see whole ones.
    #[schema(required, example = "+1********23")]
    phone: Option<String>,
    /// Where it stands.
    status: OtpStatus,
    /// When it was asked for.
    #[serde(rename = "createdAt")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it stops working.
    #[serde(rename = "expiresAt")]
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// The log of codes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpOtpLogs)]
pub(in crate::http) struct OtpLogs {
    /// Newest first.
    logs: Vec<OtpLog>,
    /// Pass it as `cursor` for the next page; null on the last. There are no page numbers, and no total.
    #[serde(rename = "nextCursor")]
    #[schema(required)]
    next_cursor: Option<String>,
}

/// Read the log of codes, newest first.
#[utoipa::path(get, path = "/api/user/logs", tag = "WOTP-compatible", security(("api_key" = ["verifications:read"])), params(crate::http::verifications::VerificationListParams),
    responses((status = 200, description = "A page", body = OtpLogs), CompatProblems))]
pub(in crate::http) async fn user_logs(
    State(api): State<Arc<Api>>,
    caller: Caller<VerificationsRead>,
    query: ListQuery,
) -> Result<Json<OtpLogs>, Problem> {
    let filter = query.filter(&api, &caller, true)?;
    let after = query.after.map(VerificationId::from_bytes);
    let page = api.app.list_verifications(&caller, filter, after, query.limit).await;
    let page = page.map_err(|refusal| refused(&api, refusal))?;
    let last = page.items.last().filter(|_| page.more).map(|last| last.id.to_bytes());
    let log = |verification: Verification| {
        Ok(OtpLog {
            id: verification.id.to_string(),
            phone: shown_address(&api, &caller, &verification.id.to_bytes(), verification.address.as_ref())?,
            status: OtpStatus::of(&verification),
            created_at: verification.created_at,
            expires_at: verification.expires_at,
        })
    };
    Ok(Json(OtpLogs {
        logs: page.items.into_iter().map(log).collect::<Result<_, Problem>>()?,
        next_cursor: last.map(|id| wotp_core::domain::cursor::Cursor(id).to_string()),
    }))
}
