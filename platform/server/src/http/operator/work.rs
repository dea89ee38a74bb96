//! Queues and stuck work.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::app::StuckWork;
use wotp_core::domain::id::{MessageId, VerificationId};
use wotp_core::ports::Item;

use crate::http::auth::Operator;
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// What is shown of what is stuck.
const STUCK_MAX: usize = 100;

/// Something that should have been done over a minute ago.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StuckWork)]
pub(super) struct StuckView {
    /// The verification or message.
    #[schema(example = "ver_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// Whose it is.
    #[schema(example = "ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    tenant: String,
    /// Since when it is due; null where its record cannot be read: it is damaged, or of a newer program.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    due_since: Option<Timestamp>,
    /// Calls to channels so far; null where its record cannot be read.
    #[schema(required)]
    tries: Option<u32>,
}

impl From<StuckWork> for StuckView {
    fn from(stuck: StuckWork) -> Self {
        let id = match stuck.item {
            Item::Verification(id) => id.to_string(),
            Item::Message(id) => id.to_string(),
        };
        let (due_since, tries) = stuck.seen.map(|seen| (seen.due_since, seen.tries)).unzip();
        Self { id, tenant: stuck.tenant.to_string(), due_since, tries }
    }
}

/// What workers have to do, and what waits besides. All of it goes on by itself; a number that grows says that it does
/// not keep up.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Work)]
pub(super) struct WorkView {
    /// Jobs that wait for a worker, on all nodes; null when the queue does not answer.
    #[schema(required)]
    waiting: Option<usize>,
    /// Webhooks that are due and that no node has taken, up to a thousand. What waits for an endpoint that is slow or
    /// away, or for its next attempt, is not among them.
    #[schema(maximum = 1000)]
    webhooks_waiting: usize,
    /// Changes of verifications and messages that are no events yet, and not in analytics, up to a thousand.
    #[schema(maximum = 1000)]
    news_waiting: usize,
    /// Rows that are due and cannot be read, up to a thousand: each is in the log, keeps nothing else waiting, and is
    /// looked at again every five minutes.
    #[schema(maximum = 1000)]
    set_aside: usize,
    /// What is stuck, the longest first, at most a hundred.
    stuck: Vec<StuckView>,
}

/// See what waits and what is stuck.
#[utoipa::path(get, path = "/operator/v1/work", tag = "Operators", security(("session" = [])),
    responses((status = 200, description = "What workers have to do", body = WorkView), openapi::OperatorProblems))]
pub(in crate::http) async fn find_work(State(api): State<Arc<Api>>, _: Operator) -> Result<Json<WorkView>, Problem> {
    let work = api.app.work(STUCK_MAX).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(WorkView {
        waiting: work.waiting,
        webhooks_waiting: work.webhooks_waiting,
        news_waiting: work.news_waiting,
        set_aside: work.set_aside,
        stuck: work.stuck.into_iter().map(StuckView::from).collect(),
    }))
}

fn item(text: &str) -> Result<Item, Problem> {
    if text.starts_with(MessageId::PREFIX) {
        return Ok(Item::Message(path_id(text)?));
    }
    Ok(Item::Verification(path_id::<VerificationId>(text)?))
}

/// Try something that is stuck once more, now.
#[utoipa::path(post, path = "/operator/v1/tenants/{id}/work/{item}/retry", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "Whose it is"), ("item" = String, Path, description = "The verification or message")),
    responses((status = 204, description = "A worker was told"), openapi::NotFoundProblem, openapi::WorkConflict, openapi::OperatorProblems))]
pub(in crate::http) async fn retry_work(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath((id, what)): InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let done = api.app.retry_work(&operator.by(), path_id(&id)?, item(&what)?).await;
    done.map(|()| StatusCode::NO_CONTENT).map_err(|refusal| refused(&api, refusal))
}

/// Give something up: a verification is canceled, a message is not delivered any more.
#[utoipa::path(post, path = "/operator/v1/tenants/{id}/work/{item}/discard", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "Whose it is"), ("item" = String, Path, description = "The verification or message")),
    responses((status = 204, description = "It is given up, or had ended"), openapi::NotFoundProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn discard_work(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath((id, what)): InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let done = api.app.discard_work(&operator.by(), path_id(&id)?, item(&what)?).await;
    done.map(|()| StatusCode::NO_CONTENT).map_err(|refusal| refused(&api, refusal))
}
