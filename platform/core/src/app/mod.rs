//! The use cases, one per file, in the words of the product.
//!
//! All are methods of [`App`], which holds what they need from the world. What a caller can act on
//! comes back as a [`Refusal`].

mod analytics;
mod ask;
mod audit;
mod authenticate;
mod bell;
mod cache;
mod cancel_verification;
mod channels;
mod check_verification;
mod commit;
mod connection_memory;
mod connections;
mod create_tenant;
mod deliver;
mod erase_tenants;
mod find_keys;
mod find_messages;
mod find_verifications;
mod fold;
mod follow_events;
mod guard;
mod hear;
mod inbound;
mod invitations;
mod key_uses;
mod keys;
mod letters;
mod live_connections;
mod magic_link;
mod members;
mod operators;
mod people;
mod plugins;
mod record_receipt;
mod refusal;
mod render;
mod resend_verification;
mod revoke;
mod send_message;
mod services;
mod start_verification;
mod sweep;
mod team;
mod tenants;
mod thresholds;
mod usage;
mod watch;
mod webhooks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use jiff::SignedDuration;

pub use analytics::{Analytics, AnalyticsQuery, Dimension, GROUPS_MAX, Group};
pub use audit::{AuditFilter, AuditFrom, AuditLine, AuditPage, AuditReport};
pub use authenticate::{ApiCaller, Holder, Membership};
pub use bell::Bell;
pub use check_verification::Checked;
pub use commit::commit_alone;
pub use connection_memory::{ConnectionMemory, Memories, Memory, MemoryError, erase_connection_memory};
pub use connections::{Asks, ConnectionChange, ConnectionSeen, NewConnection, TenantChannel};
pub use create_tenant::NewTenant;
pub use deliver::Delivered;
pub use find_keys::{KeyInfo, KeyList, KeyPage};
pub use fold::Folded;
pub use follow_events::{Following, Seen, WantedEvents};
pub use guard::{GuardWatched, NewEntry, NewListed};
pub use hear::HearRefusal;
pub use inbound::{MessageToWrite, Simulated, WrittenMessage};
pub use invitations::{InvitationPreview, SentInvitation};
pub use keys::{KeyChange, NewKey, NewKeySettings, Rotation};
pub use letters::WaitingLetters;
pub use live_connections::{ConnectLive, LiveSeen, OtherwiseWanted, Wanted, WantedConnect};
pub use magic_link::{BIND_PATH, BoundBrowser, LINK_PATH, LinkAbout, LinkPage, LinkState};
pub use members::TeamMember;
pub use operators::{Announced, SeenWork, StuckWork, TenantChange, Work};
pub use people::{
    BeginSignIn, Confirmed, Enrolment, FinishSignIn, LogIn, Opened, PeopleSettings, PublicKey, Reproof,
    SecondFactorState, SignInBegun, SignInStep, SignUp, Signed, SignedIn, Started, TokenRefusal, Whence,
};
pub use plugins::{
    Approval, Audience, ExaminedPlugin, Given, NewPlugin, PluginSettings, PluginTrouble, examine_plugin, stored_plugins,
};
pub use refusal::{FieldError, Guessed, Refusal};
pub use render::PREVIEW_CODE;
pub use send_message::SendMessage;
pub use services::{NewTemplate, ServiceChange};
pub use start_verification::{IdempotencyKey, StartVerification};
pub use sweep::Swept;
pub use tenants::OwnTenant;
pub use usage::{ResourceUsage, WindowUsage};
pub use watch::Watch;
pub use webhooks::{
    AskReplay, Attempted, ChangedEndpoint, EndpointChange, EventPage, HeldWebhook, NewEndpoint, Taken, WebhookPage,
};

