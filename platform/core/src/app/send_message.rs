use std::net::IpAddr;

use super::channels::Available;
use super::start_verification::{admit_refusal, counted, end_user_ip, idempotency, push};
use super::{ApiCaller, App, IdempotencyKey, Refusal, token};
use crate::domain::address::Address;
use crate::domain::dispatch::{Dispatch, LeaseToken};
use crate::domain::guard::Step;
use crate::domain::id::{DeliveryId, MessageId};
use crate::domain::live_connection::LiveConnection;
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
    /// The connection that it is to go out through, and no other: its id, or what the tenant calls it. For those that a node
    /// keeps logged in; none for whichever there is.
    pub connection: Option<String>,
    /// The IP address of the end user, for the guard. It is not kept.
    pub ip: Option<String>,
    /// The caller's word that this is the same request as before.
    pub idempotency: Option<IdempotencyKey>,
}

impl App {
    /// Sends a direct message: admits it against its own quota and rings a worker.
    ///
    /// One that the guard of the service blocks is stored as failed, reaches no channel and is not counted; beyond a
    /// ceiling for each day it is [`Refusal::NotKept`].
    ///
    /// # Errors
    /// [`Refusal`]; nothing was counted then.
    pub async fn send_message(&self, caller: &ApiCaller, request: SendMessage) -> Result<Message, Refusal> {
        let (service, guard) = self.service_with_guard(caller, request.service.as_deref()).await?;
        let through = match &request.connection {
            Some(called) => Some(self.live_to_send_through(caller, called).await?),
            None => None,
        };
        let mut available = self.available(service.tenant).await?;
        if through.is_some() {
            // It waits for the one that was named, wherever that stands.
            available.silent.clear();
        }
        let (mut new, ip, token) = self.new_message(caller, &service, request, through, &available)?;
        let id = new.message.id;
        let mut judgement = self.judge(&guard, &new.message, ip, Step::Start).await?;
        let against = judgement.blocked().cloned();
        let blocked = against.is_some();
        let notes = std::mem::take(&mut judgement.notes);
        if let Some(note) = against {
            new.message.block(notes);
            let kept = self.keeps_blocked(&guard, &note, &mut judgement).await?;
            new.unkept = (!kept).then_some(note);
        } else {
            new.message.guard = notes;
        }
        let admitted = self.store_of(caller).admit_message(new).await.map_err(admit_refusal);
        judgement.is_admitted();
        if !matches!(admitted, Ok(Admission::Admitted(_))) {
            self.judged_in_vain(&judgement);
        }
        match admitted? {
            Admission::Admitted(message) => {
                if !blocked {
                    self.ring(Job { tenant: caller.tenant.id, item: Item::Message(id), token: Some(token) }).await;
                }
                Ok(message)
            }
            Admission::Repeated(message) => Ok(message),
        }
    }

    /// What is to be admitted, for whom, and the token of the hold that it is born with.
    fn new_message(
        &self,
        caller: &ApiCaller,
        service: &Service,
        request: SendMessage,
        through: Option<LiveConnection>,
        available: &Available<'_>,
    ) -> Result<(NewMessage, Option<IpAddr>, LeaseToken), Refusal> {
        let settings = &service.settings;
        let now = self.now();
        let mode = caller.mode();
        let mut errors = Vec::new();
        let address = Address::parse(&request.to).map_err(|error| push(&mut errors, "to", error)).ok();
        if request.content.trim().is_empty() || request.content.chars().count() > CONTENT_LENGTH_MAX {
            push(&mut errors, "content", "has 1 to 2048 characters");
        }
        if through.is_some() && !request.channels.is_empty() {
            push(&mut errors, "channels", "is what the connection says: leave it out with `connection`");
        }
        let ip = end_user_ip(request.ip.as_deref(), &mut errors);
        let idempotency = idempotency("send_message", mode, service.id, request.idempotency.as_ref(), now, &mut errors);
        let Some(address) = address.filter(|_| errors.is_empty()) else { return Err(Refusal::Invalid(errors)) };
        let (called, connection) = match through {
            Some(LiveConnection { id, channel, .. }) => (vec![channel], Some(id)),
            None => (request.channels, None),
        };
        let channels = self.route(mode, &called, service, &address, available)?;
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
            address: Some(self.store_address(caller.tenant.id, &owner, &address, &entropy)),
            content: Some(self.ports.vault.seal(Purpose::Content, &owner, &request.content, &entropy)),
            brand: settings.brand.clone(),
            locale: locale::resolve(None, address.region(), &settings.locale),
            connection,
            ack_timeout_seconds: settings.failover_after_seconds,
            retention: settings.retention.at_most(plan.limits.retention_days),
            dispatch: Dispatch::born_leased(channels, delivery, now, self.lease_end(now), token),
            counted: counted(&quota),
            guard: Vec::new(),
            created_at: now,
            asking: Vec::new(),
            news: Vec::new(),
        };
        Ok((NewMessage { message, quota, idempotency, unkept: None }, ip, token))
    }
}
