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

/// How long an issuer that did not answer is not asked again: as long as it may take to answer, so that who
/// waited meanwhile does not wait once more.
const AWAY_FOR: SignedDuration = SignedDuration::from_secs(10);

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

/// What an issuer says: kept, and asked for again when it is old.
struct Kept<T>(Mutex<State<T>>);

struct State<T> {
    read: Option<(T, Timestamp)>,
    failed_at: Option<Timestamp>,
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(Mutex::new(State { read: None, failed_at: None }))
    }
}

impl<T: Clone> Kept<T> {
    /// What is known and younger than `fresh_for`, else what `ask` gives. Of many callers at once one asks; of an
    /// issuer that is away none waits behind the others.
    async fn younger_than(
        &self,
        fresh_for: SignedDuration,
        now: Timestamp,
        ask: impl Future<Output = Result<T, IdentityError>>,
    ) -> Result<T, IdentityError> {
        let mut state = self.0.lock().await;
        if let Some((known, _)) = state.read.as_ref().filter(|(_, at)| is_within(fresh_for, *at, now)) {
            return Ok(known.clone());
        }
        if state.failed_at.is_some_and(|at| is_within(AWAY_FOR, at, now)) {
            return Err(IdentityError::Unavailable("it did not answer a moment ago".into()));
        }
        match ask.await {
            Ok(read) => {
                *state = State { read: Some((read.clone(), now)), failed_at: None };
                Ok(read)
            }
            Err(error) => {
                state.failed_at = Some(now);
                Err(error)
            }
        }
    }
}

fn is_within(time: SignedDuration, from: Timestamp, now: Timestamp) -> bool {
    let since = now.duration_since(from);
    // A clock that was set back makes nothing fresh.
    !since.is_negative() && since < time
}

pub(crate) struct Issuer {
    url: String,
    metadata: Kept<Metadata>,
    keys: Kept<Vec<Key>>,
}

impl Issuer {
    pub(crate) fn new(url: &str) -> Result<Self, UrlError> {
        let odd = url.contains(['?', '#']) || url.parse::<http::Uri>().is_err();
        if odd || !is_trusted(url, true) {
            return Err(UrlError(url.to_owned()));
        }
        Ok(Self { url: url.to_owned(), metadata: Kept::default(), keys: Kept::default() })
    }

    pub(crate) async fn metadata(&self, client: &Client, now: Timestamp) -> Result<Metadata, IdentityError> {
        let ask = async {
            // Source: OpenID Connect Discovery 1.0, section 4.
            let url = format!("{}/.well-known/openid-configuration", self.url.trim_end_matches('/'));
            let metadata: Metadata =
                client.get(&url, None).await.map_err(|error| IdentityError::Unavailable(error.into()))?;
            self.check(&metadata)?;
            Ok(metadata)
        };
        self.metadata.younger_than(FRESH_FOR, now, ask).await
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
        let ask = async {
            let set: KeySet =
                client.get(&metadata.jwks_uri, None).await.map_err(|error| IdentityError::Unavailable(error.into()))?;
            Ok(set.usable())
        };
        self.keys.younger_than(if newer { REFRESH_EVERY } else { FRESH_FOR }, now, ask).await
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
