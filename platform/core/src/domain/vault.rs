//! Secrets at rest: keyed hashes of codes, sealed copies, and the index by which addresses are found.
//!
//! A stolen database tells neither codes nor numbers: a code of six digits under a plain hash, or a
//! slow one, falls to a million guesses, so the hash is keyed with a key that the database has not.

mod connection;

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD as BASE64, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

pub use self::connection::{OpenedState, StateName, StateVault};

use super::address::Address;
use super::code::Code;
use super::id::{SessionId, TenantId};
use crate::ports::Entropy;

/// Bytes of a master key.
pub const MASTER_KEY_SIZE: usize = 32;
const NONCE_SIZE: usize = 24;
/// Bytes of an address index that neighbours share; see [`AddressIndex`].
const INDEX_PREFIX_SIZE: usize = 8;
const INDEX_SIZE: usize = 24;

/// A master key and the number it is known by. Everything else derives from it.
pub struct MasterKey {
    /// Written with all that this key seals.
    pub id: u8,
    /// 32 random bytes.
    pub bytes: Zeroizing<[u8; MASTER_KEY_SIZE]>,
}

/// What is stored of a code: its HMAC under a key of ours, bound to the verification.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeHash {
    #[serde(rename = "k")]
    key: u8,
    #[serde(rename = "h")]
    mac: Blob,
}

/// A text that only we can read. Bound to what it belongs to, so it cannot be moved elsewhere.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sealed(Blob);

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealed(…)")
    }
}

impl fmt::Debug for CodeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeHash(…)")
    }
}

/// Bytes that travel in JSON as base64.
#[derive(Clone, PartialEq, Eq)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        BASE64.decode(text.as_bytes()).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Finds an address without holding it: 8 bytes keyed over what its neighbours share, then 16
/// bytes keyed over all of it. Bound to the tenant, so that two tenants' tables cannot be joined.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressIndex([u8; INDEX_SIZE]);

impl AddressIndex {
    /// All 24 bytes.
    pub fn as_bytes(&self) -> &[u8; INDEX_SIZE] {
        &self.0
    }

    /// The index that [`as_bytes`](Self::as_bytes) gave.
    pub fn from_bytes(bytes: [u8; INDEX_SIZE]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for AddressIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AddressIndex(…)")
    }
}

impl Serialize for AddressIndex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(self.0))
    }
}

impl<'de> Deserialize<'de> for AddressIndex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let blob = Blob::deserialize(deserializer)?;
        let bytes = blob.0.try_into().map_err(|_| serde::de::Error::custom("an address index has 24 bytes"))?;
        Ok(Self(bytes))
    }
}

/// What a sealed text is; part of what it is bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// The code of a verification.
    Code,
    /// The secret of the link of a verification. A program that knows of codes only does not send it for one.
    Link,
    /// The secret of the token that a person writes to the tenant's number.
    Inbound,
    /// An address.
    Address,
    /// The tenant's number that a person is to write to.
    OwnNumber,
    /// The content of a direct message.
    Content,
    /// What a person's authenticator app shares with us.
    SecondFactor,
    /// The private half of a key that access tokens are signed with.
    SigningKey,
    /// A secret that webhooks are signed with.
    WebhookSecret,
    /// A secret that a plugin works with.
    PluginSecret,
    /// A secret of a tenant's connection.
    ConnectionSecret,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Code => b"code\0",
            Self::Link => b"link\0",
            Self::Inbound => b"inbound\0",
            Self::Address => b"address\0",
            Self::OwnNumber => b"own number\0",
            Self::Content => b"content\0",
            Self::SecondFactor => b"second factor\0",
            Self::SigningKey => b"signing key\0",
            Self::WebhookSecret => b"webhook secret\0",
            Self::PluginSecret => b"plugin secret\0",
            Self::ConnectionSecret => b"connection secret\0",
        }
    }
}

