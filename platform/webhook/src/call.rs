use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER, USER_AGENT};
use http::{Method, header};
use ipnet::IpNet;
use wotp_core::ports::{Unsent, WebhookAnswer, WebhookCall, WebhookSender};
use wotp_outbound::{Caller, NoAnswer, Plain, Reading, Request, Resolve, UrlFault};

/// Longest that a call may take, with finding the host. Source: Standard Webhooks 1.0, 15 to 30 seconds.
const TIME_MAX: Duration = Duration::from_secs(15);
/// Bytes of an answer's body that are read.
const BODY_READ: usize = 2048;
/// Longest that the body is waited for: the status says all that counts.
const BODY_WAIT: Duration = Duration::from_millis(500);

/// What may be called besides the public internet over TLS.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Networks that are not public, and may be reached nevertheless, on any port.
    pub allowed_networks: Vec<IpNet>,
    /// Whether `http://` is allowed. For development only.
    pub http_allowed: bool,
}

/// Calls endpoints over HTTP/1.1, with a connection for each call.
pub struct HttpSender(Caller);

impl HttpSender {
    /// Calls by this policy, and finds hosts by this resolver.
    pub fn new(policy: Policy, resolver: Arc<dyn Resolve>) -> Self {
        let Policy { allowed_networks, http_allowed } = policy;
        let plain = if http_allowed { Plain::Anywhere } else { Plain::Never };
        Self(Caller::new(wotp_outbound::Policy { allowed_networks, plain }, resolver))
    }

    /// Trusts a certificate besides those of the system and of Mozilla's list.
    #[must_use]
    pub fn trusting(self, root: rustls_pki_types::CertificateDer<'static>) -> Self {
        Self(self.0.trusting(root))
    }
}

/// The headers of one call.
fn headers(signature: [(&'static str, String); 3]) -> Result<HeaderMap, header::InvalidHeaderValue> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
    let agent = concat!("WOTP-Webhooks/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    for (name, value) in signature {
        headers.insert(HeaderName::from_static(name), HeaderValue::try_from(value)?);
    }
    Ok(headers)
}

fn unsent(reason: NoAnswer) -> Unsent {
    match reason {
        NoAnswer::NotAllowed => Unsent::NotAllowed,
        NoAnswer::OutOfSockets => Unsent::PlatformFault,
        NoAnswer::NotPublic => Unsent::NotPublic,
        NoAnswer::Unresolved => Unsent::Unresolved,
        NoAnswer::NotConnected => Unsent::NotConnected,
        NoAnswer::Tls => Unsent::Tls,
        NoAnswer::Timeout => Unsent::Timeout,
        NoAnswer::Broken | NoAnswer::TooLarge => Unsent::Broken,
    }
}

#[async_trait]
impl WebhookSender for HttpSender {
    fn check(&self, url: &str) -> Result<String, &'static str> {
        self.0.policy().read(url).map(String::from).map_err(|fault| match fault {
            UrlFault::Shape => "is a URL as in `https://example.com/webhooks`",
            UrlFault::Scheme => "begins with `https://`",
            UrlFault::Login => "holds no user and no password; webhooks are signed instead",
            UrlFault::Fragment => "ends before the `#`",
            UrlFault::NotPublic => "names an address that is not public",
            UrlFault::Port => "uses port 443, or one from 1024 on",
        })
    }

    async fn call(&self, call: WebhookCall) -> Result<WebhookAnswer, Unsent> {
        let headers = headers(call.headers).map_err(|_| Unsent::NotAllowed)?;
        let request = Request { method: Method::POST, url: call.url, headers, body: Bytes::from(call.body) };
        let reading = Reading::Beginning { bytes: BODY_READ, patience: BODY_WAIT };
        let answer = self.0.call(request, reading, TIME_MAX).await.map_err(unsent)?;
        let retry_after = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(WebhookAnswer { status: answer.status, retry_after, body })
    }
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
