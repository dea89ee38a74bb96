//! Phone numbers, by libphonenumber's rules.

use std::fmt;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};

/// Longest text that is looked at: E.164 needs 16 characters, generous spacing doubles it.
const TEXT_LENGTH_MAX: usize = 40;

/// Ranges that regulators reserve for fiction and that libphonenumber calls invalid, with the
/// region each belongs to. Documentation and tests need numbers that nobody can own.
///
/// Source: Ofcom, "Telephone numbers for use in TV and radio drama programmes".
const FICTION: [(&str, usize, &str); 1] = [("+447700900", 13, "GB")];

/// A valid phone number in E.164, with the region it belongs to.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Phone {
    e164: String,
    region: Option<[u8; 2]>,
    country_code_digits: u8,
}

/// Why a text is not a phone number that can be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PhoneError {
    /// There is no `+`, so the country is unknown.
    #[error("a phone number starts with `+` and the country code, as in `+12025550123`")]
    NoCountry,
    /// It cannot be read as a number at all.
    #[error("this cannot be read as a phone number; write it as in `+12025550123`")]
    NotANumber,
    /// The country exists, the number cannot.
    #[error("no such number can exist in that country's numbering plan; check the digits")]
    Impossible,
}

impl Phone {
    /// Reads an international number, with or without spaces, dots, dashes and brackets.
    ///
    /// ```
    /// use wotp_core::domain::phone::Phone;
    /// let phone = Phone::parse("+1 (202) 555-0123").unwrap();
    /// assert_eq!(phone.e164(), "+12025550123");
    /// assert_eq!(phone.region(), Some("US"));
    /// assert_eq!(phone.masked(), "+1********23");
    /// ```
    ///
    /// # Errors
    /// [`PhoneError`], which says what would be right.
    pub fn parse(text: &str) -> Result<Self, PhoneError> {
        let text = text.trim();
        if !text.starts_with('+') {
            return Err(PhoneError::NoCountry);
        }
        let plain = |c: char| c.is_ascii_digit() || " -.()/+".contains(c);
        // Letters, extensions and URIs would parse, and then not be the number that was typed.
        if text.len() > TEXT_LENGTH_MAX || !text.chars().all(plain) || text.rfind('+') != Some(0) {
            return Err(PhoneError::NotANumber);
        }
        let number = PHONE_NUMBER_UTIL.parse(text, None).map_err(|_| PhoneError::NotANumber)?;
        let e164 = number.format_as(PhoneNumberFormat::E164).into_owned();
        let country_code_digits = match number.country_code {
            ..10 => 1,
            10..100 => 2,
            _ => 3,
        };
        let fiction = FICTION.iter().find(|(prefix, length, _)| e164.starts_with(prefix) && e164.len() == *length);
        let region = if let Some((_, _, region)) = fiction {
            region.as_bytes().first_chunk().copied()
        } else if number.is_valid() {
            let region = PHONE_NUMBER_UTIL.get_region_for_number(&number);
            region.and_then(|region| region.to_string().as_bytes().first_chunk().copied())
        } else {
            return Err(PhoneError::Impossible);
        };
        Ok(Self { e164, region, country_code_digits })
    }

    /// `+` and digits only.
    pub fn e164(&self) -> &str {
        &self.e164
    }

    /// ISO 3166-1 alpha-2, where the number belongs to one region.
    pub fn region(&self) -> Option<&str> {
        self.region.as_ref().and_then(|region| std::str::from_utf8(region).ok())
    }

    /// The country code and the last two digits; the rest as stars.
    pub fn masked(&self) -> String {
        let shown = 1 + usize::from(self.country_code_digits);
        let hidden = self.e164.len().saturating_sub(shown + 2);
        format!("{}{}{}", &self.e164[..shown], "*".repeat(hidden), &self.e164[shown + hidden..])
    }

    /// The number without its last four digits: neighbours share it, as pumped numbers do.
    pub fn prefix(&self) -> &str {
        &self.e164[..self.e164.len().saturating_sub(4)]
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_are_read_as_people_write_them() {
        for text in ["+12025550123", " +1 202 555 0123 ", "+1-202-555-0123", "+1.202.555.0123"] {
            assert_eq!(Phone::parse(text).unwrap().e164(), "+12025550123", "{text}");
        }
    }

    #[test]
    fn each_refusal_says_its_own_reason() {
        assert_eq!(Phone::parse("2025550123"), Err(PhoneError::NoCountry));
        assert_eq!(Phone::parse(""), Err(PhoneError::NoCountry));
        assert_eq!(Phone::parse("+1202555012"), Err(PhoneError::Impossible));
        assert_eq!(Phone::parse("+1202555012345"), Err(PhoneError::Impossible));
        assert_eq!(Phone::parse("+1555FILM"), Err(PhoneError::NotANumber));
        assert_eq!(Phone::parse("+1202+5550123"), Err(PhoneError::NotANumber));
        assert_eq!(Phone::parse("+12025550123 ext. 5"), Err(PhoneError::NotANumber));
    }

    #[test]
    fn the_drama_range_is_valid_though_nobody_can_own_it() {
        let phone = Phone::parse("+44 7700 900123").unwrap();
        assert_eq!((phone.e164(), phone.region()), ("+447700900123", Some("GB")));
        assert_eq!(phone.masked(), "+44********23");
        assert_eq!(phone.prefix(), "+44770090");
    }

    #[test]
    fn debug_output_hides_the_number() {
        assert_eq!(format!("{:?}", Phone::parse("+12025550123").unwrap()), "+1********23");
    }

    proptest! {
        #[test]
        fn any_text_is_a_number_or_an_error(text in "\\PC{0,60}") {
            if let Ok(phone) = Phone::parse(&text) {
                prop_assert!(phone.e164().len() <= 16);
                prop_assert_eq!(Phone::parse(phone.e164()).unwrap(), phone);
            }
        }

        #[test]
        fn digits_after_a_plus_never_panic(text in "\\+[0-9 ()./-]{0,44}") {
            let _ = Phone::parse(&text);
        }
    }
}
