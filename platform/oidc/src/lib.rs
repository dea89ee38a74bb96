//! Sign-in by any issuer of OpenID Connect: authorization code with PKCE, ID tokens verified.
//!
//! What an issuer says of itself (discovery) and its keys are kept for an hour; an ID token under a key that
//! is not known yet makes us look again. Issuers are the operator's choice, so any address is called; calls are
//! bounded in time and size, and follow no redirect.

mod client;
mod id_token;
mod issuer;
mod key;

use async_trait::async_trait;
use jiff::SignedDuration;
use serde::Deserialize;
use wotp_core::domain::Timestamp;
use wotp_core::ports::{AuthorizationAsked, CodeRedeemed, Identity, IdentityError, IdentityProvider};
use zeroize::Zeroizing;

use client::{CallError, Client};
use id_token::{Bound, Claims, Expected};
pub use issuer::UrlError;
use issuer::{Issuer, Metadata};

/// What is asked for: that it is OpenID Connect, and who it is.
const SCOPE: &str = "openid email profile";

/// One issuer that people may sign in with.
pub struct Settings {
    /// Its name in the API, as in `google`.
    pub name: String,
    /// Its name for people, as in `Google`.
    pub display_name: String,
    /// Its issuer identifier, as in `https://accounts.google.com`.
    pub issuer: String,
    /// What it knows us by.
    pub client_id: String,
    /// What it knows us for sure by.
    pub client_secret: Zeroizing<String>,
    /// The pages that people may be sent back to. Not empty.
    pub redirect_uris: Vec<String>,
}

/// An issuer of OpenID Connect.
pub struct OidcProvider {
    settings: Settings,
    issuer: Issuer,
    client: Client,
}

/// Why an issuer cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Its address cannot be trusted.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The system has no certificates to know it by.
    #[error("the system's certificate authorities cannot be read")]
    Certificates(#[source] std::io::Error),
}

#[derive(Deserialize)]
struct TokenReply {
    id_token: Option<String>,
    access_token: Option<String>,
}

impl OidcProvider {
    /// The issuer that the settings name. It is not called yet.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub fn new(settings: Settings) -> Result<Self, ProviderError> {
        let issuer = Issuer::new(&settings.issuer)?;
        let client = Client::new().map_err(ProviderError::Certificates)?;
        Ok(Self { settings, issuer, client })
    }

    /// Redeems a code, which a provider takes once.
    async fn redeem(&self, metadata: &Metadata, redeemed: &CodeRedeemed<'_>) -> Result<TokenReply, IdentityError> {
        let Settings { client_id, client_secret, .. } = &self.settings;
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", redeemed.code),
            ("redirect_uri", redeemed.redirect_uri),
            ("code_verifier", redeemed.code_verifier),
        ];
        let basic = metadata.takes_basic().then_some((client_id.as_str(), client_secret.as_str()));
        if basic.is_none() {
            form.extend([("client_id", client_id.as_str()), ("client_secret", client_secret.as_str())]);
        }
        self.client.post_form(&metadata.token_endpoint, &form, basic).await.map_err(|error| match error {
            CallError::Status(400 | 401 | 403) => IdentityError::Code(error.into()),
            error => IdentityError::Unavailable(error.into()),
        })
    }

    /// What an ID token says, when all of it holds.
    async fn claims(
        &self,
        metadata: &Metadata,
        token: &str,
        bound: Bound<'_>,
        now: Timestamp,
    ) -> Result<Claims, IdentityError> {
        let signed = id_token::parse(token).map_err(|error| IdentityError::Token(error.into()))?;
        let mut keys = self.issuer.keys(&self.client, metadata, false, now).await?;
        if !signed.is_signed_by(&keys) {
            keys = self.issuer.keys(&self.client, metadata, true, now).await?;
        }
        let expected = Expected { issuer: &self.settings.issuer, client_id: &self.settings.client_id, bound };
        id_token::verify(&signed, &keys, &expected, now).map_err(|error| IdentityError::Token(error.into()))
    }

    /// What is said of the person where ID tokens hold no address: OpenID Connect Core, section 5.4, lets a
    /// provider tell it there alone.
    async fn add_user_info(
        &self,
        metadata: &Metadata,
        access_token: Option<&str>,
        claims: &mut Claims,
    ) -> Result<(), IdentityError> {
        let (Some(endpoint), Some(token)) = (&metadata.userinfo_endpoint, access_token) else { return Ok(()) };
        let info: Claims =
            self.client.get(endpoint, Some(token)).await.map_err(|error| IdentityError::Unavailable(error.into()))?;
        // Section 5.3.2: of somebody else it must not be used.
        if info.sub != claims.sub {
            return Err(IdentityError::Token("the user info is of another subject".into()));
        }
        claims.email = info.email;
        claims.email_verified = info.email_verified;
        claims.name = claims.name.take().or(info.name);
        Ok(())
    }
}

#[async_trait]
impl IdentityProvider for OidcProvider {
    fn name(&self) -> &str {
        &self.settings.name
    }

    fn display_name(&self) -> &str {
        &self.settings.display_name
    }

    fn issuer(&self) -> &str {
        &self.settings.issuer
    }

    fn redirect_uris(&self) -> &[String] {
        &self.settings.redirect_uris
    }

    async fn authorization_url(&self, asked: AuthorizationAsked<'_>, now: Timestamp) -> Result<String, IdentityError> {
        let metadata = self.issuer.metadata(&self.client, now).await?;
        let query = client::form(&[
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", asked.redirect_uri),
            ("scope", SCOPE),
            ("state", asked.state),
            ("nonce", asked.nonce),
            ("code_challenge", asked.code_challenge),
            ("code_challenge_method", "S256"),
        ]);
        let endpoint = &metadata.authorization_endpoint;
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        Ok(format!("{endpoint}{joint}{}", &*query))
    }

    async fn identify(&self, redeemed: CodeRedeemed<'_>, now: Timestamp) -> Result<Identity, IdentityError> {
        let metadata = self.issuer.metadata(&self.client, now).await?;
        let reply = self.redeem(&metadata, &redeemed).await?;
        let token = reply.id_token.ok_or_else(|| IdentityError::Token("the provider sent no ID token".into()))?;
        let mut claims = self.claims(&metadata, &token, Bound::Nonce(redeemed.nonce), now).await?;
        if claims.email.is_none() {
            self.add_user_info(&metadata, reply.access_token.as_deref(), &mut claims).await?;
        }
        Ok(identity(claims))
    }

    async fn identify_by_token(
        &self,
        id_token: &str,
        age_max: SignedDuration,
        now: Timestamp,
    ) -> Result<Identity, IdentityError> {
        let metadata = self.issuer.metadata(&self.client, now).await?;
        self.claims(&metadata, id_token, Bound::Age(age_max), now).await.map(identity)
    }
}

fn identity(claims: Claims) -> Identity {
    Identity { subject: claims.sub, email: claims.email, email_verified: claims.email_verified, name: claims.name }
}
