//! `/v1/keys`: the API keys of a tenant, for its members.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{KeyChange, KeyInfo, KeyList, NewKey, NewKeySettings, Rotation};
use wotp_core::domain::api_key::{KeyState, Scope};
use wotp_core::domain::id::{ApiKeyId, ServiceId};
use wotp_core::domain::mode::Mode;

use super::auth::{KeysRead, KeysWrite, Member};
use super::body::{Body, MaybeBody};
use super::path::InPath;
use super::query::{ListPage, Params, moment_or_null, page};
use super::verifications::{location, path_id, refused};
use super::{Api, Problem, openapi};
use crate::config::network;

/// How long a replaced key still works when nobody says: a day.
const OVERLAP_DEFAULT_SECONDS: u32 = 24 * 60 * 60;

/// Whether a key reaches people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = KeyMode)]
enum ModeName {
    /// Codes go out.
    #[default]
    Live,
    /// Nobody is reached; replies carry the code.
    Test,
}

/// Whether a key works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = KeyStatus)]
enum StatusName {
    /// It does, from where it may be used.
    Active,
    /// Its time is over.
    Expired,
    /// Somebody stopped it.
    Revoked,
}

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewKey)]
pub(super) struct NewKeyBody {
    /// What you call it.
    #[schema(example = "checkout", min_length = 1, max_length = 100)]
    name: String,
    /// Whether it reaches people.
    #[serde(default)]
    mode: ModeName,
    /// What it may do; all but `addresses:read` when left out. Scopes that you do not have are refused.
    #[schema(value_type = Option<Vec<String>>, example = json!(["verifications:write", "verifications:read"]))]
    scopes: Option<BTreeSet<Scope>>,
    /// The only service that it may use.
    #[schema(value_type = Option<String>, example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: Option<ServiceId>,
    /// When it stops working.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-11-22T12:00:00Z")]
    expires_at: Option<Timestamp>,
    /// Networks or addresses that it may be used from; any when left out or empty.
    #[schema(example = json!(["192.0.2.0/24", "2001:db8::7"]), max_items = 50)]
    allowed_ips: Option<Vec<String>>,
}

/// What to change of a key: what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyChange)]
pub(super) struct KeyChangeBody {
    /// What you call it.
    #[schema(example = "checkout", min_length = 1, max_length = 100)]
    name: Option<String>,
    /// What it may do. Scopes that you do not have are refused.
    #[schema(value_type = Option<Vec<String>>, example = json!(["verifications:write"]))]
    scopes: Option<BTreeSet<Scope>>,
    /// The only service that it may use; null for any.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: Option<Option<ServiceId>>,
    /// When it stops working; null for never.
    #[serde(default, deserialize_with = "nullable_moment")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-11-22T12:00:00Z")]
    expires_at: Option<Option<Timestamp>>,
    /// Networks or addresses that it may be used from; empty for any.
    #[schema(example = json!(["192.0.2.0/24"]), max_items = 50)]
    allowed_ips: Option<Vec<String>>,
}

/// How to replace a key.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = KeyRotation)]
pub(super) struct RotationBody {
    /// How long the old key still works; 0 for no longer.
    #[schema(minimum = 0, maximum = 604_800, default = 86400)]
    overlap_seconds: Option<u32>,
    /// When the new key stops working. When left out, it lasts as long as the old one was made for.
    #[serde(default, deserialize_with = "moment_or_null")]
    #[schema(value_type = Option<String>, format = DateTime, example = "2027-11-22T12:00:00Z")]
    expires_at: Option<Timestamp>,
}

/// Tells null from nothing.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn nullable_moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Timestamp>>, D::Error> {
    moment_or_null(deserializer).map(Some)
}

/// A key: all that is known of it but the key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(super) struct KeyView {
    /// Its id.
    #[schema(example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What you call it.
    #[schema(example = "checkout")]
    name: String,
    /// Whether it reaches people.
    mode: ModeName,
    /// Its first characters.
    #[schema(example = "wk_live_3fKq")]
    shown: String,
    /// Whether it works.
    status: StatusName,
    /// What it may do.
    #[schema(example = json!(["verifications:write", "verifications:read"]))]
    scopes: Vec<&'static str>,
    /// The only service that it may use; null for any.
    #[schema(required, example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    service: Option<String>,
    /// When it stops working; null for never.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2027-11-22T12:00:00Z")]
    expires_at: Option<Timestamp>,
    /// Networks that it may be used from; empty for any.
    #[schema(example = json!(["192.0.2.0/24"]))]
    allowed_ips: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T12:00:00Z")]
    created_at: Timestamp,
    /// The minute in which it was last used, known a minute later; null when it was not used yet.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00Z")]
    last_used_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(required, value_type = Option<String>, format = DateTime, example = "2026-11-22T12:00:00Z")]
    revoked_at: Option<Timestamp>,
    /// The key whose place it took.
    #[schema(required, example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    replaces: Option<String>,
    /// The key that took its place.
    #[schema(required, example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    replaced_by: Option<String>,
}

