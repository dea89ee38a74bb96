//! A service's own templates: per channel and locale, each with its earlier versions.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{ParsedTemplate, Placeholder, Policy, TemplateError, builtin, validate};
use crate::domain::locale::Locale;

/// One version of a template that a tenant wrote for a service.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustomTemplate {
    /// The channel it is for; `None` for every channel without one of its own.
    pub channel: Option<String>,
    /// The language it is written in.
    pub locale: Locale,
    /// Counts from 1 for each channel and locale.
    pub version: u32,
    /// The subject where the channel has one; `None` for ours.
    pub subject: Option<String>,
    /// The text, with its placeholders.
    pub text: String,
    /// When it was published.
    pub created_at: Timestamp,
}

impl CustomTemplate {
    fn is_for(&self, channel: Option<&str>, locale: &Locale) -> bool {
        self.locale == *locale && self.channel.as_deref() == channel
    }

    pub(super) fn parsed(&self) -> Result<ParsedTemplate<'_>, TemplateError> {
        ParsedTemplate::read(&self.text, self.subject.as_deref())
    }
}

impl fmt::Debug for CustomTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channel = self.channel.as_deref().unwrap_or("any channel");
        write!(f, "CustomTemplate({channel}, {}, version {})", self.locale, self.version)
    }
}

/// All templates of a service, with their histories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TemplateSet {
    // In the order of publication.
    templates: Vec<CustomTemplate>,
}

impl TemplateSet {
    /// Most versions kept for one channel and locale; the oldest goes when one more is published.
    pub const MAX_VERSIONS: usize = 20;

    /// Most pairs of channel and locale that a service can have texts for.
    pub const MAX_TEXTS: usize = 100;

    /// Most versions kept in all; the oldest that is not sent any more goes when one more comes.
    ///
    /// The set is read whole whenever a message is written, so it must stay small: at most about
    /// 1 MB, and 60 KB as such texts usually are.
    pub const MAX_KEPT: usize = 300;

    /// Publishes a text, as the next version for its channel and locale; `now` becomes its
    /// `created_at`. Earlier versions stay, up to [`Self::MAX_VERSIONS`], so that a
    /// verification that names one can be explained, and an old text published anew.
    ///
    /// # Errors
    /// Any [`TemplateError`]; the set is then as it was.
    pub fn publish(
        &mut self,
        channel: Option<&str>,
        locale: Locale,
        subject: Option<&str>,
        text: &str,
        now: Timestamp,
        policy: Policy,
    ) -> Result<&CustomTemplate, TemplateError> {
        let parsed = validate(text, subject, policy)?;
        if !builtin::speaks(&locale) {
            let ready_made = |p: &Placeholder| matches!(p, Placeholder::Expiry | Placeholder::DoNotShare);
            if let Some(placeholder) = parsed.placeholders().find(ready_made) {
                return Err(TemplateError::NoSentence { placeholder, locale });
            }
        }
        let latest = self.latest(channel, &locale).map(|template| template.version);
        if latest.is_none() && self.current().count() >= Self::MAX_TEXTS {
            return Err(TemplateError::TooMany { limit: Self::MAX_TEXTS });
        }
        self.templates.push(CustomTemplate {
            channel: channel.map(str::to_owned),
            locale,
            version: latest.map_or(1, |version| version.saturating_add(1)),
            subject: subject.map(str::to_owned),
            text: text.to_owned(),
            created_at: now,
        });
        self.forget_the_oldest(channel, &locale);
        Ok(self.templates.last().expect("the one just pushed is its pair's latest, so it stays"))
    }

    /// Keeps to [`Self::MAX_VERSIONS`] of this pair and [`Self::MAX_KEPT`] of all.
    fn forget_the_oldest(&mut self, channel: Option<&str>, locale: &Locale) {
        if self.versions(channel, locale).count() > Self::MAX_VERSIONS
            && let Some(oldest) = self.templates.iter().position(|t| t.is_for(channel, locale))
        {
            self.templates.remove(oldest);
        }
        let superseded =
            |t: &CustomTemplate| self.latest(t.channel.as_deref(), &t.locale).is_some_and(|l| l.version > t.version);
        if self.templates.len() > Self::MAX_KEPT
            && let Some(oldest) = self.templates.iter().position(superseded)
        {
            self.templates.remove(oldest);
        }
    }

