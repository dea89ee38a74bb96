use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use super::{App, Refusal};
use crate::domain::api_key::{ApiKey, Secret};
use crate::domain::audit::{Actor, By};
use crate::domain::id::{AccessId, ServiceId, SessionId, TenantId, UserId};
use crate::domain::mode::Mode;
use crate::domain::permission::{Permission, Role};
use crate::domain::plan::Plan;
use crate::domain::rate::{Rate, RateDecision};
use crate::domain::service::Service;
use crate::domain::tenant::{HOUSE, Standing, Tenant};
use crate::ports::{Bucket, TenantStore};

/// Whoever may do something for a tenant: a program with a key, or a member with a session.
#[derive(Debug, Clone)]
pub struct ApiCaller {
    /// For whom.
    pub tenant: Arc<Tenant>,
    /// With what.
    pub holder: Holder,
    /// From which address.
    pub ip: Option<IpAddr>,
    /// In which call.
    pub request: Option<Arc<str>>,
}

/// What a caller has that lets it in.
#[derive(Debug, Clone)]
pub enum Holder {
    /// An API key that works.
    Key(Arc<ApiKey>),
    /// A session of a member.
    Member(Membership),
    /// The platform itself, for its own tenant: codes to people who sign up.
    Platform,
}

/// A person in a tenant, for one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Membership {
    /// Who.
    pub user: UserId,
    /// What they are in the tenant.
    pub role: Role,
    /// In which session.
    pub session: SessionId,
    /// Live, unless they asked for test.
    pub mode: Mode,
    /// By what access it is an operator who acts for the tenant; none for a member.
    pub acting: Option<AccessId>,
}

impl Membership {
    /// Whether it has a permission.
    pub fn may(&self, permission: Permission) -> bool {
        self.role.may(permission) && (self.acting.is_none() || !permission.is_for_members())
    }

    /// Insists on a permission.
    ///
    /// # Errors
    /// [`Refusal::ForMembers`] for an operator who acts for the tenant, [`Refusal::Role`].
    pub fn require(&self, permission: Permission) -> Result<(), Refusal> {
        match self.may(permission) {
            true => Ok(()),
            false if self.acting.is_some() && permission.is_for_members() => Err(Refusal::ForMembers),
            false => Err(Refusal::Role(permission.role())),
        }
    }
}

impl ApiCaller {
    /// Live or test.
    pub fn mode(&self) -> Mode {
        match &self.holder {
            Holder::Key(key) => key.mode,
            Holder::Member(member) => member.mode,
            Holder::Platform => Mode::Live,
        }
    }

    /// The only service that the caller may use; none means any of the tenant's.
    pub fn service(&self) -> Option<ServiceId> {
        self.key().and_then(|key| key.service)
    }

    /// The key, if that is what lets the caller in.
    pub fn key(&self) -> Option<&ApiKey> {
        match &self.holder {
            Holder::Key(key) => Some(key),
            Holder::Member(_) | Holder::Platform => None,
        }
    }

    /// Whether it has a permission.
    pub fn may(&self, permission: Permission) -> bool {
        match &self.holder {
            Holder::Key(key) => permission.scope().is_some_and(|scope| key.scopes.contains(&scope)),
            Holder::Member(member) => member.may(permission),
            Holder::Platform => true,
        }
    }

    /// Insists on a permission.
    ///
    /// # Errors
    /// [`Refusal::Scope`] for a key, [`Refusal::KeyNotAllowed`] where no key can have it, [`Refusal::Role`]
    /// for a member, [`Refusal::ForMembers`] for an operator.
    pub fn require(&self, permission: Permission) -> Result<(), Refusal> {
        match (&self.holder, permission.scope()) {
            (Holder::Member(member), _) => member.require(permission),
            (Holder::Platform, _) => Ok(()),
            (Holder::Key(_), Some(_)) if self.may(permission) => Ok(()),
            (Holder::Key(_), Some(scope)) => Err(Refusal::Scope(scope)),
            (Holder::Key(_), None) => Err(Refusal::KeyNotAllowed),
        }
    }

    /// Who does what this call does, for the audit log.
    pub fn by(&self) -> By {
        let actor = match &self.holder {
            Holder::Key(key) => Actor::ApiKey { key: key.id },
            Holder::Member(member) if member.acting.is_some() => Actor::Operator { user: member.user },
            Holder::Member(member) => Actor::User { user: member.user },
            Holder::Platform => Actor::Platform,
        };
        By { actor, ip: self.ip, request: self.request.as_deref().map(str::to_owned) }
    }
}

/// Whether a tenant's callers are served.
///
/// # Errors
/// [`Refusal::Suspended`], [`Refusal::TenantDeleted`].
pub(super) fn served(tenant: &Tenant) -> Result<(), Refusal> {
    match &tenant.standing {
        Standing::Active => Ok(()),
        Standing::Suspended(suspension) => Err(Refusal::Suspended(suspension.reason.clone())),
        Standing::Deleted { erased_at, .. } => Err(Refusal::TenantDeleted { erased_at: *erased_at }),
    }
}

/// Whether a tenant's callers are served with what takes this permission. Owners delete a suspended tenant too: else
/// a person who is the only owner could not erase their account.
///
/// # Errors
/// [`Refusal::Suspended`], [`Refusal::TenantDeleted`].
pub(super) fn served_for(tenant: &Tenant, permission: Permission) -> Result<(), Refusal> {
    match served(tenant) {
        Err(Refusal::Suspended(_)) if permission == Permission::TenantDelete => Ok(()),
        served => served,
    }
}

