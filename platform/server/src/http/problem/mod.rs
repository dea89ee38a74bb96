//! Refusals on the wire: RFC 9457 problem details. The only module that knows status codes.

mod codes;
mod refusal;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::domain::guard::Rule;

pub use self::codes::ProblemCode;

/// When to try again what could not be done for now: about as long as a replica set takes to elect.
const UNAVAILABLE_RETRY_SECONDS: u64 = 2;

/// One field that does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemField {
    /// Its name, as in `to` or `code.length`.
    #[schema(example = "to")]
    pub field: String,
    /// What would be right.
    #[schema(example = "a phone number starts with `+` and the country code, as in `+12025550123`")]
    pub message: String,
}

/// RFC 9457 problem details. Unknown members may be added at any time.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Names the kind of problem: a path to its description on this server, or a registered type.
    #[serde(rename = "type")]
    #[schema(example = "/docs#invalid_request")]
    pub kind: String,
    /// What happened, in general.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What was wrong this time, and what would be right.
    pub detail: String,
    /// The stable name to branch on.
    pub code: ProblemCode,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// Each field that does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemField>,
    /// The quotas and limits that say no.
    #[serde(default, rename = "violated-policies", skip_serializing_if = "Vec::is_empty")]
    pub violated_policies: Vec<String>,
    /// The rule of the guard that stopped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(example = "cap_ip")]
    pub rule: Option<String>,
    /// When the same request may succeed: RFC 3339, UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub retry_at: Option<Timestamp>,
    /// Names this request in our log.
    pub request_id: String,
}

/// A refusal on its way out. The outermost layer writes its body, with the request's id.
///
/// Boxed, because it is the error of every handler: what succeeds does not carry room for it.
#[derive(Debug, Clone)]
pub struct Problem(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: ProblemCode,
    detail: String,
    errors: Vec<ProblemField>,
    violated: Vec<&'static str>,
    rule: Option<Rule>,
    retry: Option<(Timestamp, u64)>,
    headers: HeaderMap,
    /// Why, for the log.
    cause: Option<String>,
}

impl Problem {
    /// A problem with these words.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Parts {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            violated: Vec::new(),
            rule: None,
            retry: None,
            headers: HeaderMap::new(),
            cause: None,
        }))
    }

    /// A problem with fields that do not hold.
    pub(crate) fn invalid(errors: Vec<ProblemField>) -> Self {
        let detail =
            errors.iter().map(|error| format!("`{}`: {}", error.field, error.message)).collect::<Vec<_>>().join("; ");
        let mut problem = Self::new(ProblemCode::InvalidRequest, detail);
        problem.0.errors = errors;
        problem
    }

    /// A problem with one field that does not hold.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![ProblemField { field: field.into(), message: message.into() }])
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    pub(crate) fn retry(mut self, at: Timestamp, now: Timestamp) -> Self {
        // Rounded up: a caller that waits this long is not refused for coming too early.
        let wait = u64::try_from(at.duration_since(now).as_millis()).unwrap_or(0);
        let seconds = wait.div_ceil(1000).max(1);
        self.0.retry = Some((at, seconds));
        self
    }

    /// Keeps why, down to its first cause, for the log.
    fn because(mut self, error: &dyn std::error::Error) -> Self {
        let mut chain = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            chain = format!("{chain}: {error}");
            source = error.source();
        }
        self.0.cause = Some(chain);
        self
    }

    pub(crate) fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    pub(crate) fn code(&self) -> ProblemCode {
        self.0.code
    }

    pub(crate) fn detail(&self) -> &str {
        &self.0.detail
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = self.0.headers.clone();
        if let Some((_, seconds)) = self.0.retry {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            if let Some(policy) = self.0.violated.first() {
                let state = format!("\"{policy}\";r=0;t={seconds}");
                let state = HeaderValue::from_str(&state).expect("a policy's name is ASCII");
                headers.entry(HeaderName::from_static("ratelimit")).or_insert(state);
            }
        }
        if self.0.code == ProblemCode::Unavailable {
            headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from(UNAVAILABLE_RETRY_SECONDS));
        }
        if self.0.code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        headers
    }

    /// The body, for the request with this id.
    pub(crate) fn body(&self, request_id: &str) -> ProblemBody {
        let kind = if self.0.code == ProblemCode::QuotaExceeded || self.0.code == ProblemCode::RateLimited {
            // Registered by the RateLimit header fields draft.
            "https://iana.org/assignments/http-problem-types#quota-exceeded".to_owned()
        } else {
            format!("/docs#{}", self.0.code.id())
        };
        ProblemBody {
            kind,
            title: self.0.code.title().to_owned(),
            status: self.0.code.status().as_u16(),
            detail: self.0.detail.clone(),
            code: self.0.code,
            retryable: self.0.code.retryable(),
            errors: self.0.errors.clone(),
            violated_policies: self.0.violated.iter().map(|policy| (*policy).to_owned()).collect(),
            rule: self.0.rule.map(|rule| rule.name().to_owned()),
            retry_at: self.0.retry.map(|(at, _)| at),
            request_id: request_id.to_owned(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.code.status().into_response();
        *response.headers_mut() = self.headers();
        response.extensions_mut().insert(self);
        response
    }
}

/// Paths that do not exist.
pub(super) async fn route_not_found() -> Problem {
    Problem::new(ProblemCode::RouteNotFound, "look at `/docs` for the paths that there are")
}

/// Paths that exist with another method. axum adds `Allow`.
pub(super) async fn method_not_allowed() -> Problem {
    Problem::new(ProblemCode::MethodNotAllowed, "look at the `Allow` header for the methods that it takes")
}
