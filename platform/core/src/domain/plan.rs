//! Plans: what a subscription buys, from one catalogue file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::quota::{Allowance, Period, Quota, Resource, Window};

/// The catalogue that is built in: `billing/plans.toml`.
pub const BUILT_IN: &str = include_str!("../../../../billing/plans.toml");

/// What one plan allows. Where a number is left out there is no limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Verifications a month.
    pub verifications_month: Option<u64>,
    /// Verifications a UTC day.
    pub verifications_day: Option<u64>,
    /// Direct messages a month.
    pub messages_month: Option<u64>,
    /// Direct messages a UTC day.
    pub messages_day: Option<u64>,
    /// Verifications, and as many messages, a UTC day with test keys.
    pub test_day: Option<u64>,
    /// Connections of channels.
    pub connections: Option<u64>,
    /// Calls a second that start something, for the tenant and for each key.
    pub rate_per_second: Option<u32>,
    /// How many such calls may come at once.
    pub rate_burst: Option<u32>,
    /// Longest that addresses and records may be kept, in days.
    pub retention_days: Option<u32>,
}

impl Limits {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Insists that they can be kept to.
    ///
    /// # Errors
    /// The name of the one that cannot, and what would be right.
    pub fn check(&self) -> Result<(), (&'static str, &'static str)> {
        if self.rate_per_second == Some(0) {
            return Err(("rate_per_second", "is at least 1: suspend the tenant to stop its calls"));
        }
        if self.rate_burst == Some(0) {
            return Err(("rate_burst", "is at least 1: no call would ever be allowed"));
        }
        // The limits of an address are counted over a day, from records that are found by the address.
        if self.retention_days == Some(0) {
            return Err(("retention_days", "is at least 1: the limits of addresses look a day back"));
        }
        Ok(())
    }

    /// These, and where they say nothing, those of a plan.
    #[must_use]
    pub fn over(&self, plan: &Self) -> Self {
        Self {
            verifications_month: self.verifications_month.or(plan.verifications_month),
            verifications_day: self.verifications_day.or(plan.verifications_day),
            messages_month: self.messages_month.or(plan.messages_month),
            messages_day: self.messages_day.or(plan.messages_day),
            test_day: self.test_day.or(plan.test_day),
            connections: self.connections.or(plan.connections),
            rate_per_second: self.rate_per_second.or(plan.rate_per_second),
            rate_burst: self.rate_burst.or(plan.rate_burst),
            retention_days: self.retention_days.or(plan.retention_days),
        }
    }
}

/// What happens when the month's quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnQuota {
    /// The call is refused.
    #[default]
    Refuse,
    /// It goes on, counted as overage, up to the cap.
    Overage,
}

/// How far overage goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overage {
    /// Uses allowed in all, as a multiple of the included ones.
    pub cap_multiple: u64,
}

/// One plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// For people.
    pub name: String,
    /// What it allows.
    #[serde(default)]
    pub limits: Limits,
    /// When its month begins.
    #[serde(default)]
    pub period: Period,
    /// What happens when the month's quota is used up.
    #[serde(default)]
    pub on_quota: OnQuota,
    /// How far overage goes, where it is sold.
    #[serde(default)]
    pub overage: Option<Overage>,
}

/// All plans, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Catalogue {
    plans: BTreeMap<String, Plan>,
}

/// Why a catalogue is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// It is not TOML of the right shape.
    #[error("the plan catalogue cannot be read: {0}")]
    Shape(String),
    /// Overage is sold without a cap, or a cap below what is included.
    #[error("plan `{0}` sells overage: give it `overage = {{ cap_multiple = N }}` with N of at least 1")]
    Overage(String),
    /// A limit that cannot be kept to.
    #[error("plan `{0}`: limits.{1} {2}")]
    Limit(String, &'static str, &'static str),
    /// There are no plans.
    #[error("the plan catalogue has no plan; add at least `[plans.free]`")]
    Empty,
}

