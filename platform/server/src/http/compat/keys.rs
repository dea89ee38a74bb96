//! WOTP's paths for keys: `/api/apikey`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{KeyInfo, KeyList, NewKeySettings};
use wotp_core::domain::api_key::{ApiKey, KeyState, Scope};
use wotp_core::domain::id::ApiKeyId;

use super::CompatProblems;
use super::accounts::Done;
use crate::http::auth::{Caller, KeysRead, KeysWrite};
use crate::http::body::Body;
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem};

/// Keys of one state that a listing shows. WOTP's has no pages; fewer work.
const LISTED_MAX: usize = 1000;

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = WotpKeyCreate)]
pub(in crate::http) struct CreateKeyBody {
    /// What you call it.
    #[schema(example = "backend", min_length = 1, max_length = 64)]
    name: String,
}

/// A key, never the key itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpKey)]
struct KeyView {
    /// Its id.
    #[serde(rename = "_id")]
    #[schema(example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What you call it.
    #[schema(example = "backend")]
    name: String,
    /// How it begins.
    #[schema(example = "wk_live_9fGh")]
    prefix: String,
    /// Whether it works.
    #[serde(rename = "isActive")]
    #[schema(example = true)]
    is_active: bool,
    /// The minute of its last use; null when it was not used yet.
    #[serde(rename = "lastUsedAt")]
    #[schema(required, value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// When it was made.
    #[serde(rename = "createdAt")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl KeyView {
    fn of(key: ApiKey, last_used_at: Option<Timestamp>, now: Timestamp) -> Self {
        let is_active = !key.is_over(now);
        Self {
            id: key.id.to_string(),
            name: key.name,
            prefix: key.shown,
            is_active,
            last_used_at,
            created_at: key.created_at,
        }
    }
}

/// A key that was made.
#[derive(Serialize, ToSchema)]
#[schema(as = WotpKeyCreated)]
pub(in crate::http) struct KeyCreated {
    /// In words.
    message: &'static str,
    /// The key. It is not shown again.
    #[serde(rename = "apiKey")]
    #[schema(example = "wk_live_9fGh…")]
    api_key: String,
    /// Its id.
    #[serde(rename = "_id")]
    #[schema(example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What you call it.
    #[schema(example = "backend")]
    name: String,
    /// How it begins.
    #[schema(example = "wk_live_9fGh")]
    prefix: String,
    /// True.
    #[serde(rename = "isActive")]
    #[schema(example = true)]
    is_active: bool,
    /// When it was made.
    #[serde(rename = "createdAt")]
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// Keys.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WotpKeys)]
pub(in crate::http) struct Keys {
    /// Those that were not deleted, oldest first: all that work, and up to 1000 that expired within 90 days.
    keys: Vec<KeyView>,
}

/// Make a key, with what a key may do that nobody says more about.
#[utoipa::path(post, path = "/api/apikey/create", tag = "WOTP-compatible", security(("session" = ["keys:write"])), request_body = CreateKeyBody,
    responses((status = 201, description = "Made", body = KeyCreated), CompatProblems))]
pub(in crate::http) async fn apikey_create(
    State(api): State<Arc<Api>>,
    caller: Caller<KeysWrite>,
    body: Body<CreateKeyBody>,
) -> Result<(StatusCode, Json<KeyCreated>), Problem> {
    let mut settings = NewKeySettings::named(&body.value.name, caller.mode());
    settings.scopes = Scope::standard();
    let made = api.app.create_key(&caller, settings).await.map_err(|refusal| refused(&api, refusal))?;
    let created = KeyCreated {
        message: "API key created. Store it safely: it will not be shown again.",
        api_key: made.secret.reveal().to_owned(),
        id: made.key.id.to_string(),
        name: made.key.name,
        prefix: made.key.shown,
        is_active: true,
        created_at: made.key.created_at,
    };
    Ok((StatusCode::CREATED, Json(created)))
}

/// List the keys.
#[utoipa::path(get, path = "/api/apikey/list", tag = "WOTP-compatible", security(("session" = ["keys:read"])),
    responses((status = 200, description = "The keys", body = Keys), CompatProblems))]
pub(in crate::http) async fn apikey_list(
    State(api): State<Arc<Api>>,
    caller: Caller<KeysRead>,
) -> Result<Json<Keys>, Problem> {
    let mut there = Vec::new();
    for state in [KeyState::Working, KeyState::Expired] {
        let list = KeyList { state: Some(state), after: None, limit: LISTED_MAX };
        let page = api.app.list_keys(caller.tenant.id, list).await.map_err(|refusal| refused(&api, refusal))?;
        there.extend(page.keys);
    }
    there.sort_unstable_by_key(|info| info.key.id);
    let now = api.app.ports().clock.now();
    let view = |KeyInfo { key, last_used_at }| KeyView::of(key, last_used_at, now);
    Ok(Json(Keys { keys: there.into_iter().map(view).collect() }))
}

/// Delete a key: it never works again.
#[utoipa::path(delete, path = "/api/apikey/{id}", tag = "WOTP-compatible", security(("session" = ["keys:write"])), params(("id" = String, Path, description = "`key_…`", example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "Deleted", body = Done), CompatProblems))]
pub(in crate::http) async fn apikey_delete(
    State(api): State<Arc<Api>>,
    caller: Caller<KeysWrite>,
    InPath(id): InPath<String>,
) -> Result<Json<Done>, Problem> {
    let id: ApiKeyId = path_id(&id)?;
    let revoked = api.app.revoke_key(&caller.by(), caller.tenant.id, id).await;
    revoked.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(Done::of("API key deleted")))
}
