//! `/v1/tenant/invitations`, for the team, and `/v1/invitations`, for who is invited.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{InvitationPreview, SentInvitation};

use super::problems::{AcceptProblems, InvitationConflict, InvitationLimits, MemberProblems};
use super::{OwnTenantView, RoleName, own_view};
use crate::http::auth::{Member, MembersRead, MembersWrite, Person};
use crate::http::body::Body;
use crate::http::openapi::{BodyProblems, ConflictProblem, NotFoundProblem};
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem};

/// An invitation that nobody accepted yet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
pub(in crate::http) struct InvitationView {
    /// Its id.
    #[schema(example = "inv_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// The address: whole for owners and admins, else masked; masked too where it cannot be read.
    #[schema(example = "grace@example.com")]
    email: String,
    /// As what they are invited.
    role: RoleName,
    /// Who invited them.
    #[schema(example = "usr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    invited_by: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it was last sent.
    #[schema(value_type = String, format = DateTime)]
    sent_at: Timestamp,
    /// From when on it cannot be accepted.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

fn view(SentInvitation { invitation, email }: SentInvitation) -> InvitationView {
    InvitationView {
        id: invitation.id.to_string(),
        email,
        role: invitation.role.into(),
        invited_by: invitation.invited_by.to_string(),
        created_at: invitation.created_at,
        sent_at: invitation.sent_at,
        expires_at: invitation.expires_at,
    }
}

/// Every open invitation.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct InvitationList {
    /// The oldest first.
    data: Vec<InvitationView>,
}

/// Whom to invite.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewInvitation)]
pub(in crate::http) struct InviteBody {
    /// Their email address.
    #[schema(example = "grace@example.com")]
    email: String,
    /// As what.
    role: RoleName,
}

/// The token of an invitation.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InvitationToken)]
pub(in crate::http) struct TokenBody {
    /// As it came by mail.
    #[schema(example = "wi_hN2kq9Qh3cJ1n0i8b6JxWl0Jm3v6bQ9sT5yXcE2aR4U")]
    token: String,
}

/// What an invitation says.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = InvitationPreview)]
pub(in crate::http) struct PreviewView {
    /// To which tenant.
    #[schema(example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    tenant: String,
    /// What the tenant is called.
    #[schema(example = "Acme")]
    tenant_name: String,
    /// As what.
    role: RoleName,
    /// Whose account may accept it, masked.
    #[schema(example = "g***e@example.com")]
    email: String,
    /// From when on it cannot be accepted.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

fn preview_view(preview: InvitationPreview) -> PreviewView {
    PreviewView {
        tenant: preview.tenant.to_string(),
        tenant_name: preview.tenant_name,
        role: preview.role.into(),
        email: preview.email_masked,
        expires_at: preview.expires_at,
    }
}

/// List the open invitations, oldest first.
#[utoipa::path(get, path = "/v1/tenant/invitations", tag = "Tenants", security(("session" = ["members:read"])),
    responses((status = 200, description = "All of them", body = InvitationList), MemberProblems))]
pub(in crate::http) async fn list_invitations(
    State(api): State<Arc<Api>>,
    member: Member<MembersRead>,
) -> Result<Json<InvitationList>, Problem> {
    let open = api.app.list_invitations(&member).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(InvitationList { data: open.into_iter().map(view).collect() }))
}

/// Invite somebody by email.
///
/// The token goes to the address and to nobody else, by a mail that goes out as soon as it can. It is good for 7 days,
/// once. Only owners invite owners.
#[utoipa::path(post, path = "/v1/tenant/invitations", tag = "Tenants", security(("session" = ["members:write"])), request_body = InviteBody,
    responses((status = 201, description = "Invited", body = InvitationView), BodyProblems, MemberProblems, InvitationConflict, InvitationLimits))]
pub(in crate::http) async fn invite_member(
    State(api): State<Arc<Api>>,
    member: Member<MembersWrite>,
    body: Body<InviteBody>,
) -> Result<(StatusCode, Json<InvitationView>), Problem> {
    let InviteBody { email, role } = body.value;
    let sent = api.app.invite_member(&member, &email, role.into()).await;
    Ok((StatusCode::CREATED, Json(view(sent.map_err(|refusal| refused(&api, refusal))?))))
}

/// Send an invitation again.
///
/// With another token, and for another 7 days; the token before is worthless then. The mail goes out as soon as it can.
#[utoipa::path(post, path = "/v1/tenant/invitations/{id}/resend", tag = "Tenants", security(("session" = ["members:write"])), params(("id" = String, Path, description = "`inv_…`", example = "inv_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "Invited again", body = InvitationView), MemberProblems, NotFoundProblem, ConflictProblem, InvitationLimits))]
pub(in crate::http) async fn resend_invitation(
    State(api): State<Arc<Api>>,
    member: Member<MembersWrite>,
    InPath(id): InPath<String>,
) -> Result<Json<InvitationView>, Problem> {
    let sent = api.app.resend_invitation(&member, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(sent)))
}

/// Take an invitation back.
///
/// A mail that did not go out yet does not go out any more.
#[utoipa::path(delete, path = "/v1/tenant/invitations/{id}", tag = "Tenants", security(("session" = ["members:write"])), params(("id" = String, Path, description = "`inv_…`", example = "inv_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 204, description = "It cannot be accepted any more"), MemberProblems, NotFoundProblem, ConflictProblem))]
pub(in crate::http) async fn revoke_invitation(
    State(api): State<Arc<Api>>,
    member: Member<MembersWrite>,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    api.app.revoke_invitation(&member, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Read what an invitation says.
///
/// For whoever holds its token, signed in or not. The token is in the body, since paths are in logs.
#[utoipa::path(post, path = "/v1/invitations/preview", tag = "Tenants", security(()), request_body = TokenBody,
    responses((status = 200, description = "What it says", body = PreviewView), BodyProblems, NotFoundProblem))]
pub(in crate::http) async fn preview_invitation(
    State(api): State<Arc<Api>>,
    body: Body<TokenBody>,
) -> Result<Json<PreviewView>, Problem> {
    let preview = api.app.preview_invitation(&body.value.token).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(preview_view(preview)))
}

/// Accept an invitation.
///
/// Signed in to the account whose email address was invited.
#[utoipa::path(post, path = "/v1/invitations/accept", tag = "Tenants", security(("session" = [])), request_body = TokenBody,
    responses((status = 200, description = "You are a member", body = OwnTenantView), BodyProblems, AcceptProblems, NotFoundProblem, InvitationConflict))]
pub(in crate::http) async fn accept_invitation(
    State(api): State<Arc<Api>>,
    person: Person,
    body: Body<TokenBody>,
) -> Result<Json<OwnTenantView>, Problem> {
    let own = api.app.accept_invitation(&person, &body.value.token).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(own_view(own)))
}