/// A sealed text that does not open: another key, another owner, or damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// Its key is not among ours.
    #[error("sealed under master key {0}, which is not in the key file")]
    UnknownKey(u8),
    /// It was damaged, or belongs to something else.
    #[error("a sealed value does not open: it is damaged or belongs elsewhere")]
    Damaged,
}

struct Keys {
    id: u8,
    check: [u8; 32],
    code: Hmac<Sha256>,
    index: Hmac<Sha256>,
    audit: Hmac<Sha256>,
    session: Hmac<Sha256>,
    state: Hmac<Sha256>,
    seal: XChaCha20Poly1305,
}

/// The keys, derived and ready. Seals with the newest, opens with any.
pub struct Vault {
    newest: Keys,
    older: Vec<Keys>,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault(…)")
    }
}

fn derive(master: &MasterKey) -> Keys {
    let hkdf = Hkdf::<Sha256>::new(None, &*master.bytes);
    let expand = |label: &str| {
        let mut key = Zeroizing::new([0; 32]);
        hkdf.expand(label.as_bytes(), &mut *key).expect("HKDF gives 32 bytes");
        key
    };
    let hmac = |label| Hmac::new_from_slice(&*expand(label)).expect("HMAC accepts any key length");
    Keys {
        id: master.id,
        check: *expand("wotp key check v1"),
        code: hmac("wotp code v1"),
        index: hmac("wotp address index v1"),
        audit: hmac("wotp audit v1"),
        session: hmac("wotp session v1"),
        state: hmac("wotp connection state v1"),
        seal: XChaCha20Poly1305::new((&*expand("wotp seal v1")).into()),
    }
}

impl Vault {
    /// Derives all keys. The last of `masters` is the newest.
    ///
    /// The index of addresses always uses the first, or known addresses would not be found again
    /// after a rotation.
    ///
    /// Returns nothing when there is no key.
    pub fn new(masters: &[MasterKey]) -> Option<Self> {
        let mut all: Vec<Keys> = masters.iter().map(derive).collect();
        let newest = all.pop()?;
        Some(Self { newest, older: all })
    }

    /// What tells whether another has the same keys, and nothing about them: by the key's id. Derived as
    /// all else is, so that it can be stored.
    pub fn checks(&self) -> BTreeMap<u8, [u8; 32]> {
        self.older.iter().chain([&self.newest]).map(|keys| (keys.id, keys.check)).collect()
    }

    fn key(&self, id: u8) -> Option<&Keys> {
        if self.newest.id == id { Some(&self.newest) } else { self.older.iter().find(|keys| keys.id == id) }
    }

    /// The keyed hash to store for a code. `owner` is the id of its verification.
    pub fn hash_code(&self, owner: &[u8; 16], code: &Code) -> CodeHash {
        CodeHash {
            key: self.newest.id,
            mac: Blob(mac_of(&self.newest.code, &[owner, code.as_str().as_bytes()]).to_vec()),
        }
    }

    /// Whether a guess is the code behind a stored hash, in constant time.
    pub fn code_matches(&self, owner: &[u8; 16], guess: &Code, stored: &CodeHash) -> bool {
        let Some(keys) = self.key(stored.key) else { return false };
        mac_of(&keys.code, &[owner, guess.as_str().as_bytes()]).ct_eq(&stored.mac.0).into()
    }

    /// The index under which an address is stored and found.
    pub fn index(&self, tenant: TenantId, address: &Address) -> AddressIndex {
        let hmac = &self.older.first().unwrap_or(&self.newest).index;
        let tenant = tenant.to_bytes();
        let mut index = [0; INDEX_SIZE];
        let (prefix, rest) = index.split_at_mut(INDEX_PREFIX_SIZE);
        prefix
            .copy_from_slice(&mac_of(hmac, &[&tenant, b"prefix\0", address.prefix().as_bytes()])[..INDEX_PREFIX_SIZE]);
        rest.copy_from_slice(
            &mac_of(hmac, &[&tenant, b"whole\0", address.as_str().as_bytes()])[..INDEX_SIZE - INDEX_PREFIX_SIZE],
        );
        AddressIndex(index)
    }

