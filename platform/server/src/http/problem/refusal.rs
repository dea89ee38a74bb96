//! Which problem a refusal of a use case is, in words for whoever made the call.

use jiff::Timestamp;
use wotp_core::app::{FieldError, Guessed, Refusal, TokenRefusal};
use wotp_core::domain::address_limits::AddressRefusal;
use wotp_core::domain::api_key::KeyRefusal;
use wotp_core::domain::guard::{GuardNote, Step};
use wotp_core::domain::permission::Role;
use wotp_core::domain::quota::WindowKind;
use wotp_core::domain::rate::Rate;
use wotp_core::domain::routing::RoutingError;
use wotp_core::domain::webhook::replay::Replay;
use wotp_core::ports::{Entity as _, IdentityError, StoreError};

use super::{Problem, ProblemCode, ProblemField};

impl Problem {
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
            Refusal::KeyRefused(KeyRefusal::Replaced) => {
                Self::new(ProblemCode::ApiKeyExpired, "another key took the place of this one; use that")
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
            Refusal::Role(role) => {
                let detail = match role {
                    Role::Owner => "only an owner of the tenant may do this: ask one".to_owned(),
                    Role::Admin => {
                        "this takes the role `admin` or `owner`: ask somebody who has one of them".to_owned()
                    }
                    Role::Viewer | Role::Developer => {
                        format!("this takes the role `{}` or a higher one: ask an owner or admin", role.name())
                    }
                };
                Self::new(ProblemCode::RoleMissing, detail)
            }
            Refusal::ForMembers => Self::new(
                ProblemCode::MembersOnly,
                "this is left to the tenant's members: an operator who acts for a tenant makes no keys, invitations \
                 or webhook endpoints, neither deletes the tenant nor hands it on, and sees no whole addresses",
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
            Refusal::Braked { opens_at, guessed } => {
                let detail = match guessed {
                    Guessed::Password => {
                        "too many wrong passwords in a row; the owner of the account may come from a device on which they signed in before, or ask for a new password"
                    }
                    Guessed::Code => {
                        "too many wrong codes in a row; wait, and write the code that the app shows then, or begin to sign in anew and write a recovery code, which does not wait"
                    }
                    Guessed::InSession => "too many wrong passwords or codes in this session; wait, or sign in anew",
                };
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
            Refusal::SecondFactorNeeded => Self::new(
                ProblemCode::SecondFactorNeeded,
                "this way to sign in does not ask for it; begin with `POST /v1/auth/oidc/{name}/start`, which does",
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
                "the code was used or is another sign-in's, or the provider's token cannot be believed; begin anew",
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
            Refusal::AccountsBusy => Self::new(
                ProblemCode::Unavailable,
                "as many accounts are looked at as may be at once, and this one was not; try again in a moment",
            ),
            Refusal::Suspended(reason) => Self::new(
                ProblemCode::TenantSuspended,
                format!("the tenant is suspended ({reason}): its owner may ask whoever runs this platform"),
            ),
            Refusal::TenantDeleted { erased_at } => Self::new(
                ProblemCode::TenantDeleted,
                format!(
                    "the tenant was deleted and is erased at {erased_at}; until then an owner can have it back with \
                     `POST /v1/tenants/{{id}}/restore`"
                ),
            ),
            Refusal::Maintenance { message, until } => {
                Self::new(ProblemCode::Maintenance, format!("{message}; reading goes on, changes wait until {until}"))
                    .retry(until, now)
            }
            Refusal::Taken { kind: "account", .. } => Self::new(
                ProblemCode::Taken,
                "there is an account with this email address: sign in to it, or ask for a new password, or use another \
                 address",
            ),
            Refusal::Taken { kind: "invitation", .. } => Self::new(
                ProblemCode::Taken,
                "an invitation to this address is open: send it again, or take it back and invite anew",
            ),
            Refusal::Taken { kind: "entry", index } => {
                Self::new(ProblemCode::Taken, format!("there is an entry for this {index} already: delete it first"))
            }
            Refusal::Taken { kind: Replay::KIND, index: "endpoint" } => {
                Self::new(ProblemCode::Conflict, "a replay to this endpoint goes on already; wait until it is done")
            }
            Refusal::Taken { kind: Replay::KIND, .. } => {
                Self::new(ProblemCode::Conflict, "five replays go on already; wait until one of them is done")
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
                let mut problem = Self::new(ProblemCode::InvitedOften, detail).retry(next_at, now);
                problem.0.violated = vec!["invited"];
                problem
            }
            Refusal::OtherService => {
                Self::new(ProblemCode::ServiceNotAllowed, "this key works only for the service it is bound to")
            }
            Refusal::NotFound(what) => Self::new(ProblemCode::NotFound, not_found(what)),
            Refusal::Routing(error @ RoutingError::Unknown { .. }) => {
                Self::new(ProblemCode::UnknownChannel, error.to_string())
            }
            Refusal::Routing(error @ RoutingError::NoChannel { .. }) => {
                Self::new(ProblemCode::NoChannel, error.to_string())
            }
            Refusal::NoPublicUrl => Self::new(
                ProblemCode::LinksUnavailable,
                "links lead to a page of this server, and nobody told it where people reach it: its operator sets \
                 `auth.public_url`, as in `https://wotp.example.com`",
            ),
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
                let plan = if matches!(policy, "client" | "person") { "there may be" } else { "the plan allows" };
                let Rate { per_second, burst } = rate;
                let calls = if per_second == 1 { "call" } else { "calls" };
                let detail = format!("{plan} {per_second} {calls} a second, {burst} at once, for each {policy}");
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
            Refusal::LinkCode { next_at } => {
                let detail = "a code to link a phone was asked for moments ago: follow the connection, which shows it, or \
                              wait, since WhatsApp gives no codes to whoever asks for many";
                let mut problem = Self::new(ProblemCode::CoolDown, detail).retry(next_at, now);
                problem.0.violated = vec!["cool_down"];
                problem
            }
            Refusal::NoSendsLeft => Self::new(
                ProblemCode::NoSendsLeft,
                "no further send of this code is allowed; start a new verification when this one has ended",
            ),
            Refusal::Blocked(note) => {
                let rest = match note.step {
                    Step::Start => "nothing was sent",
                    Step::Resend => "the code that is out already stays valid",
                };
                Self::guarded(&note, rest, now)
            }
            Refusal::NotKept(note) => {
                let rest = "so many were stopped today that this one is not stored: it has no id";
                Self::guarded(&note, rest, now)
            }
            Refusal::Ended => {
                Self::new(ProblemCode::VerificationEnded, "it is not pending any more; start a new verification")
            }
            Refusal::HasLink => Self::new(
                ProblemCode::VerificationHasLink,
                "it was started with `method: \"link\"`, so there is no code: the person opens the link and presses the \
                 button; follow its status, or wait for `verification.approved`",
            ),
            Refusal::IsInbound => Self::new(
                ProblemCode::VerificationInbound,
                "it was started with `method: \"inbound\"`, so there is no code, and nothing that was sent: the person writes \
                 to your number; show them the link or the QR again, follow its status, or wait for `verification.approved`",
            ),
            Refusal::NoNumber => Self::new(
                ProblemCode::NoNumber,
                "none of your WhatsApp numbers is connected, so nobody can write to one: `POST /v1/connections` with \
                 `channel: \"whatsapp\"` makes a connection, `POST /v1/connections/{id}/connect` links a phone, and \
                 `GET /v1/connections` says where each stands",
            ),
            Refusal::NotConnected => Self::new(
                ProblemCode::NotConnected,
                "it is not to be logged in, so that nothing goes out through it: `POST /v1/connections/{id}/connect` has it \
                 log in, and without `connection` a message goes out through whichever is",
            ),
            Refusal::NoSender => Self::new(
                ProblemCode::NotConnected,
                "none of your WhatsApp numbers can send until somebody does something about it, and no other channel is \
                 there for this: `GET /v1/connections` says where each stands, and what to do",
            ),
            Refusal::WorkEnded => {
                Self::new(ProblemCode::WorkEnded, "it has ended, and waits for nothing: there is nothing to try again")
            }
            Refusal::KeyReused => Self::new(
                ProblemCode::IdempotencyKeyReused,
                "the same `Idempotency-Key` came with another request before; use a new key for a new request",
            ),
            error @ Refusal::NoPlugins(_) => Self::new(
                ProblemCode::Unavailable,
                "plugins cannot be run now; the operator finds the reason in the log, under this request's id",
            )
            .because(&error),
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

impl Problem {
    /// That a rule of the guard stopped it, by name, and what follows.
    fn guarded(note: &GuardNote, rest: &str, now: Timestamp) -> Self {
        let detail = format!("the guard's rule `{}` stopped it; {rest}", note.rule.name());
        let mut problem = Self::new(ProblemCode::GuardBlocked, detail);
        problem.0.rule = Some(note.rule);
        match note.retry_at {
            Some(at) => problem.retry(at, now),
            None => problem,
        }
    }
}

/// That something is not there, and what else it may be.
fn not_found(what: &str) -> String {
    match what {
        "second factor" => "there is no second factor on this account".to_owned(),
        "tenant" => "there is no such tenant, or you are not in it".to_owned(),
        // Whoever asks would see them all, or asks for their own.
        "account"
        | "announcement"
        | "identity provider"
        | "operator"
        | "person"
        | "tenant on this platform"
        | "work" => format!("there is no such {what}"),
        _ => format!("there is no such {what}, or it belongs to somebody else"),
    }
}
