//! Rollups: what came of all verifications that were started in one hour or on one day, per service, channel
//! and country, and once more of all countries together. All that analytics read. A row holds a day: as a whole, or
//! hour by hour.
//!
//! A verification counts in the hour in which it was started, whenever it ends: so what was approved is
//! never more than what was started. Live verifications only.

mod packed;

use std::collections::BTreeMap;
use std::sync::LazyLock;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Timestamp;
use super::cost::CostSums;
use super::id::{ServiceId, TenantId};
use super::mode::Mode;
use super::news::{News, What};
use super::verification::FailureReason;
use crate::ports::{Entity, Owner};

/// How long hours are kept.
pub const HOURS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 35);
/// How long days are kept: 13 months.
pub const DAYS_KEPT: SignedDuration = SignedDuration::from_hours(24 * 397);

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

    /// How long those of this length are kept.
    pub fn kept(self) -> SignedDuration {
        match self {
            Self::Hour => HOURS_KEPT,
            Self::Day => DAYS_KEPT,
        }
    }
}

/// Where a bucket begins, in milliseconds: each is at most a tenth wider than where it begins, so its middle
/// is within 5 % of all that is in it; below 20 ms each is one millisecond. NEVER change them: they are stored.
static BUCKETS: LazyLock<Vec<u64>> = LazyLock::new(|| {
    // Beyond the last: 400 days.
    let last = 400 * 24 * 3_600_000;
    std::iter::successors(Some(0u64), |start| Some((start + 1).max(start + start / 10)))
        .take_while(|start| *start <= last)
        .collect()
});

/// How long things took: how many of them by how long, in buckets that grow with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// The least bucket in which there is something.
    first: usize,
    /// From that one up to the last in which there is something.
    counts: Vec<u64>,
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, took: SignedDuration) {
        let milliseconds = u64::try_from(took.as_millis()).unwrap_or(0);
        let bucket = BUCKETS.partition_point(|start| *start <= milliseconds).saturating_sub(1);
        self.reach(bucket, 1);
        if let Some(count) = self.counts.get_mut(bucket - self.first) {
            *count += 1;
        }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        self.reach(other.first, other.counts.len());
        let same = self.counts.iter_mut().skip(other.first - self.first);
        same.zip(&other.counts).for_each(|(sum, count)| *sum += count);
    }

    /// Makes room for so many buckets from one on.
    fn reach(&mut self, first: usize, length: usize) {
        if self.counts.is_empty() {
            self.first = first;
        }
        if first < self.first {
            self.counts.splice(0..0, std::iter::repeat_n(0, self.first - first));
            self.first = first;
        }
        let end = first + length - self.first;
        if end > self.counts.len() {
            self.counts.resize(end, 0);
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Whether none was counted.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// Milliseconds within which so many of a hundred were done, to within 5 %; none where none was counted.
    pub fn percentile(&self, percent: u64) -> Option<u64> {
        let rank = (self.count() * percent).div_ceil(100).max(1);
        let mut seen = 0;
        let place = self.counts.iter().position(|count| {
            seen += *count;
            seen >= rank
        });
        let place = self.first + place?;
        let start = BUCKETS.get(place).copied()?;
        let end = BUCKETS.get(place + 1).copied().unwrap_or(start + 1);
        Some(start.midpoint(end - 1))
    }
}

/// What came of verifications.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Started, at the channel that was first in line; one that a guard stopped at none.
    pub started: u64,
    /// That came to the channel at all, first or after another one.
    pub tried: u64,
    /// How often a code was to go out through the channel: first, by a resend, or after another channel.
    pub sends: u64,
    /// Whose code the channel's server was the first to acknowledge.
    pub sent: u64,
    /// Whose code reached the device through the channel first. Not every channel can tell.
    pub delivered: u64,
    /// Approved, at the channel that was used last.
    pub approved: u64,
    /// Failed, by reason.
    pub failed: BTreeMap<String, u64>,
    /// Whose time ran out.
    pub expired: u64,
    /// Called off.
    pub canceled: u64,
    /// From the start until a channel's server acknowledged.
    pub sent_after: Histogram,
    /// From the start until a code reached the device.
    pub delivered_after: Histogram,
    /// From the start until the right code was typed.
    pub approved_after: Histogram,
}

