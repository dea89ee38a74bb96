use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use ipnet::IpNet;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};
use wotp_core::ports::{Unsent, WebhookAnswer, WebhookCall, WebhookSender};

use crate::public::is_public;
use crate::resolve::Resolve;

/// Longest that a call may take, with finding the host. Source: Standard Webhooks 1.0, 15 to 30 seconds.
const TIME_MAX: Duration = Duration::from_secs(15);
/// How long one address has a start before the next one is tried beside it. Source: RFC 8305.
const HEAD_START: Duration = Duration::from_millis(250);
/// Bytes of an answer's body that are read.
const BODY_READ: usize = 2048;
/// Longest that the body is waited for: the status says all that counts.
const BODY_WAIT: Duration = Duration::from_millis(500);
/// How long before the end of that time nothing more of a body is waited for.
const LAST: Duration = Duration::from_millis(100);
/// Bytes that an answer's head may have.
const HEAD_MAX: usize = 64 * 1024;
/// The first port that is not reserved for services of the machine itself.
const PORT_FREE: u16 = 1024;

/// What may be called besides the public internet over TLS.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Networks that are not public, and may be reached nevertheless, on any port.
    pub allowed_networks: Vec<IpNet>,
    /// Whether `http://` is allowed. For development only.
    pub http_allowed: bool,
}

/// Calls endpoints over HTTP/1.1, with a connection for each call.
pub struct HttpSender {
    policy: Policy,
    resolver: Arc<dyn Resolve>,
    extra_roots: Vec<rustls::pki_types::CertificateDer<'static>>,
    tls: OnceLock<Arc<ClientConfig>>,
}

impl HttpSender {
    /// Calls by this policy, and finds hosts by this resolver.
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>) -> Self {
        Self { policy, resolver, extra_roots: Vec::new(), tls: OnceLock::new() }
    }

    /// Trusts a certificate besides those of the system and of Mozilla's list.
    #[must_use]
    pub fn trusting(mut self, root: rustls::pki_types::CertificateDer<'static>) -> Self {
        self.extra_roots.push(root);
        self
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

    /// What is wrong with a URL, as far as one can tell without asking for its address.
    fn read(&self, url: &str) -> Result<Url, &'static str> {
        const SHAPE: &str = "is a URL as in `https://example.com/webhooks`";
        let url = Url::parse(url).map_err(|_| SHAPE)?;
        match url.scheme() {
            "https" => {}
            "http" if self.policy.http_allowed => {}
            _ => return Err("begins with `https://`"),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("holds no user and no password; webhooks are signed instead");
        }
        if url.fragment().is_some() {
            return Err("ends before the `#`");
        }
        let host = url.host().ok_or(SHAPE)?;
        let literal = match host {
            Host::Domain(_) => None,
            Host::Ipv4(address) => Some(IpAddr::V4(address)),
            Host::Ipv6(address) => Some(IpAddr::V6(address)),
        };
        let allowed = literal.is_some_and(|address| self.is_allowed_network(address));
        if literal.is_some_and(|address| !allowed && !is_public(address)) {
            return Err("names an address that is not public");
        }
        let port = url.port_or_known_default().unwrap_or(0);
        // A name may turn out to be of an allowed network; then its port is looked at again.
        let known = literal.is_some() || self.policy.allowed_networks.is_empty();
        if known && !allowed && !port_is_free(port) {
            return Err("uses port 443, or one from 1024 on");
        }
        Ok(url)
    }

    fn is_allowed_network(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.policy.allowed_networks.iter().any(|network| network.contains(&address))
    }

    /// Where to connect: every address of the host may be called, or none is.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Unsent> {
        let port = url.port_or_known_default().ok_or(Unsent::NotAllowed)?;
        let found = match url.host().ok_or(Unsent::NotAllowed)? {
            Host::Domain(name) => self.resolver.resolve(name).await,
            Host::Ipv4(address) => vec![IpAddr::V4(address)],
            Host::Ipv6(address) => vec![IpAddr::V6(address)],
        };
        if found.is_empty() {
            return Err(Unsent::Unresolved);
        }
        for address in &found {
            if self.is_allowed_network(*address) {
                continue;
            }
            if !is_public(*address) {
                return Err(Unsent::NotPublic);
            }
            if !port_is_free(port) {
                return Err(Unsent::NotAllowed);
            }
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
    }

    async fn send(&self, call: WebhookCall, end: Instant) -> Result<WebhookAnswer, Unsent> {
        let url = self.read(&call.url).map_err(|_| Unsent::NotAllowed)?;
        let stream = connect(&self.addresses(&url).await?).await?;
        if url.scheme() == "http" {
            return exchange(stream, &url, call, end).await;
        }
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
        let name = ServerName::try_from(host).map_err(|_| Unsent::NotAllowed)?;
        let stream = TlsConnector::from(self.tls()).connect(name, stream).await.map_err(|_| Unsent::Tls)?;
        exchange(stream, &url, call, end).await
    }
}

