//! What waits for a code that went to an email address: a sign-up, a new password, or a new address.

use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{SessionId, VerificationId};
use super::user::PasswordHash;
use super::vault::{AddressIndex, CodeHash, Sealed};
use crate::ports::{Entity, Owner};

/// What waits for a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The verification that carries the code.
    pub id: VerificationId,
    /// The address, sealed.
    pub email: Sealed,
    /// What happens when the code is right.
    pub then: Then,
    /// Until when the code may come back.
    #[serde(default)]
    pub answer_by: Option<Timestamp>,
    /// What is kept of the right code while it is used up, which is another commit: after a crash in between, the
    /// verification says that it was approved, and no more by which code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub typed: Option<CodeHash>,
    /// What is kept of the code once it was right: what it was for may fail to happen, and the same code finishes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proved_by: Option<CodeHash>,
    /// Wrong codes since then.
    #[serde(default)]
    pub failures: u32,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

/// What happens when the code is right.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Then {
    /// An account begins. Nothing of it is there before: nobody can take an address that is not theirs.
    SignUp {
        /// What the person is called.
        name: String,
        /// Their password.
        password: PasswordHash,
        /// What their tenant is called; none for somebody who begins without one.
        #[serde(default)]
        tenant: Option<String>,
    },
    /// The account takes another password.
    Reset,
    /// Somebody without a password begins a second factor.
    EnrolSecondFactor {
        /// The session that asked.
        session: SessionId,
    },
    /// The account moves to the address that the code went to.
    ChangeEmail {
        /// The session that asked: when it ends, as with a password reset, the code is worth nothing.
        session: SessionId,
        /// What the account was found by. Of two changes that wait at once, one is made.
        from: AddressIndex,
    },
}

/// Wrong codes after a right one, from which on that one does not help any more.
const FAILURES_MAX: u32 = 5;

impl Pending {
    /// Whether a code that was right once still finishes what it was for.
    pub fn may_finish(&self, now: Timestamp) -> bool {
        self.proved_by.is_some() && self.failures < FAILURES_MAX && self.answer_by.is_some_and(|by| now < by)
    }
}

impl Entity for Pending {
    const KIND: &'static str = "pending_code";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}
