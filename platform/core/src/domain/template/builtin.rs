//! The texts that come with the platform, read once and kept in pieces.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use super::{
    parse::{Piece, pieces},
    plural::{Category, category},
};
use crate::domain::locale::Locale;

const SOURCES: [&str; 3] = [
    include_str!("texts/western_europe.toml"),
    include_str!("texts/eastern_europe.toml"),
    include_str!("texts/asia_africa.toml"),
];

type Pieces = Vec<Piece<'static>>;

/// The texts of one language.
#[derive(Debug)]
pub(super) struct BuiltIn {
    pub locale: Locale,
    pub subject: Pieces,
    pub body: Pieces,
    pub do_not_share: Pieces,
    /// What stands between two sentences: a space, or nothing where scripts need none.
    pub between_sentences: &'static str,
    /// By [`Category`], `Other` where the language has no such form.
    expiry: [Pieces; 6],
}

impl BuiltIn {
    /// The sentence that says when the code expires, in the plural form for so many minutes.
    pub fn expiry(&self, minutes: u64) -> &[Piece<'static>] {
        &self.expiry[category(&self.locale, minutes) as usize]
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    subject: String,
    body: String,
    expiry: Forms,
    do_not_share: String,
    #[serde(default = "space")]
    between_sentences: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Forms {
    zero: Option<String>,
    one: Option<String>,
    two: Option<String>,
    few: Option<String>,
    many: Option<String>,
    other: String,
}

fn space() -> String {
    " ".to_owned()
}

/// Sorted by locale, as the binary search needs.
static TEXTS: LazyLock<Vec<BuiltIn>> = LazyLock::new(|| {
    let mut texts: Vec<BuiltIn> = SOURCES.into_iter().flat_map(read).collect();
    texts.sort_by_key(|text| text.locale);
    texts
});

fn read(source: &str) -> Vec<BuiltIn> {
    // Strings are leaked: there is one set of them for as long as the process runs.
    let cut = |text: String| pieces(text.leak()).expect("every built-in text is well formed, as its test proves");
    let entries: BTreeMap<Locale, Entry> =
        toml::from_str(source).expect("the built-in texts are valid TOML, as their test proves");
    entries
        .into_iter()
        .map(|(locale, entry)| {
            let Forms { zero, one, two, few, many, other } = entry.expiry;
            let form = |form: Option<String>| cut(form.unwrap_or_else(|| other.clone()));
            BuiltIn {
                locale,
                subject: cut(entry.subject),
                body: cut(entry.body),
                do_not_share: cut(entry.do_not_share),
                between_sentences: entry.between_sentences.leak(),
                expiry: [form(zero), form(one), form(two), form(few), form(many), form(None)],
            }
        })
        .collect()
}

/// The texts that a reader of this locale reads best, if there are any.
pub(super) fn nearest(locale: &Locale) -> Option<&'static BuiltIn> {
    locale.fallbacks().find_map(|tried| {
        let at = TEXTS.binary_search_by_key(&tried, |text| text.locale).ok()?;
        Some(&TEXTS[at])
    })
}

/// As [`nearest`], and English where there are none.
pub(super) fn nearest_or_english(locale: &Locale) -> &'static BuiltIn {
    nearest(locale)
        .or_else(|| nearest(&Locale::ENGLISH))
        .expect("English is among the built-in texts, as their test proves")
}

/// Every locale with built-in texts, in the order of their tags.
pub fn languages() -> impl Iterator<Item = Locale> {
    TEXTS.iter().map(|text| text.locale)
}

/// Whether there are built-in texts that a reader of this locale reads.
#[must_use]
pub fn speaks(locale: &Locale) -> bool {
    nearest(locale).is_some()
}

// The order of the forms above.
const _: () = assert!(Category::Zero as usize == 0 && Category::Other as usize == 5);

#[cfg(test)]
mod tests {
    use super::{super::parse::Placeholder, *};

    fn nearest_tag(tag: &str) -> Option<String> {
        nearest(&tag.parse().unwrap()).map(|text| text.locale.to_string())
    }

    #[test]
    fn every_entry_of_every_file_is_read() {
        let entries: usize = SOURCES.iter().map(|source| source.matches("\nsubject = ").count()).sum();
        assert_eq!(TEXTS.len(), entries);
        assert!(TEXTS.is_sorted_by(|a, b| a.locale < b.locale), "a locale is there twice");
    }

    #[test]
    fn the_promised_languages_are_all_there() {
        for tag in "en es pt pt-BR fr de it nl sv da nb fi pl cs sk hu ro bg el ru uk tr ar he fa ur hi bn ta \
                    id ms vi th zh-Hans zh-Hant ja ko sw"
            .split_whitespace()
        {
            assert_eq!(nearest_tag(tag).as_deref(), Some(tag));
        }
    }

    #[test]
    fn each_text_fills_in_what_it_should_and_nothing_that_could_nest() {
        let count = |pieces: &[Piece<'_>], which| pieces.iter().filter(|p| **p == Piece::Fill(which)).count();
        for text in TEXTS.iter() {
            for (pieces, codes, brands) in [(&text.subject, 1, 1), (&text.body, 1, 1), (&text.do_not_share, 0, 0)] {
                assert_eq!(count(pieces, Placeholder::Code), codes, "{}", text.locale);
                assert_eq!(count(pieces, Placeholder::Brand), brands, "{}", text.locale);
            }
            for form in &text.expiry {
                for piece in form {
                    assert!(
                        matches!(piece, Piece::Words(_) | Piece::Fill(Placeholder::ExpiresInMinutes)),
                        "{} nests {piece:?}",
                        text.locale
                    );
                }
            }
        }
    }

    #[test]
    fn a_reader_gets_the_nearest_text_in_a_script_they_read() {
        for (asked, given) in [
            ("es-MX", Some("es")),
            ("pt-BR", Some("pt-BR")),
            ("pt-AO", Some("pt")),
            ("zh-TW", Some("zh-Hant")),
            ("zh-Hant-HK", Some("zh-Hant")),
            ("zh", Some("zh-Hans")),
            ("zh-SG", Some("zh-Hans")),
            ("sr-ME", Some("sr-Latn")),
            ("sr-RS", Some("sr")),
            ("nn", Some("nb")),
            ("iw", Some("he")),
            ("tlh", None),
        ] {
            assert_eq!(nearest_tag(asked).as_deref(), given, "{asked}");
        }
    }
}
