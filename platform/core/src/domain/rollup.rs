//! Rollups: what came of all verifications that were started in one hour or on one day, per service, channel
//! and country, and once more of all countries together. All that analytics read. A row holds a day: as a whole,
//! country by country, or hour by hour, of one country or of all together.
//!
//! A verification counts in the hour in which it was started, whenever it ends: so what was approved is
//! never more than what was started. Live verifications only.

mod counts;
mod histogram;
mod packed;

use std::collections::BTreeMap;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Timestamp;
use super::cost::CostSums;
use super::id::{ServiceId, TenantId};
use super::mode::Mode;
use super::news::News;
use crate::ports::{Entity, IndexKey, Owner};

pub use counts::Counts;
pub use histogram::Histogram;

/// How long hours and days are kept: 13 months.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24 * 397);

/// Of what length a rollup is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// An hour.
    Hour,
    /// A day of UTC.
    Day,
}

impl Interval {
    /// Every length.
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Its hours.
    pub fn hours(self) -> i64 {
        match self {
            Self::Hour => 1,
            Self::Day => 24,
        }
    }

    /// The first moment of the one that a moment is in.
    pub fn start_of(self, moment: Timestamp) -> Timestamp {
        let length = self.hours() * 3600;
        let start = moment.as_second().div_euclid(length) * length;
        Timestamp::from_second(start).unwrap_or(Timestamp::MIN)
    }

    /// The first moment after the one that begins at `start`.
    pub fn end_of(self, start: Timestamp) -> Timestamp {
        start.saturating_add(SignedDuration::from_hours(self.hours())).unwrap_or(Timestamp::MAX)
    }
}

/// What was counted of some verifications, and what they cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Figures {
    /// What came of them.
    pub counts: Counts,
    /// What channels charged for them, as far as they say.
    pub costs: CostSums,
}

impl Figures {
    /// Adds what was counted of others.
    pub fn add(&mut self, counts: &Counts, costs: &CostSums) {
        self.counts.add(counts);
        self.costs.add_all(costs);
    }
}

/// What a rollup is of.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RollupKey {
    /// Whose.
    pub tenant: TenantId,
    /// Of which length.
    pub interval: Interval,
    /// Its first moment.
    pub starts: Timestamp,
    /// For which service.
    pub service: ServiceId,
    /// Through which channel; empty for what a guard stopped before it came to any.
    pub channel: String,
    /// To which country; none for email.
    pub country: Option<String>,
}

impl RollupKey {
    /// Its part of the rollup that it is in.
    fn part(&self, reach: Reach) -> Part {
        let hour = self.starts.duration_since(day_of(self.starts)).as_hours();
        match (self.interval, reach) {
            (Interval::Day, Reach::Country) => Part::Country(self.country.clone()),
            _ => Part::Hour(u8::try_from(hour).unwrap_or(0)),
        }
    }

    /// The id of the rollup that it is in: those of one tenant, one length and one reach lie beside each other, in
    /// the order of their days.
    fn id(&self, reach: Reach) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(self.service.to_bytes());
        hash.update(self.channel.as_bytes());
        hash.update([0]);
        if one_country(self.interval, reach) {
            hash.update(self.country.as_deref().unwrap_or_default());
        }
        let mut id = first_id(self.interval, reach, self.starts);
        if let (Some(rest), Some(digest)) = (id.get_mut(5..), hash.finalize().get(..11)) {
            rest.copy_from_slice(digest);
        }
        id
    }
}

/// Whether a row is of one country: the hours of a day are, which fill a row by themselves.
fn one_country(interval: Interval, reach: Reach) -> bool {
    (interval, reach) == (Interval::Hour, Reach::Country)
}

/// Whether countries are told apart. Most who ask do not, and read a hundredth then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// Each country by itself, and email, which goes to none.
    #[default]
    Country,
    /// All of them together, and email.
    World,
}

impl Reach {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Country, Self::World];

    fn is_country(&self) -> bool {
        *self == Self::Country
    }
}

