//! Sessions: from login to logout, with a refresh token that is another each time.
//!
//! A refresh token is `wr_` and 64 bytes: the session's id, a part that all tokens of the session share,
//! and a secret that turns. Whoever shows the shared part with a secret that turned away before has a copy
//! of an older token: then the session ends, for both. Whoever does not know the shared part can end
//! nothing.
//!
//! The next secret is derived from the one before with a key of the vault. So two tabs that refresh at the
//! same moment, and a caller whose reply was lost, get the same next token within [`GRACE`], and neither is
//! taken for a thief. All that is kept is SHA-256.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::Timestamp;
use super::id::{SessionId, UserId};
use super::template;
use super::user::User;
use super::vault::Vault;
use crate::ports::{Entity, Entropy, IndexKey, Owner};

/// The index by which a person's sessions are listed: its value is the user's id, 16 bytes.
pub const BY_USER: &str = "user";
/// How long the token before still leads to the one that took its place.
pub const GRACE: SignedDuration = SignedDuration::from_secs(10);
/// How long a session lasts at most, however often it is refreshed: then the person signs in again.
pub const LIFE_MAX: SignedDuration = SignedDuration::from_hours(90 * 24);
/// Characters that are kept of what a browser says it is.
const AGENT_LENGTH_MAX: usize = 200;

const PREFIX: &str = "wr_";
const FAMILY_SIZE: usize = 16;
const SECRET_SIZE: usize = 32;
const TOKEN_SIZE: usize = 16 + FAMILY_SIZE + SECRET_SIZE;

/// How a session's refresh token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// In a cookie that no script can read.
    Cookie,
    /// In the body.
    Body,
}

/// SHA-256 of a part of a token, as hexadecimal digits.
type Hash = String;

/// A session of a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// When it began.
    pub created_at: Timestamp,
    /// When its refresh token was last used.
    pub refreshed_at: Timestamp,
    /// When it ends by itself, unless it is refreshed before.
    pub expires_at: Timestamp,
    /// How its refresh token travels.
    pub transport: Transport,
    /// What the client says it is.
    #[serde(default)]
    pub agent: Option<String>,
    /// The address from which it was last used.
    #[serde(default)]
    pub ip: Option<std::net::IpAddr>,
    /// The [`epoch`](super::user::User::epoch) of its person that it belongs to.
    #[serde(default)]
    pub epoch: u64,
    /// When it was ended, if it was and is kept all the same.
    #[serde(default)]
    pub revoked_at: Option<Timestamp>,
    family: Hash,
    current: Hash,
    #[serde(default)]
    previous: Option<Hash>,
}

impl Entity for Session {
    const KIND: &'static str = "session";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn listed(&self) -> Vec<IndexKey> {
        vec![IndexKey::new(BY_USER, self.user.to_bytes())]
    }

    /// When nothing is left to keep it for: a token that is shown later is refused all the same.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

/// A refresh token.
pub struct RefreshToken(Zeroizing<[u8; TOKEN_SIZE]>);

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(…)")
    }
}

impl RefreshToken {
    fn draw(session: SessionId, entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; TOKEN_SIZE]);
        bytes[..16].copy_from_slice(&session.to_bytes());
        entropy.fill(&mut bytes[16..]);
        Self(bytes)
    }

    /// Reads what [`reveal`](Self::reveal) gave; nothing when it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(text.strip_prefix(PREFIX)?).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// The token, for its owner.
    pub fn reveal(&self) -> String {
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(*self.0))
    }

    /// Of which session it says it is.
    pub fn session(&self) -> SessionId {
        let mut id = [0; 16];
        id.copy_from_slice(&self.0[..16]);
        SessionId::from_bytes(id)
    }

    fn family(&self) -> Hash {
        hash(&self.0[16..16 + FAMILY_SIZE])
    }

    fn secret(&self) -> Hash {
        hash(&self.0[16 + FAMILY_SIZE..])
    }

    /// The token that follows it.
    fn next(&self, vault: &Vault) -> Self {
        let mut bytes = self.0.clone();
        let secret = vault.next_secret(&*self.0);
        bytes[16 + FAMILY_SIZE..].copy_from_slice(&*secret);
        Self(bytes)
    }
}

