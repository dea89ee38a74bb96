//! Maintenance: everything can be read, nothing is changed.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::domain::maintenance::Maintenance;

use crate::http::auth::Operator;
use crate::http::body::Body;
use crate::http::verifications::refused;
use crate::http::{Api, Problem, openapi};

/// Whether the platform is being worked on.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Maintenance)]
pub(super) struct MaintenanceView {
    /// Whether it is.
    active: bool,
    /// What callers are told.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// When it is expected to be over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    until: Option<Timestamp>,
}

impl From<Option<Maintenance>> for MaintenanceView {
    fn from(maintenance: Option<Maintenance>) -> Self {
        match maintenance {
            Some(Maintenance { since, until, message }) => {
                Self { active: true, message: Some(message), since: Some(since), until: Some(until) }
            }
            None => Self { active: false, message: None, since: None, until: None },
        }
    }
}

/// See whether the platform is being worked on.
#[utoipa::path(get, path = "/operator/v1/maintenance", tag = "Operators", security(("session" = [])),
    responses((status = 200, description = "Whether it is", body = MaintenanceView), openapi::OperatorProblems))]
pub(in crate::http) async fn find_maintenance(
    State(api): State<Arc<Api>>,
    _: Operator,
) -> Result<Json<MaintenanceView>, Problem> {
    let found = api.app.maintenance().await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(found.map(|found| (*found).clone()).into()))
}

/// What callers are told.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewMaintenance)]
pub(super) struct BeginBody {
    /// What callers read, on one line.
    #[schema(min_length = 1, max_length = 300, example = "we move to a larger database")]
    message: String,
    /// How long it is expected to take: what callers are told to wait.
    #[schema(minimum = 1, maximum = 1440, example = 15)]
    minutes: u32,
}

/// Begin maintenance, or change what is said of it.
///
/// Within a second, on every node, calls that change something are 503 with `Retry-After`, checks of codes among
/// them. Reading goes on, and so does what operators do; people sign in and out, and codes that are under way still
/// go out.
#[utoipa::path(put, path = "/operator/v1/maintenance", tag = "Operators", security(("session" = [])), request_body = BeginBody,
    responses((status = 200, description = "It has begun", body = MaintenanceView), openapi::BodyProblems, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn begin_maintenance(
    State(api): State<Arc<Api>>,
    operator: Operator,
    Body { value, .. }: Body<BeginBody>,
) -> Result<Json<MaintenanceView>, Problem> {
    let begun = api.app.begin_maintenance(&operator.by(), &value.message, value.minutes).await;
    Ok(Json(Some(begun.map_err(|refusal| refused(&api, refusal))?).into()))
}

/// End maintenance.
#[utoipa::path(delete, path = "/operator/v1/maintenance", tag = "Operators", security(("session" = [])),
    responses((status = 204, description = "It is over"), openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn end_maintenance(
    State(api): State<Arc<Api>>,
    operator: Operator,
) -> Result<StatusCode, Problem> {
    let ended = api.app.end_maintenance(&operator.by()).await;
    ended.map(|()| StatusCode::NO_CONTENT).map_err(|refusal| refused(&api, refusal))
}
