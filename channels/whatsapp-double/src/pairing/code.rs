//! Linking by code: the device shows eight characters, which the person types on the phone. Both derive a key from
//! them, exchange keys of one use under it, and agree on the secret that a QR would have told.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use wacore::crypto::hkdf_sha256_into;
use wacore::libsignal::crypto::aes_256_gcm_decrypt;
use wacore::libsignal::protocol::{KeyPair, PublicKey};
use wacore::pair_code::PairCodeUtils;
use wacore_binary::Node;
use wacore_binary::builder::NodeBuilder;

use super::Outcome;
use crate::clock::now_seconds;
use crate::error::{Error, Result};
use crate::node::{Read as _, SERVER, answer, key, leaf, parent};
use crate::noise::public;
use crate::people::{Address, Line, World};

const TAG: &str = "link_code_companion_reg";
/// How long a code is of use.
const LASTS: Duration = Duration::from_secs(180);

/// A device that shows a code for a number.
pub(super) struct Flow {
    pub(super) line: Line,
    reference: Vec<u8>,
    noise_key: [u8; 32],
    /// The device's key of one use, under the code.
    wrapped: Vec<u8>,
    expires: Instant,
    typed: Option<Typed>,
}

/// What the phone has made of the code.
struct Typed {
    ours: KeyPair,
    theirs: [u8; 32],
    done: oneshot::Sender<Result<Address>>,
}

impl World {
    /// A device asks for being linked to a number, or goes on with that.
    pub(crate) fn on_code_stage(&mut self, line: &Line, stanza: &Node) -> Result<()> {
        let stage = stanza.required(TAG)?;
        let number = stage.jid("jid")?.user_base().to_owned();
        if stage.text("stage") != "companion_hello" {
            line.send(answer(&stanza.text("id"), Vec::new()));
            return self.finish(&number, stage);
        }
        let reference = format!("3@{}", rand::random::<u64>()).into_bytes();
        let flow = Flow {
            line: line.clone(),
            reference: reference.clone(),
            noise_key: key(&stage.child("companion_server_auth_key_pub"))?,
            wrapped: stage.child("link_code_pairing_wrapped_companion_ephemeral_pub"),
            expires: Instant::now() + LASTS,
            typed: None,
        };
        // A second device that asks for the same number takes the place of the first.
        self.pairing.codes.insert(number, flow);
        let told = parent(TAG, [leaf("link_code_pairing_ref", reference)]);
        line.send(answer(&stanza.text("id"), vec![told]));
        Ok(())
    }

    /// The person of a number types a code on the phone.
    pub(crate) fn enter_code(&mut self, number: &str, code: &str) -> Result<Outcome> {
        let code: String = code.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase();
        let identity = self.person(number)?.phone.identity();
        let id = format!("code-{}", self.next());
        let flow = self.pairing.codes.get_mut(number).filter(|flow| Instant::now() < flow.expires);
        let flow = flow.ok_or(Error::NoCodeAskedFor)?;
        let theirs = PairCodeUtils::decrypt_primary_ephemeral_pub(&flow.wrapped, &code).map_err(Error::crypto)?;
        let ours = KeyPair::generate(&mut rand::rng());
        let wrapped = PairCodeUtils::encrypt_ephemeral_pub(&public(&ours), &code);
        let hello = NodeBuilder::new(TAG)
            .attr("stage", "primary_hello")
            .children([
                leaf("link_code_pairing_wrapped_primary_ephemeral_pub", wrapped),
                leaf("primary_identity_pub", identity),
                leaf("link_code_pairing_ref", flow.reference.clone()),
            ])
            .build();
        let notification = NodeBuilder::new("notification")
            .attr("from", SERVER)
            .attr("type", TAG)
            .attr("id", id)
            .attr("t", now_seconds().to_string())
            .children([hello])
            .build();
        flow.line.send(notification);
        let (done, outcome) = oneshot::channel();
        flow.typed = Some(Typed { ours, theirs, done });
        Ok(outcome)
    }

    /// The device has sent its keys under what both agreed on. With a wrong code they do not open.
    fn finish(&mut self, number: &str, stage: &Node) -> Result<()> {
        let Some(flow) = self.pairing.codes.get_mut(number) else { return Ok(()) };
        let Some(typed) = flow.typed.take() else { return Ok(()) };
        let opened = key(&stage.child("companion_identity_public")).and_then(|identity| {
            let secret = typed.secret(
                &stage.child("link_code_pairing_wrapped_key_bundle"),
                &identity,
                self.person(number)?.phone.private(),
            )?;
            Ok((identity, secret))
        });
        match opened {
            Err(error) => {
                let _ = typed.done.send(Err(error));
                Ok(())
            }
            Ok((identity, secret)) => {
                let Some(flow) = self.pairing.codes.remove(number) else { return Ok(()) };
                self.vouch(number, flow.line, flow.noise_key, identity, &secret, typed.done)
            }
        }
    }
}

impl Typed {
    /// What a QR would have told.
    fn secret(
        &self,
        bundle: &[u8],
        identity: &[u8; 32],
        phone: &wacore::libsignal::protocol::PrivateKey,
    ) -> Result<[u8; 32]> {
        let agree = |ours: &wacore::libsignal::protocol::PrivateKey, theirs: &[u8; 32]| {
            let theirs = PublicKey::from_djb_public_key_bytes(theirs).map_err(Error::crypto)?;
            ours.calculate_agreement(&theirs).map_err(Error::crypto)
        };
        let derive = |input: &[u8], salt: Option<&[u8]>, label: &[u8]| {
            let mut output = [0; 32];
            hkdf_sha256_into(input, salt, label, &mut output).map_err(|_| Error::Malformed("no key can be derived"))?;
            Ok::<_, Error>(output)
        };
        let (Some(salt), Some(nonce), Some(sealed)) = (bundle.get(..32), bundle.get(32..44), bundle.get(44..)) else {
            return Err(Error::Malformed("a bundle of keys is too short"));
        };
        let once = agree(&self.ours.private_key, &self.theirs)?;
        let lasting = agree(phone, identity)?;
        let under = derive(&once, Some(salt), b"link_code_pairing_key_bundle_encryption_key")?;
        let nonce: [u8; 12] = nonce.try_into().expect("sliced to twelve bytes");
        let mut opened = Vec::new();
        aes_256_gcm_decrypt(&under, &nonce, b"", sealed, &mut opened).map_err(|_| Error::WrongCode)?;
        // Both identities, and what the device drew.
        let drawn = opened.get(64..96).ok_or(Error::Malformed("a bundle of keys is too short"))?;
        derive(&[&once[..], &lasting[..], drawn].concat(), None, b"adv_secret")
    }
}
