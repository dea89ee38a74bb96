use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{ChangedEndpoint, EndpointChange, NewEndpoint};
use wotp_core::domain::event::DisabledReason;
use wotp_core::domain::mode::Mode;
use wotp_core::domain::webhook::endpoint::Endpoint;

use super::schemas::DisabledReasonName;
use crate::http::auth::{Caller, WebhooksRead, WebhooksWrite};
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::verifications::{location, path_id, refused};
use crate::http::{Api, Problem, openapi};

/// An endpoint to create.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewEndpoint)]
pub(in crate::http) struct NewBody {
    /// Where webhooks go: `https://`, on port 443 or one from 1024 on, at a host whose every address is public.
    #[schema(example = "https://example.com/webhooks", min_length = 1, max_length = 2000)]
    url: String,
    /// What you say about it.
    #[serde(default)]
    #[schema(example = "The shop", max_length = 200)]
    description: String,
    /// What it is told of: types of events, or all of a thing as in `verification.*`. Empty means everything.
    #[serde(default)]
    #[schema(example = json!(["verification.approved", "message.*"]))]
    events: Vec<String>,
    /// Only what happens at this service; of a key that is bound to one, that one.
    #[schema(example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: Option<String>,
}

/// What to change of an endpoint: what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = EndpointChange)]
pub(in crate::http) struct ChangeBody {
    /// Where webhooks go.
    #[schema(example = "https://example.com/webhooks", min_length = 1, max_length = 2000)]
    url: Option<String>,
    /// What you say about it.
    #[schema(example = "The shop", max_length = 200)]
    description: Option<String>,
    /// What it is told of; empty means everything.
    #[schema(example = json!(["verification.approved", "message.*"]))]
    events: Option<Vec<String>>,
    /// Only what happens at this service; null means at any.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: Option<Option<String>>,
    /// Whether it is told anything. One that is enabled again begins afresh; replay what it missed.
    #[schema(example = true)]
    enabled: Option<bool>,
}

/// Tells a field that is null from one that is left out.
fn nullable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// Where webhooks go.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Endpoint)]
pub(in crate::http) struct EndpointView {
    /// Its id.
    #[schema(example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// Where it is.
    #[schema(example = "https://example.com/webhooks")]
    url: String,
    /// What you say about it.
    #[schema(example = "The shop")]
    description: String,
    /// What it is told of; empty means everything.
    #[schema(example = json!(["verification.approved", "message.*"]))]
    events: Vec<String>,
    /// Only what happens at this service.
    #[schema(required, example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: Option<String>,
    /// Whether it is told anything.
    #[schema(example = true)]
    enabled: bool,
    /// Why it is not: `failing` when it took nothing for five days, `gone` when it answered 410, `member` when somebody
    /// disabled it.
    #[schema(required, value_type = Option<DisabledReasonName>)]
    disabled_reason: Option<DisabledReason>,
    /// Whether it is told of what happens in test mode; otherwise of what happens live.
    test_mode: bool,
    /// The public keys whose signatures (`v1a`) webhooks bear, the newest first: two for a day after a rotation.
    #[schema(example = json!(["whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="]))]
    public_keys: Vec<String>,
    /// When it was created.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// An endpoint, with its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EndpointWithSecret {
    /// The endpoint.
    endpoint: EndpointView,
    /// The secret whose signatures (`v1`) webhooks bear. It is shown this once.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo=")]
    secret: String,
}

/// All endpoints.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EndpointList {
    /// Every endpoint that the caller may see.
    data: Vec<EndpointView>,
}

fn view(api: &Api, endpoint: Endpoint) -> EndpointView {
    let now = api.app.ports().clock.now();
    EndpointView {
        id: endpoint.id.to_string(),
        public_keys: endpoint.keys_at(now).map(|keys| keys.public_key.clone()).collect(),
        url: endpoint.url,
        description: endpoint.description,
        events: endpoint.events.iter().map(|pattern| pattern.as_str().to_owned()).collect(),
        service: endpoint.service.map(|service| service.to_string()),
        enabled: endpoint.disabled.is_none(),
        disabled_reason: endpoint.disabled,
        test_mode: endpoint.mode == Mode::Test,
        created_at: endpoint.created_at,
        updated_at: endpoint.updated_at,
    }
}

fn with_secret(api: &Api, changed: ChangedEndpoint) -> EndpointWithSecret {
    EndpointWithSecret { endpoint: view(api, changed.endpoint), secret: changed.secret.to_string() }
}

