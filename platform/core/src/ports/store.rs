use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::connection_states::ConnectionStates;
use super::entities::{Change, CommitError, Entities};
use super::outbox::Outbox;
use super::queue::Item;
use crate::domain::Timestamp;
use crate::domain::address_limits::{AddressLimited, AddressLimits};
use crate::domain::api_key::{ApiKey, KeyHash};
use crate::domain::erasure::ErasureStep;
use crate::domain::guard::GuardNote;
use crate::domain::id::{ApiKeyId, MessageId, NodeId, ServiceId, TenantId, VerificationId};
use crate::domain::lease::Lease;
use crate::domain::message::Message;
use crate::domain::mode::Mode;
use crate::domain::node::Node;
use crate::domain::quota::{Quota, QuotaExceeded, Resource, Window};
use crate::domain::service::Service;
use crate::domain::tenant::Tenant;
use crate::domain::vault::AddressIndex;
use crate::domain::verification::{Status, Verification};

/// The store could not do it. Nothing of the call was kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// There is no room left.
    #[error("the store's disk is full")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It may be read only.
    #[error("the store cannot be written to")]
    ReadOnly(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What is stored cannot be read.
    #[error("the store is damaged")]
    Damaged(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It does not answer.
    #[error("the store does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A compare-and-swap that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    /// Somebody changed it since it was read, or it is gone: read it again.
    #[error("it changed since it was read")]
    Conflict,
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A resend that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum ResendError {
    /// Somebody changed it since it was read: read it again.
    #[error("it changed since it was read")]
    Conflict,
    /// The address was written to too often.
    #[error("the address was written to too often")]
    Address(AddressLimited),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A caller's key for "this is the same request as before".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// SHA-256 of what the key is unique in (operation, mode) and the key.
    pub key: [u8; 32],
    /// SHA-256 of the request, so that another request under the same key is noticed.
    pub fingerprint: [u8; 32],
    /// When the key is forgotten.
    pub expires_at: Timestamp,
}

/// A verification to be admitted.
#[derive(Debug, Clone)]
pub struct NewVerification {
    /// It, with `counted` as if included; the store sets the charge.
    pub verification: Verification,
    /// What it is counted against.
    pub quota: Quota,
    /// How often the address may be written to; none for sandbox numbers.
    pub address_limits: Option<AddressLimits>,
    /// The caller's key, if there is one.
    pub idempotency: Option<Idempotency>,
    /// Why nothing is to be kept of it, where that is so. It is decided on all the same: a key that was used before
    /// returns what it made, and an address that was written to too often is refused as such.
    pub unkept: Option<GuardNote>,
}

/// A message to be admitted.
#[derive(Debug, Clone)]
pub struct NewMessage {
    /// It, with `counted` as if included; the store sets the charge.
    pub message: Message,
    /// What it is counted against.
    pub quota: Quota,
    /// The caller's key, if there is one.
    pub idempotency: Option<Idempotency>,
    /// Why nothing is to be kept of it, where that is so. It is decided on all the same.
    pub unkept: Option<GuardNote>,
}

/// What came of an admission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission<T> {
    /// It is stored and counted.
    Admitted(T),
    /// The idempotency key was used before: what it made then, as it was then, without the code or the
    /// content once the record has none any more.
    Repeated(T),
}

/// Why something is not admitted. Nothing was counted.
#[derive(Debug, thiserror::Error)]
pub enum AdmitError {
    /// The plan's quota is used up.
    #[error("the quota is used up")]
    Quota(QuotaExceeded),
    /// The address was written to too often.
    #[error("the address was written to too often")]
    Address(AddressLimited),
    /// The idempotency key was used before, for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// It would be admitted, and nothing was to be kept of it.
    #[error("nothing is kept of it")]
    NotKept(GuardNote),
    /// The store could not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Which verifications or messages a listing shows. All conditions hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Live or test; none means both.
    pub mode: Option<Mode>,
    /// Of this service.
    pub service: Option<ServiceId>,
    /// With this status; messages have none.
    pub status: Option<Status>,
    /// With a delivery through this channel.
    pub channel: Option<String>,
    /// To this address.
    pub address: Option<AddressIndex>,
    /// Started at or after.
    pub created_from: Option<Timestamp>,
    /// Started before.
    pub created_before: Option<Timestamp>,
    /// With all of these metadata.
    pub metadata: BTreeMap<String, String>,
}

/// One page of a listing, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Whether there are more after it.
    pub more: bool,
}

/// A key and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyHolder {
    /// The key.
    pub key: ApiKey,
    /// Whose it is.
    pub tenant: Tenant,
}

/// Something whose time has come.
pub type DueItem = (TenantId, Item);

