//! The HTTP API: handlers parse, call a use case, render.

mod analytics;
pub(crate) mod audit;
mod auth;
mod body;
mod client_ip;
mod compat;
mod connections;
mod docs;
mod events;
mod finish;
mod guard;
mod health;
mod hooks;
mod idempotency;
mod keys;
mod layers;
mod limits;
mod link;
mod live;
mod messages;
mod misread;
mod openapi;
mod operator;
mod path;
mod people;
mod problem;
mod qr;
mod query;
mod rate_limit;
mod request_metrics;
mod services;
mod templates;
mod tenants;
mod to_the_end;
mod usage;
mod verifications;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::routing::{get, post};
use ipnet::IpNet;
use metrics_exporter_prometheus::PrometheusHandle;
use tower::ServiceBuilder;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;
use wotp_core::app::App;

use finish::Finish;
pub(crate) use guard::count_against;
use layers::RequestIds;
pub use openapi::openapi_json;
pub use problem::{Problem, ProblemCode};
use request_metrics::RequestMetrics;
use to_the_end::to_the_end;

/// Largest request body: 16 KiB. Source: product defaults.
pub const BODY_SIZE_MAX: usize = 16 * 1024;

/// Calls of one tenant that wait for a verification on one node, at once.
const WAITING_MAX: usize = 200;
/// Streams of events of one tenant on one node, at once: each looks for events twice a second.
const STREAMS_MAX: usize = 20;

/// What the HTTP API is told by the configuration.
#[derive(Clone)]
pub struct HttpSettings {
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Longest that a request may take.
    pub request_timeout: Duration,
    /// Origins whose pages may call the API; empty means none.
    pub cors_origins: Vec<String>,
    /// Calls a second and at once from one IP address (IPv6: one /64); none means no limit.
    pub per_ip: Option<(u32, u32)>,
    /// False while draining.
    pub ready: Arc<AtomicBool>,
    /// Whether nothing is delivered without the queue; among nodes the sweep calls the workers as well.
    pub queue_needed: bool,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
    /// Whether the installation is for developers: then there is a login without a password.
    pub development: bool,
    /// Whether cookies travel over TLS only.
    pub cookie_secure: bool,
    /// Where people reach the installation, if that is known: a web origin.
    pub public_url: Option<String>,
}

/// What handlers work with.
pub(crate) struct Api {
    pub(crate) app: Arc<App>,
    pub(crate) settings: HttpSettings,
    requests: RequestMetrics,
    request_ids: RequestIds,
    /// Calls that wait for a verification to change.
    waiting: live::Places,
    /// Streams of events.
    streams: live::Places,
}

impl Api {
    fn new(app: Arc<App>, settings: HttpSettings) -> Arc<Self> {
        let request_ids = RequestIds::new(&*app.ports().entropy);
        let waiting = live::Places::new(WAITING_MAX);
        let streams = live::Places::new(STREAMS_MAX);
        Arc::new(Self { app, settings, requests: RequestMetrics::default(), request_ids, waiting, streams })
    }
}

