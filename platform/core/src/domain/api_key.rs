//! API keys: drawn, shown once, kept as a hash, and refused at a glance when mistyped.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::Timestamp;
use super::id::{ApiKeyId, ServiceId, TenantId};
use super::mode::Mode;
use crate::ports::Entropy;

/// NEVER change the prefixes: it revokes every key already issued.
const PREFIX_LIVE: &str = "wk_live_";
const PREFIX_TEST: &str = "wk_test_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// Random characters: 32 of 62 are 190 bits.
const RANDOM_LENGTH: usize = 32;
/// Characters of the checksum: 62^6 holds a CRC-32.
const CHECKSUM_LENGTH: usize = 6;
/// Characters of a key that are shown afterwards: the prefix and four more.
const SHOWN_LENGTH: usize = PREFIX_LIVE.len() + 4;
/// How long a key is kept once it is over: 90 days, so that whoever looks why a program is refused finds it. The
/// audit log tells of it for longer.
pub const KEPT: SignedDuration = SignedDuration::from_hours(24 * 90);

/// A key in clear. It exists once, at its making, and with each call that carries it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// SHA-256 of a key: what is stored, and what never authenticates by itself.
///
/// A plain hash is enough here: 190 random bits cannot be guessed.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash(pub [u8; 32]);

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

/// The text is no key of ours: found without a look-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// It does not begin like a key.
    #[error("an API key begins with `wk_live_` or `wk_test_`")]
    Prefix,
    /// Its checksum is wrong.
    #[error("this API key has a typing error: its checksum does not fit; copy it again, whole")]
    Checksum,
}

fn checksum(body: &str) -> [u8; CHECKSUM_LENGTH] {
    let mut rest = crc32fast::hash(body.as_bytes());
    let mut text = [b'0'; CHECKSUM_LENGTH];
    for character in text.iter_mut().rev() {
        *character = ALPHABET[rest as usize % ALPHABET.len()];
        rest /= 62;
    }
    text
}

impl Secret {
    /// Draws a new key.
    pub fn draw(mode: Mode, entropy: &dyn Entropy) -> Self {
        let mut text = Zeroizing::new(String::with_capacity(SHOWN_LENGTH + RANDOM_LENGTH + CHECKSUM_LENGTH));
        text.push_str(match mode {
            Mode::Live => PREFIX_LIVE,
            Mode::Test => PREFIX_TEST,
        });
        let end = text.len() + RANDOM_LENGTH;
        let mut random = Zeroizing::new([0; 64]);
        while text.len() < end {
            entropy.fill(&mut *random);
            // 248 = 4 × 62: bytes from there on would favour some characters.
            let fair = random.iter().filter(|byte| **byte < 248);
            let missing = end - text.len();
            text.extend(fair.take(missing).map(|byte| char::from(ALPHABET[usize::from(*byte) % 62])));
        }
        let sum = checksum(&text);
        text.extend(sum.map(char::from));
        Self(text)
    }

    /// Reads a key as it was copied.
    ///
    /// # Errors
    /// [`SecretError`] when it cannot be a key, without any look-up.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let text = text.trim();
        let body =
            text.strip_prefix(PREFIX_LIVE).or_else(|| text.strip_prefix(PREFIX_TEST)).ok_or(SecretError::Prefix)?;
        let whole =
            body.len() == RANDOM_LENGTH + CHECKSUM_LENGTH && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !whole {
            return Err(SecretError::Checksum);
        }
        let (signed, sum) = text.split_at(text.len() - CHECKSUM_LENGTH);
        if checksum(signed) != sum.as_bytes() {
            return Err(SecretError::Checksum);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The key in clear, to be shown once.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What is stored of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// Enough to recognise it in a list, as in `wk_live_3fKq`.
    pub fn shown(&self) -> &str {
        &self.0[..SHOWN_LENGTH]
    }
}

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)+) => {
        /// What a key may do.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Scope {
            $($(#[$doc])* #[serde(rename = $text)] $name,)+
        }

        impl Scope {
            /// Every scope.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in the API.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)+ }
            }
        }
    };
}

