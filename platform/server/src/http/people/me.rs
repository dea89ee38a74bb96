//! `/v1/me`: what people see of themselves.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::domain::member::Member;
use wotp_core::domain::session::Session;
use wotp_core::domain::user::User;

use super::super::auth::Person;
use super::super::path::InPath;
use super::super::verifications::{path_id, refused};
use super::super::{Api, Problem, openapi};

/// A person.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
pub(in super::super) struct MeView {
    /// Their id.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// Their email address.
    #[schema(example = "ada@example.com")]
    email: String,
    /// What they are called; may be empty.
    #[schema(example = "Ada")]
    name: String,
    /// Whether they have a password.
    has_password: bool,
    /// Whether they run the platform.
    operator: bool,
    /// When the account began.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00Z")]
    created_at: Timestamp,
    /// Where they are members.
    memberships: Vec<MembershipView>,
}

/// A person in a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Membership)]
struct MembershipView {
    /// The tenant, for `WOTP-Tenant`.
    #[schema(example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    tenant: String,
    /// What they are there: `owner`, `admin`, `developer` or `viewer`.
    #[schema(example = "owner")]
    role: &'static str,
    /// Since when.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00Z")]
    joined_at: Timestamp,
}

/// A session that lets somebody in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
struct SessionView {
    /// Its id.
    #[schema(example = "ses_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// Whether it is the one of this call.
    current: bool,
    /// What the client said it is.
    #[schema(required, example = "Mozilla/5.0")]
    agent: Option<String>,
    /// The address from which it was last refreshed.
    #[schema(required, value_type = Option<String>, example = "192.0.2.7")]
    ip: Option<std::net::IpAddr>,
    /// When it began.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00Z")]
    created_at: Timestamp,
    /// When it was last refreshed.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00Z")]
    refreshed_at: Timestamp,
    /// When it ends by itself.
    #[schema(value_type = String, format = DateTime, example = "2026-11-29T12:00:00Z")]
    expires_at: Timestamp,
}

/// Sessions.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SessionList)]
pub(in super::super) struct SessionListView {
    /// The newest first; those that are over are left out.
    data: Vec<SessionView>,
}

/// Read who you are, and where you are a member.
#[utoipa::path(get, path = "/v1/me", tag = "Sign-in", security(("session" = [])), responses((status = 200, description = "You", body = MeView), openapi::PersonProblems))]
pub(in super::super) async fn me(State(api): State<Arc<Api>>, person: Person) -> Result<Json<MeView>, Problem> {
    view(&api, &person.user, &person.members).map(Json)
}

/// A person as they are now.
pub(super) fn view(api: &Api, user: &User, members: &[Member]) -> Result<MeView, Problem> {
    let email = user.address(&api.app.ports().vault).map_err(|error| refused(api, error.into()))?;
    let membership = |member: &Member| MembershipView {
        tenant: member.tenant.to_string(),
        role: member.role.name(),
        joined_at: member.joined_at,
    };
    Ok(MeView {
        id: user.id.to_string(),
        email,
        name: user.name.clone(),
        has_password: user.password.is_some(),
        operator: user.operator_since.is_some(),
        created_at: user.created_at,
        memberships: members.iter().map(membership).collect(),
    })
}

/// List your sessions.
#[utoipa::path(get, path = "/v1/me/sessions", tag = "Sign-in", security(("session" = [])), responses((status = 200, description = "Your sessions", body = SessionListView), openapi::PersonProblems))]
pub(in super::super) async fn list_sessions(
    State(api): State<Arc<Api>>,
    person: Person,
) -> Result<Json<SessionListView>, Problem> {
    let sessions = api.app.list_sessions(&person).await.map_err(|refusal| refused(&api, refusal))?;
    let view = |session: Session| SessionView {
        id: session.id.to_string(),
        current: session.id == person.session.id,
        agent: session.agent,
        ip: session.ip,
        created_at: session.created_at,
        refreshed_at: session.refreshed_at,
        expires_at: session.expires_at,
    };
    Ok(Json(SessionListView { data: sessions.into_iter().map(view).collect() }))
}

/// End one of your sessions: on all nodes within a second.
#[utoipa::path(delete, path = "/v1/me/sessions/{id}", tag = "Sign-in", security(("session" = [])), params(("id" = String, Path, description = "The session's id")), responses((status = 204, description = "It is over"), openapi::PersonProblems, openapi::NotFoundProblem))]
pub(in super::super) async fn revoke_session(
    State(api): State<Arc<Api>>,
    person: Person,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    let revoked = api.app.revoke_session(&person, path_id(&id)?).await;
    revoked.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}

/// End all your sessions but this one.
#[utoipa::path(delete, path = "/v1/me/sessions", tag = "Sign-in", security(("session" = [])), responses((status = 204, description = "They are over"), openapi::PersonProblems))]
pub(in super::super) async fn revoke_other_sessions(
    State(api): State<Arc<Api>>,
    person: Person,
) -> Result<StatusCode, Problem> {
    api.app.revoke_other_sessions(&person).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}
