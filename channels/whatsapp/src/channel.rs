//! The channel: a message goes through one of the tenant's own numbers.

use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::Semaphore;
use wotp_core::domain::address::{Address, AddressKind};
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::domain::id::{ConnectionId, NodeId, TenantId};
use wotp_core::ports::{Acknowledged, Channel, Outgoing, SendError};

use crate::session::Letter;
use crate::sessions::Sessions;

/// When to come again where this process keeps no sessions, or not yet.
const NOT_BEGUN: SignedDuration = SignedDuration::from_secs(2);

/// Messages that are under way at once: each waits for WhatsApp, up to half a minute, and takes no seat from other channels.
const ROOM: usize = 256;
/// When to come again where that many are.
const NO_ROOM: SignedDuration = SignedDuration::from_secs(1);

/// WhatsApp, through the sessions that this process keeps, while it keeps any.
pub struct WhatsApp {
    sessions: RwLock<Option<Arc<Sessions>>>,
    room: Semaphore,
}

impl Default for WhatsApp {
    fn default() -> Self {
        Self { sessions: RwLock::default(), room: Semaphore::new(ROOM) }
    }
}

impl WhatsApp {
    /// What tenants call it.
    pub const NAME: &str = "whatsapp";

    /// Sends through these from now on.
    pub fn begin(&self, sessions: Arc<Sessions>) {
        *self.sessions.write().unwrap_or_else(PoisonError::into_inner) = Some(sessions);
    }

    /// Sends through none any more.
    pub fn end(&self) {
        self.sessions.write().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn sessions(&self) -> Option<Arc<Sessions>> {
        self.sessions.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Channel for WhatsApp {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn reaches(&self) -> &[AddressKind] {
        &[AddressKind::Phone]
    }

    fn keeps_accounts(&self) -> bool {
        true
    }

    fn own_room(&self) -> usize {
        ROOM
    }

    fn kept_by_another(&self, tenant: TenantId, connection: Option<ConnectionId>) -> Option<NodeId> {
        self.sessions()?.kept_by_another(tenant, connection)
    }

    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        let Address::Phone(to) = &outgoing.to else {
            let detail = "only phone numbers have WhatsApp".to_owned();
            return Err(SendError::Refused { reason: DeliveryFailure::InvalidRecipient, detail });
        };
        let Some(sessions) = self.sessions() else {
            return Err(SendError::Away { after: NOT_BEGUN, detail: "sessions have not begun here".to_owned() });
        };
        let Ok(_place) = self.room.try_acquire() else {
            return Err(SendError::Away { after: NO_ROOM, detail: "so many messages are under way here".to_owned() });
        };
        let letter = Letter { reference: outgoing.reference(), to, text: &outgoing.text };
        sessions.send(outgoing.tenant, outgoing.connection, letter).await
    }

    async fn probe(&self) -> Result<(), String> {
        let (connected, all) = self.sessions().map_or((0, 0), |sessions| sessions.connected());
        if all > 0 && connected == 0 {
            return Err(format!(
                "none of the {all} WhatsApp sessions is connected: see where they stand, and whether WhatsApp can be reached"
            ));
        }
        Ok(())
    }
}
