//! Plugins, as operators install, approve and switch them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use wotp_core::app::{Approval, Audience, Given, NewPlugin, PluginSettings, Refusal};
use wotp_core::domain::id::TenantId;
use wotp_core::domain::plugin::{COMPONENT_BYTES_MAX, Plugin, Release};
use zeroize::Zeroizing;

use crate::http::auth::Operator;
use crate::http::body::{Body, MaybeBody};
use crate::http::connections::ConnectingName;
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// Largest body of an installation: a component in base64, and its manifest.
pub(in crate::http) const INSTALL_BODY_MAX: usize = COMPONENT_BYTES_MAX / 3 * 4 + (128 << 10);

/// A secret that a release asks for.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginSecret)]
struct SecretView {
    /// Its name.
    name: String,
    /// What it is.
    about: String,
    /// Whether the plugin works without it.
    optional: bool,
    /// Whether it was given. What it is, is never shown.
    given: bool,
}

/// One component that was installed.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginRelease)]
struct ReleaseView {
    /// SHA-256 of the component, in hexadecimal.
    sha256: String,
    /// Its size in bytes.
    size_bytes: usize,
    /// Its name for people.
    name: String,
    /// Its own version.
    #[schema(example = "1.4.0")]
    version: String,
    /// Who signed it; null where nobody did.
    #[schema(required)]
    publisher: Option<String>,
    /// The kinds of address that it reaches: `phone`, `email`.
    reaches: Vec<String>,
    /// The hosts that it calls; `*` alone: those that you name.
    hosts: Vec<String>,
    /// Of these, those that are not approved.
    unapproved_hosts: Vec<String>,
    /// The secrets that it asks for.
    secrets: Vec<SecretView>,
    /// Whether its provider can tell later what became of a message.
    hears: bool,
    /// When it was installed.
    #[schema(value_type = String, format = DateTime)]
    installed_at: Timestamp,
}

/// A plugin.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Plugin)]
pub(super) struct PluginView {
    /// Its id.
    #[schema(example = "plg_01J9ZK3V8X6W5T4S3R2Q1P0N9M")]
    id: String,
    /// What its channel is called.
    #[schema(example = "sms")]
    channel: String,
    /// Its name in the world.
    #[schema(example = "example.twilio-sms")]
    package: String,
    /// Who has to have signed its releases; null while nobody did.
    #[schema(required)]
    publisher: Option<String>,
    /// What was installed, oldest first.
    releases: Vec<ReleaseView>,
    /// SHA-256 of the release that delivers; null before one is approved.
    #[schema(required)]
    active: Option<String>,
    /// SHA-256 of the one that delivered before, and that a roll-back goes to.
    #[schema(required)]
    previous: Option<String>,
    /// The hosts that it may call.
    hosts: Vec<String>,
    /// Whether it is switched on.
    enabled: bool,
    /// The tenants that it is on for; null: all.
    #[schema(required)]
    tenants: Option<Vec<String>>,
    /// Whether tenants bring connections of their own.
    connections: ConnectingName,
    /// Calls of it that may be under way at once.
    concurrency: u32,
    /// Longest that one delivery may take, in seconds.
    timeout_seconds: u32,
    /// Its own settings.
    config: Map<String, Value>,
    /// When it was installed first.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

impl From<Plugin> for PluginView {
    fn from(plugin: Plugin) -> Self {
        let secret = |asked: &wotp_core::domain::plugin::SecretAsked| SecretView {
            name: asked.name.clone(),
            about: asked.about.clone(),
            optional: asked.optional,
            given: plugin.settings.secrets.contains_key(&asked.name),
        };
        let release = |release: &Release| ReleaseView {
            sha256: release.sha256.clone(),
            size_bytes: release.size,
            name: release.name.clone(),
            version: release.version.clone(),
            publisher: release.publisher.clone(),
            reaches: release.reaches.iter().map(ToString::to_string).collect(),
            hosts: release.hosts.clone(),
            unapproved_hosts: plugin.unapproved(release),
            secrets: release.secrets.iter().map(secret).collect(),
            hears: release.hears,
            installed_at: release.installed_at,
        };
        Self {
            id: plugin.id.to_string(),
            releases: plugin.releases.iter().map(release).collect(),
            channel: plugin.channel,
            package: plugin.package,
            publisher: plugin.publisher,
            active: plugin.active,
            previous: plugin.previous.map(|previous| previous.sha256),
            hosts: plugin.hosts,
            enabled: plugin.enabled,
            tenants: plugin.tenants.map(|tenants| tenants.iter().map(ToString::to_string).collect()),
            connections: plugin.connecting.into(),
            concurrency: plugin.concurrency,
            timeout_seconds: plugin.timeout_seconds,
            config: plugin.settings.config,
            created_at: plugin.created_at,
        }
    }
}

/// Plugins.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PluginList)]
pub(super) struct PluginList {
    /// Oldest first.
    data: Vec<PluginView>,
}

/// List the plugins that are installed.
#[utoipa::path(get, path = "/operator/v1/plugins", tag = "Operators", security(("session" = [])),
    responses((status = 200, description = "All of them", body = PluginList), openapi::OperatorProblems))]
