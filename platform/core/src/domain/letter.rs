//! What the platform is to write to somebody, until it is written.

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::LetterId;
use super::vault::{Purpose, Sealed, Vault, VaultError};
use crate::ports::{Entity, Entropy, Owner};

/// How long it is left to whoever stored it to send it, before the sweep does.
const FIRST: SignedDuration = SignedDuration::from_secs(2);
/// How soon one that could not be sent is tried again.
const PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// For how long that is tried: for less than the day for which the idempotency keys of what was sent are kept, so that
/// nobody is written to twice.
const TRIED: SignedDuration = SignedDuration::from_hours(23);

/// A letter. Stored in one commit with what it tells of, so that whatever stops in between neither keeps it from going
/// out nor sends it for nothing; gone once it is a message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its id: what is sent of it is one message, however often it is tried.
    pub id: LetterId,
    /// To which email address.
    pub to: Sealed,
    /// What it says, which may be a secret of whoever it is for.
    pub content: Sealed,
    /// When it was written.
    pub at: Timestamp,
    /// When the sweep sends it.
    pub next_at: Timestamp,
    /// Which invitation it holds the token of, by the token's hash: without it there is nothing to write about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation: Option<[u8; 32]>,
}

impl Letter {
    /// A letter to an address, written now.
    pub fn new(to: &str, content: &str, now: Timestamp, vault: &Vault, entropy: &dyn Entropy) -> Self {
        let id = LetterId::new(now, entropy);
        Self {
            id,
            to: vault.seal(Purpose::Address, &id.to_bytes(), to, entropy),
            content: vault.seal(Purpose::Content, &id.to_bytes(), content, entropy),
            at: now,
            next_at: now.saturating_add(FIRST).unwrap_or(Timestamp::MAX),
            invitation: None,
        }
    }

    /// The address that it goes to, and what it says.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open(&self, vault: &Vault) -> Result<(String, String), VaultError> {
        let owner = self.id.to_bytes();
        Ok((vault.open(Purpose::Address, &owner, &self.to)?, vault.open(Purpose::Content, &owner, &self.content)?))
    }

    /// It could not be sent: it waits for another try.
    pub fn try_again(&mut self, now: Timestamp) {
        self.next_at = now.saturating_add(PAUSE).unwrap_or(Timestamp::MAX);
    }

    /// Whether it was tried for long enough.
    pub fn is_over(&self, now: Timestamp) -> bool {
        now.duration_since(self.at) >= TRIED
    }
}

impl Entity for Letter {
    const KIND: &'static str = "letter";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.next_at)
    }
}
