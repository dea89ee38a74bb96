use async_trait::async_trait;

use crate::domain::password::Password;
use crate::domain::user::PasswordHash;

/// What came of comparing a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compared {
    /// Whether it is the right one.
    pub right: bool,
    /// Whether it was hashed with other parameters than a new one is.
    pub outdated: bool,
}

/// A password cannot be hashed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordsError {
    /// Too many wait already.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// What is kept is no hash, or there is no memory.
    #[error("a password cannot be hashed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A place among those whose passwords are hashed, or wait for it; given back when it is dropped.
pub struct HashPlace(
    #[expect(dead_code, reason = "what gives the place back when it is dropped")] Box<dyn Send + Sync>,
);

impl HashPlace {
    /// A place that is given back by dropping this.
    pub fn new(held: impl Send + Sync + 'static) -> Self {
        Self(Box::new(held))
    }
}

/// Hashes passwords, slowly and on purpose. Bounded: it must not take what everything else needs.
#[async_trait]
pub trait Passwords: Send + Sync {
    /// Takes a place for a client, before anything is counted or sent: who holds one is not turned away for being
    /// one too many any more. One client never gets all of them.
    ///
    /// # Errors
    /// [`PasswordsError::Busy`].
    fn place(&self, client: &[u8]) -> Result<HashPlace, PasswordsError>;

    /// The hash of a new password.
    ///
    /// # Errors
    /// [`PasswordsError`].
    async fn hash(&self, password: &Password, salt: [u8; 16]) -> Result<PasswordHash, PasswordsError>;

    /// Compares a password with a hash. Without one it takes as long, and is wrong: how long an answer
    /// takes does not tell whether there is an account.
    ///
    /// # Errors
    /// [`PasswordsError`].
    async fn compare(&self, password: &Password, hash: Option<&PasswordHash>) -> Result<Compared, PasswordsError>;
}
