//! What is said where a person confirms themselves by a message: what they write, and what answers it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::{link_words, write_apart};
use crate::domain::locale::Locale;

const SOURCES: [&str; 3] = [
    include_str!("texts/inbound/western_europe.toml"),
    include_str!("texts/inbound/eastern_europe.toml"),
    include_str!("texts/inbound/asia_africa.toml"),
];

/// The sentences of one language, without placeholders.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct InboundWords {
    confirm: String,
    done: String,
    over: String,
    other: String,
}

/// A sentence about a message that confirms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InboundSentence {
    /// What the person writes.
    Confirm,
    /// It is approved.
    Done,
    /// It was approved before, or not in time, or was called off.
    Over,
    /// It is meant for another number than the one that wrote.
    Other,
}

static WORDS: LazyLock<BTreeMap<Locale, InboundWords>> = LazyLock::new(|| {
    let read = |source| {
        let words: BTreeMap<Locale, InboundWords> =
            toml::from_str(source).expect("the words for messages are valid TOML, as their test proves");
        words
    };
    SOURCES.into_iter().flat_map(read).collect()
});

/// Writes a sentence in the language that a reader of this locale reads best, after the brand.
///
/// ```
/// use wotp_core::domain::template::{InboundSentence, render_inbound};
///
/// let text = render_inbound(&"en-GB".parse()?, "Acme", InboundSentence::Confirm);
/// assert_eq!(text, "Acme: I confirm that it is me.");
/// # Ok::<(), wotp_core::domain::locale::LocaleError>(())
/// ```
#[must_use]
pub fn render_inbound(locale: &Locale, brand: &str, sentence: InboundSentence) -> String {
    // The same languages, as a test proves.
    let (locale, link) = link_words(locale);
    let words = WORDS.get(&locale).expect("there are words for the languages that links have, as their test proves");
    let sentence = match sentence {
        InboundSentence::Confirm => &words.confirm,
        InboundSentence::Done => &words.done,
        InboundSentence::Over => &words.over,
        InboundSentence::Other => &words.other,
    };
    let mut text = String::with_capacity(256);
    write_apart(brand, locale.is_rtl(), &mut text);
    text.push_str(&link.colon);
    text.push_str(sentence);
    text
}

#[cfg(test)]
mod tests {
    use super::super::{holds_link, is_control, languages};
    use super::*;
    use crate::domain::inbound::PREFIX;

    #[test]
    fn there_are_words_for_exactly_the_languages_with_texts_for_codes() {
        let entries: usize = SOURCES.iter().map(|source| source.matches("\nconfirm = ").count()).sum();
        assert_eq!(WORDS.len(), entries, "a locale is there twice");
        assert_eq!(WORDS.keys().copied().collect::<Vec<_>>(), languages().collect::<Vec<_>>());
    }

    #[test]
    fn each_sentence_is_plain_writing_and_says_something_of_its_own() {
        for (locale, InboundWords { confirm, done, over, other }) in WORDS.iter() {
            let sentences = [confirm, done, over, other];
            for (at, sentence) in sentences.iter().enumerate() {
                assert!(!sentence.trim().is_empty() && sentence.trim() == *sentence, "{locale}: {sentence:?}");
                assert!(!sentence.chars().any(is_control) && !sentence.contains("{{"), "{locale}: {sentence:?}");
                assert!(!holds_link(sentence), "{locale}: {sentence:?}");
                assert!(!sentences[..at].contains(sentence), "{locale}: {sentence:?} is there twice");
                // A reply must not be taken for a message with a token by whoever answers it.
                assert!(!sentence.to_uppercase().contains(PREFIX), "{locale}: {sentence:?}");
            }
            // A QR of much more is hard to read from a screen: three bytes of a script may be nine characters of a link.
            assert!(confirm.len() <= 130, "{locale}: {}", confirm.len());
        }
    }

    #[test]
    fn a_brand_neither_steers_the_sentence_nor_breaks_the_line() {
        let text = render_inbound(&"he".parse().unwrap(), "A\u{202E}\nB", InboundSentence::Done);
        assert!(text.starts_with("\u{2068}AB\u{2069}: "), "{text}");
        assert_eq!(text.lines().count(), 1);
    }
}