/// Every route that the document describes.
fn each_route(add: &mut dyn FnMut(UtoipaMethodRouter<Arc<Api>>)) {
    add(routes!(verifications::start_verification, verifications::list_verifications));
    add(routes!(verifications::check_address));
    add(routes!(verifications::find_verification));
    add(routes!(verifications::check_verification));
    add(routes!(verifications::resend_verification));
    add(routes!(verifications::cancel_verification));
    add(routes!(verifications::inbound::simulate_message));
    add(routes!(messages::send_message, messages::list_messages));
    add(routes!(messages::find_message));
    add(routes!(services::list_services, services::create_service));
    add(routes!(services::find_service, services::change_service));
    add(routes!(templates::list_templates, templates::publish_template, templates::withdraw_template));
    add(routes!(templates::preview_template));
    add(routes!(webhooks::endpoints::list_endpoints, webhooks::endpoints::create_endpoint));
    add(routes!(
        webhooks::endpoints::find_endpoint,
        webhooks::endpoints::change_endpoint,
        webhooks::endpoints::delete_endpoint
    ));
    add(routes!(webhooks::endpoints::rotate_endpoint));
    add(routes!(webhooks::deliveries::list_webhook_attempts));
    add(routes!(webhooks::deliveries::test_endpoint));
    add(routes!(webhooks::deliveries::replay_events, webhooks::deliveries::cancel_replay));
    add(routes!(connections::list_channels));
    add(routes!(connections::list_connections, connections::create_connection));
    add(routes!(connections::find_connection, connections::change_connection, connections::delete_connection));
    add(routes!(connections::account::check_connection));
    add(routes!(connections::session::connect_connection));
    add(routes!(connections::session::disconnect_connection));
    add(routes!(events::list_events));
    add(routes!(live::stream::stream_events));
    add(routes!(live::connection::stream_connection));
    add(routes!(events::find_event));
    add(routes!(guard::settings::find_guard, guard::settings::set_guard));
    add(routes!(guard::entries::list_guard_entries, guard::entries::add_guard_entry));
    add(routes!(guard::entries::remove_guard_entry));
    add(routes!(guard::destinations::list_guard_destinations));
    add(routes!(guard::destinations::release_guard_destination));
    add(routes!(keys::list_keys, keys::create_key));
    add(routes!(keys::find_key, keys::change_key, keys::revoke_key));
    add(routes!(keys::rotate_key));
    add(routes!(audit::list_audit));
    add(routes!(audit::export_audit));
    add(routes!(tenants::list_tenants, tenants::create_tenant));
    add(routes!(tenants::restore_tenant));
    add(routes!(tenants::find_erasure));
    add(routes!(tenants::find_tenant, tenants::rename_tenant, tenants::delete_tenant));
    add(routes!(tenants::members::leave_tenant));
    add(routes!(tenants::members::transfer_ownership));
    add(routes!(tenants::members::list_members));
    add(routes!(tenants::members::change_role, tenants::members::remove_member));
    add(routes!(tenants::invitations::list_invitations, tenants::invitations::invite_member));
    add(routes!(tenants::invitations::resend_invitation));
    add(routes!(tenants::invitations::revoke_invitation));
    add(routes!(tenants::invitations::preview_invitation));
    add(routes!(tenants::invitations::accept_invitation));
    add(routes!(usage::usage));
    add(routes!(analytics::analytics));
    add(routes!(limits::limits));
    add(routes!(people::sign_up::sign_up));
    add(routes!(people::sign_up::confirm_email));
    add(routes!(people::login::log_in));
    add(routes!(people::second_factor::answer_second_factor));
    add(routes!(people::oidc::list_identity_providers));
    add(routes!(people::oidc::begin_sign_in));
    add(routes!(people::oidc::complete_sign_in));
    add(routes!(people::login::refresh));
    add(routes!(people::login::log_out));
    add(routes!(people::passwords::request_password_reset));
    add(routes!(people::passwords::reset_password));
    add(routes!(people::login::signing_keys));
    add(routes!(people::me::me, people::account::rename_person));
    add(routes!(people::account::request_email_change));
    add(routes!(people::account::confirm_email_change));
    add(routes!(people::account::erase_account));
    add(routes!(people::identities::list_identities));
    add(routes!(people::identities::unlink_identity));
    add(routes!(people::passwords::change_password));
    add(routes!(people::second_factor::find_second_factor, people::second_factor::enrol_second_factor));
    add(routes!(people::second_factor::request_second_factor_code));
    add(routes!(people::second_factor::confirm_second_factor));
    add(routes!(people::second_factor::renew_recovery_codes));
    add(routes!(people::second_factor::disable_second_factor));
    add(routes!(people::me::list_sessions, people::me::revoke_other_sessions));
    add(routes!(people::me::revoke_session));
    add(routes!(compat::otp_send));
    add(routes!(compat::otp_verify));
    add(routes!(compat::message_send));
    add(routes!(compat::message_logs));
    add(routes!(compat::sessions::whatsapp_connect));
    add(routes!(compat::sessions::whatsapp_status));
    add(routes!(compat::sessions::whatsapp_disconnect));
    add(routes!(compat::user_usage));
    operator::each_route(add);
    add(routes!(compat::accounts::auth_google));
    add(routes!(compat::accounts::auth_refresh));
    add(routes!(compat::accounts::auth_logout));
    add(routes!(compat::accounts::user_me));
    add(routes!(compat::accounts::user_logs));
    add(routes!(compat::accounts::user_stats));
    add(routes!(compat::keys::apikey_create));
    add(routes!(compat::keys::apikey_list));
    add(routes!(compat::keys::apikey_delete));
    add(routes!(health::live));
    add(routes!(health::ready));
}

