//! `/v1/analytics`: what came of verifications, by time, service, channel and country.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequestParts, State};
use axum::http::request::Parts;
use jiff::Timestamp;
use serde::Serialize;
use utoipa::ToSchema;
use wotp_core::app::{Analytics, AnalyticsQuery, Dimension, Group};
use wotp_core::domain::id::IdError;
use wotp_core::domain::rollup::{Figures, Histogram, Interval};

use super::auth::{AnalyticsRead, Caller};
use super::problem::ProblemField;
use super::query::{moment, unescape};
use super::verifications::refused;
use super::{Api, Problem};

/// What can be asked for.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the documentation of what `Query` reads")]
pub(super) struct AnalyticsParams {
    /// From the hour or day on that this moment is in. 30 days before `to` when left out, or 7 by hour.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-11-01T00:00:00Z")]
    from: Option<String>,
    /// Up to this moment, its hour or day included. Now, when left out.
    #[param(value_type = Option<String>, format = DateTime, example = "2026-12-01T00:00:00Z")]
    to: Option<String>,
    /// `hour`, or `day` (of UTC). `day` when left out.
    #[param(example = "day")]
    interval: Option<String>,
    /// What is told apart: any of `service`, `channel` and `country`, with commas. Nothing when left out.
    #[param(example = "channel,country")]
    group_by: Option<String>,
    /// Of this service only.
    service: Option<String>,
    /// Through this channel only.
    channel: Option<String>,
    /// To this country only: ISO 3166-1 alpha-2.
    #[param(example = "FR", min_length = 2, max_length = 2)]
    country: Option<String>,
}

/// What the query string says.
#[derive(Debug)]
pub(super) struct Query(AnalyticsQuery);

impl Query {
    fn read(text: &str) -> Result<Self, Vec<ProblemField>> {
        let (mut query, mut errors) = (AnalyticsQuery::default(), Vec::new());
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let set = match unescape(name).zip(unescape(value)) {
                Some((name, value)) => set(&mut query, &name, &value),
                None => Err("is not UTF-8 in percent encoding".to_owned()),
            };
            if let Err(message) = set {
                errors.push(ProblemField { field: unescape(name).unwrap_or_else(|| name.to_owned()), message });
            }
        }
        if errors.is_empty() { Ok(Self(query)) } else { Err(errors) }
    }
}

fn set(query: &mut AnalyticsQuery, name: &str, value: &str) -> Result<(), String> {
    match name {
        "from" => query.from = Some(moment(value)?),
        "to" => query.to = Some(moment(value)?),
        "interval" => {
            let known = Interval::ALL.into_iter().find(|interval| interval.name() == value);
            query.interval = Some(known.ok_or("is hour or day")?);
        }
        "group_by" => {
            let known = |name| Dimension::ALL.into_iter().find(|dimension| dimension.name() == name);
            let named = value.split(',').filter(|name| !name.is_empty()).map(known).collect::<Option<_>>();
            query.group_by = named.ok_or("is any of service, channel and country, with commas")?;
        }
        "service" => query.service = Some(value.parse().map_err(|error: IdError| error.to_string())?),
        "channel" => query.channel = Some(value.to_owned()),
        "country" => {
            let country = Some(value.to_ascii_uppercase()).filter(|code| code.len() == 2 && code.is_ascii());
            query.country = Some(country.ok_or("is a country as in `FR`")?);
        }
        _ => return Err("is no parameter of this path".to_owned()),
    }
    Ok(())
}

impl FromRequestParts<Arc<Api>> for Query {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<Api>) -> Result<Self, Problem> {
        Self::read(parts.uri.query().unwrap_or_default()).map_err(Problem::invalid)
    }
}

/// What came of verifications.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Analytics)]
pub(super) struct AnalyticsView {
    /// The first moment that is counted.
    #[schema(value_type = String, format = DateTime, example = "2026-11-01T00:00:00Z")]
    from: Timestamp,
    /// The first moment that is not.
    #[schema(value_type = String, format = DateTime, example = "2026-12-01T00:00:00Z")]
    to: Timestamp,
    /// `hour` or `day`.
    #[schema(example = "day")]
    interval: &'static str,
    /// All of it.
    totals: FiguresView,
    /// Hour by hour or day by day, what is told apart beside each other. Where nothing was started there is
    /// nothing.
    data: Vec<GroupView>,
}

