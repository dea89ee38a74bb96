use serde_json::json;
use zeroize::Zeroizing;

use crate::app::commit::TRIES;
use crate::app::{ApiCaller, App, FieldError, Refusal};
use crate::domain::Timestamp;
use crate::domain::audit::Deed;
use crate::domain::event::{DisabledReason, Event, Fact, TestData};
use crate::domain::id::{EndpointId, ServiceId, WebhookDeliveryId};
use crate::domain::vault::{Purpose, Vault};
use crate::domain::webhook::delivery::{WebhookDelivery, WebhookStatus};
use crate::domain::webhook::endpoint::{
    DESCRIPTION_LENGTH_MAX, ENDPOINTS_MAX, Endpoint, EndpointKeys, EndpointRoll, EventPattern, KEYS_MAX, URL_SIZE_MAX,
};
use crate::domain::webhook::signature::SigningKeys;
use crate::ports::{Change, Entity as _, EntityList, IndexKey, Owner, Stored};

/// An endpoint to create.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// Where it is.
    pub url: String,
    /// What the tenant says about it.
    pub description: String,
    /// What it is told of; empty means everything.
    pub events: Vec<String>,
    /// Only what happens at this service.
    pub service: Option<String>,
}

/// A change to an endpoint: what is none stays.
#[derive(Debug, Clone, Default)]
pub struct EndpointChange {
    /// Where it is.
    pub url: Option<String>,
    /// What the tenant says about it.
    pub description: Option<String>,
    /// What it is told of; empty means everything.
    pub events: Option<Vec<String>>,
    /// Only what happens at this service; none within means at any.
    pub service: Option<Option<String>>,
    /// Whether it is told anything.
    pub enabled: Option<bool>,
}

/// An endpoint whose secret is new, and shown this once.
#[derive(Debug)]
pub struct ChangedEndpoint {
    /// The endpoint.
    pub endpoint: Endpoint,
    /// `whsec_…`
    pub secret: Zeroizing<String>,
}

/// One page of deliveries of an endpoint, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookPage {
    /// What is on it.
    pub deliveries: Vec<WebhookDelivery>,
    /// Where the next one begins; none on the last.
    pub next: Option<WebhookDeliveryId>,
}

/// What the audit log tells of an endpoint: not the whole URL, whose path and query may be a secret. That it is another
/// on the same host is told by its mark, of which nobody learns the URL, nor whether two tenants have the same.
fn told(endpoint: &Endpoint, vault: &Vault) -> serde_json::Value {
    let host = endpoint.url.split("://").nth(1).and_then(|rest| rest.split(['/', '?', '#']).next());
    let mark = vault.veil("endpoint url", &[&endpoint.tenant.to_bytes(), endpoint.url.as_bytes()]);
    json!({
        "host": host,
        "url_mark": format!("{:016x}", u128::from_be_bytes(mark) >> 64),
        "mode": endpoint.mode,
        "events": endpoint.events,
        "service": endpoint.service,
        "disabled": endpoint.disabled,
        "description": endpoint.description,
    })
}

