//! What live connections must remember, at rest: under keys of their own, and under names that do not tell whose
//! address they are about.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{Keys, NONCE_SIZE, Vault, VaultError, mac_of};
use crate::ports::{Entropy, StateKey, StateRow, TenantAccount};

/// What something is that a connection remembers, in plain: it may hold a phone number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StateName<'a> {
    /// What kind of thing. NEVER change a number that was released.
    pub kind: u8,
    /// What it is listed with, as all that is about one person; may be empty.
    pub group: &'a [u8],
    /// Which it is in its group.
    pub name: &'a [u8],
}

/// What a connection remembered, opened.
pub struct OpenedState {
    /// Its kind.
    pub kind: u8,
    /// What it is listed with.
    pub group: Vec<u8>,
    /// Which it is in its group.
    pub name: Vec<u8>,
    /// What is remembered.
    pub value: Zeroizing<Vec<u8>>,
}

/// The keys of one connection. They open nothing of any other.
pub struct StateVault {
    account: TenantAccount,
    newest: (u8, XChaCha20Poly1305),
    older: Vec<(u8, XChaCha20Poly1305)>,
    names: Hmac<Sha256>,
}

impl Vault {
    /// The keys that a connection's state is sealed with.
    pub fn of_connection(&self, account: TenantAccount) -> StateVault {
        let derive = |keys: &Keys, label: &[u8]| Zeroizing::new(mac_of(&keys.state, &[label, &account.to_bytes()]));
        let seal = |keys: &Keys| (keys.id, XChaCha20Poly1305::new((&*derive(keys, b"seal\0")).into()));
        // Always of the first key, or nothing would be found again after a rotation.
        let names = derive(self.older.first().unwrap_or(&self.newest), b"names\0");
        StateVault {
            account,
            newest: seal(&self.newest),
            older: self.older.iter().map(seal).collect(),
            names: Hmac::new_from_slice(&*names).expect("HMAC accepts any key length"),
        }
    }
}

impl StateVault {
    /// Whether all that is sealed was sealed with the key that is used now: there is no other.
    pub fn has_one_key(&self) -> bool {
        self.older.is_empty()
    }

    /// Whether it was sealed with the newest key.
    pub fn is_newest(&self, row: &StateRow) -> bool {
        row.value.first() == Some(&self.newest.0)
    }

    /// Under what a group is kept.
    pub fn group(&self, kind: u8, group: &[u8]) -> [u8; 16] {
        self.mark(&[b"group", &[kind], group])
    }

    /// Under what it is kept: the same for the same name, and telling nothing of it.
    pub fn key(&self, StateName { kind, group, name }: StateName<'_>) -> StateKey {
        StateKey { kind, group: self.group(kind, group), name: self.mark(&[b"name", &[kind], group, name]) }
    }

    fn mark(&self, parts: &[&[u8]]) -> [u8; 16] {
        let mut mac = self.names.clone();
        for part in parts {
            // Lengths too, so that no two lists of parts are the same bytes.
            mac.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            mac.update(part);
        }
        *mac.finalize().into_bytes().first_chunk().expect("a MAC has 32 bytes")
    }

    fn bound_to(&self, key: StateKey) -> Vec<u8> {
        [&self.account.to_bytes()[..], &key.to_bytes()].concat()
    }

    /// Seals a value under the newest key, bound to its name: it opens nowhere else.
    pub fn seal(&self, name: StateName<'_>, value: &[u8], entropy: &dyn Entropy) -> StateRow {
        let key = self.key(name);
        let mut nonce = [0; NONCE_SIZE];
        entropy.fill(&mut nonce);
        // With what its key was made of, for listings.
        let mut plain = Zeroizing::new(Vec::with_capacity(8 + name.group.len() + name.name.len() + value.len()));
        for part in [name.group, name.name] {
            plain.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            plain.extend_from_slice(part);
        }
        plain.extend_from_slice(value);
        let (id, cipher) = &self.newest;
        let body = cipher
            .encrypt(&XNonce::from(nonce), Payload { msg: &plain, aad: &self.bound_to(key) })
            .expect("XChaCha20-Poly1305 seals whatever fits into memory");
        StateRow { key, value: [&[*id][..], &nonce, &body].concat() }
    }

