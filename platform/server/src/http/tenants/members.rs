//! `/v1/tenant/members`: who is in the tenant.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::TeamMember;
use wotp_core::domain::id::UserId;

use super::RoleName;
use super::problems::{MemberProblems, OwnerConflict};
use crate::http::auth::{Member, MembersRead, MembersWrite, OwnershipTransfer, TenantRead};
use crate::http::body::Body;
use crate::http::openapi::{BodyProblems, ConflictProblem, NotFoundProblem};
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem};

/// A person in the tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Member)]
pub(in crate::http) struct MemberView {
    /// Who.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    user: String,
    /// What they are called; empty until they say, and where their account cannot be read.
    #[schema(example = "Ada Lovelace")]
    name: String,
    /// Their address: whole for owners and admins, else masked; empty where their account cannot be read.
    #[schema(example = "ada@example.com")]
    email: String,
    /// What they are in the tenant.
    role: RoleName,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
}

fn view(found: TeamMember) -> MemberView {
    MemberView {
        user: found.member.user.to_string(),
        name: found.name,
        email: found.email,
        role: found.member.role.into(),
        joined_at: found.member.joined_at,
    }
}

/// Everybody in the tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct MemberList {
    /// At most 500.
    data: Vec<MemberView>,
}

/// What a member is to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = MemberChange)]
pub(in crate::http) struct RoleBody {
    /// Their role from now on.
    role: RoleName,
}

/// Who is to own the tenant.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = OwnershipTransfer)]
pub(in crate::http) struct TransferBody {
    /// Another member.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    user: String,
}

/// List the members.
#[utoipa::path(get, path = "/v1/tenant/members", tag = "Tenants", security(("session" = ["members:read"])),
    responses((status = 200, description = "Everybody", body = MemberList), MemberProblems))]
pub(in crate::http) async fn list_members(
    State(api): State<Arc<Api>>,
    member: Member<MembersRead>,
) -> Result<Json<MemberList>, Problem> {
    let members = api.app.list_members(&member).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(MemberList { data: members.into_iter().map(view).collect() }))
}

/// Give a member another role.
///
/// Owners are made and changed by owners alone. The last owner stays one.
#[utoipa::path(patch, path = "/v1/tenant/members/{user}", tag = "Tenants", security(("session" = ["members:write"])), params(("user" = String, Path, description = "`usr_…`", example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = RoleBody,
    responses((status = 200, description = "Changed", body = MemberView), BodyProblems, MemberProblems, NotFoundProblem, OwnerConflict))]
pub(in crate::http) async fn change_role(
    State(api): State<Arc<Api>>,
    member: Member<MembersWrite>,
    InPath(user): InPath<String>,
    body: Body<RoleBody>,
) -> Result<Json<MemberView>, Problem> {
    let changed = api.app.change_role(&member, path_id(&user)?, body.value.role.into()).await;
    Ok(Json(view(changed.map_err(|refusal| refused(&api, refusal))?)))
}

/// Take a member out of the tenant.
///
/// Their sessions go on, and are refused here within a second. Keys that they made stay.
#[utoipa::path(delete, path = "/v1/tenant/members/{user}", tag = "Tenants", security(("session" = ["members:write"])), params(("user" = String, Path, description = "`usr_…`", example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 204, description = "They are no member any more"), MemberProblems, NotFoundProblem, OwnerConflict))]
pub(in crate::http) async fn remove_member(
    State(api): State<Arc<Api>>,
    member: Member<MembersWrite>,
    InPath(user): InPath<String>,
) -> Result<StatusCode, Problem> {
    api.app.remove_member(&member, path_id(&user)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Leave the tenant.
///
/// The last owner cannot: transfer the ownership first, or delete the tenant.
#[utoipa::path(post, path = "/v1/tenant/leave", tag = "Tenants", security(("session" = ["tenant:read"])),
    responses((status = 204, description = "You are no member any more"), MemberProblems, OwnerConflict))]
pub(in crate::http) async fn leave_tenant(
    State(api): State<Arc<Api>>,
    member: Member<TenantRead>,
) -> Result<StatusCode, Problem> {
    api.app.leave_tenant(&member).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Transfer the ownership to another member.
///
/// They become an owner, and you an admin: both at once.
#[utoipa::path(post, path = "/v1/tenant/transfer", tag = "Tenants", security(("session" = ["ownership:transfer"])), request_body = TransferBody,
    responses((status = 200, description = "The new owner", body = MemberView), BodyProblems, MemberProblems, NotFoundProblem, ConflictProblem))]
pub(in crate::http) async fn transfer_ownership(
    State(api): State<Arc<Api>>,
    member: Member<OwnershipTransfer>,
    body: Body<TransferBody>,
) -> Result<Json<MemberView>, Problem> {
    let user = body.value.user.parse::<UserId>().map_err(|error| Problem::field("user", error.to_string()))?;
    let new = api.app.transfer_ownership(&member, user).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(new)))
}
