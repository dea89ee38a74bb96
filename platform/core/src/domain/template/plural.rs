//! CLDR cardinal plural rules for whole numbers: which form of a sentence a number asks for.

use serde::Deserialize;

use crate::domain::locale::Locale;

/// A plural form. Which numbers belong to it is each language's own affair: in Latvian 10 is
/// `Zero`, in Russian 21 is `One`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "CLDR's names; their meaning differs by language")]
pub enum Category {
    Zero,
    One,
    Two,
    Few,
    Many,
    Other,
}

/// The plural form that `n` asks for in a language; `Other` for a language with a single form or
/// that has no built-in texts.
///
/// Source: Unicode CLDR 48 `supplemental/plurals`, for numbers without decimals. The rules for
/// decimals and for millions in compact notation ("2 M") have no place in a message about minutes,
/// except that a million itself is `Many` in the Romance languages.
///
/// ```
/// use wotp_core::domain::{locale::Locale, template::plural::{Category, category}};
///
/// let polish: Locale = "pl".parse()?;
/// assert_eq!(category(&polish, 22), Category::Few); // 22 minuty
/// assert_eq!(category(&polish, 12), Category::Many); // 12 minut
/// # Ok::<(), wotp_core::domain::locale::LocaleError>(())
/// ```
#[must_use]
pub fn category(locale: &Locale, n: u64) -> Category {
    use Category::{Few, Many, One, Other, Two, Zero};

    let (units, hundreds) = (n % 10, n % 100);
    let teen = (11..=19).contains(&hundreds);
    let million = n != 0 && n.is_multiple_of(1_000_000);
    match locale.language() {
        "pt" if n == 0 && locale.region() == Some("PT") => Other,
        "fr" | "pt" if n <= 1 => One,
        "es" | "ca" | "it" if n == 1 => One,
        "fr" | "pt" | "es" | "ca" | "it" if million => Many,

        "fa" | "hi" | "bn" | "gu" if n <= 1 => One,

        "is" | "mk" if units == 1 && hundreds != 11 => One,

        "lv" if units == 0 || teen => Zero,
        "lv" if units == 1 => One,
        "lt" if teen || units == 0 => Other,
        "lt" if units == 1 => One,
        "lt" => Few,

        "pl" if n == 1 => One,
        "ru" | "uk" | "hr" | "bs" | "sr" if units == 1 && hundreds != 11 => One,
        "pl" | "ru" | "uk" | "hr" | "bs" | "sr" if (2..=4).contains(&units) && !teen => Few,
        "pl" | "ru" | "uk" => Many,
        "cs" | "sk" if n == 1 => One,
        "cs" | "sk" if (2..=4).contains(&n) => Few,
        "sl" if hundreds == 1 => One,
        "sl" if hundreds == 2 => Two,
        "sl" if hundreds == 3 || hundreds == 4 => Few,

        "ro" if n == 1 => One,
        "ro" if n == 0 || (1..=19).contains(&hundreds) => Few,

        "ar" if n == 0 => Zero,
        "ar" if n == 1 => One,
        "ar" if n == 2 => Two,
        "ar" if (3..=10).contains(&hundreds) => Few,
        "ar" if hundreds >= 11 => Many,
        "he" if n == 1 => One,
        "he" if n == 2 => Two,

        "fil" if n <= 3 || !matches!(units, 4 | 6 | 9) => One,

        "en" | "de" | "nl" | "af" | "sv" | "da" | "nb" | "fi" | "et" | "bg" | "hu" | "sq" | "el" | "az" | "tr"
        | "ur" | "mr" | "ta" | "te" | "sw"
            if n == 1 =>
        {
            One
        }
        _ => Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples() -> impl Iterator<Item = (Locale, Category, std::ops::RangeInclusive<u64>)> {
        include_str!("plural_samples.txt").lines().filter(|line| !line.starts_with('#')).flat_map(|line| {
            let mut words = line.split(' ');
            let locale: Locale = words.next().unwrap().parse().unwrap();
            let category: Category = serde_json::from_str(&format!("\"{}\"", words.next().unwrap())).unwrap();
            words.map(move |word| {
                let (first, last) = word.split_once('~').unwrap_or((word, word));
                (locale, category, first.parse().unwrap()..=last.parse().unwrap())
            })
        })
    }

    #[test]
    fn every_sample_of_cldr_gets_its_category() {
        let mut seen = 0;
        for (locale, expected, range) in samples() {
            for n in range {
                assert_eq!(category(&locale, n), expected, "{n} in {locale}");
                seen += 1;
            }
        }
        assert!(seen > 1_500, "only {seen} samples were read");
    }

    #[test]
    fn every_language_with_texts_has_samples() {
        for locale in crate::domain::template::languages() {
            assert!(
                samples().any(|(sampled, ..)| sampled.language() == locale.language()),
                "no plural samples for {locale}"
            );
        }
    }

    #[test]
    fn arabic_has_six_forms() {
        use Category::{Few, Many, One, Other, Two, Zero};
        let arabic: Locale = "ar-EG".parse().unwrap();
        let forms = [0, 1, 2, 3, 11, 100].map(|n| category(&arabic, n));
        assert_eq!(forms, [Zero, One, Two, Few, Many, Other]);
    }

    #[test]
    fn a_language_without_rules_has_one_form() {
        assert_eq!(category(&"ja".parse().unwrap(), 1), Category::Other);
        assert_eq!(category(&"tlh".parse().unwrap(), 1), Category::Other);
    }
}
