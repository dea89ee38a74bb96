//! Tenants, as operators see them.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::TenantChange;
use wotp_core::domain::cursor::Cursor;
use wotp_core::domain::id::TenantId;
use wotp_core::domain::plan::Limits;
use wotp_core::domain::tenant::{Standing, Tenant};
use wotp_core::ports::TenantSearch;

use crate::http::auth::Operator;
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::query::{ListPage, Params};
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

const LIMIT_DEFAULT: usize = 20;
const LIMIT_MAX: usize = 100;

/// Limits in place of those of the plan. What is left out is the plan's.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = LimitOverrides)]
pub(super) struct LimitsBody {
    /// Verifications a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    verifications_month: Option<u64>,
    /// Verifications a UTC day.
    #[serde(skip_serializing_if = "Option::is_none")]
    verifications_day: Option<u64>,
    /// Direct messages a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_month: Option<u64>,
    /// Direct messages a UTC day.
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_day: Option<u64>,
    /// Verifications, and as many messages, a UTC day with test keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    test_day: Option<u64>,
    /// Connections of channels.
    #[serde(skip_serializing_if = "Option::is_none")]
    connections: Option<u64>,
    /// Calls a second that start something.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    rate_per_second: Option<u32>,
    /// How many such calls may come at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    rate_burst: Option<u32>,
    /// Longest that addresses and records are kept, in days.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    retention_days: Option<u32>,
}

impl From<Limits> for LimitsBody {
    fn from(limits: Limits) -> Self {
        Self {
            verifications_month: limits.verifications_month,
            verifications_day: limits.verifications_day,
            messages_month: limits.messages_month,
            messages_day: limits.messages_day,
            test_day: limits.test_day,
            connections: limits.connections,
            rate_per_second: limits.rate_per_second,
            rate_burst: limits.rate_burst,
            retention_days: limits.retention_days,
        }
    }
}

impl From<LimitsBody> for Limits {
    fn from(body: LimitsBody) -> Self {
        Self {
            verifications_month: body.verifications_month,
            verifications_day: body.verifications_day,
            messages_month: body.messages_month,
            messages_day: body.messages_day,
            test_day: body.test_day,
            connections: body.connections,
            rate_per_second: body.rate_per_second,
            rate_burst: body.rate_burst,
            retention_days: body.retention_days,
        }
    }
}

/// A tenant, as operators see it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorTenant)]
pub(super) struct TenantView {
    /// Its id.
    #[schema(example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What it is called.
    name: String,
    /// Its plan.
    #[schema(example = "free")]
    plan: String,
    /// Limits in place of the plan's.
    limits: LimitsBody,
    /// `active`, `suspended` or `deleted`.
    #[schema(example = "active")]
    state: &'static str,
    /// Why it is suspended; of a deleted one, why it is when an owner has it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// From when on a deleted one is erased; until then an owner can have it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    erasure_due_at: Option<Timestamp>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        let state = tenant.standing.name();
        let (suspension, erasure_due_at) = (tenant.standing.suspension(), tenant.standing.erased_at());
        let reason = suspension.map(|suspension| suspension.reason.clone());
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            plan: tenant.plan,
            limits: tenant.limits.into(),
            state,
            reason,
            erasure_due_at,
            created_at: tenant.created_at,
        }
    }
}

/// Which tenants to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SearchParams {
    /// Part of the name, in any case.
    #[param(max_length = 100)]
    name: Option<String>,
    /// Its plan.
    plan: Option<String>,
    /// `active`, `suspended` or `deleted`.
    state: Option<String>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// How many on a page; 20 when left out.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// Search tenants, oldest first.
#[utoipa::path(get, path = "/operator/v1/tenants", tag = "Operators", security(("session" = [])), params(SearchParams),
    responses((status = 200, description = "A page", body = ListPage<TenantView>), openapi::QueryProblems, openapi::OperatorProblems))]
