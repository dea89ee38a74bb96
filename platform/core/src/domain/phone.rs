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
        let fiction = FICTION.iter().find(|(prefix, length, _)| e164.starts_with(prefix) && e164.len() == *length);
        if let Some((_, _, region)) = fiction {
            return Ok(Self::admitted(e164, Some(region)));
        }
        // What `is_valid` does, which would look for the region a second time.
        let region = PHONE_NUMBER_UTIL.get_region_for_number(&number).ok_or(PhoneError::Impossible)?;
        if !PHONE_NUMBER_UTIL.is_valid_number_for_region(&number, region) {
            return Err(PhoneError::Impossible);
        }
        Ok(Self::admitted(e164, Some(&region.to_string())))
    }

    /// The number of a WhatsApp account, by its digits.
    ///
    /// Accounts keep the digits that their number had when they were made: those of Brazil from before mobile numbers got
    /// a ninth digit are without it.
    ///
    /// Source: Anatel, resolution 553/2010: a `9` before mobile numbers of eight digits, which began with 6 to 9.
    ///
    /// ```
    /// use wotp_core::domain::phone::Phone;
    /// assert_eq!(Phone::of_account("12025550123"), Phone::parse("+12025550123"));
    /// assert_eq!(Phone::of_account("553188881234"), Phone::parse("+5531988881234"));
    /// assert_eq!(Phone::of_account("5215512345678").unwrap().e164(), "+525512345678");
    /// ```
    ///
    /// # Errors
    /// [`PhoneError`].
    pub fn of_account(digits: &str) -> Result<Self, PhoneError> {
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(PhoneError::NotANumber);
        }
        // Mexico had a 1 before mobile numbers until 2019, which accounts of that time still have.
        if let Some(rest) = digits.strip_prefix("521").filter(|rest| rest.len() == 10) {
            return Self::parse(&format!("+52{rest}"));
        }
        match (digits.strip_prefix("55"), digits.len()) {
            (Some(rest), 12) if rest.as_bytes()[2] >= b'6' => Self::parse(&format!("+55{}9{}", &rest[..2], &rest[2..])),
            _ => Self::parse(&format!("+{digits}")),
        }
    }

    /// A number that [`parse`](Self::parse) gave before, with its region: what was admitted once
    /// stays a number, whatever the rules say by now, and they are slow to ask.
    pub(super) fn admitted(e164: String, region: Option<&str>) -> Self {
        let country_code_digits = country_code_digits(&e164);
        Self { e164, region: region.and_then(|region| region.as_bytes().first_chunk().copied()), country_code_digits }
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

/// How many digits the country code of an E.164 number has.
///
/// Source: ITU-T E.164, list of assigned country codes: zones 1 and 7 are one code each, and these
/// are the codes of two digits; all others have three.
fn country_code_digits(e164: &str) -> u8 {
    const TWO: [&str; 44] = [
        "20", "27", "30", "31", "32", "33", "34", "36", "39", "40", "41", "43", "44", "45", "46", "47", "48", "49",
        "51", "52", "53", "54", "55", "56", "57", "58", "60", "61", "62", "63", "64", "65", "66", "81", "82", "84",
        "86", "90", "91", "92", "93", "94", "95", "98",
    ];
    let digits = e164.trim_start_matches('+');
    match digits.get(..2) {
        _ if digits.starts_with(['1', '7']) => 1,
        Some(two) if TWO.contains(&two) => 2,
        _ => 3,
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
    fn the_country_codes_are_as_long_as_the_library_says() {
        let mut seen = 0;
        for code in PHONE_NUMBER_UTIL.get_supported_calling_codes() {
            assert_eq!(usize::from(country_code_digits(&format!("+{code}5550123"))), code.to_string().len(), "{code}");
            seen += 1;
        }
        assert!(seen > 200, "{seen}");
    }

    #[test]
    fn an_admitted_number_is_the_one_that_was_read() {
        for text in ["+12025550123", "+447700900123", "+358401234567", "+77012345678"] {
            let phone = Phone::parse(text).unwrap();
            assert_eq!(Phone::admitted(phone.e164().to_owned(), phone.region()), phone);
            assert_eq!(Phone::admitted(phone.e164().to_owned(), phone.region()).masked(), phone.masked());
        }
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
