//! Refusals on the wire: RFC 9457 problem details. The only file that knows status codes.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use wotp_core::app::{FieldError, Refusal, TokenRefusal};
use wotp_core::domain::address_limits::AddressRefusal;
use wotp_core::domain::api_key::KeyRefusal;
use wotp_core::domain::quota::WindowKind;
use wotp_core::domain::routing::RoutingError;
use wotp_core::ports::{IdentityError, StoreError};

/// When to try again what could not be done for now: about as long as a replica set takes to elect.
const UNAVAILABLE_RETRY_SECONDS: u64 = 2;

macro_rules! problems {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:ident, $retryable:literal, $title:literal;)+) => {
        /// The stable names of all problems: what a program branches on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
        pub enum ProblemCode {
            $($(#[$doc])* #[serde(rename = $code)] #[schema(rename = $code)] $name,)+
        }

        impl ProblemCode {
            /// Every problem, for the documentation.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its stable name.
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// Its status.
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What happened, in general.
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// Whether the same request may succeed later.
            pub fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)+ }
            }
        }
    };
}

problems! {
    /// The body is not JSON.
    MalformedJson = "malformed_json", BAD_REQUEST, false, "The body is not JSON";
    /// The body has another content type.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, false, "The body has to be JSON";
    /// The body is over 16 KiB.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, false, "The body is too large";
    /// A field does not hold; `errors` names each.
    InvalidRequest = "invalid_request", UNPROCESSABLE_ENTITY, false, "The request does not hold";
    /// There is no API key.
    ApiKeyMissing = "api_key_missing", UNAUTHORIZED, false, "There is no API key";
    /// The API key has a typing error.
    ApiKeyMalformed = "api_key_malformed", UNAUTHORIZED, false, "The API key has a typing error";
    /// Nobody has this API key.
    ApiKeyUnknown = "api_key_unknown", UNAUTHORIZED, false, "Nobody has this API key";
    /// The API key was revoked.
    ApiKeyRevoked = "api_key_revoked", UNAUTHORIZED, false, "The API key was revoked";
    /// The API key has expired.
    ApiKeyExpired = "api_key_expired", UNAUTHORIZED, false, "The API key has expired";
    /// The API key was revoked, has expired or was replaced.
    ApiKeyOver = "api_key_over", CONFLICT, false, "The API key is not changed any more";
    /// The API key may not be used from this address.
    IpNotAllowed = "ip_not_allowed", FORBIDDEN, false, "The API key may not be used from here";
    /// The API key lacks a scope.
    ScopeMissing = "scope_missing", FORBIDDEN, false, "The API key lacks a scope";
    /// No API key may do this: it takes a member's session.
    KeyNotAllowed = "key_not_allowed", FORBIDDEN, false, "No API key may do this";
    /// The member's role does not allow it.
    RoleMissing = "role_missing", FORBIDDEN, false, "The member's role does not allow it";
    /// Nobody is signed in.
    TokenMissing = "token_missing", UNAUTHORIZED, false, "There is no access token";
    /// The access token is not one of ours, or not for this.
    TokenRefused = "token_refused", UNAUTHORIZED, false, "The access token does not hold";
    /// The access token has expired.
    TokenExpired = "token_expired", UNAUTHORIZED, false, "The access token has expired";
    /// The session is over.
    SessionEnded = "session_ended", UNAUTHORIZED, false, "The session is over";
    /// The email address and the password do not belong together.
    CredentialsWrong = "credentials_wrong", UNAUTHORIZED, false, "Email address and password do not belong together";
    /// Too many wrong passwords or codes; the next one is taken later.
    LoginDelayed = "login_delayed", TOO_MANY_REQUESTS, true, "Too many wrong passwords or codes";
    /// The code is wrong, was used, or has expired.
    CodeWrong = "code_wrong", UNPROCESSABLE_ENTITY, false, "The code is wrong, was used, or has expired";
    /// A sign-in cannot go on.
    SignInOver = "sign_in_over", UNAUTHORIZED, false, "The sign-in is over";
    /// Too many codes of the app were wrong; only a recovery code is taken.
    RecoveryCodeNeeded = "recovery_code_needed", FORBIDDEN, false, "It takes a recovery code";
    /// A second factor is on already.
    SecondFactorActive = "second_factor_active", CONFLICT, false, "A second factor is on already";
    /// The identity provider does not vouch for the email address.
    EmailNotVerified = "email_not_verified", FORBIDDEN, false, "The email address is not verified";
    /// What the identity provider says does not hold.
    ProviderRefused = "provider_refused", UNAUTHORIZED, false, "The identity provider does not say who it is";
    /// The identity provider does not answer.
    ProviderUnavailable = "provider_unavailable", BAD_GATEWAY, true, "The identity provider does not answer";
    /// The request does not come from the page that the session was given to.
    CsrfRefused = "csrf_refused", FORBIDDEN, false, "The request comes from another page";
    /// It takes an operator of the platform.
    OperatorNeeded = "operator_needed", FORBIDDEN, false, "It takes an operator";
    /// The tenant is suspended.
    TenantSuspended = "tenant_suspended", FORBIDDEN, false, "The tenant is suspended";
    /// The tenant was deleted.
    TenantDeleted = "tenant_deleted", FORBIDDEN, false, "The tenant was deleted";
    /// The platform is being worked on.
    Maintenance = "maintenance", SERVICE_UNAVAILABLE, true, "The platform is being worked on";
    /// Something else has this value already.
    Taken = "taken", CONFLICT, false, "Something else has this value already";
    /// The tenant would be without an owner.
    LastOwner = "last_owner", CONFLICT, false, "The tenant would be without an owner";
    /// The person is a member of the tenant already.
    AlreadyMember = "already_member", CONFLICT, false, "The person is a member already";
    /// The invitation went to another address than the person's.
    OtherEmail = "other_email", FORBIDDEN, false, "The invitation went to another address";
    /// There are as many as there may be.
    LimitReached = "limit_reached", CONFLICT, false, "There are as many as there may be";
    /// The tenant's invitations of the day are used.
    InvitationsUsed = "invitations_used", TOO_MANY_REQUESTS, true, "The invitations of the day are used";
    /// The API key is bound to another service.
    ServiceNotAllowed = "service_not_allowed", FORBIDDEN, false, "The API key is bound to another service";
    /// There is no such thing, or it is somebody else's.
    NotFound = "not_found", NOT_FOUND, false, "There is no such thing";
    /// There is no such path.
    RouteNotFound = "route_not_found", NOT_FOUND, false, "There is no such path";
    /// The path exists, with another method.
    MethodNotAllowed = "method_not_allowed", METHOD_NOT_ALLOWED, false, "The path takes another method";
    /// A channel that does not exist was named.
    UnknownChannel = "unknown_channel", UNPROCESSABLE_ENTITY, false, "There is no such channel";
    /// No channel reaches this address.
    NoChannel = "no_channel", UNPROCESSABLE_ENTITY, false, "No channel reaches this address";
    /// The plan's quota is used up.
    QuotaExceeded = "quota_exceeded", TOO_MANY_REQUESTS, true, "The quota is used up";
    /// Too many calls a second.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, true, "Too many calls";
    /// Too many calls of the tenant wait for something.
    TooManyWaiting = "too_many_waiting", TOO_MANY_REQUESTS, true, "Too many calls wait already";
    /// The address was written to too often.
    AddressLimited = "address_limited", TOO_MANY_REQUESTS, true, "The address was written to too often";
    /// The last code went out moments ago.
    CoolDown = "cool_down", TOO_MANY_REQUESTS, true, "The last code went out moments ago";
    /// Every allowed send of the verification is used.
    NoSendsLeft = "no_sends_left", CONFLICT, false, "Every allowed send is used";
    /// The guard of the service stopped it.
    GuardBlocked = "guard_blocked", CONFLICT, true, "The guard stopped it";
    /// The verification has ended.
    VerificationEnded = "verification_ended", CONFLICT, false, "The verification has ended";
    /// The idempotency key was used for another request.
    IdempotencyKeyReused = "idempotency_key_reused", UNPROCESSABLE_ENTITY, false, "The idempotency key was used for another request";
    /// Somebody else changed it at the same moment.
    Conflict = "conflict", CONFLICT, true, "Somebody else changed it at the same moment";
    /// The server cannot store anything now.
    StoreFull = "store_full", INSUFFICIENT_STORAGE, true, "The server has no room left";
    /// A part of the server does not answer.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, true, "The server cannot do this now";
    /// Our fault.
    Internal = "internal", INTERNAL_SERVER_ERROR, true, "Something went wrong on our side";
}

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
            retry_at: self.0.retry.map(|(at, _)| at),
            request_id: request_id.to_owned(),
        }
    }

    /// The problem that a refusal is, at `now`.
    pub(crate) fn of(refusal: Refusal, now: Timestamp) -> Self {
        match refusal {
            Refusal::Invalid(errors) => {
                let field = |FieldError { field, message }| ProblemField { field, message };
                Self::invalid(errors.into_iter().map(field).collect())
            }
            Refusal::NoKey(None) => {
                Self::new(ProblemCode::ApiKeyMissing, "send your API key as `Authorization: Bearer wk_…`")
            }
            Refusal::NoKey(Some(error)) => Self::new(ProblemCode::ApiKeyMalformed, error.to_string()),
            Refusal::UnknownKey => {
                Self::new(ProblemCode::ApiKeyUnknown, "this is not a key of this server; look at where it was issued")
            }
            Refusal::KeyRefused(KeyRefusal::Revoked) => {
                Self::new(ProblemCode::ApiKeyRevoked, "this key was revoked; use another")
            }
            Refusal::KeyRefused(KeyRefusal::Expired) => {
                Self::new(ProblemCode::ApiKeyExpired, "this key has expired; issue another")
            }
            Refusal::KeyRefused(KeyRefusal::Ip) => {
                Self::new(ProblemCode::IpNotAllowed, "this key works only from the networks on its allowlist")
            }
            Refusal::Scope(scope) => {
                Self::new(ProblemCode::ScopeMissing, format!("this key lacks the scope `{}`", scope.name()))
            }
            Refusal::KeyNotAllowed => Self::new(
                ProblemCode::KeyNotAllowed,
                "this is for people: sign in, and send the session's access token instead of an API key",
            ),
            Refusal::Role(role) => Self::new(
                ProblemCode::RoleMissing,
                format!("this takes the role `{}` or a higher one: ask an owner or admin of the tenant", role.name()),
            ),
            Refusal::ForMembers => Self::new(
                ProblemCode::RoleMissing,
                "this is left to the tenant's members: an operator who acts for a tenant makes no keys, invitations \
                 or webhook endpoints, and sees no whole addresses",
            ),
            Refusal::NoToken => {
                Self::new(ProblemCode::TokenMissing, "sign in, and send the access token as `Authorization: Bearer …`")
            }
            Refusal::Token(TokenRefusal::Foreign) => {
                Self::new(ProblemCode::TokenRefused, "this is no access token of this server; sign in again")
            }
            Refusal::Token(TokenRefusal::Expired) => {
                Self::new(ProblemCode::TokenExpired, "this access token has expired; refresh it, or sign in again")
            }
            Refusal::Token(TokenRefusal::SessionOver) => {
                Self::new(ProblemCode::SessionEnded, "this session is over; sign in again")
            }
            Refusal::Credentials => Self::new(ProblemCode::CredentialsWrong, "look at both, or ask for a new password"),
            Refusal::Braked { opens_at } => {
                let detail = "too many wrong passwords or codes in a row; the owner of the account may come from a device on which they signed in before, or ask for a new password";
                let mut problem = Self::new(ProblemCode::LoginDelayed, detail).retry(opens_at, now);
                problem.0.violated = vec!["login"];
                problem
            }
            Refusal::Code => Self::new(
                ProblemCode::CodeWrong,
                "look at the newest code that arrived, or that the app shows now, each of which works once; after too many wrong ones, or ten minutes, ask for another",
            ),
            Refusal::SignInOver => Self::new(
                ProblemCode::SignInOver,
                "it took too long, too many codes were wrong, it was finished already, or it began in another browser; begin anew",
            ),
            Refusal::RecoveryCodeNeeded => Self::new(
                ProblemCode::RecoveryCodeNeeded,
                "too many codes of the app were wrong in a row; write one of your recovery codes",
            ),
            Refusal::SecondFactorActive => Self::new(
                ProblemCode::SecondFactorActive,
                "switch it off with `POST /v1/me/second-factor/disable` before you begin another",
            ),
            Refusal::EmailNotVerified => Self::new(
                ProblemCode::EmailNotVerified,
                "the identity provider tells no email address that it has verified; verify it there, or sign in with a password",
            ),
            Refusal::Provider(error @ IdentityError::Unavailable(_)) => Self::new(
                ProblemCode::ProviderUnavailable,
                "begin anew in a moment; the operator finds the reason in the log, under this request's id",
            )
            .because(&error),
            Refusal::Provider(error) => Self::new(
                ProblemCode::ProviderRefused,
                "the code was used or is another sign-in's, or the provider's token does not hold; begin anew",
            )
            .because(&error),
            Refusal::Csrf => Self::new(
                ProblemCode::CsrfRefused,
                "send the session's own `csrf_token` in `X-CSRF-Token`, from a page of this installation",
            ),
            Refusal::OperatorOnly => Self::new(ProblemCode::OperatorNeeded, "this is for those who run the platform"),
            Refusal::Busy => {
                Self::new(ProblemCode::Unavailable, "too many people sign in at this moment; try again in a moment")
            }
            Refusal::Suspended(reason) => Self::new(
                ProblemCode::TenantSuspended,
                format!("the tenant is suspended ({reason}): its owner may ask whoever runs this platform"),
            ),
            Refusal::TenantDeleted { erased_at } => Self::new(
                ProblemCode::TenantDeleted,
                format!("the tenant was deleted and is erased at {erased_at}; until then an owner can have it back"),
            ),
            Refusal::Maintenance { message, until } => {
                Self::new(ProblemCode::Maintenance, format!("{message}; reading goes on, changes wait until {until}"))
                    .retry(until, now)
            }
            Refusal::Taken { kind, index } => {
                Self::new(ProblemCode::Taken, format!("there is another {kind} with the same {index}: choose another"))
            }
            Refusal::KeyOver => Self::new(
                ProblemCode::ApiKeyOver,
                "the key was revoked, has expired or was replaced; it is not changed or replaced any more",
            ),
            Refusal::LastOwner => Self::new(
                ProblemCode::LastOwner,
                "a tenant has at least one owner: make another member an owner first, or transfer the ownership",
            ),
            Refusal::OnlyOwnerOf(tenants) => {
                let tenants = tenants.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                Self::new(
                    ProblemCode::LastOwner,
                    format!(
                        "you are the only owner of {tenants}: make another member an owner there first, or delete it"
                    ),
                )
            }
            Refusal::AlreadyMember => Self::new(
                ProblemCode::AlreadyMember,
                "to be something else in the tenant, they need another role, not an invitation",
            ),
            Refusal::OtherEmail => Self::new(
                ProblemCode::OtherEmail,
                "sign in to the account with the address that the invitation went to, and confirm that address",
            ),
            Refusal::LimitReached(what, limit) => {
                Self::new(ProblemCode::LimitReached, format!("there may be {limit} {what}, and there are"))
            }
            Refusal::InvitationCoolDown { next_at } => {
                let detail = "this invitation went out moments ago; let the person wait for it";
                let mut problem = Self::new(ProblemCode::CoolDown, detail).retry(next_at, now);
                problem.0.violated = vec!["cool_down"];
                problem
            }
            Refusal::InvitationsUsed { max, next_at } => {
                let detail = format!("a tenant sends at most {max} invitations a day (UTC), resends included");
                let mut problem = Self::new(ProblemCode::InvitationsUsed, detail).retry(next_at, now);
                problem.0.violated = vec!["invitations"];
                problem
            }
            Refusal::InvitedOften { next_at } => {
                let detail = "this address was invited often enough today; try again tomorrow (UTC), or tell the \
                              person to look for the mails that went out";
                let mut problem = Self::new(ProblemCode::InvitationsUsed, detail).retry(next_at, now);
                problem.0.violated = vec!["invited"];
                problem
            }
            Refusal::OtherService => {
                Self::new(ProblemCode::ServiceNotAllowed, "this key works only for the service it is bound to")
            }
            Refusal::NotFound(what) => {
                Self::new(ProblemCode::NotFound, format!("there is no such {what}, or it belongs to somebody else"))
            }
            Refusal::Routing(error @ RoutingError::Unknown { .. }) => {
                Self::new(ProblemCode::UnknownChannel, error.to_string())
            }
            Refusal::Routing(error @ RoutingError::NoChannel { .. }) => {
                Self::new(ProblemCode::NoChannel, error.to_string())
            }
            Refusal::Quota(exceeded) => {
                let window = match exceeded.window.kind {
                    WindowKind::Day => "day",
                    WindowKind::Month => "month",
                };
                let detail = format!(
                    "the plan allows {} {} a {window}, and they are used; the next {window} begins {}",
                    exceeded.limit,
                    exceeded.resource.name().replace('_', " "),
                    exceeded.window.ends
                );
                let mut problem = Self::new(ProblemCode::QuotaExceeded, detail).retry(exceeded.window.ends, now);
                problem.0.violated = vec![window];
                problem
            }
            Refusal::Rate { policy, rate, decision } => {
                let plan = if policy == "client" { "there may be" } else { "the plan allows" };
                let detail =
                    format!("{plan} {} calls a second, {} at once, for each {policy}", rate.per_second, rate.burst);
                let mut problem = Self::new(ProblemCode::RateLimited, detail).retry(decision.at, now);
                problem.0.violated = vec![policy];
                problem
            }
            Refusal::Address(limited) => {
                let (code, policy, detail) = match limited.refusal {
                    AddressRefusal::CoolDown => (
                        ProblemCode::CoolDown,
                        "cool_down",
                        "a code went to this address moments ago; let the person wait for it",
                    ),
                    AddressRefusal::ShortWindow => (
                        ProblemCode::AddressLimited,
                        "address_10_minutes",
                        "too many codes went to this address within 10 minutes",
                    ),
                    AddressRefusal::LongWindow => {
                        (ProblemCode::AddressLimited, "address_day", "too many codes went to this address within a day")
                    }
                    AddressRefusal::Failures => (
                        ProblemCode::AddressLimited,
                        "address_failures",
                        "too many wrong codes in a row were typed for this address",
                    ),
                };
                let mut problem = Self::new(code, detail).retry(limited.retry_at, now);
                problem.0.violated = vec![policy];
                problem
            }
            Refusal::CoolDown { next_at } => {
                let mut problem = Self::new(
                    ProblemCode::CoolDown,
                    "a code went to this address moments ago; let the person wait for it",
                )
                .retry(next_at, now);
                problem.0.violated = vec!["cool_down"];
                problem
            }
            Refusal::NoSendsLeft => Self::new(
                ProblemCode::NoSendsLeft,
                "no further send of this code is allowed; start a new verification when this one has ended",
            ),
            Refusal::Blocked(note) => {
                let detail = format!(
                    "the guard's rule `{}` stopped it; the code that is out already stays valid",
                    note.rule.name()
                );
                let problem = Self::new(ProblemCode::GuardBlocked, detail);
                match note.retry_at {
                    Some(at) => problem.retry(at, now),
                    None => problem,
                }
            }
            Refusal::Ended => {
                Self::new(ProblemCode::VerificationEnded, "it is not pending any more; start a new verification")
            }
            Refusal::KeyReused => Self::new(
                ProblemCode::IdempotencyKeyReused,
                "the same `Idempotency-Key` came with another request before; use a new key for a new request",
            ),
            Refusal::Conflict => Self::new(
                ProblemCode::Conflict,
                "somebody else changed it at the same moment; read it again and repeat",
            ),
            error @ Refusal::Store(StoreError::Full(_)) => {
                Self::new(ProblemCode::StoreFull, "nothing was kept of this request; the operator has to make room")
                    .because(&error)
            }
            error @ Refusal::Store(StoreError::ReadOnly(_) | StoreError::Unavailable(_)) => {
                Self::new(ProblemCode::Unavailable, "nothing was kept of this request; try again in a moment")
                    .because(&error)
            }
            error @ (Refusal::Store(StoreError::Damaged(_))
            | Refusal::Passwords(_)
            | Refusal::Vault(_)
            | Refusal::UnknownPlan(_)) => {
                Self::new(ProblemCode::Internal, "the operator finds the reason in the log, under this request's id")
                    .because(&error)
            }
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
