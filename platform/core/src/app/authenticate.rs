use std::net::IpAddr;
use std::sync::Arc;

use super::{App, Refusal};
use crate::domain::api_key::{ApiKey, Scope, Secret};
use crate::domain::id::{ServiceId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::plan::Plan;
use crate::domain::rate::{Rate, RateDecision};
use crate::domain::service::Service;
use crate::domain::tenant::Tenant;
use crate::ports::{Bucket, TenantStore};

/// Whoever holds an API key that works.
#[derive(Debug, Clone)]
pub struct ApiCaller {
    /// The key.
    pub key: Arc<ApiKey>,
    /// Whose it is.
    pub tenant: Arc<Tenant>,
}

impl ApiCaller {
    /// Live or test.
    pub fn mode(&self) -> Mode {
        self.key.mode
    }

    /// Whether the key has a scope.
    pub fn may(&self, scope: Scope) -> bool {
        self.key.scopes.contains(&scope)
    }

    /// Insists on a scope.
    ///
    /// # Errors
    /// [`Refusal::Scope`].
    pub fn require(&self, scope: Scope) -> Result<(), Refusal> {
        if self.may(scope) { Ok(()) } else { Err(Refusal::Scope(scope)) }
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
    pub async fn authenticate(&self, secret: Option<&str>, ip: Option<IpAddr>) -> Result<ApiCaller, Refusal> {
        let secret = secret.ok_or(Refusal::NoKey(None))?;
        let hash = Secret::parse(secret).map_err(|error| Refusal::NoKey(Some(error)))?.hash();
        let now = self.now();
        let caller = match self.holders.find(&hash, now) {
            Some(caller) => caller,
            None => {
                let holder = self.ports.store.find_key(&hash).await?.ok_or(Refusal::UnknownKey)?;
                let caller = ApiCaller { key: Arc::new(holder.key), tenant: Arc::new(holder.tenant) };
                self.holders.keep(hash, caller.clone(), now);
                caller
            }
        };
        caller.key.admit(now, ip).map_err(Refusal::KeyRefused)?;
        Ok(caller)
    }

    pub(super) fn store_of(&self, caller: &ApiCaller) -> Box<dyn TenantStore + '_> {
        self.ports.store.tenant(caller.tenant.id)
    }

    pub(super) fn plan_of(&self, tenant: &Tenant) -> Result<&Plan, Refusal> {
        self.ports.plans.find(&tenant.plan).ok_or_else(|| Refusal::UnknownPlan(tenant.plan.clone()))
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
        let limits = &self.plan_of(&caller.tenant)?.limits;
        let Some(per_second) = limits.rate_per_second else { return Ok(None) };
        let rate = Rate { per_second, burst: limits.rate_burst.unwrap_or(per_second) };
        let buckets = [
            Bucket { name: format!("tenant:{}", caller.tenant.id), rate },
            Bucket { name: format!("key:{}", caller.key.id), rate },
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
        if let (Some(named), Some(bound)) = (named, caller.key.service)
            && named != bound
        {
            return Err(Refusal::OtherService);
        }
        let id = named.or(caller.key.service).unwrap_or(caller.tenant.default_service);
        self.service(caller.tenant.id, id).await?.ok_or(Refusal::NotFound("service"))
    }

    pub(super) async fn service(&self, tenant: TenantId, id: ServiceId) -> Result<Option<Arc<Service>>, Refusal> {
        let now = self.now();
        if let Some(service) = self.services.find(&id, now).filter(|service| service.tenant == tenant) {
            return Ok(Some(service));
        }
        let found = self.ports.store.tenant(tenant).find_service(id).await?.map(Arc::new);
        if let Some(service) = &found {
            self.services.keep(id, Arc::clone(service), now);
        }
        Ok(found)
    }
}
