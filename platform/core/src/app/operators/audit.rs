use serde_json::json;

use crate::app::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::id::TenantId;
use crate::domain::tenant::Standing;
use crate::ports::Owner;

impl App {
    /// Opens a tenant's audit log to an operator, and writes that down first: for the tenant in that log, and in
    /// the platform's, which outlives the tenant.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn open_audit_of(&self, by: &By, id: TenantId) -> Result<Owner, Refusal> {
        let tenant = self.tenant(id).await?;
        let mut deeds = vec![Deed::of_platform("audit.read", id).after(json!({ "tenant": id }))];
        // Nobody reads the log of a deleted one any more, and what is being erased must not grow.
        if !matches!(tenant.standing, Standing::Deleted { .. }) {
            deeds.push(Deed::of(id, "audit.read", id));
        }
        self.commit(by, deeds, Vec::new()).await?;
        Ok(Owner::Tenant(id))
    }
}
