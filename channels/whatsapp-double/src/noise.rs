//! The server's side of the handshake, and the certificate it shows.

use bytes::BytesMut;
use wacore::handshake::NoiseHandshake;
use wacore::libsignal::protocol::KeyPair;
use wacore_binary::consts::{NOISE_PATTERN_IK, NOISE_PATTERN_XX};
use wacore_noise::NoiseCipher;
use waproto::buffa::{self, Message as _};
use waproto::whatsapp::cert_chain::{NoiseCertificate, noise_certificate};
use waproto::whatsapp::handshake_message::{ClientHello, ServerHello};
use waproto::whatsapp::{CertChain, ClientPayload, HandshakeMessage};

use crate::clock::now_seconds;
use crate::error::{Error, Result};
use crate::node::key;
use crate::wire::Wire;

/// A chain like WhatsApp's, signed all through, under a root of our own. A client that is told this root checks it as
/// it would check the real one; a client that knows only the real one has to be told not to look.
pub(crate) struct Certificate {
    root: KeyPair,
    server: KeyPair,
    chain: Vec<u8>,
}

impl Certificate {
    /// A new one, valid from yesterday for ten years.
    pub(crate) fn new() -> Result<Self> {
        const DAY: u64 = 86_400;
        let mut random = rand::rng();
        let root = KeyPair::generate(&mut random);
        let intermediate = KeyPair::generate(&mut random);
        let server = KeyPair::generate(&mut random);
        let mut certify = |issuer: &KeyPair, serial: u32, issuer_serial: u32, subject: &KeyPair| {
            let details = noise_certificate::Details {
                serial: Some(serial),
                issuer_serial: Some(issuer_serial),
                key: Some(public(subject).to_vec()),
                not_before: Some(now_seconds() - DAY),
                not_after: Some(now_seconds() + 3650 * DAY),
            }
            .encode_to_vec();
            let signature = issuer.private_key.calculate_signature(&details, &mut random).map_err(Error::crypto)?;
            Ok::<_, Error>(NoiseCertificate { details: Some(details), signature: Some(signature.to_vec()) })
        };
        let chain = CertChain {
            intermediate: buffa::MessageField::some(certify(&root, 1, 0, &intermediate)?),
            leaf: buffa::MessageField::some(certify(&intermediate, 2, 1, &server)?),
        }
        .encode_to_vec();
        Ok(Self { root, server, chain })
    }

    /// The public key that the chain ends in.
    pub(crate) fn root(&self) -> [u8; 32] {
        public(&self.root)
    }
}

/// The 32 bytes of a public key.
pub(crate) fn public(pair: &KeyPair) -> [u8; 32] {
    pair.public_key.public_key_bytes().try_into().expect("public keys have 32 bytes")
}

/// What is known of a client once its handshake is done.
pub(crate) struct Greeting {
    pub(crate) channel: Channel,
    /// The key that the device is known by from login to login.
    pub(crate) client_key: [u8; 32],
    pub(crate) payload: ClientPayload,
    /// Whether the client knew the server's key already.
    pub(crate) short: bool,
}

/// Encrypts and decrypts what follows the handshake.
pub(crate) struct Channel {
    read: NoiseCipher,
    write: NoiseCipher,
    read_count: u32,
    written: u32,
}

impl Channel {
    pub(crate) fn decrypt(&mut self, mut frame: BytesMut) -> Result<BytesMut> {
        self.read.decrypt_in_place_with_counter(self.read_count, &mut frame).map_err(Error::crypto)?;
        self.read_count += 1;
        Ok(frame)
    }

    pub(crate) fn encrypt(&mut self, stanza: &[u8]) -> Result<Vec<u8>> {
        let frame = self.write.encrypt_with_counter(self.written, stanza).map_err(Error::crypto)?;
        self.written += 1;
        Ok(frame)
    }
}

/// Answers a client's hello: the full handshake (XX), or the short one of a client that knows the server's key (IK).
pub(crate) async fn greet(wire: &mut Wire, certificate: &Certificate) -> Result<Greeting> {
    let hello = message(wire).await?.client_hello.into_option().ok_or(Error::Malformed("no hello"))?;
    let knows_server = hello.r#static.is_some();
    let (handshake, client_key, payload) =
        if knows_server { short(wire, certificate, hello).await? } else { full(wire, certificate, hello).await? };
    let (read, write) = handshake.finish().map_err(Error::crypto)?;
    Ok(Greeting {
        channel: Channel { read, write, read_count: 0, written: 0 },
        client_key,
        payload: ClientPayload::decode_from_slice(&payload).map_err(|_| Error::Malformed("no client payload"))?,
        short: knows_server,
    })
}

