//! Every problem: what `type` and `code` of a refusal lead to.

use super::reference::Reference;
use super::render::{Prose, Text, block, open_section, put};
use super::sample::Sample;
use super::schema::properties;
use crate::http::{Problem, ProblemCode};

pub(super) const ID: &str = "errors";
pub(super) const TITLE: &str = "Errors";

/// What the caller does about it.
fn advice(code: ProblemCode) -> &'static str {
    match code {
        ProblemCode::MalformedJson => "Send one JSON value, whole and in UTF-8. `detail` says where reading stopped.",
        ProblemCode::MalformedRequest => {
            "Send one `Host` header. A proxy in front that adds another one is to replace it."
        }
        ProblemCode::UnsupportedMediaType => "Send `Content-Type: application/json`.",
        ProblemCode::BodyTooLarge => "Send at most 16 KiB.",
        ProblemCode::InvalidRequest => {
            "Read `errors`: each entry names a field and what would be right. Unknown fields are refused too, so that a \
             typing error is not a setting that silently does nothing."
        }
        ProblemCode::ApiKeyMissing => "Send `Authorization: Bearer wk_…`, or `X-API-Key: wk_…`.",
        ProblemCode::ApiKeyMalformed => {
            "A character is missing or wrong: keys carry a checksum. Copy the key again from where you keep it."
        }
        ProblemCode::ApiKeyUnknown => "This server never issued it. Look whether base URL and key belong together.",
        ProblemCode::ApiKeyRevoked => "Use another key; a revoked one never works again.",
        ProblemCode::ApiKeyExpired => "Issue a new key and replace it.",
        ProblemCode::IpNotAllowed => "Call from a network on the key's allowlist, or change the list.",
        ProblemCode::ScopeMissing => "Use a key with the scope that `detail` names.",
        ProblemCode::ApiKeyOver => "Make another key, or change the one that took its place.",
        ProblemCode::KeyNotAllowed => "Sign in, and send the access token of the session instead of a key.",
        ProblemCode::RoleMissing => "Ask an owner or admin of the tenant for the role that `detail` names.",
        ProblemCode::MembersOnly => "Ask a member of the tenant: no role of an operator who acts for it is enough.",
        ProblemCode::TokenMissing => "Sign in with `POST /v1/auth/login`, and send the access token.",
        ProblemCode::TokenRefused => "Sign in at this server; tokens of another one, and keys, are none of its own.",
        ProblemCode::TokenExpired => "Call `POST /v1/auth/refresh`, and repeat the request with the new access token.",
        ProblemCode::SessionEnded => "Sign in again: somebody logged out, or an old refresh token was used.",
        ProblemCode::CredentialsWrong => {
            "Look at both. Whether there is an account is told to nobody but the owner of the address."
        }
        ProblemCode::LoginDelayed => {
            "Wait until `retry_at`. After wrong passwords: send the `device_token` of an earlier login from here, since \
             others' wrong passwords do not count for it; a password reset lifts the delay. After wrong codes of a second \
             factor: a recovery code does not wait, in a sign-in that begins anew."
        }
        ProblemCode::CodeWrong => "Type the newest code, or ask for another.",
        ProblemCode::SignInOver => "Begin to sign in anew, and finish it within the time that the reply names.",
        ProblemCode::RecoveryCodeNeeded => {
            "Answer with one of the ten recovery codes. It ends the count of wrong codes as well."
        }
        ProblemCode::SecondFactorActive => "Switch the second factor off first, with the password or a code.",
        ProblemCode::SecondFactorNeeded => {
            "Sign in by a way that asks for the second factor: `POST /v1/auth/login`, or `POST /v1/auth/oidc/{name}/start`."
        }
        ProblemCode::EmailNotVerified => "Verify the address at the identity provider, or sign in with a password.",
        ProblemCode::ProviderRefused => "Begin to sign in anew. The log has the reason.",
        ProblemCode::ProviderUnavailable => "Begin anew in a moment, or sign in with a password.",
        ProblemCode::CsrfRefused => {
            "Send the `csrf_token` of the session in `X-CSRF-Token`, from a page whose origin this server knows."
        }
        ProblemCode::OperatorNeeded => "Sign in as somebody who runs the platform.",
        ProblemCode::TenantSuspended => "The tenant's owner may ask whoever runs the platform; `detail` says why.",
        ProblemCode::TenantDeleted => "An owner can have the tenant back until the moment that `detail` names.",
        ProblemCode::Maintenance => "Repeat the change after `Retry-After`. Nothing was kept, and reading goes on.",
        ProblemCode::Taken => "Choose another value, or go on with what is there already: `detail` says which.",
        ProblemCode::LastOwner => "Make another member an owner, or transfer the ownership; or delete the tenant.",
        ProblemCode::AlreadyMember => "Change the member's role instead.",
        ProblemCode::OtherEmail => {
            "Sign in to the account that has the invited address. For another address, ask for another invitation."
        }
        ProblemCode::LimitReached => "Remove one that is not needed any more; `detail` says how many there may be.",
        ProblemCode::InvitationsUsed => "Wait until `retry_at`, when the next day begins.",
        ProblemCode::InvitedOften => {
            "Wait until `retry_at`, when the next day begins, or tell the person to look for the mails that went out."
        }
        ProblemCode::ServiceNotAllowed => "Leave `service` out, or use a key that is not bound to another service.",
        ProblemCode::NotFound => {
            "Look at the id. What belongs to somebody else is answered the same way, and so is what retention has deleted."
        }
        ProblemCode::RouteNotFound => "Look at the path; this page lists all of them.",
        ProblemCode::MethodNotAllowed => "The `Allow` header names the methods that this path takes.",
        ProblemCode::UnknownChannel => "`detail` names the channels that there are; so does `GET /v1/limits`.",
        ProblemCode::NoChannel => {
            "No channel of the service, or of the call, reaches this kind of address. Name another channel, or verify \
             another address."
        }
        ProblemCode::LinksUnavailable => {
            "Ask whoever runs the server to set `auth.public_url`; until then verify with a code."
        }
        ProblemCode::QuotaExceeded => {
            "Wait until `retry_at`, when the window turns over, or move to a larger plan. `violated-policies` says \
             whether it is the day or the month."
        }
        ProblemCode::RateLimited => "Wait as long as `Retry-After` says, then send the same request again.",
        ProblemCode::TooManyWaiting => "End a call that waits, or try again after `Retry-After`.",
        ProblemCode::AddressLimited => {
            "Too many codes, or too many wrong guesses, for one address: it protects its owner from being bombed. Tell \
             the person to come back after `retry_at`."
        }
        ProblemCode::CoolDown => "Let the person wait for the code that is under way. Offer a resend after `retry_at`.",
        ProblemCode::NoSendsLeft => "Wait until this verification has ended, then start another.",
        ProblemCode::GuardBlocked => {
            "Wait until `retry_at`, if there is one. Otherwise look at the rule that `rule` names: `GET \
             /v1/services/{id}/guard`."
        }
        ProblemCode::VerificationEnded => "It was approved, has expired, failed or was canceled. Start another.",
        ProblemCode::VerificationHasLink => {
            "Do not ask the person for a code. The page of the link approves it; `GET /v1/verifications/{id}?wait=60` \
             answers once it has."
        }
        ProblemCode::VerificationInbound => {
            "Do not ask the person for a code, and show them again what they are to write. `GET \
             /v1/verifications/{id}?wait=60` answers once they have."
        }
        ProblemCode::NoNumber => {
            "Connect a WhatsApp number (`POST /v1/connections`, then `/connect`), or wait until the one that you have is \
             back; meanwhile start with `method: \"code\"`."
        }
        ProblemCode::NotConnected => {
            "Have the connection log in (`POST /v1/connections/{id}/connect`). Of a message that names one, leave `connection` \
             out: then it goes out through whichever of your numbers is connected."
        }
        ProblemCode::WorkEnded => "Nothing: it was done or given up, and nothing of it is due.",
        ProblemCode::IdempotencyKeyReused => "Use a new `Idempotency-Key` for each new request.",
        ProblemCode::Conflict => "Read it again, and repeat the change on what it is now.",
        ProblemCode::StoreFull => "Nothing was kept. Tell the operator: the server's disk is full.",
        ProblemCode::Unavailable => {
            "Nothing was kept, unless it took too long: repeat it with the same `Idempotency-Key`."
        }
        ProblemCode::Internal => {
            "Repeat it with the same `Idempotency-Key`. If it stays, give the operator the `request_id`."
        }
    }
}

