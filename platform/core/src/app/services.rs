use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{ApiCaller, App, FieldError, PREVIEW_CODE, Refusal};
use crate::domain::audit::Deed;
use crate::domain::id::ServiceId;
use crate::domain::locale::Locale;
use crate::domain::service::{Service, Settings};
use crate::domain::template::{self, CustomTemplate, Inputs, Rendered, TemplateSet};
use crate::domain::tenant;
use crate::ports::{Change, Owner};

/// Most services of one tenant.
const SERVICES_MAX: usize = 100;

/// A change to a service, or a new one: what is none stays, or is the default.
#[derive(Debug, Clone, Default)]
pub struct ServiceChange {
    /// What the tenant calls it.
    pub name: Option<String>,
    /// All settings, as they are to be.
    pub settings: Option<Settings>,
}

/// A text to publish or to preview.
#[derive(Debug, Clone)]
pub struct NewTemplate {
    /// For one channel; none for any.
    pub channel: Option<String>,
    /// In this language.
    pub locale: Locale,
    /// For channels that show one.
    pub subject: Option<String>,
    /// With `{{code}}`.
    pub text: String,
}

impl App {
    /// The services that the caller's key may use, oldest first.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn list_services(&self, caller: &ApiCaller) -> Result<Vec<Service>, Refusal> {
        let mut services = self.store_of(caller).services().await?;
        services.retain(|service| caller.service().is_none_or(|bound| service.id == bound));
        Ok(services)
    }

    /// One service.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherService`], [`Refusal::Store`].
    pub async fn find_service(&self, caller: &ApiCaller, id: ServiceId) -> Result<Service, Refusal> {
        if caller.service().is_some_and(|bound| bound != id) {
            return Err(Refusal::OtherService);
        }
        self.store_of(caller).find_service(id).await?.ok_or(Refusal::NotFound("service"))
    }

    /// Creates a service.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::OtherService`] for a key bound to one, [`Refusal::LimitReached`],
    /// [`Refusal::TenantDeleted`], [`Refusal::Conflict`] when others change the tenant all the time,
    /// [`Refusal::Store`].
    pub async fn create_service(&self, caller: &ApiCaller, change: ServiceChange) -> Result<Service, Refusal> {
        if caller.service().is_some() {
            return Err(Refusal::OtherService);
        }
        let now = self.now();
        let service = Service {
            id: ServiceId::new(now, &*self.ports.entropy),
            tenant: caller.tenant.id,
            version: 1,
            name: change.name.ok_or_else(|| Refusal::field("name", "is missing"))?,
            settings: change.settings.unwrap_or_default(),
            templates: TemplateSet::default(),
            created_at: now,
            updated_at: now,
        };
        let service = &checked(service, None)?;
        // Many at once would fail each other over and over: they go one after another, and only nodes race.
        let _turn = self.additions.turn(std::iter::once(Owner::Tenant(service.tenant))).await;
        self.in_turn(move || async move {
            let door = self.store_of(caller);
            let tenant = self.tenant_to_add_to(&*door).await?;
            if door.services().await?.len() >= SERVICES_MAX {
                return Err(Refusal::LimitReached("services", SERVICES_MAX));
            }
            let deed = Deed::of(service.tenant, "service.create", service.id).after(shown(service));
            let changes =
                vec![Change::InsertService(Box::new(service.clone())), Change::ReplaceTenant(Box::new(tenant))];
            self.commit(&caller.by(), vec![deed], changes).await?;
            Ok(service.clone())
        })
        .await
    }

    /// Changes a service. Verifications under way keep the settings they started with.
    ///
    /// `change` is given the settings as they are and says what they are to be.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Store`].
    pub async fn change_service(
        &self,
        caller: &ApiCaller,
        id: ServiceId,
        change: impl Fn(&Service) -> ServiceChange + Send + Sync,
    ) -> Result<Service, Refusal> {
        self.edit_service(caller, id, "service.change", |service| {
            let change = change(service);
            if let Some(name) = change.name {
                service.name = name;
            }
            if let Some(settings) = change.settings {
                service.settings = settings;
            }
            Ok(())
        })
        .await
    }

    /// Publishes a text: the next version for its channel and language.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Store`].
    pub async fn publish_template(
        &self,
        caller: &ApiCaller,
        id: ServiceId,
        new: NewTemplate,
    ) -> Result<CustomTemplate, Refusal> {
        let service = self
            .edit_service(caller, id, "template.publish", |service| {
                let policy = template::Policy { links_allowed: service.settings.links_allowed };
                let published = service.templates.publish(
                    new.channel.as_deref(),
                    new.locale,
                    new.subject.as_deref(),
                    &new.text,
                    self.now(),
                    policy,
                );
                published.map(|_| ()).map_err(|error| Refusal::field("text", error.to_string()))
            })
            .await?;
        let published = service.templates.latest(new.channel.as_deref(), &new.locale);
        published.cloned().ok_or(Refusal::Conflict)
    }

    /// Withdraws the texts for one channel and language: the built-in text is used again.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn withdraw_template(
        &self,
        caller: &ApiCaller,
        id: ServiceId,
        channel: Option<&str>,
        locale: &Locale,
    ) -> Result<(), Refusal> {
        let withdraw = |service: &mut Service| {
            if service.templates.withdraw(channel, locale) { Ok(()) } else { Err(Refusal::NotFound("template")) }
        };
        self.edit_service(caller, id, "template.withdraw", withdraw).await.map(|_| ())
    }

    /// What a text would look like, without publishing it; the built-in text when none is given.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Store`].
    pub async fn preview_template(
        &self,
        caller: &ApiCaller,
        id: ServiceId,
        locale: Locale,
        new: Option<NewTemplate>,
    ) -> Result<Rendered, Refusal> {
        let service = self.find_service(caller, id).await?;
        let settings = &service.settings;
        let inputs = Inputs {
            brand: &settings.brand,
            code: PREVIEW_CODE,
            expires_in: SignedDuration::from_secs(settings.code.expires_in_seconds.into()),
            web_origin: settings.web_origin.as_deref(),
            sms_retriever_hash: settings.sms_retriever_hash.as_deref(),
        };
        let Some(new) = new else { return Ok(template::render(&locale, None, &inputs)) };
        let mut trial = TemplateSet::default();
        let policy = template::Policy { links_allowed: settings.links_allowed };
        let published =
            trial.publish(new.channel.as_deref(), new.locale, new.subject.as_deref(), &new.text, self.now(), policy);
        let own = published.map_err(|error| Refusal::field("text", error.to_string()))?;
        Ok(template::render(&new.locale, Some(own), &inputs))
    }

    async fn edit_service(
        &self,
        caller: &ApiCaller,
        id: ServiceId,
        action: &'static str,
        edit: impl Fn(&mut Service) -> Result<(), Refusal> + Send + Sync,
    ) -> Result<Service, Refusal> {
        let before = self.find_service(caller, id).await?;
        let mut service = before.clone();
        edit(&mut service)?;
        let mut service = checked(service, Some(&before))?;
        if service == before {
            return Ok(service);
        }
        service.updated_at = self.now();
        let deed = Deed::of(service.tenant, action, id).between(shown(&before), shown(&service));
        self.commit(&caller.by(), vec![deed], vec![Change::ReplaceService(Box::new(service.clone()))]).await?;
        service.version = service.version.saturating_add(1);
        self.changed(service.tenant).await;
        self.services.keep(id, Arc::new(service.clone()), self.now());
        Ok(service)
    }
}