/// What was used in one window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Uses counted, refunds taken off, overage included.
    pub used: u64,
    /// Of these, beyond what the plan includes.
    pub overage: u64,
}

/// Which tenants an operator looks for. All conditions hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantSearch {
    /// With this in the name, in any case.
    pub name: Option<String>,
    /// On this plan.
    pub plan: Option<String>,
    /// In this state, as in `suspended`.
    pub state: Option<&'static str>,
    /// After this one.
    pub after: Option<TenantId>,
    /// At most so many.
    pub limit: usize,
}
/// What is written down of a step of an erasure, together with it.
pub type ErasureNote = Arc<dyn Fn(&ErasureStep) -> Change + Send + Sync>;

/// Everything that must outlive the process.
///
/// Two atomic promises carry the product: [`TenantStore::admit`] counts and inserts together, and
/// [`TenantStore::replace`] is a compare-and-swap. A call that returned is durable.
#[async_trait]
pub trait Store: Entities + Outbox + ConnectionStates + Send + Sync {
    /// The only door to a tenant's data.
    fn tenant(&self, id: TenantId) -> Box<dyn TenantStore + '_>;

    /// Creates a tenant with its first service and keys, all or nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn create_tenant(
        &self,
        tenant: &Tenant,
        service: &Service,
        keys: &[(ApiKey, KeyHash)],
    ) -> Result<(), StoreError>;

    /// Erases at most `limit` of what a tenant has, and makes the change that `note` says for it, together. News
    /// that nobody took yet go with it, so that none are left to be taken when the tenant is gone.
    ///
    /// The tenant itself goes last, with the step that finds nothing else; without it, too, such a step says
    /// that nothing is left.
    ///
    /// # Errors
    /// [`CommitError`], when the change is not made: then nothing was erased.
    async fn erase_tenant_step(
        &self,
        tenant: TenantId,
        limit: usize,
        note: ErasureNote,
    ) -> Result<ErasureStep, CommitError>;

    /// All tenants, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn tenants(&self) -> Result<Vec<Tenant>, StoreError>;

    /// Tenants that `search` finds, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn search_tenants(&self, search: &TenantSearch) -> Result<Vec<Tenant>, StoreError>;

    /// The key with this hash, and whose it is.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_key(&self, hash: &KeyHash) -> Result<Option<KeyHolder>, StoreError>;

    /// Keys that were over before a moment, of all tenants, the longest over first, at most `limit`. One that cannot
    /// be read is not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn keys_over(&self, before: Timestamp, limit: usize) -> Result<Vec<ApiKey>, StoreError>;

    /// What is due at `now` (its `wake_at` has come), the longest due first, at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn due(&self, now: Timestamp, limit: usize) -> Result<Vec<DueItem>, StoreError>;

    /// Frees what workers of a process that is gone still hold; says how many. A store that only
    /// one process can open calls it at start; where nodes share a store it does nothing.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn recover(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// Forgets idempotency keys that expired, and counts of windows that ended long ago; says how
    /// many.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget(&self, now: Timestamp) -> Result<usize, StoreError>;

    /// Notes that a node is there and how it is; the next note of the same node replaces it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn note_node(&self, node: &Node) -> Result<(), StoreError>;

    /// The nodes that were noted and not forgotten, oldest first; those that are gone too.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn nodes(&self) -> Result<Vec<Node>, StoreError>;

    /// Forgets a node; one that is not there is no error.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn forget_node(&self, id: NodeId) -> Result<(), StoreError>;

    /// Takes the lease `name` for `holder` until `until`, or prolongs it; none when another holds it
    /// at `now`. Of racing nodes one gets it. A new holder's fence is higher than all before it, for
    /// as long as the store lives; prolonging keeps it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn take_lease(
        &self,
        name: &str,
        holder: NodeId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, StoreError>;

    /// Who took the lease `name` last, even if it has ended since.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_lease(&self, name: &str) -> Result<Option<Lease>, StoreError>;

    /// Gives a lease back at `now`, so that another node need not wait for its end; one that somebody
    /// else has taken since stays theirs.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn release_lease(&self, lease: &Lease, now: Timestamp) -> Result<(), StoreError>;

    /// The check values of the master keys that were used, by the key's id: what tells whether a node
    /// has the same keys.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn key_checks(&self) -> Result<BTreeMap<u8, [u8; 32]>, StoreError>;

    /// Keeps the check value of a master key, unless one is kept already; returns what is kept.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn keep_key_check(&self, key: u8, check: [u8; 32]) -> Result<[u8; 32], StoreError>;

    /// The store's own time, for nodes that share it and may each have their clock off; none where
    /// the store has no clock of its own.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn time(&self) -> Result<Option<Timestamp>, StoreError>;

    /// Whether it answers, by asking it.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn ping(&self) -> Result<(), StoreError>;
}

