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
use utoipa_axum::router::{UtoipaMethodRouter, UtoipaMethodRouterExt as _};
use utoipa_axum::routes;

use super::Api;

/// The operators' routes, and what everybody who is signed in sees of it.
pub(super) fn each_route(add: &mut dyn FnMut(UtoipaMethodRouter<Arc<Api>>)) {
    add(routes!(tenants::search_tenants));
    add(routes!(tenants::find_any_tenant, tenants::change_any_tenant));
    add(routes!(tenants::suspend_tenant));
    add(routes!(tenants::resume_tenant));
    add(routes!(audit::list_any_audit));
    add(routes!(audit::export_any_audit));
    add(routes!(erasures::list_erasures));
    add(routes!(access::act_as_tenant));
    add(routes!(access::stop_acting));
    add(routes!(access::list_accesses));
    add(routes!(work::find_work));
    add(routes!(work::retry_work));
    add(routes!(work::discard_work));
    add(routes!(nodes::list_nodes));
    add(routes!(plugins::list_plugins));
    add(routes!(plugins::install_plugin).layer(DefaultBodyLimit::max(plugins::INSTALL_BODY_MAX)));
    add(routes!(plugins::find_plugin, plugins::configure_plugin, plugins::remove_plugin));
    add(routes!(plugins::find_plugin_schema));
    add(routes!(plugins::approve_plugin));
    add(routes!(plugins::roll_back_plugin));
    add(routes!(plugins::enable_plugin));
    add(routes!(plugins::disable_plugin));
    add(routes!(announcements::list_announcements, announcements::announce));
    add(routes!(announcements::withdraw_announcement));
    add(routes!(announcements::shown_announcements));
    add(routes!(maintenance::find_maintenance, maintenance::begin_maintenance, maintenance::end_maintenance));
}