/// The first moment of the day of UTC that a moment is in.
fn day_of(moment: Timestamp) -> Timestamp {
    Interval::Day.start_of(moment)
}

/// The least id of a rollup of the day that a moment is in, or of any later one.
pub fn first_id(interval: Interval, reach: Reach, moment: Timestamp) -> [u8; 16] {
    let hour = u32::try_from(day_of(moment).as_second().div_euclid(3600)).unwrap_or(0);
    let mut id = [0; 16];
    let kind = u8::from(interval == Interval::Day) + 2 * u8::from(reach == Reach::World);
    let head = [kind].into_iter().chain(hour.to_be_bytes());
    id.iter_mut().zip(head).for_each(|(place, byte)| *place = byte);
    id
}

/// What is told apart within a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", from = "String")]
pub(crate) enum Part {
    /// An hour of the day, by its number. At 0 also what a whole day came to.
    Hour(u8),
    /// A country; none for email.
    Country(Option<String>),
}

impl From<Part> for String {
    fn from(part: Part) -> Self {
        match part {
            Part::Hour(hour) => hour.to_string(),
            Part::Country(country) => country.unwrap_or_default(),
        }
    }
}

impl From<String> for Part {
    fn from(text: String) -> Self {
        match text.parse() {
            // Three digits would be a region of the UN's.
            Ok(hour) if text.len() < 3 => Self::Hour(hour),
            _ => Self::Country(Some(text).filter(|country| !country.is_empty())),
        }
    }
}

/// What came of all verifications that were started on one day: of each of its hours, of each country, or of all.
///
/// The hours of a day lie in one, and so do its countries: what is asked about a month is then a hundred rows to
/// read, not a hundred for each day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollup {
    /// Whose.
    pub tenant: TenantId,
    /// What is told apart: hours, or nothing within the day.
    pub interval: Interval,
    /// The day's first moment.
    pub day: Timestamp,
    /// For which service.
    pub service: ServiceId,
    /// Through which channel; empty for what a guard stopped before it came to any.
    pub channel: String,
    /// To which country its hours are; none for email, and where the row is of more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Whether countries are told apart, or it is of all of them.
    #[serde(default, skip_serializing_if = "Reach::is_country")]
    pub reach: Reach,
    /// What came of them.
    #[serde(with = "packed")]
    pub(crate) counts: BTreeMap<Part, Counts>,
    /// What the channel charged for them, as far as it says. Not within the counts: a program that does not know
    /// of it leaves it alone here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) costs: BTreeMap<Part, CostSums>,
}

/// What came of the verifications of one hour or day of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted<'a> {
    /// From when on.
    pub starts: Timestamp,
    /// To which country; none for email, and for all countries together.
    pub country: Option<&'a str>,
    /// What came of them.
    pub counts: &'a Counts,
    /// What was charged.
    pub costs: Option<&'a CostSums>,
}

impl Rollup {
    /// Those that hold what was counted.
    pub fn of(counted: BTreeMap<RollupKey, Figures>) -> Vec<Self> {
        let mut rollups: BTreeMap<(TenantId, [u8; 16]), Self> = BTreeMap::new();
        for (key, Figures { counts, costs }) in counted {
            for reach in Reach::ALL {
                let rollup = rollups.entry((key.tenant, key.id(reach))).or_insert_with(|| Self {
                    tenant: key.tenant,
                    interval: key.interval,
                    day: day_of(key.starts),
                    service: key.service,
                    channel: key.channel.clone(),
                    country: key.country.clone().filter(|_| one_country(key.interval, reach)),
                    reach,
                    counts: BTreeMap::new(),
                    costs: BTreeMap::new(),
                });
                rollup.note(&key.part(reach), &counts, Some(&costs));
            }
        }
        rollups.into_values().collect()
    }