pub(in crate::http) async fn search_tenants(
    State(api): State<Arc<Api>>,
    _: Operator,
    Params(search): Params<SearchParams>,
) -> Result<Json<ListPage<TenantView>>, Problem> {
    let limit = search.limit.unwrap_or(LIMIT_DEFAULT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(Problem::field("limit", "is 1 to 100"));
    }
    let state = |text: String| Standing::STATES.into_iter().find(|state| *state == text);
    let state = match search.state {
        Some(text) => Some(state(text).ok_or_else(|| Problem::field("state", "is active, suspended or deleted"))?),
        None => None,
    };
    let after = search.cursor.as_deref().map(Cursor::parse).transpose();
    let after = after.map_err(|error| Problem::field("cursor", error.to_string()))?;
    let wanted = TenantSearch {
        name: search.name.filter(|name| !name.is_empty()),
        plan: search.plan,
        state,
        after: after.map(|cursor| TenantId::from_bytes(cursor.0)),
        limit: limit + 1,
    };
    let mut found = api.app.search_tenants(&wanted).await.map_err(|refusal| refused(&api, refusal))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more).map(|tenant| tenant.id.to_bytes());
    Ok(Json(ListPage::new(found.into_iter().map(TenantView::from).collect(), last)))
}

/// Read a tenant.
#[utoipa::path(get, path = "/operator/v1/tenants/{id}", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The tenant")),
    responses((status = 200, description = "The tenant", body = TenantView), openapi::NotFoundProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn find_any_tenant(
    State(api): State<Arc<Api>>,
    _: Operator,
    InPath(id): InPath<String>,
) -> Result<Json<TenantView>, Problem> {
    let found = api.app.tenant(path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(found.into()))
}

/// What to change of a tenant; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OperatorTenantChange)]
pub(super) struct ChangeBody {
    /// Another plan.
    plan: Option<String>,
    /// Limits in place of the plan's, all of them: `{}` means the plan's.
    limits: Option<LimitsBody>,
}

/// Change a tenant's plan or limits, from now on.
#[utoipa::path(patch, path = "/operator/v1/tenants/{id}", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The tenant")), request_body = ChangeBody,
    responses((status = 200, description = "The tenant as it is now", body = TenantView), openapi::BodyProblems, openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn change_any_tenant(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
    Body { value, .. }: Body<ChangeBody>,
) -> Result<Json<TenantView>, Problem> {
    let change = TenantChange { plan: value.plan, limits: value.limits.map(Limits::from) };
    let changed = api.app.change_tenant(&operator.by(), path_id(&id)?, change).await;
    Ok(Json(changed.map_err(|refusal| refused(&api, refusal))?.into()))
}

/// Why a tenant is suspended.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Suspension)]
pub(super) struct SuspendBody {
    /// As the tenant's members are told, on one line.
    #[schema(min_length = 1, max_length = 300, example = "the invoice of October is not paid")]
    reason: String,
}

/// Suspend a tenant: its callers are refused and told why. Codes that are under way still go out.
///
/// Of a deleted one it holds when an owner has it back. An owner may delete a suspended one.
#[utoipa::path(post, path = "/operator/v1/tenants/{id}/suspend", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The tenant")), request_body = SuspendBody,
    responses((status = 200, description = "The tenant as it is now", body = TenantView), openapi::BodyProblems, openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn suspend_tenant(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
    Body { value, .. }: Body<SuspendBody>,
) -> Result<Json<TenantView>, Problem> {
    let suspended = api.app.suspend_tenant(&operator.by(), path_id(&id)?, &value.reason).await;
    Ok(Json(suspended.map_err(|refusal| refused(&api, refusal))?.into()))
}

/// Let a suspended tenant go on, or a deleted one when an owner has it back.
#[utoipa::path(post, path = "/operator/v1/tenants/{id}/resume", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The tenant")),
    responses((status = 200, description = "The tenant as it is now", body = TenantView), openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn resume_tenant(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
) -> Result<Json<TenantView>, Problem> {
    let resumed = api.app.resume_tenant(&operator.by(), path_id(&id)?).await;
    Ok(Json(resumed.map_err(|refusal| refused(&api, refusal))?.into()))
}
