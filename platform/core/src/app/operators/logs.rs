use crate::app::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::id::TenantId;
use crate::domain::tenant::{HOUSE, Tenant};
use crate::ports::{Change, Owner};

/// What an operator did to a tenant, for its own log and for the platform's, in the same words.
pub(super) fn in_both(deed: Deed) -> [Deed; 2] {
    let of_platform = Deed { owner: Owner::Platform, ..deed.clone() };
    [deed, of_platform]
}

impl App {
    /// Replaces a tenant and makes other changes of it with their lines: one for the tenant's log, one for the
    /// platform's, which outlives the tenant and is where operators look.
    ///
    /// Nobody reads a log of the platform's own tenant. That of a deleted one nobody reads any more either, and what is
    /// being erased must not grow: since the tenant is replaced as it was read, nothing comes into one that was deleted
    /// meanwhile.
    ///
    /// # Errors
    /// [`Refusal::Conflict`] when somebody changed the tenant or something of it, [`Refusal::Store`].
    pub(super) async fn commit_for(
        &self,
        tenant: &Tenant,
        by: &By,
        [own, of_platform]: [Deed; 2],
        mut changes: Vec<Change>,
    ) -> Result<(), Refusal> {
        let mut deeds = vec![of_platform];
        if tenant.id != HOUSE && tenant.standing.erased_at().is_none() {
            deeds.push(own);
        }
        changes.push(Change::ReplaceTenant(Box::new(tenant.clone())));
        self.commit(by, deeds, changes).await
    }

    /// Writes down what an operator does to a tenant that is no change of an entity.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Conflict`], [`Refusal::Store`].
    pub(super) async fn write_down(&self, tenant: TenantId, by: &By, deed: Deed) -> Result<(), Refusal> {
        let deeds = &in_both(deed);
        self.in_turn(move || async move {
            let tenant = self.ports.store.tenant(tenant).find_tenant().await?.ok_or(Refusal::NotFound("tenant"))?;
            self.commit_for(&tenant, by, deeds.clone(), Vec::new()).await
        })
        .await
    }
}
