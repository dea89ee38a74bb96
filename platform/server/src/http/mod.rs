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
use utoipa_axum::router::OpenApiRouter;
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

fn documented() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(openapi::description())
        .routes(routes!(verifications::start_verification, verifications::list_verifications))
        .routes(routes!(verifications::check_address))
        .routes(routes!(verifications::find_verification))
        .routes(routes!(verifications::check_verification))
        .routes(routes!(verifications::resend_verification))
        .routes(routes!(verifications::cancel_verification))
        .routes(routes!(verifications::inbound::simulate_message))
        .routes(routes!(messages::send_message, messages::list_messages))
        .routes(routes!(messages::find_message))
        .routes(routes!(services::list_services, services::create_service))
        .routes(routes!(services::find_service, services::change_service))
        .routes(routes!(templates::list_templates, templates::publish_template, templates::withdraw_template))
        .routes(routes!(templates::preview_template))
        .routes(routes!(webhooks::endpoints::list_endpoints, webhooks::endpoints::create_endpoint))
        .routes(routes!(
            webhooks::endpoints::find_endpoint,
            webhooks::endpoints::change_endpoint,
            webhooks::endpoints::delete_endpoint
        ))
        .routes(routes!(webhooks::endpoints::rotate_endpoint))
        .routes(routes!(webhooks::deliveries::list_webhook_attempts))
        .routes(routes!(webhooks::deliveries::test_endpoint))
        .routes(routes!(webhooks::deliveries::replay_events, webhooks::deliveries::cancel_replay))
        .routes(routes!(connections::list_channels))
        .routes(routes!(connections::list_connections, connections::create_connection))
        .routes(routes!(connections::find_connection, connections::change_connection, connections::delete_connection))
        .routes(routes!(connections::account::check_connection))
        .routes(routes!(connections::session::connect_connection))
        .routes(routes!(connections::session::disconnect_connection))
        .routes(routes!(events::list_events))
        .routes(routes!(live::stream::stream_events))
        .routes(routes!(live::connection::stream_connection))
        .routes(routes!(events::find_event))
        .routes(routes!(guard::settings::find_guard, guard::settings::set_guard))
        .routes(routes!(guard::entries::list_guard_entries, guard::entries::add_guard_entry))
        .routes(routes!(guard::entries::remove_guard_entry))
        .routes(routes!(guard::destinations::list_guard_destinations))
        .routes(routes!(guard::destinations::release_guard_destination))
        .routes(routes!(keys::list_keys, keys::create_key))
        .routes(routes!(keys::find_key, keys::change_key, keys::revoke_key))
        .routes(routes!(keys::rotate_key))
        .routes(routes!(audit::list_audit))
        .routes(routes!(audit::export_audit))
        .routes(routes!(tenants::list_tenants, tenants::create_tenant))
        .routes(routes!(tenants::restore_tenant))
        .routes(routes!(tenants::find_erasure))
        .routes(routes!(tenants::find_tenant, tenants::rename_tenant, tenants::delete_tenant))
        .routes(routes!(tenants::members::leave_tenant))
        .routes(routes!(tenants::members::transfer_ownership))
        .routes(routes!(tenants::members::list_members))
        .routes(routes!(tenants::members::change_role, tenants::members::remove_member))
        .routes(routes!(tenants::invitations::list_invitations, tenants::invitations::invite_member))
        .routes(routes!(tenants::invitations::resend_invitation))
        .routes(routes!(tenants::invitations::revoke_invitation))
        .routes(routes!(tenants::invitations::preview_invitation))
        .routes(routes!(tenants::invitations::accept_invitation))
        .routes(routes!(usage::usage))
        .routes(routes!(analytics::analytics))
        .routes(routes!(limits::limits))
        .routes(routes!(people::sign_up::sign_up))
        .routes(routes!(people::sign_up::confirm_email))
        .routes(routes!(people::login::log_in))
        .routes(routes!(people::second_factor::answer_second_factor))
        .routes(routes!(people::oidc::list_identity_providers))
        .routes(routes!(people::oidc::begin_sign_in))
        .routes(routes!(people::oidc::complete_sign_in))
        .routes(routes!(people::login::refresh))
        .routes(routes!(people::login::log_out))
        .routes(routes!(people::passwords::request_password_reset))
        .routes(routes!(people::passwords::reset_password))
        .routes(routes!(people::login::signing_keys))
        .routes(routes!(people::me::me, people::account::rename_person))
        .routes(routes!(people::account::request_email_change))
        .routes(routes!(people::account::confirm_email_change))
        .routes(routes!(people::account::erase_account))
        .routes(routes!(people::identities::list_identities))
        .routes(routes!(people::identities::unlink_identity))
        .routes(routes!(people::passwords::change_password))
        .routes(routes!(people::second_factor::find_second_factor, people::second_factor::enrol_second_factor))
        .routes(routes!(people::second_factor::request_second_factor_code))
        .routes(routes!(people::second_factor::confirm_second_factor))
        .routes(routes!(people::second_factor::renew_recovery_codes))
        .routes(routes!(people::second_factor::disable_second_factor))
        .routes(routes!(people::me::list_sessions, people::me::revoke_other_sessions))
        .routes(routes!(people::me::revoke_session))
        .routes(routes!(compat::otp_send))
        .routes(routes!(compat::otp_verify))
        .routes(routes!(compat::message_send))
        .routes(routes!(compat::message_logs))
        .routes(routes!(compat::sessions::whatsapp_connect))
        .routes(routes!(compat::sessions::whatsapp_status))
        .routes(routes!(compat::sessions::whatsapp_disconnect))
        .routes(routes!(compat::user_usage))
        .merge(operator::routes())
        .routes(routes!(compat::accounts::auth_google))
        .routes(routes!(compat::accounts::auth_refresh))
        .routes(routes!(compat::accounts::auth_logout))
        .routes(routes!(compat::accounts::user_me))
        .routes(routes!(compat::accounts::user_logs))
        .routes(routes!(compat::accounts::user_stats))
        .routes(routes!(compat::keys::apikey_create))
        .routes(routes!(compat::keys::apikey_list))
        .routes(routes!(compat::keys::apikey_delete))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
}

/// The whole API. Serve it with `into_make_service_with_connect_info::<SocketAddr>()`.
pub fn router(app: Arc<App>, settings: HttpSettings) -> Router {
    let development = settings.development;
    let api = Api::new(app, settings);
    let (routes, _) = documented().split_for_parts();
    let mut routes = routes.route("/openapi.json", get(docs::openapi_json)).route("/docs", get(docs::page));
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
