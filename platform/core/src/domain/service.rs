//! Services: one product of a tenant that verifies people, with its settings.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::address_limits::AddressLimits;
use super::code::{self, CodeKind};
use super::id::{ServiceId, TenantId};
use super::locale::Locale;
use super::template::{self, TemplateSet};

/// Shortest life of a code.
pub const EXPIRY_MIN_SECONDS: u32 = 30;
/// Longest life of a code by the standards. Source: NIST SP 800-63B-4, ASVS 6.5.5: 10 minutes.
pub const EXPIRY_STANDARD_SECONDS: u32 = 600;
/// Longest life of a code at all, for services that opted in.
pub const EXPIRY_MAX_SECONDS: u32 = 3600;
/// Most checks of one verification.
pub const CHECKS_MAX: u8 = 10;
/// Longest brand name, in characters: it has to leave room in a short message.
pub const BRAND_LENGTH_MAX: usize = 40;
/// Most channels in an order.
pub const CHANNELS_MAX: usize = 10;

/// What a service's codes are like.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CodeSettings {
    /// What codes are made of.
    pub kind: CodeKind,
    /// Characters: 4 to 12.
    pub length: u8,
    /// How long a code lives: 30 to 600 s, or 3600 s with `long_expiry_allowed`.
    pub expires_in_seconds: u32,
    /// Guesses allowed: 1 to 10.
    pub checks: u8,
    /// Whether a call may bring its own code.
    pub custom_allowed: bool,
    /// Whether a code may live longer than the standards allow.
    pub long_expiry_allowed: bool,
}

impl Default for CodeSettings {
    fn default() -> Self {
        Self {
            kind: CodeKind::Numeric,
            length: 6,
            expires_in_seconds: 300,
            checks: 5,
            custom_allowed: false,
            long_expiry_allowed: false,
        }
    }
}

/// How long things are kept after a verification or message has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retention {
    /// Days until address, metadata and content are erased: 1 to 3650. Not less, since the limits
    /// per address look back a day and find their history by the address.
    pub addresses_days: u32,
    /// Days until the rest is deleted: 1 to 3650, not less than `addresses_days`.
    pub records_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { addresses_days: 30, records_days: 90 }
    }
}

impl Retention {
    /// The same, but no longer than `days` where a plan says so.
    ///
    /// ```
    /// use wotp_core::domain::service::Retention;
    /// let kept = Retention { addresses_days: 30, records_days: 90 };
    /// assert_eq!(kept.at_most(Some(60)), Retention { addresses_days: 30, records_days: 60 });
    /// assert_eq!(kept.at_most(None), kept);
    /// ```
    #[must_use]
    pub fn at_most(&self, days: Option<u32>) -> Self {
        let longest = days.unwrap_or(u32::MAX);
        Self { addresses_days: self.addresses_days.min(longest), records_days: self.records_days.min(longest) }
    }
}

/// What a tenant sets on a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// What the end user reads as the sender.
    pub brand: String,
    /// The language when neither the call nor the number says one.
    pub locale: Locale,
    /// Channels in order; empty means all that are there.
    pub channels: Vec<String>,
    /// How long to wait for a channel's acknowledgement before the next: 3 to 60 s.
    pub failover_after_seconds: u32,
    /// What codes are like.
    pub code: CodeSettings,
    /// How often one address may be written to.
    pub address_limits: AddressLimits,
    /// How long things are kept.
    pub retention: Retention,
    /// Host for the last line of WebOTP, as in `example.com`.
    pub web_origin: Option<String>,
    /// The app's 11-character hash for the SMS Retriever.
    pub sms_retriever_hash: Option<String>,
    /// Whether templates may hold links.
    pub links_allowed: bool,
    /// Whether people who confirm themselves by a message are told what came of it. Not stored as long as they are: older
    /// programs refuse settings that they do not know.
    #[serde(skip_serializing_if = "is_true")]
    pub inbound_replies: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes it so")]
fn is_true(yes: &bool) -> bool {
    *yes
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            brand: String::new(),
            locale: Locale::ENGLISH,
            channels: Vec::new(),
            failover_after_seconds: 8,
            code: CodeSettings::default(),
            address_limits: AddressLimits::default(),
            retention: Retention::default(),
            web_origin: None,
            sms_retriever_hash: None,
            links_allowed: false,
            inbound_replies: true,
        }
    }
}

/// One setting that does not hold, by the name it has in the API.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {expected}")]
pub struct SettingError {
    /// The field, as in `code.length`.
    pub field: &'static str,
    /// What would be right.
    pub expected: &'static str,
}