    /// 16 bytes that are the same for the same value of one kind, and tell nothing of it: for counting by what is
    /// not to be stored. Bound to the tenant, and always under the first key.
    pub fn mark(&self, tenant: TenantId, kind: &str, value: &[u8]) -> [u8; 16] {
        let hmac = &self.older.first().unwrap_or(&self.newest).index;
        let mac = mac_of(hmac, &[&tenant.to_bytes(), b"mark\0", kind.as_bytes(), b"\0", value]);
        *mac.first_chunk().expect("a MAC has 32 bytes")
    }

    /// The digest of an entry of the audit log, as 64 hexadecimal digits. Always under the first key, as the
    /// index of addresses is: a chain outlives a rotation.
    pub fn audit_digest(&self, entry: &[u8]) -> String {
        use std::fmt::Write as _;
        let hmac = &self.older.first().unwrap_or(&self.newest).audit;
        mac_of(hmac, &[entry]).iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The secret that follows a refresh token. Always under the first key: a session outlives a rotation.
    pub fn next_secret(&self, token: &[u8]) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(mac_of(&self.older.first().unwrap_or(&self.newest).session, &[b"next\0", token]))
    }

    /// What a page has to say beside the cookie of a session, so that no other page can use it.
    pub fn csrf_token(&self, session: SessionId) -> String {
        let hmac = &self.older.first().unwrap_or(&self.newest).session;
        URL_SAFE_NO_PAD.encode(mac_of(hmac, &[b"csrf\0", &session.to_bytes()]))
    }

    /// Whether it is what [`csrf_token`](Self::csrf_token) gave for this session, in constant time.
    pub fn csrf_matches(&self, session: SessionId, given: &str) -> bool {
        self.csrf_token(session).as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// Sixteen bytes that stand for these parts and do not tell them, for what is counted by address.
    pub fn veil(&self, label: &str, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.older.first().unwrap_or(&self.newest).session.clone();
        for part in [label.as_bytes()].iter().chain(parts) {
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        let mut veiled = [0; 16];
        veiled.copy_from_slice(&mac.finalize().into_bytes()[..16]);
        veiled
    }

    /// Seals a text for one purpose of one owner, under the newest key.
    pub fn seal(&self, purpose: Purpose, owner: &[u8; 16], text: &str, entropy: &dyn Entropy) -> Sealed {
        let mut nonce = [0; NONCE_SIZE];
        entropy.fill(&mut nonce);
        let aad = [purpose.label(), owner].concat();
        let body = self
            .newest
            .seal
            .encrypt(&XNonce::from(nonce), Payload { msg: text.as_bytes(), aad: &aad })
            .expect("XChaCha20-Poly1305 seals any short text");
        let mut sealed = Vec::with_capacity(1 + NONCE_SIZE + body.len());
        sealed.push(self.newest.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&body);
        Sealed(Blob(sealed))
    }

    /// Opens what [`seal`](Self::seal) gave for the same purpose and owner.
    ///
    /// # Errors
    /// [`VaultError`] when the key is unknown, or the value is damaged or another's.
    pub fn open(&self, purpose: Purpose, owner: &[u8; 16], sealed: &Sealed) -> Result<String, VaultError> {
        let (id, rest) = sealed.0.0.split_first().ok_or(VaultError::Damaged)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_SIZE>().ok_or(VaultError::Damaged)?;
        let keys = self.key(*id).ok_or(VaultError::UnknownKey(*id))?;
        let aad = [purpose.label(), owner].concat();
        let text = keys
            .seal
            .decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: &aad })
            .map_err(|_| VaultError::Damaged)?;
        String::from_utf8(text).map_err(|error| {
            error.into_bytes().zeroize();
            VaultError::Damaged
        })
    }
}

