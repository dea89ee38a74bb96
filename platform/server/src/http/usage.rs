//! `/v1/usage`: what was used of the plan.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::app::{ResourceUsage, WindowUsage};
use wotp_core::domain::quota::WindowKind;

use super::auth::{Caller, UsageRead};
use super::query::NoParams;
use super::verifications::refused;
use super::{Api, Problem};

/// What was used of the plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(super) struct UsageView {
    /// The plan's id.
    #[schema(example = "free")]
    plan: String,
    /// Verifications with live keys.
    verifications: ResourceView,
    /// Direct messages with live keys.
    messages: ResourceView,
    /// Verifications with test keys.
    test_verifications: ResourceView,
    /// Direct messages with test keys.
    test_messages: ResourceView,
}

/// What was used of one resource.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ResourceUsage)]
struct ResourceView {
    /// The UTC day that it is.
    day: WindowView,
    /// The month of the plan that it is.
    month: WindowView,
}

/// What was used in one window.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WindowUsage)]
struct WindowView {
    /// Counted; what could not be delivered is taken off again.
    #[schema(example = 12)]
    used: u64,
    /// Of these, beyond what the plan includes.
    overage: u64,
    /// Included in the plan; null without limit.
    #[schema(required, example = 100)]
    included: Option<u64>,
    /// What can still be used, overage included; null without limit.
    #[schema(required, example = 88)]
    remaining: Option<u64>,
    /// The first moment of the window.
    #[schema(value_type = String, format = DateTime, example = "2026-11-01T00:00:00Z")]
    starts_at: Timestamp,
    /// The first moment after it.
    #[schema(value_type = String, format = DateTime, example = "2026-12-01T00:00:00Z")]
    resets_at: Timestamp,
}

impl From<&WindowUsage> for WindowView {
    fn from(window: &WindowUsage) -> Self {
        Self {
            used: window.usage.used,
            overage: window.usage.overage,
            included: window.included,
            remaining: window.cap.map(|cap| cap.saturating_sub(window.usage.used)),
            starts_at: window.window.starts,
            resets_at: window.window.ends,
        }
    }
}

fn resource(all: &[ResourceUsage], name: &str) -> ResourceView {
    let usage = all.iter().find(|usage| usage.resource.name() == name).expect("every resource is listed");
    let window = |kind| {
        usage.windows.iter().find(|window| window.window.kind == kind).map(WindowView::from).expect("a day and a month")
    };
    ResourceView { day: window(WindowKind::Day), month: window(WindowKind::Month) }
}

/// Read what was used of the plan.
#[utoipa::path(get, path = "/v1/usage", tag = "Usage", security(("api_key" = ["usage:read"])), responses((status = 200, description = "Today and this month", body = UsageView), super::openapi::AuthProblems))]
pub(super) async fn usage(
    State(api): State<Arc<Api>>,
    caller: Caller<UsageRead>,
    _: NoParams,
) -> Result<Json<UsageView>, Problem> {
    let all = api.app.usage(&caller).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(UsageView {
        plan: caller.tenant.plan.clone(),
        verifications: resource(&all, "verifications"),
        messages: resource(&all, "messages"),
        test_verifications: resource(&all, "test_verifications"),
        test_messages: resource(&all, "test_messages"),
    }))
}