/// What came of the verifications of one hour or day.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnalyticsGroup)]
struct GroupView {
    /// The first moment of the hour or day in which they were started.
    #[schema(value_type = String, format = DateTime, example = "2026-11-22T00:00:00Z")]
    starts_at: Timestamp,
    /// For which service; null where that is not told apart.
    #[schema(required)]
    service: Option<String>,
    /// Through which channel; null where that is not told apart, for what a guard stopped before it came to any, and for what
    /// people write (`method: "inbound"`).
    #[schema(required, example = "sms")]
    channel: Option<String>,
    /// To which country; null where that is not told apart, and for email.
    #[schema(required, example = "FR")]
    country: Option<String>,
    /// What came of them.
    figures: FiguresView,
}

/// How many, and how long it took. A verification counts in the hour and on the day in which it was started,
/// whenever it ends.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnalyticsFigures)]
struct FiguresView {
    /// Started, at the channel that was first in line; those that a guard stopped, at none.
    #[schema(example = 100)]
    started: u64,
    /// That came to the channel at all, first or after another channel. In a sum of channels, one verification
    /// counts at each that it came to.
    #[schema(example = 104)]
    tried: u64,
    /// How often a code was to go out: first, by a resend, or through the next channel.
    #[schema(example = 110)]
    sends: u64,
    /// Whose code a channel's server acknowledged, at the channel that was the first to.
    #[schema(example = 99)]
    sent: u64,
    /// Whose code reached the device, at the channel that was the first to. Not every channel can tell.
    #[schema(example = 95)]
    delivered: u64,
    /// Approved, at the channel that was used last.
    #[schema(example = 90)]
    approved: u64,
    /// Failed, by reason.
    failed: FailedView,
    /// Whose time ran out.
    #[schema(example = 6)]
    expired: u64,
    /// Called off.
    #[schema(example = 1)]
    canceled: u64,
    /// Approved of those that were started and not stopped by a guard, 0 to 1; where channels are told apart, of those that came to the
    /// channel. Null where there were none.
    #[schema(required, example = 0.9)]
    conversion: Option<f64>,
    /// From the start until a channel's server acknowledged; null where there was none.
    #[schema(required)]
    sent_after: Option<LatencyView>,
    /// From the start until a code reached the device; null where there was none.
    #[schema(required)]
    delivered_after: Option<LatencyView>,
    /// From the start until the right code was typed; null where there was none.
    #[schema(required)]
    approved_after: Option<LatencyView>,
    /// What channels charged for them, as far as they say: one sum for each currency, by its name. Empty where
    /// none says. It counts at the channel that charged, each delivery once.
    costs: Vec<CostView>,
}

/// A sum of money.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnalyticsCost)]
struct CostView {
    /// Its currency: ISO 4217.
    #[schema(example = "EUR", min_length = 3, max_length = 3)]
    currency: String,
    /// Millionths of it: 4,950,000 are 4.95.
    #[schema(example = 4_950_000)]
    micros: u64,
}

/// Failed, by reason.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnalyticsFailed)]
struct FailedView {
    /// Every allowed guess was wrong.
    #[schema(example = 1)]
    max_checks: u64,
    /// No channel got the code out.
    #[schema(example = 2)]
    undeliverable: u64,
    /// A guard stopped it.
    #[schema(example = 0)]
    blocked: u64,
}

/// How long it took, to within 5 %.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AnalyticsLatency)]
struct LatencyView {
    /// Half were done within so many milliseconds.
    #[schema(example = 850)]
    p50_milliseconds: u64,
    /// 95 of a hundred were done within so many milliseconds.
    #[schema(example = 4200)]
    p95_milliseconds: u64,
}

impl LatencyView {
    fn of(histogram: &Histogram) -> Option<Self> {
        let [p50_milliseconds, p95_milliseconds] = histogram.percentiles([50, 95])?;
        Some(Self { p50_milliseconds, p95_milliseconds })
    }
}

