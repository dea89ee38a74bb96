use serde_json::json;

use crate::app::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::id::TenantId;
use crate::ports::Owner;

impl App {
    /// Opens a tenant's audit log to an operator, and writes that down first, in that log and in the platform's.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn open_audit_of(&self, by: &By, id: TenantId) -> Result<Owner, Refusal> {
        self.tenant(id).await?;
        self.write_down(id, by, Deed::of(id, "audit.read", id).after(json!({ "tenant": id }))).await?;
        Ok(Owner::Tenant(id))
    }
}