/// What the audit log shows of a service. Texts by channel and language, so that only those differ that changed.
pub(super) fn shown(service: &Service) -> Value {
    let texts: serde_json::Map<String, Value> = service
        .templates
        .current()
        .map(|text| {
            let name = format!("{}/{}", text.channel.as_deref().unwrap_or("*"), text.locale);
            (name, json!({ "version": text.version, "subject": text.subject, "text": text.text }))
        })
        .collect();
    json!({ "name": service.name, "settings": service.settings, "templates": texts })
}

/// The service as it is kept, if it holds. Its names are looked at where they are not those that it had `before`: one
/// that was taken before the rules were what they are keeps nobody from changing the rest.
fn checked(mut service: Service, before: Option<&Service>) -> Result<Service, Refusal> {
    let mut errors = Vec::new();
    if before.is_none_or(|before| before.name != service.name) {
        match tenant::name(&service.name) {
            Ok(name) => service.name = name,
            Err(error) => errors.push(FieldError { field: "name".to_owned(), message: error.to_string() }),
        }
    }
    let same_brand = before.is_some_and(|before| before.settings.brand == service.settings.brand);
    if !same_brand {
        service.settings.brand = service.settings.brand.trim().to_owned();
    }
    if let Err(wrong) = service.settings.check() {
        errors.extend(
            wrong
                .into_iter()
                .filter(|error| !(same_brand && error.field == "brand"))
                .map(|error| FieldError { field: error.field.to_owned(), message: error.expected.to_owned() }),
        );
    }
    if errors.is_empty() { Ok(service) } else { Err(Refusal::Invalid(errors)) }
}
