use super::start_verification::{admit_refusal, counted, idempotency, push};
use super::{ApiCaller, App, IdempotencyKey, Refusal, token};
use crate::domain::address::Address;
use crate::domain::dispatch::{Dispatch, LeaseToken};
use crate::domain::id::{DeliveryId, MessageId};
use crate::domain::locale;
use crate::domain::message::{CONTENT_LENGTH_MAX, Message};
use crate::domain::mode::Mode;
use crate::domain::quota::Resource;
use crate::domain::service::Service;
use crate::domain::vault::Purpose;
use crate::ports::{Admission, Drawn, Item, Job, NewMessage};

/// A request to send a direct message.
#[derive(Debug, Clone, Default)]
pub struct SendMessage {
    /// A phone number in E.164 or an email address.
    pub to: String,
    /// What it says: 1 to 2048 characters.
    pub content: String,
    /// The service's id; none for the key's or the tenant's default.
    pub service: Option<String>,
    /// Channels in order; empty for the service's.
    pub channels: Vec<String>,
    /// The caller's word that this is the same request as before.
    pub idempotency: Option<IdempotencyKey>,
}

impl App {
    /// Sends a direct message: admits it against its own quota and rings a worker.
    ///
    /// # Errors
    /// [`Refusal`]; nothing was counted then.
    pub async fn send_message(&self, caller: &ApiCaller, request: SendMessage) -> Result<Message, Refusal> {
        let service = self.service_for(caller, request.service.as_deref()).await?;
        let (new, token) = self.new_message(caller, &service, request)?;
        let id = new.message.id;
        match self.store_of(caller).admit_message(new).await.map_err(admit_refusal)? {
            Admission::Admitted(message) => {
                self.ring(Job { tenant: caller.tenant.id, item: Item::Message(id), token: Some(token) }).await;
                Ok(message)
            }
            Admission::Repeated(message) => Ok(message),
        }
    }

    /// What is to be admitted, and the token of the hold that it is born with.
    fn new_message(
        &self,
        caller: &ApiCaller,
        service: &Service,
        request: SendMessage,
    ) -> Result<(NewMessage, LeaseToken), Refusal> {
        let settings = &service.settings;
        let now = self.now();
        let mode = caller.mode();
        let mut errors = Vec::new();
        let address = Address::parse(&request.to).map_err(|error| push(&mut errors, "to", error)).ok();
        if request.content.trim().is_empty() || request.content.chars().count() > CONTENT_LENGTH_MAX {
            push(&mut errors, "content", "has 1 to 2048 characters");
        }
        let idempotency = idempotency("send_message", mode, service.id, request.idempotency.as_ref(), now, &mut errors);
        let Some(address) = address.filter(|_| errors.is_empty()) else { return Err(Refusal::Invalid(errors)) };
        let channels = self.route(mode, &request.channels, service, &address)?;
        let resource = match mode {
            Mode::Live => Resource::Messages,
            Mode::Test => Resource::TestMessages,
        };
        let plan = self.plan_of(&caller.tenant)?;
        let quota = plan.quota(resource, now, caller.tenant.period_anchor);
        let entropy = Drawn::from(&*self.ports.entropy);
        let id = MessageId::new(now, &entropy);
        let token = token(&entropy);
        let owner = id.to_bytes();
        let delivery = DeliveryId::new(now, &entropy);
        let message = Message {
            id,
            tenant: caller.tenant.id,
            service: service.id,
            key: caller.key().map(|key| key.id),
            version: 1,
            mode,
            address: Some(self.store_address(caller, &owner, &address, &entropy)),
            content: Some(self.ports.vault.seal(Purpose::Content, &owner, &request.content, &entropy)),
            brand: settings.brand.clone(),
            locale: locale::resolve(None, address.region(), &settings.locale),
            ack_timeout_seconds: settings.failover_after_seconds,
            retention: settings.retention.at_most(plan.limits.retention_days),
            dispatch: Dispatch::born_leased(channels, delivery, now, self.lease_end(now), token),
            counted: counted(&quota),
            created_at: now,
            news: Vec::new(),
        };
        Ok((NewMessage { message, quota, idempotency }, token))
    }
}