fn hash(bytes: &[u8]) -> Hash {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn same(one: &str, two: &str) -> bool {
    one.as_bytes().ct_eq(two.as_bytes()).into()
}

/// What a refresh token does.
#[derive(Debug)]
pub enum Turned {
    /// The session has turned: keep it, and give this token out.
    Next(RefreshToken),
    /// It turned a moment ago: give out the token that it turned to.
    Again(RefreshToken),
    /// It is a copy of an older token: the session is to end.
    Reused,
    /// It is no token of this session, or the session is over.
    Refused,
}

impl Session {
    /// A new session and its first token.
    pub fn begin(
        user: &User,
        transport: Transport,
        life: SignedDuration,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, RefreshToken) {
        let id = SessionId::new(now, entropy);
        let token = RefreshToken::draw(id, entropy);
        let session = Self {
            id,
            user: user.id,
            created_at: now,
            refreshed_at: now,
            expires_at: now.saturating_add(life).unwrap_or(Timestamp::MAX),
            transport,
            agent: None,
            ip: None,
            epoch: user.epoch,
            revoked_at: None,
            family: token.family(),
            current: token.secret(),
            previous: None,
        };
        (session, token)
    }

    /// From where it is used, as its owner sees it in a list.
    #[must_use]
    pub fn from_where(mut self, agent: Option<&str>, ip: Option<std::net::IpAddr>) -> Self {
        let plain = |agent: &str| agent.chars().filter(|c| !template::is_control(*c)).take(AGENT_LENGTH_MAX).collect();
        self.agent = agent.map(plain);
        self.ip = ip;
        self
    }

    /// Whether it is none of those that were ended all at once. Later than the person's as they were read: they
    /// have ended all others since.
    pub fn is_of(&self, user: &User) -> bool {
        self.user == user.id && self.epoch >= user.epoch
    }

    /// Whether it lets anybody in, as far as it knows: see [`is_of`](Self::is_of).
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && now < self.expires_at
    }

    /// Whether a token is one of this session's, whichever: what logging out asks.
    pub fn knows(&self, token: &RefreshToken) -> bool {
        same(&self.family, &token.family())
    }

    /// Uses a refresh token.
    pub fn turn(&mut self, token: &RefreshToken, life: SignedDuration, now: Timestamp, vault: &Vault) -> Turned {
        if !self.knows(token) || !self.is_open(now) {
            return Turned::Refused;
        }
        let secret = token.secret();
        if same(&self.current, &secret) {
            let next = token.next(vault);
            self.previous = Some(std::mem::replace(&mut self.current, next.secret()));
            self.refreshed_at = now;
            let latest = self.created_at.saturating_add(LIFE_MAX).unwrap_or(Timestamp::MAX);
            self.expires_at = now.saturating_add(life).unwrap_or(Timestamp::MAX).min(latest);
            return Turned::Next(next);
        }
        let just_turned = now.duration_since(self.refreshed_at) < GRACE;
        if just_turned && self.previous.as_ref().is_some_and(|previous| same(previous, &secret)) {
            return Turned::Again(token.next(vault));
        }
        Turned::Reused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user::AccountEmail;
    use crate::testing::SeededEntropy;
    use crate::testing::builders::{noon, seconds, vault};

    const WEEK: SignedDuration = SignedDuration::from_hours(7 * 24);

    fn begun() -> (Session, RefreshToken) {
        let entropy = SeededEntropy::new(5);
        Session::begin(&ada(), Transport::Body, WEEK, noon(), &entropy)
    }

    fn ada() -> User {
        let (entropy, email) = (SeededEntropy::new(6), AccountEmail::parse("ada@example.com").unwrap());
        User::new(UserId::new(noon(), &entropy), &email, "", noon(), vault(), &entropy)
    }

    fn next(turned: Turned) -> RefreshToken {
        match turned {
            Turned::Next(token) => token,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_token_turns_and_the_one_before_leads_to_the_same_next_one_for_a_moment() {
        let (mut session, first) = begun();
        let second = next(session.turn(&first, WEEK, seconds(60), vault()));
        assert_ne!(first.reveal(), second.reveal());
        match session.turn(&first, WEEK, seconds(69), vault()) {
            Turned::Again(again) => assert_eq!(again.reveal(), second.reveal()),
            other => panic!("{other:?}"),
        }
        next(session.turn(&second, WEEK, seconds(69), vault()));
    }

    #[test]
    fn a_session_that_is_refreshed_for_ever_ends_after_ninety_days() {
        let (mut session, mut token) = begun();
        let mut now = noon();
        while now < session.expires_at {
            token = next(session.turn(&token, WEEK, now, vault()));
            now = now.saturating_add(WEEK - SignedDuration::from_secs(1)).unwrap();
        }
        assert_eq!(session.expires_at, noon().saturating_add(LIFE_MAX).unwrap());
    }

    #[test]
    fn an_older_token_is_a_copy() {
        let (mut session, first) = begun();
        let second = next(session.turn(&first, WEEK, seconds(60), vault()));
        assert!(matches!(session.turn(&first, WEEK, seconds(70), vault()), Turned::Reused));
        next(session.turn(&second, WEEK, seconds(71), vault()));
        assert!(matches!(session.turn(&first, WEEK, seconds(72), vault()), Turned::Reused), "two turns ago");
    }

    #[test]
    fn whoever_knows_only_the_sessions_id_can_end_nothing() {
        let (mut session, _) = begun();
        let guess = RefreshToken::draw(session.id, &SeededEntropy::new(9));
        assert!(matches!(session.turn(&guess, WEEK, seconds(1), vault()), Turned::Refused));
    }

    #[test]
    fn a_session_that_is_over_turns_no_more() {
        let (mut session, first) = begun();
        session.revoked_at = Some(seconds(1));
        assert!(matches!(session.turn(&first, WEEK, seconds(2), vault()), Turned::Refused));
        let (mut session, first) = begun();
        assert!(matches!(session.turn(&first, WEEK, session.expires_at, vault()), Turned::Refused));
    }

    #[test]
    fn a_session_is_of_its_persons_epoch_or_a_later_one() {
        let (session, _) = begun();
        let mut ada = ada();
        assert!(session.is_of(&ada));
        ada.epoch = 1;
        assert!(!session.is_of(&ada));
        assert!(Session { epoch: 2, ..session }.is_of(&ada));
    }

    #[test]
    fn a_token_survives_its_text() {
        let (session, token) = begun();
        let read = RefreshToken::parse(&token.reveal()).unwrap();
        assert_eq!((read.session(), read.reveal()), (session.id, token.reveal()));
        for bad in ["", "wr_", "wr_AAAA", &token.reveal()[3..]] {
            assert!(RefreshToken::parse(bad).is_none(), "{bad}");
        }
    }
}
