use std::sync::Arc;

use serde_json::json;

use super::{App, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::erasure::{Erasure, ErasureStep};
use crate::domain::invitation::Invitation;
use crate::domain::tenant::Standing;
use crate::ports::{Change, Stored};

/// What one step erases at most. A tenant has one step in each round, so that erasing a large one, for which
/// nobody waits, is not felt by those that are served: a million records take about half an hour.
const STEP: usize = 500;
/// Tenants and invitations that are looked at in one round.
const BATCH: usize = 16;

impl App {
    /// Erases the next of the tenants whose time has come, and invitations that ran out; says how many steps
    /// it made.
    ///
    /// Several nodes may do it at once, and any of them may stop at any moment: each step is written down
    /// together with what it erased.
    pub(super) async fn sweep_tenants(&self) -> Result<usize, Refusal> {
        let mut steps = 0;
        for erasure in self.due::<Erasure>(BATCH).await? {
            let tenant = erasure.tenant;
            steps += usize::from(made(self.erase_more(erasure).await, "erase", &tenant));
        }
        for invitation in self.due::<Invitation>(BATCH).await? {
            let id = invitation.id;
            steps += usize::from(made(self.expire(&invitation).await.map(|()| true), "end", &id));
        }
        Ok(steps)
    }

    /// Nobody reads the log of a deleted tenant any more, and what is being erased must not grow.
    async fn expire(&self, invitation: &Stored<Invitation>) -> Result<(), Refusal> {
        let tenant = self.ports.store.tenant(invitation.tenant).find_tenant().await?;
        let (mut deeds, mut changes) = (Vec::new(), vec![Change::delete(invitation)]);
        if let Some(tenant) = tenant.filter(|tenant| tenant.standing.erased_at().is_none()) {
            let deed = Deed::of(tenant.id, "invitation.expire", invitation.id);
            deeds.push(deed.before(json!({ "email": invitation.email_masked, "role": invitation.role })));
            // As it was read: it may be deleted meanwhile.
            changes.push(Change::ReplaceTenant(Box::new(tenant)));
        }
        self.commit(&By::platform(), deeds, changes).await
    }

    /// Makes the next step of an erasure; says whether there was one to make by now.
    async fn erase_more(&self, mut erasure: Stored<Erasure>) -> Result<bool, Refusal> {
        let tenant = erasure.tenant;
        if erasure.finished_at.is_none() {
            let found = self.ports.store.tenant(tenant).find_tenant().await?;
            // Whatever is written down: what is served is not erased.
            if found.is_some_and(|tenant| !matches!(tenant.standing, Standing::Deleted { .. })) {
                return Err(Refusal::Conflict);
            }
            let now = self.now();
            if !erasure.has_begun() {
                // By itself, before anything goes: a fold that still finds news of the tenant, however late they
                // were stored, reads this after them, and makes nothing of them.
                erasure.begin(now);
                self.ports.store.commit(vec![Change::replace(&erasure)]).await?;
                return Ok(true);
            }
            if self.waits_for_phones(&erasure).await? {
                return Ok(false);
            }
            let note = move |step: &ErasureStep| {
                let mut erasure = erasure.clone();
                erasure.step(step, now);
                Change::replace(&erasure)
            };
            self.ports.store.erase_tenant_step(tenant, STEP, Arc::new(note)).await?;
            self.changed(tenant).await;
            return Ok(true);
        }
        erasure.told = true;
        let deed = Deed::of_platform("tenant.erase", tenant);
        let deed = deed.before(json!({ "deleted_by": erasure.deleted_by, "deleted_at": erasure.deleted_at }));
        let deed = deed.after(json!({ "finished_at": erasure.finished_at, "erased": erasure.erased }));
        self.commit(&By::platform(), vec![deed], vec![Change::replace(&erasure)]).await?;
        Ok(true)
    }
}

/// Whether it was done. One that cannot be must not keep all others waiting behind it.
fn made(done: Result<bool, Refusal>, what: &str, of: &dyn std::fmt::Display) -> bool {
    match done {
        Ok(done) => done,
        // Another node did it, or the tenant was had back.
        Err(Refusal::Conflict) => false,
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            tracing::error!(%of, what, error, "the sweep could not do what is due");
            false
        }
    }
}