fn mac_of(keyed: &Hmac<Sha256>, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = keyed.clone();
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed;
    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn master(id: u8) -> MasterKey {
        MasterKey { id, bytes: Zeroizing::new([id; 32]) }
    }

    #[test]
    fn a_sealed_text_opens_for_its_owner_and_purpose_only() {
        let vault = Vault::new(&[master(1)]).unwrap();
        let sealed = vault.seal(Purpose::Code, &[1; 16], "123456", &Fixed);
        assert_eq!(vault.open(Purpose::Code, &[1; 16], &sealed).unwrap(), "123456");
        assert_eq!(vault.open(Purpose::Code, &[2; 16], &sealed), Err(VaultError::Damaged));
        assert_eq!(vault.open(Purpose::Address, &[1; 16], &sealed), Err(VaultError::Damaged));
    }

    #[test]
    fn after_a_rotation_old_values_open_and_addresses_are_found() {
        let old = Vault::new(&[master(1)]).unwrap();
        let new = Vault::new(&[master(1), master(2)]).unwrap();
        let address = Address::parse("+12025550123").unwrap();
        let tenant = TenantId::from_bytes([9; 16]);
        let sealed = old.seal(Purpose::Address, &[1; 16], address.as_str(), &Fixed);
        let hash = old.hash_code(&[1; 16], &Code::typed("123456"));
        assert_eq!(new.open(Purpose::Address, &[1; 16], &sealed).unwrap(), "+12025550123");
        assert!(new.code_matches(&[1; 16], &Code::typed("123456"), &hash));
        assert_eq!(old.index(tenant, &address), new.index(tenant, &address));
        let newer = new.seal(Purpose::Code, &[1; 16], "1", &Fixed);
        assert_eq!(old.open(Purpose::Code, &[1; 16], &newer), Err(VaultError::UnknownKey(2)));
    }

    #[test]
    fn a_code_hash_is_bound_to_its_verification() {
        let vault = Vault::new(&[master(1)]).unwrap();
        let hash = vault.hash_code(&[1; 16], &Code::typed("123456"));
        assert!(vault.code_matches(&[1; 16], &Code::typed("123456"), &hash));
        assert!(!vault.code_matches(&[1; 16], &Code::typed("123457"), &hash));
        assert!(!vault.code_matches(&[2; 16], &Code::typed("123456"), &hash));
    }

    #[test]
    fn neighbours_share_the_prefix_of_the_index_and_tenants_share_nothing() {
        let vault = Vault::new(&[master(1)]).unwrap();
        let (a, b) = (TenantId::from_bytes([1; 16]), TenantId::from_bytes([2; 16]));
        let [one, two] = ["+12025550123", "+12025550199"].map(|text| Address::parse(text).unwrap());
        let prefix = |tenant, address| vault.index(tenant, address).as_bytes()[..INDEX_PREFIX_SIZE].to_vec();
        assert_eq!(prefix(a, &one), prefix(a, &two));
        assert_ne!(vault.index(a, &one), vault.index(a, &two));
        assert_ne!(prefix(a, &one), prefix(b, &one));
    }

    /// HKDF-SHA256 and HMAC-SHA256 as `openssl` computes them for the same key:
    /// `openssl kdf -keylen 32 -kdfopt digest:SHA256 -kdfopt hexkey:01…01 -kdfopt info:"wotp code v1" HKDF`,
    /// then `openssl dgst -sha256 -mac HMAC -macopt hexkey:…` over sixteen 01 bytes and `123456`.
    #[test]
    fn the_code_hash_is_what_openssl_computes() {
        let vault = Vault::new(&[master(1)]).unwrap();
        let hash = vault.hash_code(&[1; 16], &Code::typed("123456"));
        let hex: String = hash.mac.0.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "838f8399c35cb3fd92aba76ea47d50b8837a6f25fd42c6a9bd597cfb95641fa4");
    }
}
