//! An issuer's public keys (RFC 7517), each for one algorithm of its own kind only.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaPublicKeyComponents,
    UnparsedPublicKey,
};
use serde::Deserialize;

/// The algorithms that we take: what issuers use, and neither `none` nor any with a shared secret, which
/// would let whoever knows a public key sign with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Algorithm {
    RS256,
    PS256,
    ES256,
    EdDSA,
}

/// As an issuer publishes them.
#[derive(Deserialize)]
pub(crate) struct KeySet {
    /// Read one by one: a key of a kind that we do not know is no reason to refuse the others.
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    alg: Option<String>,
    #[serde(flatten)]
    numbers: Numbers,
}

#[derive(Deserialize)]
#[serde(tag = "kty")]
enum Numbers {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec { crv: String, x: String, y: String },
    #[serde(rename = "OKP")]
    Okp { crv: String, x: String },
}

#[derive(Debug, Clone)]
enum Public {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

/// A key that verifies.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    /// The only algorithm that it is for, if its issuer says so.
    alg: Option<String>,
    public: Public,
}

impl KeySet {
    /// Those keys that we can verify with.
    pub(crate) fn usable(self) -> Vec<Key> {
        self.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok()).filter_map(Key::read).collect()
    }
}

impl Key {
    fn read(jwk: Jwk) -> Option<Self> {
        if jwk.usage.is_some_and(|usage| usage != "sig") {
            return None;
        }
        let bytes = |text: &str| BASE64URL.decode(text).ok();
        let public = match &jwk.numbers {
            Numbers::Rsa { n, e } => Public::Rsa { n: bytes(n)?, e: bytes(e)? },
            Numbers::Ec { crv, x, y } if crv == "P-256" => {
                let (x, y) = (bytes(x)?, bytes(y)?);
                if x.len() != 32 || y.len() != 32 {
                    return None;
                }
                // A point as it is, uncompressed. Source: SEC 1, section 2.3.3.
                Public::P256([&[4], &x[..], &y[..]].concat())
            }
            Numbers::Okp { crv, x } if crv == "Ed25519" => Public::Ed25519(bytes(x)?),
            Numbers::Ec { .. } | Numbers::Okp { .. } => return None,
        };
        Some(Self { id: jwk.kid, alg: jwk.alg, public })
    }

    /// Whether it may be the key of a token with this algorithm and, if it names one, this key.
    pub(crate) fn fits(&self, algorithm: Algorithm, id: Option<&str>) -> bool {
        let kind = match algorithm {
            Algorithm::RS256 | Algorithm::PS256 => matches!(self.public, Public::Rsa { .. }),
            Algorithm::ES256 => matches!(self.public, Public::P256(_)),
            Algorithm::EdDSA => matches!(self.public, Public::Ed25519(_)),
        };
        let named = id.is_none_or(|id| self.id.as_deref() == Some(id));
        kind && named && self.alg.as_deref().is_none_or(|alg| alg == format!("{algorithm:?}"))
    }

    /// Whether it made this signature.
    pub(crate) fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let verified = match (&self.public, algorithm) {
            (Public::Rsa { n, e }, Algorithm::RS256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            (Public::Rsa { n, e }, Algorithm::PS256) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature)
            }
            (Public::P256(point), Algorithm::ES256) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            (Public::Ed25519(point), Algorithm::EdDSA) => {
                UnparsedPublicKey::new(&ED25519, point).verify(message, signature)
            }
            _ => return false,
        };
        verified.is_ok()
    }
}
