use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::team::{may_handle, membership};
use super::{ApiCaller, App, Refusal};
use crate::domain::audit::Deed;
use crate::domain::id::UserId;
use crate::domain::member::Member;
use crate::domain::permission::{Permission, Role};
use crate::domain::user::User;
use crate::ports::{Change, Owner};

/// People that are read at once.
const AT_ONCE: usize = 16;

/// A member, and who that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamMember {
    /// What they are in the tenant.
    pub member: Member,
    /// What they are called; empty until they say.
    pub name: String,
    /// Their address: whole for whoever may change members, else masked.
    pub email: String,
}

impl App {
    /// Everybody in the tenant, in the order of their ids.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Store`].
    pub async fn list_members(&self, caller: &ApiCaller) -> Result<Vec<TeamMember>, Refusal> {
        // Whoever was let in looks: an operator who acts for it at a suspended one too.
        let team = self.team_of(self.find_tenant(caller).await?).await?;
        let members = team.members.into_iter().map(|member| self.team_member(caller, member.entity));
        stream::iter(members).buffered(AT_ONCE).try_collect().await
    }

    async fn team_member(&self, caller: &ApiCaller, member: Member) -> Result<TeamMember, Refusal> {
        let user = self.find::<User>(Owner::Platform, member.user.to_bytes()).await?;
        let user = user.ok_or(Refusal::NotFound("person"))?;
        let email = match caller.may(Permission::MembersWrite) {
            true => user.address(&self.ports.vault)?,
            false => user.email_masked.clone(),
        };
        Ok(TeamMember { member, name: user.name.clone(), email })
    }

    /// Gives a member another role.
    ///
    /// Owners are made and changed by owners alone, and nobody raises themself. The tenant keeps an owner.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Role`], [`Refusal::LastOwner`], [`Refusal::Store`].
    pub async fn change_role(&self, caller: &ApiCaller, user: UserId, role: Role) -> Result<TeamMember, Refusal> {
        let changed = self.in_turn(move || self.try_change_role(caller, user, role)).await?;
        self.team_member(caller, changed).await
    }

    async fn try_change_role(&self, caller: &ApiCaller, user: UserId, role: Role) -> Result<Member, Refusal> {
        let team = self.team(caller.tenant.id).await?;
        let own = team.role(membership(caller)?, Permission::MembersWrite)?;
        let mut member = team.member(user)?.clone();
        let before = member.role;
        may_handle(own, before)?;
        may_handle(own, role)?;
        if role == before {
            return Ok(member.entity);
        }
        if role < Role::Owner {
            team.keep_an_owner(user)?;
        }
        member.role = role;
        let deed = Deed::of(team.tenant.id, "member.change_role", user);
        let deed = deed.before(json!({ "role": before })).after(json!({ "role": role }));
        let (mut deeds, mut changes) = self.unsendable(&team, user, Some(role)).await?;
        deeds.insert(0, deed);
        changes.push(Change::replace(&member));
        self.commit_to_team(&team, &caller.by(), deeds, changes).await?;
        Ok(member.entity)
    }

    /// Takes a member out of the tenant: here at once, on other nodes within a second.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Role`], [`Refusal::LastOwner`], [`Refusal::Store`].
    pub async fn remove_member(&self, caller: &ApiCaller, user: UserId) -> Result<(), Refusal> {
        self.in_turn(move || async move {
            let team = self.team(caller.tenant.id).await?;
            let own = team.role(membership(caller)?, Permission::MembersWrite)?;
            let member = team.member(user)?;
            may_handle(own, member.role)?;
            team.keep_an_owner(user)?;
            let deed = Deed::of(team.tenant.id, "member.remove", user).before(json!({ "role": member.role }));
            let (mut deeds, mut changes) = self.unsendable(&team, user, None).await?;
            deeds.insert(0, deed);
            changes.push(Change::delete(member));
            self.commit_to_team(&team, &caller.by(), deeds, changes).await
        })
        .await
    }

    /// Leaves the tenant.
    ///
    /// # Errors
    /// [`Refusal::ForMembers`] for an operator who acts for the tenant, and is not in it; [`Refusal::LastOwner`],
    /// [`Refusal::Store`].
    pub async fn leave_tenant(&self, caller: &ApiCaller) -> Result<(), Refusal> {
        let who = membership(caller)?;
        if who.acting.is_some() {
            return Err(Refusal::ForMembers);
        }
        let user = who.user;
        self.in_turn(move || async move {
            let team = self.team(caller.tenant.id).await?;
            let member = team.find(user).ok_or(Refusal::NotFound("tenant"))?;
            team.keep_an_owner(user)?;
            let deed = Deed::of(team.tenant.id, "member.leave", user).before(json!({ "role": member.role }));
            let (mut deeds, mut changes) = self.unsendable(&team, user, None).await?;
            deeds.insert(0, deed);
            changes.push(Change::delete(member));
            self.commit_to_team(&team, &caller.by(), deeds, changes).await
        })
        .await
    }

    /// Makes another member the owner, and an admin of the owner who calls: both, or neither.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Invalid`] for the caller themself, [`Refusal::Role`],
    /// [`Refusal::Store`].
    pub async fn transfer_ownership(&self, caller: &ApiCaller, to: UserId) -> Result<TeamMember, Refusal> {
        let new = self.in_turn(move || async move {
            let team = self.team(caller.tenant.id).await?;
            let own = membership(caller)?;
            team.role(own, Permission::OwnershipTransfer)?;
            if to == own.user {
                return Err(Refusal::field("user", "is you: name another member"));
            }
            // An operator who acts for the tenant owns nothing that could be transferred.
            let mut old = team.find(own.user).ok_or(Refusal::Role(Role::Owner))?.clone();
            let mut new = team.member(to)?.clone();
            let before = json!({ "owner": own.user, "role_of_new": new.role });
            old.role = Role::Admin;
            new.role = Role::Owner;
            let deed = Deed::of(team.tenant.id, "ownership.transfer", to).before(before).after(json!({ "owner": to }));
            let (mut deeds, mut changes) = self.unsendable(&team, own.user, Some(old.role)).await?;
            deeds.insert(0, deed);
            changes.extend([Change::replace(&old), Change::replace(&new)]);
            self.commit_to_team(&team, &caller.by(), deeds, changes).await?;
            Ok(new.entity)
        });
        let new = new.await?;
        self.team_member(caller, new).await
    }
}