impl App {
    /// The endpoints that the caller may see, oldest first: of its mode, and of its service if it is bound to
    /// one.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn list_endpoints(&self, caller: &ApiCaller) -> Result<Vec<Endpoint>, Refusal> {
        let endpoints = self.list_readable::<Endpoint>(&EntityList::of(Owner::Tenant(caller.tenant.id))).await?;
        let endpoints = endpoints.things.into_iter().map(|stored| stored.entity);
        Ok(endpoints.filter(|endpoint| visible(caller, endpoint)).collect())
    }

    /// One endpoint.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn find_endpoint(&self, caller: &ApiCaller, id: EndpointId) -> Result<Endpoint, Refusal> {
        Ok(self.endpoint(caller, id).await?.entity)
    }

    /// Creates an endpoint.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::NotFound`] for the service, [`Refusal::OtherService`],
    /// [`Refusal::LimitReached`], [`Refusal::Store`].
    pub async fn create_endpoint(&self, caller: &ApiCaller, new: NewEndpoint) -> Result<ChangedEndpoint, Refusal> {
        let now = self.now();
        let id = EndpointId::new(now, &*self.ports.entropy);
        let change = EndpointChange {
            url: Some(new.url),
            description: Some(new.description),
            events: Some(new.events),
            service: Some(new.service.or(caller.service().map(|bound| bound.to_string()))),
            enabled: None,
        };
        let (keys, secret) = self.new_keys(id, now);
        let mut endpoint = Endpoint {
            id,
            tenant: caller.tenant.id,
            mode: caller.mode(),
            url: String::new(),
            description: String::new(),
            events: Vec::new(),
            service: None,
            disabled: None,
            keys: vec![keys],
            created_at: now,
            updated_at: now,
        };
        self.apply(caller, &mut endpoint, change).await?;
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.create", id).after(told(&endpoint, &self.ports.vault));
        let mut tries = 1;
        loop {
            let roll = self.counted(&endpoint).await?;
            let changes = vec![Change::insert(&endpoint), roll];
            match self.commit(&caller.by(), vec![deed.clone()], changes).await {
                Ok(()) => break,
                // Another was created at the same moment: it is counted too.
                Err(Refusal::Conflict | Refusal::Taken { kind: EndpointRoll::KIND, .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
        self.changed(caller.tenant.id).await;
        Ok(ChangedEndpoint { endpoint, secret })
    }

    /// Changes an endpoint. One that is enabled again begins afresh; what it missed can be replayed.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::OtherService`], [`Refusal::Conflict`],
    /// [`Refusal::Store`].
    pub async fn change_endpoint(
        &self,
        caller: &ApiCaller,
        id: EndpointId,
        change: EndpointChange,
    ) -> Result<Endpoint, Refusal> {
        let mut endpoint = self.endpoint(caller, id).await?;
        let before = endpoint.entity.clone();
        self.apply(caller, &mut endpoint, change).await?;
        if endpoint.entity == before {
            return Ok(before);
        }
        endpoint.updated_at = self.now();
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.change", id);
        let deed = deed.before(told(&before, &self.ports.vault)).after(told(&endpoint, &self.ports.vault));
        let mut changes = vec![Change::replace(&endpoint)];
        changes.extend(self.backlog_of_changed(&endpoint).await?);
        self.commit(&caller.by(), vec![deed], changes).await?;
        // Whoever was somewhere else, or off, has not failed here.
        self.works(caller.tenant.id, id).await?;
        self.changed(caller.tenant.id).await;
        Ok(endpoint.entity)
    }

    /// Deletes an endpoint. What is still to be delivered there is not.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn delete_endpoint(&self, caller: &ApiCaller, id: EndpointId) -> Result<(), Refusal> {
        let endpoint = self.endpoint(caller, id).await?;
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.delete", id).before(told(&endpoint, &self.ports.vault));
        self.commit(&caller.by(), vec![deed], vec![Change::delete(&endpoint)]).await?;
        self.works(caller.tenant.id, id).await?;
        self.changed(caller.tenant.id).await;
        Ok(())
    }

    /// Gives an endpoint another secret and another key pair. Those before sign beside them for a day.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::LimitReached`] when four are in force, [`Refusal::Conflict`],
    /// [`Refusal::Store`].
    pub async fn rotate_endpoint(&self, caller: &ApiCaller, id: EndpointId) -> Result<ChangedEndpoint, Refusal> {
        let mut endpoint = self.endpoint(caller, id).await?;
        let now = self.now();
        if endpoint.is_rotated_out(now) {
            return Err(Refusal::LimitReached("secrets of an endpoint that are in force", KEYS_MAX));
        }
        let (keys, secret) = self.new_keys(id, now);
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.rotate", id);
        let deed = deed.before(json!({ "public_key": endpoint.keys.first().map(|keys| &keys.public_key) }));
        let deed = deed.after(json!({ "public_key": keys.public_key }));
        endpoint.rotate(keys, now);
        self.commit(&caller.by(), vec![deed], vec![Change::replace(&endpoint)]).await?;
        self.changed(caller.tenant.id).await;
        Ok(ChangedEndpoint { endpoint: endpoint.entity, secret })
    }

    /// Sends a test event to one endpoint, whatever it is told of, and to no other.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`] when it is disabled, [`Refusal::Store`].
    pub async fn test_endpoint(&self, caller: &ApiCaller, id: EndpointId) -> Result<WebhookDelivery, Refusal> {
        let endpoint = self.endpoint(caller, id).await?;
        enabled(&endpoint)?;
        let now = self.now();
        let data = TestData { endpoint: id, message: "This is a test. Nothing happened." };
        let mut event = Event::new(caller.tenant.id, None, &Fact::WebhookTest(data), now, &*self.ports.entropy);
        event.service = endpoint.service;
        // It has its only delivery.
        event.fanned_out = true;
        let delivery = WebhookDelivery::due(&event, id, now);
        let deed = Deed::of(caller.tenant.id, "webhook_endpoint.test", id).after(json!({ "event": event.id }));
        self.commit(&caller.by(), vec![deed], vec![Change::insert(&event), Change::insert(&delivery)]).await?;
        self.webhooks.bell().ring();
        Ok(delivery)
    }

    /// What became of events at an endpoint, newest first; only what stands like `status`, if it says so.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn list_webhooks(
        &self,
        caller: &ApiCaller,
        id: EndpointId,
        status: Option<WebhookStatus>,
        after: Option<WebhookDeliveryId>,
        limit: usize,
    ) -> Result<WebhookPage, Refusal> {
        /// Most that one listing looks at.
        const LOOKED_AT_MAX: usize = 2000;
        /// Fewest that are read at once: of a rare status few are found in many.
        const AT_ONCE: usize = 200;
        let endpoint = self.endpoint(caller, id).await?;
        let index = if status == Some(WebhookStatus::Failed) { "failed" } else { "endpoint" };
        let (mut before, mut looked_at) = (after, 0);
        let mut page = WebhookPage { deliveries: Vec::new(), next: None };
        let at_once = if status.is_some() { limit.saturating_add(1).max(AT_ONCE) } else { limit.saturating_add(1) };
        loop {
            let list = EntityList {
                by: Some(IndexKey::new(index, id.to_bytes())),
                before: before.map(WebhookDeliveryId::to_bytes),
                ..EntityList::of(Owner::Tenant(caller.tenant.id)).newest(at_once)
            };
            let read = self.list_readable_in_turn::<WebhookDelivery>(&list).await?;
            looked_at += read.count;
            let all = read.count < at_once;
            for Stored { entity: delivery, .. } in read.things {
                if status.is_some_and(|status| status != delivery.status) {
                    continue;
                }
                if caller.service().is_some() && !self.is_delivery_for(&endpoint, &delivery).await? {
                    continue;
                }
                if page.deliveries.len() == limit {
                    page.next = page.deliveries.last().map(|delivery| delivery.id);
                    return Ok(page);
                }
                page.deliveries.push(delivery);
            }
            before = read.last.map(WebhookDeliveryId::from_bytes);
            if all || looked_at >= LOOKED_AT_MAX {
                page.next = before.filter(|_| !all);
                return Ok(page);
            }
        }
    }

    /// Whether what was delivered is of the service that the endpoint is narrowed to: it may be from before.
    async fn is_delivery_for(&self, endpoint: &Endpoint, delivery: &WebhookDelivery) -> Result<bool, Refusal> {
        let event = self.find::<Event>(Owner::Tenant(endpoint.tenant), delivery.event.to_bytes()).await?;
        Ok(event.is_some_and(|event| endpoint.is_for(&event)))
    }

    /// Counts one more endpoint, if it may be: the change is made only where no other is created meanwhile.
    async fn counted(&self, new: &Endpoint) -> Result<Change, Refusal> {
        let owner = Owner::Tenant(new.tenant);
        // In this order, or one that is created in between would not be counted.
        let roll = self.find::<EndpointRoll>(owner, new.tenant.to_bytes()).await?;
        let there = self.list_readable::<Endpoint>(&EntityList::of(owner)).await?;
        // One that cannot be read may be of this mode.
        let others = there.things.iter().filter(|other| other.mode != new.mode).count();
        if there.count.saturating_sub(others) >= ENDPOINTS_MAX {
            return Err(Refusal::LimitReached("endpoints", ENDPOINTS_MAX));
        }
        Ok(match roll {
            Some(mut roll) => {
                roll.created = roll.created.saturating_add(1);
                Change::replace(&roll)
            }
            None => Change::insert(&EndpointRoll { tenant: new.tenant, created: 1 }),
        })
    }

    /// An endpoint that the caller may see.
    pub(super) async fn endpoint(&self, caller: &ApiCaller, id: EndpointId) -> Result<Stored<Endpoint>, Refusal> {
        let found = self.find::<Endpoint>(Owner::Tenant(caller.tenant.id), id.to_bytes()).await?;
        found.filter(|endpoint| visible(caller, endpoint)).ok_or(Refusal::NotFound("endpoint"))
    }

    fn new_keys(&self, endpoint: EndpointId, now: Timestamp) -> (EndpointKeys, Zeroizing<String>) {
        let keys = SigningKeys::new(&*self.ports.entropy);
        let text = keys.to_text();
        let sealed = self.ports.vault.seal(Purpose::WebhookSecret, &endpoint.to_bytes(), &text, &*self.ports.entropy);
        let shown = keys.shared_secret();
        (EndpointKeys { sealed, public_key: keys.public_key(), created_at: now, until: None }, shown)
    }

    async fn apply(&self, caller: &ApiCaller, endpoint: &mut Endpoint, change: EndpointChange) -> Result<(), Refusal> {
        let mut errors = Vec::new();
        let mut wrong = |field: String, message: &str| errors.push(FieldError { field, message: message.to_owned() });
        if let Some(url) = change.url {
            match self.ports.webhooks.check(&url) {
                _ if url.len() > URL_SIZE_MAX => wrong("url".to_owned(), "has at most 2000 bytes"),
                // As it is called: whoever reads it from here on reads the same as whoever calls it.
                Ok(url) => endpoint.url = url,
                Err(message) => wrong("url".to_owned(), message),
            }
        }
        if let Some(description) = change.description {
            if description.chars().count() > DESCRIPTION_LENGTH_MAX {
                wrong("description".to_owned(), "has at most 200 characters");
            }
            endpoint.description = description;
        }
        if let Some(events) = change.events {
            endpoint.events.clear();
            for (at, text) in events.iter().enumerate() {
                match EventPattern::parse(text) {
                    Ok(pattern) if !endpoint.events.contains(&pattern) => endpoint.events.push(pattern),
                    Ok(_) => wrong(format!("events[{at}]"), "is there twice"),
                    Err(error) => wrong(format!("events[{at}]"), &error.to_string()),
                }
            }
        }
        match change.enabled {
            Some(true) => endpoint.disabled = None,
            Some(false) if endpoint.disabled.is_none() => endpoint.disabled = Some(DisabledReason::Member),
            Some(false) | None => {}
        }
        if !errors.is_empty() {
            return Err(Refusal::Invalid(errors));
        }
        if let Some(service) = change.service {
            endpoint.service = self.service_of_endpoint(caller, service.as_deref()).await?;
        }
        Ok(())
    }

    /// The service that an endpoint is narrowed to. A key that is bound to one can name no other, nor all.
    async fn service_of_endpoint(&self, caller: &ApiCaller, named: Option<&str>) -> Result<Option<ServiceId>, Refusal> {
        match named {
            Some(named) => Ok(Some(self.service_for(caller, Some(named)).await?.id)),
            None if caller.service().is_some() => Err(Refusal::OtherService),
            None => Ok(None),
        }
    }
}

/// Whether a caller may see an endpoint.
fn visible(caller: &ApiCaller, endpoint: &Endpoint) -> bool {
    endpoint.mode == caller.mode() && caller.service().is_none_or(|bound| endpoint.service == Some(bound))
}

/// Insists that an endpoint is told anything.
pub(super) fn enabled(endpoint: &Endpoint) -> Result<(), Refusal> {
    match endpoint.disabled {
        None => Ok(()),
        Some(_) => Err(Refusal::field("endpoint", "is disabled; enable it first, with `{\"enabled\": true}`")),
    }
}
