//! What every request goes through: its id, its client, metrics, headers, and problems' bodies.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use governor::clock::QuantaInstant;
use governor::middleware::NoOpMiddleware;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use wotp_core::domain::{Timestamp, id};
use wotp_core::ports::Entropy;

use super::client_ip::ClientIp;
use super::problem::{Problem, ProblemCode};
use super::{Api, compat};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names this request in the log and in the reply.
#[derive(Debug, Clone)]
pub(super) struct RequestId(pub(super) Arc<str>);

/// Names for requests: unique, and no secret, so that counting on from a random beginning will do.
pub(super) struct RequestIds {
    first: u64,
    given: AtomicU32,
}

impl RequestIds {
    pub(super) fn new(entropy: &dyn Entropy) -> Self {
        let mut first = [0; 8];
        entropy.fill(&mut first);
        Self { first: u64::from_be_bytes(first), given: AtomicU32::new(0) }
    }

    fn next(&self, now: Timestamp) -> id::RequestId {
        let mut bytes = id::RequestId::first_at(now).to_bytes();
        let first = self.first.to_be_bytes();
        bytes[6..12].copy_from_slice(&first[..6]);
        bytes[12..].copy_from_slice(&self.given.fetch_add(1, Ordering::Relaxed).to_be_bytes());
        id::RequestId::from_bytes(bytes)
    }
}

/// The caller's own id where it is a plain one, else one of ours.
fn request_id(api: &Api, request: &Request) -> RequestId {
    let plain = |text: &&str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
    RequestId(given.map_or_else(|| api.request_ids.next(api.app.ports().clock.now()).to_string().into(), Arc::from))
}

/// Marks a reply that is no problem's and that operators announced: it is nothing to be alarmed of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced;

/// Refuses a request that names two hosts (RFC 9112, 3.2): a proxy may have gone by the one and we by the other.
fn one_host(request: &Request) -> Result<(), Problem> {
    if request.headers().get_all(header::HOST).iter().nth(1).is_none() {
        return Ok(());
    }
    Err(Problem::new(ProblemCode::MalformedRequest, "it has more than one `Host` header; send one"))
}

/// The outermost layer.
pub(super) async fn around(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let id = request_id(&api, &request);
    request.extensions_mut().insert(id.clone());
    if let Some(client) = ClientIp::of(request.extensions(), request.headers(), &api.settings.trusted_proxies) {
        request.extensions_mut().insert(client);
    }
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = tokio::time::Instant::now();
    let mut response = match one_host(&request) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let problem = response.extensions().get::<Problem>();
    let cause = problem.and_then(Problem::cause).map(str::to_owned);
    let is_announced = problem.is_some_and(|problem| problem.code() == ProblemCode::Maintenance)
        || response.extensions().get::<Announced>().is_some();
    write_problem(&mut response, route, &id);
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    secure(&mut response);
    let (status, took) = (response.status(), started.elapsed());
    api.requests.record(&method, route, status, took);
    if status.is_server_error() && !is_announced {
        tracing::error!(request_id = &*id.0, %method, route, status = status.as_u16(), took_ms = took.as_millis(), cause, "a request failed");
    } else {
        tracing::debug!(request_id = &*id.0, %method, route, status = status.as_u16(), took_ms = took.as_millis(), "request");
    }
    response
}

/// Gives a refusal its body: the one place that knows the request's id and the dialect of the path.
fn write_problem(response: &mut Response, route: &str, id: &RequestId) {
    let status = response.status();
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        // What axum and its layers refuse by themselves has no body.
        None if (status.is_client_error() || status.is_server_error())
            && !response.headers().contains_key(CONTENT_TYPE) =>
        {
            unnamed(status)
        }
        None => return,
    };
    let (content_type, body) = if compat::speaks_at(route) {
        ("application/json", compat::refusal(&problem))
    } else {
        let body = serde_json::to_vec(&problem.body(&id.0)).expect("a problem serialises");
        ("application/problem+json", body)
    };
    let allow = response.headers().get(header::ALLOW).cloned();
    let mut written = (problem.code().status(), Body::from(body)).into_response();
    if compat::speaks_at(route) {
        *written.status_mut() = compat::status(problem.code());
    }
    written.headers_mut().extend(problem.headers());
    if let Some(allow) = allow {
        written.headers_mut().insert(header::ALLOW, allow);
    }
    written.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    *response = written;
}

fn unnamed(status: StatusCode) -> Problem {
    match status {
        StatusCode::SERVICE_UNAVAILABLE => {
            Problem::new(ProblemCode::Unavailable, "the request took too long; try again in a moment")
        }
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new(ProblemCode::BodyTooLarge, "a body has at most 16 KiB"),
        StatusCode::METHOD_NOT_ALLOWED => {
            Problem::new(ProblemCode::MethodNotAllowed, "look at the `Allow` header for the methods that it takes")
        }
        status if status.is_client_error() => Problem::new(ProblemCode::NotFound, "there is nothing here"),
        _ => Problem::new(ProblemCode::Internal, "the operator finds the reason in the log, under this request's id"),
    }
}

fn secure(response: &mut Response) {
    let headers = response.headers_mut();
    let always = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in always {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // Pages say their own; a reply of the API is nobody's to run or to keep.
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

/// A handler that panicked: the log has it, the caller gets a plain 500.
pub(super) fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    tracing::error!(message, "a handler panicked");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

/// The client's IP address, or its /64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PerClient;

impl KeyExtractor for PerClient {
    type Key = IpAddr;

    fn extract<T>(&self, request: &http::Request<T>) -> Result<IpAddr, GovernorError> {
        request.extensions().get::<ClientIp>().map(|client| client.bucket()).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// What limits calls from one client.
pub(super) type PerIp = GovernorLayer<PerClient, NoOpMiddleware<QuantaInstant>, Body>;

/// Limits calls from one client, before anything else is looked at.
pub(super) fn per_ip(per_second: u32, burst: u32) -> PerIp {
    let nanoseconds = 1_000_000_000 / u64::from(per_second.max(1));
    let config = GovernorConfigBuilder::default()
        .per_nanosecond(nanoseconds)
        .burst_size(burst.max(1))
        .key_extractor(PerClient)
        .finish();
    let config = Arc::new(config.expect("period and burst are not zero"));
    // Addresses that are quiet again are forgotten, or the table would grow for ever.
    let limiter = Arc::downgrade(config.limiter());
    let forget = async move {
        let mut minute = tokio::time::interval(std::time::Duration::from_secs(60));
        loop {
            minute.tick().await;
            let Some(limiter) = limiter.upgrade() else { return };
            limiter.retain_recent();
        }
    };
    tokio::spawn(forget);
    let calls = if per_second == 1 { "call" } else { "calls" };
    let detail = format!("at most {per_second} {calls} a second, {burst} at once, are taken from one address");
    GovernorLayer::new(config).error_handler(move |error| match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            let wait = HeaderValue::from(wait_time.max(1));
            Problem::new(ProblemCode::RateLimited, detail.clone())
                .with_header(header::RETRY_AFTER, wait)
                .into_response()
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    })
}
