//! The account under a number. Accounts keep the digits that their number had when they were made: to write to others
//! reaches nobody.

use wotp_core::domain::phone::Phone;

/// What is noted where the digits are those of the number.
const SAME: &[u8] = &[1];

/// The account under a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    /// Its digits, where they are not those of the number.
    others: Option<Box<str>>,
}

impl Account {
    /// That of a number, by its digits.
    pub(super) fn of(number: &str, digits: &str) -> Self {
        Self { others: (digits != number).then(|| digits.into()) }
    }

    /// Its digits, where `number` is the number's.
    pub(super) fn digits<'a>(&'a self, number: &'a str) -> &'a str {
        self.others.as_deref().unwrap_or(number)
    }

    /// As it is noted.
    pub(super) fn as_note(&self) -> &[u8] {
        self.others.as_deref().map_or(SAME, str::as_bytes)
    }

    /// As it was noted.
    pub(super) fn from_note(note: &[u8]) -> Self {
        let digits = std::str::from_utf8(note).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        Self { others: digits.map(Into::into) }
    }
}

/// The digits of the number of an account: its own, where no numbering plan knows another.
pub(super) fn number_of(account: &str) -> String {
    Phone::of_account(account).map_or_else(|_| account.to_owned(), |phone| phone.e164()[1..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_from_before_its_number_changed_is_noted_with_its_digits() {
        let (account, same) =
            (Account::of("5531988881234", "553188881234"), Account::of("447700900123", "447700900123"));
        assert_eq!(account.digits("5531988881234"), "553188881234");
        assert_eq!(same.digits("447700900123"), "447700900123");
        for account in [account, same] {
            assert_eq!(Account::from_note(account.as_note()), account);
        }
    }

    #[test]
    fn the_number_of_an_account_is_as_people_give_it() {
        assert_eq!(number_of("553188881234"), "5531988881234");
        assert_eq!(number_of("5215512345678"), "525512345678");
        assert_eq!(number_of("447700900123"), "447700900123");
        assert_eq!(number_of("12"), "12");
    }
}