/// One tenant's data. What belongs to another tenant does not exist here.
#[async_trait]
pub trait TenantStore: Send + Sync {
    /// The tenant itself.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_tenant(&self) -> Result<Option<Tenant>, StoreError>;

    /// All services, oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn services(&self) -> Result<Vec<Service>, StoreError>;

    /// One service.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_service(&self, id: ServiceId) -> Result<Option<Service>, StoreError>;

    /// Adds a service.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn insert_service(&self, service: &Service) -> Result<(), StoreError>;

    /// Stores a changed service and counts its version up, if nobody changed it since.
    ///
    /// # Errors
    /// [`ReplaceError`].
    async fn replace_service(&self, service: &mut Service) -> Result<(), ReplaceError>;

    /// A page of keys, those that are over too, newest first, after the one that `after` names. One that cannot be
    /// read is not on it, and keeps no others from being there.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn keys(&self, after: Option<ApiKeyId>, limit: usize) -> Result<Page<ApiKey>, StoreError>;

    /// The keys that are not over at `now`, newest first, without reading the others. One that cannot be read works
    /// for nobody, and is not among them.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn working_keys(&self, now: Timestamp) -> Result<Vec<ApiKey>, StoreError>;

    /// One key, whether or not it works.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_key(&self, id: ApiKeyId) -> Result<Option<ApiKey>, StoreError>;

    /// Adds a key.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn insert_key(&self, key: &ApiKey, hash: &KeyHash) -> Result<(), StoreError>;

    /// Admits one verification: counts it and stores it, together.
    ///
    /// In this order: a repeated idempotency key returns what it made; then the address's limits
    /// (over all of the tenant's verifications of that address and mode); then the quota. Of
    /// `limit + 1` concurrent calls exactly one is refused.
    ///
    /// # Errors
    /// [`AdmitError`].
    async fn admit(&self, new: NewVerification) -> Result<Admission<Verification>, AdmitError>;

    /// One verification.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_verification(&self, id: VerificationId) -> Result<Option<Verification>, StoreError>;

    /// A page of verifications, newest first, after the one that `after` names.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn verifications(
        &self,
        filter: &Filter,
        after: Option<VerificationId>,
        limit: usize,
    ) -> Result<Page<Verification>, StoreError>;

    /// The newest verifications that a code may be meant for, of those of an address, which the filter names. A
    /// listing waits for the tenant's turn and may be refused; this, on the way of each check by address, is not. In
    /// return it may look at the newest thousand of the address alone, which only sandbox numbers have more of.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn verifications_to_check(&self, filter: &Filter, limit: usize) -> Result<Vec<Verification>, StoreError>;

    /// Stores a changed verification and counts its version up, if nobody changed it since.
    /// With `refund`, takes its use off the counts in the same step.
    ///
    /// # Errors
    /// [`ReplaceError`].
    async fn replace(&self, verification: &mut Verification, refund: bool) -> Result<(), ReplaceError>;

    /// As [`replace`](Self::replace), for a verification that [`resend`](Verification::resend)
    /// changed: its other verifications' sends count against the address's limits, atomically.
    /// `exempt` for sandbox numbers.
    ///
    /// # Errors
    /// [`ResendError`].
    async fn replace_for_resend(&self, verification: &mut Verification, exempt: bool) -> Result<(), ResendError>;

    /// Deletes a verification for good.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete_verification(&self, id: VerificationId) -> Result<(), StoreError>;

    /// Admits one message: counts it and stores it, together.
    ///
    /// # Errors
    /// [`AdmitError`], never [`AdmitError::Address`].
    async fn admit_message(&self, new: NewMessage) -> Result<Admission<Message>, AdmitError>;

    /// One message.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn find_message(&self, id: MessageId) -> Result<Option<Message>, StoreError>;

    /// A page of messages, newest first, after the one that `after` names.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn messages(
        &self,
        filter: &Filter,
        after: Option<MessageId>,
        limit: usize,
    ) -> Result<Page<Message>, StoreError>;

    /// Stores a changed message and counts its version up, if nobody changed it since.
    /// With `refund`, takes its use off the counts in the same step.
    ///
    /// # Errors
    /// [`ReplaceError`].
    async fn replace_message(&self, message: &mut Message, refund: bool) -> Result<(), ReplaceError>;

    /// Deletes a message for good.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn delete_message(&self, id: MessageId) -> Result<(), StoreError>;

    /// What was used of a resource in each of these windows.
    ///
    /// # Errors
    /// [`StoreError`].
    async fn usage(&self, resource: Resource, windows: &[Window]) -> Result<Vec<Usage>, StoreError>;
}
