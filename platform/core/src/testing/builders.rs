//! Tenants, services, keys, verifications: whole ones, in which a test sets only what it is about.

use std::sync::{Arc, OnceLock};

use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::SeededEntropy;
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::address_limits::AddressLimits;
use crate::domain::api_key::{ApiKey, KeyHash, Scope, Secret};
use crate::domain::code::{Code, CodeKind};
use crate::domain::dispatch::Dispatch;
use crate::domain::id::{ApiKeyId, DeliveryId, MessageId, NodeId, ServiceId, TenantId, UserId, VerificationId};
use crate::domain::inbound::InboundTerms;
use crate::domain::invitation::Invitation;
use crate::domain::locale::Locale;
use crate::domain::message::Message;
use crate::domain::mode::Mode;
use crate::domain::node::{Node, Role};
use crate::domain::permission;
use crate::domain::plan::Limits;
use crate::domain::quota::{Allowance, Charge, Counted, Period, Quota, Resource, Window};
use crate::domain::service::{Retention, Service, Settings};
use crate::domain::template::TemplateSet;
use crate::domain::tenant::{Standing, Tenant};
use crate::domain::user::AccountEmail;
use crate::domain::vault::{MasterKey, Purpose, Vault};
use crate::domain::verification::{Policy, Status, StoredAddress, StoredCode, Verification};
use crate::ports::{Idempotency, NewMessage, NewVerification};

/// The moment at which tests begin, unless they say otherwise: noon, in the middle of a month.
pub fn noon() -> Timestamp {
    Timestamp::from_second(1_773_576_000).expect("2026-03-15T12:00:00Z is within the calendar")
}

/// `noon()` and so many seconds.
pub fn seconds(after_noon: i64) -> Timestamp {
    noon().saturating_add(SignedDuration::from_secs(after_noon)).expect("a test stays within the calendar")
}

/// Randomness that all builders share, so that no two things have the same id.
pub fn entropy() -> &'static SeededEntropy {
    static ENTROPY: OnceLock<SeededEntropy> = OnceLock::new();
    ENTROPY.get_or_init(|| SeededEntropy::new(1))
}

/// The keys that all builders seal with.
pub fn vault() -> &'static Vault {
    static VAULT: OnceLock<Vault> = OnceLock::new();
    VAULT.get_or_init(|| Vault::new(&[MasterKey { id: 1, bytes: Zeroizing::new([7; 32]) }]).expect("one key is enough"))
}

/// A new tenant of the plan `free`.
pub fn a_tenant() -> Tenant {
    Tenant {
        id: TenantId::new(noon(), entropy()),
        name: "Acme".to_owned(),
        plan: "free".to_owned(),
        period_anchor: noon(),
        default_service: ServiceId::new(noon(), entropy()),
        created_at: noon(),
        version: 1,
        standing: Standing::Active,
        limits: Limits::default(),
    }
}

/// A new node that does everything.
pub fn a_node(started_at: Timestamp) -> Node {
    Node {
        id: NodeId::new(started_at, entropy()),
        role: Role::All,
        host: "node-1".to_owned(),
        version: "1.2.3".to_owned(),
        started_at,
        seen_at: started_at,
        draining: false,
    }
}

/// The default service of a tenant, with standard settings.
pub fn a_service(tenant: &Tenant) -> Service {
    Service {
        id: tenant.default_service,
        tenant: tenant.id,
        version: 0,
        name: "Acme Login".to_owned(),
        settings: Settings { brand: "Acme".to_owned(), ..Settings::default() },
        templates: TemplateSet::default(),
        created_at: noon(),
        updated_at: noon(),
    }
}

/// A new key, and the key itself.
pub fn a_key(tenant: TenantId, mode: Mode) -> (ApiKey, Secret) {
    let secret = Secret::draw(mode, entropy());
    let key = ApiKey {
        id: ApiKeyId::new(noon(), entropy()),
        tenant,
        name: "test".to_owned(),
        mode,
        shown: secret.shown().to_owned(),
        scopes: Scope::standard(),
        service: None,
        expires_at: None,
        allowed_ips: Vec::new(),
        created_at: noon(),
        revoked_at: None,
        replaces: None,
        replaced_by: None,
        version: 0,
    };
    (key, secret)
}

/// A key as it is stored.
pub fn a_stored_key(tenant: TenantId, mode: Mode) -> (ApiKey, KeyHash) {
    let (key, secret) = a_key(tenant, mode);
    (key, secret.hash())
}

/// A new invitation of somebody whom no other invites.
///
/// # Panics
/// Never: the address is one.
pub fn an_invitation(tenant: TenantId, role: permission::Role) -> Invitation {
    let somebody = UserId::new(noon(), entropy());
    let email = AccountEmail::parse(&format!("{somebody}@example.com")).expect("it is an address");
    Invitation::new(tenant, &email, role, somebody, noon(), vault(), entropy()).0
}

/// An address as a tenant's store keeps it.
///
/// # Panics
/// When the text is no address.
pub fn a_stored_address(tenant: TenantId, owner: &[u8; 16], to: &str) -> StoredAddress {
    let address = Address::parse(to).expect("a test names an address");
    StoredAddress {
        sealed: vault().seal(Purpose::Address, owner, address.as_str(), entropy()),
        index: vault().index(tenant, &address),
        masked: address.masked(),
        kind: address.kind(),
        region: None,
    }
}

/// The policy of a service with standard settings.
pub fn a_policy() -> Policy {
    Policy {
        brand: "Acme".to_owned(),
        locale: Locale::ENGLISH,
        code_kind: CodeKind::Numeric,
        code_length: 6,
        expires_in_seconds: 300,
        checks_allowed: 5,
        address_limits: AddressLimits::default(),
        ack_timeout_seconds: 8,
        retention: Retention::default(),
        web_origin: None,
        sms_retriever_hash: None,
        templates: Vec::new(),
    }
}

