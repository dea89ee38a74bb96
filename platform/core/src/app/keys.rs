use std::collections::BTreeSet;

use ipnet::IpNet;
use jiff::SignedDuration;
use serde_json::{Value, json};

use super::{ApiCaller, App, Refusal};
use crate::domain::Timestamp;
use crate::domain::api_key::{ApiKey, Scope, Secret};
use crate::domain::audit::{By, Deed};
use crate::domain::id::{ApiKeyId, ServiceId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::permission::Permission;
use crate::domain::tenant::{self, Tenant};
use crate::ports::{Change, Entropy, TenantStore};

/// Most keys of one tenant that work.
pub(super) const WORKING_MAX: usize = 200;
/// Most networks that one key may be used from.
const NETWORKS_MAX: usize = 50;
/// Longest that a key still works whose place another took: seven days.
pub const OVERLAP_MAX: SignedDuration = SignedDuration::from_hours(7 * 24);

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

/// What to change of a key: what is none stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyChange {
    /// What the tenant calls it.
    pub name: Option<String>,
    /// What it may do.
    pub scopes: Option<BTreeSet<Scope>>,
    /// The only service it may use; none within means any.
    pub service: Option<Option<ServiceId>>,
    /// When it stops working; none within means never.
    pub expires_at: Option<Option<Timestamp>>,
    /// Networks it may be used from; empty means any.
    pub allowed_ips: Option<Vec<IpNet>>,
}

/// How a key is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// How long the old one still works, at most seven days.
    pub overlap: SignedDuration,
    /// When the new one stops working; none means that it lasts as long as the old one was made for.
    pub expires_at: Option<Timestamp>,
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
        replaces: None,
        replaced_by: None,
        version: 0,
    };
    (key, secret)
}

/// What the audit log shows of a key: nothing of the key itself but its first characters.
pub(super) fn shown(key: &ApiKey) -> Value {
    json!({
        "name": key.name,
        "mode": key.mode,
        "shown": key.shown,
        "scopes": key.scopes,
        "service": key.service,
        "expires_at": key.expires_at,
        "allowed_ips": key.allowed_ips,
        "revoked_at": key.revoked_at,
        "replaces": key.replaces,
        "replaced_by": key.replaced_by,
    })
}

/// Nobody gives a key what they may not do themselves.
///
/// # Errors
/// [`Refusal::Role`].
fn may_give(caller: &ApiCaller, scopes: &BTreeSet<Scope>) -> Result<(), Refusal> {
    let given = Permission::ALL.iter().filter(|permission| permission.scope().is_some_and(|s| scopes.contains(&s)));
    given.copied().try_for_each(|permission| caller.require(permission))
}

