//! The stable names of problems, and the status of each.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

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
    /// The request has two `Host` headers.
    MalformedRequest = "malformed_request", BAD_REQUEST, false, "The request is not one that HTTP knows";
    /// The body has another content type.
    UnsupportedMediaType = "unsupported_media_type", UNSUPPORTED_MEDIA_TYPE, false, "The body has to be JSON";
    /// The body is over 16 KiB.
    BodyTooLarge = "body_too_large", PAYLOAD_TOO_LARGE, false, "The body is too large";
    /// A field is not what it has to be; `errors` names each.
    InvalidRequest = "invalid_request", UNPROCESSABLE_ENTITY, false, "Something in the request is not right";
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
    KeyNotAllowed = "key_not_allowed", FORBIDDEN, false, "This is for people, not for API keys";
    /// The member's role does not allow it.
    RoleMissing = "role_missing", FORBIDDEN, false, "The member's role does not allow it";
    /// It is left to the tenant's members, and an operator who acts for the tenant is none.
    MembersOnly = "members_only", FORBIDDEN, false, "It is left to the tenant's members";
    /// Nobody is signed in.
    TokenMissing = "token_missing", UNAUTHORIZED, false, "There is no access token";
    /// The access token is not one of ours, or not for this.
    TokenRefused = "token_refused", UNAUTHORIZED, false, "This is no access token of this server";
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
    /// The account has a second factor, and this way to sign in does not ask for it.
    SecondFactorNeeded = "second_factor_needed", FORBIDDEN, false, "The account has a second factor";
    /// A second factor is on already.
    SecondFactorActive = "second_factor_active", CONFLICT, false, "A second factor is on already";
    /// The identity provider does not vouch for the email address.
    EmailNotVerified = "email_not_verified", FORBIDDEN, false, "The email address is not verified";
    /// What the identity provider says cannot be believed.
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
    /// The address was invited often enough today.
    InvitedOften = "invited_often", TOO_MANY_REQUESTS, true, "The address was invited often enough today";
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
    /// The operator has not said where links are to lead.
    LinksUnavailable = "links_unavailable", UNPROCESSABLE_ENTITY, false, "Links cannot be sent from here";
    /// None of the tenant's numbers is connected.
    NoNumber = "no_number", UNPROCESSABLE_ENTITY, true, "No number to write to is connected";
    /// The connection that was named is disconnected.
    NotConnected = "not_connected", UNPROCESSABLE_ENTITY, false, "No number that can send is connected";
    /// The plan's quota is used up.
    QuotaExceeded = "quota_exceeded", TOO_MANY_REQUESTS, true, "The quota is used up";
    /// Too many calls a second.
    RateLimited = "rate_limited", TOO_MANY_REQUESTS, true, "Too many calls";
    /// Too many calls of the tenant wait for something.
    TooManyWaiting = "too_many_waiting", TOO_MANY_REQUESTS, true, "Too many calls wait already";
    /// The address was written to too often.
    AddressLimited = "address_limited", TOO_MANY_REQUESTS, true, "The address was written to too often";
    /// The last code, or the last invitation, went out or was asked for moments ago.
    CoolDown = "cool_down", TOO_MANY_REQUESTS, true, "The last one went out moments ago";
    /// Every allowed send of the verification is used.
    NoSendsLeft = "no_sends_left", CONFLICT, false, "Every allowed send is used";
    /// The guard of the service stopped it.
    GuardBlocked = "guard_blocked", CONFLICT, true, "The guard stopped it";
    /// The verification has ended.
    VerificationEnded = "verification_ended", CONFLICT, false, "The verification has ended";
    /// A link approves it: there is no code to check.
    VerificationHasLink = "verification_has_link", CONFLICT, false, "The verification is approved by its link";
    /// A message of the person's approves it: there is no code to check, and nothing to send again.
    VerificationInbound = "verification_inbound", CONFLICT, false, "The verification is approved by a message";
    /// Nothing is left to do of it.
    WorkEnded = "work_ended", CONFLICT, false, "Nothing is left to do of it";
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
