//! What every request goes through: its id, its client, metrics, headers, and problems' bodies.

use std::any::Any;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};
use wotp_core::domain::id::DeliveryId;

use super::client_ip::ClientIp;
use super::problem::{Problem, ProblemCode};
use super::{Api, compat};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Names this request in the log and in the reply.
#[derive(Debug, Clone)]
struct RequestId(String);

/// The caller's own id where it is a plain one, else one of ours.
fn request_id(api: &Api, request: &Request) -> RequestId {
    let plain = |text: &&str| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    let given = request.headers().get(&REQUEST_ID).and_then(|value| value.to_str().ok()).filter(plain);
    let ports = api.app.ports();
    let new = || DeliveryId::new(ports.clock.now(), &*ports.entropy).to_string().replace(DeliveryId::PREFIX, "req_");
    RequestId(given.map_or_else(new, str::to_owned))
}

/// The outermost layer.
pub(super) async fn around(State(api): State<Arc<Api>>, mut request: Request, next: Next) -> Response {
    let id = request_id(&api, &request);
    if let Some(client) = ClientIp::of(request.extensions(), request.headers(), &api.settings.trusted_proxies) {
        request.extensions_mut().insert(client);
    }
    let method = request.method().clone();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let started = tokio::time::Instant::now();
    let mut response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let cause = response.extensions().get::<Problem>().and_then(Problem::cause).map(str::to_owned);
    write_problem(&mut response, route, &id);
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    secure(&mut response);
    let (status, took) = (response.status(), started.elapsed());
    record(method_label(&method), route, status, took);
    if status.is_server_error() {
        tracing::error!(request_id = id.0, %method, route, status = status.as_u16(), took_ms = took.as_millis(), cause, "a request failed");
    } else {
        tracing::debug!(request_id = id.0, %method, route, status = status.as_u16(), took_ms = took.as_millis(), "request");
    }
    response
}

/// Anything is a valid method, and each label is kept for ever.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

fn record(method: &'static str, route: &str, status: StatusCode, took: std::time::Duration) {
    let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.as_str().to_owned())];
    metrics::counter!("wotp_http_requests_total", &labels).increment(1);
    metrics::histogram!("wotp_http_request_seconds", "route" => route.to_owned()).record(took.as_secs_f64());
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
struct PerClient;

impl KeyExtractor for PerClient {
    type Key = IpAddr;

    fn extract<T>(&self, request: &http::Request<T>) -> Result<IpAddr, GovernorError> {
        request.extensions().get::<ClientIp>().map(|client| client.bucket()).ok_or(GovernorError::UnableToExtractKey)
    }
}

/// Limits calls from one client, before anything else is looked at.
pub(super) fn per_ip(routes: Router, per_second: u32, burst: u32) -> Router {
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
    let detail = format!("at most {per_second} calls a second, {burst} at once, are taken from one address");
    routes.layer(GovernorLayer::new(config).error_handler(move |error| match error {
        GovernorError::TooManyRequests { wait_time, .. } => {
            let wait = HeaderValue::from(wait_time.max(1));
            Problem::new(ProblemCode::RateLimited, detail.clone())
                .with_header(header::RETRY_AFTER, wait)
                .into_response()
        }
        GovernorError::UnableToExtractKey | GovernorError::Other { .. } => {
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }))
}
