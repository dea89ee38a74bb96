//! What an access token says, and the keys that sign it.

use std::fmt;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

use super::Timestamp;
use super::id::{SessionId, UserId};
use super::vault::{Purpose, Sealed, Vault, VaultError};
use crate::ports::{Entity, Entropy, IndexKey, Owner};

/// Whom access tokens are for.
pub const AUDIENCE: &str = "wotp-api";
/// How far another node's clock may be off.
pub const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Longest that a configuration lets an access token hold.
pub const LIFE_SECONDS_MAX: u32 = 3600;
/// How long before its time the next key is shown to whoever keeps a copy of the key set.
pub const SHOWN_BEFORE: SignedDuration = SignedDuration::from_hours(24);

/// What an access token says. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who gave it out.
    pub iss: String,
    /// Whom it is for.
    pub aud: String,
    /// The user's id.
    pub sub: String,
    /// The session's id.
    pub sid: String,
    /// When it was given out.
    pub iat: i64,
    /// From when on it holds.
    pub nbf: i64,
    /// Until when it holds.
    pub exp: i64,
}

/// Why a token that is signed rightly does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimsRefusal {
    /// Its time is over.
    Expired,
    /// It is of the future, of another issuer, or for somebody else.
    Foreign,
}

impl Claims {
    /// What a token of a session says that is given out now.
    pub fn new(issuer: &str, user: UserId, session: SessionId, life: SignedDuration, now: Timestamp) -> Self {
        let now = now.as_second();
        Self {
            iss: issuer.to_owned(),
            aud: AUDIENCE.to_owned(),
            sub: user.to_string(),
            sid: session.to_string(),
            iat: now,
            nbf: now,
            exp: now.saturating_add(life.as_secs()),
        }
    }

    /// Whose it is, if it holds.
    ///
    /// # Errors
    /// [`ClaimsRefusal`].
    pub fn check(&self, issuer: &str, now: Timestamp) -> Result<(UserId, SessionId), ClaimsRefusal> {
        let latest = now.as_second().saturating_add(SKEW.as_secs());
        if self.iss != issuer || self.aud != AUDIENCE || self.iat > latest || self.nbf > latest {
            return Err(ClaimsRefusal::Foreign);
        }
        // Without skew: the node that gave it out and the one that reads it share a clock to the second, and
        // a token that is over is refreshed.
        if self.exp <= now.as_second() {
            return Err(ClaimsRefusal::Expired);
        }
        let (user, session) = (self.sub.parse(), self.sid.parse());
        user.ok().zip(session.ok()).ok_or(ClaimsRefusal::Foreign)
    }
}

/// A key that access tokens are signed with: ed25519.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// 32 hexadecimal digits, which tokens name.
    pub kid: String,
    /// Its place among all keys, from 1.
    pub turn: u64,
    /// The public half, base64url.
    pub public: String,
    /// The private half, sealed.
    pub seed: Sealed,
    /// From when on it signs.
    pub signs_from: Timestamp,
    /// Until when it signs.
    pub signs_until: Timestamp,
    /// Until when what it signed may hold.
    pub kept_until: Timestamp,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("signs_until", &self.signs_until).finish()
    }
}

impl Entity for SigningKey {
    const KIND: &'static str = "signing_key";

    fn id(&self) -> [u8; 16] {
        u128::from_str_radix(&self.kid, 16).unwrap_or(0).to_be_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    /// So that of nodes that make the next key at the same moment one does.
    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("turn", self.turn.to_be_bytes())]
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.kept_until)
    }
}

