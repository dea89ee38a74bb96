//! ID tokens: signed by a key of the issuer, for us, for this sign-in, and in time.
//!
//! Source: OpenID Connect Core 1.0, section 3.1.3.7, and RFC 8725.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::SignedDuration;
use serde::{Deserialize, Deserializer};
use subtle::ConstantTimeEq as _;
use wotp_core::domain::Timestamp;

use crate::key::{Algorithm, Key};

/// By how much an issuer's clock may be off.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Most characters of a subject. Source: OpenID Connect Core 1.0, section 2.
const SUBJECT_LENGTH_MAX: usize = 255;

/// What is wrong with an ID token. Says nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TokenError {
    #[error("it is not three parts of base64url with JSON in them")]
    Form,
    #[error("its algorithm is not among RS256, PS256, ES256 and EdDSA")]
    Algorithm,
    #[error("it names extensions that have to be understood")]
    Critical,
    #[error("its key is not among the issuer's")]
    UnknownKey,
    #[error("its signature is not the key's")]
    Signature,
    #[error("it is of another issuer")]
    Issuer,
    #[error("it is for another client")]
    Audience,
    #[error("it has expired")]
    Expired,
    #[error("it is from the future")]
    Future,
    #[error("it is too old to sign in with")]
    Old,
    #[error("it is for another sign-in")]
    Nonce,
    #[error("it has no subject that can be kept")]
    Subject,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// A token whose parts are known, and whose signature is not looked at yet.
pub(crate) struct Signed {
    algorithm: Algorithm,
    key: Option<String>,
    /// What is signed.
    message: Vec<u8>,
    claims: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    /// Whether one of these keys signed it.
    pub(crate) fn is_signed_by(&self, keys: &[Key]) -> bool {
        self.signed_by(keys).is_ok()
    }

    fn signed_by(&self, keys: &[Key]) -> Result<(), TokenError> {
        let mut fitting = keys.iter().filter(|key| key.fits(self.algorithm, self.key.as_deref())).peekable();
        if fitting.peek().is_none() {
            return Err(TokenError::UnknownKey);
        }
        // More than one only where the token names none.
        let signed = fitting.any(|key| key.verifies(self.algorithm, &self.message, &self.signature));
        if signed { Ok(()) } else { Err(TokenError::Signature) }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

/// What is used of an ID token, or of a user info, which has the middle part only.
#[derive(Deserialize)]
pub(crate) struct Claims {
    iss: Option<String>,
    aud: Option<Audience>,
    azp: Option<String>,
    exp: Option<f64>,
    nbf: Option<f64>,
    iat: Option<f64>,
    nonce: Option<String>,
    pub(crate) sub: String,
    pub(crate) email: Option<String>,
    /// Some issuers write it as a text.
    #[serde(default, deserialize_with = "true_or_its_name")]
    pub(crate) email_verified: bool,
    pub(crate) name: Option<String>,
}

fn true_or_its_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    let value = serde_json::Value::deserialize(deserializer)?;
    Ok(value == serde_json::Value::Bool(true) || value == "true")
}

/// What a token has to be for.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) bound: Bound<'a>,
}

/// What keeps a token from serving for another sign-in than the one that it was made for.
pub(crate) enum Bound<'a> {
    /// It names the sign-in.
    Nonce(&'a str),
    /// It names none, and is not older than this. One that names a sign-in is for that alone.
    Age(SignedDuration),
}

/// Takes a token apart.
pub(crate) fn parse(token: &str) -> Result<Signed, TokenError> {
    let (message, signature) = token.rsplit_once('.').ok_or(TokenError::Form)?;
    let (header, claims) = message.split_once('.').ok_or(TokenError::Form)?;
    let decode = |part: &str| BASE64URL.decode(part).map_err(|_| TokenError::Form);
    let Header { alg, kid, crit } = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Form)?;
    if crit.is_some() {
        return Err(TokenError::Critical);
    }
    let algorithm = serde_json::from_value(alg.into()).map_err(|_| TokenError::Algorithm)?;
    let (claims, signature) = (decode(claims)?, decode(signature)?);
    Ok(Signed { algorithm, key: kid, message: message.as_bytes().to_vec(), claims, signature })
}

/// What a token says, when all of it holds at `now`.
pub(crate) fn verify(
    signed: &Signed,
    keys: &[Key],
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Claims, TokenError> {
    signed.signed_by(keys)?;
    let claims: Claims = serde_json::from_slice(&signed.claims).map_err(|_| TokenError::Form)?;
    check(&claims, expected, now)?;
    Ok(claims)
}

fn check(claims: &Claims, expected: &Expected<'_>, now: Timestamp) -> Result<(), TokenError> {
    if claims.iss.as_deref() != Some(expected.issuer) {
        return Err(TokenError::Issuer);
    }
    let (for_us, alone) = match &claims.aud {
        Some(Audience::One(one)) => (one == expected.client_id, true),
        Some(Audience::Many(many)) => (many.iter().any(|one| one == expected.client_id), many.len() == 1),
        None => (false, false),
    };
    let party = claims.azp.as_deref();
    if !for_us || party.is_some_and(|party| party != expected.client_id) || (!alone && party.is_none()) {
        return Err(TokenError::Audience);
    }
    // Fractions of a second are allowed (RFC 7519, NumericDate), and are of no account here.
    #[allow(clippy::cast_precision_loss, reason = "seconds since the epoch are exact in a float for ages")]
    let (now, skew) = (now.as_second() as f64, CLOCK_SKEW.as_secs() as f64);
    // Written so that what is no number is refused too.
    if !claims.exp.is_some_and(|end| now < end + skew) {
        return Err(TokenError::Expired);
    }
    if !claims.iat.is_some_and(|from| from <= now + skew) || claims.nbf.is_some_and(|from| from > now + skew) {
        return Err(TokenError::Future);
    }
    match (&expected.bound, claims.nonce.as_deref()) {
        (Bound::Nonce(expected), Some(nonce)) if bool::from(nonce.as_bytes().ct_eq(expected.as_bytes())) => {}
        (Bound::Age(age_max), None) => {
            #[allow(clippy::cast_precision_loss, reason = "seconds of a limit are exact in a float")]
            let age_max = age_max.as_secs() as f64;
            if !claims.iat.is_some_and(|from| now < from + age_max) {
                return Err(TokenError::Old);
            }
        }
        (Bound::Nonce(_) | Bound::Age(_), _) => return Err(TokenError::Nonce),
    }
    if claims.sub.is_empty() || claims.sub.len() > SUBJECT_LENGTH_MAX {
        return Err(TokenError::Subject);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
