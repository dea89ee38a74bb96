//! `/operator/v1/audit`: what was done to the platform, or in a tenant.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::HeaderMap;
use jiff::Timestamp;
use serde::Deserialize;
use wotp_core::ports::Owner;

use crate::http::audit::{LineView, exported, filter, listed};
use crate::http::auth::Operator;
use crate::http::query::{ListPage, Params, moment_or_null, page};
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// Parameters of the audit log. All conditions hold together.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OperatorAuditListParams {
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Whose log: a tenant's id. The platform's own when left out.
    #[param(example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    tenant: Option<String>,
    /// Only what was done by this person or key; or `command_line`, or `platform`.
    actor: Option<String>,
    /// Only what was done whose name begins so, as in `operator_access.`. The guide lists all names.
    action: Option<String>,
    /// Only what was done to this thing: its id.
    target: Option<String>,
    /// Only what was done then or later.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Only what was done before.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[param(value_type = Option<String>, format = DateTime)]
    before: Option<Timestamp>,
}

/// Parameters of an export. All conditions hold together.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct OperatorAuditExportParams {
    /// Whose log: a tenant's id. The platform's own when left out.
    #[param(example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    tenant: Option<String>,
    /// Only what was done by this person or key; or `command_line`, or `platform`.
    actor: Option<String>,
    /// Only what was done whose name begins so, as in `operator_access.`. The guide lists all names.
    action: Option<String>,
    /// Only what was done to this thing: its id.
    target: Option<String>,
    /// Only what was done then or later.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<Timestamp>,
    /// Only what was done before.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[param(value_type = Option<String>, format = DateTime)]
    before: Option<Timestamp>,
}

/// Whose log is meant. That an operator reads a tenant's is in it before it is read.
async fn opened(api: &Api, operator: &Operator, tenant: Option<&str>) -> Result<Owner, Problem> {
    let Some(tenant) = tenant else { return Ok(Owner::Platform) };
    let opened = api.app.open_audit_of(&operator.by(), path_id(tenant)?).await;
    opened.map_err(|refusal| refused(api, refusal))
}

/// List what was done to the platform or in a tenant, newest first.
///
/// A tenant sees in its own log that an operator read it, and which: each call leaves a line `audit.read` there. A
/// page may have fewer entries than asked for, or none; go on as long as there is a `next_cursor`.
#[utoipa::path(get, path = "/operator/v1/audit", tag = "Operators", security(("session" = [])), params(OperatorAuditListParams),
    responses((status = 200, description = "A page", body = ListPage<LineView>), openapi::QueryProblems, openapi::NotFoundProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn list_any_audit(
    State(api): State<Arc<Api>>,
    operator: Operator,
    Params(params): Params<OperatorAuditListParams>,
) -> Result<Json<ListPage<LineView>>, Problem> {
    let OperatorAuditListParams { limit, cursor, tenant, actor, action, target, from, before } = params;
    let page = page(limit, cursor.as_deref())?;
    let filter = filter(actor, action, target, (from, before))?;
    let owner = opened(&api, &operator, tenant.as_deref()).await?;
    listed(&api, owner, &filter, page).await
}

/// Export the platform's log or a tenant's, oldest first: one JSON object a line.
///
/// It is read as it is sent. An export that was cut off ends in the middle of the reply, not with a proper end. In
/// a tenant's log, each call leaves a line `audit.read`.
#[utoipa::path(get, path = "/operator/v1/audit/export", tag = "Operators", security(("session" = [])), params(OperatorAuditExportParams),
    responses((status = 200, description = "All that matches", body = LineView, content_type = "application/x-ndjson"), openapi::QueryProblems, openapi::NotFoundProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn export_any_audit(
    State(api): State<Arc<Api>>,
    operator: Operator,
    Params(params): Params<OperatorAuditExportParams>,
) -> Result<(HeaderMap, Body), Problem> {
    let OperatorAuditExportParams { tenant, actor, action, target, from, before } = params;
    let filter = filter(actor, action, target, (from, before))?;
    let owner = opened(&api, &operator, tenant.as_deref()).await?;
    exported(&api, owner, filter).await
}
