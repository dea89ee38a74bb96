//! The list of a guard.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{NewEntry, NewListed};
use wotp_core::domain::guard::{ListEffect, ListEntry};

use crate::http::auth::{Caller, GuardRead, GuardWrite};
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// What an entry is for.
#[derive(ToSchema)]
#[schema(as = GuardEntryEffect, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum EffectName {
    /// Lets it pass, whatever other rules say.
    Allow,
    /// Stops it.
    Block,
}

/// An entry for a list: names exactly one of `address`, `prefix` and `network`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewGuardEntry)]
pub(in crate::http) struct EntryBody {
    /// What it is for.
    #[schema(value_type = EffectName)]
    effect: ListEffect,
    /// A phone number in E.164 or an email address. Only a keyed index of it is kept.
    #[schema(min_length = 3, max_length = 254)]
    address: Option<String>,
    /// How phone numbers begin: `+` and 1 to 11 digits. It is kept as it is, so a whole number is none: that is an
    /// `address`.
    #[schema(example = "+4477009")]
    prefix: Option<String>,
    /// An IP address or a network (CIDR) of your users. Looked at when a verification is started.
    network: Option<String>,
    /// Why it is there, for those who read the list.
    #[serde(default)]
    #[schema(max_length = 100)]
    note: String,
}

/// An entry of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardEntry)]
pub(in crate::http) struct EntryView {
    /// Its id.
    #[schema(example = "gde_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What it is for.
    #[schema(value_type = EffectName)]
    effect: ListEffect,
    /// `address`, `prefix` or `network`.
    #[schema(example = "prefix")]
    kind: &'static str,
    /// What it names; an address is masked.
    #[schema(example = "+4477009")]
    value: String,
    /// Why it is there.
    note: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<ListEntry> for EntryView {
    fn from(entry: ListEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            effect: entry.effect,
            kind: entry.what.kind(),
            value: entry.what.shown(),
            note: entry.note,
            created_at: entry.created_at,
        }
    }
}

/// The whole list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardEntryList)]
pub(in crate::http) struct EntryList {
    /// Every entry, oldest first: at most 1,000 of each kind.
    data: Vec<EntryView>,
}

/// List the entries of a guard's list, oldest first.
#[utoipa::path(get, path = "/v1/services/{id}/guard/entries", tag = "Guard", security(("api_key" = ["guard:read"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The list", body = EntryList), openapi::AuthProblems, openapi::NotFoundProblem))]
pub(in crate::http) async fn list_guard_entries(
    State(api): State<Arc<Api>>,
    caller: Caller<GuardRead>,
    InPath(id): InPath<String>,
) -> Result<Json<EntryList>, Problem> {
    let entries = api.app.guard_entries(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(EntryList { data: entries.into_iter().map(EntryView::from).collect() }))
}

/// Put an entry on a guard's list.
///
/// The closest entry decides: the address itself before a prefix, a longer prefix before a shorter one, a smaller
/// network before a larger one. Where an address may pass and a network may not, or the other way round, it is blocked.
#[utoipa::path(post, path = "/v1/services/{id}/guard/entries", tag = "Guard", security(("api_key" = ["guard:write"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = EntryBody,
    responses((status = 201, description = "On the list", body = EntryView), openapi::BodyProblems, openapi::AuthProblems, openapi::NotFoundProblem, openapi::EntryConflict))]
pub(in crate::http) async fn add_guard_entry(
    State(api): State<Arc<Api>>,
    caller: Caller<GuardWrite>,
    InPath(id): InPath<String>,
    body: Body<EntryBody>,
) -> Result<(StatusCode, Json<EntryView>), Problem> {
    let EntryBody { effect, address, prefix, network, note } = body.value;
    let what = match (address, prefix, network) {
        (Some(address), None, None) => NewListed::Address(address),
        (None, Some(prefix), None) => NewListed::Prefix(prefix),
        (None, None, Some(network)) => NewListed::Network(network),
        _ => return Err(Problem::field("address", "name exactly one of `address`, `prefix` and `network`")),
    };
    let added = api.app.add_guard_entry(&caller, path_id(&id)?, NewEntry { effect, what, note }).await;
    Ok((StatusCode::CREATED, Json(added.map_err(|refusal| refused(&api, refusal))?.into())))
}

/// Take an entry off a guard's list.
#[utoipa::path(delete, path = "/v1/services/{id}/guard/entries/{entry}", tag = "Guard", security(("api_key" = ["guard:write"])),
    params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M"), ("entry" = String, Path, description = "`gde_…`", example = "gde_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 204, description = "Off the list"), openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn remove_guard_entry(
    State(api): State<Arc<Api>>,
    caller: Caller<GuardWrite>,
    InPath((id, entry)): InPath<(String, String)>,
) -> Result<StatusCode, Problem> {
    let removed = api.app.remove_guard_entry(&caller, path_id(&id)?, path_id(&entry)?).await;
    removed.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}
