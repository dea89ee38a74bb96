use std::collections::BTreeMap;

use jiff::SignedDuration;

use super::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::id::ServiceId;
use crate::domain::rollup::{DAYS_KEPT, Figures, HOURS_KEPT, Interval, Rollup, first_id};
use crate::ports::{EntityList, Owner};

/// Groups in one answer at most.
pub const GROUPS_MAX: usize = 5_000;
/// Rollups that are read for one answer at most.
const READ_MAX: usize = 50_000;
/// Rollups that are read at once.
const PAGE: usize = 5_000;

/// By what analytics are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dimension {
    /// The service.
    Service,
    /// The channel.
    Channel,
    /// The country.
    Country,
}

impl Dimension {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Service, Self::Channel, Self::Country];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Channel => "channel",
            Self::Country => "country",
        }
    }
}

/// What analytics are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnalyticsQuery {
    /// From the interval on that this moment is in; none for as far back as there is an answer.
    pub from: Option<Timestamp>,
    /// Up to the end of the interval before this moment, or that it is in; none for now.
    pub to: Option<Timestamp>,
    /// By hour or by day; none for days.
    pub interval: Option<Interval>,
    /// What is told apart.
    pub group_by: Vec<Dimension>,
    /// Of this service only.
    pub service: Option<ServiceId>,
    /// Through this channel only.
    pub channel: Option<String>,
    /// To this country only.
    pub country: Option<String>,
}

/// Which verifications are counted together.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// Started in the interval that begins here.
    pub starts: Timestamp,
    /// For this service, where that is told apart.
    pub service: Option<ServiceId>,
    /// Through this channel, where that is told apart.
    pub channel: Option<String>,
    /// To this country, where that is told apart; none for email too.
    pub country: Option<String>,
}

/// What came of the verifications that were started within a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analytics {
    /// The first moment of it.
    pub from: Timestamp,
    /// The first moment after it.
    pub to: Timestamp,
    /// By hour or by day.
    pub interval: Interval,
    /// All of them.
    pub totals: Figures,
    /// In the order of time; what nothing was counted of is not there.
    pub groups: BTreeMap<Group, Figures>,
}

impl App {
    /// What came of the live verifications of the caller's tenant. It reads rollups, never verifications.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] when more is asked for than one answer holds, [`Refusal::OtherService`],
    /// [`Refusal::Store`].
    pub async fn analytics(&self, caller: &ApiCaller, query: &AnalyticsQuery) -> Result<Analytics, Refusal> {
        let service = match (query.service, caller.service()) {
            (Some(named), Some(bound)) if named != bound => return Err(Refusal::OtherService),
            (named, bound) => bound.or(named),
        };
        let interval = query.interval.unwrap_or(Interval::Day);
        let (from, to) = self.range(query, interval)?;
        let wanted = |rollup: &Rollup| {
            service.is_none_or(|service| rollup.service == service)
                && query.channel.as_ref().is_none_or(|channel| rollup.channel == *channel)
                && query.country.as_ref().is_none_or(|country| rollup.country.as_ref() == Some(country))
        };
        let by = |dimension| query.group_by.contains(&dimension);
        let mut analytics = Analytics { from, to, interval, totals: Figures::default(), groups: BTreeMap::new() };
        let mut list = EntityList {
            from: Some(first_id(interval, from)),
            before: Some(first_id(interval, to)),
            limit: PAGE,
            ..EntityList::of(Owner::Tenant(caller.tenant.id))
        };
        let mut read = 0;
        loop {
            let page = self.list::<Rollup>(&list).await?;
            read += page.len();
            let last = page.last().map(|rollup| rollup.key().id());
            let full = page.len() == PAGE;
            for rollup in page.into_iter().map(|stored| stored.entity).filter(wanted) {
                analytics.totals.add(&rollup.counts, &rollup.costs);
                let group = Group {
                    starts: rollup.starts,
                    service: by(Dimension::Service).then_some(rollup.service),
                    channel: by(Dimension::Channel).then_some(rollup.channel),
                    country: rollup.country.filter(|_| by(Dimension::Country)),
                };
                analytics.groups.entry(group).or_default().add(&rollup.counts, &rollup.costs);
            }
            if analytics.groups.len() > GROUPS_MAX || (full && read >= READ_MAX) {
                return Err(Refusal::field(
                    "from",
                    format!("asks for more than {GROUPS_MAX} groups: ask for less time, by day, or tell less apart"),
                ));
            }
            match last {
                Some(last) if full => list.from = Some(after(last)),
                _ => return Ok(analytics),
            }
        }
    }

    /// From when to when, in whole intervals.
    fn range(&self, query: &AnalyticsQuery, interval: Interval) -> Result<(Timestamp, Timestamp), Refusal> {
        let now = self.now();
        let kept = match interval {
            Interval::Hour => HOURS_KEPT,
            Interval::Day => DAYS_KEPT,
        };
        let last = query.to.unwrap_or(now);
        let start = interval.start_of(last);
        // What ends at the edge of an interval has nothing of the next.
        let to = if start == last { last } else { interval.end_of(start) };
        // A week of hours or a month of days, if nobody says.
        let usual = SignedDuration::from_hours(if interval == Interval::Hour { 24 * 7 } else { 24 * 30 });
        let from = query.from.unwrap_or_else(|| to.saturating_sub(usual).unwrap_or(Timestamp::MIN));
        let from = interval.start_of(from);
        if from >= to {
            return Err(Refusal::field("from", "is before `to`".to_owned()));
        }
        if to.duration_since(from) > kept + SignedDuration::from_hours(interval.hours()) {
            let message = match interval {
                Interval::Hour => "is at most 35 days before `to`, by hour; days are kept for 13 months",
                Interval::Day => "is at most 13 months before `to`",
            };
            return Err(Refusal::field("from", message.to_owned()));
        }
        Ok((from, to))
    }
}

/// The next id.
fn after(id: [u8; 16]) -> [u8; 16] {
    u128::from_be_bytes(id).saturating_add(1).to_be_bytes()
}
