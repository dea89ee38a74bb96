//! The channel: a message goes through one of the tenant's own numbers.

use std::sync::Arc;

use async_trait::async_trait;
use wotp_core::domain::address::{Address, AddressKind};
use wotp_core::domain::dispatch::DeliveryFailure;
use wotp_core::ports::{Acknowledged, Channel, Outgoing, SendError};

use crate::session::Letter;
use crate::sessions::Sessions;

/// WhatsApp, through the sessions that this process keeps.
pub struct WhatsApp {
    sessions: Arc<Sessions>,
}

impl WhatsApp {
    /// What tenants call it.
    pub const NAME: &str = "whatsapp";

    /// Through these sessions.
    pub fn new(sessions: Arc<Sessions>) -> Self {
        Self { sessions }
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

    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError> {
        let Address::Phone(to) = &outgoing.to else {
            let detail = "only phone numbers have WhatsApp".to_owned();
            return Err(SendError::Refused { reason: DeliveryFailure::InvalidRecipient, detail });
        };
        let letter = Letter { reference: outgoing.reference(), to, text: &outgoing.text };
        self.sessions.send(outgoing.tenant, letter).await
    }

    async fn probe(&self) -> Result<(), String> {
        let (connected, all) = self.sessions.connected();
        if all > 0 && connected == 0 {
            return Err(format!(
                "none of the {all} WhatsApp sessions is connected: see where they stand, and whether WhatsApp can be reached"
            ));
        }
        Ok(())
    }
}