fn counted(resource: Resource, at: Timestamp) -> Counted {
    Counted {
        resource,
        charge: Charge::Included,
        day: Window::day(at).starts,
        month: Window::month(at, Period::Calendar, at).starts,
        refunded: false,
    }
}

/// A live verification of `to`, started at `at`: pending, its code `123456`, held by the worker with
/// token 1 for 30 seconds.
///
/// # Panics
/// When the text is no address.
pub fn a_verification(tenant: TenantId, to: &str, at: Timestamp) -> Verification {
    let id = VerificationId::new(at, entropy());
    let owner = id.to_bytes();
    let code = Code::typed("123456");
    let until = at.saturating_add(SignedDuration::from_secs(30)).expect("a test stays within the calendar");
    let expires_at = at.saturating_add(SignedDuration::from_mins(5)).expect("a test stays within the calendar");
    Verification {
        id,
        tenant,
        service: ServiceId::from_bytes(tenant.to_bytes()),
        key: Some(ApiKeyId::from_bytes(tenant.to_bytes())),
        version: 0,
        mode: Mode::Live,
        address: Some(a_stored_address(tenant, &owner, to)),
        policy: Arc::new(a_policy()),
        status: Status::Pending,
        reason: None,
        code: Some(StoredCode {
            hash: vault().hash_code(&owner, &code),
            sealed: vault().seal(Purpose::Code, &owner, code.as_str(), entropy()),
        }),
        spent_token: None,
        checks_used: 0,
        sends: vec![at],
        dispatch: Dispatch::born_leased(
            vec!["console".to_owned(), "email".to_owned()],
            DeliveryId::new(at, entropy()),
            at,
            until,
            1,
        ),
        counted: counted(Resource::Verifications, at),
        created_at: at,
        expires_at,
        ended_at: None,
        metadata: std::collections::BTreeMap::new(),
        link: None,
        inbound: None,
        other_numbers: 0,
        guard: Vec::new(),
        country: None,
        charges: Vec::new(),
        asking: Vec::new(),
        revoking: Vec::new(),
        rewritten: false,
        news: Vec::new(),
        charged: Vec::new(),
    }
}

/// A live verification that waits for a message until five minutes after `at`: of anybody, where no number is named.
///
/// # Panics
/// When the text is no address.
pub fn an_inbound_verification(tenant: TenantId, to: Option<&str>, at: Timestamp) -> Verification {
    let verification = a_verification(tenant, to.unwrap_or("+12025550123"), at);
    let number = vault().seal(Purpose::OwnNumber, &verification.id.to_bytes(), "+12025550100", entropy());
    Verification {
        address: verification.address.filter(|_| to.is_some()),
        inbound: Some(InboundTerms { number, replies: true, speaks_as_sender: false }),
        sends: Vec::new(),
        dispatch: Dispatch::none(),
        ..verification
    }
}

/// A live message to `to`, accepted at `at`, held by the worker with token 1 for 30 seconds.
///
/// # Panics
/// When the text is no address.
pub fn a_message(tenant: TenantId, to: &str, at: Timestamp) -> Message {
    let id = MessageId::new(at, entropy());
    let owner = id.to_bytes();
    let until = at.saturating_add(SignedDuration::from_secs(30)).expect("a test stays within the calendar");
    Message {
        id,
        tenant,
        service: ServiceId::from_bytes(tenant.to_bytes()),
        key: Some(ApiKeyId::from_bytes(tenant.to_bytes())),
        version: 0,
        mode: Mode::Live,
        address: Some(a_stored_address(tenant, &owner, to)),
        content: Some(vault().seal(Purpose::Content, &owner, "Your parcel is at the door.", entropy())),
        brand: "Acme".to_owned(),
        locale: Locale::ENGLISH,
        connection: None,
        ack_timeout_seconds: 8,
        retention: Retention::default(),
        dispatch: Dispatch::born_leased(vec!["console".to_owned()], DeliveryId::new(at, entropy()), at, until, 1),
        counted: counted(Resource::Messages, at),
        guard: Vec::new(),
        created_at: at,
        asking: Vec::new(),
        news: Vec::new(),
    }
}

/// A quota of so many a day and a month, of which the month's may be overdrawn up to `cap`.
pub fn a_quota(resource: Resource, at: Timestamp, day: Option<u64>, month: Option<u64>, cap: Option<u64>) -> Quota {
    Quota {
        resource,
        allowances: [
            Allowance { window: Window::day(at), included: day, cap: day },
            Allowance { window: Window::month(at, Period::Calendar, at), included: month, cap },
        ],
    }
}

/// A quota that nothing exceeds.
pub fn no_quota(resource: Resource, at: Timestamp) -> Quota {
    a_quota(resource, at, None, None, None)
}

/// An admission without quota, limits or idempotency key.
pub fn admission(verification: Verification) -> NewVerification {
    let quota = no_quota(verification.counted.resource, verification.created_at);
    NewVerification { verification, quota, address_limits: None, idempotency: None, unkept: None }
}

/// An admission of a message without quota or idempotency key.
pub fn message_admission(message: Message) -> NewMessage {
    let quota = no_quota(message.counted.resource, message.created_at);
    NewMessage { message, quota, idempotency: None, unkept: None }
}

/// An idempotency key and a fingerprint, each of one repeated byte, good for a day.
pub fn an_idempotency(key: u8, fingerprint: u8, at: Timestamp) -> Idempotency {
    let expires_at = at.saturating_add(SignedDuration::from_hours(24)).expect("a test stays within the calendar");
    Idempotency { key: [key; 32], fingerprint: [fingerprint; 32], expires_at }
}