/// The section.
pub(super) fn write(html: &mut String, reference: &Reference<'_>) {
    open_section(html, ID, TITLE);
    html.push_str(
        "<p class=\"lead\">A refusal is a problem by RFC 9457, <code>application/problem+json</code>. Branch on \
         <code>code</code>: it never changes. <code>title</code> and <code>detail</code> are for people. \
         The fields are those of <a href=\"#object-Problem\">Problem</a>.</p>\n\
         <p>Repeat a request only when <code>retryable</code> is true, not before <code>Retry-After</code>, and with the \
         same <code>Idempotency-Key</code>. The paths under <code>/api</code> keep WOTP's own shape, \
         <a href=\"#object-WotpError\">WotpError</a>, with the status codes 400, 401, 403, 405, 429 and 500.</p>\n",
    );
    let problem = Problem::field("to", "a phone number starts with `+` and the country code, as in `+12025550123`");
    let body = serde_json::to_value(problem.body("req_01J9ZK3V8X6W5T4S3R2Q1P0N9M")).expect("a problem serialises");
    let order = properties(reference.schema("Problem")).into_iter();
    let members = order.filter_map(|(name, _)| Some((name.to_owned(), body.get(name)?.into())));
    block(html, "Reply 422", &Sample::Object(members.collect()).html());
    html.push_str("<div class=\"problems\">\n");
    for code in ProblemCode::ALL {
        let status = code.status();
        put!(
            html,
            "<section class=\"problem\" id=\"{id}\" aria-labelledby=\"{id}-title\"><h3 id=\"{id}-title\"><code>{id}</code></h3>\
             <p class=\"facts\"><code class=\"status s{class}\">{status}</code> {title}{retry}</p><p>{advice}</p></section>\n",
            id = code.id(),
            class = status.as_u16() / 100,
            status = status.as_u16(),
            title = Text(code.title()),
            retry = if code.retryable() { " <span class=\"retry\">retryable</span>" } else { "" },
            advice = Prose(advice(*code)),
        );
    }
    html.push_str("</div>\n</section>\n");
}