scopes! {
    /// Start, check, resend and cancel verifications.
    VerificationsWrite = "verifications:write",
    /// Read verifications.
    VerificationsRead = "verifications:read",
    /// Send direct messages.
    MessagesWrite = "messages:write",
    /// Read direct messages.
    MessagesRead = "messages:read",
    /// Read services.
    ServicesRead = "services:read",
    /// Create and change services and their templates.
    ServicesWrite = "services:write",
    /// Read usage and limits.
    UsageRead = "usage:read",
    /// See whole addresses instead of masked ones.
    AddressesRead = "addresses:read",
    /// Read analytics.
    AnalyticsRead = "analytics:read",
    /// Read events and follow them live.
    EventsRead = "events:read",
    /// Read webhook endpoints and their attempts.
    WebhooksRead = "webhooks:read",
    /// Create, change, test and replay webhook endpoints.
    WebhooksWrite = "webhooks:write",
    /// Read the guard's rules and what it did.
    GuardRead = "guard:read",
    /// Change the guard's rules, and release what it blocked.
    GuardWrite = "guard:write",
    /// Read which channels there are, and the tenant's connections to them.
    ConnectionsRead = "connections:read",
    /// Make, change and delete connections.
    ConnectionsWrite = "connections:write",
}

impl std::str::FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL.iter().copied().find(|scope| scope.name() == text).ok_or_else(|| ScopeError(text.to_owned()))
    }
}

impl Scope {
    /// What a key may do when nothing else is said: all but seeing whole addresses, and leading codes through another
    /// account, where whoever stole the key would read them.
    pub fn standard() -> BTreeSet<Self> {
        let held_back = [Self::AddressesRead, Self::ConnectionsWrite];
        Self::ALL.iter().copied().filter(|scope| !held_back.contains(scope)).collect()
    }
}

/// There is no such scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope `{0}`; there are: {known}", known = Scope::ALL.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(", "))]
pub struct ScopeError(pub String);

/// What is known of a key: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id.
    pub id: ApiKeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What the tenant calls it.
    pub name: String,
    /// Live or test.
    pub mode: Mode,
    /// Its first characters.
    pub shown: String,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only service it may use; none means any of the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceId>,
    /// When it stops working.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// Networks it may be used from; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_ips: Vec<IpNet>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
    /// The key that it took the place of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaces: Option<ApiKeyId>,
    /// The key that took its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<ApiKeyId>,
    /// How often it was changed.
    #[serde(default)]
    pub version: u64,
}

/// Why a known key does not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRefusal {
    /// It was revoked.
    Revoked,
    /// It has expired.
    Expired,
    /// Another took its place, and the time that both worked is over.
    Replaced,
    /// It may not be used from this address.
    Ip,
}

/// Whether a key works, from where it may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It does.
    Working,
    /// Its time is over.
    Expired,
    /// Somebody stopped it.
    Revoked,
}

impl ApiKey {
    /// How it stands at `now`.
    pub fn state(&self, now: Timestamp) -> KeyState {
        match self.admit(now, None) {
            Err(KeyRefusal::Revoked) => KeyState::Revoked,
            Err(KeyRefusal::Expired | KeyRefusal::Replaced) => KeyState::Expired,
            // Wherever that is.
            Ok(()) | Err(KeyRefusal::Ip) => KeyState::Working,
        }
    }

