//! `/v1/channels` and `/v1/connections`: which ways there are to reach people, and a tenant's own accounts at them.

pub(super) mod account;
pub(super) mod session;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use wotp_core::app::{ApiCaller, ConnectionChange, ConnectionSeen, Given, LiveSeen, NewConnection, TenantChannel};
use wotp_core::domain::plugin::{Connecting, SecretAsked};
use zeroize::Zeroizing;

use super::auth::{Caller, ConnectionsRead, ConnectionsWrite, Privilege as _};
use super::body::Body;
use super::keys::nullable;
use super::path::InPath;
use super::verifications::{location, path_id, refused};
use super::{Api, Problem, openapi, to_the_end};
use account::AccountView;
use session::SessionView;

/// Whether tenants bring connections of their own.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = Connecting)]
pub(super) enum ConnectingName {
    /// No: all messages go out through the operator's account.
    None,
    /// A tenant that has a connection sends through that, everybody else through the operator's account.
    Optional,
    /// The channel is there for tenants that have a connection, and for nobody else.
    Required,
}

impl From<Connecting> for ConnectingName {
    fn from(connecting: Connecting) -> Self {
        match connecting {
            Connecting::None => Self::None,
            Connecting::Optional => Self::Optional,
            Connecting::Required => Self::Required,
        }
    }
}

impl From<ConnectingName> for Connecting {
    fn from(name: ConnectingName) -> Self {
        match name {
            ConnectingName::None => Self::None,
            ConnectingName::Optional => Self::Optional,
            ConnectingName::Required => Self::Required,
        }
    }
}

/// A secret that a connection works with.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ConnectionSecret)]
struct SecretView {
    /// Its name.
    #[schema(example = "auth_token")]
    name: String,
    /// What it is.
    #[schema(example = "The auth token of the account")]
    about: String,
    /// Whether it works without it.
    optional: bool,
}

impl From<SecretAsked> for SecretView {
    fn from(SecretAsked { name, about, optional }: SecretAsked) -> Self {
        Self { name, about, optional }
    }
}

/// A channel.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Channel)]
pub(super) struct ChannelView {
    /// Its name, which `channels` of a service and of a call take.
    #[schema(example = "sms")]
    name: String,
    /// The kinds of address that it reaches: `phone`, `email`.
    #[schema(example = json!(["phone"]))]
    reaches: Vec<String>,
    /// Whether you can, or must, connect an account of your own.
    connections: ConnectingName,
    /// Your connection; null where you have none. Of several the oldest.
    #[schema(required, example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    connection: Option<String>,
    /// What the settings of a connection may be: a JSON Schema (2020-12). Null where there are no connections, and for a
    /// moment after the operator changed the channel.
    #[schema(required)]
    config_schema: Option<Value>,
    /// The secrets that a connection works with.
    secrets: Vec<SecretView>,
}

impl From<TenantChannel> for ChannelView {
    fn from(channel: TenantChannel) -> Self {
        let (config_schema, secrets) = match channel.asks {
            Some(asks) => (Some(asks.config_schema), asks.secrets),
            None => (None, Vec::new()),
        };
        Self {
            name: channel.info.name,
            reaches: channel.info.reaches.iter().map(ToString::to_string).collect(),
            connections: channel.connecting.into(),
            connection: channel.connection.map(|id| id.to_string()),
            config_schema,
            secrets: secrets.into_iter().map(SecretView::from).collect(),
        }
    }
}

/// Channels.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ChannelList {
    /// In the order in which they are tried when nobody says another.
    data: Vec<ChannelView>,
}

