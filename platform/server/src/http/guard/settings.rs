//! The settings of a guard.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::domain::guard::{Cap, Caps, Costs, Countries, GuardMode, GuardSettings, WatchSettings};

use crate::http::auth::{Caller, GuardRead, GuardWrite};
use crate::http::body::{Body, object_or_null};
use crate::http::path::InPath;
use crate::http::verifications::{path_id, refused};
use crate::http::{Api, Problem, openapi};

/// Whether the guard acts.
#[derive(ToSchema)]
#[schema(as = GuardMode, rename_all = "snake_case")]
#[expect(dead_code, reason = "the schema of a core enum, which knows nothing of OpenAPI")]
pub(in crate::http) enum GuardModeName {
    /// It looks at nothing.
    Off,
    /// It says what it would do, and lets all go out.
    Shadow,
    /// It acts.
    On,
}

/// Countries of phone numbers, as ISO 3166-1 alpha-2.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GuardCountriesChange)]
struct CountriesBody {
    /// Only these, if there are any.
    #[serde(default)]
    #[schema(example = json!(["GB", "US"]), max_items = 300)]
    allowed: Vec<String>,
    /// All but these.
    #[serde(default)]
    #[schema(example = json!(["AQ"]), max_items = 300)]
    blocked: Vec<String>,
    /// The watch acts here with half of `volume_min`, and each verification says that it was looked at.
    #[serde(default)]
    #[schema(max_items = 300)]
    watched: Vec<String>,
}

/// How many at most; without limit when left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GuardCapChange)]
struct CapBody {
    /// Within an hour of the clock, UTC.
    #[schema(minimum = 1, example = 10)]
    per_hour: Option<u64>,
    /// Within a day, UTC.
    #[schema(minimum = 1, example = 50)]
    per_day: Option<u64>,
}

/// How many codes may go out, resends included. Approximate: on several nodes a few more may pass at one moment.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GuardCapsChange)]
struct CapsBody {
    /// To one address, besides the service's `address_limits`.
    #[serde(default, deserialize_with = "object_or_null")]
    address: Option<CapBody>,
    /// To numbers that are the same but for their last four digits.
    #[serde(default, deserialize_with = "object_or_null")]
    prefix: Option<CapBody>,
    /// For one IP address of your users, which you give as `ip` when you start a verification; IPv6: one /64.
    /// Starts only, since it is not kept for a resend.
    #[serde(default, deserialize_with = "object_or_null")]
    ip: Option<CapBody>,
    /// Of the service.
    #[serde(default, deserialize_with = "object_or_null")]
    service: Option<CapBody>,
    /// Of all your services, as your plan counts verifications, within a day.
    #[schema(minimum = 1)]
    tenant_per_day: Option<u64>,
    /// What may be spent within a day on codes to phones, in millionths of your currency, by `costs`.
    #[schema(minimum = 1, example = 25_000_000)]
    spend_micros_per_day: Option<u64>,
}

/// What you expect a code to a phone to cost, in millionths of your currency.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GuardCostsChange)]
struct CostsBody {
    /// By country, as in `{"GB": 40000}`.
    #[serde(default)]
    #[schema(example = json!({"GB": 40_000}))]
    countries: BTreeMap<String, u64>,
    /// To any other number.
    #[serde(default)]
    #[schema(example = 60_000)]
    other_micros: u64,
}

/// How the watch looks at conversion: how many of the codes that go to a prefix or a country are typed in.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GuardWatchChange)]
struct WatchBody {
    /// Whether it looks at all; true when left out.
    enabled: Option<bool>,
    /// Codes within an hour before it says anything; 20 when left out.
    #[schema(minimum = 10, maximum = 1000)]
    volume_min: Option<u32>,
    /// By how much the conversion has to fall against what is usual, in percent; 50 when left out.
    #[schema(value_type = Option<u8>, minimum = 20, maximum = 90)]
    drop_percent: Option<u64>,
    /// Codes a minute that still go to a slowed destination, or as many as usual if that is more; 5 when left out.
    #[schema(minimum = 1, maximum = 60)]
    slow_per_minute: Option<u32>,
    /// How long a destination is blocked before a few codes go there again, doubled each time up to a day; 30 when
    /// left out.
    #[schema(minimum = 5, maximum = 1440)]
    block_minutes: Option<u32>,
}