type Shaken = (NoiseHandshake, [u8; 32], Vec<u8>);

async fn full(wire: &mut Wire, certificate: &Certificate, hello: ClientHello) -> Result<Shaken> {
    let theirs = key(&hello.ephemeral.unwrap_or_default())?;
    let ours = KeyPair::generate(&mut rand::rng());
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_XX, &wire.header()).map_err(Error::crypto)?;
    noise.authenticate(&theirs);
    noise.authenticate(&public(&ours));
    mix(&mut noise, &ours, &theirs)?;
    let server = noise.encrypt(&public(&certificate.server)).map_err(Error::crypto)?;
    mix(&mut noise, &certificate.server, &theirs)?;
    let chain = noise.encrypt(&certificate.chain).map_err(Error::crypto)?;
    wire.send(&server_hello(&ours, Some(server), chain)).await?;

    let finish = message(wire).await.map_err(|_| Error::CertificateRefused)?;
    let finish = finish.client_finish.into_option().ok_or(Error::Malformed("no finish"))?;
    let client = key(&noise.decrypt(&finish.r#static.unwrap_or_default()).map_err(Error::crypto)?)?;
    mix(&mut noise, &ours, &client)?;
    let payload = noise.decrypt(&finish.payload.unwrap_or_default()).map_err(Error::crypto)?;
    Ok((noise, client, payload))
}

async fn short(wire: &mut Wire, certificate: &Certificate, hello: ClientHello) -> Result<Shaken> {
    let theirs = key(&hello.ephemeral.unwrap_or_default())?;
    let ours = KeyPair::generate(&mut rand::rng());
    let mut noise = NoiseHandshake::new(NOISE_PATTERN_IK, &wire.header()).map_err(Error::crypto)?;
    noise.authenticate(&public(&certificate.server));
    noise.authenticate(&theirs);
    mix(&mut noise, &certificate.server, &theirs)?;
    let client = key(&noise.decrypt(&hello.r#static.unwrap_or_default()).map_err(Error::crypto)?)?;
    mix(&mut noise, &certificate.server, &client)?;
    let payload = noise.decrypt(&hello.payload.unwrap_or_default()).map_err(Error::crypto)?;
    noise.authenticate(&public(&ours));
    mix(&mut noise, &ours, &theirs)?;
    mix(&mut noise, &ours, &client)?;
    let chain = noise.encrypt(&certificate.chain).map_err(Error::crypto)?;
    wire.send(&server_hello(&ours, None, chain)).await?;
    Ok((noise, client, payload))
}

fn mix(noise: &mut NoiseHandshake, ours: &KeyPair, theirs: &[u8; 32]) -> Result<()> {
    noise.mix_shared_secret(ours.private_key.serialize(), theirs).map_err(Error::crypto)
}

fn server_hello(ephemeral: &KeyPair, server: Option<Vec<u8>>, chain: Vec<u8>) -> Vec<u8> {
    HandshakeMessage {
        server_hello: buffa::MessageField::some(ServerHello {
            ephemeral: Some(public(ephemeral).to_vec()),
            r#static: server,
            payload: Some(chain),
            ..Default::default()
        }),
        ..Default::default()
    }
    .encode_to_vec()
}

async fn message(wire: &mut Wire) -> Result<HandshakeMessage> {
    let frame = wire.frame().await?.ok_or(Error::Malformed("gone within the handshake"))?;
    HandshakeMessage::decode_from_slice(&frame).map_err(|_| Error::Malformed("no message of the handshake"))
}

#[cfg(test)]
mod tests {
    use wacore::libsignal::protocol::PublicKey;

    use super::*;

    #[test]
    fn the_chain_leads_from_the_root_to_the_servers_key() {
        let certificate = Certificate::new().unwrap();
        let chain = CertChain::decode_from_slice(&certificate.chain).unwrap();
        let mut issuer = certificate.root();
        for step in [chain.intermediate.into_option().unwrap(), chain.leaf.into_option().unwrap()] {
            let details = step.details.unwrap();
            let by = PublicKey::from_djb_public_key_bytes(&issuer).unwrap();
            assert!(by.verify_signature(&details, &step.signature.unwrap()));
            issuer = key(&noise_certificate::Details::decode_from_slice(&details).unwrap().key.unwrap()).unwrap();
        }
        assert_eq!(issuer, public(&certificate.server));
    }
}