impl App {
    /// Makes a key for a member of the tenant.
    ///
    /// # Errors
    /// As [`issue_key`](Self::issue_key); [`Refusal::Role`] for a scope that the caller does not have.
    pub async fn create_key(&self, caller: &ApiCaller, settings: NewKeySettings) -> Result<NewKey, Refusal> {
        may_give(caller, &settings.scopes)?;
        self.issue_key(&caller.by(), caller.tenant.id, settings).await
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for the tenant or service; [`Refusal::Invalid`]; [`Refusal::LimitReached`];
    /// [`Refusal::TenantDeleted`]; [`Refusal::Conflict`] when others change the tenant all the time;
    /// [`Refusal::Store`].
    pub async fn issue_key(&self, by: &By, tenant: TenantId, settings: NewKeySettings) -> Result<NewKey, Refusal> {
        let settings = &settings;
        self.in_turn(move || async move {
            let door = self.ports.store.tenant(tenant);
            let found = self.tenant_to_add_to(&*door).await?;
            let (key, secret) = draw_key(tenant, settings.clone(), self.now(), &*self.ports.entropy);
            let key = self.checked_key(&*door, key, None).await?;
            if !self.has_room_for_key(&*door, None).await? {
                return Err(Refusal::LimitReached("keys that work", WORKING_MAX));
            }
            let deed = Deed::of(tenant, "api_key.create", key.id).after(shown(&key));
            let changes =
                vec![Change::InsertKey(Box::new(key.clone()), secret.hash()), Change::ReplaceTenant(Box::new(found))];
            self.commit(by, vec![deed], changes).await?;
            Ok(NewKey { key, secret })
        })
        .await
    }

    /// The tenant that a key or a service is made for. Whoever makes one replaces it as it was read, before they were
    /// counted: of two that are made at once the second counts the first, and none comes into a tenant that is
    /// deleted.
    pub(super) async fn tenant_to_add_to(&self, door: &dyn TenantStore) -> Result<Tenant, Refusal> {
        let tenant = door.find_tenant().await?.ok_or(Refusal::NotFound("tenant"))?;
        match tenant.standing.erased_at() {
            Some(erased_at) => Err(Refusal::TenantDeleted { erased_at }),
            None => Ok(tenant),
        }
    }

    /// Whether one more key may work, besides those that do, but for one whose place it takes at once.
    async fn has_room_for_key(&self, door: &dyn TenantStore, but: Option<ApiKeyId>) -> Result<bool, Refusal> {
        let working = door.working_keys(self.now()).await?;
        Ok(working.iter().filter(|key| Some(key.id) != but).count() < WORKING_MAX)
    }

    /// Changes a key: here at once, in other processes within a second.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for the key or service; [`Refusal::Invalid`]; [`Refusal::Role`] for a scope that the
    /// caller does not have, of the key as it is or as it is to be; [`Refusal::KeyOver`]; [`Refusal::Conflict`] when
    /// somebody changed it at the same moment; [`Refusal::Store`].
    pub async fn change_key(&self, caller: &ApiCaller, id: ApiKeyId, change: KeyChange) -> Result<ApiKey, Refusal> {
        let door = self.store_of(caller);
        let before = self.key(&*door, id).await?;
        // As a rotation: whoever may not make such a key leaves it as it is, or revokes it.
        may_give(caller, &before.scopes)?;
        if before.is_over(self.now()) || before.replaced_by.is_some() {
            return Err(Refusal::KeyOver);
        }
        if let Some(scopes) = &change.scopes {
            may_give(caller, scopes)?;
        }
        let KeyChange { name, scopes, service, expires_at, allowed_ips } = change;
        let mut key = before.clone();
        key.name = name.unwrap_or(key.name);
        key.scopes = scopes.unwrap_or(key.scopes);
        key.service = service.unwrap_or(key.service);
        key.expires_at = expires_at.unwrap_or(key.expires_at);
        key.allowed_ips = allowed_ips.unwrap_or(key.allowed_ips);
        let key = self.checked_key(&*door, key, Some(&before)).await?;
        if key != before {
            let deed = Deed::of(key.tenant, "api_key.change", id).between(shown(&before), shown(&key));
            self.commit(&caller.by(), vec![deed], vec![Change::ReplaceKey(Box::new(key.clone()))]).await?;
            self.changed(key.tenant).await;
        }
        Ok(key)
    }

    /// Makes a key that takes the place of another. The old one works until the overlap ends, or until it
    /// would have expired if that is sooner.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::KeyOver`]; [`Refusal::Invalid`], also where both would be one more than may
    /// work; [`Refusal::Role`] for a scope that the caller does not have; [`Refusal::TenantDeleted`];
    /// [`Refusal::Conflict`] when others change the tenant all the time; [`Refusal::Store`].
    pub async fn rotate_key(&self, caller: &ApiCaller, id: ApiKeyId, rotation: Rotation) -> Result<NewKey, Refusal> {
        let (by, may) = (&caller.by(), |key: &ApiKey| may_give(caller, &key.scopes));
        self.in_turn(|| self.replace(by, caller.tenant.id, id, rotation, may)).await
    }

    /// As [`rotate_key`](Self::rotate_key), for the command line.
    ///
    /// # Errors
    /// As there, but for the role.
    pub async fn rotate_key_of(
        &self,
        by: &By,
        tenant: TenantId,
        id: ApiKeyId,
        rotation: Rotation,
    ) -> Result<NewKey, Refusal> {
        self.in_turn(|| self.replace(by, tenant, id, rotation, |_| Ok(()))).await
    }

    async fn replace(
        &self,
        by: &By,
        tenant: TenantId,
        id: ApiKeyId,
        rotation: Rotation,
        may: impl Fn(&ApiKey) -> Result<(), Refusal> + Send,
    ) -> Result<NewKey, Refusal> {
        let (now, door) = (self.now(), self.ports.store.tenant(tenant));
        let found = self.tenant_to_add_to(&*door).await?;
        let before = self.key(&*door, id).await?;
        may(&before)?;
        if before.is_over(now) || before.replaced_by.is_some() {
            return Err(Refusal::KeyOver);
        }
        if rotation.overlap.is_negative() || rotation.overlap > OVERLAP_MAX {
            return Err(Refusal::field("overlap_seconds", "is 0 to 604800, which is seven days"));
        }
        let life = before.expires_at.map(|at| at.duration_since(before.created_at));
        let settings = NewKeySettings {
            name: before.name.clone(),
            mode: before.mode,
            scopes: before.scopes.clone(),
            service: before.service,
            expires_at: rotation.expires_at.or(life.map(|life| now.saturating_add(life).unwrap_or(Timestamp::MAX))),
            allowed_ips: before.allowed_ips.clone(),
        };
        let (mut key, secret) = draw_key(before.tenant, settings, now, &*self.ports.entropy);
        key.replaces = Some(before.id);
        let key = self.checked_key(&*door, key, Some(&before)).await?;
        if !self.has_room_for_key(&*door, rotation.overlap.is_zero().then_some(id)).await? {
            let full = format!("a tenant has at most {WORKING_MAX} keys that work; revoke one, or leave no overlap");
            return Err(Refusal::field("overlap_seconds", full));
        }
        let mut old = before.clone();
        old.replaced_by = Some(key.id);
        let ends_at = now.saturating_add(rotation.overlap).unwrap_or(Timestamp::MAX);
        old.expires_at = Some(old.expires_at.map_or(ends_at, |at| at.min(ends_at)));
        let deeds = vec![
            Deed::of(key.tenant, "api_key.create", key.id).after(shown(&key)),
            Deed::of(key.tenant, "api_key.rotate", old.id).between(shown(&before), shown(&old)),
        ];
        let changes = vec![
            Change::InsertKey(Box::new(key.clone()), secret.hash()),
            Change::ReplaceKey(Box::new(old)),
            Change::ReplaceTenant(Box::new(found)),
        ];
        self.commit(by, deeds, changes).await?;
        self.changed(key.tenant).await;
        Ok(NewKey { key, secret })
    }

    /// Stops a key: here at once, in other processes within a second. Revoking it again changes
    /// nothing.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn revoke_key(&self, by: &By, tenant: TenantId, id: ApiKeyId) -> Result<ApiKey, Refusal> {
        let door = self.ports.store.tenant(tenant);
        loop {
            let before = self.key(&*door, id).await?;
            if before.revoked_at.is_some() {
                return Ok(before);
            }
            let mut key = before.clone();
            key.revoked_at = Some(self.now());
            let deed = Deed::of(tenant, "api_key.revoke", id).between(shown(&before), shown(&key));
            match self.commit(by, vec![deed], vec![Change::ReplaceKey(Box::new(key.clone()))]).await {
                Ok(()) => {
                    self.changed(tenant).await;
                    return Ok(key);
                }
                // Whatever somebody else changed, it is to stop.
                Err(Refusal::Conflict) => {}
                Err(refusal) => return Err(refusal),
            }
        }
    }

