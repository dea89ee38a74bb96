//! Calls to an issuer: bounded in time and size, and no redirect is followed.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

/// Longest that an issuer may take to answer, connecting and reading included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next call.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Most that is read of an answer: key sets of large issuers have some kilobytes.
const ANSWER_SIZE_MAX: usize = 256 * 1024;

/// What stays as it is in a form. Source: RFC 3986, section 2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A call that gave nothing. Of what was answered no word is kept: it may quote what was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// It did not answer in time.
    #[error("it took longer than 10 seconds")]
    Slow,
    /// It could not be reached, or said too much.
    #[error("it could not be called")]
    Call(#[source] Source),
    /// It answered with another status.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It answered something else than was asked for.
    #[error("its answer cannot be read, at line {line}, column {column}")]
    Answer {
        /// Of the answer.
        line: usize,
        /// Of that line.
        column: usize,
    },
}

pub(crate) struct Client {
    inner: hyper_util::client::legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

impl Client {
    /// One that trusts the system's certificates.
    ///
    /// # Errors
    /// When there are none that can be read.
    pub(crate) fn new() -> std::io::Result<Self> {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(rustls::crypto::ring::default_provider())?
            // Plain only where the issuer itself is: `issuer.rs` sees to that.
            .https_or_http()
            .enable_http1()
            .build();
        let inner = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .build(connector);
        Ok(Self { inner })
    }

    /// Reads JSON, as the holder of a token where there is one.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: &str, bearer: Option<&str>) -> Result<T, CallError> {
        let mut request = Request::builder().method(Method::GET).uri(url).header(ACCEPT, "application/json");
        if let Some(token) = bearer {
            request = request.header(AUTHORIZATION, secret(&format!("Bearer {token}"))?);
        }
        self.call(request.body(Full::default()).map_err(|error| CallError::Call(error.into()))?).await
    }

    /// Posts a form, with a user and password where they go into the header.
    pub(crate) async fn post_form<T: DeserializeOwned>(
        &self,
        url: &str,
        fields: &[(&str, &str)],
        basic: Option<(&str, &str)>,
    ) -> Result<T, CallError> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri(url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some((user, password)) = basic {
            // Both are encoded first. Source: RFC 6749, section 2.3.1.
            let pair = Zeroizing::new(format!("{}:{}", encoded(user), encoded(password)));
            request = request.header(AUTHORIZATION, secret(&format!("Basic {}", STANDARD.encode(pair.as_bytes())))?);
        }
        let body = Bytes::copy_from_slice(form(fields).as_bytes());
        self.call(request.body(Full::new(body)).map_err(|error| CallError::Call(error.into()))?).await
    }

    async fn call<T: DeserializeOwned>(&self, request: Request<Full<Bytes>>) -> Result<T, CallError> {
        let answered = async {
            let response = self.inner.request(request).await.map_err(|error| CallError::Call(error.into()))?;
            let status = response.status();
            if !status.is_success() {
                return Err(CallError::Status(status.as_u16()));
            }
            let body = Limited::new(response.into_body(), ANSWER_SIZE_MAX).collect().await.map_err(CallError::Call)?;
            Ok(Zeroizing::new(Vec::from(body.to_bytes())))
        };
        let bytes = tokio::time::timeout(TIMEOUT, answered).await.map_err(|_| CallError::Slow)??;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Answer { line: error.line(), column: error.column() })
    }
}

fn secret(text: &str) -> Result<HeaderValue, CallError> {
    let mut value = HeaderValue::from_str(text).map_err(|error| CallError::Call(error.into()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn encoded(text: &str) -> percent_encoding::PercentEncode<'_> {
    utf8_percent_encode(text, UNRESERVED)
}

/// Fields as a form, or as the query of a URL.
pub(crate) fn form(fields: &[(&str, &str)]) -> Zeroizing<String> {
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{}={}", encoded(name), encoded(value))).collect();
    Zeroizing::new(fields.join("&"))
}
