//! Acting as a tenant, for a limited time, with the tenant told.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::domain::operator_access::OperatorAccess;
use wotp_core::domain::permission::Role;

use crate::http::auth::{Member, Operator, TenantRead};
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// Accesses that a tenant is shown.
const SHOWN_MAX: usize = 100;

/// That an operator may act as a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorAccess)]
pub(super) struct AccessView {
    /// Its id.
    #[schema(example = "acc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// The operator.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    operator: String,
    /// Why.
    reason: String,
    /// What they may do: as much as a member of this role, but for what is left to members.
    #[schema(example = "viewer")]
    role: &'static str,
    /// From when.
    #[schema(value_type = String, format = DateTime)]
    starts_at: Timestamp,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    ends_at: Timestamp,
}

impl From<OperatorAccess> for AccessView {
    fn from(access: OperatorAccess) -> Self {
        Self {
            id: access.id.to_string(),
            operator: access.operator.to_string(),
            reason: access.reason,
            role: access.role.name(),
            starts_at: access.starts_at,
            ends_at: access.ends_at,
        }
    }
}

/// Why and for how long to act as a tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ActAs)]
pub(super) struct ActBody {
    /// As the tenant is told, on one line.
    #[schema(min_length = 1, max_length = 300, example = "you asked us to look why codes do not arrive")]
    reason: String,
    /// For how long.
    #[schema(minimum = 1, maximum = 60, example = 15)]
    minutes: u32,
    /// As what: `viewer` when left out.
    #[schema(example = "viewer")]
    role: Option<String>,
}

/// Act as a tenant for some minutes.
///
/// From then on calls with your session and `WOTP-Tenant` are taken as those of a member with this role, but for
/// what is left to members: keys, invitations and roles, webhook endpoints, whole addresses. The tenant sees it
/// in its audit log, with the reason, and each call that you make as it, also those that only read. A deleted one is
/// refused, with `tenant_deleted`.
#[utoipa::path(post, path = "/operator/v1/tenants/{id}/accesses", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The tenant")), request_body = ActBody,
    responses((status = 201, description = "You may", body = AccessView), openapi::BodyProblems, openapi::NotFoundProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn act_as_tenant(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
    Body { value, .. }: Body<ActBody>,
) -> Result<(StatusCode, Json<AccessView>), Problem> {
    let role = match value.role.as_deref() {
        None => Role::Viewer,
        Some(name) => Role::ALL
            .iter()
            .copied()
            .find(|role| role.name() == name)
            .ok_or_else(|| Problem::field("role", "is viewer, developer or admin"))?,
    };
    let granted = api
        .app
        .act_as_tenant(&operator.by(), operator.user.id, path_id(&id)?, role, &value.reason, value.minutes)
        .await;
    Ok((StatusCode::CREATED, Json(granted.map_err(|refusal| refused(&api, refusal))?.into())))
}

/// Stop acting as a tenant before the time is over.
#[utoipa::path(delete, path = "/operator/v1/tenants/{id}/accesses/{access}", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The tenant"), ("access" = String, Path, description = "The access")),
    responses((status = 200, description = "As it was", body = AccessView), openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn stop_acting(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath((id, access)): InPath<(String, String)>,
) -> Result<Json<AccessView>, Problem> {
    let ended = api.app.stop_acting(&operator.by(), operator.user.id, path_id(&id)?, path_id(&access)?).await;
    Ok(Json(ended.map_err(|refusal| refused(&api, refusal))?.into()))
}

/// How operators acted as a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OperatorAccessList)]
pub(super) struct AccessList {
    /// The latest hundred, newest first.
    data: Vec<AccessView>,
}

/// See when operators acted as your tenant, and why.
#[utoipa::path(get, path = "/v1/tenant/operator-accesses", tag = "Tenants", security(("session" = ["tenant:read"])),
    responses((status = 200, description = "The latest hundred", body = AccessList), openapi::MemberProblems))]
pub(in crate::http) async fn list_accesses(
    State(api): State<Arc<Api>>,
    member: Member<TenantRead>,
) -> Result<Json<AccessList>, Problem> {
    let all = api.app.operator_accesses(member.tenant.id, SHOWN_MAX).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(AccessList { data: all.into_iter().map(AccessView::from).collect() }))
}
