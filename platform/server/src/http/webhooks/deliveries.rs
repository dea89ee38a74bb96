use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::AskReplay;
use wotp_core::domain::id::WebhookDeliveryId;
use wotp_core::domain::webhook::delivery::{Attempt, GivenUp, WebhookDelivery, WebhookStatus};

use super::schemas::{GivenUpName, WebhookStatusName};
use crate::http::auth::{Caller, WebhooksRead, WebhooksWrite};
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::query::{ListPage, Params, moment_or_null};
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// One attempt to deliver an event.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookAttempt)]
struct AttemptView {
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    /// How long it took.
    #[schema(example = 120)]
    latency_ms: u64,
    /// The HTTP status that the endpoint answered; null when it did not.
    #[schema(required, example = 200)]
    status_code: Option<u16>,
    /// Why there was no answer.
    #[schema(required, example = "there was no answer within 15 seconds")]
    error: Option<String>,
    /// The first 500 characters of what it answered.
    #[schema(example = "ok")]
    answer: String,
}

/// What became of one event at one endpoint.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WebhookDelivery)]
pub(in crate::http) struct DeliveryView {
    /// Its id.
    #[schema(example = "whd_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// The event: `webhook-id` of each attempt.
    #[schema(example = "evt_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    event: String,
    /// Its type.
    #[schema(example = "verification.approved")]
    event_type: String,
    /// Where it stands.
    #[schema(value_type = WebhookStatusName)]
    status: WebhookStatus,
    /// Why it is not tried any more: every attempt failed, it waited for too long, or the endpoint is gone or
    /// disabled.
    #[schema(required, value_type = Option<GivenUpName>)]
    reason: Option<GivenUp>,
    /// When it is tried next; null when it is not, or as soon as the endpoint has room.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
    /// The last 20 attempts, oldest first.
    attempts: Vec<AttemptView>,
    /// When the event happened.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<WebhookDelivery> for DeliveryView {
    fn from(delivery: WebhookDelivery) -> Self {
        let attempt = |attempt: Attempt| AttemptView {
            at: attempt.at,
            latency_ms: attempt.latency_ms,
            status_code: attempt.status,
            error: attempt.error,
            answer: attempt.answer,
        };
        Self {
            id: delivery.id.to_string(),
            event: delivery.event.to_string(),
            event_type: delivery.kind,
            status: delivery.status,
            reason: delivery.given_up,
            next_attempt_at: (delivery.status == WebhookStatus::Pending && !delivery.parked)
                .then_some(delivery.next_at),
            attempts: delivery.attempts.into_iter().map(attempt).collect(),
            created_at: delivery.created_at,
        }
    }
}

/// What a listing of attempts is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct AttemptListParams {
    /// How many on a page.
    #[serde(default = "super::limit_default")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: usize,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only what stands like this.
    #[param(inline, value_type = Option<WebhookStatusName>)]
    status: Option<WebhookStatus>,
}

/// List what became of events at an endpoint, newest first.
///
/// Each has its attempts with status, latency and answer. They are kept for 30 days. A page may hold fewer than
/// `limit`; `next_cursor` says whether there are more.
#[utoipa::path(get, path = "/v1/webhooks/endpoints/{id}/attempts", tag = "Webhooks", security(("api_key" = ["webhooks:read"])), params(("id" = String, Path, description = "`whe_…`", example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M"), AttemptListParams),
    responses((status = 200, description = "A page", body = ListPage<DeliveryView>), openapi::QueryProblems, openapi::AuthProblems, openapi::NotFoundProblem))]
pub(in crate::http) async fn list_webhook_attempts(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksRead>,
    InPath(id): InPath<String>,
    Params(query): Params<AttemptListParams>,
) -> Result<Json<ListPage<DeliveryView>>, Problem> {
    let limit = super::limit(query.limit)?;
    let after = super::cursor(query.cursor.as_deref())?.map(WebhookDeliveryId::from_bytes);
    let page = api.app.list_webhooks(&caller, path_id(&id)?, query.status, after, limit).await;
    let page = page.map_err(|refusal| refused(&api, refusal))?;
    let next = page.next.map(WebhookDeliveryId::to_bytes);
    Ok(Json(ListPage::new(page.deliveries.into_iter().map(Into::into).collect(), next)))
}

