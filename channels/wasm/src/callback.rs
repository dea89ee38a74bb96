//! Where a provider may tell later how a message fares, and whether it was the provider who told.

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::sandbox::{Call, Errand};
use crate::since_v0_1_1::wotp::channel::signatures::{Algorithm, Key};
use crate::since_v0_1_1::wotp::channel::{callback, receipts, signatures};

impl receipts::Host for Call {}

impl callback::Host for Call {
    async fn url(&mut self) -> Option<String> {
        let reference = self.reference().await?;
        let origin = self.grant.world.public_url.as_deref()?;
        let hook =
            self.grant.connection.map_or_else(|| self.grant.channel.clone(), |connection| connection.to_string());
        Some(format!("{}/hooks/{hook}/{reference}", origin.trim_end_matches('/')))
    }

    async fn reference(&mut self) -> Option<String> {
        match &self.errand {
            Errand::Deliver { outgoing, .. } => Some(outgoing.reference().to_string()),
            Errand::Look | Errand::Hear | Errand::Ask | Errand::Revoke | Errand::Check | Errand::Probe(_) => None,
        }
    }
}

impl signatures::Host for Call {
    async fn verify(
        &mut self,
        secret: String,
        key: Key,
        algorithm: Algorithm,
        data: Vec<u8>,
        signature: Vec<u8>,
    ) -> bool {
        let Some(left) = self.verifications_left.checked_sub(1) else { return false };
        self.verifications_left = left;
        let Some(secret) = self.grant.secrets.iter().find(|granted| granted.name == secret) else { return false };
        match key {
            Key::Secret => holds(algorithm, secret.value.as_bytes(), &data, &signature),
            Key::Sha256OfSecret => holds(algorithm, &Sha256::digest(secret.value.as_bytes()), &data, &signature),
        }
    }
}

/// Whether a signature is the right one, and the whole of it; in a time that does not tell how much of it is right.
fn holds(algorithm: Algorithm, key: &[u8], data: &[u8], signature: &[u8]) -> bool {
    const ANY_KEY: &str = "HMAC accepts any key length";
    match algorithm {
        Algorithm::HmacSha1 => {
            Hmac::<Sha1>::new_from_slice(key).expect(ANY_KEY).chain_update(data).verify_slice(signature).is_ok()
        }
        Algorithm::HmacSha256 => {
            Hmac::<Sha256>::new_from_slice(key).expect(ANY_KEY).chain_update(data).verify_slice(signature).is_ok()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// Source: RFC 2202, test case 2, and RFC 4231, test case 2.
    #[test]
    fn signatures_are_those_of_the_standards() {
        let data = b"what do ya want for nothing?";
        let sha1 = bytes("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
        let sha256 = bytes("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
        assert!(holds(Algorithm::HmacSha1, b"Jefe", data, &sha1));
        assert!(holds(Algorithm::HmacSha256, b"Jefe", data, &sha256));
        for wrong in [&sha1[..19], &[], &sha256, &[0; 20]] {
            assert!(!holds(Algorithm::HmacSha1, b"Jefe", data, wrong));
        }
        assert!(!holds(Algorithm::HmacSha1, b"Jefe", b"what do ya want for nothing!", &sha1));
    }
}
