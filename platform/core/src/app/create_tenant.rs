use serde_json::json;

use super::keys::{draw_key, shown as shown_key};
use super::{App, NewKeySettings, Refusal};
use crate::domain::api_key::Secret;
use crate::domain::audit::{By, Deed};
use crate::domain::event::{Event, Fact, PlanData};
use crate::domain::id::{ServiceId, TenantId};
use crate::domain::mode::Mode;
use crate::domain::plan::Limits;
use crate::domain::service::{BRAND_LENGTH_MAX, Service, Settings};
use crate::domain::template::{self, TemplateSet};
use crate::domain::tenant::{self, Standing, Tenant};
use crate::ports::Change;

/// A tenant as it was just created. The keys are shown this once.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// The tenant.
    pub tenant: Tenant,
    /// Its first service.
    pub service: Service,
    /// A key that reaches people.
    pub live_key: Secret,
    /// A key that does not.
    pub test_key: Secret,
}

impl App {
    /// Creates a tenant with a first service, named and branded like it, and two keys, for the command line.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the name or an unknown plan; [`Refusal::Store`].
    pub async fn create_tenant(&self, name: &str, plan: &str) -> Result<NewTenant, Refusal> {
        let (tenant, service) = self.draw_tenant(name, plan)?;
        let (now, entropy) = (self.now(), &*self.ports.entropy);
        let key = |name: &str, mode| draw_key(tenant.id, NewKeySettings::named(name, mode), now, entropy);
        let (live, live_key) = key("first live key", Mode::Live);
        let (test, test_key) = key("first test key", Mode::Test);
        let deeds = vec![
            Deed::of(tenant.id, "tenant.create", tenant.id).after(json!({ "name": tenant.name, "plan": tenant.plan })),
            Deed::of(tenant.id, "service.create", service.id).after(super::services::shown(&service)),
            Deed::of(tenant.id, "api_key.create", live.id).after(shown_key(&live)),
            Deed::of(tenant.id, "api_key.create", test.id).after(shown_key(&test)),
        ];
        let changes = vec![
            Change::InsertTenant(Box::new(tenant.clone())),
            Change::InsertService(Box::new(service.clone())),
            Change::InsertKey(Box::new(live), live_key.hash()),
            Change::InsertKey(Box::new(test), test_key.hash()),
        ];
        self.commit(&By::command_line(), deeds, changes).await?;
        Ok(NewTenant { tenant, service, live_key, test_key })
    }

    /// A new tenant and its first service, which are not kept yet.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the name or an unknown plan.
    pub(super) fn draw_tenant(&self, name: &str, plan: &str) -> Result<(Tenant, Service), Refusal> {
        let name = tenant::name(name).map_err(|error| Refusal::field("name", error.to_string()))?;
        self.known_plan(plan)?;
        let now = self.now();
        let entropy = &*self.ports.entropy;
        let (tenant_id, service_id) = (TenantId::new(now, entropy), ServiceId::new(now, entropy));
        let tenant = Tenant {
            id: tenant_id,
            name: name.clone(),
            plan: plan.to_owned(),
            period_anchor: now,
            default_service: service_id,
            created_at: now,
            version: 1,
            standing: Standing::Active,
            limits: Limits::default(),
        };
        let brand: String = name.chars().filter(|c| *c != '{' && *c != '}').take(BRAND_LENGTH_MAX).collect();
        // A name like `acme.example` would be a link in every text.
        let brand = brand.split(['.', '/', ':']).next().unwrap_or_default().trim();
        let brand = if brand.is_empty() || template::holds_link(brand) { "WOTP" } else { brand }.to_owned();
        let service = Service {
            id: service_id,
            tenant: tenant_id,
            version: 1,
            name,
            settings: Settings { brand, ..Settings::default() },
            templates: TemplateSet::default(),
            created_at: now,
            updated_at: now,
        };
        Ok((tenant, service))
    }

    /// All tenants, oldest first. The platform's own is none.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn tenants(&self) -> Result<Vec<Tenant>, Refusal> {
        let mut tenants = self.ports.store.tenants().await?;
        tenants.retain(|tenant| tenant.id != tenant::HOUSE);
        Ok(tenants)
    }

    /// Moves a tenant to another plan, from now on, and tells it so by an event.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`] for an unknown plan, [`Refusal::Store`].
    pub async fn change_plan(&self, tenant: TenantId, plan: &str) -> Result<Tenant, Refusal> {
        self.known_plan(plan)?;
        let door = self.ports.store.tenant(tenant);
        let before = door.find_tenant().await?.ok_or(Refusal::NotFound("tenant"))?;
        let tenant = Tenant { plan: plan.to_owned(), ..before.clone() };
        if tenant == before {
            return Ok(tenant);
        }
        let deed = Deed::of(tenant.id, "tenant.change_plan", tenant.id);
        let deed = deed.before(json!({ "plan": before.plan })).after(json!({ "plan": plan }));
        let mut changes = vec![Change::ReplaceTenant(Box::new(tenant.clone()))];
        // One that is being erased is told nothing.
        if tenant.standing.erased_at().is_none() {
            let fact = Fact::TenantPlanChanged(PlanData::between(&before, &tenant));
            changes.push(Change::insert(&Event::new(tenant.id, None, &fact, self.now(), &*self.ports.entropy)));
        }
        self.commit(&By::command_line(), vec![deed], changes).await?;
        self.changed(tenant.id).await;
        Ok(tenant)
    }

    pub(super) fn known_plan(&self, plan: &str) -> Result<(), Refusal> {
        if self.ports.plans.find(plan).is_some() {
            return Ok(());
        }
        let known = self.ports.plans.ids().collect::<Vec<_>>().join(", ");
        Err(Refusal::field("plan", format!("there is no plan `{plan}`; there are: {known}")))
    }
}
