use serde_json::json;

use super::authenticate::served_for;
use super::commit::say_unreadable;
use super::team::membership;
use super::{ApiCaller, App, Refusal, SignedIn};
use crate::domain::Timestamp;
use crate::domain::audit::Deed;
use crate::domain::erasure::Erasure;
use crate::domain::id::TenantId;
use crate::domain::member::Member;
use crate::domain::permission::{Permission, Role};
use crate::domain::tenant::{self, Standing, Tenant};
use crate::domain::user::User;
use crate::ports::{Change, Owner, StoreError, Stored};

/// A tenant, to one of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnTenant {
    /// It.
    pub tenant: Tenant,
    /// What the person is there.
    pub role: Role,
    /// Since when.
    pub joined_at: Timestamp,
}

impl App {
    /// Creates a tenant that a person owns, with a first service, named and branded like it. Keys are made
    /// separately.
    ///
    /// # Errors
    /// [`Refusal::Invalid`] for the name, [`Refusal::LimitReached`], [`Refusal::Store`].
    pub async fn create_tenant_of(&self, person: &SignedIn, name: &str) -> Result<OwnTenant, Refusal> {
        let created = self.create_tenant_unless(person, name, |_| false).await?;
        created.ok_or(Refusal::Conflict)
    }

    /// Creates a tenant for a person who has no use for those that they are known to be in, or is in none; of many
    /// calls at once one does.
    ///
    /// # Errors
    /// As [`create_tenant_of`](Self::create_tenant_of), [`Refusal::Maintenance`].
    pub async fn create_first_tenant_of(&self, person: &SignedIn, name: &str) -> Result<(), Refusal> {
        self.may_change().await?;
        let is_new = |member: &Stored<Member>| person.members.iter().all(|known| known.tenant != member.tenant);
        self.create_tenant_unless(person, name, |memberships| memberships.iter().any(is_new)).await.map(|_| ())
    }

    async fn create_tenant_unless(
        &self,
        person: &SignedIn,
        name: &str,
        has_enough: impl Fn(&[Stored<Member>]) -> bool + Send + Sync,
    ) -> Result<Option<OwnTenant>, Refusal> {
        let (owner, by, has_enough) = (person.user.id, &person.by(), &has_enough);
        self.in_turn(move || async move {
            let user = self.find::<User>(Owner::Platform, owner.to_bytes()).await?;
            let user = user.ok_or(Refusal::NotFound("person"))?;
            let memberships = self.memberships(owner).await?;
            if has_enough(&memberships) {
                // What this node remembers may be from before.
                self.changed_person(owner).await;
                return Ok(None);
            }
            let rules = &self.ports.tenant_rules;
            let owned = memberships.iter().filter(|member| member.role == Role::Owner).count();
            if owned >= rules.owned_max {
                return Err(Refusal::LimitReached("tenants of one owner", rules.owned_max));
            }
            let (tenant, service) = self.draw_tenant(name, &self.ports.people.plan)?;
            let member = Member { tenant: tenant.id, user: owner, role: Role::Owner, joined_at: tenant.created_at };
            let deed = Deed::of(tenant.id, "tenant.create", tenant.id);
            let deed = deed.after(json!({ "name": tenant.name, "plan": tenant.plan, "owner": owner }));
            let first = Deed::of(tenant.id, "service.create", service.id).after(super::services::shown(&service));
            let changes = vec![
                Change::InsertTenant(Box::new(tenant.clone())),
                Change::InsertService(Box::new(service)),
                Change::insert(&member),
                // As it is: of two tenants that are created at once, the second counts the first.
                Change::replace(&user),
            ];
            self.commit(by, vec![deed, first], changes).await?;
            self.changed_person(owner).await;
            Ok(Some(OwnTenant { tenant, role: member.role, joined_at: member.joined_at }))
        })
        .await
    }