impl FiguresView {
    fn of(Figures { counts, costs }: &Figures, by_channel: bool) -> Self {
        let failed = |reason| counts.failed.get(reason).copied().unwrap_or(0);
        Self {
            started: counts.started,
            tried: counts.tried,
            sends: counts.sends,
            sent: counts.sent,
            delivered: counts.delivered,
            approved: counts.approved,
            failed: FailedView {
                max_checks: failed("max_checks"),
                undeliverable: failed("undeliverable"),
                blocked: failed("blocked"),
            },
            expired: counts.expired,
            canceled: counts.canceled,
            conversion: share(
                counts.approved,
                if by_channel { counts.tried } else { counts.started.saturating_sub(counts.blocked()) },
            ),
            sent_after: LatencyView::of(&counts.sent_after),
            delivered_after: LatencyView::of(&counts.delivered_after),
            approved_after: LatencyView::of(&counts.approved_after),
            costs: costs.iter().map(|(currency, micros)| CostView { currency: currency.to_string(), micros }).collect(),
        }
    }
}

/// The part of a whole, to four places.
#[allow(clippy::cast_precision_loss, reason = "ten thousandths are exact")]
fn share(part: u64, whole: u64) -> Option<f64> {
    let ten_thousandths = part.saturating_mul(10_000).checked_div(whole)?;
    Some(ten_thousandths as f64 / 10_000.0)
}

fn view(analytics: Analytics, query: &AnalyticsQuery) -> AnalyticsView {
    // Of one channel alone it is as if channels were told apart.
    let by_channel = query.group_by.contains(&Dimension::Channel);
    let one_channel = query.channel.is_some();
    let Analytics { from, to, interval, totals, groups } = analytics;
    let groups: BTreeMap<Group, Figures> = groups;
    let group = |(group, figures): (Group, Figures)| GroupView {
        starts_at: group.starts,
        service: group.service.map(|service| service.to_string()),
        // What people write comes to no channel.
        figures: FiguresView::of(&figures, one_channel || by_channel && group.channel.is_some()),
        channel: group.channel,
        country: group.country,
    };
    AnalyticsView {
        from,
        to,
        interval: interval.name(),
        totals: FiguresView::of(&totals, one_channel),
        data: groups.into_iter().map(group).collect(),
    }
}

/// Read what came of verifications.
///
/// Live verifications only, whatever key asks. What happened shows within a second. At most 5000 groups in
/// one answer. Hours and days are kept for 13 months: what is older is refused, not shown as nothing.
#[utoipa::path(get, path = "/v1/analytics", tag = "Usage", security(("api_key" = ["analytics:read"])), params(AnalyticsParams),
    responses((status = 200, description = "What was counted", body = AnalyticsView), super::openapi::QueryProblems, super::openapi::AuthProblems))]
pub(super) async fn analytics(
    State(api): State<Arc<Api>>,
    caller: Caller<AnalyticsRead>,
    Query(query): Query,
) -> Result<Json<AnalyticsView>, Problem> {
    let analytics = api.app.analytics(&caller, &query).await.map_err(|refusal| refused(&api, refusal))?;
    Ok(Json(view(analytics, &query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(query: &str) -> Vec<String> {
        Query::read(query).unwrap_err().into_iter().map(|error| error.field).collect()
    }

    #[test]
    fn every_parameter_is_read() {
        let text = "from=2026-11-01T00:00:00Z&to=2026-11-22T12:00:00Z&interval=hour&group_by=channel,country&channel=sms&country=fr";
        let Query(query) = Query::read(text).unwrap();
        assert_eq!(query.group_by, [Dimension::Channel, Dimension::Country]);
        assert_eq!((query.interval, query.channel.as_deref()), (Some(Interval::Hour), Some("sms")));
        assert_eq!((query.country.as_deref(), query.from.is_some() && query.to.is_some()), (Some("FR"), true));
        assert_eq!(Query::read("").unwrap().0, AnalyticsQuery::default());
    }

    #[test]
    fn what_does_not_hold_is_named() {
        assert_eq!(wrong("interval=week&group_by=city&country=FRA"), ["interval", "group_by", "country"]);
        assert_eq!(wrong("from=yesterday&service=1&limit=2"), ["from", "service", "limit"]);
        assert_eq!(wrong("channel=%2"), ["channel"]);
    }

    #[test]
    fn a_share_is_of_something_and_to_four_places() {
        assert_eq!((share(1, 0), share(2, 3), share(3, 3)), (None, Some(0.6666), Some(1.0)));
    }
}
