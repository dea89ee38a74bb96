//! What a tenant sets of the guard of a service.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::Timestamp;
use crate::domain::cost;
use crate::domain::id::{ServiceId, TenantId};
use crate::domain::locale::Locale;
use crate::ports::{Entity, Owner};

/// Most countries of one list: there are 249.
const COUNTRIES_MAX: usize = 300;
/// Largest cap: far beyond what anybody means, and far from what a count can hold.
const AMOUNT_MAX: u64 = cost::MICROS_MAX;

/// Whether the guard acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuardMode {
    /// It looks at nothing.
    #[default]
    Off,
    /// It says what it would do, and does nothing.
    Shadow,
    /// It acts.
    On,
}

/// Countries by name, as ISO 3166-1 alpha-2. They are about phone numbers; email has no country.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Countries {
    /// Only these, if there are any.
    pub allowed: Vec<String>,
    /// All but these.
    pub blocked: Vec<String>,
    /// The watch needs half as many to act here, and each verification says that it was looked at.
    pub watched: Vec<String>,
}

/// How many at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Cap {
    /// Within an hour of the clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_hour: Option<u64>,
    /// Within a day, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_day: Option<u64>,
}

/// How many codes may go out: starts and resends.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Caps {
    /// To one address.
    pub address: Cap,
    /// To numbers that are the same but for their last four digits.
    pub prefix: Cap,
    /// For one IP address of end users; IPv6: one /64. Starts only: the address is not kept for a resend.
    pub ip: Cap,
    /// Of the service.
    pub service: Cap,
    /// Of all of the tenant's services, as the plan counts them, within a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant_per_day: Option<u64>,
    /// What may be spent within a day, in millionths of your currency, by `costs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spend_micros_per_day: Option<u64>,
}

/// What a code is estimated to cost, in millionths of a currency, which is the tenant's own affair: the cap has
/// to decide before a channel can say what a send did cost.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Costs {
    /// By country.
    pub countries: BTreeMap<String, u64>,
    /// To any other number.
    pub other_micros: u64,
}

/// How the watch looks at conversion: how many of the codes that go to a destination are typed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchSettings {
    /// Whether it looks at all.
    pub enabled: bool,
    /// Codes within an hour before it says anything: 10 to 1,000.
    pub volume_min: u32,
    /// By how much the conversion has to fall, against what it was: 20 to 90 percent.
    pub drop_percent: u8,
    /// Codes a minute that still go to a slowed destination, or as many as usual if that is more: 1 to 60.
    pub slow_per_minute: u32,
    /// How long a destination is blocked before it is probed; doubled each time: 5 to 1,440.
    pub block_minutes: u32,
}

impl Default for WatchSettings {
    fn default() -> Self {
        Self { enabled: true, volume_min: 20, drop_percent: 50, slow_per_minute: 5, block_minutes: 30 }
    }
}

/// What a tenant sets of the guard of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuardSettings {
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which service.
    pub service: ServiceId,
    /// Whether it acts.
    pub mode: GuardMode,
    /// Where to.
    #[serde(default)]
    pub countries: Countries,
    /// How many.
    #[serde(default)]
    pub caps: Caps,
    /// For how much.
    #[serde(default)]
    pub costs: Costs,
    /// How closely it looks.
    #[serde(default)]
    pub watch: WatchSettings,
    /// When it was last changed; none when it never was.
    #[serde(default)]
    pub changed_at: Option<Timestamp>,
}

impl Entity for GuardSettings {
    const KIND: &'static str = "guard_settings";

    fn id(&self) -> [u8; 16] {
        self.service.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Tenant(self.tenant)
    }
}

/// One setting that does not hold, by the name it has in the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {expected}")]
pub struct GuardSettingError {
    /// The field, as in `countries.allowed`.
    pub field: &'static str,
    /// What would be right.
    pub expected: &'static str,
}

impl GuardSettings {
    /// The guard of a service that nobody has set: off.
    pub fn off(tenant: TenantId, service: ServiceId) -> Self {
        Self {
            tenant,
            service,
            mode: GuardMode::Off,
            countries: Countries::default(),
            caps: Caps::default(),
            costs: Costs::default(),
            watch: WatchSettings::default(),
            changed_at: None,
        }
    }

    /// Whether the watch looks.
    pub fn watches(&self) -> bool {
        self.mode != GuardMode::Off && self.watch.enabled
    }

    /// What a code to this country is estimated to cost, in millionths.
    pub fn cost_micros(&self, country: Option<&str>) -> u64 {
        country.and_then(|country| self.costs.countries.get(country)).copied().unwrap_or(self.costs.other_micros)
    }