use crate::domain::Timestamp;
use crate::domain::access_token::SigningKey;
use crate::domain::api_key::ApiKey;
use crate::domain::dispatch::LeaseToken;
use crate::domain::id::{ConnectionId, ServiceId, SessionId, TenantId, UserId};
use crate::domain::maintenance::Maintenance;
use crate::domain::plan::Catalogue;
use crate::domain::routing::ChannelInfo;
use crate::domain::service::Service;
use crate::domain::tenant::Tenant;
use crate::domain::tenant_rules::TenantRules;
use crate::domain::vault::Vault;
use crate::ports::{
    AccessTokens, Bulletin, Changed, Channel, Clock, Entropy, IdentityProvider, Job, Limiter, Passwords, PluginHost,
    Queue, Store, Timer, WebhookSender,
};
use cache::{Cache, Shared};
use people::HousePlan;

/// How long a worker holds a delivery, unless it prolongs that, as it does while it waits for a
/// channel. What a worker held that is gone goes out again after so long.
const LEASE: SignedDuration = SignedDuration::from_secs(10);
/// How often a hold is prolonged: the store may fail to answer twice before it is lost.
const PROLONG_EVERY: SignedDuration = SignedDuration::from_secs(3);
/// A hold that is over sooner is prolonged before the channel is called: its ring waited for long, and
/// the first time to prolong it might come too late.
const LEASE_REST_MIN: SignedDuration = SignedDuration::from_secs(5);

/// What the use cases need from the world.
pub struct Ports {
    /// Everything that must outlive the process.
    pub store: Arc<dyn Store>,
    /// The doorbell of the workers.
    pub queue: Arc<dyn Queue>,
    /// Tells the other nodes what changed.
    pub bulletin: Arc<dyn Bulletin>,
    /// Counts calls.
    pub limiter: Arc<dyn Limiter>,
    /// The channels that are there, in the order they are tried when nobody says another.
    pub channels: Vec<Arc<dyn Channel>>,
    /// Runs plugins.
    pub plugins: Arc<dyn PluginHost>,
    /// Where else people may sign in.
    pub identity_providers: Vec<Arc<dyn IdentityProvider>>,
    /// Keys for what is secret at rest.
    pub vault: Vault,
    /// What plans allow.
    pub plans: Catalogue,
    /// What bounds tenants and their teams.
    pub tenant_rules: TenantRules,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Bounds on waiting.
    pub timer: Arc<dyn Timer>,
    /// Hashes passwords.
    pub passwords: Arc<dyn Passwords>,
    /// Signs and reads access tokens.
    pub tokens: Arc<dyn AccessTokens>,
    /// How people sign in.
    pub people: PeopleSettings,
    /// Where people reach the installation: a web origin, if that is known.
    pub public_url: Option<String>,
    /// Calls webhook endpoints.
    pub webhooks: Arc<dyn WebhookSender>,
    /// Whether no other node uses the store while this process runs. What it counted itself it need not read again.
    pub alone: bool,
}

/// The use cases.
pub struct App {
    ports: Ports,
    channel_infos: Vec<ChannelInfo>,
    holders: Cache<crate::domain::api_key::KeyHash, (Arc<ApiKey>, Arc<Tenant>)>,
    services: Cache<ServiceId, Arc<Service>>,
    maintenance: Cache<(), Option<Arc<Maintenance>>>,
    maintenance_read: Shared<Option<Arc<Maintenance>>>,
    signed: Cache<SessionId, Signed>,
    tenants: Cache<TenantId, Arc<Tenant>>,
    signing_keys: Cache<(), Arc<Vec<SigningKey>>>,
    house: HousePlan,
    changes: Arc<watch::Changes>,
    webhooks: webhooks::State,
    guards: Cache<ServiceId, Arc<guard::Guard>>,
    guard: guard::Memory,
    folds: fold::Folds,
    chains: commit::Chains,
    /// The turns of those who add what is counted to a tenant.
    additions: commit::Chains,
    /// What was set aside because it cannot be read, and not counted yet.
    set_aside: AtomicU64,
    /// Whether a wrong password could not be counted, and none since.
    guesses_unwritten: AtomicBool,
    key_uses: key_uses::KeyUses,
    plugins: plugins::State,
    connections: connections::State,
    live_connections: live_connections::State,
    /// Connections that may send.
    senders: Cache<ConnectionId, ()>,
}

