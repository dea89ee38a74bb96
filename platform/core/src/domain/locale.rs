//! Languages people read: a tag, the language of a region, and which one a message is written in.

mod region;

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::domain::template;

/// Longest tag read at all, in bytes: RFC 5646 section 4.4.1 asks for room for 35.
const MAX_TAG_BYTES: usize = 35;

/// A language as people write it somewhere: `en`, `pt-BR`, `zh-Hant-TW`.
///
/// The part of BCP 47 that decides wording: a language of two or three letters, then an optional
/// script and an optional region. Read in any case and with `_` for `-`; kept and printed in the
/// usual case. Old codes become today's (`iw` is `he`, `no` is `nb`), so that equal languages are
/// equal values. Small and `Copy`.
///
/// ```
/// use wotp_core::domain::locale::Locale;
///
/// let locale: Locale = "ZH_hant_tw".parse()?;
/// assert_eq!(locale.to_string(), "zh-Hant-TW");
/// assert_eq!(locale.language(), "zh");
/// # Ok::<(), wotp_core::domain::locale::LocaleError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Locale {
    // ASCII, padded with zeros; all zeros where the part is absent.
    language: [u8; 3],
    script: [u8; 4],
    region: [u8; 3],
}

/// Why a text is not a [`Locale`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocaleError {
    /// Nothing was given.
    #[error("the locale is empty: give a language, such as `en`, `pt-BR` or `zh-Hant-TW`")]
    Empty,
    /// More text than any language tag has.
    #[error(
        "the locale is longer than {MAX_TAG_BYTES} characters: give one language tag, such as `en`, `pt-BR` or `zh-Hant-TW`"
    )]
    TooLong,
    /// The first part is no language code.
    #[error(
        "`{0}` is not a language: a locale starts with an ISO 639 code of two or three letters, such as `en`, `fil` or `pt-BR`"
    )]
    Language(String),
    /// A later part is neither a script nor a region, or comes out of order.
    #[error(
        "`{0}` is not understood in a locale: after the language may come a script of four letters, then a region of two letters or three digits, as in `zh-Hant-TW` or `es-419`"
    )]
    Subtag(String),
}

impl Locale {
    /// English: the language of last resort.
    pub const ENGLISH: Self = Self { language: *b"en\0", script: [0; 4], region: [0; 3] };

    /// The language most people of a region read official messages in, with that region: `pt-BR`
    /// for `BR`. `None` for a code that is no region, such as libphonenumber's `001`.
    ///
    /// `iso3166` is an ISO 3166-1 code of two letters, in any case.
    #[must_use]
    pub fn for_region(iso3166: &str) -> Option<Self> {
        let region: [u8; 2] = iso3166.as_bytes().try_into().ok()?;
        let region = region.map(|b| b.to_ascii_uppercase());
        let mut locale = region::main_language(region)?;
        locale.region = [region[0], region[1], 0];
        Some(locale)
    }

    /// The language code, in lower case: `zh`.
    #[must_use]
    pub fn language(&self) -> &str {
        subtag(&self.language)
    }

    /// The script code, if the locale names one: `Hant`.
    #[must_use]
    pub fn script(&self) -> Option<&str> {
        (self.script[0] != 0).then(|| subtag(&self.script))
    }

