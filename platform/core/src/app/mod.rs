//! The use cases, one per file, in the words of the product.
//!
//! All are methods of [`App`], which holds what they need from the world. What a caller can act on
//! comes back as a [`Refusal`].

mod analytics;
mod authenticate;
mod bell;
mod cache;
mod cancel_verification;
mod check_verification;
mod commit;
mod create_tenant;
mod deliver;
mod find_messages;
mod find_verifications;
mod fold;
mod follow_events;
mod guard;
mod keys;
mod record_receipt;
mod refusal;
mod render;
mod resend_verification;
mod send_message;
mod services;
mod start_verification;
mod sweep;
mod usage;
mod watch;
mod webhooks;

use std::sync::Arc;

use jiff::SignedDuration;

pub use analytics::{Analytics, AnalyticsQuery, Dimension, GROUPS_MAX, Group};
pub use authenticate::{ApiCaller, Holder, Membership};
pub use bell::Bell;
pub use check_verification::Checked;
pub use create_tenant::NewTenant;
pub use deliver::Delivered;
pub use fold::Folded;
pub use follow_events::{Following, WantedEvents};
pub use guard::{GuardWatched, NewEntry, NewListed};
pub use keys::{NewKey, NewKeySettings};
pub use refusal::{FieldError, Refusal};
pub use render::PREVIEW_CODE;
pub use send_message::SendMessage;
pub use services::{NewTemplate, ServiceChange};
pub use start_verification::{IdempotencyKey, StartVerification};
pub use sweep::Swept;
pub use usage::{ResourceUsage, WindowUsage};
pub use watch::Watch;
pub use webhooks::{
    AskReplay, Attempted, ChangedEndpoint, EndpointChange, EventPage, HeldWebhook, NewEndpoint, Taken, WebhookPage,
};

use crate::domain::Timestamp;
use crate::domain::api_key::ApiKey;
use crate::domain::dispatch::LeaseToken;
use crate::domain::id::{ServiceId, TenantId};
use crate::domain::plan::Catalogue;
use crate::domain::routing::ChannelInfo;
use crate::domain::service::Service;
use crate::domain::tenant::Tenant;
use crate::domain::vault::Vault;
use crate::ports::{Bulletin, Changed, Channel, Clock, Entropy, Job, Limiter, Queue, Store, Timer, WebhookSender};
use cache::Cache;

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
    /// Keys for what is secret at rest.
    pub vault: Vault,
    /// What plans allow.
    pub plans: Catalogue,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Bounds on waiting.
    pub timer: Arc<dyn Timer>,
    /// Calls webhook endpoints.
    pub webhooks: Arc<dyn WebhookSender>,
}

/// The use cases.
pub struct App {
    ports: Ports,
    channel_infos: Vec<ChannelInfo>,
    holders: Cache<crate::domain::api_key::KeyHash, (Arc<ApiKey>, Arc<Tenant>)>,
    services: Cache<ServiceId, Arc<Service>>,
    guards: Cache<ServiceId, Arc<guard::Guard>>,
    guard: guard::Memory,
    folds: fold::Folds,
    changes: Arc<watch::Changes>,
    webhooks: webhooks::State,
}

impl App {
    /// The use cases over these ports.
    pub fn new(ports: Ports) -> Self {
        let info = |channel: &Arc<dyn Channel>| ChannelInfo {
            name: channel.name().to_owned(),
            reaches: channel.reaches().to_vec(),
        };
        let channel_infos = ports.channels.iter().map(info).collect();
        Self {
            ports,
            channel_infos,
            holders: Cache::default(),
            services: Cache::default(),
            guards: Cache::default(),
            guard: guard::Memory::default(),
            folds: fold::Folds::default(),
            changes: Arc::default(),
            webhooks: webhooks::State::default(),
        }
    }

    /// The ports, for the edges: health checks, workers, commands.
    pub fn ports(&self) -> &Ports {
        &self.ports
    }

    /// The channels that are there.
    pub fn channels(&self) -> &[ChannelInfo] {
        &self.channel_infos
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
                self.guards.forget(|guard| guard.tenant == tenant);
                self.webhooks.forget(Some(tenant));
            }
            Changed::Anything => {
                self.holders.forget(|_| true);
                self.services.forget(|_| true);
                self.guards.forget(|_| true);
                self.webhooks.forget(None);
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
