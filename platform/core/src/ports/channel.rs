use async_trait::async_trait;
use jiff::SignedDuration;
use zeroize::Zeroizing;

use super::{Ask, CheckAccount, Hear, Item, Reference, Revoke};
use crate::domain::Timestamp;
use crate::domain::address::{Address, AddressKind};
use crate::domain::code::Code;
use crate::domain::cost::Cost;
use crate::domain::dispatch::{DeliveryFailure, DeliveryStatus};
use crate::domain::id::{ConnectionId, DeliveryId, NodeId, TenantId};
use crate::domain::locale::Locale;

/// What a channel is asked to send.
#[derive(Clone)]
pub struct Outgoing {
    /// Names this message to the provider: the same for every retry.
    pub message_id: DeliveryId,
    /// Whose connection to use.
    pub tenant: TenantId,
    /// Which of them, and no other, where somebody has said.
    pub connection: Option<ConnectionId>,
    /// What is delivered.
    pub item: Item,
    /// To whom.
    pub to: Address,
    /// For channels that show one (email).
    pub subject: String,
    /// The whole text, ready to read.
    pub text: String,
    /// The code alone, for channels that have a field for it.
    pub code: Option<Code>,
    /// The link that approves, which stands in the text, for channels that show it as one.
    pub link: Option<Zeroizing<String>>,
    /// The sender's name.
    pub brand: String,
    /// The language of the text.
    pub locale: Locale,
    /// After this moment it is of no use.
    pub expires_at: Timestamp,
}

impl Outgoing {
    /// Names it to the provider, for what that tells later.
    pub fn reference(&self) -> Reference {
        Reference { tenant: self.tenant, item: self.item, delivery: self.message_id }
    }
}

impl std::fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outgoing")
            .field("message_id", &self.message_id)
            .field("tenant", &self.tenant)
            .field("to", &self.to)
            .finish_non_exhaustive()
    }
}

/// The channel's server acknowledged the message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acknowledged {
    /// The provider's own name for the message.
    pub provider_id: Option<String>,
    /// What is known already: `Sent`, `Delivered` or `Read`.
    pub reached: DeliveryStatus,
    /// What the provider charges for it, if it says: the whole message, all its parts included. What is charged
    /// for is counted once for a `message_id`, however often that is sent.
    pub cost: Option<Cost>,
}

/// The message did not get out. The channel knows best what that means, so it says so.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// Not now: the same message again after `after`.
    #[error("the channel asks to wait: {detail}")]
    Later {
        /// How long to wait.
        after: SignedDuration,
        /// For the operator's log; no address, no code.
        detail: String,
    },
    /// Nothing was tried: the channel's server has not answered lately, or the channel is full. Another channel takes its place at once, and
    /// where there is none, the same message comes again after `after`.
    #[error("the channel is left alone for a while: {detail}")]
    Away {
        /// How long to wait.
        after: SignedDuration,
        /// For the operator's log; no address, no code.
        detail: String,
    },
    /// Not through this channel.
    #[error("the channel refuses: {detail}")]
    Refused {
        /// Why, for the tenant.
        reason: DeliveryFailure,
        /// For the operator's log; no address, no code.
        detail: String,
    },
    /// It may have got out or not: the connection broke after the message was handed over.
    #[error("the channel did not acknowledge: {detail}")]
    Unknown {
        /// For the operator's log; no address, no code.
        detail: String,
    },
}

/// A way to reach someone.
#[async_trait]
pub trait Channel: Send + Sync {
    /// Its name, as in `email`: unique, lower case.
    fn name(&self) -> &str;

    /// The kinds of address that it reaches.
    fn reaches(&self) -> &[AddressKind];

    /// Sends one message and waits for the server's acknowledgement. The caller bounds the time.
    ///
    /// Sending the same `message_id` again must not be worse than sending it once.
    ///
    /// # Errors
    /// [`SendError`], which says what to do next.
    async fn send(&self, outgoing: &Outgoing) -> Result<Acknowledged, SendError>;

    /// How many sends it takes at once by itself, those that wait in it among them; what is more it refuses at once, with
    /// [`SendError::Later`]. Such a channel takes no seat from the others, however slow its server is. 0, when it has no
    /// bound of its own.
    fn own_room(&self) -> usize {
        0
    }

    /// Whether it sends through accounts of tenants that nodes keep logged in, and for those that have one only.
    fn keeps_accounts(&self) -> bool {
        false
    }

    /// Which other node keeps the accounts of a tenant, or the one that is named, where this one keeps none of them.
    fn kept_by_another(&self, _: TenantId, _: Option<ConnectionId>) -> Option<NodeId> {
        None
    }

    /// How its provider tells it later what became of a message; none where it tells nothing.
    fn ears(&self) -> Option<&dyn Hear> {
        None
    }

    /// How its provider is asked what became of a message; none where that cannot be asked.
    fn asks(&self) -> Option<&dyn Ask> {
        None
    }

    /// How its provider takes back what was sent; none where it cannot.
    fn revokes(&self) -> Option<&dyn Revoke> {
        None
    }

    /// How it looks at the account at its provider; none where there is nothing to look at.
    fn account(&self) -> Option<&dyn CheckAccount> {
        None
    }

    /// Whether it could send now: settings complete, server reachable. For `wotp doctor`.
    ///
    /// # Errors
    /// In plain words, what is wrong and what to do.
    async fn probe(&self) -> Result<(), String>;
}
