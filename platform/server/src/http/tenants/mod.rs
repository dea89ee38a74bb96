//! `/v1/tenants`, for people, and `/v1/tenant`, the one that a call is about.

pub(super) mod invitations;
pub(super) mod members;
pub(super) mod problems;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::OwnTenant;
use wotp_core::domain::erasure::Erasure;
use wotp_core::domain::permission::Role;
use wotp_core::domain::tenant::{Standing, Tenant};

use self::problems::{LimitProblem, MemberProblems};
use super::auth::{Member, Person, TenantDelete, TenantRead, TenantWrite};
use super::body::Body;
use super::openapi::{BodyProblems, ConflictProblem, NotFoundProblem, PersonProblems};
use super::path::InPath;
use super::verifications::{path_id, refused};
use super::{Api, Problem};

/// What a member is in a tenant. Each may do what those before it may.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Role)]
pub(super) enum RoleName {
    /// Looks.
    Viewer,
    /// Builds: services, templates, keys, endpoints.
    Developer,
    /// Runs the team and the tenant.
    Admin,
    /// Owns it.
    Owner,
}

impl From<Role> for RoleName {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Self::Viewer,
            Role::Developer => Self::Developer,
            Role::Admin => Self::Admin,
            Role::Owner => Self::Owner,
        }
    }
}

impl From<RoleName> for Role {
    fn from(role: RoleName) -> Self {
        match role {
            RoleName::Viewer => Self::Viewer,
            RoleName::Developer => Self::Developer,
            RoleName::Admin => Self::Admin,
            RoleName::Owner => Self::Owner,
        }
    }
}

/// Whether a tenant's callers are served.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TenantState)]
enum StateName {
    /// They are.
    Active,
    /// Whoever runs the platform stopped it.
    Suspended,
    /// An owner deleted it, and can have it back until `erasure_due_at`.
    Deleted,
}

/// A customer organisation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(super) struct TenantView {
    /// Its id.
    #[schema(example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What it is called.
    #[schema(example = "Acme")]
    name: String,
    /// Its plan.
    #[schema(example = "free")]
    plan: String,
    /// The service that is used when a call names none.
    #[schema(example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    default_service: String,
    /// Whether its callers are served.
    state: StateName,
    /// Why it is suspended, if it is; of a deleted one, why it is when an owner has it back.
    #[schema(required)]
    suspended_because: Option<String>,
    /// From when on a deleted one is erased; until then an owner can have it back.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    erasure_due_at: Option<Timestamp>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

fn view(tenant: Tenant) -> TenantView {
    let state = match tenant.standing {
        Standing::Active => StateName::Active,
        Standing::Suspended(_) => StateName::Suspended,
        Standing::Deleted { .. } => StateName::Deleted,
    };
    let suspended_because = tenant.standing.suspension().map(|suspension| suspension.reason.clone());
    TenantView {
        id: tenant.id.to_string(),
        name: tenant.name,
        plan: tenant.plan,
        default_service: tenant.default_service.to_string(),
        state,
        suspended_because,
        erasure_due_at: tenant.standing.erased_at(),
        created_at: tenant.created_at,
    }
}

/// A tenant that you are in, and what you are there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OwnTenant)]
pub(super) struct OwnTenantView {
    /// The tenant.
    tenant: TenantView,
    /// What you are there.
    role: RoleName,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    joined_at: Timestamp,
}

fn own_view(own: OwnTenant) -> OwnTenantView {
    OwnTenantView { tenant: view(own.tenant), role: own.role.into(), joined_at: own.joined_at }
}

/// Every tenant that you are in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct OwnTenantList {
    /// The oldest first.
    data: Vec<OwnTenantView>,
}

/// What a tenant is called.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TenantName)]
pub(super) struct NameBody {
    /// For people.
    #[schema(example = "Acme", min_length = 1, max_length = 100)]
    name: String,
}

/// How much of a tenant was erased.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erased)]
struct ErasedView {
    /// Verifications.
    verifications: u64,
    /// Direct messages.
    messages: u64,
    /// API keys.
    keys: u64,
    /// Services.
    services: u64,
    /// Counts of use.
    usage: u64,
    /// All else: members, invitations, endpoints, events, the audit log.
    others: u64,
}

/// The erasure of a tenant: the report, once it is finished.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Erasure)]
pub(in crate::http) struct ErasureView {
    /// Of which tenant.
    #[schema(example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    tenant: String,
    /// Who deleted it.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    deleted_by: String,
    /// When that was.
    #[schema(value_type = String, format = DateTime)]
    deleted_at: Timestamp,
    /// From when on it is erased.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
    /// When the first of it was: from then on the tenant cannot be had back.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    began_at: Option<Timestamp>,
    /// When the last of it was.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    finished_at: Option<Timestamp>,
    /// What was erased so far.
    erased: ErasedView,
}

