use super::start_verification::counted;
use super::{App, Refusal, token};
use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::dispatch::Dispatch;
use crate::domain::id::{DeliveryId, MessageId};
use crate::domain::locale::Locale;
use crate::domain::message::Message;
use crate::domain::mode::Mode;
use crate::domain::quota::{Allowance, Period, Quota, Resource, Window};
use crate::domain::routing;
use crate::domain::service::Retention;
use crate::domain::tenant::{HOUSE, HOUSE_SERVICE};
use crate::domain::user::AccountEmail;
use crate::domain::vault::Purpose;
use crate::domain::verification::StoredAddress;
use crate::ports::{Drawn, Item, Job, NewMessage};

/// What people read as the sender of what the platform itself writes.
const BRAND: &str = "WOTP";
/// How long a channel has to acknowledge a letter.
const ACK_TIMEOUT_SECONDS: u32 = 30;

/// What the platform writes to a person, ready to go.
pub(super) struct Letter {
    to: Address,
    channels: Vec<String>,
}

impl App {
    /// Begins a letter of the platform to a person: before anything is changed it is known that there is
    /// a way.
    ///
    /// # Errors
    /// [`Refusal::Routing`] when no channel reaches email.
    pub(super) fn letter(&self, to: &AccountEmail) -> Result<Letter, Refusal> {
        let to = Address::parse(to.as_str()).map_err(|error| Refusal::field("email", error.to_string()))?;
        let channels = routing::route(&[], &[], &self.channel_infos, to.kind()).map_err(Refusal::Routing)?;
        Ok(Letter { to, channels })
    }

    /// Sends a letter: a direct message of the platform's own tenant, so that it has the tries, the seals and
    /// the end of every other. The text is erased once it is sent, and the address after a day.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(super) async fn post(&self, letter: Letter, text: &str) -> Result<(), Refusal> {
        let now = self.now();
        let entropy = Drawn::from(&*self.ports.entropy);
        let (id, token) = (MessageId::new(now, &entropy), token(&entropy));
        let owner = id.to_bytes();
        let vault = &self.ports.vault;
        let delivery = DeliveryId::new(now, &entropy);
        let quota = unbounded(now);
        let message = Message {
            id,
            tenant: HOUSE,
            service: HOUSE_SERVICE,
            key: None,
            version: 1,
            mode: Mode::Live,
            address: Some(StoredAddress {
                sealed: vault.seal(Purpose::Address, &owner, letter.to.as_str(), &entropy),
                index: vault.index(HOUSE, &letter.to),
                masked: letter.to.masked(),
                kind: letter.to.kind(),
                region: None,
            }),
            content: Some(vault.seal(Purpose::Content, &owner, text, &entropy)),
            brand: BRAND.to_owned(),
            locale: Locale::ENGLISH,
            ack_timeout_seconds: ACK_TIMEOUT_SECONDS,
            retention: Retention { addresses_days: 1, records_days: 30 },
            dispatch: Dispatch::born_leased(letter.channels, delivery, now, self.lease_end(now), token),
            counted: counted(&quota),
            created_at: now,
        };
        let new = NewMessage { message, quota, idempotency: None };
        self.ports.store.tenant(HOUSE).admit_message(new).await.map_err(super::start_verification::admit_refusal)?;
        self.ring(Job { tenant: HOUSE, item: Item::Message(id), token: Some(token) }).await;
        Ok(())
    }
}

/// No plan bounds what the platform itself writes.
fn unbounded(now: Timestamp) -> Quota {
    let allowance = |window| Allowance { window, included: None, cap: None };
    let allowances = [Window::day(now), Window::month(now, Period::Calendar, now)].map(allowance);
    Quota { resource: Resource::Messages, allowances }
}