/// Send a test event to an endpoint.
///
/// It is a `webhook.test`, whatever the endpoint is told of, and goes to no other. See its attempts for what came
/// of it.
#[utoipa::path(post, path = "/v1/webhooks/endpoints/{id}/test", tag = "Webhooks", security(("api_key" = ["webhooks:write"])), params(("id" = String, Path, description = "`whe_…`", example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 202, description = "It is on its way", body = DeliveryView), openapi::AuthProblems, openapi::NotFoundProblem, openapi::QueryProblems))]
pub(in crate::http) async fn test_endpoint(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksWrite>,
    InPath(id): InPath<String>,
) -> Result<(StatusCode, Json<DeliveryView>), Problem> {
    let delivery = api.app.test_endpoint(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok((StatusCode::ACCEPTED, Json(delivery.into())))
}

/// What to deliver once more: one event, or a range.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Replay)]
pub(in crate::http) struct ReplayBody {
    /// This event, and no range.
    #[schema(example = "evt_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    event: Option<String>,
    /// Events that happened from this moment on, at most 30 days back.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// Events that happened before this moment; until now when left out.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// Only what was not taken; otherwise everything that the endpoint is told of.
    #[serde(default)]
    failed_only: bool,
}

/// A replay that has begun.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ReplayAccepted {
    /// The delivery of the one event; null for a range.
    #[schema(required)]
    delivery: Option<DeliveryView>,
    /// The replay of a range; null for one event.
    #[schema(required, example = "whr_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    replay: Option<String>,
}

/// Deliver one event, or a range, to an endpoint once more.
///
/// Each has all attempts before it, and the same `webhook-id`. What the endpoint was not told of because it was
/// disabled, or because it was created later, is delivered too, unless `failed_only`: as far as events were kept,
/// which they are while the tenant has an endpoint, for 30 days after it was disabled, and for a day after somebody
/// read them. One range at a time for each endpoint, and five for the tenant.
#[utoipa::path(post, path = "/v1/webhooks/endpoints/{id}/replay", tag = "Webhooks", security(("api_key" = ["webhooks:write"])), params(("id" = String, Path, description = "`whe_…`", example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = ReplayBody,
    responses((status = 202, description = "It has begun", body = ReplayAccepted), openapi::BodyProblems, openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn replay_events(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksWrite>,
    InPath(id): InPath<String>,
    body: Body<ReplayBody>,
) -> Result<(StatusCode, Json<ReplayAccepted>), Problem> {
    let id = path_id(&id)?;
    let ReplayBody { event, since, until, failed_only } = body.value;
    let accepted = match (event, since) {
        (Some(event), None) if until.is_none() && !failed_only => {
            let event = event
                .parse()
                .map_err(|error: wotp_core::domain::id::IdError| Problem::field("event", error.to_string()))?;
            let delivery = api.app.replay_event(&caller, id, event).await.map_err(|refusal| refused(&api, refusal))?;
            ReplayAccepted { delivery: Some(delivery.into()), replay: None }
        }
        (None, Some(since)) => {
            let ask = AskReplay { since, until, failed_only };
            let replay = api.app.replay_events(&caller, id, ask).await.map_err(|refusal| refused(&api, refusal))?;
            ReplayAccepted { delivery: None, replay: Some(replay.id.to_string()) }
        }
        _ => {
            return Err(Problem::field(
                "event",
                "is given alone, or `since` with or without `until` and `failed_only`",
            ));
        }
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)))
}

/// Call off the replay of a range to an endpoint.
///
/// What of it waits for the endpoint already is delivered, a hundred events or a few more; nothing follows. Another
/// range can be replayed at once.
#[utoipa::path(delete, path = "/v1/webhooks/endpoints/{id}/replay", tag = "Webhooks", security(("api_key" = ["webhooks:write"])), params(("id" = String, Path, description = "`whe_…`", example = "whe_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 204, description = "It was called off"), openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn cancel_replay(
    State(api): State<Arc<Api>>,
    caller: Caller<WebhooksWrite>,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    api.app.cancel_replay(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}