impl App {
    /// The use cases over these ports.
    pub fn new(ports: Ports) -> Self {
        let channel_infos = ports.channels.iter().map(|channel| channels::info(&**channel)).collect();
        Self {
            ports,
            channel_infos,
            holders: Cache::default(),
            services: Cache::default(),
            maintenance: Cache::default(),
            maintenance_read: Shared::default(),
            signed: Cache::default(),
            tenants: Cache::default(),
            signing_keys: Cache::default(),
            house: HousePlan::default(),
            changes: Arc::default(),
            webhooks: webhooks::State::default(),
            guards: Cache::default(),
            guard: guard::Memory::default(),
            folds: fold::Folds::default(),
            chains: commit::Chains::default(),
            additions: commit::Chains::default(),
            set_aside: AtomicU64::default(),
            guesses_unwritten: AtomicBool::default(),
            key_uses: key_uses::KeyUses::default(),
            plugins: plugins::State::default(),
            connections: connections::State::default(),
            live_connections: live_connections::State::default(),
            senders: Cache::default(),
        }
    }

    /// The ports, for the edges: health checks, workers, commands.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    fn now(&self) -> Timestamp {
        self.ports.clock.now()
    }

    fn token(&self) -> LeaseToken {
        token(&*self.ports.entropy)
    }

    fn lease_end(&self, now: Timestamp) -> Timestamp {
        now.saturating_add(LEASE).unwrap_or(Timestamp::MAX)
    }

    /// Forgets what is kept in memory of what changed: it is read again when it is next needed.
    pub fn forget(&self, changed: Changed) {
        match changed {
            Changed::Tenant(tenant) => {
                self.holders.forget(|(_, held)| held.id == tenant);
                self.services.forget(|service| service.tenant == tenant);
                self.tenants.forget(|known| known.id == tenant);
                self.signed.forget(|signed| signed.is_in(tenant));
                self.webhooks.forget(Some(tenant));
                self.guards.forget(|guard| guard.tenant == tenant);
                self.connections.forget(Some(tenant));
                self.live_connections.forget(Some(tenant));
            }
            Changed::Person(user) => self.signed.forget(|signed| signed.user.id == user),
            Changed::Anything => {
                self.holders.forget(|_| true);
                self.services.forget(|_| true);
                self.maintenance.forget(|_| true);
                self.tenants.forget(|_| true);
                self.signed.forget(|_| true);
                self.signing_keys.forget(|_| true);
                self.webhooks.forget(None);
                self.guards.forget(|_| true);
                self.connections.forget(None);
                self.live_connections.forget(None);
            }
        }
    }

    /// Something of a tenant changed: no node is to go by what it remembers.
    async fn changed(&self, tenant: TenantId) {
        self.forget(Changed::Tenant(tenant));
        if let Err(error) = self.ports.bulletin.tell(Changed::Tenant(tenant)).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%tenant, error, "the other nodes were not told of a change; they see it within a second");
        }
    }

    /// Something of a person changed: no node is to go by what it remembers.
    async fn changed_person(&self, user: UserId) {
        self.forget(Changed::Person(user));
        if let Err(error) = self.ports.bulletin.tell(Changed::Person(user)).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(%user, error, "the other nodes were not told of a change; they see it within a second");
        }
    }

    /// Rings; a ring that is lost is rung again by the sweep.
    async fn ring(&self, job: Job) {
        if let Err(error) = self.ports.queue.ring(job).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(tenant = %job.tenant, item = ?job.item, error, "the queue did not take a job; the sweep will ring again");
        }
    }
}

/// A new name for a hold.
fn token(entropy: &dyn Entropy) -> LeaseToken {
    let mut bytes = [0; 8];
    entropy.fill(&mut bytes);
    // 53 bits: a token travels through JSON.
    u64::from_be_bytes(bytes) >> 11
}
