//! People: who signs in, and what is kept of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::address::{Address, AddressError, Email};
use super::id::UserId;
use super::tenant::{self, HOUSE};
use super::vault::{AddressIndex, Purpose, Sealed, Vault, VaultError};
use crate::ports::{Entity, Entropy, IndexKey, Owner};

/// The address that an account is found by: all of it in lower case, so that `Ada@` and `ada@` are one
/// account. No mail server that people use tells the two apart.
#[derive(Clone, PartialEq, Eq)]
pub struct AccountEmail(Address);

impl AccountEmail {
    /// Reads an email address.
    ///
    /// ```
    /// use wotp_core::domain::user::AccountEmail;
    /// assert_eq!(AccountEmail::parse(" Ada@Example.com ").unwrap().as_str(), "ada@example.com");
    /// assert!(AccountEmail::parse("+12025550123").is_err());
    /// assert!(AccountEmail::parse("\u{212A}im@example.com").is_err(), "a Kelvin sign is no k");
    /// ```
    ///
    /// Capital letters are those of ASCII: a Kelvin sign becomes a `k` in lower case, and whoever has an address with
    /// one would have somebody else's account. An address with another capital letter is none; in lower case it is.
    ///
    /// # Errors
    /// [`AddressError::Email`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let lower = text.to_ascii_lowercase();
        if text.to_lowercase() != lower {
            return Err(AddressError::Email);
        }
        Email::parse(&lower).map(|email| Self(Address::Email(email)))
    }

    /// The whole address. Never for a log.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Enough for its owner to recognise.
    pub fn masked(&self) -> String {
        self.0.masked()
    }

    /// The keyed hash that the account is found by: a stolen database does not tell who has one.
    pub fn key(&self, vault: &Vault) -> AddressIndex {
        vault.index(HOUSE, &self.0)
    }
}

impl fmt::Debug for AccountEmail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

/// A name of a person that cannot be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("has 0 to 100 characters and no control characters")]
pub struct PersonNameError;

/// What a person is called: as [`tenant::name`], or nothing.
///
/// ```
/// use wotp_core::domain::user::person_name;
/// assert_eq!(person_name(" Ada ").unwrap(), "Ada");
/// assert_eq!(person_name("  ").unwrap(), "");
/// assert!(person_name("\u{7}").is_err());
/// ```
///
/// # Errors
/// [`PersonNameError`].
pub fn person_name(text: &str) -> Result<String, PersonNameError> {
    match text.trim() {
        "" => Ok(String::new()),
        name => tenant::name(name).map_err(|_| PersonNameError),
    }
}

/// A person with an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// What the account is found by; see [`AccountEmail::key`].
    pub email_key: AddressIndex,
    /// The address, sealed.
    pub email: Sealed,
    /// The address as lists and logs show it.
    pub email_masked: String,
    /// What they are called; empty until they say.
    #[serde(default)]
    pub name: String,
    /// Argon2id of the password, in PHC form; none for whoever signs in elsewhere.
    #[serde(default)]
    pub password: Option<PasswordHash>,
    /// When they proved that the address is theirs.
    #[serde(default)]
    pub email_confirmed_at: Option<Timestamp>,
    /// How often all that they had signed in to was ended. Sessions, sign-ins under way and device tokens hold the
    /// number that they began with, and hold for as long as it is this one: so however many there are, one commit
    /// ends them.
    #[serde(default)]
    pub epoch: u64,
    /// Since when they run the platform, if they do.
    #[serde(default)]
    pub operator_since: Option<Timestamp>,
    /// When the account began.
    pub created_at: Timestamp,
}

/// Argon2id in PHC form. Shows nothing of itself.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl Entity for User {
    const KIND: &'static str = "user";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("email", self.email_key.as_bytes())]
    }

    /// Operators are few and listed; everybody else is found by address or id.
    fn listed(&self) -> Vec<IndexKey> {
        self.operator_since.map(|_| IndexKey::new("operator", [1])).into_iter().collect()
    }
}

impl User {
    /// A new account without a password, whose address is not confirmed.
    pub fn new(
        id: UserId,
        email: &AccountEmail,
        name: &str,
        now: Timestamp,
        vault: &Vault,
        entropy: &dyn Entropy,
    ) -> Self {
        Self {
            id,
            email_key: email.key(vault),
            email: vault.seal(Purpose::Address, &id.to_bytes(), email.as_str(), entropy),
            email_masked: email.masked(),
            name: name.to_owned(),
            password: None,
            email_confirmed_at: None,
            epoch: 0,
            operator_since: None,
            created_at: now,
        }
    }

    /// Takes another address, which its owner has just proved to be theirs.
    pub fn move_to(&mut self, email: &AccountEmail, now: Timestamp, vault: &Vault, entropy: &dyn Entropy) {
        self.email_key = email.key(vault);
        self.email = vault.seal(Purpose::Address, &self.id.to_bytes(), email.as_str(), entropy);
        self.email_masked = email.masked();
        self.email_confirmed_at = Some(now);
    }

    /// The whole address: for themselves, and to write to them.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn address(&self, vault: &Vault) -> Result<String, VaultError> {
        vault.open(Purpose::Address, &self.id.to_bytes(), &self.email)
    }
}