impl App {
    /// Who holds this key.
    ///
    /// A mistyped key is refused without a look-up. Somebody else's change to a key is seen within
    /// a second.
    ///
    /// # Errors
    /// [`Refusal::NoKey`], [`Refusal::UnknownKey`], [`Refusal::KeyRefused`], [`Refusal::Store`].
    pub async fn authenticate(
        &self,
        secret: Option<&str>,
        ip: Option<IpAddr>,
        request: Option<Arc<str>>,
    ) -> Result<ApiCaller, Refusal> {
        let secret = secret.ok_or(Refusal::NoKey(None))?;
        let hash = Secret::parse(secret).map_err(|error| Refusal::NoKey(Some(error)))?.hash();
        let now = self.now();
        let (key, tenant) = match self.holders.find(&hash, now) {
            Some(known) => known,
            None => {
                // A key that is revoked while it is read must not come back from memory.
                let forgotten = self.holders.forgotten();
                let holder = self.ports.store.find_key(&hash).await?.ok_or(Refusal::UnknownKey)?;
                let known = (Arc::new(holder.key), Arc::new(holder.tenant));
                self.holders.keep_unless_forgotten(forgotten, hash, known.clone(), now);
                known
            }
        };
        key.admit(now, ip).map_err(Refusal::KeyRefused)?;
        served(&tenant)?;
        self.key_uses.note(&key, now);
        Ok(ApiCaller { tenant, holder: Holder::Key(key), ip, request })
    }

    pub(super) fn store_of(&self, caller: &ApiCaller) -> Box<dyn TenantStore + '_> {
        self.ports.store.tenant(caller.tenant.id)
    }

    /// A tenant's plan, with what an operator set in place of it.
    pub(super) fn plan_of(&self, tenant: &Tenant) -> Result<Cow<'_, Plan>, Refusal> {
        if tenant.id == HOUSE {
            return Ok(Cow::Borrowed(self.house.plan()));
        }
        let plan = self.ports.plans.find(&tenant.plan).ok_or_else(|| Refusal::UnknownPlan(tenant.plan.clone()))?;
        if tenant.limits.is_empty() {
            return Ok(Cow::Borrowed(plan));
        }
        Ok(Cow::Owned(tenant.plan_with_limits(plan)))
    }

    /// Counts a call that starts something against the rates of the tenant and the key.
    ///
    /// Returns the tenant's bucket after it; nothing when the plan has no rate, or when the limiter does
    /// not answer. Then the call goes on: what is paid for, quota and the limits of addresses, is
    /// counted in the store, and a limiter that is away must not be worse than none.
    ///
    /// # Errors
    /// [`Refusal::Rate`].
    pub async fn take_rate(&self, caller: &ApiCaller) -> Result<Option<(Rate, RateDecision)>, Refusal> {
        let plan = self.plan_of(&caller.tenant)?;
        let limits = &plan.limits;
        let Some(per_second) = limits.rate_per_second else { return Ok(None) };
        let rate = Rate { per_second, burst: limits.rate_burst.unwrap_or(per_second) };
        let buckets = [
            Bucket { name: format!("tenant:{}", caller.tenant.id), rate },
            match &caller.holder {
                Holder::Key(key) => Bucket { name: format!("key:{}", key.id), rate },
                Holder::Member(member) => Bucket { name: format!("user:{}", member.user), rate },
                Holder::Platform => return Ok(None),
            },
        ];
        // Whoever gives us a limiter that can be away watches over it.
        let Ok(decisions) = self.ports.limiter.take(&buckets, self.now()).await else { return Ok(None) };
        for (policy, decision) in ["tenant", "key"].into_iter().zip(&decisions) {
            if !decision.allowed {
                return Err(Refusal::Rate { policy, rate, decision: *decision });
            }
        }
        Ok(decisions.first().map(|decision| (rate, *decision)))
    }

    /// The service that a call names, else the key's, else the tenant's default.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::OtherService`], [`Refusal::Invalid`], [`Refusal::Store`].
    pub(super) async fn service_for(&self, caller: &ApiCaller, named: Option<&str>) -> Result<Arc<Service>, Refusal> {
        let named = named
            .map(str::parse::<ServiceId>)
            .transpose()
            .map_err(|error| Refusal::field("service", error.to_string()))?;
        if let (Some(named), Some(bound)) = (named, caller.service())
            && named != bound
        {
            return Err(Refusal::OtherService);
        }
        let id = named.or(caller.service()).unwrap_or(caller.tenant.default_service);
        self.service(caller.tenant.id, id).await?.ok_or(Refusal::NotFound("service"))
    }

    pub(super) async fn service(&self, tenant: TenantId, id: ServiceId) -> Result<Option<Arc<Service>>, Refusal> {
        let now = self.now();
        if let Some(service) = self.services.find(&id, now).filter(|service| service.tenant == tenant) {
            return Ok(Some(service));
        }
        let forgotten = self.services.forgotten();
        let found = self.ports.store.tenant(tenant).find_service(id).await?.map(Arc::new);
        if let Some(service) = &found {
            self.services.keep_unless_forgotten(forgotten, id, Arc::clone(service), now);
        }
        Ok(found)
    }
}
