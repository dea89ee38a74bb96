//! Signatures of webhooks, as [Standard Webhooks 1.0] has them: `v1` with a shared secret, `v1a` with a key
//! pair. What is signed is the id, the time and the body, so that none can be exchanged.
//!
//! [Standard Webhooks 1.0]: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::ports::Entropy;

/// Bytes of a shared secret: 24 to 64 are allowed.
const SHARED_SIZE: usize = 32;
/// Bytes that a key pair grows from.
const SEED_SIZE: usize = 32;

/// What webhooks of one endpoint are signed with. Both ways at once: the receiver looks at what it knows.
pub struct SigningKeys {
    shared: Zeroizing<Vec<u8>>,
    seed: Zeroizing<Vec<u8>>,
}

impl SigningKeys {
    /// New ones.
    pub fn new(entropy: &dyn Entropy) -> Self {
        let mut shared = Zeroizing::new(vec![0; SHARED_SIZE]);
        let mut seed = Zeroizing::new(vec![0; SEED_SIZE]);
        entropy.fill(&mut shared);
        entropy.fill(&mut seed);
        Self { shared, seed }
    }

    /// Both as one text, to be sealed.
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("{}.{}", BASE64.encode(&*self.shared), BASE64.encode(&*self.seed)))
    }

    /// What [`to_text`](Self::to_text) gave; none when it is something else.
    pub fn from_text(text: &str) -> Option<Self> {
        let (shared, seed) = text.split_once('.')?;
        let seed = Zeroizing::new(BASE64.decode(seed).ok().filter(|seed| seed.len() == SEED_SIZE)?);
        Some(Self { shared: Zeroizing::new(BASE64.decode(shared).ok()?), seed })
    }

    /// The shared secret as the tenant is shown it, once: `whsec_…`.
    pub fn shared_secret(&self) -> Zeroizing<String> {
        Zeroizing::new(format!("whsec_{}", BASE64.encode(&*self.shared)))
    }

    /// The public half of the key pair, for all to see: `whpk_…`.
    pub fn public_key(&self) -> String {
        format!("whpk_{}", BASE64.encode(self.pair().public_key().as_ref()))
    }

    fn pair(&self) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&self.seed).expect("a seed of 32 bytes makes a key pair")
    }

    /// `v1,…` and `v1a,…`, with a space between.
    ///
    /// `seconds` is the time of the attempt, since 1970.
    pub fn sign(&self, id: &str, seconds: i64, body: &str) -> String {
        let signed = format!("{id}.{seconds}.{body}");
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.shared).expect("HMAC accepts any key length");
        mac.update(signed.as_bytes());
        let shared = BASE64.encode(mac.finalize().into_bytes());
        let pair = BASE64.encode(self.pair().sign(signed.as_bytes()));
        format!("v1,{shared} v1a,{pair}")
    }
}

impl std::fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKeys(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification and of its libraries' tests.
    #[test]
    fn a_shared_secret_signs_as_the_libraries_do() {
        let keys = SigningKeys {
            shared: Zeroizing::new(BASE64.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap()),
            seed: Zeroizing::new(vec![1; SEED_SIZE]),
        };
        let signature = keys.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        let shared = signature.split(' ').next().unwrap();
        assert_eq!(shared, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert_eq!(keys.shared_secret().as_str(), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    }

    /// RFC 8032, section 7.1, test 1.
    #[test]
    fn the_public_key_is_the_one_of_the_seed() {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        let bytes = |hex: &str| -> Vec<u8> {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        };
        let keys = SigningKeys { shared: Zeroizing::new(vec![0; 32]), seed: Zeroizing::new(bytes(seed)) };
        assert_eq!(keys.public_key(), format!("whpk_{}", BASE64.encode(bytes(public))));
    }

    #[test]
    fn keys_survive_their_text() {
        struct Counting;
        impl Entropy for Counting {
            fn fill(&self, bytes: &mut [u8]) {
                for (n, byte) in (0..).zip(bytes) {
                    *byte = n;
                }
            }
        }
        let keys = SigningKeys::new(&Counting);
        let again = SigningKeys::from_text(&keys.to_text()).unwrap();
        assert_eq!(again.sign("evt_1", 7, "{}"), keys.sign("evt_1", 7, "{}"));
        assert!(SigningKeys::from_text("AAAA").is_none());
        assert!(SigningKeys::from_text("AAAA.AAAA").is_none());
    }
}
