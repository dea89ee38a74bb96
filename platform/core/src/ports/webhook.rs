use async_trait::async_trait;

/// A webhook that is ready to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookCall {
    /// Where to.
    pub url: String,
    /// `webhook-id`, `webhook-timestamp` and `webhook-signature`.
    pub headers: [(&'static str, String); 3],
    /// JSON.
    pub body: String,
}

/// What an endpoint answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After`, as it came.
    pub retry_after: Option<String>,
    /// The beginning of the body. It is the endpoint's own: never in a log.
    pub body: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// The URL is not one that may be called any more.
    #[error("the URL is not one that may be called")]
    NotAllowed,
    /// A fault of the platform: a secret that does not open, no file for another connection. The operator finds it
    /// in the log, and it says nothing about the endpoint.
    #[error("the platform could not send it")]
    PlatformFault,
    /// Its host has an address that is not public. For the operator: a tenant is told [`Unresolved`](Self::Unresolved),
    /// or it could ask which names there are within our network.
    #[error("the host has an address that is not public")]
    NotPublic,
    /// Its host has no address.
    #[error("the host has no public address")]
    Unresolved,
    /// Nobody is there.
    #[error("the connection was not accepted")]
    NotConnected,
    /// The certificate does not hold, or there is no TLS.
    #[error("there is no TLS with a certificate that holds")]
    Tls,
    /// It took longer than 15 seconds.
    #[error("there was no answer within 15 seconds")]
    Timeout,
    /// The connection broke, or what came was not HTTP.
    #[error("the connection broke before there was an answer")]
    Broken,
}

/// Calls webhook endpoints, which are addresses that strangers chose: no other network is reached by it than
/// the public one.
#[async_trait]
pub trait WebhookSender: Send + Sync {
    /// The URL as it will be called, if it may be an endpoint, as far as one can tell without asking for its address.
    ///
    /// # Errors
    /// What would be right, as the end of a sentence that begins with the field.
    fn check(&self, url: &str) -> Result<String, &'static str>;

    /// Calls an endpoint once, for at most 15 seconds, and follows no redirect.
    ///
    /// # Errors
    /// [`Unsent`] when there is no answer.
    async fn call(&self, call: WebhookCall) -> Result<WebhookAnswer, Unsent>;
}