pub(in crate::http) fn erasure_view(erasure: &Erasure) -> ErasureView {
    let erased = erasure.erased;
    ErasureView {
        tenant: erasure.tenant.to_string(),
        deleted_by: erasure.deleted_by.to_string(),
        deleted_at: erasure.deleted_at,
        due_at: erasure.due_at,
        began_at: erasure.began_at,
        finished_at: erasure.finished_at,
        erased: ErasedView {
            verifications: erased.verifications,
            messages: erased.messages,
            keys: erased.keys,
            services: erased.services,
            usage: erased.usage,
            others: erased.others,
        },
    }
}

/// List the tenants that you are in, oldest first.
///
/// A deleted one is among them as long as it can be had back.
#[utoipa::path(get, path = "/v1/tenants", tag = "Tenants", security(("session" = [])),
    responses((status = 200, description = "All of them", body = OwnTenantList), PersonProblems))]
pub(super) async fn list_tenants(State(api): State<Arc<Api>>, person: Person) -> Result<Json<OwnTenantList>, Problem> {
    let own = api.app.list_tenants_of(&person).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(OwnTenantList { data: own.into_iter().map(own_view).collect() }))
}

/// Create a tenant.
///
/// You own it. It has a first service, named and branded like it, and no key yet: keys are made with
/// `WOTP-Tenant` naming it.
#[utoipa::path(post, path = "/v1/tenants", tag = "Tenants", security(("session" = [])), request_body = NameBody,
    responses((status = 201, description = "Created", body = OwnTenantView), BodyProblems, PersonProblems, LimitProblem))]
pub(super) async fn create_tenant(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<NameBody>,
) -> Result<(StatusCode, Json<OwnTenantView>), Problem> {
    let own = api.app.create_tenant_of(&person, &body.value.name).await.map_err(|refusal| refused(&api, refusal))?;
    Ok((StatusCode::CREATED, Json(own_view(own))))
}

/// Have a deleted tenant back.
///
/// For its owners, until the moment at which it is erased. One that is not deleted stays as it is, and one that was
/// suspended, before or meanwhile, is suspended.
#[utoipa::path(post, path = "/v1/tenants/{id}/restore", tag = "Tenants", security(("session" = ["tenant:delete"])), params(("id" = String, Path, description = "`ten_…`", example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "It is as it was", body = OwnTenantView), MemberProblems, NotFoundProblem, ConflictProblem))]
pub(super) async fn restore_tenant(
    State(api): State<Arc<Api>>,
    person: Person,
    InPath(id): InPath<String>,
) -> Result<Json<OwnTenantView>, Problem> {
    let own = api.app.restore_tenant(&person, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(own_view(own)))
}

/// Read how far the erasure of a tenant is.
///
/// For whoever deleted it. Once it is finished this is the report, and all that is left: counts, and no
/// word of what they counted.
#[utoipa::path(get, path = "/v1/tenants/{id}/erasure", tag = "Tenants", security(("session" = [])), params(("id" = String, Path, description = "`ten_…`", example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "How far it is", body = ErasureView), PersonProblems, NotFoundProblem))]
pub(super) async fn find_erasure(
    State(api): State<Arc<Api>>,
    person: Person,
    InPath(id): InPath<String>,
) -> Result<Json<ErasureView>, Problem> {
    let erasure = api.app.find_erasure(&person, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(erasure_view(&erasure)))
}

/// Read the tenant.
#[utoipa::path(get, path = "/v1/tenant", tag = "Tenants", security(("session" = ["tenant:read"])),
    responses((status = 200, description = "The tenant", body = TenantView), MemberProblems))]
pub(super) async fn find_tenant(
    State(api): State<Arc<Api>>,
    member: Member<TenantRead>,
) -> Result<Json<TenantView>, Problem> {
    let tenant = api.app.find_tenant(&member).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(tenant)))
}

/// Rename the tenant.
///
/// Its services keep their names and brands.
#[utoipa::path(patch, path = "/v1/tenant", tag = "Tenants", security(("session" = ["tenant:write"])), request_body = NameBody,
    responses((status = 200, description = "Renamed", body = TenantView), BodyProblems, MemberProblems, ConflictProblem))]
pub(super) async fn rename_tenant(
    State(api): State<Arc<Api>>,
    member: Member<TenantWrite>,
    body: Body<NameBody>,
) -> Result<Json<TenantView>, Problem> {
    let tenant = api.app.rename_tenant(&member, &body.value.name).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(tenant)))
}

/// Delete the tenant.
///
/// Its keys and members are refused from now on, with `tenant_deleted`. Until `erasure_due_at` an owner can have
/// it back with `POST /v1/tenants/{id}/restore`; then all of it is erased, for good. Owners may delete a suspended
/// tenant too.
#[utoipa::path(delete, path = "/v1/tenant", tag = "Tenants", security(("session" = ["tenant:delete"])),
    responses((status = 200, description = "Deleted, and when it is erased", body = TenantView), MemberProblems, ConflictProblem))]
pub(super) async fn delete_tenant(
    State(api): State<Arc<Api>>,
    member: Member<TenantDelete>,
) -> Result<Json<TenantView>, Problem> {
    let tenant = api.app.delete_tenant(&member).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(tenant)))
}
