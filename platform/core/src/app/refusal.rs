use super::people::TokenRefusal;
use crate::domain::Timestamp;
use crate::domain::address_limits::AddressLimited;
use crate::domain::api_key::{KeyRefusal, Scope, SecretError};
use crate::domain::guard::GuardNote;
use crate::domain::id::TenantId;
use crate::domain::permission::Role;
use crate::domain::quota::QuotaExceeded;
use crate::domain::rate::{Rate, RateDecision};
use crate::domain::routing::RoutingError;
use crate::domain::vault::VaultError;
use crate::ports::{CommitError, IdentityError, PasswordsError, StoreError};

/// One field of a request that does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Its name, as in `to` or `code.length`.
    pub field: String,
    /// What would be right.
    pub message: String,
}

/// What was guessed at too often, which says what helps besides waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guessed {
    /// The password of an account, by whoever is not signed in to it.
    Password,
    /// The second factor of a sign-in, or the codes of an app.
    Code,
    /// Either, in a session.
    InSession,
}

/// Why a use case did not do what was asked. Every variant says what the caller can do about it,
/// but the last ones, which are ours to mend.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The request does not hold.
    #[error("something in the request is not right")]
    Invalid(Vec<FieldError>),
    /// There is no key, or it cannot be one.
    #[error("there is no API key, or it cannot be one")]
    NoKey(Option<SecretError>),
    /// Nobody has this key.
    #[error("nobody has this API key")]
    UnknownKey,
    /// The key does not work any more, or not from here.
    #[error("the API key does not work")]
    KeyRefused(KeyRefusal),
    /// The key may not do this.
    #[error("the API key lacks a scope")]
    Scope(Scope),
    /// No key may do this: it takes a member's session.
    #[error("no API key may do this")]
    KeyNotAllowed,
    /// The member may not do this: it takes at least this role.
    #[error("it takes another role")]
    Role(Role),
    /// An operator who acts for the tenant may not do this.
    #[error("it is left to the tenant's members")]
    ForMembers,
    /// The tenant is suspended, for this reason.
    #[error("the tenant is suspended")]
    Suspended(String),
    /// The tenant was deleted.
    #[error("the tenant was deleted")]
    TenantDeleted {
        /// When nothing of it will be left.
        erased_at: Timestamp,
    },
    /// The platform is being worked on.
    #[error("the platform is being worked on")]
    Maintenance {
        /// What callers are told.
        message: String,
        /// When it is expected to be over.
        until: Timestamp,
    },
    /// Nobody is signed in.
    #[error("there is no access token")]
    NoToken,
    /// The access token lets nobody in.
    #[error(transparent)]
    Token(TokenRefusal),
    /// The email address and the password do not belong together.
    #[error("the email address and the password do not belong together")]
    Credentials,
    /// Too many wrong passwords or codes: the next one is taken later.
    #[error("too many wrong passwords or codes")]
    Braked {
        /// From when on it is.
        opens_at: Timestamp,
        /// What was guessed at.
        guessed: Guessed,
    },
    /// The code is wrong, was used, or has expired.
    #[error("the code is wrong, was used, or has expired")]
    Code,
    /// A sign-in cannot go on: it took too long, too many codes were wrong, or it is not from this browser.
    #[error("the sign-in is over")]
    SignInOver,
    /// A second factor is on already.
    #[error("a second factor is on already")]
    SecondFactorActive,
    /// The account has a second factor, which this way to sign in does not ask for.
    #[error("it takes a way to sign in that asks for the second factor")]
    SecondFactorNeeded,
    /// Too many codes of the app were wrong: only a recovery code is taken.
    #[error("it takes a recovery code")]
    RecoveryCodeNeeded,
    /// The identity provider does not vouch for the email address.
    #[error("the identity provider does not vouch for the email address")]
    EmailNotVerified,
    /// The identity provider does not say who it is.
    #[error(transparent)]
    Provider(#[from] IdentityError),
    /// The page that uses a session's cookie is not the one that it was given to.
    #[error("the request comes from another page than the session's")]
    Csrf,
    /// It takes an operator of the platform.
    #[error("it takes an operator")]
    OperatorOnly,
    /// Too many passwords wait to be hashed.
    #[error("too many passwords wait to be hashed")]
    Busy,
    /// Too many accounts at providers are looked at.
    #[error("too many accounts at providers are looked at")]
    AccountsBusy,
    /// A password cannot be hashed.
    #[error(transparent)]
    Passwords(PasswordsError),
    /// Something else has this value already.
    #[error("another {kind} has the same {index}")]
    Taken {
        /// The kind of thing.
        kind: &'static str,
        /// Which value.
        index: &'static str,
    },
    /// The key was revoked, has expired or was replaced: it is not changed or replaced any more.
    #[error("the API key was revoked, has expired or was replaced")]
    KeyOver,
    /// The tenant would be without an owner.
    #[error("the tenant would be without an owner")]
    LastOwner,
    /// These tenants would be without an owner.
    #[error("tenants would be without an owner")]
    OnlyOwnerOf(Vec<TenantId>),
    /// The person is a member of the tenant already.
    #[error("the person is a member already")]
    AlreadyMember,
    /// The invitation went to another address than the person's, or theirs is not confirmed.
    #[error("the invitation went to another address")]
    OtherEmail,
    /// There are as many of these as there may be.
    #[error("there are {1} {0}, and no more are allowed")]
    LimitReached(&'static str, usize),
    /// The invitation was sent moments ago.
    #[error("the invitation was sent moments ago")]
    InvitationCoolDown {
        /// From when on another send would be allowed.
        next_at: Timestamp,
    },
    /// The tenant's invitations of the day are used.
    #[error("the invitations of the day are used")]
    InvitationsUsed {
        /// So many.
        max: u32,
        /// When the next day begins.
        next_at: Timestamp,
    },
    /// The address was invited often enough today, by whomever.
    #[error("the address was invited often enough today")]
    InvitedOften {
        /// When the next day begins.
        next_at: Timestamp,
    },
    /// The key is bound to another service.
    #[error("the API key is bound to another service")]
    OtherService,
    /// There is no such thing, or it is somebody else's.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// No channel can be used.
    #[error(transparent)]
    Routing(RoutingError),
    /// A link cannot lead here: nobody said where people reach the installation.
    #[error("nobody said where people reach the installation")]
    NoPublicUrl,
    /// It is approved by its link: there is no code to check.
    #[error("it is approved by its link")]
    HasLink,
    /// A message of the person's approves the verification: there is no code, and nothing that could be sent again.
    #[error("a message of the person's approves the verification")]
    IsInbound,
    /// None of the tenant's numbers is connected, so that nobody could write to it.
    #[error("no number of the tenant's is connected")]
    NoNumber,
    /// The connection that was named is not to be logged in, so that nothing goes out through it.
    #[error("the connection is disconnected")]
    NotConnected,
    /// None of the tenant's numbers can send until somebody does something about it, and no other channel is there.
    #[error("no number of the tenant's can send")]
    NoSender,
    /// The plan's quota is used up.
    #[error("the quota is used up")]
    Quota(QuotaExceeded),
    /// Too many calls a second.
    #[error("too many calls a second")]
    Rate {
        /// Whose bucket: `tenant` or `key`.
        policy: &'static str,
        /// How many it takes.
        rate: Rate,
        /// What it says.
        decision: RateDecision,
    },
    /// The address was written to too often.
    #[error("the address was written to too often")]
    Address(AddressLimited),
    /// The last send was moments ago.
    #[error("the last send was moments ago")]
    CoolDown {
        /// From when on it would be allowed.
        next_at: Timestamp,
    },
    /// A code to link a phone was asked for moments ago.
    #[error("a code to link a phone was asked for moments ago")]
    LinkCode {
        /// From when on another may be.
        next_at: Timestamp,
    },
    /// Every allowed send is used.
    #[error("every allowed send is used")]
    NoSendsLeft,
    /// The guard of the service stopped it.
    #[error("the guard stopped it")]
    Blocked(GuardNote),
    /// The guard stopped it, as so many others today that it is not kept.
    #[error("the guard stopped it, and so many others today that it is not kept")]
    NotKept(GuardNote),
    /// It has ended already.
    #[error("it has ended already")]
    Ended,
    /// Nothing is left to do of it.
    #[error("nothing is left to do of it")]
    WorkEnded,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// Somebody else changed it at the same moment.
    #[error("somebody else changed it at the same moment")]
    Conflict,
    /// Plugins cannot be run now.
    #[error("plugins cannot be run now")]
    NoPlugins(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A sealed value does not open.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The tenant's plan is not in the catalogue.
    #[error("the plan `{0}` is not in the catalogue")]
    UnknownPlan(String),
}

impl Refusal {
    /// A refusal about one field.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid(vec![FieldError { field: field.into(), message: message.into() }])
    }
}

impl From<CommitError> for Refusal {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Changed => Self::Conflict,
            CommitError::Taken { kind, index } => Self::Taken { kind, index },
            CommitError::Store(error) => Self::Store(error),
        }
    }
}

impl From<PasswordsError> for Refusal {
    fn from(error: PasswordsError) -> Self {
        match error {
            PasswordsError::Busy => Self::Busy,
            failed @ PasswordsError::Failed(_) => Self::Passwords(failed),
        }
    }
}
