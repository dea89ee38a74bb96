//! Random values that name something to whoever holds them: 256 bits, of which SHA-256 is kept.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::ports::Entropy;

const SIZE: usize = 32;

/// A value in clear: it goes to its holder and is not kept.
#[derive(Clone)]
pub struct Opaque(Zeroizing<[u8; SIZE]>);

impl fmt::Debug for Opaque {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Opaque(…)")
    }
}

impl Opaque {
    /// Draws a new one.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut bytes = Zeroizing::new([0; SIZE]);
        entropy.fill(&mut *bytes);
        Self(bytes)
    }

    /// Reads what [`reveal`](Self::reveal) gave; nothing when it cannot be one.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64URL.decode(text).ok()?);
        Some(Self(Zeroizing::new(bytes.as_slice().try_into().ok()?)))
    }

    /// The value, for its holder: 43 characters that any URL and cookie may hold.
    pub fn reveal(&self) -> String {
        BASE64URL.encode(*self.0)
    }

    /// What is kept of it: 256 random bits are found from their hash by nobody.
    pub fn hash(&self) -> String {
        self.derive("")
    }

    /// Another value that only its holder can tell, for one purpose.
    pub fn derive(&self, purpose: &str) -> String {
        BASE64URL.encode(Sha256::new().chain_update(*self.0).chain_update(purpose).finalize())
    }

    /// Whether this is what a hash was kept of, in constant time.
    pub fn has_hash(&self, hash: &str) -> bool {
        self.hash().as_bytes().ct_eq(hash.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_survives_its_text_and_what_is_kept_does_not_tell_it() {
        let value = Opaque(Zeroizing::new([7; SIZE]));
        let read = Opaque::parse(&value.reveal()).unwrap();
        assert!(read.has_hash(&value.hash()));
        assert!(!read.has_hash(&Opaque(Zeroizing::new([8; SIZE])).hash()));
        assert_ne!(value.hash(), value.reveal());
        assert_ne!(value.derive("nonce"), value.derive("verifier"));
        for text in ["", "AAAA", "!", &format!("{}A", value.reveal())] {
            assert!(Opaque::parse(text).is_none(), "{text}");
        }
    }
}