/// A key as it was just made.
#[derive(Serialize, ToSchema)]
#[schema(as = MadeKey)]
pub(super) struct MadeKeyView {
    /// What is known of it.
    key: KeyView,
    /// The key itself. It is shown this once.
    #[schema(example = "wk_live_3fKqZr8vT1xW9bN4cM7dP2sL6hJ0gY5a0Qw3Er")]
    secret: String,
}

/// Parameters of the listing of keys.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct KeyListParams {
    /// How many on a page.
    #[param(minimum = 1, maximum = 100, default = 20)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    cursor: Option<String>,
    /// Only with this status.
    #[param(inline)]
    status: Option<StatusName>,
}

fn view(info: KeyInfo, now: Timestamp) -> KeyView {
    let KeyInfo { key, last_used_at } = info;
    let status = match key.state(now) {
        KeyState::Working => StatusName::Active,
        KeyState::Expired => StatusName::Expired,
        KeyState::Revoked => StatusName::Revoked,
    };
    KeyView {
        id: key.id.to_string(),
        name: key.name,
        mode: match key.mode {
            Mode::Live => ModeName::Live,
            Mode::Test => ModeName::Test,
        },
        shown: key.shown,
        status,
        scopes: key.scopes.iter().map(|scope| scope.name()).collect(),
        service: key.service.map(|service| service.to_string()),
        expires_at: key.expires_at,
        allowed_ips: key.allowed_ips.iter().map(ToString::to_string).collect(),
        created_at: key.created_at,
        last_used_at,
        revoked_at: key.revoked_at,
        replaces: key.replaces.map(|key| key.to_string()),
        replaced_by: key.replaced_by.map(|key| key.to_string()),
    }
}

fn made(api: &Api, new: NewKey) -> (StatusCode, HeaderMap, Json<MadeKeyView>) {
    let headers = HeaderMap::from_iter([(header::LOCATION, location("/v1/keys/", &new.key.id.to_string()))]);
    let info = KeyInfo { key: new.key, last_used_at: None };
    let secret = new.secret.reveal().to_owned();
    (StatusCode::CREATED, headers, Json(MadeKeyView { key: view(info, api.app.ports().clock.now()), secret }))
}

fn networks(texts: &[String]) -> Result<Vec<IpNet>, Problem> {
    let read = |(place, text): (usize, &String)| {
        network(text).map_err(|message| Problem::field(format!("allowed_ips[{place}]"), message))
    };
    texts.iter().enumerate().map(read).collect()
}

/// List keys, newest first.
///
/// A key that was revoked or has expired is shown for 90 days; the audit log tells of it for longer. A page may have
/// fewer keys than asked for, or none, where many have another status; go on as long as there is a `next_cursor`.
#[utoipa::path(get, path = "/v1/keys", tag = "Keys", security(("session" = ["keys:read"])), params(KeyListParams),
    responses((status = 200, description = "A page", body = ListPage<KeyView>), openapi::QueryProblems, openapi::MemberProblems))]
pub(super) async fn list_keys(
    State(api): State<Arc<Api>>,
    caller: Member<KeysRead>,
    Params(params): Params<KeyListParams>,
) -> Result<Json<ListPage<KeyView>>, Problem> {
    let (limit, after) = page(params.limit, params.cursor.as_deref())?;
    let state = params.status.map(|status| match status {
        StatusName::Active => KeyState::Working,
        StatusName::Expired => KeyState::Expired,
        StatusName::Revoked => KeyState::Revoked,
    });
    let list = KeyList { state, after: after.map(ApiKeyId::from_bytes), limit };
    let page = api.app.list_keys(caller.tenant.id, list).await.map_err(|refusal| refused(&api, refusal))?;
    let now = api.app.ports().clock.now();
    let keys = page.keys.into_iter().map(|info| view(info, now)).collect();
    Ok(Json(ListPage::new(keys, page.next.map(ApiKeyId::to_bytes))))
}

/// Make a key. It is shown this once.
#[utoipa::path(post, path = "/v1/keys", tag = "Keys", security(("session" = ["keys:write"])), request_body = NewKeyBody,
    responses((status = 201, description = "Made", body = MadeKeyView, headers(("Location" = String, description = "Its path"))), openapi::BodyProblems, openapi::MemberProblems, openapi::NotFoundProblem, openapi::LimitConflict))]