/// List endpoints, oldest first.
#[utoipa::path(get, path = "/v1/webhooks/endpoints", tag = "Webhooks", security(("api_key" = ["webhooks:read"])),
    responses((status = 200, description = "All endpoints: those of test mode for a test key, else those of live mode", body = EndpointList), openapi::AuthProblems))]
pub(in crate::http) async fn list_endpoints(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksRead>,
) -> Result<Json<EndpointList>, Problem> {
    let endpoints = api.app.list_endpoints(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(EndpointList { data: endpoints.into_iter().map(|endpoint| view(&api, endpoint)).collect() }))
}

/// Create an endpoint.
///
/// Webhooks are POST requests by [Standard Webhooks 1.0](https://www.standardwebhooks.com): verify
/// `webhook-signature` with its libraries and the secret, or with the public key. Answer 2xx within 15 seconds;
/// anything else is tried again, ten times over three days, and `Retry-After` is honoured. 410 disables the
/// endpoint. An event may come more than once, with the same `webhook-id`, and events come in any order: go by
/// `timestamp`, or read the thing by its id.
#[utoipa::path(post, path = "/v1/webhooks/endpoints", tag = "Webhooks", security(("api_key" = ["webhooks:write"])), request_body = NewBody,
    responses((status = 201, description = "Created", body = EndpointWithSecret, headers(("Location" = String, description = "Its path"))), openapi::BodyProblems, openapi::AuthProblems, openapi::NotFoundProblem, openapi::LimitConflict))]
pub(in crate::http) async fn create_endpoint(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksWrite>,
    body: Body<NewBody>,
) -> Result<(StatusCode, HeaderMap, Json<EndpointWithSecret>), Problem> {
    let NewBody { url, description, events, service } = body.value;
    let new = NewEndpoint { url, description, events, service };
    let created = api.app.create_endpoint(&caller, new).await.map_err(|refusal| refused(&api, refusal))?;
    let path = location("/v1/webhooks/endpoints/", &created.endpoint.id.to_string());
    let headers = HeaderMap::from_iter([(header::LOCATION, path)]);
    Ok((StatusCode::CREATED, headers, Json(with_secret(&api, created))))
}

/// Read an endpoint.
#[utoipa::path(get, path = "/v1/webhooks/endpoints/{id}", tag = "Webhooks", security(("api_key" = ["webhooks:read"])), params(("id" = String, Path, description = "`whe_…`", example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The endpoint", body = EndpointView), openapi::AuthProblems, openapi::NotFoundProblem))]
pub(in crate::http) async fn find_endpoint(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksRead>,
    InPath(id): InPath<String>,
) -> Result<Json<EndpointView>, Problem> {
    let endpoint = api.app.find_endpoint(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(&api, endpoint)))
}

/// Change an endpoint, or enable it again.
#[utoipa::path(patch, path = "/v1/webhooks/endpoints/{id}", tag = "Webhooks", security(("api_key" = ["webhooks:write"])), params(("id" = String, Path, description = "`whe_…`", example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = ChangeBody,
    responses((status = 200, description = "Changed", body = EndpointView), openapi::BodyProblems, openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn change_endpoint(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksWrite>,
    InPath(id): InPath<String>,
    body: Body<ChangeBody>,
) -> Result<Json<EndpointView>, Problem> {
    let ChangeBody { url, description, events, service, enabled } = body.value;
    let change = EndpointChange { url, description, events, service, enabled };
    let changed = api.app.change_endpoint(&caller, path_id(&id)?, change).await;
    Ok(Json(view(&api, changed.map_err(|refusal| refused(&api, refusal))?)))
}

/// Delete an endpoint.
///
/// What is still to be delivered there is not.
#[utoipa::path(delete, path = "/v1/webhooks/endpoints/{id}", tag = "Webhooks", security(("api_key" = ["webhooks:write"])), params(("id" = String, Path, description = "`whe_…`", example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 204, description = "Deleted"), openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn delete_endpoint(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksWrite>,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    api.app.delete_endpoint(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}

/// Give an endpoint another secret and another key pair.
///
/// For 24 hours webhooks bear the signatures of both, so that nothing is refused while you exchange them.
#[utoipa::path(post, path = "/v1/webhooks/endpoints/{id}/rotate", tag = "Webhooks", security(("api_key" = ["webhooks:write"])), params(("id" = String, Path, description = "`whe_…`", example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "Rotated", body = EndpointWithSecret), openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn rotate_endpoint(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksWrite>,
    InPath(id): InPath<String>,
) -> Result<Json<EndpointWithSecret>, Problem> {
    let rotated = api.app.rotate_endpoint(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(with_secret(&api, rotated)))
}