pub(in crate::http) async fn list_plugins(
    State(api): State<Arc<Api>>,
    _: Operator,
) -> Result<Json<PluginList>, Problem> {
    let plugins = api.app.plugins().await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(PluginList { data: plugins.into_iter().map(PluginView::from).collect() }))
}

/// What to install.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewPlugin)]
pub(super) struct InstallBody {
    /// The component, in base64: at most 32 MiB of it.
    #[schema(example = "AGFzbQ0AAQA=")]
    component: String,
    /// Its `plugin.toml`, in which its publisher signs it.
    #[serde(default)]
    manifest: Option<String>,
    /// Whether one that nobody signed is taken.
    #[serde(default)]
    unsigned: bool,
    /// Who has to have signed it. When left out: whoever may follow up what is installed.
    #[serde(default)]
    #[schema(example = "ed25519:T3U308iPDok/HwrovM0IciREfCDJu64iJmTAOj99h1k=")]
    publisher: Option<String>,
    /// What its channel is called, for good. When left out: the last part of the plugin's name in the world.
    #[serde(default)]
    #[schema(example = "sms")]
    channel: Option<String>,
}

/// Install a plugin, or another release of one that is there.
///
/// It is looked at, compiled within bounds and asked in the sandbox what it is; it calls nobody. It delivers nothing before
/// it is approved and switched on.
#[utoipa::path(post, path = "/operator/v1/plugins", tag = "Operators", security(("session" = [])), request_body = InstallBody,
    responses((status = 201, description = "Installed", body = PluginView), openapi::BodyProblems, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn install_plugin(
    State(api): State<Arc<Api>>,
    operator: Operator,
    Body { value, .. }: Body<InstallBody>,
) -> Result<(StatusCode, Json<PluginView>), Problem> {
    let component = STANDARD.decode(&value.component).map_err(|_| {
        refused(&api, Refusal::field("component", "is no base64: the bytes of the `.wasm` file are sent so encoded"))
    })?;
    let InstallBody { manifest, unsigned, publisher, channel, .. } = value;
    let new = NewPlugin { component, manifest, unsigned, publisher, channel, configured: Vec::new() };
    // It goes on when whoever asked has hung up or waited for too long: then the same again is quick.
    let (app, by) = (Arc::clone(&api.app), operator.by());
    let installed = tokio::spawn(async move { app.install_plugin(&by, new).await }).await;
    let installed = installed.unwrap_or_else(|panic| Err(Refusal::NoPlugins(panic.into())));
    let plugin = installed.map_err(|refusal| refused(&api, refusal))?;
    Ok((StatusCode::CREATED, Json(plugin.into())))
}

/// Read a plugin.
#[utoipa::path(get, path = "/operator/v1/plugins/{id}", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The plugin")),
    responses((status = 200, description = "It", body = PluginView), openapi::NotFoundProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn find_plugin(
    State(api): State<Arc<Api>>,
    _: Operator,
    InPath(id): InPath<String>,
) -> Result<Json<PluginView>, Problem> {
    answer(&api, api.app.plugin(path_id(&id)?).await)
}

/// Read what a plugin's settings may be.
#[utoipa::path(get, path = "/operator/v1/plugins/{id}/config-schema", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The plugin")),
    responses((status = 200, description = "A JSON Schema (2020-12): of the release that delivers, else of the newest", body = Value), openapi::NotFoundProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn find_plugin_schema(
    State(api): State<Arc<Api>>,
    _: Operator,
    InPath(id): InPath<String>,
) -> Result<Json<Value>, Problem> {
    let schema = api.app.plugin_schema(path_id(&id)?).await;
    Ok(Json(schema.map_err(|refusal| refused(&api, refusal))?))
}

/// What to approve.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginApproval)]
pub(super) struct ApproveBody {
    /// Which release: its version, or the beginning of its SHA-256. The newest when left out.
    #[serde(default)]
    #[schema(example = "1.4.0")]
    release: Option<String>,
    /// The hosts that it may call from now on. Those that it may call already when left out.
    #[serde(default)]
    #[schema(example = json!(["api.twilio.com"]))]
    hosts: Option<Vec<String>>,
    /// What it is given in the same moment, where it needs more than the release before.
    #[serde(default)]
    settings: ConfigureBody,
}

/// Approve a release: it delivers from now on, and may call the hosts that you name.
///
/// Calls that are under way end with the release that they began with.
#[utoipa::path(post, path = "/operator/v1/plugins/{id}/approve", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The plugin")), request_body = ApproveBody,
    responses((status = 200, description = "As it is now", body = PluginView), openapi::BodyProblems, openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn approve_plugin(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
    MaybeBody(value): MaybeBody<ApproveBody>,
) -> Result<Json<PluginView>, Problem> {
    let approval = Approval { release: value.release, hosts: value.hosts, settings: value.settings.into() };
    answer(&api, api.app.approve_plugin(&operator.by(), path_id(&id)?, approval).await)
}

/// Go back to the release that delivered before.
#[utoipa::path(post, path = "/operator/v1/plugins/{id}/roll-back", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The plugin")),
    responses((status = 200, description = "As it is now", body = PluginView), openapi::BodyProblems, openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn roll_back_plugin(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
) -> Result<Json<PluginView>, Problem> {
    answer(&api, api.app.roll_back_plugin(&operator.by(), path_id(&id)?).await)
}

/// What a plugin is given. What is left out stays as it is.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginSettings)]
pub(super) struct ConfigureBody {
    /// Its own settings, all of them, as its schema takes them.
    #[serde(default)]
    config: Option<Map<String, Value>>,
    /// Secrets by name; null where one goes.
    #[serde(default)]
    #[schema(example = json!({ "auth_token": "…" }))]
    secrets: BTreeMap<String, Option<String>>,
    /// Whether tenants bring connections of their own. Where they have to, it is given no settings and no secrets here.
    #[serde(default)]
    connections: Option<ConnectingName>,
    /// Calls of it that may be under way at once.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 256, example = 32)]
    concurrency: Option<u32>,
    /// Longest that one delivery may take, in seconds.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 60, example = 7)]
    timeout_seconds: Option<u32>,
}

impl From<ConfigureBody> for PluginSettings {
    fn from(body: ConfigureBody) -> Self {
        let ConfigureBody { config, secrets, connections, concurrency, timeout_seconds } = body;
        let secrets = secrets.into_iter().map(|(name, text)| (name, text.map(Zeroizing::new))).collect();
        let given = Given { config, secrets };
        Self { given, connecting: connections.map(Into::into), concurrency, timeout_seconds }
    }
}

/// Give a plugin its settings and secrets, which it is asked about.
#[utoipa::path(patch, path = "/operator/v1/plugins/{id}", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The plugin")), request_body = ConfigureBody,
    responses((status = 200, description = "As it is now", body = PluginView), openapi::BodyProblems, openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn configure_plugin(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
    Body { value, .. }: Body<ConfigureBody>,
) -> Result<Json<PluginView>, Problem> {
    answer(&api, api.app.configure_plugin(&operator.by(), path_id(&id)?, value.into()).await)
}

/// For whom to switch a plugin on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PluginAudience)]
pub(super) struct EnableBody {
    /// For all tenants.
    #[serde(default)]
    all: bool,
    /// For these tenants. For whom it was on before when this and `all` are left out; for all where it never was.
    #[serde(default)]
    #[schema(value_type = Option<Vec<String>>, example = json!(["ten_01J9ZK3V8X6W5T4S3R2Q1P0N9M"]))]
    tenants: Option<Vec<TenantId>>,
}

/// Switch a plugin on, for some tenants or for all.
#[utoipa::path(post, path = "/operator/v1/plugins/{id}/enable", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The plugin")), request_body = EnableBody,
    responses((status = 200, description = "As it is now", body = PluginView), openapi::BodyProblems, openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn enable_plugin(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
    MaybeBody(value): MaybeBody<EnableBody>,
) -> Result<Json<PluginView>, Problem> {
    let audience = match value {
        EnableBody { all: true, tenants: None } => Audience::All,
        EnableBody { all: false, tenants: None } => Audience::AsBefore,
        EnableBody { all: false, tenants: Some(tenants) } => Audience::Tenants(tenants),
        EnableBody { all: true, tenants: Some(_) } => {
            return Err(refused(&api, Refusal::field("tenants", "is not given together with `all`")));
        }
    };
    answer(&api, api.app.enable_plugin(&operator.by(), path_id(&id)?, audience).await)
}

/// Switch a plugin off. Calls that are under way end; what waits for it goes to the next channel.
#[utoipa::path(post, path = "/operator/v1/plugins/{id}/disable", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The plugin")),
    responses((status = 200, description = "As it is now", body = PluginView), openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn disable_plugin(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
) -> Result<Json<PluginView>, Problem> {
    answer(&api, api.app.disable_plugin(&operator.by(), path_id(&id)?).await)
}

/// Remove a plugin that is switched off, with its settings, its secrets and all its releases.
#[utoipa::path(delete, path = "/operator/v1/plugins/{id}", tag = "Operators", security(("session" = [])), params(("id" = String, Path, description = "The plugin")),
    responses((status = 204, description = "It is gone"), openapi::BodyProblems, openapi::NotFoundProblem, openapi::ConflictProblem, openapi::OperatorProblems))]
pub(in crate::http) async fn remove_plugin(
    State(api): State<Arc<Api>>,
    operator: Operator,
    InPath(id): InPath<String>,
) -> Result<StatusCode, Problem> {
    let gone = api.app.remove_plugin(&operator.by(), path_id(&id)?).await;
    gone.map(|()| StatusCode::NO_CONTENT).map_err(|refusal| refused(&api, refusal))
}

fn answer(api: &Api, plugin: Result<Plugin, Refusal>) -> Result<Json<PluginView>, Problem> {
    plugin.map(|plugin| Json(plugin.into())).map_err(|refusal| refused(api, refusal))
}