    /// Opens what [`seal`](Self::seal) gave for this connection.
    ///
    /// # Errors
    /// [`VaultError`] when the key is unknown, or it is damaged, or is something else's.
    pub fn open(&self, StateRow { key, value }: &StateRow) -> Result<OpenedState, VaultError> {
        let (id, rest) = value.split_first().ok_or(VaultError::Damaged)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_SIZE>().ok_or(VaultError::Damaged)?;
        let mut ciphers = std::iter::once(&self.newest).chain(&self.older);
        let (_, cipher) = ciphers.find(|(known, _)| known == id).ok_or(VaultError::UnknownKey(*id))?;
        let plain = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: &self.bound_to(*key) });
        let plain = Zeroizing::new(plain.map_err(|_| VaultError::Damaged)?);
        let (group, rest) = part(&plain).ok_or(VaultError::Damaged)?;
        let (name, value) = part(rest).ok_or(VaultError::Damaged)?;
        Ok(OpenedState {
            kind: key.kind,
            group: group.to_vec(),
            name: name.to_vec(),
            value: Zeroizing::new(value.to_vec()),
        })
    }
}

/// A part that says its length, and what follows.
fn part(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::MasterKey;
    use super::*;
    use crate::domain::id::{ConnectionId, TenantId};
    use crate::testing::SeededEntropy;

    fn master(id: u8) -> MasterKey {
        MasterKey { id, bytes: Zeroizing::new([id; 32]) }
    }

    fn account(tenant: u8, connection: u8) -> TenantAccount {
        TenantAccount {
            tenant: TenantId::from_bytes([tenant; 16]),
            connection: ConnectionId::from_bytes([connection; 16]),
        }
    }

    fn keys(masters: &[u8], account: TenantAccount) -> StateVault {
        let masters: Vec<MasterKey> = masters.iter().copied().map(master).collect();
        Vault::new(&masters).unwrap().of_connection(account)
    }

    fn name<'a>(kind: u8, group: &'a str, name: &'a str) -> StateName<'a> {
        StateName { kind, group: group.as_bytes(), name: name.as_bytes() }
    }

    const TO: &str = "12025550123@s.whatsapp.net";

    proptest! {
        #[test]
        fn whatever_was_sealed_opens(kind: u8, group: Vec<u8>, name: Vec<u8>, value: Vec<u8>) {
            let keys = keys(&[1], account(1, 1));
            let row = keys.seal(StateName { kind, group: &group, name: &name }, &value, &SeededEntropy::new(1));
            let opened = keys.open(&row).unwrap();
            prop_assert_eq!((opened.kind, opened.group, opened.name, &*opened.value), (kind, group, name, &value));
        }
    }

    #[test]
    fn a_value_opens_under_its_own_name_in_its_own_connection_only() {
        let (own, entropy) = (keys(&[1], account(1, 1)), SeededEntropy::new(1));
        let sealed = own.seal(name(1, "12025550123", TO), b"ratchet", &entropy);
        let elsewhere = |key| StateRow { key, value: sealed.value.clone() };
        for moved in [
            own.key(name(2, "12025550123", TO)),
            own.key(name(1, "12025550124", TO)),
            own.key(name(1, "12025550123", "another")),
        ] {
            assert_eq!(own.open(&elsewhere(moved)).err(), Some(VaultError::Damaged));
        }
        for other in [account(1, 2), account(2, 1)] {
            let other = keys(&[1], other);
            assert_eq!(other.open(&sealed).err(), Some(VaultError::Damaged));
            assert_eq!(other.open(&elsewhere(other.key(name(1, "12025550123", TO)))).err(), Some(VaultError::Damaged));
        }
        for place in 1..sealed.value.len() {
            let mut damaged = sealed.clone();
            damaged.value[place] ^= 1;
            assert_eq!(own.open(&damaged).err(), Some(VaultError::Damaged), "byte {place}");
        }
        for length in 0..sealed.value.len() {
            let cut = StateRow { key: sealed.key, value: sealed.value[..length].to_vec() };
            assert_eq!(own.open(&cut).err(), Some(VaultError::Damaged), "{length} bytes");
        }
    }

    #[test]
    fn what_is_stored_tells_neither_names_nor_values() {
        let keys = keys(&[1], account(1, 1));
        let sealed = keys.seal(name(1, "12025550123", TO), b"a ratchet that nobody may see", &SeededEntropy::new(1));
        let stored = [&sealed.key.to_bytes()[..], &sealed.value].concat();
        for secret in ["12025550123", "whatsapp", "ratchet"] {
            assert!(!stored.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()), "{secret}");
        }
        let again = keys.seal(name(1, "12025550123", TO), b"a ratchet that nobody may see", &SeededEntropy::new(2));
        assert_eq!(again.key, sealed.key);
        assert_ne!(again.value, sealed.value);
    }

    #[test]
    fn a_group_is_one_of_its_kind_and_connection_and_names_are_told_apart() {
        let own = keys(&[1], account(1, 1));
        let key = own.key(name(1, "a", "bc"));
        assert_eq!(key.group, own.group(1, b"a"));
        assert_eq!(key.group, own.key(name(1, "a", "other")).group);
        let others = [
            own.key(name(1, "ab", "c")),
            own.key(name(1, "", "abc")),
            own.key(name(2, "a", "bc")),
            keys(&[1], account(1, 2)).key(name(1, "a", "bc")),
            keys(&[1], account(2, 1)).key(name(1, "a", "bc")),
        ];
        for other in others {
            assert!(other.group != key.group && other.name != key.name, "{other:?}");
        }
    }

    #[test]
    fn after_a_rotation_all_is_found_and_opens_and_what_is_new_is_sealed_anew() {
        let (old, new) = (keys(&[1], account(1, 1)), keys(&[1, 2], account(1, 1)));
        let entropy = SeededEntropy::new(1);
        let sealed = old.seal(name(1, "a", "b"), b"old", &entropy);
        assert_eq!(new.key(name(1, "a", "b")), sealed.key);
        assert_eq!(&**new.open(&sealed).unwrap().value, b"old");
        assert_eq!((old.is_newest(&sealed), new.is_newest(&sealed)), (true, false));
        assert_eq!((old.has_one_key(), new.has_one_key()), (true, false));
        let sealed = new.seal(name(1, "a", "b"), b"new", &entropy);
        assert!(new.is_newest(&sealed));
        assert_eq!(old.open(&sealed).err(), Some(VaultError::UnknownKey(2)));
    }

    /// HKDF-SHA256 of a master key of 32 bytes 01 with `wotp connection state v1`, and HMAC-SHA256 with that over
    /// `names\0` and `seal\0` with both ids, as Python's `hmac` computes them; then what those give.
    #[test]
    fn keys_and_marks_are_what_others_compute() {
        let keys = keys(&[1], account(1, 2));
        let row = keys.seal(name(3, "g", "n"), b"v", &SeededEntropy::new(1));
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(hex(&row.key.group), "dbaf28bd777e8004c3ec3cd176ec307a");
        assert_eq!(hex(&row.key.name), "56849b0fca6f9855713aaa90fc7c22c1");
        let seal = "78c342fa87e99c738ef885840fa2764cf0b0aed3a1a7efcf8a9dc112604a7f34";
        let seal: Vec<u8> = (0..32).map(|at| u8::from_str_radix(&seal[2 * at..2 * at + 2], 16).unwrap()).collect();
        let cipher = XChaCha20Poly1305::new_from_slice(&seal).unwrap();
        let (nonce, body) = row.value[1..].split_first_chunk::<NONCE_SIZE>().unwrap();
        let aad = [&[1; 16][..], &[2; 16], &row.key.to_bytes()].concat();
        let plain = cipher.decrypt(&XNonce::from(*nonce), Payload { msg: body, aad: &aad }).unwrap();
        assert_eq!((row.value[0], &*plain), (1, &b"\0\0\0\x01g\0\0\0\x01nv"[..]));
    }
}
