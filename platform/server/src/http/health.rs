//! Health and metrics, for load balancers and monitors.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;

/// Whether this process can serve.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`; `degraded`, when it serves although a part is away; or `unavailable`.
    #[schema(example = "ok")]
    status: &'static str,
    /// Each part: `ok`, or in a few words what is wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    checks: Vec<Check>,
}

/// One part.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthCheck)]
struct Check {
    /// Which part: `store`, `queue` or `draining`.
    name: &'static str,
    /// `ok`, or what is wrong.
    status: String,
}

/// Whether the process runs.
#[utoipa::path(get, path = "/health/live", tag = "Health", security(()), responses((status = 200, description = "It runs", body = Health)))]
pub(super) async fn live() -> Json<Health> {
    Json(Health { status: "ok", checks: Vec::new() })
}

/// Whether requests can be served: asks the store and the queue. A queue that nodes share may be away:
/// the store keeps what is due, and workers are called a little later.
#[utoipa::path(get, path = "/health/ready", tag = "Health", security(()),
    responses((status = 200, description = "Ready", body = Health), (status = 503, description = "Not ready", body = Health)))]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> (StatusCode, Json<Health>) {
    let ports = api.app.ports();
    let said = |result: Result<(), String>| result.err().unwrap_or_else(|| "ok".to_owned());
    let draining =
        if api.settings.ready.load(Ordering::Acquire) { Ok(()) } else { Err("the server is stopping".to_owned()) };
    let checks = vec![
        Check { name: "store", status: said(ports.store.ping().await.map_err(|error| error.to_string())) },
        Check { name: "queue", status: said(ports.queue.ping().await.map_err(|error| error.to_string())) },
        Check { name: "draining", status: said(draining) },
    ];
    // Where nodes share a Redis it is away for all of them or for none: a load balancer that takes
    // them out for it would leave nobody to accept what they could.
    let needed = |check: &Check| check.name != "queue" || api.settings.queue_needed;
    let wrong = |check: &&Check| check.status != "ok";
    let (code, status) = match (checks.iter().find(wrong), checks.iter().filter(wrong).any(needed)) {
        (None, _) => (StatusCode::OK, "ok"),
        (Some(_), false) => (StatusCode::OK, "degraded"),
        (Some(_), true) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
    };
    (code, Json(Health { status, checks }))
}

/// `/metrics`, in Prometheus' text format.
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> impl IntoResponse {
    // Left as it was last seen when the queue cannot be asked; whether it can is what `/health/ready` says.
    if let Ok(depth) = api.app.ports().queue.depth().await {
        metrics::gauge!("wotp_queue_depth").set(u32::try_from(depth).unwrap_or(u32::MAX));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], api.settings.metrics.render())
}