/// The document, as far as it follows from the routes.
fn documented() -> OpenApi {
    let mut all = OpenApiRouter::with_openapi(openapi::description());
    each_route(&mut |route| all = std::mem::take(&mut all).routes(route));
    all.into_openapi()
}

/// The routes, without a word about them: what is said of all at once takes 8 MB, which a server at rest would keep.
fn served() -> Router<Arc<Api>> {
    let mut all = Router::new();
    each_route(&mut |(_, said, methods)| {
        for path in said.paths.keys() {
            all = std::mem::take(&mut all).route(path, methods.clone());
        }
    });
    all
}

/// The whole API. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`.
pub fn router(app: Arc<App>, settings: HttpSettings) -> Router {
    let development = settings.development;
    let api = Api::new(app, settings);
    let mut routes = served().route("/openapi.json", get(docs::openapi_json)).route("/docs", get(docs::page));
    routes = routes.route("/hooks/{channel}/{*path}", hooks::route());
    routes = routes.route("/l/{link}", link::route()).route("/l/browser/{pass}", link::binding_route());
    if development {
        routes = routes.route("/api/auth/dev-login", post(compat::accounts::development_login));
    }
    with_layers(routes, api)
}

/// What a node that only works shows: whether it can, and its metrics.
pub fn router_of_worker(app: Arc<App>, settings: HttpSettings) -> Router {
    let routes = Router::new().route("/health/live", get(health::live)).route("/health/ready", get(health::ready));
    with_layers(routes, Api::new(app, settings))
}

fn with_layers(routes: Router<Arc<Api>>, api: Arc<Api>) -> Router {
    let settings = api.settings.clone();
    let routes = routes
        .route("/metrics", get(health::metrics))
        .fallback(problem::route_not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .with_state(Arc::clone(&api));
    // One layer of many, since axum makes a box of each layer for each request. The first is the
    // outermost.
    let layers = ServiceBuilder::new()
        .layer(axum::middleware::from_fn_with_state(api, layers::around))
        .layer(tower_http::catch_panic::CatchPanicLayer::custom(layers::panicked))
        .option_layer((!settings.cors_origins.is_empty()).then(|| cors(&settings.cors_origins)))
        .option_layer(settings.per_ip.map(|(per_second, burst)| layers::per_ip(per_second, burst)))
        .layer(TimeoutLayer::with_status_code(StatusCode::SERVICE_UNAVAILABLE, settings.request_timeout))
        .layer(axum::extract::DefaultBodyLimit::max(BODY_SIZE_MAX))
        .layer(Finish);
    routes.layer(layers)
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        // For the cookie of a session, which is of use with the session's CSRF token only.
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(
            [
                "authorization",
                "content-type",
                "idempotency-key",
                "last-event-id",
                "wotp-mode",
                "wotp-tenant",
                "x-api-key",
                "x-csrf-token",
                "x-request-id",
            ]
            .map(HeaderName::from_static),
        )
        .expose_headers(
            ["location", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id"].map(HeaderName::from_static),
        )
        .max_age(Duration::from_secs(3600))
}