/// A connection.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Connection)]
pub(super) struct ConnectionView {
    /// Its id.
    #[schema(example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// The channel.
    #[schema(example = "sms")]
    channel: String,
    /// What you call it.
    #[schema(example = "Our Twilio account")]
    name: String,
    /// Its settings.
    #[schema(example = json!({ "account_sid": "AC0123456789abcdef0123456789abcdef" }))]
    config: Map<String, Value>,
    /// The names of its secrets. What they are is never shown.
    #[schema(example = json!(["auth_token"]))]
    secrets: Vec<String>,
    /// Why no message gets out through it; null where they do, as far as can be told without sending one.
    #[schema(required)]
    problem: Option<String>,
    /// How the account stands at its provider, as it was looked at last; null where nobody looked yet, or its channel looks at none.
    #[schema(required)]
    account: Option<AccountView>,
    /// What people are answered who write to it, and not to confirm themselves, once a day each; null where it is nothing.
    #[schema(required, example = "Nobody reads what is written here.")]
    auto_reply: Option<String>,
    /// Where it stands, of one that is kept logged in, as `whatsapp`; null for others.
    #[schema(required)]
    session: Option<SessionView>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl ConnectionView {
    /// As it is shown to a caller, who sees what links a phone if they may change connections.
    pub(super) fn of(seen: ConnectionSeen, caller: &ApiCaller) -> Self {
        match seen {
            ConnectionSeen::Plugins { connection, problem } => Self {
                id: connection.id.to_string(),
                channel: connection.channel,
                name: connection.name,
                config: connection.settings.config,
                secrets: connection.settings.secrets.into_keys().collect(),
                problem,
                account: connection.account.map(AccountView::from),
                auto_reply: None,
                session: None,
                created_at: connection.created_at,
                updated_at: connection.updated_at,
            },
            ConnectionSeen::Live(seen) => Self::live(seen, caller.may(ConnectionsWrite::PERMISSION)),
        }
    }

    /// One that is kept logged in, to whoever may link a phone to it or not.
    fn live(seen: LiveSeen, links: bool) -> Self {
        let session = SessionView::of(&seen, links);
        Self {
            problem: session.problem(seen.served),
            session: Some(session),
            auto_reply: seen.connection.auto_reply,
            id: seen.connection.id.to_string(),
            channel: seen.connection.channel,
            name: seen.connection.name,
            config: Map::new(),
            secrets: Vec::new(),
            account: None,
            created_at: seen.connection.created_at,
            updated_at: seen.connection.updated_at,
        }
    }
}

/// Connections.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ConnectionList {
    /// Oldest first.
    data: Vec<ConnectionView>,
}

/// A connection to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewConnection)]
pub(super) struct NewBody {
    /// To which channel.
    #[schema(example = "sms")]
    channel: String,
    /// What you call it. The channel's name when left out.
    #[schema(example = "Our Twilio account", min_length = 1, max_length = 64)]
    name: Option<String>,
    /// Its settings, as the channel's `config_schema` takes them.
    #[serde(default)]
    #[schema(example = json!({ "account_sid": "AC0123456789abcdef0123456789abcdef" }))]
    config: Map<String, Value>,
    /// Its secrets, by name.
    #[serde(default)]
    #[schema(example = json!({ "auth_token": "…" }))]
    secrets: BTreeMap<String, String>,
}

/// What to change of a connection: what is left out stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ConnectionChange)]
pub(super) struct ChangeBody {
    /// What you call it.
    #[schema(example = "Our Twilio account", min_length = 1, max_length = 64)]
    name: Option<String>,
    /// What people are answered who write to it, and not to confirm themselves, once a day each; null for nothing. For
    /// connections to `whatsapp`.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, example = "Nobody reads what is written here.", min_length = 1, max_length = 1000)]
    auto_reply: Option<Option<String>>,
    /// Its settings, all of them.
    #[schema(example = json!({ "account_sid": "AC0123456789abcdef0123456789abcdef" }))]
    config: Option<Map<String, Value>>,
    /// Secrets by name; null where one goes.
    #[serde(default)]
    #[schema(example = json!({ "auth_token": "…" }))]
    secrets: BTreeMap<String, Option<String>>,
}

/// List the channels that there are for you, and those that you could connect.
#[utoipa::path(get, path = "/v1/channels", tag = "Connections", security(("api_key" = ["connections:read"])),
    responses((status = 200, description = "All of them", body = ChannelList), openapi::AuthProblems))]
pub(super) async fn list_channels(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsRead>,
) -> Result<Json<ChannelList>, Problem> {
    let channels = api.app.tenant_channels(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(ChannelList { data: channels.into_iter().map(ChannelView::from).collect() }))
}

/// List your connections.
#[utoipa::path(get, path = "/v1/connections", tag = "Connections", security(("api_key" = ["connections:read"])),
    responses((status = 200, description = "All of them", body = ConnectionList), openapi::AuthProblems))]