    pub(super) async fn key(&self, door: &dyn TenantStore, id: ApiKeyId) -> Result<ApiKey, Refusal> {
        door.find_key(id).await?.ok_or(Refusal::NotFound("API key"))
    }

    /// The key as it is kept, if it holds. Its name is looked at where it is not that of the key `before`: one that was
    /// taken before the rule was what it is keeps nobody from changing the rest, or from rotating it.
    async fn checked_key(
        &self,
        door: &dyn TenantStore,
        mut key: ApiKey,
        before: Option<&ApiKey>,
    ) -> Result<ApiKey, Refusal> {
        if before.is_none_or(|before| before.name != key.name) {
            key.name = tenant::name(&key.name).map_err(|error| Refusal::field("name", error.to_string()))?;
        }
        if key.scopes.is_empty() {
            return Err(Refusal::field("scopes", "a key without scopes can do nothing; name at least one"));
        }
        if key.expires_at.is_some_and(|at| at <= self.now()) {
            return Err(Refusal::field("expires_at", "lies in the past"));
        }
        if key.allowed_ips.len() > NETWORKS_MAX {
            return Err(Refusal::field("allowed_ips", format!("a key has at most {NETWORKS_MAX} networks")));
        }
        if let Some(service) = key.service {
            door.find_service(service).await?.ok_or(Refusal::NotFound("service"))?;
        }
        Ok(key)
    }
}
