//! Everything that a store holds, one thing at a time, in an order and a form that all stores share.
//!
//! A store that is moved into another is read as this and written from it; and both are compared by
//! it, whatever each makes of it on disk.

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wotp_core::domain::Timestamp;
use wotp_core::domain::api_key::{ApiKey, KeyHash};
use wotp_core::domain::connection_lease::ConnectionLease;
use wotp_core::domain::id::{ApiKeyId, ConnectionId, MessageId, ServiceId, TenantId, VerificationId};
use wotp_core::domain::lease::Lease;
use wotp_core::domain::message::Message;
use wotp_core::domain::news::News;
use wotp_core::domain::quota::{Resource, WindowKind};
use wotp_core::domain::service::Service;
use wotp_core::domain::tenant::Tenant;
use wotp_core::domain::verification::Verification;
use wotp_core::ports::{Idempotency, Item, StateRow, TenantAccount, Usage};

use crate::record::Record;

/// What kinds of things a store holds. Nodes are none: they are processes, and do not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Check values of master keys.
    KeyChecks,
    /// Tenants.
    Tenants,
    /// Their services.
    Services,
    /// Their API keys, revoked ones too.
    ApiKeys,
    /// What they used, by window.
    Usage,
    /// Leases that ended, for their fences.
    Leases,
    /// Verifications, and what their idempotency keys repeat.
    Verifications,
    /// Direct messages, and what their idempotency keys repeat.
    Messages,
    /// People, memberships, endpoints, events and all else that is kept as entities.
    Entities,
    /// What happened to verifications and was not told of yet.
    News,
    /// Leases of live connections, for their fences.
    ConnectionLeases,
    /// What live connections must remember.
    ConnectionStates,
}

impl Kind {
    /// Every kind, in the order in which they move: settings first, then what is many.
    pub const ALL: [Self; 12] = [
        Self::KeyChecks,
        Self::Tenants,
        Self::Services,
        Self::ApiKeys,
        Self::Usage,
        Self::Leases,
        Self::Verifications,
        Self::Messages,
        Self::Entities,
        Self::News,
        Self::ConnectionLeases,
        Self::ConnectionStates,
    ];

    /// Its name, as in `api_keys`.
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyChecks => "key_checks",
            Self::Tenants => "tenants",
            Self::Services => "services",
            Self::ApiKeys => "api_keys",
            Self::Usage => "usage",
            Self::Leases => "leases",
            Self::Verifications => "verifications",
            Self::Messages => "messages",
            Self::Entities => "entities",
            Self::News => "news",
            Self::ConnectionLeases => "connection_leases",
            Self::ConnectionStates => "connection_states",
        }
    }

    /// The id of one of these, in the words of the API.
    pub(crate) fn name_of(self, id: [u8; 16]) -> String {
        match self {
            Self::Tenants => TenantId::from_bytes(id).to_string(),
            Self::Services => ServiceId::from_bytes(id).to_string(),
            Self::ApiKeys => ApiKeyId::from_bytes(id).to_string(),
            Self::Verifications => VerificationId::from_bytes(id).to_string(),
            Self::Messages => MessageId::from_bytes(id).to_string(),
            Self::Entities => format!("the entity {}", hex(id)),
            Self::ConnectionLeases | Self::ConnectionStates => ConnectionId::from_bytes(id).to_string(),
            Self::KeyChecks | Self::Usage | Self::Leases | Self::News => format!("one of {}", self.name()),
        }
    }
}

/// A record with what a store keeps beside it.
#[derive(Serialize)]
pub(crate) struct Stored<R> {
    pub(crate) record: R,
    /// Its place among those of its address: another for each, in any order. Only of records whose
    /// address has limits.
    pub(crate) place: Option<i64>,
    pub(crate) repeat: Option<Repeat<R>>,
}

/// What a record's idempotency key repeats: the record as it was when it was admitted, without the
/// code or the content once it has none any more.
pub(crate) struct Repeat<R> {
    pub(crate) idempotency: Idempotency,
    pub(crate) first: R,
}

impl<R: Serialize> Serialize for Repeat<R> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Idempotency { key, fingerprint, expires_at } = &self.idempotency;
        (key, fingerprint, expires_at, &self.first).serialize(serializer)
    }
}

