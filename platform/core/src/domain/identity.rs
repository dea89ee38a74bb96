//! What people are to identity providers, and sign-ins that are under way there.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Timestamp;
use super::id::{AttemptId, IdentityId, UserId};
use super::opaque::Opaque;
use super::session::Transport;
use crate::ports::{Entity, Entropy, IndexKey, Owner};

/// How long a person may take at the provider: ten minutes.
const ATTEMPT_LASTS: SignedDuration = SignedDuration::from_mins(10);

/// How old an ID token may be that a page got from a provider by itself: as old as a sign-in of ours may be.
pub const TOKEN_AGE_MAX: SignedDuration = ATTEMPT_LASTS;

/// The index by which a person's identities are listed: its value is the user's id, 16 bytes.
pub const BY_USER: &str = "user";
/// The index by which a person is found: its value is [`subject_key`].
pub const BY_SUBJECT: &str = "subject";

/// Under what a person is found who signs in elsewhere: SHA-256 of the issuer and the subject, which together
/// are one person's for good. Source: OpenID Connect Core 1.0, section 5.7.
pub fn subject_key(issuer: &str, subject: &str) -> [u8; 32] {
    // No issuer has a NUL in it, so no two pairs are one text.
    Sha256::new().chain_update(issuer).chain_update([0]).chain_update(subject).finalize().into()
}

/// Somebody at an identity provider, who is a person here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkedIdentity {
    /// Its id.
    pub id: IdentityId,
    /// Who it is here.
    pub user: UserId,
    /// Who says so.
    pub issuer: String,
    /// [`subject_key`], as base64url.
    pub subject: String,
    /// Since when.
    pub linked_at: Timestamp,
}

impl LinkedIdentity {
    /// A new link.
    pub fn new(user: UserId, issuer: &str, subject: &str, now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self {
            id: IdentityId::new(now, entropy),
            user,
            issuer: issuer.to_owned(),
            subject: BASE64URL.encode(subject_key(issuer, subject)),
            linked_at: now,
        }
    }
}

impl Entity for LinkedIdentity {
    const KIND: &'static str = "linked_identity";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new(BY_SUBJECT, BASE64URL.decode(&self.subject).unwrap_or_default())]
    }

    fn listed(&self) -> Vec<IndexKey> {
        vec![IndexKey::new(BY_USER, self.user.to_bytes())]
    }
}

/// A sign-in that is under way at a provider.
///
/// Of what has to come back only hashes are kept. The nonce and the code verifier come from a secret that only
/// the browser holds, so that whoever reads the store can finish nobody's sign-in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInAttempt {
    /// Its id.
    pub id: AttemptId,
    /// What is kept of the state, which goes to the provider and back.
    pub state_hash: String,
    /// What is kept of the secret that the browser holds.
    pub browser_hash: String,
    /// The provider's name.
    pub provider: String,
    /// The page that the person comes back to.
    pub redirect_uri: String,
    /// How the session's refresh token is to travel.
    pub transport: Transport,
    /// Until when they may come back.
    pub expires_at: Timestamp,
}

impl Entity for SignInAttempt {
    const KIND: &'static str = "sign_in_attempt";

    fn id(&self) -> [u8; 16] {
        self.id.to_bytes()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn unique(&self) -> Vec<IndexKey> {
        vec![IndexKey::new("state", &self.state_hash)]
    }

    /// It goes when nobody can come back to it any more.
    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.expires_at)
    }
}

/// That an ID token was signed in with, so that it works once. Kept until it would be too old anyway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentToken {
    /// SHA-256 of what is signed of it, as base64url: two tokens with one content are one token, however the
    /// signature of the second is written.
    pub digest: String,
    /// Until when it is kept.
    pub kept_until: Timestamp,
}

impl Entity for SpentToken {
    const KIND: &'static str = "spent_token";