/// Ports below are of mail servers, databases of old and the like, which may read a request as something else.
fn port_is_free(port: u16) -> bool {
    port == 443 || port >= PORT_FREE
}

/// The first connection that is made: of a host whose addresses of one family lead nowhere, by the other one.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Unsent> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.iter().copied().partition(SocketAddr::is_ipv6);
    let mut by_turns: Vec<(usize, SocketAddr)> = six.into_iter().enumerate().collect();
    by_turns.extend(four.into_iter().enumerate());
    by_turns.sort_by_key(|(turn, _)| *turn);
    let mut rest = by_turns.into_iter();
    let mut tries = FuturesUnordered::new();
    loop {
        match rest.next() {
            Some((_, address)) => tries.push(TcpStream::connect(address)),
            None if tries.is_empty() => return Err(Unsent::NotConnected),
            None => {}
        }
        let patience = if rest.len() > 0 { HEAD_START } else { TIME_MAX };
        match timeout(patience, tries.next()).await {
            Ok(Some(Ok(stream))) => {
                // A request is one write: there is nothing to gather.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Some(Err(error))) if is_our_fault(&error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a webhook could not be sent");
                return Err(Unsent::PlatformFault);
            }
            // The next one is tried, if there is one.
            Ok(_) | Err(_) => {}
        }
    }
}

/// Whether there was no socket to be had: the process or the machine has as many files open as it may.
fn is_our_fault(error: &std::io::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// One request and its answer.
async fn exchange<S>(stream: S, url: &Url, call: WebhookCall, end: Instant) -> Result<WebhookAnswer, Unsent>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |_| Unsent::Broken;
    let mut builder = http1::Builder::new();
    builder.max_buf_size(HEAD_MAX);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    let authority = match url.port() {
        Some(port) => format!("{}:{port}", url.host_str().unwrap_or_default()),
        None => url.host_str().unwrap_or_default().to_owned(),
    };
    let mut request = Request::post(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/json")
        .header(ACCEPT, "*/*")
        .header(USER_AGENT, concat!("WOTP-Webhooks/", env!("CARGO_PKG_VERSION")));
    for (name, value) in call.headers {
        request = request.header(name, value);
    }
    let request = request.body(Full::new(Bytes::from(call.body))).map_err(|_| Unsent::NotAllowed)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(broken)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get(RETRY_AFTER).map(HeaderValue::to_str);
        let retry_after = retry_after.and_then(Result::ok).map(str::to_owned);
        // Before the time for all of it is over, or an answer that came in time would pass for none.
        let body = beginning(response.into_body(), (Instant::now() + BODY_WAIT).min(end)).await;
        Ok(WebhookAnswer { status, retry_after, body })
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

/// The beginning of a body, whatever comes after it. One that breaks off or does not end is as long as it came.
async fn beginning(mut body: Incoming, end: Instant) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < BODY_READ {
        let Ok(Some(Ok(frame))) = timeout_at(end, body.frame()).await else { break };
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(BODY_READ - bytes.len())]);
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[async_trait]
impl WebhookSender for HttpSender {
    fn check(&self, url: &str) -> Result<String, &'static str> {
        self.read(url).map(String::from)
    }

    async fn call(&self, call: WebhookCall) -> Result<WebhookAnswer, Unsent> {
        let end = Instant::now() + TIME_MAX;
        timeout_at(end, self.send(call, end - LAST)).await.unwrap_or(Err(Unsent::Timeout))
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