    fn note(&mut self, part: &Part, counts: &Counts, costs: Option<&CostSums>) {
        self.counts.entry(part.clone()).or_default().add(counts);
        if let Some(costs) = costs.filter(|costs| !costs.is_empty()) {
            self.costs.entry(part.clone()).or_default().add_all(costs);
        }
    }

    /// Adds what another one of the same day, service, channel and country counted.
    pub fn add(&mut self, other: &Self) {
        for (part, counts) in &other.counts {
            self.note(part, counts, other.costs.get(part));
        }
    }

    /// What it counts, in the order of time and of countries.
    pub fn figures(&self) -> impl Iterator<Item = Counted<'_>> {
        self.counts.iter().map(|(part, counts)| {
            let costs = self.costs.get(part);
            match part {
                Part::Hour(hour) => Counted { starts: self.at(*hour), country: self.country.as_deref(), counts, costs },
                Part::Country(country) => Counted { starts: self.day, country: country.as_deref(), counts, costs },
            }
        })
    }

    /// What it counts, by what that is of.
    pub fn into_figures(self) -> impl Iterator<Item = (RollupKey, Figures)> {
        let figures = self.figures().map(|Counted { starts, country, counts, costs }| {
            let key = RollupKey {
                tenant: self.tenant,
                interval: self.interval,
                starts,
                service: self.service,
                channel: self.channel.clone(),
                country: country.map(str::to_owned),
            };
            (key, Figures { counts: counts.clone(), costs: costs.cloned().unwrap_or_default() })
        });
        figures.collect::<Vec<_>>().into_iter()
    }

    fn at(&self, hour: u8) -> Timestamp {
        self.day.saturating_add(SignedDuration::from_hours(hour.into())).unwrap_or(self.day)
    }

    /// When it is deleted: when all of its day has been kept long enough.
    pub fn kept_until(&self) -> Timestamp {
        Interval::Day.end_of(self.day).saturating_add(KEPT).unwrap_or(Timestamp::MAX)
    }
}

/// Under what a country's hours are listed.
pub fn by_country(country: &str) -> IndexKey {
    IndexKey::new("country", country)
}

impl Entity for Rollup {
    /// Not `rollup`, as rows were called in which an hour lay by itself.
    const KIND: &'static str = "rollup_day";

    fn id(&self) -> [u8; 16] {
        let key = RollupKey {
            tenant: self.tenant,
            interval: self.interval,
            starts: self.day,
            service: self.service,
            channel: self.channel.clone(),
            country: self.country.clone(),
        };
        key.id(self.reach)
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }

    /// A month of one country's hours is a hundredth of all countries' hours.
    fn listed(&self) -> Vec<IndexKey> {
        self.country.as_deref().map(by_country).into_iter().collect()
    }

    /// When it has been kept long enough.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.kept_until())
    }
}

