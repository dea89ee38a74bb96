//! What these operations may answer, for the document.

use utoipa::IntoResponses;

use crate::http::problem::ProblemBody;

/// A caller who is no member, or may not.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum MemberProblems {
    /// `token_missing`, `token_refused`, `token_expired`, `session_ended`
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// `key_not_allowed`, `role_missing`, `tenant_suspended`, `tenant_deleted`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
    /// `not_found`
    #[response(status = 404, content_type = "application/problem+json")]
    NotFound(ProblemBody),
    /// `invalid_request`
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemBody),
}

/// As many as there may be.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum LimitProblem {
    /// `limit_reached`, `conflict`
    #[response(status = 409, content_type = "application/problem+json")]
    Reached(ProblemBody),
}

/// A change that would leave the tenant without an owner.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(in crate::http) enum OwnerConflict {
    /// `last_owner`, `conflict`
    #[response(status = 409, content_type = "application/problem+json")]
    LastOwner(ProblemBody),
}

/// Somebody who need not be invited, or cannot.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum InvitationConflict {
    /// `already_member`, `taken`, `limit_reached`, `conflict`
    #[response(status = 409, content_type = "application/problem+json")]
    Conflict(ProblemBody),
}

/// Too many invitations.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum InvitationLimits {
    /// `rate_limited`, `invitations_used`, `cool_down`: see `Retry-After`
    #[response(status = 429, content_type = "application/problem+json")]
    Limited(ProblemBody),
}

/// Somebody who was not invited.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "the documentation of what `Problem` answers")]
pub(super) enum AcceptProblems {
    /// `token_missing`, `token_refused`, `token_expired`, `session_ended`
    #[response(status = 401, content_type = "application/problem+json")]
    Unknown(ProblemBody),
    /// `key_not_allowed`, `other_email`
    #[response(status = 403, content_type = "application/problem+json")]
    Forbidden(ProblemBody),
}
