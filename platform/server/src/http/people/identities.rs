//! `/v1/me/identities`: by which identity providers somebody signs in.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::domain::identity::LinkedIdentity;

use super::super::auth::Person;
use super::super::path::InPath;
use super::super::verifications::{path_id, refused};
use super::super::{Api, Problem, openapi};

/// An account elsewhere that signs in to yours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkedIdentity)]
struct IdentityView {
    /// The link.
    #[schema(example = "idn_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// The provider's name; null for one that is not set up any more.
    #[schema(required, example = "google")]
    provider: Option<String>,
    /// Who says who you are.
    #[schema(example = "https://accounts.google.com")]
    issuer: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00Z")]
    linked_at: Timestamp,
}

/// Accounts elsewhere that sign in to yours.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkedIdentityList)]
pub(in super::super) struct IdentityListView {
    /// The oldest first.
    data: Vec<IdentityView>,
}

/// List the accounts elsewhere that sign in to yours.
#[utoipa::path(get, path = "/v1/me/identities", tag = "Sign-in", security(("session" = [])), responses((status = 200, description = "Your identities", body = IdentityListView), openapi::PersonProblems))]
pub(in super::super) async fn list_identities(
    State(api): State<Arc<Api>>,
    person: Person,
) -> Result<Json<IdentityListView>, Problem> {
    let identities = api.app.list_identities(&person).await.map_err(|refusal| refused(&api, refusal))?;
    let providers = api.app.identity_providers();
    let view = |link: LinkedIdentity| IdentityView {
        id: link.id.to_string(),
        provider: providers
            .iter()
            .find(|provider| provider.issuer() == link.issuer)
            .map(|provider| provider.name().to_owned()),
        issuer: link.issuer,
        linked_at: link.linked_at,
    };
    Ok(Json(IdentityListView { data: identities.into_iter().map(view).collect() }))
}

/// Unlink an account elsewhere: it does not sign in to yours any more. Ends all other sessions.
///
/// As long as its provider vouches for your email address, signing in with it links it anew.
#[utoipa::path(delete, path = "/v1/me/identities/{id}", tag = "Sign-in", security(("session" = [])), params(("id" = String, Path, description = "The link's id")), responses((status = 204, description = "It is gone"), openapi::PersonProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in super::super) async fn unlink_identity(
    State(api): State<Arc<Api>>,
    person: Person,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    let unlinked = api.app.unlink_identity(&person, path_id(&id)?).await;
    unlinked.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}
