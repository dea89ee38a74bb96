use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::SignedDuration;

use super::commit::say_unreadable;
use super::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::id::ServiceId;
use crate::domain::rollup::{Figures, Interval, KEPT, Reach, Rollup, by_country, first_id};
use crate::ports::{Entity as _, EntityList, EntityRow, Owner, Stored};

/// Groups in one answer at most.
pub const GROUPS_MAX: usize = 5_000;
/// Hours or days that one answer is summed up from at most: all hours of 35 days, of 300 channels and countries.
const READ_MAX: usize = 252_000;
/// How many that are passed over take as long as one that is summed up: other countries of a day lie in the same row.
const PASSED_FOR_ONE: usize = 8;

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

/// What is summed up while rollups are read.
struct Sum {
    query: AnalyticsQuery,
    from: Timestamp,
    to: Timestamp,
    groups: BTreeMap<Group, Figures>,
    read: usize,
    passed: usize,
    /// Why there is no answer.
    ended: Option<Refusal>,
}

impl Sum {
    fn add(&mut self, row: EntityRow) -> ControlFlow<()> {
        let (owner, id) = (row.owner, row.id);
        let rollup = match Stored::<Rollup>::read(row) {
            Ok(rollup) => rollup.entity,
            // As the fold does: one bucket that cannot be read is not worth the answer.
            Err(error) => {
                say_unreadable(Rollup::KIND, owner, id, &error);
                return ControlFlow::Continue(());
            }
        };
        let AnalyticsQuery { service, channel, country, .. } = &self.query;
        let wanted = service.is_none_or(|service| rollup.service == service)
            && channel.as_ref().is_none_or(|channel| rollup.channel == *channel);
        let by = |dimension| self.query.group_by.contains(&dimension);
        for counted in rollup.figures().filter(|counted| (self.from..self.to).contains(&counted.starts)) {
            if !wanted || country.as_deref().is_some_and(|country| counted.country != Some(country)) {
                self.passed += 1;
                continue;
            }
            self.read += 1;
            let group = Group {
                starts: counted.starts,
                service: by(Dimension::Service).then_some(rollup.service),
                channel: Some(&rollup.channel).filter(|name| by(Dimension::Channel) && !name.is_empty()).cloned(),
                country: counted.country.filter(|_| by(Dimension::Country)).map(str::to_owned),
            };
            let group = self.groups.entry(group).or_default();
            group.counts.add(counted.counts);
            counted.costs.into_iter().for_each(|costs| group.costs.add_all(costs));
        }
        if self.read + self.passed / PASSED_FOR_ONE > READ_MAX {
            let message = "asks for more hours or days, channels and countries than one answer is summed up from: ask \
                           for less time, by day, or for one service or channel";
            self.ended = Some(Refusal::field("from", message.to_owned()));
            return ControlFlow::Break(());
        }
        if self.groups.len() > GROUPS_MAX {
            let message =
                format!("asks for more than {GROUPS_MAX} groups: ask for less time, by day, or tell less apart");
            self.ended = Some(Refusal::field("group_by", message));
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }
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
        let mut holds = Vec::new();
        holds.extend(service.map(|service| ("service", service.to_string())));
        holds.extend(query.channel.clone().map(|channel| ("channel", channel)));
        let told_apart = query.country.is_some() || query.group_by.contains(&Dimension::Country);
        let reach = if told_apart { Reach::Country } else { Reach::World };
        let list = EntityList {
            from: Some(first_id(interval, reach, from)),
            before: Some(first_id(interval, reach, day_after(to))),
            // Of a day all countries are in one row.
            by: query.country.as_deref().filter(|_| interval == Interval::Hour).map(by_country),
            holds,
            limit: READ_MAX + 1,
            ..EntityList::of(Owner::Tenant(caller.tenant.id))
        };
        let query = AnalyticsQuery { service, ..query.clone() };
        let summed =
            Arc::new(Mutex::new(Sum { query, from, to, groups: BTreeMap::new(), read: 0, passed: 0, ended: None }));
        let sum = Arc::clone(&summed);
        let visit = move |row| sum.lock().unwrap_or_else(PoisonError::into_inner).add(row);
        self.ports.store.visit_entities(Rollup::KIND, &list, Box::new(visit)).await?;
        let mut sum = summed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(refusal) = sum.ended.take() {
            return Err(refusal);
        }
        let groups = std::mem::take(&mut sum.groups);
        let mut totals = Figures::default();
        groups.values().for_each(|group| totals.add(&group.counts, &group.costs));
        Ok(Analytics { from, to, interval, totals, groups })
    }

    /// From when to when, in whole intervals.
    fn range(&self, query: &AnalyticsQuery, interval: Interval) -> Result<(Timestamp, Timestamp), Refusal> {
        let now = self.now();
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
        if from < interval.start_of(now.saturating_sub(KEPT).unwrap_or(Timestamp::MIN)) {
            let message = "is more than 13 months ago, and nothing is kept for longer";
            return Err(Refusal::field("from", message.to_owned()));
        }
        Ok((from, to))
    }
}

/// The first moment of the first day that has nothing of what is before `to`.
fn day_after(to: Timestamp) -> Timestamp {
    let day = Interval::Day.start_of(to);
    if day == to { day } else { Interval::Day.end_of(day) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::rollup::{Counts, RollupKey};
    use crate::ports::Change;
    use crate::testing::builders::{a_tenant, noon};

    /// A day of so many countries.
    fn a_day(countries: u8) -> EntityRow {
        let tenant = a_tenant().id;
        let figures = Figures { counts: Counts { started: 1, ..Counts::default() }, ..Figures::default() };
        let counted = (0..countries).map(|nth| {
            let country = [b'A' + nth / 26, b'A' + nth % 26].map(char::from).into_iter().collect();
            let key = RollupKey {
                tenant,
                interval: Interval::Day,
                starts: Interval::Day.start_of(noon()),
                service: ServiceId::from_bytes([1; 16]),
                channel: "sms".to_owned(),
                country: Some(country),
            };
            (key, figures.clone())
        });
        let day = Rollup::of(counted.collect()).into_iter().find(|row| row.reach == Reach::Country).unwrap();
        let Change::Insert(row) = Change::insert(&day) else { unreachable!("it is an insertion") };
        row
    }

    /// How many rows it took until there is no answer, of at most `rows`.
    fn read(query: AnalyticsQuery, row: &EntityRow, rows: usize) -> Option<usize> {
        let (from, to) = (Timestamp::MIN, Timestamp::MAX);
        let mut sum = Sum { query, from, to, groups: BTreeMap::new(), read: 0, passed: 0, ended: None };
        let ended = (0..rows).find(|_| sum.add(row.clone()).is_break());
        assert_eq!(ended.is_some(), sum.ended.is_some());
        ended
    }

    #[test]
    fn an_answer_is_summed_up_from_so_much_and_other_countries_of_a_day_count_for_little() {
        let row = a_day(200);
        let all = AnalyticsQuery::default();
        assert_eq!(read(all.clone(), &row, 2_000), Some(READ_MAX / 200));
        // Of one country 13 months, of four channels.
        let one = AnalyticsQuery { country: Some("BC".to_owned()), ..all };
        assert_eq!(read(one, &row, 4 * 397), None);
    }
}
