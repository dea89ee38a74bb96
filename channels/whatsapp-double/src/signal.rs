//! The Signal protocol as a phone speaks it, or another device that the double plays. Everything is in memory.

use std::collections::HashMap;

use async_trait::async_trait;
use wacore::libsignal::protocol::error::Result as SignalResult;
use wacore::libsignal::protocol::{
    CiphertextMessage, Direction, GenericSignedPreKey as _, IdentityChange, IdentityKey, IdentityKeyPair,
    IdentityKeyStore, KeyPair, PreKeyId, PreKeyRecord, PreKeySignalMessage, PreKeyStore, PrivateKey, ProtocolAddress,
    SessionRecord, SessionStore, SignalMessage, SignalProtocolError, SignedPreKeyId, SignedPreKeyRecord,
    SignedPreKeyStore, Timestamp, UsePQRatchet, message_decrypt, message_encrypt, process_prekey_bundle,
};
use wacore::types::jid::JidExt as _;
use wacore_binary::Jid;

use crate::error::{Error, Result};
use crate::keys::{Identity, Offer, OneTimeKey};
use crate::noise::public;
use crate::people::Address;

/// A ciphertext and its kind: `pkmsg` begins a session, `msg` goes on with one.
#[derive(Clone)]
pub(crate) struct Sealed {
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
}

/// One device that the double plays.
pub(crate) struct Endpoint {
    identities: Identities,
    one_time: OneTimeKeys,
    signed: SignedKeys,
    sessions: Sessions,
    published: Identity,
    next_key: u32,
}

const SIGNED_ID: u32 = 1;

impl Endpoint {
    /// A device with new keys.
    pub(crate) fn new() -> Result<Self> {
        let mut random = rand::rng();
        let pair = IdentityKeyPair::generate(&mut random);
        let signed = KeyPair::generate(&mut random);
        let signature = pair
            .private_key()
            .calculate_signature(&signed.public_key.serialize(), &mut random)
            .map_err(Error::crypto)?;
        let record = SignedPreKeyRecord::new(SIGNED_ID.into(), Timestamp::from_epoch_millis(0), &signed, &signature);
        // As the protocol has it: 14 bits, and not zero.
        let registration = (rand::random::<u32>() & 0x3fff) | 1;
        let published = Identity {
            registration,
            identity: pair.public_key().public_key_bytes().try_into().expect("public keys have 32 bytes"),
            signed_id: SIGNED_ID,
            signed: public(&signed),
            signature: signature.to_vec(),
        };
        Ok(Self {
            identities: Identities { pair, registration, known: HashMap::new() },
            one_time: OneTimeKeys::default(),
            signed: SignedKeys(HashMap::from([(SIGNED_ID.into(), record)])),
            sessions: Sessions::default(),
            published,
            next_key: 1,
        })
    }

    /// The public identity.
    pub(crate) fn identity(&self) -> [u8; 32] {
        self.published.identity
    }

    /// The private identity: what a phone signs its other devices with.
    pub(crate) fn private(&self) -> &PrivateKey {
        self.identities.pair.private_key()
    }

    /// Keys for somebody who wants to write to this device: each with a new key that is good for once.
    pub(crate) fn offer(&mut self) -> Offer {
        let id = self.next_key;
        self.next_key += 1;
        let pair = KeyPair::generate(&mut rand::rng());
        self.one_time.0.insert(id.into(), PreKeyRecord::new(id.into(), &pair));
        Offer { identity: self.published.clone(), one_time: Some(OneTimeKey { id, public: public(&pair) }) }
    }

    /// What a device wrote to this one.
    pub(crate) async fn decrypt(&mut self, from: &Address, sealed: &Sealed) -> Result<Vec<u8>> {
        let bytes = &sealed.bytes[..];
        let message = match sealed.kind.as_str() {
            "pkmsg" => {
                CiphertextMessage::PreKeySignalMessage(PreKeySignalMessage::try_from(bytes).map_err(Error::crypto)?)
            }
            "msg" => CiphertextMessage::SignalMessage(SignalMessage::try_from(bytes).map_err(Error::crypto)?),
            _ => return Err(Error::Malformed("a ciphertext of an unknown kind")),
        };
        let decrypted = message_decrypt(
            &message,
            &address(from),
            &mut self.sessions,
            &mut self.identities,
            &mut self.one_time,
            &self.signed,
            &mut rand::make_rng::<rand::rngs::StdRng>(),
            UsePQRatchet::No,
        )
        .await
        .map_err(Error::crypto)?;
        if let Some(id) = decrypted.consumed_prekey_id {
            self.one_time.0.remove(&id);
        }
        Ok(decrypted.plaintext)
    }