    /// How many the watch needs before it says anything of this country's destinations.
    pub fn volume_min(&self, country: Option<&str>) -> u32 {
        let watched = country.is_some_and(|country| self.countries.watched.iter().any(|watched| watched == country));
        if watched { self.watch.volume_min.div_ceil(2) } else { self.watch.volume_min }
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// Every [`GuardSettingError`] at once.
    pub fn check(&self) -> Result<(), Vec<GuardSettingError>> {
        const COUNTRIES: &str = "lists countries by their two capital letters of ISO 3166-1, as in `GB`";
        const CAP: &str = "is 1 to 1,000,000,000,000, or left out";
        let known = |country: &String| {
            country.len() == 2
                && country.bytes().all(|byte| byte.is_ascii_uppercase())
                && Locale::for_region(country).is_some()
        };
        let all_known = |countries: &[String]| countries.len() <= COUNTRIES_MAX && countries.iter().all(known);
        let holds = |cap: Option<u64>| cap.is_none_or(|cap| (1..=AMOUNT_MAX).contains(&cap));
        let both = |cap: &Cap| holds(cap.per_hour) && holds(cap.per_day);
        let costs = &self.costs;
        let costs_hold = costs.countries.len() <= COUNTRIES_MAX
            && costs.countries.keys().all(known)
            && costs.countries.values().chain([&costs.other_micros]).all(|cost| *cost <= AMOUNT_MAX);
        let caps = &self.caps;
        let priced = costs.other_micros > 0 || costs.countries.values().any(|cost| *cost > 0);
        let watch = &self.watch;
        let rules = [
            ("countries.allowed", COUNTRIES, all_known(&self.countries.allowed)),
            ("countries.blocked", COUNTRIES, all_known(&self.countries.blocked)),
            ("countries.watched", COUNTRIES, all_known(&self.countries.watched)),
            (
                "countries.blocked",
                "names no country that is allowed as well",
                self.countries.blocked.iter().all(|country| !self.countries.allowed.contains(country)),
            ),
            ("caps.address", CAP, both(&caps.address)),
            ("caps.prefix", CAP, both(&caps.prefix)),
            ("caps.ip", CAP, both(&caps.ip)),
            ("caps.service", CAP, both(&caps.service)),
            ("caps.tenant_per_day", CAP, holds(caps.tenant_per_day)),
            (
                "caps.spend_micros_per_day",
                "is 1 to 1,000,000,000,000 and needs `costs`, or is left out",
                holds(caps.spend_micros_per_day) && (caps.spend_micros_per_day.is_none() || priced),
            ),
            ("costs", "has countries as in `GB` and amounts of 0 to 1,000,000,000,000 millionths", costs_hold),
            ("watch.volume_min", "is 10 to 1000", (10..=1000).contains(&watch.volume_min)),
            ("watch.drop_percent", "is 20 to 90", (20..=90).contains(&watch.drop_percent)),
            ("watch.slow_per_minute", "is 1 to 60", (1..=60).contains(&watch.slow_per_minute)),
            ("watch.block_minutes", "is 5 to 1440", (5..=1440).contains(&watch.block_minutes)),
        ];
        let wrong: Vec<_> = rules
            .into_iter()
            .filter(|(_, _, holds)| !holds)
            .map(|(field, expected, _)| GuardSettingError { field, expected })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn off() -> GuardSettings {
        GuardSettings::off(TenantId::from_bytes([1; 16]), ServiceId::from_bytes([1; 16]))
    }

    #[test]
    fn all_that_does_not_hold_is_named_at_once() {
        assert_eq!(off().check(), Ok(()));
        let mut both = off();
        both.countries.allowed = vec!["FR".to_owned(), "DE".to_owned()];
        both.countries.blocked = vec!["FR".to_owned()];
        assert_eq!(both.check().unwrap_err()[0].field, "countries.blocked");
        let mut settings = off();
        settings.countries.allowed = vec!["gb".to_owned()];
        settings.countries.blocked = vec!["XX".to_owned()];
        settings.caps.ip.per_hour = Some(0);
        settings.caps.spend_micros_per_day = Some(1);
        settings.watch.volume_min = 1;
        let wrong: Vec<_> = settings.check().unwrap_err().into_iter().map(|error| error.field).collect();
        assert_eq!(
            wrong,
            ["countries.allowed", "countries.blocked", "caps.ip", "caps.spend_micros_per_day", "watch.volume_min"]
        );
        settings.costs.other_micros = 40_000;
        let wrong = settings.check().unwrap_err();
        assert!(wrong.iter().all(|error| error.field != "caps.spend_micros_per_day"), "there is a cost to count");
    }

    #[test]
    fn what_a_newer_program_added_within_a_setting_is_read_over() {
        let mut doc = serde_json::to_value(off()).unwrap();
        doc["watch"]["newer"] = 1.into();
        assert_eq!(serde_json::from_value::<GuardSettings>(doc).unwrap(), off());
    }
}