/// Adds what the news tell to what is counted, in the hour and on the day of the start: of live
/// verifications, and of nothing else.
pub fn count(news: &News, all: &mut BTreeMap<RollupKey, Figures>) {
    let News::Verification(news) = news else { return };
    if news.mode != Mode::Live {
        return;
    }
    let key = |interval: Interval, channel: &str| RollupKey {
        tenant: news.tenant,
        interval,
        starts: interval.start_of(news.created_at),
        service: news.service,
        channel: channel.to_owned(),
        country: news.country.clone(),
    };
    for happening in &news.happenings {
        let after = happening.at.duration_since(news.created_at);
        for interval in Interval::ALL {
            let key = key(interval, happening.channel.as_deref().unwrap_or_default());
            all.entry(key).or_default().counts.note(happening.what, news.method, news.reason, after);
        }
    }
    for charge in &news.charges {
        for interval in Interval::ALL {
            all.entry(key(interval, &charge.channel)).or_default().costs.add(charge.cost);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::cost::Cost;
    use crate::testing::builders::{a_tenant, noon};

    fn moment(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn the_last_microsecond_of_a_day_is_in_it_and_the_next_is_not() {
        for (interval, end) in [(Interval::Hour, "2026-03-15T13:00:00Z"), (Interval::Day, "2026-03-16T00:00:00Z")] {
            let start = interval.start_of(noon());
            assert_eq!(interval.end_of(start), moment(end));
            let last = moment(end).saturating_sub(SignedDuration::from_micros(1)).unwrap();
            assert_eq!(interval.start_of(last), start);
            assert_eq!(interval.start_of(moment(end)), moment(end));
        }
        assert_eq!(Interval::Day.start_of(noon()), moment("2026-03-15T00:00:00Z"));
    }

    #[test]
    fn ids_of_one_length_lie_in_the_order_of_time_and_apart_from_the_other() {
        let tenant = a_tenant().id;
        let id = |interval: Interval, at: &str, channel: &str| {
            let key = RollupKey {
                tenant,
                interval,
                starts: moment(at),
                service: ServiceId::from_bytes([1; 16]),
                channel: channel.to_owned(),
                country: Some("FR".to_owned()),
            };
            key.id(Reach::Country)
        };
        let noon = id(Interval::Hour, "2026-03-15T12:00:00Z", "sms");
        let beside = id(Interval::Hour, "2026-03-15T12:00:00Z", "email");
        let one = id(Interval::Hour, "2026-03-15T13:00:00Z", "sms");
        let day = id(Interval::Day, "2026-03-15T00:00:00Z", "sms");
        let next = id(Interval::Hour, "2026-03-16T00:00:00Z", "sms");
        assert!(noon == one && noon != beside && noon < next && beside < next && next < day);
        let of_day = |day| first_id(Interval::Hour, Reach::Country, moment(day));
        let range = of_day("2026-03-15T00:00:00Z")..of_day("2026-03-16T00:00:00Z");
        assert!(range.contains(&noon) && range.contains(&beside) && !range.contains(&next));
        let kinds = Reach::ALL.into_iter().flat_map(|reach| Interval::ALL.map(|interval| (interval, reach)));
        let kinds: Vec<_> = kinds.collect();
        for pair in kinds.windows(2) {
            let ((before, of), (after, beside)) = (pair[0], pair[1]);
            assert!(first_id(before, of, Timestamp::MAX) < first_id(after, beside, Timestamp::UNIX_EPOCH));
        }
    }

    #[test]
    fn of_what_a_person_writes_nothing_was_to_go_out() {
        use crate::domain::news::VerificationNews;
        use crate::domain::verification::Verification;
        use crate::testing::builders::{a_verification, an_inbound_verification};
        let tenant = a_tenant().id;
        let counted = |verification: &Verification| {
            let mut all = BTreeMap::new();
            count(&News::Verification(VerificationNews::of_start(verification)), &mut all);
            let counts = all.into_values().map(|figures| figures.counts);
            counts.map(|counts| (counts.started, counts.tried, counts.sends)).collect::<Vec<_>>()
        };
        assert_eq!(counted(&a_verification(tenant, "+12025550123", noon())), [(1, 1, 1); 2]);
        assert_eq!(counted(&an_inbound_verification(tenant, Some("+12025550123"), noon())), [(1, 0, 0); 2]);
    }

    #[test]
    fn the_hours_of_a_day_are_counted_in_one_and_each_by_itself() {
        let tenant = a_tenant().id;
        let key = |at: &str, interval| RollupKey {
            tenant,
            interval,
            starts: moment(at),
            service: ServiceId::from_bytes([1; 16]),
            channel: "sms".to_owned(),
            country: None,
        };
        let counts = |started| {
            let mut figures = Figures { counts: Counts { started, ..Counts::default() }, ..Figures::default() };
            figures.costs.add(Cost::new(started * 1000, "EUR".parse().unwrap()).unwrap());
            figures
        };
        let counted = BTreeMap::from([
            (key("2026-03-15T00:00:00Z", Interval::Hour), counts(1)),
            (key("2026-03-15T23:00:00Z", Interval::Hour), counts(2)),
            (key("2026-03-16T00:00:00Z", Interval::Hour), counts(4)),
            (key("2026-03-15T00:00:00Z", Interval::Day), counts(3)),
        ]);
        let (rollups, world): (Vec<_>, Vec<_>) =
            Rollup::of(counted.clone()).into_iter().partition(|rollup| rollup.reach == Reach::Country);
        // A day whose countries are told apart is a row for itself, and not the one of all countries together.
        assert_eq!((rollups.len(), world.len()), (3, 3));
        let back: BTreeMap<_, _> = rollups.iter().cloned().flat_map(Rollup::into_figures).collect();
        assert_eq!(back, counted);
        let mut twice = rollups[0].clone();
        twice.add(&rollups[0]);
        let started: Vec<u64> = twice.figures().map(|one| one.counts.started).collect();
        assert_eq!(started, [2, 4]);
    }

    #[test]
    fn all_countries_are_counted_together_once_more() {
        let tenant = a_tenant().id;
        let key = |country: Option<&str>| RollupKey {
            tenant,
            interval: Interval::Day,
            starts: Interval::Day.start_of(noon()),
            service: ServiceId::from_bytes([1; 16]),
            channel: "sms".to_owned(),
            country: country.map(str::to_owned),
        };
        let figures = |started| Figures { counts: Counts { started, ..Counts::default() }, ..Figures::default() };
        let counted = [(Some("FR"), 1), (Some("DE"), 2), (None, 4)];
        let counted = counted.map(|(country, started)| (key(country), figures(started)));
        let rollups = Rollup::of(BTreeMap::from(counted.clone()));
        let told: Vec<_> = rollups
            .iter()
            .flat_map(|row| row.figures().map(|one| (row.reach, one.country, one.counts.started)))
            .collect();
        let country = |country, started| (Reach::Country, country, started);
        assert_eq!(told, [country(None, 4), country(Some("DE"), 2), country(Some("FR"), 1), (Reach::World, None, 7)]);
        // The countries of a day lie in one row, and those of an hour each in its own.
        assert_eq!(rollups.len(), 2);
        let hours = counted.map(|(key, figures)| (RollupKey { interval: Interval::Hour, ..key }, figures));
        let hours = Rollup::of(BTreeMap::from(hours));
        let listed: Vec<_> = hours.iter().map(|row| (row.reach, row.country.as_deref(), row.listed().len())).collect();
        assert!(listed.contains(&(Reach::Country, Some("DE"), 1)) && listed.contains(&(Reach::World, None, 0)));
        let ids: std::collections::BTreeSet<_> = rollups.iter().chain(&hours).map(Rollup::id).collect();
        assert_eq!((hours.len(), ids.len()), (4, 6), "email is not the world");
    }

    #[test]
    fn a_rollup_without_costs_is_read_and_goes_on() {
        let key = RollupKey {
            tenant: a_tenant().id,
            interval: Interval::Day,
            starts: Interval::Day.start_of(noon()),
            service: ServiceId::from_bytes([1; 16]),
            channel: "sms".to_owned(),
            country: None,
        };
        let figures = |started, cost: Option<Cost>| {
            let mut figures = Figures { counts: Counts { started, ..Counts::default() }, ..Figures::default() };
            cost.into_iter().for_each(|cost| figures.costs.add(cost));
            Rollup::of(BTreeMap::from([(key.clone(), figures)])).remove(0)
        };
        let old = serde_json::to_value(figures(3, None)).unwrap();
        assert_eq!(old.get("costs"), None, "it is written as it was before");
        let mut rollup: Rollup = serde_json::from_value(old).unwrap();
        rollup.add(&figures(1, Cost::new(45_000, "EUR".parse().unwrap())));
        let stored = serde_json::to_value(&rollup).unwrap();
        assert_eq!(serde_json::from_value::<Rollup>(stored).unwrap(), rollup);
        let told: Vec<_> =
            rollup.into_figures().map(|(_, one)| (one.counts.started, one.costs.iter().count())).collect();
        assert_eq!(told, [(4, 1)]);
    }
}
