//! How the account that a connection goes through stands at its provider.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::domain::account::{AccountChecked, AccountFinding};

use super::ConnectionView;
use crate::http::auth::{Caller, ConnectionsWrite};
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// Something that an account needs, and how it stands.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AccountFinding)]
struct FindingView {
    /// What it is, as the provider calls it.
    #[schema(example = "login_code, en_US")]
    name: String,
    /// How it stands, in the provider's own word where it has one.
    #[schema(example = "PENDING")]
    state: String,
    /// Whether nothing has to be done about it or waited for.
    good: bool,
    /// What that means, and what to do; empty where there is nothing to say.
    #[schema(example = "Meta looks at it, which takes minutes as a rule and a day at most.")]
    about: String,
}

impl From<AccountFinding> for FindingView {
    fn from(AccountFinding { name, state, good, about }: AccountFinding) -> Self {
        Self { name, state, good, about }
    }
}

/// How the account of a connection stands at its provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Account)]
pub(super) struct AccountView {
    /// When it was looked at.
    #[schema(value_type = String, format = DateTime)]
    checked_at: Timestamp,
    /// Whether any message can get out through it, as far as the provider says.
    usable: bool,
    /// What was looked at.
    findings: Vec<FindingView>,
    /// Why the provider could not be asked, so that the rest is what was found before; null where it was.
    #[schema(required)]
    unanswered: Option<String>,
}

impl From<AccountChecked> for AccountView {
    fn from(AccountChecked { at, standing, unanswered }: AccountChecked) -> Self {
        let findings = standing.findings.into_iter().map(FindingView::from).collect();
        Self { checked_at: at, usable: standing.usable, findings, unanswered }
    }
}

/// Have the account of a connection looked at.
///
/// A channel that can asks its provider what still keeps messages from going out, and makes there what is missing where the
/// settings say so. That is done as well when you connect the account, when you change its settings or secrets, and when
/// the provider tells that something changed. It takes 10 seconds at most. `account` then says what was found; it is null
/// where nobody looked yet, or the channel looks at nothing. Where as many are looked at as may be at once, it is refused
/// with 503 and nothing is kept.
#[utoipa::path(post, path = "/v1/connections/{id}/check", tag = "Connections", security(("api_key" = ["connections:write"])), params(("id" = String, Path, description = "`con_…`", example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "As it is now", body = ConnectionView), openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn check_connection(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsWrite>,
    InPath(id): InPath<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let seen = api.app.check_connection(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(ConnectionView::of(seen, &caller)))
}