    /// The region code, if the locale names one: `TW`, `419`.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        (self.region[0] != 0).then(|| subtag(&self.region))
    }

    /// Whether the language is written from right to left.
    #[must_use]
    pub fn is_rtl(&self) -> bool {
        match self.script() {
            Some(script) => matches!(
                script,
                "Adlm" | "Arab" | "Aran" | "Hebr" | "Mand" | "Nkoo" | "Rohg" | "Samr" | "Syrc" | "Thaa"
            ),
            None => match self.language() {
                "ar" | "arc" | "arz" | "ary" | "bal" | "ckb" | "dv" | "fa" | "he" | "ks" | "lrc" | "mzn" | "nqo"
                | "prs" | "ps" | "sd" | "syr" | "ug" | "ur" | "yi" => true,
                "pa" => self.region() == Some("PK"),
                "uz" => self.region() == Some("AF"),
                "az" => self.region() == Some("IR"),
                _ => false,
            },
        }
    }

    /// This locale, then ever more general ones that a reader of it also reads.
    ///
    /// `zh-TW` gives `zh-TW`, `zh-Hant-TW`, `zh-Hant`; `es-MX` gives `es-MX`, `es`. Never crosses
    /// from one way of writing a language to another where that matters (Chinese, Serbian).
    pub fn fallbacks(&self) -> impl Iterator<Item = Self> + use<> {
        let Self { language, script, region } = *self;
        let none = Self { language, script: [0; 4], region: [0; 3] };
        let written = if script[0] == 0 { likely_script(language, region) } else { Some(script) };
        let reads = |region| likely_script(language, region).is_none_or(|likely| Some(likely) == written);
        let with_region = region[0] != 0;
        [
            Some(*self),
            written.filter(|_| with_region).map(|script| Self { script, ..*self }),
            (with_region && reads(region)).then_some(Self { region, ..none }),
            written.map(|script| Self { script, ..none }),
            reads([0; 3]).then_some(none),
            // Nynorsk readers all read Bokmål, and would rather than English.
            (language == *b"nn\0").then_some(Self { language: *b"nb\0", ..none }),
        ]
        .into_iter()
        .flatten()
    }
}

/// The locale to write a message in: the first of the call's, the main language of the number's
/// region, and the service's that we have built-in texts for; else English.
///
/// What comes back is the locale that was asked for, region and all, so that a service's own text
/// for `es-MX` is found; [`template::render`] falls back from there.
///
/// ```
/// use wotp_core::domain::locale::{Locale, resolve};
///
/// let service: Locale = "en".parse()?;
/// assert_eq!(resolve(None, Some("BR"), &service).to_string(), "pt-BR");
/// # Ok::<(), wotp_core::domain::locale::LocaleError>(())
/// ```
#[must_use]
pub fn resolve(call: Option<&Locale>, region: Option<&str>, service: &Locale) -> Locale {
    resolve_with(call, region, service, template::speaks)
}

/// As [`resolve`], where the caller says which locales it can write: a service with its own
/// Georgian text speaks Georgian, though nothing built in does.
pub fn resolve_with(
    call: Option<&Locale>,
    region: Option<&str>,
    service: &Locale,
    speaks: impl Fn(&Locale) -> bool,
) -> Locale {
    let candidates = [call.copied(), region.and_then(Locale::for_region), Some(*service)];
    candidates.into_iter().flatten().find(speaks).unwrap_or(Locale::ENGLISH)
}

/// The script a language is written in where the locale does not say, for languages with texts
/// that readers of another script cannot be given.
fn likely_script(language: [u8; 3], region: [u8; 3]) -> Option<[u8; 4]> {
    match (&language, &region) {
        (b"zh\0", b"TW\0" | b"HK\0" | b"MO\0") => Some(*b"Hant"),
        (b"zh\0", _) => Some(*b"Hans"),
        (b"sr\0", b"ME\0") => Some(*b"Latn"),
        (b"sr\0", _) => Some(*b"Cyrl"),
        _ => None,
    }
}

/// Today's code for a language whose code changed, or that only differs in name.
/// Source: CLDR `supplemental/aliases`.
fn current_language(language: [u8; 3]) -> [u8; 3] {
    match &language {
        b"iw\0" => *b"he\0",
        b"in\0" => *b"id\0",
        b"ji\0" => *b"yi\0",
        b"mo\0" => *b"ro\0",
        b"no\0" => *b"nb\0",
        b"tl\0" | b"tgl" => *b"fil",
        b"cmn" => *b"zh\0",
        b"eng" => *b"en\0",
        _ => language,
    }
}

fn subtag(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    std::str::from_utf8(&bytes[..end]).expect("only ASCII is ever put in a subtag")
}

/// Puts ASCII text of at most `N` bytes in a fixed array, padded with zeros.
fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    bytes
}