    /// Whether it will never work again.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.revoked_at.is_some() || self.expires_at.is_some_and(|at| at <= now)
    }

    /// When it stopped working, or will; none for one that works until somebody stops it.
    pub fn over_at(&self) -> Option<Timestamp> {
        match (self.revoked_at, self.expires_at) {
            (Some(revoked), Some(expires)) => Some(revoked.min(expires)),
            (revoked, expires) => revoked.or(expires),
        }
    }

    /// Whether the key works at `now` for a caller at `ip`.
    ///
    /// # Errors
    /// [`KeyRefusal`].
    pub fn admit(&self, now: Timestamp, ip: Option<IpAddr>) -> Result<(), KeyRefusal> {
        if self.revoked_at.is_some_and(|at| at <= now) {
            return Err(KeyRefusal::Revoked);
        }
        if self.expires_at.is_some_and(|at| at <= now) {
            return Err(if self.replaced_by.is_some() { KeyRefusal::Replaced } else { KeyRefusal::Expired });
        }
        // An IPv4 client of a dual-stack socket arrives as ::ffff:a.b.c.d.
        let allowed = |ip: IpAddr| self.allowed_ips.iter().any(|net| net.contains(&ip.to_canonical()));
        if !self.allowed_ips.is_empty() && !ip.is_some_and(allowed) {
            return Err(KeyRefusal::Ip);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::sync::atomic::{AtomicU8, Ordering};

    struct Counting(AtomicU8);
    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(37, Ordering::Relaxed);
            }
        }
    }

    fn draw(mode: Mode, seed: u8) -> Secret {
        Secret::draw(mode, &Counting(AtomicU8::new(seed)))
    }

    #[test]
    fn a_drawn_key_is_read_back_and_shows_its_mode() {
        let key = draw(Mode::Test, 1);
        assert_eq!(Secret::parse(key.reveal()).unwrap(), key);
        assert_eq!(key.reveal().len(), 8 + 32 + 6);
        assert!(key.shown().starts_with("wk_test_"));
    }

    #[test]
    fn the_hash_is_plain_sha256_and_is_no_key() {
        let hash = draw(Mode::Live, 2).hash();
        let hex: String = hash.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(Secret::parse(&hex), Err(SecretError::Prefix));
        assert_eq!(Secret::parse(&format!("wk_live_{}", &hex[..38])), Err(SecretError::Checksum));
    }

    fn key() -> ApiKey {
        ApiKey {
            id: ApiKeyId::from_bytes([1; 16]),
            tenant: TenantId::from_bytes([1; 16]),
            name: String::new(),
            mode: Mode::Live,
            shown: String::new(),
            scopes: Scope::standard(),
            service: None,
            expires_at: None,
            allowed_ips: vec![],
            created_at: Timestamp::UNIX_EPOCH,
            revoked_at: None,
            replaces: None,
            replaced_by: None,
            version: 0,
        }
    }

    #[test]
    fn a_key_works_until_it_expires_or_is_revoked() {
        let at = |s| Timestamp::from_second(s).unwrap();
        let key = ApiKey { expires_at: Some(at(10)), ..key() };
        assert_eq!(key.admit(at(9), None), Ok(()));
        assert_eq!(key.admit(at(10), None), Err(KeyRefusal::Expired));
        let key = ApiKey { revoked_at: Some(at(5)), ..key };
        assert_eq!(key.admit(at(5), None), Err(KeyRefusal::Revoked));
    }

    #[test]
    fn a_key_is_over_when_it_was_revoked_or_expires_whichever_is_first() {
        let at = |s| Some(Timestamp::from_second(s).unwrap());
        let now = Timestamp::from_second(7).unwrap();
        for (revoked_at, expires_at, over_at, state) in [
            (None, None, None, KeyState::Working),
            (None, at(8), at(8), KeyState::Working),
            (None, at(7), at(7), KeyState::Expired),
            (at(5), None, at(5), KeyState::Revoked),
            (at(5), at(8), at(5), KeyState::Revoked),
            (at(6), at(4), at(4), KeyState::Revoked),
        ] {
            let key = ApiKey { revoked_at, expires_at, ..key() };
            assert_eq!((key.over_at(), key.state(now)), (over_at, state));
            assert_eq!(key.is_over(now), state != KeyState::Working);
        }
    }

    #[test]
    fn a_key_works_only_from_its_networks() {
        let key =
            ApiKey { allowed_ips: vec!["192.0.2.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()], ..key() };
        let try_from = |ip: &str| key.admit(Timestamp::UNIX_EPOCH, Some(ip.parse().unwrap()));
        assert_eq!(try_from("192.0.2.9"), Ok(()));
        assert_eq!(try_from("::ffff:192.0.2.9"), Ok(()));
        assert_eq!(try_from("2001:db8::1"), Ok(()));
        assert_eq!(try_from("198.51.100.1"), Err(KeyRefusal::Ip));
        assert_eq!(key.admit(Timestamp::UNIX_EPOCH, None), Err(KeyRefusal::Ip));
    }

    #[test]
    fn the_standard_scopes_do_not_show_whole_addresses() {
        assert!(!Scope::standard().contains(&Scope::AddressesRead));
        assert_eq!("usage:read".parse(), Ok(Scope::UsageRead));
        assert!("usage:raed".parse::<Scope>().unwrap_err().to_string().contains("usage:read"));
    }

    proptest! {
        #[test]
        fn one_changed_character_is_always_noticed(seed in any::<u8>(), at in 8usize..46, to in 0usize..62) {
            let key = draw(Mode::Live, seed);
            let mut text = key.reveal().as_bytes().to_vec();
            prop_assume!(text[at] != ALPHABET[to]);
            text[at] = ALPHABET[to];
            prop_assert_eq!(Secret::parse(std::str::from_utf8(&text).unwrap()), Err(SecretError::Checksum));
        }

        #[test]
        fn any_text_is_a_key_or_an_error(text in "(wk_(live|test)_)?\\PC{0,60}") {
            let _ = Secret::parse(&text);
        }
    }
}
