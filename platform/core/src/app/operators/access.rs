use jiff::SignedDuration;
use serde_json::json;

use super::logs::in_both;
use crate::app::{ApiCaller, App, Holder, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::event::{AccessData, Event, Fact};
use crate::domain::id::{AccessId, TenantId, UserId};
use crate::domain::operator_access::{MINUTES_MAX, OperatorAccess, REASON_LENGTH_MAX};
use crate::domain::permission::Role;
use crate::domain::template;
use crate::ports::{Change, EntityList, Owner, Stored};

/// Accesses of one operator that are looked at: they end within an hour.
const RECENT: usize = 100;

impl App {
    /// Lets an operator act as a tenant for some minutes. The tenant is told of it by an event and sees it in
    /// its audit log, with the reason, as it sees all that is done meanwhile.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for the tenant, [`Refusal::TenantDeleted`], [`Refusal::Invalid`], [`Refusal::Conflict`],
    /// [`Refusal::Store`].
    pub async fn act_as_tenant(
        &self,
        by: &By,
        operator: UserId,
        tenant: TenantId,
        role: Role,
        reason: &str,
        minutes: u32,
    ) -> Result<OperatorAccess, Refusal> {
        let reason = reason.trim();
        if reason.is_empty() || reason.chars().count() > REASON_LENGTH_MAX || reason.chars().any(template::is_control) {
            return Err(Refusal::field("reason", "is 1 to 300 characters on one line; the tenant reads it"));
        }
        if !(1..=MINUTES_MAX).contains(&minutes) {
            return Err(Refusal::field("minutes", "is 1 to 60; ask again when it is over"));
        }
        if role == Role::Owner {
            return Err(Refusal::field("role", "is viewer, developer or admin: a tenant keeps its owners"));
        }
        let now = self.now();
        let ends_at = now.saturating_add(SignedDuration::from_mins(i64::from(minutes))).unwrap_or(now);
        let access = OperatorAccess {
            id: AccessId::new(now, &*self.ports.entropy),
            tenant,
            operator,
            reason: reason.to_owned(),
            role,
            starts_at: now,
            ends_at,
        };
        let told = json!({ "operator": operator, "role": role, "reason": reason, "ends_at": ends_at });
        let deeds = [
            Deed::of(tenant, "operator_access.start", access.id).after(&told),
            Deed::of_platform("operator_access.start", access.id).after(json!({ "tenant": tenant, "access": told })),
        ];
        let fact =
            Fact::TenantAccessedByOperator(AccessData { operator, reason: access.reason.clone(), until: ends_at });
        let event = Event::new(tenant, None, &fact, now, &*self.ports.entropy);
        let (deeds, changes) = (&deeds, &[Change::insert(&access), Change::insert(&event)]);
        self.in_turn(move || async move {
            let found = self.tenant(tenant).await?;
            if let Some(erased_at) = found.standing.erased_at() {
                return Err(Refusal::TenantDeleted { erased_at });
            }
            self.commit_for(&found, by, deeds.clone(), changes.to_vec()).await
        })
        .await?;
        self.changed(tenant).await;
        Ok(access)
    }

    /// Ends it before its time. One that has ended stays as it is.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] when it is not the operator's, [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn stop_acting(
        &self,
        by: &By,
        operator: UserId,
        tenant: TenantId,
        id: AccessId,
    ) -> Result<OperatorAccess, Refusal> {
        let found = self.find::<OperatorAccess>(Owner::Tenant(tenant), id.to_bytes()).await?;
        let mut access = found.filter(|access| access.operator == operator).ok_or(Refusal::NotFound("access"))?;
        let now = self.now();
        if !access.holds(now) {
            return Ok(access.entity);
        }
        let told = |access: &OperatorAccess| json!({ "tenant": tenant, "ends_at": access.ends_at });
        let ends = Deed::of(tenant, "operator_access.end", id).before(told(&access));
        access.ends_at = now;
        let ends = ends.after(told(&access));
        let found = self.tenant(tenant).await?;
        self.commit_for(&found, by, in_both(ends), vec![Change::replace(&access)]).await?;
        self.changed(tenant).await;
        Ok(access.entity)
    }

    /// Writes into the tenant's audit log what an operator asks for who acts for it: also what only reads, and
    /// before it is answered. Nothing for other callers.
    ///
    /// # Errors
    /// [`Refusal::Store`]; then the call must not go on.
    pub async fn note_acting(&self, caller: &ApiCaller, method: &str, path: &str) -> Result<(), Refusal> {
        let Holder::Member(membership) = &caller.holder else { return Ok(()) };
        let Some(access) = membership.acting else { return Ok(()) };
        let asked = json!({ "method": method, "path": path });
        let deed = Deed::of(caller.tenant.id, "operator_access.call", access).after(asked);
        self.commit(&caller.by(), vec![deed], Vec::new()).await
    }

    /// How an operator may act as a tenant now, if at all: by the most of what was granted.
    pub(in crate::app) async fn find_access(
        &self,
        operator: UserId,
        tenant: TenantId,
    ) -> Result<Option<OperatorAccess>, Refusal> {
        let mut list = EntityList::by("operator", operator.to_bytes()).newest(RECENT);
        list.owner = Some(Owner::Tenant(tenant));
        let now = self.now();
        let all: Vec<Stored<OperatorAccess>> = self.list(&list).await?;
        let holding = all.into_iter().map(|stored| stored.entity).filter(|access| access.holds(now));
        Ok(holding.max_by_key(|access| access.role))
    }

    /// How operators acted as a tenant, newest first, at most `limit`: for the tenant to see.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn operator_accesses(&self, tenant: TenantId, limit: usize) -> Result<Vec<OperatorAccess>, Refusal> {
        let all = self.list(&EntityList::of(Owner::Tenant(tenant)).newest(limit)).await?;
        Ok(all.into_iter().map(|stored| stored.entity).collect())
    }
}