pub(super) async fn create_key(
    State(api): State<Arc<Api>>,
    caller: Member<KeysWrite>,
    body: Body<NewKeyBody>,
) -> Result<(StatusCode, HeaderMap, Json<MadeKeyView>), Problem> {
    let body = body.value;
    let mode = match body.mode {
        ModeName::Live => Mode::Live,
        ModeName::Test => Mode::Test,
    };
    let standard = NewKeySettings::named(&body.name, mode);
    let settings = NewKeySettings {
        scopes: body.scopes.unwrap_or(standard.scopes),
        service: body.service,
        expires_at: body.expires_at,
        allowed_ips: networks(&body.allowed_ips.unwrap_or_default())?,
        ..standard
    };
    let new = api.app.create_key(&caller, settings).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(made(&api, new))
}

/// Read what is known of a key.
#[utoipa::path(get, path = "/v1/keys/{id}", tag = "Keys", security(("session" = ["keys:read"])), params(("id" = String, Path, description = "`key_…`", example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The key", body = KeyView), openapi::MemberProblems, openapi::NotFoundProblem))]
pub(super) async fn find_key(
    State(api): State<Arc<Api>>,
    caller: Member<KeysRead>,
    InPath(id): InPath<String>,
) -> Result<Json<KeyView>, Problem> {
    let info = api.app.find_key(caller.tenant.id, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(info, api.app.ports().clock.now())))
}

/// Change a key: its name, scopes, service, expiry or networks.
///
/// What is left out stays. It holds on all nodes within a second. A key with a scope that you do not have is left to
/// those who have it, as with a rotation; you may revoke it.
#[utoipa::path(patch, path = "/v1/keys/{id}", tag = "Keys", security(("session" = ["keys:write"])), params(("id" = String, Path, description = "`key_…`", example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = KeyChangeBody,
    responses((status = 200, description = "Changed", body = KeyView), openapi::BodyProblems, openapi::MemberProblems, openapi::NotFoundProblem, openapi::KeyConflict))]
pub(super) async fn change_key(
    State(api): State<Arc<Api>>,
    caller: Member<KeysWrite>,
    InPath(id): InPath<String>,
    body: Body<KeyChangeBody>,
) -> Result<Json<KeyView>, Problem> {
    let KeyChangeBody { name, scopes, service, expires_at, allowed_ips } = body.value;
    let allowed_ips = allowed_ips.as_deref().map(networks).transpose()?;
    let change = KeyChange { name, scopes, service, expires_at, allowed_ips };
    let id = path_id(&id)?;
    let changed = async {
        api.app.change_key(&caller, id, change).await?;
        api.app.find_key(caller.tenant.id, id).await
    };
    let info = changed.await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(info, api.app.ports().clock.now())))
}

/// Replace a key by a new one that may do the same.
///
/// The new key works at once and is shown this once. The old one works until the overlap ends, so that nothing
/// stops while you put the new one in its place; revoke it when nothing uses it any more.
#[utoipa::path(post, path = "/v1/keys/{id}/rotate", tag = "Keys", security(("session" = ["keys:write"])), params(("id" = String, Path, description = "`key_…`", example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = Option<RotationBody>,
    responses((status = 201, description = "The new key", body = MadeKeyView, headers(("Location" = String, description = "Its path"))), openapi::BodyProblems, openapi::MemberProblems, openapi::NotFoundProblem, openapi::KeyConflict))]
pub(super) async fn rotate_key(
    State(api): State<Arc<Api>>,
    caller: Member<KeysWrite>,
    InPath(id): InPath<String>,
    MaybeBody(body): MaybeBody<RotationBody>,
) -> Result<(StatusCode, HeaderMap, Json<MadeKeyView>), Problem> {
    let RotationBody { overlap_seconds, expires_at } = body;
    let overlap = SignedDuration::from_secs(overlap_seconds.unwrap_or(OVERLAP_DEFAULT_SECONDS).into());
    let rotation = Rotation { overlap, expires_at };
    let new = api.app.rotate_key(&caller, path_id(&id)?, rotation).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(made(&api, new))
}

/// Revoke a key: on all nodes within a second.
///
/// It stays in the list. Revoking it again changes nothing.
#[utoipa::path(delete, path = "/v1/keys/{id}", tag = "Keys", security(("session" = ["keys:write"])), params(("id" = String, Path, description = "`key_…`", example = "key_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 204, description = "It does not work any more"), openapi::MemberProblems, openapi::NotFoundProblem))]
pub(super) async fn revoke_key(
    State(api): State<Arc<Api>>,
    caller: Member<KeysWrite>,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    let revoked = api.app.revoke_key(&caller.by(), caller.tenant.id, path_id(&id)?).await;
    revoked.map_err(|refusal| refused(&api, refusal))?;
    Ok(StatusCode::NO_CONTENT)
}
