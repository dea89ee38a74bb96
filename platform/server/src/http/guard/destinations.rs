//! What the watch of a guard has restricted, and its release by hand.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::domain::guard::{State as WatchState, Watch};

use crate::http::auth::{Caller, GuardRead, GuardWrite};
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// Where a destination stands.
#[derive(ToSchema)]
#[schema(as = GuardDestinationState, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum StateName {
    /// All goes out.
    Normal,
    /// Few of its codes are typed in any more: some go out.
    Slowed,
    /// Its codes are not typed in: none go out.
    Blocked,
    /// A few go out, to see whether they are typed in.
    Probing,
}

/// A destination of codes that the watch has looked at.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardDestination)]
pub(in crate::http) struct DestinationView {
    /// Its id: the same for the same destination of a service.
    #[schema(example = "gdd_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// `prefix` or `country`.
    #[schema(example = "prefix")]
    kind: &'static str,
    /// The number without its last four digits, or the country.
    #[schema(example = "+4477009001")]
    value: String,
    /// Its country.
    #[schema(required, example = "GB")]
    country: Option<String>,
    /// Where it stands.
    #[schema(value_type = StateName)]
    state: WatchState,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// Until when it is blocked, unless you release it.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
    /// How often in a row it was blocked.
    #[schema(example = 1)]
    blocks: u32,
    /// Codes that went there since then or within the hour, but for those of the last two minutes.
    started: u64,
    /// Of these, typed in.
    approved: u64,
    /// How many of a hundred codes are usually typed in there; null when it is not known of the destination itself.
    #[schema(required, example = 70.0)]
    usual_percent: Option<f64>,
}

fn view(watch: &Watch, now: Timestamp) -> DestinationView {
    let count = watch.counted(i64::MIN, now);
    DestinationView {
        id: watch.id().to_string(),
        kind: watch.destination.kind(),
        value: watch.destination.value().to_owned(),
        country: watch.country.clone(),
        state: watch.state,
        since: watch.since,
        until: watch.until,
        blocks: watch.blocks,
        started: count.started,
        approved: count.approved,
        usual_percent: watch.history.is_enough().then(|| (watch.history.rate() * 1000.0).round() / 10.0),
    }
}

/// Restricted destinations.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardDestinationList)]
pub(in crate::http) struct DestinationList {
    /// Every destination that is slowed, blocked or probed: at most 1,000.
    data: Vec<DestinationView>,
}

/// List the destinations that the watch of a guard has restricted.
#[utoipa::path(get, path = "/v1/services/{id}/guard/destinations", tag = "Guard", security(("api_key" = ["guard:read"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "Restricted destinations", body = DestinationList), openapi::AuthProblems, openapi::NotFoundProblem))]
pub(in crate::http) async fn list_guard_destinations(
    State(api): State<Arc<Api>>,
    caller: Caller<GuardRead>,
    InPath(id): InPath<String>,
) -> Result<Json<DestinationList>, Problem> {
    let found = api.app.guard_destinations(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    let now = api.app.ports().clock.now();
    Ok(Json(DestinationList { data: found.iter().map(|watch| view(watch, now)).collect() }))
}

/// Let codes go to a destination again.
///
/// At once, and whatever the watch has seen. It looks on: a destination whose codes are still not typed in is slowed
/// again. To let one pass for good, put its prefix on the list.
#[utoipa::path(post, path = "/v1/services/{id}/guard/destinations/{destination}/release", tag = "Guard", security(("api_key" = ["guard:write"])),
    params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M"), ("destination" = String, Path, description = "`gdd_…`", example = "gdd_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "Released", body = DestinationView), openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn release_guard_destination(
    State(api): State<Arc<Api>>,
    caller: Caller<GuardWrite>,
    InPath((id, destination)): InPath<(String, String)>,
) -> Result<Json<DestinationView>, Problem> {
    let released = api.app.release_destination(&caller, path_id(&id)?, path_id(&destination)?).await;
    let watch = released.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(&watch, api.app.ports().clock.now())))
}
