use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;

use super::team::{may_handle, membership};
use super::{ApiCaller, App, Refusal};
use crate::domain::audit::Deed;
use crate::domain::id::UserId;
use crate::domain::member::Member;
use crate::domain::permission::{Permission, Role};
use crate::domain::user::User;
use crate::ports::{Change, Owner, Stored};

/// People that are read at once.
const AT_ONCE: usize = 16;

/// A member, and who that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamMember {
    /// What they are in the tenant.
    pub member: Member,
    /// What they are called; empty until they say, and where their account cannot be read.
    pub name: String,
    /// Their address: whole for whoever may change members, else masked; empty where their account cannot be read.
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
        let account = self.account_of(member.user).await?;
        Ok(self.shown_to(caller, member, account.as_deref()))
    }

    /// The account of a member, where it can be read: one that cannot fails no others of the team, and their role can
    /// be taken from them.
    async fn account_of(&self, user: UserId) -> Result<Option<Stored<User>>, Refusal> {
        let id = user.to_bytes();
        let found = self.find::<User>(Owner::Platform, id).await;
        Ok(Self::readable::<User, _>(Owner::Platform, id, found)?.flatten())
    }

    /// A member as a caller may see them.
    fn shown_to(&self, caller: &ApiCaller, member: Member, account: Option<&User>) -> TeamMember {
        let Some(user) = account else { return TeamMember { member, name: String::new(), email: String::new() } };
        let whole = match caller.may(Permission::MembersWrite) {
            true => Self::unsealed(user, user.address(&self.ports.vault)),
            false => None,
        };
        TeamMember { member, name: user.name.clone(), email: whole.unwrap_or_else(|| user.email_masked.clone()) }
    }

    /// Gives a member another role.
    ///
    /// Owners are made and changed by owners alone, and nobody raises themself. The tenant keeps an owner.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Role`], [`Refusal::LastOwner`], [`Refusal::Store`].
    pub async fn change_role(&self, caller: &ApiCaller, user: UserId, role: Role) -> Result<TeamMember, Refusal> {
        // Before anything is changed: whoever hears of a failure is to know that nothing was.
        let account = self.account_of(user).await?;
        let changed = self.in_turn(move || self.try_change_role(caller, user, role)).await?;
        Ok(self.shown_to(caller, changed, account.as_deref()))
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
            // Nobody could sign in to one that is not there, or cannot be read.
            let account = self.find::<User>(Owner::Platform, to.to_bytes()).await?;
            let account = account.ok_or(Refusal::NotFound("member"))?;
            let before = json!({ "owner": own.user, "role_of_new": new.role });
            old.role = Role::Admin;
            new.role = Role::Owner;
            let deed = Deed::of(team.tenant.id, "ownership.transfer", to).before(before).after(json!({ "owner": to }));
            let (mut deeds, mut changes) = self.unsendable(&team, own.user, Some(old.role)).await?;
            deeds.insert(0, deed);
            changes.extend([Change::replace(&old), Change::replace(&new)]);
            self.commit_to_team(&team, &caller.by(), deeds, changes).await?;
            Ok(self.shown_to(caller, new.entity, Some(&account)))
        });
        new.await
    }
}