impl Counts {
    /// Stopped by a guard before anything was sent.
    pub fn blocked(&self) -> u64 {
        self.failed.get(FailureReason::Blocked.name()).copied().unwrap_or(0)
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        let Self {
            started,
            tried,
            sends,
            sent,
            delivered,
            approved,
            failed,
            expired,
            canceled,
            sent_after,
            delivered_after,
            approved_after,
        } = other;
        self.started += started;
        self.tried += tried;
        self.sends += sends;
        self.sent += sent;
        self.delivered += delivered;
        self.approved += approved;
        for (reason, count) in failed {
            *self.failed.entry(reason.clone()).or_default() += count;
        }
        self.expired += expired;
        self.canceled += canceled;
        self.sent_after.add(sent_after);
        self.delivered_after.add(delivered_after);
        self.approved_after.add(approved_after);
    }

    fn note(&mut self, what: What, reason: Option<FailureReason>, after: SignedDuration) {
        match what {
            // Stopped by a guard before it came to any channel.
            What::Started if reason == Some(FailureReason::Blocked) => self.started += 1,
            What::Started => {
                self.started += 1;
                self.tried += 1;
                self.sends += 1;
            }
            What::Next => {
                self.tried += 1;
                self.sends += 1;
            }
            What::Again => self.sends += 1,
            What::Sent => {
                self.sent += 1;
                self.sent_after.record(after);
            }
            What::Delivered => {
                self.delivered += 1;
                self.delivered_after.record(after);
            }
            What::Approved => {
                self.approved += 1;
                self.approved_after.record(after);
            }
            What::Failed | What::Blocked => {
                let reason = reason.map_or("unknown", FailureReason::name);
                *self.failed.entry(reason.to_owned()).or_default() += 1;
            }
            What::Expired => self.expired += 1,
            What::Canceled => self.canceled += 1,
        }
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
    /// The id of the rollup that it is in: those of one tenant, one length and one reach lie beside each other, in
    /// the order of their days.
    fn id(&self, reach: Reach) -> [u8; 16] {
        let mut hash = Sha256::new();
        hash.update(self.service.to_bytes());
        hash.update(self.channel.as_bytes());
        hash.update([0]);
        if reach == Reach::Country {
            hash.update(self.country.as_deref().unwrap_or_default());
        }
        let mut id = first_id(self.interval, reach, self.starts);
        if let (Some(rest), Some(digest)) = (id.get_mut(5..), hash.finalize().get(..11)) {
            rest.copy_from_slice(digest);
        }
        id
    }
}

/// Whether countries are told apart. Most who ask do not, and read a hundredth then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// One country, or email, which goes to none.
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

/// What came of all verifications that were started on one day: of each of its hours, or of all of it.
///
/// The hours of a day lie in one: a month of hours is then as few rows to read as a month of days.
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
    /// To which country; none for email, and for all countries together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Whether that is of this country, or of all.
    #[serde(default, skip_serializing_if = "Reach::is_country")]
    pub reach: Reach,
    /// What came of them, by the hour of the day; of a whole day at 0.
    #[serde(with = "packed")]
    pub(crate) counts: BTreeMap<u8, Counts>,
    /// What the channel charged for them, as far as it says. Not within the counts: a program that does not know
    /// of it leaves it alone here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) costs: BTreeMap<u8, CostSums>,
}

impl Rollup {
    /// Those that hold what was counted.
    pub fn of(counted: BTreeMap<RollupKey, Figures>) -> Vec<Self> {
        let mut rollups: BTreeMap<(TenantId, [u8; 16]), Self> = BTreeMap::new();
        for (key, Figures { counts, costs }) in counted {
            let hour = key.starts.duration_since(day_of(key.starts)).as_hours();
            let hour = u8::try_from(hour).unwrap_or(0);
            for reach in Reach::ALL {
                let rollup = rollups.entry((key.tenant, key.id(reach))).or_insert_with(|| Self {
                    tenant: key.tenant,
                    interval: key.interval,
                    day: day_of(key.starts),
                    service: key.service,
                    channel: key.channel.clone(),
                    country: key.country.clone().filter(|_| reach == Reach::Country),
                    reach,
                    counts: BTreeMap::new(),
                    costs: BTreeMap::new(),
                });
                rollup.note(hour, &counts, Some(&costs));
            }
        }
        rollups.into_values().collect()
    }

    fn note(&mut self, hour: u8, counts: &Counts, costs: Option<&CostSums>) {
        self.counts.entry(hour).or_default().add(counts);
        if let Some(costs) = costs.filter(|costs| !costs.is_empty()) {
            self.costs.entry(hour).or_default().add_all(costs);
        }
    }