/// The guard of a service. What is left out is its default, not what it was.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = GuardChange)]
pub(in crate::http) struct GuardBody {
    /// Whether it acts.
    #[schema(value_type = GuardModeName)]
    mode: GuardMode,
    /// Where to.
    #[serde(default, deserialize_with = "object_or_null")]
    countries: Option<CountriesBody>,
    /// How many.
    #[serde(default, deserialize_with = "object_or_null")]
    caps: Option<CapsBody>,
    /// For how much.
    #[serde(default, deserialize_with = "object_or_null")]
    costs: Option<CostsBody>,
    /// How closely it looks.
    #[serde(default, deserialize_with = "object_or_null")]
    watch: Option<WatchBody>,
}

impl GuardBody {
    fn set(self, settings: &mut GuardSettings) {
        let cap = |cap: Option<CapBody>| {
            let CapBody { per_hour, per_day } = cap.unwrap_or_default();
            Cap { per_hour, per_day }
        };
        let CountriesBody { allowed, blocked, watched } = self.countries.unwrap_or_default();
        let caps = self.caps.unwrap_or_default();
        let CostsBody { countries, other_micros } = self.costs.unwrap_or_default();
        let (watch, usual) = (self.watch.unwrap_or_default(), WatchSettings::default());
        settings.mode = self.mode;
        settings.countries = Countries { allowed, blocked, watched };
        settings.caps = Caps {
            address: cap(caps.address),
            prefix: cap(caps.prefix),
            ip: cap(caps.ip),
            service: cap(caps.service),
            tenant_per_day: caps.tenant_per_day,
            spend_micros_per_day: caps.spend_micros_per_day,
        };
        settings.costs = Costs { countries, other_micros };
        settings.watch = WatchSettings {
            enabled: watch.enabled.unwrap_or(usual.enabled),
            volume_min: watch.volume_min.unwrap_or(usual.volume_min),
            // What is far too much is told its bounds as well.
            drop_percent: watch.drop_percent.map_or(usual.drop_percent, |it| u8::try_from(it).unwrap_or(u8::MAX)),
            slow_per_minute: watch.slow_per_minute.unwrap_or(usual.slow_per_minute),
            block_minutes: watch.block_minutes.unwrap_or(usual.block_minutes),
        };
    }
}

/// Countries of phone numbers, as ISO 3166-1 alpha-2.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardCountries)]
struct CountriesView {
    /// Only these, if there are any.
    #[schema(example = json!(["GB", "US"]))]
    allowed: Vec<String>,
    /// All but these.
    blocked: Vec<String>,
    /// The watch acts here with half of `volume_min`.
    watched: Vec<String>,
}

/// How many at most; null without limit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardCap)]
struct CapView {
    /// Within an hour of the clock, UTC.
    #[schema(required, example = 10)]
    per_hour: Option<u64>,
    /// Within a day, UTC.
    #[schema(required, example = 50)]
    per_day: Option<u64>,
}

impl From<Cap> for CapView {
    fn from(Cap { per_hour, per_day }: Cap) -> Self {
        Self { per_hour, per_day }
    }
}

/// How many codes may go out, resends included.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardCaps)]
struct CapsView {
    /// To one address.
    address: CapView,
    /// To numbers that are the same but for their last four digits.
    prefix: CapView,
    /// For one IP address of your users.
    ip: CapView,
    /// Of the service.
    service: CapView,
    /// Of all your services, within a day; null without limit.
    #[schema(required)]
    tenant_per_day: Option<u64>,
    /// What may be spent within a day, in millionths of your currency; null without limit.
    #[schema(required)]
    spend_micros_per_day: Option<u64>,
}

/// What you expect a code to a phone to cost, in millionths of your currency.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardCosts)]
struct CostsView {
    /// By country.
    #[schema(example = json!({"GB": 40_000}))]
    countries: BTreeMap<String, u64>,
    /// To any other number.
    #[schema(example = 60_000)]
    other_micros: u64,
}