/// What was used in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WindowUsage {
    pub(crate) tenant: TenantId,
    pub(crate) resource: Resource,
    pub(crate) window: WindowKind,
    pub(crate) starts: Timestamp,
    pub(crate) usage: Usage,
}

/// An entity with what it is found by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct StoredEntity {
    pub(crate) kind: String,
    pub(crate) owner: [u8; 16],
    pub(crate) id: [u8; 16],
    pub(crate) version: u64,
    pub(crate) wake_at: Option<Timestamp>,
    /// Index and value, in their order.
    pub(crate) unique: Vec<(String, Vec<u8>)>,
    pub(crate) listed: Vec<(String, Vec<u8>)>,
    pub(crate) doc: serde_json::Map<String, serde_json::Value>,
}

impl StoredEntity {
    /// What one is known by: in an order that MongoDB shares, which looks at how long a name is first.
    pub(crate) fn key_of(kind: &str, owner: [u8; 16], id: [u8; 16]) -> Vec<u8> {
        let length = u8::try_from(kind.len()).unwrap_or(u8::MAX);
        [&[length], kind.as_bytes(), &[0], &owner, &id].concat()
    }

    /// Kind, owner and id that a key was made of.
    #[cfg(feature = "sqlite")]
    pub(crate) fn of_key(key: &[u8]) -> Option<(&str, [u8; 16], [u8; 16])> {
        let (kind, rest) = key.get(1..)?.split_at_checked(usize::from(*key.first()?))?;
        let (owner, id) = rest.get(1..)?.split_at_checked(16)?;
        Some((std::str::from_utf8(kind).ok()?, owner.try_into().ok()?, id.try_into().ok()?))
    }

    /// What one is called to people.
    pub(crate) fn name_of(kind: &str, id: [u8; 16]) -> String {
        format!("{kind} {}", hex(id))
    }
}

/// What news are known by: a verification or a message has news of each of its versions once.
pub(crate) fn news_key(item: [u8; 16], version: u64) -> Vec<u8> {
    [&item[..], &version.to_be_bytes()].concat()
}