impl SigningKey {
    /// The key that follows `before`, from `signs_from` on. `public` gives the public half of a seed.
    ///
    /// It is kept for as long as any token may hold: how long they do is for whoever configures the server to change
    /// while it signs.
    pub fn draw(
        before: Option<&Self>,
        signs_from: Timestamp,
        signs_for: SignedDuration,
        public: impl FnOnce(&[u8; 32]) -> String,
        vault: &Vault,
        entropy: &dyn Entropy,
    ) -> Self {
        use std::fmt::Write as _;
        let (mut id, mut seed) = ([0; 16], zeroize::Zeroizing::new([0; 32]));
        entropy.fill(&mut id);
        entropy.fill(&mut *seed);
        let hex = zeroize::Zeroizing::new(seed.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        }));
        let after = |moment: Timestamp, wait| moment.saturating_add(wait).unwrap_or(Timestamp::MAX);
        let signs_until = after(signs_from, signs_for);
        Self {
            kid: format!("{:032x}", u128::from_be_bytes(id)),
            turn: before.map_or(0, |key| key.turn).saturating_add(1),
            public: public(&seed),
            seed: vault.seal(Purpose::SigningKey, &id, &hex, entropy),
            signs_from,
            signs_until,
            kept_until: after(signs_until, SignedDuration::from_secs(LIFE_SECONDS_MAX.into()).saturating_add(SKEW)),
        }
    }

    /// The private half.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn seed(&self, vault: &Vault) -> Result<zeroize::Zeroizing<[u8; 32]>, VaultError> {
        let text = zeroize::Zeroizing::new(vault.open(Purpose::SigningKey, &self.id(), &self.seed)?);
        let mut seed = zeroize::Zeroizing::new([0; 32]);
        for (n, byte) in seed.iter_mut().enumerate() {
            let digits = text.get(2 * n..2 * n + 2).ok_or(VaultError::Damaged)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| VaultError::Damaged)?;
        }
        Ok(seed)
    }

    /// Whether it signs now.
    pub fn signs(&self, now: Timestamp) -> bool {
        self.signs_from <= now && now < self.signs_until
    }

    /// Whether what it signed may hold.
    pub fn holds(&self, now: Timestamp) -> bool {
        now < self.kept_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::builders::{entropy, noon, seconds, vault};

    fn claims() -> Claims {
        let ids = (UserId::new(noon(), entropy()), SessionId::new(noon(), entropy()));
        Claims::new("https://wotp.example", ids.0, ids.1, SignedDuration::from_mins(15), noon())
    }

    #[test]
    fn a_token_holds_for_its_time_its_issuer_and_its_audience_only() {
        let check = |claims: Claims, now| claims.check("https://wotp.example", now);
        assert!(check(claims(), seconds(899)).is_ok());
        assert_eq!(check(claims(), seconds(900)), Err(ClaimsRefusal::Expired));
        assert!(check(claims(), seconds(-60)).is_ok(), "another node's clock may be off");
        assert_eq!(check(claims(), seconds(-61)), Err(ClaimsRefusal::Foreign));
        let later = Claims { nbf: seconds(61).as_second(), ..claims() };
        assert_eq!(check(later, noon()), Err(ClaimsRefusal::Foreign));
        for wrong in [
            Claims { iss: "https://other.example".to_owned(), ..claims() },
            Claims { aud: "other".to_owned(), ..claims() },
            Claims { sub: claims().sid, ..claims() },
        ] {
            assert_eq!(check(wrong, noon()), Err(ClaimsRefusal::Foreign));
        }
    }

    #[test]
    fn a_signing_key_opens_its_seed_and_is_kept_until_the_longest_of_its_tokens_are_over() {
        let mut drawn = Vec::new();
        let note = |seed: &[u8; 32]| {
            drawn.extend_from_slice(seed);
            String::new()
        };
        let key = SigningKey::draw(None, noon(), SignedDuration::from_hours(24), note, vault(), entropy());
        assert_eq!(key.seed(vault()).unwrap().as_slice(), drawn);
        assert!(key.signs(seconds(86_399)) && !key.signs(seconds(86_400)));
        assert!(key.holds(seconds(86_400 + 3659)) && !key.holds(seconds(86_400 + 3660)));
    }
}
