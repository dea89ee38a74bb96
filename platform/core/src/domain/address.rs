//! Where a code goes: a phone number or an email address.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::phone::{Phone, PhoneError};

/// The kinds of address that channels can reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AddressKind {
    /// An E.164 phone number.
    Phone,
    /// An email address.
    Email,
}

impl fmt::Display for AddressKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Phone => "phone",
            Self::Email => "email",
        })
    }
}

/// Longest email address: RFC 5321 allows a path of 256 with its brackets.
const EMAIL_LENGTH_MAX: usize = 254;

/// An email address, in the spelling that was typed with its domain in lower case.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Email(String);

impl Email {
    /// Reads an address of the form that people have: `local@domain.tld`.
    ///
    /// Quoted local parts, comments and address literals are refused: nobody types them.
    ///
    /// # Errors
    /// [`AddressError::Email`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Email)?;
        let local_char = |c: char| {
            c.is_ascii_alphanumeric() || "!#$%&'*+/=?^_`{|}~.-".contains(c) || (c > '\u{7f}' && c.is_alphanumeric())
        };
        let local_holds = !local.is_empty()
            && local.len() <= 64
            && local.chars().all(local_char)
            && !local.starts_with('.')
            && !local.ends_with('.')
            && !local.contains("..");
        let label_holds = |label: &str| {
            !label.is_empty()
                && label.len() <= 63
                && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let top_is_named = domain.rsplit('.').next().is_some_and(|top| top.bytes().any(|b| b.is_ascii_alphabetic()));
        let domain_holds = domain.contains('.') && domain.split('.').all(label_holds) && top_is_named;
        if text.len() > EMAIL_LENGTH_MAX || !local_holds || !domain_holds {
            return Err(AddressError::Email);
        }
        Ok(Self(format!("{local}@{}", domain.to_ascii_lowercase())))
    }

    /// `local@domain`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn masked(&self) -> String {
        let (local, domain) = self.0.rsplit_once('@').expect("an email address holds an @");
        let first = local.chars().next().map(String::from).unwrap_or_default();
        format!("{first}***@{domain}")
    }

    fn domain(&self) -> &str {
        self.0.rsplit_once('@').expect("an email address holds an @").1
    }
}

/// Where a code goes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// By phone number.
    Phone(Phone),
    /// By email.
    Email(Email),
}

/// Why a text is not an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// It looks like a phone number and is none.
    #[error(transparent)]
    Phone(#[from] PhoneError),
    /// It holds an `@` and is no email address.
    #[error("this is not an email address; write it as in `ada@example.com`")]
    Email,
}

impl Address {
    /// Reads an email address where there is an `@`, else a phone number.
    ///
    /// ```
    /// use wotp_core::domain::address::{Address, AddressKind};
    /// assert_eq!(Address::parse("ada@Example.com").unwrap().as_str(), "ada@example.com");
    /// assert_eq!(Address::parse("+12025550123").unwrap().kind(), AddressKind::Phone);
    /// ```
    ///
    /// # Errors
    /// [`AddressError`], which says what would be right.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        if text.contains('@') { Email::parse(text).map(Self::Email) } else { Ok(Self::Phone(Phone::parse(text)?)) }
    }

    /// An address that [`parse`](Self::parse) gave before, by what it said of it then.
    ///
    /// ```
    /// use wotp_core::domain::address::Address;
    /// let address = Address::parse("+12025550123").unwrap();
    /// let text = address.as_str().to_owned();
    /// assert_eq!(Address::admitted(text, address.kind(), address.region()), address);
    /// ```
    pub fn admitted(text: String, kind: AddressKind, region: Option<&str>) -> Self {
        match kind {
            AddressKind::Phone => Self::Phone(Phone::admitted(text, region)),
            AddressKind::Email => Self::Email(Email(text)),
        }
    }

    /// Phone or email.
    pub fn kind(&self) -> AddressKind {
        match self {
            Self::Phone(_) => AddressKind::Phone,
            Self::Email(_) => AddressKind::Email,
        }
    }

    /// The whole address. Never for a log.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Phone(phone) => phone.e164(),
            Self::Email(email) => email.as_str(),
        }
    }

    /// ISO 3166-1 alpha-2 of a phone number's region.
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Phone(phone) => phone.region(),
            Self::Email(_) => None,
        }
    }

    /// Enough for the owner to recognise, too little for anyone else.
    pub fn masked(&self) -> String {
        match self {
            Self::Phone(phone) => phone.masked(),
            Self::Email(email) => email.masked(),
        }
    }

    /// What neighbours share: the number without its last four digits, or the domain.
    pub fn prefix(&self) -> &str {
        match self {
            Self::Phone(phone) => phone.prefix(),
            Self::Email(email) => email.domain(),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn email_addresses_are_told_from_look_alikes() {
        for good in ["ada@example.com", "a.b+tag@mail.example.co.uk", "jörg@example.de"] {
            assert!(Email::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "@example.com",
            "ada@",
            "ada@localhost",
            "a b@example.com",
            ".a@example.com",
            "a..b@example.com",
            "a@-x.com",
            "a@x..com",
            "a@1.2.3.4",
            "a@b.com\r\nBcc: c@d.com",
            "<a@b.com>",
        ] {
            assert_eq!(Email::parse(bad), Err(AddressError::Email), "{bad}");
        }
    }

    #[test]
    fn a_masked_email_keeps_one_letter_and_the_domain() {
        assert_eq!(Address::parse("ada@example.com").unwrap().masked(), "a***@example.com");
    }

    impl fmt::Debug for Email {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.masked())
        }
    }

    proptest! {
        #[test]
        fn any_text_is_an_address_or_an_error(text in "\\PC{0,80}") {
            if let Ok(address) = Address::parse(&text) {
                prop_assert_eq!(Address::parse(address.as_str()).unwrap(), address);
            }
        }
    }
}
