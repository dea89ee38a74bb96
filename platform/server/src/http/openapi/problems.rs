//! What operations may answer besides what they are for, for the document.

use utoipa::IntoResponses;

use crate::http::problem::ProblemBody;

/// Sets of problems that operations name: by status, with the codes that a reply may carry.
macro_rules! problem_sets {
    ($($(#[$doc:meta])* $name:ident { $($(#[$codes:meta])* $variant:ident = $status:tt,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(IntoResponses)]
            #[expect(dead_code, reason = "the documentation of what `Problem` answers")]
            pub(in crate::http) enum $name {
                $(
                    $(#[$codes])*
                    #[response(status = $status, content_type = "application/problem+json")]
                    $variant(ProblemBody),
                )+
            }
        )+
    };
}
pub(in crate::http) use problem_sets;

problem_sets! {
    /// A body that cannot be taken.
    BodyProblems {
        /// `malformed_json`
        Malformed = 400,
        /// `body_too_large`
        TooLarge = 413,
        /// `unsupported_media_type`
        MediaType = 415,
        /// `invalid_request`
        Invalid = 422,
    }

    /// A body that cannot be taken, of a call that sends something.
    SendProblems {
        /// `malformed_json`
        Malformed = 400,
        /// `body_too_large`
        TooLarge = 413,
        /// `unsupported_media_type`
        MediaType = 415,
        /// `invalid_request`, `unknown_channel`, `no_channel`, `idempotency_key_reused`
        Invalid = 422,
    }

    /// A body that cannot be taken, of a call that sends a message.
    MessageProblems {
        /// `malformed_json`
        Malformed = 400,
        /// `body_too_large`
        TooLarge = 413,
        /// `unsupported_media_type`
        MediaType = 415,
        /// `invalid_request`, `unknown_channel`, `no_channel`, `not_connected`, `idempotency_key_reused`
        Invalid = 422,
    }

    /// A body that cannot be taken, of a call that starts a verification.
    StartProblems {
        /// `malformed_json`
        Malformed = 400,
        /// `body_too_large`
        TooLarge = 413,
        /// `unsupported_media_type`
        MediaType = 415,
        /// `invalid_request`, `unknown_channel`, `no_channel`, `links_unavailable`, `no_number`,
        /// `idempotency_key_reused`
        Invalid = 422,
    }

    /// A verification that has no code.
    CheckConflict {
        /// `verification_has_link`, `verification_inbound`
        HasLink = 409,
    }

    /// A query that cannot be taken.
    QueryProblems {
        /// `invalid_request`
        Invalid = 422,
    }

    /// A wait that cannot be had, or that there is no place for.
    WaitProblems {
        /// `invalid_request`
        Invalid = 422,
        /// `too_many_waiting`, `rate_limited`: see `Retry-After`
        Limited = 429,
    }

    /// A caller that may not.
    AuthProblems {
        /// `api_key_missing`, `api_key_malformed`, `api_key_unknown`, `api_key_revoked`, `api_key_expired`,
        /// `token_refused`, `token_expired`, `session_ended`
        Unknown = 401,
        /// `ip_not_allowed`, `scope_missing`, `service_not_allowed`, `role_missing`, `members_only`,
        /// `tenant_suspended`, `tenant_deleted`
        Forbidden = 403,
    }

    /// A member who is not in the tenant that the call names, or names none of several.
    TenantProblems {
        /// `not_found`: the caller is not in the tenant that `WOTP-Tenant` names
        NoTenant = 404,
        /// `invalid_request`: the caller is in more than one tenant, and `WOTP-Tenant` names none; or `WOTP-Tenant`
        /// or `WOTP-Mode` is not the key's
        Unnamed = 422,
    }

    /// Somebody who is not signed in.
    PersonProblems {
        /// `token_missing`, `token_refused`, `token_expired`, `session_ended`; of a key `api_key_malformed`,
        /// `api_key_unknown`, `api_key_revoked`, `api_key_expired`
        Unknown = 401,
        /// `key_not_allowed`; of a key `ip_not_allowed`, `tenant_suspended`, `tenant_deleted`
        Forbidden = 403,
    }

    /// Somebody who is no member, or whose role is too low.
    MemberProblems {
        /// `token_missing`, `token_refused`, `token_expired`, `session_ended`; of a key `api_key_malformed`,
        /// `api_key_unknown`, `api_key_revoked`, `api_key_expired`
        Unknown = 401,
        /// `key_not_allowed`, `ip_not_allowed`, `role_missing`, `members_only`, `tenant_suspended`, `tenant_deleted`
        Forbidden = 403,
        /// `not_found`: the caller is not in the tenant that `WOTP-Tenant` names
        NoTenant = 404,
        /// `invalid_request`: the caller is in more than one tenant, and `WOTP-Tenant` names none
        Unnamed = 422,
    }

    /// Somebody who is no operator.
    OperatorProblems {
        /// `token_missing`, `token_refused`, `token_expired`, `session_ended`; of a key `api_key_malformed`,
        /// `api_key_unknown`, `api_key_revoked`, `api_key_expired`
        Unknown = 401,
        /// `key_not_allowed`, `operator_needed`; of a key `ip_not_allowed`, `tenant_suspended`, `tenant_deleted`
        Forbidden = 403,
    }

    /// A key that is over, or that somebody else changed at the same moment.
    KeyConflict {
        /// `api_key_over`, `conflict`
        Over = 409,
    }

    /// A code that is wrong.
    CodeProblems {
        /// `malformed_json`
        Malformed = 400,
        /// `body_too_large`
        TooLarge = 413,
        /// `unsupported_media_type`
        MediaType = 415,
        /// `invalid_request`, `code_wrong`
        Invalid = 422,
    }

    /// One client that asks too often.
    RateProblem {
        /// `rate_limited`: see `Retry-After`
        Limited = 429,
    }

    /// Codes to one address, or by one client, that are too many.
    CodeLimits {
        /// `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
        Limited = 429,
    }

    /// Codes that are too many, or somebody who has to wait until they may show that it is still they.
    EmailChangeProblems {
        /// `invalid_request`, `code_wrong`, `unknown_channel`, `no_channel`
        Invalid = 422,
        /// `login_delayed`, `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
        Limited = 429,
    }

    /// A password that is wrong.
    LoginProblems {
        /// `credentials_wrong`
        Wrong = 401,
        /// `login_delayed`, `rate_limited`: see `Retry-After`
        Delayed = 429,
    }

    /// A second factor that does not let anybody in.
    SignInProblems {
        /// `sign_in_over`
        Over = 401,
        /// `recovery_code_needed`
        RecoveryCode = 403,
        /// `login_delayed`, `rate_limited`: see `Retry-After`
        Delayed = 429,
    }

    /// Somebody who does not show that it is still they.
    ReproofProblems {
        /// `token_missing`, `token_refused`, `token_expired`, `session_ended`, `credentials_wrong`; of a key
        /// `api_key_malformed`, `api_key_unknown`, `api_key_revoked`, `api_key_expired`
        Unknown = 401,
        /// `key_not_allowed`, `recovery_code_needed`; of a key `ip_not_allowed`, `tenant_suspended`, `tenant_deleted`
        Forbidden = 403,
        /// `login_delayed`, `rate_limited`: see `Retry-After`
        Delayed = 429,
    }

    /// A second factor that is on already, or changed at the same moment.
    SecondFactorConflict {
        /// `second_factor_active`, `conflict`
        Active = 409,
    }

    /// Somebody whom an identity provider does not make known.
    ProviderProblems {
        /// `sign_in_over`, `provider_refused`
        Refused = 401,
        /// `email_not_verified`
        NotVerified = 403,
    }

    /// An identity provider that does not answer.
    ProviderAway {
        /// `provider_unavailable`
        Away = 502,
    }

    /// A session that is over, or is somebody else's.
    SessionProblems {
        /// `session_ended`
        Ended = 401,
        /// `csrf_refused`
        Csrf = 403,
    }

    /// A session that may go on, since its access token does not tell.
    LogoutProblems {
        /// `token_refused`, `token_expired`
        Unknown = 401,
        /// `csrf_refused`
        Csrf = 403,
    }

    /// A page that is not the session's.
    CsrfProblem {
        /// `csrf_refused`
        Csrf = 403,
    }

    /// As many as there may be.
    LimitConflict {
        /// `limit_reached`, `conflict`
        Reached = 409,
    }

    /// An entry that is there already, or that there is no room for.
    EntryConflict {
        /// `taken`, `limit_reached`, `conflict`
        Taken = 409,
    }

    /// A value that something else has.
    TakenConflict {
        /// `taken`
        Taken = 409,
    }

    /// Something that is not there.
    NotFoundProblem {
        /// `not_found`
        NotFound = 404,
    }

    /// Two changes at the same moment.
    ConflictProblem {
        /// `conflict`
        Conflict = 409,
    }

    /// A verification that is over.
    EndedConflict {
        /// `verification_ended`
        Ended = 409,
    }

    /// What the guard stopped, of which so many are stored today that this one is not.
    UnkeptConflict {
        /// `guard_blocked`: beyond those that are stored of a day
        NotKept = 409,
    }

    /// What waits for nothing.
    WorkConflict {
        /// `work_ended`
        Ended = 409,
    }

    /// A code that cannot be sent again.
    ResendConflict {
        /// `verification_ended`, `verification_inbound`, `no_sends_left`, `guard_blocked`
        Conflict = 409,
    }

    /// Too much, of verifications.
    StartLimits {
        /// `quota_exceeded`, `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
        Limited = 429,
    }

    /// Too much, of resends.
    ResendLimits {
        /// `rate_limited`, `address_limited`, `cool_down`: see `Retry-After`
        Limited = 429,
    }

    /// Codes to link a phone that are asked for too fast.
    LinkLimits {
        /// `rate_limited`, `cool_down`: see `Retry-After`
        Limited = 429,
    }

    /// Too much, of messages.
    MessageLimits {
        /// `quota_exceeded`, `rate_limited`: see `Retry-After`
        Limited = 429,
    }

    /// What any call may meet.
    AnyProblems {
        /// `rate_limited`: see `Retry-After`
        Limited = 429,
        /// `internal`
        Internal = 500,
        /// `unavailable`, `maintenance`
        Unavailable = 503,
    }

    /// What a call that changes something may meet besides.
    StoreProblems {
        /// `store_full`
        Full = 507,
    }
}
