//! What an issuer says of itself, and its keys.

use jiff::SignedDuration;
use serde::Deserialize;
use tokio::sync::Mutex;
use wotp_core::domain::Timestamp;
use wotp_core::ports::IdentityError;

use crate::client::Client;
use crate::key::{Key, KeySet};

/// How long what was read is gone by.
const FRESH_FOR: SignedDuration = SignedDuration::from_hours(1);
/// How soon the keys are read again for a token that is signed with none of them: tokens with invented keys
/// must not make us call the issuer each time.
const REFRESH_EVERY: SignedDuration = SignedDuration::from_secs(5);

/// An address that an issuer cannot have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no issuer: it begins with https://, or with http:// and an address of this machine, and has no query"
)]
pub struct UrlError(pub String);

/// What is used of an issuer's metadata. Source: OpenID Connect Discovery 1.0, section 3.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    issuer: String,
    pub(crate) authorization_endpoint: String,
    pub(crate) token_endpoint: String,
    pub(crate) userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

impl Metadata {
    /// Whether it takes the client's secret in a header, which is what it does when it does not say.
    pub(crate) fn takes_basic(&self) -> bool {
        let methods = self.token_endpoint_auth_methods_supported.as_deref();
        methods.is_none_or(|methods| methods.iter().any(|method| method == "client_secret_basic"))
    }
}

/// Something that was read, and when.
struct Read<T> {
    value: T,
    at: Timestamp,
}

impl<T> Read<T> {
    fn is_younger_than(&self, age: SignedDuration, now: Timestamp) -> bool {
        let since = now.duration_since(self.at);
        // A clock that was set back makes nothing fresh.
        !since.is_negative() && since < age
    }
}

pub(crate) struct Issuer {
    url: String,
    /// Held while the issuer is asked, so that many sign-ins at once ask once.
    metadata: Mutex<Option<Read<Metadata>>>,
    keys: Mutex<Option<Read<Vec<Key>>>>,
}

impl Issuer {
    pub(crate) fn new(url: &str) -> Result<Self, UrlError> {
        let plain = url.contains(['?', '#']) || url.parse::<http::Uri>().is_err();
        if plain || !is_trusted(url, true) {
            return Err(UrlError(url.to_owned()));
        }
        Ok(Self { url: url.to_owned(), metadata: Mutex::default(), keys: Mutex::default() })
    }

    pub(crate) async fn metadata(&self, client: &Client, now: Timestamp) -> Result<Metadata, IdentityError> {
        let mut known = self.metadata.lock().await;
        if let Some(read) = known.as_ref().filter(|read| read.is_younger_than(FRESH_FOR, now)) {
            return Ok(read.value.clone());
        }
        // Source: OpenID Connect Discovery 1.0, section 4.
        let url = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
        let metadata: Metadata =
            client.get(&url, None).await.map_err(|error| IdentityError::Unavailable(error.into()))?;
        self.check(&metadata)?;
        *known = Some(Read { value: metadata.clone(), at: now });
        Ok(metadata)
    }

    fn check(&self, metadata: &Metadata) -> Result<(), IdentityError> {
        if metadata.issuer != self.url {
            return Err(IdentityError::Unavailable("its metadata names another issuer".into()));
        }
        let Metadata { authorization_endpoint, token_endpoint, userinfo_endpoint, jwks_uri, .. } = metadata;
        let mut endpoints = [authorization_endpoint, token_endpoint, jwks_uri].into_iter().chain(userinfo_endpoint);
        let plain = self.url.starts_with("http://");
        if !endpoints.all(|endpoint| is_trusted(endpoint, plain)) {
            return Err(IdentityError::Unavailable("its metadata names an endpoint that is not https".into()));
        }
        Ok(())
    }

    /// Its keys. Where a token is signed with none of those that are known, its `newer` ones are asked for: it
    /// may have changed them.
    pub(crate) async fn keys(
        &self,
        client: &Client,
        metadata: &Metadata,
        newer: bool,
        now: Timestamp,
    ) -> Result<Vec<Key>, IdentityError> {
        let fresh_for = if newer { REFRESH_EVERY } else { FRESH_FOR };
        let mut known = self.keys.lock().await;
        if let Some(read) = known.as_ref().filter(|read| read.is_younger_than(fresh_for, now)) {
            return Ok(read.value.clone());
        }
        let set: KeySet =
            client.get(&metadata.jwks_uri, None).await.map_err(|error| IdentityError::Unavailable(error.into()))?;
        let keys = set.usable();
        *known = Some(Read { value: keys.clone(), at: now });
        Ok(keys)
    }
}

/// Whether what goes there is protected on its way: by TLS, or because it does not leave this machine where
/// `plain` allows that.
fn is_trusted(url: &str, plain: bool) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let Some(authority) = uri.authority().filter(|authority| !authority.as_str().contains('@')) else { return false };
    match uri.scheme_str() {
        Some("https") => true,
        Some("http") => plain && matches!(authority.host(), "localhost" | "127.0.0.1" | "[::1]"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_https_or_on_this_machine() {
        for url in ["https://accounts.google.com", "https://id.example.com/realms/a", "http://127.0.0.1:9400"] {
            assert!(Issuer::new(url).is_ok(), "{url}");
        }
        for url in [
            "http://id.example.com",
            "http://127.0.0.1.example.com",
            "http://127.0.0.1@id.example.com",
            "id.example.com",
            "ftp://id.example.com",
            "https://id.example.com/?a=b",
            "https://id.example.com/#a",
            "",
        ] {
            assert!(Issuer::new(url).is_err(), "{url}");
        }
    }

    #[test]
    fn metadata_of_another_issuer_or_with_plain_endpoints_is_refused() {
        let issuer = Issuer::new("https://id.example.com").unwrap();
        let metadata = |issuer: &str, token: &str| Metadata {
            issuer: issuer.to_owned(),
            authorization_endpoint: "https://id.example.com/a".to_owned(),
            token_endpoint: token.to_owned(),
            userinfo_endpoint: None,
            jwks_uri: "https://id.example.com/k".to_owned(),
            token_endpoint_auth_methods_supported: None,
        };
        assert!(issuer.check(&metadata("https://id.example.com", "https://id.example.com/t")).is_ok());
        assert!(issuer.check(&metadata("https://evil.example.com", "https://id.example.com/t")).is_err());
        assert!(issuer.check(&metadata("https://id.example.com", "http://id.example.com/t")).is_err());
        assert!(issuer.check(&metadata("https://id.example.com", "http://127.0.0.1/t")).is_err());
    }
}