    /// The text to send over a channel to a reader of a locale; `None` for the built-in one.
    ///
    /// A text for that very channel comes before one for any channel, and among either the locale
    /// itself before its language; always the latest version.
    #[must_use]
    pub fn choose(&self, channel: &str, locale: &Locale) -> Option<&CustomTemplate> {
        if self.templates.is_empty() {
            return None;
        }
        [Some(channel), None]
            .into_iter()
            .find_map(|channel| locale.fallbacks().find_map(|locale| self.latest(channel, &locale)))
    }

    /// Whether a reader of this locale gets a text they read over this channel, of the service's
    /// own or built in. For [`resolve_with`](crate::domain::locale::resolve_with).
    #[must_use]
    pub fn speaks(&self, channel: &str, locale: &Locale) -> bool {
        self.choose(channel, locale).is_some() || builtin::speaks(locale)
    }

    /// The latest version for exactly this channel (`None`: any channel) and locale.
    #[must_use]
    pub fn latest(&self, channel: Option<&str>, locale: &Locale) -> Option<&CustomTemplate> {
        self.versions(channel, locale).max_by_key(|template| template.version)
    }

    /// Every kept version for exactly this channel and locale, oldest first.
    pub fn versions(&self, channel: Option<&str>, locale: &Locale) -> impl Iterator<Item = &CustomTemplate> {
        self.templates.iter().filter(move |template| template.is_for(channel, locale))
    }

    /// The latest version for each channel and locale that has one.
    pub fn current(&self) -> impl Iterator<Item = &CustomTemplate> {
        // Later versions come later, and take the place of earlier ones.
        let latest: BTreeMap<_, _> =
            self.templates.iter().map(|template| ((&template.channel, template.locale), template)).collect();
        latest.into_values()
    }

