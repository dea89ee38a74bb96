use async_trait::async_trait;

use jiff::SignedDuration;

use crate::domain::Timestamp;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// What a person is sent to a provider with.
#[derive(Debug, Clone, Copy)]
pub struct AuthorizationAsked<'a> {
    /// The page that the provider sends the person back to.
    pub redirect_uri: &'a str,
    /// Comes back with the person.
    pub state: &'a str,
    /// Comes back in the ID token.
    pub nonce: &'a str,
    /// SHA-256 of the code verifier, as base64url: PKCE, S256.
    pub code_challenge: &'a str,
}

/// What a person came back with, and what it has to fit.
#[derive(Clone, Copy)]
pub struct CodeRedeemed<'a> {
    /// The provider's code.
    pub code: &'a str,
    /// The page that the person was sent back to.
    pub redirect_uri: &'a str,
    /// What the code challenge was the hash of.
    pub code_verifier: &'a str,
    /// What the ID token has to hold.
    pub nonce: &'a str,
}

/// Whom a provider says that it was.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who, for good: the provider gives it to nobody else.
    pub subject: String,
    /// Their email address, if the provider tells it.
    pub email: Option<String>,
    /// Whether the provider has verified that the address is theirs.
    pub email_verified: bool,
    /// What they are called, if the provider tells it.
    pub name: Option<String>,
}

/// Why nobody was identified.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The provider did not answer, or not as a provider does.
    #[error("the identity provider does not answer as one does")]
    Unavailable(#[source] Source),
    /// The provider does not take the code.
    #[error("the identity provider does not take the code")]
    Code(#[source] Source),
    /// What it says about the person does not hold.
    #[error("the identity provider's token does not hold")]
    Token(#[source] Source),
}

/// Tells who somebody is: an issuer of OpenID Connect.
#[async_trait]
pub trait IdentityProvider: Send + Sync {
    /// Its name in the API, as in `google`.
    fn name(&self) -> &str;

    /// Its name for people, as in `Google`.
    fn display_name(&self) -> &str;

    /// Its issuer identifier. Persons are known by this and their subject.
    fn issuer(&self) -> &str;

    /// The pages that people may be sent back to; the first is the usual one.
    fn redirect_uris(&self) -> &[String];

    /// Where a person goes to sign in there.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    async fn authorization_url(&self, asked: AuthorizationAsked<'_>, now: Timestamp) -> Result<String, IdentityError>;

    /// Who came back, when all that the provider says of them holds at `now`.
    ///
    /// # Errors
    /// [`IdentityError`].
    async fn identify(&self, redeemed: CodeRedeemed<'_>, now: Timestamp) -> Result<Identity, IdentityError>;

    /// Whom an ID token names that a page got from the provider by itself, when all of it holds at `now`: it is for
    /// this client, was signed within `age_max`, and is bound to no sign-in of ours. It may come again: the caller
    /// sees to it that it counts once.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`], [`IdentityError::Token`].
    async fn identify_by_token(
        &self,
        id_token: &str,
        age_max: SignedDuration,
        now: Timestamp,
    ) -> Result<Identity, IdentityError>;
}
