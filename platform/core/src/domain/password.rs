//! Which passwords are taken: by their length, and none that everybody tries first. No rules about what
//! they are made of, and none about their age. Source: NIST SP 800-63B-4.

use std::fmt;

use zeroize::Zeroizing;

use super::user::AccountEmail;

/// Fewest characters.
pub const LENGTH_MIN: usize = 8;
/// Most characters: long enough for any sentence, short enough that hashing it costs nothing more.
pub const LENGTH_MAX: usize = 128;

/// Passwords that leaked most often, in lower case and in order: those of at least eight characters from the
/// list of frequent ones in `zxcvbn` 4.5.0 for Python (MIT, copyright 2016 Daniel Wolf; the list itself is that of
/// the original `zxcvbn`, MIT, copyright 2012-2016 Dan Wheeler and Dropbox, Inc.).
const COMMON: &str = include_str!("password/common.txt");

/// A password that was typed.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why a password is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// It is too short or too long.
    #[error("a password has 8 to 128 characters")]
    Length,
    /// It is among those that are tried first.
    #[error("this password is among those that attackers try first; choose another")]
    Common,
    /// It is the address of the account, or the part before the `@`.
    #[error("the email address is no password; choose another")]
    Address,
}

impl Password {
    /// As it was typed, to compare it: any text, cut where no password that was taken goes on.
    pub fn typed(text: &str) -> Self {
        Self(Zeroizing::new(text.chars().take(LENGTH_MAX + 1).collect()))
    }

    /// A new one for an account.
    ///
    /// ```
    /// use wotp_core::domain::password::{Password, PasswordError};
    /// use wotp_core::domain::user::AccountEmail;
    /// let email = AccountEmail::parse("ada@example.com").unwrap();
    /// assert!(Password::new("Correct Horse", &email).is_ok());
    /// assert_eq!(Password::new("Password1", &email).unwrap_err(), PasswordError::Common);
    /// assert_eq!(Password::new("short", &email).unwrap_err(), PasswordError::Length);
    /// ```
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn new(text: &str, email: &AccountEmail) -> Result<Self, PasswordError> {
        if !(LENGTH_MIN..=LENGTH_MAX).contains(&text.chars().count()) {
            return Err(PasswordError::Length);
        }
        let lower = Zeroizing::new(text.to_lowercase());
        let local = email.as_str().rsplit_once('@').map_or("", |(local, _)| local);
        if *lower == email.as_str() || *lower == local {
            return Err(PasswordError::Address);
        }
        if is_common(&lower) {
            return Err(PasswordError::Common);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The password, to hash it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

/// Whether it leaked often, or is one character again and again.
fn is_common(lower: &str) -> bool {
    let mut characters = lower.chars();
    let first = characters.next();
    if characters.all(|character| Some(character) == first) {
        return true;
    }
    // Lines in order: halved until one is left.
    let (mut low, mut high) = (0, COMMON.len());
    while low < high {
        let middle = low + (high - low) / 2;
        let start = COMMON[..middle].rfind('\n').map_or(0, |end| end + 1);
        let end = COMMON[start..].find('\n').map_or(COMMON.len(), |length| start + length);
        match COMMON[start..end].cmp(lower) {
            std::cmp::Ordering::Equal => return true,
            std::cmp::Ordering::Less => low = end + 1,
            std::cmp::Ordering::Greater => high = start,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_password_of_the_list_is_refused_and_its_neighbours_are_not() {
        let mut before = "";
        for line in COMMON.lines() {
            assert!(before < line, "the list is in order: {line}");
            before = line;
            assert!(is_common(line), "{line}");
        }
        assert!(COMMON.lines().count() > 3000, "{}", COMMON.lines().count());
        for other in ["zzzzzzzzy", "password1x7", "correct horse battery", "12345678\n"] {
            assert!(!is_common(other), "{other}");
        }
        assert!(is_common("aaaaaaaaaaaa"));
    }

    #[test]
    fn the_bounds_count_characters_and_not_bytes() {
        let email = AccountEmail::parse("ada@example.com").unwrap();
        assert!(Password::new("ééööüüñß", &email).is_ok());
        assert!(Password::new(&"ü9".repeat(64), &email).is_ok());
        assert_eq!(Password::new(&"ü9x".repeat(43), &email).unwrap_err(), PasswordError::Length);
        assert_eq!(Password::new("ADA@example.com", &email).unwrap_err(), PasswordError::Address);
    }
}
