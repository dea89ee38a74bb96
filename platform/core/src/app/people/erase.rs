//! People who erase their own accounts.

use std::collections::HashSet;

use serde_json::json;

use super::super::invitations::shown;
use super::super::{App, Refusal};
use super::{Reproof, SignedIn};
use crate::domain::audit::Deed;
use crate::domain::id::{TenantId, UserId};
use crate::domain::identity::{self, LinkedIdentity};
use crate::domain::invitation::{BY_EMAIL, Invitation};
use crate::domain::letter::Letter;
use crate::domain::member::{self, Member};
use crate::domain::second_factor::SecondFactor;
use crate::domain::tenant::Standing;
use crate::domain::user::User;
use crate::ports::{Change, EntityList, Owner};

const ERASED: &str = "Your account was erased, as you asked. Nothing signs in with this address any more.";

impl App {
    /// Erases a person's account, all of it at once or none: the account and its address, its memberships,
    /// sessions, second factor and linked identities, and what invitations hold of the address. Lines of the
    /// audit log keep the person's id.
    ///
    /// # Errors
    /// [`Refusal::OnlyOwnerOf`] when a tenant would be without an owner; [`Refusal::Credentials`],
    /// [`Refusal::Code`] and the others of a reproof; [`Refusal::Conflict`], [`Refusal::Store`].
    pub async fn erase_account(&self, person: &SignedIn, reproof: Reproof<'_>) -> Result<(), Refusal> {
        self.reprove(person, reproof).await?;
        let (user, tenants, letter) = self.in_turn(move || self.try_erase_account(person)).await?;
        self.changed_person(user.id).await;
        for tenant in tenants {
            self.changed(tenant).await;
        }
        tracing::info!(user = %user.id, "a person erased their account");
        self.forget_sessions(user.id).await?;
        self.forget_brakes(&self.brakes(&user.email_key, None, &person.whence)).await?;
        self.post(letter, &person.whence).await;
        Ok(())
    }

    /// Deletes the sessions of somebody who is no more: of those that were too many for one commit the rest. They
    /// let nobody in, and would go by themselves when they end.
    async fn forget_sessions(&self, id: UserId) -> Result<(), Refusal> {
        loop {
            let rest = self.sessions_of(id).await?;
            if rest.is_empty() {
                return Ok(());
            }
            self.ports.store.commit(rest.iter().map(Change::delete).collect()).await?;
        }
    }

    /// Returns who is no more, in which tenants, and what they are told.
    async fn try_erase_account(&self, person: &SignedIn) -> Result<(User, Vec<TenantId>, Option<Letter>), Refusal> {
        let id = person.user.id;
        // Whatever would give the account something at this moment reads the person and replaces them, so it
        // comes before, and is found here, or does not come.
        let found = self.find::<User>(Owner::Platform, id.to_bytes()).await?;
        let user = found.ok_or(Refusal::NotFound("account"))?;
        let mut changes = vec![Change::delete(&user)];
        // Nothing of their address, which they want forgotten: who they were is said by the line that their account
        // began with.
        let before = json!({ "created_at": user.created_at, "operator_since": user.operator_since });
        let mut deeds = vec![Deed::of_platform("user.erase", id).before(before)];
        let mut left = HashSet::new();
        let mut only_owner_of = Vec::new();
        // All of them, or none: a membership that is left would be nobody's.
        for member in self.list::<Member>(&EntityList::by(member::BY_USER, id.to_bytes())).await? {
            changes.push(Change::delete(&member));
            // One that is being erased may be gone already.
            let Some(tenant) = self.ports.store.tenant(member.tenant).find_tenant().await? else { continue };
            let team = self.team_of(tenant).await?;
            if !matches!(team.tenant.standing, Standing::Deleted { .. }) {
                if team.keep_an_owner(id).is_err() {
                    only_owner_of.push(team.tenant.id);
                }
                let deed = Deed::of(team.tenant.id, "member.leave", id);
                deeds.push(deed.before(json!({ "role": member.role })).after(json!({ "account": "erased" })));
            }
            // As whoever leaves takes the invitations back that they sent.
            let (told, taken_back) = self.unsendable(&team, id, None).await?;
            deeds.extend(told);
            changes.extend(taken_back);
            left.insert(team.tenant.id);
            changes = team.with(changes);
        }
        if !only_owner_of.is_empty() {
            return Err(Refusal::OnlyOwnerOf(only_owner_of));
        }
        for invitation in self.list::<Invitation>(&EntityList::by(BY_EMAIL, user.email_key.as_bytes())).await? {
            let change = Change::delete(&invitation);
            // They may have sent it themselves, before they moved to this address.
            if !changes.contains(&change) {
                let deed = Deed::of(invitation.tenant, "invitation.revoke", invitation.id);
                deeds.push(deed.before(shown(&invitation)));
                changes.push(change);
            }
        }
        let identities = self.list::<LinkedIdentity>(&EntityList::by(identity::BY_USER, id.to_bytes())).await?;
        changes.extend(identities.iter().map(Change::delete));
        changes.extend(self.sessions_of(id).await?.iter().map(Change::delete));
        let factor = self.find::<SecondFactor>(Owner::Platform, id.to_bytes()).await?;
        changes.extend(factor.iter().map(Change::delete));
        let letter = self.letter_to(&user, ERASED);
        changes.extend(letter.as_ref().map(Change::insert));
        self.commit(&person.by(), deeds, changes).await?;
        Ok((user.entity, left.into_iter().collect(), letter))
    }
}