    /// Adds what another one of the same day, service, channel and country counted.
    pub fn add(&mut self, other: &Self) {
        for (hour, counts) in &other.counts {
            self.note(*hour, counts, other.costs.get(hour));
        }
    }

    /// What it counts, in the order of time: from when on, what came of it, and what was charged.
    pub fn figures(&self) -> impl Iterator<Item = (Timestamp, &Counts, Option<&CostSums>)> {
        self.counts.iter().map(|(hour, counts)| (self.at(*hour), counts, self.costs.get(hour)))
    }

    /// What it counts, by what that is of.
    pub fn into_figures(mut self) -> impl Iterator<Item = (RollupKey, Figures)> {
        let counts = std::mem::take(&mut self.counts);
        counts.into_iter().map(move |(hour, counts)| {
            let costs = self.costs.remove(&hour).unwrap_or_default();
            let key = RollupKey {
                tenant: self.tenant,
                interval: self.interval,
                starts: self.at(hour),
                service: self.service,
                channel: self.channel.clone(),
                country: self.country.clone(),
            };
            (key, Figures { counts, costs })
        })
    }

    fn at(&self, hour: u8) -> Timestamp {
        self.day.saturating_add(SignedDuration::from_hours(hour.into())).unwrap_or(self.day)
    }

    /// When it is deleted: when its last hour has been kept long enough.
    pub fn kept_until(&self) -> Timestamp {
        let last = match self.interval {
            Interval::Hour => SignedDuration::from_hours(23),
            Interval::Day => SignedDuration::ZERO,
        };
        self.day.saturating_add(last + self.interval.kept()).unwrap_or(Timestamp::MAX)
    }
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
            all.entry(key).or_default().counts.note(happening.what, news.reason, after);
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
    use proptest::prelude::*;

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
    fn the_buckets_are_as_they_were_first_stored() {
        let starts = |places: std::ops::Range<usize>| BUCKETS.get(places).unwrap().to_vec();
        assert_eq!(starts(0..4), [0, 1, 2, 3]);
        assert_eq!(starts(18..26), [18, 19, 20, 22, 24, 26, 28, 30]);
        assert_eq!(BUCKETS.len(), 246);
    }

    fn of(milliseconds: &[i64]) -> Histogram {
        let mut histogram = Histogram::default();
        milliseconds.iter().for_each(|took| histogram.record(SignedDuration::from_millis(*took)));
        histogram
    }

    proptest! {
        #[test]
        fn a_percentile_is_within_5_percent_and_merging_is_counting_all(
            one in prop::collection::vec(0i64..4_000_000, 1..200),
            two in prop::collection::vec(0i64..4_000_000, 0..200),
            percent in 1u64..=100,
        ) {
            let mut merged = of(&one);
            merged.add(&of(&two));
            let mut all = [one, two].concat();
            prop_assert_eq!(&merged, &of(&all));
            all.sort_unstable();
            let rank = usize::try_from((u64::try_from(all.len()).unwrap() * percent).div_ceil(100)).unwrap();
            let exact = all[rank - 1];
            let told = i64::try_from(merged.percentile(percent).unwrap()).unwrap();
            prop_assert!((told - exact).abs() * 20 <= exact, "{told} instead of {exact}");
        }
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
        assert_eq!((rollups.len(), world.len()), (3, 3));
        let back: BTreeMap<_, _> = rollups.iter().cloned().flat_map(Rollup::into_figures).collect();
        assert_eq!(back, counted);
        let mut twice = rollups[0].clone();
        twice.add(&rollups[0]);
        let started: Vec<u64> = twice.figures().map(|(_, counts, _)| counts.started).collect();
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
        let rollups = Rollup::of(BTreeMap::from(counted));
        let mut told: Vec<_> = rollups
            .iter()
            .map(|one| (one.reach, one.country.as_deref(), one.figures().map(|(_, counts, _)| counts.started).sum()))
            .collect();
        told.sort();
        let country = |country, started: u64| (Reach::Country, country, started);
        assert_eq!(told, [country(None, 4), country(Some("DE"), 2), country(Some("FR"), 1), (Reach::World, None, 7)]);
        let ids: std::collections::BTreeSet<_> = rollups.iter().map(Rollup::id).collect();
        assert_eq!(ids.len(), 4, "email is not the world");
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
