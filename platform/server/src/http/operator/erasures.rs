//! What was erased of deleted tenants, and what waits to be.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Deserialize;

use crate::http::auth::Operator;
use crate::http::query::{ListPage, Params, page};
use crate::http::tenants::{ErasureView, erasure_view};
use crate::http::verifications::refused;
use crate::http::{Api, Problem, openapi};

/// Which erasures to list.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ErasureListParams {
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
}

/// List the erasures of deleted tenants with their reports, the newest tenant first.
///
/// One that has not begun waits until `due_at`, and goes away when the tenant is had back. The report of one that
/// is finished stays: it has counts, and no word of what they counted.
#[utoipa::path(get, path = "/operator/v1/erasures", tag = "Operators", security(("session" = [])), params(ErasureListParams),
    responses((status = 200, description = "A page", body = ListPage<ErasureView>), openapi::QueryProblems, openapi::OperatorProblems))]
pub(in crate::http) async fn list_erasures(
    State(api): State<Arc<Api>>,
    _: Operator,
    Params(params): Params<ErasureListParams>,
) -> Result<Json<ListPage<ErasureView>>, Problem> {
    let (limit, after) = page(params.limit, params.cursor.as_deref())?;
    let mut found = api.app.erasures(after, limit + 1).await.map_err(|refusal| refused(&api, refusal))?;
    let more = found.len() > limit;
    found.truncate(limit);
    let last = found.last().filter(|_| more).map(|erasure| erasure.tenant.to_bytes());
    Ok(Json(ListPage::new(found.iter().map(erasure_view).collect(), last)))
}
