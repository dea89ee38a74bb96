use serde_json::json;

use super::logs::in_both;
use crate::app::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::event::{Event, Fact, PlanData, SuspensionData};
use crate::domain::id::TenantId;
use crate::domain::plan::Limits;
use crate::domain::template;
use crate::domain::tenant::{HOUSE, Suspension, Tenant};
use crate::ports::{Change, TenantSearch};

/// Longest reason of a suspension, in characters.
const REASON_LENGTH_MAX: usize = 300;

/// What an operator changes of a tenant; what is left out stays.
#[derive(Debug, Clone, Default)]
pub struct TenantChange {
    /// Another plan.
    pub plan: Option<String>,
    /// Limits in place of the plan's: all of them, none named means the plan's.
    pub limits: Option<Limits>,
}

impl App {
    /// Tenants that `search` finds, oldest first, but the platform's own.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn search_tenants(&self, search: &TenantSearch) -> Result<Vec<Tenant>, Refusal> {
        let room = TenantSearch { limit: search.limit.saturating_add(1), ..search.clone() };
        let mut found = self.ports.store.search_tenants(&room).await?;
        found.retain(|tenant| tenant.id != HOUSE);
        found.truncate(search.limit);
        Ok(found)
    }

    /// One tenant, whatever its standing.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn tenant(&self, id: TenantId) -> Result<Tenant, Refusal> {
        let found = self.ports.store.tenant(id).find_tenant().await?;
        found.filter(|tenant| tenant.id != HOUSE).ok_or(Refusal::NotFound("tenant on this platform"))
    }

    /// Changes a tenant's plan or limits, from now on. The tenant is told of it by an event, and at once of what is used
    /// up by those.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn change_tenant(&self, by: &By, id: TenantId, change: TenantChange) -> Result<Tenant, Refusal> {
        if let Some(plan) = &change.plan {
            self.known_plan(plan)?;
        }
        if let Some(limits) = &change.limits {
            limits.check().map_err(|(name, right)| Refusal::field(format!("limits.{name}"), right))?;
        }
        let before = self.tenant(id).await?;
        let mut tenant = before.clone();
        if let Some(plan) = change.plan {
            tenant.plan = plan;
        }
        if let Some(limits) = change.limits {
            tenant.limits = limits;
        }
        if tenant == before {
            return Ok(tenant);
        }
        let shown = |tenant: &Tenant| json!({ "plan": tenant.plan, "limits": tenant.limits });
        let deed = Deed::of(id, "tenant.change", id).before(shown(&before)).after(shown(&tenant));
        let fact = Fact::TenantPlanChanged(PlanData::between(&before, &tenant));
        let changed = self.replace_tenant(by, deed, &fact, tenant).await?;
        if let Err(error) = self.look_at_quotas(id).await {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(tenant = %id, error, "whether quotas are used up is looked at when the tenant next uses one");
        }
        Ok(changed)
    }

    /// Stops a tenant: its callers are refused and told why, until it is resumed, and its endpoints by an event. Codes
    /// and webhooks that are under way still go out. Of a deleted one it holds when an owner has it back.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn suspend_tenant(&self, by: &By, id: TenantId, reason: &str) -> Result<Tenant, Refusal> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_LENGTH_MAX || reason.chars().any(template::is_control) {
            return Err(Refusal::field("reason", "is 1 to 300 characters on one line; the tenant's members read it"));
        }
        let mut tenant = self.tenant(id).await?;
        let mut deed = Deed::of(id, "tenant.suspend", id).after(json!({ "reason": reason }));
        if let Some(before) = tenant.standing.suspension() {
            deed = deed.before(json!({ "reason": before.reason }));
        }
        let suspension = Suspension { since: self.now(), reason: reason.to_owned() };
        let fact = Fact::TenantSuspended(SuspensionData::from(&suspension));
        tenant.standing.suspend(Some(suspension));
        self.replace_tenant(by, deed, &fact, tenant).await
    }

    /// Lets a suspended tenant go on. One that is not suspended stays as it is.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn resume_tenant(&self, by: &By, id: TenantId) -> Result<Tenant, Refusal> {
        let mut tenant = self.tenant(id).await?;
        let Some(before) = tenant.standing.suspension() else { return Ok(tenant) };
        let deed = Deed::of(id, "tenant.resume", id).before(json!({ "reason": before.reason }));
        let fact = Fact::TenantResumed(SuspensionData::from(before));
        tenant.standing.suspend(None);
        self.replace_tenant(by, deed, &fact, tenant).await
    }

    /// Replaces a tenant, with what the logs say of it and what the tenant is told. A deleted one is told nothing, as
    /// nothing comes into its log any more: what is being erased must not grow.
    async fn replace_tenant(&self, by: &By, deed: Deed, fact: &Fact, tenant: Tenant) -> Result<Tenant, Refusal> {
        let id = tenant.id;
        let told = tenant.standing.erased_at().is_none();
        let event = told.then(|| Event::new(id, None, fact, self.now(), &*self.ports.entropy));
        self.commit_for(&tenant, by, in_both(deed), event.iter().map(Change::insert).collect()).await?;
        self.changed(id).await;
        Ok(Tenant { version: tenant.version.saturating_add(1), ..tenant })
    }
}