impl FromStr for Locale {
    type Err = LocaleError;

    fn from_str(text: &str) -> Result<Self, LocaleError> {
        if text.is_empty() {
            return Err(LocaleError::Empty);
        }
        if text.len() > MAX_TAG_BYTES {
            return Err(LocaleError::TooLong);
        }
        let mut parts = text.split(['-', '_']);
        let language = parts.next().unwrap_or_default();
        if !(2..=3).contains(&language.len()) || !language.bytes().all(|b| b.is_ascii_alphabetic()) {
            return Err(LocaleError::Language(language.to_owned()));
        }
        let mut locale =
            Self { language: current_language(padded(&language.to_ascii_lowercase())), script: [0; 4], region: [0; 3] };
        for part in parts {
            let letters = part.bytes().all(|b| b.is_ascii_alphabetic());
            let digits = part.bytes().all(|b| b.is_ascii_digit());
            let bare = locale.region[0] == 0;
            if part.len() == 4 && letters && bare && locale.script[0] == 0 {
                locale.script = padded(&part.to_ascii_lowercase());
                locale.script[0] = locale.script[0].to_ascii_uppercase();
            } else if bare && ((part.len() == 2 && letters) || (part.len() == 3 && digits)) {
                locale.region = padded(&part.to_ascii_uppercase());
            } else {
                return Err(LocaleError::Subtag(part.to_owned()));
            }
        }
        Ok(locale)
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.language())?;
        for part in [self.script(), self.region()].into_iter().flatten() {
            write!(f, "-{part}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Locale({self})")
    }
}

impl Serialize for Locale {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Locale {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Tag;
        impl de::Visitor<'_> for Tag {
            type Value = Locale;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a language tag such as `en`, `pt-BR` or `zh-Hant-TW`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Locale, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Tag)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn locale(tag: &str) -> Locale {
        tag.parse().unwrap()
    }

    fn fallbacks(tag: &str) -> Vec<String> {
        let mut all: Vec<String> = locale(tag).fallbacks().map(|l| l.to_string()).collect();
        all.dedup();
        all
    }

    #[test]
    fn a_tag_in_any_case_prints_in_the_usual_case() {
        for (given, printed) in [
            ("EN", "en"),
            ("pt-br", "pt-BR"),
            ("pt_BR", "pt-BR"),
            ("ZH-HANT-tw", "zh-Hant-TW"),
            ("es-419", "es-419"),
            ("FIL", "fil"),
        ] {
            assert_eq!(locale(given).to_string(), printed);
        }
    }

    #[test]
    fn an_old_code_is_the_same_locale_as_todays() {
        assert_eq!(locale("iw-IL"), locale("he-IL"));
        assert_eq!(locale("no"), locale("nb"));
        assert_eq!(locale("in"), locale("id"));
        assert_eq!(locale("tl"), locale("fil"));
    }

    #[test]
    fn what_is_not_a_locale_is_refused_with_the_part_that_is_wrong() {
        assert_eq!("".parse::<Locale>(), Err(LocaleError::Empty));
        assert_eq!("english".parse::<Locale>(), Err(LocaleError::Language("english".into())));
        assert_eq!("e".parse::<Locale>(), Err(LocaleError::Language("e".into())));
        assert_eq!("é-FR".parse::<Locale>(), Err(LocaleError::Language("é".into())));
        assert_eq!("en-".parse::<Locale>(), Err(LocaleError::Subtag(String::new())));
        assert_eq!("en-US-Latn".parse::<Locale>(), Err(LocaleError::Subtag("Latn".into())));
        assert_eq!("ca-valencia".parse::<Locale>(), Err(LocaleError::Subtag("valencia".into())));
        assert_eq!("a".repeat(36).parse::<Locale>(), Err(LocaleError::TooLong));
        assert!(LocaleError::Language("x".into()).to_string().contains("`pt-BR`"));
    }