impl Settings {
    /// Checks every setting.
    ///
    /// # Errors
    /// Every [`SettingError`] at once, so that a person corrects them in one go.
    pub fn check(&self) -> Result<(), Vec<SettingError>> {
        let expiry_max = if self.code.long_expiry_allowed { EXPIRY_MAX_SECONDS } else { EXPIRY_STANDARD_SECONDS };
        let limits = &self.address_limits;
        let channel_name = |name: &String| {
            !name.is_empty()
                && name.len() <= 64
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:".contains(&b))
        };
        let host = |host: &String| template::webotp_host(host).is_some();
        let hash = |hash: &String| template::is_sms_retriever_hash(hash);
        let brand = self.brand.trim();
        let rules = [
            (
                "brand",
                "has 1 to 40 characters and no link, control character or brace",
                !brand.is_empty()
                    && brand.chars().count() <= BRAND_LENGTH_MAX
                    && !brand.chars().any(|c| template::is_control(c) || c == '{' || c == '}')
                    && !template::holds_link(brand),
            ),
            (
                "channels",
                "lists at most 10 channel names",
                self.channels.len() <= CHANNELS_MAX && self.channels.iter().all(channel_name),
            ),
            ("failover_after_seconds", "is 3 to 60", (3..=60).contains(&self.failover_after_seconds)),
            ("code.length", "is 4 to 12", (code::LENGTH_MIN..=code::LENGTH_MAX).contains(&self.code.length)),
            (
                "code.expires_in_seconds",
                "is 30 to 600, or up to 3600 with `code.long_expiry_allowed`",
                (EXPIRY_MIN_SECONDS..=expiry_max).contains(&self.code.expires_in_seconds),
            ),
            ("code.checks", "is 1 to 10", (1..=CHECKS_MAX).contains(&self.code.checks)),
            ("address_limits.sends_per_10_minutes", "is 1 to 20", (1..=20).contains(&limits.sends_per_10_minutes)),
            ("address_limits.sends_per_day", "is 1 to 100", (1..=100).contains(&limits.sends_per_day)),
            (
                "address_limits.cool_down_seconds",
                "lists 1 to 10 pauses of 0 to 3600 seconds",
                (1..=10).contains(&limits.cool_down_seconds.len())
                    && limits.cool_down_seconds.iter().all(|s| *s <= 3600),
            ),
            ("retention.addresses_days", "is 1 to 3650", (1..=3650).contains(&self.retention.addresses_days)),
            (
                "retention.records_days",
                "is 1 to 3650 and not less than `retention.addresses_days`",
                (1..=3650).contains(&self.retention.records_days)
                    && self.retention.records_days >= self.retention.addresses_days,
            ),
            ("web_origin", "is a host name, as in `example.com`", self.web_origin.as_ref().is_none_or(host)),
            (
                "sms_retriever_hash",
                "is the app's hash of 11 characters",
                self.sms_retriever_hash.as_ref().is_none_or(hash),
            ),
        ];
        let wrong: Vec<_> = rules
            .into_iter()
            .filter(|(_, _, holds)| !holds)
            .map(|(field, expected, _)| SettingError { field, expected })
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// One product of a tenant that verifies people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Counts changes, for compare-and-swap.
    pub version: u64,
    /// What the tenant calls it.
    pub name: String,
    /// What the tenant set.
    pub settings: Settings,
    /// The tenant's own texts.
    pub templates: TemplateSet,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold_once_there_is_a_brand() {
        let settings = Settings { brand: "Acme".to_owned(), ..Settings::default() };
        assert_eq!(settings.check(), Ok(()));
        assert_eq!(Settings::default().check().unwrap_err()[0].field, "brand");
    }

    #[test]
    fn a_long_expiry_needs_its_own_word() {
        let mut settings = Settings { brand: "Acme".to_owned(), ..Settings::default() };
        settings.code.expires_in_seconds = 1800;
        assert_eq!(settings.check().unwrap_err()[0].field, "code.expires_in_seconds");
        settings.code.long_expiry_allowed = true;
        assert_eq!(settings.check(), Ok(()));
    }

    #[test]
    fn all_errors_come_at_once() {
        let mut settings = Settings { brand: "{{code}}".to_owned(), failover_after_seconds: 2, ..Settings::default() };
        settings.code.length = 3;
        let fields: Vec<_> = settings.check().unwrap_err().iter().map(|error| error.field).collect();
        assert_eq!(fields, ["brand", "failover_after_seconds", "code.length"]);
    }
}
