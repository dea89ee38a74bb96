//! `/v1/events`: what happened, to be read.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use wotp_core::domain::event::Event;
use wotp_core::domain::id::EventId;
use wotp_core::domain::webhook::endpoint::EventPattern;

use super::auth::{Caller, EventsRead};
use super::path::InPath;
use super::query::{ListPage, Params};
use super::verifications::{path_id, refused};
use super::webhooks::schemas::EventData;
use super::{Api, Problem};

/// Something that happened. The body of a webhook is its `type`, `timestamp` and `data`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Event)]
pub(super) struct EventView {
    /// Its id: `webhook-id` of each webhook that tells of it.
    #[schema(example = "evt_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What happened. More kinds may be added.
    #[serde(rename = "type")]
    #[schema(example = "verification.approved")]
    kind: String,
    /// When it happened.
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    /// More about it, by its type. Members may be added.
    #[schema(value_type = EventData)]
    data: Value,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self { id: event.id.to_string(), kind: event.kind, timestamp: event.at, data: event.data }
    }
}

/// What a listing of events is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventListParams {
    /// How many on a page.
    #[serde(default = "super::webhooks::limit_default")]
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: usize,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only of this type, as in `verification.approved`, or of all that begin like it, as in `verification.*`. One: the
    /// stream takes several, as `types`.
    #[serde(rename = "type")]
    #[param(example = "verification.*")]
    kind: Option<String>,
}

/// List events, newest first.
///
/// Events are kept for 30 days, while somebody is told of them: an enabled webhook endpoint, or whoever listed
/// or followed them within the last day. A page may hold fewer than `limit`; `next_cursor` says whether there
/// are more.
#[utoipa::path(get, path = "/v1/events", tag = "Events", security(("api_key" = ["events:read"])), params(EventListParams),
    responses((status = 200, description = "A page", body = ListPage<EventView>), super::openapi::QueryProblems, super::openapi::AuthProblems))]
pub(super) async fn list_events(
    State(api): State<Arc<Api>>,
    caller: Caller<EventsRead>,
    Params(query): Params<EventListParams>,
) -> Result<Json<ListPage<EventView>>, Problem> {
    let limit = super::webhooks::limit(query.limit)?;
    let after = super::webhooks::cursor(query.cursor.as_deref())?.map(EventId::from_bytes);
    let pattern = query.kind.as_deref().map(EventPattern::parse).transpose();
    let pattern = pattern.map_err(|error| Problem::field("type", error.to_string()))?;
    let page = api.app.list_events(&caller, pattern, after, limit).await.map_err(|refusal| refused(&api, refusal))?;
    let next = page.next.map(EventId::to_bytes);
    Ok(Json(ListPage::new(page.events.into_iter().map(Into::into).collect(), next)))
}

/// Read an event.
#[utoipa::path(get, path = "/v1/events/{id}", tag = "Events", security(("api_key" = ["events:read"])), params(("id" = String, Path, description = "`evt_…`", example = "evt_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The event", body = EventView), super::openapi::AuthProblems, super::openapi::NotFoundProblem))]
pub(super) async fn find_event(
    State(api): State<Arc<Api>>,
    caller: Caller<EventsRead>,
    InPath(id): InPath<String>,
) -> Result<Json<EventView>, Problem> {
    let event = api.app.find_event(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(event.into()))
}
