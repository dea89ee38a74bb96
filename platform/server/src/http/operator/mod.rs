//! `/operator/v1`: what operators do, for all tenants and to the platform itself.

mod access;
mod announcements;
mod audit;
mod erasures;
mod maintenance;
mod nodes;
mod plugins;
mod tenants;
mod work;

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::Api;

/// The operators' routes, and what everybody who is signed in sees of it.
pub(super) fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(tenants::search_tenants))
        .routes(routes!(tenants::find_any_tenant, tenants::change_any_tenant))
        .routes(routes!(tenants::suspend_tenant))
        .routes(routes!(tenants::resume_tenant))
        .routes(routes!(audit::list_any_audit))
        .routes(routes!(audit::export_any_audit))
        .routes(routes!(erasures::list_erasures))
        .routes(routes!(access::act_as_tenant))
        .routes(routes!(access::stop_acting))
        .routes(routes!(access::list_accesses))
        .routes(routes!(work::find_work))
        .routes(routes!(work::retry_work))
        .routes(routes!(work::discard_work))
        .routes(routes!(nodes::list_nodes))
        .routes(routes!(plugins::list_plugins))
        .routes(routes!(plugins::install_plugin).layer(DefaultBodyLimit::max(plugins::INSTALL_BODY_MAX)))
        .routes(routes!(plugins::find_plugin, plugins::configure_plugin, plugins::remove_plugin))
        .routes(routes!(plugins::find_plugin_schema))
        .routes(routes!(plugins::approve_plugin))
        .routes(routes!(plugins::roll_back_plugin))
        .routes(routes!(plugins::enable_plugin))
        .routes(routes!(plugins::disable_plugin))
        .routes(routes!(announcements::list_announcements, announcements::announce))
        .routes(routes!(announcements::withdraw_announcement))
        .routes(routes!(announcements::shown_announcements))
        .routes(routes!(maintenance::find_maintenance, maintenance::begin_maintenance, maintenance::end_maintenance))
}