    /// Every tenant that a person is in, deleted ones too as long as they can be had back.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub async fn list_tenants_of(&self, person: &SignedIn) -> Result<Vec<OwnTenant>, Refusal> {
        let mut own = Vec::new();
        for member in self.memberships(person.user.id).await? {
            let (owner, id) = (Owner::Tenant(member.tenant), member.tenant.to_bytes());
            let found = match self.ports.store.tenant(member.tenant).find_tenant().await {
                Err(error @ StoreError::Damaged(_)) => {
                    say_unreadable("tenant", owner, id, &error);
                    None
                }
                found => found?,
            };
            // One that is being erased may be gone already.
            if let Some(tenant) = found {
                own.push(OwnTenant { tenant, role: member.role, joined_at: member.joined_at });
            }
        }
        own.sort_by_key(|own| own.tenant.id);
        Ok(own)
    }

    /// The caller's tenant as it is now.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn find_tenant(&self, caller: &ApiCaller) -> Result<Tenant, Refusal> {
        self.store_of(caller).find_tenant().await?.ok_or(Refusal::NotFound("tenant"))
    }

    /// Renames the tenant. Its services keep their names and brands.
    ///
    /// # Errors
    /// [`Refusal::Invalid`], [`Refusal::Role`], [`Refusal::Store`].
    pub async fn rename_tenant(&self, caller: &ApiCaller, name: &str) -> Result<Tenant, Refusal> {
        let name = tenant::name(name).map_err(|error| Refusal::field("name", error.to_string()))?;
        let name = &name;
        self.in_turn(move || async move {
            let mut team = self.team(caller.tenant.id).await?;
            team.role(membership(caller)?, Permission::TenantWrite)?;
            if team.tenant.name == *name {
                return Ok(team.tenant);
            }
            let before = std::mem::replace(&mut team.tenant.name, name.clone());
            let deed = Deed::of(team.tenant.id, "tenant.rename", team.tenant.id);
            let deed = deed.before(json!({ "name": before })).after(json!({ "name": name }));
            self.commit_to_team(&team, &caller.by(), vec![deed], Vec::new()).await?;
            Ok(team.tenant)
        })
        .await
    }

    /// Deletes the tenant, a suspended one too: its keys and members are refused at once, on other nodes within a
    /// second, and its connections are let go. It can be had back for a while, and is erased then.
    ///
    /// # Errors
    /// [`Refusal::Role`], [`Refusal::Rate`], [`Refusal::Store`].
    pub async fn delete_tenant(&self, caller: &ApiCaller) -> Result<Tenant, Refusal> {
        self.brake_person(membership(caller)?.user).await?;
        self.in_turn(move || async move {
            let tenant = self.store_of(caller).find_tenant().await?.ok_or(Refusal::NotFound("tenant"))?;
            served_for(&tenant, Permission::TenantDelete)?;
            let mut team = self.team_of(tenant).await?;
            let who = membership(caller)?;
            team.role(who, Permission::TenantDelete)?;
            let now = self.now();
            let erased_at = now.saturating_add(self.ports.tenant_rules.deletion_grace).unwrap_or(Timestamp::MAX);
            let before = json!({ "state": team.tenant.standing.name() });
            team.tenant.standing.delete(now, erased_at);
            let id = team.tenant.id;
            let after = json!({ "state": team.tenant.standing.name(), "erasure_due_at": erased_at });
            // The tenant's own log goes with it.
            let deeds = [Deed::of(id, "tenant.delete", id), Deed::of_platform("tenant.delete", id)];
            let deeds = deeds.map(|deed| deed.before(&before).after(&after)).to_vec();
            let erasure = Erasure::new(id, who.user, now, erased_at);
            self.commit_to_team(&team, &caller.by(), deeds, vec![Change::insert(&erasure)]).await?;
            self.live_connections.tell_of_tenant();
            Ok(team.tenant)
        })
        .await
    }

    /// Has a deleted tenant back, as it was, and suspended if an operator stopped it meanwhile.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for whoever is no member, [`Refusal::Role`] for whoever is no owner,
    /// [`Refusal::TenantDeleted`] when it is too late, [`Refusal::Rate`], [`Refusal::Store`].
    pub async fn restore_tenant(&self, person: &SignedIn, id: TenantId) -> Result<OwnTenant, Refusal> {
        let (user, by) = (person.user.id, &person.by());
        self.brake_person(user).await?;
        self.in_turn(move || async move {
            let tenant = self.ports.store.tenant(id).find_tenant().await?;
            let member = self.find::<Member>(Owner::Tenant(id), user.to_bytes()).await?;
            let (Some(mut tenant), Some(member)) = (tenant, member) else { return Err(Refusal::NotFound("tenant")) };
            if !member.role.may(Permission::TenantDelete) {
                return Err(Refusal::Role(Permission::TenantDelete.role()));
            }
            if let Standing::Deleted { erased_at, .. } = tenant.standing {
                let erasure = self.find::<Erasure>(Owner::Platform, id.to_bytes()).await?;
                // Somebody else had it back since it was read.
                let erasure = erasure.ok_or(Refusal::Conflict)?;
                if !erasure.is_revocable(self.now()) {
                    return Err(Refusal::TenantDeleted { erased_at });
                }
                tenant.standing.restore();
                let before = json!({ "erasure_due_at": erased_at });
                let deeds = [Deed::of(id, "tenant.restore", id), Deed::of_platform("tenant.restore", id)];
                let deeds = deeds.map(|deed| deed.before(before.clone())).to_vec();
                let back = Change::ReplaceTenant(Box::new(tenant.clone()));
                self.commit(by, deeds, vec![back, Change::delete(&erasure)]).await?;
                self.changed(id).await;
                self.live_connections.tell_of_tenant();
            }
            Ok(OwnTenant { tenant, role: member.role, joined_at: member.joined_at })
        })
        .await
    }

    /// How far the erasure of a tenant is, for whoever deleted it: the report, once it is finished.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn find_erasure(&self, person: &SignedIn, tenant: TenantId) -> Result<Erasure, Refusal> {
        let found = self.find::<Erasure>(Owner::Platform, tenant.to_bytes()).await?;
        let own = found.filter(|erasure| erasure.deleted_by == person.user.id).ok_or(Refusal::NotFound("erasure"))?;
        Ok(own.entity)
    }
}