    /// Whether a session with the device is there to go on with.
    pub(crate) fn knows(&self, device: &Address) -> bool {
        self.sessions.0.contains_key(&address(device))
    }

    /// Begins a session anew, whatever was before.
    pub(crate) async fn begin(&mut self, with: &Address, offer: &Offer) -> Result<()> {
        self.sessions.0.remove(&address(with));
        process_prekey_bundle(
            &address(with),
            &mut self.sessions,
            &mut self.identities,
            &offer.bundle(with.device)?,
            &mut rand::make_rng::<rand::rngs::StdRng>(),
            UsePQRatchet::No,
        )
        .await
        .map_err(Error::crypto)?;
        Ok(())
    }

    /// Writes to a device that a session was begun with.
    pub(crate) async fn encrypt(&mut self, to: &Address, plaintext: &[u8]) -> Result<Sealed> {
        let sealed = message_encrypt(plaintext, &address(to), &mut self.sessions, &mut self.identities)
            .await
            .map_err(Error::crypto)?;
        let kind = if matches!(sealed, CiphertextMessage::SignalMessage(_)) { "msg" } else { "pkmsg" };
        Ok(Sealed { kind: kind.to_owned(), bytes: sealed.serialize().to_vec() })
    }
}

/// How the sessions are kept: by number and device, whichever of its addresses a device was written to at.
fn address(device: &Address) -> ProtocolAddress {
    Jid::pn_device(device.number.as_str(), device.device).to_protocol_address()
}

struct Identities {
    pair: IdentityKeyPair,
    registration: u32,
    known: HashMap<ProtocolAddress, IdentityKey>,
}

#[async_trait]
impl IdentityKeyStore for Identities {
    async fn get_identity_key_pair(&self) -> SignalResult<IdentityKeyPair> {
        Ok(self.pair.clone())
    }

    async fn get_local_registration_id(&self) -> SignalResult<u32> {
        Ok(self.registration)
    }

    async fn save_identity(&mut self, address: &ProtocolAddress, key: &IdentityKey) -> SignalResult<IdentityChange> {
        let before = self.known.insert(address.clone(), *key);
        Ok(IdentityChange::from_changed(before.is_some_and(|before| before != *key)))
    }

    /// As WhatsApp does: whoever has a new phone is still who they are.
    async fn is_trusted_identity(&self, _: &ProtocolAddress, _: &IdentityKey, _: Direction) -> SignalResult<bool> {
        Ok(true)
    }

    async fn get_identity(&self, address: &ProtocolAddress) -> SignalResult<Option<IdentityKey>> {
        Ok(self.known.get(address).copied())
    }
}

#[derive(Default)]
struct OneTimeKeys(HashMap<PreKeyId, PreKeyRecord>);

#[async_trait]
impl PreKeyStore for OneTimeKeys {
    async fn get_pre_key(&self, id: PreKeyId) -> SignalResult<PreKeyRecord> {
        self.0.get(&id).cloned().ok_or(SignalProtocolError::InvalidPreKeyId)
    }

    async fn save_pre_key(&mut self, id: PreKeyId, record: &PreKeyRecord) -> SignalResult<()> {
        self.0.insert(id, record.clone());
        Ok(())
    }

    async fn remove_pre_key(&mut self, id: PreKeyId) -> SignalResult<()> {
        self.0.remove(&id);
        Ok(())
    }
}

struct SignedKeys(HashMap<SignedPreKeyId, SignedPreKeyRecord>);

#[async_trait]
impl SignedPreKeyStore for SignedKeys {
    async fn get_signed_pre_key(&self, id: SignedPreKeyId) -> SignalResult<SignedPreKeyRecord> {
        self.0.get(&id).cloned().ok_or(SignalProtocolError::InvalidSignedPreKeyId)
    }

    async fn save_signed_pre_key(&mut self, id: SignedPreKeyId, record: &SignedPreKeyRecord) -> SignalResult<()> {
        self.0.insert(id, record.clone());
        Ok(())
    }
}

#[derive(Default)]
struct Sessions(HashMap<ProtocolAddress, SessionRecord>);

#[async_trait]
impl SessionStore for Sessions {
    async fn load_session(&self, address: &ProtocolAddress) -> SignalResult<Option<SessionRecord>> {
        Ok(self.0.get(address).cloned())
    }

    async fn has_session(&self, address: &ProtocolAddress) -> SignalResult<bool> {
        Ok(self.0.contains_key(address))
    }

    async fn store_session(&mut self, address: &ProtocolAddress, record: SessionRecord) -> SignalResult<()> {
        self.0.insert(address.clone(), record);
        Ok(())
    }
}