pub(super) async fn list_connections(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsRead>,
) -> Result<Json<ConnectionList>, Problem> {
    let seen = api.app.list_connections(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(ConnectionList { data: seen.into_iter().map(|seen| ConnectionView::of(seen, &caller)).collect() }))
}

/// Connect an account of yours to a channel.
///
/// From now on your messages through this channel go out through it, of all services, and through nobody else's account.
/// The channel is asked whether it takes what you give, and nobody is called for that. One that can then looks at the
/// account, and `account` says what it found; send yourself a message to see that it works. Secrets are sealed, and put into requests without the channel's program seeing them. A plan says how
/// many connections there may be; of each channel there is one, of `whatsapp` as many as you like, which share the load.
/// A connection to `whatsapp` takes neither settings nor secrets: connect it, and link your phone.
#[utoipa::path(post, path = "/v1/connections", tag = "Connections", security(("api_key" = ["connections:write"])), request_body = NewBody,
    responses((status = 201, description = "Made", body = ConnectionView, headers(("Location" = String, description = "Its path"))), openapi::BodyProblems, openapi::AuthProblems, openapi::LimitConflict))]
pub(super) async fn create_connection(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsWrite>,
    body: Body<NewBody>,
) -> Result<(StatusCode, HeaderMap, Json<ConnectionView>), Problem> {
    let NewBody { channel, name, config, secrets } = body.value;
    let secrets = secrets.into_iter().map(|(name, text)| (name, Some(Zeroizing::new(text)))).collect();
    let new = NewConnection { channel, name, given: Given { config: Some(config), secrets } };
    let seen = api.app.create_connection(&caller, new).await.map_err(|refusal| refused(&api, refusal))?;
    let path = location("/v1/connections/", &seen.id().to_string());
    let view = ConnectionView::of(seen, &caller);
    Ok((StatusCode::CREATED, HeaderMap::from_iter([(header::LOCATION, path)]), Json(view)))
}

/// Read a connection.
#[utoipa::path(get, path = "/v1/connections/{id}", tag = "Connections", security(("api_key" = ["connections:read"])), params(("id" = String, Path, description = "`con_…`", example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "It", body = ConnectionView), openapi::AuthProblems, openapi::NotFoundProblem))]
pub(super) async fn find_connection(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsRead>,
    InPath(id): InPath<String>,
) -> Result<Json<ConnectionView>, Problem> {
    let seen = api.app.find_connection(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(ConnectionView::of(seen, &caller)))
}

/// Change a connection: calls that are under way end with what they began with.
#[utoipa::path(patch, path = "/v1/connections/{id}", tag = "Connections", security(("api_key" = ["connections:write"])), params(("id" = String, Path, description = "`con_…`", example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = ChangeBody,
    responses((status = 200, description = "As it is now", body = ConnectionView), openapi::BodyProblems, openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(super) async fn change_connection(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsWrite>,
    InPath(id): InPath<String>,
    body: Body<ChangeBody>,
) -> Result<Json<ConnectionView>, Problem> {
    let ChangeBody { name, auto_reply, config, secrets } = body.value;
    let secrets = secrets.into_iter().map(|(name, text)| (name, text.map(Zeroizing::new))).collect();
    let change = ConnectionChange { name, auto_reply, given: Given { config, secrets } };
    let id = path_id(&id)?;
    let changed =
        to_the_end(&api, &caller, move |app, caller| async move { app.change_connection(&caller, id, change).await });
    Ok(Json(ConnectionView::of(changed.await?, &caller)))
}

/// Delete a connection, with its secrets. One that is kept logged in is taken off its phone.
///
/// Where that cannot be done in a day, as while the operator has the channel switched off, its keys are erased all the same,
/// and your phone shows the device until you take it off there or WhatsApp drops it.
///
/// What waits for it goes out through the operator's account where there is one for everybody, else to the next channel.
#[utoipa::path(delete, path = "/v1/connections/{id}", tag = "Connections", security(("api_key" = ["connections:write"])), params(("id" = String, Path, description = "`con_…`", example = "con_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 204, description = "It is gone"), openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(super) async fn delete_connection(
    State(api): State<Arc<Api>>,
    caller: Caller<ConnectionsWrite>,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    let id = path_id(&id)?;
    to_the_end(&api, &caller, move |app, caller| async move { app.delete_connection(&caller, id).await }).await?;
    Ok(StatusCode::NO_CONTENT)
}
