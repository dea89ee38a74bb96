use std::collections::BTreeSet;

use ipnet::IpNet;

use super::{App, Refusal};
use crate::domain::Timestamp;
use crate::domain::api_key::{ApiKey, Scope, Secret};
use crate::domain::id::{ApiKeyId, ServiceId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::tenant;
use crate::ports::{Entropy, ReplaceError};

/// What a new key is to be like.
#[derive(Debug, Clone)]
pub struct NewKeySettings {
    /// What the tenant calls it.
    pub name: String,
    /// Live or test.
    pub mode: Mode,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only service it may use.
    pub service: Option<ServiceId>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// Networks it may be used from; empty means any.
    pub allowed_ips: Vec<IpNet>,
}

impl NewKeySettings {
    /// A key with the standard scopes and no bounds.
    pub fn named(name: &str, mode: Mode) -> Self {
        Self {
            name: name.to_owned(),
            mode,
            scopes: Scope::standard(),
            service: None,
            expires_at: None,
            allowed_ips: Vec::new(),
        }
    }
}

/// A key as it was just made. The secret is shown this once.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What is kept of it.
    pub key: ApiKey,
    /// The key.
    pub secret: Secret,
}

pub(super) fn draw_key(
    tenant: TenantId,
    settings: NewKeySettings,
    now: Timestamp,
    entropy: &dyn Entropy,
) -> (ApiKey, Secret) {
    let secret = Secret::draw(settings.mode, entropy);
    let key = ApiKey {
        id: ApiKeyId::new(now, entropy),
        tenant,
        name: settings.name,
        mode: settings.mode,
        shown: secret.shown().to_owned(),
        scopes: settings.scopes,
        service: settings.service,
        expires_at: settings.expires_at,
        allowed_ips: settings.allowed_ips,
        created_at: now,
        revoked_at: None,
    };
    (key, secret)
}

pub(super) fn replaced(error: ReplaceError) -> Refusal {
    match error {
        ReplaceError::Conflict => Refusal::Conflict,
        ReplaceError::Store(error) => Refusal::Store(error),
    }
}

impl App {
    /// Makes a key.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for the tenant or service; [`Refusal::Invalid`]; [`Refusal::Store`].
    pub async fn issue_key(&self, tenant: TenantId, settings: NewKeySettings) -> Result<NewKey, Refusal> {
        let name = tenant::name(&settings.name).map_err(|error| Refusal::field("name", error.to_string()))?;
        let now = self.now();
        if settings.scopes.is_empty() {
            return Err(Refusal::field("scopes", "a key without scopes can do nothing; name at least one"));
        }
        if settings.expires_at.is_some_and(|at| at <= now) {
            return Err(Refusal::field("expires_at", "lies in the past"));
        }
        let door = self.ports.store.tenant(tenant);
        door.find_tenant().await?.ok_or(Refusal::NotFound("tenant"))?;
        if let Some(service) = settings.service {
            door.find_service(service).await?.ok_or(Refusal::NotFound("service"))?;
        }
        let (key, secret) = draw_key(tenant, NewKeySettings { name, ..settings }, now, &*self.ports.entropy);
        door.insert_key(&key, &secret.hash()).await?;
        Ok(NewKey { key, secret })
    }

    /// Every key of a tenant, revoked ones too, oldest first.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for the tenant; [`Refusal::Store`].
    pub async fn list_keys(&self, tenant: TenantId) -> Result<Vec<ApiKey>, Refusal> {
        let door = self.ports.store.tenant(tenant);
        door.find_tenant().await?.ok_or(Refusal::NotFound("tenant"))?;
        Ok(door.keys().await?)
    }

    /// Stops a key: here at once, in other processes within a second. Revoking it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn revoke_key(&self, tenant: TenantId, id: ApiKeyId) -> Result<ApiKey, Refusal> {
        let door = self.ports.store.tenant(tenant);
        let found = door.keys().await?.into_iter().find(|key| key.id == id);
        let mut key = found.ok_or(Refusal::NotFound("API key"))?;
        if key.revoked_at.is_none() {
            key.revoked_at = Some(self.now());
            door.replace_key(&key).await.map_err(replaced)?;
            self.changed(tenant).await;
        }
        Ok(key)
    }
}
