//! How long things took.

use std::sync::LazyLock;

use jiff::SignedDuration;

/// Where a bucket begins, in milliseconds: each is at most a tenth wider than where it begins, so its middle
/// is within 5 % of all that is in it; below 20 ms each is one millisecond. NEVER change them: they are stored.
pub(super) static BUCKETS: LazyLock<Vec<u64>> = LazyLock::new(|| {
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
    pub(super) first: usize,
    /// From that one up to the last in which there is something.
    pub(super) counts: Vec<u64>,
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
        if self.is_empty() {
            self.clone_from(other);
            return;
        }
        if other.is_empty() {
            return;
        }
        self.reach(other.first, other.counts.len());
        // A slice, since numbers in a row are added several at once.
        let same = self.counts.get_mut(other.first - self.first..).unwrap_or_default();
        same.iter_mut().zip(&other.counts).for_each(|(sum, count)| *sum += count);
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

    /// Milliseconds within which so many of a hundred were done, to within 5 %, of less to more; none where none was
    /// counted.
    pub fn percentiles<const N: usize>(&self, percents: [u64; N]) -> Option<[u64; N]> {
        let (total, mut buckets) = (self.count(), self.counts.iter());
        // What is in the buckets before this one.
        let (mut seen, mut bucket) = (0, self.first);
        let mut told = [0; N];
        for (told, percent) in told.iter_mut().zip(percents) {
            let rank = (total * percent).div_ceil(100).max(1);
            while seen < rank {
                seen += buckets.next()?;
                bucket += 1;
            }
            let start = BUCKETS.get(bucket.checked_sub(1)?).copied()?;
            let end = BUCKETS.get(bucket).copied().unwrap_or(start + 1);
            *told = start.midpoint(end - 1);
        }
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

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
            let [told, last] = merged.percentiles([percent, 100]).unwrap().map(|told| i64::try_from(told).unwrap());
            prop_assert!((told - exact).abs() * 20 <= exact, "{told} instead of {exact}");
            let longest = *all.last().unwrap();
            prop_assert!((last - longest).abs() * 20 <= longest, "{last} instead of {longest}");
        }
    }
}
