//! What is said about a link that approves: in the message that carries it, and on the page that it opens.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::{Rendered, write_apart};
use crate::domain::locale::Locale;

const SOURCES: [&str; 3] = [
    include_str!("texts/link/western_europe.toml"),
    include_str!("texts/link/eastern_europe.toml"),
    include_str!("texts/link/asia_africa.toml"),
];

/// The sentences of one language, without placeholders: brands stand apart from them, since hardly any language leaves
/// a name alone within a sentence.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkWords {
    /// Subject of the message, and what stands above the button.
    pub title: String,
    /// What the message says before the link.
    pub open: String,
    /// When the button is to be pressed.
    pub ask: String,
    /// What stands on the button.
    pub button: String,
    /// It is approved.
    pub done: String,
    /// What to do then.
    pub close: String,
    /// Leads back to the app.
    pub back: String,
    /// It was approved before.
    pub used: String,
    /// It was not approved in time.
    pub expired: String,
    /// Whoever asked for it called it off.
    pub canceled: String,
    /// It is no link of ours, or nothing is left of it.
    pub unknown: String,
    /// How to get another.
    pub again: String,
    /// It is bound to another browser.
    pub other_browser: String,
    /// The server could not do it just now.
    pub later: String,
    /// What stands between a brand and a sentence.
    #[serde(default = "colon")]
    pub colon: String,
}

fn colon() -> String {
    ": ".to_owned()
}

static WORDS: LazyLock<BTreeMap<Locale, LinkWords>> = LazyLock::new(|| {
    let read = |source| {
        let words: BTreeMap<Locale, LinkWords> =
            toml::from_str(source).expect("the words for links are valid TOML, as their test proves");
        words
    };
    SOURCES.into_iter().flat_map(read).collect()
});

/// The sentences that a reader of this locale reads best, else English ones, and the locale they are in.
#[must_use]
pub fn link_words(locale: &Locale) -> (Locale, &'static LinkWords) {
    let found = locale.fallbacks().chain([Locale::ENGLISH]).find_map(|tried| WORDS.get_key_value(&tried));
    let (locale, words) = found.expect("English is among the words for links, as their test proves");
    (*locale, words)
}

/// Writes the message that carries a link, which stands on a line of its own.
///
/// ```
/// use wotp_core::domain::template::render_link;
///
/// let message = render_link(&"en-GB".parse()?, "Acme", "https://wotp.example/l/x");
/// assert_eq!(message.subject, "Acme: Please confirm that it is you");
/// assert!(message.text.starts_with("Acme: Open this link to confirm that it is you."));
/// assert!(message.text.ends_with("\nhttps://wotp.example/l/x"));
/// # Ok::<(), wotp_core::domain::locale::LocaleError>(())
/// ```
#[must_use]
pub fn render_link(locale: &Locale, brand: &str, link: &str) -> Rendered {
    let (locale, words) = link_words(locale);
    let led = |sentence: &str| {
        let mut text = String::with_capacity(512);
        write_apart(brand, locale.is_rtl(), &mut text);
        text.push_str(&words.colon);
        text.push_str(sentence);
        text
    };
    let mut text = led(&words.open);
    text.push('\n');
    text.push_str(link);
    Rendered { subject: led(&words.title), text, locale }
}

#[cfg(test)]
mod tests {
    use super::super::{holds_link, is_control, languages};
    use super::*;

    #[test]
    fn there_are_words_for_exactly_the_languages_with_texts_for_codes() {
        let entries: usize = SOURCES.iter().map(|source| source.matches("\ntitle = ").count()).sum();
        assert_eq!(WORDS.len(), entries, "a locale is there twice");
        assert_eq!(WORDS.keys().copied().collect::<Vec<_>>(), languages().collect::<Vec<_>>());
    }

    #[test]
    fn each_sentence_is_plain_writing_and_says_something_of_its_own() {
        for (locale, words) in WORDS.iter() {
            let LinkWords { title, open, ask, button, done, close, back, used, expired, canceled, unknown, .. } = words;
            let LinkWords { again, other_browser, later, colon, .. } = words;
            let sentences = [
                title,
                open,
                ask,
                button,
                done,
                close,
                back,
                used,
                expired,
                canceled,
                unknown,
                again,
                other_browser,
                later,
            ];
            for (at, sentence) in sentences.iter().enumerate() {
                assert!(!sentence.trim().is_empty() && sentence.trim() == *sentence, "{locale}: {sentence:?}");
                assert!(!sentence.chars().any(is_control) && !sentence.contains("{{"), "{locale}: {sentence:?}");
                assert!(!holds_link(sentence), "{locale}: {sentence:?}");
                assert!(!sentences[..at].contains(sentence), "{locale}: {sentence:?} is there twice");
            }
            assert!([": ", "\u{a0}: ", "："].contains(&colon.as_str()), "{locale}: {colon:?}");
        }
    }

    #[test]
    fn the_language_is_the_nearest_one_that_is_read_and_else_english() {
        for (asked, given) in [("es-MX", "es"), ("zh-TW", "zh-Hant"), ("sr-ME", "sr-Latn"), ("tlh", "en")] {
            assert_eq!(link_words(&asked.parse().unwrap()).0.to_string(), given, "{asked}");
        }
    }

    #[test]
    fn a_brand_neither_steers_the_sentence_nor_breaks_the_line() {
        let message = render_link(&"he".parse().unwrap(), "A\u{202E}\nB", "https://wotp.example/l/x");
        assert!(message.text.starts_with("\u{2068}AB\u{2069}: "), "{}", message.text);
        assert!(!message.subject.contains('\n'));
        assert_eq!(message.text.lines().count(), 2);
    }
}