    #[test]
    fn a_locale_travels_as_a_string() {
        let json = serde_json::to_string(&locale("sr-latn-rs")).unwrap();
        assert_eq!(json, r#""sr-Latn-RS""#);
        assert_eq!(serde_json::from_str::<Locale>(&json).unwrap(), locale("sr-Latn-RS"));
        let refused = serde_json::from_str::<Locale>(r#""english""#).unwrap_err();
        assert!(refused.to_string().contains("is not a language"), "{refused}");
    }

    #[test]
    fn a_region_speaks_its_main_language() {
        for (region, tag) in [
            ("US", "en-US"),
            ("br", "pt-BR"),
            ("MX", "es-MX"),
            ("CH", "de-CH"),
            ("TW", "zh-Hant-TW"),
            ("CN", "zh-Hans-CN"),
            ("IL", "he-IL"),
            ("EG", "ar-EG"),
            ("IN", "hi-IN"),
            ("KE", "sw-KE"),
            ("ME", "sr-Latn-ME"),
            ("XK", "sq-XK"),
        ] {
            assert_eq!(Locale::for_region(region), Some(locale(tag)));
        }
        for unknown in ["001", "ZZ", "", "x", "USA", "éé"] {
            assert_eq!(Locale::for_region(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn fallbacks_stay_in_the_script_the_reader_reads() {
        assert_eq!(fallbacks("es-MX"), ["es-MX", "es"]);
        assert_eq!(fallbacks("en"), ["en"]);
        assert_eq!(fallbacks("zh-TW"), ["zh-TW", "zh-Hant-TW", "zh-TW", "zh-Hant"]);
        assert_eq!(fallbacks("zh-Hant-CN"), ["zh-Hant-CN", "zh-Hant"]);
        assert_eq!(fallbacks("zh"), ["zh", "zh-Hans", "zh"]);
        assert_eq!(fallbacks("sr-Latn"), ["sr-Latn"]);
        assert_eq!(fallbacks("nn-NO"), ["nn-NO", "nn", "nb"]);
        assert_eq!(fallbacks("pt-Latn-BR"), ["pt-Latn-BR", "pt-BR", "pt-Latn", "pt"]);
    }

    #[test]
    fn the_call_comes_before_the_region_and_the_region_before_the_service() {
        let (german, french) = (locale("de"), locale("fr"));
        assert_eq!(resolve(Some(&german), Some("BR"), &french), german);
        assert_eq!(resolve(None, Some("BR"), &french), locale("pt-BR"));
        assert_eq!(resolve(None, None, &french), french);
    }

    #[test]
    fn a_language_we_cannot_write_is_passed_over() {
        let (klingon, french) = (locale("tlh"), locale("fr"));
        assert_eq!(resolve(Some(&klingon), Some("BR"), &french), locale("pt-BR"));
        assert_eq!(resolve(Some(&klingon), Some("GE"), &french), french);
        assert_eq!(resolve(Some(&klingon), None, &klingon), Locale::ENGLISH);
        assert_eq!(resolve(Some(&locale("de-AT")), None, &french), locale("de-AT"));
        let georgian = resolve_with(None, Some("GE"), &french, |l| l.language() == "ka");
        assert_eq!(georgian, locale("ka-GE"));
    }

    #[test]
    fn arabic_hebrew_persian_and_urdu_run_from_right_to_left() {
        for tag in ["ar", "he-IL", "fa", "ur-PK", "ps", "az-Arab", "pa-PK", "ckb"] {
            assert!(locale(tag).is_rtl(), "{tag}");
        }
        for tag in ["en", "hi", "ur-Latn", "pa-IN", "az", "zh-Hant", "ru"] {
            assert!(!locale(tag).is_rtl(), "{tag}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_read_prints_as_itself(text in "\\PC{0,40}|[a-zA-Z0-9_-]{0,14}") {
            if let Ok(read) = text.parse::<Locale>() {
                prop_assert_eq!(read.to_string().parse::<Locale>(), Ok(read));
                prop_assert!(read.fallbacks().count() > 0);
            }
            let _ = Locale::for_region(&text);
        }
    }
}