    /// The first half of the digest: nobody finds two tokens that share it.
    fn id(&self) -> [u8; 16] {
        let digest = BASE64URL.decode(&self.digest).unwrap_or_default();
        digest.get(..16).and_then(|half| half.try_into().ok()).unwrap_or_default()
    }

    fn owner(&self) -> Owner {
        Owner::Platform
    }

    fn wake_at(&self) -> Option<Timestamp> {
        Some(self.kept_until)
    }
}

impl SpentToken {
    /// That this token was used at `now`.
    pub fn new(id_token: &str, now: Timestamp) -> Self {
        let signed = id_token.rsplit_once('.').map_or(id_token, |(signed, _)| signed);
        // Twice as long as it may be old: the provider's clock may be ahead of ours.
        let kept_until = now.saturating_add(TOKEN_AGE_MAX * 2).unwrap_or(Timestamp::MAX);
        Self { digest: BASE64URL.encode(Sha256::digest(signed)), kept_until }
    }
}

/// What only the browser holds while its owner is at the provider.
#[derive(Debug, Clone)]
pub struct BrowserSecret(pub Opaque);

impl BrowserSecret {
    /// What has to be in the ID token.
    pub fn nonce(&self) -> String {
        self.0.derive("nonce")
    }

    /// What has to come with the code: 43 characters. Source: RFC 7636, section 4.1.
    pub fn code_verifier(&self) -> String {
        self.0.derive("code verifier")
    }

    /// What the provider is told of it beforehand. Source: RFC 7636, section 4.2, S256.
    pub fn code_challenge(&self) -> String {
        BASE64URL.encode(Sha256::digest(self.code_verifier()))
    }
}

impl SignInAttempt {
    /// A new one, the state, and what only the browser is to hold.
    pub fn begin(
        provider: &str,
        redirect_uri: &str,
        transport: Transport,
        now: Timestamp,
        entropy: &dyn Entropy,
    ) -> (Self, Opaque, BrowserSecret) {
        let (state, browser) = (Opaque::draw(entropy), Opaque::draw(entropy));
        let attempt = Self {
            id: AttemptId::new(now, entropy),
            state_hash: state.hash(),
            browser_hash: browser.hash(),
            provider: provider.to_owned(),
            redirect_uri: redirect_uri.to_owned(),
            transport,
            expires_at: now.saturating_add(ATTEMPT_LASTS).unwrap_or(Timestamp::MAX),
        };
        (attempt, state, BrowserSecret(browser))
    }

    /// Whether somebody may still come back to it, with this secret in their browser.
    pub fn is_of(&self, browser: &BrowserSecret, now: Timestamp) -> bool {
        now < self.expires_at && browser.0.has_hash(&self.browser_hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_and_subject_are_one_person_together() {
        assert_ne!(subject_key("https://a.example", "b"), subject_key("https://a.exampleb", ""));
        assert_ne!(subject_key("https://a.example", "b"), subject_key("https://b.example", "b"));
    }

    #[test]
    fn a_token_is_known_again_whatever_its_signature_looks_like() {
        let now = Timestamp::UNIX_EPOCH;
        let id = |token: &str| SpentToken::new(token, now).id();
        assert_eq!(id("header.claims.signature"), id("header.claims.another"));
        assert_ne!(id("header.claims.signature"), id("header.others.signature"));
        assert_ne!(id("header.claims.signature"), [0; 16]);
    }

    /// `printf %s VERIFIER | openssl dgst -sha256 -binary | basenc --base64url`, without the padding.
    #[test]
    fn the_code_challenge_is_what_openssl_computes() {
        let secret = BrowserSecret(Opaque::parse(&"A".repeat(43)).unwrap());
        assert_eq!(secret.code_verifier(), "8vVkbw3ililxyLxPUC8R5gZiJjy0wYDgdPF8OC0vv3E");
        assert_eq!(secret.code_challenge(), "mgqqtQAL7-3unD_doujm-uyPZ1KUpv7F0JM5ORZKKiM");
        assert_ne!(secret.nonce(), secret.code_verifier());
    }
}
