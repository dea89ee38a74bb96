//! The keys by which publishers of plugins are known: ed25519 (RFC 8032).

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use wotp_core::ports::Entropy;
use zeroize::Zeroizing;

/// What a public key and a signature begin with: others may come.
const PUBLIC: &str = "ed25519:";
/// What a private key begins with, so that nobody takes it for a public one.
const PRIVATE: &str = "ed25519-private:";

/// A text that is no key, or no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// It does not begin as one.
    #[error("does not begin with `{0}`")]
    Kind(&'static str),
    /// What follows is no base64.
    #[error("is no base64 behind `{0}`: a letter is missing, or one that is none of its is there")]
    Base64(&'static str),
    /// Too much or too little.
    #[error("has {found} bytes behind its `:`, and such a one has {right}")]
    Length {
        /// Bytes that it has.
        found: usize,
        /// Bytes that it would have.
        right: usize,
    },
}

/// By which a publisher is known. Written as `ed25519:` and base64.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublisherKey([u8; 32]);

/// What only the holder of the private key can make of a text. Written as `ed25519:` and base64.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Signature([u8; 64]);

/// With what a publisher signs. Written as `ed25519-private:` and base64. Its `Debug` does not show it.
pub struct SigningKey {
    seed: Zeroizing<[u8; 32]>,
    pair: Ed25519KeyPair,
}

fn bytes<const N: usize>(text: &str, kind: &'static str) -> Result<[u8; N], KeyFault> {
    let encoded = text.strip_prefix(kind).ok_or(KeyFault::Kind(kind))?;
    let decoded = STANDARD.decode(encoded).map(Zeroizing::new).map_err(|_| KeyFault::Base64(kind))?;
    decoded.as_slice().try_into().map_err(|_| KeyFault::Length { found: decoded.len(), right: N })
}

impl FromStr for PublisherKey {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        bytes(text, PUBLIC).map(Self)
    }
}

impl fmt::Display for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublisherKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublisherKey({self})")
    }
}

impl PublisherKey {
    /// Whether the holder of the private key signed this.
    pub(crate) fn signed(&self, text: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(text, &signature.0).is_ok()
    }
}

impl FromStr for Signature {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        bytes(text, PUBLIC).map(Self)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PUBLIC}{}", STANDARD.encode(self.0))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

impl SigningKey {
    fn of(seed: Zeroizing<[u8; 32]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).expect("any 32 bytes are a seed of ed25519");
        Self { seed, pair }
    }

    /// A new one.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        entropy.fill(&mut *seed);
        Self::of(seed)
    }

    /// By which others know its holder.
    pub fn publisher(&self) -> PublisherKey {
        let public = self.pair.public_key().as_ref().try_into();
        PublisherKey(public.expect("a public key of ed25519 has 32 bytes"))
    }

    /// As it is kept: whoever reads this can sign as its holder does.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{PRIVATE}{}", STANDARD.encode(self.seed.as_slice())))
    }

    pub(crate) fn sign(&self, text: &[u8]) -> Signature {
        let signature = self.pair.sign(text);
        Signature(signature.as_ref().try_into().expect("a signature of ed25519 has 64 bytes"))
    }
}

impl FromStr for SigningKey {
    type Err = KeyFault;

    fn from_str(text: &str) -> Result<Self, KeyFault> {
        bytes(text, PRIVATE).map(Zeroizing::new).map(Self::of)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(…, {})", self.publisher())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    }

    /// Source: RFC 8032, 7.1, test 2.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let seed = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
        let public = hex("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = hex(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        );
        let key: SigningKey = format!("{PRIVATE}{}", STANDARD.encode(seed)).parse().unwrap();
        assert_eq!(key.publisher().0.to_vec(), public);
        assert_eq!(key.sign(&[0x72]).0.to_vec(), signature);
        assert!(key.publisher().signed(&[0x72], &key.sign(&[0x72])));
        assert!(!key.publisher().signed(&[0x73], &key.sign(&[0x72])));
    }

    #[test]
    fn a_key_is_read_as_it_was_written_and_shows_nothing_by_mistake() {
        let key = SigningKey::of(Zeroizing::new([7; 32]));
        let written = key.to_text();
        assert_eq!(written.parse::<SigningKey>().unwrap().publisher(), key.publisher());
        assert_eq!(key.publisher().to_string().parse(), Ok(key.publisher()));
        assert!(!format!("{key:?}").contains(&written[PRIVATE.len()..]));
        let publisher = key.publisher().to_string();
        for (wrong, words) in [
            (written.as_str(), "does not begin with `ed25519:`"),
            (&publisher[..publisher.len() - 1], "no base64"),
            ("ed25519:AAAA", "has 3 bytes behind its `:`, and such a one has 32"),
        ] {
            let said = wrong.parse::<PublisherKey>().unwrap_err().to_string();
            assert!(said.contains(words), "{said}");
        }
    }
}
