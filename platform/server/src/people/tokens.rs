//! Access tokens: JWT signed with ed25519, by `ring`.
//!
//! The provider that is installed for `jsonwebtoken` knows EdDSA and nothing else. So whatever algorithm a
//! token names, `none` too, there is no other that could be used for it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::signature::{Error, Signer, Verifier};
use jsonwebtoken::{
    Algorithm, AlgorithmFamily, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode,
};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use wotp_core::domain::access_token::Claims;
use wotp_core::ports::AccessTokens;

/// What the header calls them, so that no other kind of token passes for one. Source: RFC 9068.
const TYPE: &str = "at+jwt";
/// Longest token that is looked at: ours have about 500 bytes.
const LENGTH_MAX: usize = 2048;

static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| {
        if *algorithm != Algorithm::EdDSA || key.family() != AlgorithmFamily::Ed {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        let pair = Ed25519KeyPair::from_seed_unchecked(key.as_bytes()).map_err(|_| ErrorKind::InvalidEddsaKey)?;
        Ok(Box::new(Signs(pair)))
    },
    verifier_factory: |algorithm, key| {
        if *algorithm != Algorithm::EdDSA || key.family() != AlgorithmFamily::Ed {
            return Err(ErrorKind::InvalidAlgorithm.into());
        }
        Ok(Box::new(Verifies(key.try_get_as_bytes()?.to_vec())))
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct Signs(Ed25519KeyPair);

impl Signer<Vec<u8>> for Signs {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        Ok(self.0.sign(message).as_ref().to_vec())
    }
}

impl JwtSigner for Signs {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

struct Verifies(Vec<u8>);

impl Verifier<Vec<u8>> for Verifies {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), Error> {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(message, signature).map_err(|_| Error::new())
    }
}

impl JwtVerifier for Verifies {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDSA
    }
}

/// Signs and reads access tokens.
#[derive(Debug, Clone, Copy)]
pub struct EddsaTokens(());

impl EddsaTokens {
    /// Makes the process ready for it.
    pub fn new() -> Self {
        // It may be ready already.
        let _ = RING.install_default();
        Self(())
    }
}

impl Default for EddsaTokens {
    fn default() -> Self {
        Self::new()
    }
}

impl AccessTokens for EddsaTokens {
    fn public_half(&self, seed: &[u8; 32]) -> String {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("any 32 bytes are a seed");
        URL_SAFE_NO_PAD.encode(pair.public_key().as_ref())
    }

    fn sign(&self, claims: &Claims, kid: &str, seed: &[u8; 32]) -> String {
        let header = Header { typ: Some(TYPE.to_owned()), kid: Some(kid.to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, claims, &EncodingKey::from_ed_der(seed)).expect("claims serialise, and any 32 bytes sign")
    }

    fn kid(&self, token: &str) -> Option<String> {
        if token.len() > LENGTH_MAX {
            return None;
        }
        let header = decode_header(token).ok()?;
        let ours = header.alg == Algorithm::EdDSA && header.typ.as_deref() == Some(TYPE);
        header.kid.filter(|_| ours)
    }

    fn read(&self, token: &str, public: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::EdDSA);
        // The time is the platform's own, and looked at where the claims are; so are issuer and audience.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_ed_components(public).ok()?;
        decode(token, &key, &validation).ok().map(|token| token.claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, appendix A: an ed25519 key.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn seed() -> [u8; 32] {
        URL_SAFE_NO_PAD.decode(SEED).unwrap().try_into().unwrap()
    }

    fn claims() -> Claims {
        let text = |text: &str| text.to_owned();
        Claims { iss: text("i"), aud: text("a"), sub: text("s"), sid: text("x"), iat: 1, nbf: 1, exp: 2 }
    }

    #[test]
    fn the_public_half_is_that_of_rfc_8037() {
        assert_eq!(EddsaTokens::new().public_half(&seed()), PUBLIC);
    }

    #[test]
    fn a_token_is_read_with_its_key_only_and_not_when_it_was_touched() {
        let tokens = EddsaTokens::new();
        let token = tokens.sign(&claims(), "k1", &seed());
        assert_eq!(tokens.kid(&token).as_deref(), Some("k1"));
        assert_eq!(tokens.read(&token, PUBLIC), Some(claims()));
        assert_eq!(tokens.read(&token, &tokens.public_half(&[1; 32])), None);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = message.split_once('.').unwrap();
        let other = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&Claims { exp: 9, ..claims() }).unwrap());
        assert_eq!(tokens.read(&format!("{header}.{other}.{signature}"), PUBLIC), None);
    }

    #[test]
    fn no_other_algorithm_is_read_whatever_signs_it() {
        let tokens = EddsaTokens::new();
        let payload = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&claims()).unwrap());
        for algorithm in ["none", "None", "HS256", "RS256", "ES256"] {
            let header = format!(r#"{{"alg":"{algorithm}","typ":"at+jwt","kid":"k1"}}"#);
            let message = format!("{}.{payload}", URL_SAFE_NO_PAD.encode(header));
            let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &URL_SAFE_NO_PAD.decode(PUBLIC).unwrap());
            let mac = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, message.as_bytes()));
            for signature in ["", mac.as_str()] {
                let token = format!("{message}.{signature}");
                assert_eq!(tokens.kid(&token), None, "{algorithm}");
                assert_eq!(tokens.read(&token, PUBLIC), None, "{algorithm}");
            }
        }
    }

    #[test]
    fn another_kind_of_token_is_none_of_ours() {
        let tokens = EddsaTokens::new();
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::EdDSA) };
        let id_token = encode(&header, &claims(), &EncodingKey::from_ed_der(&seed())).unwrap();
        assert_eq!(tokens.kid(&id_token), None);
    }
}
