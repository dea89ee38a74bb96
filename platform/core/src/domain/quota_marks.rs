//! Which parts of a quota a tenant was told were used up.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::event::QuotaData;
use super::id::TenantId;
use super::quota::{Allowance, Quota, Resource, WindowKind};
use crate::ports::{Entity, Owner};

/// Parts of what a plan includes, in percent, of which a tenant is told that they are used up.
pub const THRESHOLDS: [u8; 2] = [80, 100];

/// The marks of a tenant: what it was told of each quota, in the window at hand.
///
/// They are kept apart from the events, which are deleted before a month of 31 days is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaMarks {
    /// Whose.
    pub tenant: TenantId,
    /// At most one for each resource and kind of window.
    pub marks: Vec<Mark>,
}

/// What a tenant was told of one quota in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// What is counted.
    pub resource: Resource,
    /// Over which kind of window.
    pub window: WindowKind,
    /// When the window began.
    pub starts: Timestamp,
    /// What the plan included then.
    pub limit: u64,
    /// The highest part that the tenant was told of, in percent.
    pub percent: u8,
}

impl QuotaMarks {
    /// Of a tenant that was told of nothing.
    pub fn new(tenant: TenantId) -> Self {
        Self { tenant, marks: Vec::new() }
    }

    /// Whether there is a part of this quota that the tenant was not told of.
    pub fn is_open(&self, quota: &Quota) -> bool {
        quota
            .allowances
            .iter()
            .any(|allowance| self.told(quota.resource, allowance).is_some_and(|(_, told)| told < 100))
    }

    /// Notes what was used in each window; returns what the tenant is to be told, the lower part first.
    ///
    /// Each part is told once a window and limit: after a change of plan the parts of what that includes are
    /// told anew, as they are reached.
    pub fn reach(&mut self, quota: &Quota, used: [u64; 2]) -> Vec<QuotaData> {
        let mut reached = Vec::new();
        for (allowance, used) in quota.allowances.iter().zip(used) {
            let Some((limit, told)) = self.told(quota.resource, allowance) else { continue };
            let window = allowance.window;
            let is_reached =
                |percent: &u8| *percent > told && u128::from(used) * 100 >= u128::from(limit) * u128::from(*percent);
            for percent in THRESHOLDS.into_iter().filter(is_reached) {
                let resource = quota.resource;
                self.put(Mark { resource, window: window.kind, starts: window.starts, limit, percent });
                let resets_at = window.ends;
                reached.push(QuotaData { resource, window: window.kind, percent, used, limit, resets_at });
            }
        }
        reached
    }

    /// What is included in a window, and the highest part that was told of it; none where there is nothing
    /// to tell: no limit, nothing included, or a window before the one that was told of.
    fn told(&self, resource: Resource, allowance: &Allowance) -> Option<(u64, u8)> {
        let limit = allowance.included.filter(|limit| *limit > 0)?;
        let window = allowance.window;
        match self.marks.iter().find(|mark| mark.resource == resource && mark.window == window.kind) {
            Some(mark) if mark.starts > window.starts => None,
            Some(mark) if mark.starts == window.starts && mark.limit == limit => Some((limit, mark.percent)),
            _ => Some((limit, 0)),
        }
    }

    fn put(&mut self, new: Mark) {
        self.marks.retain(|mark| (mark.resource, mark.window) != (new.resource, new.window));
        self.marks.push(new);
    }
}

impl Entity for QuotaMarks {
    const KIND: &'static str = "quota_marks";

    /// The tenant's: it has one.
    fn id(&self) -> [u8; 16] {
        self.tenant.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use proptest::prelude::*;

    use super::*;
    use crate::testing::builders::{a_quota, noon};

    fn marks() -> QuotaMarks {
        QuotaMarks::new(TenantId::from_bytes([1; 16]))
    }

    fn month(limit: u64) -> Quota {
        a_quota(Resource::Verifications, noon(), None, Some(limit), None)
    }

    fn told(marks: &mut QuotaMarks, quota: &Quota, used: u64) -> Vec<u8> {
        marks.reach(quota, [used, used]).into_iter().map(|data| data.percent).collect()
    }

    #[test]
    fn each_part_is_told_once_when_it_is_reached() {
        let (mut marks, quota) = (marks(), month(10));
        let steps = [7, 8, 9, 8, 10, 11, 8, 10].map(|used| told(&mut marks, &quota, used));
        assert_eq!(steps, [vec![], vec![80], vec![], vec![], vec![100], vec![], vec![], vec![]]);
        assert!(!marks.is_open(&quota));
    }

    #[test]
    fn what_is_passed_at_once_is_told_in_order_for_each_window() {
        let quota = a_quota(Resource::Messages, noon(), Some(5), Some(100), None);
        let told: Vec<_> = marks().reach(&quota, [5, 80]).into_iter().map(|data| (data.window, data.percent)).collect();
        assert_eq!(told, [(WindowKind::Day, 80), (WindowKind::Day, 100), (WindowKind::Month, 80)]);
    }

    #[test]
    fn another_window_and_another_limit_are_told_anew_and_an_earlier_window_is_not() {
        let mut marks = marks();
        assert_eq!(told(&mut marks, &month(10), 8), [80]);
        assert!(told(&mut marks, &month(20), 8).is_empty());
        assert!(told(&mut marks, &month(10), 9).is_empty(), "the plan from before is back");
        assert_eq!(told(&mut marks, &month(20), 16), [80]);
        let later = noon().saturating_add(SignedDuration::from_hours(24 * 31)).unwrap();
        let later = a_quota(Resource::Verifications, later, None, Some(20), None);
        assert_eq!(told(&mut marks, &later, 20), [80, 100]);
        assert!(told(&mut marks, &month(20), 20).is_empty());
    }

    #[test]
    fn where_nothing_is_included_or_there_is_no_limit_nothing_is_told() {
        for limit in [Some(0), None] {
            let quota = a_quota(Resource::Verifications, noon(), limit, limit, None);
            assert!(!marks().is_open(&quota));
            assert_eq!(marks().reach(&quota, [1000, 1000]), []);
        }
    }

    proptest! {
        #[test]
        fn however_it_is_looked_at_no_part_is_told_twice_or_too_early(
            limit in 1u64..50,
            uses in prop::collection::vec(0u64..80, 1..40),
        ) {
            let (mut marks, quota) = (marks(), month(limit));
            let mut all = Vec::new();
            for used in &uses {
                for data in marks.reach(&quota, [0, *used]) {
                    prop_assert!(data.used * 100 >= data.limit * u64::from(data.percent));
                    all.push(data.percent);
                }
            }
            let most = uses.iter().max().unwrap() * 100;
            let due: Vec<u8> = THRESHOLDS.into_iter().filter(|part| most >= limit * u64::from(*part)).collect();
            prop_assert_eq!(all, due);
        }
    }
}
