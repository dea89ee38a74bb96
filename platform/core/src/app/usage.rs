use super::{ApiCaller, App, Refusal};
use crate::domain::quota::{Resource, Window};
use crate::ports::Usage;

/// What was used in one window, and what is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowUsage {
    /// The window.
    pub window: Window,
    /// What was used in it.
    pub usage: Usage,
    /// Included in the plan; none means without limit.
    pub included: Option<u64>,
    /// Allowed in all.
    pub cap: Option<u64>,
}

/// What was used of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceUsage {
    /// Which resource.
    pub resource: Resource,
    /// The day and the month that now lies in.
    pub windows: Vec<WindowUsage>,
}

impl App {
    /// What the caller's tenant used today and this month, against its plan.
    ///
    /// # Errors
    /// [`Refusal::Store`], [`Refusal::UnknownPlan`].
    pub async fn usage(&self, caller: &ApiCaller) -> Result<Vec<ResourceUsage>, Refusal> {
        let plan = self.plan_of(&caller.tenant)?;
        let door = self.store_of(caller);
        let now = self.now();
        let mut all = Vec::with_capacity(Resource::ALL.len());
        for resource in Resource::ALL {
            let allowances = plan.quota(resource, now, caller.tenant.period_anchor).allowances;
            let used = door.usage(resource, &allowances.map(|allowance| allowance.window)).await?;
            let windows = allowances.into_iter().zip(used).map(|(allowance, usage)| WindowUsage {
                window: allowance.window,
                usage,
                included: allowance.included,
                cap: allowance.cap,
            });
            all.push(ResourceUsage { resource, windows: windows.collect() });
        }
        Ok(all)
    }
}
