//! Passwords hashed in a process of its own, as a node hashes them: what logins cost others by the processor that
//! hashing takes, wherever it is done.

use std::io::{self, Read as _};
use std::process::{Child, Stdio};
use std::sync::Arc;

use tokio::task::{JoinError, JoinSet, spawn_blocking};
use wotp_core::domain::password::Password;
use wotp_core::ports::{Passwords as _, PasswordsError};
use wotp_server::config::Config;
use wotp_server::people::Argon2Passwords;

use crate::stand::{Stand, StandError};

/// Why nothing is hashed.
#[derive(Debug, thiserror::Error)]
pub enum HashingError {
    /// Argon2 does not take the default parameters.
    #[error("{0}")]
    Settings(String),
    /// A password could not be hashed.
    #[error("a password could not be hashed")]
    Hash(#[from] PasswordsError),
    /// Standard input cannot be waited for.
    #[error("standard input cannot be waited for")]
    Input(#[from] JoinError),
}

/// Hashes passwords for `callers` at once, each again as soon as the last one is done, until standard input ends.
///
/// # Errors
/// [`HashingError`].
pub async fn hash(callers: usize) -> Result<(), HashingError> {
    let passwords = Argon2Passwords::new(Config::default().auth.hashing()).map_err(HashingError::Settings)?;
    let passwords = Arc::new(passwords);
    let mut hashing = JoinSet::new();
    for _ in 0..callers {
        let passwords = Arc::clone(&passwords);
        hashing.spawn(async move {
            loop {
                passwords.hash(&Password::typed("a sentence that nobody else thought of"), [7; 16]).await?;
            }
        });
    }
    let mut over = spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
    tokio::select! {
        over = &mut over => over.map(|_| ()).map_err(HashingError::from),
        Some(failed) = hashing.join_next() => failed?,
    }
}

/// Such a process, seen from the driver. Dropping it ends it.
pub struct Hashing(Child);

impl Hashing {
    /// Starts one that hashes for `callers` at once.
    ///
    /// # Errors
    /// [`StandError`].
    pub fn start(callers: usize) -> Result<Self, StandError> {
        let mut command = Stand::own(["hash", "--callers", &callers.to_string()])?;
        Ok(Self(command.stdin(Stdio::piped()).spawn()?))
    }
}

impl Drop for Hashing {
    fn drop(&mut self) {
        // One that has ended by itself is no trouble.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
