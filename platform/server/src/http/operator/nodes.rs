//! The nodes that share the store.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::app::Refusal;
use wotp_core::domain::node::Node;

use crate::http::auth::Operator;
use crate::http::verifications::refused;
use crate::http::{Api, Problem, openapi};

/// One run of the server.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Node)]
pub(super) struct NodeView {
    /// Its id: a process that is started again has another.
    #[schema(example = "nod_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// `serving`, `draining` or `gone`.
    #[schema(example = "serving")]
    status: &'static str,
    /// What it does: `all`, `api` or `worker`.
    #[schema(example = "all")]
    role: &'static str,
    /// The machine.
    host: String,
    /// The program's version.
    version: String,
    /// Since when it runs.
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    /// When it was last heard of.
    #[schema(value_type = String, format = DateTime)]
    seen_at: Timestamp,
}

impl NodeView {
    fn of(node: Node, now: Timestamp) -> Self {
        Self {
            id: node.id.to_string(),
            status: node.status(now),
            role: node.role.name(),
            host: node.host,
            version: node.version,
            started_at: node.started_at,
            seen_at: node.seen_at,
        }
    }
}

/// All nodes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NodeList)]
pub(super) struct NodeList {
    /// Oldest first. Empty where the server has a database file of its own: it is alone then, and is not listed.
    data: Vec<NodeView>,
}

/// List the nodes that share the store.
///
/// A server with a database file of its own is alone, and the list is empty.
#[utoipa::path(get, path = "/operator/v1/nodes", tag = "Operators", security(("session" = [])),
    responses((status = 200, description = "All nodes", body = NodeList), openapi::OperatorProblems))]
pub(in crate::http) async fn list_nodes(State(api): State<Arc<Api>>, _: Operator) -> Result<Json<NodeList>, Problem> {
    let ports = api.app.ports();
    let nodes = ports.store.nodes().await.map_err(|error| refused(&api, Refusal::from(error)))?;
    let now = ports.clock.now();
    Ok(Json(NodeList { data: nodes.into_iter().map(|node| NodeView::of(node, now)).collect() }))
}
