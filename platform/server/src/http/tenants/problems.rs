//! What these operations may answer, for the document.

use utoipa::IntoResponses;

use crate::http::openapi::problem_sets;
use crate::http::problem::ProblemBody;

problem_sets! {
    /// A caller who is no member, or may not.
    MemberProblems {
        /// `token_missing`, `token_refused`, `token_expired`, `session_ended`; of a key `api_key_malformed`,
        /// `api_key_unknown`, `api_key_revoked`, `api_key_expired`
        Unknown = 401,
        /// `key_not_allowed`, `ip_not_allowed`, `role_missing`, `members_only`, `tenant_suspended`, `tenant_deleted`
        Forbidden = 403,
        /// `not_found`
        NotFound = 404,
        /// `invalid_request`
        Invalid = 422,
    }

    /// As many as there may be.
    LimitProblem {
        /// `limit_reached`, `conflict`
        Reached = 409,
    }

    /// A change that would leave the tenant without an owner.
    OwnerConflict {
        /// `last_owner`, `conflict`
        LastOwner = 409,
    }

    /// Somebody who need not be invited, or cannot.
    InvitationConflict {
        /// `already_member`, `taken`, `limit_reached`, `conflict`
        Conflict = 409,
    }

    /// Too many invitations.
    InvitationLimits {
        /// `rate_limited`, `invitations_used`, `invited_often`, `cool_down`: see `Retry-After`
        Limited = 429,
    }

    /// Somebody who was not invited.
    AcceptProblems {
        /// `token_missing`, `token_refused`, `token_expired`, `session_ended`; of a key `api_key_malformed`,
        /// `api_key_unknown`, `api_key_revoked`, `api_key_expired`
        Unknown = 401,
        /// `key_not_allowed`, `other_email`; of a key `ip_not_allowed`, `tenant_suspended`, `tenant_deleted`
        Forbidden = 403,
    }
}