fn hex(id: [u8; 16]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One thing that a store holds.
pub(crate) enum Holding {
    KeyCheck(u8, [u8; 32]),
    Tenant(Box<Tenant>),
    Service(Box<Service>),
    ApiKey(Box<ApiKey>, KeyHash),
    Usage(WindowUsage),
    Lease(Lease),
    Verification(Box<Stored<Verification>>),
    Message(Box<Stored<Message>>),
    Entity(Box<StoredEntity>),
    News(Box<News>),
    ConnectionLease(ConnectionLease),
    ConnectionState(TenantAccount, StateRow),
}

impl Holding {
    /// What it is known by among its kind. All stores list it in the order of these.
    pub(crate) fn key(&self) -> Vec<u8> {
        match self {
            Self::KeyCheck(key, _) => vec![*key],
            Self::Tenant(tenant) => tenant.id.to_bytes().to_vec(),
            Self::Service(service) => service.id.to_bytes().to_vec(),
            Self::ApiKey(_, hash) => hash.0.to_vec(),
            Self::Usage(WindowUsage { tenant, resource, window, starts, .. }) => {
                let names = [resource.name().as_bytes(), &[0], window.name().as_bytes(), &[0]].concat();
                // Shifted, so that the bytes of moments before 1970 come first too.
                let moment = starts.as_microsecond().wrapping_sub(i64::MIN).to_be_bytes();
                [&tenant.to_bytes()[..], &names, &moment].concat()
            }
            Self::Lease(lease) => lease.name.as_bytes().to_vec(),
            Self::Verification(stored) => stored.record.id.to_bytes().to_vec(),
            Self::Message(stored) => stored.record.id.to_bytes().to_vec(),
            Self::Entity(entity) => StoredEntity::key_of(&entity.kind, entity.owner, entity.id),
            Self::News(news) => news_key(news.item().to_bytes(), news.version()),
            Self::ConnectionLease(lease) => lease.of.to_bytes().to_vec(),
            Self::ConnectionState(of, row) => [&of.to_bytes()[..], &row.key.to_bytes()].concat(),
        }
    }

    /// What it is called to people.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::KeyCheck(key, _) => format!("master key number {key}"),
            Self::Tenant(tenant) => tenant.id.to_string(),
            Self::Service(service) => service.id.to_string(),
            Self::ApiKey(key, _) => key.id.to_string(),
            Self::Usage(WindowUsage { tenant, resource, window, starts, .. }) => {
                format!("{} of {tenant} in the {} from {starts}", resource.name(), window.name())
            }
            Self::Lease(lease) => lease.name.clone(),
            Self::Verification(stored) => stored.record.id.to_string(),
            Self::Message(stored) => stored.record.id.to_string(),
            Self::Entity(entity) => StoredEntity::name_of(&entity.kind, entity.id),
            Self::News(news) => match news.item() {
                Item::Verification(id) => format!("news of {id}, version {}", news.version()),
                Item::Message(id) => format!("news of {id}, version {}", news.version()),
            },
            Self::ConnectionLease(lease) => format!("the lease of {}", lease.of.connection),
            Self::ConnectionState(of, _) => format!("a value of {}", of.connection),
        }
    }

    /// Whether it has an idempotency key.
    pub(crate) fn is_repeated(&self) -> bool {
        match self {
            Self::Verification(stored) => stored.repeat.is_some(),
            Self::Message(stored) => stored.repeat.is_some(),
            _ => false,
        }
    }

    /// SHA-256 of all of it, by which two of them are the same.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let form = match self {
            Self::KeyCheck(key, check) => serde_json::to_vec(&(key, check)),
            Self::Tenant(tenant) => serde_json::to_vec(tenant),
            Self::Service(service) => serde_json::to_vec(service),
            Self::ApiKey(key, hash) => serde_json::to_vec(&(key, hash.0)),
            Self::Usage(WindowUsage { tenant, resource, window, starts, usage }) => {
                serde_json::to_vec(&(tenant, resource, window, starts, usage.used, usage.overage))
            }
            Self::Lease(Lease { name, holder, fence, until }) => serde_json::to_vec(&(name, holder, fence, until)),
            Self::Verification(stored) => serde_json::to_vec(stored),
            Self::Message(stored) => serde_json::to_vec(stored),
            Self::Entity(entity) => serde_json::to_vec(entity),
            Self::News(news) => serde_json::to_vec(news),
            Self::ConnectionLease(ConnectionLease { of, holder, fence, until }) => {
                serde_json::to_vec(&(of.tenant, of.connection, holder, fence, until))
            }
            // Its bytes as JSON would be four times as many.
            Self::ConnectionState(of, StateRow { key, value }) => {
                serde_json::to_vec(&(of.tenant, of.connection, &key.to_bytes()[..], &Sha256::digest(value)[..]))
            }
        };
        Sha256::digest(form.expect("what was read from JSON or BSON can be written as JSON")).into()
    }
}

/// A record that is a holding.
pub(crate) trait Held: Record {
    const KIND: Kind;

    fn holding(stored: Stored<Self>) -> Holding;
}

impl Held for Verification {
    const KIND: Kind = Kind::Verifications;

    fn holding(stored: Stored<Self>) -> Holding {
        Holding::Verification(Box::new(stored))
    }
}

impl Held for Message {
    const KIND: Kind = Kind::Messages;

    fn holding(stored: Stored<Self>) -> Holding {
        Holding::Message(Box::new(stored))
    }
}

#[cfg(test)]
mod tests {
    use wotp_core::testing::builders::{a_tenant, noon, seconds};

    use super::*;

    fn used(tenant: TenantId, resource: Resource, window: WindowKind, starts: Timestamp) -> Holding {
        Holding::Usage(WindowUsage { tenant, resource, window, starts, usage: Usage::default() })
    }

    #[test]
    fn counts_are_ordered_by_tenant_then_by_the_names_that_mongodb_orders_by() {
        let tenant = a_tenant().id;
        let in_order = [
            used(tenant, Resource::Messages, WindowKind::Day, Timestamp::from_second(-5).unwrap()),
            used(tenant, Resource::Messages, WindowKind::Day, noon()),
            used(tenant, Resource::Messages, WindowKind::Day, seconds(1)),
            used(tenant, Resource::Messages, WindowKind::Month, noon()),
            used(tenant, Resource::TestMessages, WindowKind::Day, noon()),
            used(tenant, Resource::TestVerifications, WindowKind::Day, noon()),
            used(tenant, Resource::Verifications, WindowKind::Day, noon()),
        ];
        assert!(in_order.map(|holding| holding.key()).is_sorted_by(|one, next| one < next));
    }
}