/// How the watch looks at conversion.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = GuardWatch)]
struct WatchView {
    /// Whether it looks at all.
    #[schema(example = true)]
    enabled: bool,
    /// Codes within an hour before it says anything.
    #[schema(example = 20)]
    volume_min: u32,
    /// By how much the conversion has to fall against what is usual, in percent.
    #[schema(example = 50)]
    drop_percent: u8,
    /// Codes a minute that still go to a slowed destination, or as many as usual if that is more.
    #[schema(example = 5)]
    slow_per_minute: u32,
    /// How long a destination is blocked at first.
    #[schema(example = 30)]
    block_minutes: u32,
}

/// The guard of a service.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Guard)]
pub(in crate::http) struct GuardView {
    /// Whether it acts.
    #[schema(value_type = GuardModeName)]
    mode: GuardMode,
    /// Where to.
    countries: CountriesView,
    /// How many.
    caps: CapsView,
    /// For how much.
    costs: CostsView,
    /// How closely it looks.
    watch: WatchView,
    /// When it was last changed; null when it never was.
    #[schema(required, value_type = Option<String>, format = DateTime)]
    changed_at: Option<Timestamp>,
}

fn view(settings: GuardSettings) -> GuardView {
    let GuardSettings { mode, countries, caps, costs, watch, changed_at, .. } = settings;
    GuardView {
        mode,
        countries: CountriesView { allowed: countries.allowed, blocked: countries.blocked, watched: countries.watched },
        caps: CapsView {
            address: caps.address.into(),
            prefix: caps.prefix.into(),
            ip: caps.ip.into(),
            service: caps.service.into(),
            tenant_per_day: caps.tenant_per_day,
            spend_micros_per_day: caps.spend_micros_per_day,
        },
        costs: CostsView { countries: costs.countries, other_micros: costs.other_micros },
        watch: WatchView {
            enabled: watch.enabled,
            volume_min: watch.volume_min,
            drop_percent: watch.drop_percent,
            slow_per_minute: watch.slow_per_minute,
            block_minutes: watch.block_minutes,
        },
        changed_at,
    }
}

/// Read the guard of a service.
#[utoipa::path(get, path = "/v1/services/{id}/guard", tag = "Guard", security(("api_key" = ["guard:read"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")),
    responses((status = 200, description = "The guard", body = GuardView), openapi::AuthProblems, openapi::NotFoundProblem))]
pub(in crate::http) async fn find_guard(
    State(api): State<Arc<Api>>,
    caller: Caller<GuardRead>,
    InPath(id): InPath<String>,
) -> Result<Json<GuardView>, Problem> {
    let settings = api.app.guard_settings(&caller, path_id(&id)?).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(settings)))
}

/// Set the guard of a service.
///
/// All of it: what is left out is its default. Begin with `shadow`: verifications say in `verdict` and `timeline` what
/// the guard would have done, and nothing is stopped. Which rule speaks: the list first, where the closest entry
/// decides and one that lets pass is above all other rules; then countries, then the watch, then caps.
#[utoipa::path(put, path = "/v1/services/{id}/guard", tag = "Guard", security(("api_key" = ["guard:write"])), params(("id" = String, Path, description = "`svc_…`", example = "svc_01J9ZK3V8X6W5T4S3R2Q1P0N9M")), request_body = GuardBody,
    responses((status = 200, description = "Set", body = GuardView), openapi::BodyProblems, openapi::AuthProblems, openapi::NotFoundProblem, openapi::ConflictProblem))]
pub(in crate::http) async fn set_guard(
    State(api): State<Arc<Api>>,
    caller: Caller<GuardWrite>,
    InPath(id): InPath<String>,
    body: Body<GuardBody>,
) -> Result<Json<GuardView>, Problem> {
    let set = api.app.set_guard(&caller, path_id(&id)?, |settings| body.value.set(settings)).await;
    Ok(Json(view(set.map_err(|refusal| refused(&api, refusal))?)))
}
