//! Who is in a tenant, read so that no two changes of it can both rest on what only one of them left.

use std::future::Future;

use super::authenticate::{Membership, served};
use super::commit::tried_again;
use super::{ApiCaller, App, Holder, Refusal};
use crate::domain::audit::{By, Deed};
use crate::domain::id::{TenantId, UserId};
use crate::domain::member::Member;
use crate::domain::permission::{Permission, Role};
use crate::domain::tenant::Tenant;
use crate::domain::tenant_rules::MEMBERS_MAX;
use crate::ports::{Change, EntityList, Owner, Stored};

/// A tenant and its members at one moment.
///
/// Every change of them replaces the tenant too. So of two that began with the same team one is made, and
/// the other has to look again: two owners who leave at once do not both find another owner.
pub(super) struct Team {
    pub(super) tenant: Tenant,
    pub(super) members: Vec<Stored<Member>>,
}

impl Team {
    pub(super) fn find(&self, user: UserId) -> Option<&Stored<Member>> {
        self.members.iter().find(|member| member.user == user)
    }

    pub(super) fn member(&self, user: UserId) -> Result<&Stored<Member>, Refusal> {
        self.find(user).ok_or(Refusal::NotFound("member"))
    }

    /// What the caller is now, which may be less than a moment ago, if that is enough.
    pub(super) fn role(&self, who: &Membership, permission: Permission) -> Result<Role, Refusal> {
        let role = match self.find(who.user) {
            // An operator who acts for the tenant is no member of it.
            _ if who.acting.is_some() => {
                who.require(permission)?;
                who.role
            }
            Some(member) => member.role,
            None => return Err(Refusal::NotFound("tenant")),
        };
        if role.may(permission) { Ok(role) } else { Err(Refusal::Role(permission.role())) }
    }

    /// Refuses what would leave the tenant without an owner.
    pub(super) fn keep_an_owner(&self, but: UserId) -> Result<(), Refusal> {
        let is_owner = |member: &&Stored<Member>| member.role == Role::Owner;
        let others = self.members.iter().filter(is_owner).any(|member| member.user != but);
        let concerned = self.find(but).is_some_and(|member| member.role == Role::Owner);
        if concerned && !others { Err(Refusal::LastOwner) } else { Ok(()) }
    }

    pub(super) fn has_room(&self) -> Result<(), Refusal> {
        if self.members.len() < MEMBERS_MAX { Ok(()) } else { Err(Refusal::LimitReached("members", MEMBERS_MAX)) }
    }

    /// These changes, and what makes them exclude all others of the team.
    pub(super) fn with(&self, mut changes: Vec<Change>) -> Vec<Change> {
        changes.push(Change::ReplaceTenant(Box::new(self.tenant.clone())));
        changes
    }
}

/// The member that calls.
pub(super) fn membership(caller: &ApiCaller) -> Result<&Membership, Refusal> {
    match &caller.holder {
        Holder::Member(membership) => Ok(membership),
        Holder::Key(_) | Holder::Platform => Err(Refusal::KeyNotAllowed),
    }
}

/// Whether a member with a role may give or take another: owners are made and changed by owners alone.
pub(super) fn may_handle(own: Role, other: Role) -> Result<(), Refusal> {
    if other < Role::Owner || own == Role::Owner { Ok(()) } else { Err(Refusal::Role(Role::Owner)) }
}

impl App {
    /// The tenant first: whatever changes the team after that also changes the tenant.
    pub(super) async fn team(&self, tenant: TenantId) -> Result<Team, Refusal> {
        let found = self.ports.store.tenant(tenant).find_tenant().await?;
        let tenant = found.ok_or(Refusal::NotFound("tenant"))?;
        served(&tenant)?;
        self.team_of(tenant).await
    }

    /// Who is in a tenant that was just read, whether or not it is served. A membership that cannot be read lets nobody
    /// in, and is not among them.
    ///
    /// # Errors
    /// [`Refusal::Store`].
    pub(super) async fn team_of(&self, tenant: Tenant) -> Result<Team, Refusal> {
        let list = EntityList { limit: MEMBERS_MAX + 1, ..EntityList::of(Owner::Tenant(tenant.id)) };
        let members = self.list_readable::<Member>(&list).await?.things;
        Ok(Team { tenant, members })
    }

    /// Makes a change of a team, from another look at it when somebody else's change came first.
    pub(super) async fn in_turn<T, F>(&self, change: impl FnMut() -> F + Send) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>> + Send,
    {
        tried_again(change).await
    }

    /// Makes changes of a team, and has every node look again.
    pub(super) async fn commit_to_team(
        &self,
        team: &Team,
        by: &By,
        deeds: Vec<Deed>,
        changes: Vec<Change>,
    ) -> Result<(), Refusal> {
        match self.commit(by, deeds, team.with(changes)).await {
            Ok(()) => {}
            // Made since the team was looked at: another look finds it, and says what it is.
            Err(Refusal::Taken { .. }) => return Err(Refusal::Conflict),
            Err(error) => return Err(error),
        }
        self.changed(team.tenant.id).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use futures_util::FutureExt as _;

    use super::super::keys::WORKING_MAX;
    use super::*;

    /// What becomes of a change that so many others come before.
    fn after_losing(rounds: usize) -> Result<(), Refusal> {
        let mut lost = 0;
        let change = || {
            lost += 1;
            ready(if lost > rounds { Ok(()) } else { Err(Refusal::Conflict) })
        };
        tried_again(change).now_or_never().expect("nothing is waited for")
    }

    #[test]
    fn who_loses_to_all_that_a_tenant_has_room_for_is_served_and_nobody_goes_on_for_ever() {
        assert!(after_losing(WORKING_MAX).is_ok());
        assert!(matches!(after_losing(usize::MAX), Err(Refusal::Conflict)));
    }
}