impl Catalogue {
    /// Reads a catalogue in the format of `billing/plans.toml`.
    ///
    /// # Errors
    /// [`CatalogueError`], which names the plan or the line.
    pub fn parse(text: &str) -> Result<Self, CatalogueError> {
        let catalogue: Self = toml::from_str(text).map_err(|error| CatalogueError::Shape(error.to_string()))?;
        if catalogue.plans.is_empty() {
            return Err(CatalogueError::Empty);
        }
        for (id, plan) in &catalogue.plans {
            let capped = plan.overage.as_ref().is_some_and(|overage| overage.cap_multiple >= 1);
            if plan.on_quota == OnQuota::Overage && !capped {
                return Err(CatalogueError::Overage(id.clone()));
            }
            plan.limits.check().map_err(|(name, right)| CatalogueError::Limit(id.clone(), name, right))?;
        }
        Ok(catalogue)
    }

    /// The built-in catalogue.
    pub fn built_in() -> Self {
        Self::parse(BUILT_IN).expect("a test reads the built-in catalogue")
    }

    /// The plan with this id.
    pub fn find(&self, id: &str) -> Option<&Plan> {
        self.plans.get(id)
    }

    /// Every id, in order.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.plans.keys().map(String::as_str)
    }

    /// Every plan with its id, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Plan)> {
        self.plans.iter().map(|(id, plan)| (id.as_str(), plan))
    }
}

impl Plan {
    /// What one use of `resource` is counted against at `now`.
    ///
    /// `anchor` is when the subscription began.
    pub fn quota(&self, resource: Resource, now: Timestamp, anchor: Timestamp) -> Quota {
        let limits = &self.limits;
        let (day, month) = match resource {
            Resource::Verifications => (limits.verifications_day, limits.verifications_month),
            Resource::Messages => (limits.messages_day, limits.messages_month),
            Resource::TestVerifications | Resource::TestMessages => (limits.test_day, None),
        };
        let multiple = match self.on_quota {
            OnQuota::Refuse => 1,
            OnQuota::Overage => self.overage.as_ref().map_or(1, |overage| overage.cap_multiple),
        };
        Quota {
            resource,
            allowances: [
                // A day's limit is a brake, not something sold: it has no overage.
                Allowance { window: Window::day(now), included: day, cap: day },
                Allowance {
                    window: Window::month(now, self.period, anchor),
                    included: month,
                    cap: month.map(|n| n.saturating_mul(multiple)),
                },
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_catalogue_sells_free_and_pro_as_promised() {
        let catalogue = Catalogue::built_in();
        let numbers = |id: &str| {
            let limits = &catalogue.find(id).unwrap().limits;
            [limits.verifications_month, limits.verifications_day, limits.messages_month, limits.messages_day]
        };
        assert_eq!(numbers("free"), [Some(100), Some(20), Some(250), Some(30)]);
        assert_eq!(numbers("pro"), [Some(10_000), Some(500), Some(50_000), Some(2_000)]);
        assert_eq!(catalogue.find("free").unwrap().limits.connections, Some(1));
        assert_eq!(numbers("unlimited"), [None; 4]);
    }

    #[test]
    fn a_typo_in_a_limit_is_refused_by_name() {
        let error = Catalogue::parse("[plans.a]\nname = 'A'\nlimits = { verification_month = 3 }").unwrap_err();
        assert!(error.to_string().contains("verification_month"), "{error}");
    }

    #[test]
    fn a_limit_that_cannot_be_kept_to_is_refused_by_name() {
        for limit in ["rate_per_second", "rate_burst", "retention_days"] {
            let error = Catalogue::parse(&format!("[plans.a]\nname = 'A'\nlimits = {{ {limit} = 0 }}")).unwrap_err();
            assert!(error.to_string().starts_with(&format!("plan `a`: limits.{limit} is at least 1")), "{error}");
        }
    }

    #[test]
    fn overage_without_a_cap_is_refused() {
        let error = Catalogue::parse("[plans.a]\nname = 'A'\non_quota = 'overage'").unwrap_err();
        assert_eq!(error, CatalogueError::Overage("a".to_owned()));
    }
}
