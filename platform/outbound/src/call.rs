use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{HOST, HeaderMap, HeaderValue};
use http::{Method, Response};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use url::Url;

use crate::connect::connect;
use crate::policy::Policy;
use crate::resolve::Resolve;

/// Bytes that an answer's head may have.
const HEAD_MAX: usize = 64 * 1024;
/// How long before the end of the time nothing more is waited for of a body whose beginning is enough.
const LAST: Duration = Duration::from_millis(100);

/// One request.
#[derive(Debug, Clone)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where to, as it was written.
    pub url: String,
    /// All headers but `host` and those of the connection.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Bytes,
}

/// How much of an answer's body is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// What comes of it within a time, for callers to whom the status says all that counts. One that breaks off or
    /// does not end is as long as it came.
    Beginning {
        /// Bytes at most.
        bytes: usize,
        /// Longest that it is waited for.
        patience: Duration,
    },
    /// All of it, or there is no answer.
    Whole {
        /// Bytes at most.
        bytes: usize,
    },
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// As much of the body as was asked for.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The request is not one that may be made.
    #[error("the request is not one that may be made")]
    NotAllowed,
    /// The process or the machine has as many files open as it may.
    #[error("no connection could be opened")]
    OutOfSockets,
    /// The host has an address that is not public. For the operator: whoever chose the host is told
    /// [`Unresolved`](Self::Unresolved), or they could ask which names there are within our network.
    #[error("the host has an address that is not public")]
    NotPublic,
    /// The host has no address.
    #[error("the host has no public address")]
    Unresolved,
    /// Nobody is there.
    #[error("the connection was not accepted")]
    NotConnected,
    /// The certificate does not hold, or there is no TLS.
    #[error("there is no TLS with a certificate that holds")]
    Tls,
    /// It took longer than it may.
    #[error("there was no answer in time")]
    Timeout,
    /// The connection broke, or what came was not HTTP.
    #[error("the connection broke before there was an answer")]
    Broken,
    /// The body is larger than it may be.
    #[error("the answer is larger than it may be")]
    TooLarge,
}

/// Makes requests: [`Caller`], or what stands before one where somebody is to see what goes out and comes back.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// What may be called.
    fn policy(&self) -> &Policy;

    /// Makes one request, for at most `time` with finding the host, and follows no redirect.
    ///
    /// # Errors
    /// [`NoAnswer`].
    async fn call(&self, request: Request, reading: Reading, time: Duration) -> Result<Answer, NoAnswer>;
}

#[async_trait]
impl Fetch for Caller {
    fn policy(&self) -> &Policy {
        self.policy()
    }

    async fn call(&self, request: Request, reading: Reading, time: Duration) -> Result<Answer, NoAnswer> {
        self.call(request, reading, time).await
    }
}

/// Makes requests over HTTP/1.1, with a connection for each.
pub struct Caller {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
    extra_roots: Vec<CertificateDer<'static>>,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl Caller {
    /// Calls by this policy, and finds hosts by this resolver.
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>) -> Self {
        Self { policy, resolver, extra_roots: Vec::new(), tls: OnceLock::new() }
    }

    /// Trusts a certificate besides those of the system and of Mozilla's list.
    #[must_use]
    pub fn trusting(mut self, root: CertificateDer<'static>) -> Self {
        self.extra_roots.push(root);
        self
    }

    /// What may be called.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Made when it is first needed: a command of a moment does not read the system's certificates.
    fn tls(&self) -> Arc<ClientConfig> {
        let make = || {
            let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots.add_parsable_certificates(self.extra_roots.clone());
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let config = ClientConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .expect("ring has the ciphers of TLS 1.2 and 1.3");
            Arc::new(config.with_root_certificates(roots).with_no_client_auth())
        };
        Arc::clone(self.tls.get_or_init(make))
    }

    /// Makes one request, for at most `time` with finding the host, and follows no redirect.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub async fn call(&self, request: Request, reading: Reading, time: Duration) -> Result<Answer, NoAnswer> {
        let end = Instant::now() + time;
        timeout_at(end, self.send(request, reading, end - LAST)).await.unwrap_or(Err(NoAnswer::Timeout))
    }

    async fn send(&self, request: Request, reading: Reading, end: Instant) -> Result<Answer, NoAnswer> {
        let url = self.policy.read(&request.url).map_err(|_| NoAnswer::NotAllowed)?;
        let stream = connect(&self.policy.addresses(&url, &*self.resolver).await?).await?;
        if url.scheme() == "http" {
            return exchange(stream, &url, request, reading, end).await;
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|_| NoAnswer::NotAllowed)?;
        let stream = TlsConnector::from(self.tls()).connect(name, stream).await.map_err(|_| NoAnswer::Tls)?;
        exchange(stream, &url, request, reading, end).await
    }
}

/// One request and its answer.
async fn exchange<S>(stream: S, url: &Url, request: Request, reading: Reading, end: Instant) -> Result<Answer, NoAnswer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |_| NoAnswer::Broken;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let request = head(url, request)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = match reading {
            // Before the time for all of it is over, or an answer that came in time would pass for none.
            Reading::Beginning { bytes, patience } => {
                beginning(response, bytes, (Instant::now() + patience).min(end)).await
            }
            Reading::Whole { bytes } => whole(response, bytes).await?,
        };
        Ok(Answer { status, headers, body })
    };
    // The connection is driven here, and goes when this does: nothing is left behind by a call that is
    // given up.
    let driven = async {
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = exchange => answer,
        () = driven => unreachable!("a pending future does not end"),
    }
}

fn head(url: &Url, request: Request) -> Result<http::Request<Full<Bytes>>, NoAnswer> {
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let authority = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let mut head = http::Request::builder().method(request.method).uri(path).body(Full::new(request.body));
    let made = head.as_mut().map_err(|_| NoAnswer::NotAllowed)?;
    let authority = HeaderValue::try_from(authority).map_err(|_| NoAnswer::NotAllowed)?;
    made.headers_mut().extend(request.headers);
    // Last: what is asked for replaces what was there.
    made.headers_mut().insert(HOST, authority);
    head.map_err(|_| NoAnswer::NotAllowed)
}

/// The beginning of a body, whatever comes after it.
async fn beginning(response: Response<Incoming>, length: usize, end: Instant) -> Vec<u8> {
    let mut body = response.into_body();
    let mut bytes = Vec::new();
    while bytes.len() < length {
        let Ok(Some(Ok(frame))) = timeout_at(end, body.frame()).await else { break };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(length - bytes.len())]);
        }
    }
    bytes
}

/// All of a body, held in memory up to `length` bytes.
async fn whole(response: Response<Incoming>, length: usize) -> Result<Vec<u8>, NoAnswer> {
    match Limited::new(response.into_body(), length).collect().await {
        Ok(collected) => Ok(collected.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => Err(NoAnswer::TooLarge),
        Err(_) => Err(NoAnswer::Broken),
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