    /// Goes back to the built-in text for a channel and locale; says whether there was another.
    ///
    /// Its versions are forgotten, and numbers start from 1 again; `created_at` still tells apart.
    pub fn withdraw(&mut self, channel: Option<&str>, locale: &Locale) -> bool {
        let before = self.templates.len();
        self.templates.retain(|template| !template.is_for(channel, locale));
        self.templates.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locale(tag: &str) -> Locale {
        tag.parse().unwrap()
    }

    fn publish(set: &mut TemplateSet, channel: Option<&str>, tag: &str, text: &str) -> u32 {
        let now = Timestamp::UNIX_EPOCH;
        set.publish(channel, locale(tag), None, text, now, Policy::default()).unwrap().version
    }

    fn chosen(set: &TemplateSet, channel: &str, tag: &str) -> Option<String> {
        set.choose(channel, &locale(tag)).map(|template| template.text.clone())
    }

    #[test]
    fn each_channel_and_locale_counts_its_own_versions() {
        let mut set = TemplateSet::default();
        assert_eq!(publish(&mut set, None, "es", "{{code}} a"), 1);
        assert_eq!(publish(&mut set, None, "es", "{{code}} b"), 2);
        assert_eq!(publish(&mut set, Some("email"), "es", "{{code}} c"), 1);
        assert_eq!(publish(&mut set, None, "es-MX", "{{code}} d"), 1);
        let texts: Vec<_> = set.versions(None, &locale("es")).map(|t| t.text.as_str()).collect();
        assert_eq!(texts, ["{{code}} a", "{{code}} b"]);
        assert_eq!(set.current().count(), 3);
    }

    #[test]
    fn the_twenty_first_version_drops_the_first() {
        let mut set = TemplateSet::default();
        for version in 1..=25 {
            assert_eq!(publish(&mut set, None, "es", "{{code}}"), version);
        }
        let kept: Vec<u32> = set.versions(None, &locale("es")).map(|t| t.version).collect();
        assert_eq!(kept, (6..=25).collect::<Vec<_>>());
    }

    #[test]
    fn the_channels_own_text_comes_first_then_the_nearer_locale() {
        let mut set = TemplateSet::default();
        publish(&mut set, None, "es", "any es {{code}}");
        assert_eq!(chosen(&set, "email", "es-MX").as_deref(), Some("any es {{code}}"));
        publish(&mut set, None, "es-MX", "any es-MX {{code}}");
        assert_eq!(chosen(&set, "email", "es-MX").as_deref(), Some("any es-MX {{code}}"));
        publish(&mut set, Some("email"), "es", "email es {{code}}");
        assert_eq!(chosen(&set, "email", "es-MX").as_deref(), Some("email es {{code}}"));
        assert_eq!(chosen(&set, "whatsapp", "es-MX").as_deref(), Some("any es-MX {{code}}"));
        assert_eq!(chosen(&set, "whatsapp", "es-AR").as_deref(), Some("any es {{code}}"));
        assert_eq!(chosen(&set, "whatsapp", "en"), None);
    }

    #[test]
    fn the_latest_version_is_sent() {
        let mut set = TemplateSet::default();
        publish(&mut set, None, "en", "old {{code}}");
        publish(&mut set, None, "en", "new {{code}}");
        assert_eq!(chosen(&set, "email", "en-GB").as_deref(), Some("new {{code}}"));
    }

    #[test]
    fn a_simplified_chinese_text_is_not_sent_to_taiwan() {
        let mut set = TemplateSet::default();
        publish(&mut set, None, "zh", "{{code}}。");
        assert_eq!(chosen(&set, "email", "zh-TW"), None);
        assert!(chosen(&set, "email", "zh-CN").is_some());
    }

    #[test]
    fn a_refused_text_changes_nothing() {
        let mut set = TemplateSet::default();
        publish(&mut set, None, "en", "{{code}}");
        let before = set.clone();
        let now = Timestamp::UNIX_EPOCH;
        let refused = set.publish(None, locale("en"), None, "no code", now, Policy::default());
        assert_eq!(refused.unwrap_err(), TemplateError::MissingCode);
        assert_eq!(set, before);
    }

    #[test]
    fn a_ready_made_sentence_needs_a_language_that_has_one() {
        let mut set = TemplateSet::default();
        let georgian = locale("ka");
        let now = Timestamp::UNIX_EPOCH;
        let refused = set.publish(None, georgian, None, "{{code}} {{expiry}}", now, Policy::default());
        assert_eq!(
            refused.unwrap_err().to_string(),
            "`{{expiry}}` has no wording in `ka`: write that sentence out in the text"
        );
        assert!(!set.speaks("email", &georgian));
        publish(&mut set, None, "ka", "{{code}} ({{expires_in_minutes}})");
        assert!(set.speaks("email", &locale("ka-GE")));
    }

    #[test]
    fn a_service_has_at_most_a_hundred_texts() {
        let mut set = TemplateSet::default();
        for n in 0..TemplateSet::MAX_TEXTS {
            publish(&mut set, Some(&format!("channel-{n}")), "en", "{{code}}");
        }
        let now = Timestamp::UNIX_EPOCH;
        let refused = set.publish(None, locale("en"), None, "{{code}}", now, Policy::default());
        assert_eq!(refused.unwrap_err(), TemplateError::TooMany { limit: 100 });
        assert_eq!(publish(&mut set, Some("channel-7"), "en", "{{code}}"), 2);
    }

    #[test]
    fn however_many_are_published_what_is_sent_is_kept_and_the_rest_is_bounded() {
        let mut set = TemplateSet::default();
        for version in 1..=15 {
            for n in 0..TemplateSet::MAX_TEXTS {
                assert_eq!(publish(&mut set, Some(&format!("channel-{n}")), "en", "{{code}}"), version);
            }
        }
        assert_eq!(set.templates.len(), TemplateSet::MAX_KEPT);
        assert_eq!(set.current().count(), TemplateSet::MAX_TEXTS);
        assert!(set.current().all(|template| template.version == 15));
    }

    #[test]
    fn withdrawing_goes_back_to_the_built_in_text() {
        let mut set = TemplateSet::default();
        publish(&mut set, None, "en", "{{code}}");
        assert!(set.withdraw(None, &locale("en")));
        assert!(!set.withdraw(None, &locale("en")));
        assert_eq!(chosen(&set, "email", "en"), None);
    }

    #[test]
    fn a_set_is_stored_as_a_list_and_a_strange_field_is_refused() {
        let mut set = TemplateSet::default();
        publish(&mut set, Some("email"), "pt-BR", "{{code}}");
        let json = serde_json::to_value(&set).unwrap();
        assert_eq!(
            json,
            serde_json::json!([{
                "channel": "email", "locale": "pt-BR", "version": 1, "subject": null,
                "text": "{{code}}", "created_at": "1970-01-01T00:00:00Z"
            }])
        );
        assert_eq!(serde_json::from_value::<TemplateSet>(json.clone()).unwrap(), set);
        let mut strange = json;
        strange[0]["colour"] = "red".into();
        assert!(serde_json::from_value::<TemplateSet>(strange).is_err());
    }
}
